"""Exit records of every source that has them, compared with wait4."""

from __future__ import annotations

import asyncio
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import taskstats

# A busy child's exit event lacks at most its last tick, of at most 10 ms.
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
def test_an_interval_includes_tasks_that_exited_in_it(name: str) -> None:
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
    # The zombie's row has its whole time; the later exit record adds nothing.
    assert (second or 0) == 0
    assert abs(first - cpu_ns(usage)) <= 2 * TICK_NS


@pytest.mark.usefixtures("net_admin")
@pytest.mark.parametrize("name", ["netlink", "procfs"])
def test_a_process_of_many_threads_exits_as_one_row(name: str) -> None:
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
    # Five threads, each short by up to a tick.
    assert cpu_ns(usage) - 5 * TICK_NS <= total <= cpu_ns(usage) + TICK_NS
    assert total >= 200_000_000 - 5 * TICK_NS


@pytest.mark.usefixtures("net_admin")
def test_exec_by_another_thread_keeps_the_process_identity() -> None:
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
            # The row shows neither the process's whole life nor a negative use.
            assert total is not None
            assert 0 <= int(str(total)) < 100_000_000
    finally:
        child.kill()
        child.communicate()


@pytest.fixture(params=["bpf", "netlink"])
def exits(
    request: pytest.FixtureRequest, needs: Callable[[bool, str], None]
) -> Iterator[taskstats.Exits]:
    """An open reader of exits, of every source in turn."""
    name: str = request.param
    report = next(report for report in taskstats.sources() if report.name == name)
    needs(report.available, f"{name}: {report.reason}")
    with taskstats.exits(source=name) as opened:
        assert opened.source == name
        yield opened


def of(exits: taskstats.Exits, pid: int) -> taskstats.Task:
    return next(task for task in exits if task.ac_pid == pid)


def test_exits_are_returned_one_by_one(exits: taskstats.Exits) -> None:
    child = subprocess.Popen(["sh", "-c", "exit 7"])
    child.wait()
    readable, _, _ = select.select([exits], [], [], 10)
    assert readable
    task = of(exits, child.pid)
    assert task.exited
    assert task.ac_exitcode == 7 << 8
    assert task.ac_comm == "sh"
    assert exits.lost == 0
    exits.close()
    with pytest.raises(ValueError, match="closed"):
        exits.read()


def test_an_exit_record_agrees_with_wait4(exits: taskstats.Exits) -> None:
    program = """
import os, signal, time
while time.process_time() < 0.2: pass
data = os.urandom(3_000_000)
for _ in range(20): time.sleep(0.001)
os.kill(os.getpid(), signal.SIGTERM)
"""
    words = [sys.executable, "-c", program]
    child = subprocess.Popen(words)
    # One child starts before the listener, one after.
    with taskstats.exits(source=exits.source) as later:
        for listener in (exits, later):
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = status
            task = of(listener, child.pid)
            # Netlink lacks the last tick and the time to free the memory.
            short = 0 if listener.source == "bpf" else 2 * TICK_NS
            assert task.cpu_ns is not None
            assert cpu_ns(usage) - short - 1_000 <= task.cpu_ns <= cpu_ns(usage) + TICK_NS
            assert task.ac_exitcode == status == signal.SIGTERM
            assert (task.ac_tgid, task.ac_ppid) == (child.pid, os.getpid())
            assert task.ac_uid == os.getuid()
            assert task.ac_minflt is not None
            assert abs(task.ac_minflt - usage.ru_minflt) <= usage.ru_minflt * 0.02
            assert task.nvcsw is not None
            # wait4 counts before the last switch.
            assert 0 <= usage.ru_nvcsw - task.nvcsw <= 1
            child = subprocess.Popen(words)
        child.kill()
        child.wait()


def test_every_thread_of_a_process_is_an_exit(exits: taskstats.Exits) -> None:
    program = """
import threading, time
def burn():
    start = time.thread_time()
    while time.thread_time() - start < 0.05: pass
threads = [threading.Thread(target=burn) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
"""
    child = subprocess.Popen([sys.executable, "-c", program])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    found: dict[int, int] = {}
    for task in exits:
        if task.ac_tgid == child.pid:
            found[task.ac_pid or 0] = task.cpu_ns or 0
            if len(found) == 5:
                break
    assert child.pid in found
    assert sorted(found.values())[1] >= 50_000_000 - TICK_NS, "all but the first thread are busy"
    short = 0 if exits.source == "bpf" else 5 * TICK_NS
    assert cpu_ns(usage) - short - 1_000 <= sum(found.values()) <= cpu_ns(usage) + 5 * TICK_NS


def test_fetched_but_unread_exits_keep_the_descriptor_readable(
    exits: taskstats.Exits,
) -> None:
    children = [subprocess.Popen(["true"]) for _ in range(5)]
    for child in children:
        child.wait()
    pids: set[int | None] = set()
    while not {child.pid for child in children} <= pids:
        readable, _, _ = select.select([exits], [], [], 10)
        assert readable, f"{len(pids)} of 5"
        pids.add(next(exits).ac_pid)
    # Exits of other programs may be waiting.
    while exits.read():
        pass


def test_asyncio_can_wait_for_exits(exits: taskstats.Exits) -> None:
    async def wait_for(name: str) -> int:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[int] = loop.create_future()

        def take() -> None:
            for task in exits.read():
                if task.ac_comm == name and not found.done():
                    found.set_result(task.ac_pid or 0)

        loop.add_reader(exits.fileno(), take)
        child = await asyncio.create_subprocess_exec("true")
        await child.wait()
        assert await asyncio.wait_for(found, 10) == child.pid
        loop.remove_reader(exits.fileno())
        return child.pid

    assert asyncio.run(wait_for("true")) > 0


def test_waiting_for_an_exit_can_be_interrupted(exits: taskstats.Exits) -> None:
    def later() -> None:
        time.sleep(0.2)
        os.kill(os.getpid(), 2)

    # A shell's background job ignores the signal, and so would its children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        exits.read()
        thread = threading.Thread(target=later)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            for _ in exits:
                pass
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_closing_in_another_thread_ends_the_wait(exits: taskstats.Exits) -> None:
    said: list[str] = []

    def wait() -> None:
        try:
            for _ in exits:
                pass
        except ValueError as error:
            said.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    exits.close()
    thread.join(10)
    assert said == ["the exits are closed"]


def test_a_forked_child_neither_reads_nor_closes_its_parents_exits(
    exits: taskstats.Exits,
) -> None:
    pid = os.fork()
    if not pid:
        status = 1
        try:
            exits.read()
        except taskstats.Unsupported as error:
            status = 7 if "open another one after the fork" in str(error) else 2
        exits.close()
        os._exit(status)
    assert os.waitpid(pid, 0)[1] == 7 << 8
    assert of(exits, pid).ac_exitcode == 7 << 8
    # Closing in the child leaves the parent's reader open.
    child = subprocess.Popen(["true"])
    child.wait()
    assert of(exits, child.pid).ac_comm == "true"


# Starts threads, ten at a time, that end at once.
THREADS = """
import _thread, sys
import threading
lock = threading.Semaphore(0)
for _ in range(int(sys.argv[1]) // 10):
    for _ in range(10):
        _thread.start_new_thread(lock.release, ())
    for _ in range(10):
        lock.acquire()
"""


def test_a_storm_of_exits_is_read_without_loss(exits: taskstats.Exits) -> None:
    storms, each = 2, 30_000
    words = [sys.executable, "-S", "-c", THREADS, str(each)]
    running = [subprocess.Popen(words) for _ in range(storms)]
    pids = {process.pid for process in running}
    seen: dict[tuple[int | None, int | None], int] = {}
    left = set(pids)
    for task in exits:
        if task.ac_tgid in pids:
            key = (task.ac_tgid, task.ac_pid)
            seen[key] = seen.get(key, 0) + 1
            left.discard(task.ac_pid or 0)
        if not left:
            break
    for process in running:
        assert process.wait() == 0
    # A thread may end a little after the process's first thread.
    while sum(seen.values()) < storms * (each + 1) and select.select([exits], [], [], 1)[0]:
        for task in exits.read():
            if task.ac_tgid in pids:
                seen[(task.ac_tgid, task.ac_pid)] = seen.get((task.ac_tgid, task.ac_pid), 0) + 1
    assert exits.lost == 0
    assert sum(seen.values()) == storms * (each + 1)


def test_unread_exits_beyond_the_buffer_count_as_lost(exits: taskstats.Exits) -> None:
    storms, each = 2, 30_000
    words = [sys.executable, "-S", "-c", THREADS, str(each)]
    running = [subprocess.Popen(words) for _ in range(storms)]
    pids = {process.pid for process in running}
    for process in running:
        process.wait()
    seen = exits.read()
    # Over netlink, the next event of a CPU shows how many were lost before it.
    for cpu in os.sched_getaffinity(0):
        subprocess.run(["taskset", "-c", str(cpu), "true"], check=True)
    seen += exits.read()
    ours = sum(task.ac_tgid in pids for task in seen)
    assert exits.lost > 0
    assert ours < storms * each
    assert len(seen) + exits.lost >= storms * (each + 1)


def test_exits_name_their_source() -> None:
    with pytest.raises(ValueError, match=r"no exits from .procfs.: choose auto, bpf"):
        taskstats.exits("procfs")
    states = {report.name: report.available for report in taskstats.sources()}
    if states["bpf"] or states["netlink"]:
        with taskstats.exits() as exits:
            assert exits.source == ("bpf" if states["bpf"] else "netlink")


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


def test_exits_need_a_capability() -> None:
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
