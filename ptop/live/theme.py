"""Themes: the look of each style of a screen.

Design decisions

* No style differs from another by colour alone: a letter, a sign or the weight says the same.
* A look is a name that blessed knows (`bold_red`, `black_on_cyan`), which it reduces to the
  colours that the terminal has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from blessed import Terminal

# Same value as typing.TYPE_CHECKING.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from taskstats._core import _Style


@dataclass(frozen=True, slots=True)
class Look:
    """How a screen looks: the name of a theme, and whether its text is ASCII alone."""

    theme: str = "16"
    ascii: bool = False


# Attributes alone; also for terminals without colours and with NO_COLOR.
_MONO: Mapping[_Style, str] = {
    "bold": "bold",
    "reverse": "reverse",
    "dim": "dim",
    "heading": "reverse",
    "sorted": "bold_reverse",
    "warn": "underline",
    "bad": "bold",
    "new": "bold",
    "dead": "underline",
    "key": "bold",
    "word": "reverse",
}

THEMES: Mapping[str, Mapping[_Style, str]] = {
    "mono": _MONO,
    # The colours that the user gave the terminal.
    "16": {
        **_MONO,
        "heading": "black_on_green",
        "sorted": "bold_black_on_cyan",
        "good": "green",
        "warn": "yellow",
        "bad": "bold_red",
        "new": "bold_green",
        "dead": "red",
        "word": "black_on_cyan",
        "user": "green",
        "system": "red",
        "other": "yellow",
    },
    "dark": {
        **_MONO,
        "reverse": "bold_white_on_midnightblue",
        "dim": "slategray4",
        "heading": "gray85_on_gray25",
        "sorted": "bold_white_on_dodgerblue4",
        "good": "palegreen3",
        "warn": "goldenrod1",
        "bad": "bold_tomato",
        "new": "bold_palegreen1",
        "dead": "lightcoral",
        "word": "gray85_on_gray25",
        "user": "palegreen3",
        "system": "tomato",
        "other": "goldenrod1",
    },
    "light": {
        **_MONO,
        "reverse": "bold_black_on_lightskyblue1",
        "dim": "gray55",
        "heading": "gray10_on_gray85",
        "sorted": "bold_black_on_lightskyblue",
        "good": "darkgreen",
        "warn": "darkorange3",
        "bad": "bold_red3",
        "new": "bold_darkgreen",
        "dead": "firebrick4",
        "word": "gray10_on_gray85",
        "user": "forestgreen",
        "system": "firebrick3",
        "other": "darkorange2",
    },
}

# Fewer colours than these make themes unreadable.
_LEAST_COLORS = 8


def sequences(terminal: Terminal, theme: str) -> dict[_Style, str]:
    """The escape sequence of each style that has a look in a theme."""
    if terminal.number_of_colors < _LEAST_COLORS:
        theme = "mono"
    return {style: str(getattr(terminal, look)) for style, look in THEMES[theme].items()}
