"""Loads for benchmarks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator


def _child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        work()
    finally:
        os._exit(0)


@contextlib.contextmanager
def running(*works: Callable[[], None]) -> Iterator[None]:
    """Runs each of these in a process of its own, and ends them."""
    pids = [_child(work) for work in works]
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


@contextlib.contextmanager
def sleepers(count: int) -> Iterator[None]:
    """Starts sleeping processes whose parent exits with this process."""
    with _sleeping(SLEEPING_PROCESSES, count):
        yield


@contextlib.contextmanager
def wakers(count: int) -> Iterator[None]:
    """Starts processes that run twenty times a second."""
    with _sleeping(SLEEPING_PROCESSES.replace("signal.pause()", WAKING), count):
        yield


@contextlib.contextmanager
def sleeping_threads(count: int) -> Iterator[None]:
    """Starts sleeping threads, a thousand a process: cheap to start and to end."""
    with contextlib.ExitStack() as stack:
        for _ in range(count // 1000):
            stack.enter_context(_sleeping(SLEEPING_THREADS, 1000))
        yield


SLEEPING_PROCESSES = (
    "import ctypes, os, signal, sys, time\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "os.setpgid(0, 0)\n"
    "for _ in range(int(sys.argv[1])):\n"
    "    if not os.fork():\n"
    "        signal.pause(); os._exit(0)\n"
    "print(flush=True)\n"
    "time.sleep(3600)\n"
)
# The end of a child of these, for which the others sleep.
WAKING = "[time.sleep(0.05) for _ in iter(int, 1)]"
SLEEPING_THREADS = (
    "import ctypes, os, sys, threading, time\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "os.setpgid(0, 0)\n"
    "threading.stack_size(65536)\n"
    "for _ in range(int(sys.argv[1]) - 1):\n"
    "    threading.Thread(target=time.sleep, args=[3600], daemon=True).start()\n"
    "print(flush=True)\n"
    "time.sleep(3600)\n"
)


@contextlib.contextmanager
def _sleeping(script: str, count: int) -> Iterator[None]:
    parent = subprocess.Popen(
        [sys.executable, "-S", "-c", script, str(count)], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    try:
        yield
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdout.close()


def _spin(cpu: int) -> Callable[[], None]:
    def work() -> None:
        os.sched_setaffinity(0, {cpu})
        while True:
            pass

    return work


def busy(cpus: int | None = None) -> contextlib.AbstractContextManager[None]:
    """Pins a busy loop to each of the first CPUs, or to all."""
    count = cpus or os.cpu_count() or 1
    return running(*(_spin(cpu) for cpu in range(count)))


def ping_pong() -> contextlib.AbstractContextManager[None]:
    """Two processes that pass a byte back and forth."""
    there, back = os.pipe(), os.pipe()

    def one() -> None:
        while True:
            os.write(there[1], b"x")
            os.read(back[0], 1)

    def other() -> None:
        while True:
            os.read(there[0], 1)
            os.write(back[1], b"x")

    return running(one, other)


def fork_storm(reap: bool = True) -> contextlib.AbstractContextManager[None]:
    """A process that forks as fast as it can; with `reap` False it ignores SIGCHLD."""

    def work() -> None:
        if not reap:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            pid = os.fork()
            if not pid:
                os._exit(0)
            if reap:
                os.waitpid(pid, 0)

    return running(work)
