//! Tables of tasks as text: titles, units, rows and sums.
//!
//! Design decisions
//!
//! * Where a screen is too narrow, columns go, the least important first; a number is never
//!   cut.

use std::sync::Arc;

use precise_top_core::{Cell, CgroupName, Interval, Metric, TaskTable, state};

use crate::command::{Names, push_cgroup, push_command};
use crate::line::{ScreenLine, Style};
use crate::row_key::Fate;
use crate::rows::{TableRow, ViewRows};
use crate::settings::{TreeOf, ViewSettings};
use crate::spark;
use crate::text::{self, Side, UNKNOWN};
use crate::tree;
use crate::waits::{self, WaitForm};

/// The format of the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellFormat {
    /// Shares in per cent.
    Percent,
    /// Whole numbers.
    Integer,
    /// KiB, with a binary unit.
    Kibibytes,
    /// Bytes, with a binary unit.
    Bytes,
    /// Events a second.
    Rate,
    /// Bytes a second, with a binary unit.
    BytesRate,
    /// A duration in µs.
    ElapsedUs,
    /// A duration in ns.
    ElapsedNs,
    /// A task state's letter.
    State,
    /// A name.
    Name,
    /// The name of a user, from its id.
    User,
    /// The command line of the task's process, else the name.
    Command,
    /// The path of a cgroup, or a name in it, from its id.
    Cgroup(Option<CgroupName>),
    /// What the row waits for.
    Wait(WaitForm),
    /// The CPU time of the task itself in the last minute, as bars.
    Spark,
    /// Any value, unchanged.
    Raw,
}

impl CellFormat {
    /// All formats with their names.
    pub const ALL: [(&'static str, CellFormat); 23] = [
        ("percent", CellFormat::Percent),
        ("integer", CellFormat::Integer),
        ("kibibytes", CellFormat::Kibibytes),
        ("bytes", CellFormat::Bytes),
        ("rate", CellFormat::Rate),
        ("bytes_rate", CellFormat::BytesRate),
        ("elapsed_us", CellFormat::ElapsedUs),
        ("elapsed_ns", CellFormat::ElapsedNs),
        ("state", CellFormat::State),
        ("name", CellFormat::Name),
        ("user", CellFormat::User),
        ("command", CellFormat::Command),
        ("cgroup", CellFormat::Cgroup(None)),
        ("container", CellFormat::Cgroup(Some(CgroupName::Container))),
        ("pod", CellFormat::Cgroup(Some(CgroupName::Pod))),
        ("unit", CellFormat::Cgroup(Some(CgroupName::Unit))),
        ("spark", CellFormat::Spark),
        ("wait", CellFormat::Wait(WaitForm::Letter)),
        ("wait_pct", CellFormat::Wait(WaitForm::Percent)),
        ("wait_ms", CellFormat::Wait(WaitForm::Milliseconds)),
        ("wait_longest", CellFormat::Wait(WaitForm::Longest)),
        ("wait_when", CellFormat::Wait(WaitForm::When)),
        ("raw", CellFormat::Raw),
    ];

    /// The format with this name.
    pub fn from_name(name: &str) -> Option<CellFormat> {
        CellFormat::ALL.into_iter().find_map(|(known, format)| (known == name).then_some(format))
    }
}

/// A column of a text table.
#[derive(Clone, Debug)]
pub struct TextColumn {
    /// The title.
    pub title: String,
    /// The unit, shown below the title.
    pub unit: String,
    /// The title of the live view, which says the unit too.
    pub heading: Arc<str>,
    /// Width in terminal cells.
    pub width: usize,
    /// The alignment.
    pub side: Side,
    /// The metric that the column shows.
    pub metric: Metric,
    /// The format of its values.
    pub format: CellFormat,
    /// Whether the column has a sum.
    pub summed: bool,
    /// On a narrow screen the columns with the largest number go first; those with 0 stay.
    pub rank: u32,
    /// From which values on the column warns, and from which it alarms.
    pub limits: Option<(f64, f64)>,
}

/// Capacity in bytes that fits most lines.
pub(crate) const LINE: usize = 160;
/// Cells that a last column of texts keeps before other columns go, that of a tree, and that of
/// the dead under their names, which says what became of them.
const LAST_TEXT: usize = 16;
const LAST_OF_TREE: usize = 28;
const LAST_OF_DEAD: usize = 40;
/// Cells from which on a row says in words that its task died.
const LEAST_FATE: usize = 28;

/// A table whose rows are lines of text.
#[derive(Clone, Debug)]
pub struct TextTable {
    columns: Vec<Arc<TextColumn>>,
    /// Cells that a row has on the screen; None for plain text.
    cells: Option<usize>,
    /// Seconds that local time is ahead of UTC.
    pub(crate) offset_s: i64,
}

impl TextTable {
    /// A table with these columns.
    pub fn new(columns: Vec<TextColumn>) -> TextTable {
        let columns = columns.into_iter().map(Arc::new).collect();
        TextTable { columns, cells: None, offset_s: 0 }
    }

    /// The same with other columns.
    pub(crate) fn with_columns(&self, columns: Vec<Arc<TextColumn>>) -> TextTable {
        TextTable { columns, ..*self }
    }

    /// Whether it shows what tasks used before.
    pub fn has_sparks(&self) -> bool {
        self.columns.iter().any(|column| column.format == CellFormat::Spark)
    }

    /// The columns from left to right.
    pub fn columns(&self) -> &[Arc<TextColumn>] {
        &self.columns
    }

    /// The table with the columns that are filled and fit into `cells`. The sorted one stays.
    pub fn fitting(
        &self,
        cells: usize,
        settings: &ViewSettings,
        is_filled: impl Fn(Metric) -> bool,
    ) -> TextTable {
        let (kept, _) = self.fit(cells, settings, is_filled);
        let columns = kept.into_iter().map(|at| Arc::clone(&self.columns[at])).collect();
        TextTable { columns, cells: Some(cells), offset_s: self.offset_s }
    }

    /// The columns that are filled but do not fit into `cells`, by their numbers.
    pub fn left_out(
        &self,
        cells: usize,
        settings: &ViewSettings,
        is_filled: impl Fn(Metric) -> bool,
    ) -> Vec<usize> {
        self.fit(cells, settings, is_filled).1
    }

    /// The columns that are shown, and the filled ones that do not fit.
    fn fit(
        &self,
        cells: usize,
        settings: &ViewSettings,
        is_filled: impl Fn(Metric) -> bool,
    ) -> (Vec<usize>, Vec<usize>) {
        let column = |at: usize| &*self.columns[at];
        let width = self.columns.last().map_or(0, |column| column.width);
        let last = match settings.tree.as_ref().map(|tree| tree.of) {
            None => LAST_TEXT.min(width),
            Some(TreeOf::Dead) => LAST_OF_DEAD,
            Some(TreeOf::Tasks | TreeOf::Cgroups) => LAST_OF_TREE.min(width),
        };
        let is_sort = |at: usize| column(at).metric == settings.sort;
        let all = 0..self.columns.len();
        let mut kept: Vec<usize> =
            all.clone().filter(|&at| is_filled(column(at).metric) || is_sort(at)).collect();
        if kept.is_empty() {
            kept = all.collect();
        }
        let mut left_out = Vec::new();
        while kept.len() > 1 && least_width(kept.iter().map(|&at| column(at)), last) > cells {
            let spare = (0..kept.len()).filter(|&n| column(kept[n]).rank > 0 && !is_sort(kept[n]));
            let Some(first) = spare.max_by_key(|&n| (column(kept[n]).rank, n)) else { break };
            left_out.push(kept.remove(first));
        }
        (kept, left_out)
    }

    /// The line of titles.
    pub fn titles(&self) -> String {
        self.line(|column, line| line.text.push_str(&column.title)).text
    }

    /// The line of units.
    pub fn units(&self) -> String {
        self.line(|column, line| line.text.push_str(&column.unit)).text
    }

    /// The headings, each with the cell after its column; the first column begins at `begin`. A
    /// space after a column belongs to it.
    pub(crate) fn headings(&self, begin: usize) -> Vec<(usize, Arc<str>)> {
        let mut end = begin;
        let last = self.columns.len() - 1;
        let columns = self.columns.iter().enumerate();
        let heading = columns.map(|(at, column)| {
            end += column.width + 1;
            (if at == last { usize::MAX } else { end }, Arc::clone(&column.heading))
        });
        heading.collect()
    }

    /// Appends the headings. The column that rows are sorted by has a mark.
    pub(crate) fn push_headings(&self, line: &mut ScreenLine, settings: &ViewSettings) {
        let mark = if settings.descending { '▼' } else { '▲' };
        self.push_cells(line, |column, line| {
            line.text.push_str(&column.heading);
            if column.metric != settings.sort {
                return Style::Heading;
            }
            if column.side == Side::Left || text::width(&column.heading) < column.width {
                line.text.push(mark);
            }
            Style::Sorted
        });
    }

    /// The line of a row.
    pub fn row(&self, names: &dyn Names, row: TableRow<'_>) -> String {
        let mut line = ScreenLine::plain(String::with_capacity(LINE));
        let fate =
            row.branch.map_or_else(String::new, |_| tree::fate(row, Fate::of(row.table, row.row)));
        self.push_row(&mut line, names, row, 0, &fate);
        line.text
    }

    /// Appends a row. `scroll` cells of the command line are skipped; `fate` is put before it, in a
    /// tree behind it.
    /// Returns the byte where the name or command line begins, else the end.
    pub(crate) fn push_row(
        &self,
        line: &mut ScreenLine,
        names: &dyn Names,
        row: TableRow<'_>,
        scroll: usize,
        fate: &str,
    ) -> usize {
        let mut name_at = None;
        let cells = self.cells.unwrap_or(usize::MAX);
        let has = |format| self.columns.iter().any(|column| column.format == format);
        let (has_name, has_command) = (has(CellFormat::Name), has(CellFormat::Command));
        // What is before a name is there once, where there is more room.
        let named = if has_command { CellFormat::Command } else { CellFormat::Name };
        let last = self.columns.last().map(|column| column.format);
        self.push_cells(line, |column, line| {
            if column.format == named {
                // One cell before the columns is for the mark.
                let rest = |line: &ScreenLine| {
                    cells.saturating_add(1).saturating_sub(text::width(&line.text))
                };
                if let Some(branch) = &row.branch {
                    let room = if last == Some(named) { rest(line) } else { column.width };
                    tree::push_branch(line, branch, room);
                }
                name_at = Some(line.text.len());
                if !fate.is_empty() && row.branch.is_none() {
                    // The mark says that it died; a narrow screen has room for one of them.
                    let short = fate.strip_prefix("died, ").filter(|_| rest(line) < LEAST_FATE);
                    let fate = short.unwrap_or(fate);
                    line.push(fate, Style::Dead);
                    line.text.push_str(": ");
                }
            }
            if column.format == CellFormat::Command {
                push_command(line, names, row, scroll, cells, has_name);
                if !fate.is_empty() && row.branch.is_some() {
                    // A tree has more to say of it than there is room for.
                    line.text.push_str(" (");
                    line.push(fate, Style::Dead);
                    line.text.push(')');
                }
                return Style::Plain;
            }
            let cell = row.table.cell(row.row, column.metric);
            if let (CellFormat::Cgroup(name), Some(_)) = (column.format, cell) {
                push_cgroup(&mut line.text, names, row, name);
                return Style::Plain;
            }
            if column.format == CellFormat::Spark {
                push_spark(line, row);
                return Style::Plain;
            }
            if let CellFormat::Wait(form) = column.format {
                waits::push(line, row, form, self.offset_s);
                return style(column, cell);
            }
            if cell.is_none() && self.cells.is_some() && has_no_sum(row, column.metric) {
                line.text.push(NO_SUM);
            } else {
                push_cell(&mut line.text, column.format, cell, names);
            }
            style(column, cell)
        });
        name_at.unwrap_or(line.text.len())
    }

    /// The value of `sum` for each column that has a sum, else None.
    pub fn sums<'a>(&self, sum: impl Fn(Metric) -> Option<Cell<'a>>) -> Vec<Option<Cell<'a>>> {
        let columns = self.columns.iter();
        columns.map(|column| column.summed.then(|| sum(column.metric)).flatten()).collect()
    }

    /// The line of sums.
    pub fn sums_line(&self, sums: &[Option<Cell<'_>>]) -> String {
        let mut at = 0;
        self.line(|column, line| {
            let sum = sums.get(at).copied().flatten();
            if column.summed && sum.is_some() {
                push_cell(&mut line.text, column.format, sum, &());
            }
            at += 1;
        })
        .text
    }

    /// Titles, units, the chosen rows and the sums of all, one line each. `rows` are the rows
    /// of the interval, or groups or a tree of them.
    pub fn lines(
        &self,
        interval: &Interval,
        rows: ViewRows<'_>,
        settings: &ViewSettings,
        names: &dyn Names,
    ) -> Vec<String> {
        let chosen = rows.chosen(&settings.query()).into_iter();
        // A tree may be of the dead alone.
        let sums = self.sums(|metric| match rows.tree {
            Some(_) => rows.table.sum(metric),
            None => interval.sum(metric),
        });
        let mut lines = vec![self.titles(), self.units()];
        lines.extend(chosen.map(|row| self.row(names, TableRow { ran: true, ..row })));
        lines.push(self.sums_line(&sums));
        lines
    }

    /// A line of cells without styles; `push` appends the text of each.
    fn line(&self, mut push: impl FnMut(&TextColumn, &mut ScreenLine)) -> ScreenLine {
        let mut line = ScreenLine::plain(String::with_capacity(LINE));
        self.push_cells(&mut line, |column, line| {
            push(column, line);
            Style::Plain
        });
        line
    }

    /// Appends cells; `push` appends the text of each and returns its style.
    fn push_cells(
        &self,
        line: &mut ScreenLine,
        mut push: impl FnMut(&TextColumn, &mut ScreenLine) -> Style,
    ) {
        for (at, column) in self.columns.iter().enumerate() {
            if at > 0 {
                line.text.push(' ');
            }
            let start = line.text.len();
            let style = push(column, line);
            let last = at + 1 == self.columns.len();
            if column.side == Side::Right && text::width(&line.text[start..]) > column.width {
                // A number that is cut would look like a smaller one.
                fit_number(&mut line.text, start, column.width);
            } else if !last || column.side == Side::Right {
                line.fit_from(start, column.width, column.side);
            }
            line.mark(start, style);
        }
    }
}

/// Appends the samples of the task of a row; nothing where there is none.
fn push_spark(line: &mut ScreenLine, row: TableRow<'_>) {
    let record = row.table.record(row.row).filter(|_| row.table.group_name(row.row).is_none());
    if let Some(shares) = record.zip(row.samples).and_then(|(record, samples)| samples.of(&record))
    {
        spark::push_values(&mut line.text, shares.into_iter(), 1.0);
    }
}

/// What a group shows where its members' values do not add up.
const NO_SUM: char = '·';

/// Whether a value is known for a member of a group but makes no sense for the group.
fn has_no_sum(row: TableRow<'_>, metric: Metric) -> bool {
    let record = row.table.record(row.row).filter(|_| row.table.group_name(row.row).is_some());
    matches!((record, metric), (Some(record), Metric::Field(field)) if record.value(field).is_some())
}

/// Cells that the columns need at least; a last column of texts needs `last`.
fn least_width<'a>(columns: impl ExactSizeIterator<Item = &'a TextColumn>, last: usize) -> usize {
    let number = columns.len();
    let widths = columns.enumerate().map(|(at, column)| {
        let is_last_text = at + 1 == number && column.side == Side::Left;
        if is_last_text { last } else { column.width }
    });
    widths.sum::<usize>() + number - 1
}

/// Makes a number that is too wide fit: without digits after the point, else as #.
fn fit_number(text: &mut String, start: usize, width: usize) {
    let is_fixed = text[start..].bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_fixed
        && let Ok(number) = text[start..].parse::<f64>()
        && text[start..].contains('.')
    {
        text.truncate(start);
        text::push(text, format_args!("{number:.0}"));
        if text.len() - start <= width {
            text::fit(text, start, width, Side::Right);
            return;
        }
    }
    text.truncate(start);
    text.extend(std::iter::repeat_n('#', width));
}

/// The style of a value: zeros step back, large values stand out.
fn style(column: &TextColumn, cell: Option<Cell<'_>>) -> Style {
    let value = match cell {
        None => return Style::Dim,
        Some(Cell::Text(_)) => return Style::Plain,
        Some(Cell::Int(number)) if column.format == CellFormat::State => {
            return match state::letter(number as u32) {
                'R' => Style::Good,
                'D' => Style::Warn,
                'Z' | 'X' => Style::Dead,
                _ => Style::Dim,
            };
        }
        Some(Cell::Int(_)) if !column.summed => return Style::Plain,
        Some(Cell::Int(number)) => number as f64,
        Some(Cell::Float(number)) => number,
    };
    match column.limits {
        Some((_, bad)) if value >= bad => Style::Bad,
        Some((warn, _)) if value >= warn => Style::Warn,
        // What is shown as zero.
        _ if value < 0.005 => Style::Dim,
        _ => Style::Plain,
    }
}

fn push_cell(text: &mut String, format: CellFormat, cell: Option<Cell<'_>>, names: &dyn Names) {
    match (format, cell) {
        (CellFormat::Percent, Some(Cell::Float(number))) => text::push_percent(text, number),
        (CellFormat::Percent, Some(Cell::Int(number))) => text::push_percent(text, number as f64),
        (CellFormat::Rate, Some(Cell::Float(number))) => text::push_rate(text, number),
        (CellFormat::BytesRate, Some(Cell::Float(number))) => text::push_bytes_rate(text, number),
        (CellFormat::Kibibytes, Some(Cell::Int(number))) => {
            text::push_kibibytes(text, number as f64)
        }
        (CellFormat::Bytes, Some(Cell::Int(number))) => {
            text::push_kibibytes(text, number as f64 / 1024.0)
        }
        (CellFormat::ElapsedUs, Some(Cell::Int(number))) => {
            text::push_elapsed(text, number as f64 / 1e6)
        }
        (CellFormat::ElapsedNs, Some(Cell::Int(number))) => {
            text::push_elapsed(text, number as f64 / 1e9)
        }
        (CellFormat::State, Some(Cell::Int(number))) => text.push(state::letter(number as u32)),
        (CellFormat::User, Some(Cell::Int(number))) => names.user(number as u32, text),
        (CellFormat::Integer | CellFormat::Raw, Some(Cell::Int(number))) => {
            text::push_integer(text, number)
        }
        (CellFormat::Raw, Some(Cell::Float(number))) => text::push_percent(text, number),
        // A limit may be a word.
        (
            CellFormat::Raw
            | CellFormat::Name
            | CellFormat::Command
            | CellFormat::Percent
            | CellFormat::Bytes,
            Some(Cell::Text(name)),
        ) => {
            text.push_str(&text::safe(&String::from_utf8_lossy(name)));
        }
        _ => text.push_str(UNKNOWN),
    }
}
