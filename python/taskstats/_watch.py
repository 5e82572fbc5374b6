"""Intervals of this machine, one after another: `watch` and `top`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Generic, Self, TypeVar, overload

from taskstats._block import Block
from taskstats._core import Fold, Interval, Snapshot, Source, Table, usage

_Rows = TypeVar("_Rows", Interval, Fold)
# The fields that rows are grouped by, where they are not always read.
_KEYS = {
    "user": ["ac_uid"],
    **{key: ["cgroup_id"] for key in ("cgroup", "container", "pod", "unit")},
}


class Watch(Block, Generic[_Rows]):
    """Intervals one after another: an endless iterator, also for `async for`.

    `taskstats.watch` returns it. Each item begins where the one before ended, however long its
    receiver took: no time is in none of them, and none is in two. After a stop of this process
    (SIGSTOP, the freezer) one is as long as the stop; the sleep of the machine is in none. Setting
    the clock changes no interval. Leaving a `with` block or `close` ends it.
    """

    def __init__(self, source: Source, interval: float, group: str | None) -> None:
        if not 0 < interval < float("inf"):
            source.close()
            raise ValueError(f"an interval of {interval} s: give a number above 0")
        #: The source of the snapshots.
        self.source = source
        self._interval = interval
        self._group = group
        self._before: Snapshot | Interval = source.snapshot()
        # This clock is never set. It stands still while the machine sleeps, as CPU time does.
        self._due = time.monotonic() + interval

    def _state(self) -> str:
        groups = f", by {self._group}" if self._group else ""
        return f"every {self._interval:g} s from {self.source.name}{groups}"

    def _left(self) -> float:
        """How long to wait."""
        return max(self._due - time.monotonic(), 0.0)

    def _take(self) -> _Rows:
        interval = usage(self._before, self.source.snapshot())
        self._before = interval
        # Where this process was stopped, or its receiver is late, the next item is due an interval
        # later: no interval is shorter than half of that.
        now = time.monotonic()
        late = now - self._due > self._interval / 2
        self._due = (now if late else self._due) + self._interval
        return interval if self._group is None else interval.fold(self._group)  # type: ignore[return-value]

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> _Rows:
        """Wait for the end of the interval, and return it. Raises ValueError after `close`."""
        time.sleep(self._left())
        return self._take()

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> _Rows:
        """Wait for the end of the interval, and return it; a thread takes the snapshot."""
        import asyncio

        await asyncio.sleep(self._left())
        return await asyncio.to_thread(self._take)

    def close(self) -> None:
        """Close the source. Closing again does nothing."""
        self.source.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Close the source."""
        self.close()


def top(
    n: int | None = 10,
    *,
    by: str = "total",
    interval: float = 1.0,
    group: str | None = None,
    source: str = "auto",
) -> Table:
    """Return who uses most in the next `interval` seconds, tasks that die meanwhile included.

    Waits so long. `n` is the number of rows, None for all. `by` is a column, or "total", "user",
    "system"; a counter such as "read_bytes" is taken by its increase. `group` combines rows by
    "parent", "session", "name", "user", "cgroup", "container", "pod" or "unit". Errors are those
    of `Source`, and ValueError for an unknown column or group.

    ```python
    import taskstats

    print(taskstats.top(3, by="read_bytes", interval=0.1))
    print(taskstats.top(group="user", interval=0.1))
    ```
    """
    with Watch[Interval](Source(source), interval, None) as intervals:
        rows = next(intervals)
    return (rows if group is None else rows.group(group)).top(n, by=by)


@overload
def watch(
    interval: float = 1.0,
    *,
    group: None = None,
    fields: Iterable[str] | None = None,
    source: str = "auto",
    threads: bool = False,
    exact: bool = True,
) -> Watch[Interval]: ...
@overload
def watch(
    interval: float = 1.0,
    *,
    group: str,
    fields: Iterable[str] | None = None,
    source: str = "auto",
    threads: bool = False,
    exact: bool = True,
) -> Watch[Fold]: ...
def watch(
    interval: float = 1.0,
    *,
    group: str | None = None,
    fields: Iterable[str] | None = None,
    source: str = "auto",
    threads: bool = False,
    exact: bool = True,
) -> Watch[Interval] | Watch[Fold]:
    """Return the machine's intervals, one after another: an iterator, also for `async for`.

    Tasks that died in an interval are in it. With `group` each item is the interval's rows
    grouped by "parent", "session", "name", "user", "cgroup", "container", "pod" or "unit".
    `fields` are the kernel's names of the fields to read; None reads all. The other arguments, and
    the errors, are those of `Source`.

    ```python
    import taskstats

    with taskstats.watch(0.1, group="user") as groups:
        for group in next(groups):
            print(group.title, group.tasks, group.total_ns)
    ```
    """
    wanted = None if fields is None else [*fields, *_KEYS.get(group or "", ())]
    return Watch(Source(source, threads=threads, fields=wanted, exact=exact), interval, group)
