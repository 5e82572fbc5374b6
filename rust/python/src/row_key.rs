//! The name of a row that stays the same from screen to screen.

use precise_top_screen::{RowKey, text};
use pyo3::prelude::*;

use crate::acting::PyTaskNow;
use crate::interval::PyInterval;

/// The identity of a row: a task, or the title of a group.
///
/// `Lines.key` returns it, and `Screen` takes it as `selected_key`. Keys of one task are equal.
#[pyclass(frozen, eq, hash, from_py_object, name = "RowKey", module = "taskstats.screen")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PyRowKey(pub(crate) RowKey);

#[pymethods]
impl PyRowKey {
    /// The task's id, that of a thread where rows are threads; None for a titled group.
    #[getter]
    fn pid(&self) -> Option<u32> {
        match &self.0 {
            RowKey::Task(task) => Some(task.pid),
            RowKey::Title(_) => None,
        }
    }

    /// The title of a group; None for a task.
    #[getter]
    fn title(&self) -> Option<String> {
        match &self.0 {
            RowKey::Task(_) => None,
            RowKey::Title(title) => Some(text::safe(&String::from_utf8_lossy(title)).into_owned()),
        }
    }

    /// Return whether it is the task that has its pid now; `interval` is that of the row.
    ///
    /// Starts are compared: to the tick, or to a second where the source derives them.
    fn is_now(&self, interval: &PyInterval, now: &PyTaskNow) -> bool {
        match &self.0 {
            RowKey::Task(task) => task.is_in_proc(interval.inner.cur().header(), now.0.start_ns),
            RowKey::Title(_) => false,
        }
    }

    fn __repr__(&self) -> String {
        match &self.0 {
            RowKey::Task(task) => format!("<taskstats.screen.RowKey: pid {}>", task.pid),
            RowKey::Title(_) => {
                format!("<taskstats.screen.RowKey: {:?}>", self.title().unwrap_or_default())
            }
        }
    }
}
