"""Waiting for blocked signals."""

from __future__ import annotations

import signal
from collections.abc import Collection


def wait_for(signals: Collection[int], timeout_s: float) -> signal.struct_siginfo | None:
    """Wait for one of `signals`, which are blocked; None if none arrives in time.

    A process that is stopped and continued (SIGSTOP, the cgroup freezer) beyond the timeout
    gets from CPython's sigtimedwait a siginfo that the kernel has not filled in. It counts as
    the timeout.
    """
    arrived = signal.sigtimedwait(signals, max(0.0, timeout_s))
    return arrived if arrived is not None and arrived.si_signo in signals else None
