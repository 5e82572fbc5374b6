"""strace and lsof of a task, for the pane of the live view.

Design decisions

* They take a pid, not a task: the pane checks right before that the task still lives, but
  another may get its pid in between.
* As root only a program of root is run, by its full path and in a clean environment: a user's
  PATH, LD_PRELOAD or LSOF options must not act as root.
* os.posix_spawn does what is needed; subprocess would make each start of the view slower.
* What they write is made safe and cut, as any text of a task.
* A tool that is closed ends while the view goes on: it may take its time.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import signal
import stat
import time
from collections import deque
from collections.abc import Sequence

ARGUMENTS = {
    "strace": ("-f", "-tt", "-T", "-s", "256", "-p"),
    "lsof": ("-n", "-P", "-p"),
}
_FOLDERS = ("/usr/bin", "/usr/sbin", "/bin", "/sbin")
_CLEAN = {"PATH": ":".join(_FOLDERS), "LC_ALL": "C.UTF-8", "HOME": "/"}
# Lines that are kept, and characters of each.
_LINES, _LONGEST = 1000, 1000
# How often the output is looked at, how long it is read then, and how much it may be meanwhile:
# strace that has to wait for its reader holds up the task.
_PERIOD_S, _BUDGET_S, _PIPE = 0.1, 0.02, 1 << 20
_CHUNK = 1 << 18
# How long a tool may take to let go of the task.
_END_S = 1.0


def is_roots(path: str) -> bool:
    """Whether only root can change a file, wherever its links lead."""
    part = os.path.realpath(path)
    if not os.path.isfile(part):
        return False
    while True:
        found = os.stat(part)
        if found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False
        if part == "/":
            return True
        part = os.path.dirname(part)


def program(name: str, folders: Sequence[str] = _FOLDERS) -> str | None:
    """The full path of a tool; None where there is none that may be run."""
    if os.geteuid() == 0:
        paths = [f"{folder}/{name}" for folder in folders]
        return next(filter(is_roots, paths), None)
    own = os.environ.get("PATH", "").split(":")
    paths = [f"{folder}/{name}" for folder in own if os.path.isabs(folder)]
    return next((path for path in paths if os.access(path, os.X_OK)), None)


class Tool:
    """A tool that runs, and the end of what it has written."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.lines: deque[str] = deque(maxlen=_LINES)
        self._rest = b""
        # The tool's process, 0 once it has ended, and what it writes to, 0 once that is closed.
        self._process = self._output = 0
        self._due_s = 0.0
        # When it is killed, if it has not ended by then.
        self._kill_s = math.inf
        path = program(name)
        if path is None:
            self.lines.append(f"{name} is not installed: apt-get install {name}")
            return
        output, written = os.pipe()
        try:
            self._process = os.posix_spawn(
                path,
                [path, *ARGUMENTS[name], str(pid)],
                _CLEAN if os.geteuid() == 0 else os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, written, 1),
                    (os.POSIX_SPAWN_DUP2, written, 2),
                ],
                # Keys for the view's process group are not for it.
                setpgroup=0,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM],
            )
        except OSError as error:
            os.close(output)
            self.lines.append(f"{path}: {error.strerror}")
            return
        finally:
            os.close(written)
        os.set_blocking(output, False)
        with contextlib.suppress(OSError):
            # A user may have too many pipes for a large one.
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, _PIPE)
        self._output = output

    @property
    def is_running(self) -> bool:
        """Whether it may write more."""
        return self._output > 0

    def wait_s(self) -> float | None:
        """How long until there is something to do for it; None for not at all."""
        return max(0.0, self._due_s - time.monotonic()) if self._process else None

    def take(self) -> bool:
        """Take what it has written; returns whether that is more."""
        if not self.is_running:
            self.has_ended()
            return False
        end_s = time.monotonic() + _BUDGET_S
        if end_s - _BUDGET_S < self._due_s:
            return False
        changed = False
        while time.monotonic() < end_s:
            try:
                data = os.read(self._output, _CHUNK)
            except BlockingIOError:
                self._due_s = time.monotonic() + _PERIOD_S
                break
            changed = True
            if not data:
                self._leave()
                self.lines.append(f"{self.name} has ended")
                break
            self._keep(data)
        return changed

    def _keep(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LONGEST:]
        self.lines.extend(line[:_LONGEST].decode("utf-8", "replace") for line in lines[-_LINES:])

    def close(self) -> None:
        """Tell it to end; strace lets the task go on. `has_ended` says when it has."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGTERM)
            self._leave()

    def _leave(self) -> None:
        os.close(self._output)
        self._output = 0
        self._kill_s = time.monotonic() + _END_S

    def has_ended(self) -> bool:
        """Whether it has ended. One that takes too long is killed."""
        if self._process and os.waitpid(self._process, os.WNOHANG) != (0, 0):
            self._process = 0
        if self._process:
            now_s = time.monotonic()
            self._due_s = now_s + _PERIOD_S
            if now_s > self._kill_s:
                os.kill(self._process, signal.SIGKILL)
                self._kill_s = math.inf
        return self._process == 0

    def finish(self) -> None:
        """Wait until it has ended or was killed."""
        while not self.has_ended() and self._kill_s < math.inf:
            time.sleep(0.01)
