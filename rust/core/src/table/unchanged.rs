//! The unchanged tasks as a table, and its rows merged with those of a partial interval.

use super::metric::Metric;
use super::query::{Cell, Key, Query, TaskTable, compare};
use super::waits;
use crate::fields::{Field, Kind};
use crate::interval::Unchanged;
use crate::record::Record;

/// A row of an interval of the tasks that ran, or of the unchanged tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergedRow {
    /// A row of the interval.
    Ran(u32),
    /// A row of [`Unchanged`].
    Unchanged(u32),
}

impl Unchanged {
    /// The rows of a query over the table `ran` and the unchanged tasks together, in the
    /// query's order.
    pub fn select_with(&self, ran: &dyn TaskTable, query: &Query) -> Vec<MergedRow> {
        let end = query.end();
        let both = Query { offset: 0, limit: Some(end), ..query.clone() };
        let ran_key = |row: u32| ran.key(row as usize, query.sort?);
        let chosen = ran.select(&both).into_iter();
        let mut keyed: Vec<_> = chosen.map(|row| (ran_key(row), MergedRow::Ran(row))).collect();
        let key = |row: u32| self.key(row as usize, query.sort?);
        let chosen = self.select(&both).into_iter();
        keyed.extend(chosen.map(|row| (key(row), MergedRow::Unchanged(row))));
        if query.sort.is_some() {
            keyed.sort_by(|a, b| compare(a.0, b.0, query.descending));
        }
        keyed.into_iter().take(end).skip(query.offset).map(|(_, row)| row).collect()
    }

    /// The number of rows that a query over both tables puts before `row`, whatever its offset
    /// and limit.
    pub fn rank_with(&self, ran: &dyn TaskTable, query: &Query, row: MergedRow) -> usize {
        fn sorted<'a>(table: &'a dyn TaskTable, query: &Query, row: u32) -> Option<Key<'a>> {
            table.key(row as usize, query.sort?)
        }
        // Of rows with equal keys, those that ran come first.
        let (key, ran_below, below) = match row {
            MergedRow::Ran(row) => (sorted(ran, query, row), row as usize, 0),
            MergedRow::Unchanged(row) => (sorted(self, query, row), usize::MAX, row as usize),
        };
        ran.count_before(query, key, ran_below) + self.count_before(query, key, below)
    }

    /// An age at the last snapshot: it grows although the task does not run.
    pub(crate) fn age_us(&self, record: &Record<'_>, field: Field) -> Option<u64> {
        let since_ns = self.begin_ns().checked_sub(record.ac_time_ns()?)?;
        record.unsigned(field)?.checked_add(since_ns / 1000)
    }
}

impl TaskTable for Unchanged {
    fn rows(&self) -> usize {
        self.places()
    }

    /// Unchanged tasks used nothing: only metrics of the record differ.
    fn is_same_in_all(&self, metric: Metric) -> bool {
        !matches!(metric, Metric::Field(_) | Metric::CpuNs | Metric::LongestWaitNs | Metric::Title)
    }

    /// None for a task that ran.
    fn record(&self, row: usize) -> Option<Record<'_>> {
        Unchanged::record(self, row)
    }

    fn cell(&self, row: usize, metric: Metric) -> Option<Cell<'_>> {
        let record = Unchanged::record(self, row)?;
        let holds = |field: Field| record.filled().contains(field).then_some(());
        match metric {
            Metric::Field(field @ (Field::ac_etime | Field::ac_tgetime)) => {
                self.age_us(&record, field).map(|us| Cell::Int(i128::from(us)))
            }
            Metric::Field(field) => record.value(field).map(Cell::from),
            Metric::CpuNs => record.cpu_ns().map(|ns| Cell::Int(i128::from(ns))),
            Metric::LongestWaitNs => {
                let (_, ns) = waits::longest(self, row)?;
                Some(Cell::Int(ns.into()))
            }
            Metric::Exited | Metric::Cgroup(_) => None,
            Metric::Title => record.ac_comm().map(Cell::Text),
            Metric::Tasks => Some(Cell::Int(1)),
            _ if metric.is_of_descendants() => None,
            Metric::Delta(field) => {
                holds(field)?;
                (field.info().kind == Kind::Counter).then_some(Cell::Int(0))
            }
            _ => {
                metric.field().map_or(Some(()), holds)?;
                Some(if metric.is_share() { Cell::Float(0.0) } else { Cell::Int(0) })
            }
        }
    }

    fn key(&self, row: usize, metric: Metric) -> Option<Key<'_>> {
        match self.cell(row, metric)? {
            Cell::Int(number) => Some(Key::Int(number)),
            Cell::Text(text) => Some(Key::Text(text)),
            Cell::Float(_) => Some(Key::Int(0)),
        }
    }
}
