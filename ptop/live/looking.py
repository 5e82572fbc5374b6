"""Actions on the pane that shows one task. Pure: an action maps a state to the next one."""

from __future__ import annotations

from ptop.live.details import Details, Environment, table_lines
from ptop.live.state import Action, State, with_row
from ptop.values import replace

# Before strace runs.
QUESTION = "strace stops the task at each system call: y or n?"


def open_pane(state: State) -> State:
    """Shows the selected task, or the first row, in a pane that follows the selection."""
    details = Details(followed=state.follow)
    state = state if state.selecting else with_row(state, state.top)
    return replace(state, mode="details", details=details, follow=True)


def close(state: State) -> State:
    """Ends a tool, else closes the pane."""
    if state.details.tool:
        return replace(state, mode="details", details=replace(state.details, tool="", top=0))
    followed = state.details.followed
    return replace(state, mode="table", details=Details(), follow=followed)


def move(by: int) -> Action:
    """Selects the next or previous row, which the pane then shows."""

    def action(state: State) -> State:
        moved = with_row(state, state.selected + by)
        details = Details(followed=state.details.followed)
        return replace(moved, follow=True, details=details)

    return action


def scroll(pages: int) -> Action:
    """Scrolls the text of the pane."""

    def action(state: State) -> State:
        lines = max(1, state.height - table_lines(state.height) - 2)
        # The output of a tool is seen from its end.
        lines *= -1 if state.details.tool else 1
        top = max(0, state.details.top + pages * lines)
        return replace(state, details=replace(state.details, top=top))

    return action


def environment(state: State) -> State:
    """Shows the names of the environment, or hides them again."""
    shown: Environment = "" if state.details.environment else "names"
    # What was asked for comes first.
    return replace(state, details=replace(state.details, environment=shown, top=0))


def values(state: State) -> State:
    """Shows the values of the environment, or masks them again."""
    if not state.details.environment:
        return replace(state, notice="e shows the environment first")
    shown: Environment = "names" if state.details.environment == "values" else "values"
    return replace(state, details=replace(state.details, environment=shown))


def memory(state: State) -> State:
    """Reads the proportional memory at each frame, or no longer."""
    details = replace(state.details, memory=not state.details.memory, top=0)
    return replace(state, details=details)


def ask_strace(state: State) -> State:
    """Asks `QUESTION`, which stays until it is answered."""
    return replace(state, mode="strace")


def run(tool: str) -> Action:
    """Runs a tool in the pane."""
    return lambda state: replace(
        state, mode="details", details=replace(state.details, tool=tool, top=0)
    )


def refuse(state: State) -> State:
    """Goes back to the pane without strace."""
    return replace(state, mode="details", notice="")
