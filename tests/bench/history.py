"""What the live view's history costs: bytes and time of a frame, a step, and a search.

    python -m tests.bench.history [--frames 400] [--delay 0.2] [--tasks 10000]

Of 1,000 tasks 60 run between any two frames, and all of them; of 10,000 100 run, and 1,000. Times
are CPU times of this thread, so that a busy machine disturbs them little. A step is what a key
costs, with and without the column `60s`: the frame is read and drawn. The samples of the minute
before are read with the next screens, whose longest is told as well. 400 frames of 0.2 s are longer
than the minute after which all tasks are read again.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import taskstats

from ptop import spikes
from ptop.columns import COLUMNS
from ptop.history_feed import HistoryFeed
from ptop.live.state import Limits, State
from ptop.live.view import Renderer, needed_fields
from ptop.values import replace
from tests.bench import load

# Tasks, how many of them run, and goals: bytes of an hour, ms on top of a frame.
LOADS = (
    (1000, 60, 6e6, 0.2),
    (1000, 1000, math.inf, math.inf),
    (10_000, 100, math.inf, math.inf),
    (10_000, 1000, math.inf, math.inf),
)
STEP_MS, SEARCH_MS = 10.0, 50.0
SIZE = (200, 60)


def cost_ms(act: Callable[..., object], *arguments: object) -> float:
    """CPU time of a call."""
    begin = time.thread_time()
    act(*arguments)
    return 1e3 * (time.thread_time() - begin)


class Measured:
    """A history, and what keeping each frame costs."""

    def __init__(self, history: taskstats.History) -> None:
        self.history = history
        self.costs: list[float] = []
        # Bytes after each frame.
        self.sizes: list[int] = []

    def push(self, interval: taskstats.Interval, source: taskstats.Source) -> None:
        self.costs.append(cost_ms(self.history.push, interval, source))
        self.sizes.append(self.history.bytes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.history, name)

    def __len__(self) -> int:
        return len(self.history)


def filled(state: State, frames: int, delay: float) -> tuple[HistoryFeed, Measured, list[int]]:
    """A feed with the columns of a view, what was measured of it, and the rows of each frame."""
    source = taskstats.Source(changed=True, cpu_times=True, system=True)
    measured = Measured(taskstats.History(minutes=1e4, max_bytes=1 << 30))
    feed = HistoryFeed(source, cast(taskstats.History, measured))
    feed.configure(False, needed_fields(state, COLUMNS))
    feed.measure([COLUMNS[key].source for key in state.columns])
    rows = []
    while len(feed.history) < frames:
        time.sleep(delay)
        feed.advance()
        rows.append(len(feed.newest) if feed.newest else 0)
    feed.history = measured.history
    return feed, measured, rows


class Steps:
    """Costs of steps, and of the screens that read the minute before."""

    def __init__(self, feed: HistoryFeed, state: State) -> None:
        self._feed, self._renderer = feed, Renderer(state, COLUMNS, Limits())
        self.slices: list[float] = []

    def _draw(self) -> bool:
        feed = self._feed
        assert feed.interval is not None
        lines = self._renderer.lines(
            feed.interval, SIZE, feed.unchanged, ages_s=feed.ages_s, before=feed.minute_before
        )
        return lines.searching

    def to(self, number: int, completes: bool = True) -> float:
        """The cost to go to a frame and to draw it. `completes` is whether the minute before is
        read as well, which a user who steps on does not wait for."""
        begin = time.thread_time()
        self._feed.show(number)
        searching = self._draw()
        cost = 1e3 * (time.thread_time() - begin)
        while completes and searching:
            begin = time.thread_time()
            searching = self._draw()
            self.slices.append(1e3 * (time.thread_time() - begin))
        return cost

    def all(self, numbers: Iterable[int], completes: bool = True) -> list[float]:
        return [self.to(number, completes) for number in numbers]


def report_steps(feed: HistoryFeed, state: State) -> None:
    """Measure all kinds of steps, and print them."""
    first, end = feed.history.first, feed.history.end
    steps = Steps(feed, state)
    report("step back", steps.all(range(end - 1, first - 1, -1)), STEP_MS)
    report("step back, key held down", steps.all(range(end - 1, first - 1, -1), False), STEP_MS)
    report("step forward", steps.all(range(first, end)), STEP_MS)
    places = [first + (end - first) * at // 10 for at in (1, 9, 3, 7, 5, 2, 8, 4, 6)]
    report("jump", steps.all(places), STEP_MS)
    after = [(steps.to(place), steps.to(place - 1))[1] for place in places]
    report("first step back after a jump", after, STEP_MS)
    report("screen that reads the minute", steps.slices, STEP_MS)


def main() -> None:
    """Measure all loads, or those of one number of tasks."""
    options = argparse.ArgumentParser()
    options.add_argument("--frames", type=int, default=400)
    options.add_argument("--delay", type=float, default=0.2)
    options.add_argument("--tasks", type=int, help="the loads of so many tasks alone")
    given = options.parse_args()
    state = State()
    for tasks, active, hour_bytes, push_ms in LOADS:
        if given.tasks not in (None, tasks):
            continue
        with load.sleepers(max(tasks - active, 1)), load.wakers(active):
            feed, measured, rows = filled(state, given.frames, given.delay)
        history, sizes = feed.history, measured.sizes
        # All tasks are kept once, in the first frames: that does not grow.
        half = len(sizes) // 2
        size = (sizes[-1] - sizes[half]) / (len(sizes) - 1 - half)
        print(
            f"{active} of {tasks} tasks run; rows of a frame: {statistics.median(rows):.0f}; ",
            end="",
        )
        print(f"load {os.getloadavg()[0]:.1f}")
        verdict = "" if 3600 * size <= hour_bytes else f"  above {hour_bytes / 1e6:.0f} MB"
        print(f"  bytes of a frame {size:8.0f}, of an hour {3600 * size / 1e6:.1f} MB{verdict}")
        report("keep a frame", measured.costs, push_ms)
        feed.go_to_end(True)
        for shown in (True, False):
            print("  with 60s" if shown else "  without 60s")
            keys = tuple(key for key in state.columns if shown or key != "spark")
            report_steps(feed, replace(state, columns=keys))
        report_search(history)


def report_search(history: taskstats.History) -> None:
    peaks = history.peaks("total_pct", history.first, history.end)
    hour = dict(enumerate(peaks * (3600 // len(peaks) + 1)))
    arguments = (range(1, 3600), 0, hour, lambda _: spikes.UNKNOWN, lambda: False)
    report("search an hour for a spike", [cost_ms(spikes.find, *arguments)], SEARCH_MS)


def report(what: str, costs: list[float], goal: float) -> None:
    """Print figures, and whether the median and the highest are above their goal."""
    if not costs:
        return
    costs = sorted(costs)
    median, mean, most = statistics.median(costs), statistics.fmean(costs), costs[-1]
    above = f"  {sum(cost > goal for cost in costs)} of {len(costs)} above {goal:g} ms"
    print(f"  {what:<30} median {median:7.3f} mean {mean:7.3f}", end="")
    print(f" 99 % {costs[len(costs) * 99 // 100]:7.3f} most {most:7.3f} ms", end="")
    print(above if most > goal else "")


if __name__ == "__main__":
    main()
