//! `taskstats.Exits`: tasks as they exit.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precise_top_core::SourceKind;
use precise_top_sources::{Error, Exit, Exits};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;

use crate::errors::python_error;
use crate::task::PyTask;

/// Longest wait before Python signal handlers run.
const WAIT_MS: i32 = 200;

/// Tasks as they die: an endless iterator, also for `async for`, and a context manager.
///
/// `source` is "bpf", "netlink", or "auto" for the first of these that works. Each item is a
/// `Task` with its final record, one for each thread. From bpf the record is complete to the last
/// switch. From netlink its CPU time lacks up to one tick.
///
/// Read often enough: 16,384 exits wait with bpf, some thousand a CPU with netlink; `lost` counts
/// those that did not fit. Threads may share it; `close` in one ends the waits of the others. A
/// child made by fork(2) has to open its own.
///
/// Raises AccessDenied without CAP_BPF and CAP_PERFMON (bpf) or CAP_NET_ADMIN (netlink), and
/// Unsupported where the kernel lacks it, or for netlink in a user or pid namespace; there bpf
/// reports the tasks of the namespace. Raises ValueError for another name.
#[pyclass(frozen, name = "Exits", module = "taskstats")]
pub(crate) struct PyExits {
    kind: SourceKind,
    open: Mutex<Option<Arc<Exits>>>,
}

impl PyExits {
    fn locked(&self, py: Python<'_>) -> MutexGuard<'_, Option<Arc<Exits>>> {
        self.open.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&Exits) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let open = self.locked(py).clone();
        let open = open.ok_or_else(|| PyValueError::new_err("the exits are closed"))?;
        py.detach(move || act(&open)).map_err(|error| python_error(py, error))
    }
}

fn task((snapshot, row): Exit) -> PyTask {
    PyTask::new(snapshot, row)
}

#[pymethods]
impl PyExits {
    #[new]
    #[pyo3(signature = (source="auto"))]
    fn new(py: Python<'_>, source: &str) -> PyResult<PyExits> {
        let kind = match source {
            "auto" => None,
            "bpf" => Some(SourceKind::Bpf),
            "netlink" => Some(SourceKind::Netlink),
            other => {
                return Err(PyValueError::new_err(format!(
                    "no exits from {other:?}: choose auto, bpf or netlink"
                )));
            }
        };
        let open = py.detach(|| Exits::open(kind)).map_err(|error| python_error(py, error))?;
        Ok(PyExits { kind: open.kind(), open: Mutex::new(Some(Arc::new(open))) })
    }

    /// Where the exits come from: "bpf" or "netlink".
    #[getter]
    fn source(&self) -> &'static str {
        self.kind.name()
    }

    /// Return a descriptor that is readable while exits wait, for select, poll and asyncio.
    ///
    /// Raises ValueError after `close`.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.with(py, |open| Ok(open.fd().as_raw_fd()))
    }

    /// Number of exits lost so far. Raises ValueError after `close`.
    ///
    /// With netlink a loss shows at the next exit on the same CPU.
    #[getter]
    fn lost(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, Exits::lost)
    }

    /// Return all exits that wait, without waiting for more.
    ///
    /// Raises OSError, and ValueError after `close`.
    fn read(&self, py: Python<'_>) -> PyResult<Vec<PyTask>> {
        Ok(self.with(py, Exits::read)?.into_iter().map(task).collect())
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Wait for the next exit, and return it. Raises ValueError after `close`.
    fn __next__(&self, py: Python<'_>) -> PyResult<PyTask> {
        loop {
            py.check_signals()?;
            let next = self.with(py, |open| match open.next()? {
                None => open.wait(WAIT_MS).map(|_| None),
                next => Ok(next),
            })?;
            if let Some(next) = next {
                return Ok(task(next));
            }
        }
    }

    /// Return the exits as an asynchronous iterator.
    fn __aiter__<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("taskstats._aio")?.getattr("exits")?.call1((slf,))
    }

    /// Stop listening. Closing again does nothing.
    fn close(&self, py: Python<'_>) {
        let open = self.locked(py).take();
        py.detach(|| {
            if let Some(open) = open {
                open.end_waits();
            }
        });
    }

    fn __repr__(&self) -> String {
        format!("<taskstats.Exits: {}>", self.source())
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
}
