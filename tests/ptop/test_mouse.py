"""The mouse, by the reports that a terminal sends."""

from __future__ import annotations

import time

import pytest
from live_view import Live  # type: ignore[import-not-found]

from ptop.columns import COLUMNS
from ptop.live import keys
from ptop.live.decoder import Mouse
from ptop.live.pointing import DOUBLE_S, Pointer, click
from ptop.live.state import State
from ptop.values import replace


def press(live: Live, line: int, column: int, button: int = 0) -> None:
    """A click as SGR reports it, cells counted from 0."""
    for end in "Mm" if button == 0 else "M":
        live.child.send(f"\x1b[<{button};{column + 1};{line + 1}{end}")


def headings(live: Live) -> int:
    return next(at for at, line in enumerate(live.screen.display) if " pid" in line)


def until(live: Live, mark: str) -> None:
    end = time.monotonic() + 20
    while not any(" pid" in line and mark in line for line in live.screen.display):
        assert time.monotonic() < end, live.text()
        live.pump()


def is_selected(live: Live, line: int) -> bool:
    cells = live.screen.buffer[line]
    return all(cells[column].reverse for column in range(live.screen.columns))


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_headings_sort_rows_select_and_the_wheel_scrolls(size: tuple[int, int]) -> None:
    live = Live(columns=size[0], rows=size[1])
    live.until("Name")
    title = headings(live)
    at = live.screen.display[title].index("pid")
    press(live, title, at)
    until(live, "pid▲")
    press(live, title, live.screen.display[title].index("pid"))
    until(live, "pid▼")
    press(live, title, size[0] - 2)
    until(live, "arguments▲")
    press(live, title + 3, 10)
    end = time.monotonic() + 20
    while not is_selected(live, title + 3):
        assert time.monotonic() < end, live.text()
        live.pump()
    press(live, 5, 5, button=65)
    end = time.monotonic() + 20
    while not is_selected(live, title + 6):
        assert time.monotonic() < end, live.text()
        live.pump()
    # The key bar.
    bar = live.screen.display[size[1] - 1]
    press(live, size[1] - 1, bar.index("Help"))
    live.until("ptop: keys")
    live.child.send("\x1b")
    live.until("F10Quit")
    bar = live.screen.display[size[1] - 1]
    press(live, size[1] - 1, bar.index("F6"))
    live.until("sort by: Enter chooses")
    # A double click chooses of a list: the first line.
    press(live, 1, 3)
    press(live, 1, 3)
    until(live, "pid▲")
    press(live, size[1] - 1, live.screen.display[size[1] - 1].index("Quit"))
    assert live.ended() == 0
    assert live.restored()


def sparks(live: Live) -> tuple[int, list[int]]:
    """The line of the bars of what the CPUs used, and the cells of the bars."""
    display = live.screen.display
    line = next(at for at, text in enumerate(display) if " used: user" in text)
    begin = display[line].index("iowait") + len("iowait 0.0")
    cells = range(begin, len(display[line]))
    return line, [cell for cell in cells if display[line][cell] in "·▁▂▃▄▅▆▇█"]


def test_a_click_on_a_sparkline_goes_to_that_moment() -> None:
    live = Live(columns=120, rows=30)
    end = time.monotonic() + 30
    live.until("◉ LIVE")
    while len(sparks(live)[1]) < 6:
        assert time.monotonic() < end, live.text()
        live.pump()
    line, cells = sparks(live)
    # Beside the bars nothing happens.
    press(live, line, 2)
    press(live, line, cells[2])
    live.until("⏸")
    assert "not kept" not in live.text()
    live.child.send("L")
    live.until("◉ LIVE")
    live.child.send("q")
    assert live.ended() == 0


def test_a_click_on_a_sparkline_without_a_history_says_so() -> None:
    live = Live("--history", "0", columns=120, rows=30)
    end = time.monotonic() + 30
    live.until("◉ LIVE")
    while len(sparks(live)[1]) < 2:
        assert time.monotonic() < end, live.text()
        live.pump()
    line, cells = sparks(live)
    press(live, line, cells[0])
    live.until("nothing is kept")
    assert "◉ LIVE" in live.text()
    live.child.send("q")
    assert live.ended() == 0


def test_the_mouse_is_switched_off() -> None:
    live = Live(columns=100)
    live.until("Name")
    assert b"\x1b[?1000h" in live.raw
    live.child.send("\x1bm")
    live.until("the mouse is the terminal's")
    assert b"\x1b[?1000l" in live.raw
    # What was on its way does nothing.
    title = headings(live)
    press(live, title, live.screen.display[title].index("pid"))
    live.child.send("P")
    until(live, "▲")
    live.child.send("\x1bm")
    live.until("the mouse is ptop's")
    live.child.send("q")
    assert live.ended() == 0


def test_no_mouse_is_an_option() -> None:
    live = Live("--no-mouse", columns=100)
    live.until("Name")
    assert b"\x1b[?1000h" not in live.raw
    # Pastes are marked all the same.
    assert b"\x1b[?2004h" in live.raw
    live.child.send("q")
    assert live.ended() == 0


def test_a_double_click_is_two_of_one_line() -> None:
    pointer = Pointer()
    assert not pointer.is_double(3, 0.0)
    assert pointer.is_double(3, DOUBLE_S)
    # A third one begins another.
    assert not pointer.is_double(3, DOUBLE_S + 0.1)
    assert not pointer.is_double(4, DOUBLE_S + 0.2)
    assert not pointer.is_double(4, 2 * DOUBLE_S + 1)


@pytest.mark.parametrize("mode", ["signal", "confirm"])
def test_no_click_chooses_in_a_menu_that_acts(mode: str) -> None:
    state = State(mode=mode, items=("", "15"), labels=("Cancel", "TERM"))
    after, key = click(state, Mouse(0, 3, 2, True), None, COLUMNS, double=True)
    assert (after.cursor, key) == (1, None)
    # Beside the list nothing happens.
    assert click(state, Mouse(0, 3, 9, True), None, COLUMNS, double=True) == (state, None)


def test_the_key_bar_has_a_place_for_each_key() -> None:
    state = replace(State(), width=200)
    text = "".join(f"{name}{word} " for name, word in keys.bar(state))
    for name, word in keys.bar(state):
        begin = text.index(f"{name}{word} ")
        for at in range(begin, begin + len(name) + len(word)):
            assert keys.bar_key(state, at) == name
    assert keys.bar_key(state, len(text) + 1) is None
