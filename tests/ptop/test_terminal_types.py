"""Terminals of many types, silent and slow ones, and those that do not know their size."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_view import PTOP, Live  # type: ignore[import-not-found]

# What terminals answer to: device attributes, status and cursor reports, colours, settings,
# modes, names. None may be written.
QUERIES = re.compile(
    rb"\x1b\[[>=?]?[0-9;]*[cnx]|\x1b\[[?]?[0-9;]*\$p|\x1b[\]P][^\x07\x1b]*\?|\x1bP\+q|\x05"
)


def quits(live: Live) -> None:
    live.child.send("q")
    assert live.ended() == 0
    assert b"Traceback" not in live.raw


@pytest.mark.parametrize(
    "name",
    [
        *("xterm", "xterm-256color", "linux", "vt100", "vt220", "ansi", "screen", "tmux"),
        *("screen-256color", "rxvt", "rxvt-unicode-256color"),
    ],
)
def test_a_type_of_terminfo_works(name: str) -> None:
    live = Live(environment={"TERM": name})
    live.until("Name")
    live.child.send("\x1bOB")
    live.child.send("\x1b[B")
    live.until("F10Quit")
    quits(live)
    # The padding of terminals on slow lines is not text.
    assert b"$<" not in live.raw


@pytest.mark.parametrize(
    "name", ["xterm-kitty", "alacritty", "tmux-256color", "xterm-ghostty", "foot", "wezterm"]
)
def test_a_type_that_terminfo_lacks_works_if_it_is_ansi(name: str, tmp_path: Path) -> None:
    # No database has any type here.
    nowhere = {"TERMINFO": str(tmp_path), "TERMINFO_DIRS": str(tmp_path), "HOME": str(tmp_path)}
    live = Live(environment={"TERM": name, **nowhere})
    live.until("Name")
    live.child.send("\x1bOP")
    live.until("ptop: keys")
    live.child.send("q")
    live.until("Name")
    quits(live)
    assert live.restored()


def test_modes_are_set_and_restored_without_asking() -> None:
    live = Live()
    live.until("Name")
    quits(live)
    for mode in (b"1000", b"1006", b"2004"):
        assert live.raw.count(b"\x1b[?" + mode + b"h") == 1
        assert live.raw.rindex(b"\x1b[?" + mode + b"l") > live.raw.index(b"\x1b[?" + mode + b"h")
    # A terminal that can shows a frame at once.
    assert live.raw.count(b"\x1b[?2026h") == live.raw.count(b"\x1b[?2026l") >= 1
    assert QUERIES.search(live.raw) is None


def test_a_query_is_found() -> None:
    for query in (b"\x1b[c", b"\x1b[6n", b"\x1b[?2026$p", b"\x1b]11;?\x07", b"\x1bP+q544e\x1b\\"):
        assert QUERIES.search(query) is not None
    assert QUERIES.search(b"\x1b[?2026h\x1b[1;1H\x1b[0m\x1b[?1000l") is None


def test_a_silent_terminal_does_not_delay_the_start() -> None:
    # It answers nothing at all, as a PTY that nobody reads from but this test.
    pid, master = pty.fork()
    if not pid:
        os.environ["TERM"] = "xterm-256color"
        os.execv(PTOP[0], [*PTOP, "-n", "1", "-d", "0.1"])
    written = b""
    try:
        while select.select([master], [], [], 30)[0]:
            try:
                written += os.read(master, 65536)
            except OSError:
                break
    finally:
        os.close(master)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"Name" in written
    assert QUERIES.search(written) is None


def test_a_terminal_that_does_not_know_its_size_has_the_usual_one() -> None:
    live = Live(rows=0, columns=0, environment={"LINES": "", "COLUMNS": ""}, screen=(80, 24))
    live.until("Name")
    live.until("F10Quit")
    assert "F10Quit" in live.screen.display[23]
    quits(live)


def test_a_slow_line_shows_whole_frames_and_takes_keys() -> None:
    """2,400 bytes a second, as a serial line."""
    live = Live("-d", "1")
    shown = False
    end = time.monotonic() + 60
    sent = False
    while time.monotonic() < end and live.child.isalive():
        time.sleep(0.1)
        if select.select([live.child.child_fd], [], [], 0)[0]:
            try:
                data = os.read(live.child.child_fd, 240)
            except OSError:
                break
            live.raw += data
            live.stream.feed(data)
        shown = shown or ("Name" in live.text() and "F10Quit" in live.text())
        if shown and not sent:
            live.child.send("q")
            sent = True
    assert shown
    assert live.ended() == 0
    assert live.restored()


@pytest.fixture
def tmux(needs: Callable[[bool, str], None], tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs tmux commands on a server of its own."""
    needs(shutil.which("tmux") is not None, "needs tmux")
    socket = str(tmp_path / "tmux")

    def run(*words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", socket, "-f", "/dev/null", *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    yield run
    subprocess.run(["tmux", "-S", socket, "kill-server"], capture_output=True, check=False)


def test_in_tmux_keys_act_and_pasted_text_does_not(tmux: Callable[..., str]) -> None:
    command = f"{sys.executable} -m ptop -d 0.3; echo ended $?; sleep 60"
    tmux("new-session", "-d", "-x", "80", "-y", "24", command)

    def until(words: str) -> str:
        end = time.monotonic() + 20
        while words not in (text := tmux("capture-pane", "-p")):
            assert time.monotonic() < end, f"no {words!r} on:\n{text}"
            time.sleep(0.1)
        return text

    until("Name")
    # A paste of keys that would quit and pause.
    tmux("set-buffer", "qZq")
    tmux("paste-buffer", "-p")
    assert "⏸" not in until("pasted text does nothing here")
    tmux("send-keys", "F4")
    until("filter:")
    tmux("set-buffer", "no-such\nq")
    tmux("paste-buffer", "-p")
    until("filter: no-such q")
    until("no task matches")
    tmux("send-keys", "Escape")
    until("F10Quit")
    tmux("send-keys", "F1")
    until("ptop: keys")
    tmux("send-keys", "Escape")
    until("F10Quit")
    tmux("send-keys", "q")
    until("ended 0")


@pytest.mark.parametrize("gap_s", [0.02, 0.06])
@pytest.mark.parametrize("sequence", [b"\x1b[B", b"\x1bOB", b"\x1b[1;5D", b"\x1b[200~q\x1b[201~"])
def test_a_split_sequence_runs_no_key_of_its_bytes(sequence: bytes, gap_s: float) -> None:
    live = Live()
    live.until("Name")
    for at in range(1, len(sequence)):
        for part in (sequence[:at], sequence[at:]):
            os.write(live.child.child_fd, part)
            time.sleep(gap_s)
        live.pump()
        # What was swallowed, or an Escape, is over.
        time.sleep(0.6)
    live.child.send("\x1bOS")
    live.until("filter: ")
    live.child.send("\x1b")
    live.until("F10Quit")
    assert "⏸" not in live.text()
    quits(live)


def test_escdelay_is_honoured() -> None:
    live = Live(environment={"ESCDELAY": "3000"})
    live.until("Name")
    live.child.send("\x1bOS")
    live.until("filter: ")
    # Within three seconds it is Alt and a key, which kills a word.
    live.child.send("one two")
    live.until("filter: one two")
    live.child.send("\x1b")
    time.sleep(0.3)
    live.child.send("\x7f")
    end = time.monotonic() + 10
    while "filter: one two" in live.text():
        assert time.monotonic() < end
        live.pump()
    live.until("filter: one")
    live.child.kill(signal.SIGTERM)
    assert live.ended() == 128 + signal.SIGTERM
