"""Where the intervals of a view or a batch come from: this machine or a recording. The feed of a
history is in `ptop.history_feed`.

Design decisions

* All are a `Feed`. A screen is made from an interval alone, so a replayed frame looks as
  the live one did.
* A frame is an interval of a recording (see `taskstats.recorded`) or of a history.
* An interval is made of two snapshots, also where the one before it is known: a live frame
  and its recording, and a frame that is reached from either side, are the same.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Protocol

import taskstats

from ptop import spikes
from ptop.columns import ReadMeter
from ptop.privilege import has_given_up_root
from ptop.text import as_root, safe, stamp
from ptop.times import Pace

# Same value as typing.TYPE_CHECKING.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from taskstats.recorded import Frames

# The first live interval is short, so that there is soon something to see.
FIRST_DELAY_S = 0.04
# Longest time for which a replay shows one frame, at normal speed.
LONGEST_GAP_S = 5.0
# What the column `60s` shows, and the number of frames that the line of the CPUs does.
MINUTE_NS, LEAST_SPARKS = 60 * 10**9, 60
# Longest time that one search for a spike takes.
SEARCH_S = 2.0


class Feed(Protocol):
    """Intervals one after the other."""

    # The current interval; None until there is one.
    interval: taskstats.Interval | None

    # What holds the unchanged tasks, which the snapshots of a source leave out.
    unchanged: taskstats.Source | taskstats.KeptInterval | None

    # A message about the way to this interval; may be empty.
    notice: str

    # Why CPU time may be missing in the intervals, in words; may be empty.
    lacks: str

    @property
    def place(self) -> str:
        """Date and number of the current frame of a recording; empty in the live view."""

    @property
    def ages_s(self) -> tuple[float | None, float | None]:
        """How old the current frame of a history is, and the oldest frame that is exact; None
        for what is not of a history."""

    @property
    def is_sampled(self) -> bool:
        """Whether intervals are taken while an earlier one is shown."""

    @property
    def is_live(self) -> bool:
        """Whether the current interval is this machine's newest."""

    @property
    def newest_snapshot(self) -> taskstats.Snapshot | None:
        """The last snapshot of this machine, for a live feed; else None."""

    def hold(self, holds: bool) -> None:
        """Stay at the current interval while others are taken, or go on with the newest."""

    def measure(self, columns: Sequence[str]) -> None:
        """Set the columns in which spikes will be searched."""

    def has(self, threads: bool, fields: set[str]) -> bool:
        """Whether the intervals contain these rows and fields."""

    def configure(self, threads: bool, fields: set[str], meters: Sequence[ReadMeter] = ()) -> bool:
        """Set what the intervals must contain. Returns whether a new first interval is
        needed."""

    def advance(self) -> bool:
        """Go to the next interval; returns False at the end. The first call of a live feed
        only starts an interval."""

    def earlier(self, count: int) -> Iterator[taskstats.Interval]:
        """Up to `count` intervals right before the current one, the oldest first."""

    def minute_before(self) -> Iterator[taskstats.Interval] | None:
        """The intervals before the current one that its sparklines show, the oldest first; None
        if they are not kept."""

    def wait_s(self, delay: float, speed: float) -> float:
        """How long to show the current interval, in seconds."""


def _advice() -> str:
    """What the procfs source cannot show for lack of privilege, and what to type."""
    if os.geteuid() == 0 or has_given_up_root():
        return ""
    return f"tasks that die are missing; type: {as_root()}"


class LiveFeed:
    """Intervals of a source of this machine."""

    is_sampled = False

    def __init__(self, source: taskstats.Source) -> None:
        self.source = source
        self.notice = ""
        self.lacks = ""
        # Privileges have been dropped by now, and stay as they are.
        self.advice = _advice()
        self.unchanged: taskstats.Source | taskstats.KeptInterval | None = source
        self.interval: taskstats.Interval | None = None
        self._configured: tuple[bool, set[str], Sequence[ReadMeter]] | None = None
        self._start: taskstats.Snapshot | None = None

    @property
    def is_live(self) -> bool:
        return True

    @property
    def place(self) -> str:
        return ""

    @property
    def ages_s(self) -> tuple[float | None, float | None]:
        return None, None

    def has(self, threads: bool, fields: set[str]) -> bool:
        return self._configured is not None and (
            self._configured[0] == threads and fields <= self._configured[1]
        )

    def configure(self, threads: bool, fields: set[str], meters: Sequence[ReadMeter] = ()) -> bool:
        if self._configured == (threads, fields, meters):
            return False
        self._configured = (threads, fields, meters)
        self.source.configure(threads=threads, fields=sorted(fields), meters=meters)
        self._start = self.interval = None
        return True

    def advance(self) -> bool:
        self.interval = self._next() or self.interval
        return True

    def _next(self) -> taskstats.Interval | None:
        """The interval since the snapshot before; None if there is none."""
        snapshot = self.source.snapshot()
        start, self._start = self._start, snapshot
        if start is None:
            return None
        self._note_lacks(snapshot)
        return taskstats.usage(start, snapshot)

    def _note_lacks(self, snapshot: taskstats.Snapshot) -> None:
        advice = self.advice if snapshot.source == "procfs" else ""
        self.lacks = "; ".join(filter(None, (self.source.notice, advice)))

    @property
    def newest_snapshot(self) -> taskstats.Snapshot | None:
        return self._start

    @property
    def kept(self) -> taskstats.History | None:
        """What keeps the intervals."""
        return None

    @property
    def continues(self) -> bool:
        """Whether the current interval is the newest, and the next one begins where it ends."""
        return self.interval is not None and self._start is not None

    def lend(self) -> taskstats.Interval:
        """The current interval, for `Frames`: one that is held here too keeps the memory of its
        snapshots."""
        interval = self.interval
        assert interval is not None, "the feed continues"
        self.interval = self._start = None
        return interval

    def give_back(self, newest: taskstats.Interval) -> None:
        """Note the newest interval that `Frames` has taken."""
        self.interval, self._start = newest, newest.cur
        self._note_lacks(newest.cur)

    def hold(self, holds: bool) -> None:
        pass

    def measure(self, columns: Sequence[str]) -> None:
        pass

    def earlier(self, count: int) -> Iterator[taskstats.Interval]:
        return iter(())

    def minute_before(self) -> Iterator[taskstats.Interval] | None:
        return None

    def wait_s(self, delay: float, speed: float) -> float:
        return delay if self._has_begun() else min(FIRST_DELAY_S, delay)

    def _has_begun(self) -> bool:
        return self.interval is not None


class FrameFeed(Protocol):
    """A feed that goes to any of its frames."""

    def step(self, by: int) -> bool:
        """Go to the previous (-1) or next (1) frame; returns False if there is none."""

    def go_to_end(self, last: bool) -> bool:
        """Go to the first or last frame."""

    def seek(self, time_ns: int) -> bool:
        """Go to the frame that contains a time."""

    def spike(self, column: str, by: int) -> str:
        """Go to the next (1) or previous (-1) frame in which the highest cell of a column or its
        sum stands out from the frames before it. Returns a message if none is found."""

    @property
    def time_ns(self) -> int:
        """End of the current frame, in ns since 1970."""

    def range_ns(self) -> tuple[int, int]:
        """When the first frame begins and the last one ends, in ns since 1970."""

    def position(self) -> str:
        """Where the current frame is, in words; may be empty."""

    @property
    def number(self) -> int | None:
        """The number of the current frame; None if there is none."""

    def span(self, begin: int, end: int) -> taskstats.Interval | str:
        """What happened from the end of one frame to that of a later one, or why that is unknown,
        in words."""

    def show_span(self, interval: taskstats.Interval) -> None:
        """Show what happened from some frame to this one."""


class RecordedFeed:
    """Frames of a recording; moves in both directions."""

    unchanged: taskstats.Source | taskstats.KeptInterval | None = None
    ages_s: tuple[float | None, float | None] = (None, None)
    is_sampled = False
    is_live = False
    newest_snapshot: taskstats.Snapshot | None = None

    def __init__(self, frames: Frames, index: int) -> None:
        self.frames = frames
        self.index = index
        self.interval = frames.interval(index)
        self.notice = ""
        self.lacks = ""
        # Per column, the peaks of the frames that a search for spikes has measured.
        self._peaks: dict[str, dict[int, spikes.Peak]] = {}

    def has(self, threads: bool, fields: set[str]) -> bool:
        return True

    def configure(self, threads: bool, fields: set[str], meters: Sequence[ReadMeter] = ()) -> bool:
        return False

    def show(self, index: int | None) -> bool:
        """Go to a frame; returns False if it is None."""
        if index is None:
            return False
        self.notice = ""
        self.index = index
        self.interval = self.frames.interval(index)
        return True

    def advance(self) -> bool:
        return self.step(1)

    def step(self, by: int) -> bool:
        """Go to the previous (-1) or next (1) frame; returns False if there is none."""
        start = self.index
        found = self.show(self.frames.step(start, by))
        end = self.index if found else len(self.frames) if by > 0 else -1
        self.notice = self._damage(range(min(start, end) + 1, max(start, end)))
        return found

    def go_to_end(self, last: bool) -> bool:
        """Go to the first or last frame."""
        return self.show(self.frames.step(*((len(self.frames), -1) if last else (0, 1))))

    def seek(self, time_ns: int) -> bool:
        """Go to the frame that contains a time."""
        return self.show(self.frames.at(time_ns))

    @property
    def time_ns(self) -> int:
        """End of the current frame, in ns since 1970."""
        return self.frames.times_ns[self.index]

    def range_ns(self) -> tuple[int, int]:
        return self.frames.times_ns[0], self.frames.times_ns[-1]

    @property
    def place(self) -> str:
        return self.position()

    def position(self) -> str:
        """Date, time and number of the current frame."""
        return f"{stamp(self.time_ns)}  frame {self.index} of {len(self.frames) - 1}"

    def _damage(self, skipped: range) -> str:
        """A message about the damaged snapshots among these; may be empty."""
        lost = [index for index in skipped if index in self.frames.lost]
        if not lost:
            return ""
        which = f"snapshot {lost[0]}" if len(lost) == 1 else f"{len(lost)} snapshots"
        return f"{which} left out: {self.frames.lost[lost[0]]}"

    def spike(self, column: str, by: int) -> str:
        return go_to_spike(
            self,
            range(self.index + by, len(self.frames) if by > 0 else 0, by),
            1,
            self._peaks.setdefault(column, {}),
            lambda index: spikes.peak(self.frames.interval(index), column),
            self.frames.times_ns.__getitem__,
        )

    @property
    def number(self) -> int | None:
        return self.index

    def span(self, begin: int, end: int) -> taskstats.Interval | str:
        deadline = time.monotonic() + SEARCH_S
        exits = []
        for index in range(begin + 1, end + 1):
            interval = self.frames.interval(index)
            if interval is None:
                return "a gap or damage lies in between: m marks another moment"
            if time.monotonic() > deadline:
                return "this span takes too long to read; type: ptop diff --help"
            if index < end and interval.cur.exited:
                # A copy of the dead alone, so that all others need not stay in memory.
                exits.append(taskstats.parse(interval.cur.exits.to_bytes()))
        first, last = self.frames.snapshot(begin), self.frames.snapshot(end)
        if first is None or last is None:
            return "a marked snapshot is damaged: m marks another moment"
        return taskstats.usage(first, last, exits=exits)

    def show_span(self, interval: taskstats.Interval) -> None:
        self.interval = interval

    def hold(self, holds: bool) -> None:
        pass

    def measure(self, columns: Sequence[str]) -> None:
        pass

    def earlier(self, count: int) -> Iterator[taskstats.Interval]:
        for index in range(max(0, self.index - count), self.index):
            interval = self.frames.interval(index)
            if interval is not None:
                yield interval

    def minute_before(self) -> Iterator[taskstats.Interval] | None:
        times_ns = self.frames.times_ns
        count = minute_of(self.index, lambda at: self.time_ns - times_ns[at])
        return self.earlier(count)

    def wait_s(self, delay: float, speed: float) -> float:
        following = self.index + 1
        if following >= len(self.frames):
            return LONGEST_GAP_S / speed
        gap_s = (self.frames.times_ns[following] - self.time_ns) / 1e9
        return min(max(gap_s, 0.0), LONGEST_GAP_S) / speed


def minute_of(number: int, age_ns: Callable[[int], int], first: int = 0) -> int:
    """How many frames before a frame its sparklines show: those of a minute, and some at least."""
    at = max(first, number - LEAST_SPARKS)
    while at > first and age_ns(at) < MINUTE_NS:
        at -= 1
    return number - at


class Shows(Protocol):
    """What goes to a frame."""

    def show(self, number: int | None, /) -> bool:
        """Go to a frame; returns False if it is None."""


def go_to_spike(
    feed: Shows,
    frames: range,
    first: int,
    peaks: MutableMapping[int, spikes.Peak],
    measure: Callable[[int], spikes.Peak],
    time_ns: Callable[[int], int],
) -> str:
    """Go to the first spike among `frames`, as of `spikes.find`. `time_ns` is the end of a frame.
    Returns a message if none is found in time."""
    deadline = time.monotonic() + SEARCH_S
    try:
        found = spikes.find(frames, first, peaks, measure, lambda: time.monotonic() > deadline)
    except TimeoutError as late:
        return f"none as far as {stamp(time_ns(late.args[0]))}; the same key looks further"
    return "" if feed.show(found) else "none at all"


def warn_of_lacks(source: taskstats.Source) -> None:
    """Write to standard error what the snapshots of a source lack here, after the first."""
    if source.notice:
        sys.stderr.write(f"ptop: warning: {safe(source.notice)}\n")


def live_intervals(
    source: taskstats.Source, delay: float, count: int | None
) -> Iterator[taskstats.Interval]:
    """`count` intervals of `delay` seconds, or endless if None."""
    pace = Pace()
    start = source.snapshot()
    warn_of_lacks(source)
    while count is None or count > 0:
        time.sleep(pace.left_s(delay))
        pace.step(delay)
        end = source.snapshot()
        yield taskstats.usage(start, end)
        start = end
        count = None if count is None else count - 1


def recorded_intervals(feed: RecordedFeed, count: int | None) -> Iterator[taskstats.Interval]:
    """The current frame and those after it, `count` in all, or up to the end if None."""
    while count is None or count > 0:
        assert feed.interval is not None, "a recorded feed has a frame"
        yield feed.interval
        count = None if count is None else count - 1
        if count == 0 or not feed.advance():
            return
