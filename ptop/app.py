"""The live view: the only module that writes to the terminal.

Design decisions

* One thread; waiting for a key is the clock.
* Every terminal mode is a context manager, and signals end the loop, so that the
  terminal is as it was before anything else is said.
* A frame is compared with the one before, and only lines that differ are written.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType

import taskstats

from ptop import columns as table
from ptop import format as fmt
from ptop import render
from ptop.state import State, press

# The first interval is short, so that there is something to see at once.
FIRST_DELAY = 0.2


class _Stop(Exception):
    """A signal that ends the program."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, _frame: FrameType | None) -> None:
    raise _Stop(number)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    ending = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {number: signal.signal(number, _stop) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Screen:
    """What is on the terminal now, so that only changes are written."""

    def __init__(self, terminal: object, color: bool) -> None:
        from blessed import Terminal

        assert isinstance(terminal, Terminal)
        self.terminal = terminal
        self.shown: list[render.Line] = []
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
            parts.append(self.terminal.move_xy(0, row) + text)
        self.shown = list(lines)
        if parts:
            self.terminal.stream.write("".join(parts))
            self.terminal.stream.flush()


class _Meter:
    """Snapshots in, what the screen shows out."""

    def __init__(self, source: taskstats.Source, pids: tuple[int, ...] | None, rows: int | None):
        self.source = source
        self.pids = pids
        self.rows = rows
        self.threads: bool | None = None
        self.wanted: set[str] = set()
        self.start: taskstats.Snapshot | taskstats.Interval | None = None
        self.interval: taskstats.Interval | None = None

    def configure(self, state: State) -> bool:
        """Asks for what `state` shows; True where the next interval starts anew."""
        columns = [table.COLUMNS[key] for key in {*state.columns, state.sort}]
        wanted = table.fields(tuple(columns)) | {"state"}
        if (state.threads, wanted) == (self.threads, self.wanted):
            return False
        anew = state.threads != self.threads
        self.threads, self.wanted = state.threads, wanted
        self.source.configure(threads=state.threads, fields=sorted(wanted))
        if anew:
            self.start = self.interval = None
        return anew

    def sample(self) -> None:
        snapshot = self.source.snapshot()
        if self.start is not None:
            self.interval = taskstats.usage(self.start, snapshot)
            self.start = self.interval
        else:
            self.start = snapshot

    def view(self, state: State, room: int) -> render.View:
        interval = self.interval
        assert interval is not None
        now, before = interval.cur, interval.prev
        columns = tuple(table.COLUMNS[key] for key in state.columns)
        sources = [column.source for column in columns]
        seconds = interval.interval_ns / 1e9
        residual = interval.books()["residual_ns"]
        available = interval.interval_ns * max(1, interval.cpus)
        text = state.text or None
        shown = interval.count(text=text, pids=self.pids)
        return render.View(
            time=time.strftime("%H:%M:%S", time.localtime(now.time_ns / 1e9)),
            host=now.host,
            uptime=fmt.elapsed(now.boottime_ns / 1e9),
            load=now.load,
            source=now.source,
            precision=self.source.precision,
            interval_s=seconds,
            own_pct=(now.own_cpu_ns - before.own_cpu_ns) / interval.interval_ns * 100
            if interval.interval_ns
            else None,
            tasks=len(interval),
            shown=shown if self.rows is None else min(shown, self.rows),
            states=interval.states(),
            cpus=interval.cpu_pct(),
            memory=now.memory,
            residual_pct=None if residual is None else residual / available * 100,
            sums=interval.sum(sources),
            rows=interval.select(
                sources,
                sort=table.COLUMNS[state.sort].source,
                descending=state.descending,
                offset=state.top,
                limit=room if self.rows is None else max(0, min(room, self.rows - state.top)),
                text=text,
                pids=self.pids,
            ),
            columns=columns,
            notice="",
        )


def run(
    state: State,
    *,
    source: str,
    pids: tuple[int, ...] | None,
    rows: int | None,
    intervals: int | None,
    color: bool,
) -> int:
    """The live view until the user quits; gives the exit status."""
    # With NO_COLOR blessed gives no cursor motion either.
    os.environ.pop("NO_COLOR", None)
    from blessed import Terminal

    needed = table.fields(tuple(table.COLUMNS[key] for key in state.columns)) | {"state"}
    with taskstats.Source(source, threads=state.threads, fields=sorted(needed)) as opened:
        taskstats.drop_privileges(opened.name)
        terminal = Terminal()
        meter = _Meter(opened, pids, rows)
        stopped = 0
        with _signals():
            try:
                with terminal.fullscreen(), terminal.hidden_cursor(), terminal.cbreak():
                    _loop(terminal, meter, state, intervals, _Screen(terminal, color))
            except _Stop as stop:
                stopped = stop.number
    return 0 if stopped in {0, signal.SIGINT} else 128 + stopped


def _loop(
    terminal: object, meter: _Meter, state: State, intervals: int | None, screen: _Screen
) -> None:
    from blessed import Terminal

    assert isinstance(terminal, Terminal)
    meter.configure(state)
    meter.sample()
    due = time.monotonic() + min(FIRST_DELAY, state.delay)
    size = (0, 0)
    while True:
        now = time.monotonic()
        if now >= due and not state.paused:
            meter.sample()
            due = max(due + state.delay, now) if meter.interval else now + FIRST_DELAY
            if intervals is not None and meter.interval is not None:
                intervals -= 1
        if (terminal.width, terminal.height) != size:
            size = (terminal.width, terminal.height)
            screen.forget()
        if meter.interval is not None:
            state = _frame(meter, state, size, screen)
            if intervals is not None and intervals <= 0:
                return
        # A resize is seen within this time, on a paused screen too.
        wait = 0.5 if state.paused else min(0.5, max(0.0, due - time.monotonic()))
        key = terminal.inkey(timeout=wait)
        while key:
            name = key.name if key.is_sequence and key.name else str(key)
            if name == "\x0c":
                screen.forget()
            if name == "KEY_ENTER" or str(key) in {"\r", "\n"}:
                name = "KEY_ENTER"
            if str(key) == "\x1b":
                name = "KEY_ESCAPE"
            before = state
            state = press(state, name)
            if state.quit:
                return
            if state.delay != before.delay:
                due = time.monotonic() + state.delay
            if meter.configure(state):
                meter.sample()
                due = time.monotonic() + FIRST_DELAY
            key = terminal.inkey(timeout=0)


def _frame(meter: _Meter, state: State, size: tuple[int, int], screen: _Screen) -> State:
    room = max(1, size[1] - render.TABLE_FRAME)
    view = meter.view(state, room)
    page = render.task_rows(view, size)
    last = max(0, view.shown - 1)
    selected = min(state.selected, last)
    state = replace(
        state, page=page, shown=view.shown, selected=selected, top=min(state.top, selected)
    )
    screen.draw(render.screen(view, state, size, table.COLUMNS))
    return state
