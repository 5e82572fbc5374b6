"""The columns of a table.

Design decisions

* One entry per column. Header, unit, hot key, help, man page and the kernel fields to
  collect all come from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from ptop.values import replace

Cell = int | float | str | None


class TableColumn(NamedTuple):
    """A column of a table.

    `source` is the column of `Interval.select` that it shows, `form` how its values are
    written (see `taskstats.screen.Screen`), `fields` the kernel fields that it needs beside
    those that every snapshot has. `descending` is the order in which it is first sorted.
    """

    key: str
    title: str
    unit: str
    width: int
    source: str
    form: str
    doc: str
    fields: tuple[str, ...] = ()
    descending: bool = True
    right: bool = True
    # The title of the live view, which has no line of units; empty for the title.
    heading: str = ""
    # On a narrow screen columns of the highest rank go first; those of rank 0 stay.
    rank: int = 5
    # The values from which the column warns and alarms.
    limits: tuple[float, float] | None = None

    @property
    def summed(self) -> bool:
        """Whether the sum over all rows is meaningful."""
        is_rate = self.source.endswith(("_pct", "_per_sec"))
        # A sum of largest waits would be of no kind.
        is_rate = is_rate and self.form != "raw" and not self.form.startswith("wait")
        return is_rate or self.key in {"num_threads", "tasks"}


def _delay(key: str, title: str, field: str, what: str) -> TableColumn:
    doc = f"time waiting for {what}, in % of the interval"
    column = TableColumn(key, title, "(%)", 7, f"{field}_pct", "percent", doc, (field,))
    return replace(column, limits=(10.0, 50.0))


def _of_cgroup(key: str, width: int, doc: str) -> TableColumn:
    return TableColumn(
        key, key, "(str)", width, "cgroup_id", key, doc, ("cgroup_id",), False, False
    )


# Of the files of a cgroup: key, title, unit, width, source, form, and what it is.
_OF_CGROUP_FILES: tuple[tuple[str, str, str, int, str, str, str], ...] = (
    ("cpu_max", "cpu.max", "(%)", 7, "cpu_max_pct", "percent", "limit of CPU time (cpu.max)"),
    ("nr_periods", "period", "(#)", 6, "nr_periods_delta", "integer",
     "periods of cpu.max in which it ran (cpu.stat)"),
    ("nr_throttled", "throt", "(#)", 5, "nr_throttled_delta", "integer",
     "periods in which it was throttled (cpu.stat)"),
    ("throttled_usec", "throttled", "(us)", 9, "throttled_usec_delta", "integer",
     "how long its CPUs were throttled (cpu.stat)"),
    ("memory_current", "mem", "(b)", 6, "memory_current", "bytes",
     "memory that it is charged for (memory.current)"),
    ("memory_high", "m.high", "(b)", 6, "memory_high", "bytes",
     "memory from which it is slowed down (memory.high)"),
    ("memory_max", "m.max", "(b)", 6, "memory_max", "bytes", "limit of memory (memory.max)"),
    ("rbytes", "io.r", "(b/s)", 6, "rbytes_per_sec", "bytes_rate", "read from disks (io.stat)"),
    ("wbytes", "io.w", "(b/s)", 6, "wbytes_per_sec", "bytes_rate", "written to disks (io.stat)"),
    ("cpu_psi", "psi.cpu", "(%)", 7, "cpu_some_pct", "percent",
     "share of time in which a task waited for a CPU (cpu.pressure)"),
    ("io_psi", "psi.io", "(%)", 7, "io_some_pct", "percent",
     "share of time in which a task waited for I/O (io.pressure)"),
    ("memory_psi", "psi.mem", "(%)", 7, "memory_some_pct", "percent",
     "share of time in which a task waited for memory (memory.pressure)"),
)  # fmt: skip

# What tasks wait for, as the kernel's fields have it.
WAITS = ("cpu", "blkio", "swapin", "freepages", "thrashing", "compact", "wpcopy", "irq")


def _wait(
    key: str, title: str, width: int, doc: str, source: str = "wait_pct", parts: str = "total"
) -> TableColumn:
    fields = tuple(f"{kind}_delay_{part}" for part in parts.split() for kind in WAITS)
    column = TableColumn(key, title, "(str)", width, source, key, doc, fields, True, False)
    return replace(column, limits=(10.0, 50.0), rank=4)


_TABLE = (
    TableColumn("pid", "pid", "(#)", 7, "ac_pid", "integer", "task id", (), False),
    TableColumn("tgid", "tgid", "(#)", 7, "ac_tgid", "integer", "process id", (), False),
    TableColumn("ppid", "ppid", "(#)", 7, "ac_ppid", "integer", "parent's id", (), False),
    TableColumn("uid", "uid", "(#)", 6, "ac_uid", "integer", "user id", (), False),
    TableColumn("USER", "USER", "(str)", 8, "ac_uid", "user", "user", (), False, False),
    TableColumn("user_pct", "user", "(%)", 6, "user_pct", "percent", "user time", ()),
    TableColumn("system_pct", "sys", "(%)", 6, "system_pct", "percent", "system time", ()),
    TableColumn("steal_pct", "ste", "(%)", 6, "steal_pct", "percent", "steal time", ("ac_sttime",)),
    TableColumn("total_pct", "total", "(%)", 7, "total_pct", "percent", "user+sys+ste", ()),
    TableColumn(
        "cuser_pct",
        "cuser",
        "(%)",
        6,
        "cuser_pct",
        "percent",
        "dead children's user time",
        ("ac_cutime",),
    ),
    TableColumn(
        "csystem_pct",
        "csys",
        "(%)",
        6,
        "csystem_pct",
        "percent",
        "dead children's system time",
        ("ac_cstime",),
    ),
    TableColumn(
        "csteal_pct",
        "cste",
        "(%)",
        6,
        "csteal_pct",
        "percent",
        "dead children's steal time",
        ("ac_csttime",),
    ),
    TableColumn(
        "all_pct",
        "all",
        "(%)",
        7,
        "all_pct",
        "percent",
        "user+sys+ste, plus that of dead children without a row",
        ("ac_cutime", "ac_cstime"),
    ),
    TableColumn("own_pct", "own", "(%)", 6, "own_pct", "percent", "its own time, in a tree"),
    TableColumn(
        "living_pct",
        "living",
        "(%)",
        7,
        "living_pct",
        "percent",
        "time of living descendants, in a tree",
    ),
    TableColumn(
        "dead_pct",
        "dead",
        "(%)",
        7,
        "dead_pct",
        "percent",
        "time of descendants that died, in a tree",
    ),
    TableColumn("tasks", "tasks", "(#)", 5, "tasks", "integer", "tasks in the row (see --fold)"),
    TableColumn("cpu_ns", "cpu+", "(hm)", 7, "cpu_ns", "elapsed_ns", "CPU time since start", ()),
    TableColumn("ac_etime", "Elap+", "(hm)", 7, "ac_etime", "elapsed_us", "time since start"),
    TableColumn("state", "s", "", 1, "state", "state", "state", ("state",), False),
    TableColumn("ac_nice", "ni", "(#)", 3, "ac_nice", "integer", "nice value", (), False),
    TableColumn(
        "num_threads", "thr", "(#)", 5, "num_threads", "integer", "threads", ("num_threads",)
    ),
    TableColumn("cpu", "cpu", "(#)", 3, "cpu", "integer", "last processor", ("cpu",), False),
    TableColumn("rss_kb", "rss", "(b)", 6, "rss_kb", "kibibytes", "resident memory", ("rss_kb",)),
    TableColumn(
        "peak", "peak", "(b)", 6, "hiwater_rss", "kibibytes", "peak of rss", ("hiwater_rss",)
    ),
    TableColumn("vm_kb", "vm", "(b)", 6, "vm_kb", "kibibytes", "virtual memory", ("vm_kb",)),
    TableColumn(
        "spark",
        "60s",
        "(str)",
        6,
        "total_ns",
        "spark",
        "its own CPU time in each ten seconds of the last minute; a full bar is one CPU",
        right=False,
        rank=7,
    ),
    _wait("wait", "wait", 5, "what it waits for most: the share of the interval as a bar"),
    _wait("wait_pct", "wait(%)", 10, "the same with the share in %"),
    _wait("wait_ms", "wait(ms)", 10, "the same with the time in ms"),
    _wait(
        "wait_longest",
        "longest",
        10,
        "its longest single wait since its start",
        "longest_wait_ns",
        "max",
    ),
    _wait(
        "wait_when",
        "waited",
        12,
        "when its longest wait ended",
        "longest_wait_ns",
        "max max_ts",
    ),
    _delay("cpu_delay", "delay", "cpu_delay_total", "a CPU"),
    _delay("blkio_delay", "blkio", "blkio_delay_total", "block I/O"),
    _delay("swapin_delay", "swapin", "swapin_delay_total", "swapped-out pages"),
    _delay("freepages_delay", "reclm", "freepages_delay_total", "memory reclaim"),
    _delay("thrashing_delay", "thrash", "thrashing_delay_total", "thrashing pages"),
    _delay("compact_delay", "compct", "compact_delay_total", "memory compaction"),
    _delay("wpcopy_delay", "wpcopy", "wpcopy_delay_total", "write-protect copies"),
    _delay("irq_delay", "irq", "irq_delay_total", "interrupts"),
    TableColumn(
        "read",
        "read",
        "(b/s)",
        6,
        "read_bytes_per_sec",
        "bytes_rate",
        "read from storage",
        ("read_bytes",),
    ),
    TableColumn(
        "write",
        "write",
        "(b/s)",
        7,
        "write_bytes_per_sec",
        "bytes_rate",
        "written to storage",
        ("write_bytes",),
    ),
    TableColumn(
        "io",
        "io",
        "(b/s)",
        6,
        "io_per_sec",
        "bytes_rate",
        "read from and written to storage",
        ("read_bytes", "write_bytes"),
    ),
    TableColumn(
        "nvcsw", "vcsw", "(/s)", 6, "nvcsw_per_sec", "rate", "voluntary switches", ("nvcsw",)
    ),
    TableColumn(
        "nivcsw",
        "ivcsw",
        "(/s)",
        7,
        "nivcsw_per_sec",
        "rate",
        "involuntary switches",
        ("nivcsw",),
    ),
    TableColumn(
        "minflt",
        "minfl",
        "(/s)",
        7,
        "ac_minflt_per_sec",
        "rate",
        "minor page faults",
        ("ac_minflt",),
    ),
    TableColumn(
        "majflt",
        "majfl",
        "(/s)",
        7,
        "ac_majflt_per_sec",
        "rate",
        "major page faults",
        ("ac_majflt",),
    ),
    _of_cgroup("container", 12, "container: the first 12 digits of its id, or its name"),
    _of_cgroup("pod", 36, "uid of the Kubernetes pod, or id of the podman pod"),
    _of_cgroup("unit", 20, "unit of systemd"),
    _of_cgroup("cgroup", 30, "path of the cgroup (v2)"),
    *(
        TableColumn(key, title, unit, width, source, form, f"of a cgroup in a tree: {doc}")
        for key, title, unit, width, source, form, doc in _OF_CGROUP_FILES
    ),
    TableColumn("name", "Name", "(str)", 15, "ac_comm", "name", "command name", (), False, False),
    TableColumn(
        "command",
        "Command",
        "(str)",
        30,
        "ac_comm",
        "command",
        "command line, else the name",
        # A process that executes another program has another file.
        ("ac_exe_dev", "ac_exe_inode"),
        False,
        False,
    ),
)

# What the live view shows instead of titles and units, where it is not the title.
_HEADINGS = {
    "USER": "user",
    "cpu_ns": "cputime",
    "ac_etime": "elapsed",
    "cpu_max": "cpu.max",
    "cpu_psi": "psi.cpu",
    "io_psi": "psi.io",
    "memory_psi": "psi.mem",
    "name": "Name",
    "command": "Name, arguments",
}
_SUFFIXES = {"percent": "%", "rate": "/s", "bytes_rate": "/s"}
# Which columns go on narrow screens: those of the highest rank first. Others have rank 5.
_RANKS = {
    "ac_nice": 9,
    "num_threads": 8,
    "system_pct": 7,
    "user_pct": 6,
    "state": 4,
    "USER": 3,
    "spark": 6,
    "rss_kb": 2,
    "tgid": 2,
    "tasks": 1,
    "living_pct": 8,
    "dead_pct": 3,
    "memory_current": 2,
    "memory_max": 3,
    "cpu_max": 3,
    "nr_throttled": 2,
    "throttled_usec": 8,
    "cpu_psi": 6,
    "io_psi": 6,
    "memory_psi": 6,
    "own_pct": 2,
    "total_pct": 0,
    "all_pct": 0,
    "pid": 0,
    "name": 0,
    "command": 0,
}
# From which share of a CPU on a task stands out, and from which it may lack another one.
_BUSY = (50.0, 90.0)
_LIMITS = dict.fromkeys(("user_pct", "system_pct", "total_pct", "all_pct"), _BUSY)


def _for_live_view(column: TableColumn) -> TableColumn:
    heading = column.title + _SUFFIXES.get(column.form, "")
    return replace(
        column,
        heading=_HEADINGS.get(column.key, heading),
        rank=_RANKS.get(column.key, column.rank),
        limits=_LIMITS.get(column.key, column.limits),
    )


COLUMNS: Mapping[str, TableColumn] = {column.key: _for_live_view(column) for column in _TABLE}


class ColumnSet(NamedTuple):
    """Columns that belong together, and the key of the one to sort by."""

    columns: tuple[str, ...]
    sort: str
    # What the rows are a tree of: task, cgroup, or empty for a list.
    tree: str = ""
    # Columns before the last one that a screen has, but text has not.
    on_screen: tuple[str, ...] = ()
    # Whether there is a line of pressure, disks and networks; without it they are not read.
    meters: bool = True

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns of a screen."""
        return (*self.columns[:-1], *self.on_screen, *self.columns[-1:])


# What --view chooses from; `snap` is the snapshot view of the tool of 2010.
COLUMN_SETS: Mapping[str, ColumnSet] = {
    "live": ColumnSet(
        (
            "pid",
            "USER",
            "state",
            "ac_nice",
            "num_threads",
            "rss_kb",
            "user_pct",
            "system_pct",
            "steal_pct",
            "total_pct",
            "command",
        ),
        sort="total_pct",
        on_screen=("wait", "spark"),
    ),
    "waits": ColumnSet(
        (
            "pid",
            "USER",
            "state",
            "wait",
            "total_pct",
            "cpu_delay",
            "blkio_delay",
            "swapin_delay",
            "freepages_delay",
            "thrashing_delay",
            "read",
            "write",
            "command",
        ),
        sort="total_pct",
    ),
    "snap": ColumnSet(
        (
            "pid",
            "user_pct",
            "system_pct",
            "steal_pct",
            "cuser_pct",
            "csystem_pct",
            "csteal_pct",
            "cpu_delay",
            "all_pct",
            "ac_etime",
            "name",
        ),
        sort="all_pct",
        meters=False,
    ),
    "io": ColumnSet(
        (
            "pid",
            "USER",
            "state",
            "blkio_delay",
            "swapin_delay",
            "read",
            "write",
            "io",
            "majflt",
            "rss_kb",
            "total_pct",
            "command",
        ),
        sort="io",
    ),
    "tree": ColumnSet(
        (
            "pid",
            "USER",
            "state",
            "tasks",
            "rss_kb",
            "own_pct",
            "living_pct",
            "dead_pct",
            "total_pct",
            "command",
        ),
        sort="total_pct",
        tree="task",
    ),
    "cgroups": ColumnSet(
        (
            "tasks",
            "memory_current",
            "memory_max",
            "cpu_max",
            "nr_throttled",
            "throttled_usec",
            "rbytes",
            "wbytes",
            "cpu_psi",
            "io_psi",
            "memory_psi",
            "own_pct",
            "living_pct",
            "dead_pct",
            "total_pct",
            "command",
        ),
        sort="total_pct",
        tree="cgroup",
    ),
    "dead": ColumnSet(
        (
            "pid",
            "ppid",
            "USER",
            "tasks",
            "ac_etime",
            "peak",
            "read",
            "write",
            "user_pct",
            "system_pct",
            "total_pct",
            "command",
        ),
        sort="total_pct",
        tree="dead",
    ),
}

# What is above the table beside the lines of the machine, its CPUs, tasks and source; and those
# that a source reads for it.
METERS = ("cpus", "memory", "swap", "waits", "pressure", "disks", "networks", "sparks")
ReadMeter = Literal["pressure", "disks", "networks"]
READ_METERS: tuple[ReadMeter, ...] = ("pressure", "disks", "networks")

# The columns of what tasks wait for, of which a table shows one.
WAIT_COLUMNS = ("wait", "wait_pct", "wait_ms", "wait_longest", "wait_when")

# The properties by which rows can be grouped.
GROUPINGS = (
    "process",
    "parent",
    "session",
    "name",
    "user",
    "cgroup",
    "container",
    "pod",
    "unit",
)
# Forms of columns and keys of groups whose text is a cgroup's path or a name in it.
NAMES = ("cgroup", "container", "pod", "unit")


def raw_column(name: str, unit: str) -> TableColumn:
    """A column that shows a kernel field or a column of `Interval.select` without a form."""
    field = name
    for suffix in ("_delta", "_per_sec", "_pct"):
        field = field.removesuffix(suffix)
    width = max(len(name), 8)
    return TableColumn(
        name, name, f"({unit or '#'})", width, name, "raw", f"{name} as it is", (field,)
    )


def _names_of(column: TableColumn) -> tuple[str, ...]:
    """The names of a column beside its key. Several texts may come from one number."""
    return (column.title,) if column.form in NAMES else (column.title, column.source)


def parse_columns(names: str, raw_units: Mapping[str, str]) -> tuple[TableColumn, ...]:
    """The columns of a comma-separated list.

    A name is a key, title or source of `COLUMNS`, or a key of `raw_units`, which maps the
    name of a raw column to its unit. ValueError, with the valid names, for any other.
    """
    found = []
    for name in filter(None, map(str.strip, names.split(","))):
        column = COLUMNS.get(name) or next(
            (column for column in COLUMNS.values() if name in _names_of(column)), None
        )
        if column is None and name in raw_units:
            column = raw_column(name, raw_units[name])
        if column is None:
            known = ", ".join(COLUMNS)
            raise ValueError(
                f"no column {name!r}; the columns are: {known}; and every kernel field by its name"
            )
        found.append(column)
    if not found:
        raise ValueError("give at least one column, for example: --columns pid,total_pct,name")
    return tuple(found)


def column_set(name: str, on_screen: bool = False) -> tuple[TableColumn, ...]:
    """The columns of `COLUMN_SETS[name]` in text or on a screen."""
    chosen = COLUMN_SETS[name]
    return tuple(COLUMNS[key] for key in (chosen.shown if on_screen else chosen.columns))


def for_groups(column: TableColumn, group_by: str | None) -> TableColumn:
    """The column for grouped rows: the name column shows the names of the groups."""
    is_named = group_by and column.key in {"name", "command"}
    return replace(column, source="title") if is_named else column


def with_context(columns: Sequence[str], group_by: str, threads: bool) -> tuple[str, ...]:
    """The keys of columns, with those that a row needs beside them: the number of tasks of a
    group, the process and the own name of a thread."""
    keys = list(columns)
    wanted = ["tasks"] if group_by else ["tgid", "name"] if threads else []
    for key in wanted:
        if key not in keys:
            keys.insert(1 if key == "tgid" else len(keys) - 1, key)
    return tuple(keys)


def fields_of(columns: Iterable[TableColumn], group_by: str | None, tree: str = "") -> set[str]:
    """The kernel fields that these columns and this grouping or tree need, beside those that
    every snapshot has."""
    fields = {field for column in columns for field in column.fields}
    if group_by in NAMES or tree == "cgroup":
        fields.add("cgroup_id")
    # What the dead were at most.
    return fields | {"hiwater_rss"} if tree in {"task", "dead"} else fields
