"""Where a Linux machine's CPU time goes, task by task.

Take snapshots of all tasks from the best source of this machine, compute what each task used
in between, and read recorded snapshots. Field names are the kernel's
(include/uapi/linux/taskstats.h); `FIELDS` lists them with units.

```python
import time
import taskstats

with taskstats.Source() as source:
    before = source.snapshot()
    time.sleep(0.1)
    interval = taskstats.usage(before, source.snapshot())

for name, used_ns in interval.select(["ac_comm", "total_ns"], sort="total_ns", limit=5):
    print(name, used_ns)
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
    share_heap,
    sources,
    state_letter,
    usage,
    user_name,
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
    "share_heap",
    "snapshot",
    "sources",
    "state_letter",
    "track",
    "usage",
    "user_name",
]


def snapshot(
    source: str = "auto",
    threads: bool = False,
    fields: Iterable[str] | None = None,
    *,
    exact: bool = False,
) -> Snapshot:
    """Take one snapshot of the whole machine.

    Opens a `Source` and closes it again; keep one open for more than one snapshot. `source` is
    "auto", "proc", "bpf", "netlink" or "procfs". `fields` are the kernel's names of the fields
    to read; None reads all. `threads` and `exact` are as in `Source`, and so are the errors.
    """
    wanted = None if fields is None else list(fields)
    with Source(source, threads=threads, fields=wanted, exact=exact) as opened:
        return opened.snapshot()


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
    """
    return Exits(source)


def __getattr__(name: str) -> object:
    """Import `track` on first use: it needs a good part of the standard library."""
    if name in {"Tracker", "TreeUse", "track"}:
        from taskstats import _track

        return getattr(_track, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
