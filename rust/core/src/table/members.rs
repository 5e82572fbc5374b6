//! Rows of an interval that count as one: the values of a group, and of a node of a tree.
//!
//! Design decisions
//!
//! * Counters, memory and threads are sums over all rows. Other fields are those of the own
//!   rows, which may be one task or several that share them.
//! * Threads of one process share its memory and its counters of children, so that sums
//!   count these once a process.

use std::collections::HashSet;

use super::metric::Metric;
use super::query::{Cell, Key, TaskTable};
use super::tasks::{cell_of_increase, increase_of, key_of};
use super::waits::{Wait, largest_of};
use crate::field_set::FieldSet;
use crate::fields::{Field, Kind};
use crate::interval::Interval;
use crate::record::{Record, Value};

/// How the values of rows make that of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Combination {
    /// The sum over the rows.
    Sum,
    /// The sum over the rows' processes.
    OfProcesses,
    /// The sum over the living rows' processes.
    OfLivingProcesses,
    /// The value that all own rows have.
    Common,
}

/// Gauges that a process has, not each of its threads, and that add up.
const SUMMED_GAUGES: FieldSet = FieldSet::of(&[Field::rss_kb, Field::vm_kb, Field::num_threads]);

impl Combination {
    fn of(field: Field) -> Combination {
        if SUMMED_GAUGES.contains(field) {
            Combination::OfLivingProcesses
        } else if FieldSet::OF_PROCESS.contains(field) {
            Combination::OfProcesses
        } else if field.info().kind == Kind::Counter {
            Combination::Sum
        } else {
            Combination::Common
        }
    }
}

/// Rows that count as one.
#[derive(Clone, Copy)]
pub(super) struct Members<'a> {
    pub(super) interval: &'a Interval,
    /// The own rows come first.
    pub(super) rows: &'a [usize],
    /// How many rows are the own ones: one of a task with what it started, all of a group that
    /// has a name.
    pub(super) own: usize,
}

impl<'a> Members<'a> {
    fn is_one(&self) -> bool {
        self.rows.len() == 1 && self.own == 1
    }

    pub(super) fn own_rows(&self) -> &'a [usize] {
        self.rows.get(..self.own).unwrap_or_default()
    }

    fn descendants(&self, are_exited: bool) -> Option<u64> {
        let rows = self.rows.get(self.own..).unwrap_or_default().iter();
        let of = rows.filter(|&&row| self.interval.is_exited(row) == are_exited);
        let used = of.filter_map(|&row| increase_of(self.interval, row, Metric::TotalNs));
        Some(used.fold(0, u64::saturating_add))
    }

    /// The whole number that a metric is computed from; None where no row knows it.
    pub(super) fn increase(&self, metric: Metric) -> Option<u64> {
        let sum = |rows: &[usize], metric| {
            let known = rows.iter().filter_map(|&row| increase_of(self.interval, row, metric));
            known.reduce(u64::saturating_add)
        };
        match metric {
            Metric::OwnNs | Metric::OwnPct if self.own == 0 => Some(0),
            Metric::OwnNs | Metric::OwnPct => sum(self.own_rows(), Metric::TotalNs),
            Metric::LivingNs | Metric::LivingPct => self.descendants(false),
            Metric::DeadNs | Metric::DeadPct => self.descendants(true),
            Metric::WaitNs | Metric::WaitPct => {
                let of = |wait: &Wait| sum(self.rows, Metric::Delta(wait.total));
                largest_of(of).map(|(_, ns)| ns)
            }
            _ => sum(self.rows, metric),
        }
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (usize, Record<'a>)> + use<'a> {
        let snapshot = self.interval.cur();
        self.rows.iter().filter_map(|&row| Some((row, snapshot.get(row)?)))
    }

    /// The value of a field in several rows.
    fn field(&self, field: Field) -> Option<Cell<'a>> {
        let combination = Combination::of(field);
        match combination {
            Combination::Sum => sum(self.records().map(|(_, record)| record), field),
            Combination::OfProcesses | Combination::OfLivingProcesses => {
                let with_dead = combination == Combination::OfProcesses;
                let threads = self.interval.cur().header().threads();
                let mut counted = HashSet::new();
                let once = self
                    .records()
                    .filter(|&(row, _)| with_dead || !self.interval.is_exited(row))
                    .filter(|(_, record)| record.value(field).is_some())
                    .filter(|(_, record)| !threads || counted.insert(record.ac_tgid()));
                sum(once.map(|(_, record)| record), field)
            }
            Combination::Common => {
                let own = Members { rows: self.own_rows(), ..*self };
                let mut values = own.records().map(|(_, record)| record.value(field));
                let first = values.next()??;
                values.all(|value| value == Some(first)).then_some(Cell::from(first))
            }
        }
    }

    /// The value of a metric other than the title.
    pub(super) fn cell(&self, metric: Metric) -> Option<Cell<'a>> {
        match metric {
            Metric::Field(field) if !self.is_one() => self.field(field),
            Metric::CpuNs => {
                let used = self.records().filter_map(|(_, record)| record.cpu_ns());
                used.map(i128::from).reduce(i128::saturating_add).map(Cell::Int)
            }
            Metric::LongestWaitNs => {
                let of = |row: &usize| self.interval.key(*row, metric);
                match self.rows.iter().filter_map(of).max()? {
                    Key::Int(ns) => Some(Cell::Int(ns)),
                    Key::Text(_) => None,
                }
            }
            Metric::Field(_) | Metric::Exited | Metric::Title => {
                self.interval.cell(*self.rows.first()?, metric)
            }
            _ => cell_of_increase(self.interval, metric, self.increase(metric)?),
        }
    }

    /// The key by which a metric other than the title sorts.
    pub(super) fn key(&self, metric: Metric) -> Option<Key<'a>> {
        if metric.is_of_record() {
            return key_of(self.cell(metric)?);
        }
        self.increase(metric).map(|n| Key::Int(i128::from(n)))
    }
}

/// Whether the value of several rows is the sum of what each adds.
pub(super) fn adds_up(interval: &Interval, metric: Metric) -> bool {
    match metric {
        Metric::Field(field) => match Combination::of(field) {
            Combination::Sum => true,
            Combination::OfProcesses | Combination::OfLivingProcesses => {
                !interval.cur().header().threads()
            }
            Combination::Common => false,
        },
        Metric::CpuNs => true,
        _ => metric.is_sum_of_rows(),
    }
}

/// What a row adds to the sum of a metric for which [`adds_up`] holds, and to those of living and
/// of dead tasks; None where it is unknown.
pub(super) fn addend(interval: &Interval, row: usize, metric: Metric) -> Option<i128> {
    let used = || increase_of(interval, row, Metric::TotalNs);
    let number = match metric {
        Metric::Field(field) => {
            let is_living = Combination::of(field) == Combination::OfLivingProcesses;
            if is_living && interval.is_exited(row) {
                return None;
            }
            return match interval.cur().get(row)?.value(field)? {
                Value::Int(number) => Some(number),
                Value::Text(_) => None,
            };
        }
        Metric::CpuNs => interval.cur().get(row)?.cpu_ns(),
        Metric::LivingNs | Metric::LivingPct => used().filter(|_| !interval.is_exited(row)),
        Metric::DeadNs | Metric::DeadPct => used().filter(|_| interval.is_exited(row)),
        _ => increase_of(interval, row, metric),
    };
    number.map(i128::from)
}

/// The value of a metric from the sum of what rows add.
pub(super) fn cell_of_sum(interval: &Interval, metric: Metric, sum: i128) -> Option<Cell<'static>> {
    match metric {
        Metric::Field(_) | Metric::CpuNs => Some(Cell::Int(sum)),
        _ => cell_of_increase(interval, metric, u64::try_from(sum).unwrap_or(u64::MAX)),
    }
}

/// The sum of a field over records that have it; None where none has.
fn sum<'a>(records: impl Iterator<Item = Record<'a>>, field: Field) -> Option<Cell<'a>> {
    let numbers = records.filter_map(|record| match record.value(field)? {
        Value::Int(number) => Some(number),
        Value::Text(_) => None,
    });
    numbers.reduce(i128::saturating_add).map(Cell::Int)
}
