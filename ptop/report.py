"""`ptop report`: who used most over a span of dumps.

Design decisions

* A task is its pid and start; what it used is the sum of its growth from frame to frame,
  so that pids that come again and tasks that died are told apart.
* Only tasks that ran in a frame are looked at: others use nothing.
* What is dead and lived shortly is one row a name.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO

import taskstats
from taskstats.recorded import Frames

from ptop import progress, replay
from ptop.args import Parser, count, seconds
from ptop.text import UNKNOWN, bytes_rate, csv_writer, percent, safe, stamp

# A start that is derived wobbles; a pid does not come again within this time.
WOBBLE_NS = 1_000_000_000
# Rows that are taken from an interval at a time, the busiest first.
CHUNK = 128

_DELAYS = tuple(
    entry["name"] for entry in taskstats.FIELDS if entry["name"].endswith("_delay_total")
)
_COLUMNS = (
    "ac_pid",
    "ac_start_ns",
    "ac_comm",
    "ac_uid",
    "cgroup_id",
    "ac_etime",
    "total_ns",
    "read_bytes_delta",
    "write_bytes_delta",
    *(f"{name}_delta" for name in _DELAYS),
)
GROUPS = ("tasks", "users", "cgroups")
ORDERS = {"cpu": "cpu_ns", "delay": "delay_ns", "io": "io_bytes"}


@dataclass(slots=True)
class Use:
    """What a task or a group of them used; None is unknown, not nothing."""

    cpu_ns: int | None = None
    delay_ns: int | None = None
    read_bytes: int | None = None
    write_bytes: int | None = None
    tasks: int = 1

    @property
    def io_bytes(self) -> int | None:
        return _plus(self.read_bytes, self.write_bytes)

    def add(self, other: Use) -> None:
        self.cpu_ns = _plus(self.cpu_ns, other.cpu_ns)
        self.delay_ns = _plus(self.delay_ns, other.delay_ns)
        self.read_bytes = _plus(self.read_bytes, other.read_bytes)
        self.write_bytes = _plus(self.write_bytes, other.write_bytes)


def _plus(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


@dataclass(slots=True)
class Seen:
    """A task as it was seen last, and all that it used."""

    pid: int
    start_ns: int | None
    name: str
    user: str
    cgroup: str
    lived_us: int
    use: Use = field(default_factory=lambda: Use(tasks=1))


@dataclass(slots=True)
class Totals:
    """Everything that a report is made of."""

    tasks: list[Seen] = field(default_factory=list)
    interval_ns: int = 0
    frames: int = 0
    first_ns: int = 0
    last_ns: int = 0
    # Of each machine the last task that was seen under a pid.
    _by_pid: dict[tuple[str, str, int], Seen] = field(default_factory=dict)
    _alive: set[int] = field(default_factory=set)

    def add(self, dump: taskstats.Dump, interval: taskstats.Interval) -> None:
        """Adds what ran in an interval of a dump."""
        cur = interval.cur
        self.frames += 1
        self.interval_ns += interval.interval_ns
        self.first_ns = min(self.first_ns or interval.prev.time_ns, interval.prev.time_ns)
        self.last_ns = max(self.last_ns, cur.time_ns)
        offset = 0
        while True:
            rows = interval.select(_COLUMNS, sort="total_ns", offset=offset, limit=CHUNK)
            for row in rows:
                if not row[6]:
                    return
                self._row(dump, cur, row)
            if len(rows) < CHUNK:
                return
            offset += CHUNK

    def _row(self, dump: taskstats.Dump, cur: taskstats.Snapshot, row: Sequence[Any]) -> None:
        pid, start, name, uid, cgroup, lived, cpu, read, written, *delays = row
        key = (cur.host, cur.boot_id, pid)
        seen = self._by_pid.get(key)
        if seen is None or not _same(seen.start_ns, start):
            seen = Seen(pid, start, name or "", UNKNOWN, UNKNOWN, 0)
            self._by_pid[key] = seen
            self.tasks.append(seen)
        # exec and setuid change these; the last is what the task was.
        seen.name = name or seen.name
        if uid is not None:
            seen.user = dump.user(uid) or f"uid {uid}"
        # Who is dead has left its cgroup.
        if cgroup:
            seen.cgroup = dump.cgroup(cgroup) or f"cgroup {cgroup}"
        seen.lived_us = max(seen.lived_us, lived or 0)
        known = [delay for delay in delays if delay is not None]
        seen.use.add(Use(cpu, sum(known) if known else None, read, written))

    def end(self, snapshot: taskstats.Snapshot) -> None:
        """Notes who lives in the last snapshot of a file."""
        for (host, boot, pid), seen in self._by_pid.items():
            if (host, boot) == (snapshot.host, snapshot.boot_id):
                task = snapshot.by_pid(pid)
                if task is not None and not task.exited and _same(seen.start_ns, task.ac_start_ns):
                    self._alive.add(id(seen))
                else:
                    self._alive.discard(id(seen))

    def lives(self, seen: Seen) -> bool:
        """Whether a task was there in the last snapshot."""
        return id(seen) in self._alive


def _same(one: int | None, other: int | None) -> bool:
    return one is None or other is None or abs(one - other) < WOBBLE_NS


def by_task(totals: Totals, short_s: float) -> dict[str, Use]:
    """A row a task, and one a name for those that are dead and lived less than `short_s`."""
    rows: dict[str, Use] = {}
    for seen in totals.tasks:
        if not totals.lives(seen) and seen.lived_us < short_s * 1e6:
            _into(rows, f"{seen.name} (short-lived)", seen.use)
        else:
            _into(rows, f"{seen.name} [{seen.pid}]", seen.use)
    return rows


def by_user(totals: Totals) -> dict[str, Use]:
    """A row a user."""
    rows: dict[str, Use] = {}
    for seen in totals.tasks:
        _into(rows, seen.user, seen.use)
    return rows


def by_cgroup(totals: Totals) -> dict[str, Use]:
    """A row a cgroup, by its path."""
    rows: dict[str, Use] = {}
    for seen in totals.tasks:
        _into(rows, seen.cgroup, seen.use)
    return rows


def _into(rows: dict[str, Use], name: str, use: Use) -> None:
    row = rows.setdefault(name, Use(tasks=0))
    row.add(use)
    row.tasks += use.tasks


def top(rows: dict[str, Use], order: str, most: int) -> list[tuple[str, Use]]:
    """The `most` rows with the highest value of an attribute of `Use`; none without."""
    known = [(name, use) for name, use in rows.items() if getattr(use, order)]
    return sorted(known, key=lambda row: (-getattr(row[1], order), row[0]))[:most]


def _table(title: str, rows: Iterable[tuple[str, Use]], span_ns: int) -> list[str]:
    lines = [
        title,
        f"{'cpu':>10} {'%':>7} {'delay':>9} {'read':>7} {'write':>7} {'tasks':>6}  name",
    ]
    for name, use in rows:
        share = None if use.cpu_ns is None else 100 * use.cpu_ns / (span_ns or 1)
        cpu, delay = (
            UNKNOWN if ns is None else f"{ns / 1e9:.3f}s" for ns in (use.cpu_ns, use.delay_ns)
        )
        lines.append(
            f"{cpu:>10} {percent(share):>7} {delay:>9} {_bytes(use.read_bytes):>7}"
            f" {_bytes(use.write_bytes):>7} {use.tasks:>6}  {safe(name)}"
        )
    return lines


def _bytes(value: int | None) -> str:
    return bytes_rate(None if value is None else float(value))


def _parser() -> argparse.ArgumentParser:
    options = Parser(
        prog="ptop report",
        description="Who used most in dumps: tasks, users and cgroups by CPU time,"
        " by time waited (all delays together) and by bytes read and written.",
    )
    options.add_argument("files", metavar="FILE", nargs="+", help="a dump")
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
        help="the dead that lived less than S seconds are one row a name (default 10)",
    )
    options.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="default: table"
    )
    replay.add_span(options)
    return options


def gather(frames: Frames, start: int, stop: int, totals: Totals) -> None:
    """Adds the frames of a file from `start` up to `stop`."""
    for interval in progress.shown(frames.intervals(start, stop), stop - start, "reading"):
        totals.add(frames.dump, interval)
    last = frames.snapshot(stop - 1)
    if last is not None:
        totals.end(last)


def main(arguments: Sequence[str], out: TextIO) -> int:
    """Run `ptop report`; gives the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    totals = Totals()
    try:
        spans = replay.spans(options.files, options.since, options.until)
    except taskstats.ParseError:
        raise
    except ValueError as error:
        parser.error(str(error))
    for frames, start, stop in spans:
        gather(frames, start, stop, totals)
        replay.tell_lost(frames)
    made = {
        "tasks": by_task(totals, options.short),
        "users": by_user(totals),
        "cgroups": by_cgroup(totals),
    }
    tables = [
        (group, order, top(made[group], ORDERS[order], options.rows))
        for order in options.by or ORDERS
        for group in options.group or GROUPS
    ]
    if options.format == "json":
        _write_json(totals, tables, out)
    elif options.format == "csv":
        _write_csv(tables, out)
    else:
        _write_tables(totals, tables, out)
    return 0


Tables = Sequence[tuple[str, str, Sequence[tuple[str, Use]]]]


def _write_tables(totals: Totals, tables: Tables, out: TextIO) -> None:
    out.write(
        f"{stamp(totals.first_ns)} to {stamp(totals.last_ns)}  {totals.frames} intervals,"
        f" {totals.interval_ns / 1e9:.1f} s in all, {len(totals.tasks)} tasks ran\n"
    )
    for group, order, rows in tables:
        if rows:
            lines = _table(f"{group} by {order}", rows, totals.interval_ns)
            out.write("\n" + "\n".join(lines) + "\n")
        else:
            out.write(f"\n{group} by {order}: nothing recorded\n")


def _write_json(totals: Totals, tables: Tables, out: TextIO) -> None:
    line = {
        "from": totals.first_ns / 1e9,
        "to": totals.last_ns / 1e9,
        "interval_ns": totals.interval_ns,
        "intervals": totals.frames,
        "tops": [
            {
                "group": group,
                "by": order,
                "rows": [{"name": name, **asdict(use)} for name, use in rows],
            }
            for group, order, rows in tables
        ],
    }
    json.dump(line, out, separators=(",", ":"))
    out.write("\n")


def _write_csv(tables: Tables, out: TextIO) -> None:
    writer = csv_writer(out)
    names = ("cpu_ns", "delay_ns", "read_bytes", "write_bytes", "tasks")
    writer.writerow(["group", "by", "name", *names])
    for group, order, rows in tables:
        for name, use in rows:
            writer.writerow([group, order, name, *(getattr(use, key) for key in names)])
