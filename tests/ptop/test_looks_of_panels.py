"""Golden screens of panels in every theme and without colour (PTOP_WRITE_SCREENS=1 rewrites
them; never in CI). A line of a file is a line of the screen with its control sequences."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import taskstats
from taskstats.recorded import Frames
from taskstats.screen import Canvas, Lines

from ptop.columns import COLUMN_SETS, COLUMNS
from ptop.live import acting, details
from ptop.live.details import Details, Pane
from ptop.live.state import Acting, Limits, State
from ptop.live.terminal import Sequences
from ptop.live.theme import THEMES, styles
from ptop.live.tree import Tree
from ptop.live.view import Renderer
from ptop.targets import Target

GOLDEN = Path(__file__).parent / "screens"
RECORDING = Path(__file__).parent.parent / "data/recording-0.1.0.tsd"
SIZE = (100, 24)
TASK = Target(4711, 1, 4711, "worker")


def recorded() -> taskstats.Interval:
    """An interval of the recording."""
    with taskstats.open(str(RECORDING)) as dump:
        frames = Frames(dump)
        index = frames.step(len(frames), -1)
        assert index is not None
        interval = frames.interval(index)
    assert interval is not None
    return interval


def renderer(state: State) -> Renderer:
    return Renderer(state, COLUMNS, Limits(), user=lambda uid: None)


def page(state: State) -> Lines:
    shown = renderer(state).page(SIZE, recorded())
    assert shown is not None
    return shown


def signal_menu() -> Lines:
    menu = acting.offer_signals(State(acting=Acting(kind="signal", targets=(TASK,))))
    return page(menu)


def pane() -> Lines:
    shown = Pane(
        "4711 worker  CPU 1.00 s",
        sections={"command": ["/usr/bin/worker --all"], "memory": ["RSS 12 kB"]},
    )
    texts, _ = details.lines(shown, Details(), SIZE, "Enter Close", "", False)
    return Lines(texts, SIZE)


def table(state: State, age_s: float | None = None) -> Lines:
    return renderer(state).lines(recorded(), SIZE, ages_s=(age_s, age_s))


PANELS: dict[str, Callable[[], Lines]] = {
    "setup": lambda: page(State(mode="setup", cursor=2)),
    "signal": signal_menu,
    "pane": pane,
    "tree": lambda: table(
        State(columns=COLUMN_SETS["tree"].shown, tree=Tree("task"), selecting=True, selected=3)
    ),
    "history": lambda: table(State(paused=True), 75.0),
}


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("theme", [*THEMES, "no colour"])
def test_panel(panel: str, theme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORTERM", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    colors, known = (-1, "16") if theme == "no colour" else (256, theme)
    sequences = Sequences(colors=colors)
    canvas = Canvas(
        clear="",
        lines=["\n"] * SIZE[1],
        styles=styles(sequences, known),
        normal=sequences.normal,
    )
    text = canvas.draw(PANELS[panel]()).replace("\x1b", "^").lstrip("\n") + "\n"
    path = GOLDEN / f"panel-{panel}-{theme.replace(' ', '-')}.txt"
    if os.environ.get("PTOP_WRITE_SCREENS"):
        path.write_text(text)
    assert text == path.read_text()


def test_a_panel_without_colour_has_no_colour() -> None:
    for panel in PANELS:
        text = (GOLDEN / f"panel-{panel}-no-colour.txt").read_text()
        assert text == (GOLDEN / f"panel-{panel}-mono.txt").read_text()
        # Attributes alone: bold, dim, underlined, reversed.
        assert not re.search(r"\^\[[349]\d", text), panel
