"""The live view's history: a frame is the same live, from memory and from a file."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import taskstats
from live_view import PTOP, Live  # type: ignore[import-not-found]
from taskstats.recorded import Frames

from ptop import spikes
from ptop.columns import COLUMNS
from ptop.feed import RecordedFeed
from ptop.history_feed import HistoryFeed
from ptop.live.comparing import Marks
from ptop.live.history import OnSpike, Trigger, Writing
from ptop.live.state import Limits, State
from ptop.live.view import Renderer, needed_fields
from ptop.values import replace

# Higher than there are tasks: the screen has all rows.
SIZE = (110, 3000)
KEYS = (
    "pid",
    "USER",
    "state",
    "num_threads",
    "rss_kb",
    "user_pct",
    "system_pct",
    "total_pct",
    "spark",
    "name",
)
STATES = {
    "tasks": State(columns=KEYS, sort="pid", descending=False),
    "filter": State(columns=KEYS, sort="pid", filter="name:sh"),
    "parent": State(columns=(*KEYS[:-1], "tasks", "name"), sort="pid", group_by="parent"),
    "name": State(columns=("user_pct", "system_pct", "tasks", "name"), group_by="name"),
}
FIELDS = set().union(*(needed_fields(state, COLUMNS) for state in STATES.values()))


def feed_of(name: str = "auto", history: taskstats.History | None = None) -> HistoryFeed:
    source = taskstats.Source(name, exact=True, changed=True, cpu_times=True, system=True)
    feed = HistoryFeed(source, taskstats.History() if history is None else history)
    feed.configure(False, FIELDS)
    feed.measure(["total_pct"])
    return feed


Screens = dict[str, list[str]]


Before = Callable[[], Iterable[taskstats.Interval] | None]


class Screenshots:
    """Draws the screen of each state, one interval after the other."""

    def __init__(self) -> None:
        self.renderers = {
            name: Renderer(state, COLUMNS, Limits()) for name, state in STATES.items()
        }
        # How many times intervals before one were asked for.
        self.asked = 0

    def of(self, interval: taskstats.Interval, unchanged: object, before: Before) -> Screens:
        """Each state's screen, without the line of the clock."""

        def counted() -> Iterable[taskstats.Interval] | None:
            self.asked += 1
            return before()

        drawn = {}
        for name, renderer in self.renderers.items():
            searching = True
            while searching:
                # The sparklines are complete on a later screen.
                lines = renderer.lines(interval, SIZE, unchanged, before=counted)  # type: ignore[arg-type]
                searching = lines.searching
            drawn[name] = [text for text, _ in lines.texts[1:]]
        return drawn


def work() -> None:
    """A shell that dies, with children of its own."""
    subprocess.run(["sh", "-c", "for n in 1 2 3; do /bin/true; done; : $((1+1))"], check=True)
    end = time.process_time() + 0.02
    while time.process_time() < end:
        os.getppid()


def take(feed: HistoryFeed, count: int) -> list[Screens]:
    """Advances, and returns what the live view showed of each interval."""
    shown: list[Screens] = []
    screenshots = Screenshots()
    while len(shown) < count:
        had = feed.newest
        feed.advance()
        if feed.newest is not had and feed.newest is not None:
            shown.append(screenshots.of(feed.newest, feed.source, feed.minute_before))
        work()
    # For the first interval alone.
    assert screenshots.asked == len(STATES)
    return shown


def write(feed: HistoryFeed, path: Path, cmdlines: bool = True) -> str:
    writing = Writing(feed.history, str(path), cmdlines, "")
    while (ended := writing.go_on()) is None:
        pass
    return ended


def test_a_step_is_drawn_before_the_minute_is_read() -> None:
    feed = feed_of("auto")
    take(feed, 8)
    read: list[taskstats.Interval] = []

    def before() -> Iterable[taskstats.Interval]:
        for interval in feed.minute_before() or ():
            read.append(interval)
            yield interval

    renderer = Renderer(STATES["tasks"], COLUMNS, Limits())
    feed.show(6)
    assert feed.interval is not None
    lines = renderer.lines(feed.interval, SIZE, feed.unchanged, before=before)
    assert lines.searching
    assert not read
    while lines.searching:
        lines = renderer.lines(feed.interval, SIZE, feed.unchanged, before=before)
    assert len(read) == 6


def test_the_later_snapshot_is_that_of_the_whole_interval() -> None:
    feed = feed_of("auto")
    take(feed, 3)
    for number in range(feed.history.first, feed.history.end):
        kept = feed.history.interval(number)
        assert kept.completed_snapshot().to_bytes() == kept.completed().cur.to_bytes()


@pytest.mark.parametrize("name", ["auto", "procfs"])
def test_a_frame_is_the_same_live_from_memory_and_from_a_file(name: str, tmp_path: Path) -> None:
    feed = feed_of(name)
    live = take(feed, 12)
    order = [*range(12), 3, 11, 0, 7]
    screenshots = Screenshots()
    for number in order:
        feed.show(number)
        assert feed.interval is not None
        drawn = screenshots.of(feed.interval, feed.unchanged, feed.minute_before)
        assert drawn == live[number], number
    assert screenshots.asked == len(STATES) * (1 + 4), "at the first frame, and at each jump"
    assert feed.history.exact_since == 0
    write(feed, tmp_path / "kept.tsd")
    frames = Frames(taskstats.open(tmp_path / "kept.tsd"))
    assert len(frames) == 13
    if name == "procfs":
        # Starts are derived there, and a recording keeps them within the time of the walk.
        return
    for number in range(12):
        replayed = RecordedFeed(frames, number + 1)
        assert replayed.interval is not None
        drawn = Screenshots().of(replayed.interval, None, replayed.minute_before)
        assert drawn == live[number], number


def test_sampling_goes_on_while_a_frame_is_shown() -> None:
    feed = feed_of()
    take(feed, 5)
    assert feed.step(-1)
    shown, number = feed.interval, feed.number
    assert number == 3
    take(feed, 3)
    assert feed.interval is shown
    age_s, exact_s = feed.ages_s
    assert age_s is not None
    assert exact_s is not None
    assert 0 < age_s < exact_s
    assert (feed.number, feed.history.end) == (3, 8)
    assert feed.step(1)
    assert feed.number == 4
    feed.hold(False)
    assert feed.interval is feed.newest
    assert feed.unchanged is feed.source
    assert feed.ages_s == (None, None)
    assert feed.seek(feed.history.times_ns(2)[1])
    assert feed.number == 2
    assert not (feed.go_to_end(last=False) and feed.step(-1))
    assert not (feed.go_to_end(last=True) and feed.step(1))


def test_columns_that_were_not_read_then_are_told() -> None:
    feed = feed_of()
    take(feed, 2)
    assert feed.configure(False, FIELDS | {"read_bytes"})
    take(feed, 2)
    assert feed.has(False, {"read_bytes"})
    feed.show(0)
    assert not feed.has(False, {"read_bytes"})
    assert feed.has(False, FIELDS)
    assert feed.step(1)
    # Up to the change there is a frame with the columns so far.
    assert feed.step(1)
    assert feed.interval is not None
    ((used_ns,),) = feed.interval.select(["total_ns"], pids=[os.getpid()])
    assert used_ns > 10_000_000
    assert not feed.has(False, {"read_bytes"})
    assert feed.step(1)
    assert "columns or rows were changed" in feed.notice
    assert feed.has(False, {"read_bytes"})


def test_a_frame_that_is_forgotten_stays_on_the_screen() -> None:
    empty = feed_of()
    empty.advance()
    # Room for some frames after two snapshots of all tasks.
    feed = feed_of(history=taskstats.History(max_bytes=3 * empty.history.bytes))
    take(feed, 2)
    feed.show(feed.history.first)
    shown, number = feed.interval, feed.number
    assert number is not None
    while feed.history.first <= number:
        take(feed, 1)
    assert feed.interval is shown
    assert feed.has(False, FIELDS)
    assert not feed.step(-1)
    marks = Marks()
    assert marks.add(feed)
    assert feed.step(1)
    assert feed.number == feed.history.first
    assert "is forgotten" in marks.compare(feed)[1]


def test_a_pause_of_ptop_is_a_gap() -> None:
    feed = feed_of()
    feed.advance()
    for length in (0.3, 0.3, 3.0, 0.3):
        time.sleep(length)
        feed.advance()
    notices = []
    for number in range(4):
        feed.show(number)
        notices.append(feed.notice)
    assert [bool(re.match("a gap: ptop did not run", notice)) for notice in notices] == [
        False, False, True, False,
    ]  # fmt: skip


def test_spikes_are_found_without_a_frame_being_read(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = feed_of()
    take(feed, 1)
    known = [(10.0, 20.0)] * 40
    known[12] = (90.0, 100.0)
    known[30] = (10.0, 100.0)

    class Peaks:
        """A history of made-up peaks."""

        first, end = 0, 40

        def peaks(self, column: str, start: int, stop: int) -> list[tuple[float, float]]:
            return known[start:stop]

    shown: list[int | None] = []
    feed.history = Peaks()  # type: ignore[assignment]

    def show(number: int | None) -> bool:
        shown.append(number)
        return number is not None

    monkeypatch.setattr(feed, "show", show)
    for number, by in ((0, 1), (12, 1), (30, 1), (39, -1), (30, -1), (12, -1)):
        feed._held = (number, 0)
        feed.spike("total_pct", by)
    # The first of a row, then one of the sum.
    assert shown == [12, 30, None, 30, 12, None]


def test_columns_that_were_not_measured_are_searched_by_reading() -> None:
    feed = feed_of()
    take(feed, 6)
    feed.show(0)
    assert feed.spike("rss_kb", 1) == "none at all"
    feed.measure(["nvcsw_per_sec"])
    assert all(peak != peak for peak, _ in feed.history.peaks("nvcsw_per_sec", 0, 6))
    take(feed, 1)
    ((peak, total),) = feed.history.peaks("nvcsw_per_sec", 6, 7)
    assert 0 < peak <= total


def test_a_file_is_private_new_and_without_command_lines_on_request(tmp_path: Path) -> None:
    feed = feed_of()
    secret = "argument-of-a-secret"
    with subprocess.Popen(["sleep", "60", secret], stderr=subprocess.DEVNULL) as failed:
        failed.wait()
    with subprocess.Popen(["sh", "-c", f"sleep 60; : {secret}"]) as sleeper:
        take(feed, 2)
        for cmdlines in (True, False):
            path = tmp_path / f"{cmdlines}.tsd"
            assert write(feed, path, cmdlines) == f"2 intervals written; type: ptop replay {path}"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            frames = Frames(taskstats.open(path))
            interval = frames.interval(1)
            assert interval is not None
            lines = interval.columns(["cmdline"])["cmdline"]
            assert any(secret in (line or "") for line in lines) == cmdlines
        sleeper.kill()
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        Writing(feed.history, str(path), True, "")
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_written_is_removed(tmp_path: Path) -> None:
    feed = feed_of()
    take(feed, 2)
    path = tmp_path / "kept.tsd"
    writing = Writing(feed.history, str(path), True, "")
    path.write_bytes(b"another program wrote this")
    ended = writing.go_on(60)
    assert ended is not None
    assert "nothing was written: /" in ended
    assert "Errno" not in ended
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        Writing(feed.history, str(tmp_path / "missing" / "kept.tsd"), True, "")


def test_the_selected_task_stays_selected_in_other_frames() -> None:
    feed = feed_of()
    take(feed, 3)
    own = os.getpid()
    state = replace(STATES["tasks"], filter=str(own), selecting=True, selected=0)
    renderer = Renderer(state, COLUMNS, Limits())
    assert feed.newest is not None
    key = renderer.lines(feed.newest, SIZE, feed.source).selected_key
    assert key is not None
    assert key.pid == own
    renderer.show(replace(STATES["tasks"], selecting=True, selected_key=key))
    for number in range(3):
        feed.show(number)
        assert feed.interval is not None
        lines = renderer.lines(feed.interval, SIZE, feed.unchanged)
        assert lines.selected_key == key
        assert not lines.died


def test_spikes_write_files_by_themselves(tmp_path: Path) -> None:
    feed = feed_of()
    take(feed, 1)
    assert feed.newest is not None
    never = Trigger(COLUMNS["total_pct"], 1e9)
    of_row, of_sum = Trigger(COLUMNS["total_pct"], 0.0), Trigger(COLUMNS["total_pct"], 0.0, True)
    assert (of_row.text, of_sum.text) == ("total_pct:0", "sum:total_pct:0")
    directory = str(tmp_path)
    assert OnSpike((never,), directory, 2, 60.0).due(feed.newest, 0.0) is None
    on_spike = OnSpike((never, of_sum), directory, 2, 60.0)
    due = on_spike.due(feed.newest, 0.0)
    assert due is not None
    assert re.fullmatch(rf"{directory}/ptop-spike-\d{{8}}T\d{{6}}\.tsd", due[0])
    assert due[1] == "sum:total_pct:0"
    assert on_spike.due(feed.newest, 59.0) is None, "the gap"
    for name in ("ptop-spike-1.tsd", "ptop-spike-2.tsd"):
        (tmp_path / name).touch()
    assert on_spike.due(feed.newest, 61.0) is None, "as many files as there may be"
    (tmp_path / "ptop-spike-1.tsd").unlink()
    assert on_spike.due(feed.newest, 200.0) is not None
    assert OnSpike((of_row,), f"{directory}/missing", 2, 60.0).due(feed.newest, 0.0) is not None


def test_a_peak_is_that_of_the_rows() -> None:
    feed = feed_of()
    take(feed, 1)
    assert feed.newest is not None
    for column in ("total_pct", "user_pct"):
        highest, total = spikes.peak(feed.newest, column)
        values = [value or 0 for (value,) in feed.newest.select([column])]
        assert highest == max(values)
        assert total == pytest.approx(sum(values))


def seen(live: Live) -> tuple[str, str]:
    """The time of the frame on the screen, and its age."""
    found = re.search(r"⏸ (\d\d:\d\d:\d\d) \u2212(\d+:\d\d) exact \u2212\d+:\d\d  ", live.text())
    return found.groups() if found else ("", "")  # type: ignore[return-value]


def until(live: Live, condition: object) -> None:
    end = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, live.text()
        live.pump()


def test_keys_go_through_the_history() -> None:
    live = Live(columns=110)
    live.until("◉ LIVE")
    time.sleep(1)
    live.until("python")
    live.child.send(",")
    live.until("⏸")
    until(live, lambda: seen(live)[1])
    at, age = seen(live)
    # The frame stays, and gets older.
    until(live, lambda: seen(live)[1] > age)
    assert seen(live)[0] == at
    # All that works on it that works live.
    live.child.send("z")
    live.until("rows by parent")
    live.child.send("z")
    live.until("rows by session")
    live.child.send("K")
    live.until("without kernel threads")
    live.child.send("@")
    live.until("time (12:34:56")
    live.child.send("+1h\r")
    until(live, lambda: seen(live)[1] in {"0:00", "0:01"} and "time (" not in live.text())
    live.child.send("^")
    until(live, lambda: seen(live)[1] > "0:01")
    live.child.send(",")
    live.until("no more")
    live.child.send("N")
    live.until("no spike of")
    live.child.send("L")
    live.until("◉ LIVE")
    live.child.send("q")
    assert live.ended() == 0


def test_a_stopped_view_shows_the_gap() -> None:
    live = Live(columns=110)
    live.until("◉ LIVE")
    time.sleep(1.5)
    live.pump()
    os.kill(live.child.pid, signal.SIGSTOP)
    time.sleep(3)
    os.kill(live.child.pid, signal.SIGCONT)
    time.sleep(1.5)
    live.pump()
    for _ in range(20):
        live.child.send(",")
        for _ in range(3):
            live.pump()
        if "a gap: ptop did not run" in live.text():
            break
    live.until("a gap: ptop did not run")
    live.child.send("q")
    assert live.ended() == 0


def test_a_file_is_written_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "kept.tsd"
    live = Live(columns=110)
    live.until("◉ LIVE")
    time.sleep(1)
    live.child.send("W")
    live.until("with command lines (Tab): ")
    live.child.send("\t")
    live.until("without command lines (Tab): ")
    live.child.send(f"{path}\r")
    live.until("type: ptop replay")
    live.child.send("W")
    live.until("without command lines (Tab): ")
    live.child.send(f"{path}\r")
    live.until("the file exists, choose another name")
    live.child.send("W")
    live.until("without command lines (Tab): ")
    live.child.send("/nonexist/h.tsd\r")
    live.until("No such file or directory, nothing was written: /nonexist/h.tsd")
    live.child.send("q")
    assert live.ended() == 0
    done = subprocess.run(
        [*PTOP, "replay", str(path), "-b", "-n", "1"], capture_output=True, text=True, check=True
    )
    assert "source" in done.stdout.splitlines()[0]


def test_the_difference_is_shown_by_keys() -> None:
    live = Live(columns=110)
    live.until("◉ LIVE")
    live.child.send("=")
    live.until("nothing is marked")
    live.child.send("m")
    live.until("is marked")
    time.sleep(1)
    for _ in range(10):
        live.pump()
    live.child.send("=")
    live.until("what happened from")
    live.child.send("L")
    live.until("◉ LIVE")
    live.child.send("q")
    assert live.ended() == 0


def test_a_spike_is_written_while_nobody_looks(tmp_path: Path) -> None:
    live = Live("--on-spike", "sum:total_pct:0", "--spike-dir", str(tmp_path), columns=110)
    live.until("written for sum:total_pct:0; type: ptop replay")
    live.child.send("q")
    assert live.ended() == 0
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(Frames(taskstats.open(path))) >= 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--on-spike", "total_pct"], "is not COLUMN:VALUE"),
        (["--on-spike", "nothing:3"], "no column 'nothing'"),
        (["--on-spike", "sum:total_pct:high"], "is not COLUMN:VALUE"),
        (["--history", "x"], "is not a length of time"),
        (["--history-size", "0"], "is not a size"),
    ],
)
def test_wrong_options_are_told(words: list[str], message: str) -> None:
    done = subprocess.run([*PTOP, *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_pause_before_the_first_interval_holds_it() -> None:
    live = Live("-d", "0.5", columns=110)
    live.child.send("Z")
    until(live, lambda: seen(live)[1])
    at = seen(live)[0]
    until(live, lambda: seen(live)[1] >= "0:02")
    assert seen(live)[0] == at
    live.child.send("q")
    assert live.ended() == 0


def test_without_a_history_a_pause_is_a_pause() -> None:
    live = Live("--history", "0", columns=110)
    live.until("◉ LIVE")
    live.child.send("W")
    live.until("nothing is kept")
    live.child.send(",")
    live.until("nothing is kept")
    live.child.send("Z")
    live.child.send("Z")
    live.child.send("q")
    assert live.ended() == 0
    assert replace(State(), paused=True).paused
