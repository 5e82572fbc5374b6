"""The pages that are no tables, and what is asked for at the foot of a screen: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ptop.columns import Column
from ptop.live.state import HELP, REPLAY_HELP, State

Text = tuple[str, Literal["plain", "bold", "reverse"]]

# What is asked for in each mode in which something is typed.
PROMPTS = {
    "filter": "filter",
    "delay": "seconds",
    "time": "time (12:34:56, or from here +90s, -5m)",
}


def prompt(state: State) -> str | None:
    """What stands at the foot while something is typed."""
    return f"{PROMPTS[state.mode]}: {state.entry}_" if state.mode in PROMPTS else None


def keys(recorded: bool) -> list[Text]:
    """The help page."""
    bound = REPLAY_HELP if recorded else HELP
    texts = ["", *(f"  {keys:<16} {doc}" for keys, doc in bound), "", "any key returns"]
    return [("ptop: keys", "bold"), *((text, "plain") for text in texts)]


def chooser(state: State, columns: Mapping[str, Column], height: int) -> list[Text]:
    """The page of columns to choose from, as far as a screen of `height` lines shows it."""
    chosen = set(state.columns)
    lines: list[Text] = []
    for index, column in enumerate(columns.values()):
        mark = "x" if column.key in chosen else " "
        text = f"[{mark}] {column.title:<8}{column.unit:<6} {column.doc}"
        lines.append((text, "reverse" if index == state.cursor else "plain"))
    top = max(0, state.cursor + 2 - height)
    return [("columns: space switches, any other key returns", "bold"), *lines[top:]]
