"""Resident memory of a live view whose history is full.

    python -m tests.bench.history_memory [--size 67108864] [--delay 0.2] [--sleepers 1000]

Two processes fork as fast as they can. Intervals are kept and drawn as the live view does, until
the history has dropped some; then this process's resident memory is measured.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import taskstats

from ptop.columns import COLUMNS
from ptop.history_feed import HistoryFeed
from ptop.live.state import Limits, State
from ptop.live.view import Renderer, needed_fields
from tests.bench import load

# Resident memory beside what the history may take.
REST_BYTES = 45e6


def resident_bytes() -> int:
    """Resident memory of this process."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def main() -> None:
    """Fill a history, and measure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--size", type=int, default=64 << 20)
    options.add_argument("--delay", type=float, default=0.2)
    options.add_argument("--sleepers", type=int, default=1000)
    given = options.parse_args()
    state = State()
    with (
        load.sleepers(given.sleepers),
        load.fork_storm(),
        load.fork_storm(),
    ):
        taskstats.share_heap()
        source = taskstats.Source(exact=True, changed=True, cpu_times=True, system=True)
        feed = HistoryFeed(source, taskstats.History(minutes=1e4, max_bytes=given.size))
        feed.configure(False, needed_fields(state, COLUMNS))
        feed.measure([COLUMNS[key].source for key in state.columns])
        renderer = Renderer(state, COLUMNS, Limits())
        begin, died, first = time.monotonic(), 0, 0
        # As long as nothing is forgotten, the history is not full.
        while feed.history.first == 0:
            time.sleep(given.delay)
            feed.advance()
            if feed.interval is not None:
                died += feed.interval.exited or 0
                renderer.lines(feed.interval, (160, 60), feed.unchanged)
            first = first or (resident_bytes() if len(feed.history) == 3 else 0)
        resident, kept = resident_bytes(), feed.history.bytes
        seconds = time.monotonic() - begin
    print(f"{died} exits in {seconds:.0f} s; {len(feed.history)} intervals are kept")
    print(f"  history   {kept / 1e6:8.1f} MB of {given.size / 1e6:.1f}")
    print(f"  resident  {first / 1e6:8.1f} MB after three intervals")
    goal = REST_BYTES + given.size
    verdict = "met" if resident <= goal else "not met"
    print(f"  resident  {resident / 1e6:8.1f} MB, goal {goal / 1e6:.1f}: {verdict}")


if __name__ == "__main__":
    main()
