"""The sources' live tests in machines with Debian's stock kernels.

6.12 walks all tasks in one call, 6.1 has only the task iterator. Nothing is hidden
from BPF there, so that the tests of exactness have their full say.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import guest  # noqa: E402, the path is set just before

pytestmark = [pytest.mark.guest, pytest.mark.timeout(1200)]


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """The test programs of the source crate, built."""
    return guest.rust_tests()


WAYS = {"6.1": "iterator", "6.12": "one call"}
# `taskstats` are the tests that look into the sources: the log, the slots.
PROGRAMS = [(kernel, program) for program in ("bpf", "live", "tree") for kernel in WAYS]


@pytest.mark.parametrize(("kernel", "program"), [*PROGRAMS, ("6.12", "taskstats")])
def test_live_tests_pass(kernel: str, program: str, programs: dict[str, Path]) -> None:
    way = WAYS[kernel]
    command = (
        f"export PRECISE_TOP_NO_SKIP=1 PRECISE_TOP_WAY='{way}' PRECISE_TOP_OWN_MACHINE=1; "
        f"/{program} --test-threads=1 2>&1"
    )
    status, output = guest.boot(
        kernel, [(programs[program], f"/{program}")], command, show=False, timeout=900
    )
    assert status == 0, output
    assert "test result: ok" in output


def test_the_harness_sees_a_failure() -> None:
    status, output = guest.boot("6.12", [], "echo seen; exit 3", show=False)
    assert status == 3
    assert "seen" in output
