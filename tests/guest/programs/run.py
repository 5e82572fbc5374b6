"""`ptop run` and `taskstats.track` of commands whose use is known.

Where BPF follows the tree, the truth is the CPU time that a cgroup counts. Else it is between what
the processes use by their own clocks, and what wait4 returns for ptop with all its children.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import taskstats
from counted import Cgroup, cgroup, check_all

# Its programs need the atomic operations of Linux 5.12.
BY_BPF = tuple(int(word) for word in os.uname().release.split(".")[:2]) >= (5, 12)
DESCENDANTS = [sys.executable, "-S", str(Path("tests/ptop/descendants.py").resolve())]
KINDS = ("twice", "session", "sibling", "ignored", "threads", "another")
# What each of them burns at least, by its own clock.
BURNT_NS = 50_000_000


def run(*words: str) -> tuple[int, str, Any]:
    """`ptop run` with these words: its exit status, the command's output, and the report."""
    ptop = [sys.executable, "-m", "ptop", "run", "--format", "json"]
    done = subprocess.run([*ptop, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, json.loads(done.stderr.splitlines()[-1])


def check_total(total_ns: int, before: str, group: Cgroup) -> None:
    """`before` is what the first process printed: its time before it joined the cgroup."""
    least, most = (int(word) for word in before.split())
    counted = group.used_ns()
    assert counted >= BURNT_NS
    assert least + counted <= total_ns < most + counted + 1000, (before, counted, total_ns)


def a_tree_is_counted_whole() -> None:
    earlier = resource.getrusage(resource.RUSAGE_CHILDREN)
    with cgroup() as group:
        # Where BPF does not follow the tree, ptop's own cgroup does, so it is not left.
        path = str(group.path) if BY_BPF else ""
        status, before, report = run("--wait-orphans", "--", *DESCENDANTS, path, "twice")
        assert (status, report["exact"], report["tasks"]) == (0, True, 3), report
        assert ("bpf" in report["collector"]) == BY_BPF, report
        if BY_BPF:
            check_total(report["total_ns"], before, group)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    waited = used.ru_utime + used.ru_stime - earlier.ru_utime - earlier.ru_stime
    assert BURNT_NS <= report["total_ns"] <= waited * 1e9, (report, waited)


def each_command_has_a_row() -> None:
    script = "for i in 1 2 3; do /bin/true; done; exec sleep 0"
    status, _, report = run("--by-command", "--", "sh", "-c", script)
    assert status == 0
    tasks = {name: row["tasks"] for name, row in report["commands"].items()}
    assert tasks == {"true": 3, "sleep": 1}, report
    assert report["exits_lost"] == 0
    assert not list(Path("/sys/fs/cgroup").glob("**/ptop-*")), "its cgroup is left over"


def the_status_is_the_commands() -> None:
    for script, status in (("exit 3", 3), ("kill -TERM $$", 143)):
        seen, _, report = run("--", "sh", "-c", script)
        assert seen == report["exit_status"] == status, report


def a_block_is_tracked() -> None:
    for kind in KINDS:
        with cgroup() as group:
            with taskstats.track() as tracker:
                words = [*DESCENDANTS, str(group.path), kind]
                before = subprocess.run(words, check=True, text=True, capture_output=True).stdout
                group.wait()
                # CLONE_PARENT made the process a child of this one.
                with contextlib.suppress(ChildProcessError):
                    while kind == "sibling":
                        os.waitpid(-1, 0)
            use = tracker.use
            assert use is not None
            assert use.exact == BY_BPF, use
            if BY_BPF:
                check_total(use.total_ns, before, group)
                # An exec by a thread makes no new process.
                assert use.tasks == (3 if kind == "twice" else 2), use
            else:
                assert use.notes, "says what is missing"


def many_short_lived_children_are_tracked() -> None:
    forks = 300
    storm = f"import os\nfor _ in range({forks}):\n  os.fork() or os._exit(0)\n  os.wait()"
    with taskstats.track() as tracker:
        subprocess.run([sys.executable, "-S", "-c", storm], check=True)
    assert tracker.use is not None
    assert tracker.use.tasks == forks + 1, tracker.use


check_all(
    a_tree_is_counted_whole,
    each_command_has_a_row,
    the_status_is_the_commands,
    a_block_is_tracked,
    many_short_lived_children_are_tracked,
)
