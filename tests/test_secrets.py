"""Arguments are shown and recorded where that is wanted, and an environment nowhere."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import taskstats

PTOP = [sys.executable, "-m", "ptop"]
# In two parts, so that no other process has the words among its arguments.
ARGUMENT = "argument" + "-7c1f9a3e"
VARIABLE = "variable" + "-5b8e2d60"
SLEEPER = "import signal, sys; sys.stdin.close(); print(flush=True); signal.pause()"


@pytest.fixture(scope="module")
def pid() -> Iterator[int]:
    """A process with a secret in its arguments and one in its environment."""
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER, f"--password={ARGUMENT}"],
        env={**os.environ, "PASSWORD": VARIABLE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            assert VARIABLE.encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
            yield process.pid
        finally:
            process.send_signal(signal.SIGKILL)


def output(words: Sequence[str | Path]) -> bytes:
    done = subprocess.run([*PTOP, *map(str, words)], capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def on_a_terminal(words: Sequence[str]) -> bytes:
    """What a live view writes in two frames."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", LINES="200", COLUMNS="400")
        os.execv(sys.executable, [*PTOP, *words])
    written, end = b"", time.monotonic() + 60
    try:
        while time.monotonic() < end:
            if select.select([terminal], [], [], 1.0)[0]:
                written += os.read(terminal, 1 << 16)
    except OSError:
        pass
    os.close(terminal)
    os.waitpid(child, 0)
    return written


def recorded(directory: Path, *options: str) -> dict[str, bytes]:
    """A recording with these options, and all that reads it."""
    dump = directory / "dump.tsd"
    found = {
        "record": output(["record", "-o", dump, "-d", "0.2", "--for", "1", *options]),
        "dump": dump.read_bytes(),
        "unpacked": b"".join(snapshot.to_bytes() for snapshot in taskstats.open(dump)),
        "check": output(["check", dump]),
        "replay": output(["replay", dump, "-b"]),
        "replay json": output(["replay", dump, "-b", "--format", "json"]),
        "report": output(["report", dump]),
        "report json": output(["report", dump, "--format", "json"]),
    }
    for suffix in ("csv", "jsonl", "arrow", "parquet"):
        file = directory / f"rows.{suffix}"
        output(["export", dump, "-o", file])
        found[suffix] = file.read_bytes()
    found["export"] = output(["export", dump, "-o", "-", "--columns", "ac_comm,cmdline"])
    columns = taskstats.read(str(dump), ["ac_pid", "cmdline"])
    found["columns"] = repr(pyarrow.table(columns).to_pylist()).encode()
    return found


def live(pid: int) -> dict[str, bytes]:
    return {
        "batch": output(["-b", "-n", "1", "--rows", "100000"]),
        "json": output(["-b", "-n", "2", "-d", "0.2", "--format", "json"]),
        "csv": output(["-b", "-n", "2", "-d", "0.2", "--format", "csv"]),
        "audit": output(["audit", "-d", "0.2", "-n", "1"]),
        "doctor": output(["doctor"]),
        "run": output(["run", "--format", "json", "-o", "-", "true"]),
        "screen": on_a_terminal(["-n", "2", "-d", "0.2", "--pid", str(pid)]),
    }


def test_no_output_has_the_environment(pid: int, tmp_path: Path) -> None:
    found = live(pid) | recorded(tmp_path)
    assert [name for name, text in found.items() if VARIABLE.encode() in text] == []
    # The search finds what is there.
    shown = {name for name, text in found.items() if ARGUMENT.encode() in text}
    assert shown >= {"csv", "jsonl", "export", "columns"}


def test_a_recording_without_command_lines_has_no_argument(pid: int, tmp_path: Path) -> None:
    for name, text in recorded(tmp_path, "--no-cmdline").items():
        assert ARGUMENT.encode() not in text, name
        assert VARIABLE.encode() not in text, name


def test_standard_output_has_a_name(pid: int, tmp_path: Path) -> None:
    del pid
    dump = tmp_path / "dump.tsd"
    output(["record", "-o", dump, "-d", "0.2", "--for", "1"])
    for words in (
        ["export", dump, "-o", "-", "--format", "csv"],
        ["export", dump, "-o", "-", "--format", "parquet"],
        ["run", "-o", "-", "true"],
    ):
        command = [*PTOP, *map(str, words)]
        done = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path, timeout=60)
        assert done.stdout
        assert not (tmp_path / "-").exists()
    exported = [*PTOP, "export", str(dump), "-o", "-", "--format", "parquet"]
    rows = subprocess.run(exported, capture_output=True, check=True, timeout=60).stdout
    assert pyarrow.parquet.read_table(io.BytesIO(rows)).num_rows > 0
