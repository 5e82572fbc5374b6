"""The selection is a task: it stays while rows are sorted, filtered, grouped and die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from live_view import Live  # type: ignore[import-not-found]

# A process with a name of its own that dies with status 3 when its input ends.
NAMED = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode())
print("ready", flush=True)
sys.stdin.read()
sys.exit(3)
"""


# Short, because the kernel keeps 15 bytes, and of this test alone.
NAME = f"sel{os.getpid()}"


def process(name: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", NAMED, name]
    started = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == b"ready\n"
    return started


@pytest.fixture
def pair() -> Iterator[list[subprocess.Popen[bytes]]]:
    started = [process(f"{NAME}a"), process(f"{NAME}b")]
    yield started
    for each in started:
        each.kill()
        each.wait()
        for pipe in (each.stdin, each.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def live() -> Iterator[Live]:
    live = Live(columns=100)
    live.until("Name")
    yield live
    live.child.kill(signal.SIGTERM)
    assert live.ended() == 128 + signal.SIGTERM
    assert b"Traceback" not in live.raw


def selected(live: Live) -> str:
    """The text of the line in reverse among the rows; empty if there is none."""
    title = next(at for at, line in enumerate(live.screen.display) if " pid " in line)
    for at in range(title + 1, live.screen.lines - 1):
        cells = live.screen.buffer[at]
        if all(cells[column].reverse for column in range(live.screen.columns)):
            text: str = live.screen.display[at]
            return text
    return ""


def until(live: Live, holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, f"not {what}:\n{live.text()}"
        live.pump()


def search(live: Live, name: str) -> None:
    live.child.send("/" + name)
    until(live, lambda: name in selected(live), f"{name} selected")
    live.child.send("\r")
    until(live, lambda: "search" not in live.text(), "the prompt closed")


def test_a_search_selects_while_it_is_typed(
    live: Live, pair: list[subprocess.Popen[bytes]]
) -> None:
    live.child.send("\x1bOR")
    live.until("search: ")
    live.child.send(NAME)
    until(live, lambda: NAME in selected(live), "one of them selected")
    first = selected(live)
    live.child.send("\x1bOR")
    until(live, lambda: NAME in selected(live) and selected(live) != first, "the other")
    live.child.send("no-such")
    live.until(f"no row matches '{NAME}no-such'")
    # Escape goes back to where the search began.
    live.child.send("\x1b")
    until(live, lambda: selected(live) == "", "no selection")


def test_the_selection_stays_over_sorting_filtering_and_paging(
    live: Live, pair: list[subprocess.Popen[bytes]]
) -> None:
    name = f" {pair[1].pid} "
    search(live, f"{NAME}b")
    assert name in selected(live)

    def stays() -> bool:
        return name in selected(live) or name not in live.text()

    for keys in ("<<", "I", "M", "F", "P"):
        live.child.send(keys)
        for _ in range(8):
            live.pump()
        # The screen may be read in the middle of a frame.
        until(live, stays, f"selected after {keys}")
    live.child.send(f"\\{NAME}\r")
    until(live, lambda: name in selected(live), "selected in the filtered list")
    # The other one is left out, and comes back.
    live.child.send(f"\\\x15{NAME}a\r")
    until(live, lambda: name not in live.text(), "filtered out")
    live.child.send("\\\x15\r")
    until(live, lambda: name in selected(live), "selected and followed again")
    live.child.send("z")
    live.until("by ")
    live.child.send("\x1b[6~\x1b[5~")
    for _ in range(4):
        live.pump()


def test_the_line_of_a_dead_task_stays_until_one_moves_on(
    live: Live, pair: list[subprocess.Popen[bytes]]
) -> None:
    search(live, f"{NAME}a")
    dead = pair[0]
    assert dead.stdin is not None
    dead.stdin.close()
    dead.wait()
    until(live, lambda: "died, exit 3" in selected(live), "dead")
    assert f" {dead.pid} " in selected(live)
    for _ in range(15):
        live.pump()
    assert f" {dead.pid} " in selected(live)
    live.child.send("\x1b[B")
    until(live, lambda: f" {dead.pid} " not in live.text(), "gone")


def test_a_followed_task_stays_on_the_screen(
    live: Live, pair: list[subprocess.Popen[bytes]]
) -> None:
    search(live, f"{NAME}b")
    live.child.send("F")
    live.until("follows the selected row")
    for keys in ("<", ">", "I", "I", "P"):
        live.child.send(keys)
        for _ in range(6):
            live.pump()
        until(live, lambda: f" {pair[1].pid} " in selected(live), f"followed after {keys}")


def test_rows_are_tagged(live: Live, pair: list[subprocess.Popen[bytes]]) -> None:
    live.child.send(f"\\{NAME}\r")
    for each in pair:
        live.until(f" {each.pid} ")
    live.child.send("\x1b[H  ")

    def tagged() -> int:
        return sum(line.startswith("*") for line in live.screen.display)

    until(live, lambda: tagged() == 2, "two tags")
    live.child.send("U")
    until(live, lambda: tagged() == 0, "no tags")


def test_kernel_threads_are_hidden(live: Live) -> None:
    live.child.send("K")
    live.until("filter without kernel threads")
    live.child.send("/kthreadd")
    live.until("no row matches 'kthreadd'")
    live.child.send("\x1b")
    live.until("F10Quit")
    live.child.send("K")
    until(live, lambda: "without kernel threads" not in live.text(), "shown again")
    search(live, "kthreadd")


def test_the_dead_are_not_counted_as_tasks_of_a_user(
    live: Live, needs: Callable[[bool, str], None]
) -> None:
    needs(os.geteuid() == 0, "needs root to start processes of another user")
    words = ["sh", "-c", "while :; do /bin/true; /bin/true; done"]
    busy = subprocess.Popen(words, user=54320, start_new_session=True)
    try:
        live.child.send("\\user=54320\r")
        live.until(f" {busy.pid} 54320 ")
        live.until("died, exit 0")
        live.child.send("Zu")
        live.until("all users")
        live.until("\n54320 ")
        (line,) = [line for line in live.screen.display if line.startswith("54320")]
        # The shell, and perhaps a child of it.
        assert int(line.split()[1]) <= 2
    finally:
        os.killpg(busy.pid, signal.SIGKILL)
        busy.wait()
    live.child.send("\x1b")


def test_one_users_tasks_are_shown(live: Live, needs: Callable[[bool, str], None]) -> None:
    needs(os.geteuid() == 0, "needs root to start a process of another user")
    uid = 54321
    other = subprocess.Popen(["sleep", "31416"], user=uid)
    try:
        live.child.send(f"\\{other.pid}\r")
        live.until(f" {other.pid} ")
        live.child.send("\\\x15\ru")
        live.until("all users")
        live.until(f"{uid:<16}     1 tasks")
        # The list has those with most tasks first.
        live.child.send("\x1b[F\r")
        live.until(f"filter of user {uid}")
        live.until(f" {other.pid} ")
        assert " 1 root " not in live.text()
        live.child.send("u\x1b[H\r")
        until(live, lambda: "filter of user" not in live.text(), "all users")
    finally:
        other.kill()
        other.wait()
