"""The machine's meters in a snapshot: `Snapshot.machine`.

```python
import time
import taskstats

with taskstats.Source(exact=False, meters=["pressure", "disks", "networks"]) as source:
    before = source.snapshot().machine
    time.sleep(0.1)
    now = source.snapshot().machine
if now.cpu_pressure and before.cpu_pressure:
    waited_us = now.cpu_pressure.some.total_us - before.cpu_pressure.some.total_us
for disk in now.disks or ():
    print(disk.name, disk.read_bytes, disk.busy_ms)
```

Counters are as the kernel counts them, from boot on; None is unknown: it was not asked for, or
this kernel lacks it.
"""

from typing import NamedTuple

from taskstats._core import cgroup_files as cgroup_files
from taskstats._core import cgroups_not_on_v2 as cgroups_not_on_v2
from taskstats._core import recorded_cgroup as recorded_cgroup


class Stall(NamedTuple):
    """A line of a file in /proc/pressure."""

    #: Share of the last 10 seconds, in per cent.
    avg10_pct: float
    #: Time since boot, in us.
    total_us: int


class Pressure(NamedTuple):
    """Pressure stall information of one resource."""

    #: At least one task waited.
    some: Stall
    #: All tasks that were not idle waited.
    full: Stall | None


class MemoryDetails(NamedTuple):
    """More of /proc/meminfo, in KiB: `Snapshot.memory` has the rest."""

    anon_pages_kb: int | None
    shmem_kb: int | None
    s_reclaimable_kb: int | None
    s_unreclaim_kb: int | None
    dirty_kb: int | None
    writeback_kb: int | None
    swap_cached_kb: int | None
    zswap_kb: int | None
    zswapped_kb: int | None


class Disk(NamedTuple):
    """A disk, and what it has done since boot."""

    name: str
    reads: int
    read_bytes: int
    writes: int
    written_bytes: int
    #: Time with at least one request.
    busy_ms: int


class Network(NamedTuple):
    """A network interface, and what it has done since it was made."""

    name: str
    received_bytes: int
    received_packets: int
    sent_bytes: int
    sent_packets: int
    #: Errors and dropped packets, in both directions.
    failed_packets: int


class CgroupLimits(NamedTuple):
    """The limits of cgroup v2 that bind the reader, and what they did."""

    cpu_quota_us: int | None
    cpu_period_us: int | None
    #: Periods in which tasks were throttled, and how long they were.
    nr_throttled: int | None
    throttled_us: int | None
    memory_max_bytes: int | None
    #: Of the cgroup with that limit.
    memory_current_bytes: int | None


class Machine(NamedTuple):
    """The machine at the snapshot's moment."""

    cpu_pressure: Pressure | None
    io_pressure: Pressure | None
    memory_pressure: Pressure | None
    #: Read with load and memory (`system` of a `Source`).
    memory: MemoryDetails | None
    #: Without parts of disks, and without devices made of others (dm, md) where there are disks.
    disks: tuple[Disk, ...] | None
    #: Of the reader's network namespace: physical interfaces, or where there is none all but `lo`.
    networks: tuple[Network, ...] | None
    cgroup: CgroupLimits | None
