"""Names, times and unknown values as text."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptop.text import UNKNOWN, bytes_rate, offset_s, percent, safe, stamp


@given(st.text())
def test_no_name_sends_escape_sequences(name: str) -> None:
    shown = safe(name)
    assert len(shown) == len(name)
    steering = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert not any(unicodedata.category(character) in steering for character in shown)
    assert safe(shown) == shown


def test_names_of_files_need_not_be_text() -> None:
    assert safe(b"a\xff\x1b".decode(errors="surrogateescape")) == "a\ufffd\u241b"


def test_unknown_is_not_zero() -> None:
    for make in (percent, bytes_rate):
        assert make(None) == UNKNOWN != make(0)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_local_time_is_that_of_the_zone(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        # A whole year, so that it includes both changes of summer time.
        for second in range(1_790_000_000, 1_822_000_000, 86_399 * 3):
            expected = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            assert stamp(second * 1_000_000_000) == expected
            ahead = time.gmtime(second + offset_s(second))
            assert time.strftime("%Y-%m-%d %H:%M:%S", ahead) == expected
    finally:
        monkeypatch.undo()
        time.tzset()
