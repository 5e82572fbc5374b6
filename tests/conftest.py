"""Shared fixtures: skips with a reason, which CI turns into failures."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import taskstats

# Tests signal the programs that they start, which inherit what nohup and shells ignore.
for number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)


@pytest.fixture
def needs() -> Callable[[bool, str], None]:
    """`needs(condition, reason)` skips, or fails where PRECISE_TOP_NO_SKIP is set."""

    def check(condition: bool, reason: str) -> None:
        if condition:
            return
        if os.environ.get("PRECISE_TOP_NO_SKIP"):
            pytest.fail(f"must run here: {reason}")
        pytest.skip(reason)

    return check


@pytest.fixture
def cgroups(needs: Callable[[bool, str], None]) -> Path:
    """Where cgroup v2 is mounted, on a machine whose snapshots have the ids of cgroups."""
    mount = taskstats._core.cgroup_mount()
    with taskstats.Source() as source:
        fills = source.name in {"bpf", "proc"}
    needs(mount is not None and fills, "cgroup v2 and its ids in snapshots")
    assert mount is not None
    return Path(mount)


@pytest.fixture(params=["bpf", "netlink", "procfs"])
def source(request: pytest.FixtureRequest, needs: Callable[[bool, str], None]) -> taskstats.Source:
    """Every source of this machine, one at a time."""
    name: str = request.param
    report = next(report for report in taskstats.sources() if report.name == name)
    needs(report.available, f"{name}: {report.reason}")
    return taskstats.Source(name)


# Load everything first: other users may not be able to read the interpreter's files.
# PR_SET_DUMPABLE makes the process readable to its new user again.
AS_NOBODY = """
import csv, ctypes, importlib, os, shlex, sys
from ptop import cli
from ptop.commands import batch, top
from ptop.live import app
for module in cli.MODULES.values():
    importlib.import_module(module)
cli.parser().format_help()
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)
sys.argv[0] = "/opt/venv/bin/ptop"
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def as_nobody(needs: Callable[[bool, str], None]) -> list[str]:
    """The command that starts ptop as a user without any privilege."""
    needs(os.geteuid() == 0, "needs root to become another user")
    return [sys.executable, "-c", AS_NOBODY]
