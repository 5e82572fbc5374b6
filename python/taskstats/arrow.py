"""The rows of intervals as Arrow batches of any schema; needs pyarrow (extra `export`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow

from taskstats._core import Interval, columns

# Rows of a batch, as far as whole intervals allow.
BATCH_ROWS = 65_536


def batches(intervals: Iterable[Interval], schema: pyarrow.Schema) -> Iterator[pyarrow.RecordBatch]:
    """Batches of that schema, whose names are columns of an interval. ArrowInvalid where a
    number is beyond its type."""
    # Arrow makes no time of an unsigned number.
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
