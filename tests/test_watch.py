"""`watch` where its process is stopped; tests/guest has what needs a machine of its own."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import taskstats
from taskstats._core import cgroup_mount

INTERVAL_S = 0.2
STOP_S = 1.5
# Prints a line for each interval until its standard input ends.
WATCHER = f"""
import json, select, sys, taskstats
with taskstats.watch({INTERVAL_S}, source=sys.argv[1]) as intervals:
    for interval in intervals:
        row = interval.by_pid(int(sys.argv[2]))
        before, after = (end.by_pid(int(sys.argv[2])) for end in (interval.prev, interval.cur))
        print(json.dumps({{
            "length": interval.interval_ns,
            "ends": [interval.prev.monotonic_ns, interval.cur.monotonic_ns],
            "used": row.total_ns if row else 0,
            "cpu": [before.cpu_ns, after.cpu_ns],
        }}), flush=True)
        if select.select([sys.stdin], [], [], 0)[0]:
            break
"""


@contextmanager
def burner() -> Iterator[int]:
    """A process that uses a CPU."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def watched(source: str, stop: Callable[[int], None]) -> list[dict[str, Any]]:
    """The intervals that a watcher sees over a stop, some before and some after."""
    with burner() as pid:
        command = [sys.executable, "-c", WATCHER, source, str(pid)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as watcher:
            assert watcher.stdin is not None
            assert watcher.stdout is not None
            lines = [watcher.stdout.readline() for _ in range(2)]
            stop(watcher.pid)
            lines += [watcher.stdout.readline() for _ in range(4)]
            watcher.stdin.close()
            lines += watcher.stdout.readlines()
        assert watcher.returncode == 0
    return [json.loads(line) for line in lines]


def stop_by_signal(pid: int, _top: Path | None) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(STOP_S)
    os.kill(pid, signal.SIGCONT)


def stop_by_the_freezer(pid: int, top: Path | None) -> None:
    assert top is not None
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    own = next(line[3:] for line in lines if line.startswith("0::"))
    group = top / f"frozen-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(pid))
        (group / "cgroup.freeze").write_text("1")
        time.sleep(STOP_S)
        (group / "cgroup.freeze").write_text("0")
    finally:
        (top / own.lstrip("/") / "cgroup.procs").write_text(str(pid))
        group.rmdir()


@pytest.mark.parametrize("stop", [stop_by_signal, stop_by_the_freezer])
@pytest.mark.parametrize("source", ["bpf", "netlink", "procfs"])
def test_a_watcher_that_is_stopped_loses_no_time(
    source: str, stop: Callable[[int, Path | None], None], needs: Callable[[bool, str], None]
) -> None:
    needs(any(one.available for one in taskstats.sources() if one.name == source), source)
    top = cgroup_mount()
    needs(stop is stop_by_signal or top is not None, "cgroup v2 mounted")
    rows = watched(source, lambda pid: stop(pid, top))
    for row, following in itertools.pairwise(rows):
        assert row["ends"][1] == following["ends"][0], "one follows the other"
        assert row["cpu"][1] == following["cpu"][0]
    assert sum(row["used"] for row in rows) == rows[-1]["cpu"][1] - rows[0]["cpu"][0]
    # One interval has the stop. No other is cut short by it.
    assert max(row["length"] for row in rows) >= STOP_S * 1e9
    assert min(row["length"] for row in rows) >= 0.45 * INTERVAL_S * 1e9
    if source == "bpf":
        # Its lengths are by the scheduler's clock, between the instants.
        span = rows[-1]["ends"][1] - rows[0]["ends"][0]
        assert abs(sum(row["length"] for row in rows) - span) <= 0.01 * span
