"""Dumps put together frame by frame, with valid checksums: what a recorder does not write."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import taskstats

PREAMBLE = b"TSKDUMP\n\x01\0" + bytes(6)
TABLE, FULL, DELTA, STRINGS, INDEX = range(1, 6)
# Bytes of a frame's header, of a byte form's header before its sections.
FRAME_HEADER = 40
FORM_HEADER = 48
# Places in the header of a byte form, and kinds of its sections.
FLAGS_AT, COUNT_AT, RECORDS_AT = 28, 16, 32
STATUS, MASKS, COUNTS = 5, 6, 10
# Merged, missed, outside, own time, system calls, exited, lost, overflow, unchanged, hooks.
EXITED = 5
PARTIAL = 128


def _crc_table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[value & 255 ^ byte]
    return value ^ 0xFFFFFFFF


def number(value: int) -> bytes:
    """A number of a payload: seven bits a byte."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def numbers(*values: int) -> bytes:
    return b"".join(map(number, values))


def columns(table: bytes) -> list[str]:
    """The names of a table's columns."""
    at = 0

    def take() -> int:
        nonlocal at
        value = shift = 0
        while True:
            at += 1
            value |= (table[at - 1] & 127) << shift
            if table[at - 1] < 128:
                return value
            shift += 7

    _size, count = take(), take()
    names = []
    for _ in range(count):
        _offset, _width, _rule, _like, length = (take() for _ in range(5))
        names.append(table[at : at + length].decode())
        at += length
    return names


def zstd(*parts: tuple[bytes, int]) -> bytes:
    """A zstd frame of pieces, each repeated so many times, without having them in memory."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        for piece, times in parts:
            block = max(1, (1 << 20) // len(piece))
            for _ in range(times // block):
                out.write(piece * block)
            out.write(piece * (times % block))
    return bytes(sink.getvalue())


@dataclass
class Frame:
    """A frame; `stored` is zstd's where `unpacked`, the length that it declares, is given."""

    kind: int
    stored: bytes
    rows: int = 0
    time_ns: int = 0
    after: int = 0
    unpacked: int | None = None

    @property
    def checksum(self) -> int:
        return crc32c(self.stored)

    def encode(self) -> bytes:
        unpacked = len(self.stored) if self.unpacked is None else self.unpacked
        flags = int(self.unpacked is not None)
        header = b"TSFR" + struct.pack(
            "<HBBIIQIII",
            self.kind,
            flags,
            FRAME_HEADER // 8,
            len(self.stored),
            self.rows,
            self.time_ns,
            unpacked,
            self.checksum,
            self.after,
        )
        data = header + struct.pack("<I", crc32c(header)) + self.stored
        return data + bytes(-len(data) % 8)


def frames(data: bytes) -> Iterator[Frame]:
    """The frames of a dump that a recorder wrote."""
    at = len(PREAMBLE)
    while at < len(data):
        kind, flags, begin, stored, rows, time_ns, unpacked, _, after = struct.unpack_from(
            "<HBBIIQIII", data, at + 4
        )
        start = at + 8 * begin
        payload = data[start : start + stored]
        yield Frame(kind, payload, rows, time_ns, after, unpacked if flags else None)
        at = start + stored + -(start + stored) % 8


def index(offset: int, entries: list[tuple[int, int]], last: int = 0) -> Frame:
    """The index at `offset` of frames, each an offset and a kind, all of time 0 and no rows."""
    out, at = bytearray(numbers(last, len(entries))), 0
    for place, kind in entries:
        out += numbers((place - at) // 8, kind, 0, 0)
        at = place
    out += bytes(-len(out) % 8) + struct.pack("<Q", offset) + b"TSKINDEX"
    return Frame(INDEX, bytes(out))


def form(
    template: taskstats.Snapshot,
    tasks: int,
    seconds: int = 0,
    *,
    declared: int | None = None,
) -> bytes:
    """The byte form of a snapshot of idle tasks, `seconds` after the template, which has no
    exits; `declared` is what its header says of their number."""
    data = bytearray(template.to_bytes())
    (begin,) = struct.unpack_from("=Q", data, 32)
    size, count = template.record_size, len(template)
    many = len(data) - begin - size * count
    records = np.zeros(tasks, template.numpy().dtype)
    records[:] = template.numpy()[0]
    generator = np.random.default_rng(7)
    records["ac_pid"] = records["ac_tgid"] = np.arange(1, tasks + 1)
    for name in ("ac_start_ns", "task_id"):
        if name in template.fields:
            records[name] = generator.integers(1, 1 << 50, tasks, "u8")
    # Clocks come first: begin and end on three clocks.
    for clock in range(6):
        at = FORM_HEADER + 8 + 8 * clock
        struct.pack_into("=Q", data, at, struct.unpack_from("=Q", data, at)[0] + seconds * 10**9)
    masks = bytes(tasks) if many else b""
    rows = tasks if declared is None else declared
    struct.pack_into("=Q", data, 16, rows)
    length = begin + size * rows + (rows if many else 0)
    struct.pack_into("=Q", data, 40, length)
    return bytes(data[:begin]) + records.tobytes() + masks


def with_header(
    form: bytes,
    *,
    flags: int | None = None,
    masks: list[int] | None = None,
    status: int | None = None,
    exited: int | None = None,
) -> bytes:
    """The byte form of a snapshot, with another header."""
    (rows,) = struct.unpack_from("=Q", form, COUNT_AT)
    (begin,) = struct.unpack_from("=Q", form, RECORDS_AT)
    (size,) = struct.unpack_from("=I", form, 12)
    sections, at = {}, FORM_HEADER
    while at + 8 <= begin:
        kind, _, length = struct.unpack_from("=HHI", form, at)
        if kind == 0:
            break
        sections[kind] = form[at + 8 : at + 8 + length]
        at += 8 + length + -length % 8
    if masks is not None:
        low = (1 << 64) - 1
        sections[MASKS] = b"".join(struct.pack("=QQ", bits & low, bits >> 64) for bits in masks)
    if status is not None:
        sections[STATUS] = bytes([status]) * len(sections[STATUS])
    if exited is not None:
        counts = bytearray(sections[COUNTS])
        struct.pack_into("=Q", counts, 8 * EXITED, exited)
        sections[COUNTS] = bytes(counts)
    header = bytearray(form[:FORM_HEADER])
    for kind, payload in sections.items():
        header += struct.pack("=HHI", kind, 0, len(payload)) + payload
        header += bytes(-len(header) % 8)
    header += bytes(-len(header) % 64)
    kinds = len(sections[MASKS]) // 16
    indices = bytes(row % kinds for row in range(rows)) if kinds > 1 else b""
    records = form[begin : begin + size * rows]
    struct.pack_into("=QQ", header, RECORDS_AT, len(header), len(header + records + indices))
    if flags is not None:
        struct.pack_into("=I", header, FLAGS_AT, flags)
    return bytes(header) + records + indices


def snapshot(template: taskstats.Snapshot, tasks: int, seconds: int = 0) -> taskstats.Snapshot:
    """A snapshot of idle tasks."""
    return taskstats.parse(form(template, tasks, seconds))


def write(path: Path, *parts: Frame) -> None:
    path.write_bytes(PREAMBLE + b"".join(part.encode() for part in parts))
