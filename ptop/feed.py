"""Where a view's intervals come from: the machine, or a recorded file.

Design decisions

* Both are `Feed`s, and what a screen shows is made from an interval alone, so that a
  replayed frame looks as the live one did.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

import taskstats
from taskstats.recorded import Frames

# The first interval is short, so that there is something to see at once.
FIRST_DELAY = 0.2
# Where nothing was recorded for longer, a replay goes on after this time.
LONGEST_GAP = 5.0
# A spike is judged by this many frames before it.
SPIKE_FRAMES = 30
# It is as many times what is usual among them, and as many of the usual differences above.
SPIKE_FACTOR, SPIKE_SPREADS = 2.0, 5.0
# A spike is looked for as long as this at a time, through so many frames at once.
SEARCH_S = 2.0
BLOCK = 300


class Feed(Protocol):
    """Intervals one after the other."""

    interval: taskstats.Interval | None

    # The tasks that are left out of the snapshots because they did not run.
    resting: taskstats.Source | None

    # What is to be said of the way to this interval.
    notice: str

    def configure(self, threads: bool, folded: bool, fields: set[str]) -> bool:
        """Asks for what is shown; True where the next interval starts anew."""

    def advance(self) -> bool:
        """The next interval; False where there is no more. The first call of a live
        feed only begins one."""

    def wait_s(self, delay: float, speed: float) -> float:
        """How long the interval that is shown stays."""


class LiveFeed:
    """Intervals of a source of this machine."""

    notice = ""

    def __init__(self, source: taskstats.Source) -> None:
        self.source = source
        self.resting: taskstats.Source | None = source
        self.asked: tuple[bool, bool, frozenset[str]] | None = None
        self.start: taskstats.Snapshot | taskstats.Interval | None = None
        self.interval: taskstats.Interval | None = None

    def configure(self, threads: bool, folded: bool, fields: set[str]) -> bool:
        asked = (threads, folded, frozenset(fields))
        if asked == self.asked:
            return False
        self.asked = asked
        # Groups are of all tasks; else sleepers are not read again and again.
        self.source.configure(threads=threads, fields=sorted(fields), changed=not folded)
        self.start = self.interval = None
        return True

    def advance(self) -> bool:
        snapshot = self.source.snapshot()
        if self.start is None:
            self.start = snapshot
        else:
            self.start = self.interval = taskstats.usage(self.start, snapshot)
        return True

    def wait_s(self, delay: float, speed: float) -> float:
        return delay if self.interval is not None else min(FIRST_DELAY, delay)


class RecordedFeed:
    """Intervals of a recorded file; can be moved in both directions."""

    resting: taskstats.Source | None = None

    def __init__(self, frames: Frames, index: int) -> None:
        self.frames = frames
        self.index = index
        self.interval = frames.interval(index)
        self.notice = ""
        # The heights of a column in frames that were looked through for spikes.
        self.heights: dict[str, dict[int, float]] = {}

    def configure(self, threads: bool, folded: bool, fields: set[str]) -> bool:
        return False

    def show(self, index: int | None) -> bool:
        """Moves to a frame; False where it is None."""
        if index is None:
            return False
        self.notice = ""
        self.index = index
        self.interval = self.frames.interval(index)
        return True

    def _lost(self, passed: range) -> str:
        """What to say of the damaged snapshots among these."""
        lost = [at for at in passed if at in self.frames.lost]
        if not lost:
            return ""
        which = f"snapshot {lost[0]}" if len(lost) == 1 else f"{len(lost)} snapshots"
        return f"{which} left out: {self.frames.lost[lost[0]]}"

    def advance(self) -> bool:
        return self.step(1)

    def step(self, by: int) -> bool:
        """To the frame before (-1) or after (1)."""
        start = self.index
        found = self.show(self.frames.step(start, by))
        end = self.index if found else len(self.frames) if by > 0 else -1
        self.notice = self._lost(range(min(start, end) + 1, max(start, end)))
        return found

    def ends(self, last: bool) -> bool:
        """To the first or last frame."""
        return self.show(self.frames.step(*((len(self.frames), -1) if last else (0, 1))))

    def seek(self, time_ns: int) -> bool:
        """To the frame in which a time lies."""
        return self.show(self.frames.at(time_ns))

    @property
    def time_ns(self) -> int:
        """When the frame that is shown ended, in ns since 1970."""
        return self.frames.times_ns[self.index]

    def position(self) -> str:
        """Date, time and number of the frame that is shown."""
        return f"{self._stamp(self.index)}  frame {self.index} of {len(self.frames) - 1}"

    def _stamp(self, index: int) -> str:
        moment = time.localtime(self.frames.times_ns[index] / 1e9)
        return time.strftime("%Y-%m-%d %H:%M:%S", moment)

    def spike(self, column: str, by: int) -> str:
        """To the next (1) or previous (-1) frame in which a column's height rises out of
        what the frames before it had; gives what to say where none is found."""
        heights = self.heights.setdefault(column, {})
        end = time.monotonic() + SEARCH_S
        index = self.index + by
        while 1 <= index < len(self.frames):
            oldest = max(1, index - SPIKE_FRAMES)
            missing = [at for at in range(oldest, index + 1) if at not in heights]
            if missing:
                if time.monotonic() > end:
                    return f"none as far as {self._stamp(index)}; the same key looks further"
                # Frames are cheap one after the other, and dear backwards.
                self._measure(column, max(1, index - BLOCK) if by < 0 else oldest, index)
            if stands_out(heights[index], [heights[at] for at in range(oldest, index)]):
                self.show(index)
                return ""
            index += by
        return "none at all"

    def _measure(self, column: str, first: int, last: int) -> None:
        """Notes the heights of the frames from `first` to `last`."""
        heights = self.heights[column]
        for at in range(first, last + 1):
            if at not in heights:
                interval = self.frames.interval(at)
                heights[at] = _height(interval, column) if interval is not None else math.nan

    def wait_s(self, delay: float, speed: float) -> float:
        following = self.index + 1
        if following >= len(self.frames):
            return LONGEST_GAP / speed
        gap = (self.frames.times_ns[following] - self.frames.times_ns[self.index]) / 1e9
        return min(max(gap, 0.0), LONGEST_GAP) / speed


def _height(interval: taskstats.Interval, column: str) -> float:
    """A column's highest cell; NaN where it is unknown."""
    rows = interval.select([column], sort=column, limit=1)
    value = rows[0][0] if rows else None
    return float(value) if isinstance(value, (int, float)) else math.nan


def stands_out(value: float, before: Sequence[float]) -> bool:
    """Whether a value is a spike after those before it: out of what is usual among them,
    and not the continuation of a spike."""
    known = [other for other in before if not math.isnan(other)]
    if math.isnan(value) or not known:
        return False
    return _above(value, known) and not (len(known) > 1 and _above(known[-1], known[:-1]))


def _above(value: float, others: Sequence[float]) -> bool:
    """Medians, so that the spikes among the others change nothing."""
    usual = _median(others)
    spread = _median([abs(other - usual) for other in others])
    return value > usual * SPIKE_FACTOR and value > usual + SPIKE_SPREADS * spread


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def recorded_intervals(feed: RecordedFeed, count: int | None) -> Iterator[taskstats.Interval]:
    """The frame that is shown and those after it, `count` in all."""
    while count is None or count > 0:
        assert feed.interval is not None, "a frame"
        yield feed.interval
        count = None if count is None else count - 1
        if count == 0 or not feed.advance():
            return
