"""Rows of intervals as Arrow batches of a given schema; needs pyarrow (extra `export`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow

from taskstats._core import Interval, columns

# A batch has at least this many rows, but for the last: it holds whole intervals.
BATCH_ROWS = 65_536


def batches(intervals: Iterable[Interval], schema: pyarrow.Schema) -> Iterator[pyarrow.RecordBatch]:
    """Yield the rows of `intervals` as batches of `schema`.

    The names of the schema are columns of `Interval.columns`. Raises ValueError for an unknown
    column, and pyarrow.ArrowInvalid for a value that does not fit its type.
    """
    # Arrow casts only signed integers to timestamps.
    signed = pyarrow.schema(
        field.with_type(pyarrow.int64()) if pyarrow.types.is_timestamp(field.type) else field
        for field in schema
    )

    def made(found: list[Interval]) -> Iterator[pyarrow.RecordBatch]:
        table = pyarrow.table(columns(found, schema.names))
        yield from table.cast(signed).cast(schema).to_batches()

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
