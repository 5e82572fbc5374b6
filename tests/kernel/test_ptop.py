"""ptop in machines with the patched kernel: it takes the proc source by itself, and the
books close, whatever becomes of tasks.

A machine has this Python with the installed package, and programs whose behaviour is
known.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import taskstats
from taskstats import FIELDS

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import guest  # noqa: E402, the path is set just before
import guest_python  # noqa: E402
import kernel  # noqa: E402
import stock_kernels  # noqa: E402

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(1800)]

PROGRAMS = Path(__file__).parent / "programs"
LOOPS = (
    "for cpu in $(seq 0 $(($(nproc) - 1))); do "
    "taskset $((1 << cpu)) sh -c 'while :; do :; done' & done; "
)
STORM = "$PYTHON /programs/storm.py & $PYTHON /programs/storm.py & sleep 3; "


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[Path, str]], str]:
    return guest_python.stage(tmp_path_factory.mktemp("python"))


@pytest.fixture
def run(version: str, python: tuple[list[tuple[Path, str]], str]) -> Any:
    """`run(command)` returns a command's output; $PYTHON and $PTOP are replaced."""

    def boot(command: str, *, image: Path | None = None, cpus: int = 2, **more: Any) -> str:
        files, words = python
        files = [*files, (PROGRAMS, "/programs"), *more.pop("files", [])]
        command = f"PYTHON='{words}'; PTOP='{words} -m ptop'; {command}"
        status, output = guest.boot(
            image or kernel.Kernel(version).image(),
            files,
            command,
            cpus=cpus,
            memory="2G",
            append=kernel.STABLE_CLOCK,
            timeout=900,
            show=False,
            **more,
        )
        assert status == 0, output[-5000:]
        return output

    return boot


def lines(output: str) -> list[Any]:
    # The first line follows the firmware's output.
    found = (re.search(r"\{.*\}$", line) for line in output.splitlines())
    return [json.loads(line[0]) for line in found if line]


def test_ptop_uses_proc_by_default(run: Any) -> None:
    output = run("$PTOP doctor --format json; $PTOP --format json -n 1 -d 0.3")
    doctor, interval = lines(output)
    assert doctor["auto"] == interval["source"] == "proc"
    assert doctor["sources"][0]["name"] == "proc"
    assert doctor["sources"][0]["available"]
    assert interval["tasks"]


@pytest.mark.parametrize("cpus", [2, 4])
def test_the_books_close_to_the_last_nanosecond(run: Any, cpus: int) -> None:
    """Under a busy loop on each CPU and a storm of short-lived tasks, all time adds up to
    N x 100.00 %, in the snapshot view as well."""
    output = run(
        f"{LOOPS}{STORM} $PTOP audit -n 5 --format json && $PTOP audit -n 2 && "
        "$PTOP -b -n 3 --view snap --format json && $PTOP -b -n 1 --view snap --rows 10",
        cpus=cpus,
    )
    found = lines(output)
    audits, views = found[:6], found[6:]
    for account in audits:
        assert account["closed"]
        assert account["source"] == "proc"
        assert account["cpus"] == cpus
        names = ("tasks_ns", "rowless_ns", "irq_ns", "steal_ns", "idle_ns")
        share = 100 * sum(account[name] for name in names) / account["interval_ns"]
        print(f"sum of an interval on {cpus} CPUs: {share:.6f} %")
        assert f"{share:.2f}" == f"{cpus}00.00"
    assert sum(account["rowless_ns"] for account in audits) > 0, "exited tasks used CPU time"
    assert len(views) == 3
    for view in views:
        # Children's time has its own column and counts in the total.
        tasks = sum(task["all_pct"] or 0 for task in view["tasks"])
        rest = 100 * (view["sum"]["idle_ns"] + view["sum"]["irq_ns"]) / view["interval_ns"]
        print(f"sum of the snapshot view on {cpus} CPUs: {tasks + rest:.6f} %")
        assert abs(tasks + rest - 100 * cpus) < 0.01
    # The table prints the verdict.
    sums = [float(share) for share in re.findall(r"sum +[\d.]+ ms +([\d.]+) %", output)]
    assert len(sums) == 3
    assert all(abs(share - 100 * cpus) < 0.01 for share in sums), sums
    assert "  closed; " in output


def test_steal_time_is_attributed_to_the_tasks_that_ran(run: Any) -> None:
    output = run(
        "echo 25 > /sys/module/test_steal/parameters/share; "
        f"{LOOPS} sleep 2; $PTOP audit -n 3 --format json && $PTOP --format json -n 2 -d 2",
    )
    *audits, first, second = lines(output)
    assert all(account["closed"] for account in audits)
    share = 100 * audits[-1]["steal_ns"] / audits[-1]["available_ns"]
    assert 20 < share < 30, share
    for interval in (first, second):
        # The two loops get most of the time.
        for task in sorted(interval["tasks"], key=lambda task: task["total_pct"] or 0)[-2:]:
            assert 20 < 100 * task["steal_pct"] / task["total_pct"] < 30, task
        stolen = sum(task["steal_ns"] or 0 for task in interval["tasks"])
        # On CPUs that are never idle, all steal time belongs to tasks.
        assert abs(stolen - interval["sum"]["steal_ns"]) < 0.001 * interval["interval_ns"]


def test_two_system_calls_as_strace_counts(run: Any) -> None:
    strace = shutil.which("strace")
    assert strace is not None, "strace is missing; install with:  sudo apt-get install strace"
    script = (
        "import os, taskstats\n"
        "with taskstats.Source('proc', exact=True) as source:\n"
        "    for _ in range(3):\n"
        "        os.getpgrp(); snapshot = source.snapshot(); os.getpgrp()\n"
        "        assert len(snapshot) > 300\n"
    )
    output = run(
        "for i in $(seq 300); do sleep 600 & done; sleep 1; "
        f'strace -o /calls $PYTHON -c "{script}" && cat /calls',
        files=[(Path(strace), "/bin/strace")],
    )
    between = output.split("getpgrp()")[1::2]
    calls = [re.findall(r"^(\w+)\(", part, re.MULTILINE) for part in between]
    assert len(calls) == 3
    # The first snapshot allocates its buffer, and asks for the offsets of a time namespace.
    assert calls[0].count("ioctl") == 1
    assert calls[-1] == ["ioctl", "read"]


def test_memory_is_charged_to_the_reader_and_freed_when_it_is_killed(run: Any) -> None:
    output = run("$PYTHON /programs/memory.py && dmesg")
    # The kernel's OOM reports are mixed into the output.
    done = re.findall(r"as promised: (\w+)", output)
    assert done == ["charged", "limited", "gone"], output[-5000:]
    assert not kernel.COMPLAINTS.search(output), output[-5000:]


# Fields that vary from run to run, besides counters: ids, instants, ages and memory sizes.
VARIES = {field["name"] for field in FIELDS if field["kind"] == "counter"} | {
    *("ac_pid", "ac_ppid", "ac_tgid", "ac_exe_inode", "hiwater_rss", "hiwater_vm"),
    *("ac_etime", "ac_tgetime", "ac_btime", "ac_btime64"),
    # The longest and shortest waits, and when the longest ended.
    *(f["name"] for f in FIELDS if re.search(r"_delay_(max|min|max_ts)$", f["name"])),
}


MEASURED = (
    *("cpu_run_real_total", "cpu_run_virtual_total", "cpu_scaled_run_real_total"),
    *("ac_utime", "ac_stime", "ac_utimescaled", "ac_stimescaled", "ac_etime", "ac_tgetime"),
    *("ac_btime", "ac_btime64", "nvcsw", "ac_minflt", "coremem", "virtmem", "hiwater_rss"),
    *("read_char", "read_syscalls", "ac_pid", "ac_tgid", "ac_ppid", "ac_exe_inode"),
)


def _fields(record: bytes) -> dict[str, Any]:
    """The stable fields of a bare record."""
    task = taskstats.parse(record)[0]
    values = {field["name"]: getattr(task, field["name"]) for field in FIELDS}
    return {name: value for name, value in values.items() if name not in VARIES}


def test_replies_equal_those_of_the_unpatched_kernel(run: Any, version: str) -> None:
    """The same program runs on Debian's kernel of the same base. Framing, length, version
    and every field that is not a measurement have the same bytes."""
    pattern = re.compile(r"answer (\w+) (\w+) (\d+) ([0-9a-f]+)")
    command = "$PYTHON /programs/replies.py"
    patched = pattern.findall(run(command))
    plain = pattern.findall(run(command, image=stock_kernels.find(version).image))
    assert len(patched) == len(plain) == 4
    for (name, known, pid, one), (_, _, other_pid, other) in zip(patched, plain, strict=True):
        ours, theirs = bytes.fromhex(one), bytes.fromhex(other)
        assert len(ours) == len(theirs)
        # The header, except the family's number and the port, which vary from boot to boot.
        assert ours[:4] + ours[6:12] == theirs[:4] + theirs[6:12]
        if known != "True":
            assert struct.unpack_from("=i", ours, 16) == struct.unpack_from("=i", theirs, 16)
            continue
        head = [bytes.fromhex(text)[16:36] for text in (one, other)]
        ids = [struct.pack("=I", int(text)) for text in (pid, other_pid)]
        assert head[0].replace(ids[0], b"") == head[1].replace(ids[1], b""), name
        assert len(ours) == 36 + {"6.12": 432, "7.3": 688}[version]
        fields = _fields(ours[36:])
        assert fields == _fields(theirs[36:]), name
        assert fields["version"] == {"6.12": 14, "7.3": 17}[version]
        assert fields["ac_nice"] == (5 if name == "pid" else 0)
        # The same measurements are non-zero.
        measured = [
            {field for field in MEASURED if getattr(taskstats.parse(reply[36:])[0], field)}
            for reply in (ours, theirs)
        ]
        assert measured[0] == measured[1], name
        assert "cpu_run_virtual_total" in measured[0]


@pytest.mark.debug_kernel
def test_a_storm_under_the_kernels_own_checks(run: Any, version: str) -> None:
    """lockdep, KASAN and DEBUG_ATOMIC_SLEEP stay silent while ptop reads by file and by
    netlink in a storm, and the books close."""
    audit = "$PTOP audit -n 5 --format json --source"
    # On a kernel this slow the bound of netlink proves nothing, which its status says.
    audits = f"{audit} proc && {{ {audit} netlink || test $? = 2; }}"
    output = run(
        f"{LOOPS}{STORM} {audits} && $PTOP -b -n 3 --threads --format json > /dev/null && dmesg",
        image=kernel.Kernel(version, checks="debug").image(),
    )
    table, version, _ = output.partition("Linux version")
    assert version, "the kernel's messages are missing"
    accounts = lines(table)
    assert [account["source"] for account in accounts] == ["proc"] * 6 + ["netlink"] * 6
    assert all(account["closed"] for account in accounts)
    assert not kernel.COMPLAINTS.search(output), output[-5000:]
