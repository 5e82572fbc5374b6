"""What a whole tree of processes used.

Design decisions

* A `Collector` knows which processes belong to the tree and what the dead ones used. The best
  collector that works here is used; the rest of the module does not depend on which.
* The total is exact where a collector counts the tree as a whole. The split into user and
  system time is always estimated from ticks.
* Unknown values are None. A report says which collectors made it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from taskstats._core import Exits, Task, Tree, cgroup_mount
from taskstats._errors import TaskstatsError

# A chain of parents longer than this is a ring made by reused pids.
_LONGEST_CHAIN = 4096
# In `ac_flag`, of the last thread of a process (AGROUP, include/uapi/linux/acct.h).
_LAST_THREAD = 0x20


@dataclass(slots=True)
class CommandUse:
    """What the processes of one command name used: their number, and CPU time in ns."""

    tasks: int = 0
    cpu_ns: int = 0


@dataclass(slots=True)
class TreeUse:
    """What a tree of processes used; None is unknown.

    Times are in ns, `max_rss_kb` is the largest peak of one process in KiB, and counters are as
    in getrusage(2). Where `exact` is true, `total_ns` leaves nothing out, to `resolution_ns`. The
    split into `user_ns` and `system_ns` is estimated from ticks. `collector` names what counted,
    `notes` say what is missing, `commands` has the use by command name.
    """

    user_ns: int = 0
    system_ns: int = 0
    total_ns: int = 0
    elapsed_ns: int = 0
    exact: bool = False
    resolution_ns: int = 1000
    collector: str = "wait4"
    notes: list[str] = field(default_factory=list)
    tasks: int | None = None
    max_rss_kb: int | None = None
    minflt: int | None = None
    majflt: int | None = None
    nvcsw: int | None = None
    nivcsw: int | None = None
    cpu_delay_ns: int | None = None
    read_bytes: int | None = None
    write_bytes: int | None = None
    exits_lost: int | None = None
    commands: dict[str, CommandUse] = field(default_factory=dict)


def ended(use: TreeUse | None) -> TreeUse:
    """Return a report. Raises AttributeError where it is not there yet."""
    if use is None:
        raise AttributeError("no report yet: the block has not ended")
    return use


def state_of(use: TreeUse | None) -> str:
    """A report in a few words; None is not there yet."""
    if use is None:
        return "no report yet"
    tasks = "" if use.tasks is None else f"{use.tasks} task{'s' * (use.tasks != 1)}, "
    return f"{tasks}{use.total_ns / 1e9:.3f} s of CPU time"


class Collector(Protocol):
    """Follows a tree of processes."""

    name: str

    def join(self) -> None:
        """Add the calling process, a new child, and all that it starts to the tree."""

    def poll(self) -> None:
        """Collect what waits. Call it from time to time, so that nothing is lost."""

    def finish(self, use: TreeUse) -> None:
        """Add what is known to `use`. Call it once, at the end."""


@dataclass(frozen=True, slots=True)
class _Dead:
    pid: int
    tgid: int
    # Whether its process died with it; None where the kernel does not tell (before Linux 5.19).
    ends_process: bool | None
    ppid: int
    name: str
    cpu_ns: int
    user_us: int
    system_us: int
    minflt: int
    majflt: int
    nvcsw: int
    nivcsw: int
    cpu_delay_ns: int
    read_bytes: int
    write_bytes: int
    hiwater_rss: int


def _dead(task: Task) -> _Dead:
    has_process = task.ac_tgid is not None
    return _Dead(
        task.ac_pid or 0,
        task.ac_tgid or task.ac_pid or 0,
        bool((task.ac_flag or 0) & _LAST_THREAD) if has_process else None,
        task.ac_ppid or 0,
        task.ac_comm or "",
        task.cpu_ns or 0,
        task.ac_utime or 0,
        task.ac_stime or 0,
        task.ac_minflt or 0,
        task.ac_majflt or 0,
        task.nvcsw or 0,
        task.nivcsw or 0,
        task.cpu_delay_total or 0,
        task.read_bytes or 0,
        task.write_bytes or 0,
        task.hiwater_rss or 0,
    )


def _living_parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat[stat.rindex(b")") + 2 :].split()[1])


class _Family:
    """Which of the dead processes descend from `root`, by chains of parents.

    Orphans are known to belong only where `root` adopts them.
    """

    def __init__(self, root: int) -> None:
        self.members: list[_Dead] = []
        self._root = root
        self._pending: list[_Dead] = []
        self._parents: dict[int, int] = {}

    def add(self, arrived: list[_Dead]) -> None:
        for dead in arrived:
            self._parents[dead.tgid] = dead.ppid
        waiting, self._pending = [*self._pending, *arrived], []
        for dead in waiting:
            member = self.is_member(dead.ppid)
            if member:
                self.members.append(dead)
            elif member is None:
                self._pending.append(dead)

    def is_member(self, pid: int) -> bool | None:
        """Return whether `pid` is the root or descends from it; None while unknown."""
        for _ in range(_LONGEST_CHAIN):
            if pid == self._root:
                return True
            if pid <= 1:
                return False
            parent = self._parents.get(pid)
            if parent is None:
                parent = _living_parent(pid)
            if parent is None:
                return None
            pid = parent
        return False

    def count(self, use: TreeUse) -> None:
        """Add counts, switches, delays, I/O, and the use by command name."""
        members = self.members
        use.tasks = sum(dead.ends_process is not False for dead in members)
        use.nvcsw = sum(dead.nvcsw for dead in members)
        use.nivcsw = sum(dead.nivcsw for dead in members)
        use.cpu_delay_ns = sum(dead.cpu_delay_ns for dead in members)
        use.read_bytes = sum(dead.read_bytes for dead in members)
        use.write_bytes = sum(dead.write_bytes for dead in members)
        if members:
            # wait4's includes what the child was before it became the command.
            use.max_rss_kb = max(dead.hiwater_rss for dead in members)
        leaders = {dead.tgid: dead.name for dead in members if dead.pid == dead.tgid}
        for dead in members:
            name = leaders.get(dead.tgid, dead.name)
            row = use.commands.setdefault(name, CommandUse())
            row.tasks += dead.ends_process is not False
            row.cpu_ns += dead.cpu_ns
        if any(dead.ends_process is None for dead in members):
            use.notes.append("this kernel does not tell threads from processes: each is counted")
        if use.exits_lost:
            use.notes.append(f"{use.exits_lost} exits were lost: rows and counts lack them")


class BpfCollector:
    """Exact to the ns for every process, dead or living: BPF programs mark each at its fork."""

    name = "bpf"

    def __init__(self, pid: int | None = None) -> None:
        """Follow what this process starts from now on, or the tree of the process `pid`.

        Raises AccessDenied or Unsupported where BPF does not work, and NoSuchTask.
        """
        self._tree = Tree(pid)

    def join(self) -> None:
        """Do nothing: membership is inherited."""

    def poll(self) -> None:
        """Do nothing: the kernel keeps the sums."""

    def finish(self, use: TreeUse) -> None:
        """Add the exact total of dead and living processes, and all counts."""
        sums, commands = self._tree.finish()
        use.exact = not sums["missed"]
        if not use.exact:
            use.notes.append(f"{sums['missed']} tasks could not be followed: not counted")
        if sums["unnamed"]:
            use.notes.append(f"{sums['unnamed']} tasks have no row: too many command names")
        use.exits_lost = sums["missed"]
        use.resolution_ns = 1
        use.total_ns = sums["cpu_ns"]
        user_ns, system_ns = sums["tick_user_ns"], sums["tick_system_ns"]
        # Without a tick, cputime_adjust() counts all as user time too.
        use.system_ns = use.total_ns * system_ns // (user_ns + system_ns or 1)
        use.user_ns = use.total_ns - use.system_ns
        use.tasks = sums["processes"]
        # wait4's includes what the child was before it became the command.
        use.max_rss_kb = sums["max_rss_kb"] or use.max_rss_kb
        use.minflt, use.majflt = sums["minflt"], sums["majflt"]
        use.nvcsw, use.nivcsw = sums["nvcsw"], sums["nivcsw"]
        use.cpu_delay_ns = sums["cpu_delay_ns"]
        use.read_bytes, use.write_bytes = sums["read_bytes"], sums["write_bytes"]
        use.commands = {name: CommandUse(*row) for name, row in commands.items()}


class ExitCollector:
    """Exit events of taskstats: one for each task that died; a CPU time lacks up to one tick."""

    name = "netlink"

    def __init__(self, root: int) -> None:
        """Follow the descendants of `root`. Raises AccessDenied without CAP_NET_ADMIN."""
        self._exits = Exits(self.name)
        self._family = _Family(root)

    def join(self) -> None:
        """Do nothing: parents decide on membership."""

    def poll(self) -> None:
        """Read the exits so far, before the socket's buffer is full."""
        self._family.add([_dead(task) for task in self._exits.read()])

    def finish(self, use: TreeUse) -> None:
        """Add counts, switches, delays, I/O, and the use by command name."""
        self.poll()
        use.exits_lost = self._exits.lost
        self._exits.close()
        self._family.count(use)
        seen = sum(dead.cpu_ns for dead in self._family.members)
        if not use.exact and seen > use.total_ns:
            # wait4 lacks children that nobody waited for; their exits have them.
            use.system_ns += seen - use.total_ns
            use.total_ns = seen


class CgroupCollector:
    """A cgroup (v2) for the tree: membership is inherited at fork, the total is exact."""

    name = "cgroup"

    def __init__(self) -> None:
        """Make the cgroup. Raises OSError where that is not allowed or no cgroup v2 is mounted."""
        top = cgroup_mount()
        if top is None:
            raise FileNotFoundError("no cgroup v2 is mounted")
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next(line[3:] for line in lines if line.startswith("0::"))
        self._outer = top / own.lstrip("/")
        self.path = self._outer / f"ptop-{os.getpid()}-{time.monotonic_ns()}"
        self.path.mkdir()
        try:
            self._joining = os.open(self.path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
            self._times()
        except (OSError, KeyError):
            self.path.rmdir()
            raise

    def _times(self) -> dict[str, int]:
        words = (self.path / "cpu.stat").read_text().split()
        times = {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}
        return {name: times[f"{name}_usec"] * 1000 for name in ("usage", "user", "system")}

    def join(self) -> None:
        """Move the calling process into the cgroup."""
        os.write(self._joining, b"0")

    def poll(self) -> None:
        """Do nothing: the kernel keeps the sums."""

    def finish(self, use: TreeUse) -> None:
        """Add the exact total, and move living processes back to the outer cgroup."""
        times = self._times()
        use.total_ns, use.user_ns, use.system_ns = times["usage"], times["user"], times["system"]
        use.exact = True
        os.close(self._joining)
        with contextlib.suppress(OSError):
            for pid in (self.path / "cgroup.procs").read_text().split():
                (self._outer / "cgroup.procs").write_text(pid)
        with contextlib.suppress(OSError):
            self.path.rmdir()


def collectors(root: int, *, cgroup: bool) -> list[Collector]:
    """The collectors that are available here for the descendants of `root`; with `cgroup`
    also the one that a child has to join before it execs."""
    with contextlib.suppress(TaskstatsError, OSError):
        return [BpfCollector()]
    found: list[Collector] = []
    if cgroup:
        with contextlib.suppress(OSError, StopIteration, KeyError):
            found.append(CgroupCollector())
    with contextlib.suppress(TaskstatsError, OSError):
        found.append(ExitCollector(root))
    return found


def add_rusage(use: TreeUse, usages: Iterable[resource.struct_rusage], sign: int = 1) -> None:
    """Add the results of wait4(2) or getrusage(2), or subtract them with `sign` -1."""
    for usage in usages:
        use.user_ns += sign * round(usage.ru_utime * 1e9)
        use.system_ns += sign * round(usage.ru_stime * 1e9)
        use.minflt = (use.minflt or 0) + sign * usage.ru_minflt
        use.majflt = (use.majflt or 0) + sign * usage.ru_majflt
        use.nvcsw = (use.nvcsw or 0) + sign * usage.ru_nvcsw
        use.nivcsw = (use.nivcsw or 0) + sign * usage.ru_nivcsw
        if sign > 0:
            use.max_rss_kb = max(use.max_rss_kb or 0, usage.ru_maxrss)
        elif usage.ru_maxrss >= (use.max_rss_kb or 0):
            # The peak is that of an earlier child.
            use.max_rss_kb = None
    use.total_ns = use.user_ns + use.system_ns


def complete(use: TreeUse, found: list[Collector]) -> None:
    """Add what the collectors know, and say how the report was made."""
    # A child starts with the memory of this process, and wait4 counts what it had before exec.
    if (use.max_rss_kb or 0) <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
        use.max_rss_kb = None
    for collector in found:
        collector.finish(use)
    if use.max_rss_kb is None:
        use.notes.append("peak memory is unknown: no child is known to exceed that of this process")
    use.collector = "+".join([*(collector.name for collector in found), "wait4"])
    if not use.exact:
        use.notes.append(
            "children that were not waited for are missing"
            if not found
            else "what is not counted here is missing"
            if isinstance(found[0], BpfCollector)
            else "children that were not waited for are known by their exits, up to one tick short"
        )
