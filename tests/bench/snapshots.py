"""CPU time and system calls of one refresh, compared with other tools in one run.

    python -m tests.bench.snapshots [TASKS ...]     (default 1000 10000)

CPU time is the user and system time of the process that refreshes, over as many
refreshes as take about a second; system calls are counted by strace in a run apart.
Machines are shared: compare the ratios.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench import load

# Programs that refresh `sys.argv[1]` times.
OURS = """
import taskstats
cpu = [field["name"] for field in taskstats.FIELDS if field["group"] in ("basic", "cpu")]
source = taskstats.Source({arguments})
refresh = source.snapshot
"""
SINGLE = """
import os, taskstats
def refresh():
    for name in os.listdir("/proc"):
        if name.isdigit():
            try: taskstats.get(int(name))
            except taskstats.NoSuchTask: pass
"""
PSUTIL = """
import psutil
names = ["pid", "name", "username", "cpu_times", "memory_info", "status", "nice", "num_threads"]
def refresh(): return [process.info for process in psutil.process_iter(names)]
"""
PYROUTE2 = """
import os
from pyroute2 import TaskStats
ts = TaskStats()
def refresh():
    for name in os.listdir("/proc"):
        if name.isdigit():
            try: ts.get_pid_stat(int(name))
            except Exception: pass
"""
LOOP = """
import sys
for _ in range(int(sys.argv[1])): refresh()
"""


@dataclass(frozen=True)
class Way:
    """One way to refresh: its name and the command for a number of refreshes."""

    name: str
    command: Callable[[int], list[str]]
    environment: dict[str, str] | None = None


def _python(code: str) -> Callable[[int], list[str]]:
    return lambda count: [sys.executable, "-c", code + LOOP, str(count)]


def _ours(label: str, arguments: str, environment: dict[str, str] | None = None) -> Way:
    return Way(label, _python(OURS.format(arguments=arguments)), environment)


def ways(scratch: Path) -> list[Way]:
    run_time = 'fields=["cpu_run_virtual_total"]'
    found = [
        _ours("bpf, cpu group", "'bpf', fields=cpu"),
        _ours("bpf, cpu group, what ran", "'bpf', fields=cpu, changed=True"),
        _ours("bpf, all fields", "'bpf'"),
        _ours("bpf, all fields, exact", "'bpf', exact=True"),
        _ours("bpf, threads, all fields", "'bpf', threads=True"),
        _ours("bpf iterator, all fields", "'bpf'", {"PRECISE_TOP_BPF_WAY": "iterator"}),
        _ours("netlink batched, cpu", f"'netlink', {run_time}"),
        _ours("netlink batched, threads, cpu", f"'netlink', {run_time}, threads=True"),
        Way("netlink one by one", _python(SINGLE)),
        _ours("procfs, cpu", f"'procfs', {run_time}"),
        _ours("procfs, all fields", "'procfs'"),
    ]
    if compiler := shutil.which("cc"):
        program = str(scratch / "stat_loop")
        source = Path(__file__).with_name("stat_loop.c")
        subprocess.run([compiler, "-O2", "-o", program, str(source)], check=True)
        found.append(Way("C loop, /proc/PID/stat", lambda count: [program, str(count)]))
    for module, code in (("psutil", PSUTIL), ("pyroute2", PYROUTE2)):
        probe = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True)
        if probe.returncode == 0:
            found.append(Way(module, _python(code)))
    if shutil.which("top"):
        found.append(Way("top -b", lambda count: ["top", "-b", "-d", "0.01", "-n", str(count)]))
    if shutil.which("atop"):
        found.append(Way("atop", lambda count: ["atop", "1", str(count)]))
    return found


def cpu_seconds(way: Way, count: int) -> float:
    """User and system time of a process that refreshes `count` times."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | (way.environment or {})
    done = subprocess.run(
        way.command(count), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip()[-300:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def system_calls(way: Way, count: int) -> int | None:
    if not shutil.which("strace"):
        return None
    with tempfile.NamedTemporaryFile("r") as log:
        subprocess.run(
            ["strace", "-f", "-c", "-U", "calls,name", "-o", log.name, *way.command(count)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | (way.environment or {}),
            check=False,
        )
        total = re.search(r"^\s*(\d+)\s+total", log.read(), re.MULTILINE)
    return int(total[1]) if total else None


def per_refresh(way: Way) -> tuple[float, int | None]:
    """CPU seconds and system calls of one refresh, without those of the start."""
    few, slow = 2, 0.3
    start = cpu_seconds(way, few)
    more = 3
    while (spent := cpu_seconds(way, few + more) - start) < slow and more < 2000:
        more *= 3
    calls = [system_calls(way, few), system_calls(way, few + 3)]
    each = None if calls[0] is None or calls[1] is None else round((calls[1] - calls[0]) / 3)
    return max(spent, 0.0) / more, each


def table(count: int, scratch: Path) -> None:
    tasks = sum(name.isdigit() for name in os.listdir("/proc"))
    print(f"\n{tasks} processes, {count} of them asleep")
    print(f"{'':<30}{'CPU ms':>10}{'ns/task':>10}{'calls':>10}{'x bpf':>8}")
    base = 0.0
    for way in ways(scratch):
        try:
            seconds, calls = per_refresh(way)
        except RuntimeError as error:
            print(f"{way.name:<30}  {error}")
            continue
        base = base or seconds
        print(
            f"{way.name:<30}{seconds * 1e3:>10.3f}{seconds / tasks * 1e9:>10.0f}"
            f"{'' if calls is None else calls:>10}{seconds / base if base else 0:>8.1f}",
            flush=True,
        )


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        for count in [int(word) for word in sys.argv[1:]] or [1000, 10000]:
            with load.sleepers(count):
                table(count, Path(scratch))


if __name__ == "__main__":
    main()
