"""`taskstats.screen.Frames`: frames that follow each other on a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType

import pytest
import taskstats
from taskstats.screen import Canvas, Frames, Lines, Screen

from ptop.columns import COLUMNS as ALL_COLUMNS

SIZE = (80, 24)
AROUND = ("<begin>", "<end>")
DELAY_NS = 20_000_000
COLUMNS = [ALL_COLUMNS[key] for key in ("pid", "total_pct", "name")]


class View:
    """A source, a screen, and pipes in place of a terminal."""

    def __init__(self, kind: str, history: taskstats.History | None = None) -> None:
        self.source = taskstats.Source(kind, changed=True, fields=[], system=True, cpu_times=True)
        self.typed, self.keys = os.pipe()
        self.shown, self.output = os.pipe()
        self.frames = Frames(
            self.source, history, inputs=[self.typed], output=self.output, advice="an advice"
        )
        self.screen = Screen(
            COLUMNS, user=lambda uid: None, offset_s=lambda seconds: 0, sort="total_pct"
        )
        self.canvas = Canvas(clear="<clear>", lines=[f"<{line}>" for line in range(SIZE[1])])
        start = self.source.snapshot()
        if history is not None:
            history.begin(start)
        self.frames.begin(taskstats.usage(start, self.source.snapshot()))

    def run(self, limit: int | None = None, since_ns: int = 0) -> tuple[int, int]:
        return self.frames.run(
            self.screen,
            self.canvas,
            SIZE,
            AROUND,
            last_ns=time.monotonic_ns() - since_ns,
            delay_ns=DELAY_NS,
            limit=limit,
        )

    def written(self) -> str:
        return os.read(self.shown, 1 << 16).decode()

    def close(self) -> None:
        self.source.close()
        for descriptor in (self.typed, self.keys, self.shown, self.output):
            os.close(descriptor)


@pytest.fixture(params=["procfs", "bpf"])
def view(request: pytest.FixtureRequest, needs: Callable[[bool, str], None]) -> Iterator[View]:
    name: str = request.param
    report = next(report for report in taskstats.sources() if report.name == name)
    needs(report.available, f"{name}: {report.reason}")
    view = View(name)
    yield view
    view.close()


def texts(lines: Lines | None) -> list[str]:
    assert lines is not None
    return [text for text, _ in lines.texts]


def test_frames_are_shown_up_to_the_limit(view: View) -> None:
    before_ns = time.monotonic_ns()
    shown, last_ns = view.run(limit=3)
    assert shown == 3
    assert time.monotonic_ns() - before_ns >= 3 * DELAY_NS
    assert before_ns + 3 * DELAY_NS <= last_ns <= time.monotonic_ns()
    interval, lines = view.frames.end()
    written = view.written()
    first, *later = written.split(AROUND[0])[1:]
    assert first.startswith("<clear><0>")
    assert first.endswith(AROUND[1])
    assert all(part.endswith(AROUND[1]) for part in later)
    # The same lines come of the interval by the long way.
    again = view.screen.lines(interval, view.source, SIZE, lacks=view.source.notice or advice(view))
    assert texts(lines) == texts(again)
    assert view.canvas.draw(again) == ""
    # The next interval begins where this one ends.
    following = taskstats.usage(interval.cur, view.source.snapshot())
    assert following.interval_ns > 0


def advice(view: View) -> str:
    return "an advice" if view.source.name == "procfs" else ""


def test_frames_end_where_there_is_input(view: View) -> None:
    os.write(view.keys, b"x")
    assert view.run()[0] == 0
    # Also where one is due already: keys must not wait for frames that take too long.
    assert view.run(since_ns=10 * DELAY_NS)[0] == 0
    assert view.frames.end()[1] is None


def test_frames_end_where_the_screen_has_to_be_configured(view: View) -> None:
    view.screen.configure(COLUMNS, sort="total_pct", top=10**9)
    shown, _ = view.run()
    lines = view.frames.end()[1]
    assert shown == 1
    assert lines is not None
    assert lines.top < 10**9


def test_a_stall_delays_the_frames_after_it(view: View) -> None:
    before_ns = time.monotonic_ns()
    _, last_ns = view.run(limit=1, since_ns=10**9)
    assert last_ns >= before_ns


def test_no_python_runs_between_frames(view: View) -> None:
    view.run(limit=1)
    calls: list[str] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        calls.append(f"{event} {frame.f_code.co_name}")

    view.canvas = Canvas(clear="", lines=[""] * SIZE[1])
    sys.setprofile(note)
    try:
        view.frames.run(
            view.screen, view.canvas, SIZE, AROUND,
            last_ns=0, delay_ns=DELAY_NS, limit=2,
        )  # fmt: skip
    finally:
        sys.setprofile(None)
    assert [call for call in calls if not call.startswith("c_")] == []


@pytest.mark.parametrize("of", ["task", "cgroup", "dead"])
def test_a_key_uses_the_tree_of_the_last_frame_again(view: View, of: str) -> None:
    view.screen.configure(COLUMNS, sort="total_pct", tree=of)
    view.run(limit=2)
    interval, lines = view.frames.end()
    assert view.screen.trees == 2
    lacks = view.source.notice or advice(view)
    again = view.screen.lines(interval, view.source, SIZE, lacks=lacks)
    assert texts(lines) == texts(again)
    assert view.screen.trees == 2
    # The interval that goes on holds its tree, and no other one.
    view.frames.begin(interval)
    del interval
    view.run(limit=1)
    assert view.screen.trees == 3


def test_a_history_keeps_the_intervals() -> None:
    history = taskstats.History()
    view = View("procfs", history)
    view.run(limit=3)
    assert len(history) == 3
    assert history.exact_s is None
    assert history.connects(2)
    view.close()


def test_a_terminal_that_is_full_is_waited_for(view: View) -> None:
    os.set_blocking(view.output, False)
    os.write(view.output, b"x" * 65536)
    os.set_blocking(view.shown, False)
    child = os.fork()
    if not child:
        time.sleep(0.1)
        os.read(view.shown, 65536)
        os._exit(0)
    assert view.run(limit=1)[0] == 1
    os.waitpid(child, 0)
    assert view.written().endswith(AROUND[1])


def test_errors_are_exceptions(view: View) -> None:
    fresh = Frames(view.source, inputs=[], output=view.output)
    with pytest.raises(ValueError, match="call begin"):
        fresh.end()
    with pytest.raises(OSError, match="use a terminal"):
        Frames(view.source, inputs=[-1], output=view.output)
    os.close(view.shown)
    with pytest.raises(BrokenPipeError):
        view.run(limit=1)
    view.shown = os.open(os.devnull, os.O_RDONLY)
    view.source.close()
    view.frames.begin(view.frames.end()[0])
    with pytest.raises(ValueError, match="closed"):
        view.run(limit=1)
