"""Themes: the look of each style of a screen.

Design decisions

* No style differs from another by colour alone: a letter, a sign or the weight says the same.
"""

from __future__ import annotations

from blessed import Terminal


def sequences(terminal: Terminal, color: bool) -> dict[str, str]:
    """The escape sequence of each style."""
    return {"bold": str(terminal.bold), "reverse": str(terminal.reverse)}
