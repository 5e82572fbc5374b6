"""The tree: what started what, with exact sums, live and replayed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import taskstats
from live_view import Live  # type: ignore[import-not-found]
from taskstats.screen import Lines

from ptop.columns import COLUMN_SETS, COLUMNS
from ptop.feed import LiveFeed, RecordedFeed
from ptop.live import keys, state, tree
from ptop.live.keys import press
from ptop.live.state import Limits, State
from ptop.live.tree import Tree
from ptop.live.view import Renderer, Unchanged, needed_fields
from ptop.recordings import frames_of
from ptop.values import replace

# Short, because the kernel keeps 15 bytes, and of this test alone.
NAME = f"tree{os.getpid()}"
# A parent with a name, a child that lives and many that die at once.
PARENT = f"""
import ctypes, os, subprocess, sys, time
def rename(name):
    ctypes.CDLL(None).prctl(15, name.encode())
rename("{NAME}p")
if os.fork() == 0:
    rename("{NAME}c")
    while True:
        time.sleep(0.01)
print("ready", flush=True)
while True:
    pid = os.fork()
    if pid == 0:
        rename("{NAME}d")
        os._exit(3)
    os.waitpid(pid, 0)
    time.sleep(0.01)
"""
TREE = State(view="tree", tree=Tree("task"), columns=COLUMN_SETS["tree"].columns)


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == b"ready\n"
    yield started
    os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    started.stdout.close()


def shown(live: Live, name: str) -> str:
    """The first line with a name; empty if there is none."""
    return next((line for line in live.screen.display if name in line), "")


def test_the_tree_shows_who_started_whom(family: subprocess.Popen[bytes]) -> None:
    columns = "pid,tasks,own_pct,living_pct,dead_pct,total_pct,command"
    live = Live("--tree", "--filter", NAME, "--columns", columns, columns=150)
    try:
        live.until(f"{NAME}d \u00d7")
        live.until(f"{NAME}c")
        live.until("(died, exit 3, ")
        parent, child = shown(live, f"{NAME}p "), shown(live, f"{NAME}c ")
        dead = shown(live, f"{NAME}d \u00d7")
        column = parent.index(f"{NAME}p")
        assert parent.split()[0] == str(family.pid)
        for line, name in ((child, f"{NAME}c"), (dead, f"{NAME}d")):
            assert line[column : line.index(name)] in {"├ ", "└ "}, line
        assert "(died, exit 3, " in dead
        assert ", lived 0." in dead
        own, living, gone, total = map(float, parent.split()[2:6])
        assert total == pytest.approx(own + living + gone, abs=0.02)
        assert living >= float(child.split()[5])
        # As a list and as a tree again; F5 opens it too.
        live.child.send("t")
        live.until("x")
        live.child.send("\x1b[15~")
        live.until(f"{NAME}d \u00d7")
    finally:
        live.child.kill(signal.SIGTERM)
        assert live.ended() == 128 + signal.SIGTERM
    assert b"Traceback" not in live.raw


def test_a_row_is_closed_and_opened(family: subprocess.Popen[bytes]) -> None:
    live = Live("--tree", "--columns", "pid,total_pct,command", columns=150, rows=60)
    try:
        live.until("Name")
        # The list scrolls to what is found.
        live.child.send(f"/{NAME}c\r")
        live.until(f"{NAME}c ")
        live.child.send(f"/{NAME}p\r")
        live.until(f"{NAME}p ")
        # Rows are sorted anew in each frame: follow it.
        live.child.send("F-")
        end = time.monotonic() + 15
        while f"{NAME}c" in live.text():
            assert time.monotonic() < end, live.text()
            live.pump()
        # The mark says what is hidden.
        live.until(f"+ {NAME}p ")
        live.child.send("+")
        live.until(f"{NAME}c")
    finally:
        live.child.kill(signal.SIGTERM)
        assert live.ended() == 128 + signal.SIGTERM


def roots(interval: taskstats.Interval, of: str, unchanged: Unchanged | None) -> float:
    """The sum of the CPU time of the roots of a tree, in per cent."""
    columns = ("total_pct", "command")
    only = State(tree=Tree(of, level=0), columns=columns)
    lines = Renderer(only, COLUMNS, Limits()).lines(interval, (120, 5000), unchanged)
    rows = [text for text, _ in lines.texts][-lines.room - 2 : -2][: lines.rows]
    return sum(float(row[1:].split()[0]) for row in rows)


@pytest.mark.parametrize("of", ["task", "cgroup"])
def test_the_roots_have_all_that_the_books_have(
    source: taskstats.Source, family: subprocess.Popen[bytes], of: str
) -> None:
    chosen = replace(TREE, tree=Tree(of))
    with taskstats.Source(source.name, exact=True, changed=True, cpu_times=True) as opened:
        feed = LiveFeed(opened)
        feed.configure(False, needed_fields(chosen, COLUMNS))
        for _ in range(4):
            feed.advance()
            time.sleep(0.2)
        assert feed.interval is not None
        (total,) = feed.interval.sum(["total_pct"])
        assert isinstance(total, float)
        # Each row is rounded to 0.01.
        found = roots(feed.interval, of, feed.unchanged)
        assert found == pytest.approx(total, abs=0.005 * 500)
        tasks_ns = feed.interval.books()["tasks_ns"]
        if tasks_ns is not None:
            assert total == pytest.approx(100 * tasks_ns / feed.interval.interval_ns, abs=1e-6)


def test_a_replayed_tree_is_the_live_one(
    source: taskstats.Source, family: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "tree.tsd"
    columns = tuple(key for key in TREE.columns if key != "command")
    chosen = replace(TREE, columns=(*columns, "name"))
    renderer = Renderer(chosen, COLUMNS, Limits(), str)
    live = []
    with (
        taskstats.Source(source.name, exact=True, cpu_times=True) as opened,
        taskstats.Recorder(path) as recorder,
    ):
        opened.configure(fields=sorted(needed_fields(chosen, COLUMNS)))
        before = None
        for _ in range(3):
            snapshot = opened.snapshot()
            recorder.write(snapshot)
            if before is not None:
                interval = taskstats.usage(before, snapshot)
                live.append(renderer.lines(interval, (120, 500)).texts)
            before = snapshot
            time.sleep(0.1)
    feed = RecordedFeed(frames_of(taskstats.open(path)), 1)
    assert feed.interval is not None
    assert renderer.lines(feed.interval, (120, 500)).texts == live[0]
    assert feed.advance()
    assert feed.interval is not None
    assert renderer.lines(feed.interval, (120, 500)).texts == live[1]


# Keys that move, and keys that change which rows there are, or their order.
MOVES = ("Down", "Down", "PgDn", "End", "Up", "Home", "Right", "Down", "F")
CHANGES = ("I", "M", "T", "*", "(", "K", "X")


@pytest.mark.parametrize("of", ["task", "cgroup", "dead"])
def test_keys_use_the_tree_of_their_interval_again(
    source: taskstats.Source, family: subprocess.Popen[bytes], of: str
) -> None:
    # The command line of a task that has died since cannot be read again.
    columns = tuple(key for key in COLUMN_SETS["tree"].columns if key != "command")
    now = replace(TREE, tree=Tree(of), columns=(*columns, "name"))
    renderer = Renderer(now, COLUMNS, Limits())
    with taskstats.Source(source.name, exact=True, changed=True, cpu_times=True) as opened:
        feed = LiveFeed(opened)
        feed.configure(False, needed_fields(now, COLUMNS))
        for _ in range(3):
            feed.advance()
            time.sleep(0.1)

        def complete(renderer: Renderer, interval: taskstats.Interval) -> Lines:
            """The lines, once the filter has read all command lines."""
            while (lines := renderer.lines(interval, (120, 36), feed.unchanged)).searching:
                pass
            return lines

        def drawn(now: State) -> Lines:
            assert feed.interval is not None
            renderer.show(now)
            return complete(renderer, feed.interval)

        drawn(now)
        for key in MOVES:
            now = press(now, key)
            lines = drawn(now)
            now = replace(now, top=lines.top, selected_key=lines.selected_key)
        assert renderer.screen.trees == 1
        wanted = [*(press(now, key) for key in CHANGES), replace(now, filter=NAME), now]
        if key_of_row := lines.key(lines.top):
            wanted.append(replace(now, tree=tree.toggled(now.tree, key_of_row)))
        for changed in wanted:
            texts = drawn(changed).texts
            assert feed.interval is not None
            # An interval of its own has no tree yet.
            alone = taskstats.usage(feed.interval.prev, feed.interval.cur)
            fresh = Renderer(changed, COLUMNS, Limits())
            assert texts == complete(fresh, alone).texts
            assert fresh.screen.trees == 1
        assert renderer.screen.trees == 1
        feed.advance()
        drawn(now)
        assert renderer.screen.trees == 2


def test_threads_are_under_their_process() -> None:
    script = """
import threading, time
for _ in range(3): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
print("ready", flush=True)
time.sleep(1000)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with taskstats.Source("procfs", threads=True) as source:
            before = source.snapshot()
            interval = taskstats.usage(before, source.snapshot())
        threads = tuple(int(name) for name in os.listdir(f"/proc/{process.pid}/task"))
        process.kill()
    only = State(tree=Tree("task"), columns=("pid", "command"), threads=True)
    limits = Limits(pids=threads)
    lines = Renderer(only, COLUMNS, limits).lines(interval, (120, 60))
    rows = [text for text, _ in lines.texts if text[1:].split()[1:2] == [str(process.pid)]]
    assert len(rows) == 4, lines.texts
    # The lines are before the command line, not before the name.
    places = [row.rindex("python") for row in rows]
    assert places == [places[0], *[places[0] + 2] * 3], "a level deeper"


def test_the_dead_have_a_view(family: subprocess.Popen[bytes]) -> None:
    live = Live("--view", "dead", "--filter", NAME, columns=150)
    try:
        live.until(f"{NAME}d \u00d7")
        live.until("(died, exit 3, ")
        row = shown(live, f"{NAME}d \u00d7")
        assert "(died, exit 3, " in row
        # Those that live are in other views.
        assert f"{NAME}c" not in live.text().replace(f'filter "{NAME}"', "")
    finally:
        live.child.kill(signal.SIGTERM)
        assert live.ended() == 128 + signal.SIGTERM


def test_no_dead_is_said() -> None:
    chosen = State(tree=tree.first("dead"), columns=COLUMN_SETS["dead"].columns)
    renderer = Renderer(chosen, COLUMNS, Limits())
    with taskstats.Source("procfs") as source:
        before = source.snapshot()
        for _ in range(200):
            # Tasks of others may die meanwhile.
            now = source.snapshot()
            lines = renderer.lines(taskstats.usage(before, now), (80, 24)).texts
            if any(text.startswith("no task died in this interval") for text, _ in lines):
                return
            before = now
    raise AssertionError(lines)


def test_keys_of_levels() -> None:
    assert press(State(), "t").tree == Tree("task")
    assert press(press(State(), "F5"), "t").tree == Tree()
    assert press(State(group_by="user"), "t").group_by == ""
    assert press(TREE, "z").tree == Tree()
    closed = press(TREE, "*")
    assert closed.tree.level == 1
    assert closed.notice == "levels up to 1 are open"
    assert press(closed, "*").tree.level is None
    assert press(TREE, "(").tree.level == tree.DEEPEST - 1
    assert press(press(TREE, "("), ")").tree.level is None
    assert press(replace(TREE, tree=Tree("task", 0)), "(").tree.level == 0
    assert press(State(), "+").request == "toggle"
    assert "t shows the tree" in state.toggle_row(State()).notice
    assert state.toggle_row(TREE).notice == "select a row, then + opens it"
    # In a list of a replay these keys change its speed.
    recorded = State(recorded=True)
    assert press(recorded, "+").speed == 2
    assert press(replace(recorded, tree=Tree("task")), "+").speed == 1


def test_views_keep_their_trees() -> None:
    now = State()
    seen = {}
    for _ in COLUMN_SETS:
        now = press(now, "Tab")
        seen[now.view] = now.tree.of
    assert seen == {name: chosen.tree for name, chosen in COLUMN_SETS.items()}
    # A tree of the first view is there when it comes back.
    now = press(State(), "t")
    for _ in COLUMN_SETS:
        now = press(now, "v")
    assert (now.view, now.tree) == ("live", Tree("task"))
    assert keys.bar(State()) != []
    assert state.toggle_row(State()).notice
