"""Recorded snapshots as a Spark data source; needs the extra `spark`.

    spark.read.format("taskstats").load("/var/log/ptop/*.tsd")

A row is a task in an interval: `time_ns`, `host`, `boot_id`, `source`, `interval_ns`, what
the task used (`user_ns`, `system_ns`, `steal_ns`, `total_ns`), `exited`, and the kernel's
fields. Unknown is null.

Design decisions

* A partition is a range of frames of one file, which a worker opens by itself: files have
  to be where all workers see them.
* Only the columns of the schema are read. Spark does not tell a Python source what is
  selected: `.schema("time_ns bigint, ac_pid int")` does.
* Spark has no unsigned numbers: a value that its type cannot hold is an error, never
  another number.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DecimalType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from taskstats._core import open as open_dump
from taskstats.arrow import batches
from taskstats.recorded import COLUMNS, Frames, check

# Frames of a partition unless the option framesPerPartition says other: ten minutes at 1 s.
FRAMES = 600

_TYPES = {
    "integer": LongType(),
    "signed": LongType(),
    "text": StringType(),
    "flag": BooleanType(),
}
# Any 64 bits, not a number of something.
_WIDE: dict[str, DataType] = {"task_id": DecimalType(20, 0)}


@dataclass
class Part(InputPartition):
    """The frames from `start` up to `stop` of a file."""

    path: str
    start: int
    stop: int


class TaskstatsSource(DataSource):
    """The format `taskstats`. Options: the path or paths (globs are expanded) and
    `framesPerPartition`."""

    @classmethod
    def name(cls) -> str:
        return "taskstats"

    def schema(self) -> StructType:
        return StructType(
            [StructField(name, _WIDE.get(name, _TYPES[kind])) for name, kind in COLUMNS.items()]
        )

    def reader(self, schema: StructType) -> Reader:
        check(schema.names)
        text = self.options.get("framesPerPartition", str(FRAMES))
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            raise ValueError(f"framesPerPartition {text!r} is no whole number from 1 up")
        return Reader(self._paths(), schema, int(text))

    def _paths(self) -> list[str]:
        patterns = json.loads(self.options.get("paths", "[]"))
        if "path" in self.options:
            patterns.append(self.options["path"])
        if not patterns:
            raise ValueError('no path; name the files, for example: .load("/var/log/ptop/*.tsd")')
        found = []
        for pattern in patterns:
            matches = sorted(glob.glob(pattern.removeprefix("file:")))
            if not matches:
                raise FileNotFoundError(f"no file matches {pattern!r}")
            found += matches
        return found


class Reader(DataSourceReader):
    """Reads ranges of frames as Arrow batches."""

    def __init__(self, paths: Sequence[str], schema: StructType, frames: int) -> None:
        self.paths = paths
        self.schema = schema
        self.frames = frames

    def partitions(self) -> Sequence[InputPartition]:
        """Every file in ranges of frames."""
        return [
            Part(path, start, min(start + self.frames, count))
            for path in self.paths
            for count in [len(open_dump(path))]
            for start in range(1, count, self.frames)
        ]

    def read(self, partition: InputPartition) -> Iterator[pyarrow.RecordBatch]:
        assert isinstance(partition, Part), "one of ours"
        frames = Frames(open_dump(partition.path))
        intervals = frames.intervals(partition.start, partition.stop)
        yield from batches(intervals, to_arrow_schema(self.schema))
