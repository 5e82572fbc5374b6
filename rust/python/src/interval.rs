//! `taskstats.Interval`: what every task used between two snapshots.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use precise_top_core::{Field, GroupBy, Groups, Interval, TaskTable, state};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyTuple};

use crate::columns::{self, PyColumns};
use crate::convert::{filter, metric};
use crate::errors::parse_error;
use crate::rows::{SelectArguments, select, sum};
use crate::snapshot::PySnapshot;

/// An interval's rows in groups, each with the sums of its tasks and the fields of one:
/// the living one with the smallest pid, else a dead one.
#[pyclass(frozen, name = "Fold", module = "taskstats")]
pub(crate) struct PyGroups {
    pub(crate) inner: Groups,
}

#[pymethods]
impl PyGroups {
    fn __len__(&self) -> usize {
        self.inner.rows()
    }

    /// Rows as tuples of the given columns; as `Interval.select`, with `tasks` the
    /// number of tasks in a group.
    #[pyo3(signature = (columns, *, sort=None, descending=true, offset=0, limit=None, text=None, pids=None))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    fn select<'py>(
        &self,
        py: Python<'py>,
        columns: Vec<String>,
        sort: Option<&str>,
        descending: bool,
        offset: usize,
        limit: Option<usize>,
        text: Option<String>,
        pids: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let arguments = SelectArguments { sort, descending, offset, limit, text, pids };
        select(py, &self.inner, &columns, &arguments.query()?)
    }

    /// How many groups `text` and `pids` keep.
    #[pyo3(signature = (*, text=None, pids=None))]
    fn count(&self, text: Option<String>, pids: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
        Ok(self.inner.count(&filter(text, pids)?))
    }

    /// Sums of the given columns over all groups; as `Interval.sum`.
    fn sum<'py>(&self, py: Python<'py>, columns: Vec<String>) -> PyResult<Bound<'py, PyTuple>> {
        sum(py, &self.inner, &columns)
    }
}

/// The interval between two snapshots: a row for every record of the later one.
#[pyclass(frozen, name = "Interval", module = "taskstats")]
pub(crate) struct PyInterval {
    pub(crate) inner: Arc<Interval>,
}

#[pymethods]
impl PyInterval {
    fn __len__(&self) -> usize {
        self.inner.len()
    }

    /// The earlier snapshot.
    #[getter]
    fn prev(&self) -> PySnapshot {
        PySnapshot::new(Arc::clone(self.inner.prev()))
    }

    /// The later snapshot, whose records the rows are.
    #[getter]
    fn cur(&self) -> PySnapshot {
        PySnapshot::new(Arc::clone(self.inner.cur()))
    }

    /// Rows of tasks that died in the interval.
    #[getter]
    fn exited(&self) -> u32 {
        self.inner.cur().header().exited
    }

    /// Length of the interval in ns.
    #[getter]
    fn interval_ns(&self) -> u64 {
        self.inner.interval_ns()
    }

    /// CPUs online at the interval's end.
    #[getter]
    fn cpus(&self) -> u32 {
        self.inner.cur().header().cpus_online
    }

    /// Rows as tuples of the given columns. Choosing and sorting happens on the
    /// records; only the rows returned become Python objects.
    ///
    /// `sort` names a column, unknown values sort last; `text` keeps rows whose title
    /// contains it or whose pid it is; `pids` keeps these pids. ValueError for an
    /// unknown column.
    #[pyo3(signature = (columns, *, sort=None, descending=true, offset=0, limit=None, text=None, pids=None))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    fn select<'py>(
        &self,
        py: Python<'py>,
        columns: Vec<String>,
        sort: Option<&str>,
        descending: bool,
        offset: usize,
        limit: Option<usize>,
        text: Option<String>,
        pids: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let arguments = SelectArguments { sort, descending, offset, limit, text, pids };
        select(py, &*self.inner, &columns, &arguments.query()?)
    }

    /// The rows in groups `by` "parent" (what died goes to its nearest living ancestor),
    /// "session", "name", "user" or "cgroup". Every row is in one group, so that the
    /// groups' sums are the interval's. The column `title` is what a group is called: the
    /// user's name or the cgroup's path, as recorded or as this machine has them now (else the
    /// number); other groups are called by the task that they show. ValueError for another word, and for "session" of
    /// recorded snapshots, which know none.
    fn fold(&self, py: Python<'_>, by: &str) -> PyResult<PyGroups> {
        let by = GroupBy::from_name(by).ok_or_else(|| {
            let names = GroupBy::ALL.map(GroupBy::name).join(", ");
            PyValueError::new_err(format!("tasks are not folded by {by:?}: choose {names}"))
        })?;
        let interval = Arc::clone(&self.inner);
        if by == GroupBy::Session && interval.cur().names().is_some() {
            return Err(PyValueError::new_err(
                "sessions are not recorded: choose parent, name, user or cgroup",
            ));
        }
        Ok(PyGroups {
            inner: py.detach(|| match by {
                GroupBy::User | GroupBy::Cgroup => {
                    let names = precise_top_sources::group_names(&interval);
                    Groups::new(interval, by, &HashMap::new(), names)
                }
                GroupBy::Session => {
                    Groups::new(interval, by, &precise_top_sources::sessions(), |_, _| None)
                }
                _ => Groups::new(interval, by, &HashMap::new(), |_, _| None),
            }),
        })
    }

    /// All rows in columns, as arrays for NumPy and Arrow: names as of `select`, and
    /// `interval_ns`, `time_ns`, `monotonic_ns`, `host`, `boot_id`, `source`, and of recorded
    /// snapshots `user`, `cgroup` (its path) and `cmdline` (quoted as for a shell). None for
    /// what tells where and when, what was used, and all fields that are known. ValueError for
    /// an unknown column.
    #[pyo3(signature = (columns=None))]
    fn columns(&self, py: Python<'_>, columns: Option<Vec<String>>) -> PyResult<PyColumns> {
        columns::of_intervals(py, &[&self.inner], columns.as_deref())
    }

    /// All of `columns()`, for consumers of the Arrow PyCapsule interface.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface allows to ignore the request.
        drop(requested_schema);
        columns::of_intervals(py, &[&self.inner], None)?.arrow_stream(py)
    }

    /// How many rows `text` and `pids` keep.
    #[pyo3(signature = (*, text=None, pids=None))]
    fn count(&self, text: Option<String>, pids: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
        Ok(self.inner.count(&filter(text, pids)?))
    }

    /// Sums of the given columns over all rows that know them; None where none does.
    fn sum<'py>(&self, py: Python<'py>, columns: Vec<String>) -> PyResult<Bound<'py, PyTuple>> {
        sum(py, &*self.inner, &columns)
    }

    /// Number of tasks in each state, by name; without those whose state is unknown.
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (name, count) in state::count(self.inner.cur()) {
            counts.set_item(name, count)?;
        }
        Ok(counts)
    }

    /// Per CPU its number and the share of the interval in each class in per cent; empty
    /// where the snapshots lack the CPUs' times (/proc/stat, in steps of a tick). Where
    /// `cpu_use` knows them, the shares of tasks, idle, interrupts and steal are exact, and
    /// only their split (user, nice and system; idle and iowait) is that of the ticks.
    fn cpu_pct<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.inner
            .cpu_split()
            .iter()
            .map(|times| {
                let row = PyDict::new(py);
                row.set_item(intern!(py, "cpu"), times.cpu)?;
                let names = [
                    intern!(py, "user"),
                    intern!(py, "nice"),
                    intern!(py, "system"),
                    intern!(py, "idle"),
                    intern!(py, "iowait"),
                    intern!(py, "irq"),
                    intern!(py, "softirq"),
                    intern!(py, "steal"),
                ];
                for (name, share) in names.into_iter().zip(times.shares_pct()) {
                    row.set_item(name, share)?;
                }
                Ok(row)
            })
            .collect()
    }

    /// Where the CPUs' time went, in ns over all CPUs: `available_ns` (CPUs × interval)
    /// is the sum of `tasks_ns` (user and system time), `rowless_ns` (tasks outside the
    /// pid namespace or whose exit was lost; where the dead have no rows, the dead, as
    /// their parents' counters tell), `idle_ns`, `irq_ns` (hard and soft),
    /// `steal_ns` and `residual_ns`, which is all that nobody measured. `bound_ns` is
    /// what the residual may be: `edge_ns` for the interval's ends, and what adds up
    /// over intervals. `step_ns` is the granularity of the CPUs' times, `cpus` the CPUs
    /// online at both ends. All None where the CPUs' times are not known.
    ///
    /// `without` leaves these pids out, as if they had been overlooked.
    #[pyo3(signature = (*, without=None))]
    fn books<'py>(
        &self,
        py: Python<'py>,
        without: Option<HashSet<u32>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let books = self.inner.balance_without(&without.unwrap_or_default());
        let row = PyDict::new(py);
        row.set_item(intern!(py, "cpus"), books.map(|books| books.cpus))?;
        row.set_item(intern!(py, "available_ns"), books.map(|books| books.available_ns))?;
        row.set_item(intern!(py, "tasks_ns"), books.map(|books| books.tasks_ns))?;
        row.set_item(intern!(py, "idle_ns"), books.map(|books| books.idle_ns))?;
        row.set_item(intern!(py, "irq_ns"), books.map(|books| books.irq_ns))?;
        row.set_item(intern!(py, "steal_ns"), books.map(|books| books.steal_ns))?;
        row.set_item(intern!(py, "rowless_ns"), books.map(|books| books.rowless_ns))?;
        row.set_item(intern!(py, "residual_ns"), books.map(|books| books.residual_ns))?;
        row.set_item(intern!(py, "bound_ns"), books.map(|books| books.bound_ns()))?;
        row.set_item(intern!(py, "edge_ns"), books.map(|books| books.edge_ns))?;
        row.set_item(intern!(py, "step_ns"), books.map(|books| books.step_ns))?;
        Ok(row)
    }

    /// Per CPU its number and, by its run queue's clocks, `available_ns`, `busy_ns`,
    /// `idle_ns`, `irq_ns` and `steal_ns`; empty where the source has no such clocks.
    fn cpu_use<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.inner
            .cpu_use()
            .iter()
            .map(|used| {
                let row = PyDict::new(py);
                row.set_item(intern!(py, "cpu"), used.cpu)?;
                row.set_item(intern!(py, "available_ns"), used.available_ns)?;
                row.set_item(intern!(py, "busy_ns"), used.busy_ns)?;
                row.set_item(intern!(py, "idle_ns"), used.idle_ns)?;
                row.set_item(intern!(py, "irq_ns"), used.irq_ns)?;
                row.set_item(intern!(py, "steal_ns"), used.steal_ns)?;
                Ok(row)
            })
            .collect()
    }

    /// Whether a column is known, and if not, why not; as `Snapshot.status`.
    fn status(&self, name: &str) -> PyResult<&'static str> {
        let field = metric(name)?.field().unwrap_or(Field::cpu_run_virtual_total);
        Ok(self.inner.status(field).name())
    }

    fn __reduce__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, (PySnapshot, PySnapshot))> {
        Ok((py.import("taskstats._core")?.getattr("usage")?, (self.prev(), self.cur())))
    }

    fn __repr__(&self) -> String {
        let seconds = self.inner.interval_ns() as f64 / 1e9;
        format!("<taskstats.Interval: {} rows over {seconds:.3} s>", self.inner.len())
    }
}

/// What every task used from `prev` to `cur`.
///
/// `prev` is a Snapshot, or the Interval that ended where this one begins: then the
/// split of user and system time is continued and never shrinks. Tasks that died are
/// in `cur` already where its source knows them; `exits` are the snapshots of the same
/// source between the two, where some were left out. A task counts once however often
/// it is met. ParseError where the snapshots' records differ in layout; ValueError where `cur`
/// is of only the tasks that ran since another snapshot than `prev`.
#[pyfunction]
#[pyo3(signature = (prev, cur, *, exits=None))]
pub(crate) fn usage(
    prev: &Bound<'_, PyAny>,
    cur: &PySnapshot,
    exits: Option<Vec<PyRef<'_, PySnapshot>>>,
) -> PyResult<PyInterval> {
    let mut cur = Arc::clone(&cur.inner);
    if let Some(exits) = exits {
        let joined = cur
            .with_exits(exits.iter().map(|exits| &*exits.inner))
            .map_err(|error| parse_error(prev.py(), error))?;
        cur = Arc::new(joined.into_shared());
    }
    let before = prev.cast::<PyInterval>().ok().map(|before| Arc::clone(&before.get().inner));
    let prev = match &before {
        Some(before) => Arc::clone(before.cur()),
        None => Arc::clone(&prev.cast::<PySnapshot>()?.get().inner),
    };
    if !Interval::is_whole(&prev, &cur) {
        return Err(PyValueError::new_err(
            "a snapshot of what changed is compared with the one before it: pass that, or open \
             the source without changed=True",
        ));
    }
    let interval = match before {
        Some(before) => before.then(cur),
        None => Interval::between(prev, cur),
    };
    Ok(PyInterval { inner: Arc::new(interval) })
}

/// The rows of intervals, end to end in one batch: names as of `Interval.columns`. Without
/// the interpreter's lock.
#[pyfunction]
#[pyo3(name = "columns", signature = (intervals, columns=None))]
pub(crate) fn columns_of_all(
    py: Python<'_>,
    intervals: Vec<Py<PyInterval>>,
    columns: Option<Vec<String>>,
) -> PyResult<PyColumns> {
    let intervals: Vec<&Interval> =
        intervals.iter().map(|interval| &*interval.get().inner).collect();
    columns::of_intervals(py, &intervals, columns.as_deref())
}
