//! `taskstats._core.Tree`: the use of a tree of processes.

use std::sync::{Mutex, PoisonError};

use precise_top_sources::Tree;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyDict;

use crate::convert::lossy;
use crate::errors::python_error;

/// What the processes use that this process makes from now on, and all that they make:
/// by the bpf source, whoever waits for whom. AccessDenied or Unsupported where it is not
/// to be had.
#[pyclass(frozen, name = "Tree", module = "taskstats")]
pub(crate) struct PyTree(Mutex<Option<Tree>>);

#[pymethods]
impl PyTree {
    #[new]
    fn new(py: Python<'_>) -> PyResult<PyTree> {
        let tree = py.detach(Tree::open).map_err(|error| python_error(py, error))?;
        Ok(PyTree(Mutex::new(Some(tree))))
    }

    /// Ends the following and gives the sums, with what still lives up to now: numbers by
    /// name (ns, bytes, KiB; `missed` tasks are in none), and for each command name the
    /// processes and their CPU time in ns, but of `unnamed` tasks. ValueError a second time.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyDict>)> {
        let tree = self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner).take();
        let tree = tree.ok_or_else(|| PyValueError::new_err("the tree is no longer followed"))?;
        let sums = py.detach(|| tree.finish()).map_err(|error| python_error(py, error))?;
        let numbers = PyDict::new(py);
        for (name, number) in [
            ("processes", sums.processes),
            ("cpu_ns", sums.cpu_ns),
            ("tick_user_ns", sums.tick_user_ns),
            ("tick_system_ns", sums.tick_system_ns),
            ("minflt", sums.minflt),
            ("majflt", sums.majflt),
            ("nvcsw", sums.nvcsw),
            ("nivcsw", sums.nivcsw),
            ("cpu_delay_ns", sums.cpu_delay_ns),
            ("read_bytes", sums.read_bytes),
            ("write_bytes", sums.write_bytes),
            ("max_rss_kb", sums.max_rss_kb),
            ("missed", sums.missed),
            ("unnamed", sums.unnamed),
        ] {
            numbers.set_item(name, number)?;
        }
        let commands = PyDict::new(py);
        for command in sums.commands {
            commands.set_item(lossy(&command.name), (command.processes, command.cpu_ns))?;
        }
        Ok((numbers, commands))
    }
}
