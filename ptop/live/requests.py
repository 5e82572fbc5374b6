"""Answers the requests of the state: what only the data or the terminal can tell or do.

Design decisions

* A request is a word and what follows it. An answer takes the state and what follows, and
  returns the next state.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping

from ptop import config
from ptop.columns import TableColumn
from ptop.feed import Feed, FrameFeed, RecordedFeed
from ptop.history_feed import HistoryFeed
from ptop.live import actor, comparing, setup
from ptop.live.guard import Guard
from ptop.live.history import Files, not_written
from ptop.live.state import (
    State,
    hide_kernel_threads,
    offer_name,
    offer_users,
    tag,
    toggle_row,
    type_in,
    with_row,
)
from ptop.live.table import Table
from ptop.text import stamp
from ptop.times import parse_time
from ptop.values import replace

# Lines of a screen that are not rows, at most; and the most lines that a screen may have.
_FRAME, _TALLEST = 64, 65_535
NO_HISTORY = "nothing is kept: start ptop without --history 0"


class Requests:
    """Answers requests from a feed, and from the table that shows it."""

    def __init__(
        self,
        feed: Feed,
        table: Table,
        columns: Mapping[str, TableColumn],
        user: Callable[[int], str | None],
        guard: Guard,
        files: Files,
    ) -> None:
        self.feed = feed
        self.table = table
        self.columns = columns
        self.user = user
        self.guard = guard
        self.files = files
        self._answers: dict[str, Callable[[State, str], State]] = {
            "act": self._act,
            "compare": self._compare,
            "frame": self._frame,
            "history": self._history,
            "kthreads": self._kernel_threads,
            "mark": self._mark,
            "match": self.search,
            "moment": self._moment,
            "mouse": self._mouse,
            "name": self._name,
            "save": self._save,
            "setup": self._setup,
            "tag": self._tag,
            "family": self._family,
            "time": self._time,
            "toggle": self._toggle,
            "users": self._users,
            "write": self._write,
        }
        self._marks = comparing.Marks()
        self._spans: comparing.Spans | None = None

    def answer(self, state: State) -> State:
        """Do what the state requests."""
        word, _, rest = state.request.partition(" ")
        return self._answers[word](replace(state, request=""), rest)

    def search(self, state: State, where: str) -> State:
        """Select the row that matches what was typed: here, next or previous."""
        interval = self.feed.interval
        typing = state.mode == "search"
        text = (state.entry.text if typing else "") or state.search
        if not text and where != "here":
            nothing = "type what to search for" if typing else "/ asks what to search for"
            return replace(state, wrong=nothing if typing else "", notice=nothing)
        if not text or interval is None:
            return state
        begin = state.origin[0] if where == "here" else state.selected
        start = max(0, begin + {"here": 0, "next": 1, "previous": -1}[where])
        renderer = self.table.renderer
        row = renderer.find(interval, self.feed.unchanged, text, start, where == "previous")
        if row is None:
            missing = f"no row matches {text!r}"
            return replace(state, wrong=missing if typing else "", notice=missing)
        return with_row(self.table.with_counts(state), row)

    def _setup(self, state: State, _: str) -> State:
        notice = config.write(state.setup.path, setup.document(state), state.setup.why)
        return replace(state, notice=notice)

    def _mouse(self, state: State, _: str) -> State:
        self.table.terminal.set_mouse(state.mouse)
        return state

    def _tag(self, state: State, _: str) -> State:
        return tag(self.table.located(state))

    def _family(self, state: State, _: str) -> State:
        """Tag the selected row of a tree and the rows below it, or take their tags away."""
        if not state.tree.of or self.feed.interval is None:
            return replace(state, notice="t shows the tree, where c tags a row with its children")
        state = self.table.located(state)
        interval, unchanged, renderer = self.feed.interval, self.feed.unchanged, self.table.renderer
        renderer.show(state)
        depths = [int(depth or 0) for (depth,) in renderer.values(interval, unchanged, ["depth"])]
        first = min(state.selected, len(depths))
        later = range(first + 1, len(depths))
        end = next((row for row in later if depths[row] <= depths[first]), len(depths))
        # A screen on which all of them are: the rows have at least half of it.
        renderer.show(replace(state, mode="table", top=first, selecting=False, follow=False))
        size = (state.width, min(2 * (end - first) + _FRAME, _TALLEST))
        lines = renderer.lines(interval, size, unchanged)
        keys = frozenset(filter(None, map(lines.key, range(first, end))))
        tagged = state.tagged - keys if keys <= state.tagged else state.tagged | keys
        return replace(state, tagged=tagged, notice=f"{len(tagged)} rows are tagged")

    def _toggle(self, state: State, _: str) -> State:
        return toggle_row(self.table.located(state))

    def _users(self, state: State, _: str) -> State:
        """Offer the users of the tasks, those with most living ones first."""
        interval = self.feed.interval
        if interval is None:
            return offer_users(state, [])
        dead = Counter(uid for uid, exited in interval.select(["ac_uid", "exited"]) if exited)
        groups = interval.fold("user", resting=self.feed.unchanged)
        users = [
            (int(uid), self.user(int(uid)) or str(uid), int(tasks or 0) - dead[uid])
            for uid, tasks in groups.select(["ac_uid", "tasks"])
            if uid is not None and (tasks or 0) > dead[uid]
        ]
        return offer_users(state, sorted(users, key=lambda user: (-user[2], user[0])))

    def _kernel_threads(self, state: State, _: str) -> State:
        return hide_kernel_threads(state, self._has_kernel_threads())

    def _has_kernel_threads(self) -> bool:
        """Whether pid 2 is the parent of kernel threads: it is not in most pid namespaces."""
        if self.feed.interval is None:
            return False
        names = self.feed.interval.fold("name", resting=self.feed.unchanged)
        return ("kthreadd", 2) in names.select(["title", "ac_pid"], pids=[2])

    def _act(self, state: State, what: str) -> State:
        """Act on tasks, or ask what to do."""
        if not self.feed.is_live:
            return replace(state, notice="only the live view acts on tasks: L goes back to it")
        if what == "do":
            return actor.do(state)
        if self.guard.is_after_paste(time.monotonic()):
            return replace(state, notice="ignored: a key right after a paste")
        if self.feed.interval is None:
            return state
        return actor.begin(self.table.located(state), self.feed.interval)

    def _name(self, state: State, arguments: str) -> State:
        """Offer a name for the file of what is shown."""
        if self.feed.interval is None:
            return state
        when_s = self.feed.interval.cur.time_ns / 1e9
        name = time.strftime("ptop-%Y%m%d-%H%M%S.csv", time.localtime(when_s))
        return offer_name(state, name, arguments=arguments != "")

    def _save(self, state: State, path: str) -> State:
        """Save what is shown to a file."""
        if self.feed.interval is None:
            return state
        # Few views need it.
        from ptop.live import saving

        renderer = self.table.renderer
        renderer.show(state)
        try:
            rows = saving.save(
                path, self.feed.interval, self.feed.unchanged, renderer, state.save_arguments
            )
        except OSError as error:
            notice = not_written(path, error)
        else:
            notice = f"{rows} {'row' if rows == 1 else 'rows'} saved to {path}"
        return replace(state, notice=notice)

    def _mark(self, state: State, _: str) -> State:
        frames = self._frames()
        return replace(state, notice=NO_HISTORY if frames is None else self._marks.add(frames))

    def _difference(self, state: State) -> State:
        """Show what happened since the mark, or compare two spans."""
        frames = self._frames()
        if frames is None:
            return replace(state, notice=NO_HISTORY)
        found, notice = self._marks.compare(frames)
        state = replace(state, notice=notice)
        if found is None:
            return state
        if isinstance(found, comparing.Spans):
            self._spans = found
            return self._compare(comparing.opened(state, found.title), "")
        frames.show_span(found)
        return replace(state, paused=True)

    def _compare(self, state: State, _: str) -> State:
        if self._spans is None:
            return state
        return comparing.filled(state, self._spans, self.columns)

    def _history(self, state: State, _: str) -> State:
        """Ask for the name of a file of the frames that were kept."""
        if not isinstance(self.feed, HistoryFeed):
            return replace(state, notice=NO_HISTORY)
        past = replace(state.past, span_s=self.feed.span_s())
        return type_in("write")(replace(state, past=past))

    def _write(self, state: State, path: str) -> State:
        """Begin to write a file of the frames that were kept."""
        if not isinstance(self.feed, HistoryFeed):
            return replace(state, notice=NO_HISTORY)
        path = os.path.expanduser(path)
        return replace(state, notice=self.files.begin(self.feed.history, path, state.past.cmdlines))

    def _time(self, state: State, text: str) -> State:
        """Go to the frame that contains a time."""
        frames = self._frames()
        if frames is None:
            return replace(state, notice=NO_HISTORY)
        # What the live view has kept lies in the past.
        latest_ns = time.time_ns() if isinstance(frames, HistoryFeed) else None
        time_ns = parse_time(text, frames.time_ns, latest_ns)
        first_ns, last_ns = frames.range_ns()
        if not frames.seek(time_ns):
            return replace(state, notice="nothing is kept yet")
        message = ""
        if not first_ns <= time_ns <= last_ns:
            end = "oldest" if time_ns < first_ns else "newest"
            message = f"nothing kept at {text}: {end} is {stamp(frames.time_ns)[11:]}"
        return self._at(replace(state, paused=True), frames, message)

    def _moment(self, state: State, end_ns: str) -> State:
        """Go to the frame that ends at a time."""
        frames = self._frames()
        if frames is None:
            return replace(state, notice=NO_HISTORY)
        if not frames.seek(int(end_ns)):
            return replace(state, notice="nothing is kept yet")
        message = "" if frames.time_ns == int(end_ns) else "that moment is not kept any more"
        return self._at(replace(state, paused=True), frames, message)

    def _frame(self, state: State, place: str) -> State:
        """Go to another frame, or show the difference of two."""
        if place == "difference":
            return self._difference(state)
        frames = self._frames()
        if frames is None:
            return replace(state, notice=NO_HISTORY)
        message = ""
        if place in {"next", "previous"}:
            found = frames.step(1 if place == "next" else -1)
            message = "" if found else self.feed.notice or "no more"
        elif place in {"first", "last", "live"}:
            before_ns = frames.time_ns
            found = frames.go_to_end(place != "first") and place != "live"
            if frames.time_ns == before_ns and not frames.position():
                message = f"this is the {'first' if place == 'first' else 'last'} frame"
        else:
            column = self.columns[state.sort]
            why = frames.spike(column.source, 1 if place == "spike" else -1)
            where = "after" if place == "spike" else "before"
            message = f"no spike of {column.title} {where} this: {why}" if why else ""
            found = not why
        return self._at(replace(state, paused=state.paused or found), frames, message)

    def _frames(self) -> FrameFeed | None:
        """The feed, if it goes to any of its frames."""
        return self.feed if isinstance(self.feed, HistoryFeed | RecordedFeed) else None

    def _at(self, state: State, frames: FrameFeed, message: str) -> State:
        """The state with a notice: where the frame is, and a message about the way to it."""
        notice = f"{frames.position()}  {message or self.feed.notice}".strip()
        return replace(state, notice=notice)
