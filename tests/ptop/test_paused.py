"""A paused live view works on the data that it has."""

from __future__ import annotations

import re

import pytest
import taskstats
from live_view import Live  # type: ignore[import-not-found]

from ptop.columns import COLUMNS

LACKING = "not in the paused data"
DOWN = "\x1b[B"


@pytest.fixture(params=["auto", "procfs"])
def paused(request: pytest.FixtureRequest) -> Live:
    live = Live("--source", request.param, columns=160)
    live.until("Name")
    live.child.send("Z")
    live.until("⏸")
    return live


def tasks(live: Live) -> int:
    """The number of living tasks in the header."""
    found = re.search(r"^tasks (\d+)", live.text(), re.MULTILINE)
    assert found is not None, live.text()
    return int(found[1])


def ends(live: Live) -> None:
    live.child.send("q")
    assert live.ended() == 0


def test_paused_rows_are_grouped(paused: Live) -> None:
    number = tasks(paused)
    for by in ("parent", "session", "name", "user", "cgroup"):
        paused.child.send("z")
        paused.until(f"by {by}")
        assert tasks(paused) == number
    paused.child.send("z")
    paused.until("⏸")
    ends(paused)


def test_what_the_paused_data_lacks_comes_when_it_goes_on(paused: Live) -> None:
    for key in ("H", "f" + DOWN * list(COLUMNS).index("read") + " q"):
        paused.child.send(key)
        paused.until(LACKING)
        paused.until("python")
    # The same key again takes it back.
    paused.child.send("H")
    paused.until("python")
    paused.child.send("f" + DOWN * list(COLUMNS).index("minflt"))
    paused.until("minor page faults")
    paused.child.send(" q")
    paused.until("⏸")
    paused.until("minfl")
    paused.until(LACKING)
    paused.child.send("Z")
    while "⏸" in paused.text() or LACKING in paused.text():
        paused.pump()
    known = re.compile(r"^ *\d+ .* \d+(\.\d)? +\S", re.MULTILINE)
    while LACKING in paused.text() or not known.search(paused.text()):
        paused.pump()
    ends(paused)


def test_what_the_paused_data_lacks_is_said_once(paused: Live) -> None:
    paused.child.send("\r")
    paused.until(LACKING)
    for key in (DOWN, "\x1b[6~", DOWN):
        paused.child.send(key)
        paused.until("Enter Close")
        # Sampling goes on meanwhile.
        for _ in range(5):
            paused.pump()
            assert LACKING not in paused.text()
    paused.child.send("\r")
    ends(paused)


def test_a_pause_before_the_first_interval_shows_it() -> None:
    live = Live("-d", "2")
    live.child.send("Z")
    live.until("python")
    live.until("⏸")
    ends(live)


def test_groups_have_the_tasks_that_did_not_run() -> None:
    with taskstats.Source(changed=True, exact=True) as source:
        before = source.snapshot()
        interval = taskstats.usage(before, source.snapshot())
        totals = source.totals()
        if totals is None:
            pytest.skip("this source reads all tasks each time")
        for by in ("parent", "name", "user"):
            groups = interval.fold(by, resting=source)
            assert groups.sum(["tasks"]) == (totals["tasks"] + (interval.exited or 0),)
            assert groups.sum(["total_ns"]) == interval.sum(["total_ns"])
            assert by == "user" or interval.fold(by, resting=source) is groups
            assert interval.fold(by).sum(["tasks"]) == (len(interval),)
