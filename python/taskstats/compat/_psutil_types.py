"""The values, constants and exceptions of `taskstats.compat.psutil`, with psutil's names."""

from __future__ import annotations

from typing import NamedTuple

STATUS_RUNNING = "running"
STATUS_SLEEPING = "sleeping"
STATUS_DISK_SLEEP = "disk-sleep"
STATUS_STOPPED = "stopped"
STATUS_TRACING_STOP = "tracing-stop"
STATUS_ZOMBIE = "zombie"
STATUS_DEAD = "dead"
STATUS_IDLE = "idle"
STATUS_PARKED = "parked"

#: The word for each letter of proc_pid_stat(5).
STATUSES = {
    "R": STATUS_RUNNING,
    "S": STATUS_SLEEPING,
    "D": STATUS_DISK_SLEEP,
    "T": STATUS_STOPPED,
    "t": STATUS_TRACING_STOP,
    "Z": STATUS_ZOMBIE,
    "X": STATUS_DEAD,
    "I": STATUS_IDLE,
    "P": STATUS_PARKED,
}


class pcputimes(NamedTuple):  # noqa: N801
    """CPU time of a process, in seconds: user and system add up to the exact CPU time."""

    user: float
    system: float
    children_user: float
    children_system: float
    iowait: float


class pmem(NamedTuple):  # noqa: N801
    """Memory of a process, in bytes."""

    rss: int
    vms: int


class pctxsw(NamedTuple):  # noqa: N801
    """Context switches of a process."""

    voluntary: int
    involuntary: int


class pio(NamedTuple):  # noqa: N801
    """Input and output of a process: calls, bytes of storage, bytes of calls."""

    read_count: int
    write_count: int
    read_bytes: int
    write_bytes: int
    read_chars: int
    write_chars: int


class puids(NamedTuple):  # noqa: N801
    """User ids of a process; in `process_iter` only the real one is known."""

    real: int
    effective: int | None
    saved: int | None


class pgids(NamedTuple):  # noqa: N801
    """Group ids of a process; in `process_iter` only the real one is known."""

    real: int
    effective: int | None
    saved: int | None


class scputimes(NamedTuple):  # noqa: N801
    """Time of the CPUs, or of one, since boot, in seconds."""

    user: float
    nice: float
    system: float
    idle: float
    iowait: float
    irq: float
    softirq: float
    steal: float
    guest: float
    guest_nice: float


class Error(Exception):
    """Base class of the exceptions."""

    def __init__(self, pid: int | None = None, name: str | None = None, msg: str = "") -> None:
        super().__init__(pid, name, msg)
        self.pid = pid
        self.name = name
        self.msg = msg

    def __str__(self) -> str:
        known = {"pid": self.pid, "name": self.name}
        details = ", ".join(f"{key}={value!r}" for key, value in known.items() if value is not None)
        return " ".join(filter(None, [self.msg, f"({details})" if details else ""]))

    def __repr__(self) -> str:
        return f"psutil.{type(self).__name__}({self})"


class NoSuchProcess(Error):
    """The process is gone, or its pid belongs to another one."""

    def __init__(self, pid: int, name: str | None = None, msg: str | None = None) -> None:
        super().__init__(pid, name, msg or "process no longer exists")


class ZombieProcess(NoSuchProcess):
    """The process has exited and was not waited for: what was asked for is gone."""

    def __init__(self, pid: int, name: str | None = None, ppid: int | None = None) -> None:
        super().__init__(pid, name, "process still exists but it is a zombie")
        self.ppid = ppid


class AccessDenied(Error):
    """A privilege is missing."""

    def __init__(self, pid: int | None = None, name: str | None = None, msg: str = "") -> None:
        super().__init__(pid, name, msg or "access denied")


class TimeoutExpired(Error):
    """The process has not exited in time."""

    def __init__(self, seconds: float, pid: int | None = None, name: str | None = None) -> None:
        super().__init__(pid, name, f"timeout after {seconds} seconds")
        self.seconds = seconds
