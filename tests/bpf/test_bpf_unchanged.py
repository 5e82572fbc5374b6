"""Snapshots of only the tasks that ran since the previous one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import taskstats
from readings import stat, total_ns  # type: ignore[import-not-found]


def test_a_partial_snapshot_gives_the_same_interval_as_a_full_one(
    bpf: Callable[..., taskstats.Source],
) -> None:
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(100)]
    load = subprocess.Popen(
        ["sh", "-c", "while :; do ls >/dev/null; sleep 0.01; done"], stdout=subprocess.DEVNULL
    )
    try:
        for threads in (False, True):
            with (
                bpf(threads=threads, exact=True) as full,
                bpf(threads=threads, exact=True, changed=True) as partial,
            ):
                _compare(full, partial, load.pid)
    finally:
        for process in (*sleepers, load):
            process.kill()
            process.wait()


def test_unchanged_tasks_keep_their_last_values(bpf: Callable[..., taskstats.Source]) -> None:
    sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(20)]
    # Wait until they sleep.
    time.sleep(0.3)
    columns = ["ac_pid", "ac_comm", "total_ns", "total_pct", "ac_etime", "state"]
    try:
        with bpf(exact=True, changed=True) as source:
            assert source.totals() is None
            source.snapshot()
            time.sleep(0.5)
            partial = source.snapshot()
            rest = source.resting(columns, sort="ac_etime", descending=False) or []
            totals = source.totals()
            assert source.resting_count() == len(rest)
            assert partial.unchanged == len(rest)
            assert source.resting_count(text="sleep") >= 20
            first = source.resting(columns, sort="total_ns", limit=3) or []
            assert len(first) == 3
            youngest = source.resting(columns, sort="ac_etime", descending=False, limit=5)
            assert youngest == rest[:5]
            # The start, field 22 of /proc/PID/stat, in ticks of 10 ms since boot.
            starts_us = {
                sleeper.pid: int(stat(f"/proc/{sleeper.pid}/stat")[19]) * 10_000
                for sleeper in sleepers
            }
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
    assert totals is not None
    ran = {task.ac_pid for task in partial if not task.exited}
    rows = {row[0]: row for row in rest}
    assert not ran & rows.keys()
    assert totals["tasks"] == len(ran) + len(rows)
    assert sum(totals["states"].values()) <= totals["tasks"]
    assert totals["num_threads"] >= totals["tasks"] - partial.merged
    uptime_us = partial.boottime_ns // 1000
    for sleeper in sleepers:
        pid, name, used_ns, share, age_us, state = rows[sleeper.pid]
        assert (pid, name, used_ns, share) == (sleeper.pid, "sleep", 0, 0.0)
        assert isinstance(state, int)
        assert taskstats.state_letter(state) == "S"
        assert isinstance(age_us, int)
        assert abs(uptime_us - starts_us[sleeper.pid] - age_us) < 50_000


# The iterable calls the source again, in this thread and in another one.
CALLS_AGAIN = """
import sys, threading, taskstats
source = taskstats.Source("bpf", exact=True, changed=True)
source.snapshot()
source.snapshot()
def pids():
    other = threading.Thread(target=source.resting_count)
    other.start()
    other.join()
    source.snapshot()
    yield source.resting_count()
assert source.resting(["ac_pid"], pids=pids()) is not None
assert source.resting_count(pids=pids()) >= 0
"""


def test_arguments_may_call_the_source(bpf: Callable[..., taskstats.Source]) -> None:
    bpf().close()
    subprocess.run([sys.executable, "-c", CALLS_AGAIN], check=True, timeout=120)


def _compare(full: taskstats.Source, partial: taskstats.Source, pid: int) -> None:
    before = [full.snapshot(), partial.snapshot()]
    assert before[1].unchanged == 0
    for _ in range(4):
        time.sleep(0.2)
        # What runs between the two snapshots is in one of them only.
        now = [partial.snapshot(), full.snapshot()]
        some, every = taskstats.usage(before[1], now[0]), taskstats.usage(before[0], now[1])
        assert now[0].unchanged >= 100
        assert len(some) < len(every) - 100
        assert now[1].by_pid(pid) is not None
        # The second snapshot of a pair includes what ran since the first.
        lag = sum(abs(one[0].time_ns - one[1].time_ns) for one in (before, now))
        tolerance = lag * len(now[0].cpu_clocks) + 2_000_000
        used, seen = total_ns(every), total_ns(some)
        for task in used | seen:
            assert abs(seen.get(task, 0) - used.get(task, 0)) < tolerance, task
        assert abs(sum(seen.values()) - sum(used.values())) < tolerance
        before = [now[1], now[0]]
    with pytest.raises(ValueError, match="the one before it"):
        taskstats.usage(before[0], partial.snapshot())


def test_exited_threads_of_an_unchanged_process_count_once(
    bpf: Callable[..., taskstats.Source],
) -> None:
    """The walk skips unchanged processes; the time of their exited threads must still count."""
    program = """if True:
        import threading, time
        def burn(left):
            until = time.thread_time() + 0.03
            while time.thread_time() < until: pass
            if left:
                time.sleep(0.15)
                threading.Thread(target=burn, args=[left - 1]).start()
        threading.Thread(target=burn, args=[7]).start()
        threading.Event().wait(60)
        """
    child = subprocess.Popen([sys.executable, "-c", program])
    clock = (~child.pid << 3) | 2
    try:
        with bpf(exact=True, changed=True) as source:
            source.snapshot()
            earliest = time.clock_gettime_ns(clock)
            before = source.snapshot()
            begin, used_ns = time.clock_gettime_ns(clock), 0
            for _ in range(30):
                time.sleep(0.05)
                end = time.clock_gettime_ns(clock)
                now = source.snapshot()
                latest = time.clock_gettime_ns(clock)
                interval = taskstats.usage(before, now)
                rows = interval.select(["total_ns", "exited"], pids=[child.pid])
                assert all(not exited for _, exited in rows)
                used_ns += sum(int(total or 0) for total, _ in rows)
                before = now
    finally:
        child.kill()
        child.wait()
    # The program uses 240 ms.
    assert used_ns > 150_000_000
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert end - begin - tick_ns <= used_ns <= latest - earliest + tick_ns


def test_a_zombie_is_shown_until_it_is_reaped(bpf: Callable[..., taskstats.Source]) -> None:
    with bpf(exact=True, changed=True) as source:
        child = os.fork()
        if child == 0:
            os._exit(0)
        seen: list[tuple[int | None, bool]] = []
        before = source.snapshot()
        for reaped in (False, False, False, True):
            time.sleep(0.1)
            if reaped:
                os.waitpid(child, 0)
            now = source.snapshot()
            interval = taskstats.usage(before, now)
            seen += [((task.state or 0) >> 16, task.exited) for task in now if task.ac_pid == child]
            assert interval.exited == sum(task.exited for task in now)
            before = now
        last = source.snapshot()
    # EXIT_ZOMBIE, then EXIT_DEAD (include/linux/sched.h).
    assert seen == [(0x20, False)] * 3 + [(0x10, True)]
    assert all(task.ac_pid != child for task in last)
