"""What tasks wait for: the column of the largest wait, its forms, and the line of the machine."""

from __future__ import annotations

import signal

import pytest
import taskstats
from live_view import Live  # type: ignore[import-not-found]
from taskstats.screen import Screen

from ptop.columns import COLUMNS, WAIT_COLUMNS, WAITS
from ptop.live.keys import press
from ptop.live.state import Limits, State
from ptop.live.unknown import DELAYS_OFF, why_unknown
from ptop.live.view import Renderer, needed_fields
from ptop.values import replace

FIELDS = tuple(f"{kind}_delay_total" for kind in WAITS)


@pytest.fixture
def interval(source: taskstats.Source) -> taskstats.Interval:
    chosen = State(columns=("pid", *WAIT_COLUMNS, "command"))
    source.configure(fields=sorted(needed_fields(chosen, COLUMNS)))
    before = source.snapshot()
    sum(range(3_000_000))
    return taskstats.usage(before, source.snapshot())


def test_the_largest_wait_is_one_of_eight(interval: taskstats.Interval) -> None:
    if interval.status("wait_pct") != "filled":
        assert all(row == (None,) for row in interval.select(["wait_ns"]))
        return
    deltas = [f"{field}_delta" for field in FIELDS]
    for wait, *each in interval.select(["wait_ns", *deltas]):
        known = [ns for ns in each if ns is not None]
        assert wait == (max(known) if known else None)
    # Of a group the sums count: their largest, not the sum of the largest.
    for wait, *each in interval.fold("user").select(["wait_ns", *deltas]):
        known = [ns for ns in each if ns is not None]
        assert wait == (max(known) if known else None)


def cells(interval: taskstats.Interval, key: str) -> list[str]:
    columns = [COLUMNS[key]]
    screen = Screen(columns, user=str, offset_s=lambda _: 0, sort=COLUMNS[key].source)
    return [line.strip() for line in screen.table(interval)[2:-1]]


def test_each_form_says_what_the_fields_say(interval: taskstats.Interval) -> None:
    if interval.status("wait_pct") != "filled":
        assert set(cells(interval, "wait")) == {"-"}
        return
    short = dict(zip(WAITS, ("cpu", "blk", "swp", "rcl", "thr", "cmp", "wpc", "irq"), strict=True))
    columns = ["wait_pct", "wait_ns", *(f"{field}_delta" for field in FIELDS)]
    rows = interval.select(columns, sort="wait_pct")
    shown = zip(
        rows,
        cells(interval, "wait"),
        cells(interval, "wait_pct"),
        cells(interval, "wait_ms"),
        strict=True,
    )
    for (share, ns, *each), letter, percent, ms in shown:
        if ns is None:
            assert letter == percent == ms == "-"
            continue
        assert isinstance(share, float)
        assert isinstance(ns, int)
        if share < 0.005:
            assert letter == percent == ms == "·"
            continue
        name = short[WAITS[each.index(ns)]]
        assert letter[1:] == name
        assert letter[0] in "▁▂▃▄▅▆▇█"
        assert percent == f"{name} {share:.2f}"
        assert ms.split()[0] == name
        assert float(ms.split()[1]) == pytest.approx(ns / 1e6, abs=0.051)


def test_the_machine_has_the_sum_of_each_kind(interval: taskstats.Interval) -> None:
    # A wide screen has two facts in a line.
    lines = Renderer(State(), COLUMNS, Limits()).lines(interval, (120, 60)).texts
    found = [text for text, _ in lines if text.startswith("WAIT ")]
    if interval.status("wait_pct") == "filled":
        (share,) = interval.sum(["cpu_delay_total_pct"])
        assert isinstance(share, float)
        assert found
        assert f" cpu {share:.0f}%" in found[0]
    off = interval.status("blkio_delay_total") == "off"
    assert off == any("other waits: sudo sysctl kernel.task_delayacct=1" in text for text in found)


def test_w_shows_them_in_five_ways() -> None:
    now, seen = State(columns=("pid", "command")), []
    for _ in range(6):
        now = press(now, "w")
        seen += [key for key in now.columns if key in WAIT_COLUMNS]
        assert now.notice == COLUMNS[seen[-1]].doc
    assert seen == [*WAIT_COLUMNS, WAIT_COLUMNS[0]]
    assert now.columns[-1] == "command"
    assert {"cpu_delay_max_ts", "irq_delay_max"} <= needed_fields(
        replace(now, columns=("wait_when",)), COLUMNS
    )


def test_a_form_that_is_not_shown_says_why() -> None:
    of_cpus_alone = {"cpu_delay_total": "filled", "cpu_delay_count": "filled"}

    def off(field: str) -> str:
        return of_cpus_alone.get(field, "off")

    told = {key: why_unknown(COLUMNS[key], off) for key in WAIT_COLUMNS}
    assert [key for key, why in told.items() if why] == ["wait_longest", "wait_when"]
    assert told["wait_longest"] == f"longest: {DELAYS_OFF}"
    assert len(told["wait_longest"]) <= 80
    # The longest is known, its end is not: of kernels before that.
    since = dict.fromkeys(COLUMNS["wait_longest"].fields, "filled")
    ends = why_unknown(COLUMNS["wait_when"], lambda field: since.get(field, "unsupported"))
    assert ends == "waited: unknown: this kernel or source lacks it"
    assert why_unknown(COLUMNS["pid"], off) == ""
    assert why_unknown(COLUMNS["wait_longest"], lambda _: "not read") == ""


def test_w_says_why_nothing_is_shown() -> None:
    live = Live("--source", "procfs", columns=120)
    try:
        live.until("Name")
        # The first view begins with the bar.
        said = [COLUMNS[key].doc for key in ("wait_pct", "wait_ms")]
        said += [f"{title}: unknown: this kernel or source" for title in ("longest", "waited")]
        for words in (*said, COLUMNS["wait"].doc):
            live.child.send("w")
            live.until(words)
    finally:
        live.child.kill(signal.SIGTERM)
        assert live.ended() == 128 + signal.SIGTERM


def test_the_longest_wait_comes_first() -> None:
    now = press(State(columns=("pid", "command")), "D")
    assert (now.sort, now.descending, "wait" in now.columns) == ("wait", True, True)
    # The order stays with the form.
    assert press(now, "w").sort == "wait_pct"
    assert not press(now, "D").descending
