"""Filters: what a user types, against a simple model, and in each place that has them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import taskstats
from hypothesis import given, settings
from hypothesis import strategies as st
from live_view import Live  # type: ignore[import-not-found]
from taskstats.recorded import Frames
from taskstats.screen import Screen

from ptop.columns import COLUMNS
from ptop.filters import fields_of_filter, row_filter, what_is_wrong
from ptop.live.keys import press
from ptop.live.state import State
from ptop.text import offset_s

PTOP = [sys.executable, "-m", "ptop"]


@pytest.fixture(scope="module")
def interval(tmp_path_factory: pytest.TempPathFactory) -> taskstats.Interval:
    """A recorded one: its command lines do not change."""
    path = tmp_path_factory.mktemp("filters") / "a.tsd"
    with (
        taskstats.Source("procfs", cpu_times=True) as source,
        taskstats.Recorder(path) as recorder,
    ):
        for _ in range(2):
            recorder.write(source.snapshot())
            time.sleep(0.2)
    interval = Frames(taskstats.open(path)).interval(1)
    assert interval is not None
    return interval


KEYS = ["ac_pid", "ac_comm", "cmdline", "ac_uid", "state", "rss_kb", "total_pct", "num_threads"]


def rows(interval: taskstats.Interval, text: str) -> list[tuple[object, ...]]:
    screen = Screen(
        [COLUMNS["pid"]],
        user=taskstats.user_name,
        offset_s=offset_s,
        sort="ac_pid",
        descending=False,
        where=row_filter(text),
    )
    return list[tuple[object, ...]](screen.values(interval, list(KEYS)))


# The model: a term as text, and what it means for the values of a row.
Row = dict[str, object]
Term = tuple[str, Callable[[Row], bool]]


def texts(row: Row) -> list[str]:
    return [str(row["ac_comm"] or "").lower(), str(row["cmdline"] or "").lower()]


def word(text: str) -> Term:
    def holds(row: Row) -> bool:
        return any(text in part for part in texts(row)) or str(row["ac_pid"]) == text

    return text, holds


def regex(text: str) -> Term:
    return f"/{text}/", lambda row: any(re.search(text, part) for part in texts(row))


def number(name: str, key: str, operator: str, shown: str, value: float) -> Term:
    compare: dict[str, Callable[[float], bool]] = {
        "=": lambda x: x == value, "!=": lambda x: x != value, ">": lambda x: x > value,
        "<": lambda x: x < value, ">=": lambda x: x >= value, "<=": lambda x: x <= value,
    }  # fmt: skip

    def holds(row: Row) -> bool:
        cell = row[key]
        return isinstance(cell, (int, float)) and compare[operator](cell)

    return f"{name}{operator}{shown}", holds


def state(letters: str) -> Term:
    def holds(row: Row) -> bool:
        cell = row["state"]
        return isinstance(cell, int) and taskstats.state_letter(cell) in letters

    return f"state={','.join(letters)}", holds


def user(uid: int) -> Term:
    return f"user={uid}", lambda row: row["ac_uid"] == uid


OPERATORS = st.sampled_from(["=", "!=", ">", "<", ">=", "<="])
SIZES = {"0": 0.0, "500": 500.0, "1m": 1024.0, "20M": 20 * 1024.0, "4096K": 4096.0}
TERMS = st.one_of(
    st.sampled_from(["k", "py", "sh", "worker", "1", "2", "python", "no-such"]).map(word),
    st.sampled_from(["^k", "k$", "[0-9]", "(a|e)r", "s.*h"]).map(regex),
    st.tuples(OPERATORS, st.sampled_from(sorted(SIZES))).map(
        lambda at: number("rss", "rss_kb", at[0], at[1], SIZES[at[1]])
    ),
    st.tuples(OPERATORS, st.sampled_from(["1", "2", "100"])).map(
        lambda at: number("pid", "ac_pid", at[0], at[1], float(at[1]))
    ),
    st.tuples(OPERATORS, st.sampled_from(["0%", "0.5"])).map(
        lambda at: number("total", "total_pct", at[0], at[1], float(at[1].rstrip("%")))
    ),
    st.sampled_from(["S", "R", "IS", "D"]).map(state),
    st.sampled_from([0, os.getuid(), 54321]).map(user),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.tuples(st.booleans(), TERMS), min_size=1, max_size=3), max_size=3))
def test_a_filter_keeps_what_the_model_keeps(
    interval: taskstats.Interval, alternatives: list[list[tuple[bool, Term]]]
) -> None:
    text = " | ".join(
        " ".join("!" * negated + shown for negated, (shown, _) in terms) for terms in alternatives
    )

    def keeps(row: Row) -> bool:
        return not alternatives or any(
            all(holds(row) != negated for negated, (_, holds) in terms) for terms in alternatives
        )

    everything = [dict(zip(KEYS, row, strict=True)) for row in rows(interval, "")]
    assert any(row["cmdline"] for row in everything)
    expected = [row["ac_pid"] for row in everything if keeps(row)]
    assert [row[0] for row in rows(interval, text)] == expected, text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"a', 'a " is missing at the end'),
        ("a |", "a term is missing beside |"),
        ("| a", "a term is missing beside |"),
        ("!", "a term is missing after !"),
        ("! a", "a term is missing after !"),
        ("rss>", "rss> needs a value"),
        ("rss>10X", "'10X' is not a number for rss: give one in KiB, or with K, M, G, T"),
        ("rss~10", "rss is a number: compare it with = != > < >= <="),
        ("no_such>1", "no column 'no_such'; put the text in quotes to search for it"),
        ("state=Q", "state= takes letters such as R or D,S"),
        ("user>root", "user is a text: = the whole, : a part, ~ a regex"),
        ("/(/", "the regex '(' is wrong: unclosed group"),
        ("~[", "the regex '[' is wrong: unclosed character class"),
    ],
)
def test_a_wrong_filter_says_what_is_wrong(text: str, message: str) -> None:
    assert message in what_is_wrong(text).replace('"', "'").replace("a ' is", 'a " is')


@pytest.mark.parametrize(
    "text", ["kworker/0:1", "/usr/bin/python", "sd-pam", "a=b", "(sd-pam)", "x:y", "~", "", "a b"]
)
def test_plain_filters_stay_right(text: str) -> None:
    assert what_is_wrong(text) == ""


def test_a_filter_says_what_it_needs() -> None:
    assert fields_of_filter("python") == frozenset()
    assert fields_of_filter("rss>1M") == {"rss_kb"}
    assert fields_of_filter("cgroup:x | read>1K") == {"cgroup_id", "read_bytes"}
    assert row_filter("rss>1M total>1%").columns == ["rss_kb", "total_pct"]


def test_a_wrong_filter_is_answered_while_it_is_typed() -> None:
    typed = State(filter="old")
    for key in ("F4", "Ctrl-U", *"rss>"):
        typed = press(typed, key)
    assert (typed.wrong, typed.trial) == ("rss> needs a value", "rss")
    assert press(typed, "Enter").mode == "filter"
    typed = press(typed, "1")
    assert (typed.wrong, typed.trial) == ("", "rss>1")
    assert press(typed, "Enter").filter == "rss>1"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    # The seconds are found in the command line alone.
    with subprocess.Popen(["sleep", "31416.25"]) as started:
        yield started
        started.kill()


def output(*words: str) -> str:
    done = subprocess.run([*PTOP, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_batch_export_and_replay_filter_alike(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    words = ["--filter", "31416.25 !pytest state=S"]
    live = json.loads(output("--format", "json", "-n", "1", "-d", "0.2", *words))
    assert [task["pid"] for task in live["tasks"]] == [sleeper.pid]
    path = str(tmp_path / "a.tsd")
    output("record", "-o", path, "--for", "0.5", "-d", "0.2")
    recorded = output("replay", path, "--format", "json", *words).splitlines()
    assert recorded
    for line in recorded:
        assert [task["pid"] for task in json.loads(line)["tasks"]] == [sleeper.pid]
    exported = output("export", path, "--format", "json", *words).splitlines()
    rows = [json.loads(line) for line in exported]
    assert [row["ac_pid"] for row in rows] == [sleeper.pid] * len(recorded)
    # A row has the same values as without a filter.
    everything = [
        json.loads(line) for line in output("export", path, "--format", "json").splitlines()
    ]
    assert rows == [row for row in everything if row["ac_pid"] == sleeper.pid]
    assert output("export", path, "--filter", "no-such-word").count("\n") == 1
    busy = output("export", path, "--format", "json", "--filter", "total_ns>0").splitlines()
    assert [json.loads(line) for line in busy] == [row for row in everything if row["total_ns"]]


def test_a_wrong_filter_is_a_wrong_option() -> None:
    done = subprocess.run(
        [*PTOP, "-b", "-n", "1", "--filter", "rss>"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "argument --filter: rss> needs a value" in done.stderr


def test_the_live_view_filters_by_command_line(sleeper: subprocess.Popen[bytes]) -> None:
    live = Live(columns=100)
    live.until("Name")
    live.child.send("\\31416.25 name=sleep")
    live.until(f" {sleeper.pid} ")
    live.until("filter 31416.25 name=sleep: 1 of ")
    live.child.send(" rss>")
    live.until("rss> needs a value")
    live.child.send("1G\r")
    live.until("no task matches")
    live.child.send("\\\x15\r")
    live.child.send("/31416.25\r")
    live.until("F10Quit")
    live.child.send("X")
    live.until("filter without the dead")
    live.child.send("q")
    assert live.ended() == 0


def test_many_command_lines_are_read_in_the_background() -> None:
    # More processes than one frame reads command lines of.
    script = "import os, time\nfor _ in range(400):\n if not os.fork(): time.sleep(100)\n"
    script += "print('ready', flush=True)\ntime.sleep(100)"
    words = [sys.executable, "-c", script, "no-such-other-word"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as crowd:
        try:
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == b"ready\n"
            live = Live(columns=120)
            live.until("Name")
            live.child.send("\\no-such-other-word\r")
            live.until("filter no-such-other-word: 401 of ", 60)
            end = time.monotonic() + 20
            while "searching" in live.text():
                assert time.monotonic() < end
                live.pump()
            assert b"searching" in live.raw
            live.child.send("q")
            assert live.ended() == 0
        finally:
            os.killpg(crowd.pid, 9)


def test_csv_has_the_same_rows(sleeper: subprocess.Popen[bytes]) -> None:
    text = output("--format", "csv", "-n", "1", "-d", "0.2", "--filter", f"pid={sleeper.pid}")
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["ac_comm"] == "sleep"
