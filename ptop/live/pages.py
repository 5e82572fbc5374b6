"""The pages of the live view that are not tables, and its prompts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ptop.columns import TableColumn
from ptop.live.state import HELP, REPLAY_HELP, State

StyledLine = tuple[str, Literal["plain", "bold", "reverse"]]

# The prompt of each mode in which the user types a text.
PROMPTS = {
    "filter": "filter",
    "delay": "seconds",
    "time": "time (12:34:56, or from here +90s, -5m)",
}


def prompt(state: State) -> str | None:
    """The prompt on the last line, and what has been typed; None in other modes."""
    return f"{PROMPTS[state.mode]}: {state.entry}_" if state.mode in PROMPTS else None


def help_page(recorded: bool) -> list[StyledLine]:
    """The page of keys, for the live view or a replay."""
    keys = REPLAY_HELP if recorded else HELP
    texts = ["", *(f"  {shown:<16} {doc}" for shown, doc in keys), "", "any key returns"]
    return [("ptop: keys", "bold"), *((text, "plain") for text in texts)]


# The terms of the balance, as `Interval.books` has them, and what they mean.
_TERMS = (
    ("tasks_ns", "tasks", "all rows"),
    ("rowless_ns", "without row", "tasks that died and were not seen"),
    ("irq_ns", "irq", "interrupts, which belong to no task"),
    ("steal_ns", "steal", "taken by the hypervisor"),
    ("idle_ns", "idle", "no task to run, waits for I/O included"),
    ("residual_ns", "residual", "what the CPUs had, less all of the above"),
    ("bound_ns", "bound", "the largest residual that the way of measuring explains"),
)


def books_page(books: Mapping[str, int | None], interval_ns: int) -> list[StyledLine]:
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
    return [*lines, ("", "plain"), (verdict, "bold"), ("any key returns", "plain")]


def column_page(state: State, columns: Mapping[str, TableColumn], height: int) -> list[StyledLine]:
    """The page of columns to choose from. On a screen of `height` lines the one under the
    cursor is visible."""
    chosen = set(state.columns)
    lines: list[StyledLine] = []
    for index, column in enumerate(columns.values()):
        mark = "x" if column.key in chosen else " "
        text = f"[{mark}] {column.title:<8}{column.unit:<6} {column.doc}"
        lines.append((text, "reverse" if index == state.cursor else "plain"))
    top = max(0, state.cursor + 2 - height)
    return [("columns: space switches, any other key returns", "bold"), *lines[top:]]
