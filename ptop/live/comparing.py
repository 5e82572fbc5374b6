"""Marked moments, and what two of them or two spans between them have different.

Design decisions

* With one mark the difference is what happened from there to here, an interval as any other:
  groups, filter, order and columns apply.
* With more marks it is that of two spans, as rates, so that spans of any length compare. A row
  that is missing in a span used nothing there.
* A task is its pid and start where the source numbers tasks, else its pid and name: other starts
  are derived, and differ from snapshot to snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import taskstats

from ptop.columns import COLUMNS, TableColumn
from ptop.feed import FrameFeed
from ptop.live.state import Comparing, State
from ptop.text import safe, stamp
from ptop.values import replace

# What a row of a comparison is of.
BY = ("task", "name", "user", "cgroup")
# Two spans have four ends; the last one is the frame that is shown.
MOST_MARKS = 3
_RATES = ("_pct", "_per_sec")
_WIDTH = 11


class Spans(NamedTuple):
    """Two spans, and their times in words."""

    a: taskstats.Interval
    b: taskstats.Interval
    title: str


class Marks:
    """The marked moments: numbers and times of frames. Once they were compared, the next mark is
    the first of others."""

    def __init__(self) -> None:
        self._marks: list[tuple[int, int]] = []
        self._are_compared = False

    def add(self, feed: FrameFeed) -> str:
        """Mark the frame that is shown. Returns a message."""
        if feed.number is None:
            return "there is nothing to mark yet"
        if self._are_compared or len(self._marks) == MOST_MARKS:
            self._marks.clear()
        self._are_compared = False
        self._marks.append((feed.number, feed.time_ns))
        what = (
            "= shows what happened from there to here",
            "= compares what was between the marks with what was since",
            "= compares what was between the first two with what was since the third",
        )[len(self._marks) - 1]
        return f"{_clock(feed.time_ns)} is marked; {what}"

    def compare(self, feed: FrameFeed) -> tuple[taskstats.Interval | Spans | None, str]:
        """What happened since the mark, or two spans where there are more marks; None if there is
        nothing to compare. And a message."""
        if not self._marks or feed.number is None:
            return None, "nothing is marked: m marks a moment, = shows what happened since"
        here = (feed.number, feed.time_ns)
        ends = self._marks[:2] if len(self._marks) > 1 else [self._marks[0], here]
        first, times = _span(feed, *ends)
        if isinstance(first, str):
            return None, first
        if len(self._marks) == 1:
            self._are_compared = True
            return first, f"what happened from {times}; Z goes on, . and , step"
        second, others = _span(feed, self._marks[-1], here)
        if isinstance(second, str):
            return None, second
        self._are_compared = True
        return Spans(first, second, f"A {times}, B {others}"), ""


def _clock(time_ns: int) -> str:
    return stamp(time_ns)[11:]


def _span(
    feed: FrameFeed, one: tuple[int, int], other: tuple[int, int]
) -> tuple[taskstats.Interval | str, str]:
    """The span between two frames, or why there is none, and its times."""
    begin, end = sorted((one, other))
    times = f"{_clock(begin[1])} to {_clock(end[1])}"
    if begin[0] == end[0]:
        return "a marked moment is the one that is shown: go to another one first", times
    return feed.span(begin[0], end[0]), times


def opened(state: State, title: str) -> State:
    """The state with the page of a comparison: by what the table is grouped."""
    by = state.group_by if state.group_by in BY else state.comparing.by
    comparing = replace(state.comparing, by=by, title=title)
    return replace(state, mode="compare", cursor=0, comparing=comparing)


def next_by(state: State) -> State:
    """Compares what rows are of next: tasks, names, users or cgroups."""
    by = BY[(BY.index(state.comparing.by) + 1) % len(BY)]
    comparing = replace(state.comparing, by=by)
    return replace(state, cursor=0, comparing=comparing, request="compare")


def filled(state: State, spans: Spans, columns: Mapping[str, TableColumn]) -> State:
    """The state with the lines of the page: the column that the table is sorted by, where it is a
    rate, else the CPU time."""
    column = columns[state.sort]
    if not column.source.endswith(_RATES):
        column = COLUMNS["total_pct"]
    by = state.comparing.by
    cells = (column.title + " A", "B", "change")
    head = " ".join(f"{cell:>{_WIDTH}}" for cell in cells) + f"  {column.unit} by {by}"
    labels = tuple(
        " ".join(f"{_cell(value, column):>{_WIDTH}}" for value in row[:3]) + f"  {safe(row[3])}"
        for row in changes(spans.a, spans.b, by, column.source)
    )
    comparing: Comparing = replace(state.comparing, head=head)
    return replace(state, comparing=comparing, items=labels, labels=labels)


def _cell(value: float | None, column: TableColumn) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if column.source.endswith("_pct") else f"{value:.0f}"


def changes(
    a: taskstats.Interval, b: taskstats.Interval, by: str, source: str
) -> list[tuple[float | None, float | None, float | None, str]]:
    """The rate in both spans, the change, and the title of each row that ran in one of them, the
    largest change first; unknown ones last."""
    before, after = _rates(a, by, source), _rates(b, by, source)
    rows = []
    for key, (title, _) in (before | after).items():
        old, new = before.get(key, _NOTHING)[1], after.get(key, _NOTHING)[1]
        change = None if old is None or new is None else new - old
        if old != 0 or new != 0:
            rows.append((old, new, change, title))
    return sorted(rows, key=lambda row: (row[2] is None, -abs(row[2] or 0.0), row[3]))


# The title of a row, and its rate.
_Rate = tuple[str, float | None]
_NOTHING: _Rate = ("", 0.0)


def _rates(interval: taskstats.Interval, by: str, source: str) -> dict[object, _Rate]:
    """By what is the same in both spans."""

    def known(rate: object) -> float | None:
        return rate if isinstance(rate, (int, float)) else None

    if by != "task":
        rows = interval.fold(by).select(["title", source])
        return {title: (str(title), known(rate)) for title, rate in rows}
    rates: dict[object, _Rate] = {}
    columns = ["ac_pid", "title", "task_id", "ac_start_ns", source]
    for pid, title, task_id, start_ns, rate in interval.select(columns):
        key = (pid, start_ns if task_id and start_ns else title)
        rates[key] = (f"{pid} {title}", known(rate))
    return rates
