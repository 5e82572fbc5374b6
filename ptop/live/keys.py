"""The one table of keys: bindings, the key bar, help, the man page and docs/keys.md are made
of it. Pure: `press` maps a state and a key to the next state.

Design decisions

* Where keys collide, those of htop count. Nothing essential is on a key that needs AltGr on
  a common keyboard, and no layout binds `k` to a signal: it moved the selection up before.
* A key that is not bound is answered. One that 0.1.0 had is answered with its new place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

from ptop.columns import COLUMN_SETS
from ptop.live import acting, comparing, editor, history, looking, machine, setup, state, tree
from ptop.live.decoder import Event, Mouse, Paste
from ptop.live.state import Action, State
from ptop.values import replace

# Where the user looks at something, chooses from a list, and types a text.
LISTS = ("columns", "setup", "sort", "users", "compare", *acting.LISTS)
_TEXTS = ("filter", "search", "delay", "time", "save", "write")
PROMPTS = (*_TEXTS, *acting.PROMPTS)
PAGES = ("help", "books", machine.MODE, "refused", *LISTS)
_PANE = ("details",)
_WITH_PANE = ("table", *_PANE)
_WITH_GRAPHS = (*_PANE, machine.MODE)
MODES = ("table", *_PANE, "strace", *PAGES, *PROMPTS)

# Rows that the wheel of the mouse moves.
WHEEL_ROWS = 3


class Key(NamedTuple):
    """A binding. `names` are the keys, separated by spaces, in the layout htop, and `vim` those
    of the other layout if they differ. `views` are live, replay or both. `htop`, `top` and
    `old` are the keys that htop, top and ptop 0.1.0 have for it; `word` is its word in the key
    bar."""

    names: str
    doc: str
    action: Action
    word: str = ""
    vim: str | None = None
    modes: tuple[str, ...] = ("table",)
    views: tuple[str, ...] = ("live", "replay")
    htop: str = ""
    top: str = ""
    old: str = ""

    def shown(self, layout: str) -> str:
        """The keys of a layout, separated by spaces."""
        return self.names if layout == "htop" or self.vim is None else self.vim


def lines_of(now: State) -> int:
    """Number of lines of the page or list that is shown."""
    if now.mode == "help":
        # The last line of the page is at the foot of the screen.
        return max(1, len(help_lines(now)) - max(1, now.height - state.PAGE_FRAME) + 1)
    if now.mode in {"books", machine.MODE, "refused"}:
        return 1
    if now.mode == "setup":
        return len(setup.lines(now))
    return len(now.known if now.mode == "columns" else now.items)


def _move(by: int, pages: bool = False) -> Action:
    return state.move(by, lines_of, pages)


def _end(last: bool) -> Action:
    return state.go_to_end(last, lines_of)


_EVERYWHERE = ("table", *PAGES)
# Where there are rows or lines to go to.
_WITH_LINES = ("table", "help", *LISTS)
_LIVE, _REPLAY = ("live",), ("replay",)

_VIEW: tuple[Key, ...] = (
    Key(
        "F1 ? h", "help: all keys", state.enter("help"), "Help", "F1 ?", htop="F1 ? h", top="? h",
        old="? h F1",
    ),
    Key("F2 S", "setup: views, columns and their order, theme, keys", state.enter("setup"),
        "Setup", htop="F2 S", top="W"),
    Key("f", "choose columns", state.enter("columns"), top="f", old="f F2"),
    Key("F3 /", "search: select the next row that matches", state.type_in("search"),
        "Search", htop="F3 /", top="L"),
    Key("", "the next row that matches", state.ask("match next"), vim="n", views=_LIVE),
    Key("", "the previous row that matches", state.ask("match previous"), vim="N", views=_LIVE),
    Key("F4 \\", "filter: show only rows that match", state.type_in("filter"), "Filter",
        htop="F4 \\", top="o", old="/ F4"),
    Key("F5 t", "tasks as a tree, each with the sums of what it started", state.switch_tree, "Tree",
        htop="F5 t", top="V"),
    Key("F6", "choose the column to sort by", state.choose_sort, "Sort", htop="F6",
        old="p U u y e i o n"),
    Key("<", "sort by the column to the left", state.sort_by_neighbor(-1), top="<", old="< ,",
        modes=_WITH_PANE),
    Key(">", "sort by the column to the right", state.sort_by_neighbor(1), top=">", old="> .",
        modes=_WITH_PANE),
    Key("P", "sort by CPU time of the interval", state.sort_by_cpu, htop="P", top="P", old="c",
        modes=_WITH_PANE),
    Key("M", "sort by resident memory", state.sort_by("rss_kb"), htop="M", top="M", old="m",
        modes=_WITH_PANE),
    Key("T", "sort by CPU time since the start", state.sort_by("cpu_ns"), htop="T", top="T",
        old="T", modes=_WITH_PANE),
    Key("w", "what tasks wait for: bar, %, ms, longest wait, its end",
        state.next_wait_form),
    Key("D", "sort by what tasks wait for most", state.sort_by_wait),
    Key("I r", "reverse the order", lambda now: replace(now, descending=not now.descending),
        htop="I", top="R", old="r I", modes=_WITH_PANE),
    Key("H", "processes or threads", lambda now: replace(now, threads=not now.threads),
        views=_LIVE, htop="H", top="H", old="H"),
    Key("K", "hide or show kernel threads", state.ask("kthreads"), htop="K"),
    Key("X", "hide or show the tasks that died", state.hide_dead),
    Key("x", "save the rows as CSV or JSON, without arguments", state.ask("name"), top="W"),
    Key("Alt-x", "save the rows with the arguments of command lines",
        state.ask("name with arguments")),
    Key("Alt-m", "let ptop or the terminal have the mouse", state.switch_mouse),
    Key("Tab v", "the next view: " + ", ".join(COLUMN_SETS), state.switch_view, htop="Tab",
        old="v"),
    Key("+ -", "open or close the selected row of the tree", state.ask("toggle"), views=_LIVE,
        htop="+ -"),
    Key("*", "close or open all rows of the tree", state.change_tree(tree.collapsed), htop="*"),
    Key("(", "a level of the tree less", state.change_tree(lambda now: tree.deeper(now, -1))),
    Key(")", "a level of the tree more", state.change_tree(lambda now: tree.deeper(now, 1))),
    Key("u", "show the tasks of one user", state.ask("users"), htop="u", top="u U"),
    Key("z", "group the dead with parents, or tasks by a property", state.next_grouping, old="F"),
    Key("b", "where the CPU time went", state.enter("books")),
    Key("g", "graphs of CPUs, memory, disks, networks: the last minutes",
        state.enter(machine.MODE), vim="Alt-g"),
    Key("Z", "pause or continue", state.pause, views=_LIVE, htop="Z", old="Space Z"),
    Key("Space Z", "pause or continue", state.pause, views=_REPLAY, old="Space Z"),
    Key("d", "change the interval", state.type_in("delay"), views=_LIVE, top="d s", old="d"),
)  # fmt: skip

_ACTS: tuple[Key, ...] = (
    Key("F9", "signal the tagged tasks, or the selected one: a menu", acting.begin("signal"),
        "Signal", views=_LIVE, htop="F9 k", top="k"),
    Key("F7 ]", "a nice value lower by 1: runs earlier", acting.begin("nice by", -1),
        views=_LIVE, htop="F7 ]"),
    Key("F8 [", "a nice value higher by 1: runs later", acting.begin("nice by", 1), views=_LIVE,
        htop="F8 ["),
    Key("R", "set the nice value", acting.begin("nice"), views=_LIVE, top="r"),
    Key("i", "set the I/O priority", acting.begin("ionice"), views=_LIVE, htop="i"),
    Key("a", "set the CPUs to run on", acting.begin("affinity"), views=_LIVE, htop="a"),
)  # fmt: skip

_MOVES: tuple[Key, ...] = (
    Key("Down", "the next row or line", _move(1), "", "j Down", _WITH_LINES, htop="Down",
        top="Down", old="j Down"),
    Key("Up", "the previous row or line", _move(-1), "", "k Up", _WITH_LINES, htop="Up",
        top="Up", old="k Up"),
    Key("PgDn", "a page down", _move(1, True), "", "Ctrl-F PgDn", _WITH_LINES, htop="PgDn",
        top="PgDn", old="PgDn"),
    Key("PgUp", "a page up", _move(-1, True), "", "Ctrl-B PgUp", _WITH_LINES, htop="PgUp",
        top="PgUp", old="PgUp"),
    Key("Home", "the first row or line", _end(False), "", "g Home", _WITH_LINES, htop="Home",
        top="Home", old="g Home"),
    Key("End", "the last row or line", _end(True), "", "G End", _WITH_LINES, htop="End",
        top="End", old="G End"),
    Key("F", "follow the selected row", state.follow, htop="F"),
    Key("Space Insert", "tag the row", state.ask("tag"), views=_LIVE, htop="Space"),
    Key("c", "tag the row of a tree with all rows below it", state.ask("family"), htop="c"),
    Key("Insert", "tag the row", state.ask("tag"), views=_REPLAY),
    Key("U", "take all tags away", state.untag_all, htop="U"),
    Key("Left", "scroll command lines to the left", state.scroll(-1), "", "h Left",
        htop="Left", top="Left"),
    Key("Right", "scroll command lines to the right", state.scroll(1), "", "l Right",
        htop="Right", top="Right"),
    Key("Esc", "clear the selection, go to the top", state.unselect, old="Esc"),
    Key("Ctrl-L", "draw the screen again", state.ask("redraw"), modes=_EVERYWHERE,
        htop="Ctrl-L", top="Enter", old="Ctrl-L"),
    Key("F10 q Q", "quit", lambda now: replace(now, quit=True), "Quit", htop="F10 q", top="q",
        old="q Q F10"),
)  # fmt: skip

_FRAMES: tuple[Key, ...] = (
    Key(". Shift-Right", "the next frame", state.step("next"), old="Right"),
    Key(", Shift-Left", "the previous frame", state.step("previous"), old="Left"),
    Key("n", "the next spike of the sorted column, or of its sum", state.step("spike"),
        vim="Ctrl-N", views=_LIVE),
    Key("N", "the previous spike", state.step("spike before"), vim="Ctrl-P", views=_LIVE),
    Key("n", "the next spike of the sorted column, or of its sum", state.step("spike"),
        views=_REPLAY, old="] }"),
    Key("N", "the previous spike", state.step("spike before"), views=_REPLAY, old="[ {"),
    Key("Ctrl-Home ^", "the first frame", state.step("first"), old="^"),
    Key("Ctrl-End $", "the last frame", state.step("last"), old="$"),
    Key("L", "live again: the last frame, and on from there", state.go_live),
    Key("@ J", "go to a time; +90s and -5m count from this frame", state.type_in("time"),
        views=_LIVE),
    Key("d @", "go to a time; +90s and -5m count from this frame", state.type_in("time"),
        views=_REPLAY, old="@ d"),
    Key("m", "mark this moment; up to three marks", state.ask("mark")),
    Key("=", "what happened since the mark; more marks: compare two spans",
        state.step("difference")),
    Key("W", "write the kept frames to a file for ptop replay", state.ask("history"),
        views=_LIVE),
    Key("+", "twice as fast; in a tree, open or close the selected row",
        state.toggle_row_or(state.multiply_speed(2)), views=_REPLAY, old="+ ="),
    Key("-", "half as fast; in a tree as +", state.toggle_row_or(state.multiply_speed(0.5)),
        views=_REPLAY, old="-"),
)  # fmt: skip

_LIST_KEYS: tuple[Key, ...] = (
    Key("Space", "show or hide the column", state.switch_column, "Switch", modes=("columns",)),
    Key("Space Enter Right", "the next value; show or hide", setup.change(1), "Change",
        modes=("setup",)),
    Key("Left", "the value before", setup.change(-1), modes=("setup",)),
    Key("F7 -", "move the view or column up", setup.shift(-1), "Up", modes=("setup",)),
    Key("F8 +", "move the view or column down", setup.shift(1), "Down", modes=("setup",)),
    Key("w", "write the setup file", setup.save, "Write", modes=("setup",)),
    Key("Esc q F10 F2", "back to the table", state.leave, "Back", modes=("setup",)),
    Key("Enter", "choose the line", state.pick, "Choose", modes=("sort", "users")),
    Key("Tab z", "by task, name, user or cgroup", comparing.next_by, "By", modes=("compare",)),
    Key("Enter", "send the signal", acting.pick_signal, "Choose", modes=("signal",)),
    Key("Enter", "answer the question", acting.answer, "Choose", modes=("confirm",)),
    Key("Esc q F10 Enter F1", "back to the table", state.leave, "Back",
        modes=("help", "books", "refused")),
    Key("Esc q F10 Enter g", "back to the table", state.leave, "Back", "Esc q F10 Alt-g",
        (machine.MODE,)),
    Key("Esc q F10 Enter F2", "back to the table", state.leave, "Back", modes=("columns",)),
    Key("Esc q F10", "back to the table", state.leave, "Back",
        modes=("sort", "users", "compare", *acting.LISTS)),
)  # fmt: skip

_PROMPT_KEYS: tuple[Key, ...] = (
    Key("Enter", "take what was typed", state.commit, "Done", modes=_TEXTS),
    Key("Enter", "set the value", acting.commit, "Done", modes=acting.PROMPTS),
    Key("Esc Ctrl-G", "leave all as it was", state.cancel, "Cancel", modes=PROMPTS),
    Key("Tab", "with or without command lines", history.switch_cmdlines, "Command lines",
        modes=("write",)),
    Key("F3 Ctrl-S", "the next row that matches", state.ask("match next"), "Next",
        modes=("search",), htop="F3"),
    Key("Shift-F3 Ctrl-R", "the previous row that matches", state.ask("match previous"),
        modes=("search",), htop="Shift-F3"),
)  # fmt: skip


def _edit(names: str, doc: str, edit: editor.Edit) -> Key:
    return Key(names, doc, lambda now: state.typed(now, edit(now.entry)), modes=PROMPTS)


_EDIT_KEYS = tuple(_edit(*entry) for entry in editor.EDITS)

_PANE_KEYS: tuple[Key, ...] = (
    Key("Enter", "look into the selected task: a pane that follows", looking.open_pane, "Details"),
    Key("Enter Esc q F10", "close the pane, or what runs in it", looking.close, "Close",
        modes=_PANE),
    Key("Down", "the next row", looking.move(1), "", "j Down", _PANE),
    Key("Up", "the previous row", looking.move(-1), "", "k Up", _PANE),
    Key("PgDn", "scroll the pane down", looking.scroll(1), "More", "Ctrl-F PgDn", _PANE),
    Key("PgUp", "scroll the pane up", looking.scroll(-1), "", "Ctrl-B PgUp", _PANE),
    Key("e", "the environment: names", looking.environment, "Environment", modes=_PANE,
        views=_LIVE),
    Key("v", "show or mask the values of the environment", looking.values, modes=_PANE,
        views=_LIVE),
    Key("m", "memory with shared pages in parts (PSS): slow", looking.memory, "PSS", modes=_PANE,
        views=_LIVE),
    Key("s", "system calls by strace; asks first", looking.ask_strace, "strace", modes=_PANE,
        views=_LIVE, htop="s"),
    Key("y", "run strace, which stops the task at each call", looking.run("strace"), "Run",
        modes=("strace",)),
    Key("n Esc q", "do not run strace", looking.refuse, "Back", modes=("strace",)),
    Key("l", "open files by lsof", looking.run("lsof"), "lsof", modes=_PANE, views=_LIVE, htop="l"),
    Key("Ctrl-L", "draw the screen again", state.ask("redraw"), modes=_PANE),
    Key("Z", "pause or continue", state.pause, modes=_WITH_GRAPHS, views=_LIVE),
    Key("Space Z", "pause or continue", state.pause, modes=_WITH_GRAPHS, views=_REPLAY),
    Key(". Shift-Right", "the next frame", state.step("next"), modes=_WITH_GRAPHS),
    Key(", Shift-Left", "the previous frame", state.step("previous"), modes=_WITH_GRAPHS),
    Key("L", "live again", state.go_live, modes=_WITH_GRAPHS),
)  # fmt: skip

# The sections of help and documents.
SECTIONS: Mapping[str, tuple[Key, ...]] = {
    "the view": _VIEW,
    "acting on tasks": _ACTS,
    "rows": _MOVES,
    "looking into a task": _PANE_KEYS,
    "frames before": _FRAMES,
    "lists and help": _LIST_KEYS,
    "prompts": _PROMPT_KEYS,
    "editing in prompts": _EDIT_KEYS,
}
KEYS: tuple[Key, ...] = tuple(key for keys in SECTIONS.values() for key in keys)


def bindings(layout: str, view: str, mode: str) -> Iterator[tuple[str, Key]]:
    """Each key of a layout, of a view (live or replay) and mode, with its binding."""
    for key in KEYS:
        if view in key.views and mode in key.modes:
            for name in key.shown(layout).split():
                yield name, key


@cache
def _bound(layout: str, view: str, mode: str) -> Mapping[str, Key]:
    return dict(bindings(layout, view, mode))


def _view(now: State) -> str:
    return "replay" if now.recorded else "live"


def press(now: State, event: Event) -> State:
    """The state after a key, a paste or a mouse report."""
    now = replace(now, notice="", wrong="")
    if isinstance(event, Paste):
        if now.mode in PROMPTS:
            return state.typed(now, now.entry.insert(event.text))
        return replace(now, notice="pasted text does nothing here; F4 or F3 and paste it there")
    if isinstance(event, Mouse):
        return _point(now, event)
    name = "Space" if event == " " else event
    key = _bound(now.layout, _view(now), now.mode).get(name)
    if key is not None:
        return key.action(now)
    if now.mode in PROMPTS and editor.is_text(event):
        return state.typed(now, now.entry.insert(event))
    return replace(now, notice=_answer(now, name))


def _point(now: State, mouse: Mouse) -> State:
    by = {64: -WHEEL_ROWS, 65: WHEEL_ROWS}.get(mouse.button, 0)
    if by and now.mode in _PANE:
        return looking.move(by // WHEEL_ROWS)(now)
    return _move(by)(now) if by and now.mode not in (*PROMPTS, "strace") else now


def _answer(now: State, name: str) -> str:
    """What to say to a key that is not bound."""
    for key in KEYS:
        is_here = now.mode in key.modes and _view(now) in key.views
        if is_here and now.mode == "table" and name in key.old.split():
            return f"{name} has moved to {key.shown(now.layout).split()[0]}: {key.doc}"
    if now.recorded and (live := _bound(now.layout, "live", now.mode).get(name)):
        return f"{name} works in the live view alone: {live.doc}"
    if not name.isprintable():
        return ""
    if now.mode == "strace":
        return f"{looking.QUESTION} {name} is neither."
    return f"{name} is not a key; F1 lists the keys"


def is_bound(now: State, name: str) -> bool:
    """Whether a key does something here."""
    return name in _bound(now.layout, _view(now), now.mode)


def bar_key(now: State, column: int) -> str | None:
    """The key of the key bar at a column of the terminal; None beside them."""
    at = 0
    for name, word in bar(now):
        at += len(name) + len(word)
        if column < at:
            return name
        at += 1
    return None


def bar(now: State) -> list[tuple[str, str]]:
    """The key bar: keys and their words."""
    keys = (key for key in KEYS if now.mode in key.modes and _view(now) in key.views)
    return [(key.shown(now.layout).split()[0], key.word) for key in keys if key.word]


def help_lines(now: State) -> list[tuple[str, str]]:
    """The lines of the help page: keys and what they do; a title has no keys."""
    lines: list[tuple[str, str]] = []
    for title, keys in SECTIONS.items():
        here = [key for key in keys if _view(now) in key.views and key.shown(now.layout)]
        if here:
            lines += [*([("", "")] if lines else []), ("", title)]
            lines += [(key.shown(now.layout), key.doc) for key in here]
    return lines
