"""Reports and exports, compared with the recording that they are made from."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import resource
import shlex
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas
import pexpect
import pyarrow
import pytest
import taskstats
from machine import BRIEF, BRIEF_S, damage, record  # type: ignore[import-not-found]
from pyarrow import parquet
from taskstats.recorded import COLUMNS, Frames

from ptop.commands.report import Usage, top

# Shows the progress bar at once instead of after a second.
PATIENT = """
import sys
from ptop import cli, recordings
recordings.BAR_DELAY_S = 0
sys.exit(cli.main(sys.argv[1:]))
"""


def frames_of(path: Path) -> Frames:
    return Frames(taskstats.open(path))


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "ptop", *arguments],
        capture_output=True,
        timeout=100,
        check=False,
        **options,
    )


def report(*arguments: str) -> dict[str, Any]:
    done = run("report", "--format", "json", "--rows", "100000", *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rows_of(found: dict[str, Any], group: str, by: str) -> list[dict[str, Any]]:
    for table in found["tops"]:
        if (table["group"], table["by"]) == (group, by):
            rows: list[dict[str, Any]] = table["rows"]
            return rows
    raise AssertionError((group, by))


def test_a_report_has_all_time_of_all_intervals(recording: Path) -> None:
    found = report(str(recording))
    whole = sum(interval.sum(["total_ns"])[0] or 0 for interval in frames_of(recording).intervals())
    for group in ("tasks", "users", "cgroups"):
        rows = rows_of(found, group, "cpu")
        assert sum(row["cpu_ns"] for row in rows) == whole
        uses = [row["cpu_ns"] for row in rows]
        assert uses == sorted(uses, reverse=True)


def test_a_hyphen_is_standard_input(recording: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "rows.csv")
    for command in (["report", "--format", "json"], ["replay", "-b"], ["export", "-o", output]):
        done = []
        for name in (str(recording), "-"):
            with recording.open("rb") as file:
                done.append(run(*command, name, stdin=file))
        assert [one.returncode for one in done] == [0, 0], done[1].stderr
        assert done[0].stdout == done[1].stdout
    for command in (["report"], ["replay", "-b"], ["export", "-o", "-"], ["check"]):
        # What a pipe gives cannot be read again.
        piped = run(*command, "-", input=b"anything")
        assert piped.returncode != 0
        assert b"/dev/stdin is no regular file; write what it holds to a file" in piped.stderr


def test_short_lived_tasks_share_a_row(recording: Path) -> None:
    # Seven processes of one name ran and exited between the snapshots; on a busy machine each
    # may live for seconds.
    rows = rows_of(report(str(recording), "--short", "600"), "tasks", "cpu")
    (group,) = (row for row in rows if row["name"].startswith(BRIEF))
    assert group["name"] == f"{BRIEF} (short-lived)"
    assert group["tasks"] == 7
    assert group["cpu_ns"] >= 7 * BRIEF_S * 1e9
    assert not any(
        "(short-lived)" in row["name"]
        for row in rows_of(report(str(recording), "--short", "0"), "tasks", "cpu")
    )


def test_a_span_is_part_of_the_whole(recording: Path) -> None:
    times = frames_of(recording).times_ns
    # A millisecond before the frames end.
    since, until = (times[index] - 10**6 for index in (3, 5))
    found = report(str(recording), "--from", f"@{since / 1e9:.6f}", "--to", f"@{until / 1e9:.6f}")
    assert found["intervals"] == 3
    assert found["from"] * 1e9 == pytest.approx(times[2], abs=1e3)


@pytest.mark.parametrize("command", ["report", "export"])
def test_a_span_without_intervals_is_an_error(
    recording: Path, tmp_path: Path, command: str
) -> None:
    times = frames_of(recording).times_ns
    begin = f"@{times[0] / 1e9 - 1:.6f}"
    end = f"@{times[-1] / 1e9 + 1:.6f}"
    for span, asked in (
        (("--from", "2040-01-01"), "from 2040-01-01 to the end"),
        (("--to", "2020-01-01"), "from the beginning to 2020-01-01"),
        (("--from", "2020-01-01", "--to", "2020-01-02"), "from 2020-01-01 to 2020-01-02"),
        (("--from", end, "--to", begin), f"from {end} to {begin}"),
    ):
        done = run(command, str(recording), *span)
        assert (done.returncode, done.stdout) == (2, b"")
        assert f"no interval {asked}; the recording holds 20".encode() in done.stderr
    assert run(command, str(recording), "--from", begin, "--to", end).returncode == 0
    # A file without such intervals does not exclude another file.
    other = tmp_path / "later.tsd"
    record(other, 2)
    later = frames_of(other).times_ns[0] / 1e9
    done = run(command, str(recording), str(other), "--from", f"@{later:.6f}", "--format", "csv")
    alone = run(command, str(other), "--format", "csv")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == alone.stdout


def test_a_span_within_a_gap_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "again.tsd"
    record(path, 3)
    ends = [frames_of(path).times_ns[-1]]
    # The second recorder has used less CPU time than the first.
    code = f"from machine import record; from pathlib import Path; record(Path({str(path)!r}), 2)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
    ends.append(frames_of(path).times_ns[3])
    since, until = (f"@{ns / 1e9:.6f}" for ns in (ends[0] + 10**6, ends[1] - 10**6))
    assert b"no interval from" in run("report", str(path), "--from", since, "--to", until).stderr


def test_two_files_are_added(recording: Path) -> None:
    one, both = report(str(recording)), report(str(recording), str(recording))
    cpu = [sum(row["cpu_ns"] for row in rows_of(each, "users", "cpu")) for each in (one, both)]
    assert cpu[1] == 2 * cpu[0]


def test_tables_and_csv(recording: Path) -> None:
    table = run("report", str(recording), "--by", "cpu", "--group", "users").stdout.decode()
    assert "7 intervals" in table
    assert "users by cpu" in table
    assert "root" in table
    assert "by io" not in table
    rows = list(csv.DictReader(io.StringIO(run("report", str(recording), "--format", "csv")
                                           .stdout.decode())))  # fmt: skip
    assert {row["by"] for row in rows} >= {"cpu"}


def test_csv_is_read_back_whatever_a_name_contains(tmp_path: Path) -> None:
    name = 'a\r,"\nb'
    busy = (
        f"import ctypes, time; ctypes.CDLL(None).prctl(15, {name.encode()!r}); print(flush=True)\n"
        "end = time.process_time() + 30\n"
        "while time.process_time() < end: pass"
    )
    path = tmp_path / "names.tsd"
    with subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        record(path, 2)
        child.kill()
    words = ["--group", "tasks", "--by", "cpu", "--format", "csv", "--rows", "1000000"]
    for done, column, expected in (
        (run("report", str(path), *words), "name", f"{name} [{child.pid}]"),
        (run("export", str(path), "--columns", "ac_comm"), "ac_comm", name),
    ):
        head, *rows = csv.reader(io.StringIO(done.stdout.decode(), newline=""))
        assert expected in [row[head.index(column)] for row in rows]
        assert expected in pandas.read_csv(io.BytesIO(done.stdout))[column].tolist()
        assert b"\r\n" not in done.stdout


def test_unknown_values_are_in_no_ranking() -> None:
    rows = {"a": Usage(cpu_ns=1), "b": Usage(cpu_ns=3, read_bytes=5), "c": Usage(cpu_ns=0)}
    assert [name for name, _ in top(rows, "cpu_ns", 9)] == ["b", "a"]
    assert [name for name, _ in top(rows, "io_bytes", 9)] == ["b"]


NAMES = "time_ns,host,ac_pid,ac_comm,total_ns,exited,ac_sttime"


@pytest.fixture(scope="module")
def expected(recording: Path) -> list[tuple[Any, ...]]:
    found = []
    for interval in frames_of(recording).intervals():
        cur = interval.cur
        for pid, name, used, exited in interval.select(["ac_pid", "ac_comm", "total_ns", "exited"]):
            found.append((cur.time_ns, cur.host, pid, name, used, bool(exited), None))
    return found


def test_csv(recording: Path, expected: list[tuple[Any, ...]]) -> None:
    done = run("export", str(recording), "--columns", NAMES)
    assert (done.returncode, done.stderr) == (0, b"")
    head, *rows = csv.reader(io.StringIO(done.stdout.decode()))
    assert head == NAMES.split(",")
    assert rows == [["" if cell is None else str(cell) for cell in row] for row in expected]


def test_json_lines(recording: Path, expected: list[tuple[Any, ...]], tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert run("export", str(recording), "--columns", NAMES, "-o", str(out)).returncode == 0
    rows = [tuple(json.loads(line).values()) for line in out.read_text().splitlines()]
    assert rows == expected


@pytest.mark.parametrize("suffix", ["arrow", "parquet"])
def test_arrow_and_parquet(
    recording: Path, expected: list[tuple[Any, ...]], tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"out.{suffix}"
    done = run("export", str(recording), "--columns", NAMES, "-o", str(out))
    assert (done.returncode, done.stderr) == (0, b"")
    table = pyarrow.ipc.open_file(out).read_all() if suffix == "arrow" else parquet.read_table(out)
    # Spark reads no ns from Parquet.
    unit, in_ns = ("ns", 1) if suffix == "arrow" else ("us", 1000)
    assert table.schema.field("time_ns").type == pyarrow.timestamp(unit, tz="UTC")
    cells = table.set_column(0, "time_ns", table["time_ns"].cast(pyarrow.int64()))
    assert list(zip(*(cells[name].to_pylist() for name in cells.column_names), strict=True)) == (
        [(row[0] // in_ns, *row[1:]) for row in expected]
    )
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


def test_parquet_does_not_load_pandas(recording: Path, tmp_path: Path) -> None:
    """It takes longer to load than a small export."""
    code = (
        "import sys; from ptop.commands import export\n"
        "assert export.main(sys.argv[1:]) == 0 and 'pandas' not in sys.modules"
    )
    words = [str(recording), "-o", str(tmp_path / "out.parquet")]
    subprocess.run([sys.executable, "-c", code, *words], check=True)


def test_all_columns_by_default(recording: Path) -> None:
    done = run("export", str(recording), "--to", "+0s")
    head, *rows = csv.reader(io.StringIO(done.stdout.decode()))
    assert head == list(COLUMNS)
    assert len(rows) == len(next(frames_of(recording).intervals()))


def test_every_column_has_a_type_that_holds_it(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.parquet"
    assert run("export", str(recording), "-o", str(out)).returncode == 0
    table = parquet.read_table(out)
    assert table.column_names == list(COLUMNS)
    last = list(frames_of(recording).intervals())[-1]
    # Types are those of the kernel: Spark takes 64 bits without a sign as decimals.
    types = {"ac_nice": "int8", "ac_pid": "uint32", "exited": "bool", "ac_sum_exec_ns": "uint64"}
    assert {name: str(table.schema.field(name).type) for name in types} == types
    names = ["ac_nice", "task_id", "ac_sum_exec_ns", "cgroup_id", "ac_uid"]
    rows = table.select(names).to_pylist()[-len(last) :]
    assert [tuple(row.values()) for row in rows] == last.select(names)
    assert any(row["ac_nice"] < 0 for row in rows if row["ac_nice"] is not None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--columns", "foo"), b"no column 'foo'; the columns are: time_ns"),
        (("--columns", ","), b"give at least one column"),
        (("--from=-0s", "--to=+0s"), b"no interval from -0s to +0s"),
        (("--format", "xml"), b"invalid choice"),
    ],
)
def test_bad_options_say_what_is_right(
    recording: Path, arguments: tuple[str, ...], words: bytes
) -> None:
    done = run("export", str(recording), *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr


@pytest.mark.parametrize("short", ["nan", "inf", "-1", "long", "9" * 400])
def test_the_limit_of_a_short_life(recording: Path, short: str) -> None:
    done = run("report", str(recording), f"--short={short}")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"is not a number of seconds from 0 to 3153600000" in done.stderr


def test_without_pyarrow_the_extra_is_named(recording: Path, tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from ptop.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "export", str(recording), "-o", str(tmp_path / "a.parquet")],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    assert b"pip install 'precise-top[export]'" in done.stderr
    assert not list(tmp_path.iterdir())


def test_names_are_those_of_the_recording(recording: Path) -> None:
    names = "ac_pid,user,cgroup,cmdline,ac_uid,cgroup_id"
    done = run("export", str(recording), "--columns", names, "--format", "json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    dump = taskstats.open(recording)
    recorded = {task.ac_pid: task.cmdline for snapshot in dump for task in snapshot}
    # The test's own process outlives the recording.
    mine = next(row for row in rows if row["ac_pid"] == os.getpid())
    assert shlex.split(mine["cmdline"]) == recorded[os.getpid()]
    assert {row["user"] for row in rows if row["ac_uid"] == 0} == {dump.user(0)} == {"root"}
    for row in rows:
        assert row["cgroup"] == (
            None if row["cgroup_id"] is None else dump.cgroup(row["cgroup_id"])
        )
    cgroups = rows_of(report(str(recording)), "cgroups", "cpu")
    known = {row["cgroup"] for row in rows}
    assert all(row["name"] in known for row in cgroups if row["name"].startswith("/"))


def test_damage_is_an_error_unless_it_is_to_be_left_out(tmp_path: Path) -> None:
    path, out = tmp_path / "damaged.tsd", tmp_path / "rows.csv"
    record(path, 8, full_every=1, level=None)
    damage(path, 3)
    for command in ("report", "export"):
        for words, status in (([], 1), (["--skip-damaged"], 0)):
            done = run(command, str(path), "--format", "csv", *words)
            assert done.returncode == status
            assert b"1 of 8 snapshots were left out, the first of them 3: " in done.stderr
            assert (b"--skip-damaged" in done.stderr) == (status == 1)
        assert done.stdout
    done = run("export", str(path), "-o", str(out))
    assert (done.returncode, out.exists()) == (1, False)
    assert f"{out} is not written".encode() in done.stderr
    assert run("export", str(path), "-o", str(out), "--skip-damaged").returncode == 0
    assert out.stat().st_size


def test_files_without_an_interval_are_left_out(recording: Path, tmp_path: Path) -> None:
    """As a recorder has just begun them, or where all of them is damaged."""
    begun, empty, lost = (tmp_path / f"{name}.tsd" for name in ("begun", "empty", "lost"))
    record(begun, 1)
    empty.write_bytes(b"")
    record(lost, 2, full_every=1, level=None)
    damage(lost, 0)
    damage(lost, 1)
    words = {
        "report": ["--format", "csv"],
        "export": ["--columns", NAMES],
        "partition": ["--columns", NAMES, "--partition", "host", "-o", str(tmp_path / "lake")],
    }
    for name, options in words.items():
        command = "report" if name == "report" else "export"
        alone = run(command, str(recording), *options)
        done = run(command, str(recording), str(begun), *options)
        assert (done.returncode, done.stdout, done.stderr) == (0, alone.stdout, b"")
        for bad in (empty, lost):
            files = [command, str(bad), str(recording)]
            assert run(*files, *options).returncode == 1
            done = run(*files, *options, "--skip-damaged")
            assert (done.returncode, done.stdout) == (0, alone.stdout)
            assert str(bad).encode() in done.stderr
            # Nothing is left.
            done = run(command, str(bad), *options, "--skip-damaged")
            assert done.returncode == 1
            assert b"usage:" not in done.stderr
        assert run(command, str(begun), *options).returncode == 2


def test_a_directory_stands_for_its_recordings(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "db[1]").mkdir()
    for name in ("one.tsd", "db[1]/two.tsd", "notes.txt"):
        (tmp_path / name).write_bytes(recording.read_bytes())
    files = [str(tmp_path / "db[1]/two.tsd"), str(tmp_path / "one.tsd")]
    options = ["--columns", NAMES]
    whole = run("export", *files, *options)
    assert (whole.returncode, whole.stderr) == (0, b"")
    assert run("export", str(tmp_path), *options).stdout == whole.stdout
    checked = run("check", str(tmp_path))
    assert checked.stdout.count(b" snapshots over ") == 2
    (tmp_path / "empty").mkdir()
    done = run("report", str(tmp_path / "empty"))
    assert done.returncode == 1
    assert b"Is a directory" in done.stderr


def test_a_terminal_shows_progress(recording: Path) -> None:
    # Ten times the work, so that it takes longer; the bar is removed at the end.
    words = ["-c", PATIENT, "report", *[str(recording)] * 10]
    child = pexpect.spawn(sys.executable, words, timeout=60, dimensions=(24, 80))
    child.expect("reading: ")
    child.expect("frame/s")
    child.expect("tasks by cpu")
    child.expect(pexpect.EOF)


def test_an_input_is_not_overwritten(recording: Path, tmp_path: Path) -> None:
    before = recording.read_bytes()
    link = tmp_path / "link.csv"
    link.symlink_to(recording)
    for output in (recording, link):
        done = run("export", str(recording), "-o", str(output), "--format", "csv")
        assert done.returncode == 2
        assert b"is an input: give another name to -o" in done.stderr
    done = run("export", str(recording), "-o", str(tmp_path / "rows.foo"))
    assert done.returncode == 2
    assert b"give --format, or a name that ends in .csv, " in done.stderr
    assert list(tmp_path.iterdir()) == [link]
    assert recording.read_bytes() == before


def test_a_pipe_or_device_is_written_to(recording: Path, tmp_path: Path) -> None:
    words = ["export", str(recording), "--columns", "ac_pid,total_ns", "--format"]
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for style in ("csv", "arrow", "parquet"):
        # A file takes all of it; a pipe would hold the rows of a few thousand processes.
        copy = tmp_path / "copy"
        with copy.open("wb") as out, subprocess.Popen(["cat", fifo], stdout=out):
            done = run(*words, style, "-o", str(fifo))
            assert (done.returncode, done.stderr) == (0, b"")
        assert copy.read_bytes() == run(*words, style).stdout
        assert fifo.is_fifo()
    # A terminal device.
    ours, theirs = os.openpty()
    device = tmp_path / "device"
    device.symlink_to(os.ttyname(theirs))
    done = run(*words, "csv", "-o", str(device), "--from=-0s")
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.read(ours, 100).startswith(b"ac_pid,total_ns\r\n")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert device.is_symlink()
    done = run(*words, "csv", "-o", "/dev/stdout")
    assert done.stdout == run(*words, "csv").stdout


def test_a_link_is_followed(recording: Path, tmp_path: Path) -> None:
    dump = tmp_path / "dump.tsd"
    dump.write_bytes(recording.read_bytes())
    dump.chmod(0o644)
    words = ["export", str(dump), "--columns", "ac_pid", "-o"]
    (tmp_path / "far").mkdir()
    target, link, new = tmp_path / "far" / "rows", tmp_path / "link.csv", tmp_path / "new.csv"
    link.symlink_to("far/rows")
    for mode in (0o640, 0o600):
        # First the target does not exist, then it does.
        assert run(*words, str(link), umask=0o027).returncode == 0
        assert link.is_symlink()
        assert stat.S_IMODE(target.stat().st_mode) == mode
        target.chmod(0o600)
    assert run(*words, str(new), umask=0o022).returncode == 0
    assert stat.S_IMODE(new.stat().st_mode) == 0o644
    assert new.read_bytes() == target.read_bytes()
    link.unlink()
    link.symlink_to(link)
    done = run(*words, str(link))
    assert done.returncode == 1
    assert done.stderr.startswith(f"ptop: {link}: Too many levels of symbolic links".encode())
    assert sorted(tmp_path.rglob("*")) == sorted([target.parent, target, link, new, dump])


def test_a_failed_export_leaves_no_file_and_names_it(recording: Path, tmp_path: Path) -> None:
    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    for style in ("csv", "json", "arrow", "parquet"):
        out = tmp_path / f"rows.{style}"
        out.write_text("before")
        done = run("export", str(recording), "-o", str(out), preexec_fn=small)
        assert done.returncode == 1
        assert done.stderr.startswith(f"ptop: {out}: File too large".encode())
        assert out.read_text() == "before"
        out.unlink()
    for name in ("no/rows.csv", "."):
        typed = f"{tmp_path}/{name}"
        done = run("export", str(recording), "--format", "csv", "-o", typed)
        assert done.returncode == 1
        assert done.stderr.startswith(f"ptop: {typed}: ".encode())
        assert b".part" not in done.stderr
    assert not list(tmp_path.iterdir())


def open_files(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(link))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_no_unfinished_file(
    recording: Path, tmp_path: Path, number: signal.Signals
) -> None:
    words = ["export", *[str(recording)] * 300, "-o", str(tmp_path / "rows.csv")]
    with subprocess.Popen([sys.executable, "-m", "ptop", *words]) as child:
        # The file has no name, but the process has it open.
        while not any(link.startswith(f"{tmp_path}/") for link in open_files(child.pid)):
            assert child.poll() is None
            time.sleep(0.01)
        child.send_signal(number)
    assert child.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_recording_is_answered_with_how_to_make_one(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("junk\n")
    for command in (["replay", str(other), "-b"], ["report", str(other)], ["check", str(other)]):
        done = run(*command)
        assert done.returncode == 1
        assert b"neither a dump (ptop record -o FILE writes one) nor records" in done.stderr


def test_partitions_have_the_rows_of_the_file(recording: Path, tmp_path: Path) -> None:
    fleet, out = tmp_path / "fleet", tmp_path / "lake"
    fleet.mkdir()
    names = ["db1", "web/2"]
    for number, host in enumerate(names):
        with taskstats.Recorder(fleet / f"{number}.tsd", host=host) as recorder:
            for snapshot in taskstats.open(recording):
                recorder.write(snapshot)
    paths = sorted(map(str, fleet.iterdir()))
    for _ in range(2):
        # A second export replaces the first.
        done = run("export", *paths, "--partition", "host,date", "-o", str(out))
        assert (done.returncode, done.stderr) == (0, b"")
        files = [path for path in out.rglob("*") if path.is_file()]
        assert {path.suffix for path in files} == {".parquet"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        table = parquet.read_table(out, partitioning="hive")
        assert set(table.column("host").to_pylist()) == {"db1", "web/2"}
        used = pyarrow.compute.sum(table.column("total_ns")).as_py()
        intervals = frames_of(recording).intervals()
        assert used == 2 * sum(interval.sum(["total_ns"])[0] or 0 for interval in intervals)
    days = {str(day)[:10] for day in table.column("time_ns").to_pylist()}
    assert {str(day) for day in table.column("date").to_pylist()} == days
    for words in (["-o", str(out), "--format", "csv"], [], ["-o", paths[0]]):
        done = run("export", paths[0], "--partition", "host", *words)
        assert done.returncode == 2
    done = run("export", paths[0], "--partition", "user", "-o", str(out))
    assert b"give host, date or host,date" in done.stderr


def test_damage_leaves_no_partition_unless_told(tmp_path: Path) -> None:
    path, out = tmp_path / "damaged.tsd", tmp_path / "lake"
    record(path, 6, full_every=1, level=None)
    damage(path, 3)
    done = run("export", str(path), "--partition", "date", "-o", str(out))
    assert done.returncode == 1
    assert not [found for found in out.rglob("*") if found.is_file()]
    done = run("export", str(path), "--partition", "date", "-o", str(out), "--skip-damaged")
    assert done.returncode == 0
    assert parquet.read_table(out, partitioning="hive").num_rows
