"""Trees as text for people and for programs."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_view import PTOP  # type: ignore[import-not-found]

# A process that lives, with a child that lives and children that die.
FAMILY = """
import subprocess, sys, time
living = subprocess.Popen(["sleep", "100"])
print(living.pid, flush=True)
try:
    while True:
        subprocess.run(["true"])
        time.sleep(0.02)
finally:
    living.kill()
"""
Row = dict[str, Any]


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """The pids of a process and of its living child."""
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.terminate()


def run(*words: str) -> str:
    done = subprocess.run(
        [*PTOP, "-b", "-n", "1", "-d", "0.5", *words], capture_output=True, text=True, check=True
    )
    return done.stdout


def rows_of(*words: str) -> list[Row]:
    rows: list[Row] = json.loads(run("--format", "json", *words))["tasks"]
    return rows


def check_tree(rows: list[Row]) -> None:
    """Parents come before their children, one level above."""
    for at, row in enumerate(rows):
        if row["parent"] is None:
            assert row["depth"] == 0
        else:
            assert row["parent"] < at
            assert rows[row["parent"]]["depth"] == row["depth"] - 1


@pytest.mark.parametrize("words", [("--tree",), ("--view", "tree")])
def test_json_has_the_place_of_each_task_in_the_tree(
    family: tuple[int, int], words: tuple[str, ...]
) -> None:
    rows = rows_of(*words)
    check_tree(rows)
    parent, child = family
    (row,) = (row for row in rows if row["pid"] == child)
    above = rows[row["parent"]]
    assert above["pid"] == parent
    # What died is under what started it, and counts there.
    dead = [row for row in rows if row["parent"] is not None and rows[row["parent"]] is above]
    assert {row["title"] for row in dead} >= {"sleep", "true"}
    assert above["tasks"] >= 1 + sum(row["tasks"] for row in dead)
    assert above["total_ns"] >= sum(row["total_ns"] for row in dead)


def test_the_sum_over_the_roots_is_that_of_the_interval() -> None:
    (line,) = run("--format", "json", "--tree").splitlines()
    interval = json.loads(line)
    roots = [row for row in interval["tasks"] if row["depth"] == 0]
    assert sum(row["total_ns"] for row in roots) == interval["sum"]["total_ns"]


def test_a_table_draws_the_branches(family: tuple[int, int]) -> None:
    lines = run("--tree", "--columns", "pid,command").splitlines()
    rows = [line for line in lines if line[:7].strip().isdigit()]
    parent, child = (
        next(line for line in rows if int(line[:7]) == pid).ljust(80) for pid in family
    )
    assert child.index("sleep") == parent.index("python") + 2
    assert child[child.index("sleep") - 2] in "├└"


def test_csv_has_the_same_places(family: tuple[int, int]) -> None:
    rows = list(csv.DictReader(io.StringIO(run("--format", "csv", "--tree"))))
    (row,) = (row for row in rows if row["pid"] == str(family[1]))
    assert rows[int(row["parent"])]["pid"] == str(family[0])
    assert int(row["depth"]) > 0


def test_the_dead_are_under_their_names(family: tuple[int, int]) -> None:
    rows = rows_of("--view", "dead")
    check_tree(rows)
    (group,) = (row for row in rows if row["title"] == "true" and row["depth"] == 0)
    below = [row for row in rows if row["parent"] == rows.index(group)]
    assert len(below) == group["tasks"] > 1
    assert all(row["exited"] and row["ac_comm"] == "true" for row in below)


def test_cgroups_have_their_paths(needs: Callable[[bool, str], None]) -> None:
    text = Path("/proc/self/cgroup").read_text()
    own = next((line[3:] for line in text.splitlines() if line.startswith("0::")), None)
    needs(own is not None, "cgroup v2 is not mounted")
    rows = rows_of("--view", "cgroups", "--source", "bpf")
    check_tree(rows)
    paths = [row["cgroup"] for row in rows]
    assert own in paths
    assert rows[paths.index("/")]["title"] == "/"
    for row in rows:
        if row["parent"] is not None:
            assert row["cgroup"].startswith(rows[row["parent"]]["cgroup"])
    assert "exited" not in rows[paths.index(own)]


def test_a_filter_keeps_the_ancestors(family: tuple[int, int]) -> None:
    rows = rows_of("--tree", "--filter", f"ac_pid = {family[1]}")
    check_tree(rows)
    assert [row["pid"] for row in rows][-2:] == list(family)


def test_sentences_say_the_level(family: tuple[int, int]) -> None:
    lines = run("--tree", "--plain", "--columns", "pid,name").splitlines()
    (line,) = (
        line for line in run("--tree", "--plain", "--rows", "9999", "--columns", "pid,name")
        .splitlines() if f"pid {family[1]}" in line
    )  # fmt: skip
    assert line.startswith("sleep: level ")
    assert lines


def test_a_replay_prints_the_same_trees(family: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "a.tsd"
    record = [*PTOP, "record", "--for", "1", "-d", "0.3", "-o", str(path)]
    subprocess.run(record, check=True, capture_output=True)
    for view in ("tree", "cgroups", "dead"):
        words = [*PTOP, "replay", "-n", "1", "--format", "json", "--view", view, str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        rows = json.loads(done.stdout.splitlines()[0])["tasks"]
        check_tree(rows)
        if view == "tree":
            (row,) = (row for row in rows if row["pid"] == family[1])
            assert rows[row["parent"]]["pid"] == family[0]
        if view == "cgroups":
            # What the files said at that time is not recorded: unknown, not what they say now.
            assert all(row["memory_max"] is None for row in rows)
