//! `taskstats.Interval`: what every task used between two snapshots.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precise_top_core::dump::Gap;
use precise_top_core::interval::Unchanged;
use precise_top_core::{
    Field, GroupBy, Groups, Interval, ParseError, SharedBytes, Snapshot, TaskTable, state,
};
use precise_top_screen::ShownTree;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyCapsule, PyDict, PyTuple};

use crate::columns::{self, PyColumns};
use crate::convert::{NamePart, filter, metric};
use crate::errors::parse_error;
use crate::html::SHOWN;
use crate::kept::Resting;
use crate::rows::{SelectArguments, select, sum};
use crate::snapshot::PySnapshot;
use crate::table::{PyRow, PyRowIterator, PyTable, Rows};

/// The rows of an interval in groups: each has the sums of its tasks.
///
/// Counters, memory and numbers of threads are sums over the members, once a process where threads
/// share them. Of the other fields, a process, parent or session shows its own task's (the living
/// one with the smallest pid), and a name, user or cgroup those that all members share; else None.
/// `Interval.fold` returns it; `len` is the number of groups.
#[pyclass(frozen, name = "Fold", module = "taskstats")]
pub(crate) struct PyGroups {
    pub(crate) inner: Arc<Groups>,
}

impl PyGroups {
    fn as_rows(&self) -> Rows {
        let interval = Arc::clone(self.inner.interval());
        Rows { interval, groups: Some(Arc::clone(&self.inner)) }
    }
}

#[pymethods]
impl PyGroups {
    fn __len__(&self) -> usize {
        self.inner.rows()
    }

    /// Return groups as tuples of `columns`; arguments and errors as of `Interval.select`.
    ///
    /// `tasks` is the number of tasks in a group.
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
        text: Option<NamePart>,
        pids: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let arguments = SelectArguments { sort, descending, offset, limit, text, pids };
        select(py, &*self.inner, &columns, &arguments.query()?)
    }

    fn __iter__(&self) -> PyRowIterator {
        self.as_rows().iter()
    }

    /// Return the first `n` groups in the order of a column, as `Interval.top` does.
    #[pyo3(signature = (n=Some(10), *, by="total"), text_signature = "($self, n=10, *, by='total')")]
    fn top(&self, n: Option<usize>, by: &str) -> PyResult<PyTable> {
        self.as_rows().top(n, by)
    }

    /// Return all groups as columns.
    ///
    /// Names as of `Interval.columns`, except `user`, `cgroup` and its names, and `cmdline`; `title` is the
    /// group's name. Raises ValueError for an unknown column.
    #[pyo3(signature = (columns=None))]
    fn columns(&self, py: Python<'_>, columns: Option<Vec<String>>) -> PyResult<PyColumns> {
        self.as_rows().columns(py, columns.as_deref())
    }

    /// Export `columns()` as Arrow columns (PyCapsule interface), in one batch.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        self.as_rows().columns(py, None)?.arrow_stream(py)
    }

    fn __repr__(&self) -> String {
        format!("<taskstats.Fold: {} groups>", self.inner.rows())
    }

    /// Return the first groups as an HTML table, for notebooks.
    fn _repr_html_(&self) -> PyResult<String> {
        Ok(self.top(Some(SHOWN), "total")?._repr_html_())
    }

    /// Return the number of groups that `text` and `pids` keep.
    #[pyo3(signature = (*, text=None, pids=None))]
    fn count(&self, text: Option<NamePart>, pids: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
        Ok(self.inner.count(&filter(text, pids)?))
    }

    /// Return the sum of each column over all groups; as `Interval.sum`.
    fn sum<'py>(&self, py: Python<'py>, columns: Vec<String>) -> PyResult<Bound<'py, PyTuple>> {
        sum(py, &*self.inner, &columns)
    }
}

/// An interval with the tasks that did not run.
pub(crate) fn completed(
    interval: &Arc<Interval>,
    unchanged: Option<&Unchanged>,
) -> Result<Arc<Interval>, ParseError> {
    match unchanged.filter(|_| interval.cur().header().unchanged > 0) {
        None => Ok(Arc::clone(interval)),
        Some(unchanged) => unchanged.completed(interval).map(Arc::new),
    }
}

/// What every task used between two snapshots: one row for each record of the later one.
///
/// `usage` returns it. Rows have columns, which `select`, `columns` and `sum` take by name:
///
/// * every field of `FIELDS`, as it was at the interval's end;
/// * for each counter `<field>_delta` and `<field>_per_sec`, and for counters of time
///   `<field>_pct` of the interval;
/// * `user_ns`, `system_ns`, `steal_ns` and their sum `total_ns`, the CPU time in the interval,
///   with `user_pct` and so on, where 100 is one CPU;
/// * `cuser_ns`, `csystem_ns`, `csteal_ns` and `_pct`: the CPU time of children that died;
/// * `all_ns`, `all_pct`: own time, and that of dead children where these have no rows;
/// * `own_ns`, `own_pct`: the time of the task itself; `living_ns`, `dead_ns` and `_pct`, that of
///   its descendants, are known in a `Fold` alone;
/// * `cpu_ns` (see `Task`), `exited` (1 for a task that died in the interval), `tasks` (the
///   number of tasks in the row), `title` (the name that the row is shown with).
///
/// None is unknown: no rate is made of one sample, of a counter that went back, or across two
/// tasks that share a pid. Arrow consumers take an interval through the PyCapsule interface.
#[pyclass(frozen, name = "Interval", module = "taskstats")]
pub(crate) struct PyInterval {
    pub(crate) inner: Arc<Interval>,
    /// The tree that a screen made of it.
    pub(crate) tree: ShownTree,
    /// The groups that were asked for last: a screen asks for the same at each key.
    groups: Mutex<Option<(MadeGroups, Py<PyGroups>)>>,
}

/// What groups are made of, besides the interval: the key, and the number of the snapshot whose
/// unchanged tasks are among the rows.
type MadeGroups = (GroupBy, Option<u64>);

impl PyInterval {
    pub(crate) fn new(inner: Arc<Interval>) -> PyInterval {
        PyInterval { inner, tree: ShownTree::default(), groups: Mutex::default() }
    }

    fn as_rows(&self) -> Rows {
        Rows { interval: Arc::clone(&self.inner), groups: None }
    }

    fn last_groups(&self, py: Python<'_>) -> MutexGuard<'_, Option<(MadeGroups, Py<PyGroups>)>> {
        self.groups.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The groups of an interval.
fn grouped(interval: Arc<Interval>, by: GroupBy) -> Groups {
    match by {
        GroupBy::User | GroupBy::Cgroup | GroupBy::OfCgroup(_) => {
            let names = precise_top_sources::group_names(&interval);
            Groups::new(interval, by, &HashMap::new(), names)
        }
        GroupBy::Session => {
            Groups::new(interval, by, &precise_top_sources::sessions(), |_, _| None)
        }
        _ => Groups::new(interval, by, &HashMap::new(), |_, _| None),
    }
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

    /// The later snapshot; the rows are its records.
    #[getter]
    fn cur(&self) -> PySnapshot {
        PySnapshot::new(Arc::clone(self.inner.cur()))
    }

    /// Number of rows of tasks that died in the interval; None where nobody counted them.
    #[getter]
    fn exited(&self) -> Option<u32> {
        self.inner.cur().header().exits_known()
    }

    /// Length of the interval, in ns.
    #[getter]
    fn interval_ns(&self) -> u64 {
        self.inner.interval_ns()
    }

    /// Number of CPUs online at the interval's end.
    #[getter]
    fn cpus(&self) -> u32 {
        self.inner.cur().header().cpus_online
    }

    /// Return rows as tuples of `columns`.
    ///
    /// Sorting and filtering work on the records; only the returned rows become Python objects.
    /// `sort` is a column; unknown values sort last. `text` keeps rows whose title contains it
    /// (ASCII letters of either case) or whose pid it is. `pids` keeps rows with these pids.
    /// `offset` and `limit` cut the sorted rows. Raises ValueError for an unknown column.
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
        text: Option<NamePart>,
        pids: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let arguments = SelectArguments { sort, descending, offset, limit, text, pids };
        select(py, &*self.inner, &columns, &arguments.query()?)
    }

    /// Return the rows grouped `by` "parent", "session", "name", "user", "cgroup", "container",
    /// "pod" or "unit".
    ///
    /// Every row is in one group, so the groups' sums are the interval's. "parent" adds tasks that
    /// died to their nearest living ancestor. A container, pod or unit of systemd is a name in the
    /// path of a cgroup. A group of a user or cgroup has that name as
    /// `title`, the recorded one, or this machine's current one; the id where there is none, and
    /// "unknown" for tasks whose user or cgroup is unknown. `resting` is as of `Screen.lines`: its
    /// tasks that did not run are then among the rows. The same call returns the same groups again,
    /// if the name of each is known.
    /// Raises ValueError for another word, and for "session" of recorded snapshots, which do not
    /// record sessions.
    #[pyo3(signature = (by, *, resting=None))]
    fn fold(
        &self,
        py: Python<'_>,
        by: &str,
        resting: Option<Resting<'_>>,
    ) -> PyResult<Py<PyGroups>> {
        let by = GroupBy::from_name(by).ok_or_else(|| {
            let names = GroupBy::ALL.map(GroupBy::name).join(", ");
            PyValueError::new_err(format!("tasks are not folded by {by:?}: choose {names}"))
        })?;
        if by == GroupBy::Session && self.inner.cur().names().is_some() {
            return Err(PyValueError::new_err(
                "sessions are not recorded: choose parent, name, user or cgroup",
            ));
        }
        let unchanged = resting.map(|resting| resting.unchanged(py)).transpose()?.flatten();
        let made = (by, unchanged.as_ref().map(Unchanged::serial));
        if let Some((_, groups)) = self.last_groups(py).as_ref().filter(|(last, _)| *last == made) {
            return Ok(groups.clone_ref(py));
        }
        let groups = py.detach(|| {
            let completed = completed(&self.inner, unchanged.as_ref())?;
            Ok(grouped(completed, by))
        });
        let inner = Arc::new(groups.map_err(|error| parse_error(py, error))?);
        // Names that are not known yet may be known at the next call.
        let are_whole = inner.are_named();
        let groups = Py::new(py, PyGroups { inner })?;
        *self.last_groups(py) = are_whole.then(|| (made, groups.clone_ref(py)));
        Ok(groups)
    }

    /// Return the rows grouped: as `fold`, of which it is the shorter form.
    fn group(&self, py: Python<'_>, by: &str) -> PyResult<Py<PyGroups>> {
        self.fold(py, by, None)
    }

    fn __iter__(&self) -> PyRowIterator {
        self.as_rows().iter()
    }

    /// Return the row of this pid, or None; of several the one of the living task.
    fn by_pid(&self, pid: u32) -> Option<PyRow> {
        self.inner.cur().find_pid(pid).map(|row| self.as_rows().row(row))
    }

    /// Return the rows of the processes that died in the interval and whose parent was `pid`.
    fn dead_children(&self, pid: u32) -> PyTable {
        self.as_rows().dead_children(pid)
    }

    /// Return the first `n` rows in the order of a column, largest first; None for all.
    ///
    /// `by` is a column, or "total", "user", "system" for the CPU time in the interval. A counter
    /// is taken by its increase in the interval. Raises ValueError for an unknown column.
    #[pyo3(signature = (n=Some(10), *, by="total"), text_signature = "($self, n=10, *, by='total')")]
    fn top(&self, n: Option<usize>, by: &str) -> PyResult<PyTable> {
        self.as_rows().top(n, by)
    }

    /// Return the first rows as an HTML table, for notebooks.
    fn _repr_html_(&self) -> PyResult<String> {
        Ok(self.top(Some(SHOWN), "total")?._repr_html_())
    }

    /// Return all rows as columns.
    ///
    /// Besides the columns of `select` there are `interval_ns`, `time_ns` (the interval's end),
    /// `monotonic_ns`, `host`, `boot_id`, `source`, and `user`, `cgroup` (its path), `container`,
    /// `pod`, `unit` (names in it) and `cmdline` (quoted for a shell): as recorded, or this
    /// machine's current ones, which the dead lack.
    /// None selects time, host, CPU times and all known fields. Raises ValueError for an unknown
    /// column.
    #[pyo3(signature = (columns=None))]
    fn columns(&self, py: Python<'_>, columns: Option<Vec<String>>) -> PyResult<PyColumns> {
        columns::of_intervals(py, &[&self.inner], columns.as_deref())
    }

    /// Export `columns()` as Arrow columns (PyCapsule interface), in one batch.
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

    /// Return the number of rows that `text` and `pids` keep: see `select`.
    #[pyo3(signature = (*, text=None, pids=None))]
    fn count(&self, text: Option<NamePart>, pids: Option<&Bound<'_, PyAny>>) -> PyResult<usize> {
        Ok(self.inner.count(&filter(text, pids)?))
    }

    /// Return the sum of each column over the rows that know it; None where no row does.
    ///
    /// Raises ValueError for an unknown column.
    fn sum<'py>(&self, py: Python<'py>, columns: Vec<String>) -> PyResult<Bound<'py, PyTuple>> {
        sum(py, &*self.inner, &columns)
    }

    /// Return the number of tasks in each state, by name.
    ///
    /// Tasks of unknown state are left out.
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = PyDict::new(py);
        for (name, count) in state::count(self.inner.cur()) {
            counts.set_item(name, count)?;
        }
        Ok(counts)
    }

    /// Return each CPU's number `cpu` and its shares of the interval, in per cent.
    ///
    /// The shares are `user`, `nice`, `system`, `idle`, `iowait`, `irq`, `softirq` and `steal`.
    /// Empty where the snapshots lack /proc/stat, which counts in ticks. Where `cpu_use` is known,
    /// the shares of tasks, idle, interrupts and steal are exact, and only their split is by
    /// ticks.
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

    /// Return where the CPUs' time went, in ns over all CPUs; all None where that is unknown.
    ///
    /// `available_ns` (CPUs x interval) = `tasks_ns` (user and system time of rows) + `rowless_ns`
    /// + `idle_ns` + `irq_ns` (hard and soft) + `steal_ns` + `residual_ns`. `rowless_ns` is the
    /// time of tasks outside the pid namespace, of lost exits, and, where dead tasks have no rows,
    /// of dead tasks. The residual is what nobody measured; the books close where it is within
    /// `bound_ns`. `edge_ns` is the part of the bound that does not grow with the number of
    /// intervals. `step_ns` is the resolution of the CPUs' times, `cpus` the number of CPUs online
    /// at both ends.
    ///
    /// `without` leaves these pids out, as if the source had missed them.
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

    /// Return each CPU's number `cpu` and its time by the run queue's clocks, in ns.
    ///
    /// Keys are `available_ns`, `busy_ns`, `idle_ns`, `irq_ns` and `steal_ns`. Empty where the
    /// source has no such clocks.
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

    /// Return whether a column is known, or why not: see `Snapshot.status`.
    ///
    /// Raises ValueError for an unknown column.
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

/// Return what every task used from `prev` to `cur`.
///
/// `prev` is a snapshot, or the interval that ended where this one begins; an interval continues
/// the split of user and system time, so that neither ever shrinks. `cur` holds the tasks that
/// died since its source's previous snapshot; where snapshots were left out in between, pass them
/// as `exits`. A task counts once however often it occurs.
///
/// Raises ParseError where the records' layouts differ. Raises ValueError where the snapshots are
/// of different machines or boots, where `cur` is earlier than `prev`, where only one has threads
/// as rows, and where `cur` holds only the tasks that ran since another snapshot than `prev`.
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
    check_comparable(&prev, &cur)?;
    let interval = match before {
        Some(before) => before.then(cur),
        None => Interval::between(prev, cur),
    };
    Ok(PyInterval::new(Arc::new(interval)))
}

/// ValueError where there is no interval from one snapshot to the other.
pub(crate) fn check_comparable(
    prev: &Snapshot<SharedBytes>,
    cur: &Snapshot<SharedBytes>,
) -> PyResult<()> {
    if let Some(gap) = Gap::<Infallible>::incomparable(prev.header(), cur.header()) {
        return Err(PyValueError::new_err(format!(
            "no interval from the first snapshot to the second: {gap}"
        )));
    }
    if !Interval::is_whole(prev, cur) {
        return Err(PyValueError::new_err(
            "a snapshot of what changed is compared with the one before it: pass that, or open \
             the source without changed=True",
        ));
    }
    Ok(())
}

/// Return the rows of several intervals, end to end in one batch, as columns.
///
/// Names and errors as of `Interval.columns`. Runs without the GIL.
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
