"""Small files that claim to be large.

Checksums are valid, and lengths and counts agree with each other, so that only what they stand
for is wrong.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import frames as fr  # type: ignore[import-not-found]
import taskstats

# Operations of a delta, with set 0 where they take one.
NEW, CHANGE, BACK = b"\x03", b"\x01", b"\x06"
ROWS = 18


class Base:
    """A table and a full frame, as a recorder writes them, that others follow."""

    def __init__(self, template: taskstats.Snapshot, directory: Path) -> None:
        self.template = template
        path = directory / "base.tsd"
        with taskstats.Recorder(path, level=None) as recorder:
            recorder.write(template)
        self.table = next(f for f in fr.frames(path.read_bytes()) if f.kind == fr.TABLE)
        self.full = self.full_of(fr.form(template, ROWS), ROWS)

    def full_of(self, stored: bytes, rows: int, unpacked: int | None = None) -> fr.Frame:
        return fr.Frame(fr.FULL, stored, rows, after=self.table.checksum, unpacked=unpacked)

    def header(self, rows: int) -> bytes:
        """The header of a snapshot of so many rows."""
        return bytes(fr.form(self.template, 0, declared=rows))

    def delta(self, rows: int, *rest: tuple[bytes, int]) -> fr.Frame:
        """A delta after the full frame; `rest` begins with the number of its sets."""
        header = self.header(rows)
        parts = [(fr.numbers(0, len(header)) + header, 1), *rest]
        length = sum(len(piece) * times for piece, times in parts)
        return fr.Frame(fr.DELTA, fr.zstd(*parts), rows, after=self.full.checksum, unpacked=length)

    def write(self, path: Path, *more: fr.Frame) -> None:
        fr.write(path, self.table, self.full, *more)


def new_rows(base: Base, path: Path) -> None:
    count = 100 << 20
    base.write(path, base.delta(count, (fr.numbers(1, 0), 1), (NEW, count)))


def rows_changed_again_and_again(base: Base, path: Path) -> None:
    count = 10 << 20
    base.write(path, base.delta(count, (fr.numbers(1, 0), 1), (CHANGE + BACK, count)))


def rows_within_the_ratio(base: Base, path: Path) -> None:
    """Rows that are all the same, and stored bytes that would justify their number."""
    count, noise = 400_000, os.urandom(3 << 20)
    width = 32
    comm = len(noise) // width
    # Set 0 has no column, set 1 the name of a command, which is stored as it is.
    column = fr.columns(base.table.stored).index("ac_comm")
    rows = b"".join(b"\x07" + noise[width * at : width * (at + 1)] for at in range(comm))
    base.write(
        path,
        base.delta(count + comm, (fr.numbers(2, 0, 1, column), 1), (rows, 1), (NEW, count)),
    )


def sets_of_columns(base: Base, path: Path) -> None:
    count, keep = 100 << 20, fr.number(ROWS << 2)
    base.write(path, base.delta(ROWS, (fr.number(count), 1), (b"\0", count), (keep, 1)))


def copies_of_a_row(base: Base, path: Path) -> None:
    keep, back = fr.number(ROWS << 2), fr.number((2 * ROWS - 1) << 2 | 2)
    times = 1 << 20
    base.write(path, base.delta(ROWS * times, (b"\0", 1), (keep + back, times)))


def full_frame(base: Base, path: Path) -> None:
    count = 1 << 20
    parts = (base.header(count), 1), (bytes(base.template.record_size), count)
    length = len(parts[0][0]) + base.template.record_size * count
    fr.write(path, base.table, base.full_of(fr.zstd(*parts), count, length))


def full_frame_within_the_ratio(base: Base, path: Path) -> None:
    size, noise = base.template.record_size, os.urandom(3 << 20)
    noise = noise[: len(noise) // size * size]
    count = 400_000
    parts = (base.header(count), 1), (noise, 1), (bytes(size), count - len(noise) // size)
    length = len(parts[0][0]) + size * count
    fr.write(path, base.table, base.full_of(fr.zstd(*parts), count, length))


def header_of_a_snapshot(base: Base, path: Path) -> None:
    header, length = bytearray(base.header(0)), 512 << 20
    struct.pack_into("=QQ", header, 32, length, length)
    stored = fr.zstd((bytes(header), 1), (bytes(64), (length - len(header)) // 64))
    fr.write(path, base.table, base.full_of(stored, 0, length))


def unpacked_is_longer(base: Base, path: Path) -> None:
    form = fr.form(base.template, ROWS)
    stored = fr.zstd((form, 1), (bytes(1024), 1 << 19))
    fr.write(path, base.table, base.full_of(stored, ROWS, len(form)))


def unpacked_is_shorter(base: Base, path: Path) -> None:
    form = fr.form(base.template, ROWS)
    fr.write(path, base.table, base.full_of(fr.zstd((form, 1)), ROWS, 1 << 31))


def table_of_columns(base: Base, path: Path) -> None:
    count = 2 << 20
    parts = (fr.numbers(4 << 20, count), 1), (fr.numbers(0, 1, 0, 0, 0), count)
    length = sum(len(piece) * times for piece, times in parts)
    table = fr.Frame(fr.TABLE, fr.zstd(*parts), unpacked=length)
    full = fr.Frame(fr.FULL, base.full.stored, ROWS, after=table.checksum)
    fr.write(path, table, full, base.delta(ROWS, (b"\0", 1), (fr.number(ROWS << 2), 1)))


def table_of_more_columns_than_bytes(base: Base, path: Path) -> None:
    size, count = base.template.record_size, 60_000
    payload = fr.numbers(size, count) + fr.numbers(0, 1, 0, 0, 0) * count
    table = fr.Frame(fr.TABLE, payload)
    full = fr.Frame(fr.FULL, base.full.stored, ROWS, after=table.checksum)
    fr.write(path, table, full, base.delta(ROWS, (b"\0", 1), (fr.number(ROWS << 2), 1)))


def strings_of_zeros(base: Base, path: Path) -> None:
    count = 128 << 20
    strings = fr.Frame(fr.STRINGS, fr.zstd((bytes(4), count)), unpacked=4 * count)
    base.write(path, strings)


def strings_of_the_same_key(base: Base, path: Path) -> None:
    base.write(path, fr.Frame(fr.STRINGS, bytes(4) * 100_000))


def strings_of_many_keys(base: Base, path: Path) -> None:
    payload = b"".join(fr.numbers(1, pid, 0, 0) for pid in range(1 << 20))
    base.write(path, fr.Frame(fr.STRINGS, fr.zstd((payload, 1)), unpacked=len(payload)))


def strings_of_long_texts(base: Base, path: Path) -> None:
    length = 30 << 20
    head = fr.numbers(1, 1, 0, length)
    stored = fr.zstd((head, 1), (bytes(1024), length >> 10))
    strings = fr.Frame(fr.STRINGS, stored, unpacked=len(head) + length)
    base.write(path, *[strings] * 300)


def promised_rows(base: Base, path: Path) -> None:
    frame = base.full_of(b"", 2**32 - 1)
    base.write(path, *[frame] * 5000)


def index_that_repeats(base: Base, path: Path) -> None:
    data = fr.PREAMBLE + base.table.encode()
    place = len(data)
    data += base.full.encode()
    entries = [(len(fr.PREAMBLE), fr.TABLE)] + [(place, fr.FULL)] * 300_000
    path.write_bytes(data + fr.index(len(data), entries).encode())


def index_of_frames_that_overlap(base: Base, path: Path) -> None:
    """Headers, each of a frame that reaches to the end."""
    count = 20_000
    length = fr.FRAME_HEADER * count
    data = bytearray(fr.PREAMBLE)
    for at in range(count):
        left = length - fr.FRAME_HEADER * (at + 1)
        header = b"TSFR" + struct.pack("<HBBIIQIII", fr.FULL, 0, 5, left, 0, 0, left, 1, 0)
        data += header + struct.pack("<I", fr.crc32c(header))
    begin = len(fr.PREAMBLE)
    entries = [(begin + fr.FRAME_HEADER * at, fr.FULL) for at in range(count)]
    path.write_bytes(data + fr.index(len(data), entries).encode())


def gaps(base: Base, path: Path) -> None:
    other = fr.Frame(99, b"").encode()
    data = fr.PREAMBLE + base.table.encode() + base.full.encode()
    path.write_bytes(data + (b"no frame" + other) * 20_000)


def sparse_tail(base: Base, path: Path) -> None:
    base.write(path)
    os.truncate(path, 4 << 30)


def sparse_frame(base: Base, path: Path) -> None:
    stored = 3 << 30
    header = b"TSFR" + struct.pack("<HBBIIQIII", fr.FULL, 0, 5, stored, 1, 0, stored, 1, 0)
    data = fr.PREAMBLE + base.table.encode() + base.full.encode()
    path.write_bytes(data + header + struct.pack("<I", fr.crc32c(header)))
    os.truncate(path, path.stat().st_size + stored)


def more_exits_than_rows(base: Base, path: Path) -> None:
    form = bytearray(fr.form(base.template, ROWS))
    at = fr.FORM_HEADER
    while True:
        kind, _, length = struct.unpack_from("=HHI", form, at)
        if kind == 10:
            # Behind merged, missed, outside, own time and system calls.
            struct.pack_into("=Q", form, at + 8 + 5 * 8, ROWS + 1)
            break
        at += 8 + length + -length % 8
    fr.write(path, base.table, base.full_of(bytes(form), ROWS))


def records_of_an_unknown_version(base: Base, path: Path) -> None:
    path.write_bytes(struct.pack("=H", 200) + bytes((8 << 20) - 2))


def sparse_records(base: Base, path: Path) -> None:
    path.write_bytes(struct.pack("=H", 200))
    os.truncate(path, 4 << 30)


def partial_snapshots(base: Base, path: Path) -> None:
    """Snapshots without the tasks that did not run, which a recorder refuses."""
    form = bytearray(fr.form(base.template, ROWS))
    struct.pack_into("=I", form, 28, struct.unpack_from("=I", form, 28)[0] | 128)
    fr.write(path, base.table, base.full_of(bytes(form), ROWS))


# The files, each with what is damaged of it.
DAMAGED: list[Callable[[Base, Path], None]] = [
    new_rows,
    rows_changed_again_and_again,
    rows_within_the_ratio,
    sets_of_columns,
    copies_of_a_row,
    full_frame,
    full_frame_within_the_ratio,
    header_of_a_snapshot,
    unpacked_is_longer,
    unpacked_is_shorter,
    table_of_columns,
    table_of_more_columns_than_bytes,
    strings_of_zeros,
    strings_of_the_same_key,
    strings_of_many_keys,
    strings_of_long_texts,
    promised_rows,
    index_of_frames_that_overlap,
    gaps,
    sparse_tail,
    sparse_frame,
    more_exits_than_rows,
    records_of_an_unknown_version,
    sparse_records,
    partial_snapshots,
]


def long_run(base: Base, path: Path) -> None:
    """So many deltas after one full frame that to search its begin for each takes long."""
    header = base.header(ROWS)
    payload = fr.numbers(0, 0, len(header) // 8, 0, 0, ROWS << 2)
    first = fr.Frame(fr.DELTA, payload, ROWS, after=base.full.checksum)
    other = fr.Frame(fr.DELTA, payload, ROWS, after=first.checksum)
    data = fr.PREAMBLE + base.table.encode() + base.full.encode() + first.encode()
    path.write_bytes(data + other.encode() * 60_000)


def short_forms(base: Base, path: Path) -> None:
    """Byte forms of snapshots without rows and sections."""
    version = taskstats.parse(fr.form(base.template, 1)).version
    numbers = struct.pack(
        "=HHIQHHIQQ", 0xFEFF, 1, base.template.record_size, 0, version, 0, 0, 48, 48
    )
    path.write_bytes((b"TSKSNAP\n" + numbers) * 100_000)


def idle_tasks(base: Base, path: Path) -> None:
    """60 snapshots of 3,000 idle processes: far more records than bytes."""
    with taskstats.Recorder(path) as recorder:
        for second in range(60):
            recorder.write(fr.snapshot(base.template, 3000, second))


def many_idle_tasks(base: Base, path: Path) -> None:
    """Two snapshots with more rows than are believed without proof."""
    with taskstats.Recorder(path) as recorder:
        for second in range(2):
            recorder.write(fr.snapshot(base.template, 55_000, second))


# What looks alike, and is whole; with the number of snapshots and the rows of each.
WHOLE: list[tuple[Callable[[Base, Path], None], int, int]] = [
    (index_that_repeats, 1, ROWS),
    (long_run, 60_002, ROWS),
    (short_forms, 100_000, 0),
    (idle_tasks, 60, 3000),
    (many_idle_tasks, 2, 55_000),
]


def _idle_tasks(base: Base, path: Path, deltas: int) -> tuple[bytes, bytes]:
    """A dump up to its first snapshot, and a full frame of 15,000 idle tasks with so many deltas,
    the same again and again."""
    with taskstats.Recorder(path) as recorder:
        for second in range(3):
            recorder.write(fr.snapshot(base.template, 15_000, second))
    written = list(fr.frames(path.read_bytes()))
    table = next(frame for frame in written if frame.kind == fr.TABLE)
    full, first, last = (frame for frame in written if frame.kind in (fr.FULL, fr.DELTA))
    other = replace(last, after=last.checksum)
    run = b"".join(frame.encode() for frame in (full, first, last))
    return fr.PREAMBLE + table.encode(), run + other.encode() * (deltas - 2)


def a_day_of_idle_tasks(base: Base, path: Path) -> None:
    """86,400 snapshots, of which each 300th is a full frame."""
    begin, run = _idle_tasks(base, path, 299)
    path.write_bytes(begin + run * 288)


def one_run_of_idle_tasks(base: Base, path: Path) -> None:
    """86,400 snapshots, of which only the first is a full frame."""
    begin, run = _idle_tasks(base, path, 86_399)
    path.write_bytes(begin + run)
