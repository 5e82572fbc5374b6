"""Under sudo: what is opened as root, and what is done as the user who called it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
import taskstats

NOBODY = 65534
PTOP = [sys.executable, "-m", "ptop"]
SUDO = {**os.environ, "SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY)}
COMMANDS = [
    ["check", "a.tsd", "b.tsd"],
    ["report", "*.tsd"],
    ["report", "a.tsd", "--format", "csv", "--from", "2020-01-01"],
    ["export", "[ab].tsd", "--columns", "ac_pid"],
    ["replay", "-b", "a.tsd"],
    ["replay", "a.tsd", "--format", "json", "--at", "+0s"],
    *(
        ["export", "a.tsd", "b.tsd", "-o", f"out.{suffix}"]
        for suffix in ("csv", "jsonl", "arrow", "parquet")
    ),
]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root calls as another user")


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """A directory of root alone, with two recordings."""
    path = tmp_path / "roots"
    path.mkdir(0o700)
    with (
        taskstats.Recorder(path / "a.tsd") as recorder,
        taskstats.Source("procfs", cpu_times=True) as source,
    ):
        for _ in range(3):
            recorder.write(source.snapshot())
            time.sleep(0.02)
    shutil.copy(path / "a.tsd", path / "b.tsd")
    return path


def run(words: list[str], directory: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PTOP, *(str(directory / word) if "tsd" in word or "out." in word else word
                  for word in words)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**SUDO, **more},
    )  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_files_of_root_are_read_and_written(words: list[str], roots: Path) -> None:
    done = run(words, roots)
    assert (done.returncode, done.stderr) == (0, "")
    output = roots / words[-1] if "-o" in words else None
    assert output is None or output.stat().st_size > 0
    assert output is None or stat.S_IMODE(output.stat().st_mode) == 0o600
    assert len(list(roots.iterdir())) == (3 if output else 2)
    # The same without sudo.
    if output is None:
        alone = subprocess.run(
            [*PTOP, *words], cwd=roots, capture_output=True, text=True, check=False
        )
        assert alone.stdout == done.stdout.replace(f"{roots}/", "")


# Reports who reads: each `Dump.check`, `Dump.times_ns` … runs after taskstats.open returned.
SPY = """
import os, sys, taskstats
from ptop import cli
opened = taskstats.open
def spy(*words, **more):
    status = open("/proc/self/status").read().split("\\n")
    held = [line.split()[1:] for line in status if line[:4] in ("Uid:", "CapP", "CapE")]
    print(held, file=sys.stderr)
    return opened(*words, **more)
taskstats.open = spy
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("sudo", [True, False], ids=["sudo", "root"])
def test_dumps_are_read_without_privilege(words: list[str], roots: Path, sudo: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPY, *words],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=SUDO if sudo else None,
        cwd=roots,
    )
    assert done.returncode == 0
    lines = set(done.stderr.splitlines())
    without = str([[str(NOBODY)] * 4, ["0" * 16], ["0" * 16]])
    if sudo:
        assert lines == {without}
    else:
        (line,) = lines
        assert line.startswith("[['0', '0', '0', '0'], ")
        assert "0" * 16 not in line


def test_a_replay_on_a_terminal_is_the_callers(roots: Path) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "ptop", "replay", str(roots / "a.tsd"), "--at", "+0s"],
        env=SUDO,
        timeout=60,
        dimensions=(24, 80),
    )
    child.expect("frame 1 of 2")
    status = Path(f"/proc/{child.pid}/status").read_text()
    assert f"Uid:\t{NOBODY}\t{NOBODY}" in status
    child.send("l")
    child.send("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_failed_export_leaves_nothing(roots: Path) -> None:
    (roots / "out.csv").write_text("before")
    done = run(["export", "a.tsd", "-o", "out.csv", "--from", "2040-01-01"], roots)
    assert done.returncode == 2
    assert "no interval from 2040-01-01" in done.stderr
    done = run(["export", "a.tsd", "none.tsd", "-o", "out.csv"], roots)
    assert done.returncode == 1
    assert f"{roots}/none.tsd: No such file" in done.stderr
    assert (roots / "out.csv").read_text() == "before"
    assert len(list(roots.iterdir())) == 3


def test_a_recording_says_as_whom_it_is_written(roots: Path, tmp_path: Path) -> None:
    done = run(["record", "-o", "new.tsd", "--for", "0.1"], roots)
    assert done.returncode == 1
    assert done.stderr == (
        f"ptop: {roots}/new.tsd: Permission denied; ptop works as nobody, who called sudo: give the"
        " name of a file that nobody may open, or work as root with: env -u SUDO_UID ptop\n"
    )
    theirs = roots.parent / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    for parent in theirs.parents:
        if parent.stat().st_uid == 0 and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o111)
    done = run(["record", "-o", "new.tsd", "--for", "0.1"], theirs)
    assert done.returncode == 0
    assert done.stderr.endswith(f" snapshots were written to {theirs}/new.tsd as nobody\n")
    assert (theirs / "new.tsd").stat().st_uid == NOBODY
    # Without SUDO_UID, root writes.
    done = run(["record", "-o", "new.tsd", "--for", "0.1"], roots, SUDO_UID="")
    assert done.stderr.endswith(f" snapshots were written to {roots}/new.tsd\n")
    assert (roots / "new.tsd").stat().st_uid == 0


def test_a_command_under_sudo_is_roots(roots: Path) -> None:
    done = run(["run", "-o", "/dev/null", "--", "id", "-u"], roots)
    assert (done.returncode, done.stdout) == (0, "0\n")


def test_python_m_ptop_imports_nothing_from_the_current_directory(
    tmp_path: Path, needs: Callable[[bool, str], None]
) -> None:
    for name in ("csv", "json", "argparse", "taskstats", "shlex", "curses"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('imported {name}')\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    for words in (["doctor"], ["-b", "-n", "1", "-d", "0.1", "--format", "csv"]):
        done = subprocess.run(
            [*PTOP, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_hints_name_the_program() -> None:
    code = "from ptop.text import as_root; print(as_root('doctor'))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    beside = Path(sys.executable).with_name("ptop")
    assert said.stdout == f"sudo {beside if beside.exists() else 'ptop'} doctor\n"
