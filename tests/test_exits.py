"""Tasks that die, against wait4: by every source that tells of them."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import taskstats

# A busy child's exit event lacks at most its last tick; 10 ms is the longest there is.
TICK_NS = 10_000_000


@pytest.fixture
def net_admin(needs: Callable[[bool, str], None]) -> None:
    report = next(report for report in taskstats.sources() if report.name == "netlink")
    needs(report.available, f"netlink: {report.reason}")


def burn(seconds: float) -> list[str]:
    program = f"import time\nwhile time.process_time() < {seconds}: pass"
    return [sys.executable, "-c", program]


def total_of(interval: taskstats.Interval, pid: int) -> Sequence[tuple[object, ...]]:
    return interval.select(["total_ns", "exited"], pids=[pid])


def cpu_ns(usage: resource.struct_rusage) -> int:
    return round((usage.ru_utime + usage.ru_stime) * 1e9)


@pytest.mark.usefixtures("net_admin")
@pytest.mark.parametrize("name", ["netlink", "procfs"])
def test_what_died_in_an_interval_is_in_it(name: str) -> None:
    with taskstats.Source(name, exact=True) as source:
        before = source.snapshot()
        child = subprocess.Popen(burn(0.2))
        _, _, usage = os.wait4(child.pid, 0)
        child.returncode = 0
        after = source.snapshot()
    interval = taskstats.usage(before, after)
    ((total, exited),) = total_of(interval, child.pid)
    assert exited == 1
    assert isinstance(total, int)
    assert abs(total - cpu_ns(usage)) <= 2 * TICK_NS
    assert child.pid in {task.ac_pid for task in after.exits}
    assert all(task.exited for task in after.exits)


@pytest.mark.usefixtures("net_admin")
@pytest.mark.parametrize("name", ["netlink", "procfs"])
def test_a_zombie_counts_once(name: str) -> None:
    with taskstats.Source(name, exact=True) as source:
        start = source.snapshot()
        child = subprocess.Popen(burn(0.1))
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        zombie = taskstats.usage(start, source.snapshot())
        _, _, usage = os.wait4(child.pid, 0)
        child.returncode = 0
        gone = taskstats.usage(zombie, source.snapshot())
    ((first, _),) = total_of(zombie, child.pid)
    ((second, exited),) = total_of(gone, child.pid)
    assert exited == 1
    assert isinstance(first, int)
    # The zombie's row has the whole; its exit, told later, adds nothing.
    assert (second or 0) == 0
    assert abs(first - cpu_ns(usage)) <= 2 * TICK_NS


@pytest.mark.usefixtures("net_admin")
@pytest.mark.parametrize("name", ["netlink", "procfs"])
def test_a_process_of_many_threads_dies_as_one_row(name: str) -> None:
    program = """
import threading, time
def burn():
    start = time.thread_time()
    while time.thread_time() - start < 0.05: pass
threads = [threading.Thread(target=burn) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
"""
    with taskstats.Source(name, exact=True) as source:
        before = source.snapshot()
        child = subprocess.Popen([sys.executable, "-c", program])
        _, _, usage = os.wait4(child.pid, 0)
        child.returncode = 0
        interval = taskstats.usage(before, source.snapshot())
    ((total, exited),) = total_of(interval, child.pid)
    assert exited == 1
    assert isinstance(total, int)
    # Five threads, each up to a tick short.
    assert cpu_ns(usage) - 5 * TICK_NS <= total <= cpu_ns(usage) + TICK_NS
    assert total >= 200_000_000 - 5 * TICK_NS


@pytest.mark.usefixtures("net_admin")
def test_exec_by_another_thread_keeps_the_process_whole() -> None:
    program = """
import os, sys, threading, time
start = time.process_time()
while time.process_time() - start < 0.2: pass
print("burnt", flush=True)
sys.stdin.readline()
threading.Thread(target=os.execvp, args=("sleep", ["sleep", "60"])).start()
time.sleep(60)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout
    assert child.stdin
    try:
        for name in ("netlink", "procfs"):
            with taskstats.Source(name, exact=True) as source:
                if name == "netlink":
                    child.stdout.readline()
                before = source.snapshot()
                if name == "netlink":
                    child.stdin.write(b"\n")
                    child.stdin.flush()
                    while not Path(f"/proc/{child.pid}/cmdline").read_bytes().startswith(b"sleep"):
                        time.sleep(0.01)
                rows = total_of(taskstats.usage(before, source.snapshot()), child.pid)
            ((total, exited),) = rows
            assert exited is None
            # Neither the whole past of the process nor a step back.
            assert total is not None
            assert 0 <= int(str(total)) < 100_000_000
    finally:
        child.kill()
        child.communicate()


@pytest.mark.usefixtures("net_admin")
def test_exits_come_one_by_one() -> None:
    with taskstats.exits() as exits:
        child = subprocess.Popen(["sh", "-c", "exit 7"])
        child.wait()
        readable, _, _ = select.select([exits], [], [], 10)
        assert readable
        task = next(task for task in exits if task.ac_pid == child.pid)
        assert task.exited
        assert task.ac_exitcode == 7 << 8
        assert task.ac_comm == "sh"
        assert exits.lost == 0
    with pytest.raises(ValueError, match="closed"):
        exits.read()


@pytest.mark.usefixtures("net_admin")
def test_waiting_for_an_exit_can_be_interrupted() -> None:
    def later() -> None:
        time.sleep(0.2)
        os.kill(os.getpid(), 2)

    # A shell's background job ignores the signal, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with taskstats.exits() as exits:
            exits.read()
            thread = threading.Thread(target=later)
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                for _ in exits:
                    pass
            thread.join()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("net_admin")
def test_thousands_of_exits_wait_without_loss() -> None:
    with taskstats.Source("netlink", exact=True) as source:
        before = source.snapshot()
        subprocess.run(["sh", "-c", "for i in $(seq 3000); do (:); done"], check=True)
        after = source.snapshot()
    assert after.exits_lost == before.exits_lost
    interval = taskstats.usage(before, after)
    shells = [row for row in interval.select(["ac_comm", "exited"]) if row == ("sh", 1)]
    assert len(shells) >= 3000


def test_exits_need_the_privilege() -> None:
    if os.geteuid() == 0:
        result = subprocess.run(
            [sys.executable, "-c", "import os,taskstats\nos.setuid(65534)\ntaskstats.exits()"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "AccessDenied" in result.stderr
    else:
        with pytest.raises(taskstats.AccessDenied):
            taskstats.exits()
