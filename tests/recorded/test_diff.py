"""`ptop diff`: what is compared are names and cgroups, whatever their pids and boots."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import taskstats

DIFF = [sys.executable, "-m", "ptop", "diff"]


def busy(share: float) -> subprocess.Popen[bytes]:
    """A process that uses a share of a CPU, under a name of its own."""
    script = (
        "import time\n"
        "open('/proc/self/comm', 'w').write('worker')\n"
        "while True:\n"
        f"    end = time.thread_time() + 0.02 * {share}\n"
        "    while time.thread_time() < end: pass\n"
        f"    time.sleep(0.02 * (1 - {share}))\n"
    )
    return subprocess.Popen([sys.executable, "-c", script])


def record(path: Path, share: float, count: int = 12) -> None:
    """Record a machine with a worker."""
    worker = busy(share)
    try:
        with taskstats.Source(changed=True) as source, taskstats.Recorder(path) as recorder:
            for _ in range(count):
                recorder.write(source.snapshot())
                subprocess.run(["sleep", "0.1"], check=True)
    finally:
        worker.kill()
        worker.wait()


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("diff")
    calm, loaded = directory / "calm.tsd", directory / "loaded.tsd"
    record(calm, 0.05)
    record(loaded, 0.6)
    return calm, loaded


def diff(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*DIFF, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def compared(*words: str | Path) -> dict[str, Any]:
    done = diff(*words, "--format", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def row_of(found: dict[str, Any], name: str) -> dict[str, Any]:
    (row,) = (row for row in found["rows"] if row.get("name") == name)
    return dict(row)


def test_tasks_are_matched_by_name_and_cgroup(dumps: tuple[Path, Path]) -> None:
    found = compared(*dumps)
    worker = row_of(found, "worker")
    assert worker["cgroup"]
    cpu = worker["cpu"]
    assert cpu["b"] > cpu["a"] > 0
    assert cpu["change"] == pytest.approx(cpu["b"] - cpu["a"])
    assert cpu["percent"] == pytest.approx(100 * cpu["change"] / cpu["a"])
    assert cpu["a_spread"] > 0
    # The values are those of the recording's intervals.
    for side, dump in zip("ab", dumps, strict=True):
        snapshots = list(taskstats.open(dump))
        pairs = itertools.pairwise(snapshots)
        intervals = [taskstats.usage(*pair) for pair in pairs]
        used = sum(row.total_ns or 0 for one in intervals for row in one if row.title == "worker")
        length = sum(one.interval_ns for one in intervals)
        assert cpu[side] == pytest.approx(100 * used / length)
        assert found[side]["interval_ns"] == length


def test_the_spans_of_one_dump_are_compared(dumps: tuple[Path, Path]) -> None:
    _, dump = dumps
    times = taskstats.open(dump).times_ns
    middle = f"@{times[len(times) // 2] / 1e9:.9f}"
    found = compared(dump, "--a", f"..{middle}", "--b", f"{middle}..")
    # An interval is in one of them.
    assert found["a"]["to"] == found["b"]["from"]
    lengths = [found[side]["interval_ns"] for side in "ab"]
    assert sum(lengths) == compared(dump, dump)["a"]["interval_ns"]
    assert row_of(found, "worker")["cpu"]["a"] > 0
    same = compared(dump, "--a", "..", "--b", "..")
    assert all(row["cpu"]["change"] in {0, None} for row in same["rows"])
    total = [row for row in same["rows"] if row["total"]]
    assert len(total) == 1


def test_a_regression_is_an_exit_status(dumps: tuple[Path, Path]) -> None:
    done = diff(*dumps, "--fail-above", "cpu:50")
    assert done.returncode == 3
    assert "ptop: cpu of worker" in done.stderr
    done = diff(*dumps[::-1], "--fail-above", "cpu:50", "--format", "json")
    assert row_of(json.loads(done.stdout), "worker")["cpu"]["grown"] is False
    # A small change is none, whatever its percentage.
    done = diff(*dumps, "--fail-above", "cpu:50", "--min-change", "cpu:100000")
    assert done.returncode == 0
    assert done.stderr == ""
    # A span has not grown against itself.
    before = diff(dumps[0], dumps[0], "--fail-above", "cpu:0", "--min-change", "cpu:0")
    assert before.returncode == 0


def test_the_table_has_the_largest_changes_first(dumps: tuple[Path, Path]) -> None:
    done = diff(*dumps, "--rows", "3", "--by", "name")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"A  {dumps[0]}")
    assert lines[1].startswith(f"B  {dumps[1]}")
    assert lines[3] == "cpu, % of a CPU"
    assert lines[4].split() == ["A", "±", "B", "±", "change", "%", "name"]
    assert lines[5].endswith("  total")
    assert 6 < len(lines) <= 9
    changes = [abs(float(line.split()[4])) for line in lines[6:]]
    assert changes == sorted(changes, reverse=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--a TIME..TIME --b TIME..TIME"),
        (["--a", "+1s"], "is no span"),
        (["--a", "..", "--b", "..", "--fail-above", "rss:3"], "columns: cpu, delay"),
        (["--a", "..", "--b", "..", "--by", "pid"], "give some of name, cgroup, user"),
        (["--a", "2001-01-01 00:00:00..2001-01-02 00:00:00", "--b", ".."], "no interval from"),
    ],
)
def test_wrong_words_are_explained(
    dumps: tuple[Path, Path], words: list[str], message: str
) -> None:
    done = diff(dumps[0], *words)
    assert done.returncode == 2
    assert message in done.stderr
