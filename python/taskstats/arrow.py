"""Rows of recordings as Arrow batches of a given schema; needs pyarrow (extra `export`)."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO
from urllib.parse import quote

import pyarrow
from pyarrow import compute, parquet

from taskstats._core import Columns, Interval, column_types, columns
from taskstats.recorded import TIMES

# A batch of intervals, and a row group, have at least this many rows, but for the last.
BATCH_ROWS = 65_536

_DAY_NS = 86_400 * 10**9

_TYPES = {
    "bool": pyarrow.bool_(),
    "u8": pyarrow.uint8(),
    "i8": pyarrow.int8(),
    "u16": pyarrow.uint16(),
    "u32": pyarrow.uint32(),
    "u64": pyarrow.uint64(),
    "f64": pyarrow.float64(),
    "text": pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
}


def table_of(rows: Columns) -> pyarrow.Table:
    """Return rows as a table, on the same memory.

    `pyarrow.table` imports pandas first, to look whether it got a DataFrame.
    """
    return pyarrow.RecordBatchReader.from_stream(rows).read_all()


def schema_of(types: Mapping[str, str]) -> pyarrow.Schema:
    """Return the schema of columns of these types, as of `Scan.types`."""
    fields = {
        name: pyarrow.timestamp(TIMES[name], tz="UTC") if name in TIMES else _TYPES[kind]
        for name, kind in types.items()
    }
    return pyarrow.schema(list(fields.items()))


def schema_of_files(names: Iterable[str], time_unit: str) -> pyarrow.Schema:
    """Return the schema of columns of intervals in files, with times in a unit."""
    types = _TYPES | {"text": pyarrow.string()}
    names, time = list(names), pyarrow.timestamp(time_unit, tz="UTC")
    kinds = zip(names, column_types(names, "interval"), strict=True)
    return pyarrow.schema([(name, time if name in TIMES else types[kind]) for name, kind in kinds])


def record_batches(
    found: Iterable[Columns], schema: pyarrow.Schema
) -> Iterator[pyarrow.RecordBatch]:
    """Yield `found` as batches of `schema`, whose names it has.

    Times since 1970 may be timestamps of any unit, rounded down, or numbers. Raises ValueError for
    a timestamp of another column, and pyarrow.ArrowInvalid for a value that does not fit its type.
    """
    for field in schema:
        if pyarrow.types.is_timestamp(field.type) and field.name not in TIMES:
            raise ValueError(f"{field.name} is no time: timestamps are {', '.join(TIMES)}")
    for one in found:
        table = table_of(one)
        if not schema.names:
            # Rows without columns still count.
            yield from table.to_batches()
            continue
        converted = [_cast(table.column(field.name), field) for field in schema]
        yield from pyarrow.Table.from_arrays(converted, schema=schema).to_batches()


def batches(intervals: Iterable[Interval], schema: pyarrow.Schema) -> Iterator[pyarrow.RecordBatch]:
    """Yield the rows of `intervals` as batches of `schema`, as `record_batches` does.

    The names of the schema are columns of `Interval.columns`. Raises ValueError for an unknown
    column.
    """

    def together() -> Iterator[Columns]:
        waiting: list[Interval] = []
        rows = 0
        for interval in intervals:
            waiting.append(interval)
            rows += len(interval)
            if rows >= BATCH_ROWS:
                yield columns(waiting, schema.names)
                waiting, rows = [], 0
        if waiting:
            yield columns(waiting, schema.names)

    return record_batches(together(), schema)


def _cast(values: pyarrow.ChunkedArray, field: pyarrow.Field) -> pyarrow.ChunkedArray:
    if values.type == field.type:
        return values
    if field.name in TIMES:
        values = values.cast(pyarrow.int64())
    if not pyarrow.types.is_timestamp(field.type):
        return values.cast(field.type)
    unit = pyarrow.timestamp(TIMES[field.name], tz=field.type.tz)
    return values.cast(unit).cast(field.type, safe=False)


class ParquetWriter:
    """Writes rows of columns of `recorded.COLUMNS` to a Parquet file.

    Times are in us, which all readers of Parquet know: Spark has no ns. Text is written as it is
    read, with a dictionary; numbers without one, which is faster and smaller. So are pages of
    version 2: they do not compress which values are null.
    """

    def __init__(
        self, out: IO[bytes], names: Sequence[str], *, closing: IO[bytes] | None = None
    ) -> None:
        """Write to `out`; `close` closes `closing` as well."""
        schema = schema_of_files(names, "us")
        text = [field.name for field in schema if pyarrow.types.is_string(field.type)]
        self._schema = pyarrow.schema(
            [field.with_type(_TYPES["text"]) if field.name in text else field for field in schema]
        )
        self._writer = parquet.ParquetWriter(
            out,
            self._schema,
            compression="zstd",
            use_dictionary=text,
            data_page_version="2.0",
            # Of columns without text 1,024 values at a time, the default, take a tenth longer.
            write_batch_size=BATCH_ROWS,
            store_schema=False,
        )
        self._closing = closing
        self._waiting: list[pyarrow.Table] = []
        self._rows = 0

    def write(self, rows: Columns | pyarrow.Table) -> None:
        """Write some rows, together with others."""
        table = rows if isinstance(rows, pyarrow.Table) else table_of(rows)
        self._waiting.append(table)
        self._rows += len(table)
        if self._rows >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            table = pyarrow.concat_tables(self._waiting).unify_dictionaries()
            converted = [_cast(table.column(field.name), field) for field in self._schema]
            self._writer.write_table(pyarrow.Table.from_arrays(converted, schema=self._schema))
        self._waiting, self._rows = [], 0

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        self._flush()
        self._writer.close()
        if self._closing is not None:
            self._closing.close()


def partitioned(
    rows: Columns, keys: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], pyarrow.Table]]:
    """Yield the rows of each partition by `keys`: "host", and "date", the day in UTC of `time_ns`.

    A partition is the names of its directories, such as ("host=db1", "date=2026-11-27").
    """
    table = table_of(rows)
    values = {
        "host": lambda: table.column("host").cast(pyarrow.string()),
        "date": lambda: compute.divide(table.column("time_ns").cast(pyarrow.int64()), _DAY_NS),
    }
    columns = {key: values[key]() for key in keys}
    groups = pyarrow.Table.from_arrays(list(columns.values()), names=list(columns))
    for found in groups.group_by(list(keys)).aggregate([]).to_pylist():
        chosen = functools.reduce(
            compute.and_, (compute.equal(columns[key], found[key]) for key in keys)
        )
        if "date" in found:
            day = datetime.date(1970, 1, 1) + datetime.timedelta(days=found["date"])
            found["date"] = day.isoformat()
        names = tuple(f"{key}={quote(str(found[key]), safe='')}" for key in keys)
        yield names, table.filter(chosen)
