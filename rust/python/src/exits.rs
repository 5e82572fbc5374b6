//! `taskstats.exits()`: tasks as they die.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use taskstats::{Error, Exit, Listener, SharedBytes, Snapshot};

use crate::errors::python_error;
use crate::task::PyTask;

/// How long a wait goes on before a signal's handler may run.
const WAIT_MS: i32 = 200;

struct Open {
    listener: Listener,
    events: Vec<Exit>,
    ready: VecDeque<Arc<Snapshot<SharedBytes>>>,
}

impl Open {
    /// Takes what has arrived, after waiting for as long as `wait_ms`.
    fn receive(&mut self, wait_ms: i32) -> Result<(), Error> {
        if wait_ms > 0 {
            self.listener.wait(wait_ms)?;
        }
        self.listener.drain(&mut self.events)?;
        for exit in self.events.drain(..) {
            self.ready.push_back(Arc::new(self.listener.snapshot(&exit)?));
        }
        Ok(())
    }
}

/// Tasks as they die: an iterator without end, and a context manager.
///
/// Each item is a Task with the last record that taskstats gives of it: its run time is
/// up to one tick old, and its memory is not torn down yet. A process of several
/// threads gives one Task a thread. Reading must keep up: a buffer of some thousand
/// exits a CPU stands in between, and `lost` counts what did not fit. AccessDenied
/// without CAP_NET_ADMIN; Unsupported in a container's user or pid namespace.
#[pyclass(frozen, name = "Exits", module = "taskstats")]
pub(crate) struct PyExits {
    open: Mutex<Option<Open>>,
}

impl PyExits {
    fn locked(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut Open) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let done = py.detach(|| self.locked().as_mut().map(act));
        match done {
            None => Err(PyValueError::new_err("the exits are closed")),
            Some(result) => result.map_err(|error| python_error(py, error)),
        }
    }
}

#[pymethods]
impl PyExits {
    #[new]
    fn new(py: Python<'_>) -> PyResult<PyExits> {
        let listener = py.detach(Listener::open).map_err(|error| python_error(py, error))?;
        let open = Open { listener, events: Vec::new(), ready: VecDeque::new() };
        Ok(PyExits { open: Mutex::new(Some(open)) })
    }

    /// A descriptor that is readable while exits wait: for select, poll and asyncio.
    /// ValueError after `close`.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        self.with(py, |open| Ok(open.listener.fd().as_raw_fd()))
    }

    /// Exits lost so far, as far as the kernel's numbers tell. ValueError after `close`.
    #[getter]
    fn lost(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |open| Ok(open.listener.lost()))
    }

    /// All exits that wait, without waiting for more. ValueError after `close`.
    fn read(&self, py: Python<'_>) -> PyResult<Vec<PyTask>> {
        self.with(py, |open| {
            open.receive(0)?;
            Ok(open.ready.drain(..).map(|snapshot| PyTask::new(snapshot, 0)).collect())
        })
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// The next exit; waits for it.
    fn __next__(&self, py: Python<'_>) -> PyResult<PyTask> {
        loop {
            py.check_signals()?;
            let next = self.with(py, |open| {
                if open.ready.is_empty() {
                    open.receive(WAIT_MS)?;
                }
                Ok(open.ready.pop_front())
            })?;
            if let Some(snapshot) = next {
                return Ok(PyTask::new(snapshot, 0));
            }
        }
    }

    /// Stops listening; a second time does nothing.
    fn close(&self, py: Python<'_>) {
        py.detach(|| *self.locked() = None);
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
