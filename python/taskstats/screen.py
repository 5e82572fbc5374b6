"""Intervals as lines of text: the screens and tables of ptop.

    Screen   the table of tasks of one interval after the other, with what stands around it
    Lines    the lines of a screen
    Canvas   what is on a terminal, so that only lines that change are written

with the texts of single values. Nothing here has a clock or writes to a terminal.
"""

from __future__ import annotations

from taskstats._core import Canvas, Lines, Screen, bytes_rate, missing, percent, safe

__all__ = ["Canvas", "Lines", "Screen", "bytes_rate", "missing", "percent", "safe"]
