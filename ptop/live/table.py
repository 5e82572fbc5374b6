"""The table on the screen: its lines, and where the selected row is."""

from __future__ import annotations

import taskstats
from taskstats.screen import Lines

from ptop.feed import Feed
from ptop.live.recorded_cgroup import OF_LAST_MINUTE
from ptop.live.state import State
from ptop.live.terminal import Terminal
from ptop.live.unknown import why_unknown
from ptop.live.view import Renderer
from ptop.values import replace


class Table:
    """Renders the table of a feed, and follows the selected row from interval to interval."""

    def __init__(self, terminal: Terminal, feed: Feed, renderer: Renderer, state: State) -> None:
        self.terminal = terminal
        self.feed = feed
        self.renderer = renderer
        # Rows that the last frame had room for, and rows in all.
        self.page_rows, self.total_rows = state.page_rows, state.total_rows
        # Whether the filter does not know all texts yet.
        self.searching = False

    def lines(self, state: State, interval: taskstats.Interval) -> Lines:
        """The table of an interval."""
        self.use(state)
        feed = self.feed
        return self.renderer.lines(
            interval,
            self.terminal.size,
            feed.unchanged,
            lacks=self._lacks(state),
            replay=feed.place,
            ages_s=feed.ages_s,
            before=feed.minute_before,
        )

    def _lacks(self, state: State) -> str:
        """What the rows lack, in words."""
        is_recorded = state.tree.of == "cgroup" and not self.feed.is_live
        return "; ".join(filter(None, [self.feed.lacks, OF_LAST_MINUTE if is_recorded else ""]))

    def use(self, state: State) -> None:
        """Render the next intervals for this state."""
        if self.renderer.state is not state:
            self.renderer.show(state)

    def left_out(self, state: State) -> set[str]:
        """The columns for which the terminal is too narrow, as far as is known."""
        snapshot = self.feed.newest_snapshot
        if snapshot is None or not state.width:
            return set()
        self.use(state)
        return self.renderer.left_out(snapshot, state.width)

    def why_unknown(self, before: State, state: State) -> str:
        """Why the column that a key has added is not shown, in words; empty where it is."""
        added = set(state.columns).difference(before.columns)
        newest = self.feed.newest_snapshot or (self.feed.interval and self.feed.interval.cur)
        # A view adds many: what is missing in it is no answer to the key.
        if len(added) != 1 or state.view != before.view or newest is None:
            return ""
        return why_unknown(self.renderer.columns[added.pop()], newest.status)

    def update(self, state: State, lines: Lines) -> State:
        """Store the numbers of rows for the next key. Returns the state with the place of the
        selected row."""
        self.searching = lines.searching
        self.page_rows, self.total_rows = lines.room, lines.rows
        selected = state.selected if lines.selected_row is None else lines.selected_row
        drawn = (lines.top, lines.selected_key)
        if (selected, *drawn) == (state.selected, state.top, state.selected_key):
            return state
        found = replace(state, selected=selected, top=lines.top, selected_key=lines.selected_key)
        if drawn == (state.top, state.selected_key):
            # The screen has been told nothing of what changed: it serves the new state as well.
            self.renderer.state = found
        return found

    def located(self, state: State) -> State:
        """The state with the place of the selected row, which several keys at once may have
        moved."""
        interval = self.feed.interval
        return state if interval is None else self.update(state, self.lines(state, interval))

    def with_counts(self, state: State) -> State:
        """The state with the numbers of rows, on which paging depends. They change in most
        frames, and a copy of the state costs as much as drawing ten rows."""
        return replace(state, page_rows=self.page_rows, total_rows=self.total_rows)
