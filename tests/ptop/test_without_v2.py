"""Cgroups of a machine without v2: what nobody counts is unknown and said, never 0.

The programs of the guests have v2 alone; here a mount namespace has none.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from live_view import PTOP, Live  # type: ignore[import-not-found]

LACK = "cpu, memory, io of cgroups: not on v2"
UNKNOWN = [
    "memory_current", "memory_max", "cpu_max_pct", "nr_throttled_delta", "throttled_usec_delta",
    "rbytes_per_sec", "wbytes_per_sec", "cpu_some_pct", "io_some_pct", "memory_some_pct",
]  # fmt: skip


@pytest.fixture
def without_v2(cgroups: Path, needs: Callable[[bool, str], None]) -> list[str]:
    """The begin of a command that sees no cgroup v2."""
    needs(os.geteuid() == 0, "root makes mount namespaces")
    return ["unshare", "--mount", "sh", "-c", f'umount --lazy {cgroups} && exec "$@"', "sh"]


def test_limits_and_use_are_unknown_and_the_reason_is_said(without_v2: list[str]) -> None:
    words = ["-b", "-n", "1", "-d", "0.3", "--view", "cgroups", "--format", "json"]
    run = subprocess.run([*without_v2, *PTOP, *words], capture_output=True, text=True, check=True)
    assert LACK in run.stderr
    rows = json.loads(run.stdout)["tasks"]
    assert rows
    assert all(row[name] is None for row in rows for name in UNKNOWN), rows
    table = subprocess.run(
        [*without_v2, *PTOP, *words[:-2]], capture_output=True, text=True, check=True
    )
    assert "cgroup " in table.stdout


def test_the_live_view_and_the_pane_say_it(without_v2: list[str]) -> None:
    live = Live("--view", "cgroups", command=[*without_v2, *PTOP], columns=120, rows=40)
    live.until(LACK)
    heading = next(line for line in live.screen.display if "m.max" in line)
    at = heading.index("m.max")
    rows = [line for line in live.screen.display if "cgroup " in line[at:]]
    assert rows
    assert all(row[at : at + 5].strip() == "-" for row in rows), live.text()
    live.child.send("q")
    assert live.ended() == 0
    itself = ["sh", "-c", 'exec "$@" --pid $$', "sh", *PTOP]
    live = Live(command=[*without_v2, *itself], columns=120, rows=60)
    live.until("Name")
    live.child.send("\r")
    live.until("not on v2")
    live.child.send("\r")
    live.child.send("q")
    assert live.ended() == 0
