"""The package's exceptions; each is also the built-in exception for its case."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Sequence


class TaskstatsError(Exception):
    """Base class of the exceptions of this package."""


class NoSuchTask(TaskstatsError, ProcessLookupError):
    """No task has this id. `errno` is ESRCH."""


class AccessDenied(TaskstatsError, PermissionError):
    """The caller lacks a privilege. The message says which, and how to get it."""


class Unsupported(TaskstatsError, OSError):
    """The kernel or this machine lacks what was requested."""


class ParseError(TaskstatsError, ValueError):
    """Bytes are damaged or of an unknown format, at `offset` bytes from the begin."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset)
        self.offset = offset

    def __str__(self) -> str:
        return str(self.args[0])


class DamageWarning(UserWarning):
    """Parts of recordings were left out, because that was requested and they cannot be read."""


def warn_of(lost: Sequence[Mapping[str, object]]) -> None:
    """Report what was left out, as of `Columns.lost`, where the package was called."""
    if not lost:
        return
    # Python shows a warning once for each place, so one within the package would hide others.
    level, frame = 2, sys._getframe(1)
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] == "taskstats":
        level, frame = level + 1, frame.f_back
    first, count = lost[0], len(lost)
    warnings.warn(
        f"left out {count} part{'s' * (count > 1)} of recordings, the first in"
        f" {os.fspath(first['path'])}: {first['reason']}; see .lost",  # type: ignore[call-overload]
        DamageWarning,
        stacklevel=level,
    )
