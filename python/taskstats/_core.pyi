"""The Rust core: snapshots, intervals and the sources that take them."""

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, final

FIELDS: Final[tuple[dict[str, Any], ...]]

class TaskstatsError(Exception): ...
class NoSuchTask(TaskstatsError, ProcessLookupError): ...
class AccessDenied(TaskstatsError, PermissionError): ...
class ParseError(TaskstatsError, ValueError):
    offset: int
class Unsupported(TaskstatsError, OSError): ...

@final
class Snapshot:
    source: str
    threads: bool
    ...

@final
class Interval:
    prev: Snapshot
    cur: Snapshot
    interval_ns: int
    cpus: int
    def __len__(self) -> int: ...
    def select(
        self,
        columns: Sequence[str],
        *,
        sort: str | None = None,
        descending: bool = True,
        offset: int = 0,
        limit: int | None = None,
        text: str | None = None,
        pids: Iterable[int] | None = None,
    ) -> list[tuple[int | float | str | None, ...]]: ...
    def count(self, *, text: str | None = None, pids: Iterable[int] | None = None) -> int: ...
    def sum(self, columns: Sequence[str]) -> tuple[int | float | None, ...]: ...
    def states(self) -> dict[str, int]: ...
    def cpu_pct(self) -> list[dict[str, float]]: ...
    def books(self) -> dict[str, int | None]: ...
    def status(self, column: str) -> str: ...
