//! Tables of tasks: titles, units, rows and sums.

use precise_top_core::{Cell, Interval, Metric as Source, TaskTable as Rows, state};

use crate::screen::Choice;
use crate::text::{self, Side, UNKNOWN};

/// How a column's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
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
    /// A user's name, of its id.
    User,
    /// Whatever it is, as it is.
    Raw,
}

impl Form {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Form); 11] = [
        ("percent", Form::Percent),
        ("integer", Form::Integer),
        ("kibibytes", Form::Kibibytes),
        ("rate", Form::Rate),
        ("bytes_rate", Form::BytesRate),
        ("elapsed_us", Form::ElapsedUs),
        ("elapsed_ns", Form::ElapsedNs),
        ("state", Form::State),
        ("name", Form::Name),
        ("user", Form::User),
        ("raw", Form::Raw),
    ];

    /// The form of that name.
    pub fn from_name(name: &str) -> Option<Form> {
        Form::ALL.into_iter().find_map(|(known, form)| (known == name).then_some(form))
    }
}

/// One column.
#[derive(Clone, Debug)]
pub struct Column {
    /// What stands above it.
    pub title: String,
    /// The unit, below the title.
    pub unit: String,
    /// Terminal cells.
    pub width: usize,
    /// Which side of them its texts stand on.
    pub side: Side,
    /// What it shows.
    pub source: Source,
    /// How.
    pub form: Form,
    /// Whether the sum of its rows means something.
    pub summed: bool,
}

/// Bytes that most lines need no more than.
const LINE: usize = 128;

/// Appends the name of a user.
pub type Users<'a> = &'a dyn Fn(u32, &mut String);

/// Columns beside each other.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
}

impl Table {
    /// Of these columns.
    pub fn new(columns: Vec<Column>) -> Table {
        Table { columns }
    }

    /// Its columns.
    pub fn columns(&self) -> &[Column] {
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

    /// The line of a row, whose cells `cell` gives.
    pub fn row<'a>(&self, users: Users<'_>, cell: impl Fn(Source) -> Option<Cell<'a>>) -> String {
        self.line(|column, text| push_cell(text, column.form, cell(column.source), users))
    }

    /// Of each column that has a sum, what `sum` gives.
    pub fn sums_of<'a>(&self, sum: impl Fn(Source) -> Option<Cell<'a>>) -> Vec<Option<Cell<'a>>> {
        let columns = self.columns.iter();
        columns.map(|column| column.summed.then(|| sum(column.source)).flatten()).collect()
    }

    /// The sums of the columns that have one, with `status` in the first cell where that
    /// has none.
    pub fn sums(&self, sums: &[Option<Cell<'_>>], status: &str) -> String {
        let mut at = 0;
        self.line(|column, text| {
            let sum = sums.get(at).copied().flatten();
            if column.summed && sum.is_some() {
                push_cell(text, column.form, sum, &|_, _| ());
            } else if at == 0 {
                text.push_str(status);
            }
            at += 1;
        })
    }

    /// Titles, units, the chosen of an interval's `rows`, which are its own or groups of them,
    /// and the sums of all, a line each.
    pub fn lines(
        &self,
        interval: &Interval,
        rows: &dyn Rows,
        choice: &Choice,
        users: Users<'_>,
    ) -> Vec<String> {
        let chosen = rows.select(&choice.query()).into_iter();
        let row = |row| self.row(users, |column| rows.cell(row as usize, column));
        let sums = self.sums_of(|source| interval.sum(source));
        let mut lines = vec![self.titles(), self.units()];
        lines.extend(chosen.map(row));
        lines.push(self.sums(&sums, ""));
        lines
    }

    /// A line of what `push` appends for each column.
    fn line(&self, mut push: impl FnMut(&Column, &mut String)) -> String {
        let mut line = String::with_capacity(LINE);
        for (at, column) in self.columns.iter().enumerate() {
            if at > 0 {
                line.push(' ');
            }
            let start = line.len();
            push(column, &mut line);
            let last = at + 1 == self.columns.len();
            if column.side == Side::Right && text::width(&line[start..]) > column.width {
                // A number that does not fit is never cut to a smaller one.
                line.truncate(start);
                line.extend(std::iter::repeat_n('#', column.width));
            } else if !last || column.side == Side::Right {
                text::fit(&mut line, start, column.width, column.side);
            }
        }
        line
    }
}

fn push_cell(text: &mut String, form: Form, cell: Option<Cell<'_>>, users: Users<'_>) {
    match (form, cell) {
        (Form::Percent, Some(Cell::Float(number))) => text::push_percent(text, number),
        (Form::Percent, Some(Cell::Int(number))) => text::push_percent(text, number as f64),
        (Form::Rate, Some(Cell::Float(number))) => text::push_rate(text, number),
        (Form::BytesRate, Some(Cell::Float(number))) => text::push_bytes_rate(text, number),
        (Form::Kibibytes, Some(Cell::Int(number))) => text::push_kibibytes(text, number as f64),
        (Form::ElapsedUs, Some(Cell::Int(number))) => text::push_elapsed(text, number as f64 / 1e6),
        (Form::ElapsedNs, Some(Cell::Int(number))) => text::push_elapsed(text, number as f64 / 1e9),
        (Form::State, Some(Cell::Int(number))) => text.push(state::letter(number as u32)),
        (Form::User, Some(Cell::Int(number))) => users(number as u32, text),
        (Form::Integer | Form::Raw, Some(Cell::Int(number))) => text::push_integer(text, number),
        (Form::Raw, Some(Cell::Float(number))) => text::push_percent(text, number),
        (Form::Raw | Form::Name, Some(Cell::Text(name))) => {
            text.push_str(&text::safe(&String::from_utf8_lossy(name)));
        }
        _ => text.push_str(UNKNOWN),
    }
}
