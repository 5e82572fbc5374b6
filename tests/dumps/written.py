"""Writes dumps, and compares what is read from them with what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import taskstats

# Times that grow by themselves are derived when a dump is read; a source that walks from task
# to task is as exact in them as its walk is long.
MOVING = {"ac_time_ns", "ac_etime", "ac_tgetime", "ac_start_ns"}


def taken(source: taskstats.Source, count: int) -> list[taskstats.Snapshot]:
    with source:
        return [source.snapshot() for _ in range(count)]


def write(path: Path, snapshots: list[taskstats.Snapshot], **options: int | None) -> None:
    with taskstats.Recorder(path, **options) as recorder:  # type: ignore[arg-type]
        for snapshot in snapshots:
            recorder.write(snapshot)


def same(read: taskstats.Snapshot, written: taskstats.Snapshot) -> None:
    assert len(read) == len(written)
    assert read.fields == written.fields
    assert (read.time_ns, read.host, read.boot_id) == (
        written.time_ns,
        written.host,
        written.boot_id,
    )
    assert read.cpu_clocks == written.cpu_clocks
    walk_ns = 0 if written.one_instant else written.end_time_ns - written.time_ns
    a, b = read.numpy(), written.numpy()
    for name in read.fields:
        if name in MOVING:
            unit = 1 if name.endswith("_ns") else 1000
            off = np.abs(a[name].astype("int64") - b[name].astype("int64"))
            assert off.max(initial=0) * unit <= walk_ns + unit, name
        else:
            assert np.array_equal(a[name], b[name]), name
        assert list(read.valid(name)) == list(written.valid(name))
