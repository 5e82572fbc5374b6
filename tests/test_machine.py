"""The machine's meters of a snapshot are those of the kernel's files."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import taskstats
from taskstats.machine import Machine, Stall

METERS: list[Any] = ["pressure", "disks", "networks", "cgroup"]
NOTHING = Machine(*[None] * len(Machine._fields))


def totals_us(text: str) -> list[int]:
    return [int(line.rpartition("=")[2]) for line in text.splitlines()]


def test_pressure_is_between_two_reads_of_its_file(source: taskstats.Source) -> None:
    with source:
        source.configure(exact=False, meters=["pressure"])
        for name in ("cpu", "io", "memory"):
            path = Path("/proc/pressure", name)
            before = totals_us(path.read_text())
            pressure = getattr(source.snapshot().machine, f"{name}_pressure")
            after = totals_us(path.read_text())
            assert isinstance(pressure.some, Stall)
            read = [pressure.some.total_us, pressure.full.total_us]
            assert all(a <= b <= c for a, b, c in zip(before, read, after, strict=True)), name
            assert 0 <= pressure.some.avg10_pct <= 100


def test_disks_are_whole_ones_and_count_what_is_read(
    source: taskstats.Source, tmp_path: Path
) -> None:
    with source:
        source.configure(exact=False, meters=["disks"])
        before = {disk.name: disk for disk in source.snapshot().machine.disks or ()}
        assert before
        assert all(Path("/sys/block", name.replace("/", "!")).is_dir() for name in before)
        file = tmp_path / "written"
        with file.open("wb") as writer:
            writer.write(os.urandom(1 << 20))
            os.fsync(writer.fileno())
        after = source.snapshot().machine.disks or ()
    written = sum(disk.written_bytes - before[disk.name].written_bytes for disk in after)
    assert written >= 1 << 20
    assert all(disk.busy_ms >= before[disk.name].busy_ms for disk in after)


def test_networks_are_listed_without_the_loopback(source: taskstats.Source) -> None:
    with source:
        source.configure(exact=False, meters=["networks"])
        networks = source.snapshot().machine.networks
    assert networks is not None
    names = {name for _, name in socket.if_nameindex()}
    assert {network.name for network in networks} <= names - {"lo"}


def test_what_is_not_asked_for_is_not_read(source: taskstats.Source) -> None:
    with source:
        source.configure(exact=False)
        machine = source.snapshot().machine
        # Load and memory, which some sources read always, have its details.
        assert machine._replace(memory=None) == NOTHING
        source.configure(meters=METERS)
        assert source.snapshot().machine.disks is not None
        source.configure(meters=[])
        assert source.snapshot().machine.disks is None


def test_the_byte_form_has_the_meters() -> None:
    with taskstats.Source(exact=False, system=True, meters=METERS) as source:
        snapshot = source.snapshot()
    assert snapshot.machine.memory is not None
    assert snapshot.machine.memory.shmem_kb is not None
    assert taskstats.parse(snapshot.to_bytes()).machine == snapshot.machine


def test_an_unknown_meter_is_refused() -> None:
    wrong: Any = ["pressure", "disk"]
    with pytest.raises(ValueError, match=r'"disk": choose from pressure, disks, networks, cgroup'):
        taskstats.Source(meters=wrong)
