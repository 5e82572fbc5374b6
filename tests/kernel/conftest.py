"""The versions of the kernel that run today; tools/kernel.py chooses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tools"))

import kernel


@pytest.fixture(params=kernel.chosen())
def version(request: pytest.FixtureRequest) -> str:
    """A version of the kernel."""
    chosen: str = request.param
    return chosen
