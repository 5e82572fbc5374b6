"""Intervals as plain tables, JSON lines or CSV.

Design decisions

* `writer` sets everything up, modules of the standard library included. A caller can make
  it before it drops privileges: afterwards the interpreter's files may be unreadable.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TextIO

import taskstats
from taskstats.screen import Screen, missing

from ptop.args import shown_columns, tree_of
from ptop.columns import NAMES, TableColumn, for_groups
from ptop.filters import row_filter
from ptop.text import CsvLines, offset_s, stamp
from ptop.values import replace

# The keys of every task in JSON and CSV, before the chosen columns, and their sources.
TASK_KEYS = (
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
# The column with the command line, which is no field.
CMDLINE = "cmdline"
# Of the rows of a tree: the level, and the place of the parent's row among them.
TREE_KEYS = ("depth", "parent")
# The columns of text that is no field, by the form of their values, and the field of each.
TEXTS = {"command": CMDLINE, **{form: form for form in NAMES}}
TEXT_FIELDS = dict.fromkeys(NAMES, "cgroup_id") | dict.fromkeys(TREE_KEYS, "title")
# The version of JSON lines; it grows when a key changes its meaning or goes.
SCHEMA = 2
# Tasks that are told of an interval.
PLAIN_ROWS = 10
# Words for the titles that are no words.
_WORDS = {"s": "state", "ni": "nice", "thr": "threads", "rss": "memory", "vm": "virtual memory",
          "USER": "user", "user": "user time", "sys": "system time", "ste": "steal time",
          "total": "all CPU time", "wait(%)": "wait", "wait(ms)": "wait",
          "longest": "longest wait", "waited": "longest wait ended"}  # fmt: skip
SUMMED_TIMES = ("user_ns", "system_ns", "steal_ns", "total_ns")


class RowQuery(NamedTuple):
    """Which rows and columns of an interval to write. `sort` is the source of a column."""

    columns: tuple[TableColumn, ...]
    sort: str
    descending: bool
    filter: str | None
    pids: tuple[int, ...] | None
    rows: int | None
    group_by: str | None = None
    user: Callable[[int], str | None] = taskstats.user_name
    quote_formulas: bool = False
    # What the rows are a tree of: task, cgroup or dead; empty for a list.
    tree: str = ""

    def rows_of(self, interval: taskstats.Interval) -> taskstats.Interval | taskstats.Fold:
        """The rows of an interval: tasks or groups."""
        return interval.fold(self.group_by) if self.group_by else interval

    def screen(self) -> Screen:
        """The table of the chosen rows."""
        return Screen(
            [for_groups(column, self.group_by or self.tree) for column in self.columns],
            user=self.user,
            offset_s=offset_s,
            sort=self.sort,
            descending=self.descending,
            where=row_filter(self.filter or ""),
            pids=self.pids,
            limit=self.rows,
            tree=self.tree,
        )

    def keys(self) -> dict[str, str]:
        """The keys of a task in JSON and CSV, and the source of each."""
        keys = dict(TASK_KEYS)
        if self.group_by or self.tree:
            keys |= {"tasks": "tasks", "title": "title"}
        if self.tree:
            keys |= {name: name for name in TREE_KEYS}
        if self.tree == "cgroup":
            keys["cgroup"] = "cgroup"
        for column in self.columns:
            source = TEXTS.get(column.form, column.source)
            if source not in keys.values():
                keys[source] = source
        return keys


def row_query(
    options: argparse.Namespace, user: Callable[[int], str | None] = taskstats.user_name
) -> RowQuery:
    """The query that the table options ask for. `user` maps a uid to a name."""
    columns, sort = shown_columns(options)
    tree = tree_of(options)
    group_by = None if tree else options.group_by
    return RowQuery(
        columns,
        for_groups(sort, group_by or tree).source,
        sort.descending,
        options.filter,
        options.pid,
        PLAIN_ROWS if options.plain and options.rows is None else options.rows,
        group_by,
        user,
        options.quote_formulas,
        tree,
    )


def style(options: argparse.Namespace) -> str | None:
    """How to write intervals."""
    chosen: str | None = options.format
    return chosen or ("plain" if options.plain else None)


def writer(
    query: RowQuery, style: str | None, out: TextIO, before: taskstats.Interval | None = None
) -> Callable[[taskstats.Interval], None]:
    """A function that writes an interval to `out` as `style` says: table (also for None),
    plain, json or csv. `before` is an interval right before the first one, whose cgroups are read
    for what they use until then."""
    makers = {"csv": _csv_writer, "json": _json_writer, "plain": _plain_writer}
    make = makers.get(style or "table", _table_writer)
    query = _spoken(query) if style == "plain" else query
    screen = query.screen()
    if before is not None:
        screen.values(before, list(query.keys().values()))
    write = make(query, screen, out)

    def write_and_flush(interval: taskstats.Interval) -> None:
        write(interval)
        out.flush()

    return write_and_flush


def _table_writer(
    query: RowQuery, screen: Screen, out: TextIO
) -> Callable[[taskstats.Interval], None]:
    def write(interval: taskstats.Interval) -> None:
        now = interval.cur
        lacks = missing(interval)
        out.write(
            f"{stamp(now.time_ns)}  interval {interval.interval_ns / 1e9:.3f} s"
            f"  cpus {interval.cpus}  source {now.source}{f'  missing: {lacks}' if lacks else ''}\n"
        )
        for line in screen.table(query.rows_of(interval)):
            out.write(line.rstrip() + "\n")
        out.write("\n")

    return write


def _spoken(query: RowQuery) -> RowQuery:
    """The query with titles that are words, and without command lines, which take long to be
    heard."""
    columns = (
        replace(column, title=_WORDS.get(column.title, column.title),
                form="name" if column.form == "command" else column.form)
        for column in query.columns
    )  # fmt: skip
    return replace(query, columns=tuple(columns))


def _plain_writer(
    query: RowQuery, screen: Screen, out: TextIO
) -> Callable[[taskstats.Interval], None]:
    def write(interval: taskstats.Interval) -> None:
        now, rows = interval.cur, query.rows_of(interval)
        (used,) = interval.sum(["total_pct"])
        share = "unknown" if used is None else f"{used:.1f} %"
        out.write(f"{stamp(now.time_ns)}: {len(interval)} tasks use {share}")
        out.write(f" of {100 * interval.cpus} % of the CPUs.\n")
        if lacks := missing(interval):
            out.write(f"Missing: {lacks}.\n")
        for line in screen.plain(rows):
            out.write(f"{line}.\n")

    return write


def _csv_writer(
    query: RowQuery, screen: Screen, out: TextIO
) -> Callable[[taskstats.Interval], None]:
    keys = query.keys()
    lines = CsvLines(out, query.quote_formulas)
    header: list[tuple[Any, ...]] = [("time", "interval_ns", *keys)]

    def write(interval: taskstats.Interval) -> None:
        # The header comes with the first interval, as no interval may ever come.
        lines.write(header)
        header.clear()
        when = (interval.cur.time_ns / 1e9, interval.interval_ns)
        rows = screen.values(query.rows_of(interval), list(keys.values()))
        lines.write(when + row for row in rows)

    return write


def _json_writer(
    query: RowQuery, screen: Screen, out: TextIO
) -> Callable[[taskstats.Interval], None]:
    def write(interval: taskstats.Interval) -> None:
        json.dump(json_object(interval, query, screen), out, separators=(",", ":"))
        out.write("\n")

    return write


def json_object(interval: taskstats.Interval, query: RowQuery, screen: Screen) -> dict[str, Any]:
    """An interval as the object of a JSON line; docs/json.md describes it. `screen` is that of
    the query."""
    keys = query.keys()
    fields = {key: TEXT_FIELDS.get(source, source) for key, source in keys.items()}
    known = {key: field for key, field in fields.items() if field != CMDLINE}
    states = {key: interval.status(field) for key, field in known.items()}
    rows = screen.values(query.rows_of(interval), list(keys.values()))
    return json_head(interval) | {
        "unavailable": {key: state for key, state in states.items() if state != "filled"},
        "sum": _sums(interval),
        "tasks": [task_object(keys, row) for row in rows],
    }


def json_head(interval: taskstats.Interval) -> dict[str, Any]:
    """What a JSON object says of its interval."""
    return {
        "schema": SCHEMA,
        "time": interval.cur.time_ns / 1e9,
        "interval_ns": interval.interval_ns,
        "cpus": interval.cpus,
        "source": interval.cur.source,
    }


def _sums(interval: taskstats.Interval) -> dict[str, int | None]:
    """The times of all tasks together, and the terms of the balance beside them."""
    sums: dict[str, int | None] = {}
    for name, value in zip(SUMMED_TIMES, interval.sum(list(SUMMED_TIMES)), strict=True):
        sums[name] = int(value) if value is not None else None
    balance = interval.books()
    for name in ("idle_ns", "irq_ns", "rowless_ns", "residual_ns"):
        sums[name] = balance[name]
    # The steal time of the CPUs is known even if that of the tasks is not.
    if balance["steal_ns"] is not None:
        sums["steal_ns"] = balance["steal_ns"]
    return sums


def task_object(keys: dict[str, str], row: Sequence[Any]) -> dict[str, Any]:
    """A row as an object."""
    task = dict(zip(keys, row, strict=True))
    # Only exited tasks have this key.
    if task.pop("exited"):
        task["exited"] = True
    return task
