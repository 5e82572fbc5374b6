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


def attributes(value: Any) -> list[Any]:
    """All public properties; methods are left to the caller."""
    names = [name for name in dir(value) if not name.startswith("_")]
    return [found for name in names if not callable(found := getattr(value, name))]


def use(snapshot: taskstats.Snapshot) -> None:
    """Everything that a snapshot and its tasks have."""
    rows = len(snapshot)
    assert len(attributes(snapshot)) > 25
    fields = set(snapshot.fields)
    assert len(snapshot.exits) == (snapshot.exited or 0) <= rows
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
    (flags,) = struct.unpack_from("=I", snapshot.to_bytes(), fr.FLAGS_AT)
    return bool(flags & fr.PARTIAL)


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
        data = fr.with_header(form, flags=flags)
        use(taskstats.parse(data))
        fr.write(path, base.table, base.full_of(data, 5))
        opened = taskstats.open(path)
        if flags & fr.PARTIAL:
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
        use(taskstats.parse(fr.with_header(form, masks=masks, status=status, exited=exited)))


@pytest.mark.parametrize(
    "wrong",
    [{"masks": []}, {"status": 5}, {"status": 255}, {"exited": 6}, {"exited": 1 << 32}],
    ids=str,
)
def test_what_no_snapshot_has_is_refused(form: bytes, wrong: dict[str, Any]) -> None:
    with pytest.raises(taskstats.ParseError):
        taskstats.parse(fr.with_header(form, **wrong))
