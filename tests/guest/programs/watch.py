"""`taskstats.watch` while CPUs go and return, the clock is set, or the machine sleeps.

    watch.py CHECK ...

Each interval is right, or says that it is not: its books close. It needs a machine of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import taskstats
from counted import check_all

CPU1 = Path("/sys/devices/system/cpu/cpu1/online")
SECOND = 10**9
INTERVAL_S = 0.5


@contextmanager
def burner() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    time.sleep(0.5)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


class Watched:
    """The intervals of a watch, with checks of each."""

    def __init__(self, intervals: taskstats.Watch[taskstats.Interval], pid: int) -> None:
        self._intervals = intervals
        self._pid = pid
        self._last: taskstats.Interval | None = None

    def next(self, most: float = 0.01) -> taskstats.Interval:
        """The next interval. Its books close, or nearly: to this part of a CPU."""
        interval = next(self._intervals)
        if self._last is not None:
            assert interval.prev.monotonic_ns == self._last.cur.monotonic_ns, "no gap"
        self._last = interval
        books = interval.books()
        length, residual, bound = interval.interval_ns, books["residual_ns"], books["bound_ns"]
        assert residual is not None
        assert bound is not None
        share = residual / length
        print(f"{length / 1e9:.3f} s, {books['cpus']} CPUs, residual {share:.6f}", flush=True)
        assert abs(share) <= max(most, bound / length), books
        row = interval.by_pid(self._pid)
        assert row is not None
        assert 0 < (row.total_ns or 0) <= length + bound, (row.total_ns, length)
        assert all((row.total_ns or 0) >= 0 for row in interval)
        return interval


@contextmanager
def watching() -> Iterator[Watched]:
    with burner() as pid, taskstats.watch(INTERVAL_S, source="bpf") as intervals:
        watched = Watched(intervals, pid)
        watched.next()
        yield watched


def cpus_go_and_return() -> None:
    with watching() as watched:
        seen = []
        for online in ("0", "1", "0", "1"):
            CPU1.write_text(online)
            # An interval in which a CPU went or came may lack what that CPU did: its bound says so.
            seen.append(watched.next(0.0).cur.cpus_online)
            watched.next()
        # Gone and back within one interval.
        CPU1.write_text("0")
        CPU1.write_text("1")
        seen.append(watched.next(0.0).cur.cpus_online)
        watched.next()
    assert seen == [1, 2, 1, 2, 2], seen


def the_clock_is_set() -> None:
    with watching() as watched:
        for step_s in (3600, -7200, 3600):
            before = watched.next()
            now_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
            time.clock_settime_ns(time.CLOCK_REALTIME, now_ns + step_s * SECOND)
            after = watched.next()
            moved_ns = after.cur.time_ns - before.cur.time_ns - step_s * SECOND
            assert abs(moved_ns) < 60 * SECOND, moved_ns
            awake_ns = after.cur.monotonic_ns - after.prev.monotonic_ns
            assert abs(after.interval_ns - awake_ns) < 0.01 * awake_ns + 10**7
            # The start of a task does not move.
            first, last = (end.by_pid(os.getpid()) for end in (before.prev, after.cur))
            assert first is not None
            assert last is not None
            assert first.ac_start_ns == last.ac_start_ns


def the_machine_sleeps() -> None:
    state = Path("/sys/power/state")
    if "mem" not in state.read_text() or not Path("/sys/class/rtc/rtc0/wakealarm").exists():
        print("the machine cannot sleep")
        return
    with watching() as watched:
        before = watched.next()
        for alarm in ("0", "+5"):
            Path("/sys/class/rtc/rtc0/wakealarm").write_text(alarm)
        state.write_text("mem")
        # Suspend takes the second CPU offline. Emulated clocks do not always resume where they
        # stopped.
        over = watched.next(0.05)
        asleep_ns = (over.cur.time_ns - before.cur.time_ns) - (
            over.cur.monotonic_ns - before.cur.monotonic_ns
        )
        print(f"asleep for {asleep_ns / 1e9:.3f} s")
        awake_ns = over.cur.monotonic_ns - over.prev.monotonic_ns
        # The scheduler's clock stops a little later and resumes earlier.
        assert over.interval_ns <= awake_ns + 50_000_000 + max(asleep_ns, 0) // 2
        for _ in range(2):
            watched.next()


if __name__ == "__main__":
    checks = (cpus_go_and_return, the_clock_is_set, the_machine_sleeps)
    check_all(*(check for check in checks if check.__name__ in sys.argv))
