"""Recordings of the tasks that ran: those that did not are as exact as their age tells."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import taskstats
from taskstats.recorded import rows

# Touches the pages of a file, and never runs again.
SLEEPER = """
import mmap, signal, sys
with open(sys.argv[1], "r+b") as file:
    pages = mmap.mmap(file.fileno(), 0)
assert sum(pages[at] for at in range(0, len(pages), 4096)) == 0
print("ready", flush=True)
signal.pause()
"""
PAGES_KB = 32 << 10
SYS_PROCESS_MADVISE = 440
MADV_PAGEOUT = 21


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[int]:
    file = tmp_path / "pages"
    file.write_bytes(bytes(PAGES_KB << 10))
    command = [sys.executable, "-c", SLEEPER, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)
            yield process.pid
        finally:
            process.send_signal(signal.SIGKILL)


def reclaim(pid: int, file: Path) -> None:
    """Take the pages of a file from a process that sleeps."""
    os.sync()
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    (line,) = (line for line in maps if line.endswith(str(file)))
    begin, end = (int(part, 16) for part in line.split()[0].split("-"))
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.pidfd_open(pid)
    vector = (ctypes.c_size_t * 2)(begin, end - begin)
    done = libc.syscall(
        SYS_PROCESS_MADVISE, descriptor, ctypes.byref(vector), ctypes.c_size_t(1), MADV_PAGEOUT, 0
    )
    os.close(descriptor)
    assert done == end - begin, os.strerror(ctypes.get_errno())


@pytest.fixture
def cgroup(needs: Callable[[bool, str], None]) -> Iterator[Path]:
    from taskstats._core import cgroup_mount

    mount = cgroup_mount()
    needs(mount is not None and os.geteuid() == 0, "needs root and cgroup v2")
    assert mount is not None
    path = mount / f"ptop-test-{os.getpid()}"
    path.mkdir()
    yield path
    for pid in (path / "cgroup.procs").read_text().split():
        (mount / "cgroup.procs").write_text(pid)
    path.rmdir()


def test_what_changes_while_a_task_sleeps_is_read_within_a_minute(
    sleeper: int, cgroup: Path, tmp_path: Path
) -> None:
    dump = tmp_path / "dump.tsd"
    with taskstats.Source("bpf", changed=True) as source, taskstats.Recorder(dump) as recorder:
        first = source.snapshot()
        recorder.write(first)
        reclaim(sleeper, tmp_path / "pages")
        (cgroup / "cgroup.procs").write_text(str(sleeper))
        os.setpriority(os.PRIO_PROCESS, sleeper, 7)
        taken = source.snapshot()
        recorder.write(taken)
        assert taken.by_pid(sleeper) is None
        while taken.unchanged:
            time.sleep(0.5)
            taken = source.snapshot()
            recorder.write(taken)
    recorded = list(taskstats.open(dump))
    stale, fresh = recorded[1], recorded[-1]
    assert [len(stale.exits), stale.all_read_ns] == [stale.exited, first.monotonic_ns]
    assert fresh.all_read_ns == fresh.monotonic_ns
    assert all(one.all_read_ns == first.monotonic_ns for one in recorded[1:-1])
    before, old, new = (one.by_pid(sleeper) for one in (first, stale, fresh))
    assert before is not None
    assert old is not None
    assert new is not None
    same = ("rss_kb", "cgroup_id", "ac_nice", "ac_sum_exec_ns", "nvcsw")
    assert [getattr(old, name) for name in same] == [getattr(before, name) for name in same]
    assert new.rss_kb is not None
    assert old.rss_kb is not None
    assert new.rss_kb <= old.rss_kb - PAGES_KB // 2
    assert (new.cgroup_id, new.ac_nice) == (cgroup.stat().st_ino, 7)
    interval = taskstats.usage(recorded[-2], fresh)
    assert (sleeper, f"/{cgroup.name}") in rows(interval, ["ac_pid", "cgroup"])
    assert (new.nvcsw, new.ac_sum_exec_ns) == (old.nvcsw, old.ac_sum_exec_ns)
    # It ages, although it has no record.
    assert old.ac_etime is not None
    assert before.ac_etime is not None
    aged_us = old.ac_etime - before.ac_etime
    assert abs(aged_us - (stale.monotonic_ns - first.monotonic_ns) // 1000) <= 1


def test_the_books_of_a_recording_are_those_of_its_source(tmp_path: Path) -> None:
    dump = tmp_path / "dump.tsd"
    live = []
    with taskstats.Source("bpf", changed=True) as source, taskstats.Recorder(dump) as recorder:
        before: taskstats.Snapshot | taskstats.Interval = source.snapshot()
        assert isinstance(before, taskstats.Snapshot)
        recorder.write(before)
        for number in range(12):
            for _ in range(10):
                subprocess.run(["true"], check=True)
            sum(range(100_000 * number))
            snapshot = source.snapshot()
            recorder.write(snapshot)
            before = taskstats.usage(before, snapshot)
            live.append(before)
    recorded = list(taskstats.open(dump))
    assert len(recorded) == len(live) + 1
    for number, interval in enumerate(live):
        pair = taskstats.usage(recorded[number], recorded[number + 1])
        whole = {row.pid: row.total_ns for row in pair if row.total_ns or row.exited}
        ran = {row.pid: row.total_ns for row in interval if row.total_ns or row.exited}
        assert whole == ran
        assert {row.pid for row in interval} <= {row.pid for row in pair}
        assert pair.books() == interval.books()
        assert pair.cpu_use() == interval.cpu_use()
        snapshot = recorded[number + 1]
        assert snapshot.unchanged == 0
        living = len(snapshot) - (snapshot.exited or 0)
        assert len({task.ac_pid for task in snapshot}) >= living


def test_a_burst_of_tasks_leaves_nothing_behind(tmp_path: Path) -> None:
    dump = tmp_path / "dump.tsd"
    with taskstats.Source("bpf", changed=True) as source, taskstats.Recorder(dump) as recorder:
        recorder.write(source.snapshot())
        sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(300)]
        recorder.write(source.snapshot())
        for process in sleepers:
            process.kill()
        for process in sleepers:
            process.wait()
        recorder.write(source.snapshot())
        # The dead are rows of one snapshot.
        recorder.write(source.snapshot())
    pids = {process.pid for process in sleepers}
    found = [{task.ac_pid for task in snapshot} & pids for snapshot in taskstats.open(dump)]
    assert [len(one) for one in found] == [0, 300, 300, 0]
