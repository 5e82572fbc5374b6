"""`ptop run` and `taskstats.track`: whole trees, including children that nobody waits for."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import descendants  # type: ignore[import-not-found]
import pytest
import taskstats
from descendants import KINDS

RUN = [sys.executable, "-m", "ptop", "run"]
ROOT = os.geteuid() == 0
# CPU time of a process outside its loop: the start of the interpreter or the shell.
STARTING_NS = 300_000_000


def burn(seconds: float) -> str:
    """A shell command that uses that much CPU time."""
    return f'{sys.executable} -c "import time\nwhile time.process_time() < {seconds}: pass"'


def run(command: str, *options: str, user: int | None = None) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [*RUN, "--format", "json", *options, "--", "sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        user=user,
        cwd="/",
    )
    return done.returncode, json.loads(done.stderr.splitlines()[-1])


@pytest.fixture
def exact(needs: Callable[[bool, str], None]) -> None:
    _, report = run("true")
    needs(report["exact"], f"bpf or a cgroup v2 of its own: {report['collector']}")


@pytest.fixture
def bpf(needs: Callable[[bool, str], None]) -> None:
    _, report = run("true")
    needs("bpf" in report["collector"], f"the bpf source: {report['collector']}")


@pytest.fixture
def cgroup(needs: Callable[[bool, str], None]) -> Iterator[Path]:
    """A cgroup that counts the CPU time of its processes."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    top = next((line.split()[4] for line in mounts if " - cgroup2 " in line), "/nonexistent")
    path = Path(top, f"test-{os.getpid()}")
    needs(os.access(top, os.W_OK), f"a cgroup v2 can be made in {top}")
    path.mkdir()
    yield path
    path.rmdir()


def test_a_tree_is_counted_whole() -> None:
    status, report = run(f"{burn(0.2)}; {burn(0.1)} & wait; exit 3")
    assert (status, report["exit_status"]) == (3, 3)
    assert 300_000_000 <= report["total_ns"] <= 300_000_000 + 3 * STARTING_NS
    assert abs(report["user_ns"] + report["system_ns"] - report["total_ns"]) <= 2000
    assert report["elapsed_ns"] > 200_000_000
    assert report["split"] == "estimated by ticks"


@pytest.mark.usefixtures("exact")
def test_ignored_and_orphaned_children_count() -> None:
    # The program ignores SIGCHLD, so nobody waits for its child.
    program = f"""import signal, subprocess, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
child = subprocess.Popen([{sys.executable!r}, "-c",
    "import time\\nwhile time.process_time() < 0.2: pass"])
time.sleep(1.5)
"""
    status, report = run(f"exec {sys.executable} -c {shlex.quote(program)}")
    assert status == 0
    assert report["total_ns"] >= 200_000_000
    child = f"({burn(0.2)} &)"
    _, report = run(child, "--wait-orphans")
    assert report["total_ns"] >= 200_000_000
    assert report["notes"] == []
    # Without --wait-orphans it ends with the command, and a note says so.
    _, report = run("(sleep 5 &)")
    assert report["elapsed_ns"] < 4_000_000_000
    assert any("still run" in note for note in report["notes"])


@pytest.mark.usefixtures("bpf")
def test_the_total_is_what_a_cgroup_counts(cgroup: Path) -> None:
    # Waited-for, ignored and orphaned children that live too short to be in a snapshot.
    storm = "for i in $(seq 300); do /bin/true; (/bin/true &) ; done"
    ignored = (
        f"{sys.executable} -c 'import os, signal\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "for i in range(100):\n    if not os.fork(): os._exit(0)'"
    )
    _, report = run(f"echo 0 > {cgroup}/cgroup.procs; {storm}; {ignored}", "--wait-orphans")
    counted = (cgroup / "cpu.stat").read_text().split()
    counted_ns = int(counted[counted.index("usage_usec") + 1]) * 1000
    assert report["exact"]
    assert report["resolution_ns"] == 1
    assert report["tasks"] >= 1 + 600 + 300 + 100
    # The shell has used some CPU time before it joins the cgroup.
    assert 0 <= report["total_ns"] - counted_ns < 20_000_000


@pytest.mark.usefixtures("exact")
def test_a_row_for_each_command_name() -> None:
    _, report = run("for i in 1 2 3; do /bin/true; done; exec sleep 0", "--by-command")
    assert report["commands"]["true"]["tasks"] == 3
    assert report["commands"]["sleep"]["tasks"] == 1
    assert report["tasks"] == 4
    assert report["exits_lost"] == 0
    # The cgroup that it made is removed.
    assert not list(Path("/sys/fs/cgroup").glob("**/ptop-*"))


@pytest.mark.skipif(not ROOT, reason="becomes another user")
def test_without_privilege_it_says_what_is_missing() -> None:
    code = (
        # The first run imports modules that another user may be unable to read.
        "import os, sys; from ptop.cli import main;"
        "main(['run', '-o', '/dev/null', '--', 'true']);"
        "os.setgid(65534); os.setuid(65534);"
        "sys.exit(main(['run', '--format', 'json', '--', 'sh', '-c', 'exit 4']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    report = json.loads(done.stderr.splitlines()[-1])
    assert done.returncode == 4
    assert (report["collector"], report["exact"], report["tasks"]) == ("wait4", False, None)
    # The shell is smaller than this interpreter, whose memory it starts with.
    assert report["max_rss_kb"] is None
    assert report["notes"] == [
        "peak memory is unknown: no child is known to exceed that of this process",
        "children that were not waited for are missing",
    ]
    done = subprocess.run(
        [sys.executable, "-c", code.replace("'json'", "'json', '--by-command'")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    report = json.loads(done.stderr.splitlines()[-1])
    (note,) = (note for note in report["notes"] if "by command" in note)
    assert "they need root, or CAP_BPF and CAP_PERFMON; type: sudo " in note
    assert note.endswith("ptop run --format json --by-command -- sh -c 'exit 4'")


def test_signals_are_forwarded_to_the_command() -> None:
    script = "trap 'echo got; exit 9' USR1; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [*RUN, "--", "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGUSR1)
        out, _ = child.communicate(timeout=20)
    assert (out, child.returncode) == ("got\n", 9)


def test_a_command_killed_by_a_signal() -> None:
    status, report = run("kill -TERM $$")
    assert (status, report["exit_status"]) == (143, 143)


def test_the_report_goes_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "report"
    done = subprocess.run(
        [*RUN, "-o", str(path), "--", "sh", "-c", "echo out; echo err >&2"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 0)
    assert path.read_text().startswith("CPU time")


def test_an_unwritable_file_loses_neither_the_report_nor_the_status() -> None:
    marker = ["sh", "-c", "echo ran; exit 7"]
    words = {"capture_output": True, "text": True, "timeout": 60, "check": False}
    nowhere = subprocess.run([*RUN, "-o", "/nonexistent/report", "--", *marker], **words)  # type: ignore[call-overload]
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert "give another file to -o" in nowhere.stderr
    full = subprocess.run([*RUN, "-o", "/dev/full", "--", *marker], **words)  # type: ignore[call-overload]
    assert (full.returncode, full.stdout) == (7, "ran\n")
    assert "No space left" in full.stderr
    assert "CPU time" in full.stderr
    for options in ([], ["-o", "/dev/full"]):
        with open("/dev/full", "w") as nothing:
            done = subprocess.run(
                [*RUN, *options, "--", "sh", "-c", "exit 7"],
                stderr=nothing,
                timeout=60,
                check=False,
            )
        assert done.returncode == 7


def test_a_report_that_cannot_be_made_does_not_replace_the_status(
    needs: Callable[[bool, str], None], tmp_path: Path
) -> None:
    needs(ROOT, "drops capabilities")
    # Without BPF the total is that of a cgroup, which the command removes.
    remove = """for group in $(find /sys/fs/cgroup -type d -name 'ptop-*'); do
        grep -qx $$ $group/cgroup.procs || continue
        echo $$ > ${group%/*}/cgroup.procs && rmdir $group && echo removed
    done; exit 7"""
    without_bpf = ["setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin", "--inh-caps=-all"]
    out = tmp_path / "report"
    done = subprocess.run(
        [*without_bpf, *RUN, "-o", str(out), "--", "sh", "-c", remove],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    needs(done.stdout == "removed\n", "a cgroup v2 that may be changed")
    assert done.returncode == 7
    assert done.stderr.startswith("ptop: no report: ")


def test_the_command_ignores_the_same_signals_as_alone() -> None:
    ask = ["grep", "SigIgn", "/proc/self/status"]
    alone = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    ours = subprocess.run(
        [*RUN, "-o", "/dev/null", "--", *ask], capture_output=True, text=True, check=True
    ).stdout
    assert ours == alone


def test_a_command_that_cannot_run(tmp_path: Path) -> None:
    script, text = tmp_path / "script", tmp_path / "text"
    script.write_text("#!/nonexistent/interpreter\n")
    text.write_text("echo hello\n")
    for path in (script, text):
        path.chmod(0o755)
    for command, status, words in (
        ("nonesuch", 127, "no command 'nonesuch': check its name or give its path"),
        ("", 127, "the command is an empty word: give its name or path"),
        (tmp_path / "no", 127, "check its name or give its path"),
        ("/etc/passwd", 126, "Permission denied: make it executable: chmod +x /etc/passwd"),
        (tmp_path, 126, "Permission denied: give the path of a program"),
        (script, 126, "its interpreter does not exist: check its first line"),
        (text, 126, f"Exec format error: give its interpreter, as in: ptop run -- sh {text} a"),
    ):
        out = tmp_path / "report"
        for options in ([], ["--format", "json", "-o", str(out)]):
            done = subprocess.run(
                [*RUN, *options, "--", str(command), "a"],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            # There is no report on a command that did not run.
            assert (done.returncode, done.stdout) == (status, "")
            assert words in done.stderr
            assert len(done.stderr.splitlines()) == 1
        assert out.read_text() == ""
    assert not list(Path("/sys/fs/cgroup").glob("**/ptop-*"))


def test_a_missing_command_says_what_to_type() -> None:
    missing = subprocess.run(
        [*RUN, "nonesuch"], capture_output=True, text=True, timeout=60, check=False
    )
    assert missing.returncode == 127
    assert "no command 'nonesuch'" in missing.stderr
    denied = subprocess.run(
        [*RUN, "/etc/passwd"], capture_output=True, text=True, timeout=60, check=False
    )
    assert denied.returncode == 126
    nothing = subprocess.run(RUN, capture_output=True, text=True, timeout=60, check=False)
    assert nothing.returncode == 2
    assert "ptop run -- make" in nothing.stderr


def test_track_reports_a_block() -> None:
    with taskstats.track() as tracker:
        subprocess.run(["sh", "-c", burn(0.2)], check=True)
        time.sleep(0.05)
    use = tracker.use
    assert use is not None
    assert 200_000_000 <= use.total_ns <= 200_000_000 + 2 * STARTING_NS
    assert use.elapsed_ns >= 250_000_000
    assert use.exact == ("bpf" in use.collector)
    assert use.exact or use.notes


@pytest.mark.usefixtures("bpf")
@pytest.mark.parametrize("kind", list(KINDS))
def test_track_follows_every_kind_of_descendant(kind: str, cgroup: Path) -> None:
    words = [sys.executable, "-S", descendants.__file__, str(cgroup), kind]
    with taskstats.track() as tracker, taskstats.track() as other:
        before = subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE).stdout
        while cgroup.joinpath("cgroup.events").read_text().startswith("populated 1"):
            time.sleep(0.02)
        with contextlib.suppress(ChildProcessError):
            while kind == "sibling" and os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.02)
    counted = (cgroup / "cpu.stat").read_text().split()
    counted_ns = int(counted[counted.index("usage_usec") + 1]) * 1000
    assert tracker.use is not None
    assert other.use is not None
    assert tracker.use.exact
    assert tracker.use.total_ns == other.use.total_ns, "trackers are independent"
    # The time before it joined the cgroup. What the cgroup counts is rounded down.
    least, most = (int(word) for word in before.split())
    assert least + counted_ns <= tracker.use.total_ns < most + counted_ns + 1000
    assert counted_ns > 50_000_000
    # An exec by a thread makes no new process.
    assert tracker.use.tasks == (3 if kind == "twice" else 2)
    assert sum(row.tasks for row in tracker.use.commands.values()) == tracker.use.tasks
    assert sum(row.cpu_ns for row in tracker.use.commands.values()) == tracker.use.total_ns


@pytest.mark.usefixtures("bpf")
def test_track_counts_running_processes_up_to_now() -> None:
    with taskstats.track() as tracker:
        child = subprocess.Popen(["sh", "-c", "while :; do :; done"])
        clock = (~child.pid << 3) | 2
        time.sleep(0.3)
        earlier = time.clock_gettime_ns(clock)
    later = time.clock_gettime_ns(clock)
    child.kill()
    child.wait()
    assert tracker.use is not None
    assert tracker.use.exact
    # The report does not know the steal time of the process's last tick.
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert earlier - tick_ns <= tracker.use.total_ns <= later + tick_ns
    assert tracker.use.total_ns > 50_000_000


@pytest.mark.usefixtures("bpf")
def test_track_loses_nothing_however_many_die() -> None:
    storm = "import os\nfor _ in range(40000):\n  p = os.fork()\n  p or os._exit(0)\n  os.wait()"
    with taskstats.track() as tracker:
        subprocess.run([sys.executable, "-S", "-c", storm], check=True)
    assert tracker.use is not None
    assert tracker.use.exact
    assert tracker.use.tasks == 40_001


@pytest.mark.usefixtures("bpf")
def test_names_beyond_the_rows_are_reported_and_in_the_total() -> None:
    named = (
        "import os\nfor n in range(9000):\n  p = os.fork()\n"
        "  if not p:\n    open('/proc/self/comm', 'w').write(f'name {n}')\n    os._exit(0)\n"
        "  os.wait()"
    )
    with taskstats.track() as tracker:
        subprocess.run([sys.executable, "-S", "-c", named], check=True)
    use = tracker.use
    assert use is not None
    assert use.exact
    assert use.tasks == 9001
    rows = sum(row.tasks for row in use.commands.values())
    assert rows < use.tasks
    assert use.notes == [f"{use.tasks - rows} tasks have no row: too many command names"]


def test_a_child_that_cannot_exec_runs_nothing_else() -> None:
    program = """
import sys
from ptop.commands.run import main
status = main(["--", "a\\0b"])
print("after", status)
sys.exit(status)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (126, "after 126\n")
    # The middle part is Python's.
    assert re.fullmatch("ptop: a\u2400b: .*: check the command\n", ran.stderr)
