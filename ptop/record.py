"""`ptop record` and `ptop check`: dumps written, and looked through for damage.

Design decisions

* Every snapshot is whole and raw; what is shown of it is decided when it is read.
* A signal ends the recording between two snapshots, never within one.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence

import taskstats

from ptop.args import Parser, add_delay, add_source, add_threads, count, size, span
from ptop.text import safe

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def parser() -> argparse.ArgumentParser:
    """The options of `ptop record`."""
    options = Parser(
        prog="ptop record",
        description="Writes snapshots of all tasks to a file, for `ptop replay` and"
        " taskstats.open. A recording is continued where the file is one already.",
    )
    options.add_argument("-o", "--output", metavar="FILE", required=True, help="the dump to write")
    add_delay(options)
    options.add_argument(
        "--for", dest="length", type=span, metavar="T", help="stop after T, such as 90, 30m or 7d"
    )
    add_source(options)
    add_threads(options)
    options.add_argument(
        "--uncompressed",
        action="store_true",
        help="write every snapshot whole, to be read in place: 568 bytes a task and snapshot",
    )
    options.add_argument(
        "--sync",
        type=span,
        default=10.0,
        metavar="T",
        help="the most that a loss of power may cost (default 10s)",
    )
    options.add_argument(
        "--rotate-size",
        type=size,
        metavar="SIZE",
        help="put the file aside as NAME-000001.EXT and so on when it has SIZE, such as 500M",
    )
    options.add_argument(
        "--rotate-time", type=span, metavar="T", help="likewise after T, such as 1h or 1d"
    )
    options.add_argument(
        "--keep", type=count, metavar="N", help="keep at most N files that were put aside"
    )
    return options


def main(arguments: Sequence[str]) -> int:
    """Run `ptop record`; gives the exit status."""
    options = parser().parse_args(arguments)
    # The signals wait until they are asked for, between two snapshots.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    with taskstats.Source(
        options.source, threads=options.threads, exact=True, cpu_times=True, system=True
    ) as source:
        taskstats.drop_privileges(source.name)
        with taskstats.Recorder(
            options.output,
            level=None if options.uncompressed else 3,
            full_every=1 if options.uncompressed else 300,
            sync=options.sync,
            rotate_bytes=options.rotate_size,
            rotate_after=options.rotate_time,
            keep=options.keep,
        ) as recorder:
            if recorder.dropped:
                sys.stderr.write(
                    f"ptop: {recorder.dropped} bytes of an unfinished snapshot were dropped\n"
                )
            written, there = 0, True
            try:
                for _ in _record(source, recorder, options.delay, options.length):
                    written += 1
                recorder.sync()
            except FileNotFoundError:
                # Under that name nothing was written.
                there = False
                raise
            finally:
                if there:
                    name = safe(options.output)
                    sys.stderr.write(f"ptop: {written} snapshots were written to {name}\n")
    return 0


def _record(
    source: taskstats.Source, recorder: taskstats.Recorder, delay: float, length: float | None
) -> Iterator[None]:
    """Writes snapshot after snapshot."""
    # In whole ns: fractions of seconds do not add up to what was asked for.
    due = time.monotonic_ns()
    end = None if length is None else due + round(length * 1e9)
    while True:
        recorder.write(source.snapshot())
        yield
        # A snapshot that came late does not make the next one late too.
        due = max(due + round(delay * 1e9), time.monotonic_ns())
        if end is not None and due > end:
            return
        if signal.sigtimedwait(ENDING, max(0, due - time.monotonic_ns()) / 1e9) is not None:
            return


def check(arguments: Sequence[str]) -> int:
    """Run `ptop check`; gives the exit status: 1 where something cannot be read."""
    options = Parser(
        prog="ptop check",
        description="Reads every byte of a dump and tells what can be read.",
    )
    options.add_argument("files", metavar="FILE", nargs="+", help="a dump")
    status = 0
    for name in options.parse_args(arguments).files:
        dump = taskstats.open(name)
        damage = dump.check()
        lost = sum(row["snapshot"] is not None for row in damage)
        times = dump.times_ns
        span = f" over {(times[-1] - times[0]) / 1e9:.3f} s" if times else ""
        sys.stdout.write(f"{safe(name)}: {len(dump) - lost} of {len(dump)} snapshots{span}\n")
        for row in damage:
            what = "" if row["snapshot"] is None else f"snapshot {row['snapshot']}: "
            sys.stdout.write(
                f"  bytes {row['begin']} to {row['end']}: {what}{safe(row['reason'])}\n"
            )
        status = status or int(bool(damage))
    return status
