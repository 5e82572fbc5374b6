"""`ptop replay`: a dump in the views of the live tool; times and spans of a dump."""

from __future__ import annotations

import argparse
import os
import shlex
import sys

import taskstats
from taskstats.recorded import Frames

from ptop import format as fmt
from ptop import when
from ptop.feed import RecordedFeed
from ptop.options import Parser
from ptop.state import FASTEST, SLOWEST


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not SLOWEST <= speed <= FASTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {SLOWEST} to {FASTEST}")
    return speed


def parser(view_options: argparse.ArgumentParser) -> Parser:
    """The options of `ptop replay`: those of the views and its own."""
    options = Parser(
        prog="ptop replay",
        parents=[view_options],
        description="Shows a dump as the live view would have shown it: space pauses, the"
        " arrows step, @ goes to a time, [ and ] to the spikes of a column.",
    )
    options.add_argument("file", metavar="FILE", help="a dump, as `ptop record` writes it")
    options.add_argument(
        "--at",
        metavar="TIME",
        help=f"begin with the interval of this time: {when.FORMS}; + counts from the first"
        " snapshot, - (as in --at=-5m) from the last; with -b that interval alone, without it all",
    )
    options.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="X",
        help="how many times faster than it was (default 1)",
    )
    return options


def index_at(frames: Frames, text: str) -> int | None:
    """The frame of a time that a user typed; ValueError where it is none."""
    # A clock time is that of the recording's last day, -5m is before its end.
    nearest = frames.times_ns[0 if text.strip().startswith("+") else -1]
    return frames.at(when.parse(text, nearest))


def open_frames(path: str) -> Frames:
    """The frames of a file; ValueError where it holds none."""
    frames = Frames(taskstats.open(path))
    if frames.step(0, 1) is None:
        tell_lost(frames)
        raise ValueError(f"{path} holds no two snapshots of one boot: there is no interval to show")
    return frames


def open_feed(path: str, at: str | None) -> RecordedFeed:
    """The frames of a file, from a time on. ValueError that says what is wrong."""
    frames = open_frames(path)
    index = frames.step(0, 1) if at is None else index_at(frames, at)
    assert index is not None, "there are frames"
    return RecordedFeed(frames, index)


def tell_lost(frames: Frames) -> None:
    """Says on standard error which snapshots could not be read, if any."""
    if frames.lost:
        path, first = os.fspath(frames.dump.path), min(frames.lost)
        sys.stderr.write(
            f"ptop: {fmt.safe(path)}: {len(frames.lost)} of {len(frames)} snapshots were left out,"
            f" the first of them {first}: {fmt.safe(frames.lost[first])}\n"
            f"type: ptop check {fmt.safe(shlex.quote(path))}\n"
        )


def span(path: str, since: str | None, until: str | None) -> tuple[Frames, int, int]:
    """The frames of a file, and which of them from a time to another as a range;
    ValueError where that is empty."""
    frames = open_frames(path)
    start = 1 if since is None else index_at(frames, since)
    last = len(frames) - 1 if until is None else index_at(frames, until)
    if start is None or last is None or start > last:
        raise ValueError(f"{path}: no interval from {since} to {until}; the other way round?")
    return frames, start, last + 1


def add_span(options: argparse.ArgumentParser) -> None:
    """The options that `span` reads."""
    options.add_argument(
        "--from",
        dest="since",
        metavar="TIME",
        help="only intervals that ended from then on; TIME as of ptop replay --at",
    )
    options.add_argument(
        "--to", dest="until", metavar="TIME", help="only intervals that began until then"
    )
