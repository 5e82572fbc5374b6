"""The series' own selftests, in machines with the patched kernel.

`make kernel` has built both; the programs speak TAP. Where something is there to be
tested, a skip is a failure.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import guest  # noqa: E402, the path is set just before
import kernel  # noqa: E402
import stock_kernels  # noqa: E402

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(3600)]

NAMES = ["exits", "netlink", "proc", "steal"]
# The clock of an emulated CPU that is ahead of the others stands still until they have caught up:
# "proc" reads it before and after a snapshot. Such a machine shows nothing, and is booted again.
STOOD_STILL = re.compile(r"# clock (\d+)\.\.\1 record")


def run(
    booted: kernel.Kernel, name: str, *, cpus: int = 2, append: str = "", timeout: float = 900
) -> tuple[int, str]:
    programs = {program.name: program for program in booted.selftests()}
    # Skip the kernel's own output.
    command = f"/tests/{name}; status=$?; echo the kernel says; dmesg; exit $status"
    for _ in range(3):
        status, output = guest.boot(
            booted.image(),
            [(programs[name], f"/tests/{name}")],
            command,
            cpus=cpus,
            memory="2G",
            append=f"{kernel.STABLE_CLOCK} {append}",
            timeout=timeout,
            show=False,
        )
        if not STOOD_STILL.search(output):
            break
    keep(booted, f"{name}-{cpus}{append and '-' + append}", output)
    return status, output


def keep(booted: kernel.Kernel, name: str, output: str) -> None:
    """Keeps a selftest's output and the kernel's messages in dist/kselftest, for reviewers."""
    variant = f"{booted.version}{booted.checks and '-' + booted.checks}"
    kept = ROOT / "dist/kselftest" / variant / f"{name}.tap"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(output)


def assert_passed(status: int, output: str) -> None:
    tap, _, messages = output.partition("the kernel says")
    assert status == 0, tap
    assert re.search(r"# Totals: pass:[1-9]\d* fail:0 xfail:0 xpass:0 skip:0 error:0", tap), tap
    assert not kernel.COMPLAINTS.search(messages), messages


def test_every_selftest_is_run(version: str) -> None:
    assert [program.name for program in kernel.Kernel(version).selftests()] == NAMES


@pytest.mark.parametrize("cpus", [2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_selftest(version: str, name: str, cpus: int) -> None:
    assert_passed(*run(kernel.Kernel(version), name, cpus=cpus))


def test_steal_time_that_only_the_tick_accounts(version: str) -> None:
    assert_passed(*run(kernel.Kernel(version), "steal", append="test_steal.tick=1"))


def test_a_kernel_without_the_series_skips() -> None:
    """The harness reports a skip as a skip, not as a success."""
    programs = {program.name: program for program in kernel.Kernel().selftests()}
    image = stock_kernels.find("6.12").image
    status, output = guest.boot(image, [(programs["proc"], "/proc-test")], "/proc-test", show=False)
    assert "SKIP this kernel has no /proc/taskstats" in output
    with pytest.raises(AssertionError):
        assert_passed(status, output)


@pytest.mark.debug_kernel
@pytest.mark.parametrize("name", NAMES)
def test_under_the_kernels_own_checks(version: str, name: str) -> None:
    """lockdep, KASAN and DEBUG_ATOMIC_SLEEP stay silent."""
    booted = kernel.Kernel(version, checks="debug")
    assert_passed(*run(booted, name, timeout=3000))


@pytest.mark.debug_kernel
def test_no_data_race_in_a_storm(version: str) -> None:
    """KCSAN stays silent about the series' functions."""
    booted = kernel.Kernel(version, checks="kcsan")
    _, output = run(booted, "exits", timeout=3000)
    reports = re.findall(r"BUG: KCSAN: .*", output)
    assert not [report for report in reports if re.search("exact|taskstats", report)], output
