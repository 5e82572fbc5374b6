"""Standard streams that are full, closed, or a terminal."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import taskstats

PTOP = [sys.executable, "-m", "ptop"]
NAME = "\x1b]52;c;x\x07=1+1"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_non_blocking_output_gets_whole_lines(unbuffered: str) -> None:
    reading, writing = os.pipe()
    # Less than one line.
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    words = ["-b", "-n", "3", "-d", "0.1", "--format", "json"]
    with subprocess.Popen(
        [*PTOP, *words],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as child:
        os.close(writing)
        # The pipe is full before the first read.
        time.sleep(1)
        with open(reading, "rb") as out:
            lines = out.read().splitlines()
        _, said = child.communicate(timeout=60)
    assert (child.returncode, said) == (0, b"")
    assert len(lines) == 3
    assert max(map(len, lines)) > 4096
    for line in lines:
        assert json.loads(line)["tasks"]


@contextlib.contextmanager
def recorded(name: str, path: Path) -> Iterator[int]:
    """The pid of a busy process of that name, and a recording of it at `path`."""
    busy = (
        f"import ctypes; ctypes.CDLL(None).prctl(15, {name.encode()!r}); print(flush=True)\n"
        "while True: pass"
    )
    with subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        with (
            taskstats.Source("procfs", cpu_times=True) as source,
            taskstats.Recorder(path) as recorder,
        ):
            for _ in range(3):
                recorder.write(source.snapshot())
                time.sleep(0.05)
        yield child.pid
        child.kill()


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A process with a name that steers terminals, and a recording of it."""
    path = tmp_path_factory.mktemp("named") / "dump.tsd"
    with recorded(NAME, path) as pid:
        yield pid, path


# The commands that write CSV.
CSV = (0, 1, 3, 6)


def commands(pid: int, path: Path) -> list[list[str]]:
    return [
        ["-n", "1", "-d", "0.1", "--source", "procfs", "--format", "csv", "--pid", str(pid)],
        ["export", "--columns", "ac_comm,cmdline", str(path)],
        ["export", "--columns", "ac_comm", "--format", "json", str(path)],
        ["replay", "--format", "csv", str(path)],
        ["replay", "-b", str(path)],
        ["report", str(path)],
        ["report", "--format", "csv", str(path)],
    ]


def on_a_terminal(words: list[str]) -> bytes:
    ours, theirs = os.openpty()
    with subprocess.Popen([*PTOP, *words], stdout=theirs, stderr=subprocess.PIPE) as child:
        os.close(theirs)
        shown = b""
        # The end of a terminal is an error.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                shown += piece
        os.close(ours)
    assert child.returncode == 0
    return shown


def test_a_terminal_gets_no_escape_sequence_of_a_name(named: tuple[int, Path]) -> None:
    for words in commands(*named):
        shown = on_a_terminal(words)
        assert b"52;c;x" in shown, words
        assert b"\x1b" not in shown, words
        assert b"\x07" not in shown, words


def test_a_pipe_gets_the_bytes_of_a_name(named: tuple[int, Path]) -> None:
    found = commands(*named)
    for words in (found[at] for at in CSV):
        done = subprocess.run([*PTOP, *words], capture_output=True, check=True)
        cells = [cell for row in csv.reader(io.StringIO(done.stdout.decode())) for cell in row]
        assert any(NAME in cell for cell in cells), words


def test_formulas_are_quoted_on_request(tmp_path: Path) -> None:
    path = tmp_path / "dump.tsd"
    with recorded("=1+1", path) as pid:
        found = commands(pid, path)
        for words in (found[at] for at in CSV):
            for option, expected in (([], "=1+1"), (["--quote-formulas"], "'=1+1")):
                done = subprocess.run(
                    [*PTOP, *words, *option], capture_output=True, text=True, check=True
                )
                rows = csv.reader(io.StringIO(done.stdout))
                cells = {cell.partition(" [")[0] for row in rows for cell in row}
                assert {"=1+1", "'=1+1"} & cells == {expected}, words
