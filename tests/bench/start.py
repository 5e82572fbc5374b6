"""CPU time from the start of ptop to the end of its first interval, over each source.

    python -m tests.bench.start [RUNS]     (default 10)

It is the user and system time of the whole process, in ms: the median of the runs, in
batch mode and on a terminal of 24 rows. Next to it is what the interpreter alone
needs.
"""

from __future__ import annotations

import contextlib
import os
import pty
import statistics
import subprocess
import sys
from pathlib import Path

PTOP = str(Path(sys.executable).parent / "ptop")


def cpu_ms(command: list[str], terminal: bool) -> float:
    """User and system time of the command."""
    if not terminal:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = status
    else:
        pid, master = pty.fork()
        if not pid:
            os.environ |= {"TERM": "xterm-256color", "LINES": "24", "COLUMNS": "80"}
            os.execv(command[0], command)
        # Reading a PTY whose other side is closed is an error.
        with contextlib.suppress(OSError):
            while os.read(master, 65536):
                pass
        _, status, usage = os.wait4(pid, 0)
        os.close(master)
    if status:
        raise RuntimeError(f"{' '.join(command)}: status {status}")
    return 1000 * (usage.ru_utime + usage.ru_stime)


def report(name: str, command: list[str], runs: int, terminal: bool = False) -> None:
    times = [cpu_ms(command, terminal) for _ in range(runs)]
    print(f"{name:<28}{statistics.median(times):>8.1f}{min(times):>8.1f}{max(times):>8.1f}")


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    print(f"{'CPU ms':<28}{'median':>8}{'min':>8}{'max':>8}")
    report("python -c pass", [sys.executable, "-c", "pass"], runs)
    for source in ("procfs", "netlink", "bpf"):
        command = [PTOP, "--source", source, "-n", "1", "-d", "0.1"]
        report(f"ptop -b, {source}", [*command, "-b"], runs)
        report(f"ptop, {source}", command, runs, terminal=True)


if __name__ == "__main__":
    main()
