"""`taskstats.track(pid=...)`: the tree of a process that runs already, orphans included.

Where BPF marks the tree, the truth is the CPU time that a cgroup counts, whatever becomes of the
parents. Else the report says what is missing.
"""

from __future__ import annotations

import os
import subprocess
import time

import taskstats
from counted import Cgroup, cgroup, check_all

# Its programs need the atomic operations of Linux 5.12.
BY_BPF = tuple(int(word) for word in os.uname().release.split(".")[:2]) >= (5, 12)
SPIN = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
# Processes whose parents and grandparents end at once. The last one says so.
ORPHAN = f"( ( ( {SPIN}; echo done ) & ) & )"
ORPHANS = 5


class Shell:
    """A shell that starts an orphan for each line, in a cgroup."""

    def __init__(self, group: Cgroup) -> None:
        self.child = subprocess.Popen(
            ["sh", "-c", f"while read line; do {ORPHAN}; done"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._group = group
        (group.path / "cgroup.procs").write_text(str(self.child.pid))

    def ask(self) -> None:
        """Start one, and wait for the end of it and of its parents."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write("go\n")
        assert self.child.stdout.readline() == "done\n"
        while (self._group.path / "cgroup.procs").read_text().split() != [str(self.child.pid)]:
            time.sleep(0.01)

    def close(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()
        assert self.child.wait() == 0


def the_tree_of_a_running_process_is_tracked() -> None:
    with cgroup() as group:
        shell = Shell(group)
        shell.ask()
        earlier = group.used_ns()
        with taskstats.track(pid=shell.child.pid) as tracker:
            for _ in range(ORPHANS):
                shell.ask()
        used = group.used_ns() - earlier
        use = tracker.use
        assert use is not None
        shell.close()
        group.wait()
    if not BY_BPF:
        assert "intervals" in use.collector, use
        assert any("orphans" in note for note in use.notes), use
        return
    assert (use.collector, use.exact, use.notes) == ("bpf", True, []), use
    # The shell, and for each line one that works and two that end at once.
    assert use.tasks == 1 + 3 * ORPHANS, use
    # What the shell needs to wait for the next line is on one side or the other.
    assert abs(use.total_ns - used) < 5_000_000 + used // 50, (use, used)


def another_tree_is_left_out() -> None:
    """Orphans of one tree are not counted in another."""
    with subprocess.Popen(["sleep", "600"]) as other:
        with cgroup() as group:
            shell = Shell(group)
            with taskstats.track(pid=other.pid) as tracker:
                shell.ask()
            shell.close()
            group.wait()
        other.kill()
    assert tracker.use is not None
    assert tracker.use.tasks in {None, 0, 1}, tracker.use
    assert tracker.use.total_ns < 5_000_000, tracker.use


check_all(the_tree_of_a_running_process_is_tracked, another_tree_is_left_out)
