"""Acting on tasks: real signals and values, on processes of the test's own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_view import Live  # type: ignore[import-not-found]
from taskstats import acting

from ptop import tasks
from ptop.targets import Target, parse_cpus, parse_ioprio

PTOP = [sys.executable, "-m", "ptop"]
F7, F8, F9 = "\x1b[18~", "\x1b[19~", "\x1b[20~"
DOWN = "\x1b[B"
# Longer than keys are ignored after a menu was drawn.
PAUSE_S = 0.5


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    yield from _sleeper()


def _sleeper() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(["sleep", "31415"])
    yield started
    started.kill()
    started.wait()


@pytest.fixture
def live() -> Iterator[Live]:
    # Without the capabilities of a process nobody may change its nice value.
    live = Live(*(["--keep-root"] if os.geteuid() == 0 else []), columns=100)
    live.until("Name")
    yield live
    live.child.kill(signal.SIGTERM)
    assert live.ended() == 128 + signal.SIGTERM
    assert b"Traceback" not in live.raw


def choose(live: Live, process: subprocess.Popen[bytes]) -> None:
    """Filter by the pid, and select its row."""
    live.child.send(f"\\\x15{process.pid}\r")
    live.until(f" {process.pid} ")
    live.until(": 1 of ")
    live.child.send("\x1b[H")


def press(live: Live, keys: str) -> None:
    """Press a key as a person does: after the screen was drawn, and some time later."""
    time.sleep(PAUSE_S)
    live.child.send(keys)


def pump(live: Live, times: int = 6) -> None:
    for _ in range(times):
        live.pump()


def test_a_signal_reaches_the_task_of_pid_and_start(sleeper: subprocess.Popen[bytes]) -> None:
    target = tasks.find(sleeper.pid)
    assert (target.name, target.tgid, target.is_thread) == ("sleep", sleeper.pid, False)
    later = Target(target.pid, target.start + 1, target.tgid)
    with pytest.raises(tasks.GoneError, match="another task has its pid"):
        tasks.send(later, signal.SIGTERM)
    with pytest.raises(tasks.GoneError, match="another task has its pid"):
        tasks.set_nice(later, 5)
    with pytest.raises(tasks.GoneError, match="another task has its pid"):
        tasks.set_ioprio(later, parse_ioprio("idle"))
    with pytest.raises(tasks.GoneError, match="another task has its pid"):
        tasks.set_cpus(later, {0})
    assert sleeper.poll() is None
    assert os.getpriority(os.PRIO_PROCESS, sleeper.pid) == 0
    tasks.send(target, signal.SIGTERM)
    assert sleeper.wait() == -signal.SIGTERM
    with pytest.raises(tasks.GoneError, match="has gone"):
        tasks.send(target, signal.SIGTERM)


def test_a_zombie_is_no_target(sleeper: subprocess.Popen[bytes]) -> None:
    target = tasks.find(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(tasks.GoneError, match="has died"):
        tasks.send(target, signal.SIGTERM)


# In a pid namespace of few pids, of which those from 300 on come again: the signal of a task that
# has gone must not reach the next one of its pid.
REUSED = """
import os, pathlib, signal, sys, time
pathlib.Path("/proc/sys/kernel/pid_max").write_text("400")
from ptop import tasks
def child():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid
while (first := child()) < 310:
    os.kill(first, signal.SIGKILL); os.waitpid(first, 0)
old = tasks.find(first)
os.kill(first, signal.SIGKILL); os.waitpid(first, 0)
# Starts have the resolution of a tick.
time.sleep(0.05)
while (pid := child()) != first:
    os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
try:
    tasks.send(old, signal.SIGKILL)
    print("signalled")
except tasks.GoneError as error:
    print(error)
print(os.waitpid(pid, os.WNOHANG))
tasks.send(tasks.find(pid), signal.SIGKILL)
print(os.waitpid(pid, 0)[1])
"""


def test_a_pid_that_comes_again_is_another_task(needs: Callable[[bool, str], None]) -> None:
    needs(os.geteuid() == 0, "needs root to make a pid namespace")
    inside = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", REUSED]
    done = subprocess.run(inside, capture_output=True, text=True, timeout=120, check=False)
    if "pid_max" in done.stderr:
        # Before Linux 6.14 all namespaces share one maximum.
        needs(False, f"no maximum of pids for a namespace: {done.stderr}")
    first, *rest = done.stdout.splitlines() or [done.stderr]
    assert "has gone; another task has its pid now" in first
    assert rest == ["(0, 0)", str(int(signal.SIGKILL))]


def test_a_foreign_proc_names_no_targets(needs: Callable[[bool, str], None]) -> None:
    needs(os.geteuid() == 0, "needs root to make a pid namespace")
    script = "from ptop import tasks; tasks.find(1)"
    # Without --mount-proc /proc shows the tasks outside.
    inside = ["unshare", "--pid", "--fork", sys.executable, "-c", script]
    done = subprocess.run(inside, capture_output=True, text=True, timeout=120, check=False)
    assert "/proc is that of another pid namespace" in done.stderr


THREADS = """
import threading, time
def idle(): time.sleep(31415)
for _ in range(2): threading.Thread(target=idle, daemon=True).start()
print("ready", flush=True)
time.sleep(31415)
"""


def test_a_process_is_all_its_threads_and_a_thread_is_one() -> None:
    words = [sys.executable, "-c", THREADS]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            tids = sorted(int(name) for name in os.listdir(f"/proc/{process.pid}/task"))
            assert len(tids) == 3
            tasks.set_nice(tasks.find(process.pid), 4)
            tasks.set_ioprio(tasks.find(process.pid), parse_ioprio("be 6"))
            tasks.set_cpus(tasks.find(process.pid), {0})
            for tid in tids:
                assert os.getpriority(os.PRIO_PROCESS, tid) == 4
                assert acting.ioprio(tid) == parse_ioprio("be 6")
                assert os.sched_getaffinity(tid) == {0}
            thread = tasks.find(tids[-1])
            assert (thread.tgid, thread.is_thread) == (process.pid, True)
            tasks.set_nice(thread, 7)
            assert [os.getpriority(os.PRIO_PROCESS, tid) for tid in tids] == [4, 4, 7]
            # A signal that stops a process does so through any of its threads.
            tasks.send(thread, signal.SIGTERM)
            assert process.wait() == -signal.SIGTERM
        finally:
            process.kill()


def test_a_signal_of_a_thread_is_that_threads_alone() -> None:
    ready, sent = threading.Event(), threading.Event()
    tid: list[int] = []

    def wait() -> None:
        tid.append(threading.get_native_id())
        ready.set()
        sent.wait(20)
        signal.sigtimedwait({signal.SIGUSR2}, 0)

    def pending(name: str) -> int:
        status = Path(f"/proc/self/task/{tid[0]}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1], 16)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    thread = threading.Thread(target=wait)
    try:
        thread.start()
        assert ready.wait(20)
        tasks.send(tasks.find(tid[0]), signal.SIGUSR2)
        bit = 1 << (signal.SIGUSR2 - 1)
        assert (pending("SigPnd") & bit, pending("ShdPnd") & bit) == (bit, 0)
    finally:
        sent.set()
        thread.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PTOP, *words], capture_output=True, text=True, timeout=60, check=False)


def test_the_command_signals_only_what_it_names(sleeper: subprocess.Popen[bytes]) -> None:
    target = tasks.find(sleeper.pid)
    other = f"{target.pid}@{target.start - 1}"
    done = command("signal", "TERM", other)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"ptop: {target.pid} has gone; another task has its pid now: not signalled\n"
    )
    assert sleeper.poll() is None
    # The others are signalled all the same.
    done = command("signal", "TERM", other, str(target))
    assert done.returncode == 1
    assert sleeper.wait() == -signal.SIGTERM
    done = command("signal", "TERM", str(target))
    assert done.returncode == 1
    assert command("signal", "TERM", str(sleeper.pid)).returncode == 2
    assert command("signal", "NONE", str(target)).returncode == 2


def test_the_command_says_what_to_type_where_it_may_not(
    as_nobody: list[str], sleeper: subprocess.Popen[bytes]
) -> None:
    target = tasks.find(sleeper.pid)
    words = [*as_nobody, "signal", "KILL", str(target)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"ptop: {target.pid} may not be signalled;"
        f" type: sudo /opt/venv/bin/ptop signal KILL {target}\n"
    )
    assert sleeper.poll() is None


def test_the_menu_opens_on_cancel_and_sends_term(
    live: Live, sleeper: subprocess.Popen[bytes]
) -> None:
    choose(live, sleeper)
    press(live, F9)
    live.until(f"signal to {sleeper.pid} sleep, started ")
    lines = live.screen.display
    assert (lines[1].strip(), lines[2].split()[:2]) == ("Cancel", ["15", "TERM"])
    assert all(live.screen.buffer[1][column].reverse for column in range(6))
    press(live, "\r")
    live.until("no signal was sent")
    assert sleeper.poll() is None
    press(live, F9)
    live.until("signal to ")
    press(live, DOWN)
    press(live, "\r")
    live.until(f"done: send TERM to {sleeper.pid} sleep")
    assert sleeper.wait() == -signal.SIGTERM


def test_keys_that_come_with_the_menu_are_ignored(
    live: Live, sleeper: subprocess.Popen[bytes]
) -> None:
    choose(live, sleeper)
    # Of one read; and what follows at once is of the first moments.
    live.child.send(f"{F9}{DOWN}\r")
    live.child.send(f"{DOWN}\r")
    live.until("signal to ")
    pump(live)
    assert "signal to " in live.text()
    assert all(live.screen.buffer[1][column].reverse for column in range(6))
    # Nor what is pasted, with marks or without.
    press(live, f"\x1b[200~{DOWN}\r\x1b[201~")
    press(live, f"{DOWN}\r")
    pump(live)
    assert "signal to " in live.text()
    assert sleeper.poll() is None
    press(live, "\x1b")
    live.until("F10Quit")
    # A key right after a paste does not even open it.
    live.child.send(f"\x1b[200~x\x1b[201~{F9}")
    live.until("ignored: a key right after a paste")
    assert sleeper.poll() is None


def test_several_tagged_tasks_are_asked_about_again(
    live: Live, sleeper: subprocess.Popen[bytes]
) -> None:
    for other in _sleeper():
        for process in (sleeper, other):
            choose(live, process)
            live.child.send(" ")
            pump(live, 3)
        press(live, F9)
        live.until("signal to 2 tasks: ")
        press(live, DOWN)
        press(live, "\r")
        live.until("really send TERM to ")
        live.until("no: change nothing")
        live.until(f"{other.pid} sleep, started")
        press(live, "\r")
        live.until("nothing was changed")
        assert (sleeper.poll(), other.poll()) == (None, None)
        press(live, F9)
        live.until("signal to 2 tasks: ")
        press(live, DOWN)
        press(live, "\r")
        live.until("really send TERM to ")
        press(live, DOWN)
        press(live, "\r")
        live.until("done: send TERM to ")
        assert {sleeper.wait(), other.wait()} == {-signal.SIGTERM}


def test_values_are_set(live: Live, sleeper: subprocess.Popen[bytes]) -> None:
    choose(live, sleeper)
    press(live, F8)
    live.until("done: change the nice value by +1")
    assert os.getpriority(os.PRIO_PROCESS, sleeper.pid) == 1
    press(live, "R")
    live.until(f"nice, -20 to 19, of {sleeper.pid} sleep: 1")
    press(live, "\x1599")
    press(live, "\r")
    live.until("'99' is not a nice value")
    press(live, "\x157")
    press(live, "\r")
    live.until("done: set the nice value 7")
    assert os.getpriority(os.PRIO_PROCESS, sleeper.pid) == 7
    press(live, "i")
    live.until("I/O: idle, be 0-7, rt 0-7, of ")
    press(live, "\x15idle")
    press(live, "\r")
    live.until("done: set the I/O priority idle")
    assert acting.ioprio(sleeper.pid) == parse_ioprio("idle")
    press(live, "a")
    live.until(f"CPUs of {sleeper.pid} sleep")
    press(live, "\x150")
    press(live, "\r")
    live.until("done: set the CPUs 0 of ")
    assert os.sched_getaffinity(sleeper.pid) == parse_cpus("0")


def test_pid_1_is_asked_about_again() -> None:
    live = Live("--pid", "1", columns=100)
    live.until(": 1 of ")
    live.child.send("\x1b[H")
    press(live, F8)
    live.until("really change the nice value by +1 of 1 ")
    press(live, "\r")
    live.until("nothing was changed")
    live.child.send("q")
    assert live.ended() == 0
    assert os.getpriority(os.PRIO_PROCESS, 1) == 0


def test_the_dead_get_no_signal(live: Live, sleeper: subprocess.Popen[bytes]) -> None:
    choose(live, sleeper)
    sleeper.kill()
    sleeper.wait()
    live.until("died")
    press(live, F9)
    live.until(f"{sleeper.pid} has gone")


def test_read_only_changes_nothing(sleeper: subprocess.Popen[bytes]) -> None:
    live = Live("--read-only", columns=100)
    live.until("Name")
    choose(live, sleeper)
    for key in (F7, F8, F9, "R", "i", "a"):
        press(live, key)
        live.until("ptop runs with --read-only")
        live.child.send("\x1b")
        live.until("F10Quit")
    live.child.send("q")
    assert live.ended() == 0
    assert sleeper.poll() is None


def test_a_replay_signals_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tsd"
    subprocess.run([*PTOP, "record", "-o", path, "--for", "0.5", "-d", "0.1"], check=True)
    replay = "import sys; from ptop import cli; sys.exit(cli.main(['replay', sys.argv[-1]]))"
    live = Live(str(path), command=[sys.executable, "-c", replay], columns=100)
    live.until("Name")
    live.child.send(F9)
    live.until("F9 works in the live view alone")
    live.child.send("q")
    assert live.ended() == 0


@pytest.fixture
def privileged(needs: Callable[[bool, str], None]) -> Iterator[subprocess.Popen[bytes]]:
    needs(os.geteuid() == 0, "needs root to give it up")
    yield from _sleeper()


SUDO = {"SUDO_UID": "65534", "SUDO_GID": "65534"}


def test_what_sudo_gave_up_is_said_with_the_command_to_type(
    privileged: subprocess.Popen[bytes],
) -> None:
    live = Live(columns=80, environment=SUDO)
    live.until("Name")
    assert "ROOT" not in live.text()
    choose(live, privileged)
    press(live, F9)
    live.until("signal to ")
    press(live, DOWN)
    press(live, "\r")
    live.until("The kernel refused to send TERM to ")
    target = tasks.find(privileged.pid)
    typed = " ".join(line.rstrip().removesuffix("\\") for line in live.screen.display)
    assert re.search(rf"sudo \S*ptop +signal +TERM +{target}", typed), live.text()
    assert privileged.poll() is None
    live.child.send("\x1b")
    live.until("F10Quit")
    live.child.send("q")
    assert live.ended() == 0


def test_root_is_kept_where_that_is_asked_for(privileged: subprocess.Popen[bytes]) -> None:
    live = Live("--keep-root", columns=80, environment=SUDO)
    live.until("ROOT")
    choose(live, privileged)
    press(live, F7)
    live.until("done: change the nice value by -1")
    assert os.getpriority(os.PRIO_PROCESS, privileged.pid) == -1
    live.child.send("q")
    assert live.ended() == 0


def test_root_that_is_not_there_cannot_be_kept(as_nobody: list[str]) -> None:
    words = [*as_nobody, "--keep-root"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "ptop: --keep-root: ptop is not root; type: sudo /opt/venv/bin/ptop --keep-root\n"
    )
