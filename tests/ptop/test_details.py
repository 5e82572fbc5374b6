"""The pane that shows one task, on processes of the test's own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import taskstats
from live_view import PTOP, Live  # type: ignore[import-not-found]

from ptop.live import details, inspector, keys, looking, tools
from ptop.live.details import Details, Pane, Series
from ptop.live.state import State
from ptop.taskfiles import GoneError, Section, TaskFiles, _address, _all, cgroup_sections
from ptop.values import replace

# A process with a socket, a locked file, a secret, a strange name and children that die.
PROGRAM = """
import fcntl, os, socket, sys, time
held = open(sys.argv[1], "w"); fcntl.flock(held, fcntl.LOCK_EX)
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen()
print(server.getsockname()[1], flush=True)
while True:
    if os.fork() == 0:
        os._exit(7)
    os.wait()
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        pass
    time.sleep(0.05)
"""


@pytest.fixture
def task(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running process, and the port that it listens on."""
    environment = {**os.environ, "SECRET_WORD": "swordfish"}
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "lock\x1b[31m")],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert child.stdout is not None
    try:
        yield child, int(child.stdout.readline())
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def sections(files: TaskFiles) -> dict[str, list[str]]:
    found: list[Section] = [section for section in files.sections(True) if section is not None]
    return dict(found)


def test_the_files_of_a_task_say_what_it_has(
    task: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    child, port = task
    files = TaskFiles(child.pid, now_ns())
    found = sections(files)
    assert "fcntl.LOCK_EX" in found["command"][0]
    assert f"exe {os.path.realpath(sys.executable)}" in found["program"]
    assert f"cwd {tmp_path}" in found["program"]
    assert f"session {os.getsid(child.pid)} " in found["task"][0]
    assert "-1" not in found["task"][0], "no terminal is no number"
    assert any("RSS" in line and "Swap" in line for line in found["memory"])
    assert any("open files" in line for line in found["limits"])
    (files_at,) = [title for title in found if title.startswith("open files: ")]
    assert any("lock" in line for line in found[files_at])
    (sockets,) = [lines for title, lines in found.items() if title.startswith("sockets")]
    assert any(f"tcp 127.0.0.1:{port} LISTEN" in line for line in sockets)
    assert any("FLOCK WRITE" in line for line in found["locks"])
    assert any(line.startswith("path /") for line in found["cgroup"])
    assert "SECRET_WORD=********" in files.environment(shown=False)
    assert "SECRET_WORD=swordfish" in files.environment(shown=True)
    assert "Pss " in files.proportional()[0]
    files.close()


def test_a_task_that_is_gone_is_no_other_one(task: tuple[subprocess.Popen[str], int]) -> None:
    child, _ = task
    # Seen before it started: its pid was another's.
    with pytest.raises(GoneError):
        TaskFiles(child.pid, 1)
    files = TaskFiles(child.pid, now_ns())
    child.kill()
    child.wait()
    assert not files.is_alive()
    with pytest.raises(GoneError):
        list(files.sections(True))
    files.close()
    with pytest.raises(GoneError):
        TaskFiles(child.pid, now_ns())


def test_what_may_not_be_read_is_said(task: tuple[subprocess.Popen[str], int]) -> None:
    child, _ = task
    if os.geteuid() != 0:
        pytest.skip("another user's process needs root to begin with")
    program = (
        "import os, sys, time; os.setgid(65534); os.setuid(65534);"
        "from ptop.taskfiles import TaskFiles;"
        f"files = TaskFiles({child.pid}, time.clock_gettime_ns(time.CLOCK_BOOTTIME));"
        "print(dict(filter(None, files.sections(True))), files.environment(True))"
    )
    # The files of the interpreter may be root's alone: import first.
    program = f"import ptop.taskfiles; {program}"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert "'exe needs --keep-root'" in said
    assert said.count("needs --keep-root") >= 4
    assert "swordfish" not in said


def test_cgroups_of_v2_have_limits_throttling_and_pressure(tmp_path: Path) -> None:
    folder = tmp_path / "a.slice"
    folder.mkdir()
    texts = {
        "cpu.max": "50000 100000\n",
        "cpu.stat": "usage_usec 7\nnr_periods 10\nnr_throttled 3\nthrottled_usec 4000\n",
        "cpu.pressure": "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\n"
        "full avg10=0.25 avg60=0.00 avg300=0.00 total=1\n",
        "memory.max": "max\n",
        "memory.current": "4096\n",
        "io.stat": "8:0 rbytes=1 wbytes=2\n8:16 rbytes=3\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    ((title, lines),) = cgroup_sections("0::/a.slice\n", str(tmp_path))
    assert title == "cgroup"
    assert lines == [
        "path /a.slice",
        "cpu: max 50000 100000  nr_periods 10  nr_throttled 3  throttled_usec 4000"
        "  pressure some 1.50% full 0.25%",
        "memory: current 4096  max max",
        "io: stat 8:0 rbytes=1 wbytes=2; 8:16 rbytes=3",
    ]
    # Hybrid: the controller is on v1, so that v2 has no files of it.
    ((_, hybrid),) = cgroup_sections("4:memory:/old\n0::/\n", str(tmp_path))
    assert hybrid == ["path /", "memory: not on v2 (/old on v1)"]
    ((_, old),) = cgroup_sections("4:memory:/old\n", str(tmp_path))
    assert old == ["4:memory:/old", "not on v2"]


def test_files_of_many_pages_are_read_whole(tmp_path: Path) -> None:
    # One read of mountinfo returns a page; what comes later must be seen too.
    pipe, written = os.pipe()
    with os.fdopen(written, "wb", buffering=0) as out:
        out.write(b"a" * 4096)
        child = os.fork()
        if child == 0:
            out.write(b"b" * 60_000)
            os._exit(0)
    assert _all(pipe) == b"a" * 4096 + b"b" * 60_000
    os.close(pipe)
    os.waitpid(child, 0)


def graph_of(values: list[float | None], ascii_only: bool = False) -> str:
    return details.graph(Series("cpu", "percent", values), 30, ascii_only)


def test_graphs_show_unknown_zero_and_the_highest() -> None:
    assert graph_of([None, 0.0, 50.0, 100.0]) == f"cpu       100.00% {' ▁▅█':>12}"
    assert graph_of([0.0, 10.0], ascii_only=True) == f"cpu        10.00% {'_#':>12}"
    assert graph_of([]) == f"cpu             - {'':>12}"


@pytest.mark.parametrize("size", [(80, 16), (120, 24), (40, 6), (20, 1)])
def test_the_pane_has_its_size_and_no_escape(size: tuple[int, int]) -> None:
    pane = Pane("1 \x1b[2Jevil", [Series("cpu", "percent", [1.0])], {"a\x1b": ["b\x1bc " * 50]})
    for details_of in (Details(), Details(top=1000)):
        lines, top = details.lines(pane, details_of, size, "Esc Close", "", ascii_only=False)
        assert top < 20
        assert len(lines) == size[1]
        assert not any("\x1b" in text for text, _ in lines)
    output = Pane("strace", output=["x\x1b" * 10] * 99)
    lines, _ = details.lines(output, Details(tool="strace"), size, "", "", ascii_only=True)
    assert len(lines) == size[1]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit 0"),
        (7 << 8, "exit 7"),
        (9, "killed by SIGKILL"),
        (11 | 128, "killed by SIGSEGV with a core dump"),
        (None, "died"),
    ],
)
def test_wait_statuses_in_words(status: int | None, words: str) -> None:
    assert details.exit_words(status) == words


def test_a_replay_offers_nothing_that_needs_a_living_task() -> None:
    bound = dict(keys.bindings("htop", "replay", "details"))
    assert not {"e", "v", "m", "s", "l"} & set(bound)
    state = State(recorded=True, mode="details")
    assert keys.press(state, "e").notice == "e works in the live view alone: the environment: names"


def test_opening_follows_and_closing_restores() -> None:
    opened = looking.open_pane(State(page_rows=5, total_rows=9))
    assert (opened.mode, opened.selecting, opened.follow) == ("details", True, True)
    assert looking.values(opened).notice
    shown = looking.values(looking.environment(opened))
    assert shown.details.environment == "values"
    scrolled = replace(shown, details=replace(shown.details, top=30))
    for action in (looking.environment, looking.memory):
        assert action(scrolled).details.top == 0
    # Another task's values are not shown.
    assert looking.move(1)(shown).details.environment == ""
    running = looking.run("lsof")(opened)
    assert looking.close(running).mode == "details"
    closed = looking.close(looking.close(running))
    assert (closed.mode, closed.follow, closed.details) == ("table", False, Details())


def test_only_programs_of_root_are_run_as_root(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has programs of root")
    fake = tmp_path / "strace"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    assert tools.program("strace", [str(tmp_path)]) is None  # /tmp is anyone's.
    assert tools.is_roots("/usr/bin/env")
    link = tmp_path / "link"
    link.symlink_to("/usr/bin/env")
    assert tools.is_roots(str(link))
    assert not tools.is_roots(str(fake))


def test_addresses_are_those_of_the_kernel() -> None:
    texts = ("0100007F:0050", "00000000000000000000000001000000:1F90")
    if sys.byteorder == "little":
        assert [_address(text) for text in texts] == ["127.0.0.1:80", "[::1]:8080"]
        assert _address("B80D0120000000000000010001000000:0001") == "[2001:db8::1:0:0:1]:1"
    assert _address("0" * 32 + ":0000") == "[::]:0"


def open_pane(pid: int, *arguments: str, **options: Any) -> Live:
    live = Live("--pid", str(pid), *arguments, **options)
    live.until(f" {pid} ")
    live.child.send("\r")
    live.until("Environment")
    return live


def quit_(live: Live) -> None:
    if "F1Help" not in live.text():
        live.child.send("\x1b")
        live.until("F1Help")
    live.child.send("q")
    assert live.ended() == 0
    assert live.restored()


def test_enter_opens_a_pane_with_graphs_and_files(
    task: tuple[subprocess.Popen[str], int],
) -> None:
    child, _ = task
    live = open_pane(child.pid, rows=60, columns=120)
    for words in ("wait cpu", "fcntl.LOCK_EX", "cwd ", "cgroup", "RSS", "exit 7", "  CPU "):
        live.until(words)
    if os.geteuid() == 0:
        live.until("needs --keep-root")
    live.child.send("e")
    live.pump()
    live.child.send("\r")
    live.until("F1Help")
    assert "fcntl.LOCK_EX," not in live.text()
    quit_(live)


def test_the_environment_is_masked_until_a_further_key() -> None:
    # ptop itself: its environment may always be read.
    itself = ["sh", "-c", f'exec {PTOP[0]} -m ptop --pid $$ "$@"', "ptop"]
    live = Live(rows=60, columns=100, command=itself, environment={"SECRET_WORD": "swordfish"})
    live.until(f" {live.child.pid} ")
    live.child.send("\r")
    live.until("Environment")
    assert "SECRET" not in live.text()
    live.child.send("e")
    for _ in range(20):
        for _ in range(5):
            live.pump()
        if "SECRET_WORD=********" in live.text():
            break
        live.child.send("\x1b[6~")
    assert "SECRET_WORD=********" in live.text()
    assert "swordfish" not in live.text()
    live.child.send("v")
    live.until("SECRET_WORD=swordfish")
    # What is asked for is on the screen, however long the environment is.
    live.child.send("m")
    live.until("Pss ")
    quit_(live)


def test_strace_asks_first_and_lsof_lists(task: tuple[subprocess.Popen[str], int]) -> None:
    child, _ = task
    live = open_pane(child.pid)
    live.child.send("s")
    live.until("stops the task at each system call")
    live.child.send("%")
    live.until("y or n? % is neither")
    live.child.send("n")
    live.until("Environment")
    assert f"strace of {child.pid}" not in live.text()
    live.child.send("sy")
    live.until(f"strace of {child.pid}")
    live.child.send("\x1b")
    live.until("wait cpu")
    live.child.send("l")
    live.until(f"lsof of {child.pid}")
    live.until("has ended")
    live.child.send("\x1b")
    live.until("wait cpu")
    quit_(live)
    os.kill(child.pid, 0)
    state = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0]
    assert state not in {"T", "t"}


def test_a_task_that_dies_is_shown_with_its_fate(task: tuple[subprocess.Popen[str], int]) -> None:
    child, _ = task
    live = open_pane(child.pid)
    live.until("fcntl.LOCK_EX")
    child.send_signal(signal.SIGKILL)
    child.wait()
    live.until("killed by SIGKILL")
    live.until("fcntl.LOCK_EX")
    live.child.send("e")
    live.until("unknown: the task is gone")
    quit_(live)


def bars(live: Live) -> int:
    """How many intervals the graph of CPU time has, once all are there."""
    found = 0
    for _ in range(10):
        live.pump()
        (line,) = [line for line in live.screen.display if line.startswith("cpu ")]
        found = sum(line[: len(line) // 2].count(step) for step in "▁▂▃▄▅▆▇█")
    return found


def test_a_replay_shows_what_is_known_and_reads_nothing(
    task: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    child, _ = task
    path = tmp_path / "day.tsd"
    with taskstats.Recorder(path) as recorder, taskstats.Source(exact=True) as source:
        for _ in range(4):
            recorder.write(source.snapshot())
            time.sleep(0.3)
    # A replay has no delay.
    replay = ["sh", "-c", f'shift 2; exec {PTOP[0]} -m ptop replay "$@"', "ptop"]
    words = (str(path), "--pid", str(child.pid), "--at=-0s")
    live = Live(*words, command=replay, rows=40, columns=100)
    live.until(f" {child.pid} ")
    live.child.send("\r")
    live.until("fcntl.LOCK_EX")
    live.until("cpu ")
    assert "cwd" not in live.text()
    # Wherever one comes from, graphs begin before the frame that is shown.
    assert bars(live) == 3
    live.child.send(",")
    live.until("frame 2 of 3")
    assert bars(live) == 2
    live.child.send(".")
    live.until("frame 3 of 3")
    quit_(live)


def test_what_is_not_measured_of_a_sleeper_is_unknown() -> None:
    sleeper = subprocess.Popen(["sleep", "31416"])
    try:
        live = open_pane(sleeper.pid, rows=40, columns=100)
        # It sleeps from then on.
        live.until("sleep 31416")
        for _ in range(10):
            live.pump()
        known = Path("/proc/sys/kernel/task_delayacct").read_text().strip() == "1"
        assert ("wait blk  " in live.text()) == known
        assert ("delay accounting is off" in live.text()) != known
        (line,) = [line for line in live.screen.display if line.startswith("cpu ")]
        assert line.split()[1] == "0.00%"
        quit_(live)
    finally:
        sleeper.kill()
        sleeper.wait()


def test_slices_are_short_and_a_closed_pane_reads_nothing() -> None:
    held = [socket.socket() for _ in range(300)]
    try:
        files = TaskFiles(os.getpid(), now_ns())
        steps = list(files.sections(True))
        # Hundreds of descriptors are looked up in several steps.
        assert steps.count(None) > 300 / 64
        files.close()
    finally:
        for one in held:
            one.close()
    nobody = inspector.Inspector()
    assert nobody.wait_s() is None
    assert not nobody.work()
