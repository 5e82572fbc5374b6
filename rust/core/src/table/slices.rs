//! The rows of an interval in an order in which those that count as one are consecutive.
//!
//! Design decisions
//!
//! * Sums of many rows are taken from running sums of all rows, which are made once for each
//!   metric: a table is drawn again at each key.

use std::sync::Arc;

use super::members::{Members, addend, adds_up, cell_of_sum};
use super::metric::Metric;
use super::query::{Cell, Key};
use super::running_sums::{RunningSums, UpTo, sum_over};
use super::waits::largest_of;
use crate::interval::Interval;

/// Rows from which on the sums of a slice are taken from those of all rows.
const MANY_ROWS: usize = 16;

/// Consecutive rows that count as one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slice {
    pub(super) begin: usize,
    /// How many rows, the first ones, are the own ones: see [`Members`].
    pub(super) own: usize,
    pub(super) end: usize,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Slices {
    interval: Arc<Interval>,
    rows: Vec<usize>,
    sums: RunningSums,
}

impl Slices {
    pub(super) fn new(interval: Arc<Interval>, rows: Vec<usize>) -> Slices {
        Slices { interval, rows, sums: RunningSums::default() }
    }

    pub(super) fn interval(&self) -> &Arc<Interval> {
        &self.interval
    }

    /// The rows of a slice.
    pub(super) fn members(&self, slice: Slice) -> Members<'_> {
        let rows = self.rows.get(slice.begin..slice.end).unwrap_or_default();
        Members { interval: &self.interval, rows, own: slice.own }
    }

    /// The value of a slice for a metric other than the title.
    pub(super) fn cell(&self, slice: Slice, metric: Metric) -> Option<Cell<'_>> {
        match self.of_many_rows(slice, metric) {
            Some(sum) => cell_of_sum(&self.interval, metric, sum?),
            None => self.members(slice).cell(metric),
        }
    }

    /// The key by which such a metric sorts.
    pub(super) fn key(&self, slice: Slice, metric: Metric) -> Option<Key<'_>> {
        match self.of_many_rows(slice, metric) {
            Some(sum) => sum.map(Key::Int),
            None => self.members(slice).key(metric),
        }
    }

    /// The number that the value of all rows together is computed from; None where no row knows
    /// it. For a metric of which all rows' sum is the value.
    pub(super) fn sum(&self, metric: Metric) -> Option<i128> {
        sum_over(&self.upto(metric), 0..self.rows.len())
    }

    /// The sums of a metric over the rows before each one.
    pub(super) fn upto(&self, metric: Metric) -> UpTo {
        let rows = self.rows.iter();
        self.sums.of(metric, rows.map(|&row| addend(&self.interval, row, metric)))
    }

    /// The number that a metric of many rows is computed from, which is None where it is unknown
    /// in all of them; None where it comes from no sums of rows.
    fn of_many_rows(&self, slice: Slice, metric: Metric) -> Option<Option<i128>> {
        let Slice { begin, own, end } = slice;
        if end - begin < MANY_ROWS {
            return None;
        }
        let sum = |metric| sum_over(&self.upto(metric), begin..end);
        match metric {
            Metric::LivingNs | Metric::LivingPct | Metric::DeadNs | Metric::DeadPct => {
                Some(Some(sum_over(&self.upto(metric), begin + own..end).unwrap_or(0)))
            }
            Metric::OwnNs | Metric::OwnPct if own > 0 => {
                Some(sum_over(&self.upto(Metric::TotalNs), begin..begin + own))
            }
            Metric::WaitNs | Metric::WaitPct => {
                let of = |field| sum(Metric::Delta(field)).and_then(|ns| u64::try_from(ns).ok());
                Some(largest_of(|wait| of(wait.total)).map(|(_, ns)| ns.into()))
            }
            _ if adds_up(&self.interval, metric) => Some(sum(metric)),
            _ => None,
        }
    }
}
