"""Every key of the key table on a real terminal, in one session: each changes the screen or is
answered."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from live_view import Live  # type: ignore[import-not-found]

from ptop.columns import COLUMN_SETS
from ptop.live import acting, keys

_LETTERS = {"Up": "A", "Down": "B", "Right": "C", "Left": "D", "Home": "H", "End": "F"}
_NUMBERS = {"Insert": 2, "Delete": 3, "PgUp": 5, "PgDn": 6}
_FUNCTION = {1: "OP", 2: "OQ", 3: "OR", 4: "OS", 5: "[15~", 6: "[17~", 7: "[18~", 8: "[19~"}
_FUNCTION |= {9: "[20~", 10: "[21~"}
_HELD = {"Shift": 2, "Alt": 3, "Ctrl": 5}
# The words with which the first line of the screen begins in each mode, the last one, or that
# are in the pane.
_TITLES = {
    "help": "ptop: keys",
    "books": "ptop: where the CPU time went",
    "refused": "ptop: refused",
    "columns": "columns: ",
    "setup": "setup: ",
    "sort": "sort by: ",
    "users": "user: ",
    "signal": "signal to ",
}
_FEET = {
    "table": "F1Help",
    "strace": "strace stops",
    "filter": "filter: ",
    "search": "search: ",
    "delay": "seconds (now",
    "time": "time (12:34",
    "save": "save ",
    "write": "file for the last",
    "nice": "nice, -20",
    "ionice": "I/O: idle",
    "affinity": "CPUs of ",
}
_PANE = ("  since ", "strace of ", "lsof of ")
# How each mode is reached from the table. The confirmation is in test_acting.py: one key less,
# and the signal is sent.
_WAYS: dict[str, tuple[str, ...]] = {
    "table": ("Home", "Down"),
    "details": ("Home", "Enter"),
    "strace": ("Home", "Enter", "s"),
    "help": ("F1",),
    "books": ("b",),
    "columns": ("f",),
    "setup": ("F2",),
    "sort": ("F6",),
    "users": ("u",),
    "signal": ("Home", "F9"),
    "filter": ("F4",),
    "search": ("F3",),
    "delay": ("d",),
    "time": ("@",),
    "save": ("x",),
    "write": ("W",),
    "nice": ("Home", "R"),
    "ionice": ("Home", "i"),
    "affinity": ("Home", "a"),
}
# What is pressed first, so that the key has something to change.
_FIRST: dict[tuple[str, str], tuple[str, ...]] = {
    ("table", "U"): ("Space",),
    ("table", "Left"): ("Right",),
    ("table", "^"): ("$",),
    ("details", "Down"): ("Up",),
    ("details", "Up"): ("Down",),
    ("details", "PgUp"): ("PgDn",),
    ("filter", "Down"): ("x", "Up"),
    ("filter", "Ctrl-N"): ("x", "Up"),
    ("setup", "F7"): ("End",),
    ("setup", "-"): ("End",),
    ("setup", "F8"): ("End", "Up"),
    ("setup", "+"): ("End", "Up"),
}
# What takes back a key that changes what the table shows.
_AFTER: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("H", "K", "X", "t", "F5", "Z")},
    **dict.fromkeys(("Tab", "v"), ("Tab",) * (len(COLUMN_SETS) - 1)),
    **dict.fromkeys(("*", "(", ")"), ("t",)),
    "z": ("t", "t"),
    "Right": ("Left",),
    "Enter": ("F4", "Ctrl-U", "Enter"),
}
# A text of which each half has words, and the cursor in between.
_TEXT = (*"ab cd ef", "Ctrl-Left", "Ctrl-K", "Ctrl-Y", "Alt-b", "Alt-b", "Right")


def sequence(name: str) -> str:
    """What a terminal of the type xterm sends for a key."""
    held, _, key = name.rpartition("-") if len(name) > 1 else ("", "", name)
    if not key:
        held, key = "", name
    if key == "Backspace":
        return "\x1b\x7f" if held else "\x7f"
    if key in _LETTERS:
        return f"\x1b[1;{_HELD[held]}{_LETTERS[key]}" if held else f"\x1bO{_LETTERS[key]}"
    if key in _NUMBERS:
        return f"\x1b[{_NUMBERS[key]}~"
    if key[0] == "F" and key[1:].isdigit():
        if held:
            return f"\x1b[1;{_HELD[held]}{_FUNCTION[int(key[1:])][-1]}"
        return f"\x1b{_FUNCTION[int(key[1:])]}"
    named = {"Enter": "\r", "Esc": "\x1b", "Tab": "\t", "Space": " "}
    text = named.get(key, key)
    if held == "Ctrl":
        return chr(ord(text.upper()) & 0x1F)
    return f"\x1b{text}" if held == "Alt" else text


class Keyboard:
    """Presses keys in a live view whose frames do not change by themselves."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self.slave = os.open(f"/proc/{live.child.pid}/fd/0", os.O_RDWR | os.O_NOCTTY)

    def press(self, names: Iterable[str]) -> None:
        for name in names:
            self.live.child.send(sequence(name))
            self.settle()

    def settle(self) -> None:
        """Read what is there until ptop has taken all keys and waits for the next one."""
        stat = Path(f"/proc/{self.live.child.pid}/stat")
        # This also delivers what the kernel has not passed on to the slave yet.
        while (
            select.select([self.slave], [], [], 0)[0]
            or stat.read_text().rpartition(")")[2].split()[0] != "S"
        ):
            self.live.pump(0.002)
        self.live.pump(0.01)

    def mode(self) -> str:
        """The mode that is on the screen; empty where a message hides it."""
        lines = self.live.text().splitlines()
        for words, line in ((_TITLES, lines[0]), (_FEET, lines[-1])):
            for mode, begin in words.items():
                if line.startswith(begin):
                    return mode
        return "details" if any(words in line for words in _PANE for line in lines) else ""

    def enter(self, mode: str) -> None:
        self.press(_WAYS[mode])
        end = time.monotonic() + 15
        # The pane waits for an interval with more fields.
        while self.mode() != mode:
            assert time.monotonic() < end, f"no {mode} on:\n{self.live.text()}"
            self.live.pump()
        if mode in acting.MODES:
            # They take no key before their user has seen them.
            time.sleep(0.35)

    def change(self, mode: str, name: str) -> None:
        """Press a key, and wait until it has changed the screen: nothing else is written."""
        before, length = self.live.text(), len(self.live.raw)
        self.press((name,))
        end = time.monotonic() + 15
        while len(self.live.raw) == length:
            assert time.monotonic() < end, f"nothing after {name} in {mode}:\n{before}"
            self.live.pump()
        self.settle()
        assert "Traceback" not in self.live.text(), self.live.text()

    def leave(self) -> None:
        """Go back to the table."""
        self.press(("Home",))
        while (mode := self.mode()) != "table":
            if mode in acting.MODES:
                time.sleep(0.35)
            if not mode:
                # It removes the message.
                self.press(("Home",))
                continue
            out = "Ctrl-G" if mode in keys.PROMPTS else "n" if mode == "strace" else "q"
            self.change(mode, out)


@pytest.fixture
def keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyboard]:
    # Files that keys write.
    monkeypatch.chdir(tmp_path)
    config = {"XDG_CONFIG_HOME": str(tmp_path)}
    program = "import time\nx = bytes({0})\nwhile True: time.sleep(0.05)"
    commands = [[sys.executable, "-c", program.format(number * 10**7)] for number in range(5)]
    children = [subprocess.Popen(command) for command in commands]
    pids = ",".join(str(child.pid) for child in children)
    try:
        arguments = ("--pid", pids, "-d", "3600")
        live = Live(*arguments, rows=40, columns=120, environment=config)
        live.until("F1Help")
        yield Keyboard(live)
    finally:
        for child in children:
            child.kill()
            child.wait()


def cases() -> Iterator[tuple[str, str]]:
    """Each key of the table, in the first of its modes."""
    for key in keys.KEYS:
        if "live" in key.views and key.modes[0] in _WAYS and key.doc != "quit":
            for name in key.names.split():
                yield key.modes[0], name


@pytest.mark.timeout(900)
def test_every_key_changes_the_screen_or_is_answered(keyboard: Keyboard) -> None:
    # A text that can be called back.
    keyboard.press(("F4", "z", "z", "Enter", "F4", "Ctrl-U", "Enter"))
    for mode, name in cases():
        keyboard.enter(mode)
        if mode in keys.PROMPTS:
            keyboard.press(_TEXT)
        keyboard.press(_FIRST.get((mode, name), ()))
        keyboard.change(mode, name)
        keyboard.leave()
        if mode in {"table", "filter"}:
            keyboard.press(_AFTER.get(name, ()))
    keyboard.press(("%",))
    keyboard.live.until("% is not a key; F1 lists the keys")
    keyboard.live.child.send(sequence("F10"))
    assert keyboard.live.ended() == 0
    assert keyboard.live.restored()
