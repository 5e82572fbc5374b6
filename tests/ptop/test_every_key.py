"""Every key of the key table in every mode, on a real terminal and in one session: each changes
the screen or is answered.

Design decisions

* Nothing is a matter of time: ptop has taken a key when its queue of input is empty and it waits
  in poll(2) again. Menus and prompts that act ignore keys at first: such a key is pressed again.
* Frames do not change by themselves, so that what is written after a key is its answer.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import taskstats
from live_view import PTOP, Live  # type: ignore[import-not-found]

from ptop.columns import COLUMN_SETS
from ptop.live import acting, keys, machine
from ptop.live.state import LAYOUTS

_LETTERS = {"Up": "A", "Down": "B", "Right": "C", "Left": "D", "Home": "H", "End": "F"}
_NUMBERS = {"Insert": 2, "Delete": 3, "PgUp": 5, "PgDn": 6}
_FUNCTION = {1: "OP", 2: "OQ", 3: "OR", 4: "OS", 5: "[15~", 6: "[17~", 7: "[18~", 8: "[19~"}
_FUNCTION |= {9: "[20~", 10: "[21~"}
_HELD = {"Shift": 2, "Alt": 3, "Ctrl": 5}
# The words with which the first line of the screen begins in each mode, or the last one.
_TITLES = {
    "help": "ptop: keys",
    "books": "ptop: where the CPU time went",
    "machine": "the machine ",
    "refused": "ptop: refused",
    "columns": "columns: ",
    "setup": "setup: ",
    "compare": "A ",
    "confirm": "really ",
    "sort": "sort by: ",
    "users": "user: ",
    "signal": "signal to ",
}
_FEET = {
    "table": "F1Help",
    "details": "Enter Close",
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
# How each mode is reached from the table; a letter right after Esc would be with Alt.
# test_acting.py answers the confirmation with yes.
_WAYS: dict[str, tuple[str, ...]] = {
    "table": ("Home", "Down"),
    "details": ("Home", "Enter"),
    "strace": ("Home", "Enter", "s"),
    "help": ("F1",),
    "books": ("b",),
    "machine": ("g",),
    # It may not run earlier.
    "refused": ("Home", "F7"),
    "columns": ("f",),
    "setup": ("F2",),
    "sort": ("F6",),
    "users": ("u",),
    "compare": ("^", "m", ".", "m", "$", "="),
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
    "confirm": ("Ctrl-L", "U", "Home", "Space", "Space", "F9", "Down", "Enter"),
}
# Where the layout vim has another key for it.
_WAYS_VIM = {"machine": ("Alt-g",)}
# What is pressed first, so that the key has something to change.
_FIRST: dict[tuple[str, str], tuple[str, ...]] = {
    ("table", "U"): ("Space",),
    ("table", "Left"): ("Right",),
    ("table", "Ctrl-Home"): ("$",),
    ("table", "^"): ("$",),
    ("table", "Ctrl-End"): ("^",),
    ("table", "$"): ("^",),
    ("details", "Down"): ("Up",),
    ("details", "Up"): ("Down",),
    ("details", "PgUp"): ("PgDn",),
    ("setup", "F7"): ("End",),
    ("setup", "-"): ("End",),
    ("setup", "F8"): ("End", "Up"),
    ("setup", "+"): ("End", "Up"),
    ("table", "j"): ("g",),
    ("table", "G"): ("g",),
    ("table", "Ctrl-F"): ("g",),
    ("table", "k"): ("G",),
    ("table", "g"): ("G",),
    ("table", "Ctrl-B"): ("G",),
    ("table", "h"): ("l",),
    ("details", "j"): ("k",),
    ("details", "k"): ("j",),
    ("details", "Ctrl-B"): ("Ctrl-F",),
    **{
        (mode, key): ("End",)
        for mode in keys.PAGES
        for key in ("Up", "PgUp", "Home", "k", "Ctrl-B", "g")
        if (mode, key) != (machine.MODE, "g")
    },
}
# What takes back a key that changes what the table shows.
_AFTER: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ("H", "K", "X", "t", "F5")},
    **dict.fromkeys(("Tab", "v"), ("Tab",) * (len(COLUMN_SETS) - 1)),
    **dict.fromkeys(("*", "(", ")"), ("t",)),
    "z": ("t", "t"),
    "Right": ("Left",),
    "l": ("h",),
    "Enter": ("F4", "Ctrl-U", "Enter"),
}
# Where the keys before leave something that the next ones would not change.
_AGAIN = ("table", "details", "strace")
# A text of which each half has words, and the cursor in between.
_TEXT = ("End", "Ctrl-U", *"ab cd ef", "Ctrl-Left", "Ctrl-K", "Ctrl-Y", "Alt-b", "Alt-b", "Right")
# How long to wait for what must come: the machine may be busy.
PATIENCE_S = 120
# poll(2), and ppoll(2) where the C library uses that.
_POLLS = {"7", "271", "73"}


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

    def __init__(self, live: Live, layout: str = "htop") -> None:
        self.live = live
        self.ways = _WAYS if layout == "htop" else {**_WAYS, **_WAYS_VIM}
        live.child.delaybeforesend = None
        self.slave = os.open(f"/proc/{live.child.pid}/fd/0", os.O_RDWR | os.O_NOCTTY)

    def press(self, names: Iterable[str]) -> None:
        """Press keys without waiting in between."""
        self.live.child.send("".join(map(sequence, names)))
        self.settle()

    def settle(self) -> None:
        """Wait until ptop has taken all keys and waits for the next one, and read what it wrote."""
        # A poll of either end also delivers what the kernel has not passed on to it yet.
        while select.select([self.slave], [], [], 0)[0]:
            self.live.pump(0.002)
        while self.system_call() not in _POLLS:
            self.live.pump(0.002)
        while select.select([self.live.child.child_fd], [], [], 0)[0]:
            self.live.pump(0)

    def system_call(self) -> str:
        """The number of the system call in which ptop waits."""
        try:
            return Path(f"/proc/{self.live.child.pid}/syscall").read_text().split()[0]
        except OSError:
            self.live.pump(0)
            raise AssertionError(f"ptop has ended:\n{self.live.text()}") from None

    def mode(self) -> str:
        """The mode that is on the screen; empty where a message hides it."""
        lines = self.live.text().replace("⏸ ", "", 1).splitlines()
        for words, line in ((_TITLES, lines[0]), (_FEET, lines[-1])):
            for mode, begin in words.items():
                if line.startswith(begin):
                    return mode
        return ""

    def enter(self, mode: str) -> None:
        for name in self.ways[mode]:
            self.press((name,))
            self.meet()
        end = time.monotonic() + PATIENCE_S
        # The pane waits for an interval with more fields.
        while self.mode() != mode:
            assert time.monotonic() < end, f"no {mode} on:\n{self.live.text()}"
            self.clear()
            self.live.pump()
        self.meet()

    def clear(self) -> None:
        """Remove a message that hides the mode; some stay as long as the view is paused."""
        for name in ("Ctrl-L", "L", "Ctrl-L"):
            if not self.mode():
                self.press((name,))

    def meet(self) -> None:
        """Wait until a menu or prompt that acts takes keys."""
        mode = self.mode()
        if mode in acting.MODES:
            # A digit changes every prompt; what is typed is removed before the next key.
            self.change(mode, "1" if mode in keys.PROMPTS else "Ctrl-L")

    def change(self, mode: str, name: str) -> None:
        """Press a key, and wait until it has changed the screen: nothing else is written."""
        before, length = self.live.text(), len(self.live.raw)
        self.press((name,))
        end = time.monotonic() + PATIENCE_S
        while len(self.live.raw) == length:
            assert time.monotonic() < end, f"nothing after {name} in {mode}:\n{before}"
            if mode in acting.MODES:
                # They take no key before their user has seen them.
                self.press((name,))
            self.live.pump(0.02)
        self.settle()
        assert "Traceback" not in self.live.text(), self.live.text()

    def leave(self) -> None:
        """Go back to the table."""
        end = time.monotonic() + PATIENCE_S
        while (mode := self.mode()) != "table":
            assert time.monotonic() < end, f"no way to the table from:\n{self.live.text()}"
            if not mode:
                self.clear()
                continue
            out = "Ctrl-G" if mode in keys.PROMPTS else "n" if mode == "strace" else "q"
            self.change(mode, out)

    def begin(self, mode: str, is_next: bool) -> None:
        """Go to a mode, of which the key before may have been. `is_next` is whether it was not."""
        if self.mode() == mode and mode not in _AGAIN:
            # Most keys do not leave it.
            self.press(_TEXT if mode in keys.PROMPTS else ("Home",))
            return
        self.leave()
        if is_next:
            # No tags, and the newest frame.
            self.press("UL")
        self.enter(mode)
        if mode in keys.PROMPTS:
            self.press(_TEXT)

    def keep_frames(self) -> None:
        """Wait until there are some frames to go back to."""
        self.press(("d", *"0.3", "Enter"))
        end = time.monotonic() + PATIENCE_S
        seen: set[str] = set()
        while len(seen) < 4:
            assert time.monotonic() < end, self.live.text()
            seen.add(self.live.screen.display[0].split()[2])
            self.live.pump()
        self.press(("d", *"3600", "Enter"))


@pytest.fixture
def layout() -> str:
    return "htop"


@pytest.fixture
def keyboard(
    layout: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    needs: Callable[[bool, str], None],
) -> Iterator[Keyboard]:
    needs(os.geteuid() != 0 or shutil.which("setpriv") is not None, "root needs setpriv")
    # Files that keys write.
    monkeypatch.chdir(tmp_path)
    config = {"XDG_CONFIG_HOME": str(tmp_path)}
    program = "import time\nx = bytes({0})\nwhile True: time.sleep(0.05)"
    commands = [[sys.executable, "-c", program.format(number * 10**7)] for number in range(5)]
    children = [subprocess.Popen(command) for command in commands]
    pids = ",".join(str(child.pid) for child in children)
    # What it may not do is refused.
    no_nice = ("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-all")
    command = [*(no_nice if os.geteuid() == 0 else ()), *PTOP]
    try:
        arguments = ("--pid", pids, "-d", "3600", "--keys", layout)
        live = Live(*arguments, rows=40, columns=120, environment=config, command=command)
        live.until("F1Help")
        yield Keyboard(live, layout)
    finally:
        for child in children:
            child.kill()
            child.wait()


def cases(layout: str) -> Iterator[tuple[str, str]]:
    """Each key of the table in each of its modes, but those that quit; of the layout vim those
    that differ."""
    # Frames with other columns cannot be compared: this mode comes first.
    for mode in sorted(_WAYS, key=lambda mode: mode != "compare"):
        known = set() if layout == "htop" else set(keys.bindings("htop", "live", mode))
        for name, key in keys.bindings(layout, "live", mode):
            if key.doc != "quit" and (name, key) not in known:
                yield mode, name


def test_every_mode_is_reached() -> None:
    assert {*_WAYS} == {*_TITLES, *_FEET} == set(keys.MODES)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_key_changes_the_screen_or_is_answered(layout: str, keyboard: Keyboard) -> None:
    keyboard.keep_frames()
    before = ""
    for mode, name in cases(layout):
        keyboard.begin(mode, mode != before)
        keyboard.press(_FIRST.get((mode, name), ()))
        keyboard.change(mode, name)
        if (before := mode) == "table" or (mode, name) == ("filter", "Enter"):
            keyboard.leave()
            keyboard.press(_AFTER.get(name, ()))
    keyboard.leave()
    keyboard.press(("%",))
    keyboard.live.until("% is not a key; F1 lists the keys")
    keyboard.live.child.send(sequence("F10"))
    assert keyboard.live.ended() == 0
    assert keyboard.live.restored()


def test_every_key_of_a_replay_alone_changes_the_screen_or_is_answered(tmp_path: Path) -> None:
    path = tmp_path / "a.tsd"
    with taskstats.Recorder(path) as recorder, taskstats.Source(exact=True) as source:
        for _ in range(6):
            recorder.write(source.snapshot())
    # A replay has no delay.
    replay = ["sh", "-c", f'shift 2; exec {PTOP[0]} -m ptop replay "$@"', "ptop"]
    live = Live(str(path), rows=40, columns=120, command=replay)
    live.until("F1Help")
    keyboard = Keyboard(live)
    for mode in ("table", "details"):
        for name, key in keys.bindings("htop", "replay", mode):
            if "live" in key.views:
                continue
            while not {"PAUSED", "⏸"} & set(live.text().split()):
                keyboard.change(keyboard.mode(), "Z")
            keyboard.leave()
            keyboard.enter(mode)
            keyboard.change(mode, name)
    keyboard.leave()
    live.child.send(sequence("F10"))
    assert live.ended() == 0
    assert live.restored()
