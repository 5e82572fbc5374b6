//! Snapshots and intervals as tables: a row for each record.

use super::metric::{Metric, nanoseconds_per_unit};
use super::query::{Cell, Key, TaskTable};
use super::waits;
use crate::fields::Field;
use crate::interval::Interval;
use crate::record::Record;
use crate::snapshot::Snapshot;

impl<B: AsRef<[u8]>> TaskTable for Snapshot<B> {
    fn rows(&self) -> usize {
        self.len()
    }

    fn record(&self, row: usize) -> Option<Record<'_>> {
        self.get(row)
    }

    /// Known are metrics of the record alone: a single snapshot has no use.
    fn cell(&self, row: usize, metric: Metric) -> Option<Cell<'_>> {
        let record = self.get(row)?;
        match metric {
            Metric::Field(field) => record.value(field).map(Cell::from),
            Metric::CpuNs => record.cpu_ns().map(|ns| Cell::Int(i128::from(ns))),
            Metric::LongestWaitNs => {
                let (_, ns) = waits::longest(self, row)?;
                Some(Cell::Int(ns.into()))
            }
            Metric::Exited => self.is_exited(row).then_some(Cell::Int(1)),
            Metric::Title => self.title(row).map(Cell::Text),
            _ => None,
        }
    }

    fn part(&self, row: usize, metric: Metric) -> Option<Cell<'_>> {
        let cell = self.cell(row, metric)?;
        if metric != Metric::Field(Field::num_threads) {
            return Some(cell);
        }
        if self.is_exited(row) {
            return None;
        }
        // Each thread has the number of its process's threads.
        Some(if self.header().threads() { Cell::Int(1) } else { cell })
    }

    fn key(&self, row: usize, metric: Metric) -> Option<Key<'_>> {
        key_of(self.cell(row, metric)?)
    }
}

/// The sort key of a record's value.
pub(super) fn key_of(cell: Cell<'_>) -> Option<Key<'_>> {
    match cell {
        Cell::Int(number) => Some(Key::Int(number)),
        Cell::Text(text) => Some(Key::Text(text)),
        Cell::Float(_) => None,
    }
}

impl TaskTable for Interval {
    fn rows(&self) -> usize {
        self.len()
    }

    fn record(&self, row: usize) -> Option<Record<'_>> {
        self.cur().get(row)
    }

    fn cell(&self, row: usize, metric: Metric) -> Option<Cell<'_>> {
        if metric.is_of_record() {
            return self.cur().cell(row, metric);
        }
        cell_of_increase(self, metric, increase_of(self, row, metric)?)
    }

    fn part(&self, row: usize, metric: Metric) -> Option<Cell<'_>> {
        if metric.is_of_record() {
            return self.cur().part(row, metric);
        }
        self.cell(row, metric)
    }

    fn key(&self, row: usize, metric: Metric) -> Option<Key<'_>> {
        if metric.is_of_record() {
            return self.cur().key(row, metric);
        }
        increase_of(self, row, metric).map(|increase| Key::Int(i128::from(increase)))
    }
}

/// The whole number that a metric of a row is computed from; None where unknown, and for
/// metrics of the record alone.
pub(super) fn increase_of(interval: &Interval, row: usize, metric: Metric) -> Option<u64> {
    let used = || interval.usage(row);
    let children = || interval.children(row);
    match metric {
        Metric::UserNs | Metric::UserPct => Some(used()?.user_ns),
        Metric::SystemNs | Metric::SystemPct => Some(used()?.system_ns),
        Metric::StealNs | Metric::StealPct => used()?.steal_ns,
        Metric::TotalNs | Metric::TotalPct | Metric::OwnNs | Metric::OwnPct => {
            Some(used()?.total_ns())
        }
        Metric::Delta(field) | Metric::PerSec(field) | Metric::Pct(field) => {
            interval.increase(row, field)
        }
        Metric::ChildUserNs | Metric::ChildUserPct => children().user_ns,
        Metric::ChildSystemNs | Metric::ChildSystemPct => children().system_ns,
        Metric::ChildStealNs | Metric::ChildStealPct => children().steal_ns,
        Metric::AllNs | Metric::AllPct => interval.all_ns(row),
        Metric::Tasks => Some(1),
        Metric::IoBytes | Metric::IoPerSec => {
            let read = interval.increase(row, Field::read_bytes)?;
            Some(read.saturating_add(interval.increase(row, Field::write_bytes)?))
        }
        Metric::LivingNs | Metric::LivingPct | Metric::DeadNs | Metric::DeadPct => None,
        Metric::WaitNs | Metric::WaitPct => {
            waits::largest_of(|wait| interval.increase(row, wait.total)).map(|(_, ns)| ns)
        }
        Metric::Field(_)
        | Metric::CpuNs
        | Metric::LongestWaitNs
        | Metric::Exited
        | Metric::Title
        | Metric::Cgroup(_) => None,
    }
}

/// The value of a metric that is computed from `increase`; None for a rate or share in an
/// interval of no length.
pub(super) fn cell_of_increase(
    interval: &Interval,
    metric: Metric,
    increase: u64,
) -> Option<Cell<'static>> {
    if !metric.is_share() {
        return Some(Cell::Int(i128::from(increase)));
    }
    let length_ns = interval.interval_ns() as f64;
    if length_ns <= 0.0 {
        return None;
    }
    Some(Cell::Float(match metric {
        Metric::PerSec(_) | Metric::IoPerSec => increase as f64 * 1e9 / length_ns,
        Metric::Pct(field) => {
            100.0 * (increase as f64 * nanoseconds_per_unit(field)? as f64) / length_ns
        }
        _ => 100.0 * increase as f64 / length_ns,
    }))
}
