"""The mouse: what a click on a cell of the screen means. Pure.

Design decisions

* A click selects the task that was on the screen, whatever the next frame has there.
* A click on the bars of what the CPUs used goes to that interval of the history.
* No click acts on a task: in the menus it moves the cursor, and Enter is a key.
"""

from __future__ import annotations

from collections.abc import Mapping

from taskstats.screen import Lines

from ptop.columns import TableColumn
from ptop.live import acting, keys, tabs
from ptop.live.decoder import Event, Mouse
from ptop.live.state import PAGE_FRAME, State, sort_by, with_row
from ptop.values import replace

# Longest time between the two clicks of a double click.
DOUBLE_S = 0.5


class Pointer:
    """Remembers the last click, to know a double click."""

    def __init__(self) -> None:
        self.line = -1
        self.at_s = float("-inf")

    def is_double(self, line: int, now_s: float) -> bool:
        """Whether a click on this line is the second of two."""
        double = line == self.line and now_s - self.at_s <= DOUBLE_S
        self.line, self.at_s = -1 if double else line, now_s
        return double


def click(
    state: State,
    mouse: Mouse,
    lines: Lines | None,
    columns: Mapping[str, TableColumn],
    double: bool,
) -> tuple[State, Event | None]:
    """The state after a click on the screen with these lines, and a key that it stands for."""
    if state.mode in keys.LISTS:
        return _click_list(state, mouse.line, double)
    if mouse.line == state.height - 1:
        return state, keys.bar_key(state, mouse.column)
    if state.mode != "table" or lines is None:
        return state, None
    if (tab := lines.tab(mouse.line, mouse.column)) is not None:
        return tabs.select(state, tab), None
    if (end_ns := lines.moment_ns(mouse.line, mouse.column)) is not None:
        return replace(state, request=f"moment {end_ns}"), None
    if mouse.line == lines.headings_line:
        return _sort(state, lines.heading(mouse.column), columns), None
    row = lines.top + mouse.line - lines.headings_line - 1
    key = lines.key(row) if mouse.line > lines.headings_line else None
    if key is None:
        return state, None
    state = replace(with_row(state, row), selected_key=key, follow=state.follow)
    return state, "Enter" if double and keys.is_bound(state, "Enter") else None


def _click_list(state: State, line: int, double: bool) -> tuple[State, Event | None]:
    """A click on a line of a list, which has a title above."""
    top = max(0, state.cursor + 1 - max(1, state.height - PAGE_FRAME))
    at = top + line - 1
    if not (1 <= line < state.height - 1 and at < keys.lines_of(state)):
        return state, None
    state = replace(state, cursor=at)
    opens = double and state.mode not in acting.MODES and keys.is_bound(state, "Enter")
    return state, "Enter" if opens else None


def _sort(state: State, heading: str | None, columns: Mapping[str, TableColumn]) -> State:
    """Sorts by the column of a heading, or reverses the order."""
    for key in state.columns:
        column = columns[key]
        if heading == (column.heading or column.title):
            return sort_by(key)(state)
    return state
