"""The live view and the replay on a terminal: the only module that writes to it.

Design decisions

* One thread. The timeout of waiting for a key is the clock.
* Every terminal mode is a context manager, and signals end the loop, so that the terminal
  is restored before any message is written.
* Only the lines that differ from the previous frame are written.
"""

from __future__ import annotations

import contextlib
import curses
import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import FrameType

import taskstats
from blessed import Terminal
from blessed.keyboard import Keystroke
from taskstats.screen import Canvas, Lines

from ptop.columns import TableColumn
from ptop.feed import Feed, LiveFeed, RecordedFeed
from ptop.live.state import Limits, State, press
from ptop.live.view import Renderer, needed_fields
from ptop.text import user_name
from ptop.times import parse_time


class _Stop(Exception):
    """A signal that ends or stops the program."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, _frame: FrameType | None) -> None:
    raise _Stop(number)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Signals that end or stop the program raise `_Stop`."""
    handled = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGTSTP)
    before = {number: signal.signal(number, _stop) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _resizes() -> Iterator[int]:
    """A descriptor that becomes readable when the size of the terminal may have changed."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    # SIGCONT too, because a stopped process gets no SIGWINCH. The handlers do nothing, but
    # only signals with a handler write to the descriptor.
    handlers = {
        number: signal.signal(number, lambda _number, _frame: None)
        for number in (signal.SIGWINCH, signal.SIGCONT)
    }
    before = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    try:
        yield readable
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(readable)
        os.close(writable)


def _canvas(terminal: Terminal, lines: int, color: bool) -> Canvas:
    """A canvas for a terminal of that many lines, whose content is unknown."""
    return Canvas(
        clear=str(terminal.clear),
        lines=[str(terminal.move_xy(0, row)) for row in range(lines)],
        bold=str(terminal.bold) if color else "",
        reverse=str(terminal.reverse) if color else "",
        normal=str(terminal.normal) if color else "",
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
    color: bool,
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
        return show(LiveFeed(opened), state, columns, limits, intervals, color)


def show(
    feed: Feed,
    state: State,
    columns: Mapping[str, TableColumn],
    limits: Limits,
    intervals: int | None,
    color: bool,
    user: Callable[[int], str] = user_name,
) -> int:
    """Show a feed until the user quits; returns the exit status."""
    # With NO_COLOR set, blessed disables cursor motion as well.
    os.environ.pop("NO_COLOR", None)
    terminal = Terminal()
    stopped = 0
    with _signals(), _resizes() as resized:
        loop = _Loop(terminal, feed, state, columns, limits, intervals, color, user, resized)
        # Objects made so far live as long as the view: exclude them from garbage collection.
        gc.collect()
        gc.freeze()
        while True:
            try:
                with terminal.fullscreen(), terminal.hidden_cursor(), terminal.cbreak():
                    loop.run()
            except _Stop as stop:
                stopped = stop.number
            if stopped != signal.SIGTSTP:
                break
            # The terminal is restored: stop as a shell expects, and continue here afterwards.
            stopped = 0
            os.kill(os.getpid(), signal.SIGSTOP)
    return 0 if stopped in {0, signal.SIGINT} else 128 + stopped


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
        color: bool,
        user: Callable[[int], str],
        resized: int,
    ) -> None:
        self.terminal = terminal
        self.feed = feed
        self.state = state
        self.columns = columns
        self.limits = limits
        self.intervals = intervals
        self.color = color
        self.user = user
        self.resized = resized
        self.keyboard = sys.stdin.fileno()
        self.poller = select.poll()
        for descriptor in (self.keyboard, resized):
            self.poller.register(descriptor, select.POLLIN)
        # Replaced when the state changes.
        self.renderer = Renderer(state, columns, limits, user)
        # What a replay could not show; the notice stays until a key is pressed.
        self.left_out = state.notice
        feed.configure(state.threads, bool(state.group_by), needed_fields(state, columns))
        if feed.interval is None:
            feed.advance()
        self.due = time.monotonic() + feed.wait_s(state.delay, state.speed)

    def run(self) -> None:
        """Show frames until the user quits or all intervals are shown."""
        self._measure()
        while True:
            if time.monotonic() >= self.due and not self.state.paused:
                self._advance()
                self.stale = True
            if self.feed.interval is not None and self.stale:
                self.stale = False
                self._draw(self.feed.interval)
                if self.intervals is not None and self.intervals <= 0:
                    return
            left = None if self.state.paused else max(0.0, self.due - time.monotonic())
            polled = self.poller.poll(None if left is None else 1000 * left)
            if not polled:
                continue
            ready = [descriptor for descriptor, _ in polled]
            if self.resized in ready:
                os.read(self.resized, 4096)
                self._measure()
            # inkey costs as much as a frame, even if there is no key.
            typed = self.keyboard in ready
            key = self.terminal.inkey(timeout=0) if typed else None
            if typed and not key:
                # Readable without a key: the terminal is gone.
                raise _Stop(signal.SIGHUP)
            while key:
                self.stale = True
                self._press(_name(key))
                if self.state.quit:
                    return
                key = self.terminal.inkey(timeout=0)

    def _measure(self) -> None:
        """Read the size of the terminal, and redraw the whole screen."""
        self.size = os.get_terminal_size(sys.stdout.fileno())
        self.canvas = _canvas(self.terminal, self.size.lines, self.color)
        # Whether the screen must be drawn before the next wait.
        self.stale = True

    def _advance(self) -> None:
        """Go to the next interval, and set the time of the one after it."""
        if not self.feed.advance():
            notice = self.feed.notice or "the end of the recording"
            self.state = replace(self.state, paused=True, notice=notice)
            return
        now = time.monotonic()
        if self.feed.interval is None:
            # The first interval has only started.
            self._wait(now)
            return
        self.left_out = self.feed.notice or self.left_out
        if self.state.notice != self.left_out:
            self.state = replace(self.state, notice=self.left_out)
        # A late frame does not delay the ones after it.
        self.due = max(self.due + self.feed.wait_s(self.state.delay, self.state.speed), now)
        if self.intervals is not None:
            self.intervals -= 1

    def _wait(self, now: float) -> None:
        """Show the current interval from `now` on for its whole time."""
        self.due = now + self.feed.wait_s(self.state.delay, self.state.speed)

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
            self._wait(time.monotonic())
        fields = needed_fields(self.state, self.columns)
        if self.feed.configure(self.state.threads, bool(self.state.group_by), fields):
            self.feed.advance()
            self._wait(time.monotonic())

    def _draw(self, interval: taskstats.Interval) -> None:
        """Write the lines that changed since the last frame."""
        lines = self._lines(interval)
        counts = (self.state.page_rows, self.state.total_rows)
        if (lines.room, lines.rows) != counts and self._update_counts(lines):
            # The selection was beyond the end of the list.
            lines = self._lines(interval)
        text = self.canvas.draw(self.renderer.page(self.size) or lines)
        if text:
            self.terminal.stream.write(text)
            self.terminal.stream.flush()

    def _lines(self, interval: taskstats.Interval) -> Lines:
        if self.renderer.state is not self.state:
            self.renderer = Renderer(self.state, self.columns, self.limits, self.user)
        return self.renderer.lines(interval, self.size, self.feed.unchanged)

    def _update_counts(self, lines: Lines) -> bool:
        """Store the numbers of rows that paging depends on, and keep the selection on the
        list. Returns whether the selection moved."""
        selected = min(self.state.selected, max(0, lines.rows - 1))
        top = min(self.state.top, selected)
        moved = (selected, top) != (self.state.selected, self.state.top)
        self.state = replace(
            self.state, page_rows=lines.room, total_rows=lines.rows, selected=selected, top=top
        )
        if not moved:
            # These numbers are not on the screen: the renderer serves the new state as well.
            self.renderer.state = self.state
        return moved


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
