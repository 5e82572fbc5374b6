"""The keys of the history: they pause the view only at a frame that they have found."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from live_view import Live  # type: ignore[import-not-found]


def view(*arguments: str) -> Iterator[Live]:
    live = Live(*arguments)
    live.until("◉ LIVE")
    yield live
    live.child.send("q")
    assert live.ended() == 0


@pytest.fixture
def live() -> Iterator[Live]:
    yield from view()


@pytest.fixture
def forgetful() -> Iterator[Live]:
    yield from view("--history", "0")


@pytest.mark.parametrize("keys", [",", ".", "n", "N", "^", "$", "L", "=", "m", "@-5m\r"])
def test_without_a_history_no_key_freezes_the_view(forgetful: Live, keys: str) -> None:
    forgetful.child.send(keys)
    forgetful.until("nothing is kept")
    assert "◉ LIVE" in forgetful.text()
    assert "⏸" not in forgetful.text()


@pytest.mark.parametrize(
    ("keys", "words"),
    [("n", "no spike of"), (".", "no more"), ("=", "nothing is marked")],
)
def test_a_key_that_finds_no_frame_leaves_the_view_live(live: Live, keys: str, words: str) -> None:
    live.child.send(keys)
    live.until(words)
    assert "◉ LIVE" in live.text()
    assert "⏸" not in live.text()


def test_a_pause_stays_where_a_key_finds_nothing(forgetful: Live) -> None:
    forgetful.child.send("Z")
    forgetful.until("⏸")
    forgetful.child.send(",")
    forgetful.until("nothing is kept")
    assert "⏸" in forgetful.text()


def test_what_is_no_time_stays_in_the_prompt(live: Live) -> None:
    live.child.send("@99\r")
    live.until("time (12:34:56, or from here +90s, -5m): 99   '99' is not a time")
    assert "◉ LIVE" in live.text()
    # It can be corrected.
    live.child.send("\x15-0s\r")
    live.until("⏸")


def test_a_time_of_which_nothing_is_kept_is_told(live: Live) -> None:
    # Of tomorrow, were it not for the past.
    later = time.strftime("%H:%M", time.localtime(time.time() + 7200))
    live.child.send(f"@{later}\r")
    live.until(f"nothing kept at {later}: oldest is ")
    live.until("⏸")
    live.child.send("@+1h\r")
    live.until("nothing kept at +1h: newest is ")
