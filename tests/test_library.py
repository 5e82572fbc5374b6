"""What an author gets without asking for it: the dead, tables, cheap single snapshots."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import taskstats
from taskstats._core import column_types

SPIN = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"


@pytest.fixture
def exact(needs: Callable[[bool, str], None]) -> None:
    """Only where the best source is exact."""
    with taskstats.Source() as source:
        needs(source.name == "bpf", "needs the bpf source")


def test_a_source_shows_the_dead_without_being_asked(exact: None) -> None:
    with taskstats.Source() as source:
        before = source.snapshot()
        child = subprocess.Popen(["sh", "-c", SPIN])
        _, _, used = os.wait4(child.pid, 0)
        child.returncode = 0
        interval = taskstats.usage(before, source.snapshot())
    row = interval.by_pid(child.pid)
    assert row is not None
    assert row.exited
    assert interval.exited
    expected_ns = (used.ru_utime + used.ru_stime) * 1e9
    # wait4 counts to the microsecond, from the fork on.
    assert row.total_ns == pytest.approx(expected_ns, rel=0.05, abs=2e6)


def test_what_nobody_counted_is_unknown(exact: None) -> None:
    with taskstats.Source(exact=False) as source:
        before = source.snapshot()
        subprocess.run(["true"], check=True)
        after = source.snapshot()
    assert after.exited is None
    assert taskstats.usage(before, after).exited is None
    assert taskstats.snapshot().exited is None
    with taskstats.Source() as source:
        assert source.snapshot().exited is not None


def test_single_snapshots_make_an_interval() -> None:
    before = taskstats.snapshot()
    begin = time.process_time_ns()
    while time.process_time_ns() - begin < 20_000_000:
        pass
    after = taskstats.snapshot()
    interval = taskstats.usage(before, after)
    row = interval.by_pid(os.getpid())
    assert row is not None
    assert row.total_ns is not None
    assert row.total_ns >= 20_000_000
    # Tasks that were there before are known.
    unknown = [row for row in interval if row.total_ns is None]
    assert len(unknown) < len(interval) / 10


def test_snapshots_of_two_sources_match(exact: None) -> None:
    with taskstats.Source("bpf") as one, taskstats.Source("bpf") as other:
        interval = taskstats.usage(one.snapshot(), other.snapshot())
    row = interval.by_pid(os.getpid())
    assert row is not None
    assert row.total_ns


OTHER = """
import sys, taskstats
with taskstats.Source("bpf", exact=False) as source:
    sys.stdout.buffer.write(source.snapshot().to_bytes())
"""


def test_snapshots_of_two_processes_match_by_pid_and_start(exact: None) -> None:
    def taken() -> taskstats.Snapshot:
        done = subprocess.run([sys.executable, "-c", OTHER], stdout=subprocess.PIPE, check=True)
        return taskstats.parse(done.stdout)

    first, second = taken(), taken()
    tasks = first.by_pid(os.getpid()), second.by_pid(os.getpid())
    assert tasks[0] is not None
    assert tasks[1] is not None
    # Each process has a key of its own for the ids.
    assert tasks[0].task_id != tasks[1].task_id
    row = taskstats.usage(first, second).by_pid(os.getpid())
    assert row is not None
    assert row.total_ns is not None
    assert row.total_ns > 0


def test_a_bare_array_has_no_time_and_no_place() -> None:
    layout = taskstats.snapshot("procfs")
    bare = taskstats.parse(bytes(memoryview(layout).tobytes()))
    table = pa.table(bare)
    # Nor is it known whether its tasks had died.
    for name in ("time_ns", "host", "boot_id", "exited"):
        assert table.column(name).null_count == len(bare), name
    assert bare.exited is None


def test_live_rows_have_the_names_of_users_cgroups_and_commands() -> None:
    with taskstats.watch(0.05) as intervals:
        columns = next(intervals).columns(["ac_pid", "user", "cmdline", "title"])
    mine = list(columns["ac_pid"]).index(os.getpid())
    assert columns["user"][mine] == taskstats.user_name(os.getuid())
    assert "pytest" in str(columns["cmdline"][mine])
    assert columns["title"][mine]


def test_rows_of_an_interval_are_attributes() -> None:
    with taskstats.watch(0.05) as intervals:
        interval = next(intervals)
    rows = list(interval)
    assert len(rows) == len(interval)
    row = interval.by_pid(os.getpid())
    assert row is not None
    assert row.pid == row["ac_pid"] == os.getpid()
    assert row.ppid == os.getppid()
    assert row.uid == os.getuid()
    assert row.task is not None
    assert row.rss_kb == row.task.rss_kb
    assert row.to_dict(["ac_pid", "tasks"]) == {"ac_pid": os.getpid(), "tasks": 1}
    assert repr(row).startswith(f"<taskstats.Row: pid {os.getpid()} ")
    assert interval.by_pid(2**22) is None
    with pytest.raises(AttributeError, match=r"no column .nonsense"):
        _ = row.nonsense
    with pytest.raises(KeyError):
        _ = row["nonsense"]


def test_a_table_is_the_first_rows() -> None:
    with taskstats.watch(0.05) as intervals:
        interval = next(intervals)
    table = interval.top(5)
    used = [row.total_ns or 0 for row in table]
    assert used == sorted(used, reverse=True)
    expected = interval.select(["ac_pid", "total_ns"], sort="total_ns", limit=5)
    assert table.select(["ac_pid", "total_ns"]) == expected
    assert np.asarray(table.columns(["ac_pid"])["ac_pid"]).tolist() == [row[0] for row in expected]
    assert pl.DataFrame(table).height == pa.table(table).num_rows == len(table) == 5
    assert table[-1].pid == expected[-1][0]
    with pytest.raises(IndexError):
        _ = table[5]
    assert len(str(table).splitlines()) == 6
    assert table._repr_html_().count("<tr>") == 6
    assert len(interval.top(None)) == len(interval)
    by_switches = [row.nvcsw_delta or 0 for row in interval.top(5, by="nvcsw")]
    assert by_switches == sorted(by_switches, reverse=True)
    with pytest.raises(ValueError, match=r"no column .nonsense"):
        interval.top(by="nonsense")


def test_groups_are_tables_too() -> None:
    with taskstats.watch(0.05) as intervals:
        interval = next(intervals)
    groups = interval.group("user")
    assert sum(group.tasks or 0 for group in groups) == len(interval)
    frame = pl.DataFrame(groups.columns(["title", "tasks", "total_ns", "time_ns"]))
    assert frame["total_ns"].sum() == interval.sum(["total_ns"])[0]
    assert pd.DataFrame.from_arrow(groups).shape[0] == len(groups)  # type: ignore[attr-defined]
    assert [row.title for row in groups.top(1)] == [groups.top()[0].title]
    with pytest.raises(ValueError, match="take title"):
        groups.columns(["user"])


def test_names_that_are_html_stay_text() -> None:
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; open('/proc/self/comm', 'w').write('<b>&');"
            " print(flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()
    with taskstats.watch(0.05) as intervals:
        html = next(intervals).top(None)._repr_html_()
    child.kill()
    child.communicate()
    assert "&lt;b&gt;&amp;" in html
    assert "<b>" not in html


def test_top_waits_and_returns_a_table() -> None:
    table = taskstats.top(3, interval=0.05)
    assert len(table) == 3
    assert table.interval_ns >= 40_000_000
    groups = taskstats.top(group="user", interval=0.05)
    assert groups[0].task is None
    with pytest.raises(ValueError, match="above 0"):
        taskstats.top(interval=0)


def test_watched_intervals_follow_each_other_without_a_gap() -> None:
    with taskstats.watch(0.05) as intervals:
        first = next(intervals)
        time.sleep(0.2)
        second, third = next(intervals), next(intervals)
    assert first.cur.monotonic_ns == second.prev.monotonic_ns
    assert second.cur.monotonic_ns == third.prev.monotonic_ns
    with pytest.raises(ValueError, match="closed"):
        next(intervals)


def test_watch_reads_the_fields_that_are_asked_for() -> None:
    with taskstats.watch(0.05, fields=["rss_kb"], group="cgroup") as groups:
        rows = list(next(groups))
    assert rows
    assert all(row.title for row in rows)


def test_intervals_and_exits_come_to_an_event_loop(exact: None) -> None:
    async def main() -> None:
        async with taskstats.watch(0.05) as intervals:
            seen = 0
            async for interval in intervals:
                assert len(interval)
                seen += 1
                if seen == 2:
                    break
        with taskstats.exits() as exits:
            process = await asyncio.create_subprocess_exec("true")
            async for task in exits:
                if task.ac_pid == process.pid:
                    break
            await process.wait()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_one_task_has_its_memory_state_and_threads() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        stat = Path(f"/proc/{child.pid}/stat")
        while stat.read_text().split()[1:3] != ["(sleep)", "S"]:
            time.sleep(0.01)
        task = taskstats.task(child.pid)
        lines = stat.with_name("status").read_text().splitlines()
        child.kill()
    status = dict(line.split(":", 1) for line in lines)
    assert task.ac_comm == "sleep"
    assert task.num_threads == 1
    assert task.ac_ppid == os.getpid()
    assert task.rss_kb == int(status["VmRSS"].split()[0])
    assert task.vm_kb == int(status["VmSize"].split()[0])
    assert task.nvcsw == int(status["voluntary_ctxt_switches"])
    assert taskstats.state_letter(task.state or 0) == "S"
    earlier = time.process_time_ns()
    own_ns = taskstats.task(os.getpid()).cpu_ns
    assert own_ns is not None
    assert earlier - 1e9 / os.sysconf("SC_CLK_TCK") <= own_ns <= time.process_time_ns()
    with pytest.raises(taskstats.NoSuchTask):
        taskstats.task(2**22)
    with pytest.raises(ValueError, match="no field"):
        taskstats.task(1, ["nonsense"])


def test_processes_are_tasks_of_one_snapshot() -> None:
    names = {task.ac_pid: task.ac_comm for task in taskstats.processes(["rss_kb"])}
    assert names[os.getpid()] == taskstats.task(os.getpid()).ac_comm


FORKS = r"""
import os, threading, taskstats
taskstats.snapshot(), taskstats.task(1)
stop = threading.Event()
def snap():
    while not stop.is_set():
        taskstats.snapshot()
threads = [threading.Thread(target=snap) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(30):
    pid = os.fork()
    if not pid:
        # The parent's threads may have held any lock at the fork.
        taskstats.task(os.getpid())
        os._exit(0 if taskstats.snapshot("procfs").by_pid(os.getpid()) else 1)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
names = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
print("exits\n" in names)
"""


def test_kept_sources_are_safe_between_threads_and_over_forks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


SOURCE_FORKS = """
import os, threading, taskstats
source = taskstats.Source("procfs")
stop = threading.Event()
def snap():
    while not stop.is_set():
        source.snapshot()
thread = threading.Thread(target=snap)
thread.start()
for _ in range(50):
    pid = os.fork()
    if not pid:
        try:
            source.snapshot()
        except taskstats.Unsupported:
            source.close()
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
thread.join()
"""


def test_a_forked_child_is_refused_whatever_other_threads_did() -> None:
    command = [sys.executable, "-c", SOURCE_FORKS]
    assert subprocess.run(command, timeout=100).returncode == 0


BECOMES_ANOTHER = """
import os, taskstats
with taskstats.Source() as source:
    source.snapshot()
    taskstats.user_name(12345)
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    assert os.getresuid() == (65534,) * 3
"""


def test_a_process_may_become_another_user_after_a_snapshot(
    needs: Callable[[bool, str], None],
) -> None:
    needs(os.geteuid() == 0, "needs root to become another user")
    assert subprocess.run([sys.executable, "-c", BECOMES_ANOTHER]).returncode == 0


def test_track_counts_its_own_work() -> None:
    with taskstats.track(own=True) as tracker:
        begin = time.process_time_ns()
        while time.process_time_ns() - begin < 30_000_000:
            pass
        subprocess.run(["true"], check=True)
    assert tracker.use is not None
    assert tracker.use.total_ns >= 30_000_000
    names = set(tracker.use.commands)
    assert taskstats.task(os.getpid()).ac_comm in names


def test_track_decorates_functions_and_coroutines() -> None:
    @taskstats.track(own=True)
    def plain(number: int) -> int:
        """Add."""
        return sum(range(number))

    @taskstats.track
    async def slow() -> str:
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()
        return "done"

    with pytest.raises(AttributeError):
        _ = plain.use
    assert plain(100_000) == sum(range(100_000))
    assert plain.use.total_ns > 0
    assert plain.__doc__ == "Add."
    assert asyncio.run(slow()) == "done"
    assert slow.use.tasks == 1


def test_datetimes_are_times(tmp_path: Path) -> None:
    path = tmp_path / "day.tsd"
    with taskstats.Recorder(path) as recorder, taskstats.Source("procfs", exact=False) as source:
        for _ in range(3):
            recorder.write(source.snapshot())
            time.sleep(0.01)
    dump = taskstats.open(path)
    times = [snapshot.time for snapshot in dump]
    middle = times[1]
    assert middle is not None
    assert middle.timestamp() == pytest.approx(dump.times_ns[1] / 1e9, abs=1e-5)
    later = middle + timedelta(milliseconds=1)
    assert dump.find(later) == 1
    assert dump.at(later).time == middle
    assert len(dump.between(middle - timedelta(milliseconds=1), later)) == 1
    assert dump.find(datetime(1969, 1, 1, tzinfo=UTC)) is None
    rows = taskstats.read(path, ["time_ns"], begin_ns=later)
    assert len(rows) == len(dump[2])
    assert len(taskstats.read(path, ["time_ns"], end_ns=later)) == len(dump[0]) + len(dump[1])
    bare = taskstats.parse(memoryview(dump[0]).tobytes())
    assert bare.time is None
    assert (bare.host, bare.boot_id, bare.release) == (None, None, None)


def test_threads_may_take_single_tasks_at_once() -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(200):
                assert taskstats.task(os.getpid()).ac_pid == os.getpid()
                taskstats.processes(["rss_kb"])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_what_counts_says_so_in_its_representation() -> None:
    with taskstats.watch(0.5, group="user") as watch:
        assert repr(watch) == f"<taskstats.Watch: every 0.5 s from {watch.source.name}, by user>"
    tracker = taskstats.track(pid=os.getpid())
    assert repr(tracker) == f"<taskstats.PidTracker: pid {os.getpid()}, no report yet>"
    for unfinished in (tracker, taskstats.track()):
        with pytest.raises(AttributeError, match="the block has not ended"):
            _ = unfinished.use
    with taskstats.track(own=True) as own:
        assert repr(own) == "<taskstats.Tracker: no report yet>"
    assert repr(own).startswith("<taskstats.Tracker: 1 task, 0.")
    assert repr(taskstats.History(minutes=1)) == "<taskstats.History: 0 intervals>"
    with taskstats.exits() as exits:
        assert repr(exits) == f"<taskstats.Exits: {exits.source}>"


def test_a_recorder_says_where_it_writes(tmp_path: Path) -> None:
    path = tmp_path / "machine.tsd"
    with taskstats.Recorder(path) as recorder:
        recorder.write(taskstats.snapshot())
        assert repr(recorder) == f"<taskstats.Recorder: {path}, {recorder.size} bytes>"
    assert repr(recorder) == f"<taskstats.Recorder: {path}, closed>"


def test_notebooks_show_snapshots_and_columns() -> None:
    snapshot = taskstats.snapshot()
    page = snapshot._repr_html_()
    assert page.count("<tr>") == 11
    most = max(snapshot, key=lambda task: task.cpu_ns or 0)
    assert f"<td>{most.ac_pid}</td>" in page
    with taskstats.watch(0.05) as intervals:
        interval = next(intervals)
    columns = interval.columns(["ac_pid", "ac_comm", "blkio_delay_total", "total_pct"])
    page = columns._repr_html_()
    assert page.count("<tr>") == 11
    assert "<th>blkio_delay_total</th>" in page
    for number in range(10):
        assert f"<td>{columns['ac_pid'][number]}</td>" in page
    known = columns.valid("blkio_delay_total")[0]
    assert ("<td>-</td>" in page) == (not known)
    assert repr(columns) == f"<taskstats.Columns: {len(interval)} rows of 4 columns>"
    assert taskstats.columns([], ["ac_pid"])._repr_html_().count("<tr>") == 1
    # All values of a batch, and no more rows than there are.
    groups = interval.group("user").columns(["title", "tasks"])
    assert groups._repr_html_().count("<tr>") == 1 + min(len(groups), 10)


def test_names_are_attributes_and_keys_of_a_row(exact: None) -> None:
    with taskstats.watch(0.05) as intervals:
        interval = next(intervals)
    row = interval.by_pid(os.getpid())
    assert row is not None
    assert row.user == taskstats.user_name(os.getuid())
    names = ["user", "cgroup", "container", "pod", "unit"]
    assert row.to_dict(names) == {name: getattr(row, name) for name in names}
    columns = interval.columns(["ac_pid", *names])
    mine = list(columns["ac_pid"]).index(os.getpid())
    assert [row[name] for name in names] == [columns[name][mine] for name in names]
    (group,) = (group for group in interval.group("user") if group.uid == os.getuid())
    assert group.user == row.user
    with pytest.raises(ValueError, match=r"no column .*user, cgroup, .*cmdline"):
        interval.columns(["nonsense"])


def test_type_checkers_know_the_types_of_columns() -> None:
    with taskstats.watch(0.05) as intervals:
        interval = next(intervals)
    columns = interval.columns(["ac_comm", "rss_kb", "total_pct", "exited"])
    # Without casts: mypy reads this file.
    names: list[str | None] = columns["ac_comm"]
    memory: int = sum(columns["rss_kb"])
    share: float = max(columns["total_pct"])
    dead: bool = columns["exited"][0]
    assert isinstance(names[0], str)
    assert memory > 0
    assert isinstance(share, float)
    assert isinstance(dead, bool)
    # The lists of the stub are right.
    stub = (Path(taskstats.__file__).parent / "_core.pyi").read_text()
    types = {"Text": ["text"], "Count": ["u8", "i8", "u16", "u32", "u64"], "Share": ["f64"]}
    for kind, allowed in types.items():
        listed = stub.split(f"_{kind}Column: TypeAlias = Literal[")[1].split("]")[0]
        columns_of_kind = [name.strip(' \n"') for name in listed.split(",") if name.strip()]
        found = column_types(columns_of_kind, "interval")
        assert columns_of_kind
        assert set(found) <= set(allowed), kind
    counts = {field["name"] for field in taskstats.FIELDS} - {"ac_comm"}
    assert counts <= set(re.findall(r'"(\w+)"', stub.split("_CountColumn")[1].split("]")[0]))
