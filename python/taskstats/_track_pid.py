"""What the tree of a process that runs already uses.

Design decisions

* BPF programs mark the tree's members and what these start, so that nothing is missed.
* Where BPF does not work, intervals of all tasks serve. Membership follows from parents then: of
  the rows of an interval, dead ones included, those whose chain of parents reaches the tree. A
  process that was a member at a poll stays one, whatever becomes of its parents. One whose
  parents all began and ended between two polls is an orphan of unknown origin, and not counted.
"""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import Protocol, Self

from taskstats._block import Block
from taskstats._core import Interval, Snapshot, Source, usage
from taskstats._errors import AccessDenied, NoSuchTask, Unsupported
from taskstats._track import BpfCollector, CommandUse, TreeUse, ended, state_of

_SUMS = {
    "user_ns": "user_ns",
    "system_ns": "system_ns",
    "minflt": "ac_minflt_delta",
    "majflt": "ac_majflt_delta",
    "nvcsw": "nvcsw_delta",
    "nivcsw": "nivcsw_delta",
    "cpu_delay_ns": "cpu_delay_total_delta",
    "read_bytes": "read_bytes_delta",
    "write_bytes": "write_bytes_delta",
}
_KEYS = ["ac_pid", "ac_start_ns", "ac_ppid", "ac_comm", "hiwater_rss"]
# A longer chain of parents is a ring made by reused pids.
_LONGEST_CHAIN = 4096


class _Collector(Protocol):
    name: str

    def poll(self) -> None: ...
    def finish(self, use: TreeUse) -> None: ...


class PidTracker(Block):
    """What a running process and its descendants used in a `with` block: see `taskstats.track`."""

    def __init__(self, pid: int) -> None:
        self._use: TreeUse | None = None
        self._pid = pid
        self._counted = TreeUse()
        self._began = 0
        self._collector: _Collector | None = None

    @property
    def use(self) -> TreeUse:
        """The report. Raises AttributeError before the end of the block."""
        return ended(self._use)

    def _state(self) -> str:
        return f"pid {self._pid}, {state_of(self._use)}"

    def __enter__(self) -> Self:
        """Begin. Raises NoSuchTask, and what opening a source raises."""
        self._counted = TreeUse()
        self._collector = _collector(self._pid, self._counted)
        self._began = time.monotonic_ns()
        return self

    def poll(self) -> None:
        """Count up to now, where `collector` is not bpf. Without bpf, call it now and then where
        processes of the tree become orphans.
        """
        assert self._collector is not None, "the block was entered"
        self._collector.poll()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Write the report to `use`, and stop counting."""
        assert self._collector is not None, "the block was entered"
        self._collector.finish(self._counted)
        self._counted.elapsed_ns = time.monotonic_ns() - self._began
        self._counted.collector = self._collector.name
        self._use = self._counted


def _collector(pid: int, use: TreeUse) -> _Collector:
    with contextlib.suppress(AccessDenied, Unsupported):
        return BpfCollector(pid)
    return _IntervalCollector(pid, use)


class _IntervalCollector:
    """Intervals of all tasks, dead ones included, which are added to `use`."""

    def __init__(self, pid: int, use: TreeUse) -> None:
        source = Source()
        try:
            first = source.snapshot()
            if first.by_pid(pid) is None:
                raise NoSuchTask(3, f"no process {pid}")
        except BaseException:
            source.close()
            raise
        parents = {task.ac_pid or 0: task.ac_ppid for task in first}
        # The members that lived at the last poll, and all that were counted: pid and start.
        self._living = {
            (task.ac_pid or 0, task.ac_start_ns)
            for task in first
            if self._descends(task.ac_pid or 0, parents, {pid})
        }
        self._counted: set[tuple[int, int | None]] = set()
        self.name = f"intervals of {source.name}"
        self._use = use
        self._use.resolution_ns, self._use.exact = 1, True
        self._source = source
        self._before: Snapshot | Interval = first

    @staticmethod
    def _descends(pid: int, parents: dict[int, int | None], roots: set[int]) -> bool:
        for _ in range(_LONGEST_CHAIN):
            if pid in roots:
                return True
            parent = parents.get(pid)
            if not parent:
                return False
            pid = parent
        return False

    def poll(self) -> None:
        """Count up to now."""
        interval = usage(self._before, self._source.snapshot())
        self._before = interval
        names = list(_SUMS)
        rows = interval.select([*_KEYS, "exited", *_SUMS.values()])
        parents: dict[int, int | None] = {}
        for row in rows:
            # Of a reused pid the living task, which comes first.
            parents.setdefault(row[0], row[2])
        roots = {pid for pid, _ in self._living}
        living: set[tuple[int, int | None]] = set()
        for pid, start_ns, ppid, name, peak_kb, exited, *sums in rows:
            key = (pid, start_ns)
            if key not in self._living and not self._descends(ppid or 0, parents, roots):
                continue
            is_new = key not in self._counted
            self._counted.add(key)
            if not exited:
                living.add(key)
            command = self._use.commands.setdefault(name or "", CommandUse())
            command.tasks += is_new
            self._add(command, peak_kb, dict(zip(names, sums, strict=True)))
        self._living = living
        self._note_lack(interval)

    def _add(self, command: CommandUse, peak_kb: int | None, sums: dict[str, int | None]) -> None:
        use = self._use
        for field, value in sums.items():
            if value is not None:
                setattr(use, field, (getattr(use, field) or 0) + value)
        used_ns = (sums["user_ns"] or 0) + (sums["system_ns"] or 0)
        use.total_ns += used_ns
        command.cpu_ns += used_ns
        if peak_kb is not None:
            use.max_rss_kb = max(use.max_rss_kb or 0, peak_kb)

    def _note_lack(self, interval: Interval) -> None:
        before, after = interval.prev, interval.cur
        lost = after.exits_lost - before.exits_lost
        self._use.exits_lost = (self._use.exits_lost or 0) + lost
        if interval.exited is None or lost or not (before.one_instant and after.one_instant):
            self._use.exact = False

    def finish(self, use: TreeUse) -> None:
        """Count up to now, and close the source."""
        try:
            self.poll()
        finally:
            self._source.close()
        use.tasks = len(self._counted)
        use.notes.append("orphans whose parents began and ended in the block are not counted")
        if not use.exact:
            use.notes.append("not all exits are known, or not all values are as of one instant")
