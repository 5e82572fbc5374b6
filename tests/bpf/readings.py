"""Readings of /proc and of intervals."""

from __future__ import annotations

import os
from pathlib import Path

import taskstats

# /proc counts CPU time in ticks of USER_HZ.
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


# The kernel's memory counters lag by a batch of pages per CPU (percpu_counter).
BATCH_KB = 3 * PAGE_KB * max(32, 2 * (os.cpu_count() or 1)) * (os.cpu_count() or 1)


def stat(path: str) -> list[str]:
    """/proc/PID/stat from the third field on."""
    return Path(path).read_text().rpartition(")")[2].split()


def total_ns(interval: taskstats.Interval) -> dict[object, int]:
    rows = interval.select(["ac_pid", "total_ns"], sort="total_ns")
    return {task: int(ns or 0) for task, ns in rows}
