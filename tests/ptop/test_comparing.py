"""Two spans compared: live, in the history, and in a replay."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import taskstats
from live_view import PTOP, Live  # type: ignore[import-not-found]
from taskstats.recorded import Frames

from ptop.columns import COLUMNS
from ptop.feed import FrameFeed, RecordedFeed
from ptop.history_feed import HistoryFeed
from ptop.live import comparing, pages
from ptop.live.comparing import Marks, Spans, changes
from ptop.live.history import Writing
from ptop.live.keys import press
from ptop.live.state import State
from ptop.values import replace

FIELDS = {"ac_uid", "ac_comm", "ac_ppid", "ac_sum_exec_ns", "ac_utime", "ac_stime"}
FRAMES = 6


def spin(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        os.getppid()


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FrameFeed]:
    """The same frames in a history and in a recording. This process works from the fourth on, and
    a child that dies does in the fifth."""
    feed = HistoryFeed(
        taskstats.Source(exact=True, changed=True, cpu_times=True), taskstats.History()
    )
    feed.configure(False, FIELDS)
    feed.advance()
    while len(feed.history) < FRAMES:
        spin(0.1 if len(feed.history) >= 3 else 0.001)
        if len(feed.history) == 4:
            busy = (
                "end=$(($(date +%s%N) + 100000000)); while [ $(date +%s%N) -lt $end ]; do :; done"
            )
            subprocess.run(["sh", "-c", busy], check=True)
        feed.advance()
    path = tmp_path_factory.mktemp("spans") / "kept.tsd"
    writing = Writing(feed.history, str(path), True, "")
    while writing.go_on() is None:
        pass
    return {"history": feed, "replay": RecordedFeed(Frames(taskstats.open(path)), 1)}


def go(feed: FrameFeed, number: int) -> None:
    """Goes to the frame of a number of the history; those of a recording begin with 1."""
    number += isinstance(feed, RecordedFeed)
    while feed.number != number:
        assert feed.number is not None
        assert feed.step(1 if feed.number < number else -1)


def own_pct(feed: FrameFeed, numbers: range) -> float:
    """The CPU time of this process in some frames, in per cent."""
    used = length = 0
    for number in numbers:
        go(feed, number)
        interval = feed.interval  # type: ignore[attr-defined]
        used += sum(int(ns or 0) for (ns,) in interval.select(["total_ns"], pids=[os.getpid()]))
        length += interval.interval_ns
    return 100 * used / length


@pytest.mark.parametrize("name", ["history", "replay"])
def test_one_mark_shows_what_happened_since(feeds: dict[str, FrameFeed], name: str) -> None:
    feed, marks = feeds[name], Marks()
    assert "nothing is marked" in marks.compare(feed)[1]
    go(feed, 2)
    assert "= shows what happened" in marks.add(feed)
    assert "go to another one" in marks.compare(feed)[1]
    go(feed, 5)
    found, message = marks.compare(feed)
    assert isinstance(found, taskstats.Interval)
    assert message.startswith("what happened from ")
    own = [os.getpid()]
    used = 0
    for number in (3, 4, 5):
        go(feed, number)
        interval = feed.interval  # type: ignore[attr-defined]
        used += sum(int(ns or 0) for (ns,) in interval.select(["total_ns"], pids=own))
    assert found.select(["total_ns"], pids=own) == [(used,)]
    assert "sh" in {title for (title,) in found.select(["title"])}, "the dead are there"
    assert "date" in {title for (title,) in found.select(["title"])}, "those of between too"
    feed.show_span(found)
    assert feed.interval is found  # type: ignore[attr-defined]
    # The next mark is the first of others.
    assert "= shows what happened" in marks.add(feed)


@pytest.mark.parametrize("name", ["history", "replay"])
@pytest.mark.parametrize("count", [2, 3])
def test_more_marks_compare_two_spans(feeds: dict[str, FrameFeed], name: str, count: int) -> None:
    feed, marks = feeds[name], Marks()
    for number in (0, 2, 3)[:count]:
        go(feed, number)
        marks.add(feed)
    go(feed, 5)
    spans, message = marks.compare(feed)
    assert isinstance(spans, Spans), message
    expected = [own_pct(feed, numbers) for numbers in (range(1, 3), range(count + 1, 6))]
    own = f"{os.getpid()} {Path('/proc/self/comm').read_text().strip()}"
    ((before, after, change),) = [
        row[:3] for row in changes(spans.a, spans.b, "task", "total_pct") if row[3] == own
    ]
    assert [before, after] == pytest.approx(expected)
    assert change == pytest.approx(expected[1] - expected[0])
    for by in comparing.BY:
        rows = changes(spans.a, spans.b, by, "total_pct")
        sizes = [abs(change) for _, _, change, _ in rows if change is not None]
        assert sizes == sorted(sizes, reverse=True)
        total = [spans.a.sum(["total_pct"])[0], spans.b.sum(["total_pct"])[0]]
        sums = [sum(a or 0 for a, _, _, _ in rows), sum(b or 0 for _, b, _, _ in rows)]
        assert sums == pytest.approx(total), by
    dead = [row for row in changes(spans.a, spans.b, "name", "total_pct") if row[3] == "date"]
    assert all(b != 0 for _, b, _, _ in dead)
    assert dead


def test_a_gap_is_told(feeds: dict[str, FrameFeed]) -> None:
    history = HistoryFeed(
        taskstats.Source(exact=True, changed=True, cpu_times=True), taskstats.History()
    )
    marks = Marks()
    assert "nothing to mark" in marks.add(history)
    history.configure(False, FIELDS)
    for _ in range(3):
        history.advance()
    marks.add(history)
    history.configure(True, FIELDS)
    for _ in range(3):
        history.advance()
    assert "a gap lies in between" in marks.compare(history)[1]


def test_the_page_goes_through_what_rows_are_of(feeds: dict[str, FrameFeed]) -> None:
    feed, marks = feeds["replay"], Marks()
    for number in (0, 2):
        go(feed, number)
        marks.add(feed)
    go(feed, 5)
    spans, _ = marks.compare(feed)
    assert isinstance(spans, Spans)
    state = comparing.opened(State(group_by="user", recorded=True), spans.title)
    seen = []
    for _ in comparing.BY:
        seen.append(state.comparing.by)
        state = comparing.filled(state, spans, COLUMNS)
        page = pages.compare_page(state, 24)
        assert len(page) == 24
        assert page[0][0].startswith("A ")
        assert page[1][0].endswith(f"by {seen[-1]}")
        assert all(len(text.split()) >= 3 for text in state.labels)
        state = press(state, "Tab")
        assert state.request == "compare"
    assert seen == ["user", "cgroup", "task", "name"]
    # A column that is no rate has none to compare.
    state = comparing.filled(replace(state, sort="rss_kb"), spans, COLUMNS)
    assert COLUMNS["total_pct"].title in state.comparing.head
    assert press(state, "Esc").mode == "table"


def test_spans_are_compared_by_keys() -> None:
    live = Live(columns=110)
    live.until("◉ LIVE")
    for wait in ("= shows", "= compares what was between"):
        live.child.send("m")
        live.until(wait)
        time.sleep(1)
    live.child.send("=")
    live.until("by task")
    live.child.send("\t")
    live.until("by name")
    live.child.send("\x1b")
    live.until("F1Help")
    live.child.send("q")
    assert live.ended() == 0


def test_keys_compare_in_a_replay(feeds: dict[str, FrameFeed]) -> None:
    feed = feeds["replay"]
    assert isinstance(feed, RecordedFeed)
    # A replay has no delay, which `Live` adds.
    replay = shlex.join([*PTOP, "replay", str(feed.frames.dump.path)])
    live = Live(command=["sh", "-c", f"exec {replay}"], columns=110)
    live.until("frame ")
    live.child.send("Z^m")
    live.until("= shows")
    live.child.send("$")
    live.until(f"frame {FRAMES}")
    live.child.send("=")
    live.until("what happened from")
    live.child.send("q")
    assert live.ended() == 0


def test_a_task_that_changed_its_name_is_one(needs: Callable[[bool, str], None]) -> None:
    """Tasks are matched by pid and start where the source numbers them."""
    name = Path("/proc/self/comm")
    before = name.read_text().rstrip("\n")
    with taskstats.Source(changed=True) as source:
        needs(source.name in {"bpf", "proc"}, "tasks have no numbers")
        ends = [source.snapshot()]
        for title in ("one-name", "other-name"):
            name.write_text(title)
            spin(0.01)
            ends.append(source.snapshot())
    name.write_text(before)
    a, b = taskstats.usage(ends[0], ends[1]), taskstats.usage(ends[1], ends[2])
    rows = [
        row for row in changes(a, b, "task", "total_ns") if row[3].startswith(f"{os.getpid()} ")
    ]
    assert [row[3] for row in rows] == [f"{os.getpid()} other-name"]
    assert all(row[0] and row[1] for row in rows)
