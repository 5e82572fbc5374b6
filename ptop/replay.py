"""`ptop replay`: a dump in the views of the live tool; times and spans of a dump."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

import taskstats
from taskstats.recorded import Frames

from ptop import times
from ptop.args import Parser
from ptop.feed import RecordedFeed
from ptop.live.state import FASTEST, SLOWEST
from ptop.text import safe, stamp


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
        help=f"begin with the interval of this time: {times.TIME_FORMS}; + counts from the first"
        " snapshot, - (as in --at=-5m) from the last; with -b that interval alone, without it all;"
        " where there is none at that time the nearest, which is said",
    )
    options.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="X",
        help="how many times faster than it was (default 1)",
    )
    return options


def _time_ns(frames: Frames, text: str) -> int:
    """A time that a user typed; ValueError where it is none."""
    # A clock time is that of the recording's last day, -5m is before its end.
    nearest = frames.times_ns[0 if text.strip().startswith("+") else -1]
    return times.parse_time(text, nearest)


def _holds(recordings: Sequence[Frames]) -> str:
    """From when to when there are intervals."""
    begins, ends = [], []
    for frames in recordings:
        first, last = frames.step(0, 1), frames.step(len(frames), -1)
        assert first is not None, "there are frames"
        assert last is not None, "there are frames"
        begins.append(frames.times_ns[first - 1])
        ends.append(frames.times_ns[last])
    return f"the recording holds {stamp(min(begins))} to {stamp(max(ends))}"


def open_frames(path: str) -> Frames:
    """The frames of a file; ValueError where it holds none."""
    frames = Frames(taskstats.open(path))
    if frames.step(0, 1) is None:
        tell_lost(frames)
        raise ValueError(f"{path} holds no two snapshots of one boot: there is no interval to show")
    return frames


def open_feed(path: str, at: str | None) -> RecordedFeed:
    """The frames of a file, from a time on; its notice says where there is none at that
    time. ValueError that says what is wrong."""
    frames = open_frames(path)
    time_ns = None if at is None else _time_ns(frames, at)
    index = frames.step(0, 1) if time_ns is None else frames.at(time_ns)
    assert index is not None, "there are frames"
    feed = RecordedFeed(frames, index)
    if time_ns is not None and not _begin(frames, index) <= time_ns <= frames.times_ns[index]:
        feed.notice = f"no interval at {at}, this is the nearest; {_holds([frames])}"
    return feed


def _begin(frames: Frames, index: int) -> int:
    return frames.times_ns[index - 1]


def unfinished(frames: Frames) -> str:
    """Which bytes of the file are of no whole snapshot; empty where there are none."""
    gaps = frames.dump.gaps
    if not gaps:
        return ""
    count = sum(end - begin for begin, end in gaps)
    return f"{count} of {frames.dump.size} bytes cannot be read, from byte {gaps[0][0]} on"


def tell_lost(frames: Frames) -> None:
    """Says on standard error what could not be read, if anything."""
    path, said = os.fspath(frames.dump.path), []
    if frames.lost:
        first = min(frames.lost)
        said.append(
            f"{len(frames.lost)} of {len(frames)} snapshots were left out,"
            f" the first of them {first}: {safe(frames.lost[first])}"
        )
    said += filter(None, [unfinished(frames)])
    if said:
        lines = "".join(f"ptop: {safe(path)}: {line}\n" for line in said)
        sys.stderr.write(f"{lines}type: ptop check {safe(shlex.quote(path))}\n")


def spans(
    paths: Sequence[str], since: str | None, until: str | None
) -> list[tuple[Frames, int, int]]:
    """The frames of files, and which of them from a time to another as a range; files
    without any are left out. ValueError where that leaves none."""
    recordings = [open_frames(path) for path in paths]
    found = []
    for frames in recordings:
        start, stop = _span(frames, since, until)
        if start < stop:
            found.append((frames, start, stop))
    if not found:
        files = ", ".join(paths)
        asked = f"from {since or 'the begin'} to {until or 'the end'}"
        raise ValueError(f"{files}: no interval {asked}; {_holds(recordings)}")
    return found


def _span(frames: Frames, since: str | None, until: str | None) -> tuple[int, int]:
    """The frames that ended from a time on and began until another, as a range."""
    start, stop = 1, len(frames)
    if since is not None:
        since_ns = _time_ns(frames, since)
        found = frames.at(since_ns)
        start = found if found and frames.times_ns[found] >= since_ns else stop
    if until is not None:
        until_ns = _time_ns(frames, until)
        found = frames.at(until_ns)
        # That time may lie before the frame, where nobody was watching.
        while found is not None and _begin(frames, found) > until_ns:
            found = frames.step(found, -1)
        stop = found + 1 if found is not None else start
    return start, stop


def add_span(options: argparse.ArgumentParser) -> None:
    """The options that `span` reads."""
    options.add_argument(
        "--from",
        dest="since",
        metavar="TIME",
        help="only intervals that ended from then on; TIME as of ptop replay --at; an error where"
        " no file has any",
    )
    options.add_argument(
        "--to", dest="until", metavar="TIME", help="only intervals that began until then"
    )
