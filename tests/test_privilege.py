"""What works without privilege: in user namespaces, under hidepid, as nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import taskstats
from without_threads import WITHOUT_THREADS  # type: ignore[import-not-found]

ROOT = os.geteuid() == 0

IN_A_USER_NAMESPACE = """
import sys, taskstats
assert open("/proc/self/status").read().split("CapEff:\\t")[1][:16] == "000001ffffffffff"
for call in (lambda: taskstats.get(1), lambda: taskstats.get_tgid(1),
             lambda: taskstats.Source("netlink"), lambda: taskstats.Source("bpf")):
    try:
        call()
    except taskstats.AccessDenied as error:
        assert error.errno == 1 and "initial user namespace" in str(error), error
    else:
        sys.exit("not denied")
states = {report.name: report.state for report in taskstats.sources()}
assert states["netlink"] == states["bpf"] == "denied", states
with taskstats.Source("auto", exact=True, cpu_times=True) as source:
    assert source.name == "procfs"
    first = source.snapshot()
    interval = taskstats.usage(first, source.snapshot())
    assert interval.books()["available_ns"] > 0
    assert first.by_pid(1).cpu_ns is not None
"""


def test_capabilities_of_a_new_user_namespace_are_not_enough(
    needs: Callable[[bool, str], None],
) -> None:
    probe = subprocess.run(["unshare", "--user", "--map-root-user", "true"], check=False)
    needs(probe.returncode == 0, "needs user namespaces")
    subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", IN_A_USER_NAMESPACE],
        check=True,
    )


HIDDEN = """
import ctypes, os, subprocess, sys, taskstats
from ptop import cli
from ptop.commands import batch, top
hidepid, expected = sys.argv[1:]
# Load everything first: other users may not be able to read the interpreter's files.
cli.parser().format_help()
subprocess.run(["mount", "-t", "proc", "-o", f"hidepid={hidepid}", "proc", "/proc"], check=True)
source = taskstats.Source("procfs", fields=["rss_kb", "read_char", "nvcsw"])
assert source.snapshot().by_pid(1) is not None, "root sees every process"
other = os.getppid()
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1)
snapshot = source.snapshot()
own = snapshot.by_pid(os.getpid())
assert own is not None and own.cpu_ns > 0 and own.read_char is not None
assert snapshot.by_pid(1) is None and snapshot.by_pid(other) is None
assert len(snapshot) < 5, len(snapshot)
assert (snapshot.missed > 0) == (expected == "listed"), snapshot.missed
source.configure(threads=True)
assert {task.ac_tgid for task in source.snapshot()} == {task.ac_pid for task in snapshot}
sys.exit(cli.main(["-b", "-n", "1", "-d", "0.1", "--source", "procfs"]))
"""


# With 1, processes of other users are listed but not readable; with 2 they are not listed.
@pytest.mark.parametrize(("hidepid", "others"), [("1", "listed"), ("2", "not listed")])
def test_hidden_processes_are_left_out_and_counted(
    hidepid: str, others: str, needs: Callable[[bool, str], None]
) -> None:
    needs(ROOT, "needs root to mount /proc")
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", HIDDEN, hidepid, others],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "source procfs" in done.stdout
    assert ("tasks that may not be read" in done.stdout) == (others == "listed")


def test_a_refusal_prints_the_command_that_works(as_nobody: list[str]) -> None:
    words = ["-b", "-n", "1", "--filter", "a b", "--source", "bpf"]
    done = subprocess.run([*as_nobody, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    reason, command = done.stderr.splitlines()
    assert "CAP_BPF" in reason
    assert command == "type: sudo /opt/venv/bin/ptop -b -n 1 --filter 'a b' --source bpf"
    told = subprocess.run([*as_nobody, "doctor"], capture_output=True, text=True, check=True)
    assert "-> sudo /opt/venv/bin/ptop --source netlink\n" in told.stdout


def test_io_of_other_users_is_unknown_without_privilege(as_nobody: list[str]) -> None:
    words = [
        "-n",
        "1",
        "-d",
        "0.1",
        "--format",
        "csv",
        "--pid",
        "1",
        "--columns",
        "read_char,write_bytes",
    ]
    done = subprocess.run([*as_nobody, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    head, row = (line.split(",") for line in done.stdout.splitlines())
    task = dict(zip(head, row, strict=True))
    assert task["pid"] == "1"
    assert task["read_char"] == task["write_bytes"] == ""
    assert task["total_ns"] != ""


DROPPED = """
import pathlib, sys, time, taskstats
source = taskstats.Source(sys.argv[1], exact=True)
if sys.argv[2] == "late":
    source.snapshot()
    try:
        taskstats.drop_privileges(source.name)
    except taskstats.Unsupported as error:
        sys.exit(f"late: {error}")
taskstats.drop_privileges(source.name)
source.snapshot()
# Wait until the thread runs.
time.sleep(0.3)
lines = [
    line
    for task in pathlib.Path("/proc/self/task").iterdir()
    for line in (task / "status").read_text().splitlines()
]
uids = [line.split()[1:] for line in lines if line.startswith("Uid:")]
assert len(uids) == 2 and all(uid == ["65534"] * 4 for uid in uids), uids
def held(name):
    return {int(line.split()[1], 16) for line in lines if line.startswith(name)}
own = {"bpf": 1 << 39, "netlink": 1 << 12, "procfs": 0}[source.name]
# CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE, for the files of each process, during reads only.
readers = 0 if source.name == "bpf" else 1 << 2 | 1 << 19
assert held("CapEff") == {0, own}, held("CapEff")
assert held("CapPrm") == {0, own | readers}, held("CapPrm")
"""


@pytest.mark.parametrize("name", ["bpf", "netlink", "procfs"])
def test_the_worker_runs_as_the_user_who_called_sudo(
    name: str, needs: Callable[[bool, str], None]
) -> None:
    report = next(report for report in taskstats.sources() if report.name == name)
    needs(ROOT and report.available, f"{name} as root: {report.reason}")
    environment = {**os.environ, "SUDO_UID": "65534", "SUDO_GID": "65534"}

    def run(when: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", DROPPED, name, when]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    done = run("early")
    assert (done.returncode, done.stderr) == (0, "")
    # glibc aborts a process where one thread may not change its user.
    done = run("late")
    assert done.returncode == 1
    assert "late: " in done.stderr
    assert "before the first snapshot" in done.stderr


UNDER_SUDO = """
import os, pathlib, subprocess, sys, taskstats
name, options = sys.argv[1:]
subprocess.run(["mount", "-t", "proc", "-o", options, "proc", "/proc"], check=True)
fields = ["state", "read_char"]
source = taskstats.Source(name, fields=fields, exact=False)
before = {task.ac_pid for task in source.snapshot()}
# It ends with this process, which has no right to end it later.
null = subprocess.DEVNULL
other = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=null, stderr=null)
os.environ.update(SUDO_UID="65534", SUDO_GID="65534")
taskstats.drop_privileges(name)
assert os.geteuid() == 65534
snapshot = source.snapshot()
seen = {task.ac_pid for task in snapshot}
assert other.pid in seen and len(seen & before) > len(before) / 2, (len(seen), len(before))
if name == "procfs":
    assert snapshot.by_pid(other.pid).read_char is not None, "root's I/O"
# The capability is effective during reads only.
status = pathlib.Path("/proc/thread-self/status").read_text()
effective = int(status.split("CapEff:\\t")[1].split()[0], 16)
assert effective & ~(1 << 12) == 0, hex(effective)
"""


@pytest.mark.parametrize("options", ["hidepid=1", "hidepid=2", "hidepid=4", "hidepid=2,gid=7"])
@pytest.mark.parametrize("name", ["netlink", "procfs"])
def test_sudo_sees_all_processes_under_hidepid(
    name: str, options: str, needs: Callable[[bool, str], None]
) -> None:
    needs(ROOT, "needs root to mount /proc")
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", UNDER_SUDO, name, options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


EMPTY_PROC = """
import subprocess, sys, taskstats
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/proc"], check=True)
for name in ("procfs", "netlink"):
    try:
        taskstats.Source(name)
    except taskstats.Unsupported as error:
        assert "/proc is not mounted" in str(error), error
    else:
        sys.exit(f"{name} opened")
states = {report.name: report for report in taskstats.sources()}
assert not states["procfs"].available
assert "CONFIG_TASK_DELAY_ACCT" not in taskstats.delayacct().hint
"""

PIDS_ONLY = """
import subprocess, sys, taskstats
subprocess.run(["mount", "-t", "proc", "-o", "subset=pid", "proc", "/proc"], check=True)
with taskstats.Source("procfs") as source:
    snapshot = source.snapshot()
assert snapshot.by_pid(1) is not None
assert snapshot.memory is None and snapshot.load is None
assert "CONFIG_TASK_DELAY_ACCT" not in taskstats.delayacct().hint
"""


@pytest.mark.parametrize("script", [EMPTY_PROC, PIDS_ONLY], ids=["not mounted", "subset=pid"])
def test_a_proc_that_lacks_files_is_named(script: str, needs: Callable[[bool, str], None]) -> None:
    needs(ROOT, "needs root to mount /proc")
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


FEW_DESCRIPTORS = """
import os, resource, taskstats
source = taskstats.Source("procfs")
assert source.snapshot().by_pid(1) is not None
held = []
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
try:
    source.snapshot()
except OSError as error:
    assert error.errno == 24, error
else:
    raise SystemExit("tasks are missing without a word")
held.clear()
"""


def test_a_lack_of_descriptors_is_an_error() -> None:
    subprocess.run([sys.executable, "-c", FEW_DESCRIPTORS], check=True)


NO_THREADS = (
    """
import ctypes, os, sys, threading, taskstats
source = taskstats.Source(sys.argv[1], exact=True)
"""
    + WITHOUT_THREADS
    + """
try:
    threading.Thread(target=print).start()
except RuntimeError:
    pass
else:
    sys.exit("a thread was started")
source.snapshot()
after = source.snapshot()
assert after.by_pid(os.getpid()) is not None
"""
)


@pytest.mark.parametrize("name", ["bpf", "netlink", "procfs"])
def test_exits_are_taken_without_a_thread_where_none_can_be_started(
    name: str, needs: Callable[[bool, str], None]
) -> None:
    report = next(report for report in taskstats.sources() if report.name == name)
    needs(report.available, f"{name}: {report.reason}")
    subprocess.run([sys.executable, "-c", NO_THREADS, name], check=True)
