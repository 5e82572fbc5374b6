"""Recordings as a Spark data source; needs the extra `spark`.

    spark.read.format("taskstats").load("/var/log/ptop")
    spark.readStream.format("taskstats").schema("host string, total_ns bigint").load("/fleet")

A row is a task in an interval, with the columns of `taskstats.recorded.COLUMNS` and, where the
schema names them, `path`, labels such as `label.rack`, and derived ones of `Interval.columns`
such as `read_bytes_delta`. Unknown is null.

Design decisions

* A partition is a range of frames of one file, which a worker opens: all workers need the files
  at the same path.
* Only the columns of the schema are read, because Spark does not pass a `select` on to a Python
  source: give `.schema("time_ns bigint, ac_pid int")`.
* Spark refuses a source that takes filters while `spark.sql.python.filterPushdown.enabled` is
  false, its default. So filters are taken only with the option `pushFilters`.
* A stream's offset has the number of snapshots of each file, by inode and first time: a file may be
  renamed, as a rotation does.
* `time_ns`, `ac_btime` and other times since 1970 may be timestamps: give
  `.schema("time_ns timestamp")`.
* Spark has no unsigned integers. A value that does not fit its type is an error, never
  another number.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow
from pyspark.sql.datasource import (
    DataSource,
    DataSourceReader,
    DataSourceStreamReader,
    InputPartition,
)
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

from taskstats._core import Dump, column_types
from taskstats._core import open as open_dump
from taskstats._errors import ParseError
from taskstats._files import recordings
from taskstats._scan import scan, time_ns
from taskstats.arrow import record_batches
from taskstats.recorded import COLUMNS, LABEL

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
class Wanted:
    """What to read of recordings."""

    schema: StructType
    #: Whether to leave out what is damaged.
    skip: bool = False
    #: Times that intervals end at, in ns since 1970.
    begin_ns: int = 0
    end_ns: int = 2**64 - 1
    #: Only these hosts; None for all.
    hosts: set[str] | None = None
    #: Only files with one of these values, by the name of a label.
    labels: dict[str, set[str]] = field(default_factory=dict)

    def holds(self, times_ns: Sequence[int]) -> bool:
        """Whether an interval that ends at one of these times is wanted."""
        return any(self.begin_ns <= time < self.end_ns for time in times_ns)

    def has_labels(self, dump: Dump) -> bool:
        """Whether the rows of a file are wanted."""
        metadata = dump.metadata if self.labels else {}
        return all(metadata.get(name) in values for name, values in self.labels.items())


@dataclass
class Part(InputPartition):
    """The frames of a file from `start` to `stop`, without `stop`."""

    path: str
    start: int
    stop: int
    wanted: Wanted = field(repr=False)


class TaskstatsSource(DataSource):
    """The format `taskstats`.

    Options are the path or paths (patterns and directories are expanded), `framesPerPartition`
    (600), `onError` ("raise" or "skip"), `begin` and `end` (ISO 8601, or ns since 1970), and
    `pushFilters` ("true" reads only the times, hosts and labels that a filter selects; needs Spark
    4.1 and `spark.sql.python.filterPushdown.enabled`).
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
        where a pattern matches nothing.
        """
        pushes = self._one_of("pushFilters", "false", "true") == "true"
        kind = FilteringReader if pushes else Reader
        return kind(self._patterns(), self._wanted(schema), self._frames())

    def streamReader(self, schema: StructType) -> StreamReader:  # noqa: N802
        """Return a reader of what is recorded from now on, after what there is."""
        return StreamReader(self._patterns(), self._wanted(schema), self._frames())

    def _wanted(self, schema: StructType) -> Wanted:
        column_types(schema.names, "interval")
        wanted = Wanted(schema, self._one_of("onError", "raise", "skip") == "skip")
        if "begin" in self.options:
            wanted.begin_ns = _time(self.options["begin"])
        if "end" in self.options:
            wanted.end_ns = _time(self.options["end"])
        return wanted

    def _one_of(self, name: str, *values: str) -> str:
        value = self.options.get(name, values[0])
        if value not in values:
            raise ValueError(f"{name} is {value!r}: give {' or '.join(values)}")
        return value

    def _frames(self) -> int:
        text = self.options.get("framesPerPartition", str(FRAMES))
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            raise ValueError(f"framesPerPartition {text!r} is no whole number from 1 up")
        return int(text)

    def _patterns(self) -> list[str]:
        patterns: list[str] = json.loads(self.options.get("paths", "[]"))
        if "path" in self.options:
            patterns.append(self.options["path"])
        if not patterns:
            raise ValueError('no path; name the files, for example: .load("/var/log/ptop/*.tsd")')
        return patterns


def _time(text: str) -> int:
    return int(text) if text.isdigit() else time_ns(datetime.datetime.fromisoformat(text))


def _paths(patterns: Sequence[str]) -> list[str]:
    found = list(recordings(patterns, {}))
    for one in found:
        if one.lacks:
            raise one.lacks
    return [str(one.place) for one in found]


def _opened(path: str, skip: bool) -> Dump | None:
    """The file; None where it is to be left out. Workers list and warn of nothing, so that the
    driver's log has it."""
    try:
        return open_dump(path)
    except (OSError, ParseError):
        if skip:
            return None
        raise


class Reader(DataSourceReader):
    """Reads ranges of frames as Arrow batches."""

    def __init__(self, patterns: Sequence[str], wanted: Wanted, frames: int) -> None:
        self.patterns = patterns
        self.wanted = wanted
        self.frames = frames

    def partitions(self) -> Sequence[InputPartition]:
        """Return ranges of frames that cover what is wanted of every file."""
        found: list[InputPartition] = []
        for path in _paths(self.patterns):
            dump = _opened(path, self.wanted.skip)
            if dump is not None and self.wanted.has_labels(dump):
                found += _parts(path, dump.times_ns, 1, self.frames, self.wanted)
        return found

    def read(self, partition: InputPartition) -> Iterator[pyarrow.RecordBatch]:
        """Yield the rows of one range of frames."""
        return _rows(partition)


class FilteringReader(Reader):
    """Reads only the times, the hosts and the files with the labels that a filter selects."""

    def pushFilters(self, filters: list[Any]) -> Iterable[Any]:  # noqa: N802
        """Take over the filters of time, host and labels. Spark evaluates all of them again."""
        for one in filters:
            _take(self.wanted, one)
        return filters


def _take(wanted: Wanted, one: Any) -> None:
    """Restrict what is read to what a filter selects, or to more."""
    kind, column = type(one).__name__, getattr(one, "attribute", ())
    value: Any = getattr(one, "value", None)
    name = ".".join(column)
    if kind in {"EqualTo", "In"} and (name == "host" or name.startswith(LABEL)):
        values: set[str] = {value} if kind == "EqualTo" else set(value)
        if name == "host":
            wanted.hosts = values if wanted.hosts is None else wanted.hosts & values
        else:
            wanted.labels[name] = wanted.labels.get(name, values) & values
    if name == "time_ns" and isinstance(value, int | datetime.datetime):
        # A timestamp of Spark stands for all ns of its microsecond.
        unit = 1000 if isinstance(value, datetime.datetime) else 1
        at = time_ns(value)
        if kind in {"EqualTo", "GreaterThan", "GreaterThanOrEqual"}:
            wanted.begin_ns = max(wanted.begin_ns, at)
        if kind in {"EqualTo", "LessThan", "LessThanOrEqual"}:
            wanted.end_ns = min(wanted.end_ns, max(at + unit, 0))


def _parts(
    path: str, times_ns: Sequence[int], first: int, frames: int, wanted: Wanted
) -> list[Part]:
    ranges = [
        (start, min(start + frames, len(times_ns)))
        for start in range(max(first, 1), len(times_ns), frames)
    ]
    return [
        Part(path, start, stop, wanted)
        for start, stop in ranges
        if wanted.holds(times_ns[start:stop])
    ]


def _rows(partition: InputPartition) -> Iterator[pyarrow.RecordBatch]:
    assert isinstance(partition, Part), "one of ours"
    wanted, hosts = partition.wanted, partition.wanted.hosts
    names = wanted.schema.names
    rows = scan(
        partition.path,
        columns=names,
        begin=wanted.begin_ns,
        end=wanted.end_ns,
        on_error="skip" if wanted.skip else "raise",
    )
    batches = rows._batches(
        names,
        None if hosts is None else hosts.__contains__,
        lambda _: [range(partition.start, partition.stop)],
    )
    fields = [pyarrow.field(field.name, _arrow_type(field.dataType)) for field in wanted.schema]
    yield from record_batches(batches, pyarrow.schema(fields))


class StreamReader(DataSourceStreamReader):
    """Reads what is appended to files, and files that are new."""

    def __init__(self, patterns: Sequence[str], wanted: Wanted, frames: int) -> None:
        self.patterns = patterns
        self.wanted = wanted
        self.frames = frames

    def _files(self) -> dict[str, tuple[str, list[int]]]:
        """Path and times of each file that has a snapshot, by what stays when it is renamed."""
        found = {}
        try:
            paths = _paths(self.patterns)
        except FileNotFoundError:
            # Nothing is recorded yet.
            return {}
        for path in paths:
            # A recorder creates an empty file.
            dump = _opened(path, self.wanted.skip) if os.path.getsize(path) else None
            if dump is not None and len(dump):
                times = dump.times_ns
                found[f"{os.stat(path).st_ino}-{times[0]}"] = (path, times)
        return found

    def initialOffset(self) -> dict[str, int]:  # noqa: N802
        """Return the offset of a stream that has read nothing."""
        return {}

    def latestOffset(self, start: Mapping[str, int], limit: object) -> dict[str, int]:  # noqa: N802
        """Return the number of snapshots of each file."""
        # A file that was removed keeps its place: an offset never goes back.
        return dict(start) | {file: len(times) for file, (_, times) in self._files().items()}

    def partitions(
        self, start: Mapping[str, int], end: Mapping[str, int]
    ) -> Sequence[InputPartition]:
        """Return ranges of frames that cover what is new."""
        found: list[InputPartition] = []
        for file, (path, times) in self._files().items():
            new = times[: end.get(file, 0)]
            found += _parts(path, new, start.get(file, 0), self.frames, self.wanted)
        return found

    def read(self, partition: InputPartition) -> Iterator[pyarrow.RecordBatch]:
        """Yield the rows of one range of frames."""
        return _rows(partition)


def _arrow_type(spark_type: DataType) -> pyarrow.DataType:
    # to_arrow_type takes the time zone in newer releases only.
    if isinstance(spark_type, TimestampType):
        return pyarrow.timestamp("us", tz="UTC")
    return to_arrow_type(spark_type)
