"""Themes, NO_COLOR, terminals without colours, and locales without UTF-8."""

from __future__ import annotations

import pytest
from live_view import Live  # type: ignore[import-not-found]


def reversed_lines(live: Live) -> list[int]:
    """The lines that are reversed from end to end."""
    lines, width = live.screen.buffer, live.screen.columns
    return [
        row
        for row in range(live.screen.lines)
        if all(lines[row][at].reverse for at in range(width))
    ]


def colors(live: Live) -> set[str]:
    cells = [cell for line in live.screen.buffer.values() for cell in line.values()]
    return {name for cell in cells for name in (cell.fg, cell.bg)} - {"default"}


def select(live: Live) -> None:
    live.until("Name")
    heading = len(reversed_lines(live))
    live.child.send("\x1b[B")
    for _ in range(200):
        if len(reversed_lines(live)) > heading:
            return
        live.pump()
    raise AssertionError(live.text())


def ends(live: Live) -> None:
    live.child.send("q")
    assert live.ended() == 0


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["--no-color"], {}),
        (["--theme", "mono"], {}),
        ([], {"NO_COLOR": "1"}),
        ([], {"TERM": "vt220"}),
    ],
)
def test_without_colour_the_selection_and_headings_are_seen(
    words: list[str], environment: dict[str, str]
) -> None:
    live = Live(*words, environment=environment)
    select(live)
    assert colors(live) == set()
    bold = [cell for line in live.screen.buffer.values() for cell in line.values() if cell.bold]
    assert bold, "names and sums are bold"
    ends(live)


@pytest.mark.parametrize("theme", ["16", "dark", "light"])
def test_themes_have_colours(theme: str) -> None:
    live = Live("--theme", theme, environment={"COLORTERM": "truecolor"})
    live.until("Name")
    # Headings and the lamp; a busy machine shows more.
    assert len(colors(live)) > 1
    ends(live)


@pytest.mark.parametrize(
    ("words", "environment"), [([], {"LC_ALL": "C"}), (["--ascii"], {"LC_ALL": "C.UTF-8"})]
)
def test_text_is_ascii_where_the_terminal_has_nothing_else(
    words: list[str], environment: dict[str, str]
) -> None:
    live = Live(*words, environment=environment, rows=24, columns=60)
    select(live)
    assert live.raw.isascii()
    assert "v" in next(line for line in live.screen.display if "Name" in line)
    ends(live)


def test_text_is_utf8_where_the_locale_says_so() -> None:
    live = Live(environment={"LC_ALL": "C.UTF-8"})
    live.until("\N{BLACK DOWN-POINTING TRIANGLE}")
    ends(live)
