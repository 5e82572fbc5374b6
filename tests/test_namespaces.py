"""Sources in a time namespace, whose clocks are ahead of the kernel's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import taskstats

AHEAD = ["unshare", "--time", "--boottime", "8640000", "--monotonic", "5000", "--fork"]

SCRIPT = """
import os, subprocess, sys, time, taskstats
kind, path = sys.argv[1:]
born = time.time()
child = subprocess.Popen(["sleep", "600"])
try:
    with taskstats.Source(kind, exact=True, cpu_times=True) as source:
        before = time.time()
        first = source.snapshot()
        end = time.thread_time() + 0.2
        while time.thread_time() < end: pass
        last = source.snapshot()
    assert before - 1 < first.time_ns / 1e9 < time.time() + 1, first.time_ns
    task = last.by_pid(child.pid)
    # Over netlink the start is derived.
    assert abs(task.start_time - born) < 1, (task.start_time, born)
    assert abs(task.ac_btime64 - born) < 3, (task.ac_btime64, born)
    assert 0 <= task.ac_etime / 1e6 < time.time() - born + 1, task.ac_etime
    interval = taskstats.usage(first, last)
    (used,) = interval.select(["total_ns"], pids=[os.getpid()])[0]
    assert used >= 0.19e9, used
    with taskstats.Recorder(path) as recorder:
        recorder.write(last)
    with taskstats.open(path) as dump:
        (recorded,) = [task for task in dump[0] if task.ac_pid == child.pid]
        assert recorded.cmdline == ["sleep", "600"], recorded.cmdline
finally:
    child.kill()
    child.wait()
"""


@pytest.mark.parametrize("kind", ["bpf", "netlink", "procfs"])
def test_clocks_and_starts_are_right_in_a_time_namespace(
    kind: str, tmp_path: Path, needs: Callable[[bool, str], None]
) -> None:
    report = next(report for report in taskstats.sources() if report.name == kind)
    needs(report.available, f"{kind}: {report.reason}")
    allowed = subprocess.run([*AHEAD, "true"], capture_output=True)
    needs(allowed.returncode == 0, f"no time namespaces: {allowed.stderr!r}")
    done = subprocess.run(
        [*AHEAD, sys.executable, "-c", SCRIPT, kind, str(tmp_path / "day.tsd")],
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
