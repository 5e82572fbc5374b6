//! `taskstats.KeptInterval`, and what holds the tasks that did not run.

use precise_top_core::CgroupsAt;
use precise_top_core::history::Kept;
use precise_top_core::interval::Unchanged;
use pyo3::prelude::*;

use crate::source::PySource;

/// An interval that a history kept.
///
/// `Screen.lines` and `Interval.fold` take it as `resting`: it holds the tasks that did not run,
/// with the values of that time.
#[pyclass(frozen, name = "KeptInterval", module = "taskstats")]
pub(crate) struct PyKept {
    pub(crate) inner: Kept,
}

/// What holds the tasks that did not run.
#[derive(FromPyObject)]
pub(crate) enum Resting<'py> {
    /// A source, after its last snapshot.
    Source(Bound<'py, PySource>),
    /// An interval of a history.
    Kept(Bound<'py, PyKept>),
}

impl PyKept {
    /// The readings of its cgroups.
    pub(crate) fn cgroups(&self) -> Option<CgroupsAt> {
        self.inner.cgroups.as_ref()?.unpacked()
    }
}

impl Resting<'_> {
    pub(crate) fn unchanged(&self, py: Python<'_>) -> PyResult<Option<Unchanged>> {
        match self {
            Resting::Source(source) => source.get().unchanged(py),
            Resting::Kept(kept) => Ok(kept.get().inner.unchanged.clone()),
        }
    }
}
