"""What the pane of the live view knows of the task that it shows.

Design decisions

* It follows the selection: another task, and all that was known of the one before is forgotten.
* Files are read between keys, a slice at a time, and only so many milliseconds a frame; slow
  ones (open files, sockets, locks) every few seconds. A closed pane reads nothing.
* Replays and the dead are shown from the intervals alone.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import taskstats
from taskstats.screen import RowKey

from ptop.columns import COLUMNS
from ptop.live.details import Details, Pane, Series, exit_words
from ptop.live.tools import PERIOD_S, Tool
from ptop.taskfiles import GoneError, Section, TaskFiles
from ptop.text import stamp

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
    "ac_start_ns", "exited", "ac_exitcode", "ac_comm", "ac_uid", "ac_ppid", "ac_nice", "cpu_ns",
    "num_threads", "hiwater_rss",
)  # fmt: skip
# The kernel fields that they need, beside those that every snapshot has.
FIELDS = frozenset(
    field
    for key in ("cpu_delay", "blkio_delay", "swapin_delay", "freepages_delay", "thrashing_delay",
                "compact_delay", "wpcopy_delay", "irq_delay", "read", "write", "rss_kb",
                "num_threads")
    for field in COLUMNS[key].fields
) | {"hiwater_rss"}  # fmt: skip

# Intervals that the graphs remember, and dead children that are listed.
_REMEMBERED, _CHILDREN = 300, 50
# Time for files: of one slice, and of all in one frame.
_SLICE_S, _FRAME_S = 0.001, 0.010
_DELAYS_OFF = "delay accounting is off; as root type: sysctl kernel.task_delayacct=1"
# How often slow files are read again.
_SLOW_S = 5.0


class Inspector:
    """Collects what the pane shows; `follow` chooses the task."""

    def __init__(self) -> None:
        self.key: RowKey | None = None
        self._forget()

    def _forget(self) -> None:
        self._values: deque[tuple[float | None, ...]] = deque(maxlen=_REMEMBERED)
        self._facts: dict[str, Any] = {}
        # The graphs that this machine does not measure.
        self._off: list[str] = []
        self._sections: dict[str, list[str]] = {}
        self._children: deque[str] = deque(maxlen=_CHILDREN)
        self._dead_children: Counter[str] = Counter()
        self._files: TaskFiles | None = None
        self._reading: Iterator[Section | None] | None = None
        self._left_s = 0.0
        self._slow_due_s = 0.0
        self._fate = ""
        self._tool: Tool | None = None

    def close(self) -> None:
        """Forget the task, close its files and end its tool."""
        if self._tool is not None:
            self._tool.close()
        if self._files is not None:
            self._files.close()
        self.key = None
        self._forget()

    def follow(self, key: RowKey | None, interval: taskstats.Interval, live: bool) -> None:
        """Show the task of a row, which the interval's screen has."""
        if key == self.key:
            return
        self.close()
        self.key = key
        if key is None or key.pid is None:
            return
        if live:
            try:
                self._files = TaskFiles(key.pid, interval.cur.boottime_ns)
            except GoneError:
                self._fate = "died"
        self.add(interval)

    def add(self, interval: taskstats.Interval) -> None:
        """Take the next interval."""
        if self.key is None or self.key.pid is None:
            return
        pid = self.key.pid
        rows = interval.select([*_SOURCES, *_FACTS], pids=[pid])
        start = self._facts.get("ac_start_ns")
        own = [row for row in rows if start is None or row[len(_SOURCES)] == start]
        if own:
            self._take(own[0], interval)
        elif self._files is not None and self._files.is_alive():
            # It did not run.
            rss = self._values[-1][-1] if self._values else None
            self._values.append((*(0.0,) * (len(_SOURCES) - 1), rss))
        else:
            self._values.append((None,) * len(_SOURCES))
            self._die("died")
        self._take_children(interval, pid)
        if self._reading is None and self._files is not None:
            slow = time.monotonic() >= self._slow_due_s
            self._slow_due_s = time.monotonic() + _SLOW_S if slow else self._slow_due_s
            self._reading = self._files.sections(slow)
        self._left_s = _FRAME_S

    def _take(self, row: tuple[Any, ...], interval: taskstats.Interval) -> None:
        self._off = [label for label, _, source in _GRAPHS if interval.status(source) == "off"]
        self._facts = dict(zip(_FACTS, row[len(_SOURCES) :], strict=True))
        *values, rss_kb = row[: len(_SOURCES)]
        rss = None if rss_kb is None else rss_kb * 1024.0
        if self._facts["exited"]:
            self._die(exit_words(self._facts["ac_exitcode"]))
            rss = None
        self._values.append((*values, rss))
        if self._files is None and "command" not in self._sections:
            found = interval.by_pid(self.key.pid) if self.key and self.key.pid else None
            arguments = found.task.cmdline if found and found.task and not self._fate else None
            if arguments:
                self._sections["command"] = [" ".join(arguments)]

    def _take_children(self, interval: taskstats.Interval, pid: int) -> None:
        dead = interval.dead_children(pid)
        for child, name, status, used_ns in dead.select(
            ["ac_pid", "ac_comm", "ac_exitcode", "total_ns"]
        ):
            words = exit_words(status)
            self._dead_children[f"{name}: {words}"] += 1
            used = "" if used_ns is None else f"  {used_ns / 1e9:.3f} s"
            when = stamp(interval.cur.time_ns)[11:]
            self._children.append(f"{when}  {child} {name}  {words}{used}")

    def _die(self, fate: str) -> None:
        if self._files is not None:
            self._files.close()
        self._files = self._reading = None
        self._fate = self._fate if self._fate not in {"", "died"} else fate

    def wait_s(self) -> float | None:
        """How long until there is something to do between keys; None for not at all."""
        if self._reading is not None and self._left_s > 0:
            return 0.0
        return PERIOD_S if self._tool is not None and self._tool.is_running else None

    def work(self) -> bool:
        """Read a slice of the files, and what a tool has written; returns whether the pane has
        changed."""
        changed = self._tool is not None and self._tool.take()
        if self._reading is None or self._left_s <= 0:
            return changed
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
            self._die("died")
            changed = True
        self._left_s -= time.perf_counter() - start
        return changed

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
        if self._tool is not None:
            self._tool.close()
            self._tool = None
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
        series = tuple(
            Series(label, form, [values[at] for values in self._values])
            for at, (label, form, _) in enumerate(_GRAPHS)
        )
        known = [one for one in series if any(value is not None for value in one.values)]
        return Pane(self._title(), known, self._all_sections(details))

    def _title(self) -> str:
        facts = self._facts
        name = facts.get("ac_comm") or ""
        parts = [f"{self.key.pid if self.key else ''} {name}", self._fate]
        if facts.get("ac_uid") is not None:
            parts.append(f"user {taskstats.user_name(facts['ac_uid']) or facts['ac_uid']}")
        if facts.get("ac_ppid") is not None:
            parts.append(f"parent {facts['ac_ppid']}")
        if facts.get("num_threads"):
            parts.append(f"{facts['num_threads']} threads")
        if facts.get("cpu_ns") is not None:
            parts.append(f"CPU time {facts['cpu_ns'] / 1e9:.2f} s")
        return "  ".join(filter(None, parts))

    def _all_sections(self, details: Details) -> dict[str, list[str]]:
        sections = dict(self._sections)
        if self._off:
            sections = {"not measured": [f"{', '.join(self._off)}: {_DELAYS_OFF}"], **sections}
        if self._dead_children:
            counts = [f"{number} x {what}" for what, number in self._dead_children.most_common(10)]
            title = f"children that died: {self._dead_children.total()}"
            sections[title] = [", ".join(counts), *reversed(self._children)]
        if self._files is not None:
            try:
                if details.memory:
                    sections["proportional memory"] = self._files.proportional()
                if details.environment:
                    shown = details.environment == "values"
                    sections["environment"] = self._files.environment(shown)
            except GoneError:
                self._die("died")
        return sections
