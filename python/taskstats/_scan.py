"""Scans of recordings: what each task used in each interval, in batches.

```python
import taskstats

scan = taskstats.scan("day.tsd", columns=["time_ns", "host", "ac_comm", "total_ns"])
used = sum(sum(batch["total_ns"]) for batch in scan)
```

Design decisions

* Nothing is read before the rows are requested, and each request reads anew.
* Rust decodes the files in parallel, and makes only the columns and the snapshots that are
  requested. A few batches are in memory at a time.
* The packages that take the rows are imported when they are requested.
"""

from __future__ import annotations

import datetime
import operator
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from taskstats._core import Columns, Dump, ScanReader, column_types
from taskstats._errors import ParseError, warn_of
from taskstats._files import Found, Recording, recordings
from taskstats.recorded import COLUMNS

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars
    import pyarrow


#: A time: a datetime (without time zone: local), or ns since 1970.
When: TypeAlias = datetime.datetime | int
Rows: TypeAlias = Literal["interval", "changed", "record"]

# The columns of rows="record" where none are named.
_OF_RECORDS = ("interval_ns", "user_ns", "system_ns", "steal_ns", "total_ns")
# Files that are open at a time.
_TOGETHER = 256


def scan(
    src: Recording | Sequence[Recording],
    *,
    rows: Rows = "interval",
    columns: Sequence[str] | None = None,
    begin: When | None = None,
    end: When | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    storage_options: dict[str, Any] | None = None,
) -> Scan:
    """Return the rows of recordings, which are read when they are requested.

    `src` is a path, a pattern with * or ?, a directory (its files *.tsd, also in directories in
    it), a URL (with the extra `remote`, which passes `storage_options` to fsspec), a binary file,
    the bytes of a recording, a Dump, or a list of these.

    `rows` is "interval" for a row for each task and interval, "changed" for those of tasks whose
    records changed in it (all that ran, started or died, and few others), or "record" for the
    records as they were written. `columns` are names of `recorded.COLUMNS`, derived ones of
    `Interval.columns` such as "read_bytes_delta", and labels such as "label.rack", which are null
    where a recording lacks them; None is all of `COLUMNS`. Only intervals that end
    at or after `begin` and before `end` are read.

    What is damaged, missing or no recording raises ParseError or OSError. With `on_error="skip"`
    it is left out, listed in `Scan.lost`, and reported by a `DamageWarning`. Raises ValueError for
    an unknown column.
    """
    return Scan(src, rows, columns, begin, end, on_error, storage_options)


class Scan:
    """The rows of recordings, as `scan` describes them.

    Iterating yields `Columns`, in the order of the files and of time.
    """

    def __init__(
        self,
        src: Recording | Sequence[Recording],
        rows: Rows,
        columns: Sequence[str] | None,
        begin: When | None,
        end: When | None,
        on_error: Literal["raise", "skip"],
        storage_options: dict[str, Any] | None,
    ) -> None:
        if on_error not in {"raise", "skip"}:
            raise ValueError(f'on_error is "raise" or "skip", not {on_error!r}')
        if rows not in {"interval", "changed", "record"}:
            raise ValueError(f'rows is "interval", "changed" or "record", not {rows!r}')
        if columns is None:
            of_rows = _OF_RECORDS if rows == "record" else ()
            columns = [name for name in COLUMNS if name not in of_rows]
        if isinstance(columns, str):
            raise ValueError(f"columns is a list of names: [{columns!r}]")
        self._src = src
        self._rows: Rows = rows
        self._begin_ns = None if begin is None else time_ns(begin)
        self._end_ns = None if end is None else time_ns(end)
        self._skip = on_error == "skip"
        self._storage_options = storage_options or {}
        # How each file is opened.
        self._open_options: dict[str, Any] = {}
        #: The columns by name, with their types: bool, u8, i8, u16, u32, u64, f64 or text.
        self.types: dict[str, str] = dict(zip(columns, column_types(columns, rows), strict=True))
        #: What the last request left out (`on_error="skip"`), as of `Columns.lost`.
        self.lost: list[Mapping[str, Any]] = []

    def __repr__(self) -> str:
        return f"<taskstats.Scan: {self._rows} rows of {len(self.types)} columns>"

    def __iter__(self) -> Iterator[Columns]:
        """Yield the rows in batches."""
        return self._batches(list(self.types))

    def _batches(
        self,
        columns: Sequence[str],
        hosts: Callable[[str], bool] | None = None,
        times: Callable[[Dump], list[range]] | None = None,
    ) -> Iterator[Columns]:
        """Yield batches of some columns; of some hosts, and of some snapshots of each dump."""
        self.lost = []
        for dumps in self._opened():
            parts = [
                (dump, part.start, part.stop)
                for dump in dumps
                for part in (times(dump) if times else [range(len(dump))])
            ]
            yield from self._read(parts, columns, hosts)
        warn_of(self.lost)

    def _read(
        self,
        parts: Sequence[tuple[Dump, int, int]],
        columns: Sequence[str],
        hosts: Callable[[str], bool] | None = None,
    ) -> Iterator[Columns]:
        reader = ScanReader(
            parts,
            columns,
            rows=self._rows,
            begin_ns=self._begin_ns,
            end_ns=self._end_ns,
            hosts=hosts,
            skip=self._skip,
        )
        try:
            yield from reader
        finally:
            self.lost += reader.lost

    def _opened(self) -> Iterator[list[Dump]]:
        """Yield the dumps, some at a time: what is remote alone."""
        waiting: list[Dump] = []
        for found in recordings(self._src, self._storage_options):
            dump = self._open(found)
            if dump is not None:
                waiting.append(dump)
            if found.is_remote or len(waiting) >= _TOGETHER:
                yield waiting
                waiting = []
        yield waiting

    def _open(self, found: Found) -> Dump | None:
        try:
            return found.open(**self._open_options)
        except (OSError, ParseError) as error:
            if not self._skip:
                raise
            offset = error.offset if isinstance(error, ParseError) else None
            # The message of a damage begins with the path, and ends with the offset.
            text = str(error).removeprefix(f"{os.fspath(found.path)}: ")
            text = text.removesuffix(f" (byte {offset})")
            reason = getattr(error, "strerror", None) or text
            self.lost.append(
                {"path": found.path, "snapshot": None, "offset": offset, "reason": reason}
            )
            return None

    def to_arrow(self) -> pyarrow.RecordBatchReader:
        """Return a reader of the rows, which can be read once; needs pyarrow.

        Times since 1970 are timestamps in UTC, text is dictionary-encoded.
        """
        from taskstats.arrow import record_batches, schema_of

        schema = schema_of(self.types)
        import pyarrow

        return pyarrow.RecordBatchReader.from_batches(schema, record_batches(self, schema))

    def to_polars(self) -> polars.LazyFrame:
        """Return the rows as a LazyFrame; needs Polars.

        Only the columns, the times, the hosts and the labels that a query selects are read, and no
        more rows than its head. Times since 1970 are datetimes in UTC.
        """
        from taskstats._polars import lazy_frame

        return lazy_frame(self)

    def to_pandas(self) -> pandas.DataFrame:
        """Return all rows as a DataFrame; needs pandas and pyarrow."""
        found: pandas.DataFrame = self.to_arrow().read_pandas()
        return found

    def to_duckdb(
        self, connection: duckdb.DuckDBPyConnection | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Return the rows as a relation, which can be read once; needs DuckDB and pyarrow."""
        import duckdb

        if connection is None:
            return duckdb.from_arrow(self.to_arrow())
        return connection.from_arrow(self.to_arrow())

    def follow(self, *, interval: float = 1.0) -> Iterator[Columns]:
        """Yield the rows in batches, and then those that are recorded from now on, without end.

        Looks every `interval` seconds for files that grew, and for new ones. A file that is renamed
        meanwhile, as `ptop record --rotate-size` does, is followed if `src` also finds its new
        name.
        """
        seen: dict[tuple[int, int], tuple[int, int]] = {}
        while True:
            yield from self._grown(seen)
            time.sleep(interval)

    def _grown(self, seen: dict[tuple[int, int], tuple[int, int]]) -> Iterator[Columns]:
        """Yield the rows of new snapshots; `seen` has size and snapshots of files by inode."""
        for found in recordings(self._src, self._storage_options):
            if not isinstance(found.place, str):
                raise ValueError("follow needs paths: other recordings do not grow")
            try:
                status = os.stat(found.place)
            except FileNotFoundError:
                continue
            file = (status.st_dev, status.st_ino)
            size, start = seen.get(file, (0, 0))
            # A recorder has just begun a file that is still empty.
            if status.st_size == size or not (status.st_size and stat.S_ISREG(status.st_mode)):
                continue
            dump = self._open(found)
            if dump is None:
                continue
            seen[file] = (dump.size, len(dump))
            yield from self._read([(dump, start, len(dump))], list(self.types))


def time_ns(when: When) -> int:
    """Return a time in ns since 1970; 0 for one before that. Raises TypeError."""
    if isinstance(when, datetime.datetime):
        # Whole microseconds: a float has too few digits.
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        since = when.astimezone(datetime.UTC) - epoch
        return max(since // datetime.timedelta(microseconds=1) * 1000, 0)
    try:
        number = operator.index(when)
    except TypeError:
        raise TypeError(f"{when!r} is no time: give a datetime, or ns since 1970") from None
    return max(number, 0)
