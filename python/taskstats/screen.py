"""Intervals as lines of text: the screens and tables of ptop.

* `Screen` lays out the table of tasks of each interval, with its header and footer.
* `RowFilter` is a condition that a user typed.
* `Lines` are the lines of a screen, `RowKey` the identity of one of its rows.
* `Canvas` knows what a terminal shows, so that only lines that change are written.
* `Frames` takes intervals and writes their screens to a terminal until there is input.

The functions format single values. Nothing but `Frames` reads a clock or writes to a terminal.
"""

from __future__ import annotations

from taskstats._core import (
    Canvas,
    Frames,
    Lines,
    RowFilter,
    RowKey,
    Screen,
    bytes_rate,
    missing,
    percent,
    safe,
    width,
)

__all__ = [
    "Canvas",
    "Frames",
    "Lines",
    "RowFilter",
    "RowKey",
    "Screen",
    "bytes_rate",
    "missing",
    "percent",
    "safe",
    "width",
]
