"""The help and column pages against golden text (PTOP_WRITE_SCREENS=1 rewrites it), and what
keys do."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import taskstats
from taskstats.screen import Lines

from ptop.columns import COLUMN_SETS, COLUMNS, GROUPINGS, parse_columns
from ptop.live import pages
from ptop.live.state import Limits, State, press
from ptop.live.view import Renderer

GOLDEN = Path(__file__).parent / "screens"
SIZE = (80, 24)
PAGES = {
    "help-80x24": State(mode="help"),
    "replay-help-80x24": State(recorded=True, mode="help"),
    "columns-80x24": State(mode="columns", cursor=28),
}


@pytest.fixture
def interval() -> taskstats.Interval:
    with taskstats.Source("procfs", cpu_times=True) as source:
        before = source.snapshot()
        return taskstats.usage(before, source.snapshot())


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, interval: taskstats.Interval) -> None:
    page = Renderer(PAGES[name], COLUMNS, Limits()).page(SIZE, interval)
    assert page is not None
    assert len(page.texts) == SIZE[1]
    assert all(len(text) == SIZE[0] for text, _ in page.texts)
    styles = {"plain": " ", "bold": "*", "reverse": ">"}
    text = "".join(f"{styles[style]}|{text}|\n" for text, style in page.texts)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("PTOP_WRITE_SCREENS"):
        path.write_text(text)
    assert text == path.read_text()


def test_the_table_is_not_replaced_by_a_page(interval: taskstats.Interval) -> None:
    assert Renderer(State(), COLUMNS, Limits()).page(SIZE, interval) is None


def test_the_page_of_the_books_says_where_the_time_went(interval: taskstats.Interval) -> None:
    page = Renderer(State(mode="books"), COLUMNS, Limits()).page((80, 24), interval)
    assert page is not None
    shown = {text[2:14].strip(): text[14:26].strip() for text, _ in page.texts}
    books = interval.books()
    for key, name in (("tasks_ns", "tasks"), ("idle_ns", "idle"), ("residual_ns", "residual")):
        value = books[key]
        known = "-" if value is None else f"{value * 100 / interval.interval_ns:.3f}"
        assert shown[name] == known

    def verdict(residual_ns: int | None) -> str:
        terms = {**books, "residual_ns": residual_ns, "bound_ns": 100}
        return pages.books_page(terms, 10**9)[-2][0]

    assert verdict(-100) == verdict(100) == "All CPU time has been found."
    assert verdict(101) == "Some CPU time has not been found."
    assert verdict(-101) == "Some CPU time was counted twice."
    assert verdict(None) == "The CPUs' times are unknown here."


def test_a_prompt_shows_what_is_typed() -> None:
    assert pages.prompt(State(mode="filter", entry="py")) == "filter: py_"
    assert pages.prompt(State(mode="delay")) == "seconds: _"
    assert pages.prompt(State()) is None


def test_the_column_under_the_cursor_is_visible_on_a_small_screen() -> None:
    for cursor in range(len(COLUMNS)):
        texts = pages.column_page(State(mode="columns", cursor=cursor), COLUMNS, 5)
        (at,) = [
            at for at, (_, style) in enumerate(Lines(texts, (80, 5)).texts) if style == "reverse"
        ]
        assert 0 < at < 5


def test_raw_columns_have_no_form() -> None:
    (column,) = parse_columns("nvcsw_delta", {"nvcsw_delta": "count"})
    assert (column.form, column.unit, column.fields) == ("raw", "(count)", ("nvcsw",))
    (column,) = parse_columns("nvcsw_per_sec", {"nvcsw_per_sec": "count/s"})
    assert (column.form, column.summed) == ("rate", True)
    (column,) = parse_columns("cpu_count_per_sec", {"cpu_count_per_sec": "count/s"})
    assert (column.form, column.summed) == ("raw", False)


def test_every_binding_of_the_help_screen_changes_something() -> None:
    start = State(page_rows=10, total_rows=50, selected=20, top=15, selecting=True)
    for key in ("q", "?", "j", "k", "KEY_PGDOWN", "KEY_PGUP", "g", "G", "<", ">", "r", "t", "/"):
        assert press(start, key) != start, key
    assert press(start, "unbound") == start


def test_keys_sort_and_reverse() -> None:
    state = press(State(), "u")
    assert (state.sort, state.descending) == ("user_pct", True)
    assert not press(state, "u").descending
    assert press(State(), "p").descending is False
    assert press(press(State(sort="pid"), ">"), "<").sort == "pid"


def test_entering_a_filter_and_a_delay() -> None:
    state = State()
    for key in ("/", "a", "x", "KEY_BACKSPACE", "b", "KEY_ENTER"):
        state = press(state, key)
    assert (state.mode, state.filter) == ("table", "ab")
    for key in ("d", "0", ".", "5", "KEY_ENTER"):
        state = press(state, key)
    assert state.delay == 0.5
    for key in ("d", "0", "KEY_ENTER"):
        state = press(state, key)
    assert state.delay == 0.5, "no interval of length 0"
    assert state.notice == "'0' is not a number of seconds from 0.1 to 86400"
    for key in ("d", "KEY_ENTER"):
        state = press(state, key)
    assert (state.delay, state.notice) == (0.5, "")


def test_selection_stays_on_the_list() -> None:
    state = State(page_rows=5, total_rows=7)
    for _ in range(20):
        state = press(state, "j")
    assert (state.selected, state.top) == (6, 2)
    for _ in range(20):
        state = press(state, "k")
    assert (state.selected, state.top) == (0, 0)


def test_views_keep_their_columns_and_order() -> None:
    state = replace(State(), columns=("pid", "rss_kb", "nvcsw_delta"), sort="rss_kb")
    start = replace(state, descending=False)
    state = start
    for _ in COLUMN_SETS:
        state = press(state, "v")
        if state.view == "snap":
            state = press(state, "u")
    assert state.view == "live"
    assert (state.columns, state.sort, state.descending) == (start.columns, "rss_kb", False)
    while state.view != "snap":
        state = press(state, "v")
    assert state.sort == "user_pct"


def test_chosen_columns_keep_their_order() -> None:
    at = list(COLUMNS).index("rss_kb")
    state = State(columns=("total_pct", "nvcsw_delta", "pid", "name"), mode="columns", cursor=at)
    state = press(state, " ")
    assert state.columns == ("total_pct", "nvcsw_delta", "pid", "rss_kb", "name")
    assert press(state, " ").columns == ("total_pct", "nvcsw_delta", "pid", "name")


def test_no_two_columns_have_one_title() -> None:
    for attribute in ("title", "heading"):
        names = [getattr(column, attribute) for column in COLUMNS.values()]
        assert len(names) == len(set(names)), sorted(names)


def test_processes_are_not_grouped_by_process() -> None:
    seen = []
    state = press(State(), "F")
    while state.group_by:
        seen.append(state.group_by)
        state = press(state, "F")
    assert seen == [by for by in GROUPINGS if by != "process"]
    assert press(State(threads=True), "F").group_by == "process"


def test_the_last_column_cannot_be_removed() -> None:
    state = State(columns=("pid",), mode="columns", cursor=0)
    assert press(state, " ").columns == ("pid",)
