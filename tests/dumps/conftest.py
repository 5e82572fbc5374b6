"""Snapshots of this machine, and a dump of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import taskstats
from written import taken, write  # type: ignore[import-not-found]


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return tmp_path / "dump.tsd"


@pytest.fixture(scope="session")
def written() -> list[taskstats.Snapshot]:
    snapshots: list[taskstats.Snapshot] = taken(taskstats.Source(exact=True), 9)
    return snapshots


@pytest.fixture
def recorded(dump: Path, written: list[taskstats.Snapshot]) -> Path:
    write(dump, written, full_every=4)
    return dump
