"""The place of recordings where none is named: that of the service ptop-record."""

from __future__ import annotations

import os
from pathlib import Path

from ptop.text import safe

_DIRECTORY = "/var/log/ptop"
_FILE = "ptop.tsd"


def directory() -> Path:
    """The directory of the service's recordings. systemd names it, for units that move it."""
    return Path(os.environ.get("LOGS_DIRECTORY", "").split(":")[0] or _DIRECTORY)


def default_output() -> str:
    """The file to record to. ValueError, with what to type, where its directory is missing."""
    folder = directory()
    if not folder.is_dir():
        raise ValueError(
            f"{safe(str(folder))} is missing: name a file with -o, or as root type"
            f" install -d -m 0750 {safe(str(folder))}"
        )
    return str(folder / _FILE)


def newest() -> list[str]:
    """The newest recording, and the one before it: right after a rotation the newest has no
    interval. ValueError, with what to type, where there is none; OSError where the directory may
    not be read."""
    folder = directory()
    hint = "name a dump, or record one: ptop record -o FILE"
    try:
        found = [entry for entry in os.scandir(folder) if entry.name.endswith(".tsd")]
    except FileNotFoundError:
        raise ValueError(f"{safe(str(folder))} is missing: {hint}") from None
    except PermissionError as error:
        why = f"{error.strerror}: become a member of its group, or use sudo"
        raise PermissionError(error.errno, why, str(folder)) from None
    if not found:
        raise ValueError(f"{safe(str(folder))} has no recording: {hint}")
    found.sort(key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
    return [entry.path for entry in found[:2]]
