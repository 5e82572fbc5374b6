"""The live view and the replay on a terminal.

Design decisions

* One thread. The timeout of waiting for a key is the clock.
* The modes of the terminal are a context manager, and signals end the loop, so that the
  terminal is restored before any message is written.
* A terminal that is gone counts as a hang-up, wherever that is noticed.
* Only the lines that differ from the previous frame are written.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import cast

import taskstats
from taskstats.screen import Canvas, Lines, RowKey, width

from ptop import config, streams
from ptop.columns import TableColumn
from ptop.feed import Feed, FrameFeed, LiveFeed
from ptop.history_feed import HistoryFeed
from ptop.live import actor, details, keys, pages, setup
from ptop.live.decoder import Event, Mouse
from ptop.live.guard import Guard
from ptop.live.history import OnSpike, Writing
from ptop.live.inspector import EARLIER, Inspector
from ptop.live.pointing import Pointer, click
from ptop.live.state import (
    Limits,
    State,
    hide_kernel_threads,
    offer_name,
    offer_users,
    tag,
    toggle_row,
    type_in,
    with_row,
)
from ptop.live.terminal import HungUp, Terminal
from ptop.live.theme import Look, styles
from ptop.live.view import Renderer, needed_fields
from ptop.privilege import sudo_user
from ptop.signals import ENDING, Queue
from ptop.text import safe
from ptop.times import Pace, parse_time


def _canvas(terminal: Terminal, theme: str) -> Canvas:
    """A canvas for a terminal whose content is unknown."""
    sequences = terminal.sequences
    return Canvas(
        clear=sequences.clear,
        lines=[sequences.line(number) for number in range(terminal.size.lines)],
        styles=styles(sequences, theme),
        normal=sequences.normal,
    )


# How long to wait for a key before more command lines are read.
SEARCH_S = 0.01
# How long a message stays on the screen, if no key comes before.
NOTICE_S = 8.0
# What is requested of the frames that were kept.
OF_PAST = ("mark", "frame difference", "name of history")
NO_HISTORY = "nothing is kept: start ptop without --history 0"


def run(
    terminal: Terminal,
    state: State,
    columns: Mapping[str, TableColumn],
    *,
    source: str,
    limits: Limits,
    intervals: int | None,
    look: Look,
    history: taskstats.History | None = None,
    on_spike: OnSpike | None = None,
) -> int:
    """Show the live view until the user quits; returns the exit status."""
    with taskstats.Source(
        source,
        threads=state.threads,
        exact=True,
        changed=True,
        cpu_times=True,
        system=True,
        meters=("pressure", "disks", "networks"),
    ) as opened:
        if sudo_user() is not None:
            # The interpreter's files may be root's alone.
            from ptop.live import saving  # noqa: F401
        if not state.acting.keep_root:
            taskstats.drop_privileges(opened.name)
        feed = LiveFeed(opened) if history is None else HistoryFeed(opened, history)
        return show(terminal, feed, state, columns, limits, intervals, look, on_spike=on_spike)


def show(
    terminal: Terminal,
    feed: Feed,
    state: State,
    columns: Mapping[str, TableColumn],
    limits: Limits,
    intervals: int | None,
    look: Look,
    user: Callable[[int], str | None] = taskstats.user_name,
    on_spike: OnSpike | None = None,
) -> int:
    """Show a feed until the user quits; returns the exit status."""
    # SIGCONT as well, because a stopped process gets no SIGWINCH.
    with Queue((*ENDING, signal.SIGTSTP, signal.SIGWINCH, signal.SIGCONT)) as signals:
        loop = _Loop(
            terminal, feed, state, columns, limits, intervals, look, user, signals, on_spike
        )
        terminal.mouse = state.mouse
        # Objects made so far live as long as the view: exclude them from garbage collection.
        gc.collect()
        gc.freeze()
        try:
            while loop.ended_by is None:
                with terminal.modes():
                    loop.run()
                if loop.ended_by is not None or not loop.stopped:
                    break
                # The terminal is restored: stop as a shell expects, and continue here afterwards.
                os.kill(os.getpid(), signal.SIGSTOP)
                # A background process that has to end must not touch the terminal again.
                loop.take_signals()
        except HungUp:
            streams.discard(sys.stdout)
            return 128 + signal.SIGHUP
        finally:
            loop.inspector.close()
            if loop.writing is not None:
                loop.writing.finish()
    # The keyboard sends these two: they are ways to quit.
    if loop.ended_by in {None, signal.SIGINT, signal.SIGQUIT}:
        return 0
    return 128 + loop.ended_by


class _Loop:
    """Shows intervals of a feed and handles keys; `run` may be called again after a stop."""

    def __init__(
        self,
        terminal: Terminal,
        feed: Feed,
        state: State,
        columns: Mapping[str, TableColumn],
        limits: Limits,
        intervals: int | None,
        look: Look,
        user: Callable[[int], str | None],
        signals: Queue,
        on_spike: OnSpike | None,
    ) -> None:
        self.terminal = terminal
        self.feed = feed
        self.state = state
        self.columns = columns
        self.limits = limits
        self.intervals = intervals
        self.look = look
        self.user = user
        self.signals = signals
        # The signal that ends the view, and whether the user stops it.
        self.ended_by: int | None = None
        self.stopped = False
        self.resized = True
        self.cursor = ""
        # Rows that the last frame had room for, and rows in all.
        self.page_rows, self.total_rows = state.page_rows, state.total_rows
        self.inspector = Inspector()
        self.guard = Guard()
        self.pointer = Pointer()
        # The lines that were drawn last.
        self.lines: Lines | None = None
        # Whether the filter does not know all texts yet.
        self.searching = False
        self.poller = select.poll()
        for descriptor in (terminal.descriptor, signals.descriptor):
            self.poller.register(descriptor, select.POLLIN)
        self.renderer = Renderer(state, columns, limits, user, look.ascii)
        # When the notice disappears; None if only a key removes it.
        self.notice_until_s: float | None = None
        # A file that is written by itself, and one that is being written.
        self.on_spike = on_spike
        self.writing: Writing | None = None
        self.pace = Pace()
        feed.measure([columns[key].source for key in state.columns])
        feed.configure(*self._wanted())
        if feed.interval is None:
            feed.advance()

    def run(self) -> None:
        """Show frames until the user quits, a signal arrives, or all intervals are shown."""
        self.stopped, self.resized = False, True
        self.take_signals()
        while True:
            if self.stopped or self.ended_by is not None:
                return
            if self.resized:
                self._measure()
            # A row that a key has chosen is that of the frame which the user saw.
            self._draw()
            if self._left_s() == 0:
                self._advance()
                self._draw()
            if self.intervals is not None and self.intervals <= 0:
                return
            self._wait()
            if self.state.quit:
                return

    def _wait(self) -> None:
        """Wait for keys, signals and what is due, and handle them."""
        decoder, now_s = self.terminal.decoder, time.monotonic()
        ends_s = [end_s for end_s in (decoder.due_s(), self.notice_until_s) if end_s is not None]
        left_s = [end_s - now_s for end_s in ends_s]
        if (frame_s := self._left_s()) is not None:
            left_s.append(frame_s)
        if (work_s := self.inspector.wait_s()) is not None:
            left_s.append(work_s)
        if self.writing is not None:
            left_s.append(0.0)
        if self.searching:
            # Each frame reads some of the texts that the filter goes by.
            left_s.append(SEARCH_S)
            self.stale = True
        polled = self.poller.poll(1000 * max(0.0, min(left_s)) if left_s else None)
        if self.writing is not None:
            self._write_on(self.writing)
        ready = [descriptor for descriptor, _ in polled]
        # Reading an empty queue costs a system call and an exception.
        if self.signals.descriptor in ready:
            self.take_signals()
        # What is there came in time, however late this process runs.
        if self.terminal.descriptor in ready:
            self._take(decoder.feed(self.terminal.read(), time.monotonic()))
        elif ends_s:
            self._take(decoder.expire(time.monotonic()))
            self._expire_notice()
        if not ready and work_s is not None:
            self.stale |= self.inspector.work()

    def _left_s(self) -> float | None:
        """How long to show the current interval; None for ever."""
        # A paused view needs something to show.
        if self.state.paused and self.feed.interval is not None and not self.feed.is_sampled:
            return None
        return self.pace.left_s(self._wait_s())

    def _wait_s(self) -> float:
        return self.feed.wait_s(self.state.delay, self.state.speed)

    def take_signals(self) -> None:
        """Note the signals that have arrived."""
        for number in self.signals.take():
            if number in {signal.SIGWINCH, signal.SIGCONT}:
                self.resized = True
            elif number == signal.SIGTSTP:
                self.stopped = True
            elif self.ended_by is None:
                self.ended_by = number

    def _take(self, events: Iterable[Event]) -> None:
        """Apply what was typed."""
        read = list(events)
        now_s = time.monotonic()
        for event in read:
            if isinstance(event, Mouse) and event.button == 0:
                self._click(event, now_s)
                continue
            if not self.guard.admits(self.state.mode, event, now_s, alone=len(read) == 1):
                continue
            self.stale = True
            self._press(event)
            if self.state.quit:
                return

    def _click(self, mouse: Mouse, now_s: float) -> None:
        """Apply a click of the first button."""
        if not (mouse.pressed and self.state.mouse):
            return
        double = self.pointer.is_double(mouse.line, now_s)
        before = self._with_counts()
        self.state, key = click(before, mouse, self.lines, self.columns, double)
        self.stale = True
        if key is None:
            self._configure()
        elif self.guard.admits(self.state.mode, key, now_s, alone=True):
            self._press(key)

    def _measure(self) -> None:
        """Read the size of the terminal, and redraw the whole screen."""
        self.resized = False
        size = self.terminal.measure()
        self.state = replace(self.state, width=size.columns, height=size.lines)
        self.canvas, self.cursor = _canvas(self.terminal, self.look.theme), ""
        # Whether the screen must be drawn before the next wait.
        self.stale = True

    def _advance(self) -> None:
        """Go to the next interval."""
        self.stale = True
        self.pace.step(self._wait_s())
        if not self.feed.advance():
            notice = self.feed.notice or "the end of the recording"
            self.state = replace(self.state, paused=True, notice=notice)
            return
        if self.feed.interval is None:
            # The first interval has only started.
            return
        # The first interval of a paused view.
        self.feed.hold(self.state.paused)
        self._watch()
        if self.state.mode == "search" and self.state.wrong:
            self._search("here")
        if self.feed.notice:
            # What could not be shown is said until a key is pressed.
            self.state = replace(self.state, notice=self.feed.notice)
            self.notice_until_s = None
        if self.intervals is not None:
            self.intervals -= 1

    def _press(self, event: Event) -> None:
        """Apply a key to the state, and the new state to the feed."""
        before, self.state = self.state, keys.press(self._with_counts(), event)
        # A step begins at the frame on the screen.
        self.feed.hold(self.state.paused)
        if self.state.request:
            self._answer()
            self.feed.hold(self.state.paused)
        if self.state.mode in details.MODES and before.mode == "table" and self.feed.interval:
            # The next interval may have no row of it.
            self._inspect(self.state.selected_key, self.feed.interval)
        if self.state.setup.theme != self.look.theme:
            self.look = replace(self.look, theme=self.state.setup.theme)
            self._measure()
        resumed = before.paused and not self.state.paused and self.state.recorded
        if resumed or (before.delay, before.speed) != (self.state.delay, self.state.speed):
            self.pace.restart()
        self._configure()
        self.notice_until_s = time.monotonic() + NOTICE_S if self.state.notice else None

    def _answer(self) -> None:
        """Do what the state requests of the data or the terminal."""
        request, self.state = self.state.request, replace(self.state, request="")
        if request == "redraw":
            self._measure()
        elif request == "setup":
            notice = config.write(self.state.setup.path, setup.document(self.state))
            self.state = replace(self.state, notice=notice)
        elif request == "mouse":
            self.terminal.set_mouse(self.state.mouse)
        elif request in {"tag", "toggle"}:
            if self.feed.interval is not None:
                # Several keys may come at once: where is the selection?
                self._update_selection(self._lines(self.feed.interval))
            self.state = {"tag": tag, "toggle": toggle_row}[request](self.state)
        elif request in {"name", "name with arguments"}:
            if self.feed.interval is not None:
                when_s = self.feed.interval.cur.time_ns / 1e9
                name = time.strftime("ptop-%Y%m%d-%H%M%S.csv", time.localtime(when_s))
                self.state = offer_name(self.state, name, arguments=request != "name")
        elif request.startswith("save "):
            self._save(request.removeprefix("save "))
        elif request.startswith("act "):
            self._act(request)
        elif request == "kernel threads":
            self.state = hide_kernel_threads(self.state, self._has_kernel_threads())
        elif request == "users":
            self.state = offer_users(self.state, self._users())
        elif request.startswith("match "):
            self._search(request.removeprefix("match "))
        elif request in OF_PAST or request.startswith("write "):
            self._answer_of_past(request)
        else:
            notice = _go(self.feed, request, self.columns[self.state.sort])
            self.state = replace(self.state, notice=notice)

    def _save(self, path: str) -> None:
        """Save what is shown to a file."""
        if self.feed.interval is None:
            return
        # Few views need it.
        from ptop.live import saving

        self.renderer.show(self.state)
        arguments = self.state.save_arguments
        try:
            rows = saving.save(
                path, self.feed.interval, self.feed.unchanged, self.renderer, arguments
            )
        except OSError as error:
            notice = f"{error.strerror}: {path}"
        else:
            notice = f"{rows} rows saved to {path}"
        self.state = replace(self.state, notice=notice)

    def _act(self, request: str) -> None:
        """Act on tasks, or ask what to do."""
        if not self.feed.is_live:
            notice = "only the live view acts on tasks: L goes back to it"
            self.state = replace(self.state, notice=notice)
        elif request == "act do":
            self.state = actor.do(self.state)
        elif self.guard.is_after_paste(time.monotonic()):
            self.state = replace(self.state, notice="ignored: a key right after a paste")
        elif self.feed.interval is not None:
            self._update_selection(self._lines(self.feed.interval))
            self.state = actor.begin(self.state, self.feed.interval)

    def _answer_of_past(self, request: str) -> None:
        """Do what the state requests of the frames that were kept."""
        feed = self.feed
        if not isinstance(feed, HistoryFeed):
            self.state = replace(self.state, paused=False, notice=NO_HISTORY)
        elif request == "mark":
            self.state = replace(self.state, notice=feed.mark())
        elif request == "frame difference":
            self.state = replace(self.state, notice=feed.compare())
        elif request == "name of history":
            self.state = type_in("write")(
                replace(self.state, past=replace(self.state.past, span_s=feed.span_s()))
            )
        else:
            path = os.path.expanduser(request.removeprefix("write "))
            self._write(feed, path, self.state.past.cmdlines, "")

    def _write(self, feed: HistoryFeed, path: str, cmdlines: bool, why: str) -> None:
        """Begin to write a file of the frames that were kept."""
        if self.writing is not None:
            notice = f"{safe(self.writing.path)} is still being written"
        else:
            try:
                self.writing = Writing(feed.history, path, cmdlines, why)
                notice = f"writing {safe(path)}"
            except FileExistsError:
                notice = f"the file exists, choose another name: {safe(path)}"
            except (OSError, taskstats.TaskstatsError) as error:
                notice = f"{safe(path)} was not written: {safe(str(error))}"
        self._say(notice)

    def _write_on(self, writing: Writing) -> None:
        ended = writing.go_on()
        if ended is not None:
            self.writing = None
            self._say(ended)

    def _say(self, notice: str) -> None:
        """Show a message for a while."""
        self.stale = True
        self.state = replace(self.state, notice=notice)
        self.notice_until_s = time.monotonic() + NOTICE_S

    def _watch(self) -> None:
        """Write a file if the newest interval has a spike that the user watches for."""
        feed = self.feed
        if self.on_spike is None or self.writing is not None or not isinstance(feed, HistoryFeed):
            return
        newest = feed.newest
        due = None if newest is None else self.on_spike.due(newest, time.monotonic())
        if due is not None:
            self._write(feed, due[0], self.on_spike.cmdlines, due[1])

    def _expire_notice(self) -> None:
        if self.notice_until_s is not None and time.monotonic() >= self.notice_until_s:
            self.notice_until_s, self.stale = None, True
            self.state = replace(self.state, notice="")

    def _wanted(self) -> tuple[bool, set[str]]:
        """Whether intervals must have threads, and the kernel fields that they need."""
        fields = needed_fields(self.state, self.columns)
        return self.state.threads, fields | (self.on_spike.fields if self.on_spike else set())

    def _configure(self) -> None:
        """Set what the next intervals must contain. A paused view shows what there is."""
        wanted = self._wanted()
        self.feed.measure([self.columns[key].source for key in self.state.columns])
        if not self.state.paused:
            if self.feed.configure(*wanted):
                self.feed.advance()
                self.pace.restart()
        elif not self.feed.has(*wanted) and not self.state.notice:
            notice = "some of this is not in the paused data: Z continues"
            self.state = replace(self.state, notice=notice)

    def _users(self) -> list[tuple[int, str, int]]:
        """The users of the tasks, those with most tasks first: id, name, number of tasks."""
        if self.feed.interval is None:
            return []
        groups = self.feed.interval.fold("user", resting=self.feed.unchanged)
        rows = groups.select(["ac_uid", "tasks"], sort="tasks")
        return [
            (int(uid), self.user(int(uid)) or str(uid), int(tasks or 0))
            for uid, tasks in rows
            if uid is not None
        ]

    def _has_kernel_threads(self) -> bool:
        """Whether pid 2 is the parent of kernel threads: it is not in most pid namespaces."""
        if self.feed.interval is None:
            return False
        names = self.feed.interval.fold("name", resting=self.feed.unchanged)
        return ("kthreadd", 2) in names.select(["title", "ac_pid"], pids=[2])

    def _search(self, where: str) -> None:
        """Select the row that matches what was typed: here, next or previous."""
        state, interval = self.state, self.feed.interval
        typing = state.mode == "search"
        text = (state.entry.text if typing else "") or state.search
        if not text or interval is None:
            return
        begin = state.origin[0] if where == "here" else state.selected
        start = max(0, begin + {"here": 0, "next": 1, "previous": -1}[where])
        row = self.renderer.find(interval, self.feed.unchanged, text, start, where == "previous")
        if row is None:
            missing = f"no row matches {text!r}"
            self.state = replace(state, wrong=missing if typing else "", notice=missing)
        else:
            self.state = with_row(self._with_counts(), row)

    def _draw(self) -> None:
        """Write the lines that changed since the last frame, and place the cursor."""
        interval = self.feed.interval
        if interval is None or not self.stale:
            return
        self.stale = False
        lines = self.lines = self._lines(interval)
        self._update_selection(lines)
        text = self.canvas.draw(
            self.renderer.page(self.terminal.size, interval) or self._with_pane(lines, interval)
        )
        cursor = self._cursor()
        if text or cursor != self.cursor:
            self.cursor = cursor
            self.terminal.write(text + cursor)
        self.guard.draw(self.state.mode, time.monotonic())

    def _with_pane(self, lines: Lines, interval: taskstats.Interval) -> Lines:
        """The table with the pane that shows the selected task, if it is open."""
        if self.state.mode not in details.MODES:
            if self.state.mode == "table" and self.inspector.key is not None:
                self.inspector.close()
            return lines
        self._inspect(lines.selected_key, interval)
        self.inspector.use(self.state.details)
        pane = self.inspector.pane(self.state.details)
        if self.feed.place:
            # The line of the screen that has it may be hidden.
            pane = replace(pane, title=f"{pane.title}  {self.feed.place}")
        both, top = self.renderer.with_pane(lines, pane, self.terminal.size)
        if top != self.state.details.top:
            # There was no more to scroll.
            self.state = replace(self.state, details=replace(self.state.details, top=top))
        return both

    def _inspect(self, key: RowKey | None, interval: taskstats.Interval) -> None:
        """Let the pane show the task of a row."""
        self.inspector.follow(key, interval, self.feed.is_live, self.feed.earlier(EARLIER))

    def _cursor(self) -> str:
        """Shows the cursor in a prompt, and hides it elsewhere."""
        sequences, size = self.terminal.sequences, self.terminal.size
        prompt = pages.prompt(self.state)
        if prompt is None:
            return sequences.hide_cursor
        column = min(width(prompt[0]), size.columns - 1)
        return sequences.cell(size.lines - 1, column) + sequences.show_cursor

    def _lines(self, interval: taskstats.Interval) -> Lines:
        if self.renderer.state is not self.state:
            self.renderer.show(self.state)
        feed = self.feed
        return self.renderer.lines(
            interval,
            self.terminal.size,
            feed.unchanged,
            lacks=feed.lacks,
            replay=feed.place,
            ages_s=feed.ages_s,
        )

    def _update_selection(self, lines: Lines) -> None:
        """Store where the selected row is, and the numbers of rows for the next key."""
        state = self.state
        self.searching = lines.searching
        self.page_rows, self.total_rows = lines.room, lines.rows
        selected = state.selected if lines.selected_row is None else lines.selected_row
        drawn = (lines.top, lines.selected_key)
        if (selected, *drawn) == (state.selected, state.top, state.selected_key):
            return
        self.state = replace(
            state, selected=selected, top=lines.top, selected_key=lines.selected_key
        )
        if drawn == (state.top, state.selected_key):
            # The screen has been told nothing of what changed: it serves the new state as well.
            self.renderer.state = self.state

    def _with_counts(self) -> State:
        """The state with the numbers of rows, on which paging depends. They change in most
        frames, and a copy of the state costs as much as drawing ten rows."""
        return replace(self.state, page_rows=self.page_rows, total_rows=self.total_rows)


def _go(feed: Feed, request: str, column: TableColumn) -> str:
    """Go to the frame that is asked for; returns a notice."""
    if isinstance(feed, LiveFeed) and not isinstance(feed, HistoryFeed):
        return NO_HISTORY
    frames = cast(FrameFeed, feed)
    kind, place = request.split(" ", 1)
    message = ""
    if kind == "time":
        try:
            frames.seek(parse_time(place, frames.time_ns))
        except ValueError as error:
            return str(error)
    elif place in {"next", "previous"}:
        if not frames.step(1 if place == "next" else -1):
            message = "no more"
        message = feed.notice or message
    elif place in {"first", "last"}:
        frames.go_to_end(place == "last")
    else:
        why = frames.spike(column.source, 1 if place == "spike" else -1)
        where = "after" if place == "spike" else "before"
        message = f"no spike of {column.title} {where} this: {why}" if why else ""
    return f"{frames.position()}  {message or feed.notice}".strip()
