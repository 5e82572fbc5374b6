"""The state of the live view, and the actions that keys are bound to. Pure: an action maps a
state to the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from taskstats.screen import RowKey

from ptop.columns import COLUMN_SETS, COLUMNS, GROUPINGS, METERS, READ_METERS, WAIT_COLUMNS
from ptop.filters import what_is_wrong
from ptop.live import tree
from ptop.live.details import Details
from ptop.live.editor import Line, remembered
from ptop.live.tree import Tree
from ptop.times import DELAY_RANGE, is_time, parse_delay
from ptop.values import replace

# Same value as typing.TYPE_CHECKING.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from ptop.targets import Target

# Layouts of the keys, and the colours of `ptop.live.theme`.
LAYOUTS = ("htop", "vim")
THEMES = ("16", "mono", "dark", "light")
# Limits of the speed of a replay; 1 is the speed of the recording.
SLOWEST, FASTEST = 0.125, 128.0
# Columns of the terminal by which a command line scrolls.
SCROLL = 8
# Lines of a page that are not its list: title, message or keys.
PAGE_FRAME = 2


class Acting(NamedTuple):
    """What the user is about to do: `kind` is signal, nice, nice by, ionice or affinity, `value`
    the chosen one, `targets` the tasks, and `left_out` says which rows are none and why."""

    kind: str = ""
    value: int | frozenset[int] = 0
    targets: tuple[Target, ...] = ()
    left_out: str = ""
    # Of the command line: no task is changed, and root is kept.
    read_only: bool = False
    keep_root: bool = False


class Past(NamedTuple):
    """What the user has chosen for the intervals before: whether a file of them has command
    lines, and how many seconds it spans."""

    cmdlines: bool = True
    span_s: float = 0.0


class Comparing(NamedTuple):
    """The page that compares two spans: what its rows are of, their times, and its head."""

    by: str = "task"
    title: str = ""
    head: str = ""


class Keeping(NamedTuple):
    """What the setup file says about the history and the files at a spike, as it is written
    there; it holds from the next start on."""

    history: str = "60m"
    history_size: str = "64M"
    on_spike: tuple[str, ...] = ()
    spike_dir: str = "."
    spike_files: int = 10
    spike_gap: str = "5m"


class Setup(NamedTuple):
    """What the setup page changes beside the table: `views` are those that Tab goes through,
    `view` is the first of a start, `path` the file, empty where it must not be written, and `why`
    why not."""

    theme: str = "16"
    ascii: bool = False
    key_bar: bool = True
    tabs: bool = True
    view: str = "live"
    views: tuple[str, ...] = tuple(COLUMN_SETS)
    keeping: Keeping = Keeping()
    meters: tuple[str, ...] = METERS
    # The disks and interfaces that the meters count; all where empty.
    disks: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    # What there is to say of the limits of cgroups here; may be empty.
    cgroups: str = ""
    path: str = ""
    why: str = "the setup file is not used here"


class State(NamedTuple):
    """What the user has chosen, and the position on the screen.

    `mode` is table, help, books, machine, setup, columns, sort or users, or what is typed:
    filter, search, delay, time, save or write; details is the table with the pane of a task below
    it, strace a question there; those that act on tasks are in `ptop.live.acting`. `notice` is a
    line that replaces the last one for a while, `wrong` says in a prompt what is wrong with it.
    `request` asks for what only the data can answer: frame and where it is, time and what was
    typed, moment and its time, match and where it is, users, tag, family, toggle, kthreads,
    redraw, mouse, setup, name, save and where, act and what, mark, compare, history, write and a
    file.
    """

    view: str = "live"
    # The columns, sort key, order and tree of the other views.
    views: Mapping[str, tuple[tuple[str, ...], str, bool, Tree]] = MappingProxyType({})
    columns: tuple[str, ...] = COLUMN_SETS["live"].shown
    sort: str = COLUMN_SETS["live"].sort
    descending: bool = True
    # All columns that may be chosen.
    known: tuple[str, ...] = tuple(COLUMNS)
    threads: bool = False
    group_by: str = ""
    tree: Tree = Tree()
    filter: str = ""
    # While a filter is typed, the last text that was one.
    trial: str = ""
    delay: float = 1.0
    paused: bool = False
    top: int = 0
    selected: int = 0
    selecting: bool = False
    # The selected task or group; it is known after the row was drawn.
    selected_key: RowKey | None = None
    # Whether the list scrolls with the selected row.
    follow: bool = False
    # Rows with a mark, and the user whose tasks are shown alone: id and name.
    tagged: frozenset[RowKey] = frozenset()
    user: tuple[int, str] | None = None
    no_kernel_threads: bool = False
    no_dead: bool = False
    # Whether the terminal reports the mouse.
    mouse: bool = True
    scroll: int = 0
    # What was searched for last, and the selection before this search.
    search: str = ""
    # Whether a file that is saved has the arguments of command lines.
    save_arguments: bool = False
    acting: Acting = Acting()
    origin: tuple[int, int, RowKey | None, bool] = (0, 0, None, False)
    details: Details = Details()
    setup: Setup = Setup()
    comparing: Comparing = Comparing()
    mode: str = "table"
    entry: Line = Line()
    history: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    wrong: str = ""
    # The line of a page or of a list, and what the list offers.
    cursor: int = 0
    items: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    quit: bool = False
    notice: str = ""
    request: str = ""
    layout: str = "htop"
    past: Past = Past()
    # Of a replay.
    recorded: bool = False
    speed: float = 1.0
    # Rows that the last frame had room for, and rows in all; paging depends on them.
    page_rows: int = 10
    total_rows: int = 0
    # The size of the terminal.
    width: int = 80
    height: int = 24


class Limits(NamedTuple):
    """What the command line excludes from a view: other pids, rows beyond a number."""

    pids: tuple[int, ...] | None = None
    rows: int | None = None


Action = Callable[[State], State]


def shown_meters(state: State) -> tuple[str, ...]:
    """What is above the table of the present view."""
    if COLUMN_SETS[state.view].meters:
        return state.setup.meters
    return tuple(meter for meter in state.setup.meters if meter not in READ_METERS)


def with_row(state: State, row: int) -> State:
    """The state with this row selected and on the screen; nothing is followed any more."""
    row = max(0, min(row, state.total_rows - 1))
    top = min(max(state.top, row - state.page_rows + 1), row)
    at = replace(state, selected=row, selected_key=None, top=top, selecting=True)
    return replace(at, follow=False)


def _with_cursor(state: State, line: int, lines: int) -> State:
    return replace(state, cursor=max(0, min(line, lines - 1)))


def move(by: int, lines: Callable[[State], int], pages: bool = False) -> Action:
    """Moves by rows of the table, or by lines of a page or list that has `lines`. Where no row
    is selected, a step selects the first on the screen."""

    def action(state: State) -> State:
        if state.mode == "table":
            if not (state.selecting or pages) and abs(by) == 1:
                return with_row(state, state.top)
            return with_row(state, state.selected + by * (state.page_rows if pages else 1))
        rows = max(1, state.height - PAGE_FRAME)
        return _with_cursor(state, state.cursor + by * (rows if pages else 1), lines(state))

    return action


def go_to_end(last: bool, lines: Callable[[State], int]) -> Action:
    """Goes to the first or last row of the table, or line of a page or list."""

    def action(state: State) -> State:
        if state.mode == "table":
            return with_row(state, state.total_rows - 1 if last else 0)
        return _with_cursor(state, lines(state) - 1 if last else 0, lines(state))

    return action


def scroll(by: int) -> Action:
    """Scrolls command lines by columns of the terminal."""
    return lambda state: replace(state, scroll=max(0, state.scroll + by * SCROLL))


def enter(mode: str) -> Action:
    """Opens a page or list at its first line."""
    return lambda state: replace(state, mode=mode, cursor=0)


def leave(state: State) -> State:
    """Closes a page, list or prompt."""
    return replace(state, mode="table", cursor=0, items=(), labels=(), wrong="")


def cancel(state: State) -> State:
    """Closes a prompt; a search goes back to where it began."""
    if state.mode == "search":
        selected, top, key, selecting = state.origin
        state = replace(state, selected=selected, top=top, selected_key=key, selecting=selecting)
    return leave(state)


def ask(request: str) -> Action:
    """Requests what only the data can answer."""
    return lambda state: replace(state, request=request)


def step(place: str) -> Action:
    """Goes to a frame, and pauses there if there is one: who steps wants to look at it."""
    return ask(f"frame {place}")


def go_live(state: State) -> State:
    """Goes to the last frame, and goes on from there."""
    return replace(state, request="frame live", paused=False)


def sort_by(key: str) -> Action:
    """Sorts by a column; the second time reverses the order."""

    def action(state: State) -> State:
        if state.sort == key:
            return replace(state, descending=not state.descending)
        descending = COLUMNS[key].descending if key in COLUMNS else True
        return replace(state, sort=key, descending=descending)

    return action


def sort_by_neighbor(by: int) -> Action:
    """Sorts by the shown column to the left or right."""

    def action(state: State) -> State:
        at = state.columns.index(state.sort) if state.sort in state.columns else 0
        return sort_by(state.columns[(at + by) % len(state.columns)])(state)

    return action


def sort_by_cpu(state: State) -> State:
    """Sorts by the CPU time that the view shows."""
    return sort_by("all_pct" if "all_pct" in state.columns else "total_pct")(state)


def choose_sort(state: State) -> State:
    """Opens the list of shown columns to sort by."""
    at = state.columns.index(state.sort) if state.sort in state.columns else 0
    return replace(state, mode="sort", cursor=at, items=state.columns)


def switch_view(state: State) -> State:
    """Shows the next view."""
    names = state.setup.views
    at = names.index(state.view) + 1 if state.view in names else 0
    return show_view(state, names[at % len(names)])


def show_view(state: State, following: str) -> State:
    """Shows a view; each keeps its columns and order while another one is shown."""
    kept = {**state.views, state.view: (state.columns, state.sort, state.descending, state.tree)}
    new = COLUMN_SETS[following]
    first = (new.shown, new.sort, True, tree.first(new.tree))
    columns, sort, descending, its_tree = kept.get(following, first)
    state = replace(state, view=following, views=kept, columns=columns, sort=sort)
    state = replace(state, tree=its_tree, group_by="" if its_tree.of else state.group_by)
    of_cgroups = state.setup.cgroups if new.tree == "cgroup" else ""
    # The line of tabs shows it.
    name = "" if state.setup.tabs else f"view {following}"
    notice = "; ".join(filter(None, (name, of_cgroups)))
    return replace(state, descending=descending, notice=notice)


def switch_column(state: State) -> State:
    """Shows or hides the column under the cursor."""
    return replace(state, columns=switched(state.columns, state.known[state.cursor]))


def switched(columns: tuple[str, ...], key: str) -> tuple[str, ...]:
    """The columns with one more, or without it, in their order; at least one stays. A new one
    goes before the last, which has the names and the rest of the line."""
    if key in columns:
        return tuple(other for other in columns if other != key) or columns
    return (*columns[:-1], key, *columns[-1:])


def next_grouping(state: State) -> State:
    """Groups rows by the next property."""
    # Sessions are not recorded, and processes have one row each.
    left_out = {"session" if state.recorded else "", "" if state.threads else "process"} - {""}
    ways = ("", *(by for by in GROUPINGS if by not in left_out))
    at = ways.index(state.group_by) if state.group_by in ways else 0
    return replace(state, group_by=ways[(at + 1) % len(ways)], tree=Tree(), top=0)


def _wait_column(state: State) -> str | None:
    return next((key for key in state.columns if key in WAIT_COLUMNS), None)


def next_wait_form(state: State) -> State:
    """Shows what tasks wait for in another way; the first time it adds the column."""
    shown = _wait_column(state)
    if shown is None:
        columns = switched(state.columns, WAIT_COLUMNS[0])
        return replace(state, columns=columns, notice=COLUMNS[WAIT_COLUMNS[0]].doc)
    following = WAIT_COLUMNS[(WAIT_COLUMNS.index(shown) + 1) % len(WAIT_COLUMNS)]
    columns = tuple(following if key == shown else key for key in state.columns)
    sort = following if state.sort == shown else state.sort
    return replace(state, columns=columns, sort=sort, notice=COLUMNS[following].doc)


def sort_by_wait(state: State) -> State:
    """Sorts by what tasks wait for most, and shows it."""
    if _wait_column(state) is None:
        state = replace(next_wait_form(state), notice="")
    return sort_by(_wait_column(state) or state.sort)(state)


def switch_tree(state: State) -> State:
    """Shows tasks under what started them, or as a list again."""
    return replace(state, tree=tree.switched(state.tree), group_by="", top=0)


def change_tree(change: Callable[[Tree], Tree]) -> Action:
    """Collapses or opens rows of the tree; of a list it makes a tree first."""

    def action(state: State) -> State:
        before = state.tree if state.tree.of else Tree("task")
        after = change(before)
        words = "all levels" if after.level is None else f"levels up to {after.level}"
        return replace(state, tree=after, group_by="", notice=f"{words} are open")

    return action


def toggle_row(state: State) -> State:
    """Collapses the selected row of a tree, or opens it."""
    if not state.tree.of:
        return replace(state, notice="t shows the tree of tasks, whose rows + and - open and close")
    if state.selected_key is None:
        return replace(with_row(state, state.selected), notice="select a row, then + opens it")
    return replace(state, tree=tree.toggled(state.tree, state.selected_key))


def toggle_row_or(otherwise: Action) -> Action:
    """In a tree as `toggle_row`, else another action."""
    return lambda state: ask("toggle")(state) if state.tree.of else otherwise(state)


def multiply_speed(by: float) -> Action:
    """Makes a replay faster or slower."""

    def action(state: State) -> State:
        speed = min(max(state.speed * by, SLOWEST), FASTEST)
        return replace(state, speed=speed, notice=f"speed {speed:g}")

    return action


def pause(state: State) -> State:
    """Pauses or continues."""
    return replace(state, paused=not state.paused)


def unselect(state: State) -> State:
    """Clears the selection, and goes to the top."""
    state = replace(state, selecting=False, selected=0, selected_key=None, top=0)
    return replace(state, follow=False)


def follow(state: State) -> State:
    """Keeps the selected row on the screen, wherever it goes, or no longer."""
    if state.follow:
        return replace(state, follow=False, notice="follows no longer")
    return replace(state, follow=True, selecting=True, notice="follows the selected row")


def tag(state: State) -> State:
    """Tags the selected row, or takes its tag away, and goes to the next row."""
    if state.selected_key is None:
        return replace(with_row(state, state.selected), notice="select a row, then Space tags it")
    tagged = state.tagged ^ {state.selected_key}
    return with_row(replace(state, tagged=tagged), state.selected + 1)


def hide_kernel_threads(state: State, exist: bool) -> State:
    """Hides kernel threads, or shows them again, if there are any."""
    if not exist and not state.no_kernel_threads:
        return replace(state, notice="no kernel threads here")
    return replace(state, no_kernel_threads=not state.no_kernel_threads, top=0)


def hide_dead(state: State) -> State:
    """Hides tasks that died, or shows them again."""
    return replace(state, no_dead=not state.no_dead, top=0)


def switch_mouse(state: State) -> State:
    """Lets the terminal report the mouse, or keep it for itself."""
    has = "is the terminal's: it marks text" if state.mouse else "is ptop's"
    return replace(state, mouse=not state.mouse, request="mouse", notice=f"the mouse {has}")


def untag_all(state: State) -> State:
    """Takes all tags away."""
    return replace(state, tagged=frozenset(), notice="no row is tagged")


def offer_users(state: State, users: Sequence[tuple[int, str, int]]) -> State:
    """Opens the list of users: their ids, names and numbers of tasks."""
    items = ("", *(str(uid) for uid, _, _ in users))
    labels = ("all users", *(f"{name:<16}{tasks:>6} tasks" for _, name, tasks in users))
    at = items.index(str(state.user[0])) if state.user and str(state.user[0]) in items else 0
    return replace(state, mode="users", cursor=at, items=items, labels=labels)


def pick(state: State) -> State:
    """Takes the item of a list under the cursor."""
    done = leave(state)
    if not state.items:
        return done
    picked = state.items[state.cursor]
    if state.mode == "sort":
        return done if picked == state.sort else sort_by(picked)(done)
    name = state.labels[state.cursor].split()[0]
    return replace(done, user=(int(picked), name) if picked else None, top=0)


def type_in(mode: str) -> Action:
    """Opens a prompt; that of the filter has the present one."""

    def action(state: State) -> State:
        history = state.history.get(mode, ())
        entry = Line.of(state.filter if mode == "filter" else "", history)
        origin = (state.selected, state.top, state.selected_key, state.selecting)
        return replace(state, mode=mode, entry=entry, wrong="", origin=origin, trial=state.filter)

    return action


def offer_name(state: State, name: str, arguments: bool) -> State:
    """Opens the prompt for the name of a file to save to."""
    entry = Line.of(name, state.history.get("save", ()))
    return replace(state, mode="save", entry=entry, wrong="", save_arguments=arguments)


def typed(state: State, entry: Line) -> State:
    """The state after the line of a prompt has changed. A search follows it."""
    changed = entry.text != state.entry.text
    state = replace(state, entry=entry)
    if state.mode == "search" and changed:
        return replace(state, request="match here")
    if state.mode != "filter":
        return state
    if wrong := what_is_wrong(entry.text):
        return replace(state, wrong=wrong)
    return replace(state, trial=entry.text, top=0) if changed else state


def commit(state: State) -> State:
    """Takes what was typed, or says what is wrong with it."""
    mode, text = state.mode, state.entry.text
    history = {**state.history, mode: remembered(state.history.get(mode, ()), text)}
    done = replace(leave(state), history=history)
    if mode == "filter":
        wrong = what_is_wrong(text)
        return replace(state, wrong=wrong) if wrong else replace(done, filter=text, top=0)
    if mode == "search":
        return replace(done, search=text or state.search)
    if not text:
        return done
    if mode == "save":
        return replace(done, request=f"save {text}")
    if mode == "time":
        if not is_time(text):
            # The prompt has the forms.
            return replace(state, wrong=f"{text!r} is not a time")
        return replace(done, request=f"time {text}")
    if mode == "write":
        return replace(done, request=f"write {text}")
    delay = parse_delay(text)
    if delay is None:
        return replace(state, wrong=f"{text!r} is not a number of seconds {DELAY_RANGE}")
    return replace(done, delay=delay)
