"""What the tests share: skipping with a reason, which CI does not allow."""

from __future__ import annotations

import os
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
