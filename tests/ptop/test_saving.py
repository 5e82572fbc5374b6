"""What `x` saves."""

from __future__ import annotations

import csv
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_view import Live  # type: ignore[import-not-found]

PTOP = [sys.executable, "-m", "ptop"]


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    # The second word is a secret.
    with subprocess.Popen(["sleep", "31416.125"]) as started:
        yield started
        started.kill()


def save(live: Live, key: str, path: Path) -> None:
    live.child.send(key)
    live.until("ptop-2")
    live.child.send(f"\x15{path}\r")


def test_rows_are_saved_without_arguments(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    live = Live(columns=100)
    live.until("Name")
    live.child.send(f"\\pid={sleeper.pid}\r")
    live.until(": 1 of ")
    path = tmp_path / "rows.csv"
    save(live, "x", path)
    live.until("1 row saved to ")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["pid"], row["ac_comm"], row["cmdline"]) == (str(sleeper.pid), "sleep", "sleep")
    assert "31416.125" not in path.read_text()
    # No file is replaced.
    save(live, "x", path)
    live.until("the file exists, choose another name")
    save(live, "\x1bx", tmp_path / "rows.json")
    live.until("1 row saved to ")
    found = json.loads((tmp_path / "rows.json").read_text())
    assert (found["schema"], found["source"]) == (2, json.loads(json.dumps(found))["source"])
    (task,) = found["tasks"]
    assert (task["pid"], task["cmdline"]) == (sleeper.pid, "sleep 31416.125")
    save(live, "x", tmp_path / "no" / "rows.csv")
    live.until("No such file or directory, nothing was written: /")
    live.child.send("q")
    assert live.ended() == 0


def test_all_rows_are_saved_not_those_on_the_screen(tmp_path: Path) -> None:
    live = Live("-d", "5", columns=100)
    live.until("Name")
    live.child.send("\x1b[F")
    path = tmp_path / "rows.csv"
    save(live, "x", path)
    live.until(" rows saved to ")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Pid 1 sleeps, and is scrolled off.
    assert len(rows) > 24
    assert "1" in {row["pid"] for row in rows}
    live.child.send("q")
    assert live.ended() == 0


def test_a_replay_saves_its_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.tsd"
    subprocess.run([*PTOP, "record", "-o", path, "--for", "0.5", "-d", "0.1"], check=True)
    replay = "import sys; from ptop import cli; sys.exit(cli.main(['replay', sys.argv[-1]]))"
    live = Live(str(path), command=[sys.executable, "-c", replay], columns=100)
    live.until("Name")
    save(live, "x", tmp_path / "rows.csv")
    live.until(" rows saved to ")
    live.child.send("q")
    assert live.ended() == 0


def test_under_sudo_the_file_is_that_users(needs: Callable[[bool, str], None]) -> None:
    needs(os.geteuid() == 0, "needs root to become another user")
    path = Path("/tmp") / f"ptop-saved-{os.getpid()}.csv"
    live = Live(columns=100, environment={"SUDO_UID": "65534", "SUDO_GID": "65534"})
    try:
        live.until("Name")
        save(live, "x", path)
        live.until(" rows saved to ")
        assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (65534, 0o600)
    finally:
        path.unlink(missing_ok=True)
    live.child.send("q")
    assert live.ended() == 0
