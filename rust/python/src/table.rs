//! `taskstats.Row` and `taskstats.Table`: the rows of an interval or of its groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use precise_top_core::{
    Cell, CgroupName, Field, GroupKey, Groups, Interval, Kind, Metric, Query, TaskTable,
};
use precise_top_screen::text::safe;
use pyo3::exceptions::{PyAttributeError, PyIndexError, PyKeyError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyTuple};

use crate::columns::{self, PyColumns};
use crate::convert::{PyCell, lossy, metric, metrics};
use crate::html::html;
use crate::task::PyTask;

/// The rows of an interval, or of its groups.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) interval: Arc<Interval>,
    pub(crate) groups: Option<Arc<Groups>>,
}

impl Rows {
    fn table(&self) -> &dyn TaskTable {
        match &self.groups {
            Some(groups) => &**groups,
            None => &*self.interval,
        }
    }

    fn cell(&self, row: usize, metric: Metric) -> Option<Cell<'_>> {
        self.table().cell(row, metric)
    }

    /// The first `limit` rows in the order of a column, largest first.
    pub(crate) fn top(&self, limit: Option<usize>, by: &str) -> PyResult<PyTable> {
        let sort = order(by)?;
        let query = Query { sort: Some(sort), descending: true, limit, ..Query::default() };
        let rows = self.table().select(&query);
        Ok(PyTable { rows: self.clone(), chosen: rows, sort })
    }

    /// The rows of the processes that died in the interval, and whose parent was `pid`.
    pub(crate) fn dead_children(&self, pid: u32) -> PyTable {
        let is_child = |row: &u32| {
            let row = *row as usize;
            let record = self.interval.cur().get(row).filter(|_| self.interval.is_exited(row));
            record.is_some_and(|record| {
                record.ac_ppid() == Some(pid)
                    && record.ac_tgid().is_none_or(|tgid| record.ac_pid() == Some(tgid))
            })
        };
        let chosen = (0..self.interval.len() as u32).filter(is_child).collect();
        PyTable { rows: self.clone(), chosen, sort: Metric::TotalNs }
    }

    /// All rows as columns.
    pub(crate) fn columns(&self, py: Python<'_>, names: Option<&[String]>) -> PyResult<PyColumns> {
        let Some(groups) = &self.groups else {
            return columns::of_intervals(py, &[&self.interval], names);
        };
        let all: Vec<u32> = (0..groups.rows() as u32).collect();
        columns::of_table(py, &**groups, &all, &self.interval, names)
    }

    /// An iterator over all rows.
    pub(crate) fn iter(&self) -> PyRowIterator {
        let chosen = (0..self.table().rows() as u32).collect();
        PyRowIterator { rows: self.clone(), chosen, next: AtomicUsize::new(0) }
    }

    /// The row at an index.
    pub(crate) fn row(&self, row: usize) -> PyRow {
        PyRow { rows: self.clone(), row }
    }
}

/// The column that rows are sorted by: a counter by its increase in the interval.
fn order(by: &str) -> PyResult<Metric> {
    if let Some(field) = Field::from_name(by)
        && field.info().kind == Kind::Counter
    {
        return Ok(Metric::Delta(field));
    }
    let known = ["", "_ns", "_kb"].map(|unit| Metric::from_name(&format!("{by}{unit}")));
    known.into_iter().flatten().next().map_or_else(|| metric(by), Ok)
}

/// One row of an interval or of its groups.
///
/// Every column of `Interval.select` is an attribute and a key, `row.total_ns`,
/// `row["nvcsw_per_sec"]`, and so are `user`, `cgroup` and the names in it. None is unknown.
#[pyclass(frozen, name = "Row", module = "taskstats")]
pub(crate) struct PyRow {
    rows: Rows,
    row: usize,
}

impl PyRow {
    fn int<T: TryFrom<i128>>(&self, metric: Metric) -> Option<T> {
        match self.rows.cell(self.row, metric)? {
            Cell::Int(number) => T::try_from(number).ok(),
            Cell::Float(_) | Cell::Text(_) => None,
        }
    }

    /// The path of the cgroup that the row's tasks share.
    fn cgroup_path(&self) -> Option<Vec<u8>> {
        let id = self.int(Metric::Field(Field::cgroup_id)).filter(|&id: &u64| id != 0)?;
        let record = self.rows.table().record(self.row)?;
        precise_top_sources::group_names(&self.rows.interval)(GroupKey::Cgroup(id), &record)
    }

    fn cgroup_name(&self, name: CgroupName) -> Option<String> {
        self.cgroup_path().map(|path| lossy(&name.of(&path)))
    }

    /// A column that is a name; None for another column.
    fn name(&self, column: &str) -> Option<Option<String>> {
        Some(match column {
            "user" => self.user(),
            "cgroup" => self.cgroup(),
            "container" => self.container(),
            "pod" => self.pod(),
            "unit" => self.unit(),
            _ => return None,
        })
    }

    fn value<'py>(&self, py: Python<'py>, column: &str) -> PyResult<Bound<'py, PyAny>> {
        match self.name(column) {
            Some(name) => Ok(name.into_pyobject(py)?),
            None => PyCell(self.rows.cell(self.row, metric(column)?)).into_pyobject(py),
        }
    }

    fn share(&self, metric: Metric) -> Option<f64> {
        match self.rows.cell(self.row, metric)? {
            Cell::Float(share) => Some(share),
            Cell::Int(_) | Cell::Text(_) => None,
        }
    }
}

fn message(py: Python<'_>, error: &PyErr) -> String {
    error.value(py).to_string()
}

#[pymethods]
impl PyRow {
    /// Process or thread id; of a group the one that its tasks share.
    #[getter]
    fn pid(&self) -> Option<u32> {
        self.int(Metric::Field(Field::ac_pid))
    }

    /// Process id of the parent; of a group the one that its tasks share.
    #[getter]
    fn ppid(&self) -> Option<u32> {
        self.int(Metric::Field(Field::ac_ppid))
    }

    /// Real user id; of a group the one that its tasks share.
    #[getter]
    fn uid(&self) -> Option<u32> {
        self.int(Metric::Field(Field::ac_uid))
    }

    /// Command name, or the name of the group.
    #[getter]
    fn title(&self) -> Option<String> {
        self.rows.table().title(self.row).map(lossy)
    }

    /// CPU time in the interval, in ns: user, system and steal time.
    #[getter]
    fn total_ns(&self) -> Option<u64> {
        self.int(Metric::TotalNs)
    }

    /// User time in the interval, in ns.
    #[getter]
    fn user_ns(&self) -> Option<u64> {
        self.int(Metric::UserNs)
    }

    /// System time in the interval, in ns.
    #[getter]
    fn system_ns(&self) -> Option<u64> {
        self.int(Metric::SystemNs)
    }

    /// CPU time in the interval, in per cent of it: 100 is one CPU.
    #[getter]
    fn total_pct(&self) -> Option<f64> {
        self.share(Metric::TotalPct)
    }

    /// User time in per cent of the interval.
    #[getter]
    fn user_pct(&self) -> Option<f64> {
        self.share(Metric::UserPct)
    }

    /// System time in per cent of the interval.
    #[getter]
    fn system_pct(&self) -> Option<f64> {
        self.share(Metric::SystemPct)
    }

    /// Exact CPU time since the start of the row's tasks, in ns.
    #[getter]
    fn cpu_ns(&self) -> Option<u64> {
        self.int(Metric::CpuNs)
    }

    /// Name of the user, recorded or this machine's; of a group the one that its tasks share.
    #[getter]
    fn user(&self) -> Option<String> {
        let uid = self.int(Metric::Field(Field::ac_uid))?;
        let record = self.rows.table().record(self.row)?;
        let name = precise_top_sources::group_names(&self.rows.interval);
        name(GroupKey::User(uid), &record).as_deref().map(lossy)
    }

    /// Path of the cgroup (v2), recorded or asked now; of a group the one of all its tasks.
    #[getter]
    fn cgroup(&self) -> Option<String> {
        self.cgroup_path().as_deref().map(lossy)
    }

    /// Container, as its runtime lists it: 12 digits of the id, or a name. Empty for none.
    #[getter]
    fn container(&self) -> Option<String> {
        self.cgroup_name(CgroupName::Container)
    }

    /// Uid of the Kubernetes pod, or 12 digits of the id of the podman pod. Empty for none.
    #[getter]
    fn pod(&self) -> Option<String> {
        self.cgroup_name(CgroupName::Pod)
    }

    /// Unit of systemd. Empty for none.
    #[getter]
    fn unit(&self) -> Option<String> {
        self.cgroup_name(CgroupName::Unit)
    }

    /// Number of tasks in the row: 1, or the size of the group.
    #[getter]
    fn tasks(&self) -> Option<u64> {
        self.int(Metric::Tasks)
    }

    /// Whether the task died in the interval.
    #[getter]
    fn exited(&self) -> bool {
        self.rows.cell(self.row, Metric::Exited).is_some()
    }

    /// The task at the interval's end, with its fields; None for a group.
    #[getter]
    fn task(&self) -> Option<PyTask> {
        let is_of_one = self.rows.groups.is_none();
        is_of_one.then(|| PyTask::new(Arc::clone(self.rows.interval.cur()), self.row))
    }

    /// Return columns by name as a dictionary. Raises ValueError for an unknown column.
    fn to_dict<'py>(&self, py: Python<'py>, columns: Vec<String>) -> PyResult<Bound<'py, PyDict>> {
        let cells = PyDict::new(py);
        for name in &columns {
            cells.set_item(name, self.value(py, name)?)?;
        }
        Ok(cells)
    }

    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.value(py, name).map_err(|error| PyAttributeError::new_err(message(py, &error)))
    }

    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.value(py, name).map_err(|error| PyKeyError::new_err(message(py, &error)))
    }

    fn __repr__(&self) -> String {
        let pid = self.pid().map_or_else(String::new, |pid| format!("pid {pid} "));
        let share = self.total_pct().map_or_else(|| "-".into(), |share| format!("{share:.2}"));
        format!("<taskstats.Row: {pid}{:?}, {share} % CPU>", self.title().unwrap_or_default())
    }
}

/// Rows in their order.
#[pyclass(frozen, name = "RowIterator", module = "taskstats")]
pub(crate) struct PyRowIterator {
    rows: Rows,
    chosen: Vec<u32>,
    next: AtomicUsize,
}

#[pymethods]
impl PyRowIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self) -> Option<PyRow> {
        let row = self.chosen.get(self.next.fetch_add(1, Ordering::Relaxed))?;
        Some(self.rows.row(*row as usize))
    }
}

/// Some rows of an interval or of its groups, sorted: a sequence of `Row`.
///
/// `taskstats.top` and `Interval.top` return it. It prints as a table, also in notebooks. Arrow
/// consumers take it through the PyCapsule interface.
#[pyclass(frozen, name = "Table", module = "taskstats", sequence)]
pub(crate) struct PyTable {
    rows: Rows,
    chosen: Vec<u32>,
    sort: Metric,
}

/// What a table shows of each row.
const OF_TASKS: [&str; 6] = ["ac_pid", "total_pct", "user_pct", "system_pct", "rss_kb", "title"];
const OF_GROUPS: [&str; 6] = ["tasks", "total_pct", "user_pct", "system_pct", "rss_kb", "title"];

impl PyTable {
    /// The titles, then the cells of each row.
    fn texts(&self) -> Vec<Vec<String>> {
        let names = if self.rows.groups.is_some() { OF_GROUPS } else { OF_TASKS };
        let mut metrics: Vec<Metric> =
            names.iter().filter_map(|name| Metric::from_name(name)).collect();
        if !metrics.contains(&self.sort) && self.sort != Metric::TotalNs {
            metrics.insert(metrics.len() - 1, self.sort);
        }
        let titles = metrics.iter().map(|metric| metric.name().into_owned()).collect();
        let text = |cell| match cell {
            None => "-".to_owned(),
            Some(Cell::Int(number)) => number.to_string(),
            Some(Cell::Float(number)) => format!("{number:.2}"),
            Some(Cell::Text(text)) => safe(&lossy(text)).into_owned(),
        };
        let row = |&row: &u32| {
            metrics.iter().map(|&metric| text(self.rows.cell(row as usize, metric))).collect()
        };
        std::iter::once(titles).chain(self.chosen.iter().map(row)).collect()
    }
}

#[pymethods]
impl PyTable {
    fn __len__(&self) -> usize {
        self.chosen.len()
    }

    fn __getitem__(&self, index: isize) -> PyResult<PyRow> {
        let length = self.chosen.len();
        let at = if index < 0 { index.checked_add_unsigned(length) } else { Some(index) };
        at.and_then(|at| self.chosen.get(usize::try_from(at).ok()?))
            .map(|&row| self.rows.row(row as usize))
            .ok_or_else(|| PyIndexError::new_err("table index out of range"))
    }

    fn __iter__(&self) -> PyRowIterator {
        let (rows, chosen) = (self.rows.clone(), self.chosen.clone());
        PyRowIterator { rows, chosen, next: AtomicUsize::new(0) }
    }

    /// Length of the interval, in ns.
    #[getter]
    fn interval_ns(&self) -> u64 {
        self.rows.interval.interval_ns()
    }

    /// Return the rows as tuples of `columns`. Raises ValueError for an unknown column.
    fn select<'py>(
        &self,
        py: Python<'py>,
        columns: Vec<String>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let metrics = metrics(&columns)?;
        let row = |&row: &u32| {
            PyTuple::new(py, metrics.iter().map(|&m| PyCell(self.rows.cell(row as usize, m))))
        };
        self.chosen.iter().map(row).collect()
    }

    /// Return the rows as columns, as `Interval.columns` does.
    #[pyo3(signature = (columns=None))]
    fn columns(&self, py: Python<'_>, columns: Option<Vec<String>>) -> PyResult<PyColumns> {
        let Rows { interval, .. } = &self.rows;
        columns::of_table(py, self.rows.table(), &self.chosen, interval, columns.as_deref())
    }

    /// Export `columns()` as Arrow columns (PyCapsule interface), in one batch.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        self.columns(py, None)?.arrow_stream(py)
    }

    fn __repr__(&self) -> String {
        let texts = self.texts();
        let width = |column: usize| texts.iter().map(|row| row[column].chars().count()).max();
        let last = texts[0].len() - 1;
        let widths: Vec<usize> = (0..last).map(|column| width(column).unwrap_or(0)).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:>width$}  "));
            cells.collect::<String>() + &row[last]
        };
        texts.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Return the rows as an HTML table, for notebooks.
    pub(crate) fn _repr_html_(&self) -> String {
        let texts = self.texts();
        html(&texts[0], texts[1..].iter().cloned())
    }
}
