//! `taskstats.screen`: intervals as lines of text.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use precise_top_core::interval::Unchanged;
use precise_top_core::names::quoted;
use precise_top_core::{
    Arranged, Cell, CgroupName, Condition, Conditions, Field, Filter, FilterMemory, GroupKey,
    Interval, Metric, ParseError, Query, Record, TaskTable, TaskTree, parse_condition,
};
use precise_top_screen::{
    Canvas, ControlSequences, LaidOut, Made, Remembered, ScreenLines, Style, TextTable, TreeOf,
    ViewRows, ViewSettings, draw, find, left_out, missing, plain_lines, tree,
};
use precise_top_sources::{CommandLines, FilterTexts, ShownCgroups};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::convert::{NamePart, PyCell, filter, metric};
use crate::errors::parse_error;
use crate::filling::Sampled;
use crate::interval::{PyGroups, PyInterval, completed};
use crate::kept::{PyKept, Resting};
use crate::known_names::{Users, with_names};
use crate::row_key::PyRowKey;
use crate::screen_arguments::{ColumnAttributes, settings, table};
use crate::snapshot::PySnapshot;

/// A column of `PyScreen::values`.
enum ValueColumn {
    Metric(Metric),
    Cmdline,
    /// The path of the cgroup, or a name in it.
    Cgroup(Option<CgroupName>),
    /// Level of the row in a tree, and the place of its parent among the rows.
    Depth,
    Parent,
}

impl ValueColumn {
    fn from_name(name: &str) -> PyResult<ValueColumn> {
        match name {
            "cmdline" => Ok(ValueColumn::Cmdline),
            "cgroup" => Ok(ValueColumn::Cgroup(None)),
            "depth" => Ok(ValueColumn::Depth),
            "parent" => Ok(ValueColumn::Parent),
            _ => match CgroupName::from_name(name) {
                Some(name) => Ok(ValueColumn::Cgroup(Some(name))),
                None => metric(name).map(ValueColumn::Metric),
            },
        }
    }

    /// Appends the value in a row to a tuple.
    fn value<'py>(
        &self,
        py: Python<'py>,
        table: &dyn TaskTable,
        row: usize,
        commands: &mut CommandLines,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self {
            ValueColumn::Metric(metric) => PyCell(table.cell(row, *metric)).into_pyobject(py),
            ValueColumn::Cmdline => {
                let record = table.record(row).filter(|_| table.group_name(row).is_none());
                let found = record.and_then(|record| commands.of(&record, true));
                let text = found.as_deref().map(quoted);
                PyCell(text.as_deref().map(Cell::Text)).into_pyobject(py)
            }
            ValueColumn::Depth | ValueColumn::Parent => PyCell(None).into_pyobject(py),
            ValueColumn::Cgroup(name) => {
                // A group has the cgroup that all its tasks share.
                let shared = table.cell(row, Metric::Field(Field::cgroup_id));
                let record = table.record(row).filter(|_| shared.is_some());
                let path = record.and_then(|record| commands.cgroup(&record));
                let text = path.as_deref().map(|path| match name {
                    Some(name) => name.of(path),
                    None => path.into(),
                });
                PyCell(text.as_deref().map(Cell::Text)).into_pyobject(py)
            }
        }
    }
}

/// Local time changes its offset from UTC at multiples of this time only.
const QUARTER_S: u64 = 900;

/// A Python object that has rows.
#[derive(FromPyObject)]
pub(crate) enum RowsArgument<'py> {
    Interval(PyRef<'py, PyInterval>),
    Groups(PyRef<'py, PyGroups>),
}

/// What is said of an interval: see `PyScreen::lines`.
#[derive(Default)]
pub(crate) struct About<'a> {
    pub(crate) lacks: &'a str,
    pub(crate) replay: &'a str,
    pub(crate) age_s: Option<f64>,
    pub(crate) exact_s: Option<f64>,
    /// Returns the intervals before one that does not follow the last one.
    pub(crate) before: Option<Bound<'a, PyAny>>,
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
/// Each of `columns` has a `title`, a `unit` and a `heading` of the live view, a `width` in
/// terminal cells, `right` for right alignment, a `source` (a column of `Interval.select`), a
/// `form` of its values (percent, integer, kibibytes, rate, bytes_rate, elapsed_us, elapsed_ns,
/// state, name, user, command, cgroup, container, pod, unit, raw), and `summed`. On a narrow screen columns of the highest
/// `rank` go first. `limits` are None or the values from which the column warns and alarms.
/// `user` returns the name of a user id; it is called once for each, and again where it returned
/// None, which shows the id. `offset_s` returns the seconds that local time is ahead of UTC at a
/// time in seconds since 1970; it is called every quarter of an hour.
///
/// The other arguments choose what is shown; `configure` changes them. `sort`, `descending`,
/// `text`, `pids` and `limit` are as of `Interval.select`; `top` rows are scrolled off above. `where` is a
/// condition on rows. `user_id` keeps the tasks of a user, whose name is `user_name`;
/// `no_kernel_threads` leaves out pid 2 and its children, and `no_dead` tasks that died.
/// With `tree` the rows of an interval are shown under what started them ("task") or as the tree of
/// their cgroups ("cgroup"), or the dead under their names ("dead"), each with the sums of all below it; from `level` on they are collapsed,
/// except for the `toggled` rows.
/// `fold` is the word that rows are grouped by. The row of `selected_key` is in reverse, wherever
/// it stands, else the row number `selected`; with `follow` the list scrolls to it. The line of a
/// selected task that is gone stays where it was. `tagged` rows have a mark. `scroll` cells of the
/// command lines are skipped. `paused` shows at the top, and the word `badge`. `key_bar` are keys and their words
/// for the last line, which `prompt` replaces, else `notice` where it is not empty. With `ascii`
/// all text is ASCII. `hidden` are meters that are left out (cpus, memory, swap, waits, pressure, disks, networks, sparks),
/// `disks` and `networks` the names of those that count, all without any. `tabs` are the names of
/// views for a line above the table, on screens of 20 lines and more, and `tab` is the number of the one that is shown.
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
    /// Made when a tree of cgroups is first shown.
    cgroups: OnceLock<ShownCgroups>,
    condition: Option<Arc<Condition>>,
    texts: Arc<FilterTexts>,
    /// The paths of a tree of cgroups.
    paths: FilterTexts,
    found: Arc<Mutex<FilterMemory>>,
    selected: Option<Remembered>,
    sampled: Sampled,
    /// Number of trees that were laid out.
    trees: AtomicUsize,
    /// The quarter of an hour of the last screen, and the offset of local time in it.
    quarter: Option<(u64, i64)>,
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
        let (settings, condition) = settings(chosen)?;
        Ok(PyScreen {
            table: table(columns)?,
            settings,
            condition,
            texts: Arc::default(),
            paths: FilterTexts::default(),
            found: Arc::default(),
            user,
            offset_s,
            users: Users::default(),
            commands: CommandLines::default(),
            cgroups: OnceLock::new(),
            selected: None,
            sampled: Sampled::default(),
            trees: AtomicUsize::new(0),
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
        self.table = table(columns)?;
        (self.settings, self.condition) = settings(chosen)?;
        Ok(())
    }

    /// Return the whole screen of `size` (columns, lines) for an interval or its groups.
    ///
    /// `resting` is a source whose last snapshot holds only tasks that ran, or a kept interval: its
    /// other tasks are
    /// then among the rows. `lacks` is why CPU time may be missing, in words, and `replay` the date
    /// and position of a recorded frame. `age_s` is the age of an interval before the newest,
    /// `exact_s` that of the oldest one that was kept without loss, in seconds. `before` is called where
    /// this interval is not that after the last one: it returns the intervals of the last minute before
    /// it, the oldest first, or None if there are none. These are read by the next screens of the same
    /// interval, a few ms each, as long as `searching` is true. Raises what `user`, `offset_s` and
    /// `before` raise, and TypeError where they return another type.
    #[pyo3(signature = (
        rows, resting, size, *, lacks="", replay="", age_s=None, exact_s=None, before=None
    ))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    fn lines(
        &mut self,
        py: Python<'_>,
        rows: RowsArgument<'_>,
        resting: Option<Resting<'_>>,
        size: (u16, u16),
        lacks: &str,
        replay: &str,
        age_s: Option<f64>,
        exact_s: Option<f64>,
        before: Option<Bound<'_, PyAny>>,
    ) -> PyResult<PyLines> {
        let about = About { lacks, replay, age_s, exact_s, before };
        self.drawn(py, &rows, resting.as_ref(), cells(size), about).map(PyLines)
    }

    /// Return the number of the next row, from row `start` on, that meets the condition `text` (see
    /// `RowFilter`) or contains it; `backwards` goes up. The list goes on at its other end. None if
    /// there is none.
    #[pyo3(signature = (rows, resting, text, start, *, backwards=false))]
    fn find(
        &mut self,
        py: Python<'_>,
        rows: RowsArgument<'_>,
        resting: Option<Resting<'_>>,
        text: NamePart,
        start: usize,
        backwards: bool,
    ) -> PyResult<Option<usize>> {
        let interval = rows.interval();
        // A tree has its rows from here: a new filter may not have been drawn yet.
        self.settings.filter.conditions =
            conditions(self.condition.clone(), &self.texts, interval, READING);
        let chosen = self.chosen(py, &rows, resting.as_ref())?;
        let wanted = match parse_condition(text.bytes(), &Metric::from_name) {
            Ok(condition) => {
                let condition = condition.map(Arc::new);
                let conditions = conditions(condition, &self.texts, interval, READING);
                Filter { conditions, ..Filter::default() }
            }
            // What is no condition is a part of a title.
            Err(_) => filter(Some(text), None)?,
        };
        Ok(find(chosen.rows(&rows), &self.settings, &wanted, start, backwards))
    }

    /// Number of trees that were laid out: one for each interval that was shown as a tree, however
    /// often it was drawn.
    #[getter]
    fn trees(&self) -> usize {
        self.trees.load(Ordering::Relaxed)
    }

    /// Return the numbers of the columns that a screen of `width` cells has no room for.
    ///
    /// A column that the source of `snapshot` cannot fill is none of them, as it needs no room.
    fn left_out(&self, snapshot: &PySnapshot, width: u16) -> Vec<usize> {
        left_out(&self.table, &self.settings, snapshot.inner.header(), width.into())
    }

    /// Return titles, units, the selected rows and the sums of all rows, one string a line.
    ///
    /// Raises what `user` raises, and TypeError where it returns another type.
    fn table(&mut self, py: Python<'_>, rows: RowsArgument<'_>) -> PyResult<Vec<String>> {
        self.settings.filter.conditions =
            conditions(self.condition.clone(), &self.texts, rows.interval(), None);
        let chosen = self.chosen(py, &rows, None)?;
        let (table, settings) = (&self.table, &self.settings);
        let (interval, rows) = (rows.interval(), chosen.rows(&rows));
        self.commands.begin(interval.cur());
        with_names(py, &mut self.users, &mut self.commands, &self.user, |names| {
            table.lines(interval, rows, settings, names)
        })
    }

    /// Return the selected rows as sentences, for those who listen to them: each value with the title
    /// of its column. What is unknown is left out.
    ///
    /// Raises what `user` raises, and TypeError where it returns another type.
    fn plain(&mut self, py: Python<'_>, rows: RowsArgument<'_>) -> PyResult<Vec<String>> {
        self.settings.filter.conditions =
            conditions(self.condition.clone(), &self.texts, rows.interval(), None);
        let chosen = self.chosen(py, &rows, None)?;
        let (table, settings) = (&self.table, &self.settings);
        let (interval, rows) = (rows.interval(), chosen.rows(&rows));
        self.commands.begin(interval.cur());
        with_names(py, &mut self.users, &mut self.commands, &self.user, |names| {
            plain_lines(table, rows, settings, names)
        })
    }

    /// Return the selected rows as tuples of `columns`, as `Interval.select` does.
    ///
    /// More columns are `cmdline`, the command line quoted for a shell: empty for a kernel
    /// thread, None where it is unknown and for a group that has a title; and `cgroup`, its path,
    /// and `container`, `pod` and `unit`, the names in it: empty where it has none, None where the
    /// path is unknown; and in a tree `depth` and `parent`, the number of the parent's row.
    /// `resting` is as of `lines`; no rows are scrolled off. Raises ValueError for
    /// an unknown column.
    #[pyo3(signature = (rows, columns, *, resting=None))]
    fn values<'py>(
        &mut self,
        py: Python<'py>,
        rows: RowsArgument<'py>,
        columns: Vec<String>,
        resting: Option<Resting<'_>>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let columns = columns.iter().map(|name| ValueColumn::from_name(name));
        let columns = columns.collect::<PyResult<Vec<_>>>()?;
        self.settings.filter.conditions =
            conditions(self.condition.clone(), &self.texts, rows.interval(), None);
        self.commands.begin(rows.interval().cur());
        let limit = self.settings.limit;
        let query = Query { offset: 0, limit, ..self.settings.query() };
        let shown_as = self.chosen(py, &rows, resting.as_ref())?;
        let chosen = shown_as.rows(&rows).chosen(&query);
        let parents = tree::parents(&chosen);
        let of_cgroups = self.settings.tree.as_ref().is_some_and(|tree| tree.of == TreeOf::Cgroups);
        let mut values = Vec::with_capacity(chosen.len());
        for (row, parent) in chosen.iter().zip(parents) {
            let commands = &mut self.commands;
            let cells = columns.iter().map(|column| match column {
                ValueColumn::Depth => {
                    PyCell(row.branch.map(|branch| Cell::Int(branch.depth as i128)))
                        .into_pyobject(py)
                }
                ValueColumn::Parent => {
                    PyCell(parent.map(|at| Cell::Int(at as i128))).into_pyobject(py)
                }
                ValueColumn::Cgroup(None) if of_cgroups => {
                    PyCell(row.table.group_name(row.row).map(Cell::Text)).into_pyobject(py)
                }
                _ => column.value(py, row.table, row.row, commands),
            });
            values.push(PyTuple::new(py, cells.collect::<PyResult<Vec<_>>>()?)?);
        }
        Ok(values)
    }
}

/// The tasks that did not run.
fn unchanged(py: Python<'_>, resting: Option<&Resting<'_>>) -> PyResult<Option<Unchanged>> {
    Ok(resting.map(|resting| resting.unchanged(py)).transpose()?.flatten())
}

/// What rows are shown as: a list or a tree, with the tasks that are not in the interval.
struct Chosen {
    tree: Option<(Arc<LaidOut>, Arc<Arranged>)>,
    unchanged: Option<Unchanged>,
}

impl Chosen {
    fn rows<'a>(&'a self, rows: &'a RowsArgument<'_>) -> ViewRows<'a> {
        let unchanged = self.unchanged.as_ref();
        match &self.tree {
            None => ViewRows { table: rows.table(), unchanged, tree: None, samples: None },
            Some((laid_out, order)) => {
                ViewRows { table: laid_out.tree(), unchanged, tree: Some(order), samples: None }
            }
        }
    }
}

impl PyScreen {
    /// The lines of `PyScreen::lines`.
    pub(crate) fn drawn(
        &mut self,
        py: Python<'_>,
        rows: &RowsArgument<'_>,
        resting: Option<&Resting<'_>>,
        size: (usize, usize),
        about: About<'_>,
    ) -> PyResult<ScreenLines> {
        about.lacks.clone_into(&mut self.settings.lacks);
        about.replay.clone_into(&mut self.settings.replay);
        (self.settings.age_s, self.settings.exact_s) = (about.age_s, about.exact_s);
        let offset_s = self.offset_s(py, rows.interval())?;
        self.settings.filter.conditions =
            conditions(self.condition.clone(), &self.texts, rows.interval(), READING)
                .map(|conditions| conditions.with_memory(Arc::clone(&self.found)));
        let chosen = self.chosen(py, rows, resting)?;
        let with_tasks = self.table.has_sparks();
        let (interval, table) = (rows.interval(), &self.table);
        self.sampled.observe(interval, with_tasks, about.before)?;
        let rows = ViewRows { samples: Some(&self.sampled.samples), ..chosen.rows(rows) };
        self.commands.begin(interval.cur());
        // Drawn again with more names, it becomes the same again.
        let selected = RefCell::new(self.selected.take());
        let drawn = with_names(py, &mut self.users, &mut self.commands, &self.user, |names| {
            let selected = &mut selected.borrow_mut();
            draw(interval, rows, table, &self.settings, names, size, offset_s, selected)
        });
        self.selected = selected.into_inner();
        let is_filling = self.sampled.is_filling();
        drawn.map(|drawn| ScreenLines { searching: drawn.searching || is_filling, ..drawn })
    }

    /// Whether the settings are those of the screen that follows these lines.
    pub(crate) fn is_for(&self, lines: &ScreenLines) -> bool {
        let ScreenLines { top, selected_key, searching, .. } = lines;
        !searching && (*top, selected_key) == (self.settings.top, &self.settings.selected_key)
    }

    fn chosen(
        &self,
        py: Python<'_>,
        rows: &RowsArgument<'_>,
        resting: Option<&Resting<'_>>,
    ) -> PyResult<Chosen> {
        let unchanged = unchanged(py, resting)?;
        let (Some(chosen), RowsArgument::Interval(rows)) = (&self.settings.tree, rows) else {
            return Ok(Chosen { tree: None, unchanged });
        };
        let kept = match resting {
            Some(Resting::Kept(kept)) => Some(kept.get()),
            Some(Resting::Source(_)) | None => None,
        };
        let made = Made {
            of: chosen.of,
            unchanged: unchanged.as_ref().map(Unchanged::serial),
            is_kept: kept.is_some(),
        };
        let (shown, interval) = (&rows.tree, &rows.inner);
        let tree = py.detach(|| {
            let lay_out = || self.laid_out(chosen.of, interval, unchanged.as_ref(), kept);
            let laid_out = shown.get(made, lay_out)?;
            let order = laid_out.arranged(&self.settings, chosen);
            Ok((laid_out, order))
        });
        let tree = tree.map_err(|error| parse_error(py, error))?;
        Ok(Chosen { tree: Some(tree), unchanged })
    }

    /// The tree of an interval and the tasks that did not run.
    fn laid_out(
        &self,
        of: TreeOf,
        interval: &Arc<Interval>,
        unchanged: Option<&Unchanged>,
        kept: Option<&PyKept>,
    ) -> Result<TaskTree, ParseError> {
        self.trees.fetch_add(1, Ordering::Relaxed);
        match of {
            TreeOf::Tasks => Ok(TaskTree::of_tasks(completed(interval, unchanged)?)),
            // The dead are in every interval: those that did not run need no rows.
            TreeOf::Dead => Ok(TaskTree::of_dead(Arc::clone(interval))),
            TreeOf::Cgroups => {
                let interval = completed(interval, unchanged)?;
                self.paths.begin(interval.cur(), None);
                let names = |key: GroupKey, record: &Record<'_>| match key {
                    GroupKey::Cgroup(id) => Some(self.paths.cgroup_path(id, record)?.to_vec()),
                    GroupKey::User(_) | GroupKey::Unknown => None,
                };
                // A kept interval has what was read in its time.
                let values = match kept.and_then(PyKept::cgroups) {
                    Some(kept) => Some(Arc::new(kept) as _),
                    None => self.cgroups.get_or_init(ShownCgroups::default).begin(&interval),
                };
                Ok(TaskTree::of_cgroups(interval, names).with_cgroups(values))
            }
        }
    }

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

/// How long a screen reads texts for its filter; what is missing comes in the next ones.
const READING: Option<Duration> = Some(Duration::from_millis(1));

/// The condition on the rows of an interval, and the texts for it.
fn conditions(
    condition: Option<Arc<Condition>>,
    texts: &Arc<FilterTexts>,
    interval: &Interval,
    budget: Option<Duration>,
) -> Option<Conditions> {
    let condition = condition?;
    texts.begin(interval.cur(), budget);
    Some(Conditions::new(condition, Arc::clone(texts) as _))
}

/// Columns and lines of a terminal, which are 16-bit numbers (ioctl_tty(2)).
pub(crate) fn cells((columns, lines): (u16, u16)) -> (usize, usize) {
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

impl PyLines {
    pub(crate) fn new(lines: ScreenLines) -> PyLines {
        PyLines(lines)
    }
}

#[pymethods]
impl PyLines {
    #[new]
    fn of_texts(texts: Vec<(String, String)>, size: (u16, u16)) -> PyResult<PyLines> {
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

    /// The line of the headings, counted from 0; the rows follow it.
    #[getter]
    fn headings_line(&self) -> usize {
        self.0.headings_line
    }

    /// Return the number of the tab at a cell of a line, counted from 0; None where there is none.
    fn tab(&self, line: usize, cell: usize) -> Option<usize> {
        self.0.tabs_line.filter(|&tabs| tabs == line)?;
        self.0.tab_ends.iter().position(|&end| cell < end)
    }

    /// Return the end, in ns since 1970, of the interval that a cell of a line stands for, where it
    /// shows what the CPUs used before; else None.
    fn moment_ns(&self, line: usize, cell: usize) -> Option<u64> {
        let sparks = self.0.sparks.as_ref().filter(|sparks| sparks.line == line)?;
        sparks.ends_ns.get(cell.checked_sub(sparks.first)?).copied()
    }

    /// Return the heading of the column at a cell of a line; None for lines made of text.
    fn heading(&self, cell: usize) -> Option<&str> {
        let found = self.0.headings.iter().find(|(end, _)| cell < *end)?;
        Some(&found.1)
    }

    /// Whether the filter has not read all texts that it goes by, or the sparklines not all
    /// intervals before: the next screen has more of them.
    #[getter]
    fn searching(&self) -> bool {
        self.0.searching
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

    /// Return these lines with `below` under them, for a screen of both heights. Rows, selection
    /// and the others are those of the upper part.
    fn above(&self, below: &PyLines) -> PyLines {
        let mut both = self.0.clone();
        both.lines.extend_from_slice(&below.0.lines);
        PyLines(both)
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
        self.text(&lines.0)
    }
}

impl PyCanvas {
    /// What to write to the terminal so that it shows these lines.
    pub(crate) fn text(&mut self, lines: &ScreenLines) -> &str {
        self.0.draw(lines)
    }
}

/// Return what the later snapshot of an interval lacks, in words; empty for nothing.
#[pyfunction]
#[pyo3(name = "missing")]
pub(crate) fn missing_of(interval: &PyInterval) -> String {
    missing(&interval.inner)
}
