"""What a recorder writes, and refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import taskstats


def test_a_name_is_not_taken_from_another_task(
    dump: Path, needs: Callable[[bool, str], None]
) -> None:
    """One has died when its snapshot is written, one has left its pid to another."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    needs(os.access(last, os.W_OK), "choosing pids needs root")
    dead, gone = (subprocess.Popen(["sleep", "61"]) for _ in range(2))
    with taskstats.Source(exact=True) as source, taskstats.Recorder(dump) as recorder:
        # At a later clock tick.
        time.sleep(0.1)
        snapshot = source.snapshot()
        for process in (dead, gone):
            process.kill()
            process.wait()
        for _ in range(500):
            last.write_text(str(gone.pid - 1))
            other = subprocess.Popen(["sleep", "60"])
            if other.pid == gone.pid:
                break
            other.kill()
            other.wait()
        try:
            assert other.pid == gone.pid
            recorder.write(snapshot)
            recorder.write(source.snapshot())
        finally:
            other.kill()
            other.wait()
    first, second = taskstats.open(dump)
    found = [first.by_pid(dead.pid), first.by_pid(gone.pid), second.by_pid(gone.pid)]
    assert [task.cmdline for task in found if task] == [None, None, ["sleep", "60"]]


def test_a_cgroup_has_no_name_of_the_one_its_task_moved_to(
    dump: Path, needs: Callable[[bool, str], None]
) -> None:
    report = next(report for report in taskstats.sources() if report.name == "bpf")
    needs(report.available, report.reason)
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    mount = next((Path(words[1]) for words in mounts if words[2] == "cgroup2"), None)
    needs(bool(mount and os.access(mount, os.W_OK)), "cgroup v2 is not there to write to")
    assert mount
    left, entered = (mount / f"test-{name}-{os.getpid()}" for name in ("left", "entered"))
    process = subprocess.Popen(["sleep", "60"])
    try:
        for directory in (left, entered):
            directory.mkdir()
        (left / "cgroup.procs").write_text(str(process.pid))
        with taskstats.Source("bpf") as source, taskstats.Recorder(dump) as recorder:
            snapshot = source.snapshot()
            (entered / "cgroup.procs").write_text(str(process.pid))
            recorder.write(snapshot)
            recorder.write(source.snapshot())
        ids = [directory.stat().st_ino for directory in (left, entered)]
    finally:
        process.kill()
        process.wait()
        for directory in (left, entered):
            directory.rmdir()
    opened = taskstats.open(dump)
    tasks = [snapshot.by_pid(process.pid) for snapshot in opened]
    assert [task and task.cgroup_id for task in tasks] == ids
    assert [opened.cgroup(number) for number in ids] == [None, f"/{entered.name}"]


def test_a_recorder_reports_errors(dump: Path, written: list[taskstats.Snapshot]) -> None:
    recorder = taskstats.Recorder(dump, sync=None)
    recorder.write(written[0])
    recorder.sync()
    assert recorder.size == dump.stat().st_size
    assert recorder.dropped == 0
    with pytest.raises(taskstats.Unsupported, match="is being recorded to"):
        taskstats.Recorder(dump)
    recorder.close()
    recorder.close()
    with pytest.raises(ValueError, match="closed"):
        recorder.write(written[0])
    for options in ({"level": 0}, {"level": 23}, {"full_every": 0}, {"sync": -1.0}):
        with pytest.raises(ValueError, match=r"level|full_every|sync"):
            taskstats.Recorder(dump, **options)


def test_a_write_that_cannot_be_undone_is_reported(recorded: Path) -> None:
    """On a file that may not shrink, with no room for a whole snapshot."""
    script = f"""
import fcntl, os, resource, taskstats
file = os.memfd_create("dump", os.MFD_ALLOW_SEALING)
os.write(file, open({str(recorded)!r}, "rb").read())
recorder = taskstats.Recorder(f"/proc/self/fd/{{file}}", level=None)
fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
size = recorder.size
with taskstats.Source() as source:
    snapshot = source.snapshot()
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
    try:
        recorder.write(snapshot)
    except OSError as error:
        print(error)
    assert os.fstat(file).st_size == size + 100
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    # The next one is written over what is left of it.
    recorder.write(snapshot)
print(len(taskstats.open(f"/proc/self/fd/{{file}}").check()), recorder.size > size)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    error, after = done.stdout.splitlines()
    assert "File too large" in error
    assert "could not be taken back: Operation not permitted" in error
    assert after == "0 True"


def test_a_partial_snapshot_needs_the_one_before(
    dump: Path, needs: Callable[[bool, str], None]
) -> None:
    report = next(report for report in taskstats.sources() if report.name == "bpf")
    needs(report.available, report.reason)
    with taskstats.Source("bpf", changed=True) as source:
        whole = source.snapshot()
        changed = source.snapshot()
        skipped = source.snapshot()
    with taskstats.Recorder(dump) as recorder:
        with pytest.raises(taskstats.ParseError):
            recorder.write(changed)
        assert len(taskstats.open(dump)) == 0
        recorder.write(whole)
        with pytest.raises(taskstats.ParseError):
            recorder.write(skipped)
        recorder.write(whole)
        recorder.write(changed)
    kept, again, after = taskstats.open(dump)
    assert again.to_bytes() == kept.to_bytes()
    assert after.monotonic_ns == changed.monotonic_ns
    assert len(after) == len(changed) + changed.unchanged
    # With the names that were to go with the refused one.
    assert all(task.cmdline for task in kept if task.ac_pid == os.getpid())
