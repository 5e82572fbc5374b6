"""Recordings of made-up machines, to measure readers with.

    python -m tests.bench.recordings DIRECTORY fleet     50 files, 8.5 million rows
    python -m tests.bench.recordings DIRECTORY day       a day of 1,000 tasks
    python -m tests.bench.recordings DIRECTORY hour      an hour of that

Tasks are copies of one of this machine's, with pids, starts and counters of their own. Some run
between any two snapshots, the others sleep.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import taskstats

# Places in the byte form of a snapshot: docs/dump-format.md.
SECTIONS_AT, COUNT_AT, RECORDS_AT, TOTAL_AT = 48, 16, 32, 40
CLOCKS, MASKS = 1, 6
SECOND = 10**9

# What an hour of the bench has: tasks, those that run once a second, and ten times.
TASKS, ONCE, OFTEN = 1000, 60, 40


def template() -> tuple[bytes, np.ndarray]:
    """A header of a snapshot without exits, and one task."""
    with taskstats.Source(exact=True) as source:
        snapshot = source.snapshot()
        while len(snapshot.exits):
            snapshot = source.snapshot()
    data = snapshot.to_bytes()
    (begin,) = struct.unpack_from("=Q", data, RECORDS_AT)
    own = int(np.flatnonzero(snapshot.numpy()["ac_pid"] == 1)[0])
    return data[:begin], snapshot.numpy()[own : own + 1].copy()


def snapshots(
    count: int, tasks: int = TASKS, once: int = ONCE, often: int = OFTEN, seed: int = 1
) -> Iterator[taskstats.Snapshot]:
    """Snapshots a second apart; `once` of the tasks run once in between, `often` ten times."""
    head, one = template()
    header = bytearray(head)
    generator = np.random.default_rng(seed)
    records = np.repeat(one, tasks)
    names = set(records.dtype.names or ())
    records["ac_pid"] = records["ac_tgid"] = np.arange(2, tasks + 2)
    records["ac_comm"] = [f"task-{number % 50}".encode() for number in range(tasks)]
    # All started in the first second after the boot.
    for name in {"ac_start_ns", "task_id"} & names:
        records[name] = generator.integers(1, SECOND, tasks, "u8")
    masks = _one_mask(header)
    struct.pack_into("=Q", header, COUNT_AT, tasks)
    struct.pack_into("=Q", header, TOTAL_AT, len(header) + records.nbytes + len(masks) * tasks)
    (clocks,) = (at for kind, at in _sections(header) if kind == CLOCKS)
    ages = [(name, 1 if name == "ac_time_ns" else 1000) for name in _AGES if name in names]
    runs = np.zeros(tasks, "u8")
    busy = generator.permutation(tasks)[: once + often]
    runs[busy[:often]], runs[busy[often:]] = 10, 1
    for _ in range(count):
        for clock in (0, 1, 2, 3, 4, 5, 7):
            (now,) = struct.unpack_from("=Q", header, clocks + 8 * clock)
            struct.pack_into("=Q", header, clocks + 8 * clock, now + SECOND)
        for name, unit in ages:
            records[name] += SECOND // unit
        _run(records, busy, runs[busy], generator, names)
        yield taskstats.parse(bytes(header) + records.tobytes() + masks * tasks)


_AGES = ("ac_time_ns", "ac_etime", "ac_tgetime")


def _run(
    records: np.ndarray,
    busy: np.ndarray,
    runs: np.ndarray,
    generator: np.random.Generator,
    names: set[str],
) -> None:
    """Tasks run so many times."""
    used = runs * generator.integers(50_000, 900_000, len(busy), "u8")
    grown = {
        "ac_sum_exec_ns": used,
        "cpu_run_virtual_total": used,
        "cpu_run_real_total": used,
        "ac_utime": used // 3000,
        "ac_stime": used // 6000,
        "nvcsw": runs,
        "cpu_count": runs,
        "cpu_delay_total": used // 20,
        "read_bytes": 4096 * (runs // 5),
    }
    for name, growth in grown.items():
        if name in names:
            records[name][busy] += growth.astype(records[name].dtype)


def _sections(header: bytearray) -> Iterator[tuple[int, int]]:
    """Kind and place of each section of a header."""
    at = SECTIONS_AT
    while at + 8 <= len(header):
        kind, _, length = struct.unpack_from("=HHI", header, at)
        if kind == 0:
            return
        yield kind, at + 8
        at += 8 + length + -length % 8


def _one_mask(header: bytearray) -> bytes:
    """The index of the mask that all records have; empty where there is one mask only."""
    lengths = [_length(header, at) for kind, at in _sections(header) if kind == MASKS]
    return bytes(1) if lengths[0] > 16 else b""


def _length(header: bytearray, section: int) -> int:
    (length,) = struct.unpack_from("=I", header, section - 4)
    return int(length)


def write(path: Path, count: int, tasks: int = TASKS, seed: int = 1) -> None:
    """Write a recording of a snapshot a second."""
    with taskstats.Recorder(path, cmdlines=False, sync=None) as recorder:
        for snapshot in snapshots(count, tasks, seed=seed):
            recorder.write(snapshot)


def fleet(directory: Path, files: int = 50, count: int = 301, tasks: int = 567) -> None:
    """Write the recordings of some machines."""
    for number in range(files):
        write(directory / f"machine-{number:02}.tsd", count, tasks, number)


def main() -> None:
    directory, what = Path(sys.argv[1]), sys.argv[2]
    directory.mkdir(parents=True, exist_ok=True)
    if what == "fleet":
        fleet(directory)
    else:
        write(directory / f"{what}.tsd", {"hour": 3600, "day": 86_400}[what])


if __name__ == "__main__":
    main()
