"""Signals that a command handles between two of its steps, never within one.

Design decisions

* A handler that raises could interrupt a write, or the restoring of the terminal. So signals
  are queued (`Queue`) or blocked (`wait_for`).
* Ignored signals stay ignored, as nohup and shells without job control need it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection

# Signals that end a command that holds the terminal or a recording.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def heeded(signals: Collection[signal.Signals]) -> tuple[signal.Signals, ...]:
    """Those of `signals` that this process was not told to ignore."""
    return tuple(number for number in signals if signal.getsignal(number) != signal.SIG_IGN)


def wait_for(signals: Collection[int], timeout_s: float) -> signal.struct_siginfo | None:
    """Wait for one of `signals`, which are blocked; None if none arrives in time.

    A process that is stopped and continued (SIGSTOP, the cgroup freezer) beyond the timeout
    gets from CPython's sigtimedwait a siginfo that the kernel has not filled in. It counts as
    the timeout.
    """
    arrived = signal.sigtimedwait(signals, max(0.0, timeout_s))
    return arrived if arrived is not None and arrived.si_signo in signals else None


class Queue:
    """The signals that arrive in a `with` block; a context manager.

    `descriptor` is readable when there are some, for a loop that waits for other descriptors
    as well.
    """

    def __init__(self, signals: Collection[signal.Signals]) -> None:
        self._signals = heeded(signals)

    def __enter__(self) -> Queue:
        self.descriptor, self._writable = os.pipe()
        for end in (self.descriptor, self._writable):
            os.set_blocking(end, False)
        # The interpreter writes the number of each signal that has a handler.
        self._woken = signal.set_wakeup_fd(self._writable, warn_on_full_buffer=False)
        self._handlers = {
            number: signal.signal(number, lambda _number, _frame: None) for number in self._signals
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._woken)
        os.close(self.descriptor)
        os.close(self._writable)

    def take(self) -> list[int]:
        """The signals that arrived since the last call, in their order."""
        try:
            return list(os.read(self.descriptor, 4096))
        except BlockingIOError:
            return []
