"""Whole screens against golden text. PTOP_WRITE_SCREENS=1 writes them anew."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ptop import format as fmt
from ptop import render
from ptop.columns import COLUMNS, DEFAULT, Cell, parse
from ptop.state import State, press

GOLDEN = Path(__file__).parent / "screens"
NAMES = ("python3", "日本語のタスク名前です", "evil\x1b[2J\u202e", "kworker/0:1", "")


def cpu(number: int) -> dict[str, float]:
    return {
        "cpu": float(number),
        "user": 41.5,
        "nice": 0.5,
        "system": 8.0,
        "idle": 45.0,
        "iowait": 2.0,
        "irq": 0.5,
        "softirq": 1.5,
        "steal": 1.0,
    }


def view(rows: int = 40, cpus: int = 2, columns: str = ",".join(DEFAULT)) -> render.View:
    chosen = parse(columns, {})
    cells: dict[str, Cell] = {
        "ac_uid": 0,
        "state": 0,
        "ac_nice": -5,
        "num_threads": 3,
        "rss_kb": 123_456,
        "user_pct": 12.3456,
        "system_pct": 0.1,
        "steal_pct": None,
        "total_pct": 12.4456,
    }
    table = [
        tuple(
            1000 + index
            if column.source == "ac_pid"
            else NAMES[index % len(NAMES)]
            if column.source == "ac_comm"
            else cells.get(column.source)
            for column in chosen
        )
        for index in range(rows)
    ]
    sums = tuple(99.997 if column.source.endswith("_pct") else None for column in chosen)
    return render.View(
        time="12:34:56",
        host="host\x07name",
        uptime="3d04",
        load=(0.5, 1.25, 10.0),
        source="netlink",
        precision="ns",
        interval_s=1.0,
        own_pct=0.31,
        tasks=rows,
        shown=rows,
        states={"running": 2, "sleeping": rows - 2} if rows else {},
        cpus=[cpu(number) for number in range(cpus)],
        memory={
            "mem_total_kb": 16_000_000,
            "mem_free_kb": 1_000_000,
            "mem_available_kb": 8_000_000,
            "buffers_kb": 200_000,
            "cached_kb": 3_000_000,
            "swap_total_kb": 0,
            "swap_free_kb": 0,
        },
        books={
            "tasks": 24.8,
            "irq": 0.01,
            "steal": 0.19,
            "idle": 175.0,
            "residual": -0.0002,
            "bound": 0.02,
        },
        exited=1922 if rows else 0,
        sums=sums,
        rows=table,
        columns=chosen,
    )


SCREENS = {
    "live-80x24": (view(), State(), (80, 24)),
    "live-40x10": (view(), State(), (40, 10)),
    "live-200x60": (view(), State(), (200, 60)),
    "empty-80x24": (view(rows=0), State(), (80, 24)),
    "cpus128-80x24": (view(cpus=128), State(), (80, 24)),
    "unknown-80x24": (
        replace(view(columns="pid,cpu_delay,read,ac_etime,name"), memory=None, load=None),
        State(sort="pid", descending=False),
        (80, 24),
    ),
    "filter-80x24": (view(rows=3), State(mode="filter", entry="py\x1b"), (80, 24)),
    "help-80x24": (view(), State(mode="help"), (80, 24)),
    "replay-80x24": (
        replace(view(), notice="2026-11-23 12:34:56  frame 4 of 59"),
        State(recorded=True, paused=True),
        (80, 24),
    ),
    "replay-time-80x24": (
        view(),
        State(recorded=True, paused=True, mode="time", entry="12:3"),
        (80, 24),
    ),
    "replay-help-80x24": (view(), State(recorded=True, mode="help"), (80, 24)),
    "columns-80x24": (view(), State(mode="columns", cursor=28), (80, 24)),
}


@pytest.mark.parametrize("name", SCREENS)
def test_screen(name: str) -> None:
    shown, state, size = SCREENS[name]
    lines = render.screen(shown, state, size, COLUMNS)
    assert len(lines) == size[1]
    assert all(fmt.width(line.text) == size[0] for line in lines)
    styles = {"plain": " ", "bold": "*", "reverse": ">"}
    text = "".join(f"{styles[line.style]}|{line.text}|\n" for line in lines)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("PTOP_WRITE_SCREENS"):
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("cpus", [1, 2, 8, 16, 128])
def test_ten_tasks_remain_on_24_rows(cpus: int) -> None:
    assert render.task_rows(view(cpus=cpus), (80, 24)) >= render.LEAST_TASKS


def test_a_residual_beyond_its_bound_is_called_out() -> None:
    seen = view()
    assert seen.books
    opened = replace(seen, books={**seen.books, "residual": 0.5})
    lines = [line.text for line in render.screen(opened, State(), (100, 24), COLUMNS)]
    assert any("residual +0.500 ±0.020%!" in line for line in lines)
    assert not any("%!" in line.text for line in render.screen(seen, State(), (100, 24), COLUMNS))


def test_what_is_missing_is_said() -> None:
    assert render.missing(0, 0, False) == ""
    said = render.missing(2, 7, True)
    assert said == "2 tasks that may not be read, 7 that died, tasks beyond the memory for them"
    lines = render.screen(replace(view(), missing=said), State(), (200, 24), COLUMNS)
    assert any(line.text.rstrip().endswith(f"missing: {said}") for line in lines)


def test_a_low_screen_still_shows_tasks() -> None:
    assert render.task_rows(view(), (40, 10)) == 6
    assert render.task_rows(view(), (40, 5)) == 1


def test_every_binding_of_the_help_screen_changes_something() -> None:
    start = State(page=10, shown=50, selected=20, top=15, selecting=True)
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
    assert (state.mode, state.text) == ("table", "ab")
    for key in ("d", "0", ".", "5", "KEY_ENTER"):
        state = press(state, key)
    assert state.delay == 0.5
    for key in ("d", "0", "KEY_ENTER"):
        state = press(state, key)
    assert state.delay == 0.5, "no interval of length 0"
    assert state.notice == "'0' is no number of seconds from 0.1 to 86400"
    for key in ("d", "KEY_ENTER"):
        state = press(state, key)
    assert (state.delay, state.notice) == (0.5, "")


def test_selection_stays_on_the_list() -> None:
    state = State(page=5, shown=7)
    for _ in range(20):
        state = press(state, "j")
    assert (state.selected, state.top) == (6, 2)
    for _ in range(20):
        state = press(state, "k")
    assert (state.selected, state.top) == (0, 0)


def test_the_last_column_cannot_be_taken_away() -> None:
    state = State(columns=("pid",), mode="columns", cursor=0)
    assert press(state, " ").columns == ("pid",)


def test_a_column_that_is_shown_twice_is_padded_where_it_is_not_the_last() -> None:
    columns = tuple(COLUMNS[key] for key in ("name", "pid", "name"))
    lines = render.table(columns, [("sh", 1, "sh"), ("python3", 22, "python3")], [None] * 3)
    assert lines[2].split() == ["sh", "1", "sh"]
    assert lines[2].index("1") == lines[3].index("22") + 1
