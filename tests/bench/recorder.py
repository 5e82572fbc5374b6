"""What a recorder costs, next to other tools that record or print each second.

    python -m tests.bench.recorder [--rounds 3] [--seconds 30] [--sleepers 1000] [--ptop PATH …]

Beside the sleepers, 60 processes run once a second and 40 ten times. Each round runs every tool
once, so that a busy machine disturbs all of them alike. A tool that is not installed is left out.
--ptop adds other builds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import load

ONCE, OFTEN = 60, 40
# Goals in ms of CPU time a second, by the number of sleepers.
GOALS = {1000: 1.5, 10_000: 4.0}
# The start, and the first snapshot of all tasks, are left out.
SETTLED = 4.0


def waking(interval: float) -> Callable[[], None]:
    """A process that runs once in so many seconds."""

    def work() -> None:
        while True:
            time.sleep(interval)

    return work


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def measured(command: Sequence[str], seconds: float) -> float:
    """CPU time of a command, in ms a second."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tool:
        time.sleep(SETTLED)
        begin, used = time.monotonic(), cpu_ns(tool.pid)
        time.sleep(seconds)
        spent = (cpu_ns(tool.pid) - used) / 1e6 / (time.monotonic() - begin)
        tool.terminate()
    return spent


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=30)
    options.add_argument("--sleepers", type=int, default=1000)
    options.add_argument("--ptop", nargs="*", default=[], help="other builds to compare")
    chosen = options.parse_args()
    program = shutil.which("ptop") or os.path.join(os.path.dirname(sys.executable), "ptop")
    with tempfile.TemporaryDirectory() as directory:
        tools = {
            f"{path} record": [path, "record", "-o", f"{directory}/{number}.tsd", "-d", "1"]
            for number, path in enumerate([program, *chosen.ptop])
        }
        peers = {
            "atop -w": ["atop", "-w", f"{directory}/atop", "1"],
            "top -b": ["top", "-b", "-d", "1"],
        }
        tools |= {name: words for name, words in peers.items() if shutil.which(words[0])}
        found: dict[str, list[float]] = {name: [] for name in tools}
        works = [waking(1.0)] * ONCE + [waking(0.1)] * OFTEN
        with load.sleepers(chosen.sleepers), load.running(*works):
            for _ in range(chosen.rounds):
                for name, command in tools.items():
                    found[name].append(measured(command, chosen.seconds))
    print(f"RECORDER  {chosen.sleepers} sleepers, 100 active, ms of CPU a second: median, range")
    goal = GOALS.get(chosen.sleepers)
    for name, values in found.items():
        middle = statistics.median(values)
        line = f"  {name:<24} {middle:8.3f}  {min(values):.3f} to {max(values):.3f}"
        if goal is not None and name == f"{program} record":
            line += f"  goal {goal}: {'met' if middle <= goal else 'not met'}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
