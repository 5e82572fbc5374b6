"""`ptop report`: who used most over a span of recordings.

Design decisions

* A task is identified by its pid and start time. Its usage is the sum of its growth from
  frame to frame, so that reused pids and exited tasks are distinct.
* Only tasks that ran in a frame are read, and summed up in Rust: the others used nothing. Here
  are sums of files, which become groups.
* Exited tasks that lived for a short time share one row per name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TextIO

import taskstats
from taskstats.recorded import Frames, Lost, same_start, sum_tasks

from ptop.args import Parser, add_quote_formulas, count, seconds
from ptop.recordings import (
    add_skip,
    add_span,
    expanded,
    open_dumps,
    report_damage,
    spans,
    with_progress,
)
from ptop.text import UNKNOWN, CsvLines, bytes_rate, percent, safe, stamp

# Frames that are summed up between two steps of the progress bar.
CHUNK_FRAMES = 16_384

GROUPS = ("tasks", "users", "cgroups")
# The orders of --by, and the attribute of `Usage` behind each.
ORDERS = {"cpu": "cpu_ns", "delay": "delay_ns", "io": "io_bytes"}


@dataclass(slots=True)
class Usage:
    """What a task or a group of tasks used; None is unknown."""

    cpu_ns: int | None = None
    delay_ns: int | None = None
    read_bytes: int | None = None
    write_bytes: int | None = None
    tasks: int = 1

    @property
    def io_bytes(self) -> int | None:
        return _plus(self.read_bytes, self.write_bytes)

    def add(self, other: Usage) -> None:
        """Add the usage, but not the number of tasks."""
        self.cpu_ns = _plus(self.cpu_ns, other.cpu_ns)
        self.delay_ns = _plus(self.delay_ns, other.delay_ns)
        self.read_bytes = _plus(self.read_bytes, other.read_bytes)
        self.write_bytes = _plus(self.write_bytes, other.write_bytes)


def _plus(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


@dataclass(slots=True)
class TaskTotal:
    """A task as it was last seen, and its usage in all frames so far."""

    pid: int | None
    start_ns: int | None
    name: str
    user: str
    cgroup: str
    lived_us: int
    usage: Usage = field(default_factory=lambda: Usage(tasks=1))


@dataclass(slots=True)
class Totals:
    """The usage of every task in the frames read so far."""

    tasks: list[TaskTotal] = field(default_factory=list)
    interval_ns: int = 0
    frames: int = 0
    first_ns: int = 0
    last_ns: int = 0
    # The last task that had a pid, by host, boot id and pid. Where pids were not recorded, the
    # name stands for them.
    _last: dict[tuple[str | None, str | None, int | str], TaskTotal] = field(default_factory=dict)
    _alive: set[int] = field(default_factory=set)
    # What could not be read.
    lost: list[Lost] = field(default_factory=list)

    def add(self, dump: taskstats.Dump, start: int, stop: int) -> None:
        """Add the tasks that ran in the frames of a dump from `start` up to but without `stop`."""
        sums = sum_tasks(dump, start, stop)
        self.lost += sums["lost"]
        self.frames += sums["intervals"]
        self.interval_ns += sums["interval_ns"]
        if sums["span_ns"] is not None:
            first_ns, last_ns = sums["span_ns"]
            self.first_ns = min(self.first_ns or first_ns, first_ns)
            self.last_ns = max(self.last_ns, last_ns)
        for who, lived_us, used in sums["tasks"]:
            self._add_task(dump, who, lived_us, Usage(*used))

    def _add_task(
        self,
        dump: taskstats.Dump,
        who: tuple[str | None, str | None, int | None, int | None, str, int | None, int | None],
        lived_us: int,
        usage: Usage,
    ) -> None:
        host, boot_id, pid, start, name, uid, cgroup = who
        key = (host, boot_id, name if pid is None else pid)
        task = self._last.get(key)
        if task is None or not same_start(task.start_ns, start):
            task = TaskTotal(pid, start, name, UNKNOWN, UNKNOWN, 0)
            self._last[key] = task
            self.tasks.append(task)
        # exec and setuid change these; the last value counts.
        task.name = name or task.name
        if uid is not None:
            task.user = dump.user(uid) or f"uid {uid}"
        if cgroup is not None:
            task.cgroup = dump.cgroup(cgroup) or f"cgroup {cgroup}"
        task.lived_us = max(task.lived_us, lived_us)
        task.usage.add(usage)

    def end(self, snapshot: taskstats.Snapshot) -> None:
        """Record which tasks are alive in the last snapshot of a file."""
        for (host, boot_id, _), total in self._last.items():
            if (host, boot_id) == (snapshot.host, snapshot.boot_id):
                task = None if total.pid is None else snapshot.by_pid(total.pid)
                if (
                    task is not None
                    and not task.exited
                    and same_start(total.start_ns, task.ac_start_ns)
                ):
                    self._alive.add(id(total))
                else:
                    self._alive.discard(id(total))

    def is_alive(self, task: TaskTotal) -> bool:
        """Whether a task was alive in the last snapshot of its file."""
        return id(task) in self._alive

    def by_task(self, short_s: float) -> dict[str, Usage]:
        """A row for each task, and one for each name of exited tasks that lived less than
        `short_s` seconds."""

        def title(task: TaskTotal) -> str:
            short = not self.is_alive(task) and task.lived_us < short_s * 1e6
            pid = UNKNOWN if task.pid is None else task.pid
            return f"{task.name} (short-lived)" if short else f"{task.name} [{pid}]"

        return self._by(title)

    def by_user(self) -> dict[str, Usage]:
        """A row for each user."""
        return self._by(lambda task: task.user)

    def by_cgroup(self) -> dict[str, Usage]:
        """A row for each cgroup, by its path."""
        return self._by(lambda task: task.cgroup)

    def _by(self, title: Callable[[TaskTotal], str]) -> dict[str, Usage]:
        rows: dict[str, Usage] = {}
        for task in self.tasks:
            row = rows.setdefault(title(task), Usage(tasks=0))
            row.add(task.usage)
            row.tasks += task.usage.tasks
        return rows


def top(rows: dict[str, Usage], order: str, most: int) -> list[tuple[str, Usage]]:
    """The `most` rows with the highest values of the attribute `order`; rows without a value
    are left out."""
    known = [(name, usage) for name, usage in rows.items() if getattr(usage, order)]
    return sorted(known, key=lambda row: (-getattr(row[1], order), row[0]))[:most]


def parser() -> Parser:
    """The options of `ptop report`."""
    options = Parser(
        prog="ptop report",
        description="Reports who used most in dumps: tasks, users and cgroups by CPU time,"
        " by time waited (all delays together) and by bytes read and written.",
    )
    options.add_argument("files", metavar="FILE", nargs="+", help="a dump, or a directory of them")
    options.add_argument(
        "--by", choices=tuple(ORDERS), action="append", help="only this order (default all three)"
    )
    options.add_argument(
        "--group", choices=GROUPS, action="append", help="only these rows (default all three)"
    )
    options.add_argument(
        "--rows", type=count, default=10, metavar="N", help="rows of a table (default 10)"
    )
    options.add_argument(
        "--short",
        type=seconds,
        default=10.0,
        metavar="S",
        help="exited tasks that lived less than S seconds share a row for each name (default 10)",
    )
    options.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="default: table"
    )
    add_quote_formulas(options)
    add_skip(options)
    add_span(options)
    return options


def main(words: Sequence[str]) -> int:
    """Run `ptop report`; returns the exit status."""
    options_of = parser()
    options = options_of.parse_args(words)
    totals = Totals()
    try:
        skip = options.skip_damaged
        dumps = open_dumps(expanded(options.files), skip=skip)
        found = spans(dumps, options.since, options.until, skip=skip)
    except taskstats.ParseError:
        raise
    except ValueError as error:
        options_of.error(str(error))
    for frames, start, stop in found:
        _add_span(totals, frames, start, stop)
        report_damage(frames, totals.lost)
    if totals.lost and not options.skip_damaged:
        sys.stderr.write("ptop: nothing is reported; --skip-damaged leaves out what is damaged\n")
        return 1
    rows = {
        "tasks": totals.by_task(options.short),
        "users": totals.by_user(),
        "cgroups": totals.by_cgroup(),
    }
    rankings = [
        (group, order, top(rows[group], ORDERS[order], options.rows))
        for order in options.by or ORDERS
        for group in options.group or GROUPS
    ]
    if options.format == "csv":
        _write_csv(rankings, CsvLines(sys.stdout, options.quote_formulas))
    else:
        write = _write_json if options.format == "json" else _write_tables
        write(totals, rankings, sys.stdout)
    return 0


def _add_span(totals: Totals, frames: Frames, start: int, stop: int) -> None:
    """Add the frames of a file from `start` up to but without `stop`."""
    chunks = range(start, stop, CHUNK_FRAMES)
    for begin in with_progress(chunks, stop - start, "reading", lambda _: CHUNK_FRAMES, "frame"):
        totals.add(frames.dump, begin, min(begin + CHUNK_FRAMES, stop))
    last = frames.snapshot(stop - 1)
    if last is not None:
        totals.end(last)


# The group, the order, and the rows of each table.
Rankings = Sequence[tuple[str, str, Sequence[tuple[str, Usage]]]]


def _write_tables(totals: Totals, rankings: Rankings, out: TextIO) -> None:
    out.write(
        f"{stamp(totals.first_ns)} to {stamp(totals.last_ns)}  {totals.frames} intervals,"
        f" {totals.interval_ns / 1e9:.1f} s in all, {len(totals.tasks)} tasks ran\n"
    )
    for group, order, rows in rankings:
        if rows:
            lines = _table(f"{group} by {order}", rows, totals.interval_ns)
            out.write("\n" + "\n".join(lines) + "\n")
        else:
            out.write(f"\n{group} by {order}: nothing recorded\n")


def _table(title: str, rows: Iterable[tuple[str, Usage]], interval_ns: int) -> list[str]:
    lines = [
        title,
        f"{'cpu':>10} {'%':>7} {'delay':>9} {'read':>7} {'write':>7} {'tasks':>6}  name",
    ]
    for name, usage in rows:
        share = None if usage.cpu_ns is None else 100 * usage.cpu_ns / (interval_ns or 1)
        lines.append(
            f"{_seconds(usage.cpu_ns):>10} {percent(share):>7} {_seconds(usage.delay_ns):>9}"
            f" {_bytes(usage.read_bytes):>7} {_bytes(usage.write_bytes):>7} {usage.tasks:>6}"
            f"  {safe(name)}"
        )
    return lines


def _seconds(ns: int | None) -> str:
    return UNKNOWN if ns is None else f"{ns / 1e9:.3f}s"


def _bytes(value: int | None) -> str:
    return bytes_rate(None if value is None else float(value))


def _write_json(totals: Totals, rankings: Rankings, out: TextIO) -> None:
    line = {
        "from": totals.first_ns / 1e9,
        "to": totals.last_ns / 1e9,
        "interval_ns": totals.interval_ns,
        "intervals": totals.frames,
        "tops": [
            {
                "group": group,
                "by": order,
                "rows": [{"name": name, **asdict(usage)} for name, usage in rows],
            }
            for group, order, rows in rankings
        ],
    }
    json.dump(line, out, separators=(",", ":"))
    out.write("\n")


def _write_csv(rankings: Rankings, lines: CsvLines) -> None:
    keys = ("cpu_ns", "delay_ns", "read_bytes", "write_bytes", "tasks")
    lines.write([["group", "by", "name", *keys]])
    for group, order, rows in rankings:
        lines.write(
            [group, order, name, *(getattr(usage, key) for key in keys)] for name, usage in rows
        )
