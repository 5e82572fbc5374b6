"""The page of the machine's graphs: the same in the live view, its history and a replay."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
import taskstats
from live_view import PTOP, Live  # type: ignore[import-not-found]

from ptop.columns import READ_METERS
from ptop.live import keys, machine
from ptop.live.details import Series
from ptop.live.state import Setup, State

METERS = READ_METERS


@pytest.fixture(scope="module")
def intervals() -> list[taskstats.Interval]:
    with taskstats.Source("procfs", cpu_times=True, system=True, meters=METERS) as source:
        taken = []
        for _ in range(6):
            taken.append(source.snapshot())
            time.sleep(0.1)
    return [taskstats.usage(a, b) for a, b in itertools.pairwise(taken)]


def test_values_are_those_of_the_kernel_and_unknown_is_not_zero(
    intervals: list[taskstats.Interval],
) -> None:
    interval = intervals[0]
    found = dict(
        zip([label for label, _ in machine._LABELS], machine.values(interval), strict=True)
    )
    now, before = interval.cur.machine, interval.prev.machine
    memory = interval.cur.memory
    assert memory is not None
    assert found["memory"] == 1024 * (memory["mem_total_kb"] - memory["mem_available_kb"])
    assert found["cpu"] is not None
    assert 0 <= found["cpu"] <= 100
    assert now.disks is not None
    assert before.disks is not None
    written = sum(disk.written_bytes for disk in now.disks)
    written -= sum(disk.written_bytes for disk in before.disks)
    assert found["disk w"] == pytest.approx(written * 1e9 / interval.interval_ns)
    assert now.networks is not None
    assert before.networks is not None
    # What is not among the chosen ones does not count.
    none = machine.values(interval, disks=("no such disk",), networks=("no such network",))
    assert none[7:9] == (0.0, 0.0)
    assert none[10:] == (0.0, 0.0)
    with taskstats.Source("procfs", cpu_times=True, system=False) as source:
        first = source.snapshot()
        unread = machine.values(taskstats.usage(first, source.snapshot()))
    assert unread[1:] == (None,) * 11


def test_graphs_are_the_same_whichever_way_one_came(intervals: list[taskstats.Interval]) -> None:
    one_by_one, at_once = machine.Graphs(), machine.Graphs()
    for interval in intervals:
        one_by_one.follow(State(), interval, iter(()))
        while one_by_one.has_work:
            one_by_one.work()
    at_once.follow(State(), intervals[-1], iter(intervals[:-1]))
    while at_once.has_work:
        at_once.work()
    assert one_by_one.series() == at_once.series()
    assert len(at_once.series()[0].values) == len(intervals)
    # A step back ends at the frame that is shown.
    at_once.follow(State(), intervals[2], iter(()))
    assert len(at_once.series()[0].values) == 3
    # Other disks are other values.
    chosen = State(setup=Setup(disks=("no such disk",)))
    at_once.follow(chosen, intervals[-1], iter(()))
    assert len(at_once.series()[0].values) == 1


def test_more_intervals_than_cells_are_means() -> None:
    series = Series("cpu", "percent", [9.0, 1.0, 3.0, None, None, 5.0])
    found = machine.merged(series, 2)
    assert (list(found.bars), found.values[-1]) == ([5.0, 3.0, 5.0], 5.0)
    found = machine.merged(series, 4)
    assert list(found.bars) == [5.0, 4.0]


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (200, 60)])
def test_the_page_has_its_size(intervals: list[taskstats.Interval], size: tuple[int, int]) -> None:
    graphs = machine.Graphs()
    graphs.follow(State(), intervals[0], iter(()))
    state = State(width=size[0], height=size[1], mode=machine.MODE)
    lines = graphs.page(state, "", ascii_only=True)
    assert len(lines) == size[1]
    assert all(text.isascii() and len(text) <= size[0] for text, _ in lines[1:-1])


def test_keys_open_the_page_move_in_time_and_close_it() -> None:
    opened = keys.press(State(), "g")
    assert opened.mode == machine.MODE
    assert keys.press(opened, ",").request == "frame previous"
    assert keys.press(opened, "Esc").mode == "table"
    assert keys.press(State(layout="vim"), "Alt-g").mode == machine.MODE


def bars(live: Live) -> int:
    (line,) = [line for line in live.screen.display if line.startswith("cpu ")]
    return sum(line.count(step) for step in "▁▂▃▄▅▆▇█")


def test_the_page_begins_with_the_history_and_goes_back_with_it() -> None:
    live = Live("-d", "0.2", rows=30, columns=100)
    end = time.monotonic() + 30
    # The history has some frames when the page is opened.
    while live.raw.count(b"\x1b[") < 200 and time.monotonic() < end:
        live.pump()
    live.child.send("g")
    live.until("the machine up to")
    for words in ("memory", "disk w", "net in", "PSI cpu"):
        live.until(words)
    while bars(live) < 4:
        assert time.monotonic() < end, live.text()
        live.pump()
    live.child.send("Z")
    live.child.send(",")
    live.child.send(",")
    for _ in range(5):
        live.pump()
    known = bars(live)
    live.child.send(",")
    while bars(live) != known - 1:
        assert time.monotonic() < end, live.text()
        live.pump()
    live.child.send("\x1b")
    live.until("F1Help")
    live.child.send("q")
    assert live.ended() == 0


def test_a_replay_has_the_page(tmp_path: Path) -> None:
    path = tmp_path / "a.tsd"
    with (
        taskstats.Source("procfs", cpu_times=True, system=True, meters=METERS) as source,
        taskstats.Recorder(path) as recorder,
    ):
        for _ in range(6):
            recorder.write(source.snapshot())
            time.sleep(0.1)
    replay = ["sh", "-c", f'shift 2; exec {PTOP[0]} -m ptop replay "$@"', "ptop"]
    live = Live(str(path), "--at=-0s", command=replay, rows=30, columns=100)
    live.until("frame 5 of 5")
    live.child.send("g")
    live.until("5 intervals")
    assert bars(live) == 5
    live.child.send(",")
    live.until("4 intervals")
    live.child.send("q")
    live.until("F1Help")
    live.child.send("q")
    assert live.ended() == 0
