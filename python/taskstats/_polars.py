"""Scans as Polars' lazy frames.

Design decisions

* A predicate is a conjunction. Those of its parts that need only `time_ns` are evaluated on the
  times of all snapshots before any is read, those that need only labels once for each file, and
  those that need only `host` once for each host. The rows that are read are filtered by the whole
  of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import polars
from polars.io.plugins import register_io_source

from taskstats._core import Columns, Dump
from taskstats.recorded import LABEL, TIMES

if TYPE_CHECKING:
    from taskstats._scan import Scan

_TIME = polars.Datetime("ns", "UTC")
_TYPES: dict[str, polars.DataType] = {
    "bool": polars.Boolean(),
    "u8": polars.UInt8(),
    "i8": polars.Int8(),
    "u16": polars.UInt16(),
    "u32": polars.UInt32(),
    "u64": polars.UInt64(),
    "f64": polars.Float64(),
    "text": polars.String(),
}


def lazy_frame(scan: Scan) -> polars.LazyFrame:
    """Return the rows of a scan."""
    types = {name: _TYPES[kind] for name, kind in scan.types.items()}
    # Polars has no unit of seconds.
    schema = {name: _TIME if name in TIMES else kind for name, kind in types.items()}

    def source(
        with_columns: list[str] | None,
        predicate: polars.Expr | None,
        n_rows: int | None,
        _batch_size: int | None,
    ) -> Iterator[polars.DataFrame]:
        wanted = list(schema) if with_columns is None else with_columns
        needed = [] if predicate is None else predicate.meta.root_names()
        read = list(dict.fromkeys([*wanted, *needed]))
        parts = _parts(predicate)
        left = n_rows
        for batch in scan._batches(read, _hosts(parts), _times(parts)):
            frame = _frame(batch, schema)
            if predicate is not None:
                frame = frame.filter(predicate)
            frame = frame.select(wanted)
            if left is not None:
                frame = frame.head(left)
                left -= len(frame)
            yield frame
            if left == 0:
                return

    return register_io_source(source, schema=schema)


def _frame(batch: Columns, schema: dict[str, polars.DataType]) -> polars.DataFrame:
    if not batch.names:
        return polars.DataFrame(height=len(batch))
    frame = polars.DataFrame(batch)
    casts = [polars.col(name).cast(schema[name]) for name in frame.columns]
    return frame.select(casts)


def _parts(predicate: polars.Expr | None) -> list[polars.Expr]:
    """The parts of a conjunction."""
    if predicate is None:
        return []
    inputs = predicate.meta.pop()
    if len(inputs) == 2:
        right, left = inputs
        if (left & right).meta.eq(predicate):
            return [*_parts(left), *_parts(right)]
    return [predicate]


def _only(parts: list[polars.Expr], column: str) -> list[polars.Expr]:
    return [part for part in parts if set(part.meta.root_names()) == {column}]


def _hosts(parts: list[polars.Expr]) -> Callable[[str], bool] | None:
    """Whether the rows of a host may pass; None if all may."""
    filters = _only(parts, "host")
    if not filters:
        return None
    return lambda host: not polars.DataFrame({"host": [host]}).filter(filters).is_empty()


def _times(parts: list[polars.Expr]) -> Callable[[Dump], list[range]] | None:
    """The snapshots of a dump whose rows may pass; None if all may."""
    filters, labels = _only(parts, "time_ns"), _of_labels(parts)
    if not (filters or labels):
        return None

    def ranges(dump: Dump) -> list[range]:
        if not _may_pass(labels, dump):
            return []
        if not filters:
            return [range(len(dump))]
        times = polars.Series("time_ns", dump.times_ns, polars.UInt64)
        frame = polars.DataFrame([times.cast(polars.Int64).cast(_TIME)]).with_row_index("index")
        passed = frame.filter(filters)["index"].to_list()
        return _consecutive(passed)

    return ranges


def _of_labels(parts: list[polars.Expr]) -> list[polars.Expr]:
    """The parts that need labels, and nothing else."""
    names = [(part, part.meta.root_names()) for part in parts]
    return [part for part, of in names if of and all(name.startswith(LABEL) for name in of)]


def _may_pass(filters: list[polars.Expr], dump: Dump) -> bool:
    """Whether the labels of a dump pass."""
    if not filters:
        return True
    metadata = dump.metadata
    names = {name for part in filters for name in part.meta.root_names()}
    labels = {name: polars.Series([metadata.get(name)], dtype=polars.String()) for name in names}
    return not polars.DataFrame(labels).filter(filters).is_empty()


def _consecutive(numbers: list[int]) -> list[range]:
    """Ascending numbers as ranges."""
    found: list[range] = []
    for number in numbers:
        if found and found[-1].stop == number:
            found[-1] = range(found[-1].start, number + 1)
        else:
            found.append(range(number, number + 1))
    return found
