"""The Spark data source on a local Spark with several workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import taskstats
from machine import damage, record  # type: ignore[import-not-found]
from pyspark.errors import PySparkException
from pyspark.sql import Row, SparkSession
from taskstats.recorded import COLUMNS, Frames, rows

pytestmark = [
    pytest.mark.timeout(300),
    # Warnings of Spark itself, about its streams and pandas.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    session = (
        SparkSession.builder.master("local[3]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "512m")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    yield session
    session.stop()


@pytest.fixture(scope="module")
def folder(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    for name in ("one.tsd", "two.tsd"):
        (folder / name).write_bytes(recording.read_bytes())
    (folder / "notes.txt").write_text("no dump")
    return folder


def test_a_glob_is_read_by_its_name_alone(spark: SparkSession, folder: Path) -> None:
    names = ["time_ns", "ac_pid", "ac_comm", "total_ns", "exited", "ac_sttime"]
    found = (
        spark.read.format("taskstats")
        .option("framesPerPartition", "2")
        .schema("time_ns bigint, ac_pid int, ac_comm string, total_ns bigint, exited boolean,"
                " ac_sttime bigint")
        .load(f"{folder}/*.tsd")
    )  # fmt: skip
    frames = Frames(taskstats.open(folder / "one.tsd"))
    expected = [row for interval in frames.intervals() for row in rows(interval, names)]
    key = [str(row) for row in expected + expected]
    assert sorted(str(tuple(row)) for row in found.collect()) == sorted(key)
    ranges = -(-(len(frames) - 1) // 2)
    assert found.rdd.getNumPartitions() == 2 * ranges
    assert ranges > 1


def test_several_workers_read(spark: SparkSession, folder: Path) -> None:
    def process(found: Iterable[Row]) -> Iterator[tuple[int, int]]:
        yield os.getpid(), sum(1 for _ in found)

    reader = spark.read.format("taskstats").option("framesPerPartition", "1").schema("ac_pid int")
    counts = reader.load(f"{folder}/*.tsd").rdd.mapPartitions(process).collect()
    frames = Frames(taskstats.open(folder / "one.tsd"))
    assert sorted(count for _, count in counts) == sorted(2 * list(map(len, frames.intervals())))
    assert len({pid for pid, _ in counts}) > 1


def test_the_whole_schema_sums_as_the_file_does(spark: SparkSession, folder: Path) -> None:
    found = spark.read.format("taskstats").load(f"{folder}/one.tsd")
    assert found.columns == list(COLUMNS)
    used = found.groupBy().sum("total_ns").collect()[0][0]
    frames = Frames(taskstats.open(folder / "one.tsd"))
    assert used == sum(interval.sum(["total_ns"])[0] or 0 for interval in frames.intervals())


def test_times_are_timestamps(spark: SparkSession, folder: Path) -> None:
    schema = "time_ns timestamp, ac_btime64 timestamp_ntz, ac_pid int"
    found = spark.read.format("taskstats").schema(schema).load(f"{folder}/one.tsd")
    frames = Frames(taskstats.open(folder / "one.tsd"))
    expected = {
        (time_ns // 1000, start, pid)
        for interval in frames.intervals()
        for time_ns, start, pid in rows(interval, ["time_ns", "ac_btime64", "ac_pid"])
        if isinstance(time_ns, int)
    }
    seconds = found.selectExpr("unix_micros(time_ns)", "unix_seconds(ac_btime64)", "ac_pid")
    assert {tuple(row) for row in seconds.collect()} == expected


@pytest.mark.parametrize(
    ("schema", "path", "words"),
    [
        ("nonsense int", "one.tsd", 'no column "nonsense"'),
        ("ac_pid int", "none-*.tsd", "no file matches"),
        ("ac_pid int", "notes.txt", "ParseError"),
        # A time in ns needs more than 32 bits.
        ("time_ns int", "one.tsd", "int32|not in range|too large"),
        ("ac_pid timestamp", "one.tsd", "ac_pid is no time"),
    ],
)
def test_errors_are_reported(
    spark: SparkSession, folder: Path, schema: str, path: str, words: str
) -> None:
    with pytest.raises(PySparkException, match=words):
        spark.read.format("taskstats").schema(schema).load(f"{folder}/{path}").collect()


def summed(found: Any) -> dict[str, int]:
    return {row[0]: row[1] for row in found.groupBy("ac_comm").sum("total_ns").collect()}


def test_filters_of_time_and_host_are_pushed_down(spark: SparkSession, folder: Path) -> None:
    from taskstats.spark import FilteringReader, TaskstatsSource

    dump = taskstats.open(folder / "one.tsd")
    host, times = dump[0].host, dump.times_ns
    reader = spark.read.format("taskstats").option("framesPerPartition", "1")
    reader = reader.schema(
        "time_ns bigint, host string, ac_comm string, total_ns bigint, path string"
    )
    plain = reader.load(str(folder))
    spark.conf.set("spark.sql.python.filterPushdown.enabled", "true")
    try:
        pushing = reader.option("pushFilters", "true").load(str(folder))
        for condition in (
            f"time_ns >= {times[5]} AND host = '{host}'",
            f"time_ns < {times[3]} AND host IN ('{host}', 'other')",
            f"time_ns = {times[2]}",
        ):
            expected = sorted(map(tuple, plain.where(condition).collect()))
            assert sorted(map(tuple, pushing.where(condition).collect())) == expected
            assert expected
            # Partitions whose frames are at other times are not read.
            partitions = pushing.where(condition).rdd.getNumPartitions()
            assert partitions < plain.where(condition).rdd.getNumPartitions()
        assert pushing.where("host = 'other'").count() == 0
        stamps = reader.schema("time_ns timestamp, ac_pid int").load(str(folder))
        condition = f"time_ns <= timestamp_micros({times[3] // 1000})"
        assert stamps.where(condition).count() == plain.where(f"time_ns <= {times[3]}").count()
    finally:
        spark.conf.unset("spark.sql.python.filterPushdown.enabled")
    # Without the option, a session that does not push filters reads all the same.
    assert plain.where(f"host = '{host}'").count() == plain.count()
    reader_of = TaskstatsSource({"path": str(folder), "pushFilters": "true"}).reader
    assert isinstance(reader_of(plain.schema), FilteringReader)


def test_labels_are_columns_and_select_files(spark: SparkSession, tmp_path: Path) -> None:
    for name in ("b7", "c2"):
        record(tmp_path / f"{name}.tsd", 3, metadata={"label.rack": name})
    record(tmp_path / "none.tsd", 3)
    schema = "`label.rack` string, ac_pid int, total_ns bigint"
    reader = spark.read.format("taskstats").schema(schema)
    plain = reader.load(str(tmp_path))
    assert {row[0] for row in plain.collect()} == {"b7", "c2", None}
    spark.conf.set("spark.sql.python.filterPushdown.enabled", "true")
    try:
        pushing = reader.option("pushFilters", "true").load(str(tmp_path))
        for condition, files in (
            ("`label.rack` = 'b7'", 1),
            ("`label.rack` IN ('b7', 'c2') AND ac_pid = 1", 2),
            ("`label.rack` IS NULL", 3),
        ):
            rows_of = pushing.where(condition)
            expected = sorted(map(str, plain.where(condition).collect()))
            assert sorted(map(str, rows_of.collect())) == expected
            assert expected
            assert rows_of.rdd.getNumPartitions() == files
    finally:
        spark.conf.unset("spark.sql.python.filterPushdown.enabled")


def test_options_select_times_and_tolerate_damage(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "machine.tsd"
    record(path, 6, level=None, full_every=1)
    times = taskstats.open(path).times_ns
    schema = "time_ns bigint, ac_comm string, total_ns bigint, read_bytes_delta bigint, path string"
    between = spark.read.format("taskstats").option("begin", str(times[2]))
    rows_of = between.option("end", str(times[4])).schema(schema).load(str(path))
    assert {row[0] for row in rows_of.collect()} == set(times[2:4])
    assert {row[4] for row in rows_of.collect()} == {str(path)}
    damage(path, 5)
    (tmp_path / "empty.tsd").touch()
    reader = spark.read.format("taskstats").schema(schema)
    with pytest.raises(PySparkException, match="ParseError"):
        reader.load(str(path)).collect()
    with pytest.raises(PySparkException, match="ParseError"):
        reader.load(str(tmp_path)).collect()
    kept = reader.option("onError", "skip").load(str(tmp_path))
    assert {row[0] for row in kept.collect()} == set(times[1:5])
    with pytest.raises(PySparkException, match="onError"):
        reader.option("onError", "ignore").load(str(path)).collect()


def test_a_stream_reads_each_interval_once(spark: SparkSession, tmp_path: Path) -> None:
    folder, sink, state = (tmp_path / name for name in ("fleet", "sink", "state"))
    folder.mkdir()
    path = folder / "machine.tsd"
    stream = (
        spark.readStream.format("taskstats")
        .option("framesPerPartition", "2")
        .schema("time_ns bigint, ac_pid int, ac_comm string, total_ns bigint")
        .load(str(folder))
    )

    def advance() -> None:
        # What there is now, from where the last query ended.
        query = (
            stream.writeStream.format("parquet")
            .option("path", str(sink))
            .option("checkpointLocation", str(state))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination(120)
        assert query.exception() is None

    with taskstats.Source() as source:
        with taskstats.Recorder(path) as recorder:
            for _ in range(3):
                recorder.write(source.snapshot())
            advance()
            for _ in range(3):
                recorder.write(source.snapshot())
        # A rotation renames the file, and begins another.
        path.rename(folder / "machine-000001.tsd")
        with taskstats.Recorder(path) as recorder:
            for _ in range(3):
                recorder.write(source.snapshot())
    advance()
    advance()
    batch = spark.read.format("taskstats").schema(stream.schema).load(str(folder))
    streamed = spark.read.parquet(str(sink))
    assert streamed.count() == batch.count() > 0
    assert summed(streamed) == summed(batch)
