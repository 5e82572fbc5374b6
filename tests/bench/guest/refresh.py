"""In the machine: CPU time of one refresh by each way, with so many processes asleep.

Prints a line of JSON for each number of sleepers in the arguments.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import taskstats

FIELDS = ["cpu_run_virtual_total"]


def least(refresh: Callable[[], object]) -> float:
    """CPU time of the cheapest of some refreshes, in ms."""
    for _ in range(3):
        refresh()
    best = float("inf")
    end = time.monotonic() + 3
    while time.monotonic() < end:
        start = time.process_time_ns()
        refresh()
        best = min(best, time.process_time_ns() - start)
    return best / 1e6


def ours(
    name: str, way: str = "", *, threads: bool = False, changed: bool = False
) -> tuple[float, int]:
    os.environ["PRECISE_TOP_NETLINK_WAY"] = way
    with taskstats.Source(
        name,
        fields=FIELDS,
        threads=threads,
        exact=name == "bpf",
        changed=changed,
        cpu_times=False,
        system=False,
    ) as source:
        found = least(source.snapshot)
        return found, source.snapshot().syscalls


def c_loop() -> float:
    def spent(count: int) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(["/stat_loop", str(count)], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min((spent(6) - spent(1)) / 5 for _ in range(3)) * 1e3


def main() -> None:
    for count in map(int, sys.argv[1:]):
        parent = subprocess.Popen(["/sleepers", str(count)], stdout=subprocess.PIPE)
        assert parent.stdout is not None
        parent.stdout.readline()
        time.sleep(2)
        found: dict[str, tuple[float, int | None]] = {
            "proc": ours("proc"),
            "proc, threads": ours("proc", threads=True),
            "proc, what ran since": ours("proc", changed=True),
            "netlink, one dump": ours("netlink"),
            "netlink, sweep of requests": ours("netlink", "sweep"),
            "procfs": ours("procfs"),
            "C loop over /proc/PID/stat": (c_loop(), None),
        }
        reports = {report.name: report for report in taskstats.sources()}
        if reports["bpf"].available:
            found["bpf"] = ours("bpf")
        print(json.dumps({"sleepers": count, "ms": found}), flush=True)
        subprocess.run(["killall", "-9", "sleepers"], check=True)
        parent.wait()
        time.sleep(3)


main()
