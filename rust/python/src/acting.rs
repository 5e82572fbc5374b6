//! `taskstats.acting`: which task has a pid now, and the calls to act on it that Python lacks.

use precise_top_sources::acting;
use pyo3::prelude::*;

use crate::convert::lossy;
use crate::errors::python_error;

/// The task that has a pid now, as /proc shows it; `task_now` returns it.
#[pyclass(frozen, name = "TaskNow", module = "taskstats.acting")]
pub(crate) struct PyTaskNow(pub(crate) acting::TaskNow);

#[pymethods]
impl PyTaskNow {
    /// Its process id.
    #[getter]
    fn tgid(&self) -> u32 {
        self.0.tgid
    }

    /// Its command name.
    #[getter]
    fn name(&self) -> String {
        lossy(&self.0.name)
    }

    /// Its start in clock ticks since boot: field 22 of proc_pid_stat(5). With the pid it names
    /// one task.
    #[getter]
    fn start_ticks(&self) -> u64 {
        self.0.start_ticks
    }

    /// Whether it has died.
    #[getter]
    fn is_dead(&self) -> bool {
        self.0.is_dead
    }
}

/// Return the task that has this pid now, in the pid namespace of this process.
///
/// Raises NoSuchTask, and Unsupported where /proc shows another pid namespace.
#[pyfunction]
pub(crate) fn task_now(py: Python<'_>, pid: u32) -> PyResult<PyTaskNow> {
    acting::task_now(pid).map(PyTaskNow).map_err(|error| python_error(py, error))
}

/// Send a signal to one thread of a process (tgkill(2)).
///
/// The kernel compares no start: check it right before. Raises OSError.
#[pyfunction]
pub(crate) fn tgkill(py: Python<'_>, tgid: u32, tid: u32, signal: i32) -> PyResult<()> {
    acting::tgkill(tgid, tid, signal).map_err(|error| python_error(py, error))
}

/// Return the I/O priority of a task: its class times 2**13, and its level (ioprio_get(2)).
///
/// Raises OSError.
#[pyfunction]
pub(crate) fn ioprio(py: Python<'_>, tid: u32) -> PyResult<u16> {
    acting::ioprio(tid).map_err(|error| python_error(py, error))
}

/// Set the I/O priority of a task (ioprio_set(2)).
///
/// Raises OSError.
#[pyfunction]
pub(crate) fn set_ioprio(py: Python<'_>, tid: u32, priority: u16) -> PyResult<()> {
    acting::set_ioprio(tid, priority).map_err(|error| python_error(py, error))
}
