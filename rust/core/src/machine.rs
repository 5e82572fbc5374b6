//! What the machine's meters show besides CPU times, load and memory: pressure, details of
//! memory, disks, networks, and the limits of the reader's cgroup.
//!
//! Design decisions
//!
//! * Counters are as the kernel counts them, from boot on. Two snapshots make a rate.
//! * None is unknown: it was not asked for, or this kernel lacks it.

use std::ops::{BitOr, BitOrAssign};

/// The meters that a snapshot is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Meters(u8);

impl Meters {
    /// /proc/pressure.
    pub const PRESSURE: Meters = Meters(1);
    /// /proc/diskstats.
    pub const DISKS: Meters = Meters(1 << 1);
    /// /proc/net/dev.
    pub const NETWORKS: Meters = Meters(1 << 2);
    /// The limits of the reader's cgroup.
    pub const CGROUP: Meters = Meters(1 << 3);
    /// No meter.
    pub const NONE: Meters = Meters(0);
    /// All meters.
    pub const ALL: Meters = Meters(0xf);

    /// Names of the meters, as arguments.
    pub const NAMED: [(&str, Meters); 4] = [
        ("pressure", Meters::PRESSURE),
        ("disks", Meters::DISKS),
        ("networks", Meters::NETWORKS),
        ("cgroup", Meters::CGROUP),
    ];

    /// Whether all of `other` are among these.
    pub const fn contains(self, other: Meters) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Meters {
    type Output = Meters;

    fn bitor(self, other: Meters) -> Meters {
        Meters(self.0 | other.0)
    }
}

impl BitOrAssign for Meters {
    fn bitor_assign(&mut self, other: Meters) {
        self.0 |= other.0;
    }
}

/// The machine at the snapshot's moment. Its load and memory are a [`crate::System`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Machine {
    /// Tasks that waited for a CPU.
    pub cpu_pressure: Option<Pressure>,
    /// Tasks that waited for I/O.
    pub io_pressure: Option<Pressure>,
    /// Tasks that waited for memory.
    pub memory_pressure: Option<Pressure>,
    /// More of /proc/meminfo; read with [`crate::System`].
    pub memory: Option<MemoryDetails>,
    /// Disks, by name. Devices made of others (dm, md) and parts of disks are left out, unless
    /// there are no others.
    pub disks: Option<Vec<Disk>>,
    /// Network interfaces of the reader's network namespace, by name, without `lo`. Virtual
    /// interfaces are left out, unless there are no others.
    pub networks: Option<Vec<Network>>,
    /// The nearest limits that the reader's cgroup and those above it set.
    pub cgroup: Option<CgroupLimits>,
}

impl Machine {
    /// The counts of the disks of these names together; `busy_ms` is the sum of theirs.
    pub fn sum_disks(&self, is_wanted: impl Fn(&str) -> bool) -> Option<DiskCounts> {
        let disks = self.disks.as_ref()?.iter().filter(|disk| is_wanted(&disk.name));
        Some(disks.fold(DiskCounts::default(), |sum, disk| sum.plus(&disk.counts)))
    }

    /// The counts of the interfaces of these names together.
    pub fn sum_networks(&self, is_wanted: impl Fn(&str) -> bool) -> Option<NetworkCounts> {
        let networks = self.networks.as_ref()?.iter().filter(|network| is_wanted(&network.name));
        Some(networks.fold(NetworkCounts::default(), |sum, network| sum.plus(&network.counts)))
    }
}

/// Pressure stall information of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Stall,
    /// All tasks that were not idle waited.
    pub full: Option<Stall>,
}

/// A line of a file in /proc/pressure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stall {
    /// Share of the last 10 seconds, in hundredths of a per cent.
    pub avg10_centi: u32,
    /// Time since boot, in µs.
    pub total_us: u64,
}

impl Stall {
    /// The share of `interval_ns` that passed in this since `before`, in per cent.
    pub fn share_pct(&self, before: &Stall, interval_ns: u64) -> Option<f64> {
        let stalled_us = self.total_us.checked_sub(before.total_us)?;
        // The kernel adds up to a period of averaging (2 s) at once.
        let share = stalled_us as f64 * 100_000.0 / interval_ns as f64;
        (interval_ns > 0).then(|| share.min(100.0))
    }
}

/// More of /proc/meminfo, in KiB, under its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MemoryDetails {
    /// `AnonPages`: pages of programs without a file.
    pub anon_pages_kb: Option<u64>,
    /// `Shmem`: shared memory and tmpfs, part of `Cached`.
    pub shmem_kb: Option<u64>,
    /// `SReclaimable`: memory of the kernel that it can give back.
    pub s_reclaimable_kb: Option<u64>,
    /// `SUnreclaim`: memory of the kernel that it cannot.
    pub s_unreclaim_kb: Option<u64>,
    /// `Dirty`: pages to be written to disk.
    pub dirty_kb: Option<u64>,
    /// `Writeback`: pages that are being written.
    pub writeback_kb: Option<u64>,
    /// `SwapCached`: swapped pages that are in memory as well.
    pub swap_cached_kb: Option<u64>,
    /// `Zswap`: memory that holds compressed pages.
    pub zswap_kb: Option<u64>,
    /// `Zswapped`: the pages before they were compressed.
    pub zswapped_kb: Option<u64>,
}

impl MemoryDetails {
    /// The values in the order above.
    pub const fn as_array(&self) -> [Option<u64>; 9] {
        [
            self.anon_pages_kb,
            self.shmem_kb,
            self.s_reclaimable_kb,
            self.s_unreclaim_kb,
            self.dirty_kb,
            self.writeback_kb,
            self.swap_cached_kb,
            self.zswap_kb,
            self.zswapped_kb,
        ]
    }

    /// The details of these values.
    pub const fn from_array(values: [Option<u64>; 9]) -> MemoryDetails {
        let [anon, shmem, reclaimable, unreclaim, dirty, writeback, swap_cached, zswap, zswapped] =
            values;
        MemoryDetails {
            anon_pages_kb: anon,
            shmem_kb: shmem,
            s_reclaimable_kb: reclaimable,
            s_unreclaim_kb: unreclaim,
            dirty_kb: dirty,
            writeback_kb: writeback,
            swap_cached_kb: swap_cached,
            zswap_kb: zswap,
            zswapped_kb: zswapped,
        }
    }
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Disk {
    /// Its name in /dev.
    pub name: String,
    /// What it has done.
    pub counts: DiskCounts,
}

/// What a disk has done since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DiskCounts {
    /// Reads that are complete.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes that are complete.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Time with at least one request, in ms.
    pub busy_ms: u64,
}

impl DiskCounts {
    /// The counts in the order above.
    pub const fn as_array(&self) -> [u64; 5] {
        [self.reads, self.read_bytes, self.writes, self.written_bytes, self.busy_ms]
    }

    /// These counts.
    pub const fn from_array(counts: [u64; 5]) -> DiskCounts {
        let [reads, read_bytes, writes, written_bytes, busy_ms] = counts;
        DiskCounts { reads, read_bytes, writes, written_bytes, busy_ms }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &DiskCounts) -> DiskCounts {
        DiskCounts::from_array(pairwise(self.as_array(), other.as_array(), u64::saturating_add))
    }

    /// What came since `before`; 0 for counts that the kernel began again.
    #[must_use]
    pub fn since(&self, before: &DiskCounts) -> DiskCounts {
        DiskCounts::from_array(pairwise(self.as_array(), before.as_array(), u64::saturating_sub))
    }
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// What it has done.
    pub counts: NetworkCounts,
}

/// What a network interface has done since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct NetworkCounts {
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Errors and dropped packets, in both directions.
    pub failed_packets: u64,
}

impl NetworkCounts {
    /// The counts in the order above.
    pub const fn as_array(&self) -> [u64; 5] {
        [
            self.received_bytes,
            self.received_packets,
            self.sent_bytes,
            self.sent_packets,
            self.failed_packets,
        ]
    }

    /// These counts.
    pub const fn from_array(counts: [u64; 5]) -> NetworkCounts {
        let [received_bytes, received_packets, sent_bytes, sent_packets, failed_packets] = counts;
        NetworkCounts { received_bytes, received_packets, sent_bytes, sent_packets, failed_packets }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &NetworkCounts) -> NetworkCounts {
        NetworkCounts::from_array(pairwise(self.as_array(), other.as_array(), u64::saturating_add))
    }

    /// What came since `before`; 0 for counts that the kernel began again.
    #[must_use]
    pub fn since(&self, before: &NetworkCounts) -> NetworkCounts {
        NetworkCounts::from_array(pairwise(self.as_array(), before.as_array(), u64::saturating_sub))
    }
}

fn pairwise<const N: usize>(
    left: [u64; N],
    right: [u64; N],
    combine: impl Fn(u64, u64) -> u64,
) -> [u64; N] {
    std::array::from_fn(|index| combine(left[index], right[index]))
}

/// The limits of cgroup v2 that bind the reader, and what they did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CgroupLimits {
    /// `cpu.max`: CPU time that all tasks may use in a period, in µs.
    pub cpu_quota_us: Option<u64>,
    /// `cpu.max`: the period, in µs.
    pub cpu_period_us: Option<u64>,
    /// `cpu.stat`: periods in which tasks were throttled.
    pub nr_throttled: Option<u64>,
    /// `cpu.stat`: how long they were, in µs.
    pub throttled_us: Option<u64>,
    /// `memory.max`, in bytes.
    pub memory_max_bytes: Option<u64>,
    /// `memory.current` of the cgroup with that limit, in bytes.
    pub memory_current_bytes: Option<u64>,
}

impl CgroupLimits {
    /// The values in the order above.
    pub const fn as_array(&self) -> [Option<u64>; 6] {
        [
            self.cpu_quota_us,
            self.cpu_period_us,
            self.nr_throttled,
            self.throttled_us,
            self.memory_max_bytes,
            self.memory_current_bytes,
        ]
    }

    /// The limits of these values.
    pub const fn from_array(values: [Option<u64>; 6]) -> CgroupLimits {
        let [quota, period, nr_throttled, throttled_us, max, current] = values;
        CgroupLimits {
            cpu_quota_us: quota,
            cpu_period_us: period,
            nr_throttled,
            throttled_us,
            memory_max_bytes: max,
            memory_current_bytes: current,
        }
    }
}
