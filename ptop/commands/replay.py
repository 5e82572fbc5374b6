"""`ptop replay`: a recording in the live view, or its intervals as text."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence

import taskstats
from taskstats.recorded import Frames

from ptop.args import (
    EXIT_USAGE,
    Parser,
    add_table,
    first_state,
    is_text,
    needs_ascii,
    parse_with_config,
    theme,
)
from ptop.feed import RecordedFeed, recorded_intervals
from ptop.live.state import FASTEST, SLOWEST
from ptop.logs import newest
from ptop.recordings import (
    extent,
    frame_begin,
    frames_of,
    open_dumps,
    report_damage,
    time_in,
    unreadable,
)
from ptop.times import TIME_FORMS
from ptop.values import replace


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not SLOWEST <= speed <= FASTEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {SLOWEST} to {FASTEST}")
    return speed


def parser() -> Parser:
    """The options of `ptop replay`."""
    options = Parser(
        prog="ptop replay",
        description="Shows a dump as the live view would have shown it: space pauses, the"
        " keys , and . step, d goes to a time, n and N to the spikes of a column.",
    )
    add_table(options)
    options.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="a dump that `ptop record` wrote (default: the newest in /var/log/ptop)",
    )
    options.add_argument(
        "--at",
        metavar="TIME",
        help=f"start with the interval that contains TIME: {TIME_FORMS}; + counts from the first"
        " snapshot, - (as in --at=-5m) from the last; if there is none, start with the nearest"
        " and report that; with -b write that interval alone, not all",
    )
    options.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="X",
        help="how many times faster than recorded (default 1)",
    )
    return options


def main(words: Sequence[str]) -> int:
    """Run `ptop replay`; returns the exit status."""
    options_of = parser()
    options = parse_with_config(options_of, words)
    if options.group_by == "session":
        options_of.error("sessions are not recorded; fold by parent, name, user or cgroup")
    as_text = is_text(options)
    # Before privileges are dropped: the interpreter's files may be root's alone.
    importlib.import_module("ptop.commands.batch" if as_text else "ptop.live.app")
    try:
        feed = open_feed([options.file] if options.file else newest(), options.at)
    except taskstats.ParseError:
        raise
    except ValueError as error:
        options_of.error(str(error))
    show = _write if as_text else _show
    return show(options, feed, feed.frames.dump.user)


def open_feed(paths: Sequence[str], at: str | None) -> RecordedFeed:
    """The frames of the first file that has any, from the time `at` on if that is given. The
    notice of the feed says if no frame contains that time. ValueError if there is no frame or
    `at` is not a time."""
    frames = _first_frames(list(open_dumps(paths)))
    time_ns = None if at is None else time_in(frames, at)
    index = frames.step(0, 1) if time_ns is None else frames.at(time_ns)
    assert index is not None, "frames_of has found a frame"
    feed = RecordedFeed(frames, index)
    if time_ns is not None and not frame_begin(frames, index) <= time_ns <= feed.time_ns:
        feed.notice = f"no interval at {at}, this is the nearest; {extent([frames])}"
    return feed


def _first_frames(dumps: Sequence[taskstats.Dump]) -> Frames:
    """The frames of the first dump that has any. ValueError where none has."""
    for dump in dumps[:-1]:
        with contextlib.suppress(ValueError):
            return frames_of(dump)
    return frames_of(dumps[-1])


def _write(
    options: argparse.Namespace, feed: RecordedFeed, user: Callable[[int], str | None]
) -> int:
    from ptop.commands import batch

    # With a time, that frame alone is wanted.
    count = options.intervals or (1 if options.at else None)
    if feed.notice:
        sys.stderr.write(f"ptop: {os.fspath(feed.frames.dump.path)}: {feed.notice}\n")
    write = batch.writer(batch.row_query(options, user), batch.style(options), sys.stdout)
    for interval in recorded_intervals(feed, count):
        write(interval)
    report_damage(feed.frames)
    return 0


def _show(
    options: argparse.Namespace, feed: RecordedFeed, user: Callable[[int], str | None]
) -> int:
    from ptop.live import app
    from ptop.live.terminal import Terminal, UnusableError
    from ptop.live.theme import Look

    try:
        terminal = Terminal()
    except UnusableError as error:
        sys.stderr.write(f"ptop: {error}; for plain text type: ptop replay FILE -b\n")
        return EXIT_USAGE
    state, columns, limits = first_state(options)
    at = options.at is not None
    # A user who gives a time wants to look at it: start paused.
    state = replace(state, recorded=True, paused=at, speed=options.speed)
    notice = feed.notice or (feed.position() if at else unreadable(feed.frames))
    state = replace(state, notice=notice)
    look = Look(theme(options), needs_ascii())
    return app.show(terminal, feed, state, columns, limits, options.intervals, look, user)
