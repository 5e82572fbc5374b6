"""The rows of intervals as columns, for NumPy and whatever takes Arrow."""

from __future__ import annotations

import math
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import taskstats

ASKED = [
    "ac_pid",
    "ac_comm",
    "ac_nice",
    "rss_kb",
    "total_ns",
    "total_pct",
    "steal_ns",
    "nvcsw_delta",
    "nvcsw_per_sec",
    "cpu_delay_total_pct",
    "all_ns",
    "cpu_ns",
    "tasks",
]


@pytest.fixture(scope="module")
def intervals() -> list[taskstats.Interval]:
    busy = subprocess.Popen(["sh", "-c", "while :; do ls >/dev/null; sleep 0.01; done"])
    found: list[taskstats.Interval] = []
    with taskstats.Source("auto", exact=True, cpu_times=True) as source:
        start: taskstats.Snapshot | taskstats.Interval = source.snapshot()
        for _ in range(3):
            time.sleep(0.1)
            start = taskstats.usage(start, source.snapshot())
            found.append(start)
    busy.kill()
    busy.wait()
    return found


def test_columns_hold_what_select_gives(intervals: list[taskstats.Interval]) -> None:
    interval = intervals[-1]
    columns = interval.columns(ASKED)
    assert columns.names == ASKED
    assert len(columns) == len(interval)
    for place, name in enumerate(ASKED):
        values = columns[name]
        cells = [row[place] for row in interval.select(ASKED)]
        assert [cell is not None for cell in cells] == list(columns.valid(name)), name
        for value, cell in zip(values, cells, strict=True):
            if isinstance(cell, float):
                assert isinstance(value, float)
                assert math.isclose(value, cell, rel_tol=1e-12)
            elif cell is not None:
                assert value == cell, name
            elif not isinstance(values, list):
                assert value == 0, name


def test_several_intervals_stand_end_to_end(intervals: list[taskstats.Interval]) -> None:
    names = ["time_ns", "interval_ns", "source", "exited", "total_ns"]
    columns = taskstats.columns(intervals, names)
    assert len(columns) == sum(map(len, intervals))
    total_ns, time_ns = np.asarray(columns["total_ns"]), np.asarray(columns["time_ns"])
    for interval in intervals:
        mine = time_ns == interval.cur.time_ns
        assert int(total_ns[mine].sum()) == interval.sum(["total_ns"])[0]
        assert set(np.asarray(columns["interval_ns"])[mine]) == {interval.interval_ns}
        assert np.asarray(columns["exited"])[mine].sum() == interval.exited
    assert columns.words("source") == [intervals[0].cur.source]
    assert len(taskstats.columns([], names)) == 0


def test_an_interval_is_an_arrow_stream(intervals: list[taskstats.Interval]) -> None:
    interval = intervals[-1]
    table = pa.table(interval)
    assert table.num_rows == len(interval)
    assert table["total_ns"].to_pylist() == [row[0] for row in interval.select(["total_ns"])]
    assert table["ac_comm"].to_pylist() == [row[0] for row in interval.select(["ac_comm"])]
    assert table.schema.field("total_ns").metadata == {b"unit": b"ns"}
    assert table["user_ns"].null_count == 0
    shares = pa.table(interval.columns(["user_pct", "nvcsw_per_sec"])).schema
    assert [field.type for field in shares] == [pa.float64(), pa.float64()]
    assert [field.metadata for field in shares] == [{b"unit": b"%"}, {b"unit": b"count/s"}]


def test_recorded_names_are_columns(tmp_path: Path) -> None:
    path = tmp_path / "named.tsd"
    sleeper = subprocess.Popen(["sh", "-c", "sleep 60; : 'a b'"])
    time.sleep(0.2)
    with (
        taskstats.Source("procfs") as source,
        taskstats.Recorder(path) as recorder,
    ):
        for _ in range(2):
            recorder.write(source.snapshot())
    sleeper.kill()
    sleeper.wait()
    dump = taskstats.open(path)
    names = ["ac_pid", "user", "cmdline", "cgroup"]
    live = taskstats.usage(dump[0], dump[1]).columns(names)
    read = dump.read(names)
    for columns in (live, read):
        assert all(user is not None for user in columns["user"])
        words = dict(zip(columns["ac_pid"], columns["cmdline"], strict=True))
        assert shlex.split(str(words[sleeper.pid])) == ["sh", "-c", "sleep 60; : 'a b'"]
        # A kernel thread has no arguments, which is known.
        assert words.get(2, "") == ""


def test_an_unknown_column_says_where_to_look(
    intervals: list[taskstats.Interval], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"no column .*taskstats\.FIELDS.*cpu_ns"):
        intervals[0].columns(["total"])
    with taskstats.Recorder(tmp_path / "d.tsd") as recorder:
        recorder.write(intervals[0].cur)
    with pytest.raises(ValueError, match=r"this one is an interval's \(Interval\.columns\)"):
        taskstats.read(tmp_path / "d.tsd", ["total_ns"])


def test_names_that_decode_alike_are_one_category(tmp_path: Path) -> None:
    code = r"open('/proc/self/comm', 'wb').write(b'bad\%s'); import time; print(flush=True)"
    code += "; time.sleep(60)"
    words = [[sys.executable, "-S", "-c", code % byte] for byte in ("xfe", "xff")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in words]
    for process in running:
        assert process.stdout
        process.stdout.readline()
    path = tmp_path / "names.tsd"
    with taskstats.Source() as source, taskstats.Recorder(path) as recorder:
        first, second = source.snapshot(), source.snapshot()
        recorder.write(first)
        recorder.write(second)
    for process in running:
        process.kill()
        process.communicate()
    pids = [process.pid for process in running]
    interval = taskstats.usage(first, second)
    for columns in (taskstats.read(path), interval.columns(), taskstats.columns([interval])):
        frame = pd.DataFrame.from_arrow(columns)  # type: ignore[attr-defined]
        found = frame[frame["ac_pid"].isin(pids)]
        assert set(found["ac_comm"]) == {"bad\ufffd"}
    # A snapshot is exported through the buffers of its records.
    frame = pd.DataFrame.from_arrow(second)  # type: ignore[attr-defined]
    assert set(frame[frame["ac_pid"].isin(pids)]["ac_comm"]) == {"bad\ufffd"}


def test_times_are_timestamps_in_arrow(intervals: list[taskstats.Interval]) -> None:
    interval = intervals[-1]
    names = ["time_ns", "ac_btime", "ac_btime64", "cpu_delay_max_ts", "ac_start_ns"]
    columns = interval.columns(names)
    table = pa.table(columns)
    assert [str(kind) for kind in table.schema.types] == [
        *("timestamp[ns, tz=UTC]", "timestamp[s, tz=UTC]", "timestamp[s, tz=UTC]"),
        *("timestamp[ns, tz=UTC]", "uint64"),
    ]
    assert pa.schema(columns) == table.schema
    for name in names[:4]:
        numbers = [
            number if known and number else None
            for number, known in zip(columns[name], columns.valid(name), strict=True)
        ]
        assert table[name].cast(pa.int64()).to_pylist() == numbers, name
    assert table["time_ns"].to_pandas()[0].tz is not None
    assert set(pa.table(interval)["ac_btime64"].to_pylist()) >= {table["ac_btime64"][0].as_py()}
