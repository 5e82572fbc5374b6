"""`ptop export`: recorded snapshots for other programs.

Design decisions

* A row is a task in an interval: what it used of the CPUs and its kernel fields as they
  were at the interval's end. Unknown is empty or null, never 0.
* CSV and JSON lines need nothing; Arrow and Parquet are written by pyarrow, which the
  extra `export` brings.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import IO, Any, TextIO

import taskstats
from taskstats.recorded import COLUMNS, Frames, check, rows

from ptop import progress, replay
from ptop.args import Parser
from ptop.text import csv_writer

FORMATS = ("csv", "json", "arrow", "parquet")
_SUFFIXES = {".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
_SUFFIXES |= {".arrow": "arrow", ".ipc": "arrow", ".feather": "arrow", ".parquet": "parquet"}


def _parser() -> argparse.ArgumentParser:
    options = Parser(
        prog="ptop export",
        description="Writes a row for each task and interval of dumps: time, host,"
        " boot id, what the task used of the CPUs, and its fields.",
    )
    options.add_argument("files", metavar="FILE", nargs="+", help="a dump")
    options.add_argument(
        "-o", "--output", metavar="FILE", help="write there (default standard output)"
    )
    options.add_argument(
        "--format",
        choices=FORMATS,
        help="csv, json (a line a row), arrow (IPC file) or parquet; default: by the name of"
        " the output, else csv",
    )
    options.add_argument(
        "--columns",
        metavar="LIST",
        help="only these, separated by commas: time_ns, host, boot_id, source, interval_ns,"
        " user_ns, system_ns, steal_ns, total_ns, exited, user, cgroup, cmdline and the"
        " kernel's fields",
    )
    replay.add_span(options)
    return options


def columns(text: str | None) -> list[str]:
    """The columns of a comma-separated list, all where None. ValueError that lists them."""
    if text is None:
        return list(COLUMNS)
    names = list(dict.fromkeys(name for name in map(str.strip, text.split(",")) if name))
    check(names)
    if not names:
        raise ValueError("give at least one column, for example: --columns time_ns,ac_pid,total_ns")
    return names


Span = tuple[Frames, int, int]
Intervals = Iterator[taskstats.Interval]


def _intervals(spans: Sequence[Span]) -> Intervals:
    every = (found for frames, start, stop in spans for found in frames.intervals(start, stop))
    return progress.shown(every, sum(stop - start for _, start, stop in spans), "exporting")


def write_csv(found: Intervals, names: Sequence[str], out: IO[bytes]) -> None:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    writer = csv_writer(text)
    writer.writerow(names)
    for interval in found:
        writer.writerows(rows(interval, names))
    text.flush()
    text.detach()


def write_json(found: Intervals, names: Sequence[str], out: IO[bytes]) -> None:
    encode = json.JSONEncoder(separators=(",", ":")).encode
    for interval in found:
        lines = (encode(dict(zip(names, row, strict=True))) + "\n" for row in rows(interval, names))
        out.write("".join(lines).encode())


def arrow_schema(names: Sequence[str]) -> Any:
    """The Arrow schema of these columns."""
    import pyarrow

    kinds = {
        "integer": pyarrow.uint64(),
        "signed": pyarrow.int64(),
        "text": pyarrow.string(),
        "flag": pyarrow.bool_(),
    }
    types = {name: kinds[COLUMNS[name]] for name in names}
    if "time_ns" in types:
        types["time_ns"] = pyarrow.timestamp("ns", tz="UTC")
    return pyarrow.schema(list(types.items()))


def write_arrow(found: Intervals, names: Sequence[str], out: IO[bytes]) -> None:
    import pyarrow
    from taskstats import arrow

    schema = arrow_schema(names)
    with pyarrow.ipc.new_file(out, schema) as writer:
        for batch in arrow.batches(found, schema):
            writer.write_batch(batch)


def write_parquet(found: Intervals, names: Sequence[str], out: IO[bytes]) -> None:
    from pyarrow import parquet
    from taskstats import arrow

    schema = arrow_schema(names)
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for batch in arrow.batches(found, schema):
            writer.write_batch(batch)


_WRITERS = {"csv": write_csv, "json": write_json, "arrow": write_arrow, "parquet": write_parquet}


@contextlib.contextmanager
def _output(path: str | None, out: TextIO) -> Iterator[IO[bytes]]:
    """Where the rows go. A file appears under its name when it is whole."""
    if path is None:
        out.flush()
        yield out.buffer
        return
    try:
        mode = _mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            # A device or a pipe; a directory is refused here.
            with open(path, "wb") as file:
                yield file
            return
        # Beside the file itself, wherever a link to it stands.
        target = os.path.realpath(path)
        unfinished = os.path.join(os.path.dirname(target), f".ptop-{os.urandom(8).hex()}.part")
        with _ended_by_signals():
            try:
                with open(unfinished, "xb") as file:
                    if mode is not None:
                        os.chmod(unfinished, stat.S_IMODE(mode))
                    yield file
                os.replace(unfinished, target)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(unfinished)
                raise
    except OSError as error:
        # The name is the one that was typed. What a dump's errors say has a name in it.
        if error.errno and (error.filename or error.strerror == os.strerror(error.errno)):
            raise OSError(error.errno, error.strerror, path) from None
        raise


def _mode(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Signals end the program in the way that removes what is unfinished."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    # As nohup wants it, what is ignored stays so.
    ending = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str], out: TextIO) -> int:
    """Run `ptop export`; gives the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    suffix = os.path.splitext(options.output or "")[1]
    style = options.format or _SUFFIXES.get(suffix) or ("csv" if options.output is None else None)
    if style is None:
        parser.error(
            f"what to write to {options.output}? Give --format, or a name that ends in "
            + ", ".join(_SUFFIXES)
        )
    if options.output is not None and os.path.exists(options.output):
        for path in options.files:
            if os.path.exists(path) and os.path.samefile(path, options.output):
                parser.error(f"{options.output} is what would be read: give another name to -o")
    try:
        names = columns(options.columns)
        spans = replay.spans(options.files, options.since, options.until)
    except taskstats.ParseError:
        raise
    except ValueError as error:
        parser.error(str(error))
    if style in {"arrow", "parquet"}:
        try:
            import pyarrow  # noqa: F401  # asked for before anything is written
        except ImportError:
            parser.error(f"{style} needs pyarrow; type: pip install 'precise-top[export]'")
        if options.output is None and out.isatty():
            parser.error(f"{style} is no text for a terminal; name a file with -o")
    with _output(options.output, out) as file:
        _WRITERS[style](_intervals(spans), names, file)
    for frames, _, _ in spans:
        replay.tell_lost(frames)
    return 0
