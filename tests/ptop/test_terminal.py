"""The live view on a real terminal: what it shows, and that it restores the terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pexpect
import pytest
from live_view import PTOP, Live  # type: ignore[import-not-found]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("dumb", "the terminal type TERM=dumb cannot move its cursor"),
        ("unknown", "the terminal type TERM=unknown is unknown"),
        ("", "TERM is not set"),
        ("bogus", "the terminal type TERM=bogus is unknown"),
        ("\x1b[2J", "the terminal type TERM=\u241b[2J is unknown"),
    ],
)
def test_a_dumb_terminal_gets_no_escape(name: str, why: str) -> None:
    child = pexpect.spawn(PTOP[0], PTOP[1:], env={**os.environ, "TERM": name}, timeout=20)
    output = child.read()
    assert isinstance(output, bytes)
    child.close()
    assert child.exitstatus == 2
    assert b"\x1b" not in output
    (line,) = output.splitlines()
    hint = "type: TERM=xterm-256color ptop; for plain text type: ptop -b -n 1"
    assert line.decode() == f"ptop: {why}; {hint}"


def test_a_closed_stream_is_no_terminal() -> None:
    for closed in ("<&-", ">&-"):
        command = f"{PTOP[0]} -m ptop {closed}"
        child = pexpect.spawn(
            "sh", ["-c", command], env={**os.environ, "TERM": "xterm"}, timeout=20
        )
        output = child.read()
        assert isinstance(output, bytes)
        child.close()
        assert child.exitstatus == 2
        assert output.startswith(b"ptop: standard input and output are not a terminal; ")


def test_without_standard_error_the_view_is_shown() -> None:
    live = Live(command=["sh", "-c", f'exec {PTOP[0]} -m ptop "$@" 2>&-', "ptop"])
    live.until("Name")
    live.child.send("q")
    assert live.ended() == 0


def test_the_live_view_shows_tasks_and_quits() -> None:
    live = Live()
    live.until("Name")
    live.until("python")
    assert " CPU" in live.text()
    live.child.send("?")
    live.until("help: all keys")
    live.child.send("\x1b")
    live.until("Name")
    live.child.send("\\")
    live.child.send("ptyhon-no-such")
    live.child.send("\r")
    live.until("no task matches")
    live.child.send("q")
    assert live.ended() == 0
    assert live.restored()


def test_the_selection_stays_on_a_list_that_gets_shorter() -> None:
    with subprocess.Popen(["sleep", "31415"]) as sleeper:
        live = Live()
        live.until("Name")
        live.child.send("\x1b[F")

        def selected() -> list[str]:
            lines = live.screen.buffer
            return [
                "".join(lines[row][at].data for at in range(80))
                for row in range(24)
                if lines[row][9].reverse
            ]

        end = time.monotonic() + 10
        while not selected():
            assert time.monotonic() < end, live.text()
            live.pump()
        live.child.send(f"\\{sleeper.pid}\r")
        # The selected task is hidden, unless it is the sleeper.
        live.until("filter ")
        assert all(f" {sleeper.pid} " in line for line in selected())
        live.child.send("\x1b[H")
        while not any(f" {sleeper.pid} " in line for line in selected()):
            assert time.monotonic() < end + 10, live.text()
            live.pump()
        assert len(selected()) == 1
        live.child.send("q")
        assert live.ended() == 0
        sleeper.kill()


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 0), (signal.SIGQUIT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_signals_leave_the_terminal_as_it_was(number: signal.Signals, status: int) -> None:
    live = Live()
    live.until("Name")
    live.child.kill(number)
    assert live.ended() == status
    assert live.restored()


def stop(live: Live) -> None:
    """Stop ptop as Ctrl-Z does."""
    live.child.kill(signal.SIGTSTP)
    status = Path(f"/proc/{live.child.pid}/stat")
    end = time.monotonic() + 10
    while status.read_text().rsplit(")", 1)[1].split()[0] != "T":
        assert time.monotonic() < end, "ptop does not stop"
        live.pump()
    live.pump()
    assert live.restored()


def test_a_stopped_view_continues() -> None:
    live = Live()
    live.until("Name")
    stop(live)
    live.child.kill(signal.SIGCONT)
    live.screen.reset()
    live.until("Name")
    live.child.send("q")
    assert live.ended() == 0


def test_a_signal_ends_a_stopped_view() -> None:
    live = Live()
    live.until("Name")
    stop(live)
    shown = len(live.raw)
    live.child.kill(signal.SIGTERM)
    live.child.kill(signal.SIGCONT)
    assert live.ended() == 143
    # The shell has the terminal.
    assert live.raw[shown:] == b""


@pytest.mark.parametrize("trap", ["", "trap '' HUP; "])
def test_a_closed_terminal_ends_the_view(trap: str) -> None:
    live = Live(command=["sh", "-c", f'{trap}exec {PTOP[0]} -m ptop "$@"', "ptop"])
    live.until("Name")
    assert live.child.pid is not None
    os.close(live.child.child_fd)
    end, ended, status = time.monotonic() + 10, 0, 0
    while not ended:
        assert time.monotonic() < end, "ptop runs without a terminal"
        ended, status = os.waitpid(live.child.pid, os.WNOHANG)
        time.sleep(0.05)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP


@pytest.mark.parametrize(
    "keys",
    [
        (b"\xff",),
        (b"\xe9",),
        (b"\xc3",),
        (b"\xc3", b"\xa9"),
        (b"\xe2\x98", b"\xff"),
        (b"\x1b[M \x98!",),
        (b"\x1b[<0;10;10M",),
        (b"\x00", b"\x19"),
    ],
)
def test_any_bytes_are_keys(keys: Sequence[bytes]) -> None:
    live = Live()
    live.until("Name")
    for key in keys:
        live.child.send(key)
        # So that most are read one by one.
        time.sleep(0.3)
    live.child.send("q")
    assert live.ended() == 0
    assert live.restored()
    assert b"Traceback" not in live.raw


# A process whose name is not UTF-8.
NAMED = """
import ctypes, time
ctypes.CDLL(None).prctl(15, b"caf\\xe9-31415")
print("ready", flush=True)
time.sleep(600)
"""


def test_a_filter_takes_any_bytes() -> None:
    with subprocess.Popen([sys.executable, "-c", NAMED], stdout=subprocess.PIPE) as named:
        assert named.stdout is not None
        assert named.stdout.readline() == b"ready\n"
        words = [*PTOP, "-b", "-n", "1", "-d", "0.1", "--filter"]
        for part, found in ((b"f\xe9-31", True), (b"f\xc3\xa9-31", False)):
            table = subprocess.run([*words, part], stdout=subprocess.PIPE, check=True).stdout
            assert (b" caf" in table) == found
        live = Live()
        live.until("Name")
        live.child.send("\\")
        live.until("filter: ")
        for key in (b"f", b"\xe9", b"-31", b"\r"):
            live.child.send(key)
            time.sleep(0.3)
        live.until("caf\ufffd-31415")
        live.child.send("\\")
        live.until("filter: f\ufffd-31")
        # A character that arrives in two reads.
        live.child.send(b"\xc3")
        time.sleep(0.3)
        live.child.send(b"\xa9")
        live.until("filter: f\ufffd-31\u00e9")
        live.child.send("\r")
        live.until("no task matches")
        live.child.send("q")
        assert live.ended() == 0
        named.kill()


def test_a_resize_is_followed() -> None:
    live = Live()
    live.until("Name")
    live.screen.resize(40, 60)
    live.child.setwinsize(40, 60)
    end = time.monotonic() + 10
    while live.screen.display[-1].strip() == "" and time.monotonic() < end:
        live.pump()
    assert live.screen.display[-1].strip() != ""
    live.child.send("q")
    assert live.ended() == 0


@pytest.mark.parametrize("stopped", [False, True])
def test_a_paused_screen_follows_a_resize(stopped: bool) -> None:
    live = Live()
    assert live.child.pid is not None
    live.until("Name")
    live.child.send("Z")
    live.until("⏸")
    if stopped:
        # SIGSTOP cannot be handled, and a stopped process gets no SIGWINCH.
        os.kill(live.child.pid, signal.SIGSTOP)
    live.screen.resize(40, 60)
    live.child.setwinsize(40, 60)
    if stopped:
        os.kill(live.child.pid, signal.SIGCONT)
    end = time.monotonic() + 10
    while live.screen.display[-1].strip() == "" and time.monotonic() < end:
        live.pump()
    assert live.screen.display[-1].strip() != ""
    live.child.send("q")
    assert live.ended() == 0


def test_a_paused_screen_costs_nothing() -> None:
    live = Live("--history", "0")
    live.until("Name")
    live.child.send("Z")
    live.until("⏸")
    live.pump()

    def wakeups() -> int:
        text = Path(f"/proc/{live.child.pid}/task/{live.child.pid}/status").read_text()
        return int(text.split("voluntary_ctxt_switches:")[1].split()[0])

    before = wakeups()
    for _ in range(20):
        live.pump()
    assert wakeups() == before
    live.child.send("q")
    assert live.ended() == 0


def test_an_idle_screen_is_not_written_again() -> None:
    live = Live("--history", "0")
    live.until("Name")
    live.child.send("Z")
    for _ in range(20):
        live.pump()
    written = len(live.raw)
    for _ in range(15):
        live.pump()
    assert len(live.raw) == written
    live.child.send("q")
    assert live.ended() == 0


def test_the_harness_fails_on_missing_text() -> None:
    live = Live()
    with pytest.raises(AssertionError, match="no 'certainly not'"):
        live.until("certainly not", seconds=1)
    live.child.send("q")
    live.ended()


def test_without_privilege_and_home_all_is_shown(as_nobody: list[str], tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0)
    live = Live(
        command=as_nobody,
        environment={"HOME": str(home), "LC_ALL": "C", "PYTHONUTF8": "0"},
    )
    live.until("Name")
    live.until("procfs")
    live.child.send("\\python\r")
    live.until("python")
    live.child.send("q")
    assert live.ended() == 0
    assert live.restored()
    assert b"Traceback" not in live.raw


# Drawing a screen for a key fails.
BROKEN = """
import itertools, sys
from ptop import cli
from ptop.live.view import Renderer
screens, draw = itertools.count(1), Renderer.lines
def lines(*arguments, **words):
    if next(screens) > 1:
        raise RuntimeError("cannot be drawn")
    return draw(*arguments, **words)
Renderer.lines = lines
sys.exit(cli.main(sys.argv[1:]))
"""


def test_an_exception_is_reported_on_a_restored_terminal() -> None:
    live = Live(command=[sys.executable, "-c", BROKEN])
    live.until("Name")
    live.child.send("j")
    assert live.ended() == 1
    assert live.restored()
    told = live.raw.index(b"RuntimeError: cannot be drawn")
    assert live.raw.rindex(b"\x1b[?1049l") < told
    assert b"\x1b" not in live.raw[told:]


def test_a_key_before_the_first_screen_quits() -> None:
    live = Live()
    live.child.send("q")
    assert live.ended() == 0
    assert b"Traceback" not in live.raw
