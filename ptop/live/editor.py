"""The line that is edited in a prompt, with the keys of readline. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ptop.values import replace

# Texts that each prompt remembers.
REMEMBERED = 50


class Line(NamedTuple):
    """A text, the cursor in it, and what was killed last.

    `history` has the texts before, the newest last; `back` is how far back in it the line is,
    and `kept` what was typed before going back.
    """

    text: str = ""
    cursor: int = 0
    killed: str = ""
    history: tuple[str, ...] = ()
    back: int = 0
    kept: str = ""

    @classmethod
    def of(cls, text: str, history: tuple[str, ...] = ()) -> Line:
        """A line of this text, with the cursor at its end."""
        return cls(text, len(text), history=history)

    def insert(self, text: str) -> Line:
        """The line with a text before the cursor. Control characters become spaces."""
        shown = "".join(c if is_text(c) else " " for c in text)
        before, after = self.text[: self.cursor], self.text[self.cursor :]
        return replace(self, text=before + shown + after, cursor=self.cursor + len(shown))


def is_text(character: str) -> bool:
    """Whether a key is a character to insert. A byte that is not UTF-8 is a surrogate."""
    return len(character) == 1 and (character.isprintable() or "\udc80" <= character <= "\udcff")


def remembered(history: tuple[str, ...], text: str) -> tuple[str, ...]:
    """A history with this text as the newest, once."""
    others = tuple(other for other in history if other != text)
    return (*others, text)[-REMEMBERED:] if text else history


Edit = Callable[[Line], Line]


def _to(place: Callable[[Line], int]) -> Edit:
    def move(line: Line) -> Line:
        return replace(line, cursor=max(0, min(place(line), len(line.text))))

    return move


def _delete(place: Callable[[Line], int], kill: bool = True) -> Edit:
    """Deletes the text between the cursor and a place."""

    def delete(line: Line) -> Line:
        begin, end = sorted((line.cursor, max(0, min(place(line), len(line.text)))))
        killed = line.text[begin:end] if kill and begin < end else line.killed
        text = line.text[:begin] + line.text[end:]
        return replace(line, text=text, cursor=begin, killed=killed)

    return delete


def _word_begin(line: Line) -> int:
    found = re.search(r"\w+\W*$", line.text[: line.cursor])
    return found.start() if found else 0


def _word_end(line: Line) -> int:
    found = re.match(r"\W*\w+", line.text[line.cursor :])
    return line.cursor + found.end() if found else len(line.text)


def _space_begin(line: Line) -> int:
    found = re.search(r"\S+\s*$", line.text[: line.cursor])
    return found.start() if found else 0


def _recall(by: int) -> Edit:
    def recall(line: Line) -> Line:
        back = max(0, min(line.back + by, len(line.history)))
        kept = line.text if line.back == 0 else line.kept
        text = line.history[-back] if back else kept
        return replace(line, text=text, cursor=len(text), back=back, kept=kept)

    return recall


# Keys, what they do, and how.
EDITS: tuple[tuple[str, str, Edit], ...] = (
    ("Left Ctrl-B", "a character to the left", _to(lambda line: line.cursor - 1)),
    ("Right Ctrl-F", "a character to the right", _to(lambda line: line.cursor + 1)),
    ("Home Ctrl-A", "to the begin", _to(lambda _: 0)),
    ("End Ctrl-E", "to the end", _to(lambda line: len(line.text))),
    ("Ctrl-Left Alt-b", "a word to the left", _to(_word_begin)),
    ("Ctrl-Right Alt-f", "a word to the right", _to(_word_end)),
    ("Backspace", "delete to the left", _delete(lambda line: line.cursor - 1, kill=False)),
    ("Delete Ctrl-D", "delete to the right", _delete(lambda line: line.cursor + 1, kill=False)),
    ("Ctrl-W", "kill to the space on the left", _delete(_space_begin)),
    ("Alt-Backspace", "kill the word to the left", _delete(_word_begin)),
    ("Alt-d", "kill the word to the right", _delete(_word_end)),
    ("Ctrl-U", "kill to the begin", _delete(lambda _: 0)),
    ("Ctrl-K", "kill to the end", _delete(lambda line: len(line.text))),
    ("Ctrl-Y", "insert what was killed", lambda line: line.insert(line.killed)),
    ("Up Ctrl-P", "the text before", _recall(1)),
    ("Down Ctrl-N", "the text after", _recall(-1)),
)
