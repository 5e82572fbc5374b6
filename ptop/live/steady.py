"""Frames that follow each other while nobody types.

Design decisions

* `Frames` takes, draws and writes them without the interpreter, whose part of a frame costs as
  much as drawing the lines. What a key or a signal changes goes the long way, as does what only
  some views do with each interval.
"""

from __future__ import annotations

import sys

from taskstats.screen import Frames, Lines

from ptop.feed import LiveFeed
from ptop.live.drawing import Drawing
from ptop.live.terminal import Terminal
from ptop.live.view import Renderer
from ptop.signals import Queue
from ptop.times import Pace


class Steady:
    """Shows the intervals of a live feed until there is something to do."""

    def __init__(self, feed: LiveFeed, terminal: Terminal, signals: Queue) -> None:
        self._feed = feed
        inputs = (terminal.descriptor, signals.descriptor)
        self._frames = Frames(
            feed.source,
            feed.kept,
            inputs=inputs,
            output=sys.stdout.fileno(),
            advice=feed.advice,
        )

    def run(
        self, renderer: Renderer, drawing: Drawing, pace: Pace, delay: float, limit: int | None
    ) -> tuple[int, Lines | None]:
        """Show at most `limit` intervals. Returns their number, and the lines of the last one."""
        if renderer.state.group_by or not self._feed.continues:
            return 0, None
        self._frames.begin(self._feed.lend())
        shown, pace.last_ns = self._frames.run(
            renderer.screen,
            drawing.canvas,
            drawing.size,
            drawing.around,
            last_ns=pace.last_ns,
            delay_ns=round(delay * 1e9),
            limit=limit,
        )
        interval, lines = self._frames.end()
        self._feed.give_back(interval)
        return shown, lines
