"""The tasks that a user acts on, and the values that may be set. Pure.

Design decisions

* A pid is reused, so a task is a pid and its start: PID@START, the start in clock ticks since
  boot, as field 22 of proc_pid_stat(5) has it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Collection
from typing import NamedTuple

# Classes of I/O priorities by their numbers (ioprio_set(2)), and the short forms of their names.
IO_CLASSES = ("none", "realtime", "best-effort", "idle")
_IO_SHORT = {"rt": "realtime", "be": "best-effort"}
IO_CLASS_SHIFT = 13
IO_LEVELS = 8
NICE_RANGE = range(-20, 20)
# No machine has a CPU of a higher number (NR_CPUS_RANGE_END of x86 is 8192).
MAX_CPU = 8192


class Target(NamedTuple):
    """A task: of a process its first thread, which stands for all of them."""

    pid: int
    # In clock ticks since boot.
    start: int
    tgid: int = 0
    name: str = ""
    # In seconds since 1970.
    started_s: int = 0

    @property
    def is_thread(self) -> bool:
        """Whether it is one thread, not a whole process."""
        return self.pid != self.tgid

    def __str__(self) -> str:
        return f"{self.pid}@{self.start}"


def parse_target(text: str) -> Target:
    """The task that PID@START names; ValueError for another text."""
    match = re.fullmatch(r"([0-9]{1,10})@([0-9]{1,19})", text)
    if match is None or not 0 < int(match[1]) < 2**31:
        raise ValueError(
            f"{text!r} is not a task: give PID@START, the start in clock ticks since boot"
        )
    return Target(int(match[1]), int(match[2]))


# The signals by their names, TERM first, the others by number.
SIGNALS = {
    number.name.removeprefix("SIG"): int(number)
    for number in sorted(signal.Signals, key=lambda number: (number != signal.SIGTERM, number))
}


def parse_signal(text: str) -> int:
    """The number of a signal from its name, with or without SIG, or its number; ValueError for
    another text."""
    number = SIGNALS.get(text.upper().removeprefix("SIG"))
    if number is None and re.fullmatch(r"[0-9]{1,3}", text):
        number = int(text)
    if number is None or not 0 < number <= signal.SIGRTMAX:
        raise ValueError(f"{text!r} is not a signal: give a name such as TERM, or a number")
    return number


def signal_name(number: int) -> str:
    """The name of a signal, or its number."""
    return next((name for name, other in SIGNALS.items() if other == number), str(number))


def parse_nice(text: str) -> int:
    """A nice value; ValueError for another text."""
    if not re.fullmatch(r"[+-]?[0-9]{1,2}", text) or int(text) not in NICE_RANGE:
        raise ValueError(f"{text!r} is not a nice value from -20 (first) to 19 (last)")
    return int(text)


def parse_ioprio(text: str) -> int:
    """The number of an I/O priority such as `be 4` or `idle`; ValueError for another text."""
    words = text.lower().split()
    name = _IO_SHORT.get(words[0], words[0]) if words else ""
    level = words[1] if len(words) > 1 else "4" if name in {"realtime", "best-effort"} else "0"
    is_right = name in IO_CLASSES and len(words) <= 2 and re.fullmatch(r"[0-7]", level)
    if not is_right or (len(words) > 1 and name in {"none", "idle"}):
        raise ValueError(f"{text!r} is not an I/O priority: idle, none, be 0 to 7 or rt 0 to 7")
    return IO_CLASSES.index(name) << IO_CLASS_SHIFT | int(level)


def ioprio_text(number: int) -> str:
    """An I/O priority as `parse_ioprio` takes it."""
    kind, level = number >> IO_CLASS_SHIFT & 7, number & (IO_LEVELS - 1)
    name = IO_CLASSES[kind] if kind < len(IO_CLASSES) else IO_CLASSES[0]
    short = next((short for short, long in _IO_SHORT.items() if long == name), name)
    return f"{short} {level}" if name in _IO_SHORT.values() else name


def parse_cpus(text: str) -> frozenset[int]:
    """CPUs from a list such as `0-3,6`; ValueError for another text."""
    cpus: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,4})(?:-([0-9]{1,4}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= MAX_CPU:
            raise ValueError(f"{text!r} are no CPUs: give a list such as 0-3,6")
        cpus.update(range(first, last + 1))
    return frozenset(cpus)


def cpus_text(cpus: Collection[int]) -> str:
    """CPUs as `parse_cpus` takes them."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges)
