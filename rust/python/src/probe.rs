//! What works on this machine, and the privileges of this process.

use precise_top_sources::Report;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::convert::source_kind;
use crate::errors::python_error;

/// What is known of a source, or of delay accounting, on this machine.
#[pyclass(frozen, name = "SourceReport", module = "taskstats")]
pub(crate) struct PySourceReport(Report);

#[pymethods]
impl PySourceReport {
    /// Its name.
    #[getter]
    fn name(&self) -> &str {
        self.0.name
    }

    /// Whether it works here.
    #[getter]
    fn available(&self) -> bool {
        self.0.available
    }

    /// The same in a word: found, denied (a privilege is missing), off (it is switched
    /// off), unsupported (the kernel lacks it) or failed.
    #[getter]
    fn state(&self) -> &str {
        self.0.state
    }

    /// Why, or why not.
    #[getter]
    fn reason(&self) -> &str {
        &self.0.reason
    }

    /// What to type to get it; empty where nothing is to be done.
    #[getter]
    fn hint(&self) -> &str {
        &self.0.hint
    }

    /// How exact its CPU times are; empty where it does not work.
    #[getter]
    fn precision(&self) -> &str {
        self.0.precision
    }

    fn __repr__(&self) -> String {
        let Report { name, state, reason, .. } = &self.0;
        format!("<taskstats.SourceReport: {name} {state}: {reason}>")
    }
}

/// A report on every source of this version, the best first.
#[pyfunction]
pub(crate) fn sources(py: Python<'_>) -> Vec<PySourceReport> {
    py.detach(precise_top_sources::sources).into_iter().map(PySourceReport).collect()
}

/// A report on delay accounting (kernel.task_delayacct).
#[pyfunction]
pub(crate) fn delayacct(py: Python<'_>) -> PySourceReport {
    PySourceReport(py.detach(precise_top_sources::delayacct))
}

/// Keeps only the privileges that an open source of that name needs per call, and
/// becomes the user who called sudo. For a process with one thread.
#[pyfunction]
pub(crate) fn drop_privileges(py: Python<'_>, source_name: &str) -> PyResult<()> {
    let kind = source_kind(source_name)?.ok_or_else(|| {
        PyValueError::new_err("give the name of an open source: proc, bpf, netlink or procfs")
    })?;
    precise_top_sources::drop_privileges(kind).map_err(|error| python_error(py, error))
}

/// Makes orphans among this process's descendants its own children (or no longer), so
/// that it can wait for them.
#[pyfunction]
pub(crate) fn adopt_orphans(py: Python<'_>, adopt: bool) -> PyResult<()> {
    precise_top_sources::adopt_orphans(adopt).map_err(|error| python_error(py, error))
}
