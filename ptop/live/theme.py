"""Themes: the look of each style of a screen.

Design decisions

* No style differs from another by colour alone: a letter, a sign or the weight says the same.
* A look is made of words: attributes, a colour, "on" and a background. A colour has the name
  of one of ANSI's eight, or the form #rrggbb, which becomes the nearest one of the terminal.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from ptop.live.terminal import Sequences


class Look(NamedTuple):
    """How a screen looks: the name of a theme, and whether its text is ASCII alone."""

    theme: str = "16"
    ascii: bool = False


# Attributes alone; also for terminals without colours and with NO_COLOR.
_MONO: Mapping[str, str] = {
    "bold": "bold",
    "reverse": "reverse",
    "dim": "dim",
    "heading": "reverse",
    "sorted": "bold reverse",
    "warn": "underline",
    "bad": "bold",
    "new": "bold",
    "dead": "underline",
    "key": "bold",
    "word": "reverse",
}

THEMES: Mapping[str, Mapping[str, str]] = {
    "mono": _MONO,
    # The colours that the user gave the terminal.
    "16": {
        **_MONO,
        "heading": "black on green",
        "sorted": "bold black on cyan",
        "good": "green",
        "warn": "yellow",
        "bad": "bold red",
        "new": "bold green",
        "dead": "red",
        "word": "black on cyan",
        "user": "green",
        "system": "red",
        "other": "yellow",
    },
    "dark": {
        **_MONO,
        "reverse": "bold white on #191970",
        "dim": "#6c7b8b",
        "heading": "#d9d9d9 on #404040",
        "sorted": "bold white on #104e8b",
        "good": "#7ccd7c",
        "warn": "#ffc125",
        "bad": "bold #ff6347",
        "new": "bold #9aff9a",
        "dead": "#f08080",
        "word": "#d9d9d9 on #404040",
        "user": "#7ccd7c",
        "system": "#ff6347",
        "other": "#ffc125",
    },
    "light": {
        **_MONO,
        "reverse": "bold black on #b0e2ff",
        "dim": "#8c8c8c",
        "heading": "#1a1a1a on #d9d9d9",
        "sorted": "bold black on #87cefa",
        "good": "#006400",
        "warn": "#cd6600",
        "bad": "bold #cd0000",
        "new": "bold #006400",
        "dead": "#8b1a1a",
        "word": "#1a1a1a on #d9d9d9",
        "user": "#228b22",
        "system": "#cd2626",
        "other": "#ee7600",
    },
}


# The colours of ANSI by their numbers, as most terminals show them.
_NAMED = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_RGB = ((0, 0, 0), (205, 0, 0), (0, 205, 0), (205, 205, 0), (0, 0, 238), (205, 0, 205),
        (0, 205, 205), (229, 229, 229))  # fmt: skip
# The 256 colours of xterm beyond the first 16: a cube of these levels, and grays.
_LEVELS = (0, 95, 135, 175, 215, 255)
# Fewer colours than these make themes unreadable.
_LEAST_COLORS = 8


def styles(sequences: Sequences, theme: str) -> dict[str, str]:
    """The escape sequence of each style that has a look in a theme."""
    if not sequences.is_ansi or sequences.colors < _LEAST_COLORS:
        theme = "mono"
    return {style: _sequence(sequences, look) for style, look in THEMES[theme].items()}


def _sequence(sequences: Sequences, look: str) -> str:
    """The escape sequence of a look: attributes, a colour, "on" and a background."""
    front, _, back = look.partition(" on ")
    parts = [
        sequences.attribute(word) or _color(sequences, word, back=False) for word in front.split()
    ]
    return "".join([*parts, _color(sequences, back, back=True) if back else ""])


def _color(sequences: Sequences, color: str, back: bool) -> str:
    """The escape sequence of a colour, the nearest that the terminal has."""
    if color in _NAMED:
        return f"\x1b[{_NAMED.index(color) + (40 if back else 30)}m"
    if not color.startswith("#"):
        # An attribute that the terminal lacks.
        return ""
    rgb = tuple(bytes.fromhex(color[1:]))
    kind = 48 if back else 38
    if os.environ.get("COLORTERM") in {"truecolor", "24bit"}:
        return f"\x1b[{kind};2;{rgb[0]};{rgb[1]};{rgb[2]}m"
    if sequences.colors >= 256:
        return f"\x1b[{kind};5;{_nearest_of_256(rgb)}m"
    nearest = min(range(8), key=lambda number: _distance(rgb, _RGB[number]))
    return f"\x1b[{nearest + (40 if back else 30)}m"


def _nearest_of_256(rgb: tuple[int, ...]) -> int:
    """The number of the nearest of the 256 colours of xterm."""
    at = [min(range(6), key=lambda level: abs(_LEVELS[level] - part)) for part in rgb]
    gray = max(0, min(23, round((sum(rgb) / 3 - 8) / 10)))
    cube = tuple(_LEVELS[level] for level in at)
    if _distance(rgb, (8 + 10 * gray,) * 3) < _distance(rgb, cube):
        return 232 + gray
    return 16 + 36 * at[0] + 6 * at[1] + at[2]


def _distance(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
