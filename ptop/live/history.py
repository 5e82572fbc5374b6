"""What the live view does with the intervals that it has kept: marks, files of them, and files
that it writes by itself.

Design decisions

* A file is written a slice at a time, between two frames: sampling goes on meanwhile.
* A file never replaces another one: what it holds may be the only trace of an incident.
* An expression of --on-spike has a colon, as a shell takes a greater-than sign.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import taskstats

from ptop import spikes
from ptop.columns import TableColumn, fields_of
from ptop.feed import Feed
from ptop.history_feed import HistoryFeed
from ptop.live.state import State
from ptop.text import safe
from ptop.values import replace

# Seconds that a slice of writing takes.
SLICE_S = 0.02
# The ends of the columns in which a task that did not run has 0.
_OF_RUNNING = ("_pct", "_per_sec", "_delta")
# The name of a file that is written at a spike begins so; local time follows.
SPIKE_BEGIN = "ptop-spike-"


def not_written(path: str, error: Exception) -> str:
    """The message about a file that was not written: why, and what to do; the reason comes
    first, because the path may be long."""
    if isinstance(error, FileExistsError):
        return f"the file exists, choose another name: {safe(path)}"
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{safe(why)}, nothing was written: {safe(path)}"


def switch_cmdlines(state: State) -> State:
    """Includes command lines in what is written, or leaves them out."""
    return replace(state, past=replace(state.past, cmdlines=not state.past.cmdlines))


class Trigger(NamedTuple):
    """A value that a column has to reach: in a row, or the sum of all rows (`is_sum`)."""

    column: TableColumn
    value: float
    is_sum: bool = False

    @property
    def needs_sleepers(self) -> bool:
        """Whether tasks that did not run have values in the column, such as memory."""
        return not self.column.source.endswith(_OF_RUNNING)

    def is_reached(self, interval: taskstats.Interval) -> bool:
        return spikes.peak(interval, self.column.source)[self.is_sum] >= self.value

    @property
    def text(self) -> str:
        return f"{'sum:' if self.is_sum else ''}{self.column.key}:{self.value:g}"


class OnSpike:
    """Writes files by itself: at most `files` in a directory, `gap_s` seconds apart."""

    def __init__(
        self,
        triggers: tuple[Trigger, ...],
        directory: str,
        files: int,
        gap_s: float,
        cmdlines: bool = True,
    ) -> None:
        self.triggers = triggers
        self.directory = directory
        self.files = files
        self.gap_s = gap_s
        self.cmdlines = cmdlines
        self.written_s: float | None = None

    @property
    def fields(self) -> set[str]:
        """The kernel fields that it needs."""
        return fields_of([trigger.column for trigger in self.triggers], "")

    @property
    def needs_sleepers(self) -> bool:
        """Whether it looks at tasks that did not run."""
        return any(trigger.needs_sleepers for trigger in self.triggers)

    def due(self, interval: taskstats.Interval, now_s: float) -> tuple[str, str] | None:
        """The file that has to be written now and why, or None."""
        if self.written_s is not None and now_s - self.written_s < self.gap_s:
            return None
        reached = next((trigger for trigger in self.triggers if trigger.is_reached(interval)), None)
        if reached is None:
            return None
        self.written_s = now_s
        names: list[str] = []
        with contextlib.suppress(OSError):
            # What is wrong with the directory is told by the attempt to write.
            names = os.listdir(self.directory)
        if sum(name.startswith(SPIKE_BEGIN) for name in names) >= self.files:
            return None
        name = time.strftime(f"{SPIKE_BEGIN}%Y%m%dT%H%M%S.tsd")
        return os.path.join(self.directory, name), reached.text


class Writing:
    """A file of the intervals of a history that is being written."""

    def __init__(self, history: taskstats.History, path: str, cmdlines: bool, why: str) -> None:
        self.path, self.why = path, why
        # Never to a file that is there, which a recorder would continue.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            self._recorder = taskstats.Recorder(path, sync=None, cmdlines=cmdlines)
        except BaseException:
            self._remove()
            raise
        self.done = 0
        self._frames = self._write(history)

    def _write(self, history: taskstats.History) -> Iterator[None]:
        end = history.end
        number = history.first
        while number < end:
            # The oldest may be forgotten meanwhile.
            number = max(number, history.first)
            kept = history.interval(number)
            if self.done == 0 or not history.connects(number):
                self._recorder.write(kept.completed().prev, kept=kept)
            self._recorder.write(kept.completed_snapshot(), kept=kept)
            self.done += 1
            number += 1
            yield

    def go_on(self, seconds: float = SLICE_S) -> str | None:
        """Write for some time. Returns a message at the end, None before."""
        end_s = time.monotonic() + seconds
        try:
            for _ in self._frames:
                if time.monotonic() > end_s:
                    return None
            self._recorder.close()
        except (OSError, taskstats.TaskstatsError) as error:
            self.abandon()
            return not_written(self.path, error)
        why = f" for {self.why}" if self.why else ""
        return f"{self.done} intervals written{why}; type: ptop replay {safe(self.path)}"

    def finish(self) -> None:
        """Write the rest."""
        self.go_on(math.inf)

    def abandon(self) -> None:
        """Remove the unfinished file."""
        with contextlib.suppress(OSError, taskstats.TaskstatsError):
            self._recorder.close()
        self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.path)


class Files:
    """The files of a history, one after the other: those that the user asks for and those that
    are written at a spike."""

    def __init__(self, on_spike: OnSpike | None) -> None:
        self._on_spike = on_spike
        self._writing: Writing | None = None

    @property
    def fields(self) -> set[str]:
        """The kernel fields that spikes are looked for in."""
        return self._on_spike.fields if self._on_spike else set()

    @property
    def is_watching(self) -> bool:
        """Whether each interval is looked at."""
        return self._on_spike is not None

    @property
    def is_writing(self) -> bool:
        """Whether a file is being written."""
        return self._writing is not None

    def begin(self, history: taskstats.History, path: str, cmdlines: bool, why: str = "") -> str:
        """Begin to write a file. Returns a message."""
        if self._writing is not None:
            return f"{safe(self._writing.path)} is still being written"
        try:
            self._writing = Writing(history, path, cmdlines, why)
        except (OSError, taskstats.TaskstatsError) as error:
            return not_written(path, error)
        return f"writing {safe(path)}"

    def watch(self, feed: Feed) -> str:
        """Begin to write a file if the newest interval has a spike that the user watches for.
        Returns a message; empty if there is none."""
        on_spike = self._on_spike
        if on_spike is None or self._writing is not None or not isinstance(feed, HistoryFeed):
            return ""
        newest = feed.newest_completed() if on_spike.needs_sleepers else feed.newest
        due = None if newest is None else on_spike.due(newest, time.monotonic())
        return "" if due is None else self.begin(feed.history, due[0], on_spike.cmdlines, due[1])

    def go_on(self) -> str:
        """Write for some time. Returns a message at the end of a file, before it an empty one."""
        ended = self._writing.go_on() if self._writing is not None else None
        if ended is None:
            return ""
        self._writing = None
        return ended

    def finish(self) -> None:
        """Write the rest of the file that is being written."""
        if self._writing is not None:
            self._writing.finish()
