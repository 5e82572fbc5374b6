"""The C library under the patched kernel: its source proc, and a copy of /proc/taskstats."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "tests/capi"))

import guest  # noqa: E402, the path is set just before
import kernel  # noqa: E402
import library  # noqa: E402

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(1800)]

COMMAND = """
set -e
cat /proc/taskstats > /tmp/taskstats
/check live proc
/check live netlink
/check exits netlink
/check file /tmp/taskstats
"""


def test_programs_pass(tmp_path: Path, version: str) -> None:
    check = library.installed(tmp_path / "root").program("check", tmp_path, static=True)
    status, output = guest.boot(
        kernel.Kernel(version).image(), [(check, "/check")], COMMAND, show=False
    )
    assert status == 0, output
    assert re.search(r"\d+ records, pids [1-9]\d*, cpu_ns [1-9]\d*, native", output), output
