"""The state of the live view, and what each key does to it. Pure: `press` maps a state and a
key to the next state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from taskstats.screen import RowKey

from ptop.columns import COLUMN_SETS, COLUMNS, GROUPINGS
from ptop.times import DELAY_RANGE, parse_delay

# Limits of the speed of a replay; 1 is the speed of the recording.
SLOWEST, FASTEST = 0.125, 128.0


@dataclass(frozen=True, slots=True)
class State:
    """What the user has chosen, and the position on the screen.

    `mode` is table, help, books, columns, or what is being typed: filter, delay or time. `notice`
    is a line that replaces the sums until the next frame or key.
    """

    view: str = "live"
    # The columns, sort key and order of the other views.
    views: tuple[tuple[str, tuple[tuple[str, ...], str, bool]], ...] = ()
    columns: tuple[str, ...] = COLUMN_SETS["live"].columns
    sort: str = COLUMN_SETS["live"].sort
    descending: bool = True
    threads: bool = False
    group_by: str = ""
    filter: str = ""
    delay: float = 1.0
    paused: bool = False
    top: int = 0
    selected: int = 0
    selecting: bool = False
    # The selected task or group; it is known after the row was drawn.
    selected_key: RowKey | None = None
    # Whether the list scrolls with the selected row.
    follow: bool = False
    mode: str = "table"
    entry: str = ""
    cursor: int = 0
    quit: bool = False
    notice: str = ""
    # Of a replay. `goto` is the frame to go to: first, last, next, previous, here, spike,
    # spike before, or "time" and what was typed.
    recorded: bool = False
    speed: float = 1.0
    goto: str = ""
    # Rows that the last frame had room for, and rows in all; paging depends on them.
    page_rows: int = 10
    total_rows: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the command line excludes from a view: other pids, rows beyond a number."""

    pids: tuple[int, ...] | None = None
    rows: int | None = None


Action = Callable[[State], State]


def _move(by: int) -> Action:
    def move(state: State) -> State:
        return _select(state, state.selected + by)

    return move


def _page(by: int) -> Action:
    def page(state: State) -> State:
        return _select(state, state.selected + by * max(1, state.page_rows))

    return page


def _select(state: State, row: int) -> State:
    row = max(0, min(row, state.total_rows - 1))
    top = min(max(state.top, row - state.page_rows + 1), row)
    return replace(state, selected=row, selected_key=None, top=top, selecting=True)


def _sort_by(key: str) -> Action:
    def sort(state: State) -> State:
        if state.sort == key:
            return replace(state, descending=not state.descending)
        return replace(state, sort=key, descending=COLUMNS[key].descending)

    return sort


def _sort_by_neighbor(by: int) -> Action:
    def sort(state: State) -> State:
        at = state.columns.index(state.sort) if state.sort in state.columns else 0
        key = state.columns[(at + by) % len(state.columns)]
        descending = COLUMNS[key].descending if key in COLUMNS else True
        return replace(state, sort=key, descending=descending)

    return sort


def _switch_view(state: State) -> State:
    """The next view; each keeps its columns and order while another one is shown."""
    names = tuple(COLUMN_SETS)
    following = names[(names.index(state.view) + 1) % len(names)]
    mine = (state.view, (state.columns, state.sort, state.descending))
    kept = {**dict(state.views), mine[0]: mine[1]}
    new = COLUMN_SETS[following]
    columns, sort, descending = kept.get(following, (new.columns, new.sort, True))
    return replace(
        state,
        view=following,
        views=tuple(kept.items()),
        columns=columns,
        sort=sort,
        descending=descending,
        notice=f"view {following}",
    )


def _next_grouping(state: State) -> State:
    # Sessions are not recorded, and processes have one row each.
    left_out = {"session" if state.recorded else "", "" if state.threads else "process"} - {""}
    ways = ("", *(by for by in GROUPINGS if by not in left_out))
    at = ways.index(state.group_by) if state.group_by in ways else 0
    return replace(state, group_by=ways[(at + 1) % len(ways)], top=0)


def _goto(place: str) -> Action:
    def go(state: State) -> State:
        # A user who steps wants to look at the frame.
        return replace(state, goto=place, paused=True)

    return go


def _multiply_speed(by: float) -> Action:
    def change(state: State) -> State:
        speed = min(max(state.speed * by, SLOWEST), FASTEST)
        return replace(state, speed=speed, notice=f"speed {speed:g}")

    return change


@dataclass(frozen=True, slots=True)
class Key:
    """A key binding. `shown` and `doc` are its line on the help page."""

    names: tuple[str, ...]
    shown: str
    doc: str
    action: Action


KEYS: tuple[Key, ...] = (
    Key(("q", "Q", "KEY_F10"), "q F10", "quit", lambda s: replace(s, quit=True)),
    Key(("?", "h", "KEY_F1"), "? h F1", "this help", lambda s: replace(s, mode="help")),
    Key(("j", "KEY_DOWN"), "j down", "select the next row", _move(1)),
    Key(("k", "KEY_UP"), "k up", "select the previous row", _move(-1)),
    Key(("KEY_PGDOWN",), "PgDn", "a page down", _page(1)),
    Key(("KEY_PGUP",), "PgUp", "a page up", _page(-1)),
    Key(("g", "KEY_HOME"), "g Home", "to the first row", lambda s: _select(s, 0)),
    Key(("G", "KEY_END"), "G End", "to the last row", lambda s: _select(s, s.total_rows - 1)),
    Key(("<", ","), "<", "sort by the column to the left", _sort_by_neighbor(-1)),
    Key((">", "."), ">", "sort by the column to the right", _sort_by_neighbor(1)),
    Key(("r", "I"), "r I", "reverse the order", lambda s: replace(s, descending=not s.descending)),
    Key(("t", "H"), "t H", "processes or threads", lambda s: replace(s, threads=not s.threads)),
    Key(("v",), "v", "the next view: live, waits, snap", _switch_view),
    Key(("F",), "F", "group the dead with parents, or tasks by a property", _next_grouping),
    Key(
        ("/", "KEY_F4"),
        "/ F4",
        "show only rows with a name or pid",
        lambda s: replace(s, mode="filter", entry=s.filter),
    ),
    Key(("f", "KEY_F2"), "f F2", "choose columns", lambda s: replace(s, mode="columns", cursor=0)),
    Key(("b",), "b", "where the CPU time went", lambda s: replace(s, mode="books")),
    Key(("d",), "d", "change the interval", lambda s: replace(s, mode="delay", entry="")),
    Key((" ", "Z"), "space Z", "pause or continue", lambda s: replace(s, paused=not s.paused)),
    Key(
        ("KEY_ESCAPE",),
        "Esc",
        "clear the selection, go to the top",
        lambda s: replace(s, selecting=False, selected=0, selected_key=None, top=0),
    ),
)

# Keys of a replay. They take precedence over the keys of the live view.
REPLAY_KEYS: tuple[Key, ...] = (
    Key(("KEY_RIGHT",), "right", "the next frame", _goto("next")),
    Key(("KEY_LEFT",), "left", "the previous frame", _goto("previous")),
    Key(("]", "}"), "]", "the next spike of the sorted column", _goto("spike")),
    Key(("[", "{"), "[", "the previous spike", _goto("spike before")),
    Key(("^",), "^", "the first frame", _goto("first")),
    Key(("$",), "$", "the last frame", _goto("last")),
    Key(
        ("@", "d"),
        "@ d",
        "go to a time; +90s and -5m count from this frame",
        lambda s: replace(s, mode="time", entry="", paused=True),
    ),
    Key(("+", "="), "+", "twice as fast", _multiply_speed(2)),
    Key(("-",), "-", "half as fast", _multiply_speed(0.5)),
    Key(("t", "H"), "t H", "show the number of this frame", _goto("here")),
)

_SORT_KEYS = tuple(
    Key((column.hotkey,), column.hotkey, f"sort by {column.title}", _sort_by(column.key))
    for column in COLUMNS.values()
    if column.hotkey
)

_ACTIONS: Mapping[str, Action] = {
    name: key.action for key in (*_SORT_KEYS, *KEYS) for name in key.names
}

_REPLAY_ACTIONS: Mapping[str, Action] = {
    **_ACTIONS,
    **{name: key.action for key in REPLAY_KEYS for name in key.names},
}

# The lines of the help page: keys and what they do.
HELP: tuple[tuple[str, str], ...] = (
    *((key.shown, key.doc) for key in KEYS),
    (
        " ".join(key.shown for key in _SORT_KEYS),
        "sort by "
        + ", ".join(column.title for column in COLUMNS.values() if column.hotkey)
        + "; again reverses",
    ),
)

# The same for a replay: its own keys, and as many of the others as fit on 24 lines.
REPLAY_HELP: tuple[tuple[str, str], ...] = (
    *((key.shown, key.doc) for key in REPLAY_KEYS),
    *(
        (key.shown, key.doc)
        for key in KEYS
        if key.names[0] in {" ", "v", "F", "/", "f", "j", "<", "r", "q"}
    ),
    ("", "other keys are as in the live view: man ptop"),
)


def press(state: State, key: str) -> State:
    """The state after `key`, a character or a name such as KEY_UP."""
    state = replace(state, notice="")
    if state.mode in {"help", "books"}:
        return replace(state, mode="table")
    if state.mode == "columns":
        return _choose_column(state, key)
    if state.mode in {"filter", "delay", "time"}:
        return _type(state, key)
    action = (_REPLAY_ACTIONS if state.recorded else _ACTIONS).get(key)
    return action(state) if action else state


def _choose_column(state: State, key: str) -> State:
    keys = tuple(COLUMNS)
    if key in {"j", "KEY_DOWN"}:
        return replace(state, cursor=min(state.cursor + 1, len(keys) - 1))
    if key in {"k", "KEY_UP"}:
        return replace(state, cursor=max(state.cursor - 1, 0))
    if key != " ":
        return replace(state, mode="table")
    # Columns keep their order; a new one comes before the last, which has the names.
    key = keys[state.cursor]
    if key in state.columns:
        chosen = tuple(other for other in state.columns if other != key)
    else:
        chosen = (*state.columns[:-1], key, *state.columns[-1:])
    # At least one column stays.
    return replace(state, columns=chosen or state.columns)


def _type(state: State, key: str) -> State:
    if key == "KEY_ESCAPE":
        return replace(state, mode="table", entry="")
    if key in {"KEY_BACKSPACE", "KEY_DELETE"}:
        return replace(state, entry=state.entry[:-1])
    if key == "KEY_ENTER":
        done = replace(state, mode="table", entry="")
        if state.mode == "filter":
            return replace(done, filter=state.entry, top=0)
        if state.mode == "time":
            return replace(done, goto=f"time {state.entry}") if state.entry else done
        delay = parse_delay(state.entry)
        if delay is None and state.entry:
            return replace(done, notice=f"{state.entry!r} is not a number of seconds {DELAY_RANGE}")
        return replace(done, delay=delay or state.delay)
    # A byte that is not UTF-8 is a surrogate.
    if len(key) == 1 and (key.isprintable() or "\udc80" <= key <= "\udcff"):
        return replace(state, entry=state.entry + key)
    return state
