"""Plain tables, JSON lines and CSV on standard output."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import taskstats
from taskstats.screen import Screen, missing

from ptop.columns import Cell, Column, titled
from ptop.text import csv_writer, offset_s, stamp, user_name

# What every task has in JSON and CSV, before the chosen columns.
BASE = (
    ("pid", "ac_pid"),
    ("tgid", "ac_tgid"),
    ("ppid", "ac_ppid"),
    ("uid", "ac_uid"),
    ("ac_comm", "ac_comm"),
    ("user_ns", "user_ns"),
    ("system_ns", "system_ns"),
    ("steal_ns", "steal_ns"),
    ("total_ns", "total_ns"),
    ("user_pct", "user_pct"),
    ("system_pct", "system_pct"),
    ("steal_pct", "steal_pct"),
    ("total_pct", "total_pct"),
    ("exited", "exited"),
)
TIMES = ("user_ns", "system_ns", "steal_ns", "total_ns")
# A steal time that no task has is no field that somebody asked for.
IMPLIED = "ac_sttime"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows and columns."""

    columns: tuple[Column, ...]
    sort: str
    descending: bool
    text: str | None
    pids: tuple[int, ...] | None
    rows: int | None
    fold: str | None = None
    user: Callable[[int], str] = user_name


def intervals(
    source: taskstats.Source, delay: float, count: int | None
) -> Iterator[taskstats.Interval]:
    """`count` intervals of `delay` seconds, without end where None."""
    start: taskstats.Snapshot | taskstats.Interval = source.snapshot()
    due = time.monotonic()
    while count is None or count > 0:
        # A sleep that came late does not make the next one late too.
        due = max(due + delay, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        interval = taskstats.usage(start, source.snapshot())
        yield interval
        start = interval
        count = None if count is None else count - 1


def _rows(interval: taskstats.Interval, choice: Choice) -> taskstats.Interval | taskstats.Fold:
    return interval.fold(choice.fold) if choice.fold else interval


def select(
    interval: taskstats.Interval, choice: Choice, sources: Sequence[str]
) -> list[tuple[Cell, ...]]:
    """The chosen rows of an interval."""
    return _rows(interval, choice).select(
        list(sources),
        sort=choice.sort,
        descending=choice.descending,
        limit=choice.rows,
        text=choice.text,
        pids=choice.pids,
    )


def _screen(choice: Choice) -> Screen:
    return Screen(
        [titled(column, choice.fold) for column in choice.columns],
        user=choice.user,
        offset_s=offset_s,
        sort=choice.sort,
        descending=choice.descending,
        text=choice.text,
        pids=choice.pids,
        limit=choice.rows,
    )


def _table(interval: taskstats.Interval, choice: Choice, screen: Screen, out: TextIO) -> None:
    now = interval.cur
    lacks = missing(interval)
    out.write(
        f"{stamp(now.time_ns)}  interval {interval.interval_ns / 1e9:.3f} s"
        f"  cpus {interval.cpus}  source {now.source}{f'  missing: {lacks}' if lacks else ''}\n"
    )
    for line in screen.table(_rows(interval, choice)):
        out.write(line.rstrip() + "\n")
    out.write("\n")


def _names(choice: Choice) -> list[tuple[str, str]]:
    named = dict(BASE)
    if choice.fold:
        named |= {"tasks": "tasks", "title": "title"}
    for column in choice.columns:
        if column.source not in named.values():
            named[column.source] = column.source
    return list(named.items())


def _unavailable(interval: taskstats.Interval, names: Sequence[tuple[str, str]]) -> dict[str, str]:
    states = {name: interval.status(source) for name, source in names}
    return {name: state for name, state in states.items() if state != "filled"}


def _sums(interval: taskstats.Interval) -> dict[str, int | None]:
    sums: dict[str, int | None] = {}
    for name, value in zip(TIMES, interval.sum(list(TIMES)), strict=True):
        sums[name] = int(value) if value is not None else None
    books = interval.books()
    for name in ("idle_ns", "irq_ns", "rowless_ns", "residual_ns"):
        sums[name] = books[name]
    # What was stolen from the CPUs is known even where no task's share is.
    if books["steal_ns"] is not None:
        sums["steal_ns"] = books["steal_ns"]
    return sums


def json_object(interval: taskstats.Interval, choice: Choice) -> dict[str, Any]:
    """One interval as the object of a JSON line."""
    names = _names(choice)
    keys = [name for name, _ in names]
    rows = select(interval, choice, [source for _, source in names])
    return {
        "time": interval.cur.time_ns / 1e9,
        "interval_ns": interval.interval_ns,
        "cpus": interval.cpus,
        "source": interval.cur.source,
        "unavailable": _unavailable(interval, names),
        "sum": _sums(interval),
        "tasks": [_task(keys, row) for row in rows],
    }


def _task(keys: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    task = dict(zip(keys, row, strict=True))
    # Said of the dead alone.
    if task.pop("exited"):
        task["exited"] = True
    return task


def write(stream: Iterator[taskstats.Interval], choice: Choice, style: str, out: TextIO) -> None:
    """Writes every interval of `stream` as `style` (table, json, csv) says."""
    if style == "csv":
        names = _names(choice)
        writer = csv_writer(out)
        writer.writerow(["time", "interval_ns", *(name for name, _ in names)])
        for interval in stream:
            head = (interval.cur.time_ns / 1e9, interval.interval_ns)
            rows = select(interval, choice, [source for _, source in names])
            writer.writerows(head + row for row in rows)
            out.flush()
        return
    one: Callable[[taskstats.Interval], None]
    if style == "json":

        def one(interval: taskstats.Interval) -> None:
            json.dump(json_object(interval, choice), out, separators=(",", ":"))
            out.write("\n")
    else:
        screen = _screen(choice)

        def one(interval: taskstats.Interval) -> None:
            _table(interval, choice, screen, out)

    for interval in stream:
        one(interval)
        out.flush()
