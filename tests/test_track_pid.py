"""`track(pid=...)`: what the tree of a running process uses."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import taskstats
from taskstats._core import cgroup_mount
from taskstats._track import TreeUse
from taskstats._track_pid import _IntervalCollector

SPIN = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"
# For each line: processes whose parents and grandparents end at once, each known by its name.
ORPHANS = f"( ( ( {SPIN}; echo done ) & ) & )"


@pytest.fixture
def bpf(needs: Callable[[bool, str], None]) -> None:
    """Only where bpf works."""
    with taskstats.Source() as source:
        needs(source.name == "bpf", "needs the bpf source")


@pytest.fixture
def group(needs: Callable[[bool, str], None]) -> Iterator[Path]:
    """A cgroup, whose kernel counts to compare with."""
    top = cgroup_mount()
    needs(top is not None and os.geteuid() == 0, "needs root and cgroup v2")
    assert top is not None
    path = top / f"ptop-test-{os.getpid()}-{time.monotonic_ns()}"
    path.mkdir()
    yield path
    for _ in range(500):
        try:
            path.rmdir()
            return
        except OSError:
            time.sleep(0.02)


def used_ns(group: Path) -> int:
    return int((group / "cpu.stat").read_text().split()[1]) * 1000


def shell(each_line: str) -> subprocess.Popen[str]:
    """A shell that runs `each_line` for each line of its input."""
    return subprocess.Popen(
        ["sh", "-c", f"while read line; do {each_line}; done"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def ask(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("go\n")
    assert child.stdout.readline() == "done\n"


def test_orphans_of_any_age_belong_to_the_tree(bpf: None, group: Path) -> None:
    with shell(ORPHANS) as child:
        (group / "cgroup.procs").write_text(str(child.pid))
        ask(child)
        earlier = used_ns(group)
        with taskstats.track(pid=child.pid) as tracker:
            for _ in range(10):
                ask(child)
            # The last orphan's way from its line to its end.
            while (group / "cgroup.procs").read_text().split() != [str(child.pid)]:
                time.sleep(0.01)
        used = used_ns(group) - earlier
    use = tracker.use
    assert use is not None
    assert use.exact
    assert use.collector == "bpf"
    assert use.notes == []
    # The shell, and for each line one that works and two that end at once.
    assert use.tasks == 31
    assert sum(row.tasks for row in use.commands.values()) == 31
    assert sum(row.cpu_ns for row in use.commands.values()) == use.total_ns
    # What the shell used before is not counted. Between the two readings and the block's ends is
    # the shell's own wake-up at most.
    assert use.total_ns == pytest.approx(used, rel=0.02, abs=2e6)


def test_members_that_live_at_both_ends_count_what_they_use_in_between(bpf: None) -> None:
    loop = "while :; do :; done"
    program = f"{loop} & echo $!; exec 1>&-; {loop}"
    with subprocess.Popen(["sh", "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        inner = int(child.stdout.readline())

        def used_ns() -> int:
            return sum(time.clock_gettime_ns(clock_of(pid)) for pid in (child.pid, inner))

        time.sleep(0.2)
        before = used_ns()
        with taskstats.track(pid=child.pid) as tracker:
            begun = used_ns()
            time.sleep(0.5)
            ending = used_ns()
        after = used_ns()
        os.kill(inner, signal.SIGKILL)
        child.kill()
    use = tracker.use
    assert use is not None
    assert use.tasks == 2
    # Steal time since the last update of a queue's clock counts as CPU time: a tick of each.
    assert ending - begun - 20_000_000 <= use.total_ns <= after - before + 20_000_000


def test_its_tree_may_be_the_callers_own(bpf: None) -> None:
    async def tracked() -> TreeUse:
        async with taskstats.track(pid=os.getpid()) as tracker:
            began = time.process_time_ns()
            subprocess.run(["sh", "-c", SPIN], check=True)
            used = time.process_time_ns() - began
        assert tracker.use is not None
        assert tracker.use.total_ns > used
        return tracker.use

    use = asyncio.run(tracked())
    assert use.exact
    assert use.tasks is not None
    assert use.tasks >= 2
    assert "sh" in use.commands


def test_without_bpf_intervals_serve(bpf: None) -> None:
    with shell(f"sh -c '{SPIN}' & wait; echo done") as child:
        use = TreeUse()
        tree = _IntervalCollector(child.pid, use)
        before = time.clock_gettime_ns(clock_of(child.pid))
        for _ in range(3):
            ask(child)
            tree.poll()
        tree.finish(use)
        own = time.clock_gettime_ns(clock_of(child.pid)) - before
    assert use.exact
    # The shell and its three children.
    assert use.tasks == 4
    assert use.total_ns > own
    assert any("orphans" in note for note in use.notes)


def test_refusals() -> None:
    with pytest.raises(taskstats.NoSuchTask), taskstats.track(pid=2**22):
        pass
    with pytest.raises(ValueError, match="no other argument"):
        taskstats.track(pid=1, own=True)  # type: ignore[call-overload]


def clock_of(pid: int) -> int:
    """The CPU clock of a process (clock_getcpuclockid(3))."""
    return ((~pid) << 3) | 2
