"""The live view and the replay on a terminal: the only module that writes to it.

Design decisions

* One thread. The timeout of waiting for a key is the clock.
* Every terminal mode is a context manager, and signals end the loop, so that the terminal
  is restored before any message is written.
* A terminal that is gone counts as a hang-up, wherever that is noticed.
* Only the lines that differ from the previous frame are written.
"""

from __future__ import annotations

import codecs
import contextlib
import curses
import gc
import os
import select
import signal
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import taskstats
from blessed import Terminal
from blessed.keyboard import Keystroke
from taskstats.screen import Canvas, Lines

from ptop import streams
from ptop.columns import TableColumn
from ptop.feed import Feed, LiveFeed, RecordedFeed
from ptop.live.state import Limits, State, press
from ptop.live.theme import Look, sequences
from ptop.live.view import Renderer, needed_fields
from ptop.signals import ENDING, Queue
from ptop.times import Pace, parse_time


class _HungUp(Exception):
    """The terminal is gone."""


class _Keyboard(Terminal):
    """A terminal whose keys may be any bytes. They are UTF-8, whatever the locale says; bytes
    that are not become surrogates, so that a filter finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptor = sys.stdin.fileno()
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def getch(self, decode_latin1: bool = False) -> str:
        byte = os.read(self.descriptor, 1)
        if not byte:
            raise _HungUp
        return chr(byte[0]) if decode_latin1 else self._decoder.decode(byte)


@contextlib.contextmanager
def _screen(terminal: _Keyboard) -> Iterator[None]:
    """The terminal in the modes of the view. `_HungUp` if it is gone, whatever failed then."""
    try:
        with terminal.fullscreen(), terminal.hidden_cursor(), terminal.cbreak():
            yield
    except (OSError, termios.error):
        try:
            termios.tcgetattr(terminal.descriptor)
        except termios.error:
            raise _HungUp from None
        raise


def _canvas(terminal: Terminal, lines: int, theme: str) -> Canvas:
    """A canvas for a terminal of that many lines, whose content is unknown."""
    return Canvas(
        clear=str(terminal.clear),
        lines=[str(terminal.move_xy(0, row)) for row in range(lines)],
        styles=sequences(terminal, theme),
        normal=str(terminal.normal),
    )


def unusable_terminal() -> str | None:
    """Why the view cannot be shown on this terminal; None if it can."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "standard input and output are not a terminal"
    # Unknown terminal types cannot move the cursor.
    with contextlib.suppress(curses.error):
        curses.setupterm(os.environ.get("TERM") or "dumb", sys.stdout.fileno())
        if curses.tigetstr("cup"):
            return None
    return "this terminal cannot move its cursor"


def run(
    state: State,
    columns: Mapping[str, TableColumn],
    *,
    source: str,
    limits: Limits,
    intervals: int | None,
    look: Look,
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
        taskstats.drop_privileges(opened.name)
        return show(LiveFeed(opened), state, columns, limits, intervals, look)


def show(
    feed: Feed,
    state: State,
    columns: Mapping[str, TableColumn],
    limits: Limits,
    intervals: int | None,
    look: Look,
    user: Callable[[int], str | None] = taskstats.user_name,
) -> int:
    """Show a feed until the user quits; returns the exit status."""
    # With NO_COLOR set, blessed disables cursor motion as well.
    os.environ.pop("NO_COLOR", None)
    terminal = _Keyboard()
    # SIGCONT as well, because a stopped process gets no SIGWINCH.
    with Queue((*ENDING, signal.SIGTSTP, signal.SIGWINCH, signal.SIGCONT)) as signals:
        loop = _Loop(terminal, feed, state, columns, limits, intervals, look, user, signals)
        # Objects made so far live as long as the view: exclude them from garbage collection.
        gc.collect()
        gc.freeze()
        try:
            while loop.ended_by is None:
                with _screen(terminal):
                    loop.run()
                if loop.ended_by is not None or not loop.stopped:
                    break
                # The terminal is restored: stop as a shell expects, and continue here afterwards.
                os.kill(os.getpid(), signal.SIGSTOP)
                # A background process that has to end must not touch the terminal again.
                loop.take_signals()
        except _HungUp:
            streams.discard(sys.stdout)
            return 128 + signal.SIGHUP
    # The keyboard sends these two: they are ways to quit.
    if loop.ended_by in {None, signal.SIGINT, signal.SIGQUIT}:
        return 0
    return 128 + loop.ended_by


class _Loop:
    """Shows intervals of a feed and handles keys; `run` may be called again after a stop."""

    def __init__(
        self,
        terminal: _Keyboard,
        feed: Feed,
        state: State,
        columns: Mapping[str, TableColumn],
        limits: Limits,
        intervals: int | None,
        look: Look,
        user: Callable[[int], str | None],
        signals: Queue,
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
        self.poller = select.poll()
        for descriptor in (terminal.descriptor, signals.descriptor):
            self.poller.register(descriptor, select.POLLIN)
        self.renderer = Renderer(state, columns, limits, user, look.ascii)
        # What a replay could not show; the notice stays until a key is pressed.
        self.left_out = state.notice
        self.pace = Pace()
        feed.configure(state.threads, needed_fields(state, columns))
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
            if self._left_s() == 0:
                self._advance()
                self.stale = True
            if self.feed.interval is not None and self.stale:
                self.stale = False
                self._draw(self.feed.interval)
                if self.intervals is not None and self.intervals <= 0:
                    return
            left_s = self._left_s()
            polled = self.poller.poll(None if left_s is None else 1000 * left_s)
            ready = [descriptor for descriptor, _ in polled]
            # Reading an empty queue costs a system call and an exception.
            if self.signals.descriptor in ready:
                self.take_signals()
            if self.terminal.descriptor in ready:
                # inkey costs as much as a frame, even if there is no key.
                self._take_keys()
                if self.state.quit:
                    return

    def _left_s(self) -> float | None:
        """How long to show the current interval; None for ever."""
        # A paused view needs something to show.
        if self.state.paused and self.feed.interval is not None:
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

    def _take_keys(self) -> None:
        """Apply the keys that were pressed. There may be none yet: a character arrives byte
        by byte."""
        while not self.state.quit and (key := self.terminal.inkey(timeout=0)):
            self.stale = True
            self._press(_name(key))

    def _measure(self) -> None:
        """Read the size of the terminal, and redraw the whole screen."""
        self.resized = False
        self.size = os.get_terminal_size(sys.stdout.fileno())
        self.canvas = _canvas(self.terminal, self.size.lines, self.look.theme)
        # Whether the screen must be drawn before the next wait.
        self.stale = True

    def _advance(self) -> None:
        """Go to the next interval."""
        self.pace.step(self._wait_s())
        if not self.feed.advance():
            notice = self.feed.notice or "the end of the recording"
            self.state = replace(self.state, paused=True, notice=notice)
            return
        if self.feed.interval is None:
            # The first interval has only started.
            return
        self.left_out = self.feed.notice or self.left_out
        if self.state.notice != self.left_out:
            self.state = replace(self.state, notice=self.left_out)
        if self.intervals is not None:
            self.intervals -= 1

    def _press(self, name: str) -> None:
        """Apply a key to the state, and the new state to the feed."""
        if name == "KEY_REDRAW":
            self._measure()
        self.left_out = ""
        before, self.state = self.state, press(self.state, name)
        if self.state.goto:
            notice = _go(self.feed, self.state, self.columns)
            self.state = replace(self.state, goto="", notice=notice)
        resumed = before.paused and not self.state.paused and self.state.recorded
        if resumed or (before.delay, before.speed) != (self.state.delay, self.state.speed):
            self.pace.restart()
        self._configure()

    def _configure(self) -> None:
        """Set what the next intervals must contain. A paused view shows what there is."""
        wanted = self.state.threads, needed_fields(self.state, self.columns)
        if not self.state.paused:
            if self.feed.configure(*wanted):
                self.feed.advance()
                self.pace.restart()
        elif not self.feed.has(*wanted) and not self.state.notice:
            notice = "some of this is not in the paused data: space continues"
            self.state = replace(self.state, notice=notice)

    def _draw(self, interval: taskstats.Interval) -> None:
        """Write the lines that changed since the last frame."""
        lines = self._lines(interval)
        self._update_counts(lines)
        text = self.canvas.draw(self.renderer.page(self.size, interval) or lines)
        if text:
            self.terminal.stream.write(text)
            self.terminal.stream.flush()

    def _lines(self, interval: taskstats.Interval) -> Lines:
        if self.renderer.state is not self.state:
            self.renderer.show(self.state)
        feed = self.feed
        return self.renderer.lines(
            interval, self.size, feed.unchanged, lacks=feed.lacks, replay=feed.place
        )

    def _update_counts(self, lines: Lines) -> None:
        """Store what paging depends on, and where the selected row is."""
        state = self.state
        selected = state.selected if lines.selected_row is None else lines.selected_row
        drawn = (lines.top, lines.selected_key)
        if (lines.room, lines.rows, selected, *drawn) == (
            state.page_rows,
            state.total_rows,
            state.selected,
            state.top,
            state.selected_key,
        ):
            return
        self.state = replace(
            state,
            page_rows=lines.room,
            total_rows=lines.rows,
            selected=selected,
            top=lines.top,
            selected_key=lines.selected_key,
        )
        if drawn == (state.top, state.selected_key):
            # The screen has been told nothing of what changed: it serves the new state as well.
            self.renderer.state = self.state


def _go(feed: Feed, state: State, columns: Mapping[str, TableColumn]) -> str:
    """Go to the frame that the state asks for; returns a notice."""
    assert isinstance(feed, RecordedFeed), "only a replay has keys to go to a frame"
    place, message = state.goto, ""
    if place in {"next", "previous"}:
        if not feed.step(1 if place == "next" else -1):
            message = "no more"
        message = feed.notice or message
    elif place in {"first", "last"}:
        feed.go_to_end(place == "last")
    elif place in {"spike", "spike before"}:
        column = columns[state.sort]
        why = feed.spike(column.source, 1 if place == "spike" else -1)
        where = "after" if place == "spike" else "before"
        message = f"no spike of {column.title} {where} this: {why}" if why else ""
    elif place.startswith("time "):
        try:
            feed.seek(parse_time(place.removeprefix("time "), feed.time_ns))
        except ValueError as error:
            return str(error)
    return f"{feed.position()}  {message}".rstrip()


def _name(key: Keystroke) -> str:
    """The name of a key if it has one, else its character."""
    named = {"\x0c": "KEY_REDRAW", "\r": "KEY_ENTER", "\n": "KEY_ENTER", "\x1b": "KEY_ESCAPE"}
    if str(key) in named:
        return named[str(key)]
    return key.name if key.is_sequence and key.name else str(key)
