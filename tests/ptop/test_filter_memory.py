"""What a filter remembers from frame to frame: it finds the same as one that remembers nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import taskstats
from taskstats.screen import Screen

from ptop.columns import COLUMN_SETS, COLUMNS, fields_of
from ptop.filters import fields_of_filter, row_filter
from ptop.text import offset_s

# A new screen has no sparklines of the frames before.
SHOWN = [COLUMNS[key] for key in COLUMN_SETS["live"].shown if key != "spark"]
# As they are typed: some longer than the one before, some not.
TYPED = [
    "s", "sl", "sle", "sleep 314", "sleep 3141", "!sleep", "!slee", "!sleep 314", "3141", "~sle.p",
    "state=R", "state=S sleep", "sleep rss>1", "sleep rss>1K", "user=root", "user=root | name:py",
    "ac_etime>2s name=sleep", "cpu_ns>1h", "zzz",
]  # fmt: skip


@pytest.fixture
def tasks() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Tasks that sleep, run and execute another program."""
    busy = [sys.executable, "-c", "import time\nwhile True: time.sleep(0.02)"]
    shell = ["sh", "-c", "sleep 0.5; exec sleep 31417"]
    commands = [*(["sleep", f"3141{number}"] for number in range(40)), busy, busy, shell, shell]
    children: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            children.append(subprocess.Popen(command))
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait()


class Filtered:
    """A screen of the tasks of a test; no others, which may die before they are read."""

    def __init__(self, tasks: list[subprocess.Popen[bytes]]) -> None:
        self.pids = [task.pid for task in tasks]
        self.screen = Screen(SHOWN, user=taskstats.user_name, offset_s=offset_s, **self.chosen(""))

    def chosen(self, text: str) -> dict[str, Any]:
        where = row_filter(text)
        return {"sort": "ac_pid", "descending": False, "where": where, "pids": self.pids}

    def rows(self, interval: taskstats.Interval, source: taskstats.Source, text: str) -> list[str]:
        """The rows and sums once all texts are known."""
        while True:
            self.screen.configure(SHOWN, **self.chosen(text))
            lines = self.screen.lines(interval, source, (100, 120))
            if not lines.searching:
                return [text for text, _ in lines.texts[lines.headings_line :]]


def fields() -> list[str]:
    found = fields_of(SHOWN, "", "").union(*map(fields_of_filter, TYPED))
    return sorted({*found, "state"})


def test_a_filter_that_remembers_finds_what_one_does_that_does_not(
    tasks: list[subprocess.Popen[bytes]],
) -> None:
    with taskstats.Source(changed=True, exact=True, cpu_times=True, fields=fields()) as source:
        before = source.snapshot()
        remembers = Filtered(tasks)
        for at, text in enumerate(TYPED):
            if at == 10:
                # One is gone, and another has its place.
                tasks[3].kill()
                tasks[3].wait()
            time.sleep(0.1)
            now = source.snapshot()
            interval = taskstats.usage(before, now)
            before = now
            found = remembers.rows(interval, source, text)
            assert found == Filtered(tasks).rows(interval, source, text), text
            # Again from memory.
            assert found == remembers.rows(interval, source, text), text


def characters_read() -> int:
    """What this process has read, in all its threads."""
    text = Path("/proc/self/io").read_text()
    return int(text.split()[1])


def test_a_sleeper_is_read_once_whatever_is_typed(tasks: list[subprocess.Popen[bytes]]) -> None:
    with taskstats.Source(changed=True, exact=True, cpu_times=True, fields=fields()) as source:
        before = source.snapshot()
        time.sleep(0.2)
        interval = taskstats.usage(before, source.snapshot())
        remembers = Filtered(tasks)
        remembers.rows(interval, source, "no such text")
        once = characters_read()
        own = characters_read() - once
        for text in ("other", "others", "~nothing.*at.*all"):
            remembers.rows(interval, source, text)
        # The forty sleepers alone have more.
        assert characters_read() - once - 2 * own < 400
