"""Dumps from Python: the snapshots that were written, as views, slices and columns."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import taskstats

# Times that go on by themselves are derived when a dump is read; a source that walks
# from task to task is as exact in them as its walk is long.
MOVING = {"ac_time_ns", "ac_etime", "ac_tgetime", "ac_start_ns"}


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return tmp_path / "dump.tsd"


def taken(source: taskstats.Source, count: int) -> list[taskstats.Snapshot]:
    with source:
        return [source.snapshot() for _ in range(count)]


def write(path: Path, snapshots: list[taskstats.Snapshot], **options: int | None) -> None:
    with taskstats.Recorder(path, **options) as recorder:  # type: ignore[arg-type]
        for snapshot in snapshots:
            recorder.write(snapshot)


def same(read: taskstats.Snapshot, written: taskstats.Snapshot) -> None:
    assert len(read) == len(written)
    assert read.fields == written.fields
    assert (read.time_ns, read.host, read.boot_id) == (
        written.time_ns,
        written.host,
        written.boot_id,
    )
    assert read.cpu_clocks == written.cpu_clocks
    walk_ns = 0 if written.one_instant else written.end_time_ns - written.time_ns
    a, b = read.numpy(), written.numpy()
    for name in read.fields:
        if name in MOVING:
            unit = 1 if name.endswith("_ns") else 1000
            off = np.abs(a[name].astype("int64") - b[name].astype("int64"))
            assert off.max(initial=0) * unit <= walk_ns + unit, name
        else:
            assert np.array_equal(a[name], b[name]), name
        assert list(read.valid(name)) == list(written.valid(name))


@pytest.mark.parametrize("options", [{"level": 3}, {"level": None, "full_every": 1}])
def test_every_source_is_read_as_it_was_written(
    source: taskstats.Source, dump: Path, options: dict[str, int | None]
) -> None:
    written = taken(source, 5)
    write(dump, written, **options)
    opened = taskstats.open(dump)
    assert len(opened) == 5
    for read, snapshot in zip(opened, written, strict=True):
        same(read, snapshot)
    for index in (4, 0, -1, -5, 2):
        same(opened[index], written[index])
    for read, snapshot in zip(taskstats.open(dump, mmap=False), written, strict=True):
        same(read, snapshot)


@pytest.fixture(scope="module")
def written() -> list[taskstats.Snapshot]:
    return taken(taskstats.Source(exact=True), 9)


@pytest.fixture
def recorded(dump: Path, written: list[taskstats.Snapshot]) -> Path:
    write(dump, written, full_every=4)
    return dump


def test_a_dump_is_a_sequence(recorded: Path, written: list[taskstats.Snapshot]) -> None:
    dump = taskstats.open(recorded)
    times = [snapshot.time_ns for snapshot in written]
    assert dump.times_ns == times
    assert dump.rows == [len(snapshot) for snapshot in written]
    assert dump.size == recorded.stat().st_size
    assert Path(dump.path) == recorded
    for part in (slice(2, 7), slice(None, None, -1), slice(1, None, 3), slice(5, 5)):
        assert dump[part].times_ns == times[part]
        assert [snapshot.time_ns for snapshot in dump[part]] == times[part]
        assert dump[part][::-1].times_ns == times[part][::-1]
    for bad in (9, -10, 1 << 40):
        with pytest.raises(IndexError, match="out of range"):
            dump[bad]
    with pytest.raises(TypeError, match="integers and slices"):
        dump["first"]  # type: ignore[call-overload]
    # One iteration does not disturb another.
    assert [a.time_ns + b.time_ns for a, b in zip(dump, dump, strict=True)] == [
        2 * time for time in times
    ]


def test_sessions_of_this_machine_are_not_those_of_a_recording(recorded: Path) -> None:
    dump = taskstats.open(recorded)
    interval = taskstats.usage(dump[0], dump[1])
    with pytest.raises(ValueError, match="sessions are not recorded"):
        interval.fold("session")
    assert len(interval.fold("user")) > 0


def test_snapshots_are_found_by_time(recorded: Path) -> None:
    dump = taskstats.open(recorded)
    times = dump.times_ns
    assert dump.find(times[0] - 1) is None
    assert [dump.find(time) for time in times] == list(range(9))
    assert [dump.find(time + 1) for time in times] == list(range(9))
    assert dump.at(times[3] + 1).time_ns == times[3]
    with pytest.raises(LookupError, match="every snapshot is later"):
        dump.at(times[0] - 1)
    # Times that no clock tells are before all or after all.
    with pytest.raises(LookupError, match="every snapshot is later"):
        dump.at(-1)
    assert dump.find(-(10**40)) is None
    assert dump.at(10**40).time_ns == times[8]
    assert dump.between(-1, 10**40).times_ns == times
    assert dump.between(-2, -1).times_ns == []
    assert dump.between(times[2], times[5]).times_ns == times[2:5]
    assert dump.between(times[8] + 1, times[8] + 9).times_ns == []
    part = dump[3:6]
    assert part.find(times[2]) is None
    assert part.find(times[8]) == 2


def mapped(path: Path) -> list[tuple[int, int]]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    ranges = (line.split()[0].split("-") for line in lines if line.endswith(str(path)))
    return [(int(begin, 16), int(end, 16)) for begin, end in ranges]


def test_uncompressed_snapshots_are_views_of_the_file(
    dump: Path, written: list[taskstats.Snapshot]
) -> None:
    write(dump, written, level=None, full_every=1)
    opened = taskstats.open(dump)
    places = []
    for snapshot in opened:
        array = snapshot.numpy()
        places.append(array.ctypes.data)
        assert any(begin <= places[-1] < end for begin, end in mapped(dump))
        assert not array.flags.writeable
    assert len(set(places)) == len(written)
    # The file stays mapped for as long as one of its snapshots is in use.
    first = opened[0]
    del opened, snapshot, array
    assert mapped(dump)
    same(first, written[0])
    del first
    assert not mapped(dump)
    kept = taskstats.open(dump, mmap=False)[0].numpy()
    assert not mapped(dump)
    assert len(kept) == len(written[0])


@pytest.mark.parametrize("keep", [0, 20, 4096, 0.5])
def test_a_file_cut_short_while_it_is_mapped_is_an_error(
    dump: Path, written: list[taskstats.Snapshot], keep: float
) -> None:
    write(dump, written, level=None, full_every=1)
    opened = taskstats.open(dump)
    others = opened[0]
    os.truncate(dump, int(keep * opened.size) if isinstance(keep, float) else keep)
    with pytest.raises(OSError, match="the file was cut short while it was read"):
        list(opened)
    with pytest.raises(OSError, match="cut short"):
        opened.read(["ac_pid"])
    with pytest.raises(OSError, match="cut short"):
        opened.check()
    # What was handed out before reads as zeros where the file lacks it.
    assert len(others.numpy().tobytes()) == len(others) * others.record_size


def test_other_bus_errors_are_not_touched(recorded: Path, tmp_path: Path) -> None:
    script = f"""
import mmap, os, sys, taskstats
dump = taskstats.open({str(recorded)!r})
with open({str(tmp_path / "other")!r}, "w+b") as file:
    file.truncate(8192)
    other = mmap.mmap(file.fileno(), 8192)
    file.truncate(0)
    print(len(dump), flush=True)
    other[5000]
"""
    for prefix in ("", "import faulthandler; faulthandler.enable()\n"):
        done = subprocess.run(
            [sys.executable, "-c", prefix + script], capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGBUS
        assert done.stdout == "9\n"
        assert ("Fatal Python error: Bus error" in done.stderr) == bool(prefix)


def test_a_handler_that_came_later_is_asked_after_ours(recorded: Path, tmp_path: Path) -> None:
    """faulthandler.enable() between two opens; then a file of ours is cut, or another's."""
    script = f"""
import faulthandler, mmap, os, sys, taskstats
first = taskstats.open({str(recorded)!r})
for _ in range(12):
    faulthandler.enable()
    second = taskstats.open({str(recorded)!r})
    faulthandler.disable()
faulthandler.enable()
second = taskstats.open({str(recorded)!r})
with open({str(tmp_path / "other")!r}, "w+b") as file:
    file.truncate(8192)
    other = mmap.mmap(file.fileno(), 8192)
    file.truncate(0)
os.truncate({str(recorded)!r}, 0)
for dump in (first, second):
    try:
        list(dump)
    except OSError as error:
        print(error, flush=True)
other[5000]
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    cut = f"{recorded}: the file was cut short while it was read"
    assert done.stdout.splitlines() == [cut, cut], done.stderr
    assert done.returncode == -signal.SIGBUS
    assert done.stderr.count("Fatal Python error: Bus error") == 1


def test_a_file_that_is_replaced_stays_readable(
    recorded: Path, written: list[taskstats.Snapshot]
) -> None:
    opened = taskstats.open(recorded)
    other = recorded.with_name("other")
    other.write_bytes(b"nothing")
    other.replace(recorded)
    assert len(list(opened)) == len(written)
    with pytest.raises(taskstats.ParseError, match=str(recorded)):
        taskstats.open(recorded)


def test_bare_records_and_byte_forms_are_read(
    dump: Path, written: list[taskstats.Snapshot]
) -> None:
    records = written[0].numpy().tobytes()
    dump.write_bytes(records)
    opened = taskstats.open(dump)
    assert len(opened) == 1
    assert opened[0].numpy()["ac_pid"].tolist() == written[0].numpy()["ac_pid"].tolist()
    assert opened.read(["ac_pid"])["ac_pid"].tolist() == [task.ac_pid for task in written[0]]  # type: ignore[union-attr]
    dump.write_bytes(b"".join(snapshot.to_bytes() for snapshot in written))
    opened = taskstats.open(dump)
    assert opened.times_ns == [snapshot.time_ns for snapshot in written]
    assert opened[4].to_bytes() == written[4].to_bytes()


def test_what_is_no_dump_says_where(dump: Path) -> None:
    for content in (b"", b"x", b"hello world\n" * 99, b"TSKDUMP\n\x02\0" + bytes(6)):
        dump.write_bytes(content)
        with pytest.raises(taskstats.ParseError, match=f"{dump}: .* \\(byte ") as raised:
            taskstats.open(dump)
        assert 0 <= raised.value.offset <= len(content)
    with pytest.raises(FileNotFoundError, match=r"none\.tsd"):
        taskstats.open(dump.with_name("none.tsd"))
    with pytest.raises(IsADirectoryError):
        taskstats.open(dump.parent)


def test_columns_are_the_fields_of_all_records(
    recorded: Path, written: list[taskstats.Snapshot]
) -> None:
    columns = taskstats.read(recorded)
    dump = taskstats.open(recorded)
    assert len(columns) == sum(len(snapshot) for snapshot in written)
    assert columns.names[:4] == ["time_ns", "host", "boot_id", "exited"]
    assert columns.lost == []
    for name in columns.names[4:]:
        held = [name in snapshot.fields for snapshot in dump]
        assert any(held)
        values = [value for snapshot in dump for value in snapshot.numpy()[name].tolist()]
        valid = [valid for snapshot in dump for valid in snapshot.valid(name)]
        assert columns.valid(name).tolist() == valid
        found = columns[name]
        if name == "ac_comm":
            assert found == [value.decode() for value in values]
            words = columns.words(name)
            assert [words[code] for code in columns.codes(name)] == found
        else:
            assert isinstance(found, memoryview)
            assert found.readonly
            expected = [v if known else 0 for v, known in zip(values, valid, strict=True)]
            assert found.tolist() == expected
    times = [snapshot.time_ns for snapshot in written for _ in snapshot]
    assert np.asarray(columns["time_ns"]).tolist() == times
    assert columns["host"] == [snapshot.host for snapshot in written for _ in snapshot]
    assert columns["boot_id"] == [snapshot.boot_id for snapshot in written for _ in snapshot]
    exited = [task.exited for snapshot in written for task in snapshot]
    assert columns["exited"].tolist() == exited  # type: ignore[union-attr]
    with pytest.raises(KeyError, match=r"no column .path. was read"):
        columns["path"]
    with pytest.raises(ValueError, match="is a column of numbers"):
        columns.words("ac_pid")
    assert "ac_pid" in columns
    assert "path" not in columns


def test_columns_of_several_files_and_of_a_time(
    tmp_path: Path, written: list[taskstats.Snapshot]
) -> None:
    paths = [tmp_path / name for name in ("a.tsd", "b.tsd")]
    write(paths[0], written[:5])
    write(paths[1], written[5:], level=None, full_every=1)
    columns = taskstats.read(iter(paths), ["path", "time_ns", "ac_pid"])
    assert columns.names == ["path", "time_ns", "ac_pid"]
    assert columns.words("path") == [str(path) for path in paths]
    assert list(dict.fromkeys(columns["time_ns"])) == [s.time_ns for s in written]
    begin, end = written[3].time_ns, written[7].time_ns
    some = taskstats.read(paths, ["time_ns"], begin_ns=begin, end_ns=end)
    assert list(dict.fromkeys(some["time_ns"])) == [s.time_ns for s in written[3:7]]
    assert len(taskstats.read(paths, ["ac_pid"], begin_ns=end + 10**12)) == 0
    assert len(taskstats.read([], ["ac_pid"])) == 0
    part = taskstats.open(paths[0])[1:3].read(["time_ns"])
    assert list(dict.fromkeys(part["time_ns"])) == [s.time_ns for s in written[1:3]]
    with pytest.raises(ValueError, match=r"no column .pid.: give names of taskstats\.FIELDS, or"):
        taskstats.read(paths, ["pid"])
    with pytest.raises(ValueError, match='"raise" or "skip"'):
        taskstats.read(paths, errors="warn")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        taskstats.read([*paths, tmp_path / "none.tsd"])


def test_what_is_damaged_is_an_error_or_left_out(
    recorded: Path, written: list[taskstats.Snapshot]
) -> None:
    data = bytearray(recorded.read_bytes())
    marks = [at for at in range(0, len(data), 8) if data[at : at + 4] == b"TSFR"]
    kinds = {at: int.from_bytes(data[at + 4 : at + 6], "little") for at in marks}
    # The second of the snapshots, which three more build on.
    second = [at for at, kind in kinds.items() if kind in (2, 3)][1]
    data[second + 41] ^= 1
    recorded.write_bytes(data)
    with pytest.raises(taskstats.ParseError, match=f"{recorded}: .* checksum") as raised:
        taskstats.read(recorded)
    assert second <= raised.value.offset <= second + 64
    columns = taskstats.read(recorded, errors="skip")
    assert [(row["path"], row["snapshot"]) for row in columns.lost] == [
        (recorded, index) for index in (1, 2, 3)
    ]
    kept = [snapshot.time_ns for snapshot in [written[0], *written[4:]]]
    assert list(dict.fromkeys(columns["time_ns"])) == kept
    assert [row["snapshot"] for row in taskstats.open(recorded).check()] == [1, 2, 3]


def test_arrow_consumers_take_columns_as_they_are(recorded: Path) -> None:
    columns = taskstats.read(recorded)
    names = columns["ac_comm"]
    used = np.asarray(columns["ac_sum_exec_ns"])
    table = pa.table(columns)
    table.validate(full=True)
    assert table.column_names == columns.names
    assert pa.schema(columns) == table.schema
    assert table["ac_comm"].to_pylist() == names
    assert table["ac_sum_exec_ns"].to_numpy().tolist() == used.tolist()
    assert table.schema.field("ac_etime").metadata == {b"unit": b"us"}
    unfilled = [name for name in columns.names[4:] if not all(columns.valid(name))]
    for name in unfilled:
        assert table[name].null_count == len(columns) - sum(columns.valid(name))
    # The arrays are the columns' own memory.
    again = pa.table(columns)
    places = [t["ac_sum_exec_ns"].chunk(0).buffers()[1].address for t in (table, again)]
    assert places[0] == places[1]

    frame = pl.DataFrame(columns)
    assert frame["ac_comm"].to_list() == names
    assert frame["ac_sum_exec_ns"].to_list() == used.tolist()

    data = pd.DataFrame.from_arrow(columns)  # type: ignore[attr-defined]
    assert data["ac_comm"].tolist() == names
    assert data["ac_sum_exec_ns"].tolist() == used.tolist()

    found = duckdb.sql("select ac_comm, max(ac_sum_exec_ns) from columns group by all")
    assert found
    most: dict[str | None, int] = {}
    for comm, value in zip(names, used.tolist(), strict=True):
        most[comm] = max(most.get(comm, 0), value)
    assert dict(found.fetchall()) == most
    # They outlive what they were made of.
    del columns, again
    assert table["ac_comm"].to_pylist() == names
    # A stream can be asked for and left.
    taskstats.open(recorded)[0].__arrow_c_stream__()


def test_a_snapshot_is_an_arrow_stream(written: list[taskstats.Snapshot]) -> None:
    table = pa.table(written[0])
    assert table["ac_pid"].to_pylist() == [task.ac_pid for task in written[0]]
    assert table["host"].to_pylist() == [written[0].host] * len(written[0])


def test_reading_leaves_the_interpreter_to_others(
    dump: Path, written: list[taskstats.Snapshot]
) -> None:
    write(dump, written * 40, level=19, full_every=1)
    rounds = 0
    done = threading.Event()

    def count() -> None:
        nonlocal rounds
        while not done.is_set():
            rounds += 1
            time.sleep(0)

    before = sys.getswitchinterval()
    # Nothing but a call that lets go of the lock gives the other thread its turn.
    sys.setswitchinterval(60)
    counter = threading.Thread(target=count)
    try:
        counter.start()
        start = rounds
        taskstats.read(dump)
        assert rounds > start + 10
    finally:
        done.set()
        sys.setswitchinterval(before)
        counter.join()


def test_what_a_task_was_called_is_not_asked_of_another(
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


def test_a_cgroup_is_not_called_what_its_task_moved_to(
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


@pytest.mark.parametrize("mmap", [True, False])
def test_behind_damaged_names_no_older_one_stands(dump: Path, mmap: bool) -> None:
    script = "read line; exec sleep 60"
    process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, text=True)
    assert process.stdin
    comm = Path(f"/proc/{process.pid}/comm")
    before, after = ["sh", "-c", script], ["sleep", "60"]
    try:
        with taskstats.Source(exact=True) as source:
            with taskstats.Recorder(dump) as recorder:
                recorder.write(source.snapshot())
                process.stdin.write("go\n")
                process.stdin.flush()
                while comm.read_text() != "sleep\n":
                    time.sleep(0.01)
                recorder.write(source.snapshot())
                recorder.write(source.snapshot())
            # Another recorder states all names anew.
            with taskstats.Recorder(dump) as recorder:
                recorder.write(source.snapshot())
    finally:
        process.kill()
        process.communicate()

    def tasks() -> list[taskstats.Task]:
        found = [s.by_pid(process.pid) for s in taskstats.open(dump, mmap=mmap)]
        return [task for task in found if task]

    names = ["time_ns", "ac_pid", "cmdline", "user"]

    def words() -> list[tuple[str | None, str | None]]:
        read = taskstats.read(dump, names, errors="skip", mmap=mmap)
        rows = zip(*(read[name] for name in names[1:]), strict=True)
        return [(cmdline, user) for pid, cmdline, user in rows if pid == process.pid]

    assert [task.cmdline for task in tasks()] == [before, after, after, after]
    user = words()[0][1]
    assert user
    data = bytearray(dump.read_bytes())
    marks = [at for at in range(0, len(data), 8) if data[at : at + 4] == b"TSFR"]
    strings = [at for at in marks if data[at + 4] == 4]
    assert len(strings) == 3
    # In its header, and in its payload.
    for at in (strings[1] + 13, strings[1] + 41):
        data[at] ^= 1
        dump.write_bytes(data)
        assert [task.cmdline for task in tasks()] == [before, None, None, after]
        assert [name for _, name in words()] == [user, None, None, user]
        assert [cmdline is None for cmdline, _ in words()] == [False, True, True, False]
        opened = taskstats.open(dump, mmap=mmap)
        assert opened.user(os.getuid()) == user
        assert opened[:3].read(["ac_pid"], errors="raise")
        with pytest.raises(taskstats.ParseError, match="checksum") as raised:
            opened.read(names)
        assert strings[1] <= raised.value.offset <= strings[1] + 64
        assert [row["snapshot"] for row in opened.read(names, errors="skip").lost] == [None]
        assert [row["snapshot"] for row in opened.check()] == [None]
        # Before them all names are known.
        assert len(opened[:1].read(names)) > 0
        data[at] ^= 1


def test_any_damage_gives_the_truth_or_an_error(
    dump: Path, written: list[taskstats.Snapshot]
) -> None:
    for part in (written[:2], written[2:3]):
        write(dump, part, full_every=2)
    data = dump.read_bytes()
    truth = {snapshot.time_ns: snapshot.to_bytes() for snapshot in taskstats.open(dump)}
    cmdlines = {s.time_ns: [task.cmdline for task in s] for s in taskstats.open(dump)}
    clean = taskstats.read(dump)
    names = ["user", "cgroup", "cmdline"]
    columns = [name for name in clean.names if name not in names] + names

    def rows(read: taskstats.Columns) -> list[tuple[tuple[object, ...], tuple[object, ...]]]:
        both = zip(*(read[name] for name in columns), strict=True)
        return [(row[:-3], row[-3:]) for row in both]

    true_rows = dict(rows(taskstats.read(dump, columns)))
    assert len(true_rows) == len(clean)
    numbers = random.Random(3)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(numbers.choice([1, 1, 1, 5])):
            damaged[numbers.randrange(len(damaged))] ^= 1 << numbers.randrange(8)
        if numbers.random() < 0.3:
            del damaged[numbers.randrange(len(damaged)) :]
        dump.write_bytes(damaged)
        try:
            opened = taskstats.open(dump)
        except taskstats.ParseError:
            continue
        for index in range(len(opened)):
            try:
                snapshot = opened[index]
            except taskstats.ParseError:
                continue
            assert snapshot.to_bytes() == truth[snapshot.time_ns]
            for task, cmdline in zip(snapshot, cmdlines[snapshot.time_ns], strict=True):
                assert task.cmdline in (cmdline, None)
        for row, called in rows(taskstats.read(dump, columns, errors="skip")):
            for name, true in zip(called, true_rows[row], strict=True):
                assert name in (true, None)


def test_a_recorder_says_what_is_wrong(dump: Path, written: list[taskstats.Snapshot]) -> None:
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


def test_what_cannot_be_taken_back_is_told_of(recorded: Path) -> None:
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


def test_what_ran_since_is_not_recorded(dump: Path, needs: Callable[[bool, str], None]) -> None:
    report = next(report for report in taskstats.sources() if report.name == "bpf")
    needs(report.available, report.reason)
    with taskstats.Source("bpf", changed=True) as source:
        whole = source.snapshot()
        changed = source.snapshot()
    with taskstats.Recorder(dump) as recorder:
        with pytest.raises(taskstats.ParseError):
            recorder.write(changed)
        assert len(taskstats.open(dump)) == 0
        recorder.write(whole)
    (kept,) = taskstats.open(dump)
    # With the names that were to go with the refused one.
    assert all(task.cmdline for task in kept if task.ac_pid == os.getpid())


def test_many_files_at_once(tmp_path: Path, written: list[taskstats.Snapshot]) -> None:
    """More files than a process may have open."""
    write(tmp_path / "0.tsd", written[:1])
    data = (tmp_path / "0.tsd").read_bytes()
    paths = [tmp_path / f"{number}.tsd" for number in range(1500)]
    for path in paths:
        path.write_bytes(data)
    columns = taskstats.read(paths, ["ac_pid", "path"])
    assert len(columns) == 1500 * len(written[0])
    assert columns.words("path") == [str(path) for path in paths]


def test_columns_are_of_the_file_that_was_opened(tmp_path: Path) -> None:
    path, other = tmp_path / "some.tsd", tmp_path / "other.tsd"
    with taskstats.Source("procfs") as source:
        for name, count in ((path, 2), (other, 3)):
            with taskstats.Recorder(name, level=None, full_every=1) as recorder:
                for _ in range(count):
                    recorder.write(source.snapshot())
    dump = taskstats.open(path)
    before = list(dump.read(["time_ns"])["time_ns"])
    other.replace(path)
    assert len(dump) == 2
    assert list(dump.read(["time_ns"])["time_ns"]) == before
    path.unlink()
    assert list(dump.read(["time_ns"])["time_ns"]) == before


def test_columns_of_frames_that_are_too_large_to_copy(tmp_path: Path) -> None:
    size, count = 560, 31_000
    bare = bytearray(size * count)
    for number in range(count):
        # version 16
        bare[number * size : number * size + 2] = (16).to_bytes(2, sys.byteorder)
    pids = np.frombuffer(bare, np.uint8).reshape(count, size)
    at = taskstats.parse(bytes(bare)).numpy().dtype.fields
    assert at
    offset = at["ac_pid"][1]
    pids[:, offset : offset + 4] = np.arange(count, dtype=np.uint32).view(np.uint8).reshape(-1, 4)
    snapshot = taskstats.parse(bytes(bare))
    path = tmp_path / "large.tsd"
    with taskstats.Recorder(path, level=None, full_every=1) as recorder:
        recorder.write(snapshot)
    assert path.stat().st_size > 16 << 20
    read = taskstats.read(path, ["ac_pid"])
    assert np.asarray(read["ac_pid"]).tolist() == list(range(count))
