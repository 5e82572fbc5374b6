//! `taskstats.Source`: takes snapshots.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precise_top_core::interval::Unchanged;
use precise_top_core::wire::Id;
use precise_top_core::{FieldSet, SourceKind, TaskTable};
use precise_top_sources::{Netlink, Request, Source};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyDict, PyTuple};

use crate::convert::{NamePart, field_set, filter, source_kind};
use crate::errors::python_error;
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
/// With `exact` the bpf source watches the scheduler's switches: all values are as of one instant
/// and idle time is exact to the ns. The proc source always works so; other sources ignore it.
/// With `changed` every snapshot after the first holds only the tasks that ran since the previous
/// one. `cpu_times` reads /proc/stat, `system` load and memory; None reads them where the source
/// needs them to close the books or where they cost little.
///
/// Raises AccessDenied, Unsupported or OSError where the source cannot be opened, and ValueError
/// for an unknown name or field. Threads may share a source. A child made by fork(2) has to open
/// its own.
#[pyclass(frozen, name = "Source", module = "taskstats")]
pub(crate) struct PySource {
    kind: SourceKind,
    precision: &'static str,
    open: Mutex<Open>,
}

impl PySource {
    /// Locks the source, from code that is detached from the interpreter.
    fn locked(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tasks that did not run before the last snapshot; None if that has all tasks. The
    /// source is locked only meanwhile.
    pub(crate) fn unchanged(&self, py: Python<'_>) -> Option<Unchanged> {
        let open = self.open.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        open.source.as_ref()?.unchanged()
    }
}

#[pymethods]
impl PySource {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    #[pyo3(signature = (
        name="auto", *, threads=false, fields=None, exact=false, changed=false, cpu_times=None, system=None
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
    ) -> PyResult<PySource> {
        let kind = source_kind(name)?;
        let fields = fields.map(field_set).transpose()?.unwrap_or(FieldSet::ALL);
        let request = Request { threads, fields, exact, changed, cpu_times, system };
        let open = || {
            let mut source = precise_top_sources::open(kind)?;
            source.prepare(&request)?;
            Ok(source)
        };
        let source = py.detach(open).map_err(|error| python_error(py, error))?;
        Ok(PySource {
            kind: source.kind(),
            precision: source.precision(),
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
    fn precision(&self) -> &'static str {
        self.precision
    }

    /// What the snapshots lack here, in words: tasks of other pid namespaces, unreadable exits.
    ///
    /// Empty if nothing; known after the first snapshot.
    #[getter]
    fn notice(&self, py: Python<'_>) -> String {
        let read = || self.locked().source.as_ref().map(|source| source.notice());
        py.detach(read).unwrap_or_default()
    }

    /// Change what the next snapshot holds; None keeps a setting.
    ///
    /// Raises ValueError for an unknown field.
    #[pyo3(signature = (*, threads=None, fields=None, exact=None, changed=None))]
    fn configure(
        &self,
        py: Python<'_>,
        threads: Option<bool>,
        fields: Option<Vec<String>>,
        exact: Option<bool>,
        changed: Option<bool>,
    ) -> PyResult<()> {
        let fields = fields.map(field_set).transpose()?;
        py.detach(|| {
            let request = &mut self.locked().request;
            request.threads = threads.unwrap_or(request.threads);
            request.fields = fields.unwrap_or(request.fields);
            request.exact = exact.unwrap_or(request.exact);
            request.changed = changed.unwrap_or(request.changed);
        });
        Ok(())
    }

    /// Take a snapshot of the whole machine. The GIL is released meanwhile.
    ///
    /// Raises ValueError after `close`, and AccessDenied, Unsupported or OSError where the kernel
    /// refuses.
    fn snapshot(&self, py: Python<'_>) -> PyResult<PySnapshot> {
        let taken = py.detach(|| {
            let Open { source, request } = &mut *self.locked();
            source.as_mut().map(|source| source.snapshot(request))
        });
        match taken {
            None => Err(PyValueError::new_err("the source is closed")),
            Some(Ok(snapshot)) => Ok(PySnapshot::new(Arc::new(snapshot))),
            Some(Err(error)) => Err(python_error(py, error)),
        }
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
        let unchanged = self.unchanged(py);
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
        Ok(self.unchanged(py).map_or(0, |unchanged| unchanged.count(&filter)))
    }

    /// Return counts over all living tasks, after a snapshot with `changed`.
    ///
    /// `tasks` and `num_threads` are their numbers, `states` the number in each state. None where
    /// the last snapshot holds all tasks.
    fn totals<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(unchanged) = self.unchanged(py) else { return Ok(None) };
        let totals = PyDict::new(py);
        totals.set_item(intern!(py, "tasks"), unchanged.totals().tasks)?;
        totals.set_item(intern!(py, "num_threads"), unchanged.totals().num_threads)?;
        totals.set_item(intern!(py, "states"), &unchanged.totals().states)?;
        Ok(Some(totals))
    }

    /// Close the source. Closing again does nothing.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.locked().source = None);
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

fn one(py: Python<'_>, id: Id) -> PyResult<PyTask> {
    let snapshot =
        py.detach(|| Netlink::open()?.get(id)).map_err(|error| python_error(py, error))?;
    Ok(PyTask::new(Arc::new(snapshot), 0))
}

/// Return the record of one thread, over netlink.
///
/// Raises NoSuchTask, and AccessDenied without CAP_NET_ADMIN.
#[pyfunction]
pub(crate) fn get(py: Python<'_>, pid: u32) -> PyResult<PyTask> {
    one(py, Id::Pid(pid))
}

/// Return the sums of one process, over netlink.
///
/// CPU time, delays and context switches of all its threads; other fields are None. Raises
/// NoSuchTask, and AccessDenied without CAP_NET_ADMIN.
#[pyfunction]
pub(crate) fn get_tgid(py: Python<'_>, tgid: u32) -> PyResult<PyTask> {
    one(py, Id::Tgid(tgid))
}
