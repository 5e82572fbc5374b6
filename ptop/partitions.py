"""Exports to a directory of Parquet files, one for each input, host and day.

    fleet/host=db1/date=2026-11-27/day.parquet

Design decisions

* The names are those of Hive: DuckDB, Polars, Spark and others take host and date from them, so
  these are no columns of the files. Days are of UTC.
* A file has the name of its input: exporting it again replaces its rows.
* Files get their names when all are complete, and are readable for their owner only.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import taskstats

from ptop.outputs import not_written

if TYPE_CHECKING:
    from taskstats.arrow import ParquetWriter

KEYS = ("host", "date")
Key = tuple[str, ...]


class Partitions:
    """Parquet files in a directory. Leaving the block without `finish` leaves none."""

    def __init__(self, directory: str, keys: Sequence[str], names: Sequence[str]) -> None:
        self._directory = Path(directory)
        self._keys = keys
        self._names = [name for name in names if name not in keys]
        self._writers: dict[Key, ParquetWriter] = {}
        # Each file that is written, and the name that it will have.
        self._files: dict[Path, Path] = {}

    def needed(self) -> list[str]:
        """The columns to read: those of the files, and those of the keys."""
        sources = {"host": "host", "date": "time_ns"}
        return list(dict.fromkeys([*self._names, *(sources[key] for key in self._keys)]))

    def write(self, batch: taskstats.Columns, name: str) -> None:
        """Write rows of an input of this name."""
        from taskstats.arrow import partitioned

        for key, rows in partitioned(batch, self._keys):
            writer = self._writers.get(key) or self._open(key, name)
            writer.write(rows.select(self._names))

    def _open(self, key: Key, name: str) -> ParquetWriter:
        from taskstats.arrow import ParquetWriter

        folder = self._directory.joinpath(*key)
        final, number = folder / f"{name}.parquet", 1
        # Inputs of one name, in different directories.
        while final in self._files.values():
            number += 1
            final = folder / f"{name}-{number}.parquet"
        part = folder / f".{final.name}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stream = os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        except OSError as error:
            raise not_written(error, error.filename or str(folder)) from None
        self._files[part] = final
        self._writers[key] = ParquetWriter(stream, self._names, closing=stream)
        return self._writers[key]

    def end_input(self) -> None:
        """Complete the files of the input so far."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def finish(self) -> int:
        """Give all files their names. Returns their number."""
        self.end_input()
        for part, final in self._files.items():
            part.replace(final)
        count, self._files = len(self._files), {}
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for part in self._files:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
