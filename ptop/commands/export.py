"""`ptop export`: recordings as rows for other programs.

Design decisions

* A row is a task in an interval: its use of the CPUs, and its kernel fields at the end of
  the interval. Unknown is empty or null, never 0.
* Arrow and Parquet need pyarrow, which the extra `export` installs; CSV and JSON lines need
  the standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

import taskstats
from taskstats.recorded import COLUMNS, ScanReader, check, tuples

from ptop.args import Parser, add_filter, add_quote_formulas
from ptop.filters import row_filter
from ptop.outputs import Audience, Output, not_written
from ptop.partitions import KEYS, Partitions
from ptop.recordings import (
    Span,
    add_skip,
    add_span,
    expanded,
    open_dumps,
    report_damage,
    spans,
    with_progress,
)
from ptop.text import CsvLines, safe

FORMATS = ("csv", "json", "arrow", "parquet")
_SUFFIXES = {".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
_SUFFIXES |= {".arrow": "arrow", ".ipc": "arrow", ".feather": "arrow", ".parquet": "parquet"}


def parser() -> Parser:
    """The options of `ptop export`."""
    options = Parser(
        prog="ptop export",
        description="Writes a row for each task and interval of dumps: time, host,"
        " boot id, what the task used of the CPUs, and its fields.",
    )
    options.add_argument("files", metavar="FILE", nargs="+", help="a dump, or a directory of them")
    options.add_argument(
        "-o", "--output", metavar="FILE", help="write to FILE (default, and as -: standard output)"
    )
    options.add_argument(
        "--format",
        choices=FORMATS,
        help="csv, json (a line for each row), arrow (IPC file) or parquet; default: by the name of"
        " the output, else csv",
    )
    options.add_argument(
        "--columns",
        metavar="LIST",
        help="only these, separated by commas: time_ns, host, boot_id, source, interval_ns,"
        " user_ns, system_ns, steal_ns, total_ns, exited, user, cgroup, cmdline, the kernel's"
        " fields, and label.NAME for a label of the recording",
    )
    options.add_argument(
        "--partition",
        metavar="KEYS",
        help="write Parquet files to the directory of --output, in directories by host, date (of"
        " UTC) or host,date, such as host=db1/date=2026-11-27",
    )
    add_filter(options)
    add_quote_formulas(options)
    add_skip(options)
    add_span(options)
    return options


def columns(text: str | None) -> list[str]:
    """The columns of a comma-separated list, or all if None. ValueError, with the valid
    names, for an unknown one."""
    if text is None:
        return list(COLUMNS)
    names = list(dict.fromkeys(name for name in map(str.strip, text.split(",")) if name))
    check(names)
    if not names:
        raise ValueError("give at least one column, for example: --columns time_ns,ac_pid,total_ns")
    return names


Batches = Iterator[taskstats.Columns]

_SKIPPING = "--skip-damaged leaves out what is damaged"


def _batches(reader: ScanReader, found: Sequence[Span]) -> Batches:
    rows = sum(sum(frames.dump.rows[start:stop]) for frames, start, stop in found)
    return with_progress(reader, rows, "exporting", len, "row")


def _write_csv(
    batches: Batches, names: Sequence[str], out: IO[bytes], quote_formulas: bool = False
) -> None:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    lines = CsvLines(text, quote_formulas)
    lines.write([names])
    for batch in batches:
        lines.write(tuples(batch))
    text.flush()
    text.detach()


def _write_json(batches: Batches, names: Sequence[str], out: IO[bytes]) -> None:
    encode = json.JSONEncoder(separators=(",", ":")).encode
    for batch in batches:
        lines = (encode(dict(zip(names, row, strict=True))) + "\n" for row in tuples(batch))
        out.write("".join(lines).encode())


def _write_arrow(batches: Batches, names: Sequence[str], out: IO[bytes]) -> None:
    import pyarrow
    from taskstats import arrow

    schema = arrow.schema_of_files(names, "ns")
    with pyarrow.ipc.new_file(out, schema) as writer:
        for batch in arrow.record_batches(batches, schema):
            writer.write_batch(batch)


def _write_parquet(batches: Batches, names: Sequence[str], out: IO[bytes]) -> None:
    from taskstats import arrow

    writer = arrow.ParquetWriter(out, names)
    for batch in batches:
        writer.write(batch)
    writer.close()


_WRITERS = {
    "csv": _write_csv,
    "json": _write_json,
    "arrow": _write_arrow,
    "parquet": _write_parquet,
}


@contextlib.contextmanager
def _output(path: str | None, inputs: Sequence[str]) -> Iterator[Output | None]:
    """The file that the rows go to; None is standard output. It has what is in the inputs, so
    nobody else may read it."""
    if path is None:
        sys.stdout.flush()
        yield None
        return
    with _ended_by_signals(), Output(path, Audience.of(inputs)) as output:
        yield output


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Errors of a write name the file. Errors of a dump name the dump."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            raise not_written(error, path) from None
        raise


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Signals raise SystemExit, so that an unfinished file is removed."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    # Ignored signals stay ignored, as nohup needs it.
    ending = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _style(options: argparse.Namespace, options_of: Parser) -> str:
    """The format to write. Exits with a message if it is unknown or cannot be written."""
    suffix = os.path.splitext(options.output or "")[1]
    if options.partition is not None:
        suffix = ".parquet"
    style = options.format or _SUFFIXES.get(suffix) or ("csv" if options.output is None else None)
    if style is None:
        options_of.error(
            f"unknown format for {options.output}: give --format, or a name that ends in "
            + ", ".join(_SUFFIXES)
        )
    if style in {"arrow", "parquet"}:
        try:
            # Before anything is written, and before privileges are dropped.
            from pyarrow import compute, parquet  # noqa: F401
            from taskstats import arrow  # noqa: F401
        except ImportError:
            options_of.error(f"{style} needs pyarrow; type: pip install 'precise-top[export]'")
        if options.output is None and sys.stdout.isatty():
            options_of.error(f"{style} is not text for a terminal; name a file with -o")
    found: str = style
    return found


def _keys(text: str, options_of: Parser) -> list[str]:
    keys = [key.strip() for key in text.split(",")]
    if not set(keys) <= set(KEYS) or len(set(keys)) < len(keys):
        options_of.error(f"--partition {text}: give host, date or host,date")
    return keys


def _export_partitions(
    options: argparse.Namespace, options_of: Parser, names: Sequence[str]
) -> int:
    """Write a directory of Parquet files."""
    keys = _keys(options.partition, options_of)
    if options.output is None or (options.format or "parquet") != "parquet":
        options_of.error("--partition writes Parquet files to a directory: name it with -o")
    if os.path.lexists(options.output) and not os.path.isdir(options.output):
        options_of.error(f"{options.output} is no directory: give another name to -o")
    try:
        skip = options.skip_damaged
        dumps = open_dumps(expanded(options.files), skip=skip)
        found = spans(dumps, options.since, options.until, skip=skip)
    except taskstats.ParseError:
        raise
    except ValueError as error:
        options_of.error(str(error))
    lost = False
    with _ended_by_signals(), Partitions(options.output, keys, names) as partitions:
        for frames, start, stop in found:
            part = (frames.dump, start, stop)
            reader = ScanReader(
                [part],
                partitions.needed(),
                rows="interval",
                condition=row_filter(options.filter or ""),
                skip=True,
            )
            for batch in _batches(reader, [(frames, start, stop)]):
                partitions.write(batch, Path(frames.dump.path).stem)
            partitions.end_input()
            report_damage(frames, reader.lost)
            lost = lost or bool(reader.lost)
        if lost and not options.skip_damaged:
            sys.stderr.write(f"ptop: {safe(options.output)} is not written; {_SKIPPING}\n")
            return 1
        partitions.finish()
    return 0


def main(words: Sequence[str]) -> int:
    """Run `ptop export`; returns the exit status."""
    options_of = parser()
    options = options_of.parse_args(words)
    if options.output == "-":
        options.output = None
    style = _style(options, options_of)
    files = expanded(options.files)
    if options.output is not None and os.path.exists(options.output):
        for path in files:
            if os.path.exists(path) and os.path.samefile(path, options.output):
                options_of.error(f"{options.output} is an input: give another name to -o")
    try:
        names = columns(options.columns)
    except ValueError as error:
        options_of.error(str(error))
    if options.partition is not None:
        return _export_partitions(options, options_of, names)
    with _output(options.output, files) as output:
        try:
            skip = options.skip_damaged
            dumps = open_dumps(files, output, skip=skip)
            found = spans(dumps, options.since, options.until, skip=skip)
        except taskstats.ParseError:
            raise
        except ValueError as error:
            options_of.error(str(error))
        stream = output.stream if output else sys.stdout.buffer
        write = _WRITERS[style]
        if options.quote_formulas and style == "csv":
            write = functools.partial(_write_csv, quote_formulas=True)
        parts = [(frames.dump, start, stop) for frames, start, stop in found]
        condition = row_filter(options.filter or "")
        reader = ScanReader(parts, names, rows="interval", condition=condition, skip=True)
        with _naming(options.output) if output else contextlib.nullcontext():
            write(_batches(reader, found), names, stream)
        for frames, _, _ in found:
            report_damage(frames, reader.lost)
        if reader.lost and not options.skip_damaged:
            kept = f"{safe(options.output)} is not written" if output else "rows are missing"
            sys.stderr.write(f"ptop: {kept}; {_SKIPPING}\n")
            return 1
        if output:
            output.finish()
    return 0
