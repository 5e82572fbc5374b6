"""Rows of intervals as Arrow batches of a given schema; needs pyarrow (extra `export`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow

from taskstats._core import Interval, columns

# A batch has at least this many rows, but for the last: it holds whole intervals.
BATCH_ROWS = 65_536


# Units of the columns that are times since 1970, which may become timestamps.
_TIMES = {"time_ns": "ns", "ac_btime": "s", "ac_btime64": "s"}


def batches(intervals: Iterable[Interval], schema: pyarrow.Schema) -> Iterator[pyarrow.RecordBatch]:
    """Yield the rows of `intervals` as batches of `schema`.

    The names of the schema are columns of `Interval.columns`. `time_ns`, `ac_btime` and
    `ac_btime64` may be timestamps of any unit, rounded down. Raises ValueError for an unknown
    column and for a timestamp of another column, and pyarrow.ArrowInvalid for a value that does
    not fit its type.
    """
    for field in schema:
        if pyarrow.types.is_timestamp(field.type) and field.name not in _TIMES:
            raise ValueError(f"{field.name} is no time: timestamps are {', '.join(_TIMES)}")

    def made(found: list[Interval]) -> Iterator[pyarrow.RecordBatch]:
        table = pyarrow.table(columns(found, schema.names))
        converted = [_cast(table.column(field.name), field) for field in schema]
        yield from pyarrow.table(converted, schema=schema).to_batches()

    waiting: list[Interval] = []
    rows = 0
    for interval in intervals:
        waiting.append(interval)
        rows += len(interval)
        if rows >= BATCH_ROWS:
            yield from made(waiting)
            waiting, rows = [], 0
    if waiting:
        yield from made(waiting)


def _cast(values: pyarrow.ChunkedArray, field: pyarrow.Field) -> pyarrow.ChunkedArray:
    if not pyarrow.types.is_timestamp(field.type):
        return values.cast(field.type)
    # Arrow casts only signed integers to timestamps.
    unit = pyarrow.timestamp(_TIMES[field.name], tz=field.type.tz)
    return values.cast(pyarrow.int64()).cast(unit).cast(field.type, safe=False)
