"""Acts on tasks: signals, nice values, I/O priorities and CPUs.

Design decisions

* A signal goes through a pidfd, so it cannot reach a task that gets the pid later. The start
  is compared once the pidfd is open.
* Where the kernel has no pidfd of a thread (before Linux 6.9), the signal goes to the numbers of
  process and thread (tgkill(2)), and the start is compared right before.
* Nice values, I/O priorities and CPUs are set by number: the kernel offers nothing else. The
  start is compared right before, with a pidfd open. If that still has its task afterwards, the
  number was that of this task all the time; if not, `GoneError` says so.
* A process is all its threads: the kernel has these three values for each thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Collection, Iterator

import taskstats
from taskstats import acting

from ptop.targets import Target
from ptop.times import TICKS_PER_S, started_s

# PIDFD_THREAD (include/uapi/linux/pidfd.h).
PIDFD_THREAD = os.O_EXCL
# Threads may start others while they are set.
_MOST_PASSES = 10


class GoneError(Exception):
    """The task has died, or another one has its pid."""


def find(pid: int) -> Target:
    """The task that has this pid now; GoneError if none has."""
    return seen(pid, now_of(pid))


def now_of(pid: int) -> acting.TaskNow:
    """What /proc shows of the task that has this pid now; GoneError if none has."""
    try:
        now = acting.task_now(pid)
    except taskstats.NoSuchTask:
        raise GoneError(f"{pid} has gone") from None
    if now.is_dead:
        raise GoneError(f"{pid} has died")
    return now


def seen(pid: int, now: acting.TaskNow) -> Target:
    """The task that /proc shows under a pid."""
    started = started_s(now.start_ticks * 10**9 // TICKS_PER_S)
    return Target(pid, now.start_ticks, now.tgid, now.name, started)


def send(target: Target, number: int) -> None:
    """Send a signal. GoneError, or OSError of the kernel."""
    with _held(target) as (descriptor, now):
        if descriptor is None:
            acting.tgkill(now.tgid, target.pid, number)
        else:
            with _gone(target):
                signal.pidfd_send_signal(descriptor, number)


def nice(target: Target) -> int:
    """The nice value of a task."""
    return os.getpriority(os.PRIO_PROCESS, target.pid)


def set_nice(target: Target, value: int) -> None:
    """Set the nice value. GoneError, or OSError of the kernel."""
    _set(target, lambda tid: os.setpriority(os.PRIO_PROCESS, tid, value))


def set_ioprio(target: Target, priority: int) -> None:
    """Set the I/O priority. GoneError, or OSError of the kernel."""
    _set(target, lambda tid: acting.set_ioprio(tid, priority))


def set_cpus(target: Target, cpus: Collection[int]) -> None:
    """Set the CPUs on which the task may run. GoneError, or OSError of the kernel."""
    _set(target, lambda tid: os.sched_setaffinity(tid, cpus))


def _set(target: Target, act: Callable[[int], None]) -> None:
    """Act on all threads of a process, or on one thread."""
    with _held(target) as (descriptor, _):
        if target.is_thread:
            with _gone(target):
                act(target.pid)
        else:
            _act_on_threads(target, act)
        if descriptor is not None and not _is_there(descriptor):
            raise GoneError(f"{target.pid} died meanwhile; what has its pid now may be changed")


def _act_on_threads(target: Target, act: Callable[[int], None]) -> None:
    done: set[int] = set()
    for _ in range(_MOST_PASSES):
        with _gone(target):
            threads = {int(name) for name in os.listdir(f"/proc/{target.pid}/task")} - done
        if not threads:
            return
        for tid in threads:
            try:
                act(tid)
            except ProcessLookupError:
                # A thread may end at any time; the process has others.
                continue
        done |= threads


@contextlib.contextmanager
def _held(target: Target) -> Iterator[tuple[int | None, acting.TaskNow]]:
    """A pidfd of the task, or None where the kernel has none of threads. The task was compared
    after that."""
    descriptor = _open(target)
    try:
        now = now_of(target.pid)
        if now.start_ticks != target.start:
            raise GoneError(f"{target.pid} has gone; another task has its pid now")
        yield descriptor, now
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open(target: Target) -> int | None:
    with _gone(target):
        try:
            # The thread of a process's pid is opened as the process.
            return os.pidfd_open(target.pid)
        except OSError as error:
            # A thread: EINVAL, from Linux 6.15 on ENOENT.
            if error.errno not in {errno.EINVAL, errno.ENOENT}:
                raise
        try:
            return os.pidfd_open(target.pid, PIDFD_THREAD)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    return None


@contextlib.contextmanager
def _gone(target: Target) -> Iterator[None]:
    try:
        yield
    except (ProcessLookupError, FileNotFoundError):
        raise GoneError(f"{target.pid} has gone") from None


def _is_there(descriptor: int) -> bool:
    """Whether the task of a pidfd still has its pid."""
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
