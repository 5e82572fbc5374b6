"""Every field of the bpf source against netlink and /proc."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import taskstats
from readings import BATCH_KB, PAGE_KB, TICK_US, stat  # type: ignore[import-not-found]

# The two readings follow one another.
BETWEEN_US = 2_000_000


def near(tolerance: float) -> Callable[[int, int], bool]:
    return lambda seen, other: abs(seen - other) <= tolerance


def equal(seen: int, other: int) -> bool:
    return seen == other


def in_kib(seen: int, other: int) -> bool:
    """The kernel rounds these down to whole KiB (kernel/tsacct.c, KB_MASK)."""
    return seen // 1024 == other // 1024


DELAYS = ("cpu", "blkio", "swapin", "freepages", "thrashing", "compact", "wpcopy", "irq")
PEAKS = [f"{name}_delay_{end}" for name in DELAYS for end in ("max", "min", "max_ts")]
# Fields of the base in a thread's netlink record, with how closely they agree.
BASE: dict[str, Callable[[int, int], bool]] = {
    **dict.fromkeys(
        (
            *("ac_exitcode", "ac_flag", "ac_nice", "ac_sched", "ac_uid", "ac_gid"),
            *("ac_pid", "ac_ppid", "ac_tgid", "cpu_count", "cpu_delay_total"),
            *("blkio_count", "blkio_delay_total", "swapin_count", "swapin_delay_total"),
            *("freepages_count", "freepages_delay_total"),
            *("thrashing_count", "thrashing_delay_total"),
            *("compact_count", "compact_delay_total", "wpcopy_count", "wpcopy_delay_total"),
            *("irq_count", "irq_delay_total", "cpu_run_real_total", "cpu_run_virtual_total"),
            *("ac_utime", "ac_stime", "ac_utimescaled", "ac_stimescaled"),
            *("cpu_scaled_run_real_total", "ac_minflt", "ac_majflt", "nvcsw", "nivcsw"),
            *("coremem", "virtmem", "hiwater_vm", "ac_exe_dev", "ac_exe_inode"),
        ),
        equal,
    ),
    **dict.fromkeys(
        (
            *("read_char", "write_char", "read_bytes", "write_bytes"),
            *("cancelled_write_bytes", "read_syscalls", "write_syscalls"),
        ),
        in_kib,
    ),
    **dict.fromkeys(PEAKS, equal),
    "ac_btime": near(1),
    "ac_btime64": near(1),
    "ac_etime": near(BETWEEN_US),
    "ac_tgetime": near(BETWEEN_US),
    "hiwater_rss": near(BATCH_KB),
}


def test_every_field_of_a_thread_agrees_with_netlink(
    bpf: Callable[..., taskstats.Source], stopped: int
) -> None:
    with bpf(threads=True) as source:
        snapshot = source.snapshot()
    tids = [int(name) for name in os.listdir(f"/proc/{stopped}/task")]
    assert len(tids) == 2
    for tid in tids:
        task = snapshot.by_pid(tid)
        assert task is not None
        other = taskstats.get(tid)
        for name, agrees in BASE.items():
            seen, known = getattr(task, name), getattr(other, name)
            if known is None:
                # Delay accounting is off, or the kernel's own record is older than the field.
                older = (other.version or 0) < (task.version or 0) & 0x7FFF
                assert (seen is None and task.status(name) == "off") or older, name
                continue
            if seen is None:
                assert task.status(name) == "off", name
                continue
            if name == "cpu_delay_max_ts" and known:
                # It is a time of this process's life.
                assert (task.start_time or 0) - 1 < known / 1e9 < time.time() + 1
            assert agrees(seen, known), f"{name}: {seen}, by netlink {known}"
        assert task.name == other.name


# A process with two living threads, which then stops.
TWO_THREADS = """
import os, signal, threading, time
other = threading.Thread(target=lambda: [time.sleep(0.001) for _ in range(50)] + [time.sleep(600)])
other.daemon = True; other.start(); time.sleep(0.2)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_the_longest_delays_of_a_process_are_known_while_no_thread_has_died(
    bpf: Callable[..., taskstats.Source], stopped: int
) -> None:
    child = subprocess.Popen([sys.executable, "-c", TWO_THREADS])
    try:
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        with bpf() as source:
            snapshot = source.snapshot()
        with bpf(threads=True) as source:
            threads = [task for task in source.snapshot() if task.ac_tgid == child.pid]
    finally:
        child.kill()
        child.wait()
    with_dead, whole = snapshot.by_pid(stopped), snapshot.by_pid(child.pid)
    assert with_dead is not None
    assert whole is not None
    assert len(threads) == 2
    for name in PEAKS:
        assert getattr(with_dead, name) is None, "a thread of it has died"
        if snapshot.status(name) == "filled":
            values = [getattr(task, name) for task in threads]
            least = min((value for value in values if value), default=0)
            # The instant is that of the longest delay, not the last one.
            expected = {"max": max(values), "min": least}.get(name[-3:])
            value = getattr(whole, name)
            assert value in values if expected is None else value == expected, name


def test_every_field_of_the_extension_agrees_with_proc(
    bpf: Callable[..., taskstats.Source], stopped: int
) -> None:
    with bpf(threads=True) as source:
        snapshot = source.snapshot()
    task = snapshot.by_pid(stopped)
    assert task is not None
    line = stat(f"/proc/{stopped}/stat")
    thread = stat(f"/proc/{stopped}/task/{stopped}/stat")
    ns_per_tick = TICK_US * 1000

    def ticks(field: int) -> int:
        us: int = int(line[field - 3]) * TICK_US
        return us

    assert task.state is not None
    assert taskstats.state_letter(task.state) == line[0]
    assert task.cpu == int(thread[39 - 3])
    assert task.num_threads == int(line[20 - 3])
    assert task.task_flags == int(thread[9 - 3])
    assert task.ac_start_ns is not None
    assert task.ac_start_ns // ns_per_tick == int(line[22 - 3])
    assert near(2 * TICK_US)(task.ac_cutime or 0, ticks(16))
    assert near(2 * TICK_US)(task.ac_cstime or 0, ticks(17))
    assert (task.ac_cutime or 0) + (task.ac_cstime or 0) > 10_000
    assert task.ac_gtime == ticks(43)
    statm = [int(word) * PAGE_KB for word in Path(f"/proc/{stopped}/statm").read_text().split()]
    assert task.vm_kb == statm[0]
    assert near(BATCH_KB)(task.rss_kb or 0, statm[1])
    assert (task.hiwater_rss or 0) >= (task.rss_kb or 0) + (16 << 10)
    schedstat = int(Path(f"/proc/{stopped}/task/{stopped}/schedstat").read_text().split()[0])
    assert task.ac_sum_exec_ns == schedstat
    # The dead thread's part is the process's clock less the living threads'.
    living = sum(
        int(Path(f"/proc/{stopped}/task/{tid}/schedstat").read_text().split()[0])
        for tid in os.listdir(f"/proc/{stopped}/task")
    )
    clock = time.clock_gettime_ns((~stopped << 3) | 2)
    assert task.tg_sum_exec_ns == clock - living
    assert (task.tg_sum_exec_ns or 0) > 50_000_000
    # The split of that part counts ticks, as the kernel's sums over a process do.
    process = taskstats.get_tgid(stopped)
    threads = [taskstats.get(int(tid)) for tid in os.listdir(f"/proc/{stopped}/task")]
    user = (process.ac_utime or 0) - sum(thread.ac_utime or 0 for thread in threads)
    system = (process.ac_stime or 0) - sum(thread.ac_stime or 0 for thread in threads)
    if user + system > 0:
        # A tick that a thread met as it died may be on either side of the split.
        assert near(2 * TICK_US)(task.tg_utime or 0, user)
        assert near(2 * TICK_US)(task.tg_stime or 0, system)
    else:
        # Older kernels leave dead threads out. A tick counts whole for the task that it meets: at
        # most one more than the time between two switches has. Emulated machines lose ticks.
        with bpf() as source:
            whole = source.snapshot().by_pid(stopped)
        assert whole is not None
        alive = [other for other in snapshot if other.ac_tgid == stopped]
        switches = _switches(whole) - sum(_switches(other) for other in alive)
        ticks_ns = 1000 * ((task.tg_utime or 0) + (task.tg_stime or 0))
        assert 0 < ticks_ns <= (task.tg_sum_exec_ns or 0) + (switches + 1) * ns_per_tick
    assert snapshot.time_ns
    assert task.ac_time_ns == snapshot.monotonic_ns
    assert task.task_id


def _switches(task: taskstats.Task) -> int:
    return (task.nvcsw or 0) + (task.nivcsw or 0)


def test_the_cgroup_agrees_with_proc(
    bpf: Callable[..., taskstats.Source], needs: Callable[[bool, str], None]
) -> None:
    mounts = re.findall(r"^\S+ (\S+) cgroup2 ", Path("/proc/mounts").read_text(), re.MULTILINE)
    with bpf() as source:
        task = source.snapshot().by_pid(os.getpid())
    assert task is not None
    assert task.cgroup_id
    if mounts:
        path = next(
            line.rpartition(":")[2]
            for line in Path("/proc/self/cgroup").read_text().splitlines()
            if line.startswith("0::")
        )
        # The inode of a cgroup's directory is its id (fs/kernfs).
        assert task.cgroup_id == os.stat(mounts[0] + path).st_ino
    else:
        assert task.cgroup_id == 1, "without a mounted hierarchy every task is in the root cgroup"


def test_every_filled_field_is_compared_in_this_file(bpf: Callable[..., taskstats.Source]) -> None:
    extension = {
        *("version", "ac_comm", "ac_time_ns", "ac_start_ns", "ac_cutime", "ac_cstime", "ac_gtime"),
        *("ac_sum_exec_ns", "rss_kb", "vm_kb", "cgroup_id", "state", "cpu", "num_threads"),
        *("task_flags", "tg_utime", "tg_stime", "tg_sum_exec_ns", "task_id"),
    }
    with bpf() as source:
        assert set(source.snapshot().fields) <= set(BASE) | extension


def test_a_process_row_is_the_sum_of_threads_living_and_dead(
    bpf: Callable[..., taskstats.Source], stopped: int
) -> None:
    with bpf() as source:
        process = source.snapshot().by_pid(stopped)
    with bpf(threads=True) as source:
        threads = [task for task in source.snapshot() if task.ac_tgid == stopped]
    assert process is not None
    assert len(threads) == 2
    assert process.ac_sum_exec_ns == time.clock_gettime_ns((~stopped << 3) | 2)
    line = stat(f"/proc/{stopped}/stat")
    io = dict(line.split(": ") for line in Path(f"/proc/{stopped}/io").read_text().splitlines())
    assert process.ac_minflt == int(line[10 - 3])
    assert process.read_char == int(io["rchar"])
    assert process.write_char == int(io["wchar"])
    assert process.read_syscalls == int(io["syscr"])
    assert process.write_bytes == int(io["write_bytes"])
    tgid = taskstats.get_tgid(stopped)
    for name in ("cpu_count", "cpu_delay_total", "nvcsw", "nivcsw"):
        living = sum(getattr(task, name) for task in threads)
        assert living <= getattr(process, name)
        assert getattr(tgid, name) <= getattr(process, name), name
    assert process.ac_nice == min(os.nice(0) + 3, 19)
    assert process.name == threads[0].name
