//! `taskstats.History`: the intervals of a source, kept in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precise_top_core::history::{History, Limits, Peak};
use precise_top_core::{Interval, ParseError, Snapshot};
use precise_top_sources::CgroupSampler;
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;

use crate::convert::{metric, metrics, moment};
use crate::errors::parse_error;
use crate::interval::PyInterval;
use crate::kept::PyKept;
use crate::snapshot::PySnapshot;
use crate::source::PySource;

/// The last intervals of a source, kept in memory as differences.
///
/// Intervals older than `minutes` are forgotten, and some of the oldest where all take more than
/// `max_bytes`. Before that, tasks that were born and died in one interval become one row for each
/// name and parent, with their sums; `exact_since` is the first interval without such rows. An
/// interval keeps its number, from 0 up. Raises ValueError for a limit that is not positive.
#[pyclass(frozen, name = "History", module = "taskstats")]
pub(crate) struct PyHistory {
    inner: Mutex<History>,
    cgroups: Mutex<CgroupSampler>,
}

impl PyHistory {
    /// Locks the history, from code that is detached from the interpreter.
    fn locked(&self) -> MutexGuard<'_, History> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what the files of the cgroups of a snapshot say, now and then.
    fn note_cgroups(&self, history: &mut History, snapshot: &Snapshot) {
        let mut cgroups = self.cgroups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(readings) = cgroups.of(snapshot) {
            history.note_cgroups(&readings);
        }
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut History) -> Result<T, ParseError> + Send,
    ) -> PyResult<T> {
        py.detach(|| act(&mut self.locked())).map_err(|error| parse_error(py, error))
    }
}

impl PyHistory {
    /// Appends an interval of a source.
    pub(crate) fn append(
        &self,
        py: Python<'_>,
        interval: &Interval,
        source: Option<&PySource>,
    ) -> PyResult<()> {
        let unchanged = source.map(|source| source.unchanged(py)).transpose()?.flatten();
        self.with(py, |history| {
            self.note_cgroups(history, interval.cur());
            history.push(interval, unchanged.as_ref())
        })
    }

    /// How old the oldest interval is from which on no tasks are merged, in seconds; None where
    /// none are.
    pub(crate) fn exact_s(&self) -> Option<f64> {
        self.locked().exact_ns().map(|ns| ns as f64 / 1e9)
    }
}

fn no_interval(number: u64) -> PyErr {
    PyIndexError::new_err(format!("the history has no interval {number}"))
}

#[pymethods]
impl PyHistory {
    #[new]
    #[pyo3(signature = (*, minutes=60.0, max_bytes=67_108_864))]
    fn new(minutes: f64, max_bytes: usize) -> PyResult<PyHistory> {
        if !(minutes > 0.0 && minutes <= 1e8) || max_bytes == 0 {
            return Err(PyValueError::new_err("the limits of a history are positive numbers"));
        }
        let limits = Limits { span_ns: (minutes * 60e9) as u64, bytes: max_bytes };
        let inner = Mutex::new(History::new(limits));
        Ok(PyHistory { inner, cgroups: Mutex::new(CgroupSampler::default()) })
    }

    /// Begin with a snapshot of all tasks, to which the next interval connects.
    ///
    /// Raises ParseError for a snapshot with `changed` after the first.
    fn begin(&self, py: Python<'_>, snapshot: &PySnapshot) -> PyResult<()> {
        let snapshot = Arc::clone(&snapshot.inner);
        self.with(py, |history| {
            self.note_cgroups(history, &snapshot);
            history.begin(&snapshot)
        })
    }

    /// Append an interval. `source` is the one that holds the tasks that did not run.
    ///
    /// An interval of the tasks that ran which connects to nothing that is here is left out.
    #[pyo3(signature = (interval, source=None))]
    fn push(
        &self,
        py: Python<'_>,
        interval: &PyInterval,
        source: Option<&PySource>,
    ) -> PyResult<()> {
        self.append(py, &interval.inner, source)
    }

    /// Set the columns whose peaks are kept with the next intervals. Raises ValueError.
    fn measure(&self, py: Python<'_>, columns: Vec<String>) -> PyResult<()> {
        let metrics = metrics(&columns)?;
        py.detach(|| self.locked().measure(metrics));
        Ok(())
    }

    /// Number of the oldest interval.
    #[getter]
    fn first(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.locked().numbers().start)
    }

    /// Number of the newest interval plus one.
    #[getter]
    fn end(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.locked().numbers().end)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<taskstats.History: {} intervals>", self.__len__(py))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        let numbers = py.detach(|| self.locked().numbers());
        (numbers.end - numbers.start) as usize
    }

    /// Bytes that the intervals take.
    #[getter]
    fn bytes(&self, py: Python<'_>) -> usize {
        py.detach(|| self.locked().bytes())
    }

    /// Number of the first interval from which on no tasks are merged.
    #[getter]
    fn exact_since(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.locked().exact_since())
    }

    /// How old the oldest interval is from which on no tasks are merged, in seconds.
    ///
    /// None where no tasks are merged.
    #[getter(exact_s)]
    fn exact_age(&self, py: Python<'_>) -> Option<f64> {
        py.detach(|| self.exact_s())
    }

    /// Return the interval of a number. Raises IndexError where it is not here any more.
    fn interval(&self, py: Python<'_>, number: u64) -> PyResult<PyKept> {
        let kept = self.with(py, |history| history.frame(number))?;
        kept.map(|inner| PyKept { inner }).ok_or_else(|| no_interval(number))
    }

    /// Return the interval from the end of one interval to the end of a later one.
    ///
    /// It has all tasks, also those that died in between. None where intervals in between are
    /// missing.
    fn span(&self, py: Python<'_>, begin: u64, end: u64) -> PyResult<Option<PyInterval>> {
        let span = self.with(py, |history| history.span(begin, end))?;
        Ok(span.map(|interval| PyInterval::new(Arc::new(interval))))
    }

    /// Return when an interval began and ended, in ns since 1970. Raises IndexError.
    fn times_ns(&self, py: Python<'_>, number: u64) -> PyResult<(u64, u64)> {
        let times = py.detach(|| self.locked().times(number));
        let (begin, end) = times.ok_or_else(|| no_interval(number))?;
        Ok((begin.realtime_ns, end.realtime_ns))
    }

    /// Return for how many ns the machine was suspended in an interval. Raises IndexError.
    fn suspended_ns(&self, py: Python<'_>, number: u64) -> PyResult<u64> {
        let times = py.detach(|| self.locked().times(number));
        let (begin, end) = times.ok_or_else(|| no_interval(number))?;
        let passed_ns = end.boottime_ns.saturating_sub(begin.boottime_ns);
        Ok(passed_ns.saturating_sub(end.monotonic_ns.saturating_sub(begin.monotonic_ns)))
    }

    /// Return whether an interval begins where the one before it ends.
    fn connects(&self, py: Python<'_>, number: u64) -> bool {
        py.detach(|| self.locked().connects(number))
    }

    /// Return the number of the interval that holds a time, in ns since 1970.
    ///
    /// This is the one with the earliest end at or after it, else the newest. None where there
    /// is no interval.
    fn at(&self, py: Python<'_>, time_ns: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
        let time_ns = moment(time_ns)?.unwrap_or(0);
        Ok(py.detach(|| self.locked().at_time(time_ns)))
    }

    /// Return the highest cell and the sum of a column in each interval from `start` to `stop`.
    ///
    /// Only known for columns that were to be measured when the interval was pushed; NaN for
    /// others. Raises ValueError for an unknown column.
    fn peaks(
        &self,
        py: Python<'_>,
        column: &str,
        start: u64,
        stop: u64,
    ) -> PyResult<Vec<(f32, f32)>> {
        let metric = metric(column)?;
        let unknown = Peak { highest: f32::NAN, sum: f32::NAN };
        let peaks = py.detach(|| {
            let history = self.locked();
            let numbers = start.max(history.numbers().start)..stop.min(history.numbers().end);
            numbers
                .map(|number| history.peak(number, metric).unwrap_or(unknown))
                .map(|peak| (peak.highest, peak.sum))
                .collect()
        });
        Ok(peaks)
    }
}

#[pymethods]
impl PyKept {
    /// The interval as it was pushed.
    #[getter]
    fn interval(&self) -> PyInterval {
        PyInterval::new(Arc::clone(&self.inner.interval))
    }

    /// Return the interval with all tasks: those that did not run have their last values.
    fn completed(&self, py: Python<'_>) -> PyResult<PyInterval> {
        let completed = py.detach(|| self.inner.completed());
        Ok(PyInterval::new(completed.map_err(|error| parse_error(py, error))?))
    }

    /// Return `completed().cur`, which takes half the time.
    fn completed_snapshot(&self, py: Python<'_>) -> PyResult<PySnapshot> {
        let completed = py.detach(|| self.inner.completed_snapshot());
        Ok(PySnapshot::new(completed.map_err(|error| parse_error(py, error))?))
    }
}
