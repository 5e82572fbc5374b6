"""Snapshots while tasks start and exit all the time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import taskstats

STORM = """
import os, threading
def thread(): pass
def child():
    threads = [threading.Thread(target=thread) for _ in range(2)]
    for one in threads: one.start()
    os._exit(0)
while True:
    pids = [os.fork() or child() for _ in range(8)]
    for pid in pids: os.waitpid(pid, 0)
"""


@contextlib.contextmanager
def storm() -> Iterator[int]:
    """Processes with threads that live shorter than a sweep; yields their parent's pid."""
    with subprocess.Popen([sys.executable, "-c", STORM], start_new_session=True) as parent:
        try:
            yield parent.pid
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


@pytest.mark.parametrize("threads", [False, True])
def test_tasks_that_vanish_in_a_sweep_affect_no_other_row(
    source: taskstats.Source, threads: bool
) -> None:
    sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(10)]
    try:
        stays = {child.pid for child in sleepers} | {1, os.getpid()}
        source.configure(threads=threads, fields=["state", "read_char", "nvcsw"])
        with storm() as parent:
            seen: set[int] = set()
            for _ in range(20_000):
                snapshot = source.snapshot()
                living = [task.ac_pid for task in snapshot if not task.exited]
                assert stays <= set(living)
                assert None not in living
                assert len(living) == len(set(living)), "a task is listed twice"
                children = {task.ac_pid for task in snapshot if task.ac_ppid == parent}
                seen |= {pid for pid in children if pid is not None}
                if len(seen) >= 100:
                    break
            assert len(seen) >= 100, "the storm did not run"
    finally:
        for child in sleepers:
            child.kill()
            child.wait()
