"""What every source has in common, seen from Python."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import taskstats
from taskstats.recorded import Frames


def test_a_forked_child_cannot_use_its_parents_source(source: taskstats.Source) -> None:
    """Parent and child would take each other's answers from one socket or file."""
    source.snapshot()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            source.snapshot()
        except taskstats.Unsupported as error:
            status = 7 if "open another one after the fork" in str(error) else 2
        source.close()
        with taskstats.Source(source.name) as own:
            pids = [task.ac_pid for task in own.snapshot()]
        os._exit(status if len(pids) == len(set(pids)) else 3)
    assert os.waitpid(pid, 0)[1] == 7 << 8
    pids = [task.ac_pid for task in source.snapshot()]
    assert pids
    assert len(pids) == len(set(pids))


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.permutations(["bpf", "netlink", "procfs"], 2))
)
def test_snapshots_of_two_sources_match(
    first: str, second: str, needs: Callable[[bool, str], None]
) -> None:
    """procfs rounds a start down to a tick, netlink derives it from the age."""
    for report in taskstats.sources():
        needs(report.available or report.name == "proc", f"{report.name}: {report.reason}")
    with contextlib.ExitStack() as ending:
        pids = set()
        for _ in range(8):
            child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
            ending.enter_context(child)
            ending.callback(child.kill)
            pids.add(child.pid)
        # The kernel's name of a program that is not yet loaded is Python's.
        while [taskstats.task(pid).ac_comm for pid in pids] != ["cat"] * len(pids):
            time.sleep(0.01)
        time.sleep(0.05)
        interval = taskstats.usage(taskstats.snapshot(first), taskstats.snapshot(second))
    rows = interval.select(["ac_pid", "total_ns"])
    assert {pid for pid, used in rows if pid in pids and used is not None} == pids


def test_every_start_is_known_or_unknown(source: taskstats.Source) -> None:
    """No start of a process is 1970, also of one that is hidden from BPF."""
    starts = [task.ac_btime64 for task in source.snapshot()]
    assert all(start is None or start > 1_000_000_000 for start in starts)


FOREIGN_HOST_NAME = r"""
import ctypes, taskstats
assert ctypes.CDLL(None).sethostname(b"h\xffst", 4) == 0
with taskstats.Source("procfs") as source:
    print(ascii(source.snapshot().host))
"""


def test_a_host_name_that_is_no_utf8_is_shown(needs: Callable[[bool, str], None]) -> None:
    needs(os.geteuid() == 0, "needs root to change the host name")
    command = ["unshare", "--uts", sys.executable, "-c", FOREIGN_HOST_NAME]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "'h\\ufffdst'\n"


def test_a_reply_whose_code_is_no_errno_is_a_parse_error() -> None:
    datagram = struct.pack("=IHHIIi", 20, 2, 0, 1, 1, 258)
    with pytest.raises(taskstats.ParseError):
        taskstats.parse_netlink(datagram)


def test_a_time_is_found_in_a_recording_whose_clock_was_set_back(
    source: taskstats.Source, tmp_path: Path
) -> None:
    second = 10**9
    path = tmp_path / "d.tsd"
    start = 0
    # Seconds after the first snapshot, with the clock set back after the fourth one.
    seconds = [0, 10, 20, 30, -20, -10]
    with taskstats.Recorder(path) as recorder:
        for after in seconds:
            snapshot = source.snapshot()
            start = start or snapshot.time_ns
            old, new = (
                time.to_bytes(8, "little") for time in (snapshot.time_ns, start + after * second)
            )
            data = snapshot.to_bytes()
            assert old in data
            recorder.write(taskstats.parse(data.replace(old, new)))
    dump = taskstats.open(path)
    assert [(time - start) // second for time in dump.times_ns] == seconds
    found = [dump.find(start + after * second) for after in (-21, -15, 5, 29, 99)]
    assert found == [None, 4, 0, 2, 3]
    assert dump[1:].find(start + 15 * second) == 0
    frames = Frames(dump)
    # The frame that ends at the time or after it.
    assert [frames.at(start + after * second) for after in (-15, 5, 15, 30)] == [5, 1, 2, 3]


def test_procfs_reads_no_more_of_a_sleeper_than_may_change() -> None:
    """Its stat and its clock; a process that ran is read whole, with the user it became."""
    program = "import os, sys; sys.stdin.readline(); os.setuid(65534); sys.stdin.readline()"
    fields = ["ac_uid", "cpu_count", "cpu_delay_total"]
    sleepers = [subprocess.Popen(["sleep", "1000"]) for _ in range(200)]
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True)
    assert child.stdin is not None

    def waits_for_input() -> bool:
        return Path(f"/proc/{child.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "S"

    def check(snapshot: taskstats.Snapshot) -> None:
        task = snapshot.by_pid(child.pid)
        assert task is not None
        assert task.ac_uid == Path(f"/proc/{child.pid}").stat().st_uid
        schedstat = Path(f"/proc/{child.pid}/schedstat").read_text().split()
        assert [task.cpu_delay_total, task.cpu_count] == [int(word) for word in schedstat[1:]]

    try:
        with taskstats.Source("procfs", fields=fields) as source:
            while not waits_for_input():
                time.sleep(0.01)
            first = source.snapshot()
            check(first)
            again = source.snapshot()
            check(again)
            # Eight calls for each process that may have run, four for one that has not.
            assert again.syscalls <= first.syscalls - 4 * len(sleepers)
            child.stdin.write("\n")
            child.stdin.flush()
            while Path(f"/proc/{child.pid}").stat().st_uid != 65534 or not waits_for_input():
                time.sleep(0.01)
            check(source.snapshot())
            check(source.snapshot())
    finally:
        child.stdin.close()
        child.kill()
        child.wait()
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
