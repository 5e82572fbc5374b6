"""What is kept of a recording, and when it ends for want of room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import taskstats

PTOP = [sys.executable, "-m", "ptop"]
SIZE = 400_000


def files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.tsd"))


def run(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*PTOP, *map(str, words)]
    environment = {**os.environ, **variables}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_all_files_together_stay_within_their_size(tmp_path: Path) -> None:
    dump = tmp_path / "dump.tsd"
    sizes: list[int] = []
    with (
        taskstats.Source(changed=True) as source,
        # Full snapshots grow fast.
        taskstats.Recorder(dump, keep_bytes=SIZE, full_every=1, rotate_bytes=SIZE // 8) as recorder,
    ):
        # Until the first files are gone.
        while files(tmp_path)[0].name <= "dump-000002.tsd" or len(files(tmp_path)) < 2:
            recorder.write(source.snapshot())
            sizes.append(sum(file.stat().st_size for file in files(tmp_path)))
    # Closing adds an index.
    assert max(sizes) <= SIZE
    assert sizes[-1] > SIZE // 2
    assert dump in files(tmp_path)
    # What is kept are the last ones, without a gap.
    kept = [taskstats.open(file) for file in files(tmp_path)]
    assert all(len(one) for one in kept)


def test_a_file_that_alone_has_the_size_is_set_aside_before(tmp_path: Path) -> None:
    dump = tmp_path / "dump.tsd"
    with (
        taskstats.Source() as source,
        taskstats.Recorder(dump, keep_bytes=SIZE, full_every=1) as recorder,
    ):
        while len(files(tmp_path)) == 1:
            recorder.write(source.snapshot())
            assert sum(file.stat().st_size for file in files(tmp_path)) <= SIZE


def test_old_files_are_removed_and_others_left_alone(tmp_path: Path) -> None:
    dump = tmp_path / "dump.tsd"
    with taskstats.Source() as source:
        for number in range(3):
            with taskstats.Recorder(dump, rotate_bytes=1) as recorder:
                for _ in range(2 if number else 1):
                    recorder.write(source.snapshot())
        other = tmp_path / "dump-000000.tsd"
        other.write_bytes(b"not a recording")
        old, new = tmp_path / "dump-000001.tsd", tmp_path / "dump-000002.tsd"
        assert old.exists()
        assert new.exists()
        for path in (old, other):
            os.utime(path, (1_000_000_000, 1_000_000_000))
        with taskstats.Recorder(dump, keep_for=86_400) as recorder:
            recorder.write(source.snapshot())
    assert not old.exists()
    assert new.exists()
    assert other.exists()


def test_a_recording_ends_where_room_is_to_stay_free(tmp_path: Path) -> None:
    dump = tmp_path / "dump.tsd"
    assert run("record", "-o", dump, "-d", "0.1", "--for", "0.5").returncode == 0
    before = dump.stat().st_size
    done = run("record", "-o", dump, "-d", "0.1", "--min-free", "1048576G")
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"ptop: recording to {dump} ends: "), said
    assert said.endswith(
        " MiB are free on its file system, and 1073741824 MiB are to stay free;"
        " remove old files, or give a smaller limit"
    )
    assert dump.stat().st_size == before
    assert len(taskstats.open(dump)) > 2


@pytest.mark.parametrize("mode", ["640", "0644", "600"])
def test_the_mode_of_a_file_is_that_of_its_option(tmp_path: Path, mode: str) -> None:
    dump = tmp_path / "dump.tsd"
    command = [*PTOP, "record", "-o", str(dump), "--mode", mode, "-d", "0.1", "--for", "0.2"]
    subprocess.run(command, check=True, capture_output=True, umask=0o077)
    assert oct(dump.stat().st_mode & 0o777) == oct(int(mode, 8))


@pytest.mark.parametrize("mode", ["660", "700", "400", "six", "1640"])
def test_a_mode_that_others_may_write_is_refused(tmp_path: Path, mode: str) -> None:
    done = run("record", "-o", tmp_path / "dump.tsd", "--mode", mode)
    assert done.returncode == 2
    assert "give 600, 640 or 644" in done.stderr
    assert not files(tmp_path)


def test_recordings_have_a_place(tmp_path: Path) -> None:
    missing = tmp_path / "logs"
    place = {"LOGS_DIRECTORY": str(missing)}
    for words in (("record", "--for", "1"), ("replay", "-b")):
        done = run(*words, **place)
        assert done.returncode == 2
        assert f"{missing} is missing: name a" in done.stderr
    missing.mkdir()
    assert "has no recording" in run("replay", "-b", **place).stderr
    assert run("record", "-d", "0.1", "--for", "0.6", **place).returncode == 0
    dump = missing / "ptop.tsd"
    count = len(taskstats.open(dump)) - 1
    assert run("replay", "-b", "--format", "json", **place).stdout.count('"interval_ns"') >= count
    # Right after a rotation the newest file has no interval: the one before is shown.
    dump.rename(missing / "ptop-000001.tsd")
    with taskstats.Source() as source, taskstats.Recorder(dump) as recorder:
        recorder.write(source.snapshot())
    shown = run("replay", "-b", "-n", "1", **place)
    assert (shown.returncode, shown.stderr) == (0, "")


def test_a_recording_is_no_stream(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PTOP, "record", "-o", "-"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "name one with -o" in done.stderr
    assert not list(tmp_path.iterdir())
