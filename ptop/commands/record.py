"""`ptop record`: snapshots written to a file.

Design decisions

* Every snapshot is read as a whole one, and is raw. What to show of it is decided by its reader.
* The source reads the tasks that ran, and all of them once a minute.
* A signal ends the recording between two snapshots, never within one.
"""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import sys
from collections.abc import Collection, Iterator, Sequence

import taskstats

from ptop.args import Parser, add_delay, add_source, add_threads, count, length, size
from ptop.feed import warn_of_lacks
from ptop.logs import default_output
from ptop.privilege import became
from ptop.signals import ENDING, heeded, wait_for
from ptop.text import safe
from ptop.times import Pace

# zstd's own default.
COMPRESSION_LEVEL = 3
# Snapshots from one that is stored whole to the next; those between are stored as changes.
FULL_EVERY = 300


def parser() -> Parser:
    """The options of `ptop record`."""
    options = Parser(
        prog="ptop record",
        description="Writes snapshots of all tasks to a file, for `ptop replay` and"
        " taskstats.open. If the file is a recording already, it is continued.",
    )
    options.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="the dump to write (default /var/log/ptop/ptop.tsd, the service's)",
    )
    add_delay(options)
    options.add_argument(
        "--for", dest="length", type=length, metavar="T", help="stop after T, such as 90, 30m or 7d"
    )
    add_source(options)
    add_threads(options)
    options.add_argument(
        "--uncompressed",
        action="store_true",
        help="write every snapshot whole, so that it can be read in place: 568 bytes for each"
        " task and snapshot",
    )
    options.add_argument(
        "--sync",
        type=length,
        default=10.0,
        metavar="T",
        help="a power failure loses at most the last T (default 10s)",
    )
    options.add_argument(
        "--rotate-size",
        type=size,
        metavar="SIZE",
        help="when the file has SIZE, such as 500M, rename it to NAME-000001.EXT and so on, and"
        " start a new one",
    )
    options.add_argument(
        "--rotate-time", type=length, metavar="T", help="the same after T, such as 1h or 1d"
    )
    options.add_argument("--keep", type=count, metavar="N", help="keep at most N renamed files")
    options.add_argument(
        "--keep-size",
        type=size,
        metavar="SIZE",
        help="keep at most SIZE in all files, the open one too; it is renamed at half of SIZE at"
        " the latest",
    )
    options.add_argument(
        "--keep-age",
        type=length,
        metavar="T",
        help="keep renamed files for T after they were last written to; the open one is renamed"
        " after half of T at the latest",
    )
    options.add_argument(
        "--min-free",
        type=size,
        metavar="SIZE",
        help="end the recording, and remove nothing, when less than SIZE is free on the disk",
    )
    options.add_argument(
        "--mode",
        type=_mode,
        default=0o600,
        metavar="MODE",
        help="permissions of new files (default 600); 640 lets the group read them",
    )
    options.add_argument(
        "--no-cmdline",
        action="store_true",
        help="without the command lines of processes, which may hold passwords",
    )
    options.add_argument(
        "--host", type=_host, metavar="NAME", help="record this name of the host instead of its own"
    )
    options.add_argument(
        "--label",
        dest="labels",
        type=_label,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="record a label, which `ptop check` and `Dump.metadata` show; may be repeated",
    )
    return options


def _host(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a host")
    return text


def _mode(text: str) -> int:
    mode = int(text, 8) if re.fullmatch("0?[0-7]{3}", text) else 0
    if mode & 0o600 != 0o600 or mode & 0o133:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no mode of a file that its owner alone writes: give 600, 640 or 644"
        )
    return mode


def _output(options: argparse.Namespace, options_of: Parser) -> str:
    """The file to record to."""
    if options.output == "-":
        options_of.error("a recording is a file that is read at any place: name one with -o")
    try:
        return options.output or default_output()
    except ValueError as error:
        options_of.error(str(error))


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is no label: give NAME=VALUE, as in rack=b7")
    return name, value


def _metadata(options: argparse.Namespace, words: Sequence[str]) -> dict[str, str]:
    """What the recording says of its recorder."""
    found = {f"label.{name}": value for name, value in options.labels}
    return {
        "version": taskstats.__version__,
        "command": shlex.join(["ptop", "record", *words]),
    } | found


def main(words: Sequence[str]) -> int:
    """Run `ptop record`; returns the exit status."""
    options_of = parser()
    options = options_of.parse_args(words)
    output = _output(options, options_of)
    # Blocked signals stay pending until `_record` waits for them, between two snapshots.
    taskstats.share_heap()
    ending = heeded(ENDING)
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    with taskstats.Source(
        options.source,
        threads=options.threads,
        exact=True,
        # Whole snapshots in place need no reader that applies differences.
        changed=not options.uncompressed,
        cpu_times=True,
        system=True,
        meters=["pressure", "disks", "networks", "cgroup"],
    ) as source:
        taskstats.drop_privileges(source.name)
        with taskstats.Recorder(
            output,
            level=None if options.uncompressed else COMPRESSION_LEVEL,
            full_every=1 if options.uncompressed else FULL_EVERY,
            sync=options.sync,
            rotate_bytes=options.rotate_size,
            rotate_after=options.rotate_time,
            keep=options.keep,
            keep_bytes=options.keep_size,
            keep_for=options.keep_age,
            min_free=options.min_free,
            mode=options.mode,
            cmdlines=not options.no_cmdline,
            host=options.host,
            metadata=_metadata(options, words),
        ) as recorder:
            for lack in recorder.lacks:
                sys.stderr.write(f"ptop: warning: {safe(lack)}\n")
            if recorder.dropped:
                sys.stderr.write(
                    f"ptop: {recorder.dropped} bytes of an unfinished snapshot were dropped\n"
                )
            written, removed = 0, False
            try:
                for _ in _record(source, recorder, options.delay, options.length, ending):
                    written += 1
                    if written == 1:
                        warn_of_lacks(source)
                recorder.sync()
            except FileNotFoundError:
                # The error says so; a count of snapshots in that file would be wrong.
                removed = True
                raise
            finally:
                if not removed:
                    name = safe(output)
                    writer = f" as {safe(user)}" if (user := became()) else ""
                    sys.stderr.write(f"ptop: {written} snapshots were written to {name}{writer}\n")
    return 0


def _record(
    source: taskstats.Source,
    recorder: taskstats.Recorder,
    delay: float,
    length: float | None,
    ending: Collection[int],
) -> Iterator[None]:
    """Write snapshots, `delay` seconds apart, until `length` seconds are over or a signal of
    `ending` arrives. Yields after each."""
    pace = Pace()
    end_ns = None if length is None else pace.last_ns + round(length * 1e9)
    while True:
        recorder.write(source.snapshot())
        yield
        if end_ns is not None and pace.last_ns + round(delay * 1e9) > end_ns:
            return
        if wait_for(ending, pace.left_s(delay)) is not None:
            return
        pace.step(delay)
