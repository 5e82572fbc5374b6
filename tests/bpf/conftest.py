"""The bpf source, and a process with a known past."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import taskstats

# Runs threads (one exits), waits for a child, writes a file, maps memory; then stops itself.
WORK = """
import mmap, os, signal, subprocess, sys, tempfile, threading, time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: pass
dead = threading.Thread(target=burn, args=(0.06,)); dead.start(); dead.join()
subprocess.run([sys.executable, "-c", "for i in range(3000000): pass"], check=True)
with tempfile.TemporaryFile() as file:
    file.write(b"x" * 3_000_000); file.flush(); os.fsync(file.fileno())
    file.seek(0); file.read()
memory = mmap.mmap(-1, 64 << 20)
memory.write(b"y" * (32 << 20))
memory.close()
burn(0.1)
for _ in range(20): time.sleep(0.0005)
living = threading.Thread(target=lambda: (burn(0.05), time.sleep(600)), daemon=True)
living.start()
time.sleep(0.2)
os.nice(3)
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.fixture
def bpf(needs: Callable[[bool, str], None]) -> Callable[..., taskstats.Source]:
    """Opens the bpf source."""
    report = next(report for report in taskstats.sources() if report.name == "bpf")
    needs(report.available, f"bpf: {report.reason}")
    return lambda **options: taskstats.Source("bpf", **options)


@pytest.fixture
def stopped() -> Iterator[int]:
    """The pid of a stopped process that has used every kind of resource."""
    process = subprocess.Popen([sys.executable, "-c", WORK], stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.001)
    yield process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
