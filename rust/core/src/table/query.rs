//! Choosing rows and columns: sort, top-k, filter, without copying a record.
//!
//! Design decisions
//!
//! * What is not on the screen is never made into anything: a query gives row
//!   numbers, and a column gives one cell of one row.
//! * Unknown sorts last in either direction, and ties go by row, so that the order
//!   is the same every time.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use crate::fields::{Field, Kind, Unit};
use crate::interval::Interval;
use crate::record::{Record, Value};
use crate::snapshot::Snapshot;

/// One column of a table of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// A field's value now.
    Field(Field),
    /// Exact CPU time since the task's start, in ns.
    CpuNs,
    /// User time in the interval.
    UserNs,
    /// System time in the interval.
    SystemNs,
    /// Steal time in the interval.
    StealNs,
    /// User, system and steal time in the interval.
    TotalNs,
    /// User time in per cent of the interval, that is of one CPU.
    UserPct,
    /// System time likewise.
    SystemPct,
    /// Steal time likewise.
    StealPct,
    /// All of them likewise.
    TotalPct,
    /// A counter's increase in the interval, in its own unit.
    Delta(Field),
    /// A counter's increase per second.
    PerSec(Field),
    /// The increase of a counter of time, in per cent of the interval.
    Pct(Field),
    /// 1 for a task that died in the interval; unknown for others.
    Exited,
    /// User time of children that died in the interval, in it (see [`Children`]).
    ///
    /// [`Children`]: crate::interval::Children
    ChildUserNs,
    /// System time likewise.
    ChildSystemNs,
    /// Steal time likewise.
    ChildStealNs,
    /// The three in per cent of the interval.
    ChildUserPct,
    /// System time likewise.
    ChildSystemPct,
    /// Steal time likewise.
    ChildStealPct,
    /// The task's own time, and its dead children's where these have no rows: the
    /// sum of all rows counts every time once.
    AllNs,
    /// The same in per cent of the interval.
    AllPct,
    /// Number of tasks in the row.
    Tasks,
    /// What the row is called: a group's user or cgroup (see [`Groups`]), else the command
    /// name.
    ///
    /// [`Groups`]: crate::table::Groups
    Title,
}

/// The names of the columns that are not those of a field.
const NAMES: [(&str, Metric); 20] = [
    ("cpu_ns", Metric::CpuNs),
    ("user_ns", Metric::UserNs),
    ("system_ns", Metric::SystemNs),
    ("steal_ns", Metric::StealNs),
    ("total_ns", Metric::TotalNs),
    ("user_pct", Metric::UserPct),
    ("system_pct", Metric::SystemPct),
    ("steal_pct", Metric::StealPct),
    ("total_pct", Metric::TotalPct),
    ("exited", Metric::Exited),
    ("cuser_ns", Metric::ChildUserNs),
    ("csystem_ns", Metric::ChildSystemNs),
    ("csteal_ns", Metric::ChildStealNs),
    ("cuser_pct", Metric::ChildUserPct),
    ("csystem_pct", Metric::ChildSystemPct),
    ("csteal_pct", Metric::ChildStealPct),
    ("all_ns", Metric::AllNs),
    ("all_pct", Metric::AllPct),
    ("tasks", Metric::Tasks),
    ("title", Metric::Title),
];

impl Metric {
    /// The column of that name: a field's name, a derived name such as `total_ns`
    /// or `cpu_ns`, or a counter's name with `_delta`, `_per_sec` or, for counters
    /// of time, `_pct`.
    pub fn from_name(name: &str) -> Option<Metric> {
        let counter = |suffix: &str| {
            let field = Field::from_name(name.strip_suffix(suffix)?)?;
            (field.info().kind == Kind::Counter).then_some(field)
        };
        if let Some(&(_, column)) = NAMES.iter().find(|(known, _)| *known == name) {
            Some(column)
        } else if let Some(field) = Field::from_name(name) {
            Some(Metric::Field(field))
        } else if let Some(field) = counter("_delta") {
            Some(Metric::Delta(field))
        } else if let Some(field) = counter("_per_sec") {
            Some(Metric::PerSec(field))
        } else {
            let field = counter("_pct")?;
            nanoseconds_per_unit(field)?;
            Some(Metric::Pct(field))
        }
    }

    /// The name that [`Metric::from_name`] takes.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Metric::Field(field) => Cow::Borrowed(field.name()),
            Metric::Delta(field) => Cow::Owned(format!("{}_delta", field.name())),
            Metric::PerSec(field) => Cow::Owned(format!("{}_per_sec", field.name())),
            Metric::Pct(field) => Cow::Owned(format!("{}_pct", field.name())),
            _ => {
                let known = NAMES.iter().find(|(_, column)| *column == self);
                Cow::Borrowed(known.map_or("", |(name, _)| name))
            }
        }
    }

    /// The unit's name, empty for none.
    pub fn unit(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Metric::Field(field) | Metric::Delta(field) => field.info().unit.name(),
            Metric::PerSec(field) => {
                return Cow::Owned(format!("{}/s", field.info().unit.name()));
            }
            Metric::Exited | Metric::Title => "",
            Metric::Tasks => "count",
            _ if self.is_share() => "%",
            _ => "ns",
        })
    }

    /// Whether it is a rate or a share: a number with a fraction.
    pub const fn is_share(self) -> bool {
        matches!(
            self,
            Metric::UserPct
                | Metric::SystemPct
                | Metric::StealPct
                | Metric::TotalPct
                | Metric::ChildUserPct
                | Metric::ChildSystemPct
                | Metric::ChildStealPct
                | Metric::AllPct
                | Metric::PerSec(_)
                | Metric::Pct(_)
        )
    }

    /// The field that must have been read for this column; None for those of CPU time.
    pub fn field(self) -> Option<Field> {
        match self {
            Metric::Field(field)
            | Metric::Delta(field)
            | Metric::PerSec(field)
            | Metric::Pct(field) => Some(field),
            Metric::StealNs | Metric::StealPct => Some(Field::ac_sttime),
            Metric::ChildUserNs | Metric::ChildUserPct => Some(Field::ac_cutime),
            Metric::ChildSystemNs | Metric::ChildSystemPct => Some(Field::ac_cstime),
            Metric::ChildStealNs | Metric::ChildStealPct => Some(Field::ac_csttime),
            _ => None,
        }
    }
}

fn nanoseconds_per_unit(field: Field) -> Option<u64> {
    match field.info().unit {
        Unit::Ns => Some(1),
        Unit::Us => Some(1_000),
        _ => None,
    }
}

/// What a column shows in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// A whole number.
    Int(i128),
    /// A rate or share.
    Float(f64),
    /// A name, of any encoding.
    Text(&'a [u8]),
}

/// What a column is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    /// A number; rates and shares sort by the increase behind them.
    Int(i128),
    /// A name.
    Text(&'a [u8]),
}

/// Which rows to keep. An empty filter keeps all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the title (ASCII letters of either case), or the pid.
    pub text: Option<String>,
    /// These pids only.
    pub pids: Option<HashSet<u32>>,
}

impl Filter {
    fn keeps(&self, record: &Record<'_>, title: Option<&[u8]>) -> bool {
        let pid = record.ac_pid();
        if let Some(pids) = &self.pids
            && !pid.is_some_and(|pid| pids.contains(&pid))
        {
            return false;
        }
        let Some(text) = self.text.as_deref().filter(|text| !text.is_empty()) else {
            return true;
        };
        if pid.is_some() && text.parse().ok() == pid {
            return true;
        }
        title
            .unwrap_or_default()
            .windows(text.len())
            .any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
    }
}

/// Which rows, in which order.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// What to sort by; None keeps the snapshot's order.
    pub sort: Option<Metric>,
    /// Largest first.
    pub descending: bool,
    /// Rows to keep.
    pub filter: Filter,
    /// Rows to leave out at the beginning.
    pub offset: usize,
    /// Rows to give at most.
    pub limit: Option<usize>,
}

/// Rows and columns: a snapshot or an interval.
pub trait Table {
    /// Number of rows.
    fn rows(&self) -> usize;
    /// The row's record.
    fn record(&self, row: usize) -> Option<Record<'_>>;
    /// What the column shows in the row; None where unknown.
    fn cell(&self, row: usize, column: Metric) -> Option<Cell<'_>>;
    /// What the column sorts the row by; None where unknown.
    fn key(&self, row: usize, column: Metric) -> Option<Key<'_>>;

    /// What the row is called.
    fn title(&self, row: usize) -> Option<&[u8]> {
        self.record(row)?.ac_comm()
    }

    /// Whether a filter keeps the row; not where it has no record.
    fn keeps(&self, row: usize, filter: &Filter) -> bool {
        self.record(row).is_some_and(|record| filter.keeps(&record, self.title(row)))
    }

    /// Whether a column is the same in all rows, so that there is nothing to sort.
    fn is_level(&self, _column: Metric) -> bool {
        false
    }

    /// The rows that a query chooses, in its order. Only the rows asked for are
    /// sorted.
    fn select(&self, query: &Query) -> Vec<u32> {
        let all = 0..self.rows() as u32;
        let all = all.filter(|&row| self.keeps(row as usize, &query.filter));
        let end = query.limit.map_or(usize::MAX, |limit| query.offset.saturating_add(limit));
        let Some(column) = query.sort.filter(|&column| !self.is_level(column)) else {
            return all.take(end).skip(query.offset).collect();
        };
        let mut keyed: Vec<_> = all.map(|row| (self.key(row as usize, column), row)).collect();
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

    /// How many rows a filter keeps.
    fn count(&self, filter: &Filter) -> usize {
        (0..self.rows()).filter(|&row| self.keeps(row, filter)).count()
    }

    /// Sum of a column over all rows that know it; None where none does, or for text.
    fn sum(&self, column: Metric) -> Option<Cell<'_>> {
        let mut sum = None;
        for row in 0..self.rows() {
            sum = match (sum, self.cell(row, column)) {
                (None, Some(cell @ (Cell::Int(_) | Cell::Float(_)))) => Some(cell),
                (Some(Cell::Int(a)), Some(Cell::Int(b))) => Some(Cell::Int(a + b)),
                (Some(Cell::Float(a)), Some(Cell::Float(b))) => Some(Cell::Float(a + b)),
                (sum, _) => sum,
            };
        }
        sum
    }
}

/// The order of two rows by what they are sorted by: unknown is last in either direction.
pub fn compare(a: Option<Key<'_>>, b: Option<Key<'_>>, descending: bool) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if descending => b.cmp(&a),
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

impl<'a> From<Value<'a>> for Cell<'a> {
    fn from(value: Value<'a>) -> Cell<'a> {
        match value {
            Value::Int(number) => Cell::Int(number),
            Value::Text(text) => Cell::Text(text),
        }
    }
}

/// The key of a cell that is no rate.
fn cell_key(cell: Cell<'_>) -> Option<Key<'_>> {
    match cell {
        Cell::Int(number) => Some(Key::Int(number)),
        Cell::Text(text) => Some(Key::Text(text)),
        Cell::Float(_) => None,
    }
}

impl<B: AsRef<[u8]>> Table for Snapshot<B> {
    fn rows(&self) -> usize {
        self.len()
    }

    fn record(&self, row: usize) -> Option<Record<'_>> {
        self.get(row)
    }

    /// Fields and `cpu_ns`; a single snapshot knows no use.
    fn cell(&self, row: usize, column: Metric) -> Option<Cell<'_>> {
        let record = self.get(row)?;
        match column {
            Metric::Field(field) => record.value(field).map(Cell::from),
            Metric::CpuNs => record.cpu_ns().map(|ns| Cell::Int(i128::from(ns))),
            Metric::Exited => self.is_exited(row).then_some(Cell::Int(1)),
            Metric::Title => self.title(row).map(Cell::Text),
            _ => None,
        }
    }

    fn key(&self, row: usize, column: Metric) -> Option<Key<'_>> {
        self.cell(row, column).and_then(cell_key)
    }
}

impl Interval {
    /// The column whose whole number stands behind a rate or share.
    pub(crate) fn increase_behind(&self, row: usize, column: Metric) -> Option<u64> {
        let used = || self.usage(row);
        match column {
            Metric::UserNs | Metric::UserPct => Some(used()?.user_ns),
            Metric::SystemNs | Metric::SystemPct => Some(used()?.system_ns),
            Metric::StealNs | Metric::StealPct => used()?.steal_ns,
            Metric::TotalNs | Metric::TotalPct => Some(used()?.total_ns()),
            Metric::Delta(field) | Metric::PerSec(field) | Metric::Pct(field) => {
                self.increase(row, field)
            }
            Metric::ChildUserNs | Metric::ChildUserPct => self.children(row).user_ns,
            Metric::ChildSystemNs | Metric::ChildSystemPct => self.children(row).system_ns,
            Metric::ChildStealNs | Metric::ChildStealPct => self.children(row).steal_ns,
            Metric::AllNs | Metric::AllPct => self.all_ns(row),
            Metric::Tasks => Some(1),
            Metric::Field(_) | Metric::CpuNs | Metric::Exited | Metric::Title => None,
        }
    }

    /// A share of the interval in per cent; None for an interval of no length.
    fn percent(&self, ns: f64) -> Option<Cell<'static>> {
        let interval = self.interval_ns() as f64;
        (interval > 0.0).then(|| Cell::Float(100.0 * ns / interval))
    }

    /// What a column shows of the whole number behind it.
    pub(crate) fn shown(&self, column: Metric, increase: u64) -> Option<Cell<'static>> {
        match column {
            Metric::UserPct
            | Metric::SystemPct
            | Metric::StealPct
            | Metric::TotalPct
            | Metric::ChildUserPct
            | Metric::ChildSystemPct
            | Metric::ChildStealPct
            | Metric::AllPct => self.percent(increase as f64),
            Metric::Pct(field) => {
                self.percent(increase as f64 * nanoseconds_per_unit(field)? as f64)
            }
            Metric::PerSec(_) => {
                let interval = self.interval_ns() as f64;
                (interval > 0.0).then(|| Cell::Float(increase as f64 * 1e9 / interval))
            }
            _ => Some(Cell::Int(i128::from(increase))),
        }
    }
}

/// Whether a column shows the record itself rather than a use.
pub(crate) const fn is_of_record(column: Metric) -> bool {
    matches!(column, Metric::Field(_) | Metric::CpuNs | Metric::Exited | Metric::Title)
}

impl Table for Interval {
    fn rows(&self) -> usize {
        self.len()
    }

    fn record(&self, row: usize) -> Option<Record<'_>> {
        self.cur().get(row)
    }

    fn cell(&self, row: usize, column: Metric) -> Option<Cell<'_>> {
        if is_of_record(column) {
            return self.cur().cell(row, column);
        }
        self.shown(column, self.increase_behind(row, column)?)
    }

    fn key(&self, row: usize, column: Metric) -> Option<Key<'_>> {
        if is_of_record(column) {
            return self.cur().key(row, column);
        }
        self.increase_behind(row, column).map(|n| Key::Int(i128::from(n)))
    }
}
