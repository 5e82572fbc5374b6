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
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from types import FrameType
from typing import Any

import taskstats
from blessed import Terminal
from blessed.keyboard import Keystroke

from ptop import columns as table
from ptop import format as fmt
from ptop import render
from ptop.state import State, press

# The first interval is short, so that there is something to see at once.
FIRST_DELAY = 0.2
# How long a resize may go unnoticed.
LONGEST_WAIT = 0.5


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


class _Screen:
    """What is on the terminal now, so that only changes are written."""

    def __init__(self, terminal: Terminal, color: bool) -> None:
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

    def __init__(
        self,
        source: taskstats.Source,
        columns: Mapping[str, table.Column],
        pids: tuple[int, ...] | None,
        rows: int | None,
    ) -> None:
        self.columns = columns
        self.source = source
        self.pids = pids
        self.rows = rows
        self.asked: tuple[bool, bool, frozenset[str]] | None = None
        self.start: taskstats.Snapshot | taskstats.Interval | None = None
        self.interval: taskstats.Interval | None = None

    def configure(self, state: State) -> bool:
        """Asks for what `state` shows; True where the next interval starts anew."""
        columns = [self.columns[key] for key in {*state.columns, state.sort}]
        wanted = table.fields(tuple(columns)) | table.folding(state.fold) | {"state"}
        asked = (state.threads, bool(state.fold), frozenset(wanted))
        if asked == self.asked:
            return False
        self.asked = asked
        # Groups are of all tasks; else sleepers are not read again and again.
        self.source.configure(threads=state.threads, fields=sorted(wanted), changed=not state.fold)
        self.start = self.interval = None
        return True

    def sample(self) -> None:
        snapshot = self.source.snapshot()
        if self.start is None:
            self.start = snapshot
            return
        self.interval = taskstats.usage(self.start, snapshot)
        self.start = self.interval

    def view(self, state: State, room: int) -> render.View:
        interval = self.interval
        assert interval is not None
        now = interval.cur
        totals = self.source.totals() if now.unchanged else None
        columns = tuple(self.columns[key] for key in state.columns)
        shown = self._count(interval, state)
        return render.View(
            time=time.strftime("%H:%M:%S", time.localtime(now.time_ns / 1e9)),
            host=now.host,
            uptime=fmt.elapsed(now.boottime_ns / 1e9),
            load=now.load,
            source=now.source,
            precision=self.source.precision,
            interval_s=interval.interval_ns / 1e9,
            own_pct=_own_pct(interval),
            tasks=totals["tasks"] if totals else len(interval) - interval.exited,
            exited=interval.exited,
            shown=shown if self.rows is None else min(shown, self.rows),
            states=totals["states"] if totals else interval.states(),
            cpus=interval.cpu_pct(),
            memory=now.memory,
            books=_books(interval),
            sums=_sums(interval, columns, totals),
            rows=self._rows(interval, state, columns, room),
            columns=columns,
            notice="",
            fold=state.fold,
        )

    def _count(self, interval: taskstats.Interval, state: State) -> int:
        rows = interval.fold(state.fold) if state.fold else interval
        if not state.text and self.pids is None:
            return len(rows) + interval.cur.unchanged
        kept = rows.count(text=state.text or None, pids=self.pids)
        return kept + self.source.resting_count(text=state.text or None, pids=self.pids)

    def _rows(
        self,
        interval: taskstats.Interval,
        state: State,
        columns: Sequence[table.Column],
        room: int,
    ) -> list[tuple[table.Cell, ...]]:
        limit = room if self.rows is None else max(0, min(room, self.rows - state.top))
        sort, text = self.columns[state.sort].source, state.text or None
        down, pids, end = state.descending, self.pids, state.top + limit
        sources = [column.source for column in columns]
        rows = interval.fold(state.fold) if state.fold else interval
        if not interval.cur.unchanged:
            return rows.select(
                sources,
                sort=sort,
                descending=down,
                offset=state.top,
                limit=limit,
                text=text,
                pids=pids,
            )
        keyed = [*sources, sort]
        ran = rows.select(keyed, sort=sort, descending=down, limit=end, text=text, pids=pids)
        rest = self.source.resting(
            keyed, sort=sort, descending=down, limit=end, text=text, pids=pids
        )
        both = [*ran, *(rest or ())]
        known = [row for row in both if row[-1] is not None]
        known.sort(key=itemgetter(-1), reverse=down)
        # Unknown is last in either order.
        known += [row for row in both if row[-1] is None]
        return [row[:-1] for row in known[state.top : end]]


def _sums(
    interval: taskstats.Interval,
    columns: Sequence[table.Column],
    totals: Mapping[str, Any] | None,
) -> list[table.Cell]:
    """Sums of the columns that have one; the resting add nothing but their number."""
    summed = [column.source for column in columns if column.key in table.SUMMED]
    sums = dict(zip(summed, interval.sum(summed), strict=True)) | {
        key: value for key, value in (totals or {}).items() if key in summed
    }
    return [sums.get(column.source) if column.key in table.SUMMED else None for column in columns]


def _own_pct(interval: taskstats.Interval) -> float | None:
    """What this process used, with what watching switches cost the others."""
    if not interval.interval_ns:
        return None
    now, before = interval.cur, interval.prev
    used = now.own_cpu_ns - before.own_cpu_ns + now.hooks_ns - before.hooks_ns
    return 100 * used / interval.interval_ns


def _books(interval: taskstats.Interval) -> dict[str, float] | None:
    """The interval's identity in per cent of one CPU."""
    books = interval.books()
    if books["idle_ns"] is None or not interval.interval_ns:
        return None
    user, system = interval.sum(["user_ns", "system_ns"])
    times = {
        "tasks": (user or 0) + (system or 0) + (books["rowless_ns"] or 0),
        "irq": books["irq_ns"],
        "steal": books["steal_ns"],
        "idle": books["idle_ns"],
        "residual": books["residual_ns"],
        "bound": books["bound_ns"],
    }
    return {name: 100 * (time or 0) / interval.interval_ns for name, time in times.items()}


def run(
    state: State,
    columns: Mapping[str, table.Column],
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
    with taskstats.Source(
        source,
        threads=state.threads,
        exact=True,
        cpu_times=True,
        system=True,
    ) as opened:
        taskstats.drop_privileges(opened.name)
        terminal = Terminal()
        meter = _Meter(opened, columns, pids, rows)
        stopped = 0
        with _signals():
            live = _Live(terminal, meter, state, intervals, _Screen(terminal, color))
            while True:
                try:
                    with terminal.fullscreen(), terminal.hidden_cursor(), terminal.cbreak():
                        live.run()
                except _Stop as stop:
                    stopped = stop.number
                if stopped != signal.SIGTSTP:
                    break
                # The terminal is as it was; stop as a shell expects, and go on after.
                stopped = 0
                os.kill(os.getpid(), signal.SIGSTOP)
    return 0 if stopped in {0, signal.SIGINT} else 128 + stopped


class _Live:
    """The loop of the live view; may be left and entered again."""

    def __init__(
        self,
        terminal: Terminal,
        meter: _Meter,
        state: State,
        intervals: int | None,
        screen: _Screen,
    ) -> None:
        self.terminal = terminal
        self.meter = meter
        self.state = state
        self.intervals = intervals
        self.screen = screen
        self.size = os.terminal_size((0, 0))
        # Whether something has happened since the last frame.
        self.stale = True
        meter.configure(state)
        meter.sample()
        self.due = time.monotonic() + min(FIRST_DELAY, state.delay)

    def run(self) -> None:
        """Until the user quits or all intervals are shown."""
        self.screen.forget()
        self.stale = True
        while True:
            if time.monotonic() >= self.due and not self.state.paused:
                self._sample()
                self.stale = True
            size = os.get_terminal_size(sys.stdout.fileno())
            if size != self.size:
                self.size = size
                self.screen.forget()
                self.stale = True
            if self.meter.interval is not None and self.stale:
                self.stale = False
                self.state = _frame(self.meter, self.state, size, self.screen)
                if self.intervals is not None and self.intervals <= 0:
                    return
            # A resize is seen within this time, on a paused screen too.
            left = LONGEST_WAIT if self.state.paused else self.due - time.monotonic()
            # Asking blessed for a key costs as much as half a frame, even where there is none.
            ready, _, _ = select.select([sys.stdin], [], [], min(LONGEST_WAIT, max(0.0, left)))
            key = self.terminal.inkey(timeout=0) if ready else None
            if ready and not key:
                # The terminal is gone.
                raise _Stop(signal.SIGHUP)
            while key:
                self.stale = True
                self._press(_name(key))
                if self.state.quit:
                    return
                key = self.terminal.inkey(timeout=0)
            # In a long interval, or while paused, more may die than the source keeps.
            self.meter.source.drain()

    def _sample(self) -> None:
        self.meter.sample()
        now = time.monotonic()
        if self.meter.interval is None:
            self.due = now + FIRST_DELAY
            return
        self.due = max(self.due + self.state.delay, now)
        if self.intervals is not None:
            self.intervals -= 1

    def _press(self, name: str) -> None:
        if name == "KEY_REDRAW":
            self.screen.forget()
        before, self.state = self.state, press(self.state, name)
        if self.state.delay != before.delay:
            self.due = time.monotonic() + self.state.delay
        if self.meter.configure(self.state):
            self.meter.sample()
            self.due = time.monotonic() + FIRST_DELAY


def _name(key: Keystroke) -> str:
    """A key's name where it has one, else its character."""
    named = {"\x0c": "KEY_REDRAW", "\r": "KEY_ENTER", "\n": "KEY_ENTER", "\x1b": "KEY_ESCAPE"}
    if str(key) in named:
        return named[str(key)]
    return key.name if key.is_sequence and key.name else str(key)


def _frame(meter: _Meter, state: State, size: tuple[int, int], screen: _Screen) -> State:
    room = max(1, size[1] - render.TABLE_FRAME)
    view = meter.view(state, room)
    page = render.task_rows(view, size)
    last = max(0, view.shown - 1)
    selected = min(state.selected, last)
    state = replace(
        state, page=page, shown=view.shown, selected=selected, top=min(state.top, selected)
    )
    screen.draw(render.screen(view, state, size, meter.columns))
    return state
