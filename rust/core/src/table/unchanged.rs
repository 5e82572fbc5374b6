//! The unchanged tasks as a table, and its rows merged with those of a partial interval.

use super::metric::Metric;
use super::query::{Cell, Filter, Key, Query, RowOf, TaskTable, compare};
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

/// The rows that a filter keeps.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Those of the table.
    pub ran: Vec<u32>,
    /// Those of [`Unchanged`].
    pub unchanged: Vec<u32>,
}

impl Kept {
    /// The rows that a filter keeps of a table and the unchanged tasks.
    pub fn of(table: &dyn TaskTable, unchanged: Option<&Unchanged>, filter: &Filter) -> Kept {
        let unchanged = unchanged.map(|unchanged| unchanged.kept_rows(filter));
        Kept { ran: table.kept_rows(filter), unchanged: unchanged.unwrap_or_default() }
    }
}

impl Unchanged {
    /// The rows of a query over the table `ran` and the unchanged tasks together, in the
    /// query's order. `kept` are those that its filter keeps; None for one that keeps all.
    pub fn select_with(
        &self,
        ran: &dyn TaskTable,
        query: &Query,
        kept: Option<&Kept>,
    ) -> Vec<MergedRow> {
        let end = query.end();
        let both = Query { offset: 0, limit: Some(end), ..query.clone() };
        let ran_key = |row: u32| ran.key(row as usize, query.sort?);
        let chosen = match kept {
            Some(kept) => ran.select_of(&mut kept.ran.iter().copied(), &both),
            None => ran.select(&both),
        };
        let chosen = chosen.into_iter();
        let mut keyed: Vec<_> = chosen.map(|row| (ran_key(row), MergedRow::Ran(row))).collect();
        let key = |row: u32| self.key(row as usize, query.sort?);
        let chosen = match kept {
            Some(kept) => self.select_of(&mut kept.unchanged.iter().copied(), &both),
            None => self.select(&both),
        };
        let chosen = chosen.into_iter();
        keyed.extend(chosen.map(|row| (key(row), MergedRow::Unchanged(row))));
        if query.sort.is_some() {
            keyed.sort_by(|a, b| compare(a.0, b.0, query.descending));
        }
        keyed.into_iter().take(end).skip(query.offset).map(|(_, row)| row).collect()
    }

    /// The number of rows that a query over both tables puts before `row`, whatever its offset
    /// and limit. `kept` is as of `select_with`.
    pub fn rank_with(
        &self,
        ran: &dyn TaskTable,
        query: &Query,
        kept: Option<&Kept>,
        row: MergedRow,
    ) -> usize {
        fn sorted<'a>(table: &'a dyn TaskTable, query: &Query, row: u32) -> Option<Key<'a>> {
            table.key(row as usize, query.sort?)
        }
        // Of rows with equal keys, those that ran come first.
        let (key, ran_below, below) = match row {
            MergedRow::Ran(row) => (sorted(ran, query, row), row as usize, 0),
            MergedRow::Unchanged(row) => (sorted(self, query, row), usize::MAX, row as usize),
        };
        match kept {
            Some(Kept { ran: kept, unchanged }) => {
                ran.count_before(&mut kept.iter().copied(), query, key, ran_below)
                    + self.count_before(&mut unchanged.iter().copied(), query, key, below)
            }
            None => {
                let unchanged = |&row: &u32| Unchanged::record(self, row as usize).is_some();
                let unchanged = &mut (0..self.rows() as u32).filter(unchanged);
                ran.count_before(&mut (0..ran.rows() as u32), query, key, ran_below)
                    + self.count_before(unchanged, query, key, below)
            }
        }
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

    fn kept_rows(&self, filter: &Filter) -> Vec<u32> {
        let rest = Filter { conditions: None, ..filter.clone() };
        let Some(conditions) = &filter.conditions else {
            return (0..self.rows() as u32)
                .filter(|&row| self.keeps(row as usize, filter))
                .collect();
        };
        let keeps_all = rest.is_empty();
        let mut memory = conditions.memory();
        memory.begin(conditions.condition(), self.places());
        let kept = self.tasks().filter(|&(place, task, serial)| {
            // Texts of tasks that the rest leaves out are not read.
            (keeps_all || self.keeps(place, &rest))
                && conditions.are_met_by_kept(
                    &mut memory,
                    (place, task, serial),
                    &RowOf { table: self, row: place },
                )
        });
        kept.map(|(place, ..)| place as u32).collect()
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
