"""The standard streams: closed ones, non-blocking ones, names in any encoding."""

from __future__ import annotations

import io
import os
import select
import sys

# Same value as typing.TYPE_CHECKING; importing typing would slow down the start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO


def prepare() -> None:
    """Make the standard streams writable as a whole, with names in any encoding, whatever
    the locale says."""
    _open_closed()
    sys.stdout = _patient(sys.stdout)
    sys.stderr = _patient(sys.stderr)


def discard(stream: TextIO) -> None:
    """Discard what a stream does not take. The interpreter flushes once more at exit; failing
    there would replace the exit status."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _open_closed() -> None:
    """Connect closed standard streams to /dev/null, so that no file gets their numbers."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    # Python sets a closed stream to None.
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


class _Patient(io.FileIO):
    """Waits where a non-blocking descriptor is full: Python's own streams then lose a part
    (PYTHONUNBUFFERED), or fail between two lines."""

    def write(self, data: Any, /) -> int:
        while (written := super().write(data)) is None:
            select.select([], [self], [])
        return written


def _patient(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper) or not isinstance(
        stream.buffer, (io.BufferedWriter, io.FileIO)
    ):
        # A program that imports this has put another one in its place.
        return stream
    buffered = io.BufferedWriter(_Patient(stream.fileno(), "wb", closefd=False))
    lines = stream.line_buffering or stream.write_through
    return io.TextIOWrapper(buffered, "utf-8", "replace", line_buffering=lines)
