"""Dumps as sequences of snapshots."""

from __future__ import annotations

from pathlib import Path

import pytest
import taskstats
from written import same, taken, write  # type: ignore[import-not-found]


@pytest.mark.parametrize("options", [{"level": 3}, {"level": None, "full_every": 1}])
def test_every_source_is_read_as_it_was_written(
    source: taskstats.Source, dump: Path, options: dict[str, int | None]
) -> None:
    written = taken(source, 5)
    write(dump, written, **options)
    opened = taskstats.open(dump)
    assert len(opened) == 5
    for read, snapshot in zip(opened, written, strict=True):
        same(read, snapshot)
    for index in (4, 0, -1, -5, 2):
        same(opened[index], written[index])
    for read, snapshot in zip(taskstats.open(dump, mmap=False), written, strict=True):
        same(read, snapshot)


def test_a_dump_is_a_sequence(recorded: Path, written: list[taskstats.Snapshot]) -> None:
    dump = taskstats.open(recorded)
    times = [snapshot.time_ns for snapshot in written]
    assert dump.times_ns == times
    assert dump.rows == [len(snapshot) for snapshot in written]
    assert dump.size == recorded.stat().st_size
    assert Path(dump.path) == recorded
    for part in (slice(2, 7), slice(None, None, -1), slice(1, None, 3), slice(5, 5)):
        assert dump[part].times_ns == times[part]
        assert [snapshot.time_ns for snapshot in dump[part]] == times[part]
        assert dump[part][::-1].times_ns == times[part][::-1]
    for bad in (9, -10, 1 << 40):
        with pytest.raises(IndexError, match="out of range"):
            dump[bad]
    with pytest.raises(TypeError, match="integers and slices"):
        dump["first"]  # type: ignore[call-overload]
    # One iteration does not disturb another.
    assert [a.time_ns + b.time_ns for a, b in zip(dump, dump, strict=True)] == [
        2 * time for time in times
    ]


def test_sessions_of_this_machine_are_not_those_of_a_recording(recorded: Path) -> None:
    dump = taskstats.open(recorded)
    interval = taskstats.usage(dump[0], dump[1])
    with pytest.raises(ValueError, match="sessions are not recorded"):
        interval.fold("session")
    assert len(interval.fold("user")) > 0


def test_snapshots_are_found_by_time(recorded: Path) -> None:
    dump = taskstats.open(recorded)
    times = dump.times_ns
    assert dump.find(times[0] - 1) is None
    assert [dump.find(time) for time in times] == list(range(9))
    assert [dump.find(time + 1) for time in times] == list(range(9))
    assert dump.at(times[3] + 1).time_ns == times[3]
    with pytest.raises(LookupError, match="every snapshot is later"):
        dump.at(times[0] - 1)
    # Times outside the range of all clocks are before or after all snapshots.
    with pytest.raises(LookupError, match="every snapshot is later"):
        dump.at(-1)
    assert dump.find(-(10**40)) is None
    assert dump.at(10**40).time_ns == times[8]
    assert dump.between(-1, 10**40).times_ns == times
    assert dump.between(-2, -1).times_ns == []
    assert dump.between(times[2], times[5]).times_ns == times[2:5]
    assert dump.between(times[8] + 1, times[8] + 9).times_ns == []
    part = dump[3:6]
    assert part.find(times[2]) is None
    assert part.find(times[8]) == 2


def test_bare_records_and_byte_forms_are_read(
    dump: Path, written: list[taskstats.Snapshot]
) -> None:
    records = written[0].numpy().tobytes()
    dump.write_bytes(records)
    opened = taskstats.open(dump)
    assert len(opened) == 1
    assert opened[0].numpy()["ac_pid"].tolist() == written[0].numpy()["ac_pid"].tolist()
    assert opened.read(["ac_pid"])["ac_pid"].tolist() == [task.ac_pid for task in written[0]]
    dump.write_bytes(b"".join(snapshot.to_bytes() for snapshot in written))
    opened = taskstats.open(dump)
    assert opened.times_ns == [snapshot.time_ns for snapshot in written]
    assert opened[4].to_bytes() == written[4].to_bytes()


def test_other_files_are_refused_with_the_place(dump: Path) -> None:
    for content in (b"", b"x", b"hello world\n" * 99, b"TSKDUMP\n\x02\0" + bytes(6)):
        dump.write_bytes(content)
        with pytest.raises(taskstats.ParseError, match=f"{dump}: .* \\(byte ") as raised:
            taskstats.open(dump)
        assert 0 <= raised.value.offset <= len(content)
    missing = str(dump.with_name("none.tsd"))
    for function in (taskstats.open, taskstats.read):
        with pytest.raises(FileNotFoundError) as missed:
            function(missing)
        assert missed.value.filename == missing
        assert missed.value.strerror == "No such file or directory"
    with pytest.raises(IsADirectoryError):
        taskstats.open(dump.parent)
