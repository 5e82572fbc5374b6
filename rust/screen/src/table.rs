//! Tables of tasks as text: titles, units, rows and sums.

use precise_top_core::{Cell, Interval, Metric, TaskTable, state};

use crate::settings::ViewSettings;
use crate::text::{self, Side, UNKNOWN};

/// The format of the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellFormat {
    /// Shares in per cent.
    Percent,
    /// Whole numbers.
    Integer,
    /// KiB, with a binary unit.
    Kibibytes,
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
    /// Any value, unchanged.
    Raw,
}

impl CellFormat {
    /// All formats with their names.
    pub const ALL: [(&'static str, CellFormat); 11] = [
        ("percent", CellFormat::Percent),
        ("integer", CellFormat::Integer),
        ("kibibytes", CellFormat::Kibibytes),
        ("rate", CellFormat::Rate),
        ("bytes_rate", CellFormat::BytesRate),
        ("elapsed_us", CellFormat::ElapsedUs),
        ("elapsed_ns", CellFormat::ElapsedNs),
        ("state", CellFormat::State),
        ("name", CellFormat::Name),
        ("user", CellFormat::User),
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
}

/// Capacity in bytes that fits most lines.
const LINE: usize = 128;

/// Appends the name of the user with this id.
pub type UserNames<'a> = &'a dyn Fn(u32, &mut String);

/// A table whose rows are lines of text.
#[derive(Clone, Debug)]
pub struct TextTable {
    columns: Vec<TextColumn>,
}

impl TextTable {
    /// A table with these columns.
    pub fn new(columns: Vec<TextColumn>) -> TextTable {
        TextTable { columns }
    }

    /// The columns from left to right.
    pub fn columns(&self) -> &[TextColumn] {
        &self.columns
    }

    /// The line of titles.
    pub fn titles(&self) -> String {
        self.line(|column, text| text.push_str(&column.title))
    }

    /// The line of units.
    pub fn units(&self) -> String {
        self.line(|column, text| text.push_str(&column.unit))
    }

    /// The line of a row; `cell` returns the value of a metric.
    pub fn row<'a>(
        &self,
        users: UserNames<'_>,
        cell: impl Fn(Metric) -> Option<Cell<'a>>,
    ) -> String {
        self.line(|column, text| push_cell(text, column.format, cell(column.metric), users))
    }

    /// The value of `sum` for each column that has a sum, else None.
    pub fn sums<'a>(&self, sum: impl Fn(Metric) -> Option<Cell<'a>>) -> Vec<Option<Cell<'a>>> {
        let columns = self.columns.iter();
        columns.map(|column| column.summed.then(|| sum(column.metric)).flatten()).collect()
    }

    /// The line of sums. `status` takes the first cell if that has no sum.
    pub fn sums_line(&self, sums: &[Option<Cell<'_>>], status: &str) -> String {
        let mut at = 0;
        self.line(|column, text| {
            let sum = sums.get(at).copied().flatten();
            if column.summed && sum.is_some() {
                push_cell(text, column.format, sum, &|_, _| ());
            } else if at == 0 {
                text.push_str(status);
            }
            at += 1;
        })
    }

    /// Titles, units, the chosen rows and the sums of all, one line each. `rows` are the rows
    /// of the interval, or groups of them.
    pub fn lines(
        &self,
        interval: &Interval,
        rows: &dyn TaskTable,
        settings: &ViewSettings,
        users: UserNames<'_>,
    ) -> Vec<String> {
        let chosen = rows.select(&settings.query()).into_iter();
        let row = |row| self.row(users, |metric| rows.cell(row as usize, metric));
        let sums = self.sums(|metric| interval.sum(metric));
        let mut lines = vec![self.titles(), self.units()];
        lines.extend(chosen.map(row));
        lines.push(self.sums_line(&sums, ""));
        lines
    }

    /// A line of cells; `push` appends the text of each.
    fn line(&self, mut push: impl FnMut(&TextColumn, &mut String)) -> String {
        let mut line = String::with_capacity(LINE);
        for (at, column) in self.columns.iter().enumerate() {
            if at > 0 {
                line.push(' ');
            }
            let start = line.len();
            push(column, &mut line);
            let last = at + 1 == self.columns.len();
            if column.side == Side::Right && text::width(&line[start..]) > column.width {
                // A number that is cut would look like a smaller one.
                line.truncate(start);
                line.extend(std::iter::repeat_n('#', column.width));
            } else if !last || column.side == Side::Right {
                text::fit(&mut line, start, column.width, column.side);
            }
        }
        line
    }
}

fn push_cell(text: &mut String, format: CellFormat, cell: Option<Cell<'_>>, users: UserNames<'_>) {
    match (format, cell) {
        (CellFormat::Percent, Some(Cell::Float(number))) => text::push_percent(text, number),
        (CellFormat::Percent, Some(Cell::Int(number))) => text::push_percent(text, number as f64),
        (CellFormat::Rate, Some(Cell::Float(number))) => text::push_rate(text, number),
        (CellFormat::BytesRate, Some(Cell::Float(number))) => text::push_bytes_rate(text, number),
        (CellFormat::Kibibytes, Some(Cell::Int(number))) => {
            text::push_kibibytes(text, number as f64)
        }
        (CellFormat::ElapsedUs, Some(Cell::Int(number))) => {
            text::push_elapsed(text, number as f64 / 1e6)
        }
        (CellFormat::ElapsedNs, Some(Cell::Int(number))) => {
            text::push_elapsed(text, number as f64 / 1e9)
        }
        (CellFormat::State, Some(Cell::Int(number))) => text.push(state::letter(number as u32)),
        (CellFormat::User, Some(Cell::Int(number))) => users(number as u32, text),
        (CellFormat::Integer | CellFormat::Raw, Some(Cell::Int(number))) => {
            text::push_integer(text, number)
        }
        (CellFormat::Raw, Some(Cell::Float(number))) => text::push_percent(text, number),
        (CellFormat::Raw | CellFormat::Name, Some(Cell::Text(name))) => {
            text.push_str(&text::safe(&String::from_utf8_lossy(name)));
        }
        _ => text.push_str(UNKNOWN),
    }
}
