"""Batch output, and messages about wrong options and closed streams."""

from __future__ import annotations

import csv
import io
import json
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
import taskstats

PTOP = [sys.executable, "-m", "ptop"]


def run(*arguments: str | bytes, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PTOP, *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_batch_prints_a_table_for_each_interval() -> None:
    done = run("-b", "-n", "2", "-d", "0.2", "--columns", "pid,total_pct,name")
    assert (done.returncode, done.stderr) == (0, "")
    blocks = done.stdout.strip().split("\n\n")
    assert len(blocks) == 2
    head, titles, units, *rows = blocks[0].splitlines()
    assert "source" in head
    assert titles.split() == ["pid", "total", "Name"]
    assert units.split() == ["(#)", "(%)", "(str)"]
    assert any(row.split()[0] == "1" for row in rows)


def test_json_adds_up(needs: Any) -> None:
    done = run("-n", "2", "-d", "0.2", "--format", "json", "--columns", "rss_kb")
    assert (done.returncode, done.stderr) == (0, "")
    for line in done.stdout.splitlines():
        seen = json.loads(line)
        assert set(seen) == {
            "schema", "time", "interval_ns", "cpus", "source", "unavailable", "sum", "tasks",
        }  # fmt: skip
        assert abs(seen["time"] - time.time()) < 60
        assert seen["cpus"] == os.cpu_count()
        assert seen["unavailable"]["steal_ns"] == "unsupported"
        for name in ("user_ns", "system_ns", "total_ns"):
            assert seen["sum"][name] == sum(task[name] or 0 for task in seen["tasks"])
        sums = seen["sum"]
        terms = ("total_ns", "rowless_ns", "idle_ns", "irq_ns", "residual_ns")
        closed = sum(sums[key] for key in terms)
        assert closed + (sums["steal_ns"] or 0) == seen["cpus"] * seen["interval_ns"]
        for task in seen["tasks"]:
            assert task["steal_ns"] is None
            assert {"pid", "tgid", "ppid", "uid", "ac_comm", "total_pct", "rss_kb"} <= set(task)


def test_the_sum_does_not_depend_on_the_rows() -> None:
    done = run("-n", "1", "-d", "0.2", "--format", "json", "--rows", "1", "--filter", "name:python")
    seen = json.loads(done.stdout)
    assert len(seen["tasks"]) == 1
    assert "python" in seen["tasks"][0]["ac_comm"]
    assert seen["sum"]["total_ns"] >= seen["tasks"][0]["total_ns"]


def test_any_kernel_field_is_a_column() -> None:
    done = run("-b", "-n", "1", "-d", "0.1", "--columns", "ac_pid,hiwater_vm,nvcsw_delta,Name",
               "--sort", "hiwater_vm")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[1].split() == ["pid", "hiwater_vm", "nvcsw_delta", "Name"]
    peaks = [int(line.split()[1]) for line in lines[3:-2] if line.split()[1] != "-"]
    assert peaks
    assert peaks == sorted(peaks, reverse=True)


def test_csv_has_its_header_once() -> None:
    done = run("-n", "2", "-d", "0.2", "--format", "csv", "--pid", "1")
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert rows[0][:4] == ["time", "interval_ns", "pid", "tgid"]
    assert [row[2] for row in rows[1:]] == ["1", "1"]
    assert rows[1][rows[0].index("steal_ns")] == ""


def test_hostile_names_are_shown_safely() -> None:
    script = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'a\\x1b[2J\\xff'); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script]) as child:
        time.sleep(0.5)
        table = run("-b", "-n", "1", "-d", "0.1", "--pid", str(child.pid))
        lines = run("-n", "1", "-d", "0.1", "--format", "json", "--pid", str(child.pid))
        child.kill()
    assert "\x1b" not in table.stdout
    assert "a\u241b[2J\ufffd" in table.stdout
    assert json.loads(lines.stdout)["tasks"][0]["ac_comm"] == "a\x1b[2J\ufffd"


def test_csv_is_read_back_whatever_a_name_contains() -> None:
    name = 'a\r,"\nb'
    script = f"import ctypes, time; ctypes.CDLL(None).prctl(15, {name.encode()!r}); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script]) as child:
        time.sleep(0.5)
        words = ["-n", "1", "-d", "0.1", "--format", "csv", "--pid", str(child.pid)]
        # As bytes, because reading text translates carriage returns.
        done = subprocess.run([*PTOP, *words], capture_output=True, timeout=60, check=True)
        child.kill()
    text = done.stdout.decode()
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert [row[head.index("ac_comm")] for row in rows] == [name]
    assert pandas.read_csv(io.BytesIO(done.stdout))["ac_comm"].tolist() == [name]
    assert text.count("\n") == 3, "lines end in a newline alone"
    assert "\r\n" not in text


def test_doctor() -> None:
    assert "procfs     yes" in run("doctor").stdout
    report = json.loads(run("doctor", "--format", "json").stdout)
    assert [source["name"] for source in report["sources"]] == ["proc", "bpf", "netlink", "procfs"]
    assert report["auto"] in {"proc", "bpf", "netlink", "procfs"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--columns", "foo"), "no column 'foo'; the columns are: pid"),
        (("-d", "0"), "not a number of seconds"),
        (("-n", "-1"), "not a whole number"),
        (("--pid", "x"), "not a list of pids"),
        (("--pid", "9" * 5000), "not a list of pids"),
        (("-n", "9" * 5000), "not a whole number from 1 to 1000000000"),
        (("--rows", "9" * 25), "not a whole number from 1 to 1000000000"),
        (("-d", "9" * 400), "not a number of seconds from 0.1 to 86400"),
        (("--sort", "pid,Name"), "'pid,Name' are several columns: sort by one"),
        (("doctor", b"\x1b[31m\xff"), "\u241b[31m"),
        (("--source", "bogus"), "invalid choice"),
    ],
)
def test_bad_options_say_what_is_right(arguments: tuple[str | bytes, ...], words: str) -> None:
    done = run("-b", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("number", ["-1", "0", "9" * 25, "9" * 5000])
def test_an_impossible_pid_cannot_be_left_out(number: str) -> None:
    done = run("audit", "-n", "1", "-d", "0.1", "--leave-out", number)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a pid, a number from 1 to 4294967295" in done.stderr


def test_a_filter_is_utf8_in_any_locale() -> None:
    script = (
        "import ctypes, time; ctypes.CDLL(None).prctl(15, 'm\u00fchle'.encode()); time.sleep(60)"
    )
    environment = {**os.environ, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with subprocess.Popen([sys.executable, "-c", script]) as child:
        time.sleep(0.5)
        words = ["-n", "1", "-d", "0.1", "--format", "json", "--filter", "name:m\u00fchl"]
        done = run(*words, env=environment)
        child.kill()
    # The command line of ptop itself has the word as well.
    assert child.pid in [task["pid"] for task in json.loads(done.stdout)["tasks"]]


def test_a_named_source_does_not_fall_back(needs: Any) -> None:
    needs(os.geteuid() == 0, "needs root to drop privileges")
    script = (
        "import sys, taskstats; taskstats.drop_privileges('procfs');"
        "from ptop.cli import main; sys.exit(main(['-b', '-n', '1', '--source', 'netlink']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "CAP_NET_ADMIN" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_terminal_is_one_line_and_no_escape() -> None:
    done = run(stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "ptop -b" in done.stderr


def test_a_broken_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m ptop -b -n 50 -d 0.1 | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", ["-b -n 1 -d 0.1", "doctor", "--help", "--version"])
def test_a_pipe_closed_before_the_last_flush_is_no_error(arguments: str) -> None:
    # The reader is gone before any output, and the output fits into one buffer.
    command = f"(sleep 0.3; {sys.executable} -m ptop {arguments}; echo $? >&2) | true"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == "0\n"


CLOSED = """
"$@" record -o d.tsd -d 0.1 --for 0.3 >&- <&- 2>&- || exit 1
"$@" check d.tsd >&- || exit 2
for streams in '>&-' '<&-' '2>&-' '>&- <&- 2>&-'; do
    for words in '-b -n 1 -d 0.1' doctor 'check d.tsd' 'report d.tsd' 'export d.tsd' \
        'export d.tsd -o rows.csv' 'replay d.tsd -b' '--version' 'run true'; do
        eval "\"\\$@\" $words $streams" || exit 3
    done
    eval "\"\\$@\" audit -n 1 -d 0.1 $streams"
    [ $? -le 2 ] || exit 4
    eval "\"\\$@\" --bogus $streams"
    [ $? -eq 2 ] || exit 5
done
"""


def test_closed_streams_are_no_error(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", CLOSED, "sh", *PTOP],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
    # Output to a closed stream ends up in no other file.
    assert (tmp_path / "rows.csv").read_bytes().startswith(b"time_ns,")
    assert len(taskstats.open(tmp_path / "d.tsd").check()) == 0


def test_a_full_disk_is_an_error_in_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PTOP, "-b", "-n", "1", "-d", "0.1"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    said = "ptop: standard output: No space left on device; make room, or write elsewhere\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_no_home_and_a_c_locale_are_no_error() -> None:
    environment = {**os.environ, "HOME": "/nonexistent", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = run("-b", "-n", "1", "-d", "0.1", env=environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_batch_mode_loads_neither_curses_nor_numpy() -> None:
    script = (
        "import sys; from ptop.cli import main; main(['-b', '-n', '1', '-d', '0.1']);"
        "bad = {'curses', 'numpy'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


SNAP = "pid user sys ste cuser csys cste delay all Elap+ Name"


def test_the_snapshot_view_is_that_of_2010() -> None:
    done = run("-b", "-n", "1", "-d", "0.2", "--view", "snap")
    assert (done.returncode, done.stderr) == (0, "")
    _, titles, units, *rows = done.stdout.strip().splitlines()
    assert titles.split() == SNAP.split()
    assert units.split() == ["(#)", *["(%)"] * 8, "(hm)", "(str)"]
    shares = [float(row.split()[8]) for row in rows[:-1]]
    # The last line has the sum of all rows; each row is rounded to a hundredth.
    total = float(rows[-1].split()[-1])
    assert abs(sum(shares) - total) <= 0.005 * (len(shares) + 1) + 0.001


def test_rows_of_the_snapshot_view_add_up_with_the_dead() -> None:
    storm = subprocess.Popen(
        ["sh", "-c", "while :; do sh -c 'i=0; while [ $i -lt 500 ]; do i=$((i+1)); done'; done"]
    )
    try:
        done = run("-n", "1", "-d", "0.5", "--format", "json", "--view", "snap")
    finally:
        storm.kill()
        storm.wait()
    seen = json.loads(done.stdout)
    if os.geteuid() == 0:
        assert any(task.get("exited") for task in seen["tasks"])
    assert seen["sum"]["total_ns"] == sum(task["total_ns"] or 0 for task in seen["tasks"])
    assert {"cuser_pct", "csystem_pct", "all_pct"} <= set(seen["tasks"][0])


@pytest.mark.parametrize("by", ["parent", "session", "name", "user", "cgroup"])
def test_grouped_rows_have_the_same_sum(by: str) -> None:
    done = run("-n", "1", "-d", "0.2", "--format", "json", "--fold", by)
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    for name in ("user_ns", "system_ns", "total_ns"):
        assert seen["sum"][name] == sum(task[name] or 0 for task in seen["tasks"])
    assert sum(task["tasks"] for task in seen["tasks"]) >= len(seen["tasks"])
    if by != "parent":
        assert any(task["tasks"] > 1 for task in seen["tasks"])


def test_a_group_has_the_name_of_its_common_property() -> None:
    # On a busy machine the first interval may come before the names.
    done = run("-n", "4", "-d", "0.5", "--format", "json", "--fold", "user", "--sort", "name")
    tasks = json.loads(done.stdout.splitlines()[-1])["tasks"]
    titles = [task["title"] for task in tasks]
    names = {user.pw_uid: user.pw_name for user in pwd.getpwall()}
    assert titles == [names.get(task["uid"], str(task["uid"])) for task in tasks]
    assert titles == sorted(titles)
    assert len(set(titles)) == len(titles)
    me = pwd.getpwuid(os.getuid()).pw_name
    done = run("-b", "-n", "4", "-d", "0.5", "--fold", "user", "--filter", me)
    last = done.stdout.strip().split("\n\n")[-1]
    assert [line.split()[-1] for line in last.splitlines()[3:-1]] == [me]


def test_a_cgroup_has_its_path_as_name(needs: Callable[[bool, str], None]) -> None:
    text = Path("/proc/self/cgroup").read_text()
    path = next((line[3:] for line in text.splitlines() if line.startswith("0::")), None)
    needs(path is not None, "cgroup v2 is not mounted")
    done = run("-n", "1", "-d", "0.2", "--format", "json", "--fold", "cgroup")
    assert path in [task["title"] for task in json.loads(done.stdout)["tasks"]]
