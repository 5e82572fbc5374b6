"""What snapshots lack here is told: exits that cannot be read, other pid namespaces."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable

import pexpect
import pytest
import taskstats
from without_threads import WITHOUT_THREADS  # type: ignore[import-not-found]

PTOP = [sys.executable, "-m", "ptop"]
ONLY_OWN = "only the tasks of this pid namespace are shown"
AT_SNAPSHOTS = "exits are read at snapshots only, and some may be lost: "

NO_THREADS = (
    """
import ctypes, os, sys
"""
    + WITHOUT_THREADS
    + """
os.execv(sys.executable, [sys.executable, "-m", "ptop", *sys.argv[1:]])
"""
)
WITHOUT = [sys.executable, "-c", NO_THREADS]
UNSHARED = ["unshare", "--pid", "--fork", "--mount-proc"]
BATCH = ["-b", "-n", "1", "-d", "0.1"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*words], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(params=["bpf", "netlink", "procfs"])
def with_exits(request: pytest.FixtureRequest, needs: Callable[[bool, str], None]) -> str:
    """A source that reads exits here."""
    name: str = request.param
    report = next(report for report in taskstats.sources() if report.name == name)
    needs(report.available, f"{name}: {report.reason}")
    with taskstats.Source(name, exact=True) as source:
        source.snapshot()
        needs(not source.notice, f"{name} reads all exits: {source.notice}")
    needs(os.geteuid() == 0, "exits need root")
    return name


def test_without_threads_exits_are_read_at_snapshots(with_exits: str) -> None:
    for words in (BATCH, ["audit", "-n", "1", "-d", "0.2"]):
        done = run(*WITHOUT, *words, "--source", with_exits)
        assert done.returncode in {0, 1, 2} if words != BATCH else done.returncode == 0
        assert done.stderr.startswith(f"ptop: warning: {AT_SNAPSHOTS}")
        assert "ulimit -u" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert with_exits in done.stdout
    child = pexpect.spawn(
        WITHOUT[0], [*WITHOUT[1:], "--source", with_exits], timeout=60, dimensions=(24, 120)
    )
    child.expect_exact(AT_SNAPSHOTS)
    child.send("q")
    child.expect(pexpect.EOF)


def test_doctor_tells_that_no_thread_can_be_started() -> None:
    done = run(*WITHOUT, "doctor")
    lines = [line for line in done.stdout.splitlines() if line.split()[1:2] == ["yes"]]
    sources = [line for line in lines if not line.startswith("delayacct")]
    assert sources
    assert all(AT_SNAPSHOTS in line for line in sources)
    assert AT_SNAPSHOTS not in run(*PTOP, "doctor").stdout


@pytest.mark.parametrize("files", [12, 16, 20, 24, 26, 28, 30, 31, 32, 34, 40])
def test_few_open_files_are_told(files: int) -> None:
    done = subprocess.run(
        [*PTOP, *BATCH],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )
    assert done.returncode in {0, 1}
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.stderr.splitlines()[-1].endswith(
            "Too many open files; allow more open files: see ulimit -n"
        )
    else:
        assert "source " in done.stdout
        assert done.stderr.count("\n") <= 1


def test_in_a_pid_namespace_its_tasks_are_told_to_be_all(
    needs: Callable[[bool, str], None],
) -> None:
    needs(run(*UNSHARED, "true").returncode == 0, "needs root to make a pid namespace")
    for report in taskstats.sources():
        if not report.available:
            continue
        done = run(*UNSHARED, *PTOP, *BATCH, "--source", report.name)
        assert done.returncode == 0
        assert f"ptop: warning: {ONLY_OWN}" in done.stderr
    doctor = run(*UNSHARED, *PTOP, "doctor").stdout
    assert ONLY_OWN in doctor
    child = pexpect.spawn(UNSHARED[0], [*UNSHARED[1:], *PTOP], timeout=60, dimensions=(24, 80))
    child.expect_exact(ONLY_OWN)
    child.send("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
