"""Sentences for screen readers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PTOP = [sys.executable, "-m", "ptop"]
HEAD = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d: \d+ tasks use \d+\.\d % of \d+ % of the CPUs\."


def output(*words: str) -> list[str]:
    done = subprocess.run([*PTOP, *words], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    return done.stdout.splitlines()


def test_each_value_has_its_title() -> None:
    sleeper = subprocess.Popen(["sleep", "31416"])
    try:
        words = ("--plain", "-n", "2", "-d", "0.2", "--filter", f"pid={sleeper.pid}")
        head, row, *rest = output(*words)
        assert re.fullmatch(HEAD, head)
        assert row.startswith(f"sleep: pid {sleeper.pid}, user ")
        assert ", state S, nice 0, threads 1, memory " in row
        assert row.endswith("all CPU time 0.00 %.")
        # Where a value is unknown, such as steal time, nothing is said.
        assert "-" not in row.replace("sleep: ", "")
        assert len(rest) == 2
    finally:
        sleeper.kill()
        sleeper.wait()


def test_ten_tasks_are_told_unless_more_are_asked_for() -> None:
    assert len(output("--plain", "-n", "1", "-d", "0.2")) == 11
    assert len(output("--plain", "-n", "1", "-d", "0.2", "--rows", "12")) == 13


def test_a_replay_tells_its_frames(tmp_path: Path) -> None:
    path = str(tmp_path / "a.tsd")
    subprocess.run([*PTOP, "record", "-o", path, "--for", "0.5", "-d", "0.1"], check=True)
    lines = output("replay", path, "--plain", "--rows", "1")
    assert len(lines) > 2
    assert all(re.fullmatch(HEAD, line) for line in lines[::2])
