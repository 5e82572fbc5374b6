//! The whole live or snapshot view of an interval.

use std::collections::BTreeMap;

use precise_top_core::interval::Unchanged;
use precise_top_core::{
    Balance, Cell, CpuTimes, Field, Filter, Flags, Header, Interval, MergedRow, Metric as Source,
    Query, SourceKind, System, TaskTable as Rows, state,
};

use crate::foot;
use crate::head;
use crate::table::{Table, Users};
use crate::text::{self, Side};

/// Rows of tasks that remain however many CPUs there are.
pub const LEAST_TASKS: usize = 10;
/// Lines of the table that are no tasks: titles, units, sums.
const TABLE_FRAME: usize = 3;
/// The books stand below the sums where a screen has room for this many lines.
const LOW: usize = TABLE_FRAME + LEAST_TASKS + 2;

/// How a line is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As any text.
    Plain,
    /// Bold.
    Bold,
    /// With foreground and background exchanged.
    Reverse,
}

impl Style {
    /// All of them.
    pub const ALL: [Style; 3] = [Style::Plain, Style::Bold, Style::Reverse];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Style::Plain => "plain",
            Style::Bold => "bold",
            Style::Reverse => "reverse",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Style> {
        Style::ALL.into_iter().find(|style| style.name() == name)
    }
}

/// One line of a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its text.
    pub text: String,
    /// How it is shown.
    pub style: Style,
}

impl Line {
    /// A text fitted to `cells` terminal cells.
    pub fn fitted(text: impl Into<String>, cells: usize, style: Style) -> Line {
        let mut text = text.into();
        text::fit(&mut text, 0, cells, Side::Left);
        Line { text, style }
    }
}

/// A screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// From the top; as many as the screen has.
    pub lines: Vec<Line>,
    /// How many rows of tasks there is room for.
    pub room: usize,
    /// How many rows there are to be seen, here or above or below.
    pub rows: usize,
}

impl Lines {
    /// Texts that are no table, on a screen of `size` (columns, lines).
    pub fn of_texts<'a>(
        texts: impl IntoIterator<Item = (&'a str, Style)>,
        (cells, height): (usize, usize),
    ) -> Lines {
        let texts = texts.into_iter().chain(std::iter::repeat(("", Style::Plain)));
        let lines = texts.take(height).map(|(text, style)| Line::fitted(text, cells, style));
        Lines { lines: lines.collect(), room: 0, rows: 0 }
    }
}

/// What the user has chosen to see.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What rows are sorted by.
    pub sort: Source,
    /// Largest first.
    pub descending: bool,
    /// Which rows.
    pub filter: Filter,
    /// How many at most.
    pub limit: Option<usize>,
    /// Rows above the screen.
    pub top: usize,
    /// What rows are gathered by; empty where they are not.
    pub fold: String,
    /// Which row is shown in reverse, counted from the first.
    pub selected: Option<usize>,
    /// Whether the user is selecting.
    pub selecting: bool,
    /// Whether the view stands still.
    pub paused: bool,
    /// What stands in place of the last line while something is typed.
    pub prompt: Option<String>,
    /// What stands there else, if anything.
    pub notice: String,
}

impl Choice {
    /// Which rows, in which order, from the top of the screen.
    pub(crate) fn query(&self) -> Query {
        Query {
            sort: Some(self.sort),
            descending: self.descending,
            filter: self.filter.clone(),
            offset: self.top,
            limit: self.limit.map(|limit| limit.saturating_sub(self.top)),
        }
    }
}

/// Lines of facts, CPUs, tasks and foot on a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heights {
    /// Load, source, tasks, memory.
    pub facts: usize,
    /// CPUs, one a line or all on one.
    pub cpus: usize,
    /// Rows of tasks.
    pub tasks: usize,
    /// The books.
    pub foot: usize,
}

impl Heights {
    /// Of a screen of `height` lines for so many CPUs, with or without memory and books: on
    /// a low one the tasks come first.
    pub fn new(height: usize, cpus: usize, memory: bool, books: bool) -> Heights {
        let foot = usize::from(books && height >= LOW);
        let most = height.saturating_sub(TABLE_FRAME + foot + LEAST_TASKS);
        let facts = most.clamp(1, if memory { 4 } else { 3 });
        let spare = most.saturating_sub(facts);
        let lines = if cpus <= spare { cpus } else { cpus.min(1).min(spare) };
        let tasks = height.saturating_sub(facts + lines + foot + TABLE_FRAME).max(1);
        Heights { facts, cpus: lines, tasks, foot }
    }
}

/// What one screen shows, as plain values.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// Seconds of local time since 1970.
    pub local_s: i64,
    /// Host name.
    pub host: &'a str,
    /// CLOCK_BOOTTIME, in ns.
    pub boottime_ns: u64,
    /// Load and memory.
    pub system: Option<System>,
    /// Where the records came from.
    pub source: SourceKind,
    /// Whether all values are of one instant.
    pub one_instant: bool,
    /// The interval's length.
    pub interval_ns: u64,
    /// What this process used in the interval, with what watching switches cost the others.
    pub own_ns: u64,
    /// Living tasks.
    pub tasks: usize,
    /// Tasks that died in the interval.
    pub exited: usize,
    /// Rows that are to be seen, here or above or below.
    pub rows: usize,
    /// Tasks in each state.
    pub states: BTreeMap<&'static str, usize>,
    /// Per CPU the increase of its times.
    pub cpus: Vec<CpuTimes>,
    /// Where the CPUs' time went.
    pub books: Option<Balance>,
    /// Sums of the table's columns, where they have one.
    pub sums: Vec<Option<Cell<'a>>>,
    /// The lines of the rows on this screen.
    pub texts: Vec<String>,
    /// What the later snapshot lacks.
    pub missing: String,
}

impl<'a> View<'a> {
    /// Of an interval's `rows`, which are its own or groups of them, on a screen of `height`
    /// lines. Where its snapshots have only tasks that ran, `resting` has the others. Local
    /// time is `offset_s` ahead of UTC.
    #[allow(clippy::too_many_arguments, reason = "all that a view is made of")]
    pub fn new(
        interval: &'a Interval,
        rows: &dyn Rows,
        resting: Option<&Unchanged<'_>>,
        table: &Table,
        choice: &Choice,
        users: Users<'_>,
        height: usize,
        offset_s: i64,
    ) -> View<'a> {
        let (before, now) = (interval.prev().header(), interval.cur().header());
        let resting = resting.filter(|_| now.unchanged > 0);
        let exited = now.exited as usize;
        let (tasks, states) = match resting.map(Unchanged::totals) {
            Some(totals) => (totals.tasks, totals.states.clone()),
            None => (interval.len().saturating_sub(exited), state::count(interval.cur())),
        };
        let (cpus, books) = (interval.cpu_split(), interval.balance());
        let books = books.filter(|_| interval.interval_ns() > 0);
        let number = rows_kept(rows, resting, &choice.filter, now);
        let room = Heights::new(height, cpus.len(), now.system.is_some(), books.is_some()).tasks;
        let query = choice.query();
        let query = Query { limit: Some(query.limit.unwrap_or(room).min(room)), ..query };
        View {
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
            rows: choice.limit.map_or(number, |limit| number.min(limit)),
            states,
            cpus,
            books,
            sums: sums(interval, resting, table),
            texts: texts(rows, resting, table, users, &query),
            missing: head::missing(interval),
        }
    }
}

fn own_ns(header: &Header) -> u64 {
    header.own_cpu_ns.saturating_add(header.hooks_ns)
}

fn rows_kept(
    rows: &dyn Rows,
    resting: Option<&Unchanged<'_>>,
    filter: &Filter,
    now: &Header,
) -> usize {
    if filter.text.is_none() && filter.pids.is_none() {
        return rows.rows() + resting.map_or(0, |_| now.unchanged as usize);
    }
    rows.count(filter) + resting.map_or(0, |resting| resting.count(filter))
}

/// Sums of the columns that have one; the resting add nothing but their number.
fn sums<'a>(
    interval: &'a Interval,
    resting: Option<&Unchanged<'_>>,
    table: &Table,
) -> Vec<Option<Cell<'a>>> {
    let totals = resting.map(Unchanged::totals);
    let sum = |source| match (source, totals) {
        (Source::Tasks, Some(totals)) => Some(Cell::Int(totals.tasks as i128)),
        (Source::Field(Field::num_threads), Some(totals)) => {
            Some(Cell::Int(totals.num_threads.into()))
        }
        _ => interval.sum(source),
    };
    table.sums_of(sum)
}

fn texts(
    rows: &dyn Rows,
    resting: Option<&Unchanged<'_>>,
    table: &Table,
    users: Users<'_>,
    query: &Query,
) -> Vec<String> {
    let Some(resting) = resting else {
        let row = |row| table.row(users, |column| rows.cell(row as usize, column));
        return rows.select(query).into_iter().map(row).collect();
    };
    let row = |place| match place {
        MergedRow::Ran(row) => table.row(users, |column| rows.cell(row as usize, column)),
        MergedRow::Unchanged(row) => table.row(users, |column| resting.cell(row as usize, column)),
    };
    resting.select_with(rows, query).into_iter().map(row).collect()
}

impl View<'_> {
    /// How the lines of a screen of that height are used.
    pub fn heights(&self, height: usize) -> Heights {
        Heights::new(height, self.cpus.len(), self.system.is_some(), self.books.is_some())
    }

    /// All lines of a screen of `size` (columns, lines), each fitted to its width.
    pub fn lines(self, table: &Table, choice: &Choice, (cells, height): (usize, usize)) -> Lines {
        let heights = self.heights(height);
        let mut lines = Vec::with_capacity(height);
        let plain = |text: String| Line::fitted(text, cells, Style::Plain);
        lines.extend(head::lines(&self, choice, cells, heights).into_iter().map(plain));
        lines.push(Line::fitted(table.titles(), cells, Style::Bold));
        lines.push(plain(table.units()));
        let (begin, none) = (lines.len(), self.texts.is_empty());
        let status = foot::status(&self, choice, heights.tasks);
        lines.extend(self.texts.into_iter().take(heights.tasks).map(plain));
        let selected = choice.selected.and_then(|row| row.checked_sub(choice.top));
        if let Some(line) = selected.and_then(|row| lines[begin..].get_mut(row)) {
            line.style = Style::Reverse;
        }
        if none {
            let none = if self.tasks > 0 { "no task matches" } else { "no tasks" };
            lines.push(plain(none.into()));
        }
        let blank = plain(String::new());
        lines.resize(height.saturating_sub(heights.foot + 1).max(lines.len()), blank.clone());
        lines.push(Line::fitted(table.sums(&self.sums, &status), cells, Style::Bold));
        if heights.foot > 0
            && let Some(books) = &self.books
        {
            // What stands below the sums: that nothing is missing in them.
            lines.push(plain(foot::books(books, self.interval_ns)));
        }
        let said = choice.prompt.as_deref().unwrap_or(&choice.notice);
        if let Some(last) = lines.last_mut().filter(|_| !said.is_empty()) {
            *last = Line::fitted(text::safe(said), cells, Style::Bold);
        }
        lines.resize(height, blank);
        Lines { lines, room: heights.tasks, rows: self.rows }
    }
}
