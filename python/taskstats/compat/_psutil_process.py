"""`Process` of `taskstats.compat.psutil`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterator
from functools import total_ordering
from pathlib import Path
from typing import Any

import taskstats
from taskstats._core import Task, psutil_rows
from taskstats.compat import _psutil_types
from taskstats.compat._psutil_types import (
    STATUS_ZOMBIE,
    AccessDenied,
    NoSuchProcess,
    TimeoutExpired,
    ZombieProcess,
    pcputimes,
    pctxsw,
    pgids,
    pio,
    pmem,
    puids,
)

# Two starts of one task differ by a tick at most, by how they are read.
_SAME_START_NS = 20_000_000
# The fields that each attribute needs of a snapshot; others have files of their own in /proc.
FIELDS = {
    "pid": [],
    "ppid": ["ac_ppid"],
    "name": ["ac_comm"],
    "cmdline": [],
    "status": ["state"],
    "username": ["ac_uid"],
    "create_time": ["ac_start_ns"],
    "uids": ["ac_uid"],
    "gids": ["ac_gid"],
    "nice": ["ac_nice"],
    "io_counters": ["read_bytes"],
    "num_ctx_switches": ["nvcsw"],
    "num_threads": ["num_threads"],
    "cpu_num": ["cpu"],
    "cpu_times": ["ac_utime", "ac_cutime"],
    "memory_info": ["rss_kb", "hiwater_rss"],
}
# The attributes that `as_dict` and `process_iter` take.
ATTRIBUTES = (*FIELDS, "exe", "cwd", "cpu_percent", "memory_percent")


def names_of(attrs: Collection[str] | None) -> list[str]:
    """Check the names of attributes; None and none at all are all of them."""
    if attrs is not None and not isinstance(attrs, list | tuple | set | frozenset):
        raise TypeError(f"attrs is a {type(attrs).__name__}: give a list, tuple or set")
    unknown = set(attrs or ()) - set(ATTRIBUTES)
    if unknown:
        raise ValueError(f"unknown names {sorted(unknown)}: choose from {', '.join(ATTRIBUTES)}")
    return list(attrs or ATTRIBUTES)


@total_ordering
class Process:
    """One process, known by its pid and start."""

    #: The attributes that `process_iter` was asked for.
    info: dict[str, Any]
    # The task as it was found. Attributes of the class spare thousands of objects their own.
    _known: Task
    # What a `oneshot` block has read.
    _kept: list[Task] | None = None
    # Time and CPU time at the last `cpu_percent`.
    _cpu: tuple[int, int] | None = None
    _code: int | None = None
    _reused = False

    def __init__(self, pid: int | None = None) -> None:
        """Find the process `pid`, by default the calling one. Raises NoSuchProcess."""
        pid = os.getpid() if pid is None else pid
        if not isinstance(pid, int):
            raise TypeError(f"pid is {pid!r}: give an integer")
        if pid < 0:
            raise ValueError(f"pid is {pid}: give a positive number")
        self._known = _task(pid, [])

    @classmethod
    def of(cls, task: Task) -> Process:
        """Return the process of a task."""
        process = cls.__new__(cls)
        process._known = task
        return process

    @property
    def pid(self) -> int:
        """The process's pid."""
        return self._known.ac_pid or 0

    @property
    def _start(self) -> int | None:
        return self._known.ac_start_ns

    @property
    def _name(self) -> str | None:
        return self._known.ac_comm

    @property
    def _ppid(self) -> int | None:
        return self._known.ac_ppid

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Process):
            return NotImplemented
        return self.pid == other.pid and _is_same(self._start, other._start)

    def __lt__(self, other: Process) -> bool:
        return self.pid < other.pid

    def __hash__(self) -> int:
        return hash(self.pid)

    def __repr__(self) -> str:
        try:
            state = self.status()
        except NoSuchProcess:
            state = "terminated"
        except AccessDenied:
            state = "running"
        if self._reused:
            state = "terminated + PID reused"
        return f"psutil.Process(pid={self.pid}, name={self._name!r}, status={state!r})"

    def _now(self, *fields: str) -> Task:
        """Read the process. Raises NoSuchProcess where another one has its pid."""
        if self._kept:
            return self._kept[0]
        try:
            # In a `oneshot` block everything is read at once.
            task = _task(self.pid, None if self._kept is not None else list(fields))
        except NoSuchProcess:
            raise NoSuchProcess(self.pid, self._name) from None
        if not _is_same(self._start, task.ac_start_ns):
            self._reused = True
            raise NoSuchProcess(
                self.pid, self._name, "process no longer exists and its PID has been reused"
            )
        if self._kept is not None:
            self._kept.append(task)
        return task

    def _row(self, name: str) -> Any:
        """One attribute of the process now, as in `process_iter`."""
        task = self._now(*FIELDS[name])
        _, (values,) = psutil_rows(task, [name], _psutil_types, _UNKNOWN)
        value = values[name]
        if value is _UNKNOWN:
            raise AccessDenied(self.pid, self._name)
        return value

    @contextlib.contextmanager
    def oneshot(self) -> Iterator[None]:
        """Read the process once for all calls in the block."""
        if self._kept is not None:
            yield
            return
        self._kept = []
        try:
            yield
        finally:
            self._kept = None

    def as_dict(
        self, attrs: Collection[str] | None = None, ad_value: object = None
    ) -> dict[str, Any]:
        """Return attributes by name; `ad_value` for what may not be read."""
        found: dict[str, Any] = {}
        with self.oneshot():
            for name in names_of(attrs):
                member = getattr(self, name)
                try:
                    found[name] = member() if callable(member) else member
                except (AccessDenied, ZombieProcess):
                    found[name] = ad_value
        return found

    def is_running(self) -> bool:
        """Return whether it exists, as a zombie too."""
        try:
            self._now()
        except NoSuchProcess:
            return False
        return True

    def ppid(self) -> int:
        """Return the parent's pid."""
        ppid: int = self._row("ppid")
        return ppid

    def name(self) -> str:
        """Return the command name; a cut one is completed from the command line."""
        name: str = self._row("name")
        return name

    def status(self) -> str:
        """Return the state, one of the STATUS_ constants."""
        status: str = self._row("status")
        return status

    def create_time(self) -> float:
        """Return the start, in seconds since 1970."""
        # The same at each call, however the clock is set.
        return self._known.start_time or 0.0

    def cpu_times(self) -> pcputimes:
        """Return the CPU time so far, of all threads."""
        times: pcputimes = self._row("cpu_times")
        return times

    def cpu_percent(self, interval: float | None = None) -> float:
        """Return the CPU time since the last call, or in the next `interval` seconds, in per cent.

        100 is one CPU. The first call without an interval returns 0.0.
        """
        if interval is not None and interval < 0:
            raise ValueError(f"interval is {interval}: give a positive number")

        def use() -> tuple[int, int]:
            return time.monotonic_ns(), self._now().cpu_ns or 0

        before = self._cpu
        if interval:
            before = use()
            time.sleep(interval)
        now = self._cpu = use()
        if before is None or now[0] == before[0]:
            return 0.0
        return round(100.0 * (now[1] - before[1]) / (now[0] - before[0]), 1)

    def cpu_num(self) -> int:
        """Return the CPU on which the process last ran."""
        number: int = self._row("cpu_num")
        return number

    def memory_info(self) -> pmem:
        """Return resident and virtual memory, in bytes."""
        memory: pmem = self._row("memory_info")
        return memory

    def memory_percent(self, memtype: str = "rss") -> float:
        """Return a field of `memory_info` in per cent of the machine's memory."""
        if memtype not in pmem._fields:
            raise ValueError(f"memtype is {memtype!r}: choose {' or '.join(pmem._fields)}")
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        used: int = getattr(self.memory_info(), memtype)
        return 100.0 * used / total

    def num_threads(self) -> int:
        """Return the number of threads."""
        number: int = self._row("num_threads")
        return number

    def num_ctx_switches(self) -> pctxsw:
        """Return the numbers of context switches, of all threads that live."""
        with contextlib.suppress(AccessDenied):
            switches: pctxsw = self._row("num_ctx_switches")
            return switches
        # /proc counts each thread of several by itself.
        found: list[str] = self._file(lambda: os.listdir(self._path("task")))
        counts = [0, 0]
        for thread in found:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                status = self._path(f"task/{thread}/status").read_text(errors="replace")
                for line in status.splitlines():
                    name, _, number = line.partition(":")
                    if name.endswith("voluntary_ctxt_switches"):
                        counts[name.startswith("non")] += int(number)
        return pctxsw(*counts)

    def io_counters(self) -> pio:
        """Return input and output. Raises AccessDenied for the processes of others."""
        counters: pio = self._row("io_counters")
        return counters

    def nice(self, value: int | None = None) -> int | None:
        """Return the nice value, or set it."""
        if value is not None:
            self._now()
            try:
                os.setpriority(os.PRIO_PROCESS, self.pid, value)
            except PermissionError:
                raise AccessDenied(self.pid, self._name) from None
            return None
        nice: int = self._row("nice")
        return nice

    def _ids(self, line: str) -> tuple[int, int, int]:
        words = self._status()[line].split()
        return int(words[0]), int(words[1]), int(words[2])

    def uids(self) -> puids:
        """Return real, effective and saved user id."""
        return puids(*self._ids("Uid"))

    def gids(self) -> pgids:
        """Return real, effective and saved group id."""
        return pgids(*self._ids("Gid"))

    def username(self) -> str:
        """Return the name of the real user, or its number."""
        uid = self.uids().real
        return taskstats.user_name(uid) or str(uid)

    def _status(self) -> dict[str, str]:
        text = self._file(lambda: self._path("status").read_text(errors="replace"))
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def _path(self, name: str) -> Path:
        return Path(f"/proc/{self.pid}/{name}")

    def _file(self, read: Callable[[], Any]) -> Any:
        """Read one of the process's files in /proc, with psutil's exceptions."""
        # Before: of a zombie some files are empty.
        is_zombie = self.status() == STATUS_ZOMBIE
        try:
            found = read()
        except PermissionError:
            raise AccessDenied(self.pid, self._name) from None
        except (FileNotFoundError, ProcessLookupError):
            self._now()
            found = ""
        if not found and is_zombie:
            raise ZombieProcess(self.pid, self._name, self._ppid)
        return found

    def cmdline(self) -> list[str]:
        """Return the arguments; those of a kernel thread are empty."""
        text: bytes = self._file(self._path("cmdline").read_bytes) or b""
        words = text.removesuffix(b"\0").split(b"\0") if text else []
        return [os.fsdecode(word) for word in words]

    def exe(self) -> str:
        """Return the path of the program; empty for a kernel thread."""
        path: str = self._file(lambda: os.readlink(self._path("exe")))
        return path.removesuffix(" (deleted)")

    def cwd(self) -> str:
        """Return the working directory."""
        path: str = self._file(lambda: os.readlink(self._path("cwd")))
        return path

    def parent(self) -> Process | None:
        """Return the parent, or None where there is none."""
        ppid = self.ppid()
        with contextlib.suppress(NoSuchProcess):
            found = Process(ppid) if ppid else None
            # A younger one has the parent's pid after it.
            if found is not None and (found._start or 0) <= (self._start or 0) + _SAME_START_NS:
                return found
        return None

    def parents(self) -> list[Process]:
        """Return the parent, its parent, and so on."""
        found: list[Process] = []
        parent = self.parent()
        while parent is not None:
            found.append(parent)
            parent = parent.parent()
        return found

    def children(self, recursive: bool = False) -> list[Process]:
        """Return the children; with `recursive` all descendants."""
        self._now()
        by_parent: dict[int, list[Task]] = {}
        for task in taskstats.snapshot(fields=["ac_ppid"]):
            by_parent.setdefault(task.ac_ppid or 0, []).append(task)
        found: list[Process] = []
        waiting = [self.pid]
        while waiting:
            children = by_parent.pop(waiting.pop(0), [])
            found += [Process.of(task) for task in children]
            if recursive:
                waiting += [task.ac_pid or 0 for task in children]
        return found

    def send_signal(self, sig: int) -> None:
        """Send a signal. Never reaches another process that has the pid now."""
        with self._handle() as handle:
            self._now()
            try:
                signal.pidfd_send_signal(handle, sig)
            except ProcessLookupError:
                raise NoSuchProcess(self.pid, self._name) from None
            except PermissionError:
                raise AccessDenied(self.pid, self._name) from None

    @contextlib.contextmanager
    def _handle(self) -> Iterator[int]:
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            raise NoSuchProcess(self.pid, self._name) from None
        try:
            yield handle
        finally:
            os.close(handle)

    def suspend(self) -> None:
        """Send SIGSTOP."""
        self.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT."""
        self.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the exit, and return the exit status of a child: negative for a signal.

        None for a process that is no child. Raises TimeoutExpired.
        """
        if timeout is not None and timeout < 0:
            raise ValueError(f"timeout is {timeout}: give a positive number")
        if self._code is not None:
            return self._code
        ends = None if timeout is None else time.monotonic() + timeout
        try:
            with self._handle() as handle:
                self._now()
                poll = select.poll()
                poll.register(handle, select.POLLIN)
                if not poll.poll(None if timeout is None else timeout * 1000):
                    raise TimeoutExpired(timeout or 0, self.pid, self._name)
        except NoSuchProcess:
            return None
        try:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            # Its own parent waits for it.
            while self.is_running():
                if ends is not None and time.monotonic() >= ends:
                    raise TimeoutExpired(timeout or 0, self.pid, self._name) from None
                time.sleep(_POLL_S)
        return self._code


_UNKNOWN = object()
# How often a zombie is looked at that another process has to wait for.
_POLL_S = 0.01


def _is_same(one_ns: int | None, other_ns: int | None) -> bool:
    return one_ns is None or other_ns is None or abs(one_ns - other_ns) <= _SAME_START_NS


def _task(pid: int, fields: list[str] | None) -> Task:
    try:
        return taskstats.task(pid, fields)
    except (taskstats.NoSuchTask, OverflowError):
        raise NoSuchProcess(pid) from None
    except taskstats.AccessDenied:
        raise AccessDenied(pid) from None
