"""psutil beside `taskstats.compat.psutil` and columns, in one run.

    python -m tests.bench.compat [PROCESSES ...]

Each way makes new objects at each call. The CPU time of a call is the median of those in some
seconds, as many for each way. The least would be wrong on a machine whose host takes CPUs away: the
kernel may subtract more than was taken. The ratio is to psutil's.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from operator import attrgetter

import psutil
import taskstats
from taskstats.compat import psutil as ours

from tests.bench import load

ATTRIBUTES = [
    "pid",
    "ppid",
    "name",
    "uids",
    "status",
    "create_time",
    "cpu_times",
    "memory_info",
    "num_threads",
    "num_ctx_switches",
    "io_counters",
    "nice",
]
FIELDS = [
    "ac_pid",
    "ac_ppid",
    "ac_comm",
    "ac_uid",
    "state",
    "ac_start_ns",
    "ac_utime",
    "ac_stime",
    "rss_kb",
    "vm_kb",
    "num_threads",
    "nvcsw",
    "nivcsw",
    "read_bytes",
    "write_bytes",
    "ac_nice",
]
REPEATS = 5
SECONDS = 3


def _dictionaries(module: object, names: list[str]) -> Callable[[], object]:
    iterate: Callable[[list[str]], object] = module.process_iter  # type: ignore[attr-defined]

    def call() -> object:
        # psutil's own cache of processes would save it the objects.
        psutil.process_iter.cache_clear()
        return [process.info for process in iterate(names)]  # type: ignore[attr-defined]

    return call


_attributes = attrgetter(*FIELDS)


def _objects() -> object:
    return [_attributes(task) for task in taskstats.processes(FIELDS)]


def _columns() -> object:
    snapshot = taskstats.snapshot(fields=FIELDS)
    array = snapshot.numpy()
    return [array[name] for name in set(FIELDS).intersection(snapshot.fields)]


def _psutil_task() -> object:
    process = psutil.Process(os.getpid())
    with process.oneshot():
        return process.as_dict(ATTRIBUTES)


def _cpu_s(call: Callable[[], object], repeats: int) -> float:
    call()
    found: list[float] = []
    end = time.monotonic() + SECONDS
    while len(found) < repeats or time.monotonic() < end:
        begin = time.process_time()
        call()
        found.append(time.process_time() - begin)
    return statistics.median(found)


def _print(title: str, ways: dict[str, Callable[[], object]], repeats: int = REPEATS) -> None:
    print(title)
    first = None
    for name, call in ways.items():
        taken = _cpu_s(call, repeats)
        first = first or taken
        print(f"  {name:42} {taken * 1e3:10.3f} ms {first / taken:8.1f} x")


def main() -> None:
    """Print a table for each number of processes."""
    for count in [int(word) for word in sys.argv[1:]] or [1000, 15_000]:
        with load.sleepers(count):
            _print(
                f"{count} sleepers, {len(ATTRIBUTES)} attributes",
                {
                    "psutil.process_iter": _dictionaries(psutil, ATTRIBUTES),
                    "compat.psutil.process_iter": _dictionaries(ours, ATTRIBUTES),
                    "taskstats.processes(), 16 attributes": _objects,
                    "taskstats.snapshot().numpy()": _columns,
                },
            )
            for name in ("username", "cmdline"):
                _print(
                    name,
                    {
                        "psutil.process_iter": _dictionaries(psutil, [name]),
                        "compat.psutil.process_iter": _dictionaries(ours, [name]),
                    },
                )
    _print(
        "one process",
        {
            "psutil.Process(pid).as_dict": _psutil_task,
            "taskstats.task(pid)": lambda: taskstats.task(os.getpid()),
            "taskstats.get(pid)": lambda: taskstats.get(os.getpid()),
        },
        repeats=2000,
    )


if __name__ == "__main__":
    main()
