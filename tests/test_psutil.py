"""`taskstats.compat.psutil` against psutil's own tests, and beside psutil itself.

psutil's tests come with its wheel. They run here with its module replaced by one that takes
every name of ours first. Left out are those of
* what is no common part: affinity, rlimit, ionice, environ, terminal, threads, files, sockets,
  memory maps, users, frequencies, handles;
* psutil's inside: `_psplatform`, `_pmap`, `_init` and other names that they replace;
* processes that are gone or zombies, which call every method of psutil, also those not here.
  The tests below say what is promised there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import types
import unittest
from collections.abc import Iterator
from pathlib import Path

import psutil as theirs
import psutil.tests
import pytest
import taskstats
from psutil.tests import test_process, test_system
from taskstats.compat import psutil as ours

PROCESS = [
    "children",
    "children_duplicates",
    "children_recursive",
    "cmdline",
    "cpu_num",
    "cpu_percent",
    "cpu_times",
    "cpu_times_2",
    "create_time",
    "cwd",
    "cwd_2",
    "exe",
    "gids",
    "invalid_pid",
    "io_counters",
    "is_running",
    "long_cmdline",
    "long_name",
    "memory_info",
    "name",
    "nice",
    "num_ctx_switches",
    "num_threads",
    "oneshot_cache",
    "parent",
    "parent_multi",
    "parents",
    "parents_and_children",
    "pid",
    "pid_0",
    "ppid",
    "status",
    "suspend_resume",
    "uids",
    "username",
    "wait_non_children",
    "wait_stopped",
    "wait_timeout",
]
ITERATION = ["no_duplicates", "pid_presence"]
CPUS = [
    "cpu_count_logical",
    "cpu_percent",
    "cpu_times",
    "cpu_times_comparison",
    "cpu_times_time_increases",
    "per_cpu_percent",
    "per_cpu_times",
    "per_cpu_times_2",
]
APPLICABLE = [
    *((test_process.TestProcess, name) for name in PROCESS),
    *((test_system.TestProcessIter, name) for name in ITERATION),
    *((test_system.TestCpuAPIs, name) for name in CPUS),
]


class _Replaced(types.ModuleType):
    """psutil with every name of ours instead of its own."""

    def __getattr__(self, name: str) -> object:
        return getattr(ours if hasattr(ours, name) else theirs, name)


def replace_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes their tests use ours."""
    module = _Replaced("psutil")
    for tests in (psutil.tests, test_process, test_system):
        monkeypatch.setattr(tests, "psutil", module)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, list[str]]:
    """What each of their tests complains of. A process of their own has no other children."""
    script = "import json, test_psutil; print(json.dumps(test_psutil.run_theirs()))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_theirs() -> dict[str, list[str]]:
    """Runs their tests on ours."""
    found = {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        replace_psutil(monkeypatch)
        for case, name in APPLICABLE:
            result = unittest.TestResult()
            case(f"test_{name}").run(result)
            complaints = [text for _, text in result.errors + result.failures]
            found[f"{case.__name__}-{name}"] = complaints if result.testsRun == 1 else ["not run"]
    return found


@pytest.mark.parametrize("name", [f"{case.__name__}-{name}" for case, name in APPLICABLE])
def test_psutils_own_tests_pass(name: str, outcomes: dict[str, list[str]]) -> None:
    assert outcomes[name] == []


def test_their_tests_call_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_psutil(monkeypatch)
    monkeypatch.setattr(ours.Process, "ppid", lambda process: -1)
    result = unittest.TestResult()
    test_process.TestProcess("test_ppid").run(result)
    assert result.failures + result.errors


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that sleeps."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


ATTRIBUTES = ["pid", "ppid", "name", "status", "num_threads", "nice", "username", "cmdline", "exe"]


def test_both_say_the_same_of_sleeping_processes(child: subprocess.Popen[bytes]) -> None:
    while theirs.Process(child.pid).status() != "sleeping":
        time.sleep(0.01)
    of_ours = {process.pid: process for process in ours.process_iter(ATTRIBUTES)}[child.pid]
    of_theirs = theirs.Process(child.pid)
    assert "status='sleeping'" in repr(of_ours)
    assert of_ours.info == of_theirs.as_dict(ATTRIBUTES)
    assert of_ours.as_dict(ATTRIBUTES) == of_theirs.as_dict(ATTRIBUTES)
    # psutil counts from the boot in whole seconds, by the clock as it is set now.
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    started = of_theirs.create_time() - theirs.boot_time() + booted
    assert of_ours.create_time() == pytest.approx(started, abs=0.05)
    assert of_ours.memory_info().rss == of_theirs.memory_info().rss
    assert of_ours.memory_info().vms == of_theirs.memory_info().vms
    assert of_ours.uids() == of_theirs.uids()
    assert of_ours.gids() == of_theirs.gids()
    assert of_ours.num_ctx_switches() == of_theirs.num_ctx_switches()
    assert of_ours.io_counters() == of_theirs.io_counters()
    used = of_theirs.cpu_times()
    exact = of_ours.cpu_times()
    # psutil counts in ticks of 10 ms.
    assert exact.user + exact.system == pytest.approx(used.user + used.system, abs=0.03)


def test_iteration_has_every_process_once_by_pid() -> None:
    found = [process.pid for process in ours.process_iter()]
    assert found == sorted(set(found))
    assert os.getpid() in found
    assert not hasattr(next(ours.process_iter()), "info")


def test_what_may_not_be_read_has_the_value_that_was_given() -> None:
    flag = object()
    names = ["pid", "io_counters", "exe"]
    for process in ours.process_iter(names, ad_value=flag):
        assert set(process.info) == set(names)
    assert set(ours.Process().as_dict()) == set(next(ours.process_iter([])).info)
    with pytest.raises(ValueError, match="unknown names"):
        list(ours.process_iter(["nonsense"]))
    with pytest.raises(TypeError, match="give a list"):
        ours.Process().as_dict("name")


def test_a_process_that_is_gone_is_no_such_process(child: subprocess.Popen[bytes]) -> None:
    process = ours.Process(child.pid)
    process.terminate()
    assert process.wait(60) == -15
    assert process.wait() == -15
    assert not process.is_running()
    child.returncode = -15
    for name in ("name", "cpu_times", "cmdline", "exe", "ppid", "uids", "children", "kill"):
        with pytest.raises(ours.NoSuchProcess) as caught:
            getattr(process, name)()
        assert (caught.value.pid, caught.value.name) == (child.pid, "sleep"), name
    assert "terminated" in repr(process)
    with pytest.raises(ours.NoSuchProcess):
        ours.Process(child.pid)
    assert not ours.pid_exists(child.pid)


def test_a_zombie_has_no_arguments() -> None:
    child = subprocess.Popen(["true"])
    process = ours.Process(child.pid)
    while process.status() != ours.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert process.is_running()
    assert process.name() == "true"
    assert process.ppid() == os.getpid()
    for name in ("cmdline", "exe"):
        with pytest.raises(ours.ZombieProcess) as caught:
            getattr(process, name)()
        assert caught.value.ppid == os.getpid()
    found = {found.pid: found.info for found in ours.process_iter(["status", "cmdline"], "none")}
    assert found[child.pid] == {"status": "zombie", "cmdline": "none"}
    child.wait()


def test_another_process_with_its_pid_is_not_it(child: subprocess.Popen[bytes]) -> None:
    process = ours.Process(child.pid)
    with subprocess.Popen(["sleep", "60"]) as other:
        # As if the pid had been reused: the process that was known started at another time.
        process._known = next(task for task in taskstats.processes() if task.ac_pid == os.getpid())
        assert process == ours.Process()
        moved = ours.Process.of(taskstats.task(other.pid))
        moved._known = type("Known", (), {"ac_pid": other.pid, "ac_start_ns": 1, "ac_comm": "x"})()
        assert not moved.is_running()
        with pytest.raises(ours.NoSuchProcess, match="reused"):
            moved.kill()
        assert "PID reused" in repr(moved)
        assert other.poll() is None
        other.kill()


def test_a_thread_is_no_process() -> None:
    code = "import threading, time; threading.Thread(target=time.sleep, args=[60]).start();"
    with subprocess.Popen(
        [sys.executable, "-c", code + "print(flush=True)"], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (thread,) = set(os.listdir(f"/proc/{child.pid}/task")) - {str(child.pid)}
        with pytest.raises(ours.NoSuchProcess):
            ours.Process(int(thread))
        assert not ours.pid_exists(int(thread))
        child.kill()


def test_what_is_not_here_is_said() -> None:
    with pytest.raises(AttributeError):
        _ = ours.sensors_temperatures  # type: ignore[attr-defined]
