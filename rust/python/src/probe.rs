//! What works on this machine, and the privileges of this process.

use std::collections::HashMap;

use precise_top_sources::Report;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::convert::{lossy, source_kind};
use crate::errors::python_error;

/// Whether a source, or delay accounting, works on this machine.
#[pyclass(frozen, name = "SourceReport", module = "taskstats")]
pub(crate) struct PySourceReport(Report);

#[pymethods]
impl PySourceReport {
    /// Name of the source, or "delayacct".
    #[getter]
    fn name(&self) -> &str {
        self.0.name
    }

    /// Whether it works here.
    #[getter]
    fn available(&self) -> bool {
        self.0.available
    }

    /// One word for whether it works.
    ///
    /// "found" it works, "denied" a privilege is missing, "off" it is switched off, "unsupported"
    /// the kernel lacks it, "failed" another error.
    #[getter]
    fn state(&self) -> &str {
        self.0.state
    }

    /// Why it works, or why not, in words.
    #[getter]
    fn reason(&self) -> &str {
        &self.0.reason
    }

    /// What to type to get it; empty where nothing helps or is needed.
    #[getter]
    fn hint(&self) -> &str {
        &self.0.hint
    }

    /// How exact its CPU times are, in words; empty where it does not work.
    #[getter]
    fn precision(&self) -> &str {
        self.0.precision
    }

    fn __repr__(&self) -> String {
        let Report { name, state, reason, .. } = &self.0;
        format!("<taskstats.SourceReport: {name} {state}: {reason}>")
    }
}

/// Return a report on every source, in the order in which "auto" tries them.
#[pyfunction]
pub(crate) fn sources(py: Python<'_>) -> Vec<PySourceReport> {
    py.detach(precise_top_sources::sources).into_iter().map(PySourceReport).collect()
}

/// Return a report on delay accounting (`sysctl kernel.task_delayacct`).
#[pyfunction]
pub(crate) fn delayacct(py: Python<'_>) -> PySourceReport {
    PySourceReport(py.detach(precise_top_sources::delayacct))
}

/// Keep only the privileges that the open source `source_name` needs for each call.
///
/// None stands for no source: all privileges are dropped.
///
/// Becomes the user who called sudo (SUDO_UID, SUDO_GID), sets no_new_privs (prctl(2)) and
/// empties the capability sets: bpf keeps CAP_BPF, netlink CAP_NET_ADMIN. Call it in a process
/// with one thread, before the first snapshot. Raises Unsupported where the package's background
/// thread runs already, OSError, and ValueError for another name.
#[pyfunction]
#[pyo3(signature = (source_name))]
pub(crate) fn drop_privileges(py: Python<'_>, source_name: Option<&str>) -> PyResult<()> {
    let kind = source_name.map(source_kind).transpose()?;
    if kind == Some(None) {
        let message = "give the name of an open source: proc, bpf, netlink or procfs";
        return Err(PyValueError::new_err(message));
    }
    let kind = kind.flatten();
    precise_top_sources::drop_privileges(kind).map_err(|error| python_error(py, error))
}

/// Let all threads of this process share one heap (M_ARENA_MAX, mallopt(3)).
///
/// For a process that should be small again after a burst of tasks: glibc keeps the memory that
/// the package's background thread has freed. Call it before the first source is opened.
#[pyfunction]
pub(crate) fn share_heap() {
    precise_top_sources::share_heap();
}

/// Make this process the parent of its orphaned descendants, or stop doing so.
///
/// Sets PR_SET_CHILD_SUBREAPER (prctl(2)), so that the process can wait for them. Raises OSError.
#[pyfunction]
pub(crate) fn adopt_orphans(py: Python<'_>, adopt: bool) -> PyResult<()> {
    precise_top_sources::adopt_orphans(adopt).map_err(|error| python_error(py, error))
}

/// Return where cgroup v2 is mounted; None where it is not mounted.
///
/// Source: /proc/self/mountinfo (proc(5)).
#[pyfunction]
pub(crate) fn cgroup_mount() -> Option<std::path::PathBuf> {
    precise_top_sources::cgroup_mount()
}

/// Return the controllers among cpu, memory and io that are not on cgroup v2 here, as they are on
/// v1; all three where v2 is not mounted.
#[pyfunction]
pub(crate) fn cgroups_not_on_v2() -> Vec<&'static str> {
    precise_top_sources::cgroups_not_on_v2()
}

/// Return the text of the files of a cgroup (v2), by their names, without those that it lacks or
/// that may not be read.
///
/// `path` is as /proc/PID/cgroup has it, `mount` where cgroup v2 is mounted, if not where
/// `cgroup_mount` returns it. Empty where it is not mounted, and for a path outside of the cgroup
/// namespace.
#[pyfunction]
#[pyo3(signature = (path, names, mount=None))]
pub(crate) fn cgroup_files(
    path: &str,
    names: Vec<String>,
    mount: Option<std::path::PathBuf>,
) -> HashMap<String, String> {
    let names = names.iter().map(String::as_str);
    let files = precise_top_sources::cgroup_files(path.as_bytes(), names, mount).into_iter();
    files.map(|(name, text)| (name.to_owned(), lossy(&text))).collect()
}
