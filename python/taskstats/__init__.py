"""Where a Linux machine's CPU time goes, task by task.

Snapshots of all tasks from the best source of this machine, their differences, and
parsers for recorded bytes. Field names are the kernel's
(include/uapi/linux/taskstats.h); `FIELDS` lists them with units.

Design decisions

* None is unknown, 0 is a measured zero.
* A snapshot is one block of memory, which NumPy sees without a copy.
"""

from __future__ import annotations

from collections.abc import Iterable

from taskstats._core import (
    FIELDS,
    Columns,
    Dump,
    Exits,
    Fold,
    Interval,
    Recorder,
    Snapshot,
    Source,
    SourceReport,
    Task,
    adopt_orphans,
    columns,
    delayacct,
    drop_privileges,
    get,
    get_tgid,
    open,
    parse,
    parse_netlink,
    read,
    sources,
    state_letter,
    usage,
)
from taskstats._core import VERSION as __version__
from taskstats._errors import (
    AccessDenied,
    NoSuchTask,
    ParseError,
    TaskstatsError,
    Unsupported,
)

# mypy's name for "only for type checkers", without the import of typing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from taskstats._track import Tracker, TreeUse, track

__all__ = [
    "FIELDS",
    "AccessDenied",
    "Columns",
    "Dump",
    "Exits",
    "Fold",
    "Interval",
    "NoSuchTask",
    "ParseError",
    "Recorder",
    "Snapshot",
    "Source",
    "SourceReport",
    "Task",
    "TaskstatsError",
    "Tracker",
    "TreeUse",
    "Unsupported",
    "__version__",
    "adopt_orphans",
    "columns",
    "delayacct",
    "drop_privileges",
    "exits",
    "get",
    "get_tgid",
    "open",
    "parse",
    "parse_netlink",
    "read",
    "snapshot",
    "sources",
    "state_letter",
    "track",
    "usage",
]


def snapshot(
    source: str = "auto",
    threads: bool = False,
    fields: Iterable[str] | None = None,
    *,
    exact: bool = False,
) -> Snapshot:
    """Take one snapshot of the whole system.

    `source` is "auto", "proc", "bpf", "netlink" or "procfs"; `fields` are the kernel field names
    that are wanted, None for all that can be had; `exact` asks for values of one instant
    (see `Source`). For many snapshots keep a `Source` open.
    """
    wanted = None if fields is None else list(fields)
    with Source(source, threads=threads, fields=wanted, exact=exact) as opened:
        return opened.snapshot()


def exits(source: str = "auto") -> Exits:
    """Tasks as they die: an iterator and context manager, see `Exits`.

    `source` is "auto", "bpf" or "netlink".
    """
    return Exits(source)


def __getattr__(name: str) -> object:
    """Following trees of processes is loaded when it is first wanted: it needs a good part
    of the standard library."""
    if name in {"Tracker", "TreeUse", "track"}:
        from taskstats import _track

        return getattr(_track, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
