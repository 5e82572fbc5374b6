"""Sentences for screen readers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PTOP = [sys.executable, "-m", "ptop"]
HEAD = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d: \d+ tasks use \d+\.\d % of \d+ % of the CPUs\."


def output(*words: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [*PTOP, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )
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


BUSY = "import os, time; os.sched_setaffinity(0, {0})\nwhile True: pass"


def test_waits_are_words_and_bars_are_left_out() -> None:
    # Of two on a CPU, each waits for it half of the time.
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]
    try:
        columns = "pid,wait,spark,wait_pct,wait_ms,wait_longest,name"
        pids = ",".join(str(process.pid) for process in busy)
        words = ("--plain", "-n", "3", "-d", "0.5", "--pid", pids, "--columns", columns)
        told = [line for line in output(*words) if "wait" in line]
        # The longest wait is not known everywhere.
        wait = r"wait (none|[A-Za-z ]+ \d+\.\d+"
        pattern = rf"python\S*: pid \d+, {wait} %), {wait} %), {wait} ms)(, longest .*)?\."
        for line in told:
            assert re.fullmatch(pattern, line), line
        assert any(
            re.search(r"wait CPU .* %, wait CPU .* %, wait CPU .* ms", line) for line in told
        )
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_the_columns_are_those_of_text(tmp_path: Path) -> None:
    # Neither those of a screen nor those of the setup file.
    (tmp_path / "ptop").mkdir()
    (tmp_path / "ptop/config.toml").write_text('[screen.live]\ncolumns = ["pid", "name"]')
    words = ("--plain", "-n", "1", "-d", "0.2", "--rows", "3")
    _, *rows = output(*words, XDG_CONFIG_HOME=str(tmp_path))
    for row in rows:
        assert ", state " in row
        assert "60s" not in row
        assert " wait " not in row


def test_ten_tasks_are_told_unless_more_are_asked_for() -> None:
    assert len(output("--plain", "-n", "1", "-d", "0.2")) == 11
    assert len(output("--plain", "-n", "1", "-d", "0.2", "--rows", "12")) == 13


def test_a_replay_tells_its_frames(tmp_path: Path) -> None:
    path = str(tmp_path / "a.tsd")
    subprocess.run([*PTOP, "record", "-o", path, "--for", "0.5", "-d", "0.1"], check=True)
    lines = output("replay", path, "--plain", "--rows", "1")
    assert len(lines) > 2
    assert all(re.fullmatch(HEAD, line) for line in lines[::2])
