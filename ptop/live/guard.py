"""Which keys may act on tasks. Pure: the caller has the clock.

Design decisions

* A key that was typed or pasted before its user saw what it acts on must not act. So keys
  count only some time after the menu or prompt was drawn, and Enter only alone in its read,
  as a person types it.
"""

from __future__ import annotations

from ptop.live.acting import MODES
from ptop.live.decoder import Event, Paste

# How long after the drawing of a menu, and after a paste, keys are ignored.
PAUSE_S = 0.3


class Guard:
    """Admits keys to the modes in which the next key may act."""

    def __init__(self) -> None:
        # The mode that is on the screen, and until when keys are ignored in it.
        self._drawn = ""
        self._until_s = float("-inf")
        self._pasted_until_s = float("-inf")

    def draw(self, mode: str, now_s: float) -> None:
        """Note which mode is on the screen now."""
        if mode != self._drawn:
            self._drawn = mode
            if mode in MODES:
                self._until_s = now_s + PAUSE_S

    def is_after_paste(self, now_s: float) -> bool:
        """Whether keys may be the rest of a paste."""
        return now_s < self._pasted_until_s

    def admits(self, mode: str, event: Event, now_s: float, alone: bool) -> bool:
        """Whether an event counts in this mode. `alone` is whether it is the only one of its
        read."""
        if isinstance(event, Paste):
            self._pasted_until_s = now_s + PAUSE_S
        if mode not in MODES:
            return True
        if mode != self._drawn or now_s < self._until_s or self.is_after_paste(now_s):
            return False
        return alone or event != "Enter"
