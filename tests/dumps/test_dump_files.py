"""Dumps as files that are mapped: views, and files that others change meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import taskstats
from written import same, write  # type: ignore[import-not-found]


def mapped(path: Path) -> list[tuple[int, int]]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    ranges = (line.split()[0].split("-") for line in lines if line.endswith(str(path)))
    return [(int(begin, 16), int(end, 16)) for begin, end in ranges]


def test_uncompressed_snapshots_are_views_of_the_file(
    dump: Path, written: list[taskstats.Snapshot]
) -> None:
    write(dump, written, level=None, full_every=1)
    opened = taskstats.open(dump)
    places = []
    for snapshot in opened:
        array = snapshot.numpy()
        places.append(array.ctypes.data)
        assert any(begin <= places[-1] < end for begin, end in mapped(dump))
        assert not array.flags.writeable
    assert len(set(places)) == len(written)
    # The file stays mapped for as long as one of its snapshots is in use.
    first = opened[0]
    del opened, snapshot, array
    assert mapped(dump)
    same(first, written[0])
    del first
    assert not mapped(dump)
    kept = taskstats.open(dump, mmap=False)[0].numpy()
    assert not mapped(dump)
    assert len(kept) == len(written[0])


@pytest.mark.parametrize("keep", [0, 20, 4096, 0.5])
def test_a_file_cut_short_while_it_is_mapped_is_an_error(
    dump: Path, written: list[taskstats.Snapshot], keep: float
) -> None:
    write(dump, written, level=None, full_every=1)
    opened = taskstats.open(dump)
    others = opened[0]
    os.truncate(dump, int(keep * opened.size) if isinstance(keep, float) else keep)
    with pytest.raises(OSError, match="the file was cut short while it was read"):
        list(opened)
    with pytest.raises(OSError, match="cut short"):
        opened.read(["ac_pid"])
    with pytest.raises(OSError, match="cut short"):
        opened.check()
    # What was handed out before reads as zeros where the file lacks it.
    assert len(others.numpy().tobytes()) == len(others) * others.record_size


def test_other_bus_errors_are_not_touched(recorded: Path, tmp_path: Path) -> None:
    script = f"""
import mmap, os, sys, taskstats
dump = taskstats.open({str(recorded)!r})
with open({str(tmp_path / "other")!r}, "w+b") as file:
    file.truncate(8192)
    other = mmap.mmap(file.fileno(), 8192)
    file.truncate(0)
    print(len(dump), flush=True)
    other[5000]
"""
    for prefix in ("", "import faulthandler; faulthandler.enable()\n"):
        done = subprocess.run(
            [sys.executable, "-c", prefix + script], capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGBUS
        assert done.stdout == "9\n"
        assert ("Fatal Python error: Bus error" in done.stderr) == bool(prefix)


def test_a_handler_that_came_later_runs_after_ours(recorded: Path, tmp_path: Path) -> None:
    """faulthandler.enable() between two opens; then a file of ours is cut, or another's."""
    script = f"""
import faulthandler, mmap, os, sys, taskstats
first = taskstats.open({str(recorded)!r})
for _ in range(12):
    faulthandler.enable()
    second = taskstats.open({str(recorded)!r})
    faulthandler.disable()
faulthandler.enable()
second = taskstats.open({str(recorded)!r})
with open({str(tmp_path / "other")!r}, "w+b") as file:
    file.truncate(8192)
    other = mmap.mmap(file.fileno(), 8192)
    file.truncate(0)
os.truncate({str(recorded)!r}, 0)
for dump in (first, second):
    try:
        list(dump)
    except OSError as error:
        print(error, flush=True)
other[5000]
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    cut = f"[Errno 5] the file was cut short while it was read: {str(recorded)!r}"
    assert done.stdout.splitlines() == [cut, cut], done.stderr
    assert done.returncode == -signal.SIGBUS
    assert done.stderr.count("Fatal Python error: Bus error") == 1


def test_a_file_that_is_replaced_stays_readable(
    recorded: Path, written: list[taskstats.Snapshot]
) -> None:
    opened = taskstats.open(recorded)
    other = recorded.with_name("other")
    other.write_bytes(b"nothing")
    other.replace(recorded)
    assert len(list(opened)) == len(written)
    with pytest.raises(taskstats.ParseError, match=str(recorded)):
        taskstats.open(recorded)


def test_columns_are_of_the_file_that_was_opened(tmp_path: Path) -> None:
    path, other = tmp_path / "some.tsd", tmp_path / "other.tsd"
    with taskstats.Source("procfs") as source:
        for name, count in ((path, 2), (other, 3)):
            with taskstats.Recorder(name, level=None, full_every=1) as recorder:
                for _ in range(count):
                    recorder.write(source.snapshot())
    dump = taskstats.open(path)
    before = list(dump.read(["time_ns"])["time_ns"])
    other.replace(path)
    assert len(dump) == 2
    assert list(dump.read(["time_ns"])["time_ns"]) == before
    path.unlink()
    assert list(dump.read(["time_ns"])["time_ns"]) == before


def test_many_files_at_once(tmp_path: Path, written: list[taskstats.Snapshot]) -> None:
    """More files than a process may have open."""
    write(tmp_path / "0.tsd", written[:1])
    data = (tmp_path / "0.tsd").read_bytes()
    paths = [tmp_path / f"{number}.tsd" for number in range(1500)]
    for path in paths:
        path.write_bytes(data)
    columns = taskstats.read(paths, ["ac_pid", "path"])
    assert len(columns) == 1500 * len(written[0])
    assert columns.words("path") == [str(path) for path in paths]
