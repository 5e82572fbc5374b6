"""Damaged dumps: what is read is true, and what is lost is reported."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest
import taskstats
from written import write  # type: ignore[import-not-found]

pytestmark = pytest.mark.filterwarnings("ignore::taskstats.DamageWarning")


def test_damage_is_an_error_or_left_out(recorded: Path, written: list[taskstats.Snapshot]) -> None:
    data = bytearray(recorded.read_bytes())
    marks = [at for at in range(0, len(data), 8) if data[at : at + 4] == b"TSFR"]
    kinds = {at: int.from_bytes(data[at + 4 : at + 6], "little") for at in marks}
    # The second of the snapshots, which three more build on.
    second = [at for at, kind in kinds.items() if kind in (2, 3)][1]
    data[second + 41] ^= 1
    recorded.write_bytes(data)
    with pytest.raises(taskstats.ParseError, match=f"{recorded}: .* checksum") as raised:
        taskstats.read(recorded)
    assert second <= raised.value.offset <= second + 64
    columns = taskstats.read(recorded, errors="skip")
    assert [(row["path"], row["snapshot"]) for row in columns.lost] == [
        (recorded, index) for index in (1, 2, 3)
    ]
    kept = [snapshot.time_ns for snapshot in [written[0], *written[4:]]]
    assert list(dict.fromkeys(columns["time_ns"])) == kept
    assert [row["snapshot"] for row in taskstats.open(recorded).check()] == [1, 2, 3]


@pytest.mark.parametrize("mmap", [True, False])
def test_after_damaged_names_older_names_are_unknown(dump: Path, mmap: bool) -> None:
    script = "read line; exec sleep 60"
    process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, text=True)
    assert process.stdin
    comm = Path(f"/proc/{process.pid}/comm")
    before, after = ["sh", "-c", script], ["sleep", "60"]
    try:
        with taskstats.Source(exact=True) as source:
            with taskstats.Recorder(dump) as recorder:
                recorder.write(source.snapshot())
                process.stdin.write("go\n")
                process.stdin.flush()
                while comm.read_text() != "sleep\n":
                    time.sleep(0.01)
                recorder.write(source.snapshot())
                recorder.write(source.snapshot())
            # Another recorder writes all names again.
            with taskstats.Recorder(dump) as recorder:
                recorder.write(source.snapshot())
    finally:
        process.kill()
        process.communicate()

    def tasks() -> list[taskstats.Task]:
        found = [s.by_pid(process.pid) for s in taskstats.open(dump, mmap=mmap)]
        return [task for task in found if task]

    names = ["time_ns", "ac_pid", "cmdline", "user"]

    def words() -> list[tuple[str | None, str | None]]:
        read = taskstats.read(dump, names, errors="skip", mmap=mmap)
        rows = zip(*(read[name] for name in names[1:]), strict=True)
        return [(cmdline, user) for pid, cmdline, user in rows if pid == process.pid]

    assert [task.cmdline for task in tasks()] == [before, after, after, after]
    user = words()[0][1]
    assert user
    data = bytearray(dump.read_bytes())
    marks = [at for at in range(0, len(data), 8) if data[at : at + 4] == b"TSFR"]
    strings = [at for at in marks if data[at + 4] == 4]
    assert len(strings) == 3
    # In its header, and in its payload.
    for at in (strings[1] + 13, strings[1] + 41):
        data[at] ^= 1
        dump.write_bytes(data)
        assert [task.cmdline for task in tasks()] == [before, None, None, after]
        assert [name for _, name in words()] == [user, None, None, user]
        assert [cmdline is None for cmdline, _ in words()] == [False, True, True, False]
        opened = taskstats.open(dump, mmap=mmap)
        assert opened.user(os.getuid()) == user
        assert opened[:3].read(["ac_pid"], errors="raise")
        with pytest.raises(taskstats.ParseError, match="checksum") as raised:
            opened.read(names)
        assert strings[1] <= raised.value.offset <= strings[1] + 64
        assert [row["snapshot"] for row in opened.read(names, errors="skip").lost] == [None]
        assert [row["snapshot"] for row in opened.check()] == [None]
        # Before them all names are known.
        assert len(opened[:1].read(names)) > 0
        data[at] ^= 1


def test_any_damage_yields_the_truth_or_an_error(
    dump: Path, written: list[taskstats.Snapshot]
) -> None:
    for part in (written[:2], written[2:3]):
        write(dump, part, full_every=2)
    data = dump.read_bytes()
    truth = {snapshot.time_ns: snapshot.to_bytes() for snapshot in taskstats.open(dump)}
    cmdlines = {s.time_ns: [task.cmdline for task in s] for s in taskstats.open(dump)}
    clean = taskstats.read(dump)
    names = ["user", "cgroup", "cmdline"]
    columns = [name for name in clean.names if name not in names] + names

    def rows(read: taskstats.Columns) -> list[tuple[tuple[object, ...], tuple[object, ...]]]:
        both = zip(*(read[name] for name in columns), strict=True)
        return [(row[:-3], row[-3:]) for row in both]

    true_rows = dict(rows(taskstats.read(dump, columns)))
    assert len(true_rows) == len(clean)
    numbers = random.Random(3)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(numbers.choice([1, 1, 1, 5])):
            damaged[numbers.randrange(len(damaged))] ^= 1 << numbers.randrange(8)
        if numbers.random() < 0.3:
            del damaged[numbers.randrange(len(damaged)) :]
        dump.write_bytes(damaged)
        try:
            opened = taskstats.open(dump)
        except taskstats.ParseError:
            continue
        for index in range(len(opened)):
            try:
                snapshot = opened[index]
            except taskstats.ParseError:
                continue
            assert snapshot.to_bytes() == truth[snapshot.time_ns]
            for task, cmdline in zip(snapshot, cmdlines[snapshot.time_ns], strict=True):
                assert task.cmdline in (cmdline, None)
        for row, called in rows(taskstats.read(dump, columns, errors="skip")):
            for name, true in zip(called, true_rows[row], strict=True):
                assert name in (true, None)
