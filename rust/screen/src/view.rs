//! The values that one screen shows.

use std::borrow::Cow;
use std::collections::BTreeMap;

use precise_top_core::interval::Unchanged;
use precise_top_core::{
    Balance, Cell, CpuTimes, Field, FieldStatus, Flags, Header, Interval, Kept, Metric, SourceKind,
    System, TaskTable, state,
};

use crate::command::Names;
use crate::line::{ScreenLine, Style};
use crate::meters::MachineRates;
use crate::row_key::{Fate, RowKey};
use crate::rows::{TableRow, ViewRows};
use crate::samples::Samples;
use crate::selection::{self, Place};
use crate::settings::{Meter, ViewSettings};
use crate::table::{LINE, TextTable};
use crate::tree;
use crate::waits::Waits;

/// Task rows that a screen keeps before it shows more than the CPUs' times.
pub const LEAST_TASKS: usize = 10;
/// Lines of the table that are not tasks: headings and sums.
const TABLE_FRAME: usize = 2;
/// The key bar is shown on screens with at least this many lines.
const LOW: usize = TABLE_FRAME + LEAST_TASKS + 2;
/// Lines above the table that are not of single CPUs, the most important first: the times of
/// all CPUs, machine, tasks, source, memory, waits, pressure and devices.
pub(crate) const FACTS: usize = 7;
/// Least width of one CPU's bar, with its number and share.
const BAR: usize = 20;
/// The same where there would not be room for all CPUs.
const SMALL_BAR: usize = 13;
/// Cells from which on two facts share a line.
const WIDE: usize = 180;

/// How many lines of a screen each part gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heights {
    /// Times of all CPUs, machine, tasks, source, memory, waits, pressure and devices.
    pub facts: usize,
    /// Facts in each line; that of all CPUs has one of its own.
    pub across: usize,
    /// Lines with the bars of single CPUs.
    pub bars: usize,
    /// Bars in each of these lines.
    pub columns: usize,
    /// Whether there is a line for the filter.
    pub filter: usize,
    /// Task rows.
    pub tasks: usize,
    /// The key bar.
    pub foot: usize,
    /// The views that one can go to.
    pub tabs: usize,
}

impl Heights {
    /// Divides a screen of `size` (columns, lines). On a low screen the task rows come first;
    /// they have at least half of any screen.
    /// The CPUs take at most a third of the screen.
    pub fn new(
        (cells, height): (usize, usize),
        cpus: usize,
        facts: usize,
        has_filter: bool,
    ) -> Heights {
        let foot = usize::from(height >= LOW);
        let filter = usize::from(has_filter && height > TABLE_FRAME + 2);
        let least = LEAST_TASKS.max(height / 2);
        let most = height.saturating_sub(TABLE_FRAME + foot + filter + least);
        let across = if cells >= WIDE { 2 } else { 1 };
        let facts = (1 + most.saturating_sub(1) * across).min(facts);
        let lines = 1 + (facts - 1).div_ceil(across);
        let spare = most.saturating_sub(lines).min((height / 3).saturating_sub(1));
        let (bars, columns) = grid(cpus, cells, spare);
        let tasks = height.saturating_sub(lines + bars + filter + foot + TABLE_FRAME).max(1);
        Heights { facts, across, bars, columns, filter, tasks, foot, tabs: 0 }
    }
}

/// Lines and columns of the bars of `cpus`, in at most `spare` lines; 0 where they do not fit.
fn grid(cpus: usize, cells: usize, spare: usize) -> (usize, usize) {
    if cpus == 0 || spare == 0 {
        return (0, 0);
    }
    // On a wide screen a bar as long as the screen says no more than one of half its length.
    let fits = |lines: usize, least: usize| {
        let columns = cpus.div_ceil(lines);
        (columns * least <= cells).then_some((cpus.div_ceil(columns), columns))
    };
    let preferred = cpus.div_ceil((cells / (2 * BAR)).max(1)).clamp(1, spare);
    (preferred..=spare)
        .find_map(|lines| fits(lines, BAR))
        .or_else(|| fits(spare, SMALL_BAR))
        .unwrap_or((0, 0))
}

/// One row on the screen.
#[derive(Clone, Debug)]
pub struct ShownRow {
    /// Its line.
    pub line: ScreenLine,
    /// The byte of the line where the name begins.
    pub name_at: usize,
    /// Its key.
    pub key: Option<RowKey>,
    /// What became of the task.
    pub fate: Fate,
}

/// Whether a task started in the interval.
fn is_new(interval: &Interval, row: TableRow<'_>) -> bool {
    let begin_ns = interval.prev().header().begin.boottime_ns;
    let start_ns = row.table.record(row.row).and_then(|record| record.ac_start_ns());
    row.table.group_name(row.row).is_none() && start_ns.is_some_and(|start_ns| start_ns > begin_ns)
}

fn shown(
    interval: &Interval,
    row: TableRow<'_>,
    table: &TextTable,
    settings: &ViewSettings,
    names: &dyn Names,
) -> ShownRow {
    let key = RowKey::of(row.table, row.row);
    let fate = Fate::of(row.table, row.row);
    let mut line = ScreenLine::plain(String::with_capacity(LINE));
    line.spans.reserve_exact(table.columns().len() + 2);
    // The mark says what a theme shows by colour.
    let header = interval.cur().header();
    let is_tagged = |key| settings.tagged.iter().any(|tagged| tagged.is_still(key, header));
    match fate {
        _ if key.as_ref().is_some_and(is_tagged) => line.push("*", Style::Bold),
        Fate::Died(_) => line.push("x", Style::Dead),
        Fate::Lives if is_new(interval, row) => line.push("+", Style::New),
        Fate::Lives => line.text.push(' '),
    }
    let name_at = table.push_row(&mut line, names, row, settings.scroll, &tree::fate(row, fate));
    ShownRow { line, name_at, key, fate }
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
    /// Rows without the filter.
    pub unfiltered: usize,
    /// Tasks in each state, by its name.
    pub states: BTreeMap<&'static str, usize>,
    /// Increase of the times of each CPU.
    pub cpus: Cow<'a, [CpuTimes]>,
    /// What tasks waited for.
    pub waits: Waits,
    /// Pressure, disks and networks.
    pub rates: MachineRates,
    /// What the CPUs used before.
    pub samples: Option<&'a Samples>,
    /// Balance of the CPUs' time.
    pub balance: Option<Balance>,
    /// The table with the columns that are filled and fit.
    pub table: TextTable,
    /// Sums of the columns of the table, None for a column without a sum.
    pub sums: Vec<Option<Cell<'a>>>,
    /// CPU time of the rows that the filter keeps, in per cent of that of all tasks.
    pub share_pct: Option<f64>,
    /// The rows on the screen.
    pub shown: Vec<ShownRow>,
    /// Number of rows above the screen.
    pub top: usize,
    /// Where the selected row is on the list.
    pub selected: Place,
    /// What became of the selected task.
    pub fate: Fate,
    /// Known gaps of the later snapshot.
    pub missing: String,
}

impl<'a> ViewData<'a> {
    /// The values of an interval for a screen of `size` (columns, lines). Local time is
    /// `offset_s` seconds ahead of UTC.
    pub fn new(
        interval: &'a Interval,
        rows: ViewRows<'a>,
        table: &TextTable,
        settings: &ViewSettings,
        names: &dyn Names,
        size: (usize, usize),
        offset_s: i64,
    ) -> ViewData<'a> {
        let (before, now) = (interval.prev().header(), interval.cur().header());
        let unchanged = rows.unchanged.filter(|_| now.unchanged > 0);
        let rows = ViewRows { unchanged, ..rows };
        let exited = now.exited as usize;
        let (tasks, states) = match unchanged.map(Unchanged::totals) {
            Some(totals) => (totals.tasks, totals.states()),
            None => (interval.len().saturating_sub(exited), state::count(interval.cur())),
        };
        let balance = interval.balance().filter(|_| interval.interval_ns() > 0);
        let kept = rows.kept(&settings.filter);
        let kept = kept.as_ref();
        let number = rows.count(kept, now);
        let number = settings.limit.map_or(number, |limit| number.min(limit));
        // One cell is for the mark of a row.
        let status = |field| interval.status(field);
        let is_filled = |metric| is_filled(metric, settings, status);
        let mut table = table.fitting(size.0.saturating_sub(1), settings, is_filled);
        table.offset_s = offset_s;
        let mut data = ViewData {
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
            rows: number,
            unfiltered: rows.all(now),
            states,
            cpus: interval.cpu_split().into(),
            waits: if settings.shows(Meter::Waits) {
                Waits::of(interval)
            } else {
                Waits::default()
            },
            rates: MachineRates::of(interval, settings),
            samples: rows.samples,
            balance,
            sums: sums(rows, interval, &table, kept),
            share_pct: share_pct(interval, rows, kept),
            table,
            shown: Vec::new(),
            top: settings.top,
            selected: Place::Nowhere,
            fate: Fate::Lives,
            missing: missing(interval),
        };
        let room = data.heights(size, settings).tasks;
        data.choose(interval, rows, settings, kept, names, room);
        data
    }

    /// Chooses the rows on the screen, `room` at most.
    fn choose(
        &mut self,
        interval: &Interval,
        rows: ViewRows<'_>,
        settings: &ViewSettings,
        kept: Option<&Kept>,
        names: &dyn Names,
        room: usize,
    ) {
        let limit = settings.limit.unwrap_or(usize::MAX);
        let mut query = settings.query();
        (self.selected, self.fate) = selection::place(interval, rows, settings, kept, self.rows);
        if let (true, Place::Row(row)) = (settings.follow, self.selected) {
            self.top = self.top.max((row + 1).saturating_sub(room)).min(row);
        }
        self.top = self.top.min(self.rows.saturating_sub(1));
        query.offset = self.top;
        query.limit = Some(limit.saturating_sub(self.top).min(room));
        let chosen = rows.chosen_of(&query, kept).into_iter();
        let shown = chosen.map(|row| shown(interval, row, &self.table, settings, names));
        self.shown = shown.collect();
    }

    /// How many lines of a screen of `size` (columns, lines) each part gets.
    pub fn heights(&self, size: (usize, usize), settings: &ViewSettings) -> Heights {
        let shown =
            [self.shows_memory(settings), self.shows_waits(settings), self.rates.is_known()];
        let facts = FACTS - shown.into_iter().filter(|&is_shown| !is_shown).count();
        let cpus = if settings.shows(Meter::Cpus) { self.cpus.len() } else { 0 };
        let tabs = settings.tabs.height(size.1);
        let rest = (size.0, size.1 - tabs);
        Heights { tabs, ..Heights::new(rest, cpus, facts, !settings.filter.is_empty()) }
    }

    /// Whether there is a line of memory and swap.
    pub(crate) fn shows_memory(&self, settings: &ViewSettings) -> bool {
        let is_wanted = settings.shows(Meter::Memory) || settings.shows(Meter::Swap);
        self.system.is_some() && is_wanted
    }

    /// Whether there is a line of what tasks wait for.
    pub(crate) fn shows_waits(&self, settings: &ViewSettings) -> bool {
        self.waits.is_known() && settings.shows(Meter::Waits)
    }
}

/// Whether a metric is known, or may be in the next interval.
fn is_filled(
    metric: Metric,
    settings: &ViewSettings,
    status: impl Fn(Field) -> FieldStatus,
) -> bool {
    metric.field().is_none_or(|field| match status(field) {
        FieldStatus::Filled => true,
        // The live view reads it in the next interval.
        FieldStatus::NotRead => settings.replay.is_empty(),
        FieldStatus::Off | FieldStatus::Denied | FieldStatus::Unsupported => false,
    })
}

/// The columns of a table that a screen of `cells` is too narrow for, by their numbers. What a
/// source cannot fill is none of them.
pub fn left_out(
    table: &TextTable,
    settings: &ViewSettings,
    header: &Header,
    cells: usize,
) -> Vec<usize> {
    let status = |field| header.status(field);
    // One cell is for the mark of a row.
    table.left_out(cells.saturating_sub(1), settings, |metric| is_filled(metric, settings, status))
}

/// Sums of the columns that have one, over the rows that the filter keeps. Unchanged tasks
/// used nothing, but they count.
fn sums<'a>(
    rows: ViewRows<'a>,
    interval: &'a Interval,
    table: &TextTable,
    kept: Option<&Kept>,
) -> Vec<Option<Cell<'a>>> {
    let totals = rows.unchanged.map(Unchanged::totals);
    table.sums(|metric| {
        let Some(kept) = kept else {
            return match (metric, totals) {
                // A tree may be of the dead alone.
                _ if rows.tree.is_some() => rows.table.sum(metric),
                (Metric::Tasks, Some(totals)) => Some(Cell::Int(totals.tasks as i128)),
                (Metric::Field(Field::num_threads), Some(totals)) => {
                    Some(Cell::Int(totals.num_threads.into()))
                }
                _ => interval.sum(metric),
            };
        };
        let ran = rows.table.sum_of(&mut kept.ran.iter().copied(), metric);
        let unchanged = rows.unchanged.filter(|_| !metric.is_share());
        let sum_of =
            |tasks: &'a Unchanged| tasks.sum_of(&mut kept.unchanged.iter().copied(), metric);
        let unchanged = unchanged.and_then(sum_of);
        match (ran, unchanged) {
            (Some(Cell::Int(a)), Some(Cell::Int(b))) => Some(Cell::Int(a + b)),
            (ran, unchanged) => ran.or(unchanged),
        }
    })
}

fn own_ns(header: &Header) -> u64 {
    header.own_cpu_ns.saturating_add(header.hooks_ns)
}

/// CPU time of the rows that a filter keeps, in per cent of that of all tasks. None without a
/// filter.
fn share_pct(interval: &Interval, rows: ViewRows<'_>, kept: Option<&Kept>) -> Option<f64> {
    let mut kept = kept?.ran.iter().copied();
    // No filter keeps a row where the sum is unknown.
    let kept = rows.table.sum_of(&mut kept, Metric::TotalNs).unwrap_or(Cell::Int(0));
    match (kept, interval.sum(Metric::TotalNs)) {
        (Cell::Int(kept), Some(Cell::Int(all))) if all > 0 => {
            Some(100.0 * kept as f64 / all as f64)
        }
        _ => None,
    }
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
