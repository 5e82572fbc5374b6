//! `taskstats.Source`: takes snapshots.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precise_top_core::interval::Unchanged;
use precise_top_core::wire::Id;
use precise_top_core::{FieldSet, SharedBytes, Snapshot, SourceKind, TaskTable};
use precise_top_sources::{Error, ForkGuard, Request, Source, kept};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::convert::{NamePart, field_set, filter, source_kind};
use crate::errors::python_error;
use crate::machine::meters as named_meters;
use crate::rows::{SelectArguments, select};
use crate::snapshot::PySnapshot;
use crate::task::PyTask;

struct Open {
    source: Option<Box<dyn Source>>,
    request: Request,
}

/// An open source of snapshots; a context manager.
///
/// `name` is "proc" (/proc/taskstats of a kernel with this project's series), "bpf", "netlink",
/// "procfs", or "auto" for the first of these that works. A named source never falls back to
/// another. `threads` takes a record for each thread instead of each process. `fields` are the
/// names of the fields to read; None reads all.
///
/// With `exact` snapshots include the tasks that died since the previous one (`Snapshot.exits`):
/// the bpf source watches the scheduler's switches and exits from its opening on, so that all
/// values are as of one instant, and idle time is exact to the ns. netlink and procfs listen to
/// exit events where CAP_NET_ADMIN allows that. The proc source is always exact and needs no
/// exits. `exact=False` watches nothing and starts no thread: `exited` is None then.
///
/// An exact source keeps the exits for its next snapshot. One that nobody has read for two minutes
/// while 131,072 exits wait, or for three hours, stops watching and forgets them; the next snapshot
/// watches again, its `exited` is None, and `notice` says so.
///
/// With `changed` every snapshot after the first holds only the tasks that ran since the previous
/// one. `cpu_times` reads /proc/stat, `system` load and memory; None reads them where the source
/// needs them to close the books or where they cost little. `meters` are
/// of "pressure", "disks", "networks" and "cgroup", which `Snapshot.machine` has then.
///
/// Raises AccessDenied, Unsupported or OSError where the source cannot be opened, and ValueError
/// for an unknown name or field. Threads may share a source. A child made by fork(2) has to open
/// its own.
#[pyclass(frozen, name = "Source", module = "taskstats")]
pub(crate) struct PySource {
    kind: SourceKind,
    precision: &'static str,
    home: ForkGuard,
    open: Mutex<Open>,
}

impl PySource {
    /// Locks the source, from code that is detached from the interpreter. Fails in a forked
    /// child, where the lock may be held for ever.
    fn locked(&self) -> Result<MutexGuard<'_, Open>, Error> {
        if !self.home.is_here() {
            return Err(Error::forked("source"));
        }
        Ok(self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a snapshot. ValueError after `close`.
    pub(crate) fn take(&self, py: Python<'_>) -> PyResult<Arc<Snapshot<SharedBytes>>> {
        let take = || {
            let Open { source, request } = &mut *self.locked()?;
            source.as_mut().map(|source| source.snapshot(request)).transpose()
        };
        match py.detach(take).map_err(|error| python_error(py, error))? {
            None => Err(PyValueError::new_err("the source is closed")),
            Some(snapshot) => Ok(Arc::new(snapshot)),
        }
    }

    /// The tasks that did not run before the last snapshot; None if that has all tasks. The
    /// source is locked only meanwhile.
    pub(crate) fn unchanged(&self, py: Python<'_>) -> PyResult<Option<Unchanged>> {
        let read = || Ok(self.locked()?.source.as_ref().and_then(|source| source.unchanged()));
        py.detach(read).map_err(|error| python_error(py, error))
    }
}

#[pymethods]
impl PySource {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    #[pyo3(signature = (
        name="auto", *, threads=false, fields=None, exact=true, changed=false, cpu_times=None, system=None,
        meters=None
    ))]
    fn new(
        py: Python<'_>,
        name: &str,
        threads: bool,
        fields: Option<Vec<String>>,
        exact: bool,
        changed: bool,
        cpu_times: Option<bool>,
        system: Option<bool>,
        meters: Option<Vec<String>>,
    ) -> PyResult<PySource> {
        let kind = source_kind(name)?;
        let fields = fields.map(field_set).transpose()?.unwrap_or(FieldSet::ALL);
        let meters = named_meters(&meters.unwrap_or_default())?;
        let request = Request { threads, fields, exact, changed, cpu_times, system, meters };
        let open = || {
            let open =
                if exact { precise_top_sources::open } else { precise_top_sources::open_inexact };
            let mut source = open(kind)?;
            source.prepare(&request)?;
            Ok(source)
        };
        let source = py.detach(open).map_err(|error| python_error(py, error))?;
        Ok(PySource {
            kind: source.kind(),
            precision: source.precision(),
            home: ForkGuard::new(),
            open: Mutex::new(Open { source: Some(source), request }),
        })
    }

    /// Name of the source: "proc", "bpf", "netlink" or "procfs".
    #[getter]
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// How exact its CPU times are, in words.
    #[getter]
    fn precision(&self, py: Python<'_>) -> &'static str {
        let read = || Some(self.locked().ok()?.source.as_ref()?.precision());
        py.detach(read).unwrap_or(self.precision)
    }

    /// What the snapshots lack here, in words: tasks of other pid namespaces, unreadable exits.
    ///
    /// Empty if nothing; known after the first snapshot.
    #[getter]
    pub(crate) fn notice(&self, py: Python<'_>) -> String {
        let read = || Some(self.locked().ok()?.source.as_ref()?.notice());
        py.detach(read).unwrap_or_default()
    }

    /// Change what the next snapshot holds; None keeps a setting.
    ///
    /// Raises ValueError for an unknown field or meter.
    #[pyo3(signature = (*, threads=None, fields=None, exact=None, changed=None, meters=None))]
    fn configure(
        &self,
        py: Python<'_>,
        threads: Option<bool>,
        fields: Option<Vec<String>>,
        exact: Option<bool>,
        changed: Option<bool>,
        meters: Option<Vec<String>>,
    ) -> PyResult<()> {
        let fields = fields.map(field_set).transpose()?;
        let meters = meters.map(|names| named_meters(&names)).transpose()?;
        let change = || {
            let request = &mut self.locked()?.request;
            request.threads = threads.unwrap_or(request.threads);
            request.fields = fields.unwrap_or(request.fields);
            request.exact = exact.unwrap_or(request.exact);
            request.changed = changed.unwrap_or(request.changed);
            request.meters = meters.unwrap_or(request.meters);
            Ok(())
        };
        py.detach(change).map_err(|error| python_error(py, error))
    }

    /// Take a snapshot of the whole machine. The GIL is released meanwhile.
    ///
    /// Raises ValueError after `close`, and AccessDenied, Unsupported or OSError where the kernel
    /// refuses.
    fn snapshot(&self, py: Python<'_>) -> PyResult<PySnapshot> {
        Ok(PySnapshot::new(self.take(py)?))
    }

    /// Return rows of the tasks that did not run, after a snapshot with `changed`.
    ///
    /// Rows are tuples of `columns`: last values, ages as of the snapshot, and a use of zero.
    /// Arguments and errors as of `Interval.select`. None where the last snapshot holds all tasks.
    #[pyo3(signature = (columns, *, sort=None, descending=true, limit=None, text=None, pids=None))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    fn resting<'py>(
        &self,
        py: Python<'py>,
        columns: Vec<String>,
        sort: Option<&str>,
        descending: bool,
        limit: Option<usize>,
        text: Option<NamePart>,
        pids: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Vec<Bound<'py, PyTuple>>>> {
        let arguments = SelectArguments { sort, descending, offset: 0, limit, text, pids };
        // First, as it may run Python code.
        let query = arguments.query()?;
        let unchanged = self.unchanged(py)?;
        unchanged.map(|unchanged| select(py, &unchanged, &columns, &query)).transpose()
    }

    /// Return the number of tasks that did not run and that `text` and `pids` keep.
    ///
    /// 0 where the last snapshot holds all tasks.
    #[pyo3(signature = (*, text=None, pids=None))]
    fn resting_count(
        &self,
        py: Python<'_>,
        text: Option<NamePart>,
        pids: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let filter = filter(text, pids)?;
        Ok(self.unchanged(py)?.map_or(0, |unchanged| unchanged.count(&filter)))
    }

    /// Return counts over all living tasks, after a snapshot with `changed`.
    ///
    /// `tasks` and `num_threads` are their numbers, `states` the number in each state. None where
    /// the last snapshot holds all tasks.
    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(unchanged) = self.unchanged(py)? else { return Ok(None) };
        let totals = PyDict::new(py);
        totals.set_item(intern!(py, "tasks"), unchanged.totals().tasks)?;
        totals.set_item(intern!(py, "num_threads"), unchanged.totals().num_threads)?;
        totals.set_item(intern!(py, "states"), unchanged.totals().states())?;
        Ok(Some(totals))
    }

    /// Close the source. Closing again does nothing.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            let close = |mut open: MutexGuard<'_, Open>| open.source = None;
            match self.locked() {
                Ok(open) => close(open),
                // A forked child, which leaves open what another thread used at the fork.
                Err(_) => self.open.try_lock().map_or((), close),
            }
        });
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        format!("<taskstats.Source: {}>", self.kind.name())
    }
}

/// Take a snapshot with the source that this process keeps: see `taskstats.snapshot`.
#[pyfunction]
#[pyo3(signature = (name="auto", *, threads=false, fields=None))]
pub(crate) fn kept_snapshot(
    py: Python<'_>,
    name: &str,
    threads: bool,
    fields: Option<Vec<String>>,
) -> PyResult<PySnapshot> {
    let kind = source_kind(name)?;
    let fields = fields.map(field_set).transpose()?.unwrap_or(FieldSet::ALL);
    let request = Request { threads, fields, ..Request::default() };
    let taken = py.detach(|| kept::snapshot(kind, &request));
    Ok(PySnapshot::new(Arc::new(taken.map_err(|error| python_error(py, error))?)))
}

/// Return one process, with its use of CPU time up to now.
///
/// Reads its files in /proc, at a cost of some ten microseconds. `fields` are the names of the
/// fields to read; None reads all that /proc has. Raises NoSuchTask, AccessDenied where /proc
/// hides the process, and ValueError for an unknown field.
#[pyfunction]
#[pyo3(signature = (pid, fields=None))]
pub(crate) fn task(py: Python<'_>, pid: u32, fields: Option<Vec<String>>) -> PyResult<PyTask> {
    let fields = fields.map(field_set).transpose()?.unwrap_or(FieldSet::ALL);
    one(py, || kept::task(pid, fields))
}

fn one(
    py: Python<'_>,
    read: impl FnOnce() -> Result<Snapshot<SharedBytes>, Error> + Send,
) -> PyResult<PyTask> {
    let snapshot = py.detach(read).map_err(|error| python_error(py, error))?;
    Ok(PyTask::new(Arc::new(snapshot), 0))
}

/// Return the record of one thread, over netlink.
///
/// Raises NoSuchTask, and AccessDenied without CAP_NET_ADMIN.
#[pyfunction]
pub(crate) fn get(py: Python<'_>, pid: u32) -> PyResult<PyTask> {
    one(py, || kept::get(Id::Pid(pid)))
}

/// Return the sums of one process, over netlink.
///
/// CPU time, delays and context switches of all its threads; other fields are None. Raises
/// NoSuchTask, and AccessDenied without CAP_NET_ADMIN.
#[pyfunction]
pub(crate) fn get_tgid(py: Python<'_>, tgid: u32) -> PyResult<PyTask> {
    one(py, || kept::get(Id::Tgid(tgid)))
}
