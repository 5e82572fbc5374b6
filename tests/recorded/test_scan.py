"""Scans: rows of intervals in batches, for Arrow, Polars, pandas and DuckDB."""

from __future__ import annotations

import datetime
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import polars as pl
import pytest
import taskstats
from machine import damage, record  # type: ignore[import-not-found]
from taskstats.recorded import COLUMNS, Frames, rows, tuples

DATA = Path(__file__).parent.parent / "data"
NAMES = ["time_ns", "host", "ac_pid", "ac_comm", "user", "exited", "total_ns", "read_bytes_delta"]


def by_frames(path: Path, names: list[str]) -> list[tuple[object, ...]]:
    frames = Frames(taskstats.open(path))
    return [row for interval in frames.intervals() for row in rows(interval, names)]


def found(scan: taskstats.Scan) -> list[tuple[object, ...]]:
    return [row for batch in scan for row in tuples(batch)]


@pytest.fixture(scope="module")
def folder(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machines")
    (folder / "deep").mkdir()
    for name in ("one.tsd", "two.tsd", "deep/three.tsd"):
        (folder / name).write_bytes(recording.read_bytes())
    (folder / "notes.txt").write_text("no recording")
    return folder


def test_a_scan_has_the_rows_of_all_intervals(recording: Path) -> None:
    expected = by_frames(recording, NAMES)
    assert found(taskstats.scan(recording, columns=NAMES)) == expected
    everything = taskstats.scan(recording)
    assert list(everything.types) == list(COLUMNS)
    assert found(everything) == by_frames(recording, list(COLUMNS))


def test_the_changed_rows_are_those_that_used_anything(tmp_path: Path) -> None:
    path = tmp_path / "machine.tsd"
    record(path, 6, full_every=100)
    names = ["time_ns", "ac_pid", "exited", "total_ns", "nvcsw_delta", "read_char_delta"]
    expected = [row for row in by_frames(path, names) if any(row[3:])]
    changed = found(taskstats.scan(path, columns=names, rows="changed"))
    assert [row for row in changed if any(row[3:])] == expected
    assert len(changed) < len(by_frames(path, names))


def test_records_are_those_of_read(recording: Path) -> None:
    names = ["time_ns", "ac_pid", "ac_etime", "path"]
    scanned = found(taskstats.scan(recording, rows="record", columns=names))
    assert scanned == tuples(taskstats.read(recording, names))
    with pytest.raises(ValueError, match="total_ns"):
        taskstats.scan(recording, rows="record", columns=["total_ns"])


def test_all_kinds_of_sources(recording: Path, folder: Path) -> None:
    one = found(taskstats.scan(recording, columns=NAMES))
    data = recording.read_bytes()
    with open(recording, "rb") as file, fsspec.open(recording, "rb") as remote:
        sources: list[Any] = [
            str(recording),
            recording,
            taskstats.open(recording),
            file,
            remote,
            data,
            io.BytesIO(data),
            f"file://{recording}",
            [recording],
        ]
        for source in sources:
            assert found(taskstats.scan(source, columns=NAMES)) == one, source
    folders: list[tuple[Any, int]] = [
        (folder, 3),
        (f"{folder}/*.tsd", 2),
        (f"{folder}/**/*.tsd", 3),
        ([folder / "one.tsd", data], 2),
    ]
    for several, count in folders:
        assert found(taskstats.scan(several, columns=NAMES)) == one * count
    memory = fsspec.filesystem("memory")
    memory.pipe({"/fleet/a.tsd": data, "/fleet/b.tsd": data})
    for url in ("memory://fleet/*.tsd", "memory://fleet"):
        assert found(taskstats.scan(url, columns=NAMES)) == one * 2
    # A file is read from its begin, each time.
    twice = taskstats.scan(io.BytesIO(data), columns=NAMES)
    assert found(twice) == found(twice) == one


def test_read_takes_files_and_bytes_and_no_columns(recording: Path) -> None:
    expected = tuples(taskstats.read(recording, ["ac_pid"]))
    with open(recording, "rb") as file:
        assert tuples(taskstats.read(file, ["ac_pid"])) == expected
        assert tuples(taskstats.read([file, recording], ["ac_pid"])) == expected * 2
    data = recording.read_bytes()
    assert tuples(taskstats.read(data, ["ac_pid"])) == expected
    assert len(taskstats.read(data, [])) == len(expected)
    assert sum(map(len, taskstats.scan(data, columns=[]))) == len(by_frames(recording, ["ac_pid"]))
    with pytest.raises(taskstats.ParseError, match=r"taskstats\.open or taskstats\.scan"):
        taskstats.parse(data)
    wrong: Any
    for wrong in (7, [7], None):
        with pytest.raises(TypeError, match="give a path"):
            taskstats.read(wrong)


def test_read_takes_what_scan_takes(recording: Path, folder: Path) -> None:
    expected = tuples(taskstats.read(recording, ["ac_pid"]))
    memory = fsspec.filesystem("memory")
    memory.pipe("/read/a.tsd", recording.read_bytes())
    for source, count in (
        (folder, 3),
        (f"{folder}/*.tsd", 2),
        ("memory://read", 1),
        (taskstats.open(recording), 1),
    ):
        assert tuples(taskstats.read(source, ["ac_pid"])) == expected * count
    begin = datetime.datetime(1960, 1, 1, tzinfo=datetime.UTC)
    assert tuples(taskstats.read(recording, ["ac_pid"], begin_ns=begin)) == expected


def test_what_is_no_time_is_refused(recording: Path) -> None:
    before = datetime.datetime(1960, 1, 1, tzinfo=datetime.UTC)
    assert found(taskstats.scan(recording, columns=NAMES, begin=before, end=before)) == []
    every = taskstats.scan(recording, columns=NAMES)
    assert found(taskstats.scan(recording, columns=NAMES, begin=-1)) == found(every)
    for time in ("2026-01-01", "5", 1.5, datetime.date(2026, 1, 1)):
        with pytest.raises(TypeError, match="give a datetime, or ns since 1970"):
            taskstats.scan(recording, begin=time)  # type: ignore[arg-type]


def test_times_select_the_ends_of_intervals(recording: Path) -> None:
    times = taskstats.open(recording).times_ns
    expected = [row for row in by_frames(recording, NAMES) if row[0] in times[3:6]]

    def moment(time_ns: int) -> datetime.datetime:
        # A microsecond earlier, as these have no ns.
        return datetime.datetime.fromtimestamp(time_ns // 1000 / 1e6, datetime.UTC)

    assert found(taskstats.scan(recording, columns=NAMES, begin=times[3], end=times[6])) == expected
    begin, end = moment(times[3]), moment(times[6])
    assert found(taskstats.scan(recording, columns=NAMES, begin=begin, end=end)) == expected
    assert found(taskstats.scan(recording, columns=NAMES, end=times[1])) == []


def test_arrow_pandas_and_duckdb_have_the_same_sums(folder: Path) -> None:
    scan = taskstats.scan(folder, columns=NAMES)
    expected: dict[object, int] = {}
    for row in found(scan):
        expected[row[3]] = expected.get(row[3], 0) + int(str(row[6] or 0))
    table = scan.to_arrow().read_all()
    assert str(table.schema.field("time_ns").type) == "timestamp[ns, tz=UTC]"
    summed = table.unify_dictionaries().group_by("ac_comm").aggregate([("total_ns", "sum")])
    assert dict(zip(*(summed.column(i).to_pylist() for i in (0, 1)), strict=True)) == expected
    frame = scan.to_pandas()
    assert frame.groupby("ac_comm", observed=True)["total_ns"].sum().to_dict() == expected
    relation = scan.to_duckdb()
    query = "SELECT ac_comm, sum(total_ns) FROM relation GROUP BY 1"
    summed_up = duckdb.sql(query)
    assert summed_up is not None
    assert dict(summed_up.fetchall()) == expected
    assert relation.columns == NAMES


def test_times_are_timestamps_everywhere(folder: Path) -> None:
    scan = taskstats.scan(folder, columns=["ac_btime64", "ac_btime"])
    types = scan.to_arrow().schema.types
    assert [str(kind) for kind in types] == ["timestamp[s, tz=UTC]"] * 2
    assert {str(kind) for kind in scan.to_pandas().dtypes} == {"datetime64[s, UTC]"}
    frame = scan.to_polars().collect()
    assert set(frame.dtypes) == {pl.Datetime("ns", "UTC")}
    seconds = scan.to_arrow().read_all()["ac_btime64"].cast("int64").to_pylist()
    assert (frame["ac_btime64"].cast(pl.Int64) // 10**9).to_list() == seconds
    assert str(scan.to_duckdb().types[0]) == "TIMESTAMP WITH TIME ZONE"


def test_polars_reads_only_what_a_query_needs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = taskstats.scan(folder, columns=NAMES)
    asked: list[dict[str, Any]] = []
    read = scan._batches

    def batches(
        columns: list[str], hosts: Any = None, times: Any = None
    ) -> Iterator[taskstats.Columns]:
        asked.append({"columns": columns, "rows": 0})
        for batch in read(columns, hosts, times):
            asked[-1]["rows"] += len(batch)
            yield batch

    monkeypatch.setattr(scan, "_batches", batches)
    frame = scan.to_polars()
    every = found(scan)
    assert frame.select(NAMES).collect().height == len(every)
    dump = taskstats.open(folder / "one.tsd")
    moment = pl.lit(dump.times_ns[3]).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
    host = dump[0].host
    late = frame.filter(pl.col("time_ns") >= moment, pl.col("host") == host, pl.col("ac_pid") == 1)
    rows_of = [row for row in every if int(str(row[0])) >= dump.times_ns[3] and row[2] == 1]
    assert late.select("total_ns").collect().height == len(rows_of)
    assert set(asked[-1]["columns"]) == {"total_ns", "time_ns", "host", "ac_pid"}
    assert asked[-1]["rows"] == 3 * sum(dump.rows[3:])
    # Of another host nothing is read, and of a head little.
    assert frame.filter(pl.col("host") == "elsewhere").collect().height == 0
    assert asked[-1]["rows"] == 0
    # A part of a disjunction does not select alone.
    either = frame.filter((pl.col("host") == "elsewhere") | (pl.col("ac_pid") == 1)).collect()
    assert either.height == len([row for row in every if row[2] == 1])
    assert frame.head(3).collect().height == 3
    schema = {"time_ns": pl.Datetime("ns", "UTC"), "total_ns": pl.UInt64(), "host": pl.String()}
    assert {name: frame.collect_schema()[name] for name in schema} == schema


def test_damage_raises_or_is_skipped_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "machine.tsd"
    record(path, 5, level=None, full_every=1)
    whole = by_frames(path, NAMES)
    damage(path, 2)
    (tmp_path / "empty.tsd").write_bytes(b"")
    (tmp_path / "foreign.tsd").write_text("something else, that is no recording")
    (tmp_path / "folder.tsd").mkdir()
    broken = {
        path: taskstats.ParseError,
        tmp_path / "empty.tsd": taskstats.ParseError,
        tmp_path / "foreign.tsd": taskstats.ParseError,
        tmp_path / "folder.tsd": OSError,
        tmp_path / "missing.tsd": OSError,
    }
    for one, error in broken.items():
        with pytest.raises(error):
            found(taskstats.scan([one], columns=NAMES))
        with pytest.raises(error):
            taskstats.read([one], ["ac_pid"])
    with pytest.raises(taskstats.ParseError):
        list(Frames(taskstats.open(path)).intervals())
    with pytest.raises(taskstats.ParseError):
        taskstats.scan(path, columns=NAMES).to_arrow().read_all()
    with pytest.warns(taskstats.DamageWarning, match=r"5 parts .*see \.lost"):
        read = taskstats.read(list(broken), ["time_ns"], errors="skip")
    assert {row["path"] for row in read.lost} == set(broken)
    files = [name for name in broken if name.suffix == ".tsd" and name.name != "folder.tsd"]
    scan = taskstats.scan(files, columns=NAMES, on_error="skip")
    with pytest.warns(taskstats.DamageWarning, match=r"4 parts"):
        kept = found(scan)
    assert [(row["path"], row["snapshot"]) for row in scan.lost if row["path"] == path] == [
        (path, 2)
    ]
    times = taskstats.open(path).times_ns
    assert kept == [row for row in whole if row[0] not in times[2:4]]
    frames = Frames(taskstats.open(path), errors="skip")
    with pytest.warns(taskstats.DamageWarning, match=r"1 part .*checksum") as warned:
        assert sum(map(len, frames.intervals())) == len(kept)
    assert [Path(one.filename).name for one in warned] == [Path(__file__).name]
    assert list(frames.lost) == [2]


def test_what_is_nowhere_is_damage_too(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    memory = fsspec.filesystem("memory")
    memory.pipe("/bare/notes.txt", b"no recording")
    places = [
        str(tmp_path / "empty"),
        str(tmp_path / "none-*.tsd"),
        "memory://bare",
        "memory://bare/*.tsd",
        "memory://bare/one.tsd",
    ]
    for place in places:
        for request in (
            lambda place=place: found(taskstats.scan(place, columns=NAMES)),
            lambda place=place: taskstats.read(place, ["ac_pid"]),
        ):
            with pytest.raises(FileNotFoundError) as caught:
                request()
            assert place.removeprefix("memory:/") in str(caught.value.filename)
            assert str(caught.value).count(caught.value.filename) == 1
    scan = taskstats.scan(places, columns=NAMES, on_error="skip")
    with pytest.warns(taskstats.DamageWarning, match="5 parts") as warned:
        assert found(scan) == []
    assert len(scan.lost) == 5
    # Python shows a warning once for each place: that of the caller, not one in the package.
    assert [Path(one.filename).name for one in warned] == [Path(__file__).name]
    with pytest.warns(taskstats.DamageWarning) as warned:
        assert len(taskstats.read(tmp_path / "none.tsd", ["ac_pid"], errors="skip")) == 0
    assert [Path(one.filename).name for one in warned] == [Path(__file__).name]


def test_reasons_are_the_same_of_read_and_scan(tmp_path: Path) -> None:
    (tmp_path / "foreign.tsd").write_text("something else, that is no recording")
    scan = taskstats.scan(tmp_path, columns=["ac_pid"], on_error="skip")
    with pytest.warns(taskstats.DamageWarning):
        assert not list(scan)
    with pytest.warns(taskstats.DamageWarning):
        read = taskstats.read(tmp_path, ["ac_pid"], errors="skip")
    assert scan.lost == read.lost


def test_a_slice_of_a_recording_is_scanned(recording: Path) -> None:
    dump = taskstats.open(recording)
    part, names = dump[3:6], ["time_ns", "ac_pid"]
    scanned = taskstats.scan(part, columns=names)
    # Of three snapshots there are two intervals.
    expected = [row for row in by_frames(recording, names) if row[0] in part.times_ns[1:]]
    assert found(scanned) == expected
    lazy = scanned.to_polars().filter(pl.col("time_ns") > part.times_ns[1]).collect()
    assert lazy.height == len([row for row in expected if row[0] == part.times_ns[2]])
    records = tuples(part.read(names))
    assert found(taskstats.scan(part, columns=names, rows="record")) == records
    assert tuples(taskstats.read(part, names)) == records
    assert tuples(taskstats.read([part, dump[:1]], names)) == tuples(dump[3:6].read(names)) + (
        tuples(dump[:1].read(names))
    )
    with pytest.raises(ValueError, match="leave out the step"):
        found(taskstats.scan(dump[::2], columns=names))


def test_a_lost_header_of_an_unfinished_recording_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "machine.tsd"
    recorder = taskstats.Recorder(path, full_every=1)
    with taskstats.Source() as source:
        for _ in range(4):
            recorder.write(source.snapshot())
    # As a recorder leaves it that is killed.
    data = bytearray(path.read_bytes())
    recorder.close()
    marks = [at for at in range(0, len(data), 8) if data[at : at + 4] == b"TSFR"]
    second = [at for at in marks if data[at + 4] == 2][1]
    torn = tmp_path / "torn.tsd"
    torn.write_bytes(data[:-9])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(taskstats.scan(torn, columns=["ac_pid"])), "an unfinished end is no damage"
    data[second + 16] ^= 1
    path.write_bytes(data)
    with pytest.raises(taskstats.ParseError, match=str(path)):
        found(taskstats.scan(path, columns=["ac_pid"]))
    with pytest.raises(taskstats.ParseError, match=str(path)):
        taskstats.read(path, ["ac_pid"])


def test_a_growing_recording_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "machine.tsd"
    with taskstats.Source() as source, taskstats.Recorder(path, full_every=3) as recorder:
        recorder.write(source.snapshot())
        dump = taskstats.open(path)
        recorder.write(source.snapshot())
        assert len(dump) == 1
        dump = dump.refresh()
        assert len(dump) == 2
        assert dump.refresh() is dump
        batches = taskstats.scan(tmp_path, columns=["time_ns"]).follow(interval=0.01)
        times = set(next(batches)["time_ns"])
        for _ in range(4):
            recorder.write(source.snapshot())
            times |= set(next(batches)["time_ns"])
        # Another recording begins.
        with taskstats.Recorder(tmp_path / "other.tsd") as other:
            other.write(source.snapshot())
            other.write(source.snapshot())
        times |= set(next(batches)["time_ns"])
    expected = [
        taskstats.open(tmp_path / name).times_ns[1:] for name in ("machine.tsd", "other.tsd")
    ]
    assert times == set(itertools.chain.from_iterable(expected))


def test_wrong_arguments_are_refused(recording: Path) -> None:
    for options, words in [
        ({"columns": ["nonsense"]}, "nonsense"),
        ({"columns": "ac_pid"}, r"\['ac_pid'\]"),
        ({"rows": "thread"}, "interval"),
        ({"on_error": "ignore"}, "skip"),
    ]:
        with pytest.raises(ValueError, match=words):
            taskstats.scan(recording, **options)  # type: ignore[arg-type]
    for missing in ("none-*.tsd", os.path.dirname(__file__)):
        with pytest.raises(FileNotFoundError):
            found(taskstats.scan(missing))


def test_a_recording_of_release_0_1_0_is_read_as_it_was() -> None:
    path = DATA / "recording-0.1.0.tsd"
    expected = [tuple(row) for row in json.loads((DATA / "recording-0.1.0.json").read_text())]
    names = ["time_ns", "interval_ns", "ac_pid", "ac_comm", "ac_etime", "ac_sum_exec_ns"]
    names += ["user_ns", "system_ns", "total_ns", "user", "cmdline"]
    assert by_frames(path, names) == expected
    assert found(taskstats.scan(path, columns=names)) == expected
    assert taskstats.open(path).check() == []
    assert taskstats.open(path).metadata == {}


def test_a_scan_ends_with_a_signal_and_when_it_is_dropped(recording: Path) -> None:
    script = """
import itertools, sys
import taskstats
files = [sys.argv[1]] * 5000
scan = iter(taskstats.scan(files))
next(scan)
del scan
# Its threads ended with it.
assert open("/proc/self/status").read().split("Threads:")[1].split()[0] == "1"
try:
    print("reading", flush=True)
    for _ in itertools.count():
        for batch in taskstats.scan(files, columns=["total_ns"]):
            pass
except KeyboardInterrupt:
    print("interrupted")
"""
    command = [sys.executable, "-c", script, str(recording)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert (out, process.returncode) == ("interrupted\n", 0)
