"""How the books of intervals close: tasks + irq + steal + idle = CPUs x time.

    python -m tests.bench.books [INTERVALS]     (default 10, of a second each)

Of every load it prints the residual in per cent of one CPU's time: the median, the
second largest and the largest, and how many intervals were within 0.001 % and 0.05 % of
all CPUs' time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Iterator

import taskstats

from tests.bench import load

ADJ_TICK = 0x4000


class Timex(ctypes.Structure):
    """The first members of struct timex (include/uapi/linux/timex.h)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("rest", ctypes.c_byte * 256),
    )


@contextlib.contextmanager
def slewed(ppm: int) -> Iterator[None]:
    """Makes CLOCK_MONOTONIC run faster or slower than the scheduler's clock."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = Timex()
    libc.adjtimex(ctypes.byref(before))

    def set_frequency(frequency: int) -> None:
        # ADJ_FREQUENCY, in 2^-16 ppm
        if libc.adjtimex(ctypes.byref(Timex(modes=2, freq=frequency))) < 0:
            raise OSError(ctypes.get_errno(), "adjtimex")

    set_frequency(ppm << 16)
    try:
        yield
    finally:
        set_frequency(before.freq)


def residuals(intervals: int) -> list[float]:
    """The residual of each interval, in per cent of one CPU's time."""
    with taskstats.Source("auto", exact=True, fields=["cpu_run_virtual_total"]) as source:
        time.sleep(0.5)
        source.snapshot()
        start: taskstats.Snapshot | taskstats.Interval = source.snapshot()
        found = []
        for _ in range(intervals):
            time.sleep(1)
            interval = taskstats.usage(start, source.snapshot())
            residual = interval.books()["residual_ns"]
            assert residual is not None
            found.append(100 * residual / interval.interval_ns)
            start = interval
    return found


def report(name: str, intervals: int, *loads: contextlib.AbstractContextManager[None]) -> None:
    with contextlib.ExitStack() as stack:
        for each in loads:
            try:
                stack.enter_context(each)
            except OSError as error:
                print(f"{name:<44} {error}")
                return
        found = sorted(map(abs, residuals(intervals)))
    cpus = os.cpu_count() or 1
    within = [sum(value <= limit * cpus for value in found) for limit in (0.001, 0.05)]
    print(
        f"{name:<44}{found[len(found) // 2]:>10.5f}{found[-2:][0]:>10.5f}{found[-1]:>10.5f}"
        f"{within[0]:>7}/{intervals}{within[1]:>7}/{intervals}",
        flush=True,
    )


def main() -> None:
    intervals = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    print(
        f"{'residual, % of one CPU':<44}{'median':>10}{'2nd':>10}{'max':>10}"
        f"{'<.001%':>10}{'<.05%':>10}"
    )
    for count in (100, 10_000):
        with load.sleepers(count):
            name = f"{count} tasks, a loop on every CPU"
            report(name, intervals, load.busy())
            report(f"{name}, ping-pong", intervals, load.busy(), load.ping_pong())
    report("adjtimex +200 ppm, loops", intervals, slewed(200), load.busy())
    report("adjtimex -200 ppm, loops", intervals, slewed(-200), load.busy())
    report("fork storm, loops", intervals, load.fork_storm(), load.busy())
    report("fork storm nobody waits for, loops", intervals, load.fork_storm(False), load.busy())
    report("fork storm alone", intervals, load.fork_storm())
    report("half idle: one loop", intervals, load.busy(1))
    report("idle", intervals)


if __name__ == "__main__":
    main()
