"""The Spark data source on a local Spark with several workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import taskstats
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
        ("nonsense int", "one.tsd", "no column 'nonsense'"),
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
