"""Where the intervals of a view or a batch come from: this machine, its history or a recording.

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
from collections.abc import Iterator, Sequence
from typing import Protocol

import taskstats

from ptop import spikes
from ptop.privilege import has_given_up_root
from ptop.text import as_root, safe, stamp
from ptop.times import Pace

# Same value as typing.TYPE_CHECKING.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from taskstats.recorded import Frames

# The first live interval is short, so that there is soon something to see.
FIRST_DELAY_S = 0.2
# Longest time for which a replay shows one frame, at normal speed.
LONGEST_GAP_S = 5.0
# An interval that is so many times longer than those around it is a gap.
GAP_FACTOR = 3.0
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

    def hold(self, holds: bool) -> None:
        """Stay at the current interval while others are taken, or go on with the newest."""

    def measure(self, columns: Sequence[str]) -> None:
        """Set the columns in which spikes will be searched."""

    def has(self, threads: bool, fields: set[str]) -> bool:
        """Whether the intervals contain these rows and fields."""

    def configure(self, threads: bool, fields: set[str]) -> bool:
        """Set what the intervals must contain. Returns whether a new first interval is
        needed."""

    def advance(self) -> bool:
        """Go to the next interval; returns False at the end. The first call of a live feed
        only starts an interval."""

    def earlier(self, count: int) -> Iterator[taskstats.Interval]:
        """Up to `count` intervals right before the current one, the oldest first."""

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
        self._advice = _advice()
        self.unchanged: taskstats.Source | taskstats.KeptInterval | None = source
        self.interval: taskstats.Interval | None = None
        self._configured: tuple[bool, set[str]] | None = None
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

    def configure(self, threads: bool, fields: set[str]) -> bool:
        if self._configured == (threads, fields):
            return False
        self._configured = (threads, fields)
        self.source.configure(threads=threads, fields=sorted(fields))
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
        advice = self._advice if snapshot.source == "procfs" else ""
        self.lacks = "; ".join(filter(None, (self.source.notice, advice)))
        return taskstats.usage(start, snapshot)

    def hold(self, holds: bool) -> None:
        pass

    def measure(self, columns: Sequence[str]) -> None:
        pass

    def earlier(self, count: int) -> Iterator[taskstats.Interval]:
        return iter(())

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

    def position(self) -> str:
        """Where the current frame is, in words; may be empty."""


class HistoryFeed(LiveFeed):
    """Intervals of a source, and those before. While one of these is shown, the next ones are
    taken all the same."""

    is_sampled = True

    def __init__(self, source: taskstats.Source, history: taskstats.History) -> None:
        super().__init__(source)
        self.history = history
        self._newest: taskstats.Interval | None = None
        # The number of the frame that is shown, and its end; None for the newest.
        self._held: tuple[int, int] | None = None
        self._mark: tuple[int, int] | None = None
        # From which frame on which rows and fields were configured.
        self._contents: list[tuple[int, bool, set[str]]] = []
        self._peaks: dict[str, dict[int, spikes.Peak]] = {}
        self._measured: tuple[str, ...] = ()

    @property
    def is_live(self) -> bool:
        return self._held is None

    def has(self, threads: bool, fields: set[str]) -> bool:
        if self._held is None:
            return super().has(threads, fields)
        number = self._held[0]
        # A frame that is forgotten by now has the oldest contents that are known.
        known = [contents for contents in self._contents if contents[0] <= number]
        _, rows, held = (known or self._contents[-1:])[0]
        return rows == threads and fields <= held

    def configure(self, threads: bool, fields: set[str]) -> bool:
        if not super().configure(threads, fields):
            return False
        self._newest = None
        oldest = next((at for at, *_ in self._contents if at <= self.history.first), 0)
        known = [contents for contents in self._contents if contents[0] >= oldest]
        self._contents = [(self.history.end, threads, fields), *known]
        return True

    def measure(self, columns: Sequence[str]) -> None:
        if self._measured != tuple(columns):
            self._measured = tuple(columns)
            self.history.measure(columns)

    def advance(self) -> bool:
        newest = self._next()
        if newest is None:
            assert self._start is not None, "a snapshot was taken"
            self.history.begin(self._start)
            return True
        self.history.push(newest, self.source)
        self._newest = newest
        if self._held is None:
            self.interval = newest
        return True

    def _has_begun(self) -> bool:
        return self._newest is not None

    def hold(self, holds: bool) -> None:
        if not holds and self._held is not None:
            self._held, self.interval, self.unchanged = None, self._newest, self.source
        elif holds and self._held is None and self.interval is not None:
            self.show(self._newest_number())

    @property
    def newest(self) -> taskstats.Interval | None:
        """The newest interval, whichever is shown."""
        return self._newest

    def span_s(self) -> float:
        """How long the kept frames are in all, in seconds."""
        newest = self._newest_number()
        if newest is None:
            return 0.0
        first_ns = self.history.times_ns(self.history.first)[0]
        return (self.history.times_ns(newest)[1] - first_ns) / 1e9

    def _newest_number(self) -> int | None:
        return self.history.end - 1 if len(self.history) else None

    @property
    def number(self) -> int | None:
        """The number of the frame that is shown; None if there is none."""
        return self._newest_number() if self._held is None else self._held[0]

    @property
    def time_ns(self) -> int:
        if self._held is not None:
            return self._held[1]
        number = self._newest_number()
        return time.time_ns() if number is None else self.history.times_ns(number)[1]

    @property
    def ages_s(self) -> tuple[float | None, float | None]:
        history, newest = self.history, self._newest_number()
        if newest is None:
            return None, None
        now_ns = history.times_ns(newest)[1]
        exact, age_s = history.exact_since, None
        if self._held is not None:
            age_s = max(0, now_ns - self._held[1]) / 1e9
        elif exact == history.first:
            # Of the newest frame, this is said only where something was merged.
            return None, None
        if exact > newest:
            return age_s, 0.0
        return age_s, (now_ns - history.times_ns(exact)[0]) / 1e9

    def position(self) -> str:
        return ""

    def show(self, number: int | None) -> bool:
        """Go to a frame; returns False if it is None."""
        if number is None:
            return False
        kept = self.history.interval(number)
        self._held = number, self.history.times_ns(number)[1]
        self.interval, self.unchanged = kept.interval, kept
        self.notice = self._gap(number)
        return True

    def step(self, by: int) -> bool:
        number = self.number
        if number is None:
            return False
        # Frames may have been forgotten meanwhile.
        number = max(number + by, self.history.first) if by > 0 else number + by
        within = self.history.first <= number < self.history.end
        return within and self.show(number)

    def go_to_end(self, last: bool) -> bool:
        return self.show(
            self._newest_number() if last or not len(self.history) else self.history.first
        )

    def seek(self, time_ns: int) -> bool:
        return self.show(self.history.at(max(0, time_ns)))

    def _gap(self, number: int) -> str:
        """What is missing before a frame or is long in it, in words; may be empty."""
        history = self.history
        if asleep_s := history.suspended_ns(number) // 10**9:
            return f"the machine was suspended for {asleep_s} s"
        if number > history.first and not history.connects(number):
            begin_ns, before_ns = history.times_ns(number)[0], history.times_ns(number - 1)[1]
            gap_s = (begin_ns - before_ns) / 1e9
            return f"{gap_s:.1f} s before this interval are missing: columns or rows were changed"
        neighbors = [at for at in (number - 1, number + 1) if history.first <= at < history.end]
        usual_s = max((self._length_s(at) for at in neighbors), default=0.0)
        length_s = self._length_s(number)
        if usual_s and length_s > GAP_FACTOR * usual_s:
            return f"a gap: ptop did not run, this interval is {length_s:.0f} s long"
        return ""

    def _length_s(self, number: int) -> float:
        begin_ns, end_ns = self.history.times_ns(number)
        return (end_ns - begin_ns) / 1e9

    def spike(self, column: str, by: int) -> str:
        number, history = self.number, self.history
        if number is None:
            return "none at all"
        first, deadline = history.first, time.monotonic() + SEARCH_S
        peaks = dict(self._peaks.get(column, {}))
        for at, known in enumerate(history.peaks(column, first, history.end), first):
            if known[0] == known[0]:
                peaks[at] = known
        try:
            found = spikes.find(
                range(number + by, history.end if by > 0 else first - 1, by),
                first,
                peaks,
                lambda at: spikes.peak(history.interval(at).completed(), column),
                lambda: time.monotonic() > deadline,
            )
        except TimeoutError as late:
            return too_late(history.times_ns(late.args[0])[1])
        finally:
            self._peaks = {column: {at: found for at, found in peaks.items() if at >= first}}
        return "" if self.show(found) else "none at all"

    def earlier(self, count: int) -> Iterator[taskstats.Interval]:
        number = self.number
        if number is not None:
            for at in range(max(self.history.first, number - count), number):
                # The oldest may be forgotten while others are looked at.
                if at >= self.history.first:
                    yield self.history.interval(at).interval

    def mark(self) -> str:
        """Mark the frame that is shown. Returns a message."""
        number = self.number
        if number is None:
            return "there is nothing to mark yet"
        self._mark = number, self.time_ns
        return f"{stamp(self.time_ns)[11:]} is marked; = shows what happened from there to here"

    def compare(self) -> str:
        """Show what happened between the marked frame and the one that is shown. Returns a
        message."""
        number = self.number
        if self._mark is None or number is None:
            return "nothing is marked: m marks a moment, = then shows the difference from it"
        begin, end = sorted((self._mark, (number, self.time_ns)))
        if begin[0] == end[0]:
            return "the marked moment is the one that is shown: go to another one first"
        interval = self.history.span(begin[0], end[0])
        if interval is None:
            return "there is a gap in between, or the marked moment is forgotten: m marks another"
        self._held = number, self.time_ns
        self.interval, self.unchanged = interval, None
        times = " to ".join(stamp(time_ns)[11:] for _, time_ns in (begin, end))
        return f"what happened from {times}; Z goes on, , and . show single intervals"


class RecordedFeed:
    """Frames of a recording; moves in both directions."""

    unchanged: taskstats.Source | taskstats.KeptInterval | None = None
    ages_s: tuple[float | None, float | None] = (None, None)
    is_sampled = False
    is_live = False

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

    def configure(self, threads: bool, fields: set[str]) -> bool:
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
        end = time.monotonic() + SEARCH_S
        try:
            found = spikes.find(
                range(self.index + by, len(self.frames) if by > 0 else 0, by),
                1,
                self._peaks.setdefault(column, {}),
                lambda index: spikes.peak(self.frames.interval(index), column),
                lambda: time.monotonic() > end,
            )
        except TimeoutError as late:
            return too_late(self.frames.times_ns[late.args[0]])
        return "" if self.show(found) else "none at all"

    def hold(self, holds: bool) -> None:
        pass

    def measure(self, columns: Sequence[str]) -> None:
        pass

    def earlier(self, count: int) -> Iterator[taskstats.Interval]:
        for index in range(max(0, self.index - count), self.index):
            interval = self.frames.interval(index)
            if interval is not None:
                yield interval

    def wait_s(self, delay: float, speed: float) -> float:
        following = self.index + 1
        if following >= len(self.frames):
            return LONGEST_GAP_S / speed
        gap_s = (self.frames.times_ns[following] - self.time_ns) / 1e9
        return min(max(gap_s, 0.0), LONGEST_GAP_S) / speed


def too_late(time_ns: int) -> str:
    """What a search says that takes too long."""
    return f"none as far as {stamp(time_ns)}; the same key looks further"


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
