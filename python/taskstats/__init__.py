"""Where a Linux machine's CPU time goes, task by task.

Take snapshots of all tasks from the best source of this machine, compute what each task used
in between, and read recorded snapshots. Field names are the kernel's
(include/uapi/linux/taskstats.h); `FIELDS` lists them with units.

```python
import taskstats

print(taskstats.top(5))  # who used most in the next second, the dead included

for interval in taskstats.watch(1.0):
    for row in interval.top(3):
        print(row.pid, row.title, row.total_pct)
    break

print(taskstats.task(1).rss_kb)  # one process, in some ten microseconds
```

Design decisions

* None is unknown, 0 is a measured zero.
* A snapshot is one block of memory, which NumPy reads without a copy.
"""

from __future__ import annotations

from collections.abc import Iterable

from taskstats._core import (
    FIELDS,
    Columns,
    Dump,
    Exits,
    Fold,
    History,
    Interval,
    KeptInterval,
    Recorder,
    Row,
    Snapshot,
    Source,
    SourceReport,
    Table,
    Task,
    adopt_orphans,
    columns,
    delayacct,
    drop_privileges,
    get,
    get_tgid,
    kept_snapshot,
    open,
    parse,
    parse_netlink,
    share_heap,
    sources,
    state_letter,
    task,
    usage,
    user_name,
)
from taskstats._core import VERSION as __version__
from taskstats._errors import (
    AccessDenied,
    DamageWarning,
    NoSuchTask,
    ParseError,
    TaskstatsError,
    Unsupported,
)

# mypy's name for "only for type checkers", without the import of typing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from taskstats._read import read
    from taskstats._scan import Scan, scan
    from taskstats._track import TreeUse
    from taskstats._tracker import Tracker, track
    from taskstats._watch import Watch, top, watch

__all__ = [
    "FIELDS",
    "AccessDenied",
    "Columns",
    "DamageWarning",
    "Dump",
    "Exits",
    "Fold",
    "History",
    "Interval",
    "KeptInterval",
    "NoSuchTask",
    "ParseError",
    "Recorder",
    "Row",
    "Scan",
    "Snapshot",
    "Source",
    "SourceReport",
    "Table",
    "Task",
    "TaskstatsError",
    "Tracker",
    "TreeUse",
    "Unsupported",
    "Watch",
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
    "processes",
    "read",
    "scan",
    "share_heap",
    "snapshot",
    "sources",
    "state_letter",
    "task",
    "top",
    "track",
    "usage",
    "user_name",
    "watch",
]


def snapshot(
    source: str = "auto",
    threads: bool = False,
    fields: Iterable[str] | None = None,
    *,
    exact: bool = False,
) -> Snapshot:
    """Take one snapshot of the whole machine.

    The first call opens a source, which the process keeps; a forked child opens its own. It
    watches nothing and has no thread, so `exited` is None: the dead are in the intervals of
    `watch` and of a `Source`. Two snapshots make an interval (`usage`).

    `source` is "auto", "proc", "bpf", "netlink" or "procfs". `threads` takes a record for each
    thread. `fields` are the kernel's names of the fields to read; None reads all. With `exact`
    a source that watches is opened for this call, and all values are as of one instant where it
    can do that. Errors are those of `Source`.
    """
    wanted = None if fields is None else list(fields)
    if not exact:
        return kept_snapshot(source, threads=threads, fields=wanted)
    with Source(source, threads=threads, fields=wanted) as opened:
        return opened.snapshot()


def processes(fields: Iterable[str] | None = None) -> Snapshot:
    """Return all processes, from one snapshot.

    A sequence of `Task`, whose attributes are made when they are read. `fields` are the kernel's
    names of the fields to read; None reads all. Errors are those of `Source`.

    ```python
    import taskstats

    for task in taskstats.processes():
        print(task.ac_pid, task.ac_comm, task.rss_kb)
    ```
    """
    return snapshot(fields=fields)


def exits(source: str = "auto") -> Exits:
    """Return the tasks as they die: an iterator and a context manager, see `Exits`.

    `source` is "auto", "bpf" or "netlink". Errors are those of `Exits`.

    ```python
    import subprocess
    import taskstats

    with taskstats.exits() as exits:
        subprocess.run(["true"])
        print(next(exits).cpu_ns)
    ```

    `async for` works as well.
    """
    return Exits(source)


def __getattr__(name: str) -> object:
    """Import what needs a good part of the standard library on first use."""
    if name in {"Tracker", "TreeUse", "track"}:
        from taskstats import _tracker

        return getattr(_tracker, name)
    if name in {"Watch", "top", "watch"}:
        from taskstats import _watch

        return getattr(_watch, name)
    if name == "read":
        from taskstats import _read

        return _read.read
    if name in {"Scan", "scan"}:
        from taskstats import _scan

        return getattr(_scan, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
