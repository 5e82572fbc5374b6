"""What a screen costs, next to other tools on the same terminal.

    python -m tests.bench.screen [--rounds 3] [--seconds 10] [--ptop PATH …]

Two loads: 1,000 sleeping tasks, and 60 that run now and then. Each round runs every tool once, so
that a busy machine disturbs all of them alike. A tool that is not installed is left out. --ptop
adds other builds, for example that of the commit before.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench import load
from tests.bench.proposal import cost, started

# 60 tasks with arguments that wake up twenty times a second.
ACTIVE = [
    [sys.executable, "-c", "import time\nwhile True: time.sleep(0.05)", f"--worker={number}"]
    for number in range(60)
]
PEERS = (
    ("top", ["top", "-d", "1"]),
    ("htop", ["htop", "-d", "10"]),
    ("btop", ["btop"]),
    ("atop", ["atop", "1"]),
)
# Panels that a user opens, with the keys for it.
PANELS = {"ptop, a task's pane": "\r"}
# Goals in ms of CPU time a second, of each load.
GOALS = {
    "ptop --view snap --history 0": (0.44, None),
    "ptop --history 0": (0.75, None),
    "ptop": (0.95, 2.0),
    "ptop --view waits": (None, 2.0),
}
# Views that one chooses.
VIEWS = ("waits", "io", "tree", "cgroups", "dead")
# The columns of the default screen without waits and sparklines: what these two cost.
PLAIN = "pid,USER,state,ac_nice,num_threads,rss_kb,user_pct,system_pct,steal_pct,total_pct,command"


def own(program: str, name: str) -> list[tuple[str, list[str]]]:
    """The screens of a build of ptop."""
    return [
        (f"{name} {' '.join(arguments)}".rstrip(), [program, "-d", "1", *arguments])
        for arguments in (["--view", "snap", "--history", "0"], ["--history", "0"], [])
    ]


def measured(
    tools: Sequence[tuple[str, list[str]]], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """CPU time of each tool in each round, in ms a second."""
    found: dict[str, list[float]] = {name: [] for name, _ in tools}
    for _ in range(rounds):
        for name, command in tools:
            found[name].append(10 * cost(command, seconds, PANELS.get(name, "")))
    return found


@contextlib.contextmanager
def btop_each_second() -> Iterator[None]:
    """btop has no option for its interval."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "btop/btop.conf")
        path.parent.mkdir()
        path.write_text("update_ms = 1000\n")
        before = os.environ.get("XDG_CONFIG_HOME")
        os.environ["XDG_CONFIG_HOME"] = directory
        try:
            yield
        finally:
            del os.environ["XDG_CONFIG_HOME"]
            if before is not None:
                os.environ["XDG_CONFIG_HOME"] = before


@contextlib.contextmanager
def active() -> Iterator[None]:
    with started(ACTIVE):
        yield


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--ptop", nargs="*", default=[], help="other builds to compare")
    chosen = options.parse_args()
    program = shutil.which("ptop") or os.path.join(os.path.dirname(sys.executable), "ptop")
    tools = own(program, "ptop")
    tools.append(("ptop, no wait, no 60s", [program, "-d", "1", "--columns", PLAIN]))
    # It has command lines, as top has; goal: less than top.
    tools.append(("ptop --source procfs", [program, "-d", "1", "--source", "procfs"]))
    tools += [(f"ptop --view {view}", [program, "-d", "1", "--view", view]) for view in VIEWS]
    tools += [(name, [program, "-d", "1"]) for name in PANELS]
    for path in chosen.ptop:
        tools += own(path, path)
    for name, command in PEERS:
        if shutil.which(name):
            tools.append((name, command))
        else:
            print(f"{name} is not installed: left out")
    loads = (("1000 sleepers", load.sleepers(1000)), ("60 active", active()))
    for at, (words, running) in enumerate(loads):
        with running, btop_each_second():
            found = measured(tools, chosen.rounds, chosen.seconds)
        top = statistics.median(found["top"]) if "top" in found else float("nan")
        print(f"SCREEN  {words}, ms of CPU a second: median, least to most; ratio of top to it")
        for name, values in found.items():
            middle = statistics.median(values)
            line = f"  {name:<28} {middle:8.3f}  {min(values):.3f} to {max(values):.3f}"
            line += f"  {top / middle:6.1f}" if middle else ""
            goal = GOALS.get(name, (None, None))[at]
            if goal is not None:
                line += f"  goal {goal}: {'met' if middle <= goal else 'not met'}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
