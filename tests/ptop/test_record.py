"""`ptop record` and `ptop check`: whatever ends a recording, what was written stays readable."""

from __future__ import annotations

import errno
import os
import random
import re
import resource
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import taskstats

from ptop.commands import record

RECORD = [sys.executable, "-m", "ptop", "record"]
CHECK = [sys.executable, "-m", "ptop", "check"]


def run(words: list[str], *options: str | Path) -> subprocess.CompletedProcess[str]:
    arguments = [*words, *map(str, options)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)


def snapshots(path: Path) -> list[taskstats.Snapshot]:
    found = list(taskstats.open(path))
    times = [snapshot.monotonic_ns for snapshot in found]
    assert times == sorted(times)
    assert all(any(task.ac_pid == os.getpid() for task in snapshot) for snapshot in found)
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return tmp_path / "dump.tsd"


def test_a_recording_is_private_and_whole(dump: Path) -> None:
    done = run(RECORD, "-o", dump, "-d", "0.2", "--for", "1")
    assert (done.returncode, done.stdout) == (0, "")
    # A stall costs some of them.
    number = len(snapshots(dump))
    assert 2 < number <= 6
    assert done.stderr == f"ptop: {number} snapshots were written to {dump}\n"
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600
    checked = run(CHECK, dump)
    assert checked.returncode == 0
    assert checked.stdout.startswith(f"{dump}: {number} of {number} snapshots over ")
    # It has all that the balance of an interval needs. That this equals the live balance is
    # tested elsewhere.
    first, *between, last = taskstats.open(dump)
    books = taskstats.usage(first, last, exits=between).books()
    terms = ("tasks_ns", "idle_ns", "irq_ns", "steal_ns", "rowless_ns", "residual_ns")
    assert sum(books[term] or 0 for term in terms) == books["available_ns"]
    assert books["idle_ns"] is not None


def test_names_are_recorded(dump: Path) -> None:
    # The name is the recorded one, whatever the process is called when the dump is read.
    script = "import time; print(flush=True); time.sleep(60)"
    sleeper = subprocess.Popen([sys.executable, "-c", script, "as recorded"], stdout=-1)
    assert sleeper.stdout
    sleeper.stdout.readline()
    assert run(RECORD, "-o", dump, "-d", "0.1", "--for", "0.1").returncode == 0
    sleeper.kill()
    sleeper.communicate()
    opened = taskstats.open(dump)
    task = opened[-1].by_pid(sleeper.pid)
    assert task
    assert task.cmdline == [sys.executable, "-c", script, "as recorded"]
    assert opened.user(0) == "root"


def test_an_existing_dump_is_continued(dump: Path) -> None:
    for _ in range(2):
        assert run(RECORD, "-o", dump, "-d", "0.1", "--for", "0.1").returncode == 0
    assert len(snapshots(dump)) == 4


def test_another_file_is_refused_and_kept(dump: Path) -> None:
    for content in (b"precious\n", b"TSKDUMP", b"TSKDUMP\n\x09", b"\0" * 4096):
        dump.write_bytes(content)
        done = run(RECORD, "-o", dump, "--for", "0.1")
        kept = dump.read_bytes()
        if content == b"TSKDUMP":
            # The beginning of a dump, as a power failure may leave it.
            assert done.returncode == 0
            continue
        assert done.returncode == 1
        assert done.stderr.startswith("ptop: ")
        assert kept == content
    done = run(RECORD, "-o", dump.parent, "--for", "0.1")
    assert done.returncode == 1
    fifo = dump.parent / "fifo"
    os.mkfifo(fifo)
    done = run(RECORD, "-o", fifo, "--for", "0.1")
    assert "is no regular file; give the name of a new file" in done.stderr


def test_two_recorders_do_not_share_a_file(dump: Path) -> None:
    first = subprocess.Popen([*RECORD, "-o", dump, "-d", "0.1"], stderr=subprocess.PIPE)
    wait_for(lambda: dump.exists() and dump.stat().st_size > 16)
    second = run(RECORD, "-o", dump, "--for", "0.1")
    assert second.returncode == 1
    assert "is being recorded to; give another name" in second.stderr
    first.terminate()
    _, said = first.communicate(timeout=30)
    assert first.returncode == 0
    assert b"snapshots were written" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_cleanly(dump: Path, number: signal.Signals) -> None:
    recorder = subprocess.Popen([*RECORD, "-o", dump, "-d", "0.1"], stderr=subprocess.PIPE)
    wait_for(lambda: dump.exists() and dump.stat().st_size > 16)
    recorder.send_signal(number)
    recorder.communicate(timeout=30)
    assert recorder.returncode == 0
    # It ends with an index.
    assert dump.read_bytes().endswith(b"TSKINDEX")
    assert taskstats.open(dump).check() == []


def test_an_ignored_signal_does_not_end_it(dump: Path) -> None:
    words = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *RECORD, "-o", str(dump), "-d", "0.1"]
    recorder = subprocess.Popen(words, stderr=subprocess.PIPE)
    wait_for(lambda: dump.exists() and dump.stat().st_size > 16)
    recorder.send_signal(signal.SIGHUP)
    before = len(taskstats.open(dump))
    wait_for(lambda: len(taskstats.open(dump)) >= before + 3)
    recorder.terminate()
    recorder.communicate(timeout=30)
    assert recorder.returncode == 0


def test_a_stopped_recording_continues(dump: Path) -> None:
    recorder = subprocess.Popen([*RECORD, "-o", dump, "-d", "0.2"], stderr=subprocess.PIPE)
    wait_for(lambda: dump.exists() and dump.stat().st_size > 16)
    for _ in range(3):
        recorder.send_signal(signal.SIGSTOP)
        time.sleep(0.6)
        recorder.send_signal(signal.SIGCONT)
        time.sleep(0.1)
    before = len(taskstats.open(dump))
    wait_for(lambda: len(taskstats.open(dump)) >= before + 3)
    recorder.terminate()
    recorder.communicate(timeout=30)
    assert recorder.returncode == 0
    assert taskstats.open(dump).check() == []


def test_killed_at_any_moment_it_loses_no_snapshot_before(dump: Path) -> None:
    numbers = random.Random(5)
    before = 0
    for _ in range(6):
        size = dump.stat().st_size if dump.exists() else 0
        recorder = subprocess.Popen([*RECORD, "-o", dump, "-d", "0.1"], stderr=subprocess.PIPE)
        grown = size + 16
        wait_for(lambda: dump.exists() and dump.stat().st_size > grown)  # noqa: B023
        time.sleep(numbers.random() / 4)
        recorder.kill()
        recorder.communicate(timeout=30)
        found = snapshots(dump)
        assert len(found) > before
        before = len(found)
    # A torn tail, as a power failure leaves it, is dropped and reported.
    whole = dump.read_bytes()
    dump.write_bytes(whole[:-5] + os.urandom(5) + os.urandom(3000))
    assert len(taskstats.open(dump)) >= before
    assert run(CHECK, dump).returncode == 1
    done = run(RECORD, "-o", dump, "--for", "0.1")
    assert done.returncode == 0
    assert "bytes of an unfinished snapshot were dropped" in done.stderr
    assert len(taskstats.open(dump)) > before


def test_a_full_disk_stops_it_and_loses_nothing(dump: Path, tmp_path: Path) -> None:
    # The size of a snapshot depends on the machine; there is room for one and a half.
    one = tmp_path / "one.tsd"
    assert run(RECORD, "-o", one, "--for", "0.01", "--uncompressed").returncode == 0
    room = one.stat().st_size * 3 // 2

    def small() -> None:
        # The kernel then returns EFBIG, as it returns ENOSPC on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    done = subprocess.run(
        [*RECORD, "-o", dump, "-d", "0.1", "--uncompressed"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=small,
    )
    assert done.returncode == 1
    written, error = done.stderr.splitlines()
    assert error.startswith(f"ptop: {dump}: File too large; write elsewhere")
    assert written.startswith("ptop: ")
    assert len(snapshots(dump)) == int(written.split()[1]) > 0
    assert taskstats.open(dump).check() == []


def test_a_full_file_system_stops_it_and_loses_nothing(
    dump: Path, needs: Callable[[bool, str], None]
) -> None:
    needs(os.geteuid() == 0, "mounting needs root")
    # A mount namespace, so that only this command sees the file system.
    script = (
        f"mount -t tmpfs -o size=100k none {dump.parent} && "
        f"{' '.join(RECORD)} -o {dump} -d 0.1 --uncompressed; echo $?; {' '.join(CHECK)} {dump}"
    )
    done = run(["unshare", "--mount", "sh", "-c", script])
    status, checked = done.stdout.splitlines()
    assert status == "1"
    written = int(done.stderr.split()[1])
    assert "No space left on device" in done.stderr
    assert checked.startswith(f"{dump}: {written} of {written} snapshots")


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("sync", ["0.1", "1h"])
def test_a_removed_or_replaced_file_is_reported(dump: Path, replaced: bool, sync: str) -> None:
    words = [*RECORD, "-o", str(dump), "-d", "0.1", "--sync", sync]
    recorder = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: dump.exists() and dump.stat().st_size > 16)
    dump.unlink()
    if replaced:
        dump.write_bytes(b"another's")
    if sync == "1h":
        # It is noticed at the end at the latest.
        recorder.terminate()
    _, said = recorder.communicate(timeout=30)
    assert recorder.returncode == 1
    assert f"ptop: {dump} was removed or replaced while it was recorded to: start" in said
    assert "written" not in said
    assert not replaced or dump.read_bytes() == b"another's"


def test_a_moved_file_is_recorded_to_until_the_end(dump: Path) -> None:
    recorder = subprocess.Popen([*RECORD, "-o", dump, "-d", "0.1"], stderr=subprocess.PIPE)
    wait_for(lambda: dump.exists() and dump.stat().st_size > 16)
    moved = dump.rename(dump.with_name("moved.tsd"))
    recorder.terminate()
    recorder.communicate(timeout=30)
    assert recorder.returncode == 0
    assert taskstats.open(moved).check() == []


def test_anything_but_a_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    fifo, empty = tmp_path / "fifo", tmp_path / "empty"
    os.mkfifo(fifo)
    empty.touch()
    for path in (fifo, "/dev/zero"):
        done = run(CHECK, path)
        assert done.returncode == 1
        assert f"{path} is no regular file; write what it holds to a file" in done.stderr
    done = run(CHECK, empty)
    assert done.returncode == 1
    assert f"{empty}: is empty: ptop record -o FILE writes a recording" in done.stderr


def test_rotation_by_size_keeps_the_newest_files(dump: Path) -> None:
    options = ["--rotate-size", "4K", "--keep", "2", "-d", "0.1", "--for", "2"]
    assert run(RECORD, "-o", dump, *options).returncode == 0
    aside = sorted(dump.parent.glob("dump-*.tsd"))
    assert len(aside) == 2
    assert int(aside[-1].stem[-6:]) > 2
    for path in [*aside, dump]:
        assert taskstats.open(path).check() == []
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        # Each file contains the names, so that it can be read alone.
        assert taskstats.open(path).user(os.getuid())
    ends = [taskstats.open(path).times_ns for path in [*aside, dump]]
    joined = [time_ns for times in ends for time_ns in times]
    assert joined == sorted(joined)


def test_rotation_by_time(dump: Path) -> None:
    options = ["--rotate-time", "0.3", "-d", "0.1", "--for", "1"]
    assert run(RECORD, "-o", dump, *options).returncode == 0
    aside = list(dump.parent.glob("dump-*.tsd"))
    assert 2 <= len(aside) <= 3


def test_rotation_by_time_of_a_recording_that_is_continued(dump: Path) -> None:
    """Each recorder stops before the rotation time; together they take longer."""
    options = ["--rotate-time", "1", "-d", "0.1", "--for", "0.3"]
    first = None
    while not list(dump.parent.glob("dump-*.tsd")):
        assert run(RECORD, "-o", dump, *options).returncode == 0
        times = taskstats.open(dump).times_ns
        first = first or times[0]
        assert times[-1] - first < 60 * 10**9, "never rotated"
    aside = taskstats.open(next(dump.parent.glob("dump-*.tsd"))).times_ns
    assert aside[0] == first
    assert aside[-1] - aside[0] < 10**9 <= taskstats.open(dump).times_ns[0] - first


WITHOUT_LOCKS_AND_SYNC = """
import ctypes, os, sys
# Filters the calls, as file systems without them fail them.
class Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte),
                ("k", ctypes.c_uint)]
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]
# flock, fsync, fdatasync
numbers = {"x86_64": (73, 74, 75), "aarch64": (32, 82, 83)}[os.uname().machine]
rules = [Filter(0x20, 0, 0, 0)]
rules += [Filter(0x15, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
rules += [Filter(0x06, 0, 0, 0x7FFF0000), Filter(0x06, 0, 0, 0x00050000 | int(sys.argv[1]))]
libc = ctypes.CDLL(None, use_errno=True)
program = Program(len(rules), (Filter * len(rules))(*rules))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program)) == 0, ctypes.get_errno()
os.execv(sys.executable, [sys.executable, "-m", "ptop", *sys.argv[2:]])
"""


@pytest.mark.parametrize("refusal", [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_and_sync_is_a_warning(dump: Path, refusal: int) -> None:
    words = [sys.executable, "-c", WITHOUT_LOCKS_AND_SYNC, str(refusal), "record"]
    options = ["-d", "0.1", "--for", "0.5", "--sync", "0.1", "--rotate-size", "4K"]
    done = run(words, "-o", dump, *options, "--source", "procfs")
    assert done.returncode == 0
    locked, synced, written = done.stderr.splitlines()
    assert locked == f"ptop: warning: {dump} cannot be locked here: start no second recorder"
    assert synced.startswith(f"ptop: warning: {dump} cannot be synced here: a power failure may")
    assert written.endswith(f" snapshots were written to {dump}")
    assert taskstats.open(dump).check() == []
    assert list(dump.parent.glob("dump-*.tsd"))


def test_without_command_lines(dump: Path) -> None:
    secret = "a-password-of-mine"
    with subprocess.Popen([sys.executable, "-c", "input()", secret], stdin=-1) as child:
        for options in (["--no-cmdline"], []):
            dump.unlink(missing_ok=True)
            assert run(RECORD, "-o", dump, "--for", "0.1", *options).returncode == 0
            task = taskstats.open(dump)[0].by_pid(child.pid)
            assert task is not None
            assert task.cmdline == (None if options else [sys.executable, "-c", "input()", secret])
            assert taskstats.open(dump).user(os.getuid())
        child.communicate(b"\n")


def test_a_length_may_begin_with_its_point(dump: Path) -> None:
    assert run(RECORD, "-o", dump, "-d", ".1", "--for", ".1").returncode == 0
    assert len(snapshots(dump)) == 2


def test_bad_options_say_what_to_type(dump: Path) -> None:
    for options in (
        ["--rotate-size", "big"],
        ["--for", "soon"],
        ["--keep", "0"],
        ["-d", "0"],
        ["--sync", "-1"],
        ["--for", "9" * 400],
        ["--sync", "9" * 400],
        ["--rotate-time", "1000000d"],
        ["--rotate-size", "9" * 400],
        ["--rotate-size", "0.1"],
        ["--keep", "9" * 25],
    ):
        done = run(RECORD, "-o", dump, *options)
        assert done.returncode == 2
        assert options[0] in done.stderr
        assert "Traceback" not in done.stderr
        assert not dump.exists()
    assert run(RECORD, "--for", "1").returncode == 2
    missing = run(RECORD, "-o", dump / "no" / "directory", "--for", "1")
    assert missing.returncode == 1
    assert missing.stderr.startswith(f"ptop: {dump}/no/directory: ")
    assert missing.stderr.endswith("; check the name and its directory\n")


def test_without_privilege(tmp_path: Path, as_nobody: list[str]) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o111)
        if parent == Path("/tmp"):
            break
    dump = tmp_path / "dump.tsd"
    done = run(as_nobody, "record", "-o", dump, "-d", "0.1", "--for", "0.1")
    assert done.returncode == 0, done.stderr
    assert dump.stat().st_uid == 65534
    assert taskstats.open(dump)[0].source == "procfs"
    # A file of another user: root may read it, but a recorder does not write to it as root.
    os.chown(dump, 0, 0)
    denied = run(as_nobody, "check", dump)
    assert denied.returncode == 1
    assert denied.stderr == (
        f"ptop: {dump}: Permission denied\ntype: sudo /opt/venv/bin/ptop check {dump}\n"
    )
    # Nor does root write an export.
    own = tmp_path / "own.tsd"
    assert run(as_nobody, "record", "-o", own, "-d", "0.1", "--for", "0.2").returncode == 0
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o755)
    denied = run(as_nobody, "export", own, "-o", locked / "a.csv")
    assert denied.returncode == 1
    assert denied.stderr == (
        f"ptop: {locked}/a.csv: Permission denied; give the name of a file that you may open\n"
    )
    denied = run(as_nobody, "record", "-o", dump, "--for", "0.1")
    assert denied.returncode == 1
    assert denied.stderr == (
        f"ptop: {dump}: Permission denied; give the name of a file that you may open\n"
    )


def test_no_file_name_sends_escape_sequences(tmp_path: Path) -> None:
    dump = tmp_path / "\x1b[31mred\n.tsd"
    shown = f"{tmp_path}/\u241b[31mred\u240a.tsd"
    done = run(CHECK, dump)
    assert done.stderr.startswith(f"ptop: {shown}: No such file or directory; ")
    done = run(RECORD, "-o", dump, "-d", "0.1", "--for", "0.3", "--uncompressed")
    # A stall costs some of them.
    number = len(taskstats.open(dump))
    assert 1 < number <= 4
    assert done.stderr == f"ptop: {number} snapshots were written to {shown}\n"
    assert run(CHECK, dump).stdout.startswith(f"{shown}: {number} of {number} snapshots")
    data = bytearray(dump.read_bytes())
    data[len(data) // 2] ^= 1
    dump.write_bytes(data)
    for words in (["check"], ["replay", "-b"], ["replay", "-b", "--at", "noon"], ["report"]):
        done = run([*RECORD[:-1], *words], dump)
        assert "\x1b" not in done.stdout + done.stderr
        assert "[31mred\n" not in done.stdout + done.stderr
    assert shown in done.stderr


def test_check_reports_what_is_lost(dump: Path) -> None:
    assert run(RECORD, "-o", dump, "-d", "0.1", "--for", "0.4", "--uncompressed").returncode == 0
    data = bytearray(dump.read_bytes())
    data[len(data) // 2] ^= 1
    dump.write_bytes(data)
    done = run(CHECK, dump)
    assert done.returncode == 1
    first, *rest = done.stdout.splitlines()
    assert " of 5 snapshots" in first
    assert any("bytes " in line for line in rest)
    missing = run(CHECK, dump.parent / "none.tsd")
    assert missing.returncode == 1
    assert missing.stderr == (
        f"ptop: {dump.parent}/none.tsd: No such file or directory;"
        " check the name and its directory\n"
    )
    dump.write_bytes(b"no dump at all")
    done = run(CHECK, dump)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ptop: {dump}: ")


def test_the_unit_for_systemd_bounds_what_is_kept() -> None:
    unit = Path(__file__).parents[2] / "docs/ptop-record.service"
    (line,) = re.findall(r"^ExecStart=\S+/ptop record (.*)$", unit.read_text(), re.MULTILINE)
    options = record.parser().parse_args(shlex.split(line))
    # Any user can make a recorder write much: a file also ends by its size.
    assert options.rotate_time == 86_400
    assert options.keep_size <= 4 << 30
    assert options.min_free


IN_AN_UNNAMED_HOST = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUTS = 0x04000000
assert libc.unshare(CLONE_NEWUTS) == 0
assert libc.sethostname(b"h\\xff\\xc3x", 4) == 0
os.execv(sys.executable, [sys.executable, "-m", "ptop", *sys.argv[1:]])
"""


def test_a_host_name_need_not_be_text(dump: Path, needs: Callable[[bool, str], None]) -> None:
    needs(os.geteuid() == 0, "naming a host needs root")
    ptop = [sys.executable, "-c", IN_AN_UNNAMED_HOST]
    for words in (
        ["record", "-o", str(dump), "-d", "0.1", "--for", "0.3"],
        ["check", str(dump)],
        ["report", str(dump)],
        ["replay", "-b", str(dump)],
        ["export", "--columns", "host", str(dump)],
        ["-b", "-n", "1", "-d", "0.1"],
        ["run", "--format", "json", "--", "true"],
    ):
        done = run(ptop, *words)
        assert done.returncode == 0, (words, done.stderr)
        if "export" in words:
            assert set(done.stdout.split()) == {"host", "h\ufffd\ufffdx"}


def test_host_and_labels_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "machine.tsd"
    words = ["--host", "db1", "--label", "rack=b7", "--label", "role=db=main", "--for", "1s"]
    done = run(RECORD, "-o", path, *words, "-d", "0.2")
    assert done.returncode == 0, done.stderr
    dump = taskstats.open(path)
    assert {snapshot.host for snapshot in dump} == {"db1"}
    metadata = dump.metadata
    assert metadata.pop("command").startswith(f"ptop record -o {path} --host db1")
    assert metadata == {
        "version": taskstats.__version__,
        "label.rack": "b7",
        "label.role": "db=main",
    }
    checked = run(CHECK, path)
    assert checked.returncode == 0
    assert "  label.rack: b7\n" in checked.stdout
    for wrong in (["--label", "rack"], ["--host", " "]):
        assert run(RECORD, "-o", path, *wrong).returncode == 2
