"""What a screen shows of an interval, the same for the live view and a replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

import taskstats
from taskstats.screen import Lines, Screen

from ptop.columns import METERS, TableColumn, fields_of, for_groups, with_context
from ptop.filters import fields_of_filter, row_filter
from ptop.live import details, inspector, keys, looking, pages, tabs
from ptop.live.state import Limits, State, shown_meters
from ptop.text import offset_s

# What holds the tasks that did not run.
Unchanged = taskstats.Source | taskstats.KeptInterval


def needed_fields(
    state: State, columns: Mapping[str, TableColumn], left_out: Set[str] = frozenset()
) -> set[str]:
    """The kernel fields that a screen of `state` needs which has no room for the columns
    `left_out`."""
    shown = [columns[key] for key in {*_shown(state), state.sort} - left_out]
    looked_at = inspector.FIELDS if state.mode in details.MODES else frozenset()
    filtered = fields_of_filter(_filter(state))
    return fields_of(shown, state.group_by, state.tree.of) | filtered | {"state"} | looked_at


def _filter(state: State) -> str:
    """The filter of a screen: it is live while it is typed."""
    return state.trial if state.mode == "filter" else state.filter


def _shown(state: State) -> tuple[str, ...]:
    return with_context(state.columns, state.group_by, state.threads)


class Renderer:
    """Renders intervals for a state."""

    def __init__(
        self,
        state: State,
        columns: Mapping[str, TableColumn],
        limits: Limits,
        user: Callable[[int], str | None] = taskstats.user_name,
        ascii_only: bool = False,
    ) -> None:
        self.columns = columns
        self.limits = limits
        self.ascii_only = ascii_only
        self.state = state
        self.screen = Screen(self.shown(), user=user, offset_s=offset_s, **self._settings())

    @property
    def ascii(self) -> bool:
        """Whether all text is ASCII: the terminal has nothing else, or the user wants it."""
        return self.ascii_only or self.state.setup.ascii

    def show(self, state: State) -> None:
        """Render the next intervals for another state."""
        self.state = state
        self.screen.configure(self.shown(), **self._settings())

    def shown(self) -> list[TableColumn]:
        """The columns of the table."""
        state = self.state
        named = state.group_by or state.tree.of
        return [for_groups(self.columns[key], named) for key in _shown(state)]

    def left_out(self, snapshot: taskstats.Snapshot, width: int) -> set[str]:
        """The columns that a screen of `width` cells has no room for."""
        keys = _shown(self.state)
        return {keys[number] for number in self.screen.left_out(snapshot, width)}

    def _settings(self) -> dict[str, Any]:
        state = self.state
        prompt = pages.prompt(state)
        meters = shown_meters(state)
        return {
            "sort": for_groups(self.columns[state.sort], state.group_by or state.tree.of).source,
            "descending": state.descending,
            "where": row_filter(_filter(state)),
            "pids": self.limits.pids,
            "user_id": state.user[0] if state.user else None,
            "user_name": state.user[1] if state.user else "",
            "no_kernel_threads": state.no_kernel_threads,
            "no_dead": state.no_dead,
            "limit": self.limits.rows,
            "top": state.top,
            "fold": state.group_by,
            "tree": state.tree.of,
            "level": state.tree.level,
            "toggled": tuple(state.tree.toggled),
            "selected": state.selected if state.selecting else None,
            "selected_key": state.selected_key,
            "follow": state.follow,
            "tagged": tuple(state.tagged),
            "paused": state.paused,
            "badge": "ROOT" if state.acting.keep_root else "",
            "ascii": self.ascii,
            "scroll": state.scroll,
            "hidden": [meter for meter in METERS if meter not in meters],
            "disks": state.setup.disks,
            "networks": state.setup.networks,
            "tabs": tabs.names(state),
            "tab": tabs.shown(state),
            "key_bar": keys.bar(state) if state.setup.key_bar else (),
            "prompt": None if prompt is None else "".join(prompt),
            # The pane has its own last line.
            "notice": "" if state.mode in details.MODES else state.notice,
        }

    def lines(
        self,
        interval: taskstats.Interval,
        size: tuple[int, int],
        unchanged: Unchanged | None = None,
        *,
        lacks: str = "",
        replay: str = "",
        ages_s: tuple[float | None, float | None] = (None, None),
        before: Callable[[], Iterable[taskstats.Interval] | None] | None = None,
    ) -> Lines:
        """The table of an interval on a screen of `size` (columns, lines). If its snapshots
        leave out unchanged tasks, `unchanged` holds them. `lacks`, `replay` and `before` are as of
        `Screen.lines`, `ages_s` as of `Feed`."""
        rows, resting = self._rows(interval, unchanged)
        if self.state.mode in details.MODES:
            size = (size[0], min(size[1], details.table_lines(size[1])))
        age_s, exact_s = ages_s
        return self.screen.lines(
            rows, resting, size,
            lacks=lacks, replay=replay, age_s=age_s, exact_s=exact_s, before=before,
        )  # fmt: skip

    def find(
        self,
        interval: taskstats.Interval,
        unchanged: Unchanged | None,
        text: str,
        start: int,
        backwards: bool,
    ) -> int | None:
        """The number of the next row that `text` finds from row `start` on."""
        rows, resting = self._rows(interval, unchanged)
        return self.screen.find(rows, resting, text, start, backwards=backwards)

    def values(
        self,
        interval: taskstats.Interval,
        unchanged: Unchanged | None,
        sources: list[str],
    ) -> list[tuple[int | float | str | None, ...]]:
        """All rows that the filter keeps, on the screen or not, as tuples of columns."""
        rows, resting = self._rows(interval, unchanged)
        return self.screen.values(rows, sources, resting=resting)

    def _rows(
        self, interval: taskstats.Interval, unchanged: Unchanged | None
    ) -> tuple[taskstats.Interval | taskstats.Fold, Unchanged | None]:
        """The rows of the table, and what holds others."""
        if self.state.group_by:
            return interval.fold(self.state.group_by, resting=unchanged), None
        return interval, unchanged

    def with_pane(
        self, table: Lines, pane: details.Pane, size: tuple[int, int]
    ) -> tuple[Lines, int]:
        """The table with the pane of a task below it, on a screen of `size`; and from which line
        on the text of the pane is shown."""
        state, height = self.state, size[1] - details.table_lines(size[1])
        if height <= 0:
            return table, state.details.top
        bar = "  ".join(f"{key} {word}" for key, word in keys.bar(state))
        if state.mode == "strace":
            bar = looking.QUESTION
        texts, top = details.lines(
            pane, state.details, (size[0], height), bar, state.notice, self.ascii
        )
        return table.above(Lines(texts, (size[0], height))), top

    def page(self, size: tuple[int, int], interval: taskstats.Interval) -> Lines | None:
        """The page that replaces the table of an interval, or None."""
        if self.state.mode == "table":
            return None
        height = size[1]
        match self.state.mode:
            case "help":
                page = pages.help_page(self.state, height)
            case "books":
                page = pages.books_page(interval.books(), interval.interval_ns, self.state.notice)
            case "columns":
                page = pages.column_page(self.state, self.columns, height)
            case "setup":
                page = pages.setup_page(self.state, self.columns, height)
            case "sort":
                page = pages.sort_page(self.state, self.columns, height)
            case "users":
                page = pages.users_page(self.state, height)
            case "compare":
                page = pages.compare_page(self.state, height)
            case "signal" | "confirm":
                page = pages.acting_page(self.state, height)
            case "refused":
                page = pages.refused_page(self.state, height)
            case _:
                return None
        if self.state.paused:
            page = pages.marked(page, "PAUSED" if self.ascii else "⏸")
        return Lines(page, size)
