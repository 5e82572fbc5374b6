"""What a screen shows of an interval: the one path of live and recorded views."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import taskstats
from taskstats.screen import Lines, Screen

from ptop import columns as table
from ptop.live import pages
from ptop.live.state import Limits, State
from ptop.text import offset_s, user_name


def wanted(state: State, columns: Mapping[str, table.Column]) -> set[str]:
    """The kernel fields that a screen of `state` needs."""
    shown = tuple(columns[key] for key in {*state.columns, state.sort})
    return table.fields(shown) | table.folding(state.fold) | {"state"}


class View:
    """Screens of intervals, as long as the user's choices stay the same."""

    def __init__(
        self,
        state: State,
        columns: Mapping[str, table.Column],
        limits: Limits,
        user: Callable[[int], str] = user_name,
    ) -> None:
        self.state = state
        self.columns = columns
        self.screen = Screen(
            [table.titled(columns[key], state.fold) for key in state.columns],
            user=user,
            offset_s=offset_s,
            sort=table.titled(columns[state.sort], state.fold).source,
            descending=state.descending,
            text=state.text or None,
            pids=limits.pids,
            limit=limits.rows,
            top=state.top,
            fold=state.fold,
            selected=state.selected,
            selecting=state.selecting,
            paused=state.paused,
            prompt=pages.prompt(state),
            notice=state.notice,
        )

    def lines(
        self,
        interval: taskstats.Interval,
        size: tuple[int, int],
        resting: taskstats.Source | None = None,
    ) -> Lines:
        """The table on a screen of `size` (columns, lines). Where the interval's snapshots
        have only tasks that ran, `resting` has the others."""
        fold = self.state.fold
        return self.screen.lines(interval.fold(fold) if fold else interval, resting, size)

    def page(self, size: tuple[int, int]) -> Lines | None:
        """The page that is shown in place of the table, if one is."""
        if self.state.mode == "help":
            return Lines(pages.keys(self.state.recorded), size)
        if self.state.mode == "columns":
            return Lines(pages.chooser(self.state, self.columns, size[1]), size)
        return None
