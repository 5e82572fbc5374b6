"""The Rust core: snapshots, intervals and the sources that take them.

The package `taskstats` exports the public names. Times are integers in ns unless a name or
docstring says otherwise. Exceptions are in `taskstats._errors`.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType, TracebackType
from typing import (
    IO,
    Any,
    Final,
    Literal,
    Protocol,
    Required,
    Self,
    TypeAlias,
    TypedDict,
    Unpack,
    final,
    overload,
)

import numpy.typing
from typing_extensions import Buffer

from taskstats.machine import Machine

_Status: TypeAlias = Literal["filled", "off", "denied", "unsupported", "not read"]
# NumPy declares its arrays as buffers from Python 3.12 on only.
_Bytes: TypeAlias = Buffer | numpy.typing.NDArray[Any]
# A path, a binary file, or the bytes of a recording.
_Recording: TypeAlias = str | os.PathLike[str] | IO[bytes] | _Bytes
_Meter: TypeAlias = Literal["pressure", "disks", "networks", "cgroup"]
_Cell: TypeAlias = int | float | str | None
# Columns by the type of their values, so that type checkers know it. Others are Any.
_TextColumn: TypeAlias = Literal[
    "host",
    "boot_id",
    "source",
    "path",
    "user",
    "cgroup",
    "container",
    "pod",
    "unit",
    "cmdline",
    "ac_comm",
    "title",
]
_CountColumn: TypeAlias = Literal[
    "version",
    "ac_exitcode",
    "ac_flag",
    "ac_nice",
    "cpu_count",
    "cpu_delay_total",
    "blkio_count",
    "blkio_delay_total",
    "swapin_count",
    "swapin_delay_total",
    "cpu_run_real_total",
    "cpu_run_virtual_total",
    "ac_sched",
    "ac_uid",
    "ac_gid",
    "ac_pid",
    "ac_ppid",
    "ac_btime",
    "ac_etime",
    "ac_utime",
    "ac_stime",
    "ac_minflt",
    "ac_majflt",
    "coremem",
    "virtmem",
    "hiwater_rss",
    "hiwater_vm",
    "read_char",
    "write_char",
    "read_syscalls",
    "write_syscalls",
    "read_bytes",
    "write_bytes",
    "cancelled_write_bytes",
    "nvcsw",
    "nivcsw",
    "ac_utimescaled",
    "ac_stimescaled",
    "cpu_scaled_run_real_total",
    "freepages_count",
    "freepages_delay_total",
    "thrashing_count",
    "thrashing_delay_total",
    "ac_btime64",
    "compact_count",
    "compact_delay_total",
    "ac_tgid",
    "ac_tgetime",
    "ac_exe_dev",
    "ac_exe_inode",
    "wpcopy_count",
    "wpcopy_delay_total",
    "irq_count",
    "irq_delay_total",
    "cpu_delay_max",
    "cpu_delay_min",
    "blkio_delay_max",
    "blkio_delay_min",
    "swapin_delay_max",
    "swapin_delay_min",
    "freepages_delay_max",
    "freepages_delay_min",
    "thrashing_delay_max",
    "thrashing_delay_min",
    "compact_delay_max",
    "compact_delay_min",
    "wpcopy_delay_max",
    "wpcopy_delay_min",
    "irq_delay_max",
    "irq_delay_min",
    "ac_time_ns",
    "ac_start_ns",
    "ac_sttime",
    "ac_cutime",
    "ac_cstime",
    "ac_csttime",
    "ac_gtime",
    "ac_sum_exec_ns",
    "rss_kb",
    "vm_kb",
    "cgroup_id",
    "state",
    "cpu",
    "num_threads",
    "task_flags",
    "tg_utime",
    "tg_stime",
    "tg_sum_exec_ns",
    "task_id",
    "cpu_delay_max_ts",
    "blkio_delay_max_ts",
    "swapin_delay_max_ts",
    "freepages_delay_max_ts",
    "thrashing_delay_max_ts",
    "compact_delay_max_ts",
    "wpcopy_delay_max_ts",
    "irq_delay_max_ts",
    "time_ns",
    "monotonic_ns",
    "interval_ns",
    "user_ns",
    "system_ns",
    "steal_ns",
    "total_ns",
    "cuser_ns",
    "csystem_ns",
    "csteal_ns",
    "all_ns",
    "own_ns",
    "cpu_ns",
    "tasks",
]
_ShareColumn: TypeAlias = Literal[
    "user_pct",
    "system_pct",
    "steal_pct",
    "total_pct",
    "cuser_pct",
    "csystem_pct",
    "csteal_pct",
    "all_pct",
    "own_pct",
]
_Style: TypeAlias = Literal[
    "plain",
    "bold",
    "reverse",
    "dim",
    "heading",
    "sorted",
    "good",
    "warn",
    "bad",
    "new",
    "dead",
    "key",
    "word",
    "user",
    "system",
    "other",
]

class _Field(TypedDict):
    """One row of the field table."""

    name: str
    kind: Literal["id", "counter", "gauge", "flags", "text"]
    unit: str
    group: str
    extension: bool
    doc: str

class _Totals(TypedDict):
    """Counts over all living tasks."""

    tasks: int
    num_threads: int
    states: dict[str, int]

FIELDS: Final[tuple[_Field, ...]]
"""The field table: one dictionary a field, in the order of struct taskstats.

`name` is the kernel's; `kind` is id, counter, gauge, flags or text; `unit` is empty, count,
ns, us, s, bytes, KiB or MiB*us; `group` is what is read together; `extension` is whether the
field is this project's; `doc` is a sentence.
"""
VERSION: Final[str]
"""Version of the package."""

@final
class Task:
    """One record of a snapshot: one thread, or the sums of one process.

    Every field of `struct taskstats` (include/uapi/linux/taskstats.h) and of this project's
    extension (docs/proc-taskstats.md) is a property under the kernel's name. It is None where
    the record does not hold the field; `status` says why. 0 is a measured zero. Counters count
    from the task's start. The delay fields that need delay accounting read None while
    `sysctl kernel.task_delayacct` is 0.

    A Task keeps its snapshot's memory alive.
    """

    @property
    def version(self) -> int | None:
        """Layout version of the record; bit 15 says that the extension follows.

        TASKSTATS_VERSION in include/uapi/linux/taskstats.h.
        """
    @property
    def ac_exitcode(self) -> int | None:
        """Exit status in the encoding of wait(2); 0 while the task lives."""
    @property
    def ac_flag(self) -> int | None:
        """Accounting flags: AFORK 1, ASU 2, ACOMPAT 4, ACORE 8, AXSIG 0x10, AGROUP 0x20.

        See include/uapi/linux/acct.h. AGROUP marks the last task of its process (version 12).
        """
    @property
    def ac_nice(self) -> int | None:
        """Nice value, from -20 to 19. See nice(2)."""
    @property
    def cpu_count(self) -> int | None:
        """Number of waits for a CPU.

        From the scheduler's `sched_info.pcount`, which needs no delay accounting.
        """
    @property
    def cpu_delay_total(self) -> int | None:
        """Time that the task was runnable and waited for a CPU, in ns.

        From the scheduler's `sched_info.run_delay`, which needs no delay accounting.
        """
    @property
    def blkio_count(self) -> int | None:
        """Number of waits for block I/O. Needs delay accounting."""
    @property
    def blkio_delay_total(self) -> int | None:
        """Time that the task waited for block I/O, in ns. Needs delay accounting."""
    @property
    def swapin_count(self) -> int | None:
        """Number of waits for a page to be swapped in. Needs delay accounting."""
    @property
    def swapin_delay_total(self) -> int | None:
        """Time that the task waited for swap-in, in ns. Needs delay accounting."""
    @property
    def cpu_run_real_total(self) -> int | None:
        """User and system time by ticks, in ns, less steal time where the kernel subtracts it.

        See `delayacct_add_tsk()` in kernel/delayacct.c.
        """
    @property
    def cpu_run_virtual_total(self) -> int | None:
        """Exact CPU time, in ns: the scheduler's `se.sum_exec_runtime`.

        Netlink and exit records of a task that runs lack up to one tick.
        """
    @property
    def ac_comm(self) -> str | None:
        """Command name, at most 15 bytes; invalid UTF-8 becomes U+FFFD. See comm in proc(5)."""
    @property
    def ac_sched(self) -> int | None:
        """Scheduling policy, such as SCHED_OTHER 0. See sched(7)."""
    @property
    def ac_uid(self) -> int | None:
        """Real user id."""
    @property
    def ac_gid(self) -> int | None:
        """Real group id."""
    @property
    def ac_pid(self) -> int | None:
        """Thread id; in a process row, that of the leader, which is the process id."""
    @property
    def ac_ppid(self) -> int | None:
        """Process id of the parent."""
    @property
    def ac_btime(self) -> int | None:
        """Start in seconds since 1970, cut to 32 bits; `ac_btime64` is not cut."""
    @property
    def ac_etime(self) -> int | None:
        """Time since the task's start, in us."""
    @property
    def ac_utime(self) -> int | None:
        """User time, in us.

        By ticks, so not exact; from a kernel with this project's series exact, and split by
        ticks. Use `cpu_ns` for exact time. See `bacct_add_tsk()` in kernel/tsacct.c.
        """
    @property
    def ac_stime(self) -> int | None:
        """System time, in us; as exact as `ac_utime`."""
    @property
    def ac_minflt(self) -> int | None:
        """Number of page faults that needed no I/O. See getrusage(2)."""
    @property
    def ac_majflt(self) -> int | None:
        """Number of page faults that needed I/O. See getrusage(2)."""
    @property
    def coremem(self) -> int | None:
        """Resident memory, integrated over the task's CPU time, in MiB * us.

        See `xacct_add_tsk()` in kernel/tsacct.c.
        """
    @property
    def virtmem(self) -> int | None:
        """Virtual memory, integrated over the task's CPU time, in MiB * us.

        See `xacct_add_tsk()` in kernel/tsacct.c.
        """
    @property
    def hiwater_rss(self) -> int | None:
        """Peak resident memory, in KiB. VmHWM in proc_pid_status(5)."""
    @property
    def hiwater_vm(self) -> int | None:
        """Peak virtual memory, in KiB. VmPeak in proc_pid_status(5)."""
    @property
    def read_char(self) -> int | None:
        """Bytes that read(2) and similar calls returned. rchar in proc_pid_io(5).

        Netlink records round it down to 1 KiB.
        """
    @property
    def write_char(self) -> int | None:
        """Bytes passed to write(2) and similar calls. wchar in proc_pid_io(5).

        Netlink records round it down to 1 KiB.
        """
    @property
    def read_syscalls(self) -> int | None:
        """Number of read(2) and similar calls. syscr in proc_pid_io(5).

        Netlink records round it down to a multiple of 1024, a kernel bug.
        """
    @property
    def write_syscalls(self) -> int | None:
        """Number of write(2) and similar calls. syscw in proc_pid_io(5).

        Netlink records round it down to a multiple of 1024, a kernel bug.
        """
    @property
    def read_bytes(self) -> int | None:
        """Bytes fetched from storage. read_bytes in proc_pid_io(5).

        Netlink records round it down to 1 KiB.
        """
    @property
    def write_bytes(self) -> int | None:
        """Bytes sent to storage. write_bytes in proc_pid_io(5).

        Netlink records round it down to 1 KiB.
        """
    @property
    def cancelled_write_bytes(self) -> int | None:
        """Bytes of dirty page cache discarded before they were written.

        cancelled_write_bytes in proc_pid_io(5). Netlink records round it down to 1 KiB.
        """
    @property
    def nvcsw(self) -> int | None:
        """Number of voluntary context switches. See getrusage(2)."""
    @property
    def nivcsw(self) -> int | None:
        """Number of involuntary context switches. See getrusage(2)."""
    @property
    def ac_utimescaled(self) -> int | None:
        """User time scaled by the CPU's frequency, in us, on architectures that scale."""
    @property
    def ac_stimescaled(self) -> int | None:
        """System time scaled by the CPU's frequency, in us, on architectures that scale."""
    @property
    def cpu_scaled_run_real_total(self) -> int | None:
        """`cpu_run_real_total` scaled by the CPU's frequency, in ns."""
    @property
    def freepages_count(self) -> int | None:
        """Number of direct memory reclaims. Needs delay accounting."""
    @property
    def freepages_delay_total(self) -> int | None:
        """Time in direct memory reclaim, in ns. Needs delay accounting."""
    @property
    def thrashing_count(self) -> int | None:
        """Number of waits for a thrashing page. Needs delay accounting."""
    @property
    def thrashing_delay_total(self) -> int | None:
        """Time that the task waited for thrashing pages, in ns. Needs delay accounting."""
    @property
    def ac_btime64(self) -> int | None:
        """Start in seconds since 1970."""
    @property
    def compact_count(self) -> int | None:
        """Number of direct memory compactions. Needs delay accounting."""
    @property
    def compact_delay_total(self) -> int | None:
        """Time in direct memory compaction, in ns. Needs delay accounting."""
    @property
    def ac_tgid(self) -> int | None:
        """Process id (thread group id)."""
    @property
    def ac_tgetime(self) -> int | None:
        """Time since the process's start, in us."""
    @property
    def ac_exe_dev(self) -> int | None:
        """Device of the executable, in the kernel's encoding."""
    @property
    def ac_exe_inode(self) -> int | None:
        """Inode number of the executable."""
    @property
    def wpcopy_count(self) -> int | None:
        """Number of copies of a write-protected page. Needs delay accounting."""
    @property
    def wpcopy_delay_total(self) -> int | None:
        """Time copying write-protected pages, in ns. Needs delay accounting."""
    @property
    def irq_count(self) -> int | None:
        """Number of interrupts that took the task's CPU. Needs delay accounting."""
    @property
    def irq_delay_total(self) -> int | None:
        """Time that interrupts took from the task, in ns.

        Needs delay accounting and CONFIG_IRQ_TIME_ACCOUNTING.
        """
    @property
    def cpu_delay_max(self) -> int | None:
        """Longest wait for a CPU, in ns. Version 15; needs delay accounting."""
    @property
    def cpu_delay_min(self) -> int | None:
        """Shortest wait for a CPU, in ns. Version 15; needs delay accounting."""
    @property
    def blkio_delay_max(self) -> int | None:
        """Longest wait for block I/O, in ns. Version 15; needs delay accounting."""
    @property
    def blkio_delay_min(self) -> int | None:
        """Shortest wait for block I/O, in ns. Version 15; needs delay accounting."""
    @property
    def swapin_delay_max(self) -> int | None:
        """Longest wait for swap-in, in ns. Version 15; needs delay accounting."""
    @property
    def swapin_delay_min(self) -> int | None:
        """Shortest wait for swap-in, in ns. Version 15; needs delay accounting."""
    @property
    def freepages_delay_max(self) -> int | None:
        """Longest direct memory reclaim, in ns. Version 15; needs delay accounting."""
    @property
    def freepages_delay_min(self) -> int | None:
        """Shortest direct memory reclaim, in ns. Version 15; needs delay accounting."""
    @property
    def thrashing_delay_max(self) -> int | None:
        """Longest wait for a thrashing page, in ns. Version 15; needs delay accounting."""
    @property
    def thrashing_delay_min(self) -> int | None:
        """Shortest wait for a thrashing page, in ns. Version 15; needs delay accounting."""
    @property
    def compact_delay_max(self) -> int | None:
        """Longest direct memory compaction, in ns. Version 15; needs delay accounting."""
    @property
    def compact_delay_min(self) -> int | None:
        """Shortest direct memory compaction, in ns. Version 15; needs delay accounting."""
    @property
    def wpcopy_delay_max(self) -> int | None:
        """Longest write-protected page copy, in ns. Version 15; needs delay accounting."""
    @property
    def wpcopy_delay_min(self) -> int | None:
        """Shortest write-protected page copy, in ns. Version 15; needs delay accounting."""
    @property
    def irq_delay_max(self) -> int | None:
        """Longest interruption, in ns. Version 15; needs delay accounting."""
    @property
    def irq_delay_min(self) -> int | None:
        """Shortest interruption, in ns. Version 15; needs delay accounting."""
    @property
    def ac_time_ns(self) -> int | None:
        """Instant of this record on CLOCK_MONOTONIC, in ns."""
    @property
    def ac_start_ns(self) -> int | None:
        """Start on CLOCK_BOOTTIME, in ns; with the pid it identifies the task.

        Over netlink it is derived from `ac_etime`, and varies by milliseconds.
        """
    @property
    def ac_sttime(self) -> int | None:
        """Steal time, in us: time that the hypervisor took while the task ran.

        Only a kernel with this project's series has it.
        """
    @property
    def ac_cutime(self) -> int | None:
        """User time of dead children, with their dead children, in us.

        The children that were waited for; from a kernel with this project's series all of them.
        See `tg_utime` for counting it once a process.
        """
    @property
    def ac_cstime(self) -> int | None:
        """System time of dead children, in us; as `ac_cutime`."""
    @property
    def ac_csttime(self) -> int | None:
        """Steal time of dead children and of the process's dead threads, in us.

        Only a kernel with this project's series has it.
        """
    @property
    def ac_gtime(self) -> int | None:
        """Guest time, in us; it is part of the user time. guest_time in proc_pid_stat(5)."""
    @property
    def ac_sum_exec_ns(self) -> int | None:
        """Exact CPU time up to `ac_time_ns`, in ns, whether the task runs or not."""
    @property
    def rss_kb(self) -> int | None:
        """Resident memory at this instant, in KiB. VmRSS in proc_pid_status(5)."""
    @property
    def vm_kb(self) -> int | None:
        """Virtual memory at this instant, in KiB. VmSize in proc_pid_status(5)."""
    @property
    def cgroup_id(self) -> int | None:
        """Id of the cgroup (v2): the inode number of its directory. 0 without cgroups."""
    @property
    def state(self) -> int | None:
        """Task state bits, with `exit_state` in the high 16 bits; see `state_letter`.

        From `__state` and `exit_state` in include/linux/sched.h.
        """
    @property
    def cpu(self) -> int | None:
        """CPU on which the task last ran."""
    @property
    def num_threads(self) -> int | None:
        """Number of threads of the process."""
    @property
    def task_flags(self) -> int | None:
        """PF_* flags, such as PF_KTHREAD. See include/linux/sched.h."""
    @property
    def tg_utime(self) -> int | None:
        """User time of the process's dead threads, in us.

        The `tg_*` and `ac_c*time` fields belong to the process and are the same in the records of
        all its threads: count them once a process.
        """
    @property
    def tg_stime(self) -> int | None:
        """System time of the process's dead threads, in us; see `tg_utime`."""
    @property
    def tg_sum_exec_ns(self) -> int | None:
        """Exact CPU time of the process's dead threads, in ns; see `tg_utime`."""
    @property
    def task_id(self) -> int | None:
        """Number that identifies the task for its life; 0 is unknown. Any 64 bits."""
    @property
    def cpu_delay_max_ts(self) -> int | None:
        """When the longest wait for a CPU ended, in ns since 1970; 0 is never.

        Version 17; needs delay accounting.
        """
    @property
    def blkio_delay_max_ts(self) -> int | None:
        """When the longest wait for block I/O ended, in ns since 1970; 0 is never.

        Version 17; needs delay accounting.
        """
    @property
    def swapin_delay_max_ts(self) -> int | None:
        """When the longest wait for a swapped-out page ended, in ns since 1970; 0 is never.

        Version 17; needs delay accounting.
        """
    @property
    def freepages_delay_max_ts(self) -> int | None:
        """When the longest direct reclaim ended, in ns since 1970; 0 is never.

        Version 17; needs delay accounting.
        """
    @property
    def thrashing_delay_max_ts(self) -> int | None:
        """When the longest wait for a thrashing page ended, in ns since 1970; 0 is never.

        Version 17; needs delay accounting.
        """
    @property
    def compact_delay_max_ts(self) -> int | None:
        """When the longest direct compaction ended, in ns since 1970; 0 is never.

        Version 17; needs delay accounting.
        """
    @property
    def wpcopy_delay_max_ts(self) -> int | None:
        """When the longest copy of a write-protected page ended, in ns since 1970; 0 is never.

        Version 17; needs delay accounting.
        """
    @property
    def irq_delay_max_ts(self) -> int | None:
        """When the longest interruption ended, in ns since 1970; 0 is never.

        Version 17; needs delay accounting.
        """
    @property
    def cpu_ns(self) -> int | None:
        """Exact CPU time since the task's start, in ns.

        `ac_sum_exec_ns` where the record holds it, else `cpu_run_virtual_total`.
        """
    @property
    def start_time(self) -> float | None:
        """Start in seconds since 1970.

        From `ac_start_ns` where it is known, else the whole seconds of `ac_btime64` or `ac_btime`.
        """
    @property
    def exited(self) -> bool:
        """Whether the task died since the source's previous snapshot."""
    @property
    def name(self) -> str | None:
        """`ac_comm`, with invalid UTF-8 as U+FFFD."""
    @property
    def cmdline(self) -> list[str] | None:
        """Arguments of the process.

        A recorded task has those of its time. For others this reads /proc/PID/cmdline now. The list
        is empty for a kernel thread. None where the process is gone or hidden, or where the
        recording lacks its arguments.
        """
    def to_bytes(self) -> bytes:
        """Return the record's bytes, in the layout of the snapshot."""
    def to_dict(self) -> dict[str, int | str]:
        """Return all fields that the record holds, by name."""
    def status(self, name: str) -> _Status:
        """Return whether the record holds a field, or why not: see `Snapshot.status`.

        Raises ValueError for an unknown field name.
        """
    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class Snapshot:
    """All tasks of a machine at one time: an immutable sequence of records.

    A record is a process, or a thread where `threads` is true. The records of tasks that died
    since the source's previous snapshot come last (`exits`). The memory is read-only and is
    shared, not copied: `memoryview(snapshot)` and `numpy.asarray(snapshot)` see a
    one-dimensional array of `len(snapshot)` structures of `record_size` bytes. Arrow consumers
    take a snapshot through the PyCapsule interface. Snapshots can be pickled.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Task: ...
    def __iter__(self) -> Iterator[Task]: ...
    def __buffer__(self, flags: int, /) -> memoryview:
        """Export the records: read-only, one-dimensional, one structure a record.

        Raises BufferError for a writable buffer.
        """
    def __reduce__(self) -> tuple[Any, ...]: ...
    @property
    def exits(self) -> Snapshot:
        """The tasks that died since the source's previous snapshot, with their use of a whole life.

        A Snapshot of the last `exited` records, on the same memory.
        """
    def by_pid(self, pid: int) -> Task | None:
        """Return the task with this pid, or None."""
    @property
    def source(self) -> str:
        """Where the records come from: "proc", "bpf", "netlink", "procfs" or "bytes"."""
    @property
    def threads(self) -> bool:
        """Whether a record is a thread; otherwise it is a process."""
    @property
    def time_ns(self) -> int:
        """CLOCK_REALTIME before the first record was taken, in ns since 1970."""
    @property
    def time(self) -> datetime | None:
        """`time_ns` as a datetime in UTC; None where the records have no time."""
    @property
    def end_time_ns(self) -> int:
        """CLOCK_REALTIME after the last record was taken, in ns since 1970."""
    @property
    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC before the first record was taken, in ns.

        In a time namespace this and `boottime_ns` are the machine's clocks, not those of the
        namespace: starts and intervals of all sources are on these.
        """
    @property
    def boottime_ns(self) -> int:
        """CLOCK_BOOTTIME before the first record was taken, in ns: the machine's uptime."""
    @property
    def boot_id(self) -> str | None:
        """Id of the boot, 32 hex digits (/proc/sys/kernel/random/boot_id); None where unknown."""
    @property
    def host(self) -> str | None:
        """Host name; None where unknown."""
    @property
    def release(self) -> str | None:
        """Kernel release, as `uname -r` prints it; None where unknown."""
    @property
    def cpus_online(self) -> int:
        """Number of CPUs online; 0 where unknown."""
    @property
    def page_size(self) -> int:
        """Size of a page, in bytes; 0 where unknown."""
    @property
    def load(self) -> tuple[float, float, float] | None:
        """Load averages over 1, 5 and 15 minutes (/proc/loadavg); None where they were not read."""
    @property
    def memory(self) -> dict[str, int] | None:
        """Memory of the machine, in KiB; None where it was not read.

        Keys are `mem_total_kb`, `mem_free_kb`, `mem_available_kb`, `buffers_kb`, `cached_kb`,
        `swap_total_kb` and `swap_free_kb`. See proc_meminfo(5).
        """
    @property
    def all_read_ns(self) -> int:
        """CLOCK_MONOTONIC when the values of all tasks were read, in ns.

        `monotonic_ns`, or before it: in a recording of tasks that ran, values of others are older.
        They have not run since, so their CPU time is exact; memory, cgroup and priority may have
        changed.
        """
    @property
    def machine(self) -> Machine:
        """Pressure, disks, networks and limits, as far as they were read."""
    @property
    def delayacct(self) -> bool:
        """Whether delay accounting was on (`sysctl kernel.task_delayacct`)."""
    @property
    def truncated(self) -> bool:
        """Whether tasks are missing because memory ran out."""
    @property
    def merged(self) -> int:
        """Number of tasks that were read from /proc because the source does not show them."""
    @property
    def missed(self) -> int:
        """Number of tasks that exist and could not be read."""
    @property
    def exited(self) -> int | None:
        """Number of records, the last ones, of tasks that died since the previous snapshot.

        None where nobody counted them.
        """
    @property
    def unchanged(self) -> int:
        """Number of tasks without a record because they did not run since the previous snapshot.

        0 unless the source was opened with `changed`.
        """
    @property
    def exits_lost(self) -> int:
        """Number of exits that were lost since the source was opened; no record has their use."""
    @property
    def outside_ns(self) -> int:
        """CPU time of tasks outside the caller's pid namespace, in ns; they have no record."""
    @property
    def one_instant(self) -> bool:
        """Whether every `ac_sum_exec_ns` is as of one instant."""
    @property
    def hidden_outside(self) -> bool:
        """Whether the kernel hides tasks from BPF that are outside the caller's pid namespace.

        Nothing measures them: the balance gives them the CPU time that is left.
        """
    @property
    def sched_clock_ns(self) -> int | None:
        """The scheduler's clock at the snapshot's instant, in ns; None where unknown.

        CPU time is counted on this clock. NTP does not slew it, as it does CLOCK_MONOTONIC.
        """
    @property
    def cpu_clocks(self) -> list[dict[str, int]]:
        """Clocks of each CPU's run queue since boot, in ns; empty where the source has none.

        Keys of each CPU are `cpu` (its number), `clock_ns`, `clock_task_ns` (the clock without irq
        and steal time), `idle_ns` and `steal_ns`. See `struct rq` in kernel/sched/sched.h.
        """
    @property
    def own_cpu_ns(self) -> int:
        """CPU time that the process taking the snapshot had used by its end, in ns."""
    @property
    def hooks_ns(self) -> int:
        """CPU time that the BPF programs at switches and exits have used so far, in ns.

        It is spent in the time of the tasks that switch or exit. 0 where nothing is attached.
        """
    @property
    def syscalls(self) -> int:
        """Number of system calls that took the snapshot."""
    @property
    def version(self) -> int:
        """Layout version of the records' base: TASKSTATS_VERSION of the kernel that filled it."""
    @property
    def record_size(self) -> int:
        """Bytes from one record to the next."""
    @property
    def fields(self) -> list[str]:
        """Names of the fields that at least one record holds, in the order of `FIELDS`."""
    def status(self, name: str) -> _Status:
        """Return whether the snapshot holds a field, or why not.

        "filled" at least one record holds it; "off" delay accounting is off; "denied" reading it
        needs a privilege; "unsupported" the kernel or source lacks it; "not read" it was not
        requested. Raises ValueError for an unknown field name.
        """
    def valid(self, name: str) -> memoryview[bool]:
        """Return whether each record holds a field: `len(snapshot)` bools.

        Raises ValueError for an unknown field name.
        """
    def numpy(self) -> numpy.typing.NDArray[numpy.void]:
        """Return the records as a structured array, without a copy.

        The array is read-only and has shape `(len(snapshot),)` and a named column for each of
        `fields`. Where a column is not valid in every record, `valid` tells which are. Raises
        ImportError without NumPy.
        """
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export all fields as Arrow columns (PyCapsule interface), in one batch."""
    def _repr_html_(self) -> str:
        """Return the tasks that used most CPU time as an HTML table, for notebooks."""
    def to_bytes(self) -> bytes:
        """Return header and records as bytes, which `parse` reads: see docs/dump-format.md."""

class _Damage(TypedDict):
    """A run of bytes that cannot be read."""

    begin: int
    end: int
    reason: str
    snapshot: int | None

class _Lost(TypedDict):
    """A snapshot, names or a whole file that a reader left out."""

    path: os.PathLike[str]
    snapshot: int | None
    offset: int | None
    reason: str

@final
class Columns:
    """Rows of many snapshots or intervals, as columns in Arrow memory.

    `read`, `Dump.read`, `Interval.columns` and `columns` return it. `columns["ac_pid"]` is a
    read-only memoryview, which `numpy.asarray` takes without a copy; text columns are lists.
    Unknown values read as 0 and None; `valid` tells which they are. `pyarrow.table(columns)`,
    `polars.DataFrame(columns)`, `pandas.DataFrame.from_arrow(columns)` and DuckDB take all
    columns at once without a copy; text is dictionary-encoded there.

    The columns share their memory, so one that is kept keeps all of them. `len` is the number
    of rows.
    """

    def __len__(self) -> int:
        """Return the number of rows."""
    @overload
    def __getitem__(self, name: _TextColumn, /) -> list[str | None]: ...
    @overload
    def __getitem__(self, name: Literal["exited"], /) -> memoryview[bool]: ...
    @overload
    def __getitem__(self, name: _CountColumn, /) -> memoryview[int]: ...
    @overload
    def __getitem__(self, name: _ShareColumn, /) -> memoryview[float]: ...
    @overload
    def __getitem__(self, name: str, /) -> Any:
        """Return a column by its name.

        Numbers are a memoryview of `len(columns)` values in the field's own type, bool for flags,
        float64 for rates and shares. Text is a list of str and None. Raises KeyError for a column
        that was not read.
        """
    def __contains__(self, name: str, /) -> bool:
        """Return whether a column of this name was read."""
    @property
    def names(self) -> list[str]:
        """Names of the columns, in the order in which they were requested."""
    def words(self, name: str) -> list[str]:
        """Return the distinct values of a text column, in the order of their first row.

        Raises KeyError for a column that was not read, ValueError for a column of numbers.
        """
    def codes(self, name: str) -> memoryview[int]:
        """Return each row's index into `words(name)`, as a memoryview of int32.

        Raises KeyError for a column that was not read, ValueError for a column of numbers.
        """
    def valid(self, name: str) -> memoryview[bool]:
        """Return whether each row's value is known, as a memoryview of bool.

        Raises KeyError for a column that was not read.
        """
    @property
    def lost(self) -> list[_Lost]:
        """What could not be read and was left out (`errors="skip"`).

        One dictionary for each snapshot: `path`, `snapshot` (its index in that file), `offset` of
        the damage in bytes, and `reason`. `snapshot` is None where names are damaged, or bytes
        that may have been a snapshot; `offset` too where the file could not be opened.
        """
    def _repr_html_(self) -> str:
        """Return the first rows as an HTML table, for notebooks."""
    def __arrow_c_schema__(self) -> object:
        """Export names and types (Arrow PyCapsule interface)."""
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export all columns without a copy (Arrow PyCapsule interface).

        Times since 1970 are timestamps in UTC; `ac_btime`, of 32 bits, is copied.
        """

@final
class Dump:
    """The snapshots of a file, in the order in which they were taken.

    A sequence and a context manager; `open` returns it. Indexing returns a `Snapshot`, slicing
    a Dump of the same file. A snapshot is decoded when it is requested: a step forward decodes
    one frame, a jump all frames since the last full one. Access raises ParseError where a frame
    is damaged or promises more than the file can hold, OSError where the file was truncated after
    it was opened, and what a signal handler raises meanwhile.
    """

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> Snapshot: ...
    @overload
    def __getitem__(self, index: slice, /) -> Dump: ...
    def __iter__(self) -> Iterator[Snapshot]: ...
    @property
    def path(self) -> os.PathLike[str]:
        """Path of the file, as it was given to `open`."""
    @property
    def size(self) -> int:
        """Size of the file, in bytes."""
    @property
    def gaps(self) -> list[tuple[int, int]]:
        """Ranges of bytes, as `(begin, end)`, that belong to no whole snapshot.

        For example a snapshot whose recorder was killed. Only the damage that shows without reading
        any snapshot; `check` finds all.
        """
    @property
    def times_ns(self) -> list[int]:
        """Begin of each snapshot, in ns since 1970.

        Reads no snapshot. Builds a new list each time.
        """
    @property
    def rows(self) -> list[int]:
        """Number of records of each snapshot.

        Reads no snapshot. Builds a new list each time.
        """
    def find(self, time_ns: int | datetime) -> int | None:
        """Return the index of the last snapshot that began at or before `time_ns`.

        A time is in ns since 1970, or a datetime. None where all began later.
        """
    def at(self, time_ns: int | datetime) -> Snapshot:
        """Return the last snapshot that began at or before `time_ns`, however late that is.

        Raises LookupError where all began later, and what indexing raises.
        """
    def between(self, begin_ns: int | datetime, end_ns: int | datetime) -> Dump:
        """Return the snapshots that began at or after `begin_ns` and before `end_ns`.

        Times are in ns since 1970, or datetimes.
        """
    def user(self, uid: int) -> str | None:
        """Return the recorded machine's name of a user id, or None where it is not recorded."""
    def cgroup(self, cgroup_id: int) -> str | None:
        """Return the path of a cgroup on the recorded machine, or None where it is not recorded."""
    def read(
        self,
        columns: Sequence[str] | None = None,
        *,
        errors: Literal["raise", "skip"] = "raise",
    ) -> Columns:
        """Return the records of all snapshots as columns; arguments and errors as of `read`."""
    @property
    def metadata(self) -> dict[str, str]:
        """What the last recorder of the file said of itself, such as `version` and `label.NAME`.

        Empty where it said nothing.
        """
    def refresh(self) -> Dump:
        """Return the snapshots of the file as it is now, from the first of this Dump on.

        That is this Dump where the file has not grown, where another file has its name, and where
        there is no file. Raises what `open` raises.
        """
    def check(self) -> list[_Damage]:
        """Read every byte, and return the damage: one dictionary for each run of bytes.

        Keys are `begin` and `end` (offsets), `reason`, and `snapshot`, the index of the snapshot
        that is lost, or None. Raises OSError where the file was truncated after it was opened, and
        what a signal handler raises meanwhile.
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class History:
    """The last intervals of a source, kept in memory as differences.

    Intervals older than `minutes` are forgotten, and some of the oldest where all take more than
    `max_bytes`. Before that, tasks that were born and died in one interval become one row for each
    name and parent, with their sums; `exact_since` is the first interval without such rows. An
    interval keeps its number, from 0 up. Raises ValueError for a limit that is not positive.
    """

    def __new__(cls, *, minutes: float = 60.0, max_bytes: int = 67_108_864) -> Self: ...
    def begin(self, snapshot: Snapshot) -> None:
        """Begin with a snapshot of all tasks, to which the next interval connects.

        Raises ParseError for a snapshot with `changed` after the first.
        """

    def push(self, interval: Interval, source: Source | None = None) -> None:
        """Append an interval. `source` is the one that holds the tasks that did not run.

        An interval of the tasks that ran which connects to nothing that is here is left out.
        """

    def measure(self, columns: Sequence[str]) -> None:
        """Set the columns whose peaks are kept with the next intervals. Raises ValueError."""

    @property
    def first(self) -> int:
        """Number of the oldest interval."""

    @property
    def end(self) -> int:
        """Number of the newest interval plus one."""

    def __len__(self) -> int: ...
    @property
    def bytes(self) -> int:
        """Bytes that the intervals take."""

    @property
    def exact_since(self) -> int:
        """Number of the first interval from which on no tasks are merged."""
    @property
    def exact_s(self) -> float | None:
        """How old the oldest interval is from which on no tasks are merged, in seconds.

        None where no tasks are merged.
        """

    def interval(self, number: int) -> KeptInterval:
        """Return the interval of a number. Raises IndexError where it is not here any more."""

    def span(self, begin: int, end: int) -> Interval | None:
        """Return the interval from the end of one interval to the end of a later one.

        It has all tasks, also those that died in between. None where intervals in between are
        missing.
        """

    def times_ns(self, number: int) -> tuple[int, int]:
        """Return when an interval began and ended, in ns since 1970. Raises IndexError."""

    def suspended_ns(self, number: int) -> int:
        """Return for how many ns the machine was suspended in an interval. Raises IndexError."""

    def connects(self, number: int) -> bool:
        """Return whether an interval begins where the one before it ends."""

    def at(self, time_ns: int | datetime) -> int | None:
        """Return the number of the interval that holds a time, in ns since 1970.

        This is the one with the earliest end at or after it, else the newest. None where there
        is no interval.
        """

    def peaks(self, column: str, start: int, stop: int) -> list[tuple[float, float]]:
        """Return the highest cell and the sum of a column in each interval from `start` to `stop`.

        Only known for columns that were to be measured when the interval was pushed; NaN for
        others. Raises ValueError for an unknown column.
        """

@final
class KeptInterval:
    """An interval that a history kept.

    `Screen.lines` and `Interval.fold` take it as `resting`: it holds the tasks that did not run,
    with the values of that time.
    """

    @property
    def interval(self) -> Interval:
        """The interval as it was pushed."""

    def completed(self) -> Interval:
        """Return the interval with all tasks: those that did not run have their last values."""

    def completed_snapshot(self) -> Snapshot:
        """Return `completed().cur`, which takes half the time."""

@final
class RecordedIntervals:
    """The intervals of a dump, by the index of the snapshot that ends each of them."""

    def __new__(cls, dump: Dump, *, skip: bool = False) -> Self: ...
    def snapshot(self, index: int) -> Snapshot | None:
        """Return the snapshot at `index`, or None where it is damaged and `skip` is given.

        Raises IndexError where there is none, ParseError where it is damaged, OSError where the
        file was truncated.
        """

    def interval(self, index: int) -> Interval | None:
        """Return the interval that ends with the snapshot at `index`.

        None across a gap of the recording, and where a snapshot is damaged and `skip` is given.
        Raises IndexError where there is no such snapshot, ParseError where it is damaged, OSError
        where the file was truncated.
        """

    @property
    def lost(self) -> dict[int, str]:
        """Why a snapshot is damaged, by its index; only snapshots that were requested."""

@final
class ScanReader:
    """The batches of the rows of dumps, in order: an iterator of `Columns`.

    Each part is a dump, and the range of its snapshots to read. `rows` is "interval", "changed" or
    "record". `hosts` is asked once for each host. `condition` keeps rows of intervals.
    """

    def __new__(
        cls,
        parts: Sequence[tuple[Dump, int, int]],
        columns: Sequence[str],
        *,
        rows: str,
        begin_ns: int | None = None,
        end_ns: int | None = None,
        hosts: Callable[[str], bool] | None = None,
        condition: RowFilter | None = None,
        skip: bool = False,
    ) -> Self: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Columns: ...
    @property
    def lost(self) -> list[_Lost]:
        """What could not be read and was left out so far, as of `Columns.lost`."""

class _Sums(TypedDict):
    tasks: list[
        tuple[
            tuple[str | None, str | None, int | None, int | None, str, int | None, int | None],
            int,
            tuple[int | None, int | None, int | None, int | None],
        ]
    ]
    intervals: int
    interval_ns: int
    span_ns: tuple[int, int] | None
    lost: list[_Lost]

def sum_tasks(dump: Dump, start: int, stop: int) -> _Sums:
    """Return what each task used in the intervals of a range of a dump's snapshots.

    Intervals in which a task did not run do not count. `tasks` has for each the host, boot id, pid,
    start in ns, name, uid and cgroup id; its age in us; and CPU time in ns, delays in ns, bytes
    read and bytes written. `intervals` is their number, `interval_ns` their length together,
    `span_ns` begin and end, `lost` as of `Columns.lost`.
    """

@final
class Recorder:
    """Append snapshots to a dump; a context manager.

    A new file has the permissions `mode`; an existing dump is continued. `level` is zstd's (1 to
    22); None writes frames uncompressed, and a reader then maps full frames without a copy. Every
    `full_every`-th snapshot is written in full, the others as differences. `sync` is the longest
    time in seconds of data that a power loss may cost; None leaves that to the kernel. A file that
    reaches `rotate_bytes`, or whose first snapshot is `rotate_after` seconds old, is renamed to
    NAME-000001.EXT and so on. The last `keep` of these remain, those that have `keep_bytes`
    together with the open one, and those written to in the last `keep_for` seconds; such files are
    set aside at half of that. Only recordings of the same host and owner are removed. Where the
    file system has less than `min_free` bytes, `write` raises OSError and removes nothing. Command
    lines are cut at 4 KiB and then end with "…"; without `cmdlines` there are none. A snapshot of
    a recording keeps its names.

    `host` is recorded instead of the host's name, and `metadata` with the snapshots:
    `Dump.metadata` returns it.

    Raises OSError, ValueError for an argument out of range, and Unsupported for a file that is
    no dump or that another recorder has open; in a directory that others may write to, also for
    a link, and for a file that others own or may write.
    """

    def __new__(
        cls,
        path: str | os.PathLike[str],
        *,
        level: int | None = 3,
        full_every: int = 300,
        sync: float | None = 10.0,
        rotate_bytes: int | None = None,
        rotate_after: float | None = None,
        keep: int | None = None,
        keep_bytes: int | None = None,
        keep_for: float | None = None,
        min_free: int | None = None,
        mode: int = 0o600,
        cmdlines: bool = True,
        host: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Self: ...
    def write(self, snapshot: Snapshot, *, kept: KeptInterval | None = None) -> None:
        """Append a snapshot in one write, with the names that are new in it.

        Snapshots of a source opened with `changed` are read as whole ones; none may be left out.
        Raises ParseError where the one before is missing, OSError where the write
        fails (the file is then as before, or the message says that it could not be cut back), and
        ValueError after `close`. `kept` is the interval of a history that the snapshot is of: the
        limits and use of cgroups are as of that time then.
        """
    def sync(self) -> None:
        """Wait until everything written is on the disk (fdatasync(2)).

        Raises OSError, and ValueError after `close`.
        """
    @property
    def size(self) -> int:
        """Size of the current file, in bytes. Raises ValueError after `close`."""
    @property
    def dropped(self) -> int:
        """Number of unfinished bytes of an earlier recorder that were dropped.

        Raises ValueError after `close`.
        """
    @property
    def lacks(self) -> list[str]:
        """What the file system cannot do, in words: lock the file, or sync it.

        Raises ValueError after `close`.
        """
    def close(self) -> None:
        """Write the index and close the file. Closing again does nothing. Raises OSError."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class Interval:
    """What every task used between two snapshots: one row for each record of the later one.

    `usage` returns it. Rows have columns, which `select`, `columns` and `sum` take by name:

    * every field of `FIELDS`, as it was at the interval's end;
    * for each counter `<field>_delta` and `<field>_per_sec`, and for counters of time
      `<field>_pct` of the interval;
    * `user_ns`, `system_ns`, `steal_ns` and their sum `total_ns`, the CPU time in the interval,
      with `user_pct` and so on, where 100 is one CPU;
    * `cuser_ns`, `csystem_ns`, `csteal_ns` and `_pct`: the CPU time of children that died;
    * `all_ns`, `all_pct`: own time, and that of dead children where these have no rows;
    * `own_ns`, `own_pct`: the time of the task itself; `living_ns`, `dead_ns` and `_pct`, that of
      its descendants, are known in a `Fold` alone;
    * `cpu_ns` (see `Task`), `exited` (1 for a task that died in the interval), `tasks` (the
      number of tasks in the row), `title` (the name that the row is shown with).

    None is unknown: no rate is made of one sample, of a counter that went back, or across two
    tasks that share a pid. Arrow consumers take an interval through the PyCapsule interface.
    """

    def __len__(self) -> int: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
    @property
    def prev(self) -> Snapshot:
        """The earlier snapshot."""
    @property
    def cur(self) -> Snapshot:
        """The later snapshot; the rows are its records."""
    @property
    def exited(self) -> int | None:
        """Number of rows of tasks that died in the interval; None where nobody counted them."""
    @property
    def interval_ns(self) -> int:
        """Length of the interval, in ns."""
    @property
    def cpus(self) -> int:
        """Number of CPUs online at the interval's end."""
    def select(
        self,
        columns: Sequence[str],
        *,
        sort: str | None = None,
        descending: bool = True,
        offset: int = 0,
        limit: int | None = None,
        text: str | None = None,
        pids: Iterable[int] | None = None,
    ) -> list[tuple[Any, ...]]:
        """Return rows as tuples of `columns`.

        Sorting and filtering work on the records; only the returned rows become Python objects.
        `sort` is a column; unknown values sort last. `text` keeps rows whose title contains it
        (ASCII letters of either case) or whose pid it is. `pids` keeps rows with these pids.
        `offset` and `limit` cut the sorted rows. Raises ValueError for an unknown column.
        """
    def columns(self, columns: Sequence[str] | None = None) -> Columns:
        """Return all rows as columns.

        Besides the columns of `select` there are `interval_ns`, `time_ns` (the interval's end),
        `monotonic_ns`, `host`, `boot_id`, `source`, and `user`, `cgroup` (its path), `container`,
        `pod`, `unit` (names in it) and `cmdline` (quoted for a shell): as recorded, or this
        machine's current ones, which the dead lack.
        None selects time, host, CPU times and all known fields. Raises ValueError for an unknown
        column.
        """
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export `columns()` as Arrow columns (PyCapsule interface), in one batch."""
    def count(self, *, text: str | None = None, pids: Iterable[int] | None = None) -> int:
        """Return the number of rows that `text` and `pids` keep: see `select`."""
    def sum(self, columns: Sequence[str]) -> tuple[Any, ...]:
        """Return the sum of each column over the rows that know it; None where no row does.

        Raises ValueError for an unknown column.
        """
    def __iter__(self) -> Iterator[Row]: ...
    def by_pid(self, pid: int) -> Row | None:
        """Return the row of this pid, or None; of several the one of the living task."""
    def dead_children(self, pid: int) -> Table:
        """Return the rows of the processes that died in the interval and whose parent was `pid`."""
    def top(self, n: int | None = 10, *, by: str = "total") -> Table:
        """Return the first `n` rows in the order of a column, largest first; None for all.

        `by` is a column, or "total", "user", "system" for the CPU time in the interval. A counter
        is taken by its increase in the interval. Raises ValueError for an unknown column.
        """
    def group(self, by: str) -> Fold:
        """Return the rows grouped: as `fold`, of which it is the shorter form."""
    def _repr_html_(self) -> str:
        """Return the first rows as an HTML table, for notebooks."""
    def fold(self, by: str, *, resting: Source | KeptInterval | None = None) -> Fold:
        """Return the rows grouped `by` "parent", "session", "name", "user", "cgroup", "container",
        "pod" or "unit".

        Every row is in one group, so the groups' sums are the interval's. "parent" adds tasks that
        died to their nearest living ancestor. A container, pod or unit of systemd is a name in the
        path of a cgroup. A group of a user or cgroup has that name as
        `title`, the recorded one, or this machine's current one; the id where there is none, and
        "unknown" for tasks whose user or cgroup is unknown. `resting` is as of `Screen.lines`: its
        tasks that did not run are then among the rows. The same call returns the same groups again,
        if the name of each is known.
        Raises ValueError for another word, and for "session" of recorded snapshots, which do not
        record sessions.
        """
    def states(self) -> dict[str, int]:
        """Return the number of tasks in each state, by name.

        Tasks of unknown state are left out.
        """
    def cpu_pct(self) -> list[dict[str, float]]:
        """Return each CPU's number `cpu` and its shares of the interval, in per cent.

        The shares are `user`, `nice`, `system`, `idle`, `iowait`, `irq`, `softirq` and `steal`.
        Empty where the snapshots lack /proc/stat, which counts in ticks. Where `cpu_use` is known,
        the shares of tasks, idle, interrupts and steal are exact, and only their split is by
        ticks.
        """
    def books(self, *, without: set[int] | None = None) -> dict[str, int | None]:
        """Return where the CPUs' time went, in ns over all CPUs; all None where that is unknown.

        `available_ns` (CPUs x interval) = `tasks_ns` (user and system time of rows) + `rowless_ns`
        + `idle_ns` + `irq_ns` (hard and soft) + `steal_ns` + `residual_ns`. `rowless_ns` is the
        time of tasks outside the pid namespace, of lost exits, and, where dead tasks have no rows,
        of dead tasks. The residual is what nobody measured; the books close where it is within
        `bound_ns`. `edge_ns` is the part of the bound that does not grow with the number of
        intervals. `step_ns` is the resolution of the CPUs' times, `cpus` the number of CPUs online
        at both ends.

        `without` leaves these pids out, as if the source had missed them.
        """
    def cpu_use(self) -> list[dict[str, int]]:
        """Return each CPU's number `cpu` and its time by the run queue's clocks, in ns.

        Keys are `available_ns`, `busy_ns`, `idle_ns`, `irq_ns` and `steal_ns`. Empty where the
        source has no such clocks.
        """
    def status(self, name: str) -> _Status:
        """Return whether a column is known, or why not: see `Snapshot.status`.

        Raises ValueError for an unknown column.
        """

@final
class Row:
    """One row of an interval or of its groups.

    Every column of `Interval.select` is an attribute and a key, `row.total_ns`,
    `row["nvcsw_per_sec"]`, and so are `user`, `cgroup` and the names in it. None is unknown.
    """

    @property
    def pid(self) -> int | None:
        """Process or thread id; of a group the one that its tasks share."""
    @property
    def ppid(self) -> int | None:
        """Process id of the parent; of a group the one that its tasks share."""
    @property
    def uid(self) -> int | None:
        """Real user id; of a group the one that its tasks share."""
    @property
    def title(self) -> str | None:
        """Command name, or the name of the group."""
    @property
    def total_ns(self) -> int | None:
        """CPU time in the interval, in ns: user, system and steal time."""
    @property
    def user_ns(self) -> int | None:
        """User time in the interval, in ns."""
    @property
    def system_ns(self) -> int | None:
        """System time in the interval, in ns."""
    @property
    def total_pct(self) -> float | None:
        """CPU time in the interval, in per cent of it: 100 is one CPU."""
    @property
    def user_pct(self) -> float | None:
        """User time in per cent of the interval."""
    @property
    def system_pct(self) -> float | None:
        """System time in per cent of the interval."""
    @property
    def cpu_ns(self) -> int | None:
        """Exact CPU time since the start of the row's tasks, in ns."""
    @property
    def user(self) -> str | None:
        """Name of the user, recorded or this machine's; of a group the one that its tasks share."""
    @property
    def cgroup(self) -> str | None:
        """Path of the cgroup (v2), recorded or asked now; of a group the one of all its tasks."""
    @property
    def container(self) -> str | None:
        """Container, as its runtime lists it: 12 digits of the id, or a name. Empty for none."""
    @property
    def pod(self) -> str | None:
        """Uid of the Kubernetes pod, or 12 digits of the id of the podman pod. Empty for none."""
    @property
    def unit(self) -> str | None:
        """Unit of systemd. Empty for none."""
    @property
    def tasks(self) -> int | None:
        """Number of tasks in the row: 1, or the size of the group."""
    @property
    def exited(self) -> bool:
        """Whether the task died in the interval."""
    @property
    def task(self) -> Task | None:
        """The task at the interval's end, with its fields; None for a group."""
    def to_dict(self, columns: Sequence[str]) -> dict[str, Any]:
        """Return columns by name as a dictionary. Raises ValueError for an unknown column."""
    def __getattr__(self, name: str, /) -> Any: ...
    def __getitem__(self, name: str, /) -> Any: ...

@final
class Table:
    """Some rows of an interval or of its groups, sorted: a sequence of `Row`.

    `taskstats.top` and `Interval.top` return it. It prints as a table, also in notebooks. Arrow
    consumers take it through the PyCapsule interface.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Row: ...
    def __iter__(self) -> Iterator[Row]: ...
    @property
    def interval_ns(self) -> int:
        """Length of the interval, in ns."""
    def select(self, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return the rows as tuples of `columns`. Raises ValueError for an unknown column."""
    def columns(self, columns: Sequence[str] | None = None) -> Columns:
        """Return the rows as columns, as `Interval.columns` does."""
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export `columns()` as Arrow columns (PyCapsule interface), in one batch."""
    def _repr_html_(self) -> str:
        """Return the rows as an HTML table, for notebooks."""

@final
class Fold:
    """The rows of an interval in groups: each has the sums of its tasks.

    Counters, memory and numbers of threads are sums over the members, once a process where threads
    share them. Of the other fields, a process, parent or session shows its own task's (the living
    one with the smallest pid), and a name, user or cgroup those that all members share; else None.
    `Interval.fold` returns it; `len` is the number of groups.
    """

    def __len__(self) -> int: ...
    def select(
        self,
        columns: Sequence[str],
        *,
        sort: str | None = None,
        descending: bool = True,
        offset: int = 0,
        limit: int | None = None,
        text: str | None = None,
        pids: Iterable[int] | None = None,
    ) -> list[tuple[Any, ...]]:
        """Return groups as tuples of `columns`; arguments and errors as of `Interval.select`.

        `tasks` is the number of tasks in a group.
        """
    def __iter__(self) -> Iterator[Row]: ...
    def top(self, n: int | None = 10, *, by: str = "total") -> Table:
        """Return the first `n` groups in the order of a column, as `Interval.top` does."""
    def columns(self, columns: Sequence[str] | None = None) -> Columns:
        """Return all groups as columns.

        Names as of `Interval.columns`, except `user`, `cgroup` and its names, and `cmdline`;
        `title` is the group's name. Raises ValueError for an unknown column.
        """
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export `columns()` as Arrow columns (PyCapsule interface), in one batch."""
    def _repr_html_(self) -> str:
        """Return the first groups as an HTML table, for notebooks."""
    def count(self, *, text: str | None = None, pids: Iterable[int] | None = None) -> int:
        """Return the number of groups that `text` and `pids` keep."""
    def sum(self, columns: Sequence[str]) -> tuple[Any, ...]:
        """Return the sum of each column over all groups; as `Interval.sum`."""

@final
class Source:
    """An open source of snapshots; a context manager.

    `name` is "proc" (/proc/taskstats of a kernel with this project's series), "bpf", "netlink",
    "procfs", or "auto" for the first of these that works. A named source never falls back to
    another. `threads` takes a record for each thread instead of each process. `fields` are the
    names of the fields to read; None reads all.

    With `exact` snapshots include the tasks that died since the previous one (`Snapshot.exits`):
    the bpf source watches the scheduler's switches and exits from its opening on, so that all
    values are as of one instant, and idle time is exact to the ns. netlink and procfs listen to
    exit events where CAP_NET_ADMIN allows that. The proc source is always exact and needs no
    exits. `exact=False` watches nothing and starts no thread: `exited` is None then.

    An exact source keeps the exits for its next snapshot. One that nobody has read for two minutes
    while 131,072 exits wait, or for three hours, stops watching and forgets them; the next snapshot
    watches again, its `exited` is None, and `notice` says so.

    With `changed` every snapshot after the first holds only the tasks that ran since the previous
    one. `cpu_times` reads /proc/stat, `system` load and memory; None reads them where the source
    needs them to close the books or where they cost little. `meters` are
    of "pressure", "disks", "networks" and "cgroup", which `Snapshot.machine` has then.

    Raises AccessDenied, Unsupported or OSError where the source cannot be opened, and ValueError
    for an unknown name or field. Threads may share a source. A child made by fork(2) has to open
    its own.
    """

    def __new__(
        cls,
        name: str = "auto",
        *,
        threads: bool = False,
        fields: Sequence[str] | None = None,
        exact: bool = True,
        changed: bool = False,
        cpu_times: bool | None = None,
        system: bool | None = None,
        meters: Sequence[_Meter] | None = None,
    ) -> Self: ...
    @property
    def name(self) -> str:
        """Name of the source: "proc", "bpf", "netlink" or "procfs"."""
    @property
    def precision(self) -> str:
        """How exact its CPU times are, in words."""
    @property
    def notice(self) -> str:
        """What the snapshots lack here, in words: tasks of other pid namespaces, unreadable exits.

        Empty if nothing; known after the first snapshot.
        """
    def configure(
        self,
        *,
        threads: bool | None = None,
        fields: Sequence[str] | None = None,
        exact: bool | None = None,
        changed: bool | None = None,
        meters: Sequence[_Meter] | None = None,
    ) -> None:
        """Change what the next snapshot holds; None keeps a setting.

        Raises ValueError for an unknown field or meter.
        """
    def resting(
        self,
        columns: Sequence[str],
        *,
        sort: str | None = None,
        descending: bool = True,
        limit: int | None = None,
        text: str | None = None,
        pids: Iterable[int] | None = None,
    ) -> list[tuple[Any, ...]] | None:
        """Return rows of the tasks that did not run, after a snapshot with `changed`.

        Rows are tuples of `columns`: last values, ages as of the snapshot, and a use of zero.
        Arguments and errors as of `Interval.select`. None where the last snapshot holds all tasks.
        """
    def resting_count(self, *, text: str | None = None, pids: Iterable[int] | None = None) -> int:
        """Return the number of tasks that did not run and that `text` and `pids` keep.

        0 where the last snapshot holds all tasks.
        """
    def totals(self) -> _Totals | None:
        """Return counts over all living tasks, after a snapshot with `changed`.

        `tasks` and `num_threads` are their numbers, `states` the number in each state. None where
        the last snapshot holds all tasks.
        """
    def snapshot(self) -> Snapshot:
        """Take a snapshot of the whole machine. The GIL is released meanwhile.

        Raises ValueError after `close`, and AccessDenied, Unsupported or OSError where the kernel
        refuses.
        """
    def close(self) -> None:
        """Close the source. Closing again does nothing."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
        /,
    ) -> None: ...

@final
class SourceReport:
    """Whether a source, or delay accounting, works on this machine."""

    @property
    def name(self) -> str:
        """Name of the source, or "delayacct"."""
    @property
    def available(self) -> bool:
        """Whether it works here."""
    @property
    def state(self) -> Literal["found", "denied", "off", "unsupported", "failed"]:
        """One word for whether it works.

        "found" it works, "denied" a privilege is missing, "off" it is switched off, "unsupported"
        the kernel lacks it, "failed" another error.
        """
    @property
    def reason(self) -> str:
        """Why it works, or why not, in words."""
    @property
    def hint(self) -> str:
        """What to type to get it; empty where nothing helps or is needed."""
    @property
    def precision(self) -> str:
        """How exact its CPU times are, in words; empty where it does not work."""

@final
class Tree:
    """Follow the processes that this process starts from now on, and all that they start; with
    `pid` that running process and all that descends from it.

    The bpf source marks each at its fork, so orphans and unwaited children count. Raises
    AccessDenied or Unsupported where BPF does not work, and NoSuchTask where no process has that
    number. `taskstats.track` is the public interface.
    """

    def __new__(cls, pid: int | None = None) -> Self: ...
    def finish(self) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
        """Stop following, and return `(sums, commands)`.

        Living processes count up to now.

        `sums` are numbers by name, in ns, bytes or KiB by the name's suffix; `missed` tasks are in
        none of them. `commands` maps a command name to its number of processes and their CPU time
        in ns; `unnamed` tasks are in none. Raises ValueError the second time.
        """

@final
class Exits:
    """Tasks as they die: an endless iterator, also for `async for`, and a context manager.

    `source` is "bpf", "netlink", or "auto" for the first of these that works. Each item is a
    `Task` with its final record, one for each thread. From bpf the record is complete to the last
    switch. From netlink its CPU time lacks up to one tick.

    Read often enough: 16,384 exits wait with bpf, some thousand a CPU with netlink; `lost` counts
    those that did not fit. Threads may share it; `close` in one ends the waits of the others. A
    child made by fork(2) has to open its own.

    Raises AccessDenied without CAP_BPF and CAP_PERFMON (bpf) or CAP_NET_ADMIN (netlink), and
    Unsupported where the kernel lacks it, or for netlink in a user or pid namespace; there bpf
    reports the tasks of the namespace. Raises ValueError for another name.
    """

    def __new__(cls, source: str = "auto") -> Self: ...
    @property
    def source(self) -> str:
        """Where the exits come from: "bpf" or "netlink"."""
    def fileno(self) -> int:
        """Return a descriptor that is readable while exits wait, for select, poll and asyncio.

        Raises ValueError after `close`.
        """
    @property
    def lost(self) -> int:
        """Number of exits lost so far. Raises ValueError after `close`.

        With netlink a loss shows at the next exit on the same CPU.
        """
    def read(self) -> list[Task]:
        """Return all exits that wait, without waiting for more.

        Raises OSError, and ValueError after `close`.
        """
    def __iter__(self) -> Self: ...
    def __next__(self) -> Task:
        """Wait for the next exit, and return it. Raises ValueError after `close`."""
    def __aiter__(self) -> AsyncIterator[Task]: ...
    def close(self) -> None:
        """Stop listening. Closing again does nothing."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
        /,
    ) -> None: ...

def open(
    path: _Recording,
    *,
    mmap: bool = True,
    record_size: int | None = None,
    descriptor: int | None = None,
) -> Dump:
    """Open a recording: a file of snapshots, or the bytes of one.

    `path` is a path, a binary file, or bytes. It is a dump (`ptop record`, `Recorder`), a bare
    array of struct taskstats of any version and byte order (such as a copy of /proc/taskstats), or
    snapshots' bytes (`Snapshot.to_bytes`). `record_size` overrides the bytes from one record of a
    bare array to the next.

    With `mmap` the file is mapped, and records of uncompressed frames are views of the map. Where
    another process truncates the file, later reads raise OSError. This needs the package's SIGBUS
    handler: a handler installed after the last `open` (as by `faulthandler.enable()`) gets the
    signal instead and ends the process. Install it before, or pass `mmap=False` to read the file
    without a map. A file with holes of 1 MiB or more has to be mapped.

    `descriptor` is the file if it is open already; `path` is then its name in messages. It is
    duplicated, so close yours.

    Raises OSError, ParseError with `.offset`, and Unsupported for what is no regular file,
    or has such holes and cannot be mapped.
    """

def read(
    paths: Sequence[_Recording | Dump],
    columns: Sequence[str] | None = None,
    *,
    begin_ns: int | datetime | None = None,
    end_ns: int | datetime | None = None,
    errors: Literal["raise", "skip"] = "raise",
    mmap: bool = True,
    record_size: int | None = None,
) -> Columns:
    """Return the records of all snapshots of one or more recordings as columns.

    `paths` are paths, binary files, bytes of recordings, and Dumps. All CPUs read in
    parallel, without the GIL, and all rows are in memory then. `columns` are names of `FIELDS`, and
    `time_ns` and `monotonic_ns` (the snapshot's begin), `exited`, `host`, `boot_id`, `source`,
    `path`, `user`, `cgroup` and `cmdline`; None reads all fields that the files hold, with time,
    host, boot id and `exited`. Only snapshots that began at or after `begin_ns` and before `end_ns`
    (ns since 1970) are read; a datetime does as well. `mmap` and `record_size` are as in `open`.

    Raises OSError, ValueError for an unknown column, and ParseError for what is damaged or no
    recording. With `errors="skip"` all that cannot be read is left out, listed in `Columns.lost`,
    and reported by a `DamageWarning`; damaged names are None.
    """

def column_types(names: Sequence[str], rows: str) -> list[str]:
    """Return the types of these columns of recordings' rows, as of `recorded_columns`.

    Raises ValueError, with the names that there are, for a column that rows of that kind do not
    have.
    """

def recorded_columns() -> dict[
    str, Literal["bool", "u8", "i8", "u16", "u32", "u64", "f64", "text"]
]:
    """Return the columns of a recording's intervals with their types, in the order of an export.

    A type is "bool", "u8", "i8", "u16", "u32", "u64", "f64" or "text".
    """

def columns(intervals: Sequence[Interval], columns: Sequence[str] | None = None) -> Columns:
    """Return the rows of several intervals, end to end in one batch, as columns.

    Names and errors as of `Interval.columns`. Runs without the GIL.
    """

def parse(data: _Bytes, *, record_size: int | None = None) -> Snapshot:
    """Return a snapshot on the memory of `data`, without a copy.

    `data` holds a snapshot's bytes (`Snapshot.to_bytes`) or a bare array of struct taskstats of
    any version, such as a copy of /proc/taskstats or joined netlink payloads. `record_size`
    overrides the bytes from one record of a bare array to the next. Raises ParseError with
    `.offset` where `data` is neither, and BufferError where its memory is not contiguous.
    """

def parse_netlink(datagram: _Bytes) -> list[tuple[Literal["pid", "tgid"], int, Task]]:
    """Return the records of a captured generic netlink datagram, as `(kind, id, task)`.

    The id is the attribute's, since a tgid record has no ids of its own. An error message in the
    datagram raises its errno: NoSuchTask, AccessDenied, Unsupported or OSError. Raises ParseError
    with `.offset` where the datagram is damaged. See genetlink's TASKSTATS family,
    Documentation/accounting/taskstats.rst.
    """

def usage(
    prev: Snapshot | Interval, cur: Snapshot, *, exits: Sequence[Snapshot] | None = None
) -> Interval:
    """Return what every task used from `prev` to `cur`.

    `prev` is a snapshot, or the interval that ended where this one begins; an interval continues
    the split of user and system time, so that neither ever shrinks. `cur` holds the tasks that
    died since its source's previous snapshot; where snapshots were left out in between, pass them
    as `exits`. A task counts once however often it occurs.

    Raises ParseError where the records' layouts differ. Raises ValueError where the snapshots are
    of different machines or boots, where `cur` is earlier than `prev`, where only one has threads
    as rows, and where `cur` holds only the tasks that ran since another snapshot than `prev`.
    """

def user_name(uid: int) -> str | None:
    """Return the name of a user of this machine, from wherever it keeps its users
    (nsswitch.conf(5)).

    None where there is no such user. Threads ask in the background: None as well where they
    have no answer within 0.2 s; call again later.
    """

def psutil_rows(
    tasks: Snapshot | Task, names: Sequence[str], types: ModuleType, unknown: object
) -> tuple[Iterator[Task], list[dict[str, Any]]]:
    """Return living tasks, by pid, and the attributes of each by psutil's names.

    `types` is the module of the named tuples. `unknown` stands for what a record does not hold.
    Raises ValueError for another attribute.
    """

def state_letter(state: int) -> str:
    """Return the letter of proc_pid_stat(5) for a value of `Task.state`, such as "R" or "S"."""

def kept_snapshot(
    name: str = "auto", *, threads: bool = False, fields: Sequence[str] | None = None
) -> Snapshot:
    """Take a snapshot with the source that this process keeps: see `taskstats.snapshot`."""

def task(pid: int, fields: Sequence[str] | None = None) -> Task:
    """Return one process, with its use of CPU time up to now.

    Reads its files in /proc, at a cost of some ten microseconds. `fields` are the names of the
    fields to read; None reads all that /proc has. Raises NoSuchTask, AccessDenied where /proc
    hides the process, and ValueError for an unknown field.
    """

def get(pid: int) -> Task:
    """Return the record of one thread, over netlink.

    Raises NoSuchTask, and AccessDenied without CAP_NET_ADMIN.
    """

def get_tgid(tgid: int) -> Task:
    """Return the sums of one process, over netlink.

    CPU time, delays and context switches of all its threads; other fields are None. Raises
    NoSuchTask, and AccessDenied without CAP_NET_ADMIN.
    """

def sources() -> list[SourceReport]:
    """Return a report on every source, in the order in which "auto" tries them."""

def delayacct() -> SourceReport:
    """Return a report on delay accounting (`sysctl kernel.task_delayacct`)."""

def drop_privileges(source_name: str | None) -> None:
    """Keep only the privileges that the open source `source_name` needs for each call.

    None stands for no source: all privileges are dropped.

    Becomes the user who called sudo (SUDO_UID, SUDO_GID), sets no_new_privs (prctl(2)) and
    empties the capability sets: bpf keeps CAP_BPF, netlink CAP_NET_ADMIN. Call it in a process
    with one thread, before the first snapshot. Raises Unsupported where the package's background
    thread runs already, OSError, and ValueError for another name.
    """

def share_heap() -> None:
    """Let all threads of this process share one heap (M_ARENA_MAX, mallopt(3)).

    For a process that should be small again after a burst of tasks: glibc keeps the memory that
    the package's background thread has freed. Call it before the first source is opened.
    """

def adopt_orphans(adopt: bool) -> None:
    """Make this process the parent of its orphaned descendants, or stop doing so.

    Sets PR_SET_CHILD_SUBREAPER (prctl(2)), so that the process can wait for them. Raises OSError.
    """

def cgroup_mount() -> Path | None:
    """Return where cgroup v2 is mounted; None where it is not mounted.

    Source: /proc/self/mountinfo (proc(5)).
    """

def cgroup_files(
    path: str, names: Sequence[str], mount: str | os.PathLike[str] | None = None
) -> dict[str, str]:
    """Return the text of the files of a cgroup (v2), by their names, without those that it lacks or
    that may not be read.

    `path` is as /proc/PID/cgroup has it, `mount` where cgroup v2 is mounted, if not where
    `cgroup_mount` returns it. Empty where it is not mounted, and for a path outside of the cgroup
    namespace.
    """

def cgroups_not_on_v2() -> list[str]:
    """Return the controllers among cpu, memory and io that are not on cgroup v2 here, as they are
    on v1; all three where v2 is not mounted.
    """

def recorded_cgroup(
    interval: Interval, path: str, kept: KeptInterval | None = None
) -> dict[str, int | float | str | None] | None:
    """Return the limits and use of a cgroup that were recorded last before the end of an interval,
    by the names of columns; None where the recording has none, or not of that cgroup.

    `kept` holds those of an interval of a history. A limit is "max" where there is none. Increases,
    rates and shares are those since the reading before, `elapsed_ns` ago, and None if there is
    none.
    """

def same_start(one_ns: int | None, other_ns: int | None) -> bool:
    """Return whether two starts of one pid in a recording, in ns of CLOCK_BOOTTIME, are one task's.

    Derived starts of one task differ by milliseconds. An unknown start is no difference.
    """

@final
class RowFilter:
    """A condition on rows, as a user types it.

    Terms beside each other must all hold, of terms around `|` one; `!` negates a term. A word,
    "words in quotes", /a regex/ or ~regex is found in name and command line; a number is a pid as
    well. `column>10M` compares a number (= != > < >= <=), with a unit or without. `name`,
    `command`, `user` and `cgroup` are texts: = compares the whole, : finds a part, ~ a regex;
    `state=R,D` has letters. ASCII letters of either case are equal. `columns` are names for
    columns of `Interval.select`, which have their own names too. Raises ValueError with a message
    for the user.
    """

    def __new__(cls, text: str, columns: Mapping[str, str] | None = None) -> Self: ...
    @property
    def columns(self) -> list[str]:
        """The columns of `Interval.select` that it compares."""
    @property
    def fields(self) -> list[str]:
        """The kernel fields that it needs."""

@final
class TaskNow:
    """The task that has a pid now, as /proc shows it; `task_now` returns it."""

    @property
    def tgid(self) -> int:
        """Its process id."""
    @property
    def name(self) -> str:
        """Its command name."""
    @property
    def start_ticks(self) -> int:
        """Its start in clock ticks since boot: field 22 of proc_pid_stat(5). With the pid it names
        one task.
        """
    @property
    def is_dead(self) -> bool:
        """Whether it has died."""

def task_now(pid: int) -> TaskNow:
    """Return the task that has this pid now, in the pid namespace of this process.

    Raises NoSuchTask, and Unsupported where /proc shows another pid namespace.
    """

def tgkill(tgid: int, tid: int, signal: int) -> None:
    """Send a signal to one thread of a process (tgkill(2)).

    The kernel compares no start: check it right before. Raises OSError.
    """

def ioprio(tid: int) -> int:
    """Return the I/O priority of a task: its class times 2**13, and its level (ioprio_get(2)).

    Raises OSError.
    """

def set_ioprio(tid: int, priority: int) -> None:
    """Set the I/O priority of a task (ioprio_set(2)).

    Raises OSError.
    """

class _Column(Protocol):
    """What `Screen` needs to know of a column."""

    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def heading(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def right(self) -> bool: ...
    @property
    def source(self) -> str: ...
    @property
    def form(self) -> str: ...
    @property
    def summed(self) -> bool: ...
    @property
    def rank(self) -> int: ...
    @property
    def limits(self) -> tuple[float, float] | None: ...

class _Settings(TypedDict, total=False):
    """What a `Screen` shows."""

    sort: Required[str]
    descending: bool
    text: str | None
    where: RowFilter | None
    pids: Iterable[int] | None
    user_id: int | None
    user_name: str
    no_kernel_threads: bool
    no_dead: bool
    limit: int | None
    top: int
    fold: str
    tree: str
    level: int | None
    toggled: Iterable[RowKey]
    selected: int | None
    selected_key: RowKey | None
    follow: bool
    tagged: Sequence[RowKey]
    scroll: int
    paused: bool
    badge: str
    ascii: bool
    hidden: Sequence[str]
    disks: Sequence[str]
    networks: Sequence[str]
    tabs: Sequence[str]
    tab: int | None
    key_bar: Sequence[tuple[str, str]]
    prompt: str | None
    notice: str

@final
class RowKey:
    """The identity of a row: a task, or the title of a group.

    `Lines.key` returns it, and `Screen` takes it as `selected_key`. Keys of one task are equal.
    """

    @property
    def pid(self) -> int | None:
        """The task's id, that of a thread where rows are threads; None for a titled group."""
    @property
    def title(self) -> str | None:
        """The title of a group; None for a task."""
    def is_now(self, interval: Interval, now: TaskNow) -> bool:
        """Return whether it is the task that has its pid now; `interval` is that of the row.

        Starts are compared: to the tick, or to a second where the source derives them.
        """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Screen:
    """The table of tasks as text, for one interval after another.

    Each of `columns` has a `title`, a `unit` and a `heading` of the live view, a `width` in
    terminal cells, `right` for right alignment, a `source` (a column of `Interval.select`), a
    `form` of its values (percent, integer, kibibytes, rate, bytes_rate, elapsed_us, elapsed_ns,
    state, name, user, command, raw), and `summed`. On a narrow screen columns of the highest
    `rank` go first. `limits` are None or the values from which the column warns and alarms.
    `user` returns the name of a user id; it is called once for each, and again where it returned
    None, which shows the id. `offset_s` returns the seconds that local time is ahead of UTC at a
    time in seconds since 1970; it is called every quarter of an hour.

    The other arguments choose what is shown; `configure` changes them. `sort`, `descending`,
    `text`, `pids` and `limit` are as of `Interval.select`; `top` rows are scrolled off above.
    `where` is a condition on rows. `user_id` keeps the tasks of a user, whose name is `user_name`;
    `no_kernel_threads` leaves out pid 2 and its children, and `no_dead` tasks that died.
    With `tree` the rows of an interval are shown under what started them ("task") or as the tree
    of their cgroups ("cgroup"), or the dead under their names ("dead"), each with the sums of all
    below it; from `level` on they are
    collapsed, except for the `toggled` rows.
    `fold` is the word that rows are grouped by. The row of `selected_key` is in reverse, wherever
    it stands, else the row number `selected`; with `follow` the list scrolls to it. The line of a
    selected task that is gone stays where it was. `tagged` rows have a mark. `scroll` cells of the
    command lines are skipped. `paused` shows at the top, and the word `badge`. `key_bar` are
    keys and their words for the last line, which `prompt` replaces, else `notice` where it is not
    empty. With `ascii` all text is ASCII. `hidden` are meters that are left out (cpus, memory,
    swap, waits, pressure, disks, networks, sparks), `disks` and `networks` the names of those that
    count, all without any. `tabs` are the names of views for a line above the table, on screens of
    20 lines and more, and `tab` is the number of the one that is shown.

    Raises ValueError for an unknown column or form, and TypeError for an unknown argument.
    """

    def __new__(
        cls,
        columns: Sequence[_Column],
        *,
        user: Callable[[int], str | None],
        offset_s: Callable[[int], int],
        **chosen: Unpack[_Settings],
    ) -> Self: ...
    def configure(self, columns: Sequence[_Column], **chosen: Unpack[_Settings]) -> None:
        """Change what is shown: columns, and all settings. Those left out get their default.

        The screen keeps names, command lines and the line of a selected task. Errors as of the
        constructor.
        """
    def lines(
        self,
        rows: Interval | Fold,
        resting: Source | KeptInterval | None,
        size: tuple[int, int],
        *,
        lacks: str = "",
        replay: str = "",
        age_s: float | None = None,
        exact_s: float | None = None,
        before: Callable[[], Iterable[Interval] | None] | None = None,
    ) -> Lines:
        """Return the whole screen of `size` (columns, lines) for an interval or its groups.

        `resting` is a source whose last snapshot holds only tasks that ran, or a kept interval: its
        other tasks are then among the rows. `lacks` is why CPU time may be missing, in words, and
        `replay` the date and position of a recorded frame. `age_s` is the age of an interval
        before the newest, `exact_s` that of the oldest one that was kept without loss, in seconds.
        `before` is called where this interval is not that after the last one: it returns the
        intervals of the last minute before it, the oldest first, or None if there are none. These
        are read by the next screens of the same interval, a few ms each, as long as `searching` is
        true. Raises what `user`, `offset_s` and `before` raise, and TypeError where they return
        another type.
        """
    @property
    def trees(self) -> int:
        """Number of trees that were laid out: one for each interval that was shown as a tree,
        however often it was drawn.
        """
    def left_out(self, snapshot: Snapshot, width: int) -> list[int]:
        """Return the numbers of the columns that a screen of `width` cells has no room for.

        A column that the source of `snapshot` cannot fill is none of them, as it needs no room.
        """
    def find(
        self,
        rows: Interval | Fold,
        resting: Source | KeptInterval | None,
        text: str,
        start: int,
        *,
        backwards: bool = False,
    ) -> int | None:
        """Return the number of the next row, from row `start` on, that meets the condition `text`
        (see `RowFilter`) or contains it; `backwards` goes up. The list goes on at its other end.
        None if there is none.
        """
    def table(self, rows: Interval | Fold) -> list[str]:
        """Return titles, units, the selected rows and the sums of all rows, one string a line.

        Raises what `user` raises, and TypeError where it returns another type.
        """
    def plain(self, rows: Interval | Fold) -> list[str]:
        """Return the selected rows as sentences, for those who listen to them: each value with the
        title of its column. What is unknown is left out.

        Raises what `user` raises, and TypeError where it returns another type.
        """
    def values(
        self,
        rows: Interval | Fold,
        columns: list[str],
        *,
        resting: Source | KeptInterval | None = None,
    ) -> list[tuple[_Cell, ...]]:
        """Return the selected rows as tuples of `columns`, as `Interval.select` does.

        More columns are `cmdline`, the command line quoted for a shell: empty for a kernel
        thread, None where it is unknown and for a group that has a title; and `cgroup`, its path,
        and `container`, `pod` and `unit`, the names in it: empty where it has none, None where the
        path is unknown; and in a tree `depth` and `parent`, the number of the parent's row.
        `resting` is as of `lines`; no rows are scrolled off. Raises ValueError for an unknown
        column.
        """

@final
class Lines:
    """The lines of a screen.

    `Screen.lines` returns it. `Lines(texts, size)` makes it of other text: each line is cut or
    padded to the width of `size` (columns, lines). Raises ValueError for an unknown style.
    """

    def __new__(cls, texts: Sequence[tuple[str, _Style]], size: tuple[int, int]) -> Self: ...
    @property
    def texts(self) -> list[tuple[str, _Style]]:
        """Each line from the top, as text and the style of what is in no part of its own."""
    @property
    def parts(self) -> list[list[tuple[str, _Style]]]:
        """Each line from the top, as parts of text with their styles."""
    @property
    def room(self) -> int:
        """Number of task rows that fit; 0 for lines made of text."""
    @property
    def rows(self) -> int:
        """Number of task rows, shown or scrolled off; 0 for lines made of text."""
    @property
    def headings_line(self) -> int:
        """The line of the headings, counted from 0; the rows follow it."""
    def tab(self, line: int, cell: int) -> int | None:
        """Return the number of the tab at a cell of a line, counted from 0; None where there is
        none.
        """
    def moment_ns(self, line: int, cell: int) -> int | None:
        """Return the end, in ns since 1970, of the interval that a cell of a line stands for, where
        it shows what the CPUs used before; else None."""
    def heading(self, cell: int) -> str | None:
        """Return the heading of the column at a cell of a line; None for lines made of text."""
    @property
    def searching(self) -> bool:
        """Whether the filter has not read all texts that it goes by, or the sparklines not all
        intervals before: the next screen has more of them.
        """
    @property
    def top(self) -> int:
        """Number of rows that are scrolled off above."""
    @property
    def selected_row(self) -> int | None:
        """Where the selected row is on the list; None where nothing is selected or the filter
        leaves it out. That of a task that is gone is that of the row which took its place."""
    @property
    def selected_key(self) -> RowKey | None:
        """The key of the selected row; it may be scrolled off or gone. None for none."""
    @property
    def died(self) -> bool:
        """Whether the selected task has died or its group has gone."""
    def above(self, below: Lines) -> Lines:
        """Return these lines with `below` under them, for a screen of both heights. Rows, selection
        and the others are those of the upper part."""
    def key(self, row: int) -> RowKey | None:
        """Return the key of a row of the list; None for a row that is not on the screen."""

@final
class Canvas:
    """What a terminal shows, so that only lines that change are written.

    `clear` clears the terminal, and `lines` move the cursor to the begin of each line. `styles`
    are the escape sequences that begin text of a style, by its name, and `normal` ends it; a style
    without one is normal text. Raises ValueError for an unknown style.
    """

    def __new__(
        cls,
        *,
        clear: str,
        lines: Sequence[str],
        styles: Mapping[str, str] = ...,
        normal: str = "",
    ) -> Self: ...
    def draw(self, lines: Lines) -> str:
        """Return what to write to the terminal so that it shows these lines."""

@final
class Frames:
    """Shows the intervals of a source on a terminal, one after the other.

    `history`, if there is one, keeps the intervals. `run` ends when one of the descriptors
    `inputs` is readable; `output` is the terminal's. `advice` is what the view says with the
    procfs source, in words. Raises OSError for a closed descriptor.
    """

    def __new__(
        cls,
        source: Source,
        history: History | None = None,
        *,
        inputs: Sequence[int],
        output: int,
        advice: str = ...,
    ) -> Self: ...
    def begin(self, interval: Interval) -> None:
        """Begin where an interval ends. The caller should not hold it, nor its snapshots."""
    def run(
        self,
        screen: Screen,
        canvas: Canvas,
        size: tuple[int, int],
        around: tuple[str, str],
        *,
        last_ns: int,
        delay_ns: int,
        limit: int | None = None,
    ) -> tuple[int, int]:
        """Show intervals every `delay_ns` ns until an input is readable. The last one was shown
        at `last_ns` of CLOCK_MONOTONIC.

        `size` (columns, lines) is that of the terminal, `around` what is written before and after
        the lines that changed. Ends after `limit` intervals, and where `screen` has to be
        configured for the next one. Returns the number of intervals, and when the last one was
        due. Raises OSError where the terminal is gone, ValueError without `begin`, and what
        `Source.snapshot` and `Screen.lines` raise.
        """
    def end(self) -> tuple[Interval, Lines | None]:
        """Return the newest interval, and its lines if `run` has shown it. They are held no more.

        Raises ValueError without `begin`.
        """

def safe(text: str) -> str:
    """Return `text` with everything visible that could control a terminal.

    Control characters become their pictures (U+2400 and so on), other invisible characters and
    those that change direction become U+FFFD.
    """

def width(text: str) -> int:
    """Return the number of terminal cells that `safe(text)` takes."""

def percent(value: float | None) -> str:
    """Return a share as text, in per cent; "-" for None."""

def bytes_rate(value: float | None) -> str:
    """Return bytes, or bytes a second, with a binary unit; "-" for None."""

def missing(interval: Interval) -> str:
    """Return what the later snapshot of an interval lacks, in words; empty for nothing."""
