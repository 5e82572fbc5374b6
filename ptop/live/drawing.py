"""Writes screens to the terminal: only the lines that differ from those on it."""

from __future__ import annotations

from taskstats.screen import Canvas, Lines, width

from ptop.live import pages
from ptop.live.state import State
from ptop.live.terminal import Terminal
from ptop.live.theme import styles


class Drawing:
    """What a terminal of one size shows; unknown until the first screen."""

    def __init__(self, terminal: Terminal, theme: str) -> None:
        sequences = terminal.sequences
        self._terminal = terminal
        self.canvas = Canvas(
            clear=sequences.clear,
            lines=[sequences.line(number) for number in range(terminal.size.lines)],
            styles=styles(sequences, theme),
            normal=sequences.normal,
        )
        self._cursor = ""

    def draw(self, lines: Lines, state: State) -> None:
        """Write the lines that changed, and place the cursor."""
        text, cursor = self.canvas.draw(lines), self._placed(state)
        if text or cursor != self._cursor:
            self._cursor = cursor
            self._terminal.write(text + cursor)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        return self._terminal.size

    @property
    def around(self) -> tuple[str, str]:
        """What is written before and after the lines that changed, while the cursor stays."""
        begin, end = self._terminal.sequences.frame
        return begin, self._cursor + end

    def _placed(self, state: State) -> str:
        """Shows the cursor in a prompt, and hides it elsewhere."""
        sequences, size = self._terminal.sequences, self._terminal.size
        prompt = pages.prompt(state)
        if prompt is None:
            return sequences.hide_cursor
        column = min(width(prompt[0]), size.columns - 1)
        return sequences.cell(size.lines - 1, column) + sequences.show_cursor
