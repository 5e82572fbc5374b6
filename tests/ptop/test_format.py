"""Numbers and names as text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptop import format as fmt


@given(st.text())
def test_no_name_can_steer_the_terminal(name: str) -> None:
    shown = fmt.safe(name)
    assert all(character.isprintable() or character == "\ufffd" for character in shown)
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in shown)
    assert fmt.safe(shown) == shown


@given(st.text(), st.integers(0, 40), st.booleans())
def test_a_fitted_text_has_exactly_its_cells(name: str, cells: int, right: bool) -> None:
    assert fmt.width(fmt.fit(fmt.safe(name), cells, right=right)) == cells


def test_hostile_names() -> None:
    assert fmt.safe("a\x1b[2Jb") == "a\u241b[2Jb"
    assert fmt.safe("\u202eevil\u200b") == "\ufffdevil\ufffd"
    assert fmt.safe("\x7f\x9b") == "\u2421\ufffd"
    assert fmt.safe("日本 plain") == "日本 plain"
    assert fmt.fit("日本", 3) == "日 "


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0K"),
        (1023, "1023K"),
        (1024, "1.0M"),
        (1536, "1.5M"),
        (2**20 * 150, "150G"),
    ],
)
def test_kibibytes(value: int | None, text: str) -> None:
    assert fmt.kibibytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.00s"),
        (59.994, "59.99s"),
        (61.0, "1m01"),
        (3_600.0, "1h00"),
        (86_400.0 * 12 + 3 * 3600, "12d03"),
    ],
)
def test_elapsed(value: float | None, text: str) -> None:
    assert fmt.elapsed(value) == text


def test_unknown_is_not_zero() -> None:
    for make in (fmt.percent, fmt.integer, fmt.kibibytes, fmt.rate, fmt.bytes_rate, fmt.elapsed):
        assert make(None) == fmt.UNKNOWN != make(0)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_the_time_of_day_is_that_of_the_zone(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    fmt._offset_s.cache_clear()
    try:
        # Over a year, so that summer time comes and goes.
        for second in range(1_790_000_000, 1_822_000_000, 86_399 * 3):
            expected = time.strftime("%H:%M:%S", time.localtime(second))
            assert fmt.time_of_day(second * 1_000_000_000) == expected
    finally:
        monkeypatch.undo()
        time.tzset()
        fmt._offset_s.cache_clear()
