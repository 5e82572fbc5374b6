"""Records of tasks that exited: each is there once, with the time that the task used.

The truth is between the last reading of a task's own clock and what wait4 returns, for BPF, which
counts up to the last switch, what a cgroup counts.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time

import taskstats
from counted import cgroup, check_all

BURNT_S = 0.1


def sources() -> tuple[str, ...]:
    """The sources that report exits: bpf has to where its programs walk in one call."""
    try:
        taskstats.exits(source="bpf").close()
    except taskstats.Unsupported:
        assert os.environ["PRECISE_TOP_WAY"] != "one call"
        return ("netlink",)
    return ("bpf", "netlink")


SOURCES = sources()


def names_processes(source: str) -> bool:
    """Whether exit records name the process: the kernel's own do from version 12 on. Without that,
    snapshots have no rows of the dead."""
    return source == "bpf" or (taskstats.get(os.getpid()).version or 0) >= 12


def spawn(last: str = "os._exit(7)", group: str = "") -> tuple[subprocess.Popen[str], list[int]]:
    """Start a process that burns CPU time and ends with the code `last`. Returns it at its end,
    before anybody has waited for it, and its clock: before and after it joined the cgroup, and at
    its end."""
    join = f"open('{group}/cgroup.procs', 'w').write('0')" if group else ""
    program = (
        f"import os, time\nclock = time.process_time_ns\nbefore = clock()\n{join}\n"
        f"joined = clock()\nwhile clock() < {BURNT_S} * 1e9: pass\n"
        f"print(before, joined, clock(), flush=True)\n{last}"
    )
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", program], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    readings = [int(word) for word in child.stdout.readline().split()]
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    return child, readings


def reap(child: subprocess.Popen[str]) -> tuple[int, int, int]:
    """Wait for a child: its status, its CPU time in ns to 2 us, and its minor faults."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    assert child.stdout
    child.stdout.close()
    used = round(usage.ru_utime * 1e6) + round(usage.ru_stime * 1e6)
    return status, used * 1000, usage.ru_minflt


def a_record_has_what_the_task_used() -> None:
    for name in SOURCES:
        with cgroup() as group, taskstats.exits(source=name) as exits:
            kill = f"os.kill(os.getpid(), {int(signal.SIGTERM)})"
            for last, expected in (("os._exit(7)", 7 << 8), (kill, signal.SIGTERM)):
                counted = -group.used_ns()
                child, (least, most, reading) = spawn(last, str(group.path))
                status, waited, faults = reap(child)
                task = next(task for task in exits if task.ac_pid == child.pid)
                group.wait()
                counted += group.used_ns()
                assert task.exited
                assert task.ac_exitcode == status == expected
                assert task.ac_ppid == os.getpid()
                assert task.ac_tgid == (child.pid if names_processes(name) else None)
                assert task.ac_uid == os.getuid()
                assert task.ac_comm == os.path.basename(sys.executable)[:15]
                assert task.cpu_ns is not None
                if name == "bpf":
                    # Both ends are rounded.
                    assert task.cpu_ns >= waited - 2000, (task.cpu_ns, waited)
                    assert least + counted - 1000 <= task.cpu_ns < most + counted + 1000
                else:
                    assert reading <= task.cpu_ns < waited + 2000, (reading, task.cpu_ns, waited)
                # The memory is freed, and may fault, after the record of netlink is made.
                assert task.ac_minflt is not None
                assert 0 < task.ac_minflt <= faults
            assert exits.lost == 0


def every_thread_has_a_record() -> None:
    program = (
        "import threading, time\n"
        "def burn():\n  while time.thread_time_ns() < 3e7: pass\n"
        "threads = [threading.Thread(target=burn) for _ in range(4)]\n"
        "[each.start() for each in threads]; [each.join() for each in threads]"
    )
    for name in SOURCES:
        with taskstats.exits(source=name) as exits:
            child = subprocess.Popen([sys.executable, "-c", program])
            assert child.wait() == 0
            found: dict[int, int] = {}
            for task in exits:
                # Threads have the parent of their process.
                if task.ac_ppid == os.getpid():
                    found[task.ac_pid or 0] = task.cpu_ns or 0
                if len(found) == 5:
                    break
        burnt = [used for pid, used in found.items() if pid != child.pid]
        assert len(burnt) == 4
        assert min(burnt) >= 30_000_000, found


def an_interval_has_each_exit_once() -> None:
    for name in (*SOURCES, "procfs"):
        with taskstats.Source(name, exact=True) as source:
            start = source.snapshot()
            child, (_, _, reading) = spawn()
            first = taskstats.usage(start, source.snapshot())
            _, waited, _ = reap(child)
            second = taskstats.usage(first.cur, source.snapshot())
        rows = [
            interval.select(["total_ns", "exited"], pids=[child.pid])
            for interval in (first, second)
        ]
        # The zombie's row has its whole time, the later record adds nothing.
        ((zombie, _),), later = rows
        assert later == ([(0, 1)] if names_processes(name) else []), (name, rows)
        assert isinstance(zombie, int)
        assert reading <= zombie, (name, reading, zombie)
        assert name == "bpf" or zombie < waited + 2000, (name, zombie, waited)


def a_storm_is_read_without_loss() -> None:
    processes = 300
    program = f"import os\nfor _ in range({processes}):\n  os.fork() or os._exit(0)\n  os.wait()"
    for name in SOURCES:
        with taskstats.exits(source=name) as exits:
            storm = subprocess.Popen([sys.executable, "-S", "-c", program])
            seen: dict[int, int] = {}
            while storm.pid not in seen:
                for task in exits.read():
                    if storm.pid in (task.ac_ppid, task.ac_pid):
                        seen[task.ac_pid or 0] = seen.get(task.ac_pid or 0, 0) + 1
                select.select([exits], [], [], 0.1)
            assert storm.wait() == 0
            assert exits.lost == 0, exits.lost
            assert len(seen) == processes + 1, (name, len(seen))
            assert set(seen.values()) == {1}, "a task ends once"


def closing_in_another_thread_ends_the_wait() -> None:
    for name in SOURCES:
        with taskstats.exits(source=name) as exits:
            said: list[str] = []

            def wait(exits: taskstats.Exits, said: list[str]) -> None:
                try:
                    for _ in exits:
                        pass
                except ValueError as error:
                    said.append(str(error))

            thread = threading.Thread(target=wait, args=(exits, said))
            thread.start()
            time.sleep(0.1)
            exits.close()
            thread.join()
        assert said == ["the exits are closed"]


check_all(
    a_record_has_what_the_task_used,
    every_thread_has_a_record,
    an_interval_has_each_exit_once,
    a_storm_is_read_without_loss,
    closing_in_another_thread_ends_the_wait,
)
