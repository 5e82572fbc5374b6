"""Limits and use of cgroups in recordings and in the history, from a cgroup of the test's own.

The programs of the guests compare all values with the files, where v2 has all controllers.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import taskstats
from taskstats.machine import cgroups_not_on_v2, recorded_cgroup
from taskstats.recorded import Frames
from taskstats.screen import Screen

from ptop.columns import COLUMN_SETS, COLUMNS
from ptop.live.details import Details
from ptop.live.inspector import Inspector

NAME = "precise-top-recorded"
SHOWN = ["cgroup", "cpu_some_pct", "memory_current", "memory_max", "rbytes_delta"]


@pytest.fixture
def pressed(cgroups: Path, needs: Callable[[bool, str], None]) -> Iterator[Path]:
    """The directory of a cgroup with a sleeper."""
    path = cgroups / NAME
    needs((cgroups / "cpu.pressure").exists(), "pressure of cgroups")
    path.mkdir()
    child = subprocess.Popen(["sleep", "1000"])
    try:
        (path / "cgroup.procs").write_text(str(child.pid))
        yield path
    finally:
        child.kill()
        child.wait()
        while path.exists():
            try:
                path.rmdir()
            except OSError:
                time.sleep(0.01)


def values(
    interval: taskstats.Interval, kept: taskstats.KeptInterval | None = None
) -> dict[str, object]:
    columns = [COLUMNS[key] for key in COLUMN_SETS["cgroups"].shown]
    screen = Screen(columns, user=str, offset_s=lambda _: 0, sort="total_pct", tree="cgroup")
    rows = screen.values(interval, SHOWN, resting=kept)
    (row,) = (row for row in rows if row[0] == f"/{NAME}")
    return dict(zip(SHOWN, row, strict=True))


def check(found: dict[str, object], knows_pressure: bool) -> None:
    assert (found["cpu_some_pct"] is not None) == knows_pressure
    missing = cgroups_not_on_v2()
    # What v1 counts is unknown, never 0.
    assert (found["memory_current"] is None) == ("memory" in missing)
    assert (found["memory_max"] is None) == ("memory" in missing)
    assert (found["rbytes_delta"] is None) == ("io" in missing or not knows_pressure)


def test_recordings_and_the_history_have_them(pressed: Path, tmp_path: Path) -> None:
    path, copy = tmp_path / "day.tsd", tmp_path / "copy.tsd"
    history = taskstats.History()
    with taskstats.Source(changed=True) as source, taskstats.Recorder(path) as recorder:
        before = source.snapshot()
        recorder.write(before)
        history.begin(before)
        for _ in range(2):
            time.sleep(0.05)
            now = source.snapshot()
            recorder.write(now)
            history.push(taskstats.usage(before, now), source)
            before = now
    first, second = Frames(taskstats.open(path)).intervals()
    # The first two readings are of the first two snapshots.
    check(values(first), knows_pressure=True)
    check(values(second), knows_pressure=True)
    kept = history.interval(history.first)
    check(values(kept.interval, kept), knows_pressure=True)
    assert values(kept.interval, kept)["cpu_some_pct"] is not None
    # A file of the history has those of its time, and not of the time when it is written.
    with taskstats.Recorder(copy) as recorder:
        recorder.write(kept.completed().prev, kept=kept)
        recorder.write(kept.completed().cur, kept=kept)
    (interval,) = Frames(taskstats.open(copy)).intervals()
    check(values(interval), knows_pressure=False)


def of_pane(
    interval: taskstats.Interval, pid: int, kept: taskstats.KeptInterval | None = None
) -> str:
    """What the pane of a task says of its cgroup."""
    columns = [COLUMNS["pid"], COLUMNS["cgroup"]]
    screen = Screen(
        columns, user=str, offset_s=lambda _: 0, sort="total_pct", pids=[pid], selected=0
    )
    key = screen.lines(interval, kept, (120, 20)).selected_key
    assert key is not None
    assert key.pid == pid
    inspector = Inspector()
    inspector.follow(key, interval, False, iter(()), kept)
    return "; ".join(inspector.pane(Details()).sections.get("cgroup", []))


def test_the_pane_shows_what_was_recorded(pressed: Path, tmp_path: Path) -> None:
    path = tmp_path / "day.tsd"
    history = taskstats.History()
    with taskstats.Source(changed=True) as source, taskstats.Recorder(path) as recorder:
        before = source.snapshot()
        recorder.write(before)
        history.begin(before)
        time.sleep(0.05)
        now = source.snapshot()
        recorder.write(now)
        history.push(taskstats.usage(before, now), source)
    (interval,) = Frames(taskstats.open(path)).intervals()
    kept = history.interval(history.first)
    pid = int((pressed / "cgroup.procs").read_text())
    for text in (of_pane(interval, pid), of_pane(kept.interval, pid, kept)):
        assert text.startswith(f"path /{NAME}, as it was recorded last"), text
        assert re.search(r"pressure in the \d+ s before that: cpu some ", text), text
        if "memory" not in cgroups_not_on_v2():
            assert "memory: current " in text
            assert "max max" in text
    assert recorded_cgroup(kept.interval, f"/{NAME}") is None, "the kept interval has them"
    assert recorded_cgroup(interval, "/no/such") is None


def test_a_replay_shows_them(pressed: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "day.tsd")
    ptop = [sys.executable, "-m", "ptop"]
    subprocess.run([*ptop, "record", "-o", path, "-d", "0.1", "--for", "0.4"], check=True)
    words = [*ptop, "replay", path, "-b", "--view", "cgroups", "--columns", "cgroup,cpu_psi"]
    run = subprocess.run([*words, "--format", "json"], capture_output=True, text=True, check=True)
    for line in run.stdout.splitlines():
        (row,) = (row for row in json.loads(line)["tasks"] if row["cgroup"] == f"/{NAME}")
        assert row["cpu_some_pct"] is not None


def test_the_files_are_not_asked_for_an_old_snapshot(pressed: Path, tmp_path: Path) -> None:
    """What they say now is not of its time."""
    path = tmp_path / "late.tsd"
    with taskstats.Source(changed=True) as source:
        snapshot = source.snapshot()
        time.sleep(5.1)
        with taskstats.Recorder(path) as recorder:
            recorder.write(snapshot)
            recorder.write(source.snapshot())
    (interval,) = Frames(taskstats.open(path)).intervals()
    check(values(interval), knows_pressure=False)
