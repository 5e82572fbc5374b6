//! `taskstats.Recorder`: appends snapshots to a dump.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use precise_top_core::dump::Options;
use precise_top_sources::{Error, Policy, Recorder};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::python_error;
use crate::snapshot::PySnapshot;

/// Appends snapshots to a dump: a new file, made with mode 0600, or one that is
/// continued; a context manager.
///
/// `level` is zstd's (1 to 22), or None to leave frames uncompressed, so that whole ones
/// are read without a copy. `full_every` snapshots one is written whole, the others as
/// what changed. `sync` is the longest time in seconds that a loss of power may cost,
/// None leaves it to the kernel. A file of `rotate_bytes`, or whose first
/// snapshot is `rotate_after` seconds old, is put aside as NAME-000001.EXT and so on, of which `keep`
/// stay. OSError; Unsupported for a file that is no dump or that another recorder writes.
#[pyclass(frozen, name = "Recorder", module = "taskstats")]
pub(crate) struct PyRecorder {
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
        cmdlines=true
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
        cmdlines: bool,
    ) -> PyResult<PyRecorder> {
        if level.is_some_and(|level| !(1..=22).contains(&level)) {
            return Err(PyValueError::new_err("level is zstd's: give 1 to 22, or None"));
        }
        if full_every == 0 {
            return Err(PyValueError::new_err("full_every is a number of snapshots from 1 up"));
        }
        let policy = Policy {
            options: Options { full_every, level },
            sync: seconds("sync", sync)?,
            rotate_bytes,
            rotate_after: seconds("rotate_after", rotate_after)?,
            keep,
            cmdlines,
        };
        let recorder = py.detach(|| Recorder::open(&path, policy));
        let inner = Mutex::new(Some(recorder.map_err(|error| python_error(py, error))?));
        Ok(PyRecorder { inner })
    }

    /// Appends a snapshot, with the names of processes, users and cgroups that are new in
    /// it, in one write. Where that fails (OSError), the file is as it was before, or the
    /// error says that it could not be cut back.
    /// ParseError for a snapshot of a source opened with `changed=True`.
    fn write(&self, py: Python<'_>, snapshot: &PySnapshot) -> PyResult<()> {
        let snapshot = Arc::clone(&snapshot.inner);
        self.with(py, |recorder| recorder.write(&snapshot))
    }

    /// Waits until all that was written is on the disk.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, Recorder::sync)
    }

    /// Bytes of the present file.
    #[getter]
    fn size(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |recorder| Ok(recorder.size()))
    }

    /// Bytes that an earlier recorder had left unfinished, and that were dropped.
    #[getter]
    fn dropped(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |recorder| Ok(recorder.dropped()))
    }

    /// Ends the file with an index and closes it; a second time does nothing.
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
