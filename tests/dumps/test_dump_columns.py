"""The records of dumps in columns, and what takes them."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import taskstats
from written import write  # type: ignore[import-not-found]


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
            assert found == [value.decode(errors="replace") for value in values]
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
    assert columns["exited"].tolist() == exited
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
    with pytest.raises(ValueError, match=r"no column .pid.: give names of taskstats\.FIELDS"):
        taskstats.read(paths, ["pid"])
    with pytest.raises(ValueError, match='"raise" or "skip"'):
        taskstats.read(paths, errors="warn")  # type: ignore[call-overload]
    with pytest.raises(FileNotFoundError):
        taskstats.read([*paths, tmp_path / "none.tsd"])


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


def test_reading_releases_the_lock_of_the_interpreter(
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
        # On a busy machine the kernel may give the other thread no CPU during one of them.
        for _ in range(100):
            taskstats.read(dump)
            if rounds > start + 10:
                break
        assert rounds > start + 10
    finally:
        done.set()
        sys.setswitchinterval(before)
        counter.join()


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
