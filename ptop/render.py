"""Screens as lines of text: pure, without clock, terminal or I/O.

`table` makes header, units, rows and sum line; `screen` the whole live view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from ptop import format as fmt
from ptop.columns import SUMMED, Cell, Column
from ptop.state import HELP, REPLAY_HELP, State

# Rows of tasks that remain however many CPUs there are.
LEAST_TASKS = 10
# Lines of the table that are no tasks: titles, units, sums.
TABLE_FRAME = 3
# The books stand below the sums where a screen has room for this many lines.
LOW = TABLE_FRAME + LEAST_TASKS + 2
# What is asked for in each mode in which something is typed.
PROMPTS = {
    "filter": "filter",
    "delay": "seconds",
    "time": "time (12:34:56, or from here +90s, -5m)",
}


@dataclass(frozen=True, slots=True)
class View:
    """What one screen shows, as plain values."""

    time: str
    host: str
    uptime: str
    load: tuple[float, float, float] | None
    source: str
    precision: str
    interval_s: float
    own_pct: float | None
    tasks: int
    shown: int
    states: Mapping[str, int]
    cpus: Sequence[Mapping[str, float]]
    memory: Mapping[str, int] | None
    books: Mapping[str, float] | None
    exited: int
    sums: Sequence[Cell]
    rows: Sequence[tuple[Cell, ...]]
    columns: tuple[Column, ...]
    notice: str = ""
    fold: str = ""
    missing: str = ""
    marks: frozenset[int] = field(default_factory=frozenset)


class Line(NamedTuple):
    """One line of the screen and how it is shown: plain, bold, reverse."""

    text: str
    style: str = "plain"


def _line(cells: int, text: str, style: str = "plain") -> Line:
    """A line fitted to its width."""
    return Line(fmt.fit(text, cells), style)


def _fitted(column: Column, text: str, last: bool) -> str:
    if last and not column.right:
        return text
    if column.right and fmt.width(text) > column.width:
        # A number that does not fit is never cut to a smaller one.
        return "#" * column.width
    return fmt.fit(text, column.width, right=column.right)


class _Texts(dict[Cell, str]):
    """A column's texts by its values; kept, as most cells of a screen are those of a task
    that was there before, or small numbers."""

    MOST = 4096

    def __init__(self, column: Column, last: bool) -> None:
        super().__init__()
        self.column = column
        self.last = last

    def __missing__(self, value: Cell) -> str:
        text = _fitted(self.column, self.column.text(value), self.last)
        if len(self) >= self.MOST:
            self.clear()
        self[value] = text
        return text


@lru_cache(maxsize=16)
def _texts(columns: tuple[Column, ...]) -> list[_Texts]:
    last = len(columns) - 1
    return [_Texts(column, index == last) for index, column in enumerate(columns)]


def _row(columns: tuple[Column, ...], row: tuple[Cell, ...]) -> str:
    return " ".join([made[value] for made, value in zip(_texts(columns), row, strict=True)])


@lru_cache(maxsize=16)
def _titles(columns: tuple[Column, ...]) -> tuple[str, str]:
    made = _texts(columns)
    titles = [_fitted(each.column, each.column.title, each.last) for each in made]
    units = [_fitted(each.column, each.column.unit, each.last) for each in made]
    return " ".join(titles), " ".join(units)


class _Shown:
    """The lines of the rows that were shown last: rows that did not change are the same
    objects as before (`taskstats.Page`), and so are their lines."""

    def __init__(self) -> None:
        self.columns: tuple[Column, ...] = ()
        self.cells = 0
        self.rows: Sequence[tuple[Cell, ...]] = ()
        self.lines: list[Line] = []

    def lines_of(
        self, columns: tuple[Column, ...], rows: Sequence[tuple[Cell, ...]], cells: int
    ) -> list[Line]:
        """The lines of rows, each fitted to its width."""
        if self.columns != columns or self.cells != cells:
            self.columns, self.cells, self.rows, self.lines = columns, cells, (), []
        # The rows are kept, so that their ids stay theirs.
        known = dict(zip(map(id, self.rows), self.lines, strict=True))
        lines = [known.get(id(row)) or _line(cells, _row(columns, row)) for row in rows]
        self.rows, self.lines = rows, lines
        return lines


_shown = _Shown()


def table(
    columns: Sequence[Column],
    rows: Sequence[tuple[Cell, ...]],
    sums: Sequence[Cell],
    status: str = "",
) -> list[str]:
    """Titles, units, rows, and the sums of all rows with `status` in the left cell."""
    columns = tuple(columns)
    lines = [*_titles(columns), *(_row(columns, row) for row in rows)]
    lines.append(sum_line(columns, sums, status))
    return lines


def sum_line(columns: Sequence[Column], sums: Sequence[Cell], status: str) -> str:
    """The sums of the columns whose sum means something."""
    columns = tuple(columns)
    cells = [
        made[total]
        if made.column.key in SUMMED and total is not None
        else _fitted(made.column, "", made.last)
        for made, total in zip(_texts(columns), sums, strict=True)
    ]
    if cells and not cells[0].strip():
        cells[0] = _fitted(columns[0], status, len(columns) == 1)
    return " ".join(cells)


def _bar(shares: Sequence[tuple[str, float]], cells: int) -> str:
    """A bar of `cells` cells; each share in per cent is drawn with its letter."""
    bar, drawn, total = "", 0, 0.0
    for letter, share in shares:
        total += share
        upto = min(cells, round(total * cells / 100))
        bar += letter * (upto - drawn)
        drawn = max(drawn, upto)
    return bar.ljust(cells)


def missing(hidden: int, exits_lost: int, truncated: bool) -> str:
    """What a snapshot lacks, as far as it knows; empty where nothing."""
    parts = [
        f"{hidden} tasks that may not be read" if hidden else "",
        f"{exits_lost} that died" if exits_lost > 0 else "",
        "tasks beyond the memory for them" if truncated else "",
    ]
    return ", ".join(filter(None, parts))


def _cpu_line(name: str, cpu: Mapping[str, float], cells: int) -> str:
    user, system = cpu["user"] + cpu["nice"], cpu["system"]
    irq = cpu["irq"] + cpu["softirq"]
    text = (
        f"{name} us {user:6.2f} sy {system:6.2f} wa {cpu['iowait']:6.2f} "
        f"irq {irq:6.2f} st {cpu['steal']:6.2f} id {cpu['idle']:6.2f}"
    )
    room = cells - len(text) - 3
    if room < 8:
        return text
    shares = [("u", user), ("s", system), ("w", cpu["iowait"]), ("i", irq), ("t", cpu["steal"])]
    return f"{text} [{_bar(shares, min(room, 40))}]"


def _mean(cpus: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: sum(cpu[key] for cpu in cpus) / len(cpus) for key in cpus[0] if key != "cpu"}


def _head(view: View, cells: int, facts: int, cpus: int) -> list[str]:
    load = " ".join(f"{value:.2f}" for value in view.load) if view.load else fmt.UNKNOWN
    own = "" if view.own_pct is None else f"  own {view.own_pct:.2f}%"
    states = " ".join(f"{count} {name}" for name, count in view.states.items())
    died = f" +{view.exited} died" if view.exited else ""
    tasks = (
        f"tasks {view.tasks}{died}{f' shown {view.shown}' if view.shown != view.tasks else ''}"
        f"{f' by {view.fold}' if view.fold else ''}{': ' if states else ''}{states}"
        f"{f'  missing: {view.missing}' if view.missing else ''}"
    )
    lines = [
        f"{view.time}  {fmt.safe(view.host)}  up {view.uptime}  load {load}",
        f"{view.source} ({view.precision})  interval {view.interval_s:.2f} s{own}",
        tasks,
    ]
    if view.memory:
        kib = fmt.kibibytes
        memory = view.memory
        swap = memory["swap_total_kb"] - memory["swap_free_kb"]
        lines.append(
            f"mem {kib(memory['mem_total_kb'])}  available {kib(memory['mem_available_kb'])}"
            f"  free {kib(memory['mem_free_kb'])}"
            f"  cache {kib(memory['cached_kb'] + memory['buffers_kb'])}"
            f"  swap {kib(swap)}/{kib(memory['swap_total_kb'])}"
        )
    del lines[facts:]
    if cpus == len(view.cpus):
        lines[1:1] = [_cpu_line(f"cpu{cpu['cpu']:<3.0f}", cpu, cells) for cpu in view.cpus]
    elif cpus:
        lines[1:1] = [_cpu_line(f"{len(view.cpus)} cpus", _mean(view.cpus), cells)]
    return lines


class Heights(NamedTuple):
    """Lines of facts, CPUs, tasks and foot on a screen."""

    facts: int
    cpus: int
    tasks: int
    foot: int


def heights(height: int, cpus: int, memory: bool, books: bool) -> Heights:
    """Of a screen of `height` lines for so many CPUs, with or without memory and books: on
    a low one the tasks come first."""
    foot = int(books and height >= LOW)
    most = height - TABLE_FRAME - foot - LEAST_TASKS
    facts = min(4 if memory else 3, max(1, most))
    spare = most - facts
    lines = cpus if cpus <= spare else min(cpus, 1) if spare > 0 else 0
    return Heights(facts, lines, max(1, height - facts - lines - foot - TABLE_FRAME), foot)


def _heights(view: View, height: int) -> Heights:
    return heights(height, len(view.cpus), view.memory is not None, view.books is not None)


def _books(books: Mapping[str, float]) -> str:
    """The identity of an interval: all that was found, and what is left of the CPUs
    with what may be left; ! marks more than that."""
    names = ("tasks", "irq", "steal", "idle")
    terms = " ".join(f"{name} {books[name]:.2f}" for name in names if name in books)
    found = sum(books[name] for name in names if name in books)
    # -0.000 would look like something.
    residual = round(books["residual"], 3) or 0.0
    open_ = "!" if abs(books["residual"]) > books["bound"] else ""
    return f"{terms} = {found:.3f}%  residual {residual:+.3f} ±{books['bound']:.3f}%{open_}"


def task_rows(view: View, size: tuple[int, int]) -> int:
    """How many rows of tasks a screen of `size` (columns, lines) has room for."""
    return _heights(view, size[1]).tasks


def _help(recorded: bool, cells: int) -> list[Line]:
    keys = REPLAY_HELP if recorded else HELP
    texts = ["", *(f"  {keys:<16} {doc}" for keys, doc in keys), "", "any key returns"]
    return [_line(cells, "ptop: keys", "bold"), *(_line(cells, text) for text in texts)]


def _chooser(state: State, columns: Mapping[str, Column], size: tuple[int, int]) -> list[Line]:
    cells, height = size
    chosen = set(state.columns)
    lines = [_line(cells, "columns: space switches, any other key returns", "bold")]
    for index, column in enumerate(columns.values()):
        mark = "x" if column.key in chosen else " "
        style = "reverse" if index == state.cursor else "plain"
        text = f"[{mark}] {column.title:<8}{column.unit:<6} {column.doc}"
        lines.append(_line(cells, text, style))
    top = max(0, state.cursor + 2 - height)
    return [lines[0], *lines[1 + top :]]


def screen(
    view: View, state: State, size: tuple[int, int], columns: Mapping[str, Column]
) -> list[Line]:
    """All lines of a screen of `size` (columns, lines), each fitted to its width."""
    cells, height = size
    if state.mode == "help":
        lines = _help(state.recorded, cells)
    elif state.mode == "columns":
        lines = _chooser(state, columns, size)
    else:
        lines = _live(view, state, size)
    return lines[:height] + [_line(cells, "")] * (height - len(lines))


def _live(view: View, state: State, size: tuple[int, int]) -> list[Line]:
    cells, height = size
    facts, cpus, room, foot = _heights(view, height)
    lines = [_line(cells, text) for text in _head(view, cells, facts, cpus)]
    title, unit = _titles(view.columns)
    lines += [_line(cells, title, "bold"), _line(cells, unit)]
    rows = list(_shown.lines_of(view.columns, view.rows[:room], cells))
    selected = state.selected - state.top
    if 0 <= selected < len(rows):
        rows[selected] = Line(rows[selected].text, "reverse")
    lines += rows
    if not rows:
        lines.append(_line(cells, "no task matches" if view.tasks else "no tasks"))
    lines += [_line(cells, "")] * (height - len(lines) - foot - 1)
    lines.append(
        _line(cells, sum_line(view.columns, view.sums, _status(view, state, room)), "bold")
    )
    if foot and view.books is not None:
        # What stands below the sums: that nothing is missing in them.
        lines.append(_line(cells, _books(view.books)))
    if state.mode in PROMPTS:
        prompt = f"{PROMPTS[state.mode]}: {fmt.safe(state.entry)}_"
        lines[-1] = _line(cells, prompt, "bold")
    elif view.notice:
        lines[-1] = _line(cells, fmt.safe(view.notice), "bold")
    return lines


def _status(view: View, state: State, room: int) -> str:
    """The 2010 tool's status cell: scrolling, sort order, mode."""
    above, below = state.top > 0, state.top + room < view.shown
    scroll = {(True, True): "|", (True, False): "^", (False, True): "V"}.get((above, below), "=")
    order = "V" if state.descending else "^"
    return f"{scroll}:{order}:{'P' if state.paused else 'S' if state.selecting else 'N'}"
