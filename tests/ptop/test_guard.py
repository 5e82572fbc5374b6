"""Which keys may act: none that came before its user saw the menu."""

from __future__ import annotations

import pytest

from ptop.live.acting import MODES
from ptop.live.decoder import Paste
from ptop.live.guard import PAUSE_S, Guard


@pytest.mark.parametrize("mode", MODES)
def test_keys_count_some_time_after_the_menu_was_drawn(mode: str) -> None:
    guard = Guard()
    guard.draw("table", 0.0)
    assert guard.admits("table", "F9", 0.0, alone=False)
    # Of the same read: the menu is not on the screen.
    assert not guard.admits(mode, "Down", 9.0, alone=True)
    guard.draw(mode, 10.0)
    guard.draw(mode, 10.1)
    assert not guard.admits(mode, "Enter", 10.0 + PAUSE_S - 0.001, alone=True)
    assert not guard.admits(mode, "Esc", 10.0, alone=True)
    assert guard.admits(mode, "Down", 10.0 + PAUSE_S, alone=False)
    assert guard.admits(mode, "Enter", 10.0 + PAUSE_S, alone=True)
    # Enter with other keys in one read is no person's.
    assert not guard.admits(mode, "Enter", 11.0, alone=False)


def test_the_second_question_has_a_time_of_its_own() -> None:
    guard = Guard()
    guard.draw("signal", 0.0)
    assert guard.admits("signal", "Enter", 1.0, alone=True)
    assert not guard.admits("confirm", "Enter", 1.0, alone=True)
    guard.draw("confirm", 1.0)
    assert not guard.admits("confirm", "Enter", 1.2, alone=True)
    assert guard.admits("confirm", "Enter", 1.4, alone=True)


def test_nothing_of_a_paste_counts() -> None:
    guard = Guard()
    guard.draw("signal", 0.0)
    assert not guard.admits("signal", Paste("\r"), 5.0, alone=True)
    assert not guard.admits("signal", "Enter", 5.0 + PAUSE_S - 0.001, alone=True)
    assert guard.admits("signal", "Enter", 5.0 + PAUSE_S, alone=True)
    assert guard.admits("table", Paste("x"), 7.0, alone=True)
    assert guard.is_after_paste(7.1)
    assert not guard.is_after_paste(7.0 + PAUSE_S)
