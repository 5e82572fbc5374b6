"""The views on a terminal, live and replayed: the only module that writes to the terminal.

Design decisions

* One thread; waiting for a key is the clock.
* Every terminal mode is a context manager, and signals end the loop, so that the
  terminal is as it was before anything else is said.
* A frame is compared with the one before, and only lines that differ are written.
"""

from __future__ import annotations

import contextlib
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

from ptop import columns as table
from ptop.feed import Feed, LiveFeed, RecordedFeed
from ptop.live.state import Limits, State, press
from ptop.live.view import View, wanted
from ptop.text import user_name


class _Stop(Exception):
    """A signal that ends the program."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, _frame: FrameType | None) -> None:
    raise _Stop(number)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    handled = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGTSTP)
    before = {number: signal.signal(number, _stop) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _resizes() -> Iterator[int]:
    """A descriptor that can be read once the terminal's size may have changed."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    # A stopped process is not told of a resize. The handlers do nothing; without one no
    # signal writes to the descriptor.
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
    """A terminal of so many lines, of which nothing is known."""
    return Canvas(
        clear=str(terminal.clear),
        lines=[str(terminal.move_xy(0, row)) for row in range(lines)],
        bold=str(terminal.bold) if color else "",
        reverse=str(terminal.reverse) if color else "",
        normal=str(terminal.normal) if color else "",
    )


def run(
    state: State,
    columns: Mapping[str, table.Column],
    *,
    source: str,
    limits: Limits,
    intervals: int | None,
    color: bool,
) -> int:
    """The live view until the user quits; gives the exit status."""
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
    columns: Mapping[str, table.Column],
    limits: Limits,
    intervals: int | None,
    color: bool,
    user: Callable[[int], str] = user_name,
) -> int:
    """The view of a feed until the user quits; gives the exit status."""
    # With NO_COLOR blessed gives no cursor motion either.
    os.environ.pop("NO_COLOR", None)
    terminal = Terminal()
    stopped = 0
    with _signals(), _resizes() as resized:
        loop = _Loop(terminal, feed, state, columns, limits, intervals, color, user, resized)
        # What is there now stays; the collector need not look through it once a second.
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
            # The terminal is as it was; stop as a shell expects, and go on after.
            stopped = 0
            os.kill(os.getpid(), signal.SIGSTOP)
    return 0 if stopped in {0, signal.SIGINT} else 128 + stopped


class _Loop:
    """Shows a feed's intervals and obeys keys; may be left and entered again."""

    def __init__(
        self,
        terminal: Terminal,
        feed: Feed,
        state: State,
        columns: Mapping[str, table.Column],
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
        self.typed = sys.stdin.fileno()
        self.awaited = select.poll()
        for descriptor in (self.typed, resized):
            self.awaited.register(descriptor, select.POLLIN)
        # Made anew where something else is chosen.
        self.view = View(state, columns, limits, user)
        # What a replay could not show is said until a key is pressed.
        self.left_out = state.notice
        feed.configure(state.threads, bool(state.fold), wanted(state, columns))
        if feed.interval is None:
            feed.advance()
        self.due = time.monotonic() + feed.wait_s(state.delay, state.speed)

    def run(self) -> None:
        """Until the user quits or all intervals are shown."""
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
            polled = self.awaited.poll(None if left is None else 1000 * left)
            if not polled:
                continue
            ready = [descriptor for descriptor, _ in polled]
            if self.resized in ready:
                os.read(self.resized, 4096)
                self._measure()
            # Asking blessed for a key costs as much as a frame, even where there is none.
            typed = self.typed in ready
            key = self.terminal.inkey(timeout=0) if typed else None
            if typed and not key:
                # The terminal is gone.
                raise _Stop(signal.SIGHUP)
            while key:
                self.stale = True
                self._press(_name(key))
                if self.state.quit:
                    return
                key = self.terminal.inkey(timeout=0)

    def _measure(self) -> None:
        """The whole screen has to be drawn anew, perhaps in another size."""
        self.size = os.get_terminal_size(sys.stdout.fileno())
        self.canvas = _canvas(self.terminal, self.size.lines, self.color)
        # Something has happened since the last frame.
        self.stale = True

    def _advance(self) -> None:
        if not self.feed.advance():
            notice = self.feed.notice or "the end of the recording"
            self.state = replace(self.state, paused=True, notice=notice)
            return
        now = time.monotonic()
        if self.feed.interval is None:
            self._wait(now)
            return
        self.left_out = self.feed.notice or self.left_out
        if self.state.notice != self.left_out:
            self.state = replace(self.state, notice=self.left_out)
        # A frame that came late does not make the next one late too.
        self.due = max(self.due + self.feed.wait_s(self.state.delay, self.state.speed), now)
        if self.intervals is not None:
            self.intervals -= 1

    def _wait(self, now: float) -> None:
        self.due = now + self.feed.wait_s(self.state.delay, self.state.speed)

    def _press(self, name: str) -> None:
        if name == "KEY_REDRAW":
            self._measure()
        self.left_out = ""
        before, self.state = self.state, press(self.state, name)
        if self.state.goto:
            notice = _go(self.feed, self.state, self.columns)
            self.state = replace(self.state, goto="", notice=notice)
        went_on = before.paused and not self.state.paused and self.state.recorded
        if went_on or (before.delay, before.speed) != (self.state.delay, self.state.speed):
            self._wait(time.monotonic())
        fields = wanted(self.state, self.columns)
        if self.feed.configure(self.state.threads, bool(self.state.fold), fields):
            self.feed.advance()
            self._wait(time.monotonic())

    def _draw(self, interval: taskstats.Interval) -> None:
        lines = self._lines(interval)
        if (lines.room, lines.rows) != (self.state.page, self.state.shown) and self._settle(lines):
            lines = self._lines(interval)
        text = self.canvas.draw(self.view.page(self.size) or lines)
        if text:
            self.terminal.stream.write(text)
            self.terminal.stream.flush()

    def _lines(self, interval: taskstats.Interval) -> Lines:
        if self.view.state is not self.state:
            self.view = View(self.state, self.columns, self.limits, self.user)
        return self.view.lines(interval, self.size, self.feed.resting)

    def _settle(self, lines: Lines) -> bool:
        """Takes down what paging goes by, and keeps the selection on the list; whether it
        had to be moved."""
        selected = min(self.state.selected, max(0, lines.rows - 1))
        top = min(self.state.top, selected)
        moved = (selected, top) != (self.state.selected, self.state.top)
        self.state = replace(
            self.state, page=lines.room, shown=lines.rows, selected=selected, top=top
        )
        if not moved:
            # The view shows none of this.
            self.view.state = self.state
        return moved


def _go(feed: Feed, state: State, columns: Mapping[str, table.Column]) -> str:
    """Moves a replay where the state wants it; gives what to say of it."""
    assert isinstance(feed, RecordedFeed), "only a replay is moved"
    place, said = state.goto, ""
    if place in {"next", "previous"}:
        if not feed.step(1 if place == "next" else -1):
            said = "no more"
        said = feed.notice or said
    elif place in {"first", "last"}:
        feed.ends(place == "last")
    elif place in {"spike", "spike before"}:
        column = columns[state.sort]
        why = feed.spike(column.source, 1 if place == "spike" else -1)
        where = "after" if place == "spike" else "before"
        said = f"no spike of {column.title} {where} this: {why}" if why else ""
    elif place.startswith("time "):
        from ptop import times

        try:
            feed.seek(times.parse_time(place.removeprefix("time "), feed.time_ns))
        except ValueError as error:
            return str(error)
    return f"{feed.position()}  {said}".rstrip()


def _name(key: Keystroke) -> str:
    """A key's name where it has one, else its character."""
    named = {"\x0c": "KEY_REDRAW", "\r": "KEY_ENTER", "\n": "KEY_ENTER", "\x1b": "KEY_ESCAPE"}
    if str(key) in named:
        return named[str(key)]
    return key.name if key.is_sequence and key.name else str(key)
