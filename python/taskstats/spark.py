"""Recorded snapshots as a Spark data source; needs the extra `spark`.

    spark.read.format("taskstats").load("/var/log/ptop/*.tsd")

A row is a task in an interval, with the columns of `taskstats.recorded.COLUMNS`. Unknown is
null.

Design decisions

* A partition is a range of frames of one file, which a worker opens: all workers need the files
  at the same path.
* Only the columns of the schema are read, because Spark does not pass a `select` on to a Python
  source: give `.schema("time_ns bigint, ac_pid int")`.
* `time_ns`, `ac_btime` and `ac_btime64` may be timestamps: give `.schema("time_ns timestamp")`.
* Spark has no unsigned integers. A value that does not fit its type is an error, never
  another number.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DecimalType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from taskstats._core import open as open_dump
from taskstats.arrow import batches
from taskstats.recorded import COLUMNS, Frames, check

# Default of the option framesPerPartition: ten minutes at one snapshot a second.
FRAMES = 600

_TYPES = {
    "integer": LongType(),
    "signed": LongType(),
    "text": StringType(),
    "flag": BooleanType(),
}
# A task_id uses all 64 bits, so it does not fit a LongType.
_WIDE: dict[str, DataType] = {"task_id": DecimalType(20, 0)}


@dataclass
class Part(InputPartition):
    """The frames of a file from `start` to `stop`, without `stop`."""

    path: str
    start: int
    stop: int


class TaskstatsSource(DataSource):
    """The format `taskstats`.

    Options are the path or paths, whose globs are expanded, and `framesPerPartition` (600).
    """

    @classmethod
    def name(cls) -> str:
        """Return the name of the format."""
        return "taskstats"

    def schema(self) -> StructType:
        """Return all columns, for a reader without a schema of its own."""
        return StructType(
            [StructField(name, _WIDE.get(name, _TYPES[kind])) for name, kind in COLUMNS.items()]
        )

    def reader(self, schema: StructType) -> Reader:
        """Return a reader of these columns.

        Raises ValueError for an unknown column, option or missing path, and FileNotFoundError
        where a glob matches nothing.
        """
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
        """Return ranges of frames that cover every file."""
        return [
            Part(path, start, min(start + self.frames, count))
            for path in self.paths
            for count in [len(open_dump(path))]
            for start in range(1, count, self.frames)
        ]

    def read(self, partition: InputPartition) -> Iterator[pyarrow.RecordBatch]:
        """Yield the rows of one range of frames."""
        assert isinstance(partition, Part), "one of ours"
        frames = Frames(open_dump(partition.path))
        intervals = frames.intervals(partition.start, partition.stop)
        fields = [pyarrow.field(field.name, _arrow_type(field.dataType)) for field in self.schema]
        yield from batches(intervals, pyarrow.schema(fields))


def _arrow_type(spark_type: DataType) -> pyarrow.DataType:
    # to_arrow_type takes the time zone in newer releases only.
    if isinstance(spark_type, TimestampType):
        return pyarrow.timestamp("us", tz="UTC")
    return to_arrow_type(spark_type)
