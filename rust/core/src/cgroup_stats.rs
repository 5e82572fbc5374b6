//! Limits and use of a cgroup (v2), as its files have them, and the metrics of two readings.
//!
//! Design decisions
//!
//! * Files and words keep the kernel's names (Documentation/admin-guide/cgroup-v2.rst).
//! * None is unknown: the controller is off or on v1, or the cgroup is gone. It is never 0.
//! * Counters are as the kernel counts them; two readings make an increase. The kernel counts a
//!   cgroup with all below it.
//! * A file is read when a metric needs it, so readings have an instant for each part.

use std::fmt;
use std::sync::Arc;

use crate::machine::Pressure;

/// The files that are read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CgroupPart {
    /// cpu.max and cpu.stat.
    Cpu,
    /// memory.current, memory.high and memory.max.
    Memory,
    /// io.stat.
    Io,
    /// cpu.pressure, io.pressure and memory.pressure.
    Pressure,
}

impl CgroupPart {
    /// All parts.
    pub const ALL: [CgroupPart; 4] =
        [CgroupPart::Cpu, CgroupPart::Memory, CgroupPart::Io, CgroupPart::Pressure];
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The kernel's word `max`: there is none.
    Max,
    /// In the unit of its file.
    At(u64),
}

/// `cpu.max`: CPU time that all tasks together may use in each period, in µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuMax {
    /// The time.
    pub quota_us: Limit,
    /// The period; not 0.
    pub period_us: u64,
}

/// What the files of a cgroup say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CgroupStats {
    /// `cpu.max`.
    pub cpu_max: Option<CpuMax>,
    /// `cpu.stat`: periods in which tasks wanted to run.
    pub nr_periods: Option<u64>,
    /// `cpu.stat`: periods in which tasks were throttled.
    pub nr_throttled: Option<u64>,
    /// `cpu.stat`: how long CPUs were throttled, in µs; of several CPUs the sum.
    pub throttled_usec: Option<u64>,
    /// `memory.current`, in bytes.
    pub memory_current: Option<u64>,
    /// `memory.high`, in bytes.
    pub memory_high: Option<Limit>,
    /// `memory.max`, in bytes.
    pub memory_max: Option<Limit>,
    /// `io.stat`: bytes read from all disks.
    pub rbytes: Option<u64>,
    /// `io.stat`: bytes written to all disks.
    pub wbytes: Option<u64>,
    /// `cpu.pressure`, `io.pressure` and `memory.pressure`.
    pub pressure: [Option<Pressure>; 3],
}

/// Two readings of one cgroup. The one before is unknown where there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CgroupUse {
    /// The reading before.
    pub before: CgroupStats,
    /// The last reading.
    pub now: CgroupStats,
    /// Time from one to the other, in ns.
    pub elapsed_ns: u64,
}

/// A value of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CgroupValue {
    /// No limit.
    Max,
    /// A whole number.
    Int(u64),
    /// A rate or share.
    Float(f64),
}

/// A metric of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CgroupMetric {
    /// `cpu.max` in per cent of one CPU.
    CpuMaxPct,
    /// Increase of `nr_periods`.
    NrPeriods,
    /// Increase of `nr_throttled`.
    NrThrottled,
    /// Increase of `throttled_usec`.
    ThrottledUsec,
    /// `memory.current`.
    MemoryCurrent,
    /// `memory.high`.
    MemoryHigh,
    /// `memory.max`.
    MemoryMax,
    /// Increase of `rbytes`.
    Rbytes,
    /// Increase of `wbytes`.
    Wbytes,
    /// Increase of `rbytes` per second.
    RbytesPerSec,
    /// Increase of `wbytes` per second.
    WbytesPerSec,
    /// Share of time in which some task waited for a CPU.
    CpuSomePct,
    /// Share of time in which all tasks waited for a CPU.
    CpuFullPct,
    /// Share of time in which some task waited for I/O.
    IoSomePct,
    /// Share of time in which all tasks waited for I/O.
    IoFullPct,
    /// Share of time in which some task waited for memory.
    MemorySomePct,
    /// Share of time in which all tasks waited for memory.
    MemoryFullPct,
}

impl CgroupMetric {
    /// All metrics, with name and unit.
    pub const TABLE: [(CgroupMetric, &str, &str); 17] = [
        (CgroupMetric::CpuMaxPct, "cpu_max_pct", "%"),
        (CgroupMetric::NrPeriods, "nr_periods_delta", "count"),
        (CgroupMetric::NrThrottled, "nr_throttled_delta", "count"),
        (CgroupMetric::ThrottledUsec, "throttled_usec_delta", "us"),
        (CgroupMetric::MemoryCurrent, "memory_current", "bytes"),
        (CgroupMetric::MemoryHigh, "memory_high", "bytes"),
        (CgroupMetric::MemoryMax, "memory_max", "bytes"),
        (CgroupMetric::Rbytes, "rbytes_delta", "bytes"),
        (CgroupMetric::Wbytes, "wbytes_delta", "bytes"),
        (CgroupMetric::RbytesPerSec, "rbytes_per_sec", "bytes/s"),
        (CgroupMetric::WbytesPerSec, "wbytes_per_sec", "bytes/s"),
        (CgroupMetric::CpuSomePct, "cpu_some_pct", "%"),
        (CgroupMetric::CpuFullPct, "cpu_full_pct", "%"),
        (CgroupMetric::IoSomePct, "io_some_pct", "%"),
        (CgroupMetric::IoFullPct, "io_full_pct", "%"),
        (CgroupMetric::MemorySomePct, "memory_some_pct", "%"),
        (CgroupMetric::MemoryFullPct, "memory_full_pct", "%"),
    ];

    /// The metric of that name.
    pub fn from_name(name: &str) -> Option<CgroupMetric> {
        Self::TABLE.iter().find(|(_, known, _)| *known == name).map(|&(metric, ..)| metric)
    }

    fn entry(self) -> (&'static str, &'static str) {
        let found = Self::TABLE.iter().find(|(metric, ..)| *metric == self);
        found.map_or(("", ""), |&(_, name, unit)| (name, unit))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// The name of its unit.
    pub fn unit(self) -> &'static str {
        self.entry().1
    }

    /// Whether it is a rate or a share, a number with a fraction.
    pub const fn is_share(self) -> bool {
        !matches!(
            self,
            CgroupMetric::NrPeriods
                | CgroupMetric::NrThrottled
                | CgroupMetric::ThrottledUsec
                | CgroupMetric::MemoryCurrent
                | CgroupMetric::MemoryHigh
                | CgroupMetric::MemoryMax
                | CgroupMetric::Rbytes
                | CgroupMetric::Wbytes
        )
    }

    /// The files that it needs.
    pub const fn part(self) -> CgroupPart {
        match self {
            CgroupMetric::CpuMaxPct
            | CgroupMetric::NrPeriods
            | CgroupMetric::NrThrottled
            | CgroupMetric::ThrottledUsec => CgroupPart::Cpu,
            CgroupMetric::MemoryCurrent | CgroupMetric::MemoryHigh | CgroupMetric::MemoryMax => {
                CgroupPart::Memory
            }
            CgroupMetric::Rbytes
            | CgroupMetric::Wbytes
            | CgroupMetric::RbytesPerSec
            | CgroupMetric::WbytesPerSec => CgroupPart::Io,
            _ => CgroupPart::Pressure,
        }
    }
}

impl From<Limit> for CgroupValue {
    fn from(limit: Limit) -> CgroupValue {
        match limit {
            Limit::Max => CgroupValue::Max,
            Limit::At(number) => CgroupValue::Int(number),
        }
    }
}

impl CgroupUse {
    /// The value of a metric; None where it is unknown.
    pub fn value(&self, metric: CgroupMetric) -> Option<CgroupValue> {
        let CgroupUse { before, now, elapsed_ns } = self;
        let increase = |of: fn(&CgroupStats) -> Option<u64>| of(now)?.checked_sub(of(before)?);
        let per_sec = |count: u64| {
            (*elapsed_ns > 0).then(|| CgroupValue::Float(count as f64 * 1e9 / *elapsed_ns as f64))
        };
        let pressure = |at: usize, is_full: bool| {
            let stall = |stats: &CgroupStats| {
                let pressure = stats.pressure[at]?;
                if is_full { pressure.full } else { Some(pressure.some) }
            };
            stall(now)?.share_pct(&stall(before)?, *elapsed_ns).map(CgroupValue::Float)
        };
        match metric {
            CgroupMetric::CpuMaxPct => now.cpu_max.map(|max| match max.quota_us {
                Limit::Max => CgroupValue::Max,
                Limit::At(us) => CgroupValue::Float(100.0 * us as f64 / max.period_us as f64),
            }),
            CgroupMetric::NrPeriods => increase(|stats| stats.nr_periods).map(CgroupValue::Int),
            CgroupMetric::NrThrottled => increase(|stats| stats.nr_throttled).map(CgroupValue::Int),
            CgroupMetric::ThrottledUsec => {
                increase(|stats| stats.throttled_usec).map(CgroupValue::Int)
            }
            CgroupMetric::MemoryCurrent => now.memory_current.map(CgroupValue::Int),
            CgroupMetric::MemoryHigh => now.memory_high.map(CgroupValue::from),
            CgroupMetric::MemoryMax => now.memory_max.map(CgroupValue::from),
            CgroupMetric::Rbytes => increase(|stats| stats.rbytes).map(CgroupValue::Int),
            CgroupMetric::Wbytes => increase(|stats| stats.wbytes).map(CgroupValue::Int),
            CgroupMetric::RbytesPerSec => per_sec(increase(|stats| stats.rbytes)?),
            CgroupMetric::WbytesPerSec => per_sec(increase(|stats| stats.wbytes)?),
            CgroupMetric::CpuSomePct => pressure(0, false),
            CgroupMetric::CpuFullPct => pressure(0, true),
            CgroupMetric::IoSomePct => pressure(1, false),
            CgroupMetric::IoFullPct => pressure(1, true),
            CgroupMetric::MemorySomePct => pressure(2, false),
            CgroupMetric::MemoryFullPct => pressure(2, true),
        }
    }
}

/// What knows the values of cgroups by their paths, in one interval.
pub trait CgroupValues: Send + Sync + fmt::Debug {
    /// The value of a metric; None where it is unknown.
    fn value(&self, path: &[u8], metric: CgroupMetric) -> Option<CgroupValue>;
}

/// The values of cgroups, if there is something that knows them.
pub type KnownCgroups = Option<Arc<dyn CgroupValues>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Stall;

    #[test]
    fn two_readings_make_the_values() {
        let stall = |total_us| Some(Stall { avg10_centi: 0, total_us });
        let pressure =
            |some, full| Some(Pressure { some: stall(some).unwrap(), full: stall(full) });
        let before = CgroupStats {
            nr_periods: Some(10),
            nr_throttled: Some(4),
            throttled_usec: Some(1_000),
            rbytes: Some(4096),
            wbytes: Some(0),
            pressure: [None, pressure(0, 0), None],
            ..CgroupStats::default()
        };
        let now = CgroupStats {
            cpu_max: Some(CpuMax { quota_us: Limit::At(150_000), period_us: 100_000 }),
            nr_periods: Some(30),
            nr_throttled: Some(14),
            throttled_usec: Some(51_000),
            memory_current: Some(0),
            memory_max: Some(Limit::Max),
            rbytes: Some(8192),
            wbytes: Some(0),
            pressure: [None, pressure(500_000, 200_000), None],
            ..CgroupStats::default()
        };
        let both = CgroupUse { before, now, elapsed_ns: 2_000_000_000 };
        let expected = [
            (CgroupMetric::CpuMaxPct, Some(CgroupValue::Float(150.0))),
            (CgroupMetric::NrPeriods, Some(CgroupValue::Int(20))),
            (CgroupMetric::NrThrottled, Some(CgroupValue::Int(10))),
            (CgroupMetric::ThrottledUsec, Some(CgroupValue::Int(50_000))),
            (CgroupMetric::MemoryCurrent, Some(CgroupValue::Int(0))),
            (CgroupMetric::MemoryHigh, None),
            (CgroupMetric::MemoryMax, Some(CgroupValue::Max)),
            (CgroupMetric::Rbytes, Some(CgroupValue::Int(4096))),
            (CgroupMetric::Wbytes, Some(CgroupValue::Int(0))),
            (CgroupMetric::RbytesPerSec, Some(CgroupValue::Float(2048.0))),
            (CgroupMetric::WbytesPerSec, Some(CgroupValue::Float(0.0))),
            (CgroupMetric::CpuSomePct, None),
            (CgroupMetric::CpuFullPct, None),
            (CgroupMetric::IoSomePct, Some(CgroupValue::Float(25.0))),
            (CgroupMetric::IoFullPct, Some(CgroupValue::Float(10.0))),
            (CgroupMetric::MemorySomePct, None),
            (CgroupMetric::MemoryFullPct, None),
        ];
        for (metric, value) in expected {
            assert_eq!(both.value(metric), value, "{metric:?}");
            assert_eq!(CgroupMetric::from_name(metric.name()), Some(metric));
        }
        // A first reading knows no increase, and a counter that went back is another one.
        let first = CgroupUse { before: CgroupStats::default(), now, elapsed_ns: 0 };
        assert_eq!(first.value(CgroupMetric::NrThrottled), None);
        let back = CgroupUse { before: now, now: before, elapsed_ns: 1 };
        assert_eq!(back.value(CgroupMetric::NrThrottled), None);
    }
}
