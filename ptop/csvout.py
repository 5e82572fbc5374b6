"""CSV lines: the one way in which all of ptop writes them."""

from __future__ import annotations

import csv
from typing import TextIO

# mypy's name for "only for type checkers", without the import of typing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from _csv import Writer


class _Lines:
    """Ends the lines as other tools here do."""

    def __init__(self, out: TextIO) -> None:
        self._write = out.write

    def write(self, line: str) -> int:
        return self._write(line[:-2] + "\n")


def writer(out: TextIO) -> Writer:
    """A csv.writer whose rows are read back as they were, whatever is in a name."""
    # It quotes what the end of a line has in it; a carriage return has to be quoted too.
    return csv.writer(_Lines(out), lineterminator="\r\n")
