//! The values that one screen shows.

use std::collections::BTreeMap;

use precise_top_core::interval::Unchanged;
use precise_top_core::{
    Balance, Cell, CpuTimes, Field, Filter, Flags, Header, Interval, MergedRow, Metric, Query,
    SourceKind, System, TaskTable, state,
};

use crate::settings::ViewSettings;
use crate::table::{TextTable, UserNames};

/// Task rows that a screen keeps, however many CPUs the machine has.
pub const LEAST_TASKS: usize = 10;
/// Lines of the table that are not tasks: titles, units, sums.
const TABLE_FRAME: usize = 3;
/// The balance is shown on screens with at least this many lines.
const LOW: usize = TABLE_FRAME + LEAST_TASKS + 2;

/// How many lines of a screen each part gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heights {
    /// Machine, source, task counts, memory.
    pub facts: usize,
    /// One line a CPU, or one line for all.
    pub cpus: usize,
    /// Task rows.
    pub tasks: usize,
    /// The balance.
    pub foot: usize,
}

impl Heights {
    /// Divides a screen of `height` lines. On a low screen the task rows come first.
    pub fn new(height: usize, cpus: usize, has_memory: bool, has_balance: bool) -> Heights {
        let foot = usize::from(has_balance && height >= LOW);
        let most = height.saturating_sub(TABLE_FRAME + foot + LEAST_TASKS);
        let facts = most.clamp(1, if has_memory { 4 } else { 3 });
        let spare = most.saturating_sub(facts);
        let lines = if cpus <= spare { cpus } else { cpus.min(1).min(spare) };
        let tasks = height.saturating_sub(facts + lines + foot + TABLE_FRAME).max(1);
        Heights { facts, cpus: lines, tasks, foot }
    }
}

/// The rows that a view chooses from.
#[derive(Clone, Copy)]
pub struct ViewRows<'a> {
    /// The rows of an interval, or groups of them.
    pub table: &'a dyn TaskTable,
    /// The other tasks, if the interval has only those that ran.
    pub unchanged: Option<&'a Unchanged>,
}

impl ViewRows<'_> {
    /// Number of rows that pass the filter.
    fn count(&self, filter: &Filter, header: &Header) -> usize {
        if filter.text.is_none() && filter.pids.is_none() {
            return self.table.rows() + self.unchanged.map_or(0, |_| header.unchanged as usize);
        }
        self.table.count(filter) + self.unchanged.map_or(0, |unchanged| unchanged.count(filter))
    }

    /// The rows that the query chooses, one line each.
    fn texts(&self, table: &TextTable, users: UserNames<'_>, query: &Query) -> Vec<String> {
        let ran = |row| table.row(users, |metric| self.table.cell(row as usize, metric));
        let Some(unchanged) = self.unchanged else {
            return self.table.select(query).into_iter().map(ran).collect();
        };
        let rows = unchanged.select_with(self.table, query).into_iter();
        rows.map(|row| match row {
            MergedRow::Ran(row) => ran(row),
            MergedRow::Unchanged(row) => {
                table.row(users, |metric| unchanged.cell(row as usize, metric))
            }
        })
        .collect()
    }
}

/// The values that one screen shows.
#[derive(Clone, Debug)]
pub struct ViewData<'a> {
    /// Seconds of local time since 1970.
    pub local_s: i64,
    /// Host name.
    pub host: &'a str,
    /// CLOCK_BOOTTIME in ns.
    pub boottime_ns: u64,
    /// Load and memory.
    pub system: Option<System>,
    /// The source of the records.
    pub source: SourceKind,
    /// Whether all values are those of one instant.
    pub one_instant: bool,
    /// Length of the interval in ns.
    pub interval_ns: u64,
    /// CPU time of this process in the interval, with the cost of its BPF programs in other
    /// tasks, in ns.
    pub own_ns: u64,
    /// Living tasks.
    pub tasks: usize,
    /// Tasks that exited in the interval.
    pub exited: usize,
    /// Rows on, above and below the screen.
    pub rows: usize,
    /// Tasks in each state, by its name.
    pub states: BTreeMap<&'static str, usize>,
    /// Increase of the times of each CPU.
    pub cpus: Vec<CpuTimes>,
    /// Balance of the CPUs' time.
    pub balance: Option<Balance>,
    /// Sums of the columns of the table, None for a column without a sum.
    pub sums: Vec<Option<Cell<'a>>>,
    /// The rows on the screen, one line each.
    pub texts: Vec<String>,
    /// Known gaps of the later snapshot.
    pub missing: String,
}

impl<'a> ViewData<'a> {
    /// The values of an interval for a screen of `height` lines. Local time is `offset_s`
    /// seconds ahead of UTC.
    pub fn new(
        interval: &'a Interval,
        rows: ViewRows<'_>,
        table: &TextTable,
        settings: &ViewSettings,
        users: UserNames<'_>,
        height: usize,
        offset_s: i64,
    ) -> ViewData<'a> {
        let (before, now) = (interval.prev().header(), interval.cur().header());
        let unchanged = rows.unchanged.filter(|_| now.unchanged > 0);
        let rows = ViewRows { unchanged, ..rows };
        let exited = now.exited as usize;
        let (tasks, states) = match unchanged.map(Unchanged::totals) {
            Some(totals) => (totals.tasks, totals.states.clone()),
            None => (interval.len().saturating_sub(exited), state::count(interval.cur())),
        };
        let (cpus, balance) = (interval.cpu_split(), interval.balance());
        let balance = balance.filter(|_| interval.interval_ns() > 0);
        let number = rows.count(&settings.filter, now);
        let room = Heights::new(height, cpus.len(), now.system.is_some(), balance.is_some()).tasks;
        let query = settings.query();
        let query = Query { limit: Some(query.limit.unwrap_or(room).min(room)), ..query };
        ViewData {
            local_s: ((now.begin.realtime_ns / 1_000_000_000) as i64).saturating_add(offset_s),
            host: &now.host,
            boottime_ns: now.begin.boottime_ns,
            system: now.system,
            source: now.source,
            one_instant: now.flags.contains(Flags::ONE_INSTANT),
            interval_ns: interval.interval_ns(),
            own_ns: own_ns(now).saturating_sub(own_ns(before)),
            tasks,
            exited,
            rows: settings.limit.map_or(number, |limit| number.min(limit)),
            states,
            cpus,
            balance,
            sums: sums(interval, unchanged, table),
            texts: rows.texts(table, users, &query),
            missing: missing(interval),
        }
    }

    /// How many lines of a screen each part gets.
    pub fn heights(&self, height: usize) -> Heights {
        Heights::new(height, self.cpus.len(), self.system.is_some(), self.balance.is_some())
    }
}

fn own_ns(header: &Header) -> u64 {
    header.own_cpu_ns.saturating_add(header.hooks_ns)
}

/// Sums of the columns that have one. Unchanged tasks used nothing, but they count.
fn sums<'a>(
    interval: &'a Interval,
    unchanged: Option<&Unchanged>,
    table: &TextTable,
) -> Vec<Option<Cell<'a>>> {
    let totals = unchanged.map(Unchanged::totals);
    table.sums(|metric| match (metric, totals) {
        (Metric::Tasks, Some(totals)) => Some(Cell::Int(totals.tasks as i128)),
        (Metric::Field(Field::num_threads), Some(totals)) => {
            Some(Cell::Int(totals.num_threads.into()))
        }
        _ => interval.sum(metric),
    })
}

/// Returns the known gaps of an interval's later snapshot; empty if there are none.
pub fn missing(interval: &Interval) -> String {
    let (before, now) = (interval.prev().header(), interval.cur().header());
    let lost = now.exits_lost.saturating_sub(before.exits_lost);
    let mut parts = Vec::new();
    if now.missed > 0 {
        parts.push(format!("{} tasks that may not be read", now.missed));
    }
    if lost > 0 {
        parts.push(format!("{lost} that died"));
    }
    if now.flags.contains(Flags::TRUNCATED) {
        parts.push("tasks beyond the memory for them".into());
    }
    parts.join(", ")
}
