//! `taskstats._core.RecordedIntervals`: the intervals of a dump.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use precise_top_core::dump::{Cursor, Gap, Intervals};
use precise_top_core::{SharedBytes, Snapshot};
use precise_top_sources::Error;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;

use crate::dump::PyDump;
use crate::errors::python_error;
use crate::interval::PyInterval;
use crate::snapshot::PySnapshot;

/// Reads the snapshots of a dump and remembers those that are damaged.
#[derive(Default)]
struct SnapshotReader {
    /// Whether damaged snapshots are left out.
    skip: bool,
    cursor: Cursor,
    /// Why a snapshot cannot be read, by its index.
    lost: BTreeMap<usize, String>,
}

/// Why a snapshot is not available.
enum Unavailable {
    /// It is damaged, and left out.
    Damaged,
    /// The file cannot be read, or nothing is to be left out.
    Failed(Error),
}

impl SnapshotReader {
    fn read(
        &mut self,
        dump: &PyDump,
        index: usize,
    ) -> Result<Arc<Snapshot<SharedBytes>>, Unavailable> {
        let Some(place) = dump.place(index).filter(|_| !self.lost.contains_key(&index)) else {
            return Err(Unavailable::Damaged);
        };
        match dump.file.snapshot(place, &mut self.cursor) {
            Ok(snapshot) => Ok(Arc::new(snapshot)),
            Err(Error::Damaged { error, .. } | Error::Parse(error)) if self.skip => {
                self.lost.insert(index, error.to_string());
                Err(Unavailable::Damaged)
            }
            Err(error) => Err(Unavailable::Failed(error)),
        }
    }
}

#[derive(Default)]
struct State {
    reader: SnapshotReader,
    intervals: Intervals,
}

/// The intervals of a dump, by the index of the snapshot that ends each of them.
#[pyclass(frozen, name = "RecordedIntervals", module = "taskstats")]
pub(crate) struct PyRecordedIntervals {
    dump: Py<PyDump>,
    state: Mutex<State>,
}

impl PyRecordedIntervals {
    /// The result of `read`, which runs detached from the interpreter; None for what is
    /// damaged. IndexError if the dump has no snapshot at `index`.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        index: usize,
        read: impl FnOnce(&mut State, &PyDump) -> Result<T, Gap<Unavailable>> + Send,
    ) -> PyResult<Option<T>> {
        let dump = self.dump.get();
        if dump.place(index).is_none() {
            return Err(PyIndexError::new_err("dump index out of range"));
        }
        let found = py
            .detach(|| read(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), dump));
        match found {
            Ok(found) => Ok(Some(found)),
            Err(Gap::Unreadable { error: Unavailable::Failed(error), .. }) => {
                Err(python_error(py, error))
            }
            Err(_) => Ok(None),
        }
    }
}

#[pymethods]
impl PyRecordedIntervals {
    #[new]
    #[pyo3(signature = (dump, *, skip=false))]
    fn new(dump: Py<PyDump>, skip: bool) -> PyRecordedIntervals {
        let reader = SnapshotReader { skip, ..SnapshotReader::default() };
        PyRecordedIntervals { dump, state: Mutex::new(State { reader, ..State::default() }) }
    }

    /// Return the snapshot at `index`, or None where it is damaged and `skip` is given.
    ///
    /// Raises IndexError where there is none, ParseError where it is damaged, OSError where the
    /// file was truncated.
    fn snapshot(&self, py: Python<'_>, index: usize) -> PyResult<Option<PySnapshot>> {
        let read = |state: &mut State, dump: &PyDump| {
            let snapshot = state.reader.read(dump, index);
            snapshot.map_err(|error| Gap::Unreadable { index, error })
        };
        Ok(self.with(py, index, read)?.map(PySnapshot::new))
    }

    /// Return the interval that ends with the snapshot at `index`.
    ///
    /// None across a gap of the recording, and where a snapshot is damaged and `skip` is given.
    /// Raises IndexError where there is no such snapshot, ParseError where it is damaged, OSError
    /// where the file was truncated.
    fn interval(&self, py: Python<'_>, index: usize) -> PyResult<Option<PyInterval>> {
        let read = |State { reader, intervals }: &mut State, dump: &PyDump| {
            intervals.get(index, |index| reader.read(dump, index))
        };
        Ok(self.with(py, index, read)?.map(PyInterval::new))
    }

    /// Why a snapshot is damaged, by its index; only snapshots that were requested.
    #[getter]
    fn lost(&self, py: Python<'_>) -> BTreeMap<usize, String> {
        let state = self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        state.reader.lost.clone()
    }
}

/// Return whether two starts of one pid in a recording, in ns of CLOCK_BOOTTIME, are one task's.
///
/// Derived starts of one task differ by milliseconds. An unknown start is no difference.
#[pyfunction]
pub(crate) fn same_start(one_ns: Option<u64>, other_ns: Option<u64>) -> bool {
    precise_top_core::identity::is_same_in_recording(one_ns, other_ns)
}
