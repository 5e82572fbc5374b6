//! Queries of a table: sort, first rows, filter, without copying a record.
//!
//! Design decisions
//!
//! * A query returns row numbers, and a table returns one cell at a time: what is not on
//!   the screen is never built.
//! * Unknown values sort last in either direction and equal rows keep their order, so that
//!   the order is the same each time.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use super::conditions::Conditions;
use super::filter::FilteredRow;
use super::metric::Metric;
use crate::header::Header;
use crate::identity::Identity;
use crate::record::{Record, Value};

/// The value of a metric in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// A whole number.
    Int(i128),
    /// A rate or share.
    Float(f64),
    /// A name, in any encoding.
    Text(&'a [u8]),
}

impl<'a> From<Value<'a>> for Cell<'a> {
    fn from(value: Value<'a>) -> Cell<'a> {
        match value {
            Value::Int(number) => Cell::Int(number),
            Value::Text(text) => Cell::Text(text),
        }
    }
}

/// Sort key of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    /// A number; rates and shares sort by the increase that they are computed from.
    Int(i128),
    /// A name.
    Text(&'a [u8]),
}

/// Which rows to keep. An empty filter keeps all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Part of the title, in any encoding (ASCII letters in either case), or the pid.
    pub text: Option<Vec<u8>>,
    /// Only these pids.
    pub pids: Option<HashSet<u32>>,
    /// Only tasks of this user id.
    pub user: Option<u32>,
    /// No kernel threads: neither pid 2 nor its children. In a pid namespace those are others.
    pub no_kernel_threads: bool,
    /// No tasks that died in the interval.
    pub no_dead: bool,
    /// What a user typed.
    pub conditions: Option<Conditions>,
}

impl Filter {
    /// Whether it keeps all rows.
    pub fn is_empty(&self) -> bool {
        let is_any = self.pids.is_none() && self.user.is_none() && !self.no_kernel_threads;
        is_any
            && !self.no_dead
            && self.conditions.is_none()
            && self.text.as_ref().is_none_or(Vec::is_empty)
    }

    pub(super) fn keeps(&self, record: &Record<'_>, title: Option<&[u8]>) -> bool {
        let pid = record.ac_pid();
        if let Some(pids) = &self.pids
            && !pid.is_some_and(|pid| pids.contains(&pid))
        {
            return false;
        }
        if self.user.is_some() && record.ac_uid() != self.user {
            return false;
        }
        if self.no_kernel_threads && (pid == Some(2) || record.ac_ppid() == Some(2)) {
            return false;
        }
        let Some(text) = self.text.as_deref().filter(|text| !text.is_empty()) else {
            return true;
        };
        let number = || str::from_utf8(text).ok()?.parse().ok();
        if pid.is_some() && number() == pid {
            return true;
        }
        title.unwrap_or_default().windows(text.len()).any(|part| part.eq_ignore_ascii_case(text))
    }
}

/// Which rows, in which order.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Sort key; None keeps the table's order.
    pub sort: Option<Metric>,
    /// Largest first.
    pub descending: bool,
    /// Rows to keep.
    pub filter: Filter,
    /// Number of rows to skip.
    pub offset: usize,
    /// Number of rows to return at most.
    pub limit: Option<usize>,
}

impl Query {
    /// The row after the last one to return.
    pub(super) fn end(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| self.offset.saturating_add(limit))
    }
}

/// What became of tasks that died in an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Number of tasks.
    pub tasks: usize,
    /// How many had each exit status, as of wait(2); None is unknown.
    pub exits: BTreeMap<Option<u32>, usize>,
    /// The largest peak of resident memory, in KiB.
    pub peak_kb: Option<u64>,
    /// The shortest and the longest life, in µs.
    pub lives_us: Option<(u64, u64)>,
}

/// A row for each task or group, with the metrics of each row.
pub trait TaskTable {
    /// Number of rows.
    fn rows(&self) -> usize;
    /// The row's record; None where there is none.
    fn record(&self, row: usize) -> Option<Record<'_>>;
    /// The value of the metric in the row; None where unknown.
    fn cell(&self, row: usize, metric: Metric) -> Option<Cell<'_>>;
    /// The key by which the metric sorts the row; None where unknown.
    fn key(&self, row: usize, metric: Metric) -> Option<Key<'_>>;

    /// The row's title.
    fn title(&self, row: usize) -> Option<&[u8]> {
        self.record(row)?.ac_comm()
    }

    /// Whether the test holds for the row's record; of a group, for one of them.
    fn any_record(&self, row: usize, test: &dyn Fn(&Record<'_>) -> bool) -> bool {
        self.record(row).is_some_and(|record| test(&record))
    }

    /// Whether a filter keeps the row. It keeps no row without a record; a group is kept if one
    /// of its members is, or by its title.
    fn keeps(&self, row: usize, filter: &Filter) -> bool {
        self.has_kept_task(row, filter)
    }

    /// Whether a filter keeps a task of the row, or its title.
    fn has_kept_task(&self, row: usize, filter: &Filter) -> bool {
        if filter.is_empty() {
            return self.any_record(row, &|_| true);
        }
        let name = self.group_name(row);
        let is_dead =
            self.dead(row).is_some() || name.is_none() && self.cell(row, Metric::Exited).is_some();
        if filter.no_dead && is_dead {
            return false;
        }
        let title = name.or_else(|| self.title(row));
        self.any_record(row, &|record| filter.keeps(record, title))
            && filter.conditions.as_ref().is_none_or(|conditions| {
                self.record(row).is_some() && conditions.are_met_by(&RowOf { table: self, row })
            })
    }

    /// Whether a metric is the same in all rows, so that they need no sorting.
    fn is_same_in_all(&self, _metric: Metric) -> bool {
        false
    }

    /// The rows that a filter keeps.
    fn kept_rows(&self, filter: &Filter) -> Vec<u32> {
        (0..self.rows() as u32).filter(|&row| self.keeps(row as usize, filter)).collect()
    }

    /// The rows of a query, in its order. Sorts no more rows than it returns.
    fn select(&self, query: &Query) -> Vec<u32> {
        let kept = (0..self.rows() as u32).filter(|&row| self.keeps(row as usize, &query.filter));
        self.select_of(&mut { kept }, query)
    }

    /// The same of the rows that its filter keeps.
    fn select_of(&self, kept: &mut dyn Iterator<Item = u32>, query: &Query) -> Vec<u32> {
        let end = query.end();
        let Some(metric) = query.sort.filter(|&metric| !self.is_same_in_all(metric)) else {
            return kept.take(end).skip(query.offset).collect();
        };
        let mut keyed: Vec<_> = kept.map(|row| (self.key(row as usize, metric), row)).collect();
        let order = |a: &(Option<Key<'_>>, u32), b: &(Option<Key<'_>>, u32)| {
            compare(a.0, b.0, query.descending).then(a.1.cmp(&b.1))
        };
        if end < keyed.len() {
            keyed.select_nth_unstable_by(end, order);
            keyed.truncate(end);
        }
        keyed.sort_unstable_by(order);
        keyed.into_iter().skip(query.offset).map(|(_, row)| row).collect()
    }

    /// The name that identifies a row which is a group; None for that of a task.
    fn group_name(&self, _row: usize) -> Option<&[u8]> {
        None
    }

    /// What became of the tasks of a row that stands for the dead alone; None for other rows.
    fn dead(&self, _row: usize) -> Option<Dead> {
        None
    }

    /// Whether the task, known from an earlier snapshot, is in the row. `header` is of the
    /// table's snapshot.
    fn has_task(&self, row: usize, task: &Identity, header: &Header) -> bool {
        self.record(row).is_some_and(|record| record.identity().is_still(task, header))
    }

    /// Number of rows, of those that its filter keeps, that a query puts before a row of the key
    /// `key`; of the rows with an equal key those numbered below `below`.
    fn count_before(
        &self,
        kept: &mut dyn Iterator<Item = u32>,
        query: &Query,
        key: Option<Key<'_>>,
        below: usize,
    ) -> usize {
        let is_before = |&row: &u32| {
            let own = query.sort.and_then(|metric| self.key(row as usize, metric));
            compare(own, key, query.descending).then((row as usize).cmp(&below)) == Ordering::Less
        };
        kept.filter(is_before).count()
    }

    /// Number of rows that a filter keeps.
    fn count(&self, filter: &Filter) -> usize {
        (0..self.rows()).filter(|&row| self.keeps(row, filter)).count()
    }

    /// What the row adds to the sum of a metric.
    fn part(&self, row: usize, metric: Metric) -> Option<Cell<'_>> {
        self.cell(row, metric)
    }

    /// Sum of a metric over all rows in which it is known; None where there is no such row,
    /// and for text.
    fn sum(&self, metric: Metric) -> Option<Cell<'_>> {
        self.sum_of(&mut (0..self.rows() as u32), metric)
    }

    /// The same over some rows.
    fn sum_of(&self, rows: &mut dyn Iterator<Item = u32>, metric: Metric) -> Option<Cell<'_>> {
        let mut sum = None;
        for row in rows {
            sum = match (sum, self.part(row as usize, metric)) {
                (None, Some(cell @ (Cell::Int(_) | Cell::Float(_)))) => Some(cell),
                (Some(Cell::Int(a)), Some(Cell::Int(b))) => Some(Cell::Int(a + b)),
                (Some(Cell::Float(a)), Some(Cell::Float(b))) => Some(Cell::Float(a + b)),
                (sum, _) => sum,
            };
        }
        sum
    }
}

/// A row as a condition asks for it.
pub(super) struct RowOf<'a, T: ?Sized> {
    pub(super) table: &'a T,
    pub(super) row: usize,
}

impl<T: TaskTable + ?Sized> FilteredRow for RowOf<'_, T> {
    fn title(&self) -> Option<&[u8]> {
        self.table.title(self.row)
    }

    fn number(&self, metric: Metric) -> Option<f64> {
        match self.table.cell(self.row, metric)? {
            Cell::Int(number) => Some(number as f64),
            Cell::Float(number) => Some(number),
            Cell::Text(_) => None,
        }
    }

    fn any_record(&self, test: &dyn Fn(&Record<'_>) -> bool) -> bool {
        self.table.any_record(self.row, test)
    }
}

/// The order of two rows by their keys. An unknown key is last in either direction.
pub fn compare(a: Option<Key<'_>>, b: Option<Key<'_>>, descending: bool) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if descending => b.cmp(&a),
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}
