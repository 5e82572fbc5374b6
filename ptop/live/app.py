"""The live view and the replay on a terminal.

Design decisions

* One thread. The timeout of waiting for a key is the clock.
* The modes of the terminal are a context manager, and signals end the loop, so that the
  terminal is restored before any message is written.
* A terminal that is gone counts as a hang-up, wherever that is noticed.
"""

from __future__ import annotations

import gc
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping

import taskstats
from taskstats.screen import Lines, RowKey

from ptop import streams
from ptop.columns import READ_METERS, ReadMeter, TableColumn
from ptop.feed import Feed, LiveFeed
from ptop.history_feed import HistoryFeed
from ptop.live import details, keys, machine
from ptop.live.decoder import Event, Mouse
from ptop.live.drawing import Drawing
from ptop.live.guard import Guard
from ptop.live.history import Files, OnSpike
from ptop.live.inspector import REMEMBERED, Inspector
from ptop.live.pointing import Pointer, click
from ptop.live.requests import Requests
from ptop.live.state import Limits, State, shown_meters
from ptop.live.steady import Steady
from ptop.live.table import Table
from ptop.live.terminal import HungUp, Terminal
from ptop.live.theme import Look
from ptop.live.view import Renderer, needed_fields
from ptop.privilege import sudo_user
from ptop.signals import ENDING, Queue
from ptop.times import Pace
from ptop.values import replace

# How long to wait for a key before more command lines are read for the filter.
FILTER_S = 0.01
# How long a message stays on the screen, if no key comes before.
NOTICE_S = 8.0


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
    ) as opened:
        if sudo_user() is not None:
            # The interpreter's files may be root's alone.
            from ptop.live import saving  # noqa: F401
        if not state.acting.keep_root:
            taskstats.drop_privileges(opened.name)
        feed = LiveFeed(opened) if history is None else HistoryFeed(opened, history)
        return show(
            terminal,
            feed,
            state,
            columns,
            limits,
            intervals,
            look,
            on_spike=on_spike,
        )


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
            terminal, feed, state, columns, limits, intervals, look, user, signals, on_spike,
        )  # fmt: skip
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
            loop.inspector.finish()
            loop.files.finish()
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
        self.intervals = intervals
        self.look = look
        self.signals = signals
        # The signal that ends the view, and whether the user stops it.
        self.ended_by: int | None = None
        self.stopped = False
        self.resized = True
        self.inspector = Inspector()
        self.graphs = machine.Graphs()
        self.guard = Guard()
        self.pointer = Pointer()
        # The lines that were drawn last.
        self.lines: Lines | None = None
        self.poller = select.poll()
        for descriptor in (terminal.descriptor, signals.descriptor):
            self.poller.register(descriptor, select.POLLIN)
        self.renderer = Renderer(state, columns, limits, user, look.ascii)
        self.table = Table(terminal, feed, self.renderer, state)
        self.files = Files(on_spike)
        self.steady = Steady(feed, terminal, signals) if isinstance(feed, LiveFeed) else None
        self.requests = Requests(feed, self.table, columns, user, self.guard, self.files)
        # What a paused view lacks, which has been said.
        self.lacking: tuple[bool, set[str]] | None = None
        # When the notice disappears; None if only a key removes it.
        self.notice_until_s: float | None = None
        self.pace = Pace()
        feed.measure([columns[key].source for key in state.columns])
        feed.configure(*self._wanted(), self._meters())
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
            if self._show_frames():
                continue
            self._wait()
            if self.state.quit:
                return

    def _show_frames(self) -> bool:
        """Show intervals while nothing but time passes; returns whether there were any."""
        steady, state = self.steady, self.state
        if steady is None or self.stale or state.mode != "table" or state.paused:
            return False
        files, inspector, table = self.files, self.inspector, self.table
        if files.is_watching or files.is_writing or table.searching:
            return False
        if inspector.key is not None or inspector.wait_s() is not None:
            return False
        if self.notice_until_s is not None or self.terminal.decoder.due_s() is not None:
            return False
        table.use(state)
        shown, lines = steady.run(
            self.renderer, self.drawing, self.pace, self._wait_s(), self.intervals
        )
        if lines is None:
            return False
        self.lines = lines
        self.state = table.update(state, lines)
        if self.intervals is not None:
            self.intervals -= shown
        return True

    def _wait(self) -> None:
        """Wait for keys, signals and what is due, and handle them."""
        # Each frame comes here, with cold caches: nothing is built that is not needed.
        decoder, left_s = self.terminal.decoder, self._left_s()
        due_s = decoder.due_s()
        work_s = 0.0 if self.graphs.has_work else self.inspector.wait_s()
        is_timed = due_s is not None or self.notice_until_s is not None
        if is_timed:
            ends_s = (end_s for end_s in (due_s, self.notice_until_s) if end_s is not None)
            left_s = min(left_s, max(0.0, min(ends_s) - time.monotonic()))
        if work_s is not None:
            left_s = min(left_s, work_s)
        if self.files.is_writing:
            left_s = 0.0
        if self.table.searching:
            # Each frame reads some of the texts that the filter goes by, or of the minute before.
            left_s = min(left_s, FILTER_S)
            self.stale = True
        polled = self.poller.poll(None if left_s == math.inf else 1000 * left_s)
        if self.files.is_writing:
            self._say(self.files.go_on())
        ready = [descriptor for descriptor, _ in polled]
        # Reading an empty queue costs a system call and an exception.
        if self.signals.descriptor in ready:
            self.take_signals()
        # What is there came in time, however late this process runs.
        if self.terminal.descriptor in ready:
            self._take(decoder.feed(self.terminal.read(), time.monotonic()))
        elif is_timed:
            self._take(decoder.expire(time.monotonic()))
            self._expire_notice()
        if not ready and work_s is not None:
            self.stale |= self.graphs.work() or self.inspector.work()

    def _left_s(self) -> float:
        """How long to show the current interval; infinite while the view is paused."""
        # A paused view needs something to show.
        if self.state.paused and self.feed.interval is not None and not self.feed.is_sampled:
            return math.inf
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
        before = self.table.with_counts(self.state)
        self.state, key = click(before, mouse, self.lines, self.columns, double)
        self.stale = True
        if self.state.request:
            self.feed.hold(self.state.paused)
            self.state = self.requests.answer(self.state)
            self.feed.hold(self.state.paused)
        if key is None:
            self._configure()
        elif self.guard.admits(self.state.mode, key, now_s, alone=True):
            self._press(key)

    def _measure(self) -> None:
        """Read the size of the terminal, and redraw the whole screen."""
        self.resized = False
        size = self.terminal.measure()
        self.state = replace(self.state, width=size.columns, height=size.lines)
        self.drawing = Drawing(self.terminal, self.look.theme)
        # Whether the screen must be drawn before the next wait.
        self.stale = True
        # Columns may have lost their room, or got some.
        self._configure()

    def _advance(self) -> None:
        """Go to the next interval."""
        self.stale = True
        self.pace.step(self._wait_s())
        before = self.feed.interval
        if not self.feed.advance():
            notice = self.feed.notice or "the end of the recording"
            self.state = replace(self.state, paused=True, notice=notice)
            return
        if self.feed.interval is None:
            # The first interval has only started.
            return
        # The first interval of a paused view.
        self.feed.hold(self.state.paused)
        self._say(self.files.watch(self.feed))
        if self.state.mode == "search" and self.state.wrong:
            self.state = self.requests.search(self.state, "here")
        is_new = self.feed.interval is not before
        if self.feed.notice and is_new and self.state.mode != "strace":
            # What could not be shown is said until a key is pressed, but not over a question.
            self.state = replace(self.state, notice=self.feed.notice)
            self.notice_until_s = None
        if self.intervals is not None:
            self.intervals -= 1

    def _press(self, event: Event) -> None:
        """Apply a key to the state, and the new state to the feed."""
        before, self.state = self.state, keys.press(self.table.with_counts(self.state), event)
        # A step begins at the frame on the screen.
        self.feed.hold(self.state.paused)
        if self.state.request == "redraw":
            self.state = replace(self.state, request="")
            self._measure()
        elif self.state.request:
            self.state = self.requests.answer(self.state)
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
        if why := self.table.why_unknown(before, self.state):
            self.state = replace(self.state, notice=why)
        self.notice_until_s = time.monotonic() + NOTICE_S if self.state.notice else None

    def _say(self, notice: str) -> None:
        """Show a message for a while, if there is one."""
        if not notice:
            return
        self.stale = True
        self.state = replace(self.state, notice=notice)
        self.notice_until_s = time.monotonic() + NOTICE_S

    def _expire_notice(self) -> None:
        if self.notice_until_s is not None and time.monotonic() >= self.notice_until_s:
            self.notice_until_s, self.stale = None, True
            self.state = replace(self.state, notice="")

    def _wanted(self) -> tuple[bool, set[str]]:
        """Whether intervals must have threads, and the kernel fields that they need."""
        fields = needed_fields(self.state, self.columns, self.table.left_out(self.state))
        return self.state.threads, fields | self.files.fields

    def _meters(self) -> list[ReadMeter]:
        """The meters that the source has to read."""
        if self.state.mode == machine.MODE:
            return list(READ_METERS)
        shown = shown_meters(self.state)
        return [meter for meter in READ_METERS if meter in shown]

    def _configure(self) -> None:
        """Set what the next intervals must contain. A paused view shows what there is."""
        wanted = self._wanted()
        self.feed.measure([self.columns[key].source for key in self.state.columns])
        if not self.state.paused:
            if self.feed.configure(*wanted, self._meters()):
                self.feed.advance()
                self.pace.restart()
            self.lacking = None
            return
        # A page has no room for it. It is said once, not again at each key.
        if self.state.mode not in ("table", *details.MODES) or self.lacking == wanted:
            return
        if self.feed.has(*wanted):
            self.lacking = None
        elif not self.state.notice:
            self.lacking = wanted
            notice = "some of this is not in the paused data: Z continues"
            self.state = replace(self.state, notice=notice)

    def _draw(self) -> None:
        """Draw the current interval, if the screen does not show it already."""
        interval = self.feed.interval
        if interval is None or not self.stale:
            return
        self.stale = False
        lines = self.lines = self.table.lines(self.state, interval)
        self.state = self.table.update(self.state, lines)
        page = self._graphs(interval) or self.renderer.page(self.terminal.size, interval)
        lines = page or self._with_pane(lines, interval)
        self.drawing.draw(lines, self.state)
        self.guard.draw(self.state.mode, time.monotonic())

    def _graphs(self, interval: taskstats.Interval) -> Lines | None:
        """The page of the machine's graphs, if it is open."""
        if self.state.mode != machine.MODE:
            if self.graphs.is_open:
                self.graphs.close()
            return None
        self.graphs.follow(self.state, interval, self.feed.earlier(machine.REMEMBERED))
        page = self.graphs.page(self.state, self.feed.place, self.renderer.ascii)
        return Lines(page, self.terminal.size)

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
        unchanged = self.feed.unchanged
        kept = unchanged if isinstance(unchanged, taskstats.KeptInterval) else None
        earlier = self.feed.earlier(REMEMBERED)
        self.inspector.follow(key, interval, self.feed.is_live, earlier, kept)
