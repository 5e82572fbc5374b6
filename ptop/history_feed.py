"""The intervals of this machine and those before, kept in memory (see `taskstats.History`)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import taskstats

from ptop import spikes
from ptop.columns import ReadMeter
from ptop.feed import LiveFeed, go_to_spike, minute_of

# An interval that is so many times longer than those around it is a gap.
GAP_FACTOR = 3.0
# So many on either side.
GAP_NEAR = 4


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

    def configure(self, threads: bool, fields: set[str], meters: Sequence[ReadMeter] = ()) -> bool:
        if self._configured not in (None, (threads, fields, meters)) and self._start is not None:
            # Up to here the frames are of the rows and fields so far.
            self._keep(self._next())
        if not super().configure(threads, fields, meters):
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
        if self._start is None:
            self._next()
            assert self._start is not None, "a snapshot was taken"
            self.history.begin(self._start)
            return True
        self._keep(self._next())
        if self._held is None:
            self.interval = self._newest
        return True

    def _keep(self, newest: taskstats.Interval | None) -> None:
        if newest is not None:
            self.history.push(newest, self.source)
            self._newest = newest

    @property
    def kept(self) -> taskstats.History:
        return self.history

    @property
    def continues(self) -> bool:
        return self._held is None and super().continues

    def lend(self) -> taskstats.Interval:
        self._newest = None
        return super().lend()

    def give_back(self, newest: taskstats.Interval) -> None:
        super().give_back(newest)
        self._newest = newest

    def _has_begun(self) -> bool:
        return self._newest is not None

    def hold(self, holds: bool) -> None:
        if not holds and self._held is not None:
            self._held, self.interval, self.unchanged = None, self._newest, self.source
            self.notice = ""
        elif holds and self._held is None and self.interval is not None:
            self.show(self._newest_number())

    @property
    def newest(self) -> taskstats.Interval | None:
        """The newest interval, whichever is shown."""
        return self._newest

    def newest_completed(self) -> taskstats.Interval | None:
        """The newest interval with the tasks that did not run."""
        number = None if self._newest is None else self._newest_number()
        return None if number is None else self.history.interval(number).completed()

    def span_s(self) -> float:
        """How long the kept frames are in all, in seconds."""
        first_ns, last_ns = self.range_ns()
        return (last_ns - first_ns) / 1e9

    def range_ns(self) -> tuple[int, int]:
        newest = self._newest_number()
        if newest is None:
            return 0, 0
        history = self.history
        return history.times_ns(history.first)[0], history.times_ns(newest)[1]

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
        if self._held is None:
            # Of the newest frame, this is said only where something was merged.
            return None, self.history.exact_s
        history, newest = self.history, self._newest_number()
        if newest is None:
            return None, None
        now_ns = history.times_ns(newest)[1]
        exact, age_s = history.exact_since, max(0, now_ns - self._held[1]) / 1e9
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
            return f"columns or rows were changed {gap_s:.3f} s before this interval"
        # Where columns were changed, there are short ones among these.
        near = range(max(history.first, number - GAP_NEAR), min(history.end, number + GAP_NEAR + 1))
        lengths_s = sorted(self._length_s(at) for at in near if at != number)
        usual_s = lengths_s[len(lengths_s) // 2] if lengths_s else 0.0
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
        first = history.first
        peaks = {at: found for at, found in self._peaks.get(column, {}).items() if at >= first}
        for at, known in enumerate(history.peaks(column, first, history.end), first):
            if known[0] == known[0]:
                peaks[at] = known
        self._peaks = {column: peaks}
        return go_to_spike(
            self,
            range(number + by, history.end if by > 0 else first - 1, by),
            first,
            peaks,
            lambda at: spikes.peak(history.interval(at).completed(), column),
            lambda at: history.times_ns(at)[1],
        )

    def earlier(self, count: int) -> Iterator[taskstats.Interval]:
        number = self.number
        if number is not None:
            for at in range(max(self.history.first, number - count), number):
                # The oldest may be forgotten while others are looked at.
                if at >= self.history.first:
                    yield self.history.interval(at).interval

    def minute_before(self) -> Iterator[taskstats.Interval] | None:
        number, history, now_ns = self.number, self.history, self.time_ns
        if number is None:
            return None
        count = minute_of(number, lambda at: now_ns - history.times_ns(at)[1], history.first)
        return self.earlier(count) if count else None

    def span(self, begin: int, end: int) -> taskstats.Interval | str:
        return self.history.span(begin, end) or (
            "a gap lies in between, or the mark is forgotten: m marks another moment"
        )

    def show_span(self, interval: taskstats.Interval) -> None:
        if self.number is not None:
            self._held = self.number, self.time_ns
            self.interval, self.unchanged = interval, None
