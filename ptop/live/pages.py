"""The pages of the live view that are not tables, and its prompts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from ptop.columns import TableColumn
from ptop.live import acting, keys, setup
from ptop.live.state import PAGE_FRAME, State
from ptop.text import safe

# Width of the keys on the help page.
HELP_WIDTH = 18
# The foot of a page or list that does not end on the screen.
MORE = "more below; the arrow keys scroll, Esc returns"

StyledLine = tuple[str, Literal["plain", "bold", "reverse"]]

# The words of each prompt; the present value follows where there is one.
PROMPTS: Mapping[str, Callable[[State], str]] = {
    "filter": lambda _: "filter",
    "search": lambda _: "search",
    "delay": lambda state: f"seconds (now {state.delay:g})",
    "time": lambda _: "time (12:34:56, or from here +90s, -5m)",
    "save": lambda state: (
        "save with arguments to" if state.save_arguments else "save to (.csv or .json)"
    ),
    **dict.fromkeys(acting.PROMPTS, acting.prompt),
    "write": lambda state: (
        f"file for the last {state.past.span_s:.0f} s,"
        f" {'with' if state.past.cmdlines else 'without'} command lines (Tab)"
    ),
}


def prompt(state: State) -> tuple[str, str] | None:
    """The prompt on the last line, before and after the cursor; None in other modes. If it is
    wrong, the second part says why."""
    if state.mode not in PROMPTS:
        return None
    entry = state.entry
    begin = f"{PROMPTS[state.mode](state)}: "
    before, after = entry.text[: entry.cursor], entry.text[entry.cursor :]
    wrong = f"   {state.wrong}" if state.wrong else ""
    # The end of a long text is what the user sees change.
    room = max(1, state.width - len(begin) - 2)
    return begin + (f"…{before[-room:]}" if len(before) > room + 1 else before), after + wrong


def help_page(state: State, height: int) -> list[StyledLine]:
    """The page of keys from the line under the cursor on, for the live view or a replay."""
    lines: list[StyledLine] = [
        (f"  {names:<{HELP_WIDTH}} {doc}", "plain") if names else (doc, "bold")
        for names, doc in keys.help_lines(state)
    ]
    room = max(1, height - PAGE_FRAME)
    shown = lines[state.cursor : state.cursor + room]
    shown += [("", "plain")] * (room - len(shown))
    more = MORE if state.cursor + room < len(lines) else "the arrow keys scroll, Esc returns"
    foot = state.notice or more
    return [("ptop: keys", "bold"), *shown, (foot, "bold")]


# The terms of the balance, as `Interval.books` has them, and what they mean.
_TERMS = (
    ("tasks_ns", "tasks", "all rows"),
    ("rowless_ns", "without row", "tasks that died and were not seen"),
    ("irq_ns", "irq", "interrupts, which belong to no task"),
    ("steal_ns", "steal", "taken by the hypervisor"),
    ("idle_ns", "idle", "no task to run, waits for I/O included"),
    ("residual_ns", "residual", "what the CPUs had, less all of the above"),
    ("bound_ns", "bound", "the largest residual that is explained"),
)


def books_page(
    books: Mapping[str, int | None], interval_ns: int, notice: str = ""
) -> list[StyledLine]:
    """The page of the balance, from `Interval.books`, in per cent of one CPU."""
    length_ns = interval_ns or 1
    lines: list[StyledLine] = [
        ("ptop: where the CPU time went, in % of one CPU", "bold"),
        ("", "plain"),
    ]
    for key, name, doc in _TERMS:
        value = books[key]
        text = "-" if value is None else f"{value * 100 / length_ns:.3f}"
        lines.append((f"  {name:<12}{text:>12}  {doc}", "plain"))
    residual, bound = books["residual_ns"], books["bound_ns"]
    if residual is None or bound is None:
        verdict = "The CPUs' times are unknown here."
    elif abs(residual) <= bound:
        verdict = "All CPU time has been found."
    elif residual > 0:
        verdict = "Some CPU time has not been found."
    else:
        verdict = "Some CPU time was counted twice."
    return [*lines, ("", "plain"), (verdict, "bold"), (notice or "Esc returns", "plain")]


def column_page(state: State, columns: Mapping[str, TableColumn], height: int) -> list[StyledLine]:
    """The page of columns to choose from. The one under the cursor is visible."""
    chosen = set(state.columns)
    texts = []
    for key in state.known:
        column = columns[key]
        mark = "x" if key in chosen else " "
        texts.append(f"[{mark}] {column.title:<8}{column.unit:<6} {column.doc}")
    return _list_page("columns: space switches, Esc returns", texts, state, height)


def setup_page(state: State, columns: Mapping[str, TableColumn], height: int) -> list[StyledLine]:
    """The page of settings, views and columns."""
    title = f"setup: Space changes, - + move, w writes {safe(state.setup.path) or 'no file'}"
    return _list_page(title, setup.texts(state, columns), state, height)


def sort_page(state: State, columns: Mapping[str, TableColumn], height: int) -> list[StyledLine]:
    """The page of shown columns to sort by."""
    texts = [
        f"{columns[key].title:<8}{columns[key].unit:<6} {columns[key].doc}" for key in state.items
    ]
    return _list_page("sort by: Enter chooses, Esc returns", texts, state, height)


def users_page(state: State, height: int) -> list[StyledLine]:
    """The page of users whose tasks may be shown alone."""
    return _list_page("user: Enter chooses, Esc returns", list(state.labels), state, height)


def compare_page(state: State, height: int) -> list[StyledLine]:
    """The page of two spans that are compared."""
    title = f"{state.comparing.title}; Tab: by task, name, user, cgroup"
    first, *rest = _list_page(title, list(state.labels), state, height - 1)
    return [first, (state.comparing.head, "bold"), *rest]


def acting_page(state: State, height: int) -> list[StyledLine]:
    """The menu of signals, or the second question."""
    return _list_page(acting.title(state), list(state.labels), state, height)


def refused_page(state: State, height: int) -> list[StyledLine]:
    """What was refused, and what to type."""
    room = max(1, height - PAGE_FRAME)
    lines: list[StyledLine] = [(text, "plain") for text in state.labels[:room]]
    lines += [("", "plain")] * (room - len(lines))
    return [("ptop: refused", "bold"), *lines, (state.notice or "Esc returns", "bold")]


def marked(page: list[StyledLine], mark: str) -> list[StyledLine]:
    """The page with a mark before its title, which a narrow screen cuts at the end."""
    (title, style), *rest = page
    return [(f"{mark} {title}", style), *rest]


def _list_page(title: str, texts: list[str], state: State, height: int) -> list[StyledLine]:
    """A list whose line under the cursor is visible, on a screen of `height` lines."""
    room = max(1, height - PAGE_FRAME)
    top = max(0, state.cursor + 1 - room)
    lines: list[StyledLine] = [
        (text, "reverse" if index == state.cursor else "plain") for index, text in enumerate(texts)
    ]
    shown = lines[top : top + room]
    shown += [("", "plain")] * (room - len(shown))
    foot = state.notice or (MORE if top + room < len(lines) else "")
    return [(title, "bold"), *shown, (foot, "bold")]
