"""The Rust tests of the sources, run under the patched kernel."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import guest  # noqa: E402, the path is set just before
import kernel  # noqa: E402

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    """Builds the test programs of the source crate."""
    return guest.rust_tests()


@pytest.mark.parametrize("cpus", [2, 4])
@pytest.mark.parametrize(
    ("program", "chosen", "way"),
    [("proc", "", ""), ("live", "", ""), ("live", "", "sweep"), ("unit", "proc::", "")],
)
def test_live_tests_pass(
    version: str, program: str, chosen: str, way: str, cpus: int, programs: dict[str, Path]
) -> None:
    """`way` makes the netlink source ask task by task, as on stock kernels."""
    command = (
        f"export PRECISE_TOP_NO_SKIP=1 PRECISE_TOP_PROC=1 PRECISE_TOP_NETLINK_WAY={way}; "
        f"/tests/{program} --test-threads=1 {chosen} 2>&1"
    )
    status, output = guest.boot(
        kernel.Kernel(version).image(),
        [(programs[program], f"/tests/{program}")],
        command,
        cpus=cpus,
        memory="2G",
        append=kernel.STABLE_CLOCK,
        timeout=900,
        show=False,
    )
    assert status == 0, output
    assert "test result: ok" in output
    assert "skipped: the kernel has no /proc/taskstats" not in output
