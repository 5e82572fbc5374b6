"""The pages of keys and columns against golden text (PTOP_WRITE_SCREENS=1 rewrites it)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import taskstats
from taskstats.screen import Lines

from ptop.columns import COLUMNS, parse_columns
from ptop.live import pages
from ptop.live.keys import press
from ptop.live.state import Limits, State
from ptop.live.view import Renderer

GOLDEN = Path(__file__).parent / "screens"
SIZE = (80, 24)
PAGES = {
    "help-80x24": State(mode="help"),
    "help-end-80x24": press(State(mode="help"), "End"),
    "vim-help-80x24": State(mode="help", layout="vim"),
    "replay-help-80x24": press(State(recorded=True, mode="help"), "PgDn"),
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


def test_every_heading_fits() -> None:
    for column in COLUMNS.values():
        assert len(column.heading or column.title) <= column.width or not column.right, column.key


def test_no_two_columns_have_one_title() -> None:
    for attribute in ("title", "heading"):
        names = [getattr(column, attribute) for column in COLUMNS.values()]
        assert len(names) == len(set(names)), sorted(names)


def test_the_column_under_the_cursor_is_visible_on_a_small_screen() -> None:
    for cursor in range(len(COLUMNS)):
        state = State(mode="columns", cursor=cursor, height=5)
        texts = pages.column_page(state, COLUMNS, 5)
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
