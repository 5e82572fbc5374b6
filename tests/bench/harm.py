"""What watching costs others: wake-up latency of a real-time task during snapshots, and
the price of a switch while switches are watched.

    python -m tests.bench.harm [TASKS ...]     (default 10000 100000)
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

import taskstats

from tests.bench import load

PERIOD_NS = 1_000_000
SECONDS = 5.0


def worst_wake_up_us(stop: threading.Event) -> float:
    """How late a SCHED_FIFO thread wakes from sleeps of one millisecond."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    worst = 0
    while not stop.is_set():
        due = time.monotonic_ns() + PERIOD_NS
        time.sleep(PERIOD_NS / 1e9)
        worst = max(worst, time.monotonic_ns() - due)
    return worst / 1e3


def beside(source: taskstats.Source | None, seconds: float = SECONDS) -> tuple[float, float, int]:
    """The worst wake-up in us, with snapshots or without; the longest snapshot in ms, and
    the system calls it took."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        stop = threading.Event()
        timer = threading.Timer(seconds, stop.set)
        timer.start()
        os.write(write, str(worst_wake_up_us(stop)).encode())
        os._exit(0)
    longest, calls = 0.0, 0
    if source is not None:
        end = time.monotonic() + seconds - 1
        while time.monotonic() < end:
            snapshot = source.snapshot()
            longest = max(longest, (snapshot.end_time_ns - snapshot.time_ns) / 1e6)
            calls = max(calls, snapshot.syscalls)
            time.sleep(0.05)
    os.waitpid(pid, 0)
    worst = float(os.read(read, 64))
    os.close(read)
    os.close(write)
    return worst, longest, calls


def switches_a_second(seconds: float = 2.0) -> float:
    def count() -> int:
        words = Path("/proc/stat").read_text().split()
        return int(words[words.index("ctxt") + 1])

    before, start = count(), time.monotonic()
    time.sleep(seconds)
    return (count() - before) / (time.monotonic() - start)


def price_of_a_switch(watchers: int) -> None:
    """What a switch costs beside so many sources that watch, in rounds with and without."""
    with load.ping_pong(), load.ping_pong(), contextlib.ExitStack() as stack:
        time.sleep(0.5)
        plain, watched, said = [], [], []
        sources = [stack.enter_context(taskstats.Source("bpf")) for _ in range(watchers)]
        for _ in range(5):
            for source in sources:
                source.configure(exact=False)
                source.snapshot()
            plain.append(switches_a_second())
            for source in sources:
                source.configure(exact=True)
                start = source.snapshot()
            watched.append(switches_a_second())
            end = sources[-1].snapshot()
            seconds = (end.time_ns - start.time_ns) / 1e9
            said.append((end.hooks_ns - start.hooks_ns) / watched[-1] / seconds)
    cpus = os.cpu_count() or 1
    before, after = (cpus * 1e9 / max(found) for found in (plain, watched))
    print(
        f"a switch: {before:.0f} ns, with {watchers} watching {after:.0f} ns:"
        f" {(after - before) / watchers:+.0f} ns each;"
        f" {min(said):.0f} ns by a source's own account",
        flush=True,
    )


def main() -> None:
    for watchers in (1, 10):
        price_of_a_switch(watchers)
    print(f"{'':>10}{'worst wake-up, us':>26}{'longest':>14}")
    print(f"{'tasks':>10}{'alone':>13}{'beside':>13}{'snapshot ms':>14}{'calls':>8}")
    for count in [int(word) for word in sys.argv[1:]] or [10_000, 100_000]:
        limit = int(Path("/proc/sys/kernel/pid_max").read_text())
        if count > limit - 2000:
            Path("/proc/sys/kernel/pid_max").write_text(str(count + 20_000))
        with load.sleeping_threads(count):
            alone, _, _ = beside(None)
            with taskstats.Source("bpf", exact=True) as source:
                source.snapshot()
                source.snapshot()
                worst, longest, calls = beside(source)
        print(f"{count:>10}{alone:>13.0f}{worst:>13.0f}{longest:>14.1f}{calls:>8}", flush=True)


if __name__ == "__main__":
    main()
