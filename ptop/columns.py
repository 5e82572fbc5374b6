"""The columns of the table: one entry each, from which header, units, hot keys, help
and the fields to collect are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

Cell = int | float | str | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `source` names what it shows (a column of `Interval.select`), `form` how
    it is written (see `taskstats.screen.Screen`)."""

    key: str
    title: str
    unit: str
    width: int
    source: str
    form: str
    doc: str
    fields: tuple[str, ...] = ()
    hotkey: str = ""
    descending: bool = True
    right: bool = True

    @property
    def summed(self) -> bool:
        """Whether the sum of all rows means something."""
        share = self.source.endswith(("_pct", "_per_sec")) and self.form != "raw"
        return share or self.key in {"num_threads", "tasks"}


def _delay(key: str, title: str, field: str, what: str) -> Column:
    doc = f"time waiting for {what}, in per cent of the interval"
    return Column(key, title, "(%)", 6, f"{field}_pct", "percent", doc, (field,))


COLUMNS: Mapping[str, Column] = {
    column.key: column
    for column in (
        Column("pid", "pid", "(#)", 7, "ac_pid", "integer", "task id", (), "p", False),
        Column("tgid", "tgid", "(#)", 7, "ac_tgid", "integer", "process id", (), "", False),
        Column("ppid", "ppid", "(#)", 7, "ac_ppid", "integer", "parent's id", (), "", False),
        Column("uid", "uid", "(#)", 6, "ac_uid", "integer", "user id", (), "", False),
        Column("USER", "USER", "(str)", 8, "ac_uid", "user", "user", (), "U", False, False),
        Column("user_pct", "user", "(%)", 6, "user_pct", "percent", "user time", (), "u"),
        Column("system_pct", "sys", "(%)", 6, "system_pct", "percent", "system time", (), "y"),
        Column(
            "steal_pct", "ste", "(%)", 6, "steal_pct", "percent", "steal time", ("ac_sttime",), "e"
        ),
        Column("total_pct", "total", "(%)", 7, "total_pct", "percent", "user+sys+ste", (), "c"),
        Column(
            "cuser_pct",
            "cuser",
            "(%)",
            6,
            "cuser_pct",
            "percent",
            "dead children's user time",
            ("ac_cutime",),
        ),
        Column(
            "csystem_pct",
            "csys",
            "(%)",
            6,
            "csystem_pct",
            "percent",
            "dead children's system time",
            ("ac_cstime",),
        ),
        Column(
            "csteal_pct",
            "cste",
            "(%)",
            6,
            "csteal_pct",
            "percent",
            "dead children's steal time",
            ("ac_csttime",),
        ),
        Column(
            "all_pct",
            "total",
            "(%)",
            7,
            "all_pct",
            "percent",
            "user+sys+ste, and cuser+csys+cste where the dead have no rows of their own",
            ("ac_cutime", "ac_cstime"),
        ),
        Column("tasks", "tasks", "(#)", 5, "tasks", "integer", "tasks in the row (see fold)"),
        Column(
            "cpu_ns", "cpu+", "(hm)", 7, "cpu_ns", "elapsed_ns", "CPU time since start", (), "T"
        ),
        Column("ac_etime", "Elap+", "(hm)", 7, "ac_etime", "elapsed_us", "time since start"),
        Column("state", "s", "", 1, "state", "state", "state", ("state",), "", False),
        Column("ac_nice", "ni", "(#)", 3, "ac_nice", "integer", "nice value", (), "", False),
        Column(
            "num_threads", "thr", "(#)", 5, "num_threads", "integer", "threads", ("num_threads",)
        ),
        Column("cpu", "cpu", "(#)", 3, "cpu", "integer", "last processor", ("cpu",), "", False),
        Column(
            "rss_kb", "rss", "(b)", 6, "rss_kb", "kibibytes", "resident memory", ("rss_kb",), "m"
        ),
        Column("vm_kb", "vm", "(b)", 6, "vm_kb", "kibibytes", "virtual memory", ("vm_kb",)),
        _delay("cpu_delay", "delay", "cpu_delay_total", "a CPU"),
        _delay("blkio_delay", "blkio", "blkio_delay_total", "block I/O"),
        _delay("swapin_delay", "swapin", "swapin_delay_total", "swapped-out pages"),
        _delay("freepages_delay", "reclm", "freepages_delay_total", "memory reclaim"),
        _delay("thrashing_delay", "thrash", "thrashing_delay_total", "thrashing pages"),
        _delay("compact_delay", "compct", "compact_delay_total", "memory compaction"),
        _delay("wpcopy_delay", "wpcopy", "wpcopy_delay_total", "write-protect copies"),
        _delay("irq_delay", "irq", "irq_delay_total", "interrupts"),
        Column(
            "read",
            "read",
            "(b/s)",
            6,
            "read_bytes_per_sec",
            "bytes_rate",
            "read from storage",
            ("read_bytes",),
            "i",
        ),
        Column(
            "write",
            "write",
            "(b/s)",
            6,
            "write_bytes_per_sec",
            "bytes_rate",
            "written to storage",
            ("write_bytes",),
            "o",
        ),
        Column(
            "nvcsw", "vcsw", "(/s)", 6, "nvcsw_per_sec", "rate", "voluntary switches", ("nvcsw",)
        ),
        Column(
            "nivcsw",
            "ivcsw",
            "(/s)",
            6,
            "nivcsw_per_sec",
            "rate",
            "involuntary switches",
            ("nivcsw",),
        ),
        Column(
            "minflt",
            "minfl",
            "(/s)",
            6,
            "ac_minflt_per_sec",
            "rate",
            "minor page faults",
            ("ac_minflt",),
        ),
        Column(
            "majflt",
            "majfl",
            "(/s)",
            6,
            "ac_majflt_per_sec",
            "rate",
            "major page faults",
            ("ac_majflt",),
        ),
        Column(
            "name", "Name", "(str)", 15, "ac_comm", "name", "command name", (), "n", False, False
        ),
    )
}

DEFAULT = (
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
    "name",
)

# The snapshot view of the 2010 tool.
SNAP = (
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
)


@dataclass(frozen=True, slots=True)
class View:
    """Columns that belong together, and what they are sorted by."""

    columns: tuple[str, ...]
    sort: str


VIEWS: Mapping[str, View] = {"live": View(DEFAULT, "total_pct"), "snap": View(SNAP, "all_pct")}

# What rows can be gathered by.
FOLDS = ("process", "parent", "session", "name", "user", "cgroup")


def raw(name: str, unit: str) -> Column:
    """A column that shows a kernel field or a column of an interval as it is."""

    field = name
    for suffix in ("_delta", "_per_sec", "_pct"):
        field = field.removesuffix(suffix)
    width = max(len(name), 8)
    return Column(name, name, f"({unit or '#'})", width, name, "raw", f"{name} as it is", (field,))


def parse(names: str, fields: Mapping[str, str]) -> tuple[Column, ...]:
    """The columns of a comma-separated list: keys, titles, sources, or any name of
    `fields`, which gives each its unit. ValueError that lists the names."""
    found = []
    for name in filter(None, map(str.strip, names.split(","))):
        column = COLUMNS.get(name) or next(
            (column for column in COLUMNS.values() if name in (column.title, column.source)), None
        )
        if column is None and name in fields:
            column = raw(name, fields[name])
        if column is None:
            known = ", ".join(COLUMNS)
            raise ValueError(
                f"no column {name!r}; the columns are: {known}; and every kernel field by its name"
            )
        found.append(column)
    if not found:
        raise ValueError("give at least one column, for example: --columns pid,total_pct,name")
    return tuple(found)


def view(name: str) -> tuple[Column, ...]:
    """The columns of a view."""
    return tuple(COLUMNS[key] for key in VIEWS[name].columns)


def titled(column: Column, fold: str | None) -> Column:
    """The column, with groups' names where rows are gathered by something."""
    return replace(column, source="title") if fold and column.key == "name" else column


def folding(by: str) -> set[str]:
    """The kernel fields that folding `by` needs."""
    return {"cgroup_id"} if by == "cgroup" else set()


def fields(columns: tuple[Column, ...]) -> set[str]:
    """The kernel fields that these columns need beside what always comes."""
    return {field for column in columns for field in column.fields}
