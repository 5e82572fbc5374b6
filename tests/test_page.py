"""Pages: the rows of a screen, from one interval to the next."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import taskstats

COLUMNS = ["ac_pid", "ac_comm", "total_ns", "total_pct", "ac_nice"]


@pytest.fixture
def interval() -> taskstats.Interval:
    with taskstats.Source("procfs") as source:
        before = source.snapshot()
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
        return taskstats.usage(before, source.snapshot())


@pytest.fixture
def sleepers() -> Iterator[list[int]]:
    running = [subprocess.Popen(["sleep", "600"]) for _ in range(20)]
    # Until they are asleep.
    time.sleep(0.3)
    yield [process.pid for process in running]
    for process in running:
        process.kill()
        process.wait()


def rounded(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(round(cell, 2) if isinstance(cell, float) else cell for cell in row)


def test_rows_are_those_of_the_interval_with_shares_as_they_are_shown(
    interval: taskstats.Interval,
) -> None:
    page = taskstats.Page(COLUMNS)
    name = Path("/proc/self/comm").read_text().strip()
    for rows in (interval, interval.fold("name")):
        for offset, limit, text in ((0, 5, None), (2, 3, None), (0, None, name)):
            asked = {"sort": "total_ns", "offset": offset, "limit": limit, "text": text}
            given = page.select(rows, **asked)  # type: ignore[arg-type]
            plain = rows.select(COLUMNS, **asked)  # type: ignore[arg-type]
            assert given == [pytest.approx(rounded(row)) for row in plain]
            assert given
    (own,) = page.select(interval, pids=[os.getpid()])
    assert own[3] == round(own[3], 2) > 0  # type: ignore[arg-type]
    assert taskstats.Page(["total_pct"], digits=0).select(interval, limit=1)[0][0] in range(1000)


def test_a_row_that_did_not_change_is_the_same_object_wherever_it_stands(
    interval: taskstats.Interval,
) -> None:
    page = taskstats.Page(COLUMNS)
    first = page.select(interval, sort="ac_pid", descending=False)
    again = page.select(interval, sort="ac_pid", descending=True)
    assert [id(row) for row in again] == [id(row) for row in reversed(first)]
    # What was not given the last time is not known any more.
    page.select(interval, limit=1)
    fresh = page.select(interval, sort="ac_pid", descending=True)
    assert fresh == again
    assert sum(one is other for one, other in zip(fresh, again, strict=True)) == 1


def test_what_rests_is_among_what_ran(
    needs: Callable[[bool, str], None], sleepers: list[int]
) -> None:
    report = next(report for report in taskstats.sources() if report.name == "bpf")
    needs(report.available, f"bpf: {report.reason}")
    page = taskstats.Page(COLUMNS)
    with taskstats.Source("bpf", exact=True, changed=True) as source:
        before = source.snapshot()
        time.sleep(0.2)
        interval = taskstats.usage(before, source.snapshot())
        assert interval.cur.unchanged
        for sort, descending in (
            ("total_ns", True),
            ("total_ns", False),
            ("ac_comm", True),
            ("ac_pid", False),
        ):
            both = [
                *interval.select([*COLUMNS, sort]),
                *(source.resting([*COLUMNS, sort]) or ()),
            ]
            keys = sorted((row[-1] for row in both), reverse=descending)
            rows = page.select(interval, resting=source, sort=sort, descending=descending)
            place = [*COLUMNS].index(sort)
            assert [row[place] for row in rows] == keys
            assert sorted(rows) == sorted(rounded(row[:-1]) for row in both)
            part = page.select(
                interval, resting=source, sort=sort, descending=descending, offset=3, limit=10
            )
            assert [row[place] for row in part] == keys[3:13]
        named = page.select(interval, resting=source, text="sleep")
        assert {row[0] for row in named} >= set(sleepers)
        # Nothing is resting where the interval has all tasks.
        assert len(page.select(interval)) == len(interval)


def test_an_unknown_column_is_an_error(interval: taskstats.Interval) -> None:
    with pytest.raises(ValueError, match='no column "foo"'):
        taskstats.Page(["foo"])
    with pytest.raises(ValueError, match='no column "foo"'):
        taskstats.Page(["ac_pid"]).select(interval, sort="foo")
