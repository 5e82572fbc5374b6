"""Replay: the same screens as live, every way through a recording, and error messages."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pyte
import pytest
import taskstats
from hypothesis import given
from hypothesis import strategies as st
from machine import damage, record  # type: ignore[import-not-found]
from taskstats.recorded import Frames

from ptop.columns import COLUMN_SETS, COLUMNS
from ptop.feed import LiveFeed, RecordedFeed, recorded_intervals
from ptop.live import keys
from ptop.live.keys import press
from ptop.live.state import FASTEST, Limits, State
from ptop.live.tree import Tree
from ptop.live.view import Renderer, needed_fields
from ptop.spikes import stands_out
from ptop.times import parse_end, parse_time
from ptop.values import replace

SIZE = (100, 40)


class Tee:
    """A source that records the snapshots it takes."""

    notice = ""

    def __init__(self, source: taskstats.Source, recorder: taskstats.Recorder) -> None:
        self.source, self.recorder = source, recorder

    def configure(self, **wanted: Any) -> None:
        self.source.configure(**wanted)

    def snapshot(self) -> taskstats.Snapshot:
        snapshot = self.source.snapshot()
        self.recorder.write(snapshot)
        return snapshot


def frames_of(path: Path) -> Frames:
    return Frames(taskstats.open(path), errors="skip")


def screen(
    interval: taskstats.Interval,
    state: State,
    user: Callable[[int], str | None] = taskstats.user_name,
) -> list[tuple[str, str]]:
    shown = Renderer(state, COLUMNS, Limits(), user).lines(interval, SIZE)
    return [*shown.texts]


@pytest.mark.parametrize("name", ["live", "snap", "tree"])
@pytest.mark.parametrize("fold", ["", "parent", "user", "cgroup"])
@pytest.mark.parametrize("full_every", [1, 2])
def test_a_replayed_screen_is_the_live_one(
    source: taskstats.Source, tmp_path: Path, name: str, fold: str, full_every: int
) -> None:
    path = tmp_path / "live.tsd"
    opened = taskstats.Source(source.name, exact=True, cpu_times=True, system=True)
    chosen = COLUMN_SETS[name]
    # Live command lines are read a moment later, and those of the dead may be unknown.
    columns = tuple("name" if key == "command" else key for key in chosen.columns)
    state = State(columns=columns, sort=chosen.sort, group_by=fold, tree=Tree(chosen.tree))
    if full_every > 1:
        # Snapshots stored as changes are off by a fraction of a millisecond in a task's age.
        kept = tuple(key for key in state.columns if key != "ac_etime")
        state = replace(state, columns=kept)
    screens = []
    with taskstats.Recorder(path, full_every=full_every) as recorder:
        live = LiveFeed(Tee(opened, recorder))  # type: ignore[arg-type]
        live.configure(False, needed_fields(state, COLUMNS))
        for _ in range(6):
            live.advance()
            if live.interval is not None:
                screens.append(screen(live.interval, state))
                assert any(f"({opened.precision})" in text for text, _ in screens[-1])
            time.sleep(0.1)
    frames = frames_of(path)

    def user(uid: int) -> str:
        return frames.dump.user(uid) or "nobody knows"

    replayed = recorded_intervals(RecordedFeed(frames, 1), None)
    assert [screen(interval, state, user) for interval in replayed] == screens
    assert len({str(lines) for lines in screens}) == 5, "the screens differ"


def test_a_replay_shows_recorded_command_lines_and_its_place(tmp_path: Path) -> None:
    path = tmp_path / "named.tsd"
    with subprocess.Popen(["sleep", "31415"]) as sleeper:
        with taskstats.Source("procfs") as source, taskstats.Recorder(path) as recorder:
            for _ in range(3):
                recorder.write(source.snapshot())
        sleeper.kill()
    feed = RecordedFeed(frames_of(path), 1)
    assert feed.interval is not None
    renderer = Renderer(State(), COLUMNS, Limits(pids=(sleeper.pid,)))
    lines = renderer.lines(feed.interval, SIZE, replay=feed.place)
    assert any(text.rstrip().endswith(" sleep 31415") for text, _ in lines.texts)
    assert lines.parts[0][0] == ("REPLAY", "reverse")
    assert feed.place in lines.texts[0][0]
    assert "frame 1 of 2" in feed.place


def test_users_are_those_of_the_recorded_machine(recording: Path) -> None:
    interval = frames_of(recording).interval(1)
    assert interval is not None
    state = State(columns=("USER", "uid", "pid"), sort="uid", descending=False)
    shown = screen(interval, state, lambda uid: f"admin {uid}\x1b[2J")
    assert any(text.startswith(" admin 0…      0 ") for text, _ in shown)
    assert not any("root" in text for text, _ in shown)


def test_a_replay_names_users_as_the_recorded_machine_did(
    tmp_path: Path, needs: Callable[[bool, str], None]
) -> None:
    needs(os.geteuid() == 0, "needs root to give a machine other users")
    path, users = tmp_path / "elsewhere.tsd", tmp_path / "passwd"
    users.write_text("admin:x:0:0::/root:/bin/sh\n")
    record = [sys.executable, "-m", "ptop", "record", "-d", "0.2", "--for", "0.4", "-o", str(path)]
    elsewhere = 'mount --bind "$1" /etc/passwd && shift && exec "$@"'
    words = ["unshare", "-m", "sh", "-c", elsewhere, "sh", str(users), *record]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    words = [sys.executable, "-m", "ptop", "replay", str(path), "-b", "--columns", "USER,uid,name"]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert sum(row[:2] == ["admin", "0"] for row in rows) > 5
    assert not any(row[:1] == ["root"] for row in rows)
    # The same on the screen.
    screen, child = (
        pyte.Screen(80, 24),
        pexpect.spawn(
            sys.executable,
            ["-m", "ptop", "replay", str(path), "--sort", "uid"],
            dimensions=(24, 80),
        ),
    )
    stream, end = pyte.ByteStream(screen), time.monotonic() + 15
    while not any(" admin " in line for line in screen.display):
        assert time.monotonic() < end, screen.display
        with contextlib.suppress(pexpect.TIMEOUT):
            written = child.read_nonblocking(65536, timeout=0.2)
            assert isinstance(written, bytes)
            stream.feed(written)
    assert not any(" root " in line for line in screen.display)
    child.close(force=True)


def test_a_jump_equals_a_live_view_started_there(recording: Path) -> None:
    frames = frames_of(recording)
    feed = RecordedFeed(frames, 1)
    for index in (5, 2, 7, 7, 1):
        assert feed.show(index)
        started = taskstats.usage(frames.dump[index - 1], frames.dump[index])
        assert feed.interval is not None
        assert feed.interval.cur.time_ns == started.cur.time_ns
        totals = ["total_ns", "ac_minflt_delta"]
        assert feed.interval.sum(totals) == started.sum(totals)


def split_of(feed: RecordedFeed) -> list[tuple[Any, ...]]:
    assert feed.interval is not None
    return feed.interval.select(["ac_pid", "user_ns", "system_ns"])


def test_every_step_in_both_directions(recording: Path) -> None:
    feed = RecordedFeed(frames_of(recording), 1)
    seen = [feed.index]
    while feed.step(1):
        seen.append(feed.index)
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    splits = [split_of(feed)]
    assert not feed.advance()
    while feed.step(-1):
        seen.append(feed.index)
        splits.append(split_of(feed))
    # The same frames again, forwards.
    while feed.step(1):
        assert split_of(feed) == splits[7 - feed.index]
    assert seen[7:] == [6, 5, 4, 3, 2, 1]
    assert feed.go_to_end(last=True)
    assert feed.index == 7


def test_a_time_selects_the_interval_that_contains_it(recording: Path) -> None:
    frames = frames_of(recording)
    times = frames.times_ns
    assert times == [snapshot.time_ns for snapshot in frames.dump]
    for index in range(1, len(times)):
        assert frames.at(times[index]) == index
        assert frames.at(times[index] - 1) == index
        assert frames.at(times[index - 1] + 1) == index
    assert frames.at(0) == 1
    assert frames.at(2**63) == len(times) - 1


def test_no_interval_spans_a_change_of_threads(tmp_path: Path) -> None:
    path = tmp_path / "mixed.tsd"
    with taskstats.Recorder(path) as recorder, taskstats.Source("procfs") as source:
        for threads in (False, False, True, True):
            source.configure(threads=threads)
            recorder.write(source.snapshot())
    frames = frames_of(path)
    assert [frames.interval(index) is None for index in range(5)] == [
        *(True, False, True, False, True),
    ]  # fmt: skip
    assert frames.step(1, 1) == 3
    assert len(list(frames.intervals())) == 2


def test_no_interval_spans_a_gap_between_recorders(tmp_path: Path) -> None:
    path = tmp_path / "again.tsd"
    record(path, 3)
    # The second recorder has used less CPU time than the first.
    code = f"from machine import record; from pathlib import Path; record(Path({str(path)!r}), 2)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
    frames = frames_of(path)
    assert [index for index in range(5) if frames.interval(index)] == [1, 2, 4]


def test_damaged_snapshots_are_left_out_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "damaged.tsd"
    record(path, 8, full_every=1, level=None)
    damage(path, 3)
    frames = frames_of(path)
    feed = RecordedFeed(frames, 1)
    assert feed.advance()
    assert (feed.index, feed.notice) == (2, "")
    # Both intervals that the damaged snapshot belongs to are left out.
    assert feed.advance()
    assert feed.index == 5
    # The notice has the reason first, and no file name.
    assert feed.notice.startswith("snapshot 3 left out: ")
    assert ".tsd" not in feed.notice
    assert list(frames.lost) == [3]
    assert feed.step(-1)
    assert feed.index == 2
    assert feed.notice.startswith("snapshot 3 left out: ")
    with pytest.warns(taskstats.DamageWarning, match="1 part"):
        assert len(list(frames.intervals())) == 5
    done = run("replay", str(path), "--format", "json")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 5
    assert "1 of 8 snapshots were left out, the first of them 3: " in done.stderr
    assert f"type: ptop check {path}" in done.stderr


def test_a_torn_tail_is_left_out(tmp_path: Path) -> None:
    path, torn = tmp_path / "whole.tsd", tmp_path / "torn.tsd"
    record(path, 5, full_every=1)
    whole = path.read_bytes()
    torn.write_bytes(whole[: len(whole) * 3 // 4])
    frames, all_frames = frames_of(torn), frames_of(path)
    assert 1 < len(frames) < len(all_frames)
    assert frames.times_ns == all_frames.times_ns[: len(frames)]
    assert frames.step(len(frames), -1) == len(frames) - 1
    ((begin, end),) = frames.dump.gaps
    assert end == len(whole) * 3 // 4
    for words in (["replay", "-b"], ["report"], ["export", "--columns", "ac_pid"]):
        done = run(words[0], str(torn), *words[1:])
        assert done.returncode == 0
        assert done.stderr == (
            f"ptop: {torn}: {end - begin} of {end} bytes cannot be read, from byte {begin} on\n"
            f"type: ptop check {torn}\n"
        )
    # The same for a file that has only the beginning of a snapshot.
    torn.write_bytes(whole[:100])
    done = run("replay", str(torn), "-b")
    assert done.returncode == 2
    assert "no two snapshots of one boot" in done.stderr
    assert (
        f"84 of 100 bytes cannot be read, from byte 16 on\ntype: ptop check {torn}" in done.stderr
    )


def test_a_time_outside_the_recording_is_reported(recording: Path) -> None:
    times = taskstats.open(recording).times_ns
    for at, frame in (("2020-01-01", 1), ("2040-01-01", 7)):
        done = run("replay", str(recording), "--format", "json", f"--at={at}")
        assert done.returncode == 0
        assert json.loads(done.stdout)["time"] == times[frame] / 1e9
        assert f"no interval at {at}, this is the nearest; the recording holds 20" in done.stderr


@pytest.mark.parametrize("heights", [[1.0, 1.1, 0.9, 1.0, 1.0, 9.0, 8.0, 1.0, 9.0]])
def test_a_spike_is_found_at_its_beginning(heights: list[float]) -> None:
    known = [stands_out(height, heights[:index]) for index, height in enumerate(heights)]
    assert known == [False, False, False, False, False, True, False, False, True]


@pytest.fixture(scope="module")
def bursts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording in whose frames 4 and 8 a file was written."""
    path = tmp_path_factory.mktemp("bursts") / "bursts.tsd"
    junk = path.with_name("junk")
    with (
        taskstats.Recorder(path) as recorder,
        taskstats.Source("procfs", exact=True) as source,
    ):
        for index in range(11):
            if index in {4, 8}:
                junk.write_bytes(bytes(1 << 22))
            recorder.write(source.snapshot())
            time.sleep(0.02)
    return path


def test_the_feed_goes_to_spikes_from_both_sides(
    bursts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ptop import feed as feeds
    from ptop import spikes

    # Of this process alone, so that other processes do not matter; in MiB, because it also
    # writes the recording.
    def height(interval: taskstats.Interval, column: str) -> spikes.Peak:
        rows = interval.select([column], pids=[os.getpid()])
        return float(rows[0][0] or 0) // (1 << 20), math.nan

    monkeypatch.setattr(spikes, "peak", height)
    monkeypatch.setattr(spikes, "PASS_FRAMES", 2)
    feed = RecordedFeed(frames_of(bursts), 1)
    column = "write_char_delta"
    assert feed.spike(column, 1) == ""
    assert feed.index == 4
    assert feed.spike(column, 1) == ""
    assert feed.index == 8
    assert feed.spike(column, 1) == "none at all"
    assert feed.index == 8
    feed.go_to_end(last=True)
    assert [feed.spike(column, -1), feed.index] == ["", 8]
    assert [feed.spike(column, -1), feed.index] == ["", 4]
    assert feed.spike(column, -1) == "none at all"
    # A search that takes too long continues with the next key.
    monkeypatch.setattr(feeds, "SEARCH_S", -1.0)
    again = RecordedFeed(frames_of(bursts), 1)
    assert "the same key looks further" in again.spike(column, 1)
    assert again.index == 1


def test_text_has_no_spikes(recording: Path) -> None:
    feed = RecordedFeed(frames_of(recording), 1)
    assert feed.spike("ac_comm", 1) == "none at all"
    assert feed.index == 1


@given(st.lists(st.floats(0, 100) | st.just(math.nan)), st.floats(0, 100))
def test_a_usual_value_is_no_spike(before: list[float], value: float) -> None:
    known = sorted(other for other in before if not math.isnan(other))
    if not known or value <= 2 * known[len(known) // 2]:
        assert not stands_out(value, before)
    elif len(set(known)) == 1:
        assert stands_out(value, before)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+90s", 90.0),
        ("-5m", -300.0),
        ("+1.5h", 5400.0),
        ("-1d", -86_400.0),
        ("12:00:30", 30.0),
        ("11:59", -60.0),
        ("23:00", 11 * 3600.0),
        ("01:00", -11 * 3600.0),
        ("2026-11-24 12:00:00", 86_400.0),
        ("2026-11-23T12:00:00.5", 0.5),
    ],
)
def test_typed_times(text: str, expected: float) -> None:
    noon = round(time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1)) * 1e9)
    assert (parse_time(text, noon) - noon) / 1e9 == expected
    assert parse_time(f"@{noon // 10**9}", 0) == noon


def test_a_span_ends_after_its_begin() -> None:
    """A recording ends at 04:27: 23:59 is nearer on the day before, but no end of a span there."""
    last = round(time.mktime((2026, 7, 14, 4, 27, 0, 0, 0, -1)) * 1e9)
    begin = parse_time("04:00", last)
    assert parse_end("23:59", last, begin) - begin == 71_940 * 10**9
    assert parse_end("04:10", last, begin) - begin == 600 * 10**9
    assert parse_end("-5m", last, begin) == last - 300 * 10**9
    assert parse_end("23:59", last, None) == parse_time("23:59", last) < begin


def test_clock_times_may_lie_in_the_past_alone() -> None:
    noon = round(time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1)) * 1e9)
    hour = 3600 * 10**9
    assert parse_time("13:00", noon) == noon + hour
    assert parse_time("13:00", noon, noon) == noon - 23 * hour
    assert parse_time("11:00", noon, noon) == noon - hour
    # Nearest to the frame that is shown.
    assert parse_time("13:00", noon - 24 * hour, noon) == noon - 23 * hour
    assert parse_time("+1h", noon, noon) == noon + hour


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "25:00",
        "12:60",
        "+",
        "@",
        "2026-13-01",
        "+5y",
        "@nan",
        f"+{9**500}",
        f"@{9**500}",
    ],
)
def test_a_wrong_time_is_answered_with_the_right_forms(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time; write 12:34:56"):
        parse_time(text, 0)


def test_keys_of_a_replay_do_not_reach_the_live_view() -> None:
    live = State()
    for key in ("+", "-"):
        assert press(live, key).speed == live.speed
        assert press(State(recorded=True), key).speed != live.speed
    recorded = State(recorded=True)
    for key in (".", "Shift-Right"):
        assert press(recorded, key).request == "frame next"
    assert press(replace(recorded, paused=True), "L").request == "frame live"
    assert not press(replace(recorded, paused=True), "L").paused
    assert press(recorded, " ").paused
    assert press(recorded, "+").speed == 2
    assert press(replace(recorded, speed=FASTEST), "+").speed == FASTEST
    typed = recorded
    for key in ("d", "+", "2", "Enter"):
        typed = press(typed, key)
    assert typed.request == "time +2"
    assert not press(recorded, "H").threads
    groupings = {""}
    for _ in range(8):
        recorded = press(recorded, "z")
        groupings.add(recorded.group_by)
    of_cgroups = {"cgroup", "container", "pod", "unit"}
    assert groupings == {"", "parent", "name", "user"} | of_cgroups, (
        "sessions are not recorded, and rows are processes"
    )


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ptop", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_batch_shows_one_time_or_all(recording: Path) -> None:
    done = run("replay", str(recording), "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    times = [time_ns / 1e9 for time_ns in taskstats.open(recording).times_ns]
    assert [line["time"] for line in lines] == times[1:]
    one = run("replay", str(recording), "-b", "--at", f"@{times[4]:.6f}", "--rows", "3")
    assert one.returncode == 0
    assert one.stdout.count("  interval ") == 1
    # A frame is one value, also if those before it are not read.
    for index in (1, 4, 7):
        at = f"@{times[index] - 0.0005:.6f}"
        alone = run("replay", str(recording), "--at", at, "--format", "json").stdout
        assert json.loads(alone) == lines[index - 1]


def test_batch_loads_neither_curses_nor_numpy(recording: Path) -> None:
    script = (
        "import sys; from ptop.cli import main;"
        f"main(['replay', {str(recording)!r}, '-b']); main(['report', {str(recording)!r}]);"
        f"main(['export', {str(recording)!r}, '--columns', 'ac_pid']);"
        "bad = {'curses', 'numpy', 'pyarrow', 'tqdm'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_files_and_options_that_cannot_be_replayed(recording: Path, tmp_path: Path) -> None:
    single = tmp_path / "single.tsd"
    single.write_bytes(taskstats.snapshot("procfs").to_bytes())
    text = tmp_path / "text"
    text.write_text("hello, this is no dump")
    for arguments, status, words in (
        ((str(single),), 2, "no two snapshots of one boot"),
        ((str(text),), 1, "taskstats"),
        ((str(tmp_path / "none"),), 1, "No such file"),
        ((str(recording), "--at", "noon"), 2, "'noon' is not a time; write 12:34"),
        ((str(recording), "--at", f"+{'9' * 400}"), 2, "is not a time; write 12:34"),
        ((str(recording), "--rows", "9" * 25), 2, "not a whole number from 1 to"),
        ((str(recording), "--speed", "0"), 2, "not a number from"),
        ((str(recording), "--fold", "session"), 2, "sessions are not recorded"),
    ):
        done = run("replay", "-b", *arguments)
        assert (done.returncode, done.stdout) == (status, ""), arguments
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_a_torn_tail_is_reported_on_the_screen_until_a_key(tmp_path: Path) -> None:
    path = tmp_path / "torn.tsd"
    record(path, 6, full_every=1)
    path.write_bytes(path.read_bytes()[:-3000])
    child = pexpect.spawn(
        sys.executable,
        ["-m", "ptop", "replay", str(path), "--speed", "0.125"],
        dimensions=(24, 80),
        env={**os.environ, "TERM": "xterm-256color"},
        timeout=20,
    )
    child.expect("bytes cannot be read, from byte [0-9]+ on")
    child.send("q")
    child.expect(pexpect.EOF)


def test_a_terminal_plays_steps_and_jumps(recording: Path) -> None:
    screen = pyte.Screen(80, 24)
    stream = pyte.ByteStream(screen)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "ptop", "replay", str(recording), "--at", "+0s"],
        dimensions=(24, 80),
        env={**os.environ, "TERM": "xterm-256color"},
        timeout=20,
    )

    def until(words: str) -> None:
        end = time.monotonic() + 15
        while words not in "\n".join(screen.display):
            assert time.monotonic() < end, "\n".join([words, *screen.display])
            try:
                data = child.read_nonblocking(65536, timeout=0.1)
            except pexpect.TIMEOUT:
                continue
            assert isinstance(data, bytes)
            stream.feed(data)

    until("frame 1 of 7")
    child.send("\x1b[1;2C")
    until("frame 2 of 7")
    child.send("$")
    until("frame 7 of 7")
    child.send(",")
    until("frame 6 of 7")
    child.send("d-1h\r")
    until("frame 1 of 7")
    child.send("dnever\r")
    until("'never' is not a time")
    child.send("\x15-1h\r")
    until("nothing kept at -1h: oldest is ")
    spike = "the next spike of the sorted column, or of its sum"
    lines = [doc for _, doc in keys.help_lines(State(recorded=True))]
    child.send("?" + "\x1b[B" * lines.index(spike))
    until(spike)
    # Until the key after Escape is sent with it, it is Alt and that key.
    child.send("\x1b")
    until("Name")
    child.send("+ ")
    until("the end of the recording")
    child.send("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
