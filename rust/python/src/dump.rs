//! `taskstats.Dump`: the snapshots of a recorded file.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use precise_top_core::dump::Cursor;
use precise_top_core::names::StringKey;
use precise_top_sources::DumpFile;
use pyo3::exceptions::{PyIndexError, PyLookupError, PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyDict, PySlice};

use crate::columns::{self, PyColumns};
use crate::convert::lossy;
use crate::errors::python_error;
use crate::snapshot::PySnapshot;

/// The snapshots of a recorded file, in the order they were taken: a sequence, and a
/// context manager. `taskstats.open` makes it; a slice is a Dump of the same file.
///
/// A snapshot is made when it is asked for. Going forward one by one costs a frame each;
/// a jump costs the run of frames since the last full one. ParseError with the offset
/// where a frame is damaged, OSError where the file was cut short meanwhile.
#[pyclass(frozen, name = "Dump", module = "taskstats", sequence)]
pub(crate) struct PyDump {
    pub(crate) file: Arc<DumpFile>,
    /// The first snapshot, the distance to the next one, and their number.
    first: usize,
    step: isize,
    length: usize,
    cursor: Arc<Mutex<Cursor>>,
}

impl PyDump {
    /// The index in the file of the snapshot at `index`.
    pub(crate) fn place(&self, index: usize) -> Option<usize> {
        let offset = isize::try_from(index).ok()?.checked_mul(self.step)?;
        (index < self.length).then_some(self.first.checked_add_signed(offset)?)
    }

    fn part(&self, first: usize, step: isize, length: usize) -> PyDump {
        let (file, cursor) = (Arc::clone(&self.file), Arc::new(Mutex::default()));
        PyDump { file, first, step, length, cursor }
    }

    fn snapshot(&self, py: Python<'_>, place: usize) -> PyResult<PySnapshot> {
        let snapshot = py.detach(|| {
            let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
            self.file.snapshot(place, &mut cursor)
        });
        Ok(PySnapshot::new(Arc::new(snapshot.map_err(|error| python_error(py, error))?)))
    }

    fn time(&self, index: usize) -> u64 {
        self.place(index).and_then(|place| self.file.reader().time_ns(place)).unwrap_or(0)
    }

    fn text(&self, key: StringKey) -> Option<String> {
        self.file.reader().names().last(&key).map(lossy)
    }
}

/// A time in ns since 1970: None for times before, u64::MAX for times beyond its range, as
/// both lie outside of all recordings.
fn moment(time_ns: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
    match time_ns.extract::<u64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(time_ns.py()) => {
            Ok((!time_ns.lt(0)?).then_some(u64::MAX))
        }
        time => time.map(Some),
    }
}

/// The snapshots of a dump, one after the other.
#[pyclass(frozen, name = "DumpIterator", module = "taskstats")]
pub(crate) struct PyDumpIterator {
    dump: PyDump,
    next: Mutex<usize>,
}

#[pymethods]
impl PyDumpIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PySnapshot>> {
        let place = {
            let mut next = self.next.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            self.dump.place(*next - 1)
        };
        place.map(|place| self.dump.snapshot(py, place)).transpose()
    }
}

#[pymethods]
impl PyDump {
    fn __len__(&self) -> usize {
        self.length
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = index.py();
        if let Ok(slice) = index.cast::<PySlice>() {
            let range = slice.indices(self.length as isize)?;
            let first = self.place(range.start as usize).unwrap_or(0);
            let step = self.step.saturating_mul(range.step);
            let part = self.part(first, step, range.slicelength);
            return Ok(Bound::new(py, part)?.into_any());
        }
        let Ok(index) = index.extract::<isize>() else {
            return Err(PyTypeError::new_err("a dump is indexed by integers and slices"));
        };
        let index = if index < 0 { index.checked_add_unsigned(self.length) } else { Some(index) };
        let place = index.and_then(|index| self.place(usize::try_from(index).ok()?));
        let place = place.ok_or_else(|| PyIndexError::new_err("dump index out of range"))?;
        Ok(Bound::new(py, self.snapshot(py, place)?)?.into_any())
    }

    fn __iter__(&self) -> PyDumpIterator {
        // Each iterator has its own cursor.
        PyDumpIterator { dump: self.part(self.first, self.step, self.length), next: Mutex::new(0) }
    }

    /// The file's name.
    #[getter]
    fn path(&self) -> PathBuf {
        self.file.path().to_owned()
    }

    /// Bytes of the file.
    #[getter]
    fn size(&self) -> usize {
        self.file.reader().size()
    }

    /// The bytes of the file, as pairs of begin and end, that belong to no whole snapshot,
    /// such as one that was not finished, as far as is known without reading any; `check`
    /// finds all damage.
    #[getter]
    fn gaps(&self) -> Vec<(usize, usize)> {
        self.file.reader().gaps().iter().map(|gap| (gap.start, gap.end)).collect()
    }

    /// When each snapshot was begun, in ns since 1970; no snapshot is read for it.
    #[getter]
    fn times_ns(&self) -> Vec<u64> {
        (0..self.length).map(|index| self.time(index)).collect()
    }

    /// Number of records of each snapshot; no snapshot is read for it.
    #[getter]
    fn rows(&self) -> Vec<usize> {
        let rows = |index| self.place(index).and_then(|place| self.file.reader().rows(place));
        (0..self.length).map(|index| rows(index).unwrap_or(0)).collect()
    }

    /// The index of the snapshot with the latest time that is not after `time_ns` (since 1970),
    /// None where all are later.
    fn find(&self, #[pyo3(from_py_with = moment)] time_ns: Option<u64>) -> Option<usize> {
        let time_ns = time_ns?;
        if (self.first, self.step) == (0, 1) && self.length == self.file.reader().len() {
            return self.file.reader().at_time(time_ns);
        }
        // Times need not ascend: the clock may have been set back.
        let earlier = (0..self.length).filter(|&index| self.time(index) <= time_ns);
        earlier.max_by_key(|&index| self.time(index))
    }

    /// The snapshot with the latest time that is not after `time_ns` (since 1970). LookupError
    /// where all are later.
    fn at(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = moment)] time_ns: Option<u64>,
    ) -> PyResult<PySnapshot> {
        let place = self.find(time_ns).and_then(|index| self.place(index));
        let place = place.ok_or_else(|| PyLookupError::new_err("every snapshot is later"))?;
        self.snapshot(py, place)
    }

    /// The snapshots that were begun from `begin_ns` to before `end_ns`, in ns since 1970.
    fn between(
        &self,
        #[pyo3(from_py_with = moment)] begin_ns: Option<u64>,
        #[pyo3(from_py_with = moment)] end_ns: Option<u64>,
    ) -> PyDump {
        let range = begin_ns.unwrap_or(0)..end_ns.unwrap_or(0);
        let inside = |&index: &usize| range.contains(&self.time(index));
        let first = (0..self.length).find(inside);
        let last = (0..self.length).rev().find(inside);
        match (first, last) {
            (Some(first), Some(last)) => {
                self.part(self.place(first).unwrap_or(0), self.step, last - first + 1)
            }
            _ => self.part(0, 1, 0),
        }
    }

    /// The name that the recorded machine had for a user id, None where it is not recorded.
    fn user(&self, uid: u32) -> Option<String> {
        self.text(StringKey::of_user(uid))
    }

    /// The path of a cgroup on the recorded machine, None where it is not recorded.
    fn cgroup(&self, cgroup_id: u64) -> Option<String> {
        self.text(StringKey::of_cgroup(cgroup_id))
    }

    /// The records of all snapshots in columns; see `taskstats.read`.
    #[pyo3(signature = (columns=None, *, errors="raise"))]
    fn read(
        &self,
        py: Python<'_>,
        columns: Option<Vec<String>>,
        errors: &str,
    ) -> PyResult<PyColumns> {
        let places = (0..self.length).filter_map(|index| self.place(index)).collect();
        columns::read(py, vec![(Arc::clone(&self.file), places)], columns, errors)
    }

    /// Reads every byte, and gives what cannot be read: a dictionary for each run of
    /// bytes, with `begin`, `end`, `reason` and the index of the `snapshot` that is lost,
    /// or None.
    fn check<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let damage = py.detach(|| self.file.reader().check());
        self.file.still_whole(!damage.is_empty()).map_err(|error| python_error(py, error))?;
        damage
            .into_iter()
            .map(|damage| {
                let row = PyDict::new(py);
                row.set_item("begin", damage.bytes.start)?;
                row.set_item("end", damage.bytes.end)?;
                row.set_item("reason", damage.error.kind.message())?;
                row.set_item("snapshot", damage.snapshot)?;
                Ok(row)
            })
            .collect()
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// The file is closed when the last of its snapshots is gone.
    fn __exit__(
        &self,
        _kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) {
    }

    fn __repr__(&self) -> String {
        format!("<taskstats.Dump: {} snapshots in {}>", self.length, self.file.path().display())
    }
}

/// The snapshots in a file: a dump (`ptop record`), a bare array of struct taskstats of
/// any version and byte order (as read from /proc/taskstats), or one snapshot's bytes
/// (`Snapshot.to_bytes`).
///
/// With `mmap` the file is mapped, and the records of uncompressed frames are views of
/// it; without, it is read. Should another process cut a mapped file short, what is read
/// afterwards raises OSError; but where a handler of SIGBUS was installed after the last
/// `open` (`faulthandler.enable()` does), that handler gets the signal, and the process
/// ends: enable it before, or give `mmap=False`. `record_size` overrides the bytes from one record of a
/// bare array to the next. OSError, or ParseError with `.offset`, where it cannot be read;
/// Unsupported where it is no regular file.
#[pyfunction]
#[pyo3(signature = (path, *, mmap=true, record_size=None))]
pub(crate) fn open(
    py: Python<'_>,
    path: PathBuf,
    mmap: bool,
    record_size: Option<usize>,
) -> PyResult<PyDump> {
    let file = py.detach(|| DumpFile::open(&path, mmap, record_size));
    let file = Arc::new(file.map_err(|error| python_error(py, error))?);
    let length = file.reader().len();
    Ok(PyDump { file, first: 0, step: 1, length, cursor: Arc::default() })
}
