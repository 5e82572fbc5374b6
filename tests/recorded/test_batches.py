"""`read` in batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import taskstats
from machine import damage, record  # type: ignore[import-not-found]
from taskstats.recorded import tuples

ROOT = Path(__file__).parent.parent.parent
# Writes 301 snapshots of 567 tasks.
WRITES = """
import sys
from pathlib import Path
from tests.bench import recordings
recordings.write(Path(sys.argv[1]), 301, 567)
"""
# Counts the rows of all batches, and prints its peak memory in KiB.
READS = """
import sys, taskstats
rows = sum(len(batch) for batch in taskstats.read(sys.argv[1:], batches=True))
# The peak of getrusage(2) includes the image that started this one.
status = open("/proc/self/status").read()
print(rows, status.partition("VmHWM:")[2].split()[0])
"""


def test_batches_have_the_rows_of_read(recording: Path) -> None:
    for columns in (None, ["time_ns", "ac_pid", "ac_comm", "path"]):
        whole = taskstats.read([recording] * 2, columns)
        batches = list(taskstats.read([recording] * 2, columns, batches=True))
        assert [batch.names for batch in batches] == [whole.names] * len(batches)
        assert sum(map(len, batches)) == len(whole)
        if columns:
            assert [row for batch in batches for row in tuples(batch)] == tuples(whole)
    times = taskstats.open(recording).times_ns
    some = taskstats.read(
        recording, ["time_ns"], begin_ns=times[2], end_ns=times[4], batches=True, mmap=False
    )
    assert {row[0] for batch in some for row in tuples(batch)} == set(times[2:4])
    with pytest.raises(ValueError, match="no column"):
        taskstats.read(recording, ["total_ns"], batches=True)


def test_damage_is_an_error_or_left_out(tmp_path: Path) -> None:
    path = tmp_path / "machine.tsd"
    record(path, 4, level=None, full_every=1)
    damage(path, 2)
    with pytest.raises(taskstats.ParseError):
        list(taskstats.read(path, ["time_ns"], batches=True))
    with pytest.warns(taskstats.DamageWarning):
        batches = list(taskstats.read(path, ["time_ns"], batches=True, errors="skip"))
    times = taskstats.open(path).times_ns
    assert {row[0] for batch in batches for row in tuples(batch)} == {*times[:2], times[3]}
    with pytest.raises(FileNotFoundError):
        list(taskstats.read(tmp_path / "missing.tsd", batches=True))


def test_batches_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "machine.tsd"
    subprocess.run([sys.executable, "-c", WRITES, str(path)], cwd=ROOT, check=True)
    paths = [str(tmp_path / f"{number}.tsd") for number in range(12)]
    for name in paths:
        os.link(path, name)
    done = subprocess.run(
        [sys.executable, "-c", READS, *paths], capture_output=True, text=True, check=True
    )
    rows, peak_kb = (int(word) for word in done.stdout.split())
    # All rows together have some 900 MB.
    assert rows == 12 * 301 * 567
    assert peak_kb < 300 * 1024
