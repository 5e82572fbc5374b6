//! `taskstats._core.ScanReader`: batches of the rows of recordings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use precise_top_core::columns::ColumnKind;
use precise_top_core::dump::Tasks;
use precise_top_sources::{Error, Lost, Scan, ScanOptions, ScanRows, WantsHost};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::columns::{LostRow, PyColumns, kinds, kinds_of_recording};
use crate::convert::{boot_id, known};
use crate::dump::PyDump;
use crate::errors::python_error;
use crate::row_filter::PyRowFilter;
use crate::signals::Signals;

/// A dump, and a range of its snapshots.
type Part<'py> = (Bound<'py, PyDump>, usize, usize);

/// The batches of the rows of dumps, in order: an iterator of `Columns`.
#[pyclass(frozen, name = "ScanReader", module = "taskstats")]
pub(crate) struct PyScanReader {
    scan: Mutex<Option<Scan>>,
}

impl Drop for PyScanReader {
    fn drop(&mut self) {
        // Its threads may wait for the interpreter.
        let scan = self.scan.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        Python::attach(|py| py.detach(|| drop(scan)));
    }
}

fn rows_of(name: &str) -> PyResult<ScanRows> {
    Ok(match name {
        "interval" => ScanRows::Intervals(Tasks::All),
        "changed" => ScanRows::Intervals(Tasks::Changed),
        "record" => ScanRows::Records,
        _ => {
            let message = format!("rows is {name:?}: give \"interval\", \"changed\" or \"record\"");
            return Err(PyValueError::new_err(message));
        }
    })
}

/// Asks a Python function, once for each host, whether to read its rows. What that raises counts
/// as yes: the rows are filtered again by who asks.
fn asking(wants: Py<PyAny>) -> WantsHost {
    let known: Mutex<HashMap<String, bool>> = Mutex::default();
    Box::new(move |host| {
        let answered = |known: &HashMap<String, bool>| known.get(host).copied();
        if let Some(wanted) = answered(&known.lock().unwrap_or_else(PoisonError::into_inner)) {
            return wanted;
        }
        let wanted = Python::attach(|py| wants.call1(py, (host,))?.is_truthy(py)).unwrap_or(true);
        known.lock().unwrap_or_else(PoisonError::into_inner).insert(host.into(), wanted);
        wanted
    })
}

#[pymethods]
impl PyScanReader {
    #[new]
    #[pyo3(signature = (parts, columns, *, rows, begin_ns=None, end_ns=None, hosts=None, condition=None, skip=false))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python function")]
    fn new(
        py: Python<'_>,
        parts: Vec<Part<'_>>,
        columns: Vec<String>,
        rows: &str,
        begin_ns: Option<u64>,
        end_ns: Option<u64>,
        hosts: Option<Py<PyAny>>,
        condition: Option<PyRowFilter>,
        skip: bool,
    ) -> PyResult<PyScanReader> {
        let rows = rows_of(rows)?;
        let kinds: Vec<ColumnKind> = match rows {
            ScanRows::Records => kinds(&columns)?,
            ScanRows::Intervals(_) => kinds_of_recording(&columns)?,
        };
        let files = parts.iter().map(|(dump, start, stop)| {
            let dump = dump.get();
            // An interval begins with a snapshot that is among those of the dump.
            let first = if matches!(rows, ScanRows::Records) { *start } else { (*start).max(1) };
            Ok((Arc::clone(&dump.file), dump.places(first..*stop)?))
        });
        let files = files.collect::<PyResult<_>>()?;
        let times = begin_ns.unwrap_or(0)..end_ns.unwrap_or(u64::MAX);
        let hosts = hosts.map(asking);
        let condition = condition.and_then(|filter| filter.0);
        if condition.is_some() && matches!(rows, ScanRows::Records) {
            return Err(PyValueError::new_err("a condition needs rows of intervals"));
        }
        let options = ScanOptions { kinds, rows, times, hosts, condition, skip };
        let scan = py.detach(|| Scan::new(files, options));
        Ok(PyScanReader { scan: Mutex::new(Some(scan)) })
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<PyColumns>> {
        py.check_signals()?;
        let signals = Signals::new();
        let stop = signals.stop();
        let batch = py.detach(|| {
            let mut scan = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
            scan.as_mut()?.next_batch(&stop)
        });
        let batch = batch.transpose().map_err(|error| signals.error(py, error))?;
        batch.map(PyColumns::of).transpose()
    }

    /// What could not be read and was left out so far, as of `Columns.lost`.
    #[getter]
    fn lost<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let lost = py.detach(|| {
            let scan = self.scan.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(scan) = &*scan else { return Vec::new() };
            let row = |lost: &Lost| LostRow::part(scan.files()[lost.part].0.path(), lost);
            scan.lost.iter().map(row).collect()
        });
        lost.iter().map(|lost| lost.to_dict(py)).collect()
    }
}

/// Return what each task used in the intervals of a range of a dump's snapshots, without those in
/// which it did not run.
///
/// A dictionary: `tasks` is a list of tuples (host, boot id, pid, start in ns, name, uid, cgroup id,
/// age in us, CPU time, delays, bytes read, bytes written), `intervals` their number, `interval_ns`
/// their length together, `span_ns` begin and end, `lost` as of `Columns.lost`.
#[pyfunction]
pub(crate) fn sum_tasks<'py>(
    py: Python<'py>,
    dump: &Bound<'py, PyDump>,
    start: usize,
    stop: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let signals = Signals::new();
    let asked = signals.stop();
    let file = Arc::clone(&dump.get().file);
    let summed = py.detach(|| precise_top_sources::sum_tasks(&file, start..stop, &asked));
    let (sums, lost) = summed.map_err(|error| match error {
        Error::GivenUp(_) => signals.error(py, error),
        error => python_error(py, error),
    })?;
    let boots: Vec<(Option<&str>, Option<String>)> =
        sums.boots.iter().map(|(host, id)| (known(host), boot_id(id))).collect();
    let tasks = sums.tasks.iter().map(|task| {
        let (host, boot_id) = &boots[task.boot];
        let name = String::from_utf8_lossy(&task.name).into_owned();
        let who = (host, boot_id, task.pid, task.start_ns, name, task.uid, task.cgroup_id);
        let used = (task.cpu_ns, task.delay_ns, task.read_bytes, task.write_bytes);
        (who, task.lived_us, used)
    });
    let found = PyDict::new(py);
    found.set_item("tasks", tasks.collect::<Vec<_>>())?;
    found.set_item("intervals", sums.intervals)?;
    found.set_item("interval_ns", sums.interval_ns)?;
    found.set_item("span_ns", sums.span_ns)?;
    let lost: PyResult<Vec<_>> =
        lost.iter().map(|lost| LostRow::part(file.path(), lost).to_dict(py)).collect();
    found.set_item("lost", lost?)?;
    Ok(found)
}
