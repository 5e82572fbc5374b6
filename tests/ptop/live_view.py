"""ptop on a pseudo terminal, and what is on its screen."""

from __future__ import annotations

import os
import sys
import termios
import time
from collections.abc import Mapping, Sequence

import pexpect
import pyte

PTOP = [sys.executable, "-m", "ptop"]


class Live:
    """ptop on a terminal of its own, started by `command`."""

    def __init__(
        self,
        *arguments: str,
        rows: int = 24,
        columns: int = 80,
        command: Sequence[str] = PTOP,
        environment: Mapping[str, str] | None = None,
        screen: tuple[int, int] | None = None,
    ) -> None:
        # The terminal may not say how large it is.
        self.screen = pyte.Screen(*(screen or (columns, rows)))
        self.stream = pyte.ByteStream(self.screen)
        self.child = pexpect.spawn(
            command[0],
            [*command[1:], "-d", "0.3", *arguments],
            dimensions=(rows, columns),
            # No setup file, and no place where one may be written.
            env={
                **os.environ,
                "TERM": "xterm-256color",
                "XDG_CONFIG_HOME": "/dev/null",
                **(environment or {}),
            },
            timeout=20,
        )
        self.before = termios.tcgetattr(self.child.child_fd)
        self.raw = b""

    def text(self) -> str:
        return "\n".join(self.screen.display)

    def pump(self, seconds: float = 0.1) -> None:
        try:
            data = self.child.read_nonblocking(65536, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return
        assert isinstance(data, bytes)
        self.raw += data
        self.stream.feed(data)

    def until(self, words: str, seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while words not in self.text():
            assert time.monotonic() < end, f"no {words!r} on:\n{self.text()}"
            self.pump()

    def ended(self) -> int | None:
        self.child.expect(pexpect.EOF)
        rest = self.child.before
        assert isinstance(rest, bytes)
        self.raw += rest
        self.child.close()
        status: int | None = self.child.exitstatus
        return status

    def restored(self) -> bool:
        """Whether the cursor is visible again and the alternate screen left."""
        return self.raw.rfind(b"\x1b[?1049l") > self.raw.rfind(b"\x1b[?1049h") and (
            self.raw.rfind(b"\x1b[?25h") > self.raw.rfind(b"\x1b[?25l")
            or self.raw.rfind(b"\x1b[?12l\x1b[?25h") > 0
        )
