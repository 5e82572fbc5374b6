"""Intervals of this machine, one after another: `watch` and `top`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Generic, Self, TypeVar

from taskstats._core import Fold, Interval, Snapshot, Source, Table, usage

_Rows = TypeVar("_Rows", Interval, Fold)


class Watch(Generic[_Rows]):
    """Intervals one after another: an endless iterator, also for `async for`.

    `taskstats.watch` returns it. Each item begins where the one before ended, however long its
    receiver took: no time is in none of them, and none is in two. Leaving a `with` block or
    `close` ends it.
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

    def _left(self) -> float:
        """How long to wait. After a delay the next item is due an interval later."""
        now = time.monotonic()
        left = self._due - now
        self._due = max(self._due, now) + self._interval
        return max(left, 0.0)

    def _take(self) -> _Rows:
        interval = usage(self._before, self.source.snapshot())
        self._before = interval
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

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Close the source."""
        self.close()


def top(n: int | None, by: str, interval: float, group: str | None, source: str) -> Table:
    """Return the first rows of one interval: see `taskstats.top`."""
    with Watch[Interval](Source(source), interval, None) as intervals:
        rows = next(intervals)
    return (rows if group is None else rows.group(group)).top(n, by=by)


def fields_of(fields: Sequence[str] | None, group: str | None) -> list[str] | None:
    """Return the fields to read so that rows can be grouped."""
    if fields is None:
        return None
    needed = {"user": ["ac_uid"], "cgroup": ["cgroup_id"]}.get(group or "", [])
    return [*fields, *needed]
