"""Saves what the live view shows: all rows that its filter keeps, with its columns.

Design decisions

* The file is its owner's alone, and replaces none.
* Arguments may hold passwords: the name of the task stands in their place, unless the user asks
  for them.
"""

from __future__ import annotations

# For `CsvLines`, before privileges are dropped: the interpreter's files may be root's alone.
import csv  # noqa: F401
import errno
import io
import json
import os

import taskstats

from ptop.commands.batch import CMDLINE, RowQuery, json_head, task_object
from ptop.live.view import Renderer
from ptop.outputs import Audience, Output
from ptop.text import CsvLines

_OWNERS = Audience(0o600, None)


def save(
    path: str,
    interval: taskstats.Interval,
    unchanged: taskstats.Source | taskstats.KeptInterval | None,
    renderer: Renderer,
    with_arguments: bool,
) -> int:
    """Write JSON if the name ends so, else CSV; returns the number of rows. OSError if the file
    exists or cannot be written."""
    path = os.path.expanduser(path)
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    state = renderer.state
    query = RowQuery(
        tuple(renderer.shown()), state.sort, state.descending, None, None, None, state.group_by,
        tree=state.tree.of,
    )  # fmt: skip
    keys = query.keys()
    sources = [
        "ac_comm" if source == CMDLINE and not with_arguments else source
        for source in keys.values()
    ]
    rows = renderer.values(interval, unchanged, sources)
    with Output(path, _OWNERS) as output:
        text = io.TextIOWrapper(output.stream, "utf-8", "surrogateescape", newline="")
        if path.endswith((".json", ".jsonl")):
            head = json_head(interval)
            json.dump(head | {"tasks": [task_object(keys, row) for row in rows]}, text)
            text.write("\n")
        else:
            lines = CsvLines(text, quote_formulas=True)
            lines.write([("time", "interval_ns", *keys)])
            when = (interval.cur.time_ns / 1e9, interval.interval_ns)
            lines.write(when + row for row in rows)
        text.flush()
        text.detach()
        output.finish()
    return len(rows)
