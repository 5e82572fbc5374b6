"""The package as a script uses it, on this machine's kernel."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import taskstats

DATA = Path(__file__).parent / "data"
# The kernel adds what a running task has used to its sum at each tick: this long at most.
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def test_a_snapshot_knows_this_process(source: taskstats.Source) -> None:
    snapshot = source.snapshot()
    assert snapshot.source == source.name
    assert len(snapshot) > 1
    task = snapshot.by_pid(os.getpid())
    assert task is not None
    assert task.ac_pid == task.ac_tgid == os.getpid()
    assert task.ac_ppid == os.getppid()
    assert task.ac_uid == os.getuid()
    assert task.name == task.ac_comm == Path("/proc/self/comm").read_text().strip()
    assert task.cmdline is not None
    assert task.cmdline[0] == Path("/proc/self/cmdline").read_text().split("\0")[0]
    assert task.start_time is not None
    assert abs(task.start_time - Path("/proc/self").stat().st_ctime) < 86_400
    assert task.rss_kb is not None
    assert task.rss_kb > 1000


def test_cpu_time_agrees_with_the_process_clock(source: taskstats.Source) -> None:
    # A process of its own: this one has had threads, of whose ends netlink misses some us each.
    program = """if True:
        import os, time, taskstats
        with taskstats.Source(%r) as source:
            earlier = time.process_time_ns()
            task = source.snapshot().by_pid(os.getpid())
            print(earlier, task.cpu_ns, time.process_time_ns())
        """
    command = [sys.executable, "-c", program % source.name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    earlier, cpu_ns, later = (int(word) for word in done.stdout.split())
    # The record was made between the two readings, and is late by a tick at most.
    assert earlier - TICK_NS <= cpu_ns <= later


def test_a_snapshot_is_a_sequence(source: taskstats.Source) -> None:
    snapshot = source.snapshot()
    tasks = list(snapshot)
    assert len(tasks) == len(snapshot)
    assert snapshot[-1].ac_pid == tasks[-1].ac_pid
    assert snapshot.by_pid(2**31) is None
    with pytest.raises(IndexError):
        snapshot[len(snapshot)]
    with pytest.raises(IndexError):
        snapshot[-len(snapshot) - 1]


def test_numpy_sees_the_same_memory(source: taskstats.Source) -> None:
    snapshot = source.snapshot()
    array = snapshot.numpy()
    again = np.asarray(snapshot)
    assert array.ctypes.data == again.ctypes.data
    assert not array.flags.writeable
    assert not array.flags.owndata
    assert array.itemsize == snapshot.record_size == memoryview(snapshot).itemsize
    assert set(array.dtype.names or ()) == set(snapshot.fields)
    assert list(array["ac_pid"]) == [task.ac_pid for task in snapshot]
    assert [name.rstrip(b"\0").decode(errors="replace") for name in array["ac_comm"]] == [
        task.ac_comm for task in snapshot
    ]
    valid = np.asarray(snapshot.valid("ac_pid"))
    assert valid.dtype == np.bool_
    assert valid.all()


def test_numpy_sees_the_fields_of_each_snapshot() -> None:
    few = ["ac_pid", "ac_comm"]
    for fields in (few, None, few, [*few, "ac_nice"]):
        for _ in range(2):
            snapshot = taskstats.snapshot(fields=fields)
            array = snapshot.numpy()
            assert array.dtype == np.asarray(snapshot).dtype
            assert set(array.dtype.names or ()) == set(snapshot.fields)
            assert not array.flags.writeable
            assert list(array["ac_pid"]) == [task.ac_pid for task in snapshot]
    assert len(taskstats.snapshot(fields=few).exits.numpy()) == 0


def test_memory_outlives_the_snapshot(source: taskstats.Source) -> None:
    array = source.snapshot().numpy()
    pids = array["ac_pid"].copy()
    for _ in range(3):
        source.snapshot()
    assert (array["ac_pid"] == pids).all()


def test_a_forked_child_keeps_its_snapshot(source: taskstats.Source) -> None:
    snapshot = source.snapshot()
    before = bytes(memoryview(snapshot).cast("B"))
    taken, go = os.pipe()
    if not (pid := os.fork()):
        # Nothing of pytest may run in the child.
        try:
            os.read(taken, 1)
            os._exit(bytes(memoryview(snapshot).cast("B")) != before)
        finally:
            os._exit(2)
    del snapshot
    later = [source.snapshot() for _ in range(2)]
    os.write(go, b"x")
    _, status = os.waitpid(pid, 0)
    os.close(taken)
    os.close(go)
    assert os.waitstatus_to_exitcode(status) == 0
    assert len(later[1]) > 1


def test_snapshots_and_tasks_are_pickled(source: taskstats.Source) -> None:
    snapshot = source.snapshot()
    copy = pickle.loads(pickle.dumps(snapshot))
    assert copy.to_bytes() == snapshot.to_bytes()
    assert copy.host == snapshot.host
    task = pickle.loads(pickle.dumps(snapshot[1]))
    assert task.to_dict() == snapshot[1].to_dict()


def test_unknown_is_none_and_says_why(source: taskstats.Source) -> None:
    snapshot = source.snapshot()
    assert snapshot.status("ac_sttime") == "unsupported"
    assert snapshot[0].ac_sttime is None
    if not snapshot.delayacct:
        assert snapshot.status("blkio_delay_total") == "off"
        assert snapshot[0].blkio_delay_total is None
    with pytest.raises(ValueError, match='no field "nonsense"'):
        snapshot.status("nonsense")


def test_fields_that_are_not_wanted_are_not_read() -> None:
    snapshot = taskstats.snapshot("procfs", fields=[])
    assert snapshot.status("read_char") == "not read"
    assert snapshot[0].read_char is None


def test_an_interval_finds_work(source: taskstats.Source) -> None:
    begin = time.process_time_ns()
    before = source.snapshot()
    end = time.process_time_ns() + 150_000_000
    while time.process_time_ns() < end:
        pass
    interval = taskstats.usage(before, source.snapshot())
    most = time.process_time_ns() - begin
    (row,) = interval.select(["ac_pid", "total_ns", "total_pct"], pids=[os.getpid()])
    pid, total, share = row
    assert pid == os.getpid()
    assert isinstance(total, int)
    assert isinstance(share, float)
    assert 150_000_000 - TICK_NS <= total <= most + TICK_NS
    assert share == pytest.approx(100 * total / interval.interval_ns)
    top = interval.select(["ac_pid", "total_ns"], sort="total_ns", limit=5)
    totals = [value for _, value in top if isinstance(value, int)]
    assert totals == sorted(totals, reverse=True)
    (all_rows,) = interval.sum(["total_ns"])
    everything = interval.select(["total_ns"])
    assert all_rows == sum(value for (value,) in everything if isinstance(value, int))
    assert interval.count(pids={os.getpid()}) == 1
    assert sum(interval.states().values()) <= len(interval)
    following = taskstats.usage(interval, source.snapshot())
    assert following.prev.time_ns == interval.cur.time_ns


def test_a_group_has_the_sums_of_its_members(source: taskstats.Source) -> None:
    interval = taskstats.usage(source.snapshot(), source.snapshot())
    memory: dict[object, int] = {}
    tasks: dict[object, int] = {}
    for uid, rss, exited in interval.select(["ac_uid", "rss_kb", "exited"]):
        tasks[uid] = tasks.get(uid, 0) + 1
        if isinstance(rss, int) and not exited:
            memory[uid] = memory.get(uid, 0) + rss
    groups = interval.fold("user").select(["ac_uid", "tasks", "rss_kb", "ac_pid"])
    assert {uid: number for uid, number, *_ in groups} == tasks
    assert {uid: rss for uid, _, rss, _ in groups if rss is not None} == memory
    assert all(pid is None for _, number, _, pid in groups if number != 1)


def test_groups_are_made_once_an_interval(source: taskstats.Source) -> None:
    before, after = source.snapshot(), source.snapshot()
    interval = taskstats.usage(before, after)
    groups = interval.fold("name")
    assert interval.group("name") is groups
    assert taskstats.usage(before, after).fold("name") is not groups
    assert interval.fold("parent") is not groups
    assert len(interval.fold("name")) == len(groups), "the last ones are kept, no others"


def test_snapshots_that_cannot_be_compared_are_refused(source: taskstats.Source) -> None:
    first, second = source.snapshot(), source.snapshot()
    with pytest.raises(ValueError, match="the second snapshot was taken before the first"):
        taskstats.usage(second, first)
    source.configure(threads=True)
    with pytest.raises(ValueError, match="only one of the snapshots has threads as rows"):
        taskstats.usage(second, source.snapshot())


def test_unknown_columns_are_refused(source: taskstats.Source) -> None:
    interval = taskstats.usage(source.snapshot(), source.snapshot())
    with pytest.raises(ValueError, match='no column "foo"'):
        interval.select(["foo"])


def test_threads(source: taskstats.Source) -> None:
    source.configure(threads=True)
    snapshot = source.snapshot()
    assert snapshot.threads
    assert len(snapshot) >= len(taskstats.snapshot("procfs"))


def test_single_tasks(needs: Callable[[bool, str], None]) -> None:
    needs(os.geteuid() == 0, "needs CAP_NET_ADMIN")
    with subprocess.Popen(["sleep", "60"]) as child:
        task = taskstats.get(child.pid)
        child.kill()
    assert (task.ac_pid, task.ac_ppid) == (child.pid, os.getpid())
    own = taskstats.get_tgid(os.getpid())
    assert own.cpu_ns is not None
    assert own.ac_comm is None
    with pytest.raises(taskstats.NoSuchTask) as caught:
        taskstats.get(2**30)
    assert isinstance(caught.value, ProcessLookupError)
    assert caught.value.errno == 3


def test_without_privilege_netlink_is_denied() -> None:
    script = """
import sys, taskstats
taskstats.drop_privileges("procfs")
assert taskstats.Source().name == "procfs"
for call in (lambda: taskstats.get(1), lambda: taskstats.Source("netlink")):
    try:
        call()
    except taskstats.AccessDenied as error:
        assert isinstance(error, PermissionError) and error.errno == 1, error
        assert "CAP_NET_ADMIN" in str(error)
    else:
        sys.exit("not denied")
"""
    subprocess.run([sys.executable, "-c", script], check=True)


# Peaks in KiB of children of a process of 200 MB, by wait4 alone.
PEAKS = """
import resource, subprocess, sys, taskstats
taskstats.drop_privileges("procfs")
# Exec keeps the peak of the process that started this one, which may be large.
own_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
large = str(own_mib + 100)
allocate = "import sys; bytearray(int(sys.argv[1]) << 20)"
print(large)
for words in (["true"], [sys.executable, "-c", allocate, large], ["true"]):
    with taskstats.track() as tracker:
        subprocess.run(words, check=True)
    assert tracker.use.collector == "wait4", tracker.use
    print(tracker.use.max_rss_kb, any("memory" in note for note in tracker.use.notes))
"""


def test_the_peak_memory_of_a_child_is_not_that_of_its_parent() -> None:
    ran = subprocess.run([sys.executable, "-c", PEAKS], check=True, capture_output=True, text=True)
    (large,), first, second, third = (line.split() for line in ran.stdout.splitlines())
    # The third child is smaller than the second, which is not in its block.
    assert first == third == ["None", "True"]
    assert second[1] == "False"
    assert 0 <= int(second[0]) - 1024 * int(large) <= 40 * 1024


def test_read_only_records_are_parsed_on_the_same_memory() -> None:
    datagram = (DATA / "netlink-pid-v16.bin").read_bytes()
    array = np.frombuffer(datagram[36:] * 3, dtype=np.uint8)
    assert not array.flags.writeable
    snapshot = taskstats.parse(array)
    assert (len(snapshot), snapshot.version, snapshot.source) == (3, 16, "bytes")
    assert snapshot.numpy().ctypes.data == array.ctypes.data
    assert {task.name for task in snapshot} == {"sleep"}
    assert taskstats.parse(snapshot.numpy())[2].name == "sleep"


@pytest.mark.parametrize(
    "view",
    [
        lambda data: data,
        memoryview,
        lambda data: memoryview(data).toreadonly(),
        lambda data: np.frombuffer(data, np.uint8),
    ],
)
def test_writable_records_are_copied(view: Callable[[bytearray], Any]) -> None:
    data = bytearray((DATA / "netlink-pid-v16.bin").read_bytes()[36:])
    snapshot = taskstats.parse(view(data))
    before = snapshot[0].to_dict()
    data[:] = bytes(len(data))
    assert snapshot[0].to_dict() == before
    assert snapshot[0].name == "sleep"


def test_captured_datagrams_are_walked() -> None:
    ((kind, pid, task),) = taskstats.parse_netlink((DATA / "netlink-pid-v16.bin").read_bytes())
    assert (kind, pid, task.name) == ("pid", task.ac_pid, "sleep")
    ((kind, tgid, _),) = taskstats.parse_netlink((DATA / "netlink-tgid-v16.bin").read_bytes())
    assert (kind, tgid) == ("tgid", pid)
    with pytest.raises(taskstats.NoSuchTask):
        taskstats.parse_netlink((DATA / "netlink-esrch-v16.bin").read_bytes())


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        (b"", 0),
        (b"\0" * 432, 0),
        (b"\x0e\0" + b"\0" * 429, 0),
        (b"\x0e\0" + b"\0" * 999, 432),
        (b"TSKSNAP\n", 8),
    ],
)
def test_bad_bytes_have_an_offset(data: bytes, offset: int) -> None:
    with pytest.raises(taskstats.ParseError) as caught:
        taskstats.parse(data)
    assert caught.value.offset == offset
    assert isinstance(caught.value, ValueError)
    assert pickle.loads(pickle.dumps(caught.value)).offset == offset


def test_a_closed_source_says_so() -> None:
    with taskstats.Source("procfs") as source:
        pass
    with pytest.raises(ValueError, match="closed"):
        source.snapshot()
    with pytest.raises(ValueError, match="choose auto, proc, bpf, netlink or procfs"):
        taskstats.Source("nonsense")


def test_the_field_table_names_every_attribute_of_a_task() -> None:
    names = [field["name"] for field in taskstats.FIELDS]
    assert len(names) == len(set(names))
    for name in names:
        assert isinstance(getattr(taskstats.Task, name).__doc__, str)
