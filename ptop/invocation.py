"""How this program was started, for messages that say what to type."""

from __future__ import annotations

import os
import shlex
import sys


def as_root(*arguments: str) -> str:
    """The command that runs ptop as root, with its full path: sudo's PATH does not have
    a virtual environment's directory."""
    program = sys.argv[0]
    if os.path.basename(program) == "ptop":
        words = [os.path.abspath(program)]
    else:
        words = [sys.executable, "-m", "ptop"]
    return shlex.join(["sudo", *words, *arguments])
