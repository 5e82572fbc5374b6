"""A recording that all tests in this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest
from machine import record  # type: ignore[import-not-found]


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of eight snapshots."""
    path = tmp_path_factory.mktemp("recording") / "machine.tsd"
    record(path, 8)
    return path
