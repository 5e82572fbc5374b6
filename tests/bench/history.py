"""What the live view's history costs: bytes and time of a frame, a step, and a search.

    python -m tests.bench.history [--frames 400] [--delay 0.2]

Two loads: of 1,000 tasks 60 run between any two frames, and all of them. Times are CPU times of
this thread, so that a busy machine disturbs them little.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import taskstats

from ptop import spikes
from ptop.columns import COLUMN_SETS, COLUMNS, fields_of
from tests.bench import load

TASKS = 1000
# Tasks that run, and goals: bytes of an hour, ms to append a frame, ms of a step.
LOADS = {60: (6e6, 0.2, 10.0), TASKS: (math.inf, math.inf, 10.0)}
SEARCH_MS = 50.0


def cost_ms(act: Callable[..., object], *arguments: object) -> float:
    """CPU time of a call."""
    begin = time.thread_time()
    act(*arguments)
    return 1e3 * (time.thread_time() - begin)


def filled(frames: int, delay: float) -> tuple[taskstats.History, list[float], list[int]]:
    """A history of the default view's columns, the cost of each frame, and its rows."""
    columns = [COLUMNS[key] for key in COLUMN_SETS["live"].columns]
    history = taskstats.History(minutes=1e4, max_bytes=1 << 30)
    history.measure([column.source for column in columns])
    costs, rows = [], []
    fields = sorted(fields_of(columns, "") | {"state"})
    with taskstats.Source(fields=fields, changed=True, cpu_times=True, system=True) as source:
        before = source.snapshot()
        history.begin(before)
        for _ in range(frames):
            time.sleep(delay)
            now = source.snapshot()
            interval = taskstats.usage(before, now)
            costs.append(cost_ms(history.push, interval, source))
            rows.append(len(interval))
            before = now
    return history, costs, rows


def main() -> None:
    """Measure both loads."""
    options = argparse.ArgumentParser()
    options.add_argument("--frames", type=int, default=400)
    options.add_argument("--delay", type=float, default=0.2)
    options_given = options.parse_args()
    for active, (hour_bytes, push_ms, step_ms) in LOADS.items():
        with load.sleepers(max(TASKS - active, 1)), load.wakers(active):
            history, costs, rows = filled(options_given.frames, options_given.delay)
        size = history.bytes / len(history)
        numbers = range(history.end - 1, history.first - 1, -1)
        steps = [cost_ms(history.interval, at) for at in numbers]
        peaks = history.peaks("total_pct", history.first, history.end)
        hour = dict(enumerate(peaks * (3600 // len(peaks) + 1)))
        search = cost_ms(
            spikes.find, range(1, 3600), 0, hour, lambda _: spikes.UNKNOWN, lambda: False
        )
        print(f"{active} of {TASKS} tasks run; rows of a frame: {statistics.median(rows):.0f}")
        print(f"  bytes of a frame {size:8.0f}, of an hour {3600 * size / 1e6:.1f} MB", end="")
        print("" if 3600 * size <= hour_bytes else f"  above {hour_bytes / 1e6:.0f} MB")
        report("append a frame, median", statistics.median(costs), push_ms)
        report("append a frame, mean with keys", statistics.fmean(costs), math.inf)
        report("step back, median", statistics.median(steps), step_ms)
        report("step back, 99 %", sorted(steps)[len(steps) * 99 // 100], step_ms)
        report("search an hour for a spike", search, SEARCH_MS)


def report(what: str, ms: float, goal: float) -> None:
    """Print a figure, and whether it is above its goal."""
    print(f"  {what:<32} {ms:8.3f} ms", "" if ms <= goal else f" above {goal:g} ms")


if __name__ == "__main__":
    main()
