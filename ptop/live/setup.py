"""The setup page: theme, keys, views and their columns. Pure.

Design decisions

* What is changed is seen at once, and holds until ptop ends; a key of its own writes it.
* A setting is a line of `_CHOICES`, or a view or column in an order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ptop.columns import COLUMN_SETS, COLUMNS, METERS, TableColumn
from ptop.live.state import LAYOUTS, THEMES, Action, Keeping, Setup, State, switched
from ptop.values import replace

_DELAYS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_YES_OR_NO = (False, True)


class Choice(NamedTuple):
    """A setting: its key in the file, its words, its values, and where it is in a state."""

    key: str
    words: str
    values: Sequence[Any]
    get: Callable[[State], Any]
    put: Callable[[State, Any], State]


def _of_setup(key: str, words: str, values: Sequence[Any]) -> Choice:
    return Choice(
        key,
        words,
        values,
        lambda state: getattr(state.setup, key),
        lambda state, value: replace(state, setup=replace(state.setup, **{key: value})),
    )


def _of_keeping(key: str, words: str, values: Sequence[Any]) -> Choice:
    def put(state: State, value: Any) -> State:
        keeping = replace(state.setup.keeping, **{key: value})
        return replace(state, setup=replace(state.setup, keeping=keeping))

    return Choice(key, words, values, lambda state: getattr(state.setup.keeping, key), put)


_CHOICES: tuple[Choice, ...] = (
    _of_setup("theme", "colours", THEMES),
    Choice("keys", "layout of the keys", LAYOUTS, lambda state: state.layout,
           lambda state, value: replace(state, layout=value)),
    Choice("delay", "seconds from frame to frame", _DELAYS, lambda state: state.delay,
           lambda state, value: replace(state, delay=value)),
    _of_setup("ascii", "ASCII characters alone", _YES_OR_NO),
    _of_setup("key_bar", "the last line shows keys", _YES_OR_NO),
    _of_setup("tabs", "a line of the views above the table", _YES_OR_NO),
    _of_setup("view", "the view to begin with", tuple(COLUMN_SETS)),
    _of_keeping("history", "how far one can go back, from the next start on",
                ("0", "10m", "60m", "4h", "24h")),
    _of_keeping("history_size", "memory for that, from the next start on",
                ("16M", "64M", "256M", "1G")),
)  # fmt: skip
Line = tuple[str, str]


def lines(state: State) -> list[Line]:
    """The lines of the page: the kind of each, and its key."""
    rest = [view for view in COLUMN_SETS if view not in state.setup.views]
    others = [key for key in state.known if key not in state.columns]
    return [
        *(("choice", choice.key) for choice in _CHOICES),
        *(("meter", meter) for meter in METERS),
        *(("view", view) for view in (*state.setup.views, *rest)),
        *(("column", key) for key in (*state.columns, *others)),
    ]


def texts(state: State, columns: Mapping[str, TableColumn]) -> list[str]:
    """The lines of the page in words."""
    choices = {choice.key: choice for choice in _CHOICES}
    shown = []
    for kind, key in lines(state):
        if kind == "choice":
            value = choices[key].get(state)
            word = {True: "yes", False: "no"}.get(value) if isinstance(value, bool) else value
            text = f"{key:<13}{f'< {word} >':<14}{choices[key].words}"
        elif kind == "meter":
            text = f"meter        [{'x' if key in state.setup.meters else ' '}] {key}"
        elif kind == "view":
            text = f"view         [{'x' if key in state.setup.views else ' '}] {key}"
        else:
            mark = "x" if key in state.columns else " "
            text = f"column       [{mark}] {key:<16}{columns[key].doc}"
        shown.append(text)
    return shown


def _current(state: State) -> Line:
    all_lines = lines(state)
    return all_lines[min(state.cursor, len(all_lines) - 1)]


def change(by: int) -> Action:
    """Takes the next or previous value of a setting, or shows or hides a view or column."""

    def action(state: State) -> State:
        kind, key = _current(state)
        if kind == "choice":
            (choice,) = (choice for choice in _CHOICES if choice.key == key)
            values, value = choice.values, choice.get(state)
            at = values.index(value) if value in values else 0
            return choice.put(state, values[(at + by) % len(values)])
        if kind == "meter":
            shown = set(state.setup.meters) ^ {key}
            meters = tuple(meter for meter in METERS if meter in shown)
            return replace(state, setup=replace(state.setup, meters=meters))
        if kind == "view":
            views = _with_or_without(state.setup.views, key)
            return _with_cursor(replace(state, setup=replace(state.setup, views=views)), kind, key)
        state = replace(state, columns=switched(state.columns, key))
        return _with_cursor(state, kind, key)

    return action


def _with_or_without(chosen: tuple[str, ...], key: str) -> tuple[str, ...]:
    """The chosen views with one more, or without it; at least one stays."""
    if key not in chosen:
        return (*chosen, key)
    return tuple(other for other in chosen if other != key) or chosen


def shift(by: int) -> Action:
    """Moves a view or column up or down among those that are shown."""

    def action(state: State) -> State:
        kind, key = _current(state)
        chosen = {"view": state.setup.views, "column": state.columns}.get(kind, ())
        if key not in chosen:
            return replace(state, notice="only views and columns that are shown have an order")
        at = chosen.index(key)
        others = [other for other in chosen if other != key]
        others.insert(max(0, at + by), key)
        moved = tuple(others)
        if kind == "view":
            state = replace(state, setup=replace(state.setup, views=moved))
        else:
            state = replace(state, columns=moved)
        return _with_cursor(state, kind, key)

    return action


def _with_cursor(state: State, kind: str, key: str) -> State:
    """The state with the cursor on a line, wherever it is now."""
    return replace(state, cursor=lines(state).index((kind, key)))


def save(state: State) -> State:
    """Requests that the setup is written."""
    return replace(state, request="setup")


def document(state: State) -> dict[str, Any]:
    """The setup as the file has it: what differs from the defaults."""
    usual = State()
    found: dict[str, Any] = {
        choice.key: choice.get(state)
        for choice in _CHOICES
        if choice.get(state) != choice.get(usual)
    }
    if state.setup.views != Setup().views:
        found["views"] = list(state.setup.views)
    for key, value in state.setup.keeping._asdict().items():
        if value != getattr(Keeping(), key):
            found[key] = list(value) if isinstance(value, tuple) else value
    for key in ("meters", "disks", "networks"):
        if (chosen := getattr(state.setup, key)) != getattr(Setup(), key):
            found[key] = list(chosen)
    screens = {}
    now = (state.columns, state.sort, state.descending, state.tree)
    for view, (columns, sort, descending, _) in {**state.views, state.view: now}.items():
        own = COLUMN_SETS[view]
        table: dict[str, Any] = {}
        if columns != own.shown:
            table["columns"] = list(columns)
        if sort != own.sort:
            table["sort"] = sort
        if descending != (sort not in COLUMNS or COLUMNS[sort].descending):
            table["descending"] = descending
        if table:
            screens[view] = table
    return {**found, "screen": screens} if screens else found
