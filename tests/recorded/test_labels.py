"""Labels of recordings as columns of scans."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
import taskstats
from machine import record  # type: ignore[import-not-found]
from taskstats.recorded import tuples

NAMES = ["path", "label.rack", "label.zone", "ac_pid", "total_ns"]
RACKS = {"one": {"label.rack": "b7", "label.zone": "eu"}, "two": {"label.rack": "c2"}, "three": {}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings with the labels of `RACKS`."""
    folder = tmp_path_factory.mktemp("labelled")
    for name, labels in RACKS.items():
        record(folder / f"{name}.tsd", 3, metadata={"version": "1", **labels})
    return folder


def found(scan: taskstats.Scan) -> list[tuple[Any, ...]]:
    return [row for batch in scan for row in tuples(batch)]


def test_labels_are_columns_and_null_where_a_recording_lacks_them(folder: Path) -> None:
    scan = taskstats.scan(folder, columns=NAMES)
    assert scan.types["label.rack"] == "text"
    labels = {(Path(row[0]).stem, row[1], row[2]) for row in found(scan)}
    assert labels == {("one", "b7", "eu"), ("two", "c2", None), ("three", None, None)}
    records = taskstats.scan(folder, rows="record", columns=["label.rack"])
    assert {row[0] for row in found(records)} == {"b7", "c2", None}
    read = taskstats.read(folder / "one.tsd", ["ac_pid", "label.rack"])
    assert set(read["label.rack"]) == {"b7"}
    # Only recordings have labels.
    interval = taskstats.usage(taskstats.snapshot(), taskstats.snapshot())
    with pytest.raises(ValueError, match="only recordings have labels"):
        interval.columns(["label.rack"])
    for wrong in ("label.", "label"):
        with pytest.raises(ValueError, match="no column"):
            taskstats.scan(folder, columns=[wrong])


def test_arrow_pandas_and_duckdb_have_labels(folder: Path) -> None:
    scan = taskstats.scan(folder, columns=NAMES)
    expected = sum(row[4] for row in found(scan) if row[1] == "b7")
    rows = duckdb.from_arrow(scan.to_arrow()).filter("\"label.rack\" = 'b7'")
    assert rows.sum("total_ns").fetchall() == [(expected,)]
    frame = scan.to_pandas()
    assert frame[frame["label.rack"] == "b7"]["total_ns"].sum() == expected


def test_polars_reads_no_file_whose_labels_do_not_pass(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = taskstats.scan(folder, columns=NAMES)
    read: list[int] = []
    reader = scan._read

    def reading(parts: list[tuple[Any, int, int]], *rest: Any) -> Any:
        read.append(sum(stop - start for _, start, stop in parts))
        return reader(parts, *rest)

    monkeypatch.setattr(scan, "_read", reading)
    frame = scan.to_polars()
    rack = pl.col("label.rack")
    every = found(scan)
    for condition, racks in (
        (rack == "b7", {"b7"}),
        (rack.is_in(["b7", "c2"]), {"b7", "c2"}),
        (rack.is_null(), {None}),
        ((rack == "c2") & pl.col("label.zone").is_null(), {"c2"}),
        ((rack == "c2") & (pl.col("label.zone") == "eu"), set()),
    ):
        read.clear()
        rows = frame.filter(condition, pl.col("total_ns") >= 0).collect()
        assert rows.height == len([row for row in every if row[1] in racks]), condition
        assert set(rows["label.rack"]) == racks
        assert sum(read) == 3 * len(racks)
    # A part of a disjunction does not select alone.
    either = frame.filter((rack == "b7") | (pl.col("ac_pid") == os.getpid())).collect()
    assert set(either["label.rack"]) == {"b7", "c2", None}


def test_exports_have_labels(folder: Path) -> None:
    paths = [str(folder / f"{name}.tsd") for name in RACKS]
    command = [sys.executable, "-m", "ptop", "export", *paths, "--columns", "label.rack,ac_pid"]
    lines = subprocess.run([*command, "--format", "json"], capture_output=True, check=True).stdout
    assert {json.loads(line)["label.rack"] for line in lines.splitlines()} == {"b7", "c2", None}
    rows = folder / "rows.parquet"
    subprocess.run([*command, "-o", str(rows)], check=True)
    assert set(pl.read_parquet(rows)["label.rack"]) == {"b7", "c2", None}
