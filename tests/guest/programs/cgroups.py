"""Limits and use of cgroups on a machine that has v2 alone: the values are those of the files.

A frozen cgroup does not run, so that its counters stand still while both are read.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import taskstats
from taskstats.machine import cgroups_not_on_v2
from taskstats.recorded import Frames
from taskstats.screen import Screen

from ptop.columns import COLUMN_SETS, COLUMNS

TOP = Path("/sys/fs/cgroup")
NAME = "throttled"
LIMIT = 64 << 20
COLUMN_NAMES = [
    "cgroup", "depth", "cpu_max_pct", "nr_periods_delta", "nr_throttled_delta",
    "throttled_usec_delta", "memory_current", "memory_high", "memory_max", "rbytes_delta",
    "wbytes_delta", "cpu_some_pct", "total_ns",
]  # fmt: skip


def make() -> Path:
    """A cgroup that may use a fifth of a CPU and 64 MiB, with a loop in it."""
    (TOP / "cgroup.subtree_control").write_text("+cpu +memory +io")
    folder = TOP / NAME
    folder.mkdir()
    (folder / "cpu.max").write_text("20000 100000")
    (folder / "memory.max").write_text(str(LIMIT))
    return folder


def stat(folder: Path) -> dict[str, int]:
    lines = (folder / "cpu.stat").read_text().splitlines()
    return {name: int(number) for name, number in (line.split() for line in lines)}


def freeze(folder: Path, frozen: bool) -> None:
    (folder / "cgroup.freeze").write_text(str(int(frozen)))
    while f"frozen {int(frozen)}" not in (folder / "cgroup.events").read_text():
        time.sleep(0.01)


def by_path(rows: list[Any]) -> dict[str, dict[str, Any]]:
    return {row[0]: dict(zip(COLUMN_NAMES, row, strict=True)) for row in rows}


def check_readings(folder: Path) -> None:
    """Two readings of a frozen cgroup, which ran in between."""
    columns = [COLUMNS[key] for key in COLUMN_SETS["cgroups"].shown]
    screen = Screen(columns, user=str, offset_s=lambda _: 0, sort="total_pct", tree="cgroup")
    with taskstats.Source(fields=["cgroup_id"], exact=False) as source:
        freeze(folder, True)
        start = source.snapshot()
        middle = source.snapshot()
        least_before = stat(folder)
        rows = screen.values(taskstats.usage(start, middle), COLUMN_NAMES)
        first = by_path(rows)[f"/{NAME}"]
        most_before = stat(folder)
        freeze(folder, False)
        time.sleep(2)
        freeze(folder, True)
        least_now = stat(folder)
        rows = screen.values(taskstats.usage(middle, source.snapshot()), COLUMN_NAMES)
        most_now = stat(folder)
    found = by_path(rows)
    used, root = found[f"/{NAME}"], found["/"]
    print(json.dumps({"before": most_before, "now": least_now, "used": used, "root": root}))
    for name in ("nr_periods", "nr_throttled", "throttled_usec"):
        assert first[f"{name}_delta"] is None, "there was no reading before"
        # The last period may end while the cgroup is frozen already.
        least, most = least_now[name] - most_before[name], most_now[name] - least_before[name]
        delta = used[f"{name}_delta"]
        assert isinstance(delta, int)
        assert least <= delta <= most, name
    assert used["nr_throttled_delta"] != 0
    assert used["cpu_max_pct"] == 20.0
    assert used["memory_max"] == LIMIT
    assert used["memory_high"] == "max"
    assert used["memory_current"] == int((folder / "memory.current").read_text())
    assert used["depth"] == 1
    if (folder / "io.stat").read_text() == "":
        assert used["rbytes_delta"] == used["wbytes_delta"] == 0
    if (folder / "cpu.pressure").exists():
        assert used["cpu_some_pct"] is not None
    # The root has no limits: they are unknown, not 0.
    assert root["cpu_max_pct"] is None
    assert root["memory_max"] is None


def check_text() -> None:
    """The same in text for programs and for people."""
    words = [*os.environ["PTOP"].split(), "-b", "-n", "1", "-d", "1", "--view", "cgroups"]
    run = subprocess.run([*words, "--format", "json"], capture_output=True, text=True)
    assert run.stderr == ""
    assert run.returncode == 0
    (row,) = (row for row in json.loads(run.stdout)["tasks"] if row["cgroup"] == f"/{NAME}")
    print(json.dumps(row))
    assert row["nr_throttled_delta"] > 0
    assert row["memory_max"] == LIMIT
    assert row["parent"] == 0
    assert row["title"] == NAME
    table = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in table.splitlines() if line.endswith(f" {NAME}"))
    assert " 64.0M " in line, table
    assert " 20.00 " in line, table


def check_recorded(folder: Path) -> None:
    """A replay and the history have what was read while it was recorded."""
    columns = [COLUMNS[key] for key in COLUMN_SETS["cgroups"].shown]
    screen = Screen(columns, user=str, offset_s=lambda _: 0, sort="total_pct", tree="cgroup")
    path, copy = "/tmp/cgroups.tsd", "/tmp/copy.tsd"
    history = taskstats.History()
    with taskstats.Source(changed=True, cpu_times=True) as source, taskstats.Recorder(path) as to:
        freeze(folder, True)
        first = source.snapshot()
        least_before = stat(folder)
        to.write(first)
        history.begin(first)
        most_before = stat(folder)
        freeze(folder, False)
        time.sleep(2)
        freeze(folder, True)
        second = source.snapshot()
        least_now = stat(folder)
        to.write(second)
        history.push(taskstats.usage(first, second), source)
        most_now, memory = stat(folder), int((folder / "memory.current").read_text())
        freeze(folder, False)
    kept = history.interval(history.first)
    with taskstats.Recorder(copy) as to:
        completed = kept.completed()
        to.write(completed.prev, kept=kept)
        to.write(completed.cur, kept=kept)
    shown = [screen.values(kept.interval, COLUMN_NAMES, resting=kept)]
    # The file of a history has the readings that were valid at its intervals.
    for recorded in (path, copy):
        (interval,) = Frames(taskstats.open(recorded)).intervals()
        shown.append(screen.values(interval, COLUMN_NAMES))
    for used in (by_path(rows)[f"/{NAME}"] for rows in shown):
        print(json.dumps(used))
        assert used["memory_current"] == memory
        assert used["memory_max"] == LIMIT
        assert used["memory_high"] == "max"
        assert used["cpu_max_pct"] == 20.0
    for used in (by_path(rows)[f"/{NAME}"] for rows in shown[:2]):
        for name in ("nr_periods", "nr_throttled", "throttled_usec"):
            least, most = least_now[name] - most_before[name], most_now[name] - least_before[name]
            assert least <= used[f"{name}_delta"] <= most, name
        assert used["nr_throttled_delta"] != 0
    words = [*os.environ["PTOP"].split(), "replay", path, "-b", "--view", "cgroups"]
    run = subprocess.run([*words, "--format", "json"], capture_output=True, text=True, check=True)
    (row,) = (row for row in json.loads(run.stdout)["tasks"] if row["cgroup"] == f"/{NAME}")
    assert row["memory_max"] == LIMIT
    assert row["nr_throttled_delta"] > 0
    (root,) = (row for row in json.loads(run.stdout)["tasks"] if row["cgroup"] == "/")
    assert root["memory_max"] is None, "the root has no limits"


def main() -> None:
    assert cgroups_not_on_v2() == []
    folder = make()
    child = os.fork()
    if child == 0:
        (folder / "cgroup.procs").write_text("0")
        while True:
            pass
    try:
        check_readings(folder)
        freeze(folder, False)
        check_text()
        check_recorded(folder)
    finally:
        freeze(folder, False)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    # It is gone: nothing of it is known, and nothing fails.
    while "populated 1" in (folder / "cgroup.events").read_text():
        time.sleep(0.01)
    folder.rmdir()
    print("1 passed")


main()
