//! `taskstats.Dump`: the snapshots of a recorded file.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use precise_top_core::dump::Cursor;
use precise_top_core::names::StringKey;
use precise_top_sources::DumpFile;
use pyo3::exceptions::{PyIndexError, PyLookupError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyDict, PySlice};

use crate::columns::{self, PyColumns};
use crate::convert::{lossy, moment};
use crate::errors::python_error;
use crate::recording::Recording;
use crate::signals::Signals;
use crate::snapshot::PySnapshot;

/// The snapshots of a file, in the order in which they were taken.
///
/// A sequence and a context manager; `open` returns it. Indexing returns a `Snapshot`, slicing
/// a Dump of the same file. A snapshot is decoded when it is requested: a step forward decodes
/// one frame, a jump all frames since the last full one. Access raises ParseError where a frame
/// is damaged, and OSError where the file was truncated after it was opened.
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

    /// The indices in the file of all snapshots.
    pub(crate) fn all_places(&self) -> Vec<usize> {
        (0..self.length).filter_map(|index| self.place(index)).collect()
    }

    /// The indices in the file of a range of snapshots. ValueError where others lie in between.
    pub(crate) fn places(&self, range: Range<usize>) -> PyResult<Range<usize>> {
        if self.step != 1 && self.length > 1 {
            let message = "a scan needs snapshots that follow each other: leave out the step";
            return Err(PyValueError::new_err(message));
        }
        let end = self.first + range.end.min(self.length);
        Ok((self.first + range.start).min(end)..end)
    }

    fn part(&self, first: usize, step: isize, length: usize) -> PyDump {
        let (file, cursor) = (Arc::clone(&self.file), Arc::new(Mutex::default()));
        PyDump { file, first, step, length, cursor }
    }

    fn snapshot(&self, py: Python<'_>, place: usize) -> PyResult<PySnapshot> {
        // Loops over a dump may run in C, where nothing else handles signals.
        py.check_signals()?;
        let signals = Signals::new();
        let stop = signals.stop();
        let snapshot = py.detach(|| {
            // Handlers of signals run Python, which may read this dump: nothing is locked then.
            let cursor = || self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
            let mut taken = mem::take(&mut *cursor()).until(stop);
            let snapshot = self.file.snapshot(place, &mut taken);
            *cursor() = taken;
            snapshot
        });
        Ok(PySnapshot::new(Arc::new(snapshot.map_err(|error| signals.error(py, error))?)))
    }

    fn time(&self, index: usize) -> u64 {
        self.place(index).and_then(|place| self.file.reader().time_ns(place)).unwrap_or(0)
    }

    fn text(&self, key: StringKey) -> Option<String> {
        self.file.reader().names().last(&key).map(lossy)
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

    /// Path of the file, as it was given to `open`.
    #[getter]
    fn path(&self) -> PathBuf {
        self.file.path().to_owned()
    }

    /// Size of the file, in bytes.
    #[getter]
    fn size(&self) -> usize {
        self.file.reader().size()
    }

    /// Ranges of bytes, as `(begin, end)`, that belong to no whole snapshot.
    ///
    /// For example a snapshot whose recorder was killed. Only the damage that shows without reading
    /// any snapshot; `check` finds all.
    #[getter]
    fn gaps(&self) -> Vec<(usize, usize)> {
        self.file.reader().gaps().iter().map(|gap| (gap.start, gap.end)).collect()
    }

    /// Begin of each snapshot, in ns since 1970.
    ///
    /// Reads no snapshot. Builds a new list each time.
    #[getter]
    fn times_ns(&self) -> Vec<u64> {
        (0..self.length).map(|index| self.time(index)).collect()
    }

    /// Number of records of each snapshot.
    ///
    /// Reads no snapshot. Builds a new list each time.
    #[getter]
    fn rows(&self) -> Vec<usize> {
        let rows = |index| self.place(index).and_then(|place| self.file.reader().rows(place));
        (0..self.length).map(|index| rows(index).unwrap_or(0)).collect()
    }

    /// Return the index of the last snapshot that began at or before `time_ns` (since 1970).
    ///
    /// None where all began later.
    fn find(&self, #[pyo3(from_py_with = moment)] time_ns: Option<u64>) -> Option<usize> {
        let time_ns = time_ns?;
        if (self.first, self.step) == (0, 1) && self.length == self.file.reader().len() {
            return self.file.reader().at_time(time_ns);
        }
        // Times need not ascend: the clock may have been set back.
        let earlier = (0..self.length).filter(|&index| self.time(index) <= time_ns);
        earlier.max_by_key(|&index| self.time(index))
    }

    /// Return the last snapshot that began at or before `time_ns` (since 1970).
    ///
    /// Raises LookupError where all began later, and what indexing raises.
    fn at(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = moment)] time_ns: Option<u64>,
    ) -> PyResult<PySnapshot> {
        let place = self.find(time_ns).and_then(|index| self.place(index));
        let place = place.ok_or_else(|| PyLookupError::new_err("every snapshot is later"))?;
        self.snapshot(py, place)
    }

    /// Return the snapshots that began at or after `begin_ns` and before `end_ns`.
    ///
    /// Times are in ns since 1970.
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

    /// Return the recorded machine's name of a user id, or None where it is not recorded.
    fn user(&self, uid: u32) -> Option<String> {
        self.text(StringKey::of_user(uid))
    }

    /// Return the path of a cgroup on the recorded machine, or None where it is not recorded.
    fn cgroup(&self, cgroup_id: u64) -> Option<String> {
        self.text(StringKey::of_cgroup(cgroup_id))
    }

    /// Return the records of all snapshots as columns; arguments and errors as of `read`.
    #[pyo3(signature = (columns=None, *, errors="raise"))]
    fn read(
        &self,
        py: Python<'_>,
        columns: Option<Vec<String>>,
        errors: &str,
    ) -> PyResult<PyColumns> {
        let files = vec![(Arc::clone(&self.file), self.all_places())];
        columns::read(py, files, columns, columns::skips(errors)?, Vec::new())
    }

    /// What the last recorder of the file said of itself, such as `version` and `label.NAME`.
    ///
    /// Empty where it said nothing.
    #[getter]
    fn metadata(&self) -> BTreeMap<String, String> {
        self.file.reader().metadata().into_iter().collect()
    }

    /// Return the snapshots of the file as it is now, from the first of this Dump on.
    ///
    /// That is this Dump where the file has not grown, where another file has its name, and where
    /// there is no file. Raises what `open` raises.
    fn refresh(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let (py, dump) = (slf.py(), slf.get());
        let grown = py.detach(|| dump.file.grown()).map_err(|error| python_error(py, error))?;
        let Some(file) = grown.filter(|_| dump.step == 1) else { return Ok(slf) };
        let (first, length) = (dump.first, file.reader().len().saturating_sub(dump.first));
        let file = Arc::new(file);
        Bound::new(py, PyDump { file, first, step: 1, length, cursor: Arc::default() })
    }

    /// Read every byte, and return the damage: one dictionary for each run of bytes.
    ///
    /// Keys are `begin` and `end` (offsets), `reason`, and `snapshot`, the index of the snapshot
    /// that is lost, or None. Raises OSError where the file was truncated after it was opened.
    fn check<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let signals = Signals::new();
        let stop = signals.stop();
        let mut all = Vec::new();
        let checked = py.detach(|| self.file.check(stop, |damage| all.push(damage)));
        checked.map_err(|error| signals.error(py, error))?;
        all.into_iter()
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

/// Open a recording: a file of snapshots, or the bytes of one.
///
/// `path` is a path, a binary file, or bytes. It is a dump (`ptop record`, `Recorder`), a bare array
/// of struct taskstats of any version and byte order (such as a copy of /proc/taskstats), or
/// snapshots' bytes (`Snapshot.to_bytes`). `record_size` overrides the bytes from one record of a
/// bare array to the next.
///
/// With `mmap` the file is mapped, and records of uncompressed frames are views of the map. Where
/// another process truncates the file, later reads raise OSError. This needs the package's SIGBUS
/// handler: a handler installed after the last `open` (as by `faulthandler.enable()`) gets the
/// signal instead and ends the process. Install it before, or pass `mmap=False` to read the file
/// without a map.
///
/// `descriptor` is the file if it is open already; `path` is then its name in messages. It is
/// duplicated, so close yours.
///
/// Raises OSError, ParseError with `.offset`, and Unsupported for what is no regular file.
#[pyfunction]
#[pyo3(signature = (path, *, mmap=true, record_size=None, descriptor=None))]
pub(crate) fn open(
    path: &Bound<'_, PyAny>,
    mmap: bool,
    record_size: Option<usize>,
    descriptor: Option<RawFd>,
) -> PyResult<PyDump> {
    let py = path.py();
    let recording = match descriptor {
        Some(descriptor) => Recording::Descriptor(descriptor, path.extract()?),
        None => Recording::of(path)?
            .ok_or_else(|| PyTypeError::new_err("give a path, a binary file, or bytes"))?,
    };
    let file = py.detach(|| recording.open(mmap, record_size));
    let file = Arc::new(file.map_err(|error| python_error(py, error))?);
    let length = file.reader().len();
    Ok(PyDump { file, first: 0, step: 1, length, cursor: Arc::default() })
}
