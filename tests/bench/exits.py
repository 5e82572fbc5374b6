"""How many exits of a storm each source reports.

    python -m tests.bench.exits [SECONDS]     (default 60)

Two processes make threads, or children, that end at once. The first table reads them as they
die, as many as this machine can make; the second has them in one snapshot at the end of one
interval, of which 5,000 a second must be reported without loss. The exits' CPU time is that of
the process that reads them, over all.
"""

from __future__ import annotations

import subprocess
import sys
import time

import taskstats

WAYS = {
    "threads": """
    for _ in range(10): _thread.start_new_thread(lock.release, ())
    for _ in range(10): lock.acquire()
    made += 10
""",
    "processes": """
    pid = os.fork()
    if not pid: os._exit(0)
    os.waitpid(pid, 0)
    made += 1
""",
}
STORM = """
import _thread, os, sys, threading, time
lock = threading.Semaphore(0)
seconds, rate = float(sys.argv[1]), float(sys.argv[2])
begin, made = time.monotonic(), 0
while time.monotonic() < begin + seconds:
    if rate and (early := begin + made / rate - time.monotonic()) > 0:
        time.sleep(early)
{way}
print(made)
"""
STORMS = 2


def storm(way: str, seconds: float, rate: float = 0) -> list[subprocess.Popen[str]]:
    """Starts the storm, at `rate` exits a second or as fast as possible."""
    script = STORM.replace("{way}", WAYS[way])
    words = [sys.executable, "-S", "-c", script, str(seconds), str(rate / STORMS)]
    return [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(STORMS)]


def ended(running: list[subprocess.Popen[str]]) -> int:
    """Waits for the end of the storm; returns the number of exits."""
    return sum(int(process.communicate()[0]) for process in running)


def is_of(way: str, task: taskstats.Task, storms: set[int]) -> bool:
    """Whether the task is one of the storm's."""
    if way == "threads":
        return task.ac_tgid in storms and task.ac_pid not in storms
    return task.ac_ppid in storms


def as_they_die(source: str, way: str, seconds: float) -> None:
    with taskstats.exits(source) as exits:
        begin, cpu = time.monotonic(), time.process_time()
        running = storm(way, seconds)
        left = {process.pid for process in running}
        storms, seen = set(left), 0
        for task in exits:
            seen += is_of(way, task, storms)
            left.discard(task.ac_pid or 0)
            if not left:
                break
        took, cpu = time.monotonic() - begin, time.process_time() - cpu
        made = ended(running)
        print(
            f"{source:8} {way:10} {made / took:8.0f} {made:9} {seen:9} {exits.lost:6}"
            f" {cpu / seen * 1e6:6.1f} us"
        )


def in_one_interval(source: str, way: str, seconds: float, rate: float) -> None:
    with taskstats.Source(source, threads=True, exact=True) as opened:
        first, cpu = opened.snapshot(), time.process_time()
        running = storm(way, seconds, rate)
        made = ended(running)
        last = opened.snapshot()
        cpu = time.process_time() - cpu
    storms = {process.pid for process in running}
    seen = sum(is_of(way, task, storms) for task in last.exits)
    interval = taskstats.usage(first, last)
    books = interval.books()
    residual, bound = (
        100 * (books[n] or 0) / interval.interval_ns for n in ("residual_ns", "bound_ns")
    )
    print(
        f"{source:8} {way:10} {made / interval.interval_ns * 1e9:8.0f} {made:9} {seen:9}"
        f" {last.exits_lost - first.exits_lost:6} {cpu / seen * 1e6:6.1f} us"
        f" {residual:10.5f} {bound:9.5f}"
    )


def main() -> None:
    """Print the tables."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    names = [report.name for report in taskstats.sources() if report.available]
    sources = [name for name in ("bpf", "netlink") if name in names]
    head = f"{'source':8} {'storm of':10} {'a second':>8} {'died':>9} {'seen':>9} {'lost':>6}"
    head += "  CPU each"
    print(head)
    for source in sources:
        for way in WAYS:
            as_they_die(source, way, min(seconds, 5))
    print(f"\n{head} residual %   bound %   of one CPU, an interval of {seconds:.0f} s")
    for source in sources:
        for way in WAYS:
            in_one_interval(source, way, seconds, 5500)


if __name__ == "__main__":
    main()
