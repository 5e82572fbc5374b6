"""What the commands for recordings share: opening them, spans of time, damage, progress.

Design decisions

* Under sudo, all files are opened as root, and read as the user who called sudo: what is in
  them may come from anyone. Modules are imported before that, as their files may be root's
  alone.
* A name with *, ? or [ that is no file is a pattern: a shell cannot list a directory of root.
* The progress bar is here, not in `ptop.text`: it needs tqdm, an optional package, and is
  shown only while the frames of recordings are read. tqdm is imported when a bar is shown.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import importlib
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import taskstats
from taskstats.recorded import Frames, Lost

from ptop.outputs import Output
from ptop.privilege import sudo_user
from ptop.text import safe, stamp
from ptop.times import parse_end, parse_time

T = TypeVar("T")

# A span of one recording: its frames from an index up to but without another.
Span = tuple[Frames, int, int]

# The bar is shown only for work that takes longer.
BAR_DELAY_S = 1.0


def add_span(options: argparse.ArgumentParser) -> None:
    """Add --from and --to, which `spans` takes."""
    options.add_argument(
        "--from",
        dest="since",
        metavar="TIME",
        help="only intervals that end at TIME or later; the forms of TIME are those of"
        " ptop replay --at; an error if no file has such an interval",
    )
    options.add_argument(
        "--to", dest="until", metavar="TIME", help="only intervals that begin at TIME or earlier"
    )


# What the commands for recordings import late.
_LATE = ("_strptime", "csv", "datetime", "tqdm")


def _named(name: str) -> str:
    """The file that a name stands for: - is standard input, which has to be a file."""
    return "/dev/stdin" if name == "-" else name


def expanded(names: Sequence[str]) -> list[str]:
    """The files that these names and patterns stand for; of a directory its recordings, also in
    directories in it, as `taskstats.scan` takes them."""
    paths = []
    for name in names:
        pattern = f"{glob.escape(name)}/**/*.tsd" if os.path.isdir(name) else name
        is_file = pattern is name and os.path.lexists(name)
        fitting = [] if is_file else sorted(glob.glob(pattern, recursive=True))
        paths += fitting or [_named(name)]
    return paths


def open_dumps(
    paths: Sequence[str], output: Output | None = None, *, skip: bool = False
) -> Iterator[taskstats.Dump]:
    """Open files, one after the other. Under sudo, become the user who called it before the
    first is read; `output` is written to nevertheless. With `skip` a file that is no recording is
    left out with a message, unless it is the only one."""
    paths = [_named(path) for path in paths]
    if sudo_user() is None:
        for path in paths:
            yield from _opened(path, None, skip and len(paths) > 1)
        return
    with contextlib.ExitStack() as opened:
        numbers = []
        for path in paths:
            # A pipe is refused later, and not waited for here.
            numbers.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            opened.callback(os.close, numbers[-1])
        for module in _LATE:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
        if output is not None:
            output.keep_right()
        taskstats.drop_privileges(None)
        for path, number in zip(paths, numbers, strict=True):
            yield from _opened(path, number, skip and len(paths) > 1)


def _opened(path: str, descriptor: int | None, skip: bool) -> Iterator[taskstats.Dump]:
    try:
        dump = taskstats.open(path, descriptor=descriptor)
    except taskstats.ParseError as error:
        if not skip:
            raise
        sys.stderr.write(f"ptop: left out {safe(str(error))}\n")
    else:
        yield dump


def frames_of(dump: taskstats.Dump) -> Frames:
    """The frames of a file; ValueError if it has none, ParseError if damage is why."""
    frames, path = Frames(dump, errors="skip"), os.fspath(dump.path)
    if frames.step(0, 1) is None:
        report_damage(frames)
        if frames.lost:
            raise taskstats.ParseError(f"{path}: there is no interval without damage", 0)
        raise ValueError(f"{path} holds no two snapshots of one boot: there is no interval to show")
    return frames


def time_in(frames: Frames, text: str) -> int:
    """A time that a user typed for a recording, in ns since 1970; ValueError if it is none."""
    return parse_time(text, _reference_ns(frames, text))


def _reference_ns(frames: Frames, text: str) -> int:
    # +90s counts from the first snapshot, -5m from the last; 12:34 is the last such time.
    return frames.times_ns[0 if text.strip().startswith("+") else -1]


def ends_in(frames: Frames, since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """The ends of a span that a user typed for a recording, each of which may be missing."""
    since_ns = None if since is None else time_in(frames, since)
    if until is None:
        return since_ns, None
    return since_ns, parse_end(until, _reference_ns(frames, until), since_ns)


def frame_begin(frames: Frames, index: int) -> int:
    """Begin of a frame, in ns since 1970."""
    return frames.times_ns[index - 1]


def extent(recordings: Sequence[Frames]) -> str:
    """A message about the time from the first interval to the last."""
    begins, ends = [], []
    for frames in recordings:
        first, last = frames.step(0, 1), frames.step(len(frames), -1)
        assert first is not None, "frames_of has found a frame"
        assert last is not None, "frames_of has found a frame"
        begins.append(frame_begin(frames, first))
        ends.append(frames.times_ns[last])
    return f"the recording holds {stamp(min(begins))} to {stamp(max(ends))}"


def spans(
    dumps: Iterable[taskstats.Dump], since: str | None, until: str | None, *, skip: bool = False
) -> list[Span]:
    """The spans of files between two times that a user typed. Files without any frame in
    between are left out; ValueError if that leaves none. ParseError for a file that has none
    because it is damaged, which `skip` leaves out as well."""
    recordings: list[Frames] = []
    empty: ValueError | None = None
    for dump in dumps:
        try:
            recordings.append(frames_of(dump))
        except taskstats.ParseError as error:
            if not skip:
                raise
            empty = error
        except ValueError as error:
            empty = error
    if not recordings:
        raise empty or ValueError("no file is a recording")
    found = []
    for frames in recordings:
        start, stop = _span(frames, since, until)
        if start < stop:
            found.append((frames, start, stop))
    if not found:
        files = ", ".join(os.fspath(frames.dump.path) for frames in recordings)
        asked = f"from {since or 'the beginning'} to {until or 'the end'}"
        raise ValueError(f"{files}: no interval {asked}; {extent(recordings)}")
    return found


def _span(frames: Frames, since: str | None, until: str | None) -> tuple[int, int]:
    start, stop = 1, len(frames)
    since_ns, until_ns = ends_in(frames, since, until)
    if since_ns is not None:
        found = frames.at(since_ns)
        start = found if found and frames.times_ns[found] >= since_ns else stop
    if until_ns is not None:
        found = frames.at(until_ns)
        # In a gap of the recording the frame found is the one after the gap.
        while found is not None and frame_begin(frames, found) > until_ns:
            found = frames.step(found, -1)
        stop = found + 1 if found is not None else start
    return start, stop


def add_skip(options: argparse.ArgumentParser) -> None:
    """Add --skip-damaged."""
    options.add_argument(
        "--skip-damaged",
        action="store_true",
        help="leave out what is damaged; without this, damage is an error (status 1)",
    )


def unreadable(frames: Frames) -> str:
    """A message about bytes that belong to no whole snapshot; empty if there are none."""
    gaps = frames.dump.gaps
    if not gaps:
        return ""
    count = sum(end - begin for begin, end in gaps)
    return f"{count} of {frames.dump.size} bytes cannot be read, from byte {gaps[0][0]} on"


def report_damage(frames: Frames, lost: Iterable[Lost] = ()) -> None:
    """Write to standard error what could not be read, if anything: by `frames`, and of its file
    by `lost`."""
    path, messages = os.fspath(frames.dump.path), []
    found = dict(frames.lost)
    for one in lost:
        if one["snapshot"] is not None and os.fspath(one["path"]) == path:
            found.setdefault(one["snapshot"], f"{one['reason']} at offset {one['offset']}")
    if found:
        first = min(found)
        messages.append(
            f"{len(found)} of {len(frames)} snapshots were left out,"
            f" the first of them {first}: {safe(found[first])}"
        )
    messages += filter(None, [unreadable(frames)])
    if messages:
        lines = "".join(f"ptop: {safe(path)}: {message}\n" for message in messages)
        sys.stderr.write(f"{lines}type: ptop check {safe(shlex.quote(path))}\n")


def with_progress(
    items: Iterable[T], total: int, doing: str, size: Callable[[T], int], unit: str
) -> Iterator[T]:
    """`items`, of about `total` units in all. While they are consumed, standard error shows a
    progress bar if it is a terminal and tqdm is installed."""
    if not sys.stderr.isatty():
        return iter(items)
    try:
        from tqdm import tqdm
    except ImportError:
        return iter(items)

    def shown() -> Iterator[T]:
        bar = tqdm(total=total, desc=doing, unit=unit, delay=BAR_DELAY_S, leave=False)
        with bar:
            for item in items:
                yield item
                bar.update(size(item))

    return shown()
