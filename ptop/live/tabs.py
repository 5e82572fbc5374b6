"""The line of views above the table: their names, and which one a click or key shows. Pure."""

from __future__ import annotations

from ptop.live import details
from ptop.live.state import State, show_view

# The names of views, as tabs have them.
NAMES = {
    "live": "Main",
    "waits": "Waits",
    "io": "I/O",
    "tree": "Tree",
    "cgroups": "Cgroups",
    "dead": "Dead",
}


def name(view: str) -> str:
    """The name of a view on its tab."""
    return NAMES.get(view, view.capitalize())


def names(state: State) -> list[str]:
    """The names of the tabs; none where the setup has no tabs, or the pane needs the lines."""
    if not state.setup.tabs or state.mode in details.MODES:
        return []
    return [name(view) for view in state.setup.views]


def shown(state: State) -> int | None:
    """The number of the tab that is shown; None for a view that has none."""
    views = state.setup.views
    return views.index(state.view) if state.view in views else None


def select(state: State, tab: int) -> State:
    """Shows the view of a tab."""
    return show_view(state, state.setup.views[tab])
