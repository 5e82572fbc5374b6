"""The terminal of the live view: its control sequences, modes, size and bytes.

Design decisions

* Nothing is asked of the terminal: it may not answer, or late, and answers look like keys.
  Modes are set without asking; a terminal ignores those that it does not have.
* A type that the terminfo database lacks works nevertheless if its name is one of the many
  that understand ANSI sequences.
* Every mode is set and restored by one context manager.
"""

from __future__ import annotations

import contextlib
import curses
import os
import re
import sys
import termios
import tty
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from ptop.live.decoder import ESCAPE_S, Decoder
from ptop.text import safe

# Parts of the names of terminal types that understand ANSI sequences.
ANSI = {
    "alacritty", "ansi", "contour", "cygwin", "eterm", "foot", "ghostty", "gnome", "iterm",
    "iterm2", "kitty", "konsole", "linux", "mintty", "mlterm", "putty", "rio", "rxvt", "screen",
    "st", "terminator", "tmux", "vt100", "vt102", "vt220", "vt320", "vte", "wezterm", "xterm",
    "zellij",
}  # fmt: skip
# Of a terminal that does not know its own size, such as a serial line.
USUAL_SIZE = os.terminal_size((80, 24))
# Buttons and wheel of the mouse (1000) in decimal numbers (1006), and marked pastes (2004).
_MOUSE_MODES = ("1000", "1006")
_INPUT_MODES = (*_MOUSE_MODES, "2004")
_CAPABILITIES = {
    "clear": "clear", "move": "cup", "bold": "bold", "underline": "smul", "dim": "dim",
    "reverse": "rev", "normal": "sgr0",
    "begin": "smcup", "end": "rmcup", "hide_cursor": "civis", "show_cursor": "cnorm",
}  # fmt: skip
_KEYS = {
    "kcuu1": "Up", "kcud1": "Down", "kcub1": "Left", "kcuf1": "Right", "khome": "Home",
    "kend": "End", "kpp": "PgUp", "knp": "PgDn", "kich1": "Insert", "kdch1": "Delete",
    "kcbt": "Shift-Tab", "kent": "Enter",
    **{f"kf{number}": f"F{number}" for number in range(1, 13)},
}  # fmt: skip


class Sequences(NamedTuple):
    """The control sequences of a terminal type; by default those of ANSI."""

    clear: str = "\x1b[H\x1b[2J"
    move: str = "\x1b[%i%p1%d;%p2%dH"
    bold: str = "\x1b[1m"
    underline: str = "\x1b[4m"
    dim: str = "\x1b[2m"
    reverse: str = "\x1b[7m"
    normal: str = "\x1b[0m"
    begin: str = "\x1b[?1049h"
    end: str = "\x1b[?1049l"
    hide_cursor: str = "\x1b[?25l"
    show_cursor: str = "\x1b[?25h"
    keys: Mapping[str, str] = MappingProxyType({})
    colors: int = 256

    @property
    def is_ansi(self) -> bool:
        """Whether the terminal takes sequences of ANSI that its description does not name."""
        return self.move.startswith("\x1b[")

    @property
    def frame(self) -> tuple[str, str]:
        """Begins and ends what a terminal that can shows at once."""
        return ("\x1b[?2026h", "\x1b[?2026l") if self.is_ansi else ("", "")

    def attribute(self, name: str) -> str:
        """Begins bold, dim, underlined or reversed text; empty where the terminal cannot."""
        known = {"bold": self.bold, "dim": self.dim, "underline": self.underline}
        return self.reverse if name == "reverse" else known.get(name, "")

    def line(self, number: int) -> str:
        """Moves the cursor to the begin of a line, counted from 0."""
        return self.cell(number, 0)

    def cell(self, line: int, column: int) -> str:
        """Moves the cursor to a cell, counted from 0."""
        if self.is_ansi:
            return f"\x1b[{line + 1};{column + 1}H"
        moved = curses.tparm(self.move.encode("latin-1"), line, column)
        return _without_padding(moved)


class UnusableError(Exception):
    """Why the live view cannot be shown on this terminal, and what to type next."""


def _without_padding(sequence: bytes | None) -> str:
    # Padding is for terminals on slow lines; it must not be written as text.
    return re.sub(rb"\$<[^>]*>", b"", sequence or b"").decode("latin-1")


def sequences_of(name: str) -> Sequences:
    """The control sequences of a terminal type; UnusableError if it is unknown."""
    hint = "type: TERM=xterm-256color ptop"
    if not name:
        raise UnusableError(f"TERM is not set; {hint}")
    try:
        curses.setupterm(name, sys.stdout.fileno())
    except curses.error:
        if not ANSI.isdisjoint(re.split(r"[^a-z0-9]+", name.lower())):
            return Sequences()
        raise UnusableError(f"the terminal type TERM={safe(name)} is unknown; {hint}") from None
    if not curses.tigetstr("cup"):
        raise UnusableError(f"the terminal type TERM={safe(name)} cannot move its cursor; {hint}")
    text = {
        name: _without_padding(curses.tigetstr(capability))
        for name, capability in _CAPABILITIES.items()
    }
    keys = {_without_padding(curses.tigetstr(key)): name for key, name in _KEYS.items()}
    keys.pop("", None)
    return Sequences(**text, keys=keys, colors=curses.tigetnum("colors"))


def _escape_s() -> float:
    """How long to wait after Escape: ESCDELAY has ms, as for ncurses."""
    text = os.environ.get("ESCDELAY", "")
    return int(text) / 1000 if re.fullmatch(r"\d{1,5}", text) else ESCAPE_S


class HungUp(Exception):
    """The terminal is gone."""


class Terminal:
    """The terminal of standard input and output."""

    def __init__(self) -> None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UnusableError("standard input and output are not a terminal")
        self.sequences = sequences_of(os.environ.get("TERM", ""))
        self.descriptor = sys.stdin.fileno()
        self.decoder = Decoder(_escape_s(), self.sequences.keys)
        self.size = USUAL_SIZE
        # Whether the terminal reports the mouse.
        self.mouse = True

    def measure(self) -> os.terminal_size:
        """Read the size of the terminal. A dimension that it does not know is the usual one."""
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        self.size = os.terminal_size((columns or USUAL_SIZE.columns, lines or USUAL_SIZE.lines))
        return self.size

    def read(self) -> bytes:
        """The bytes that have arrived, at least one."""
        data = os.read(self.descriptor, 4096)
        if not data:
            raise HungUp
        return data

    def write(self, text: str) -> None:
        """Write a frame; a terminal that can shows it at once."""
        begin, end = self.sequences.frame
        _write(f"{begin}{text}{end}")

    def set_mouse(self, reports: bool) -> None:
        """Let the terminal report the mouse, or keep it for itself."""
        self.mouse = reports
        if self.sequences.is_ansi:
            self.write("".join(f"\x1b[?{mode}{'h' if reports else 'l'}" for mode in _MOUSE_MODES))

    @contextlib.contextmanager
    def modes(self) -> Iterator[None]:
        """The terminal in the modes of the view. `HungUp` if it is gone, whatever failed."""
        sequences = self.sequences
        ansi = _INPUT_MODES if sequences.is_ansi else ()
        wanted = (mode for mode in ansi if self.mouse or mode not in _MOUSE_MODES)
        begin = "".join(f"\x1b[?{mode}h" for mode in wanted)
        end = "".join(f"\x1b[?{mode}l" for mode in ansi)
        try:
            before = termios.tcgetattr(self.descriptor)
            try:
                _set_modes(self.descriptor)
                _write(sequences.begin + sequences.hide_cursor + begin)
                yield
            finally:
                try:
                    # Without an alternate screen, the shell continues below the view.
                    last = sequences.end or sequences.line(self.size.lines - 1) + "\n"
                    _write(end + sequences.normal + sequences.show_cursor + last)
                finally:
                    termios.tcsetattr(self.descriptor, termios.TCSAFLUSH, before)
        except (OSError, termios.error):
            try:
                termios.tcgetattr(self.descriptor)
            except termios.error:
                raise HungUp from None
            raise


def _set_modes(descriptor: int) -> None:
    """Characters come at once and without echo; signals of the keyboard stay."""
    # What was typed before counts.
    tty.setcbreak(descriptor, termios.TCSANOW)
    modes = termios.tcgetattr(descriptor)
    # Else Ctrl-V takes the next key, and Ctrl-S stops the screen.
    modes[3] &= ~termios.IEXTEN
    modes[0] &= ~termios.IXON
    termios.tcsetattr(descriptor, termios.TCSANOW, modes)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
