//! `taskstats.screen`: intervals as lines of text.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use precise_top_core::names::quoted;
use precise_top_core::{Cell, Filter, Interval, Record, TaskTable};
use precise_top_screen::text::{self, Side};
use precise_top_screen::{
    Canvas, CellFormat, ControlSequences, Names, Remembered, RowKey, ScreenLines, Style,
    TextColumn, TextTable, ViewRows, ViewSettings, draw, find, missing,
};
use precise_top_sources::CommandLines;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::convert::{NamePart, PyCell, filter, metric};
use crate::interval::{PyGroups, PyInterval};
use crate::source::PySource;

/// The column that no record has.
const CMDLINE: &str = "cmdline";

/// Local time changes its offset from UTC at multiples of this time only.
const QUARTER_S: u64 = 900;

/// A column, as the attributes of a Python object.
#[derive(FromPyObject)]
struct ColumnAttributes {
    title: String,
    unit: String,
    heading: String,
    width: usize,
    right: bool,
    source: String,
    form: String,
    summed: bool,
    rank: u32,
    limits: Option<(f64, f64)>,
}

impl ColumnAttributes {
    fn column(self) -> PyResult<TextColumn> {
        let format = CellFormat::from_name(&self.form).ok_or_else(|| {
            let names = CellFormat::ALL.map(|(name, _)| name).join(", ");
            PyValueError::new_err(format!("no form {:?}: choose {names}", self.form))
        })?;
        let ColumnAttributes { title, unit, heading, width, summed, rank, limits, .. } = self;
        let heading = if heading.is_empty() { title.clone() } else { heading };
        let side = if self.right { Side::Right } else { Side::Left };
        let metric = metric(&self.source)?;
        Ok(TextColumn { title, unit, heading, width, side, metric, format, summed, rank, limits })
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

/// What a screen shows, as keyword arguments.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct SettingsArguments {
    sort: String,
    #[pyo3(default = true)]
    descending: bool,
    #[pyo3(default)]
    text: Option<NamePart>,
    #[pyo3(default)]
    pids: Option<Py<PyAny>>,
    #[pyo3(default)]
    user_id: Option<u32>,
    #[pyo3(default)]
    user_name: String,
    #[pyo3(default)]
    no_kernel_threads: bool,
    #[pyo3(default)]
    limit: Option<usize>,
    #[pyo3(default)]
    top: usize,
    #[pyo3(default)]
    fold: String,
    #[pyo3(default)]
    selected: Option<usize>,
    #[pyo3(default)]
    selected_key: Option<PyRowKey>,
    #[pyo3(default)]
    follow: bool,
    #[pyo3(default)]
    tagged: Vec<PyRowKey>,
    #[pyo3(default)]
    scroll: usize,
    #[pyo3(default)]
    paused: bool,
    #[pyo3(default)]
    ascii: bool,
    #[pyo3(default)]
    key_bar: Vec<(String, String)>,
    #[pyo3(default)]
    prompt: Option<SafeText>,
    #[pyo3(default)]
    notice: String,
}

/// The names of the keyword arguments.
const SETTINGS: [&str; 20] = [
    "sort",
    "descending",
    "text",
    "pids",
    "user_id",
    "user_name",
    "no_kernel_threads",
    "limit",
    "top",
    "fold",
    "selected",
    "selected_key",
    "follow",
    "tagged",
    "scroll",
    "paused",
    "ascii",
    "key_bar",
    "prompt",
    "notice",
];

/// Text that may hold lone surrogates, without them.
struct SafeText(String);

impl<'py> FromPyObject<'_, 'py> for SafeText {
    type Error = PyErr;

    fn extract(text: Borrowed<'_, 'py, PyAny>) -> PyResult<SafeText> {
        Ok(SafeText(safe(&text.cast::<PyString>()?.to_owned())?))
    }
}

/// The settings of a view from keyword arguments. TypeError for an unknown one, and where
/// `sort` is missing.
fn settings(arguments: Option<&Bound<'_, PyDict>>) -> PyResult<ViewSettings> {
    let arguments =
        arguments.ok_or_else(|| PyTypeError::new_err("the keyword argument sort is missing"))?;
    for name in arguments.keys() {
        let name: String = name.extract()?;
        if !SETTINGS.contains(&&*name) {
            let known = SETTINGS.join(", ");
            return Err(PyTypeError::new_err(format!("no argument {name:?}: choose {known}")));
        }
    }
    if !arguments.contains("sort")? {
        return Err(PyTypeError::new_err("the keyword argument sort is missing"));
    }
    let given: SettingsArguments = arguments.extract()?;
    let pids = given.pids.as_ref().map(|pids| pids.bind(arguments.py()));
    Ok(ViewSettings {
        sort: metric(&given.sort)?,
        descending: given.descending,
        filter: Filter {
            user: given.user_id,
            no_kernel_threads: given.no_kernel_threads,
            ..filter(given.text, pids)?
        },
        user: given.user_name,
        limit: given.limit,
        top: given.top,
        group_by: given.fold,
        selected_key: given.selected_key.map(|key| key.0),
        selected: given.selected,
        follow: given.follow,
        tagged: given.tagged.into_iter().map(|key| key.0).collect(),
        scroll: given.scroll,
        paused: given.paused,
        ascii: given.ascii,
        replay: String::new(),
        lacks: String::new(),
        key_bar: given.key_bar,
        prompt: given.prompt.map(|text| text.0),
        notice: given.notice,
    })
}

/// The identity of a row: a task, or the title of a group.
///
/// `Lines.key` returns it, and `Screen` takes it as `selected_key`. Keys of one task are equal.
#[pyclass(frozen, eq, hash, from_py_object, name = "RowKey", module = "taskstats.screen")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PyRowKey(RowKey);

#[pymethods]
impl PyRowKey {
    /// The task's id, that of a thread where rows are threads; None for a titled group.
    #[getter]
    fn pid(&self) -> Option<u32> {
        match &self.0 {
            RowKey::Task(task) => Some(task.pid),
            RowKey::Title(_) => None,
        }
    }

    /// The title of a group; None for a task.
    #[getter]
    fn title(&self) -> Option<String> {
        match &self.0 {
            RowKey::Task(_) => None,
            RowKey::Title(title) => Some(text::safe(&String::from_utf8_lossy(title)).into_owned()),
        }
    }

    fn __repr__(&self) -> String {
        match &self.0 {
            RowKey::Task(task) => format!("<taskstats.screen.RowKey: pid {}>", task.pid),
            RowKey::Title(_) => {
                format!("<taskstats.screen.RowKey: {:?}>", self.title().unwrap_or_default())
            }
        }
    }
}

/// The table of tasks as text, for one interval after another.
///
/// Each of `columns` has a `title`, a `unit` and a `heading` of the live view, a `width` in
/// terminal cells, `right` for right alignment, a `source` (a column of `Interval.select`), a
/// `form` of its values (percent, integer, kibibytes, rate, bytes_rate, elapsed_us, elapsed_ns,
/// state, name, user, command, raw), and `summed`. On a narrow screen columns of the highest
/// `rank` go first. `limits` are None or the values from which the column warns and alarms.
/// `user` returns the name of a user id; it is called once for each, and again where it returned
/// None, which shows the id. `offset_s` returns the seconds that local time is ahead of UTC at a
/// time in seconds since 1970; it is called every quarter of an hour.
///
/// The other arguments choose what is shown; `configure` changes them. `sort`, `descending`,
/// `text`, `pids` and `limit` are as of `Interval.select`; `top` rows are scrolled off above. `user_id` keeps
/// the tasks of a user, whose name is `user_name`; `no_kernel_threads` leaves out pid 2 and its
/// children.
/// `fold` is the word that rows are grouped by. The row of `selected_key` is in reverse, wherever
/// it stands, else the row number `selected`; with `follow` the list scrolls to it. The line of a
/// selected task that is gone stays where it was. `tagged` rows have a mark. `scroll` cells of the
/// command lines are skipped. `paused` shows at the top. `key_bar` are keys and their words
/// for the last line, which `prompt` replaces, else `notice` where it is not empty. With `ascii`
/// all text is ASCII.
///
/// Raises ValueError for an unknown column or form, and TypeError for an unknown argument.
#[pyclass(name = "Screen", module = "taskstats.screen")]
pub(crate) struct PyScreen {
    table: TextTable,
    settings: ViewSettings,
    user: Py<PyAny>,
    offset_s: Py<PyAny>,
    users: Users,
    commands: CommandLines,
    selected: Option<Remembered>,
    /// The quarter of an hour of the last screen, and the offset of local time in it.
    quarter: Option<(u64, i64)>,
}

fn table(columns: Vec<ColumnAttributes>) -> PyResult<TextTable> {
    let columns = columns.into_iter().map(ColumnAttributes::column).collect::<PyResult<_>>()?;
    Ok(TextTable::new(columns))
}

#[pymethods]
impl PyScreen {
    #[new]
    #[pyo3(signature = (columns, *, user, offset_s, **chosen))]
    fn new(
        columns: Vec<ColumnAttributes>,
        user: Py<PyAny>,
        offset_s: Py<PyAny>,
        chosen: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyScreen> {
        Ok(PyScreen {
            table: table(columns)?,
            settings: settings(chosen)?,
            user,
            offset_s,
            users: Users::default(),
            commands: CommandLines::default(),
            selected: None,
            quarter: None,
        })
    }

    /// Change what is shown: columns, and all settings. Those left out get their default.
    ///
    /// The screen keeps names, command lines and the line of a selected task. Errors as of the
    /// constructor.
    #[pyo3(signature = (columns, **chosen))]
    fn configure(
        &mut self,
        columns: Vec<ColumnAttributes>,
        chosen: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        (self.table, self.settings) = (table(columns)?, settings(chosen)?);
        Ok(())
    }

    /// Return the whole screen of `size` (columns, lines) for an interval or its groups.
    ///
    /// `resting` is a source whose last snapshot holds only tasks that ran; its other tasks are
    /// then among the rows. `lacks` is why CPU time may be missing, in words, and `replay` the date
    /// and position of a recorded frame. Raises what `user` and `offset_s` raise, and TypeError
    /// where they return another type.
    #[pyo3(signature = (rows, resting, size, *, lacks="", replay=""))]
    fn lines(
        &mut self,
        py: Python<'_>,
        rows: RowsArgument<'_>,
        resting: Option<&PySource>,
        size: (u16, u16),
        lacks: &str,
        replay: &str,
    ) -> PyResult<PyLines> {
        let size = cells(size);
        lacks.clone_into(&mut self.settings.lacks);
        replay.clone_into(&mut self.settings.replay);
        let offset_s = self.offset_s(py, rows.interval())?;
        let unchanged = resting.map(|source| source.unchanged(py)).transpose()?.flatten();
        let (interval, table) = (rows.interval(), &self.table);
        let rows = ViewRows { table: rows.table(), unchanged: unchanged.as_ref() };
        self.commands.begin(interval.cur());
        let selected = &self.selected;
        let drawn = with_names(py, &mut self.users, &mut self.commands, &self.user, |names| {
            let mut selected = selected.clone();
            let lines =
                draw(interval, rows, table, &self.settings, names, size, offset_s, &mut selected);
            (lines, selected)
        });
        let (lines, selected) = drawn?;
        self.selected = selected;
        Ok(PyLines(lines))
    }

    /// Return the number of the next row, from row `start` on, whose title contains `text` or whose
    /// pid it is; `backwards` goes up. The list goes on at its other end. None if there is none.
    #[pyo3(signature = (rows, resting, text, start, *, backwards=false))]
    fn find(
        &self,
        py: Python<'_>,
        rows: RowsArgument<'_>,
        resting: Option<&PySource>,
        text: NamePart,
        start: usize,
        backwards: bool,
    ) -> PyResult<Option<usize>> {
        let unchanged = resting.map(|source| source.unchanged(py)).transpose()?.flatten();
        let rows = ViewRows { table: rows.table(), unchanged: unchanged.as_ref() };
        Ok(find(rows, &self.settings, &filter(Some(text), None)?, start, backwards))
    }

    /// Return titles, units, the selected rows and the sums of all rows, one string a line.
    ///
    /// Raises what `user` raises, and TypeError where it returns another type.
    fn table(&mut self, py: Python<'_>, rows: RowsArgument<'_>) -> PyResult<Vec<String>> {
        let (table, settings) = (&self.table, &self.settings);
        self.commands.begin(rows.interval().cur());
        with_names(py, &mut self.users, &mut self.commands, &self.user, |names| {
            table.lines(rows.interval(), rows.table(), settings, names)
        })
    }

    /// Return the selected rows as tuples of `columns`, as `Interval.select` does.
    ///
    /// One more column is `cmdline`, the command line quoted for a shell: empty for a kernel
    /// thread, None where it is unknown and for a group that has a title. Raises ValueError for an
    /// unknown column.
    fn values<'py>(
        &mut self,
        py: Python<'py>,
        rows: RowsArgument<'py>,
        columns: Vec<String>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let metrics = columns.iter().map(|name| match &**name {
            CMDLINE => Ok(None),
            name => metric(name).map(Some),
        });
        let metrics = metrics.collect::<PyResult<Vec<_>>>()?;
        let table = rows.table();
        self.commands.begin(rows.interval().cur());
        let chosen = table.select(&self.settings.query()).into_iter();
        chosen
            .map(|row| {
                let row = row as usize;
                let cells = metrics.iter().map(|metric| match metric {
                    Some(metric) => PyCell(table.cell(row, *metric)).into_pyobject(py),
                    None => {
                        let record = table.record(row).filter(|_| !table.is_named());
                        let found = record.and_then(|record| self.commands.of(&record, true));
                        let text = found.as_deref().map(quoted);
                        PyCell(text.as_deref().map(Cell::Text)).into_pyobject(py)
                    }
                });
                PyTuple::new(py, cells.collect::<PyResult<Vec<_>>>()?)
            })
            .collect()
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

/// The names of users that Python knows.
#[derive(Default)]
struct Users {
    names: HashMap<u32, String>,
    /// Users without a name that the last screen showed: there may be one by now.
    unnamed: BTreeSet<u32>,
}

impl Users {
    /// Asks Python for the names of these users.
    fn ask(
        &mut self,
        py: Python<'_>,
        user: &Py<PyAny>,
        uids: impl IntoIterator<Item = u32>,
    ) -> PyResult<()> {
        for uid in uids {
            let name: Option<Bound<'_, PyString>> = user.bind(py).call1((uid,))?.extract()?;
            if let Some(name) = name {
                self.names.insert(uid, safe(&name)?);
            } else {
                self.unnamed.insert(uid);
            }
        }
        Ok(())
    }
}

/// The names that Python and /proc know, for one drawing.
struct KnownNames<'a> {
    users: &'a Users,
    /// Users that are shown without a name, and those that Python has not been asked for.
    unnamed: RefCell<BTreeSet<u32>>,
    unknown: RefCell<BTreeSet<u32>>,
    commands: RefCell<&'a mut CommandLines>,
}

impl Names for KnownNames<'_> {
    fn user(&self, uid: u32, text: &mut String) {
        if let Some(name) = self.users.names.get(&uid) {
            text.push_str(name);
        } else if self.users.unnamed.contains(&uid) {
            self.unnamed.borrow_mut().insert(uid);
            text::push_integer(text, uid.into());
        } else {
            self.unknown.borrow_mut().insert(uid);
        }
    }

    fn arguments(&self, record: &Record<'_>, ran: bool) -> Option<Arc<[u8]>> {
        self.commands.borrow_mut().of(record, ran)
    }
}

/// The result of `make` with the names of users, or their numbers where Python does not know
/// the name yet. It is repeated after unknown names were requested from Python: an exception
/// cannot pass through the drawing code.
fn with_names<T>(
    py: Python<'_>,
    users: &mut Users,
    commands: &mut CommandLines,
    user: &Py<PyAny>,
    make: impl Fn(&dyn Names) -> T,
) -> PyResult<T> {
    let unnamed = std::mem::take(&mut users.unnamed);
    users.ask(py, user, unnamed)?;
    loop {
        let names = KnownNames {
            users,
            unnamed: RefCell::default(),
            unknown: RefCell::default(),
            commands: RefCell::new(&mut *commands),
        };
        let made = make(&names);
        let (unnamed, unknown) = (names.unnamed.into_inner(), names.unknown.into_inner());
        if unknown.is_empty() {
            users.unnamed = unnamed;
            return Ok(made);
        }
        users.ask(py, user, unknown)?;
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

    /// Each line from the top, as text and the style of what is in no part of its own.
    #[getter]
    fn texts(&self) -> Vec<(&str, &'static str)> {
        self.0.lines.iter().map(|line| (&*line.text, line.style.name())).collect()
    }

    /// Each line from the top, as parts of text with their styles.
    #[getter]
    fn parts(&self) -> Vec<Vec<(&str, &'static str)>> {
        self.0
            .lines
            .iter()
            .map(|line| line.parts().map(|(text, style)| (text, style.name())).collect())
            .collect()
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

    /// Number of rows that are scrolled off above.
    #[getter]
    fn top(&self) -> usize {
        self.0.top
    }

    /// Where the selected row is on the list; None where nothing is selected or the filter
    /// leaves it out. That of a task that is gone is that of the row which took its place.
    #[getter]
    fn selected_row(&self) -> Option<usize> {
        self.0.selected
    }

    /// The key of the selected row; it may be scrolled off or gone. None for none.
    #[getter]
    fn selected_key(&self) -> Option<PyRowKey> {
        self.0.selected_key.clone().map(PyRowKey)
    }

    /// Whether the selected task has died or its group has gone.
    #[getter]
    fn died(&self) -> bool {
        self.0.died
    }

    /// Return the key of a row of the list; None for a row that is not on the screen.
    fn key(&self, row: usize) -> Option<PyRowKey> {
        self.0.keys.get(row.checked_sub(self.0.top)?)?.clone().map(PyRowKey)
    }
}

/// What a terminal shows, so that only lines that change are written.
///
/// `clear` clears the terminal, and `lines` move the cursor to the begin of each line. `styles`
/// are the escape sequences that begin text of a style, by its name, and `normal` ends it; a style
/// without one is normal text. Raises ValueError for an unknown style.
#[pyclass(name = "Canvas", module = "taskstats.screen")]
pub(crate) struct PyCanvas(Canvas);

#[pymethods]
impl PyCanvas {
    #[new]
    #[pyo3(signature = (*, clear, lines, styles=HashMap::new(), normal=""))]
    fn new(
        clear: &str,
        lines: Vec<String>,
        styles: HashMap<String, String>,
        normal: &str,
    ) -> PyResult<PyCanvas> {
        let mut sequences = vec![String::new(); Style::ALL.len()];
        for (name, sequence) in styles {
            sequences[style(&name)? as usize] = sequence;
        }
        Ok(PyCanvas(Canvas::new(ControlSequences {
            clear: clear.into(),
            lines,
            styles: sequences,
            normal: normal.into(),
        })))
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

/// Return the number of terminal cells that `safe(text)` takes.
#[pyfunction]
pub(crate) fn width(text: &Bound<'_, PyString>) -> PyResult<usize> {
    Ok(text::width(&safe(text)?))
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
