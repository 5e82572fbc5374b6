"""The table of keys, and what keys do to the state."""

from __future__ import annotations

from collections import Counter

import pytest
from taskstats.screen import Lines

from ptop.columns import COLUMN_SETS, COLUMNS, GROUPINGS
from ptop.live import keys, looking, pages
from ptop.live.decoder import Mouse, Paste
from ptop.live.details import Details, Pane
from ptop.live.keys import press
from ptop.live.state import LAYOUTS, Limits, State
from ptop.live.view import Renderer
from ptop.values import replace

VIEWS = ("live", "replay")
FULL = State(page_rows=10, total_rows=50, selected=20, top=15, selecting=True)
# Keys that need AltGr or a dead key on German, French, Spanish or Nordic keyboards.
ALTGR = set("@[]{}\\|~^`#")


def typed(state: State, *events: str) -> State:
    for event in events:
        state = press(state, event)
    return state


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("mode", keys.MODES)
def test_no_key_is_bound_twice(layout: str, view: str, mode: str) -> None:
    names = Counter(name for name, _ in keys.bindings(layout, view, mode))
    assert names
    assert [name for name, number in names.items() if number > 1] == []


def test_a_key_that_is_bound_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "KEYS", (*keys.KEYS, keys.Key("Z", "again", lambda now: now)))
    with pytest.raises(AssertionError, match="Z"):
        test_no_key_is_bound_twice("htop", "live", "table")


def test_a_key_of_htop_does_here_what_it_does_there() -> None:
    for key in keys.KEYS:
        for mode in set(key.modes) & {"table", "details"}:
            bound = dict(keys.bindings("htop", "live", mode))
            for name in key.htop.split() if "live" in key.views else ():
                assert bound.get(name, key) is key, (mode, name)
    assert {name: press(FULL, name).acting.value for name in ("F7", "]", "F8", "[")} == {
        "F7": -1, "]": -1, "F8": 1, "[": 1,
    }  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_key_needs_altgr_and_none_of_letters_signals(layout: str) -> None:
    for key in keys.KEYS:
        names = key.shown(layout).split()
        assert not names or any(name not in ALTGR for name in names), key.doc
    for view in VIEWS:
        bound = dict(keys.bindings(layout, view, "table"))
        assert ("k" in bound) == (layout == "vim")
        assert "k" not in bound or bound["k"].doc == "the previous row or line"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("view", VIEWS)
def test_every_key_changes_something(layout: str, view: str) -> None:
    for mode in keys.MODES:
        start = replace(FULL, layout=layout, recorded=view == "replay", mode=mode, cursor=1)
        items = ("", "0", "1000") if mode in {"users", "signal"} else ("pid", "name", "USER")
        start = replace(start, items=items, labels=("all", "root", "bin"), scroll=8)
        start = replace(start, details=Details(top=3, environment="names"))
        start = replace(start, entry=replace(start.entry, text="a b", cursor=2, killed="x"))
        start = replace(start, entry=replace(start.entry, history=("c", "d"), back=1))
        for name, key in keys.bindings(layout, view, mode):
            after = press(start, " " if name == "Space" else name)
            assert after != start, (mode, name, key.doc)
            assert " is not a key" not in after.notice, (mode, name)
            assert " has moved " not in after.notice, (mode, name)


def test_a_key_that_is_not_bound_is_answered() -> None:
    assert press(FULL, "%").notice == "% is not a key; F1 lists the keys"
    assert press(FULL, "Ctrl-F5").notice == "Ctrl-F5 is not a key; F1 lists the keys"
    assert press(replace(FULL, mode="help"), "%").notice == "% is not a key; F1 lists the keys"
    assert replace(press(FULL, "%"), notice="") == FULL
    # A question stays on the screen.
    asked = replace(FULL, mode="strace")
    assert press(asked, "%").notice == f"{looking.QUESTION} % is neither."
    assert press(replace(FULL, mode="details"), "s") == asked
    renderer = Renderer(asked, COLUMNS, Limits())
    table = Lines([("a row", "plain")] * 20, (80, 20))
    both, _ = renderer.with_pane(table, Pane("1 sh"), (80, 40))
    assert both.texts[-1][0].rstrip() == looking.QUESTION


def test_a_key_of_the_version_before_is_answered_with_its_new_place() -> None:
    assert press(FULL, "j").notice == "j has moved to Down: the next row or line"
    assert press(FULL, "k").notice == "k has moved to Up: the previous row or line"
    assert press(FULL, "y").notice == "y has moved to F6: choose the column to sort by"
    recorded = replace(FULL, recorded=True)
    assert press(recorded, "]").notice == (
        "] has moved to n: the next spike of the sorted column, or of its sum"
    )
    for key in keys.KEYS:
        for view in key.views:
            for name in key.old.split():
                after = press(replace(FULL, recorded=view == "replay"), name.replace("Space", " "))
                assert "is not a key" not in after.notice, (view, name)


def test_the_key_bar_has_the_function_keys_of_htop() -> None:
    assert keys.bar(State()) == [
        ("F1", "Help"),
        ("F2", "Setup"),
        ("F3", "Search"),
        ("F4", "Filter"),
        ("F5", "Tree"),
        ("F6", "Sort"),
        ("F9", "Signal"),
        ("F10", "Quit"),
        ("Enter", "Details"),
    ]
    assert ("Enter", "Done") in keys.bar(State(mode="filter"))
    assert ("Esc", "Back") in keys.bar(State(mode="help"))


@pytest.mark.parametrize("size", [(60, 15), (40, 10), (80, 24)])
def test_help_scrolls_to_its_last_line(size: tuple[int, int]) -> None:
    state = State(mode="help", width=size[0], height=size[1])
    lines = keys.help_lines(state)
    seen = []
    for _ in range(len(lines)):
        shown = pages.help_page(state, size[1])
        assert len(shown) == size[1]
        seen += [text for text, _ in shown]
        state = press(state, "Down")
    assert all(any(doc in text for text in seen) for _, doc in lines)
    # The end stays at the foot: one key up changes the page.
    assert pages.help_page(press(state, "Up"), size[1]) != pages.help_page(state, size[1])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("recorded", [False, True])
def test_the_help_page_fits_on_80_columns(layout: str, recorded: bool) -> None:
    state = State(mode="help", layout=layout, recorded=recorded)
    for text, style in pages.help_page(state, 200):
        assert len(text) <= 80, text
        # Keys that are too long for their column would push the words to the right.
        assert style == "bold" or not text or text[pages.HELP_WIDTH + 2] == " ", text


def test_a_list_says_that_more_is_below() -> None:
    state = State(mode="columns", width=80, height=10)
    assert pages.column_page(state, COLUMNS, 10)[-1][0].startswith("more below")
    end = typed(state, "End")
    assert pages.column_page(end, COLUMNS, 10)[-1][0] == ""


def test_keys_sort_and_reverse() -> None:
    state = press(State(), "M")
    assert (state.sort, state.descending) == ("rss_kb", True)
    assert not press(state, "M").descending
    assert press(press(State(sort="pid"), ">"), "<").sort == "pid"
    assert press(State(), "I").descending is False
    snap = replace(State(), columns=COLUMN_SETS["snap"].columns)
    assert (press(State(sort="pid"), "P").sort, press(snap, "P").sort) == ("total_pct", "all_pct")
    menu = press(State(), "F6")
    assert menu.items == State().columns
    assert menu.items[menu.cursor] == "total_pct"
    assert typed(menu, "Home", "Enter").sort == "pid"
    assert typed(menu, "Home", "Enter").descending is False
    assert typed(menu, "Home", "Esc").sort == "total_pct"


def test_the_selection_stays_on_the_list() -> None:
    state = State(page_rows=5, total_rows=7)
    assert (press(state, "Down").selected, press(state, "Down").selecting) == (0, True)
    assert press(replace(state, top=2), "Up").selected == 2
    assert typed(state, "Down", "Down").selected == 1
    state = typed(state, *["Down"] * 20)
    assert (state.selected, state.top) == (6, 2)
    state = typed(state, *["Up"] * 20)
    assert (state.selected, state.top) == (0, 0)
    assert typed(state, "End").selected == 6
    assert typed(state, "End", "Home").selected == 0
    assert typed(state, "PgDn").selected == 5
    wheel = Mouse(65, 0, 0, True)
    assert press(state, wheel).selected == 3


def test_views_are_left_as_they_were() -> None:
    state = typed(State(), "M", *["v"] * len(COLUMN_SETS))
    assert (state.columns, state.sort) == (State().columns, "rss_kb")
    chosen = replace(
        State(), columns=("name", "nvcsw_delta", "pid"), known=(*COLUMNS, "nvcsw_delta")
    )
    assert typed(chosen, *["v"] * len(COLUMN_SETS)).columns == chosen.columns


def test_processes_are_not_grouped_by_process() -> None:
    state, seen = press(State(), "z"), []
    while state.group_by:
        seen.append(state.group_by)
        state = press(state, "z")
    assert seen == [by for by in GROUPINGS if by != "process"]
    assert press(State(threads=True), "z").group_by == "process"


def test_the_chooser_keeps_the_order_and_raw_columns() -> None:
    state = State(columns=("total_pct", "nvcsw_delta", "pid", "name"))
    state = replace(state, known=(*COLUMNS, "nvcsw_delta"))
    at = {key: number for number, key in enumerate(state.known)}

    def switched(key: str) -> State:
        return press(replace(state, mode="columns", cursor=at[key]), " ")

    assert switched("read").columns == ("total_pct", "nvcsw_delta", "pid", "read", "name")
    assert switched("pid").columns == ("total_pct", "nvcsw_delta", "name")
    assert switched("nvcsw_delta").columns == ("total_pct", "pid", "name")
    alone = State(columns=("pid",), mode="columns", cursor=0)
    assert press(alone, " ").columns == ("pid",)
    # Paging stays in the chooser.
    assert typed(alone, "PgDn", "PgUp", "End", "Home").mode == "columns"
    assert typed(alone, "End").cursor == len(COLUMNS) - 1
    assert typed(alone, "Esc").mode == "table"


def test_a_prompt_shows_the_present_value_and_what_is_typed() -> None:
    assert pages.prompt(State()) is None
    assert pages.prompt(press(State(delay=2), "d")) == ("seconds (now 2): ", "")
    filtering = press(State(filter="python"), "F4")
    assert pages.prompt(filtering) == ("filter: python", "")
    assert pages.prompt(typed(filtering, "Ctrl-A", "Right")) == ("filter: p", "ython")
    long = typed(press(State(width=20), "F4"), *"abcdefghijklmnopqrstuvwxyz")
    assert pages.prompt(long) == ("filter: …qrstuvwxyz", "")


def test_a_filter_is_live_and_escape_takes_it_back() -> None:
    state = typed(State(filter="old"), "F4", "Ctrl-U", "a", "x", "Backspace", "b")
    assert (state.mode, state.filter, state.entry.text) == ("filter", "old", "ab")
    assert typed(state, "Esc").filter == "old"
    assert typed(state, "Enter").filter == "ab"
    assert typed(state, "Enter", "F4", "Ctrl-U", "Enter").filter == ""


@pytest.mark.parametrize("text", ["0.5", "0,5", ".5"])
def test_a_delay_has_either_mark_of_decimals(text: str) -> None:
    assert typed(State(), "d", *text, "Enter").delay == 0.5


@pytest.mark.parametrize("text", ["0", "x", "1,0,0", "1e9", "nan"])
def test_a_wrong_delay_is_answered_until_the_next_key(text: str) -> None:
    state = typed(State(delay=2), "d", *text, "Enter")
    assert (state.mode, state.delay) == ("delay", 2)
    wrong = f"{text!r} is not a number of seconds from 0.1 to 86400"
    assert pages.prompt(state) == (f"seconds (now 2): {text}", f"   {wrong}")
    # It can be corrected.
    assert pages.prompt(typed(state, "Left")) == (f"seconds (now 2): {text[:-1]}", text[-1])
    assert typed(state, "Ctrl-U", "3", "Enter").delay == 3
    assert typed(State(delay=2), "d", "Enter").delay == 2


def test_a_prompt_has_the_keys_of_readline() -> None:
    def line(*events: str) -> tuple[str, int]:
        entry = typed(press(State(), "F4"), *"one two-three", *events).entry
        return entry.text, entry.cursor

    assert line("Ctrl-A") == ("one two-three", 0)
    assert line("Ctrl-A", "Ctrl-E") == ("one two-three", 13)
    assert line("Left", "Left", "Ctrl-K") == ("one two-thr", 11)
    assert line("Left", "Left", "Ctrl-U") == ("ee", 0)
    assert line("Ctrl-W") == ("one ", 4)
    assert line("Alt-Backspace") == ("one two-", 8)
    assert line("Ctrl-W", "Ctrl-A", "Ctrl-Y") == ("two-threeone ", 9)
    assert line("Ctrl-A", "Alt-d", "Delete", "Ctrl-D") == ("wo-three", 0)
    assert line("Alt-b", "Alt-b", "x") == ("one xtwo-three", 5)
    assert line("Ctrl-A", "Alt-f", "Backspace") == ("on two-three", 2)
    assert line("Home", "Ctrl-B", "Ctrl-F", "Right") == ("one two-three", 2)
    assert line("End", "Right") == ("one two-three", 13)


def test_a_prompt_remembers() -> None:
    state = typed(State(), *"\\", "a", "Enter", "F4", "Ctrl-U", "b", "Enter", "F4", "Ctrl-U", "c")
    assert typed(state, "Up").entry.text == "b"
    assert typed(state, "Up", "Up", "Up").entry.text == "a"
    assert typed(state, "Up", "Up", "Down").entry.text == "b"
    assert typed(state, "Up", "Down", "Down").entry.text == "c"
    # Each prompt has its own.
    assert typed(typed(state, "Esc"), "F3", "Up").entry.text == ""


def test_pasted_text_runs_no_key() -> None:
    after = press(FULL, Paste("q\nk"))
    assert "pasted text does nothing here" in after.notice
    assert replace(after, notice="") == FULL
    filtering = press(press(State(), "F4"), Paste("py\nth\x1bon"))
    assert filtering.entry.text == "py th on"
    for mode in ("help", "columns", "sort"):
        assert not press(replace(FULL, mode=mode), Paste("q")).quit
