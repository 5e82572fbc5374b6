"""Screens of intervals as text."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import taskstats
from taskstats.screen import Canvas, Lines, Screen

SIZE = (100, 40)


@dataclass
class Column:
    source: str
    form: str
    title: str = ""
    unit: str = "#"
    width: int = 9
    right: bool = True
    summed: bool = False
    heading: str = ""
    rank: int = 0
    limits: tuple[float, float] | None = None


PID = Column("ac_pid", "integer", "pid")
USED = Column("total_ns", "integer", "used", width=12, summed=True)
SHARE = Column("total_pct", "percent", "total", summed=True)
NAME = Column("ac_comm", "name", "Name", width=15, right=False)
COLUMNS = (PID, USED, SHARE, NAME)


def screen(columns: tuple[Column, ...] = COLUMNS, **chosen: Any) -> Screen:
    asked: dict[str, Any] = {"user": str, "offset_s": lambda _: 0, "sort": "total_ns"} | chosen
    return Screen(columns, **asked)


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


def rows_of(lines: Lines, number: int | None = None) -> list[str]:
    """The lines of rows, without marks and fates."""
    texts = lines.texts
    begin = [style for _, style in texts].index("heading") + 1
    died = re.compile(r"died(, \w+ \d+)?: ")
    rows = [died.sub("", text[1:]).rstrip() for text, _ in texts[begin : begin + lines.room]]
    return rows[: lines.rows - lines.top if number is None else number]


def row(cells: tuple[Any, ...], no_sum: str = "-") -> str:
    pid, used, share, name = cells
    # The pids of several tasks make no sense for their group.
    return f"{no_sum if pid is None else pid:>9} {used:>12} {share:>9.2f} {name}"


def test_rows_are_those_of_the_interval(interval: taskstats.Interval) -> None:
    sources = [column.source for column in COLUMNS]
    name = Path("/proc/self/comm").read_text().strip()
    for rows in (interval, interval.fold("name")):
        for top, limit, text in ((0, 5, None), (2, 3, None), (0, None, name)):
            plain = rows.select(sources, sort="total_ns", text=text, limit=limit)
            seen = screen(text=text, limit=limit, top=top).lines(rows, None, (100, 60_000))
            assert rows_of(seen) == [row(cells, "·").rstrip() for cells in plain[top:]]
            assert seen.rows == len(plain)
            if not top:
                table = screen(text=text, limit=limit).table(rows)
                assert table[2:-1] == [row(cells) for cells in plain]
    (own,) = screen(pids=[os.getpid()]).table(interval)[2:-1]
    assert own.split()[0] == str(os.getpid())


def test_sums_are_of_all_rows(interval: taskstats.Interval) -> None:
    used, share = interval.sum(["total_ns", "total_pct"])
    assert used
    assert isinstance(share, float)
    last = screen(limit=1).table(interval)[-1]
    assert last.split() == [str(used), f"{share:.2f}"]
    assert screen((NAME, PID)).table(interval)[-1].strip() == ""


def test_what_rests_is_among_what_ran(
    needs: Callable[[bool, str], None], sleepers: list[int]
) -> None:
    report = next(report for report in taskstats.sources() if report.name == "bpf")
    needs(report.available, f"bpf: {report.reason}")
    keys = {"total_ns": int, "ac_comm": str, "ac_pid": int}
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
            both = [*interval.select([sort]), *(source.resting([sort]) or ())]
            expected = sorted((key for (key,) in both), reverse=descending)

            def shown(sort: str, descending: bool, top: int, height: int) -> list[Any]:
                form = "name" if sort == "ac_comm" else "integer"
                by = Column(sort, form, "by", width=20, right=False)
                view = screen((PID, by), sort=sort, descending=descending, top=top)
                lines = view.lines(interval, source, (100, height))
                assert lines.rows == len(interval) + interval.cur.unchanged
                return [keys[sort](text[10:]) for text in rows_of(lines)]

            assert shown(sort, descending, 0, len(both) + 20) == expected
            few = shown(sort, descending, 3, 25)
            assert few == expected[3 : 3 + len(few)]
            assert len(few) > 5
        five = screen((PID, NAME), limit=5).lines(interval, source, (100, 1000))
        assert five.rows == 5
        assert len(rows_of(five)) == 5
        # Unchanged tasks have their last values and no use.
        sources = [column.source for column in COLUMNS]
        rests = {row(cells) for cells in source.resting(sources) or ()}
        lines = rows_of(screen().lines(interval, source, (100, 60_000)))
        assert {text.rstrip() for text in rests} <= set(lines)
        totals = source.totals()
        assert totals
        counts = [
            Column("num_threads", "integer", summed=True),
            Column("tasks", "integer", summed=True),
        ]
        *_, sums, _keys = screen((*counts, NAME)).lines(interval, source, (100, 30)).texts
        assert sums[0].split()[-2:] == [str(totals["num_threads"]), str(totals["tasks"])]
        named = rows_of(screen(text="sleep").lines(interval, source, (100, 60_000)))
        found = {int(text.split()[0]) for text in named if text.endswith(" sleep")}
        assert found >= set(sleepers)
        # An interval of all tasks has no unchanged ones.
        assert screen().lines(interval, None, SIZE).rows == len(interval)


def test_users_and_the_zone_are_asked_once(interval: taskstats.Interval) -> None:
    asked: list[object] = []

    def user(uid: int) -> str:
        asked.append(uid)
        return f"user\x1b{uid}"

    def offset_s(time_s: int) -> int:
        asked.append("zone")
        assert time_s <= interval.cur.time_ns / 1e9 < time_s + 900
        return 3600

    made = screen((Column("ac_uid", "user", width=20),), user=user, offset_s=offset_s)
    for _ in range(3):
        drawn = made.lines(interval, None, (100, 1000))
        lines = [text for text, _ in drawn.texts]
    assert sorted(map(str, asked)) == sorted({*map(str, asked)})
    assert sum(text.strip() == "user␛0" for text in rows_of(drawn)) > 5
    local = time.gmtime(interval.cur.time_ns // 10**9 + 3600)
    assert lines[0].startswith(time.strftime("◉ LIVE %H:%M:%S", local))


def test_the_zone_is_asked_again_when_it_may_have_changed(interval: taskstats.Interval) -> None:
    forms = [interval.prev.to_bytes(), interval.cur.to_bytes()]

    def later(by_s: int) -> taskstats.Interval:
        """The same at another time."""
        moved = []
        for form, snapshot in zip(forms, (interval.prev, interval.cur), strict=True):
            for time_ns in {snapshot.time_ns, snapshot.end_time_ns}:
                assert form.count(struct.pack("<Q", time_ns)) == 1
                form = form.replace(
                    struct.pack("<Q", time_ns), struct.pack("<Q", time_ns + by_s * 10**9)
                )
            moved.append(taskstats.parse(form))
        return taskstats.usage(*moved)

    asked = []

    def offset_s(time_s: int) -> int:
        asked.append(time_s)
        return 3600 * len(asked)

    made = screen(offset_s=offset_s)
    for number, by_s in enumerate((0, 1800, 7 * 3600)):
        at = later(by_s)
        for _ in range(2):
            (first, _), *_ = made.lines(at, None, SIZE).texts
            local = time.gmtime(at.cur.time_ns // 10**9 + 3600 * (number + 1))
            assert first.startswith(time.strftime("◉ LIVE %H:%M:%S", local))
    assert [time_s % 900 for time_s in asked] == [0, 0, 0]


def test_an_error_of_who_is_asked_is_told(interval: taskstats.Interval) -> None:
    def user(uid: int) -> str:
        raise KeyError(uid)

    with pytest.raises(KeyError):
        screen((Column("ac_uid", "user"),), user=user).table(interval)
    wrong: Any = lambda _: 7  # noqa: E731
    with pytest.raises(TypeError):
        screen((Column("ac_uid", "user"),), user=wrong).table(interval)


def test_a_number_shows_until_the_name_is_known(interval: taskstats.Interval) -> None:
    names: dict[int, str] = {}
    users = Column("ac_uid", "user", width=8, right=False)
    shown = screen((users, PID), user=names.get, sort="ac_pid", descending=False, limit=1)
    uid, pid = interval.select(["ac_uid", "ac_pid"], sort="ac_pid", descending=False)[0]
    assert shown.table(interval)[2] == f"{uid:<8} {pid:>9}"
    assert isinstance(uid, int)
    names[uid] = "1000000001"
    # What is cut is no other name or number.
    assert shown.table(interval)[2] == f"1000000… {pid:>9}"


def test_the_selection_is_a_task(sleepers: list[int]) -> None:
    """Wherever it stands on the list, and until another one is selected after its death."""
    doomed = subprocess.Popen(["sleep", "600"])
    with taskstats.Source("procfs") as source:
        before = source.snapshot()
        interval = taskstats.usage(before, source.snapshot())
        wide = (120, 60_000)
        view = screen(sort="ac_pid", descending=False)
        lines = view.lines(interval, None, wide)
        rows = [int(text.split()[0]) for text in rows_of(lines)]
        assert rows == sorted(rows)
        at = rows.index(doomed.pid)
        key = lines.key(at)
        assert key is not None
        assert key.pid == doomed.pid
        assert lines.key(len(rows)) is None
        assert (lines.selected_row, lines.selected_key) == (None, None)
        for sort, descending in (("ac_pid", True), ("total_ns", True), ("ac_comm", False)):
            chosen: dict[str, Any] = {"sort": sort, "descending": descending, "selected_key": key}
            view.configure(COLUMNS, **chosen)
            lines = view.lines(interval, None, wide)
            assert lines.selected_row is not None
            assert lines.key(lines.selected_row) == key == lines.selected_key
            (selected,) = [text for text, style in lines.texts if style == "reverse"]
            assert selected.split()[0] == str(doomed.pid)
            # It is not on a low screen, unless that follows.
            low = screen(**chosen).lines(interval, None, (120, 10))
            assert (low.selected_row, low.top) == (lines.selected_row, 0)
            followed = screen(**chosen, follow=True).lines(interval, None, (120, 10))
            assert followed.selected_row == lines.selected_row
            assert followed.top == max(0, lines.selected_row + 1 - followed.room)
        view.configure(COLUMNS, sort="ac_pid", selected_key=key, text="no such name")
        hidden = view.lines(interval, None, wide)
        assert (hidden.selected_row, hidden.selected_key, hidden.died) == (None, key, False)
        # A group has the selected task where one of its members is it.
        view.configure(COLUMNS, sort="ac_pid", selected_key=key, fold="name")
        grouped = view.lines(interval.fold("name"), None, wide)
        (selected,) = [text for text, style in grouped.texts if style == "reverse"]
        assert selected.rstrip().endswith(" sleep")
        assert not grouped.died
        view.configure(COLUMNS, sort="ac_pid", descending=False, selected_key=key)
        assert view.lines(interval, None, wide).selected_row == at
        doomed.kill()
        doomed.wait()
        later = taskstats.usage(interval.cur, source.snapshot())
        later = taskstats.usage(later.cur, source.snapshot())
        for _ in range(2):
            lines = view.lines(later, None, wide)
            assert (lines.selected_key, lines.died) == (key, True)
            (selected,) = [text for text, style in lines.texts if style == "reverse"]
            assert selected.split()[0] == str(doomed.pid)
            assert " died" in selected
            assert selected.rstrip().endswith(": sleep")
        # The user moves on to the row that took its place.
        assert lines.selected_row is not None
        view.configure(COLUMNS, sort="ac_pid", descending=False, selected=lines.selected_row)
        moved = view.lines(later, None, wide)
        assert not moved.died
        assert moved.selected_key != key


def test_a_filter_shows_its_sums_and_share(interval: taskstats.Interval) -> None:
    pids = [os.getpid()]
    lines = screen(pids=pids).lines(interval, None, (100, 30))
    own, share = interval.select(["total_ns", "total_pct"], pids=pids)[0]
    (everything,) = interval.sum(["total_ns"])
    assert isinstance(own, int)
    assert isinstance(share, float)
    assert isinstance(everything, int)
    (told,) = [text.rstrip() for text, _ in lines.texts if text.startswith("filter")]
    part = f"{100 * own / everything:.1f}%"
    assert told == f"filter of 1 pids: 1 of {len(interval)} rows, {part} of the tasks' CPU time"
    (sums,) = [text.split() for text, style in lines.texts if style == "bold"]
    assert sums == [str(own), f"{share:.2f}"]
    assert not any(
        text.startswith("filter") for text, _ in screen().lines(interval, None, SIZE).texts
    )


def test_columns_that_the_source_does_not_fill_are_not_shown(
    interval: taskstats.Interval,
) -> None:
    absent = Column("cpu_delay_max", "integer", "longest")
    assert interval.status("cpu_delay_max") not in {"filled", "not read"}

    def headings(sort: str) -> str:
        lines = screen((PID, absent, NAME), sort=sort).lines(interval, None, SIZE)
        return next(text for text, style in lines.texts if style == "heading")

    assert "longest" not in headings("ac_pid")
    assert "longest" in headings("cpu_delay_max"), "rows are sorted by it"


COMMAND = Column("ac_comm", "command", "Command", width=30, right=False)


def reads() -> int:
    """How many times this process has called read(2), without those of this function."""
    text = Path("/proc/self/io").read_text()
    return int(text.split("syscr: ")[1].split()[0])


def test_the_command_line_of_a_sleeper_is_read_once(sleepers: list[int]) -> None:
    with taskstats.Source("procfs") as source:
        before = source.snapshot()
        interval = taskstats.usage(before, source.snapshot())
        view = screen((PID, COMMAND), sort="ac_pid", pids=sleepers)
        first = view.lines(interval, None, SIZE)
        assert [text.split(maxsplit=1)[1] for text in rows_of(first)] == ["sleep 600"] * 20
        start = reads()
        own = reads() - start
        start = reads()
        for _ in range(10):
            assert rows_of(view.lines(interval, None, SIZE)) == rows_of(first)
        assert reads() - start == own
        # A row that is not on the screen is not read.
        other = screen((PID, COMMAND), sort="ac_pid", pids=sleepers, text="no such name")
        other.lines(interval, None, SIZE)
        start = reads()
        other.lines(interval, None, SIZE)
        assert reads() - start == own


def test_the_command_line_follows_an_exec_and_outlives_the_task() -> None:
    with (
        taskstats.Source("procfs") as source,
        subprocess.Popen(["sh", "-c", "read x; exec sleep 31415"], stdin=subprocess.PIPE) as task,
    ):
        assert task.stdin is not None

        def shown() -> str:
            interval = taskstats.usage(before, source.snapshot())
            (line,) = rows_of(view.lines(interval, None, SIZE), 1)
            return line.split(maxsplit=1)[1]

        before = source.snapshot()
        view = screen((PID, COMMAND), sort="ac_pid", pids=[task.pid])
        assert shown() == "sh -c read x; exec sleep 31415"
        task.stdin.write(b"\n")
        task.stdin.close()
        comm = Path(f"/proc/{task.pid}/comm")
        while comm.read_text() != "sleep\n":
            time.sleep(0.01)
        last = taskstats.usage(before, source.snapshot())
        assert shown() == "sleep 31415"
        task.kill()
        task.wait()
        (line,) = rows_of(view.lines(last, None, SIZE), 1)
        assert line.split(maxsplit=1)[1] == "sleep 31415"


@pytest.mark.parametrize("name", ["bpf", "procfs"])
def test_a_program_that_executes_itself_shows_its_new_arguments(
    name: str, needs: Callable[[bool, str], None]
) -> None:
    report = next(report for report in taskstats.sources() if report.name == name)
    needs(report.available, f"{name}: {report.reason}")
    script = "read x; exec sh -c 'read y; exit' second"
    with (
        taskstats.Source(name) as source,
        subprocess.Popen(["sh", "-c", script, "first"], stdin=subprocess.PIPE) as task,
    ):
        assert task.stdin is not None
        command = Path(f"/proc/{task.pid}/cmdline")
        view = screen((PID, COMMAND), sort="ac_pid", pids=[task.pid])

        def shown() -> str:
            interval = taskstats.usage(before, source.snapshot())
            (line,) = rows_of(view.lines(interval, None, SIZE), 1)
            return line.split(maxsplit=1)[1]

        before = source.snapshot()
        # What has just started is read again at each of its intervals.
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            time.sleep(0.1)
        assert shown().endswith(" first")
        start = reads()
        own = reads() - start
        last = taskstats.usage(before, source.snapshot())
        start = reads()
        view.lines(last, None, SIZE)
        assert reads() - start == own, "it sleeps"
        task.stdin.write(b"\n")
        task.stdin.flush()
        while not command.read_bytes().endswith(b"\0second\0"):
            time.sleep(0.01)
        assert shown().endswith(" second")


def test_the_name_of_a_program_is_bold_and_its_arguments_scroll(sleepers: list[int]) -> None:
    with taskstats.Source("procfs") as source:
        before = source.snapshot()
        interval = taskstats.usage(before, source.snapshot())

    def parts(scroll: int) -> list[tuple[str, str]]:
        view = screen((COMMAND,), sort="ac_pid", pids=sleepers[:1], scroll=scroll)
        lines = view.lines(interval, None, SIZE)
        begin = [style for _, style in lines.texts].index("heading") + 1
        return [(text, style) for text, style in lines.parts[begin] if text.strip()]

    assert parts(0) == [("sleep", "bold"), (" 600", "dim")]
    assert parts(3) == [("ep", "bold"), (" 600", "dim")]
    assert parts(6) == [("600", "dim")]
    assert parts(60) == []


def test_only_lines_that_change_are_written() -> None:
    canvas = Canvas(clear="<clear>", lines=["<0>", "<1>"], styles={"bold": "<b>"}, normal="<n>")
    assert canvas.draw(Lines([("a", "bold")], (2, 2))) == "<clear><0><b>a <n><1>  "
    assert canvas.draw(Lines([("a", "bold")], (2, 2))) == ""
    assert canvas.draw(Lines([("a", "plain")], (2, 2))) == "<0>a "
    assert canvas.draw(Lines([("a", "plain"), ("日", "reverse")], (2, 2))) == "<1>日"
    # What the terminal has no line for is nowhere.
    assert canvas.draw(Lines([("a", "plain"), ("日", "reverse"), ("c", "plain")], (2, 3))) == ""


def test_what_is_not_known_is_an_error(interval: taskstats.Interval) -> None:
    with pytest.raises(ValueError, match='no column "foo"'):
        screen((Column("foo", "name"),))
    with pytest.raises(ValueError, match='no column "foo"'):
        screen(sort="foo")
    with pytest.raises(TypeError, match='no argument "colour": choose sort, descending'):
        screen(colour=True)
    with pytest.raises(TypeError, match="argument sort is missing"):
        Screen((PID,), user=str, offset_s=lambda _: 0)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match='no form "foo": choose percent, integer'):
        screen((Column("ac_pid", "foo"),))
    wrong: Any = [("a", "blinking")]
    with pytest.raises(ValueError, match='no style "blinking": plain, bold or reverse'):
        Lines(wrong, SIZE)
