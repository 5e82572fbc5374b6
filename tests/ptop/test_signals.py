"""Waiting for blocked signals."""

from __future__ import annotations

import subprocess
import sys

# Waits 0.3 s and is stopped meanwhile for 1 s by its child.
STOPPED = """
import os, signal, time
from ptop.signals import wait_for
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
parent = os.getpid()
if not os.fork():
    time.sleep(0.1); os.kill(parent, signal.SIGSTOP)
    time.sleep(1.0); os.kill(parent, signal.SIGCONT)
    os._exit(0)
print(wait_for({signal.SIGTERM}, 0.3))
"""


def test_a_pause_is_no_signal() -> None:
    words = [sys.executable, "-c", STOPPED]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "None\n"


def test_a_pending_signal_is_returned_and_the_past_is_no_wait() -> None:
    # In a process of its own: another thread, which does not block the signal, would get it.
    script = """
import os, signal
from ptop.signals import wait_for
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print(wait_for({signal.SIGUSR1}, -1.0))
os.kill(os.getpid(), signal.SIGUSR1)
print(wait_for({signal.SIGUSR1}, 10.0).si_signo == signal.SIGUSR1)
"""
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "None\nTrue\n"
