"""Every key of the table, typed into ptop on a terminal: what the pure `press` says is what the
screen shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import taskstats
from live_view import PTOP, Live  # type: ignore[import-not-found]

from ptop.columns import COLUMN_SETS
from ptop.live import keys, pages
from ptop.live.state import LAYOUTS, State

ROWS, COLUMNS = 40, 120
# What a terminal sends for a key, by the name that the table has for it.
SEQUENCES = {
    "Up": "\x1b[A", "Down": "\x1b[B", "Right": "\x1b[C", "Left": "\x1b[D",
    "Home": "\x1b[H", "End": "\x1b[F", "Insert": "\x1b[2~", "Delete": "\x1b[3~",
    "PgUp": "\x1b[5~", "PgDn": "\x1b[6~", "Ctrl-Home": "\x1b[1;5H", "Ctrl-End": "\x1b[1;5F",
    "Ctrl-Left": "\x1b[1;5D", "Ctrl-Right": "\x1b[1;5C",
    "Shift-Left": "\x1b[1;2D", "Shift-Right": "\x1b[1;2C", "Shift-F3": "\x1b[1;2R",
    "Shift-F6": "\x1b[17;2~",
    "F1": "\x1bOP", "F2": "\x1bOQ", "F3": "\x1bOR", "F4": "\x1bOS", "F5": "\x1b[15~",
    "F6": "\x1b[17~", "F7": "\x1b[18~", "F8": "\x1b[19~", "F9": "\x1b[20~", "F10": "\x1b[21~",
    "Esc": "\x1b", "Enter": "\r", "Space": " ", "Tab": "\t", "Shift-Tab": "\x1b[Z",
    "Backspace": "\x7f", "Alt-Backspace": "\x1b\x7f",
}  # fmt: skip
# The title of each page and list.
TITLES = {
    "help": "ptop: keys",
    "books": "ptop: where the CPU time went",
    "columns": "columns:",
    "sort": "sort by:",
    "users": "user:",
}
# How the modes are reached that the data must be asked for.
ASKED = {"users": "u"}


def sequence(name: str) -> str:
    if name.startswith("Alt-") and len(name) == 5:
        return "\x1b" + name[-1].lower()
    if name.startswith("Ctrl-") and len(name) == 6:
        return chr(ord(name[-1]) - 64)
    return SEQUENCES[name] if name in SEQUENCES or len(name) > 1 else name


def start(view: str, layout: str) -> State:
    """The state of ptop as it opens."""
    state = State(recorded=view == "replay", layout=layout, width=COLUMNS, height=ROWS)
    # As tests/ptop/live_view.py starts it.
    return replace(state, delay=0.3, columns=COLUMN_SETS["live"].columns)


def opener(state: State, mode: str) -> str:
    """The key that opens a mode."""
    bound = dict(keys.bindings(state.layout, "replay" if state.recorded else "live", "table"))
    found = [name for name in bound if keys.press(state, name).mode == mode]
    return found[0] if found else ASKED[mode]


def sign(state: State) -> str:
    """Words that the screen has in this mode."""
    if (prompt := pages.prompt(state)) is not None:
        return prompt[0].rstrip()
    if state.mode == "table":
        key, word = keys.bar(state)[-1]
        return f"{key}{word}"
    return TITLES[state.mode]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.tsd"
    with taskstats.Recorder(path) as recorder, taskstats.Source("procfs") as source:
        for _ in range(4):
            recorder.write(source.snapshot())
    return path


def modes() -> Iterator[tuple[str, str, str]]:
    for view in ("live", "replay"):
        for layout in LAYOUTS:
            for mode in keys.MODES:
                if (view == "replay" and mode == "delay") or (view == "live" and mode == "time"):
                    continue
                yield view, layout, mode


@pytest.mark.parametrize(("view", "layout", "mode"), list(modes()))
def test_each_key_does_on_a_terminal_what_the_table_says(
    view: str, layout: str, mode: str, recording: Path
) -> None:
    arguments = ["--source", "procfs"] if view == "live" else [str(recording)]
    command = PTOP if view == "live" else [*PTOP, "replay"]
    before = start(view, layout)

    def opened() -> tuple[Live, State]:
        live = Live(*arguments, "--keys", layout, rows=ROWS, columns=COLUMNS, command=command)
        live.until(sign(before))
        return live, before

    live, now = opened()
    # Last Escape, which makes a sequence with what comes at once after it.
    bound = dict(keys.bindings(layout, view, mode))
    for name in sorted(bound, key=lambda name: (name == "Esc", name)):
        if mode != "table":
            live.child.send(sequence(opener(now, mode)))
            now = replace(now, mode=mode)
            live.until(sign(now))
        now = keys.press(now, name)
        live.child.send(sequence(name))
        if now.quit:
            assert live.ended() == 0, name
            live, now = opened()
            continue
        # What is asked of the data is answered there.
        if now.request:
            now = replace(now, mode=next((to for to, key in ASKED.items() if key == name), mode))
        now = replace(now, request="")
        live.until(now.notice[: COLUMNS // 2] if now.notice else sign(now))
        if now.mode != "table":
            live.child.send(sequence("Esc"))
            now = replace(keys.press(now, "Esc"), notice="", request="")
            live.until(sign(now))
    live.child.send("\x03")
    assert live.ended() == 0
