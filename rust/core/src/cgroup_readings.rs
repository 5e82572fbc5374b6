//! What the files of all cgroups said at one time, as recordings and histories keep it.
//!
//! Design decisions
//!
//! * The cgroups are read now and then: once a minute. A reading is valid until the next one, and
//!   two in sequence make an increase. Each has all cgroups, so that no others are looked for.
//! * Of a cgroup only numbers are kept, and most are small, or unknown.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cgroup_stats::{
    CgroupMetric, CgroupStats, CgroupUse, CgroupValue, CgroupValues, CpuMax, Limit,
};
use crate::dump::{Input, put_varint};
use crate::machine::{Pressure, Stall};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupReadings {
    /// CLOCK_BOOTTIME in ns.
    pub time_ns: u64,
    /// By path, as /proc/PID/cgroup has it.
    pub stats: BTreeMap<Vec<u8>, CgroupStats>,
}

/// Cgroups of a reading that are read at most: the bytes may be forged.
const MOST: usize = 1 << 17;

impl CgroupReadings {
    /// The byte form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.time_ns);
        for (path, stats) in &self.stats {
            for bytes in [path, &pack(stats)] {
                put_varint(&mut out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
        }
        out
    }

    /// The readings of a byte form; None if it is none.
    pub fn decode(bytes: &[u8]) -> Option<CgroupReadings> {
        let mut input = Input::new(bytes);
        let mut found = CgroupReadings { time_ns: input.varint()?, stats: BTreeMap::new() };
        while !input.is_empty() {
            let length = input.length()?;
            let path = input.take(length)?.to_vec();
            let length = input.length()?;
            found.stats.insert(path, unpack(input.take(length)?)?);
            if found.stats.len() > MOST {
                return None;
            }
        }
        Some(found)
    }
}

/// The last two readings at a time.
#[derive(Clone, Debug)]
pub struct CgroupsAt {
    /// The one before the last.
    pub before: Option<Arc<CgroupReadings>>,
    /// The last one.
    pub now: Arc<CgroupReadings>,
}

impl CgroupsAt {
    /// Both readings of a cgroup; None where the last one lacks it.
    pub fn of(&self, path: &[u8]) -> Option<CgroupUse> {
        let now = *self.now.stats.get(path)?;
        let known = self.before.as_ref().and_then(|before| {
            let elapsed_ns = self.now.time_ns.saturating_sub(before.time_ns);
            Some((*before.stats.get(path)?, elapsed_ns))
        });
        let (before, elapsed_ns) = known.unwrap_or_default();
        Some(CgroupUse { before, now, elapsed_ns })
    }
}

impl CgroupValues for CgroupsAt {
    fn value(&self, path: &[u8], metric: CgroupMetric) -> Option<CgroupValue> {
        self.of(path)?.value(metric)
    }
}

/// Numbers of a reading.
const VALUES: usize = 22;

/// A number of a reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Unknown,
    Max,
    Of(u64),
}

impl From<Option<u64>> for Number {
    fn from(value: Option<u64>) -> Number {
        value.map_or(Number::Unknown, Number::Of)
    }
}

impl From<Option<Limit>> for Number {
    fn from(limit: Option<Limit>) -> Number {
        match limit {
            None => Number::Unknown,
            Some(Limit::Max) => Number::Max,
            Some(Limit::At(value)) => Number::Of(value),
        }
    }
}

impl Number {
    fn value(self) -> Option<u64> {
        if let Number::Of(value) = self { Some(value) } else { None }
    }

    fn limit(self) -> Option<Limit> {
        match self {
            Number::Unknown => None,
            Number::Max => Some(Limit::Max),
            Number::Of(value) => Some(Limit::At(value)),
        }
    }
}

/// The byte form of a reading's numbers: 0 unknown, 1 `max`, else the number plus 2.
fn pack(stats: &CgroupStats) -> Vec<u8> {
    let stalls = stats.pressure.into_iter().flat_map(|pressure| {
        let full = pressure.and_then(|pressure| pressure.full);
        [pressure.map(|pressure| pressure.some), full].into_iter().flat_map(|stall| {
            [stall.map(|stall| u64::from(stall.avg10_centi)), stall.map(|stall| stall.total_us)]
        })
    });
    let numbers = [
        Number::from(stats.cpu_max.map(|max| max.quota_us)),
        stats.cpu_max.map(|max| max.period_us).into(),
        stats.nr_periods.into(),
        stats.nr_throttled.into(),
        stats.throttled_usec.into(),
        stats.memory_current.into(),
        stats.memory_high.into(),
        stats.memory_max.into(),
        stats.rbytes.into(),
        stats.wbytes.into(),
    ];
    let numbers = numbers.into_iter().chain(stalls.map(Number::from));
    let mut out = Vec::with_capacity(2 * VALUES);
    for number in numbers {
        let number = match number {
            Number::Unknown => 0,
            Number::Max => 1,
            // No file has numbers as large as those that do not fit.
            Number::Of(value) => value.checked_add(2).unwrap_or(0),
        };
        put_varint(&mut out, number);
    }
    out
}

/// The numbers of a byte form. Those that are missing at its end are unknown, and those of later
/// versions are passed over. None if it is none.
fn unpack(bytes: &[u8]) -> Option<CgroupStats> {
    let mut input = Input::new(bytes);
    let mut numbers = [Number::Unknown; VALUES];
    for number in &mut numbers {
        if input.at >= bytes.len() {
            break;
        }
        *number = match input.varint()? {
            0 => Number::Unknown,
            1 => Number::Max,
            number => Number::Of(number - 2),
        };
    }
    let cpu_max = numbers[0].limit().zip(numbers[1].value().filter(|&period| period > 0));
    let stall = |at: usize| {
        let avg10_centi = u32::try_from(numbers[at].value()?).ok()?;
        Some(Stall { avg10_centi, total_us: numbers[at + 1].value()? })
    };
    let pressure = |at: usize| Some(Pressure { some: stall(at)?, full: stall(at + 2) });
    Some(CgroupStats {
        cpu_max: cpu_max.map(|(quota_us, period_us)| CpuMax { quota_us, period_us }),
        nr_periods: numbers[2].value(),
        nr_throttled: numbers[3].value(),
        throttled_usec: numbers[4].value(),
        memory_current: numbers[5].value(),
        memory_high: numbers[6].limit(),
        memory_max: numbers[7].limit(),
        rbytes: numbers[8].value(),
        wbytes: numbers[9].value(),
        pressure: [pressure(10), pressure(14), pressure(18)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(nr_throttled: u64) -> CgroupStats {
        let stall = |total_us| Stall { avg10_centi: 7, total_us };
        CgroupStats {
            cpu_max: Some(CpuMax { quota_us: Limit::At(150_000), period_us: 100_000 }),
            nr_throttled: Some(nr_throttled),
            memory_current: Some(0),
            memory_high: Some(Limit::Max),
            memory_max: Some(Limit::At(u64::MAX - 2)),
            pressure: [
                Some(Pressure { some: stall(5), full: None }),
                None,
                Some(Pressure { some: stall(9), full: Some(stall(3)) }),
            ],
            ..CgroupStats::default()
        }
    }

    #[test]
    fn readings_are_encoded_without_loss() {
        let unknown = CgroupStats::default();
        let stats = BTreeMap::from([(b"/".to_vec(), unknown), (b"/a.slice".to_vec(), stats(4))]);
        let readings = CgroupReadings { time_ns: 5, stats };
        let bytes = readings.encode();
        assert_eq!(CgroupReadings::decode(&bytes), Some(readings));
        for length in [0, 2, 3, bytes.len() - 1] {
            assert_eq!(CgroupReadings::decode(&bytes[..length]), None, "{length}");
        }
    }

    #[test]
    fn numbers_of_other_versions_are_unknown_or_passed_over() {
        let stats = stats(0);
        assert_eq!(unpack(&[]), Some(CgroupStats::default()));
        let mut longer = pack(&stats);
        longer.push(5);
        assert_eq!(unpack(&longer), Some(stats));
        assert_eq!(unpack(&[0x80]), None);
    }

    #[test]
    fn two_readings_make_an_increase_where_both_have_the_cgroup() {
        let readings = |time_ns, stats: &[(&[u8], CgroupStats)]| {
            let stats = stats.iter().map(|(path, stats)| (path.to_vec(), *stats)).collect();
            Arc::new(CgroupReadings { time_ns, stats })
        };
        let before = readings(1_000, &[(b"/a", stats(4))]);
        let now = readings(3_000, &[(b"/a", stats(9)), (b"/new", stats(3))]);
        let both = CgroupsAt { before: Some(before), now: Arc::clone(&now) };
        let value = |at: &CgroupsAt, path: &[u8]| at.value(path, CgroupMetric::NrThrottled);
        assert_eq!(value(&both, b"/a"), Some(CgroupValue::Int(5)));
        assert_eq!(both.of(b"/a").map(|both| both.elapsed_ns), Some(2_000));
        assert_eq!(value(&both, b"/new"), None);
        assert_eq!(both.value(b"/new", CgroupMetric::MemoryHigh), Some(CgroupValue::Max));
        assert_eq!(both.of(b"/none"), None);
        assert_eq!(value(&CgroupsAt { before: None, now }, b"/a"), None);
    }
}
