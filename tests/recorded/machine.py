"""Recordings of this machine while a known process runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import taskstats

# The name of the process that runs between snapshots, and its least CPU time.
BRIEF, BRIEF_S = "brief-and-busy", 0.05
BUSY = f"""
import time
open("/proc/self/comm", "w").write("{BRIEF}")
end = time.process_time() + {BRIEF_S}
while time.process_time() < end: pass
"""


def record(path: Path, snapshots: int, **options: Any) -> list[taskstats.Snapshot]:
    """Record that many snapshots; between two of them a process runs and exits."""
    taken = []
    with (
        taskstats.Recorder(path, **options) as recorder,
        taskstats.Source(exact=True, cpu_times=True, system=True) as source,
    ):
        for _ in range(snapshots):
            snapshot = source.snapshot()
            taken.append(snapshot)
            recorder.write(snapshot)
            subprocess.run([sys.executable, "-c", BUSY], check=True)
    return taken


def damage(path: Path, index: int) -> None:
    """Change a byte of a snapshot in an uncompressed file."""
    task = taskstats.open(path)[index].by_pid(os.getpid())
    assert task is not None
    # This process ran meanwhile, so no other snapshot has the same record.
    data = path.read_bytes()
    assert data.count(task.to_bytes()) == 1
    at = data.index(task.to_bytes())
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
