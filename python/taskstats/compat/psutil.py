"""The common part of psutil, from one snapshot instead of several files a process.

```python
from taskstats.compat import psutil

for process in psutil.process_iter(["pid", "name", "memory_info", "cpu_times"]):
    print(process.info)
```

Names and meanings are psutil's. CPU times are exact: user and system add up to the scheduler's
count. What is not here raises AttributeError.

Design decisions

* `process_iter` takes one snapshot and makes its dictionaries in Rust. Its processes are new
  objects at each call.
* A `Process` is its pid and start: one whose pid was reused is gone.
* In `info` of `process_iter` what a snapshot lacks has the value `ad_value`: None if not given.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal, overload

import taskstats
from taskstats._core import psutil_rows
from taskstats.compat import _psutil_types
from taskstats.compat._psutil_process import FIELDS, Process, names_of
from taskstats.compat._psutil_types import (
    STATUS_DEAD,
    STATUS_DISK_SLEEP,
    STATUS_IDLE,
    STATUS_PARKED,
    STATUS_RUNNING,
    STATUS_SLEEPING,
    STATUS_STOPPED,
    STATUS_TRACING_STOP,
    STATUS_ZOMBIE,
    AccessDenied,
    Error,
    NoSuchProcess,
    TimeoutExpired,
    ZombieProcess,
    scputimes,
)

__all__ = [
    "STATUS_DEAD",
    "STATUS_DISK_SLEEP",
    "STATUS_IDLE",
    "STATUS_PARKED",
    "STATUS_RUNNING",
    "STATUS_SLEEPING",
    "STATUS_STOPPED",
    "STATUS_TRACING_STOP",
    "STATUS_ZOMBIE",
    "AccessDenied",
    "Error",
    "NoSuchProcess",
    "Process",
    "TimeoutExpired",
    "ZombieProcess",
    "cpu_count",
    "cpu_percent",
    "cpu_times",
    "pid_exists",
    "pids",
    "process_iter",
]


def process_iter(
    attrs: Collection[str] | None = None, ad_value: object = None
) -> Iterator[Process]:
    """Yield all processes by pid; with `attrs` each has them in `info`."""
    names = None if attrs is None else names_of(attrs)
    quick = [name for name in names or () if name in FIELDS]
    slow = [name for name in names or () if name not in FIELDS]
    snapshot = taskstats.snapshot(fields={field for name in quick for field in FIELDS[name]})
    # Thousands of new objects would be searched for garbage again and again.
    collects = gc.isenabled()
    gc.disable()
    try:
        tasks, rows = psutil_rows(snapshot, quick, _psutil_types, ad_value)
    finally:
        if collects:
            gc.enable()
    if names is None:
        yield from map(Process.of, tasks)
        return
    new = Process.__new__
    for task, info in zip(tasks, rows or iter(dict, None), strict=False):
        # As in `Process.of`, without the call.
        process = new(Process)
        process._known = task
        process.info = info
        if slow:
            try:
                info |= process.as_dict(slow, ad_value)
            except NoSuchProcess:
                continue
        yield process


def pids() -> list[int]:
    """Return all pids, ascending."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def pid_exists(pid: int) -> bool:
    """Return whether a process has this pid."""
    if pid < 0:
        return False
    try:
        taskstats.task(pid, [])
    except (taskstats.NoSuchTask, OverflowError):
        return False
    except taskstats.AccessDenied:
        pass
    return True


def cpu_count(logical: bool = True) -> int | None:
    """Return the number of CPUs online. Cores without their siblings are unknown here: None."""
    return os.sysconf("SC_NPROCESSORS_ONLN") if logical else None


@overload
def cpu_times(percpu: Literal[False] = False) -> scputimes: ...
@overload
def cpu_times(percpu: Literal[True]) -> list[scputimes]: ...
def cpu_times(percpu: bool = False) -> scputimes | list[scputimes]:
    """Return the time of all CPUs since boot, in seconds; with `percpu` of each.

    The kernel counts these in ticks: `taskstats.Interval.cpu_use` is exact.
    """
    tick = os.sysconf("SC_CLK_TCK")
    lines = Path("/proc/stat").read_text().splitlines()
    words = [line.split() for line in lines if line.startswith("cpu")]
    rows = [[int(word) / tick for word in row[1:11]] for row in words]
    times = [scputimes(*row, *[0.0] * (10 - len(row))) for row in rows]
    return times[1:] if percpu else times[0]


_last_times: list[scputimes] = []


@overload
def cpu_percent(interval: float | None = None, percpu: Literal[False] = False) -> float: ...
@overload
def cpu_percent(interval: float | None = None, *, percpu: Literal[True]) -> list[float]: ...
def cpu_percent(interval: float | None = None, percpu: bool = False) -> float | list[float]:
    """Return how busy all CPUs were, in per cent, since the last call or in `interval` seconds.

    With `percpu` a number for each. The first call without an interval returns 0.0.
    """
    global _last_times
    if interval is not None and interval < 0:
        raise ValueError(f"interval is {interval}: give a positive number")
    before = _last_times
    if interval:
        before = [cpu_times(), *cpu_times(percpu=True)]
        time.sleep(interval)
    _last_times = [cpu_times(), *cpu_times(percpu=True)]
    # CPUs may come and go.
    busy = [_busy(*times) for times in zip(before or _last_times, _last_times, strict=False)]
    return busy[1:] if percpu else busy[0]


def _busy(before: scputimes, now: scputimes) -> float:
    # Guest times are part of user and nice.
    passed = [max(b - a, 0.0) for a, b in zip(before[:8], now[:8], strict=True)]
    total = sum(passed)
    return round(100.0 * (total - passed[3] - passed[4]) / total, 1) if total else 0.0
