//! `taskstats.screen`: intervals as lines of text.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use precise_top_core::{Interval, TaskTable};
use precise_top_screen::text::{self, Side};
use precise_top_screen::{
    Canvas, CellFormat, ControlSequences, ScreenLines, Style, TextColumn, TextTable, UserNames,
    ViewRows, ViewSettings, draw, missing,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::convert::{NamePart, filter, metric};
use crate::interval::{PyGroups, PyInterval};
use crate::source::PySource;

/// Local time changes its offset from UTC at multiples of this time only.
const QUARTER_S: u64 = 900;

/// A column, as the attributes of a Python object.
#[derive(FromPyObject)]
struct ColumnAttributes {
    title: String,
    unit: String,
    width: usize,
    right: bool,
    source: String,
    form: String,
    summed: bool,
}

impl ColumnAttributes {
    fn column(self) -> PyResult<TextColumn> {
        let format = CellFormat::from_name(&self.form).ok_or_else(|| {
            let names = CellFormat::ALL.map(|(name, _)| name).join(", ");
            PyValueError::new_err(format!("no form {:?}: choose {names}", self.form))
        })?;
        let ColumnAttributes { title, unit, width, summed, .. } = self;
        let side = if self.right { Side::Right } else { Side::Left };
        let metric = metric(&self.source)?;
        Ok(TextColumn { title, unit, width, side, metric, format, summed })
    }
}

/// A Python object that has rows.
#[derive(FromPyObject)]
enum RowsArgument<'py> {
    Interval(PyRef<'py, PyInterval>),
    Groups(PyRef<'py, PyGroups>),
}

impl RowsArgument<'_> {
    fn interval(&self) -> &Interval {
        match self {
            RowsArgument::Interval(rows) => &rows.inner,
            RowsArgument::Groups(rows) => rows.inner.interval(),
        }
    }

    fn table(&self) -> &dyn TaskTable {
        match self {
            RowsArgument::Interval(rows) => &*rows.inner,
            RowsArgument::Groups(rows) => &*rows.inner,
        }
    }
}

/// The table of tasks as text, for one interval after another.
///
/// Each of `columns` has a `title` and `unit`, a `width` in terminal cells, `right` for right
/// alignment, a `source` (a column of `Interval.select`), a `form` of its values (percent,
/// integer, kibibytes, rate, bytes_rate, elapsed_us, elapsed_ns, state, name, user, raw), and
/// `summed`. `sort`, `descending`, `text`, `pids` and `limit` are as of `Interval.select`; `top`
/// rows are scrolled off above. `fold` is the word that rows are grouped by. Row `selected` is in
/// reverse; `selecting` and `paused` show in the status line. `prompt` replaces the last line,
/// else `notice` where it is not empty. `user` returns the name of a user id; it is called once
/// for each, and again where it returned None, which shows the id. `offset_s` returns the seconds
/// that local time is ahead of UTC at a time in seconds since 1970; it is called every quarter of
/// an hour.
///
/// Raises ValueError for an unknown column or form.
#[pyclass(name = "Screen", module = "taskstats.screen")]
pub(crate) struct PyScreen {
    table: TextTable,
    settings: ViewSettings,
    user: Py<PyAny>,
    offset_s: Py<PyAny>,
    users: HashMap<u32, String>,
    /// The quarter of an hour of the last screen, and the offset of local time in it.
    quarter: Option<(u64, i64)>,
}

#[pymethods]
impl PyScreen {
    #[new]
    #[pyo3(signature = (
        columns, *, user, offset_s, sort, descending=true, text=None, pids=None, limit=None, top=0,
        fold="", selected=None, selecting=false, paused=false, prompt=None, notice=""
    ))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python class")]
    fn new(
        columns: Vec<ColumnAttributes>,
        user: Py<PyAny>,
        offset_s: Py<PyAny>,
        sort: &str,
        descending: bool,
        text: Option<NamePart>,
        pids: Option<&Bound<'_, PyAny>>,
        limit: Option<usize>,
        top: usize,
        fold: &str,
        selected: Option<usize>,
        selecting: bool,
        paused: bool,
        prompt: Option<Bound<'_, PyString>>,
        notice: &str,
    ) -> PyResult<PyScreen> {
        let columns = columns.into_iter().map(ColumnAttributes::column).collect::<PyResult<_>>()?;
        let settings = ViewSettings {
            sort: metric(sort)?,
            descending,
            filter: filter(text, pids)?,
            limit,
            top,
            group_by: fold.into(),
            selected,
            selecting,
            paused,
            prompt: prompt.as_ref().map(safe).transpose()?,
            notice: notice.into(),
        };
        let table = TextTable::new(columns);
        Ok(PyScreen { table, settings, user, offset_s, users: HashMap::new(), quarter: None })
    }

    /// Return the whole screen of `size` (columns, lines) for an interval or its groups.
    ///
    /// `resting` is a source whose last snapshot holds only tasks that ran; its other tasks are
    /// then among the rows. Raises what `user` and `offset_s` raise, and TypeError where they
    /// return another type.
    fn lines(
        &mut self,
        py: Python<'_>,
        rows: RowsArgument<'_>,
        resting: Option<&PySource>,
        size: (u16, u16),
    ) -> PyResult<PyLines> {
        let size = cells(size);
        let offset_s = self.offset_s(py, rows.interval())?;
        let unchanged = resting.map(|source| source.unchanged(py)).transpose()?.flatten();
        let (interval, table) = (rows.interval(), &self.table);
        let rows = ViewRows { table: rows.table(), unchanged: unchanged.as_ref() };
        let lines = with_user_names(py, &mut self.users, &self.user, |users| {
            draw(interval, rows, table, &self.settings, users, size, offset_s)
        });
        Ok(PyLines(lines?))
    }

    /// Return titles, units, the selected rows and the sums of all rows, one string a line.
    ///
    /// Raises what `user` raises, and TypeError where it returns another type.
    fn table(&mut self, py: Python<'_>, rows: RowsArgument<'_>) -> PyResult<Vec<String>> {
        let (table, settings) = (&self.table, &self.settings);
        with_user_names(py, &mut self.users, &self.user, |users| {
            table.lines(rows.interval(), rows.table(), settings, users)
        })
    }
}

impl PyScreen {
    fn offset_s(&mut self, py: Python<'_>, interval: &Interval) -> PyResult<i64> {
        let seconds = interval.cur().header().begin.realtime_ns / 1_000_000_000;
        let quarter = seconds / QUARTER_S;
        match self.quarter {
            Some((known, offset_s)) if known == quarter => Ok(offset_s),
            _ => {
                let offset_s = self.offset_s.call1(py, (quarter * QUARTER_S,))?.extract(py)?;
                self.quarter = Some((quarter, offset_s));
                Ok(offset_s)
            }
        }
    }
}

/// The result of `make` with the names of users, or their numbers where Python does not know
/// the name yet. It is repeated after unknown names were requested from Python: an exception
/// cannot pass through the drawing code.
fn with_user_names<T>(
    py: Python<'_>,
    known: &mut HashMap<u32, String>,
    user: &Py<PyAny>,
    make: impl Fn(UserNames<'_>) -> T,
) -> PyResult<T> {
    let mut unnamed = HashSet::new();
    loop {
        let unknown = RefCell::new(BTreeSet::new());
        let made = make(&|uid, text| match known.get(&uid) {
            Some(name) => text.push_str(name),
            None if unnamed.contains(&uid) => text::push_integer(text, uid.into()),
            None => {
                unknown.borrow_mut().insert(uid);
            }
        });
        let unknown = unknown.into_inner();
        if unknown.is_empty() {
            return Ok(made);
        }
        for uid in unknown {
            let name: Option<Bound<'_, PyString>> = user.bind(py).call1((uid,))?.extract()?;
            if let Some(name) = name {
                known.insert(uid, safe(&name)?);
            } else {
                unnamed.insert(uid);
            }
        }
    }
}

/// Columns and lines of a terminal, which are 16-bit numbers (ioctl_tty(2)).
fn cells((columns, lines): (u16, u16)) -> (usize, usize) {
    (columns.into(), lines.into())
}

fn style(name: &str) -> PyResult<Style> {
    Style::from_name(name)
        .ok_or_else(|| PyValueError::new_err(format!("no style {name:?}: plain, bold or reverse")))
}

/// The lines of a screen.
///
/// `Screen.lines` returns it. `Lines(texts, size)` makes it of other text: each line is cut or
/// padded to the width of `size` (columns, lines). Raises ValueError for an unknown style.
#[pyclass(frozen, name = "Lines", module = "taskstats.screen")]
pub(crate) struct PyLines(ScreenLines);

#[pymethods]
impl PyLines {
    #[new]
    fn new(texts: Vec<(String, String)>, size: (u16, u16)) -> PyResult<PyLines> {
        let styled = texts.iter().map(|(text, name)| Ok((&**text, style(name)?)));
        let texts = styled.collect::<PyResult<Vec<_>>>()?;
        Ok(PyLines(ScreenLines::of_texts(texts, cells(size))))
    }

    /// Each line from the top, as text and style: "plain", "bold" or "reverse".
    #[getter]
    fn texts(&self) -> Vec<(&str, &'static str)> {
        self.0.lines.iter().map(|line| (&*line.text, line.style.name())).collect()
    }

    /// Number of task rows that fit; 0 for lines made of text.
    #[getter]
    fn room(&self) -> usize {
        self.0.room
    }

    /// Number of task rows, shown or scrolled off; 0 for lines made of text.
    #[getter]
    fn rows(&self) -> usize {
        self.0.rows
    }
}

/// What a terminal shows, so that only lines that change are written.
///
/// `clear`, `bold`, `reverse` and `normal` are the terminal's escape sequences. `lines` are those
/// that move the cursor to the begin of each line.
#[pyclass(name = "Canvas", module = "taskstats.screen")]
pub(crate) struct PyCanvas(Canvas);

#[pymethods]
impl PyCanvas {
    #[new]
    #[pyo3(signature = (*, clear, lines, bold="", reverse="", normal=""))]
    fn new(clear: &str, lines: Vec<String>, bold: &str, reverse: &str, normal: &str) -> PyCanvas {
        PyCanvas(Canvas::new(ControlSequences {
            clear: clear.into(),
            lines,
            bold: bold.into(),
            reverse: reverse.into(),
            normal: normal.into(),
        }))
    }

    /// Return what to write to the terminal so that it shows these lines.
    fn draw(&mut self, lines: &PyLines) -> &str {
        self.0.draw(&lines.0)
    }
}

/// Return `text` with everything visible that could control a terminal.
///
/// Control characters become their pictures (U+2400 and so on), other invisible characters and
/// those that change direction become U+FFFD.
#[pyfunction]
pub(crate) fn safe(text: &Bound<'_, PyString>) -> PyResult<String> {
    if let Ok(text) = text.to_cow() {
        return Ok(text::safe(&text).into_owned());
    }
    // Python has lone surrogates for bytes of file names that are not UTF-8.
    let units = text.call_method1("encode", ("utf-32-le", "surrogatepass"))?;
    let units: Vec<u8> = units.extract()?;
    let (units, _) = units.as_chunks::<4>();
    let characters = units.iter().map(|&unit| char::from_u32(u32::from_le_bytes(unit)));
    let text: String = characters.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Ok(text::safe(&text).into_owned())
}

fn shown(value: Option<f64>, push: fn(&mut String, f64)) -> String {
    let mut line = String::new();
    match value {
        Some(value) => push(&mut line, value),
        None => line.push_str(text::UNKNOWN),
    }
    line
}

/// Return a share as text, in per cent; "-" for None.
#[pyfunction]
pub(crate) fn percent(value: Option<f64>) -> String {
    shown(value, text::push_percent)
}

/// Return bytes, or bytes a second, with a binary unit; "-" for None.
#[pyfunction]
pub(crate) fn bytes_rate(value: Option<f64>) -> String {
    shown(value, text::push_bytes_rate)
}

/// Return what the later snapshot of an interval lacks, in words; empty for nothing.
#[pyfunction]
#[pyo3(name = "missing")]
pub(crate) fn missing_of(interval: &PyInterval) -> String {
    missing(&interval.inner)
}
