"""What a cgroup counts, as the truth that `ptop run`, `track` and exit records are held to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Cgroup:
    """A cgroup of its own, empty again at the end."""

    path: Path

    def wait(self) -> None:
        """Until all its processes have ended, and nothing of them is left to be counted."""
        while "populated 1" in (self.path / "cgroup.events").read_text():
            time.sleep(0.02)

    def used_ns(self) -> int:
        """The CPU time of its processes, rounded down to microseconds."""
        words = (self.path / "cpu.stat").read_text().split()
        return int(words[words.index("usage_usec") + 1]) * 1000


@contextmanager
def cgroup() -> Iterator[Cgroup]:
    path = Path(f"/sys/fs/cgroup/counted-{os.getpid()}")
    path.mkdir()
    try:
        yield Cgroup(path)
    finally:
        path.rmdir()


def check_all(*checks: Callable[[], None]) -> None:
    """Run checks one by one, and say which have passed."""
    for check in checks:
        check()
        print("passed:", check.__name__, flush=True)
