"""How the bpf source opens, what a snapshot costs, and namespaces."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import taskstats


@pytest.mark.parametrize("exact", [False, True])
def test_one_run_a_snapshot_as_strace_counts(
    bpf: Callable[..., taskstats.Source],
    needs: Callable[[bool, str], None],
    tmp_path: Path,
    exact: bool,
) -> None:
    needs(subprocess.run(["which", "strace"], capture_output=True).returncode == 0, "no strace")
    script = f"""
import os, taskstats
with taskstats.Source("bpf", exact={exact}) as source:
    hidden = source.snapshot().merged
    for _ in range(3):
        os.getpgrp(); snapshot = source.snapshot(); os.getpgrp()
    print(hidden)
"""
    log = tmp_path / "calls"
    done = subprocess.run(
        ["strace", "-o", str(log), sys.executable, "-c", script],
        check=True,
        text=True,
        capture_output=True,
    )
    hidden = int(done.stdout)
    between = log.read_text().split("getpgrp()")[1::2]
    assert len(between) == 3
    # The first snapshots allocate the arrays that later ones reuse.
    calls = re.findall(r"^(bpf\(\w+|\w+)", between[-1], re.MULTILINE)
    # The clocks of hidden processes are read before the run, and again after it where
    # the caller was preempted in between.
    clocks = [call for call in calls if call == "clock_gettime"]
    assert len(clocks) in (hidden, 2 * hidden)
    others = [call for call in calls if call not in {"clock_gettime", "+", ")"}]
    assert others[0].startswith("bpf("), calls
    # With exits, each program at a task's last switch reports the runs that the kernel skipped.
    assert set(others[1:]) <= ({"bpf(BPF_OBJ_GET_INFO_BY_FD"} if exact else set()), calls
    assert len(others) <= 1 + 1 + min(hidden, 1) * 2


def test_a_pid_namespace_sees_its_own_tasks_and_the_sum_of_all_others(
    bpf: Callable[..., taskstats.Source], needs: Callable[[bool, str], None]
) -> None:
    script = """
import os, subprocess, taskstats, time
child = subprocess.Popen(["sleep", "60"])
with taskstats.Source("bpf", exact=True, cpu_times=True) as source:
    first = source.snapshot()
    end = time.thread_time() + 0.2
    while time.thread_time() < end: pass
    last = source.snapshot()
child.kill()
pids = sorted(task.ac_pid for task in last)
assert os.getpid() == 1 and pids == [1, child.pid], pids
assert {task.ac_tgid for task in last} == set(pids)
assert last.by_pid(child.pid).ac_ppid == 1 and last.by_pid(1).ac_ppid == 0
assert last.outside_ns > first.outside_ns > 0
own = last.by_pid(1).ac_sum_exec_ns - first.by_pid(1).ac_sum_exec_ns
assert own >= 0.2e9, own
interval = taskstats.usage(first, last)
books = interval.books()
outside = last.outside_ns - first.outside_ns
assert outside <= books["rowless_ns"] <= outside + books["available_ns"], books
assert last.hidden_outside or books["rowless_ns"] == outside, books
assert abs(books["residual_ns"]) <= books["bound_ns"], books
missed = interval.books(without={1})
assert missed["residual_ns"] > missed["bound_ns"], missed
print(int(last.hidden_outside))
"""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    allowed = subprocess.run([*unshare, "true"], capture_output=True)
    needs(allowed.returncode == 0, f"no pid namespaces: {allowed.stderr!r}")
    # Keep all CPUs busy: switches to a hidden task count as idle here.
    loops = [
        subprocess.Popen(
            ["taskset", "-c", str(cpu), "nice", sys.executable, "-c", "while True: pass"]
        )
        for cpu in range(os.cpu_count() or 1)
    ]
    try:
        done = subprocess.run(
            [*unshare, sys.executable, "-c", script], text=True, capture_output=True
        )
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    assert done.returncode == 0, done.stderr
    report = next(report for report in taskstats.sources() if report.name == "bpf")
    assert bool(int(done.stdout)) == ("hides" in report.reason)


def test_a_forked_child_cannot_use_or_disturb_a_source(
    bpf: Callable[..., taskstats.Source],
) -> None:
    source = bpf(exact=True)
    source.snapshot()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            source.snapshot()
        except taskstats.Unsupported as error:
            status = 7 if "open another one after the fork" in str(error) else 2
        # The child has no worker thread: closing does not wait for one.
        source.close()
        os._exit(status)
    assert os.waitpid(pid, 0)[1] == 7 << 8
    assert source.snapshot().by_pid(pid) is not None
    source.close()


def test_snapshots_report_the_cost_of_watching_switches(
    bpf: Callable[..., taskstats.Source],
) -> None:
    with bpf(exact=False) as source:
        assert source.snapshot().hooks_ns == 0
    with bpf(exact=True) as source:
        before = source.snapshot()
        for _ in range(500):
            time.sleep(0.0001)
        after = source.snapshot()
    interval_ns = (after.time_ns - before.time_ns) * len(after.cpu_clocks)
    assert 0 < after.hooks_ns - before.hooks_ns < interval_ns / 10


def test_a_missing_capability_is_named(bpf: Callable[..., taskstats.Source]) -> None:
    script = """
import pytest
import taskstats
taskstats.drop_privileges("procfs")
try:
    taskstats.Source("bpf")
except taskstats.AccessDenied as error:
    print(error)
print(taskstats.Source().name)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], text=True, capture_output=True, check=True
    )
    message, name = done.stdout.splitlines()
    assert "CAP_BPF and CAP_PERFMON" in message
    assert name == "procfs"


def test_without_btf_the_next_source_is_used(
    bpf: Callable[..., taskstats.Source], needs: Callable[[bool, str], None]
) -> None:
    script = """
import pytest
import taskstats
report = {report.name: report for report in taskstats.sources()}["bpf"]
print(report.available, report.reason, report.hint, sep="|")
print(taskstats.Source().name)
"""
    hidden = "mount --bind /dev/null /sys/kernel/btf/vmlinux && exec "
    unshare = ["unshare", "--mount", "sh", "-c", hidden + '"$@"', "sh"]
    allowed = subprocess.run([*unshare, "true"], capture_output=True)
    needs(allowed.returncode == 0, f"no mount namespaces: {allowed.stderr!r}")
    done = subprocess.run([*unshare, sys.executable, "-c", script], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    report, name = done.stdout.splitlines()
    available, reason, hint = report.split("|")
    assert available == "False"
    assert "/sys/kernel/btf/vmlinux" in reason
    assert "CONFIG_DEBUG_INFO_BTF=y" in hint
    assert name == "netlink"


def test_tasks_beyond_the_array_are_in_the_next_snapshot(
    bpf: Callable[..., taskstats.Source],
) -> None:
    with bpf(exact=True) as source:
        before = source.snapshot()
        count = 2 * len(before) + 300
        children = []
        for _ in range(count):
            child = os.fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)
        after = source.snapshot()
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        last = source.snapshot()
    assert not after.truncated
    assert set(children) <= {task.ac_pid for task in after}
    interval = taskstats.usage(before, after)
    used = {row[0]: row[1] for row in interval.select(["ac_pid", "total_ns"])}
    assert all(used[child] for child in children), "their CPU time since the fork"
    assert set(children) <= {task.ac_pid for task in last if task.exited}


def test_an_open_source_needs_only_one_capability(bpf: Callable[..., taskstats.Source]) -> None:
    script = """
import subprocess, taskstats
source = taskstats.Source("bpf", exact=True)
taskstats.drop_privileges("bpf")
first = source.snapshot()
sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(2 * len(first) + 200)]
assert not source.snapshot().truncated, "the array did not grow"
for sleeper in sleepers: sleeper.kill(); sleeper.wait()
print(source.snapshot().exited)
status = open("/proc/self/status").read()
assert int(status.split("CapEff:")[1].split()[0], 16) == 1 << 39
"""
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 200


def test_the_iterator_counts_tasks_that_live_between_two_snapshots(
    bpf: Callable[..., taskstats.Source],
) -> None:
    """Kernels before 6.7 have no other way; newer ones can be told to use it."""
    script = """
import os, subprocess, taskstats, threading, time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: pass
with taskstats.Source("bpf", exact=True, cpu_times=True) as source:
    assert source.precision == "ns, not at one instant", source.precision
    first = source.snapshot()
    pid = os.fork()
    if not pid:
        burn(0.2)
        os._exit(3)
    os.waitpid(pid, 0)
    threads = [threading.Thread(target=burn, args=(0.1,)) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    last = source.snapshot()
    interval = taskstats.usage(first, last)
    (row,) = interval.select(["total_ns", "ac_exitcode", "exited"], pids=[pid])
    assert 0.2e9 <= row[0] < 0.4e9 and row[1:] == (3 << 8, 1), row
    own = interval.select(["total_ns"], pids=[os.getpid()])[0][0]
    assert own >= 0.3e9, own
    assert last.exits_lost == 0 and not last.one_instant
    books = interval.books()
    assert abs(books["residual_ns"]) <= books["bound_ns"], books
    # What has died is not reported again.
    again = source.snapshot()
    assert again.by_pid(pid) is None
    last_row = taskstats.usage(interval, again).select(["total_ns"], pids=[os.getpid()])
    assert last_row[0][0] < 0.3e9, last_row
"""
    with bpf():
        pass
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PRECISE_TOP_BPF_WAY": "iterator"},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_report_counts_the_sources_that_watch(bpf: Callable[..., taskstats.Source]) -> None:
    def watching() -> int:
        report = next(report for report in taskstats.sources() if report.name == "bpf")
        found = re.search(r"(one|\d+) sources? watch", report.reason)
        return {"one": 1}.get(found[1]) or int(found[1]) if found else 0

    before = watching()
    # Other programs on the machine may start or end meanwhile.
    sources = [bpf(exact=True) for _ in range(10)]
    try:
        for source in sources:
            source.snapshot()
        assert watching() >= max(10, before)
    finally:
        for source in sources:
            source.close()
    assert watching() < 10 + before
