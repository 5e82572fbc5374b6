"""Every combination of flags, masks and states in a header is a snapshot that can be used."""

from __future__ import annotations

import pickle
import struct
from itertools import product
from pathlib import Path
from typing import Any

import frames as fr  # type: ignore[import-not-found]
import hostile  # type: ignore[import-not-found]
import pyarrow as pa
import pytest
import taskstats

FLAGS_AT, COUNT_AT, RECORDS_AT, TOTAL_AT = 28, 16, 32, 40
STATUS, MASKS, COUNTS = 5, 6, 10
# Merged, missed, outside, own time, system calls, exited, lost, overflow, unchanged, hooks.
EXITED = 5
PARTIAL = 128


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
    sections, at = {}, fr.FORM_HEADER
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
    header = bytearray(form[: fr.FORM_HEADER])
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


def attributes(value: Any) -> list[Any]:
    """All public properties; methods are left to the caller."""
    names = [name for name in dir(value) if not name.startswith("_")]
    return [found for name in names if not callable(found := getattr(value, name))]


def use(snapshot: taskstats.Snapshot) -> None:
    """Everything that a snapshot and its tasks have."""
    rows = len(snapshot)
    assert len(attributes(snapshot)) > 25
    fields = set(snapshot.fields)
    assert len(snapshot.exits) == snapshot.exited <= rows
    assert len(snapshot.numpy()) == rows
    assert len(memoryview(snapshot)) == rows
    assert pa.table(snapshot).num_rows == rows
    for field in taskstats.FIELDS:
        valid = snapshot.valid(field["name"])
        assert len(valid) == rows
        assert any(valid) <= (field["name"] in fields)
        assert snapshot.status(field["name"])
    assert snapshot.by_pid(1 << 30) is None
    assert taskstats.parse(snapshot.to_bytes()).to_bytes() == snapshot.to_bytes()
    for task in snapshot:
        assert len(attributes(task)) > 90
        assert set(task.to_dict()) & fields <= fields
        assert task.status("ac_pid")
        assert pickle.loads(pickle.dumps(task)).to_bytes() == task.to_bytes()
    copy = pickle.loads(pickle.dumps(snapshot))
    assert len(copy) == rows
    if not snapshot_is_partial(snapshot):
        interval = taskstats.usage(snapshot, copy)
        assert len(attributes(interval)) > 3
        assert len(interval.columns()) == len(interval)


def snapshot_is_partial(snapshot: taskstats.Snapshot) -> bool:
    (flags,) = struct.unpack_from("=I", snapshot.to_bytes(), FLAGS_AT)
    return bool(flags & PARTIAL)


@pytest.fixture(scope="session")
def form(written: list[taskstats.Snapshot]) -> bytes:
    made: bytes = fr.form(written[0], 5)
    return made


@pytest.fixture(scope="session")
def base(
    written: list[taskstats.Snapshot], tmp_path_factory: pytest.TempPathFactory
) -> hostile.Base:
    return hostile.Base(written[0], tmp_path_factory.mktemp("base"))


def test_flags(form: bytes, base: hostile.Base, tmp_path: Path) -> None:
    path = tmp_path / "dump.tsd"
    for flags in [*range(256), 1 << 31, 0xFFFFFFFF]:
        data = with_header(form, flags=flags)
        use(taskstats.parse(data))
        fr.write(path, base.table, base.full_of(data, 5))
        opened = taskstats.open(path)
        if flags & PARTIAL:
            # Differences of snapshots in a dump are only right where these are whole.
            with pytest.raises(taskstats.ParseError):
                opened[0]
            assert [row["snapshot"] for row in opened.check()] == [0]
        else:
            assert opened.check() == []
            use(opened[0])


NO, ALL = 0, (1 << 128) - 1


@pytest.mark.parametrize(
    "masks",
    [[NO], [ALL], [1], [NO, NO], [ALL, NO], [NO, ALL], [ALL] * 5, [1 << bit for bit in range(128)]],
    ids=len,
)
def test_masks(form: bytes, masks: list[int]) -> None:
    for status, exited in product([None, 0, 1, 2, 3, 4], [0, 1, 5]):
        use(taskstats.parse(with_header(form, masks=masks, status=status, exited=exited)))


@pytest.mark.parametrize(
    "wrong",
    [{"masks": []}, {"status": 5}, {"status": 255}, {"exited": 6}, {"exited": 1 << 32}],
    ids=str,
)
def test_what_no_snapshot_has_is_refused(form: bytes, wrong: dict[str, Any]) -> None:
    with pytest.raises(taskstats.ParseError):
        taskstats.parse(with_header(form, **wrong))
