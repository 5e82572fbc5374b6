//! `taskstats._core.Tree`: the use of a tree of processes.

use std::sync::{Mutex, PoisonError};

use precise_top_sources::Tree;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyDict;

use crate::convert::lossy;
use crate::errors::python_error;

/// Follow the processes that this process starts from now on, and all that they start; with `pid`
/// that running process and all that descends from it.
///
/// The bpf source marks each at its fork, so orphans and unwaited children count. Raises
/// AccessDenied or Unsupported where BPF does not work, and NoSuchTask where no process has that
/// number. `taskstats.track` is the public interface.
#[pyclass(frozen, name = "Tree", module = "taskstats")]
pub(crate) struct PyTree(Mutex<Option<Tree>>);

#[pymethods]
impl PyTree {
    #[new]
    #[pyo3(signature = (pid=None))]
    fn new(py: Python<'_>, pid: Option<u32>) -> PyResult<PyTree> {
        let open = || pid.map_or_else(Tree::open, Tree::open_for);
        let tree = py.detach(open).map_err(|error| python_error(py, error))?;
        Ok(PyTree(Mutex::new(Some(tree))))
    }

    /// Stop following, and return `(sums, commands)`.
    ///
    /// Living processes count up to now.
    ///
    /// `sums` are numbers by name, in ns, bytes or KiB by the name's suffix; `missed` tasks are in
    /// none of them. `commands` maps a command name to its number of processes and their CPU time
    /// in ns; `unnamed` tasks are in none. Raises ValueError the second time.
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
