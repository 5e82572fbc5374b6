//! `taskstats.Recorder`: appends snapshots to a dump.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use precise_top_core::dump::Options;
use precise_top_sources::{Error, Policy, Recorder};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::python_error;
use crate::kept::PyKept;
use crate::snapshot::PySnapshot;

/// Append snapshots to a dump; a context manager.
///
/// A new file has the permissions `mode`; an existing dump is continued. `level` is zstd's (1 to 22); None
/// writes frames uncompressed, and a reader then maps full frames without a copy. Every
/// `full_every`-th snapshot is written in full, the others as differences. `sync` is the longest
/// time in seconds of data that a power loss may cost; None leaves that to the kernel. A file
/// that reaches `rotate_bytes`, or whose first snapshot is `rotate_after` seconds old, is renamed
/// to NAME-000001.EXT and so on. `keep` of these remain, and as many as have `keep_bytes` together with
/// the open one, and those written to in the last `keep_for` seconds. Where the file system has less
/// than `min_free` bytes, `write` raises OSError and removes nothing. `host` is recorded instead of the
/// host's name, and `metadata` with the snapshots: `Dump.metadata` returns it.
///
/// Raises OSError, ValueError for an argument out of range, and Unsupported for a file that is
/// no dump or that another recorder has open.
#[pyclass(frozen, name = "Recorder", module = "taskstats")]
pub(crate) struct PyRecorder {
    path: PathBuf,
    inner: Mutex<Option<Recorder>>,
}

impl PyRecorder {
    /// Locks the recorder, from code that is detached from the interpreter.
    fn locked(&self) -> MutexGuard<'_, Option<Recorder>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut Recorder) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        let outcome = py.detach(|| self.locked().as_mut().map(act));
        match outcome {
            None => Err(PyValueError::new_err("the recorder is closed")),
            Some(outcome) => outcome.map_err(|error| python_error(py, error)),
        }
    }
}

fn seconds(name: &str, seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let bad = |_| PyValueError::new_err(format!("{name} is no time: give seconds from 0 up"));
    seconds.map(|seconds| Duration::try_from_secs_f64(seconds).map_err(bad)).transpose()
}

#[pymethods]
impl PyRecorder {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    #[pyo3(signature = (
        path, *, level=3, full_every=300, sync=10.0, rotate_bytes=None, rotate_after=None, keep=None,
        keep_bytes=None, keep_for=None, min_free=None, mode=0o600, cmdlines=true, host=None, metadata=None
    ))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        level: Option<i32>,
        full_every: u32,
        sync: Option<f64>,
        rotate_bytes: Option<u64>,
        rotate_after: Option<f64>,
        keep: Option<usize>,
        keep_bytes: Option<u64>,
        keep_for: Option<f64>,
        min_free: Option<u64>,
        mode: u32,
        cmdlines: bool,
        host: Option<String>,
        metadata: Option<BTreeMap<String, String>>,
    ) -> PyResult<PyRecorder> {
        if level.is_some_and(|level| !(1..=22).contains(&level)) {
            return Err(PyValueError::new_err("level is zstd's: give 1 to 22, or None"));
        }
        if full_every == 0 {
            return Err(PyValueError::new_err("full_every is a number of snapshots from 1 up"));
        }
        if mode & !0o666 != 0 || mode & 0o600 != 0o600 {
            return Err(PyValueError::new_err(
                "mode is of a file that its owner reads and writes: as 0o640",
            ));
        }
        let policy = Policy {
            options: Options { full_every, level },
            sync: seconds("sync", sync)?,
            rotate_bytes,
            rotate_after: seconds("rotate_after", rotate_after)?,
            keep,
            keep_bytes,
            keep_for: seconds("keep_for", keep_for)?,
            min_free,
            mode,
            cmdlines,
            host,
            metadata: metadata.into_iter().flatten().collect(),
        };
        let recorder = py.detach(|| Recorder::open(&path, policy));
        let inner = Mutex::new(Some(recorder.map_err(|error| python_error(py, error))?));
        Ok(PyRecorder { path, inner })
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let size = py.detach(|| self.locked().as_ref().map(Recorder::size));
        let state = size.map_or_else(|| "closed".into(), |size| format!("{size} bytes"));
        format!("<taskstats.Recorder: {}, {state}>", self.path.display())
    }

    /// Append a snapshot in one write, with the names that are new in it.
    ///
    /// Snapshots of a source opened with `changed` are read as whole ones; none may be left out.
    /// Raises ParseError where the one before is missing, OSError where the write
    /// fails (the file is then as before, or the message says that it could not be cut back), and
    /// ValueError after `close`. `kept` is the interval of a history that the snapshot is of: the
    /// limits and use of cgroups are as of that time then.
    #[pyo3(signature = (snapshot, *, kept=None))]
    fn write(&self, py: Python<'_>, snapshot: &PySnapshot, kept: Option<&PyKept>) -> PyResult<()> {
        let snapshot = Arc::clone(&snapshot.inner);
        let cgroups = kept.and_then(|kept| kept.inner.cgroups.clone());
        self.with(py, |recorder| {
            let cgroups = cgroups.and_then(|cgroups| cgroups.unpacked());
            recorder.write_with(&snapshot, cgroups.as_ref())
        })
    }

    /// Wait until everything written is on the disk (fdatasync(2)).
    ///
    /// Raises OSError, and ValueError after `close`.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Recorder::sync)
    }

    /// Size of the current file, in bytes. Raises ValueError after `close`.
    #[getter]
    fn size(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |recorder| Ok(recorder.size()))
    }

    /// Number of unfinished bytes of an earlier recorder that were dropped.
    ///
    /// Raises ValueError after `close`.
    #[getter]
    fn dropped(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |recorder| Ok(recorder.dropped()))
    }

    /// What the file system cannot do, in words: lock the file, or sync it.
    ///
    /// Raises ValueError after `close`.
    #[getter]
    fn lacks(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.with(py, |recorder| Ok(recorder.lacks().to_vec()))
    }

    /// Write the index and close the file. Closing again does nothing. Raises OSError.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let finished = py.detach(|| {
            let recorder = self.locked().take();
            recorder.map_or(Ok(()), |mut recorder| recorder.finish())
        });
        finished.map_err(|error| python_error(py, error))
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.close(py)
    }
}
