"""What the pane of the live view knows of the task that it shows.

Design decisions

* It follows the selection: another task, and all that was known of the one before is forgotten.
* Graphs end at the interval that is shown, whichever way the user came there.
* Files are read between keys, a slice at a time, and only so many milliseconds a frame; slow
  ones (open files, sockets, locks) every few seconds. A closed pane reads nothing.
* Replays and the dead are shown from the intervals alone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import taskstats
from taskstats.screen import RowKey

from ptop.columns import COLUMNS
from ptop.live import recorded_cgroup
from ptop.live.details import Details, Pane, Series, exit_words
from ptop.live.tools import Tool
from ptop.live.unknown import DELAYS_OFF
from ptop.taskfiles import GoneError, Section, TaskFiles
from ptop.text import stamp
from ptop.times import started_s

# The graphs: label, form, and column.
_GRAPHS = (
    ("cpu", "percent", "total_pct"),
    *(
        (label, "percent", COLUMNS[f"{key}_delay"].source)
        for label, key in (
            ("wait cpu", "cpu"), ("wait blk", "blkio"), ("wait swp", "swapin"),
            ("wait rcl", "freepages"), ("wait thr", "thrashing"), ("wait cmp", "compact"),
            ("wait wpc", "wpcopy"), ("wait irq", "irq"),
        )
    ),
    ("read", "bytes", COLUMNS["read"].source),
    ("write", "bytes", COLUMNS["write"].source),
    ("rss", "bytes", "rss_kb"),
)  # fmt: skip
_SOURCES = tuple(source for _, _, source in _GRAPHS)
_FACTS = (
    "ac_start_ns", "exited", "ac_exitcode", "ac_comm", "ac_uid", "ac_ppid", "cpu_ns",
    "num_threads", "hiwater_rss",
)  # fmt: skip
# The kernel fields that they need, beside those that every snapshot has.
FIELDS = frozenset(
    field
    for key in ("cpu_delay", "blkio_delay", "swapin_delay", "freepages_delay", "thrashing_delay",
                "compact_delay", "wpcopy_delay", "irq_delay", "read", "write", "rss_kb",
                "num_threads")
    for field in COLUMNS[key].fields
) | {"hiwater_rss", "cgroup_id"}  # fmt: skip

# Intervals that the graphs remember; those before the pane was opened are fetched.
REMEMBERED = 300
# Dead children that are listed.
_LISTED = 50
# Time for files: of one slice, and of all in one frame.
_SLICE_S, _FRAME_S = 0.001, 0.010
# How often slow files are read again.
_SLOW_S = 5.0
_UNKNOWN: tuple[float | None, ...] = (None,) * len(_GRAPHS)


class _Frame:
    """What one interval says of the task: values of the graphs, facts, and its fate."""

    __slots__ = ("children", "died", "facts", "fate", "values")

    def __init__(self, values: tuple[float | None, ...] = _UNKNOWN) -> None:
        self.values = values
        self.facts: dict[str, Any] = {}
        self.fate = ""
        # Lines of the children that died, and how many of each kind.
        self.children: list[str] = []
        self.died: Counter[str] = Counter()


class _Died:
    """How many children died of each kind in the frames up to one: kept, as drawing is frequent."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._upto_ns = 0

    def add(self, end_ns: int, frame: _Frame) -> None:
        """Take a frame that has come later than those after it."""
        if end_ns <= self._upto_ns:
            self.counts.update(frame.died)

    def forget(self, end_ns: int, frame: _Frame) -> None:
        """Leave out a frame that is forgotten."""
        if end_ns <= self._upto_ns:
            self.counts.subtract(frame.died)

    def go_to(self, now_ns: int, frames: Mapping[int, _Frame]) -> None:
        """Go to the frame that is shown."""
        if now_ns < self._upto_ns:
            self.counts, self._upto_ns = Counter(), 0
        for end_ns, frame in frames.items():
            if self._upto_ns < end_ns <= now_ns:
                self.counts.update(frame.died)
        self._upto_ns = now_ns


class Inspector:
    """Collects what the pane shows; `follow` chooses the task."""

    def __init__(self) -> None:
        self.key: RowKey | None = None
        # Tools that were told to end.
        self._ending: list[Tool] = []
        self._forget()

    def _forget(self) -> None:
        # What was seen, by the ends of the intervals; and the end of the one that is shown.
        self._frames: dict[int, _Frame] = {}
        self._now_ns = 0
        self._died = _Died()
        self._shown: taskstats.Interval | None = None
        # When the task started, in seconds since 1970, as far as that is known.
        self._started_s: int | None = None
        self._start_ns: int | None = None
        # The graphs that this machine does not measure.
        self._off: list[str] = []
        self._sections: dict[str, list[str]] = {}
        self._memory: list[str] | None = None
        # Container, pod and unit; None before they are known.
        self._names: list[str] | None = None
        # The path of the cgroup, and what is recorded of it at the interval that is shown.
        self._path: str | None = None
        self._cgroup: list[str] = []
        self._files: TaskFiles | None = None
        self._reading: Iterator[Section | None] | None = None
        self._earlier: Iterator[taskstats.Interval] | None = None
        self._left_s = 0.0
        self._slow_due_s = 0.0
        self._is_gone = False
        self._tool: Tool | None = None

    def close(self) -> None:
        """Forget the task, close its files and end its tool."""
        self._end_tool()
        if self._files is not None:
            self._files.close()
        self.key = None
        self._forget()

    def finish(self) -> None:
        """As `close`, and wait for the tools to let go of their tasks."""
        self.close()
        for tool in self._ending:
            tool.finish()

    def _end_tool(self) -> None:
        if self._tool is not None:
            self._tool.close()
            self._ending.append(self._tool)
            self._tool = None

    def follow(
        self,
        key: RowKey | None,
        interval: taskstats.Interval,
        live: bool,
        earlier: Iterator[taskstats.Interval],
        kept: taskstats.KeptInterval | None = None,
    ) -> None:
        """Show the task of a row, which the interval's screen has. `earlier` are intervals before
        it, read when there is time; `kept` holds the tasks that did not run, in a history."""
        if key != self.key:
            self.close()
            self.key = key
            if key is None or key.pid is None:
                return
            self._earlier = earlier
            if live:
                try:
                    self._files = TaskFiles(key.pid, interval.cur.boottime_ns)
                    self._started_s = self._files.started_s()
                except GoneError:
                    self._is_gone = True
        if interval is not self._shown and key is not None and key.pid is not None:
            self._shown = interval
            self._show(interval, key.pid)
            self._cgroup = [] if live else self._recorded_cgroup(interval, key.pid, kept)

    def _show(self, interval: taskstats.Interval, pid: int) -> None:
        """Take the interval that is shown."""
        self._now_ns = interval.cur.time_ns
        states = [interval.status(source) for source in _SOURCES]
        self._off = [
            label for (label, *_), state in zip(_GRAPHS, states, strict=True) if state == "off"
        ]
        frame = self._frames[self._now_ns] = self._frame_of(interval, pid)
        if not frame.facts and self._files is not None:
            if self._files.is_alive():
                self._sleep(frame, self._now_ns, interval)
            else:
                self._die()
        elif frame.fate:
            self._die()
        row = None if self._names is not None or not frame.facts else interval.by_pid(pid)
        if row is not None:
            self._take_names(row, is_living=not (self._is_gone or frame.fate))
        if self._started_s is None and frame.facts.get("ac_start_ns") is not None:
            clocks = interval.cur.time_ns, interval.cur.boottime_ns
            self._started_s = started_s(frame.facts["ac_start_ns"], clocks)
        self._died.go_to(self._now_ns, self._frames)
        while len(self._frames) > REMEMBERED:
            oldest = min(self._frames)
            self._died.forget(oldest, self._frames.pop(oldest))
        if self._reading is None and self._files is not None:
            slow = time.monotonic() >= self._slow_due_s
            self._slow_due_s = time.monotonic() + _SLOW_S if slow else self._slow_due_s
            self._reading = self._files.sections(slow)
        self._left_s, self._memory = _FRAME_S, None

    def _sleep(self, frame: _Frame, end_ns: int, interval: taskstats.Interval) -> None:
        """Note that the task lived and did not run. What is not measured stays unknown."""
        states = (interval.status(source) for source in _SOURCES[:-1])
        used = (0.0 if state == "filled" else None for state in states)
        before = (self._frames[end] for end in sorted(self._frames, reverse=True) if end < end_ns)
        rss = next((known.values[-1] for known in before if known.values[-1] is not None), None)
        frame.values = (*used, rss)

    def _recorded_cgroup(
        self, interval: taskstats.Interval, pid: int, kept: taskstats.KeptInterval | None
    ) -> list[str]:
        """What the recording or the history says of the cgroup."""
        if self._path is None:
            row = interval.by_pid(pid)
            if row is None and kept is not None:
                row = kept.completed().by_pid(pid)
            self._path = (row.cgroup if row is not None else None) or ""
        return recorded_cgroup.lines(interval, self._path, kept) if self._path else []

    def _take_names(self, row: taskstats.Row, is_living: bool) -> None:
        """Take the names that records do not have: of the cgroup, and where no file is read the
        command line."""
        names = (("container", row.container), ("pod", row.pod), ("unit", row.unit))
        shown = "  ".join(f"{kind} {name}" for kind, name in names if name)
        self._names = [shown] if shown else []
        if self._files is not None:
            return
        if row.cgroup:
            self._names.append(f"cgroup {row.cgroup}")
        arguments = row.task.cmdline if row.task is not None and is_living else None
        if arguments:
            self._sections["command"] = [" ".join(arguments)]

    def _frame_of(self, interval: taskstats.Interval, pid: int) -> _Frame:
        frame = _Frame()
        rows = interval.select([*_SOURCES, *_FACTS], pids=[pid])
        starts = [row[len(_SOURCES)] for row in rows]
        if self._start_ns is None and starts:
            self._start_ns = starts[0]
        if self._start_ns in starts:
            row = rows[starts.index(self._start_ns)]
            frame.facts = dict(zip(_FACTS, row[len(_SOURCES) :], strict=True))
            *values, rss_kb = row[: len(_SOURCES)]
            if frame.facts["exited"]:
                frame.fate, rss_kb = exit_words(frame.facts["ac_exitcode"]), None
            frame.values = (*values, None if rss_kb is None else rss_kb * 1024.0)
        when = stamp(interval.cur.time_ns)[11:]
        dead = interval.dead_children(pid)
        for child, name, status, used_ns in dead.select(
            ["ac_pid", "ac_comm", "ac_exitcode", "total_ns"]
        ):
            words = exit_words(status)
            frame.died[f"{name}: {words}"] += 1
            if len(frame.children) < _LISTED:
                used = "" if used_ns is None else f"  {used_ns / 1e9:.3f} s"
                frame.children.append(f"{when}  {child} {name}  {words}{used}")
        return frame

    def _until_now(self) -> list[_Frame]:
        """The frames up to the one that is shown, the newest last."""
        return [self._frames[at] for at in sorted(self._frames) if at <= self._now_ns]

    def _die(self) -> None:
        if self._files is not None:
            self._files.close()
        self._files = self._reading = None
        self._is_gone = True

    def wait_s(self) -> float | None:
        """How long until there is something to do between keys; None for not at all."""
        if (self._reading is not None or self._earlier is not None) and self._left_s > 0:
            return 0.0
        if self._tool is None and not self._ending:
            return None
        waits_s = [tool.wait_s() for tool in filter(None, [*self._ending, self._tool])]
        return min((wait_s for wait_s in waits_s if wait_s is not None), default=None)

    def work(self) -> bool:
        """Read a slice of the files, and what a tool has written; returns whether the pane has
        changed."""
        self._ending = [tool for tool in self._ending if not tool.has_ended()]
        changed = self._tool is not None and self._tool.take()
        if self._left_s <= 0:
            return changed
        if self._reading is None:
            return self._fetch() or changed
        start = now = time.perf_counter()
        try:
            while now - start < _SLICE_S:
                section = next(self._reading)
                if section is not None:
                    self._put(*section)
                now = time.perf_counter()
        except StopIteration:
            self._reading, changed = None, True
        except GoneError:
            self._die()
            changed = True
        self._left_s -= time.perf_counter() - start
        return changed

    def _fetch(self) -> bool:
        """Take one of the intervals before; returns whether that was the last."""
        if self._earlier is None or self.key is None or self.key.pid is None:
            return False
        interval = next(self._earlier, None)
        if interval is None:
            self._earlier = None
            return True
        end_ns = interval.cur.time_ns
        if end_ns not in self._frames and len(self._frames) < REMEMBERED:
            frame = self._frame_of(interval, self.key.pid)
            begin_ns = self._files.start_ns if self._files is not None else None
            if not frame.facts and begin_ns is not None and begin_ns < interval.prev.boottime_ns:
                self._sleep(frame, end_ns, interval)
            self._frames[end_ns] = frame
            self._died.add(end_ns, frame)
        return False

    def _put(self, title: str, lines: list[str]) -> None:
        """Put a section in its place; its title may have a number."""
        kind = title.partition(":")[0]
        old = next((key for key in self._sections if key.partition(":")[0] == kind), None)
        if old is not None and old != title:
            # In place of the one with another number.
            self._sections = {
                title if key == old else key: text for key, text in self._sections.items()
            }
        self._sections[title] = lines

    def use(self, details: Details) -> None:
        """Begin or end what the user has chosen."""
        name = self._tool.name if self._tool is not None else ""
        if details.tool == name:
            return
        self._end_tool()
        if details.tool and self.key is not None and self.key.pid is not None:
            if self._files is None or not self._files.is_alive():
                return
            self._tool = Tool(details.tool, self.key.pid)

    def pane(self, details: Details) -> Pane:
        """What the pane shows now."""
        if self.key is None or self.key.pid is None:
            return Pane("select a task: groups have no details")
        if details.tool:
            lines = self._tool.lines if self._tool is not None else ["the task is gone"]
            return Pane(f"{details.tool} of {self.key.pid}", output=list(lines))
        frames = self._until_now()
        series = (
            Series(label, form, [frame.values[at] for frame in frames])
            for at, (label, form, _) in enumerate(_GRAPHS)
        )
        known = [one for one in series if any(value is not None for value in one.values)]
        return Pane(self._title(frames), known, self._all_sections(frames, details))

    def _title(self, frames: list[_Frame]) -> str:
        assert self.key is not None
        facts = next((frame.facts for frame in reversed(frames) if frame.facts), {})
        fate = next((frame.fate for frame in reversed(frames) if frame.fate), "")
        parts = [f"{self.key.pid} {facts.get('ac_comm') or ''}"]
        parts.append(fate or ("died" if self._is_gone else ""))
        # What changes first: a narrow screen cuts the end.
        if facts.get("cpu_ns") is not None:
            parts.append(f"CPU {facts['cpu_ns'] / 1e9:.2f} s")
        if (uid := facts.get("ac_uid")) is not None:
            parts.append(f"user {taskstats.user_name(uid) or uid}")
        if facts.get("ac_ppid") is not None:
            parts.append(f"parent {facts['ac_ppid']}")
        if facts.get("num_threads"):
            parts.append(f"threads {facts['num_threads']}")
        if self._started_s is not None:
            parts.append(f"since {stamp(self._started_s * 10**9)}")
        return "  ".join(filter(None, parts))

    def _all_sections(self, frames: list[_Frame], details: Details) -> dict[str, list[str]]:
        sections: dict[str, list[str]] = {}
        if self._files is not None:
            try:
                # What the user has asked for comes first, and the long one last.
                if details.memory:
                    if self._memory is None:
                        self._memory = self._files.proportional()
                    sections["proportional memory"] = self._memory
                if details.environment:
                    shown = details.environment == "values"
                    sections["environment"] = self._files.environment(shown)
            except GoneError:
                self._die()
        if self._files is None:
            asked = {"proportional memory": details.memory, "environment": details.environment}
            why = "the task is gone" if self._is_gone else "only of a living task in the live view"
            sections |= {
                title: [f"unknown: {why}"] for title, is_shown in asked.items() if is_shown
            }
        if self._off:
            sections["not measured"] = [f"{', '.join(self._off)}: {DELAYS_OFF}"]
        if self._names:
            sections["runs in"] = self._names
        sections |= self._sections
        if self._cgroup:
            # In place of what the files say now.
            sections["cgroup"] = self._cgroup
        died = self._died.counts
        if died.total():
            counts = [f"{number} x {what}" for what, number in died.most_common(10) if number]
            children = (line for frame in reversed(frames) for line in frame.children)
            title = f"children that died: {died.total()}"
            sections[title] = [", ".join(counts), *islice(children, _LISTED)]
        return sections
