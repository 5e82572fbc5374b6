"""What the tests share: skipping with a reason, which CI does not allow."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest
import taskstats


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


@pytest.fixture(params=["bpf", "netlink", "procfs"])
def source(request: pytest.FixtureRequest, needs: Callable[[bool, str], None]) -> taskstats.Source:
    """Every source of this machine in turn."""
    name: str = request.param
    report = next(report for report in taskstats.sources() if report.name == name)
    needs(report.available, f"{name}: {report.reason}")
    return taskstats.Source(name)


# Everything is loaded first: the interpreter may stand where others may not read.
# Afterwards this can be looked at as any program of that user.
AS_NOBODY = """
import ctypes, os, sys
from ptop import app, batch, cli, doctor, invocation
cli.parser().format_help()
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)
sys.argv[0] = "/opt/venv/bin/ptop"
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def as_nobody(needs: Callable[[bool, str], None]) -> list[str]:
    """The words that start ptop as a user without any privilege."""
    needs(os.geteuid() == 0, "needs root to become another user")
    return [sys.executable, "-c", AS_NOBODY]
