"""Checks who is charged for a snapshot's memory, and that killed readers leave nothing."""

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import taskstats

CGROUP = Path("/sys/fs/cgroup/reader")
TASKS = 1500


def charged() -> int:
    """Kernel memory charged to the readers' cgroup, in bytes."""
    words = (CGROUP / "memory.stat").read_text().split()
    return int(words[words.index("kernel") + 1])


def settled() -> int:
    """The same, once it no longer changes: the kernel flushes its counters every two seconds
    (mm/memcontrol.c), on a busy machine later."""
    last, now = -1, charged()
    while now != last:
        time.sleep(5)
        last, now = now, charged()
    return now


def wait_for(condition: Callable[[], bool], what: str) -> None:
    # The kernel flushes per-CPU counters now and then.
    for _ in range(200):
        if condition():
            return
        time.sleep(0.1)
    sys.exit(f"{what}: {charged()} bytes")


def reader(act: Callable[[taskstats.Source], None]) -> int:
    """Starts a process in the cgroup that acts on an open source; returns its pid."""
    pid = os.fork()
    if not pid:
        (CGROUP / "cgroup.procs").write_text("0")
        with taskstats.Source("proc", exact=True) as source:
            act(source)
        os._exit(0)
    return pid


def is_charged(source: taskstats.Source) -> None:
    before = settled()
    snapshot = source.snapshot()
    assert len(snapshot) > TASKS
    size = memoryview(snapshot).nbytes
    wait_for(lambda: charged() - before > 0.9 * size, "the reader's cgroup pays")
    source.close()
    wait_for(lambda: charged() - before < 0.1 * size, "closing gives it back")


def is_limited(source: taskstats.Source) -> None:
    used = int((CGROUP / "memory.current").read_text())
    (CGROUP / "memory.max").write_text(str(used + 300_000))
    try:
        source.snapshot()
    except OSError as error:
        os._exit(error.errno if error.errno == errno.ENOMEM else 1)


def reads(ready: int) -> Callable[[taskstats.Source], None]:
    def act(source: taskstats.Source) -> None:
        while True:
            source.snapshot()
            os.write(ready, b"x")

    return act


def main() -> None:
    Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("+memory")
    CGROUP.mkdir()
    for _ in range(TASKS):
        if not os.fork():
            signal.pause()
    assert os.waitstatus_to_exitcode(os.waitpid(reader(is_charged), 0)[1]) == 0
    print("as promised: charged")

    code = os.waitstatus_to_exitcode(os.waitpid(reader(is_limited), 0)[1])
    (CGROUP / "memory.max").write_text("max")
    # Beyond the limit the kernel kills the process or refuses memory.
    assert code in (-signal.SIGKILL, errno.ENOMEM), code
    print("as promised: limited")

    wait_for(lambda: charged() < 300_000, "nothing is left of it")
    for round_ in range(20):
        done, ready = os.pipe()
        pid = reader(reads(ready))
        os.read(done, 1)
        # Kill it somewhere in its walk.
        time.sleep(round_ / 1000)
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        os.close(done)
        os.close(ready)
    wait_for(lambda: charged() < 300_000, "nothing is left of the killed")
    with taskstats.Source("proc") as source:
        assert len(source.snapshot()) > TASKS
    CGROUP.rmdir()
    print("as promised: gone")


main()
