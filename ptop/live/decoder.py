"""The bytes of a terminal as keys. Pure: the caller has the clock.

Design decisions

* A key is a character, or a name such as Up, F1, Ctrl-A or Shift-Left; help and documents
  show the same names.
* Escape is a key once nothing follows it for a while. If the rest of a sequence comes later
  than that, over a slow line, it is discarded: its bytes must never run as keys.
* A paste and a mouse report are events of their own; other reports of a terminal are
  discarded.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

# How long to wait for what follows Escape, if ESCDELAY does not say.
ESCAPE_S = 0.05
# How long a sequence may stand still, and how late it may come after its Escape.
SEQUENCE_S = 0.5
# Longest sequence.
SEQUENCE_LENGTH = 64
# How long a paste may stand still, and its longest text.
PASTE_S, PASTE_LENGTH = 2.0, 1 << 16

_ESCAPE = "\x1b"
_PASTE_BEGIN, _PASTE_END = "\x1b[200~", "\x1b[201~"
# Complete: a mouse report of X10, a function key of the Linux console, and what a final
# character ends.
_CONTROL = re.compile(r"\x1b\[(?:M...|\[.|(?!M|\[)[ -?]*[@-~])", re.DOTALL)
_SHIFTED = re.compile(r"\x1bO[0-9;]*[@-~a-z]")
# Reports that a string ends: OSC, DCS, SOS, PM and APC.
_STRING_BEGINS = tuple(_ESCAPE + begin for begin in "]PX^_")
_MOUSE = re.compile(r"\x1b\[<(\d{1,4});(\d{1,5});(\d{1,5})([Mm])")

_LETTERS = {
    "A": "Up", "B": "Down", "C": "Right", "D": "Left", "H": "Home", "F": "End",
    "P": "F1", "Q": "F2", "R": "F3", "S": "F4",
}  # fmt: skip
_RXVT_LETTERS = {"a": "Up", "b": "Down", "c": "Right", "d": "Left"}
_NUMBERS = {
    1: "Home", 2: "Insert", 3: "Delete", 4: "End", 5: "PgUp", 6: "PgDn", 7: "Home", 8: "End",
    11: "F1", 12: "F2", 13: "F3", 14: "F4", 15: "F5", 17: "F6", 18: "F7", 19: "F8", 20: "F9",
    21: "F10", 23: "F11", 24: "F12", 25: "Shift-F1", 26: "Shift-F2", 28: "Shift-F3",
    29: "Shift-F4", 31: "Shift-F5", 32: "Shift-F6", 33: "Shift-F7", 34: "Shift-F8",
}  # fmt: skip
# The numeric keypad in application mode.
_KEYPAD = {"M": "Enter", **{chr(ord(c) + 64): c for c in "*+,-./0123456789"}}
_CONTROLS = {chr(code): f"Ctrl-{chr(code + 64)}" for code in range(1, 32)} | {
    "\x00": "Ctrl-Space", "\x08": "Backspace", "\t": "Tab", "\n": "Enter", "\r": "Enter",
    _ESCAPE: "Esc", "\x7f": "Backspace",
}  # fmt: skip


class Paste(NamedTuple):
    """Text that was pasted, not typed."""

    text: str


class Mouse(NamedTuple):
    """A button of the mouse, pressed or released at a cell counted from 0. The wheel has the
    numbers 64 (up) and 65 (down)."""

    button: int
    column: int
    line: int
    pressed: bool


Event = str | Paste | Mouse


class Decoder:
    """Turns the bytes of a terminal into keys, pastes and mouse reports.

    `sequences` are those of this terminal's description, by which it names its keys. Bytes are
    UTF-8, whatever the locale says; others become surrogates, so that a filter finds them.
    """

    def __init__(
        self, escape_s: float = ESCAPE_S, sequences: Mapping[str, str] | None = None
    ) -> None:
        self._escape_s = escape_s
        self._sequences = sequences or {}
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        # The begin of a sequence, when its last character came, and whether its Escape was
        # already a key.
        self._begun = ""
        self._last_s = 0.0
        self._is_late = False
        # A sequence that begins before this time has lost its Escape.
        self._late_until_s = float("-inf")
        self._pasted: str | None = None

    def feed(self, data: bytes, now_s: float) -> Iterator[Event]:
        """The events that these bytes complete."""
        for character in self._decoder.decode(data):
            self._last_s, before_s = now_s, self._late_until_s
            self._late_until_s = float("-inf")
            yield from self._take(character, is_late=now_s < before_s)

    def due_s(self) -> float | None:
        """When `expire` has something to do; None if nothing is incomplete."""
        if self._pasted is not None:
            return self._last_s + PASTE_S
        if not self._begun:
            return None
        return self._last_s + (self._escape_s if self._begun == _ESCAPE else SEQUENCE_S)

    def expire(self, now_s: float) -> Iterator[Event]:
        """The events of what has waited too long for the rest."""
        due_s = self.due_s()
        if due_s is None or now_s < due_s:
            return
        if self._pasted is not None:
            text, self._pasted = self._pasted, None
            yield Paste(text)
        elif self._begun == _ESCAPE:
            self._late_until_s = self._last_s + self._escape_s + SEQUENCE_S
            yield "Esc"
        self._begun = ""

    def _take(self, character: str, is_late: bool) -> Iterator[Event]:
        if self._pasted is not None:
            yield from self._take_pasted(character)
        elif not self._begun:
            self._is_late = is_late and character in "[O]"
            if self._is_late:
                self._begun = _ESCAPE + character
            elif character == _ESCAPE:
                self._begun = character
            else:
                yield _CONTROLS.get(character, character)
        elif self._begun == _ESCAPE == character:
            yield "Esc"
        elif character < " " and not self._begun.startswith(_STRING_BEGINS):
            # Only a cut sequence has a control character in it.
            begun, self._begun = self._begun, ""
            if begun == _ESCAPE:
                yield "Esc"
            yield from self._take(character, is_late=False)
        else:
            # No sequence is longer; a string is, and only its end matters.
            self._begun = self._begun[:SEQUENCE_LENGTH] + character
            yield from self._complete()

    def _take_pasted(self, character: str) -> Iterator[Event]:
        assert self._pasted is not None
        self._pasted += character
        if self._pasted.endswith(_PASTE_END):
            text, self._pasted = self._pasted.removesuffix(_PASTE_END), None
            yield Paste(text)
        elif len(self._pasted) > PASTE_LENGTH:
            # The end must be recognized nevertheless.
            keep = len(_PASTE_END)
            self._pasted = self._pasted[: PASTE_LENGTH - keep] + self._pasted[-keep:]

    def _complete(self) -> Iterator[Event]:
        """The event of what has begun, if it is complete."""
        begun = self._begun
        if begun.startswith(_STRING_BEGINS):
            if begun[-1] in "\x07\\":
                self._begun = ""
            return
        if begun[1] in "[O" and not (_CONTROL.fullmatch(begun) or _SHIFTED.fullmatch(begun)):
            return
        self._begun = ""
        if begun == _PASTE_BEGIN:
            self._pasted = ""
        elif not self._is_late and (event := self._sequences.get(begun) or _named(begun)):
            yield event


def _named(sequence: str) -> Event | None:
    """What a complete sequence means; None for a report that nobody asked for."""
    if mouse := _MOUSE.fullmatch(sequence):
        button, column, line = (int(mouse[at]) for at in (1, 2, 3))
        return Mouse(button, column - 1, line - 1, mouse[4] == "M")
    kind, final = sequence[1], sequence[-1]
    if kind not in "[O":
        return f"Alt-{_CONTROLS.get(kind, kind)}"
    if sequence.startswith("\x1b[["):
        return f"F{ord(final) - 64}" if "A" <= final <= "E" else None
    if sequence == "\x1b[Z":
        return "Shift-Tab"
    numbers = [int(number or 1) for number in re.findall(r"\d+", sequence[2:-1])]
    modifier = numbers[1] if len(numbers) > 1 else 1
    if final == "~" and numbers:
        return _modified(_NUMBERS.get(numbers[0]), modifier)
    if final in _RXVT_LETTERS and not numbers:
        return ("Shift-" if kind == "[" else "Ctrl-") + _RXVT_LETTERS[final]
    if final in _LETTERS and numbers[:1] in ([], [1]):
        return _modified(_LETTERS[final], modifier)
    return _KEYPAD.get(final) if kind == "O" else None


def _modified(name: str | None, modifier: int) -> str | None:
    if name is None:
        return None
    bits = modifier - 1
    held = ((4, "Ctrl-"), (2, "Alt-"), (1, "Shift-"))
    return "".join(prefix for bit, prefix in held if bits & bit) + name
