"""More tasks exit in an interval than the kernel has room to store: none is missing."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import taskstats

PTOP = [sys.executable, "-m", "ptop"]
# include/linux/sched.h
EXIT_DEAD = 0x10
# Exit slots of the bpf source.
SLOTS = 16_384
STORMS, EACH = 2, 30_000
# Long enough that the storm spans three intervals at most.
DELAY = "6"

# Starts that many threads, ten at a time; each ends at once. Its name is its own: another
# process may get its pid before the test ends.
THREADS = """
import _thread, sys, threading
with open("/proc/self/comm", "w") as comm:
    comm.write(sys.argv[2])
lock = threading.Semaphore(0)
for _ in range(int(sys.argv[1]) // 10):
    for _ in range(10):
        _thread.start_new_thread(lock.release, ())
    for _ in range(10):
        lock.acquire()
"""


storms = itertools.count(1)


@pytest.fixture(params=["bpf", "netlink"])
def name(request: pytest.FixtureRequest, needs: Callable[[bool, str], None]) -> str:
    found: str = request.param
    report = next(report for report in taskstats.sources() if report.name == found)
    needs(report.available, f"{found}: {report.reason}")
    return found


def storm() -> str:
    """Run the storm to its end; returns the name of its tasks."""
    name = f"storm{os.getpid()}-{next(storms)}"
    words = [sys.executable, "-S", "-c", THREADS, str(EACH), name]
    running = [subprocess.Popen(words) for _ in range(STORMS)]
    for process in running:
        assert process.wait() == 0
    return name


def test_a_batch_has_all_of_them(name: str) -> None:
    words = [*PTOP, "-b", "-n", "6", "-d", DELAY, "--threads", "--format", "json"]
    words += ["--columns", "state"]
    ptop = subprocess.Popen([*words, "--source", name], stdout=subprocess.PIPE, text=True)
    assert ptop.stdout
    ptop.stdout.readline()
    comm = storm()
    found: list[int] = []
    for line in ptop.stdout:
        tasks = json.loads(line)["tasks"]
        # A task that is exiting at the end of an interval is in the next one as well.
        dead = (task for task in tasks if task.get("exited") and task["state"] >> 16 == EXIT_DEAD)
        found.append(sum(task["ac_comm"] == comm for task in dead))
        if sum(found) >= STORMS * (EACH + 1):
            break
    ptop.kill()
    ptop.communicate()
    assert sum(found) == STORMS * (EACH + 1)
    assert max(found) > SLOTS, "a storm, not a shower"


def test_a_recording_has_all_of_them(name: str, tmp_path: Path) -> None:
    path = tmp_path / "storm.tsd"
    words = [*PTOP, "record", "-o", str(path), "-d", DELAY, "--threads", "--source", name]
    recorder = subprocess.Popen(words, stderr=subprocess.PIPE)

    def recorded() -> int:
        return len(taskstats.open(path)) if path.exists() and path.stat().st_size else 0

    def wait_for(count: int) -> None:
        end = time.monotonic() + 60
        while recorded() < count:
            assert time.monotonic() < end
            time.sleep(0.1)

    wait_for(1)
    comm = storm()
    # The next snapshot may have begun before the last of them exited.
    wait_for(recorded() + 2)
    recorder.send_signal(signal.SIGTERM)
    recorder.communicate()
    first, *others = taskstats.open(path)
    dead = [
        [task for task in snapshot.exits if (task.state or 0) >> 16 == EXIT_DEAD]
        for snapshot in others
    ]
    found = [sum(task.ac_comm == comm for task in tasks) for tasks in dead]
    assert sum(found) == STORMS * (EACH + 1)
    assert max(found) > SLOTS, "a storm, not a shower"
    assert others[-1].exits_lost == first.exits_lost
    if name == "bpf":
        books = taskstats.usage(first, others[-1], exits=others[:-1]).books()
        assert books["rowless_ns"] == 0
        assert books["residual_ns"] is not None
        assert books["bound_ns"] is not None
        allowed = books["bound_ns"] + 0.002 * (books["available_ns"] or 0)
        assert abs(books["residual_ns"]) <= allowed


def test_an_audit_closes_over_it(needs: Callable[[bool, str], None]) -> None:
    report = next(report for report in taskstats.sources() if report.name == "bpf")
    needs(report.available, f"bpf: {report.reason}")
    words = [*PTOP, "audit", "-n", "3", "-d", DELAY, "--format", "json", "--source", "bpf"]
    audit = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert audit.stdout
    audit.stdout.readline()
    storm()
    lines = [json.loads(line) for line in audit.communicate()[0].splitlines()]
    assert lines[-1]["overall"]
    assert lines[-1]["rowless_ns"] == 0
    allowed = lines[-1]["bound_ns"] + 0.002 * lines[-1]["available_ns"]
    assert abs(lines[-1]["residual_ns"]) <= allowed
