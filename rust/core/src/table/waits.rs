//! What tasks wait for: the eight delays of the kernel's delay accounting, and the largest.

use super::metric::Metric;
use super::query::{Cell, TaskTable};
use crate::fields::Field;

/// A kind of delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The time that tasks have waited.
    pub total: Field,
    /// The longest single wait since the task's start.
    pub longest: Field,
    /// When that one ended, in ns since 1970.
    pub longest_at: Field,
}

const fn wait(total: Field, longest: Field, longest_at: Field) -> Wait {
    Wait { total, longest, longest_at }
}

/// The kinds: for a CPU, block I/O, swapped-out pages, memory reclaim, thrashing pages, memory
/// compaction, write-protect copies, interrupts.
pub const WAITS: [Wait; 8] = [
    wait(Field::cpu_delay_total, Field::cpu_delay_max, Field::cpu_delay_max_ts),
    wait(Field::blkio_delay_total, Field::blkio_delay_max, Field::blkio_delay_max_ts),
    wait(Field::swapin_delay_total, Field::swapin_delay_max, Field::swapin_delay_max_ts),
    wait(Field::freepages_delay_total, Field::freepages_delay_max, Field::freepages_delay_max_ts),
    wait(Field::thrashing_delay_total, Field::thrashing_delay_max, Field::thrashing_delay_max_ts),
    wait(Field::compact_delay_total, Field::compact_delay_max, Field::compact_delay_max_ts),
    wait(Field::wpcopy_delay_total, Field::wpcopy_delay_max, Field::wpcopy_delay_max_ts),
    wait(Field::irq_delay_total, Field::irq_delay_max, Field::irq_delay_max_ts),
];

/// The largest of eight values with the number of its kind; the first of equal ones. None where
/// all are unknown.
pub(super) fn largest_of(value: impl Fn(&Wait) -> Option<u64>) -> Option<(usize, u64)> {
    let known = WAITS.iter().enumerate().filter_map(|(kind, wait)| Some((kind, value(wait)?)));
    known.reduce(|largest, next| if next.1 > largest.1 { next } else { largest })
}

fn number(table: &dyn TaskTable, row: usize, metric: Metric) -> Option<u64> {
    match table.cell(row, metric)? {
        Cell::Int(number) => u64::try_from(number).ok(),
        _ => None,
    }
}

/// The kind for which a row waited longest in the interval, and how long, in ns.
pub fn largest(table: &dyn TaskTable, row: usize) -> Option<(usize, u64)> {
    largest_of(|wait| number(table, row, Metric::Delta(wait.total)))
}

/// The kind of the longest single wait of a row's task since its start, and how long it was, in
/// ns.
pub fn longest(table: &dyn TaskTable, row: usize) -> Option<(usize, u64)> {
    largest_of(|wait| number(table, row, Metric::Field(wait.longest)))
}

/// When the longest wait of a kind ended, in ns since 1970; None where there was none.
pub fn longest_at(table: &dyn TaskTable, row: usize, kind: usize) -> Option<u64> {
    number(table, row, Metric::Field(WAITS.get(kind)?.longest_at)).filter(|&at| at > 0)
}
