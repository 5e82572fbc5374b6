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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import FrameType

import taskstats
from blessed import Terminal
from blessed.keyboard import Keystroke

from ptop import columns as table
from ptop import render, view
from ptop.feed import Feed, LiveFeed, RecordedFeed
from ptop.state import Limits, State, press


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


class _Screen:
    """What is on the terminal now, so that only changes are written."""

    def __init__(self, terminal: Terminal, color: bool) -> None:
        self.terminal = terminal
        self.shown: list[render.Line] = []
        # blessed makes the sequence anew each time it is asked.
        self.begin_of = cache(lambda row: str(terminal.move_xy(0, row)))
        self.styles = {
            "plain": "",
            "bold": str(terminal.bold) if color else "",
            "reverse": str(terminal.reverse) if color else "",
        }
        self.normal = str(terminal.normal) if color else ""

    def forget(self) -> None:
        self.shown = []

    def draw(self, lines: Sequence[render.Line]) -> None:
        parts = [] if self.shown else [str(self.terminal.clear)]
        for row, line in enumerate(lines):
            if row < len(self.shown) and self.shown[row] == line:
                continue
            style = self.styles[line.style]
            text = f"{style}{line.text}{self.normal}" if style else line.text
            parts.append(self.begin_of(row) + text)
        self.shown = list(lines)
        if parts:
            self.terminal.stream.write("".join(parts))
            self.terminal.stream.flush()


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
) -> int:
    """The view of a feed until the user quits; gives the exit status."""
    # With NO_COLOR blessed gives no cursor motion either.
    os.environ.pop("NO_COLOR", None)
    terminal = Terminal()
    stopped = 0
    with _signals(), _resizes() as resized:
        screen = _Screen(terminal, color)
        loop = _Loop(terminal, feed, state, columns, limits, intervals, screen, resized)
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
        screen: _Screen,
        resized: int,
    ) -> None:
        self.terminal = terminal
        self.feed = feed
        self.state = state
        self.columns = columns
        self.limits = limits
        self.intervals = intervals
        self.screen = screen
        self.resized = resized
        self.typed = sys.stdin.fileno()
        self.awaited = select.poll()
        for descriptor in (self.typed, resized):
            self.awaited.register(descriptor, select.POLLIN)
        self.size = os.get_terminal_size(sys.stdout.fileno())
        # What a replay could not show is said until a key is pressed.
        self.left_out = state.notice
        # Whether something has happened since the last frame.
        self.stale = True
        feed.configure(state.threads, bool(state.fold), view.wanted(state, columns))
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
            ready = [at for at, _ in self.awaited.poll(None if left is None else 1000 * left)]
            if self.resized in ready:
                os.read(self.resized, 4096)
                self._measure()
            # Asking blessed for a key costs as much as half a frame, even where there is none.
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
        self.screen.forget()
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
            self.screen.forget()
        self.left_out = ""
        before, self.state = self.state, press(self.state, name)
        if self.state.goto:
            notice = _go(self.feed, self.state, self.columns)
            self.state = replace(self.state, goto="", notice=notice)
        went_on = before.paused and not self.state.paused and self.state.recorded
        if went_on or (before.delay, before.speed) != (self.state.delay, self.state.speed):
            self._wait(time.monotonic())
        wanted = view.wanted(self.state, self.columns)
        if self.feed.configure(self.state.threads, bool(self.state.fold), wanted):
            self.feed.advance()
            self._wait(time.monotonic())

    def _draw(self, interval: taskstats.Interval) -> None:
        shown = view.of(
            interval, self.state, self.columns, self.limits, self.size, self.feed.resting
        )
        page = render.task_rows(shown, self.size)
        selected = min(self.state.selected, max(0, shown.shown - 1))
        place = (page, shown.shown, selected, min(self.state.top, selected))
        if place != (self.state.page, self.state.shown, self.state.selected, self.state.top):
            page, count, selected, top = place
            self.state = replace(self.state, page=page, shown=count, selected=selected, top=top)
        self.screen.draw(render.screen(shown, self.state, self.size, self.columns))


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
        from ptop import when

        try:
            feed.seek(when.parse(place.removeprefix("time "), feed.time_ns))
        except ValueError as error:
            return str(error)
    return f"{feed.position()}  {said}".rstrip()


def _name(key: Keystroke) -> str:
    """A key's name where it has one, else its character."""
    named = {"\x0c": "KEY_REDRAW", "\r": "KEY_ENTER", "\n": "KEY_ENTER", "\x1b": "KEY_ESCAPE"}
    if str(key) in named:
        return named[str(key)]
    return key.name if key.is_sequence and key.name else str(key)
