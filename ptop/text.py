"""Text that several commands write: safe names, times, CSV lines, commands to type.

Design decisions

* The values of a table become text in `taskstats.screen`, in Rust. The functions that
  other reports need as well are re-exported here.
* Standard library and pure functions only. What the live view does not need (csv, shlex)
  is imported where it is used, so that the view starts quickly.
"""

from __future__ import annotations

import os
import sys
import time

from taskstats.screen import bytes_rate, percent, safe

# Same value as typing.TYPE_CHECKING; importing typing would slow down the start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

__all__ = [
    "UNKNOWN",
    "CsvLines",
    "as_root",
    "bytes_rate",
    "offset_s",
    "percent",
    "safe",
    "stamp",
]

UNKNOWN = "-"
# The first characters of cells that spreadsheets evaluate.
FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")


def offset_s(time_s: int) -> int:
    """Offset of local time from UTC in seconds, at `time_s` seconds since 1970."""
    return time.localtime(time_s).tm_gmtoff


def stamp(time_ns: int) -> str:
    """Local date and time of `time_ns` (since 1970) to the second, in a form that
    `ptop.times` parses."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns / 1e9))


class _NewlineEnds:
    """Ends each CSV line with a newline alone, as other Unix tools do. A terminal gets no
    control character of a name."""

    def __init__(self, out: TextIO) -> None:
        self._write = out.write
        self._shown = safe if out.isatty() else str

    def write(self, line: str) -> int:
        return self._write(self._shown(line[:-2]) + "\n")


class CsvLines:
    """Writes CSV. In a file or pipe, rows can be read back unchanged, whatever a name
    contains; with `quote_formulas` but for an apostrophe, see `_quoted`."""

    def __init__(self, out: TextIO, quote_formulas: bool = False) -> None:
        import csv

        self._quotes = quote_formulas
        # csv.writer quotes the characters of its line terminator. A carriage return in a name
        # must be quoted too, so the terminator contains one.
        self._lines = csv.writer(_NewlineEnds(out), lineterminator="\r\n")

    def write(self, rows: Iterable[Sequence[object]]) -> None:
        """Write rows."""
        self._lines.writerows(map(_quoted, rows) if self._quotes else rows)


def _quoted(row: Sequence[object]) -> list[object]:
    """A row in which no text is a formula to a spreadsheet: an apostrophe is put before it."""
    return [
        f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_BEGINS) else cell
        for cell in row
    ]


def as_root(*arguments: str) -> str:
    """The shell command that runs `ptop` as root with these arguments."""
    import shlex

    return shlex.join(root_words(*arguments))


def root_words(*arguments: str) -> list[str]:
    """The words of the command that runs `ptop` as root with these arguments.

    It has the full path of the program, because sudo's PATH does not contain the directory
    of a virtual environment. It is never `python -m ptop`, which imports from the current
    directory.
    """
    program = sys.argv[0]
    if os.path.basename(program) != "ptop":
        beside = os.path.join(os.path.dirname(sys.executable), "ptop")
        program = beside if os.path.exists(beside) else "ptop"
    elif os.path.dirname(program):
        program = os.path.abspath(program)
    return ["sudo", program, *arguments]
