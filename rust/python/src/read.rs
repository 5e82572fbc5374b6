//! `taskstats._core.read`: the records of many recordings as columns.

use std::sync::Arc;

use precise_top_sources::DumpFile;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::columns::{self, LostRow, PyColumns};
use crate::convert::moment;
use crate::dump::PyDump;
use crate::errors::python_error;
use crate::recording::Recording;

/// What `read` is given.
enum Given {
    /// A recording that is not open yet.
    Named(Recording),
    /// A file that is open, and indices of its snapshots.
    Open(Arc<DumpFile>, Vec<usize>),
}

impl Given {
    fn of(given: &Bound<'_, PyAny>) -> PyResult<Given> {
        if let Ok(dump) = given.cast::<PyDump>() {
            return Ok(Given::Open(Arc::clone(&dump.get().file), dump.get().all_places()));
        }
        let none = || PyTypeError::new_err("give a path, a binary file, bytes, or a list of these");
        Recording::of(given)?.map(Given::Named).ok_or_else(none)
    }
}

/// Return the records of all snapshots of one or more recordings as columns.
///
/// `paths` are paths, binary files, bytes of recordings, and Dumps. All CPUs
/// read in parallel, without the GIL, and all rows are in memory then. `columns` are names of `FIELDS`, and `time_ns` and
/// `monotonic_ns` (the snapshot's begin), `exited`, `host`, `boot_id`, `source`, `path`, `user`,
/// `cgroup` and `cmdline`; None reads all fields that the files hold, with time, host, boot id and
/// `exited`. Only snapshots that began at or after `begin_ns` and before `end_ns` (ns since 1970)
/// are read. `mmap` and `record_size` are as in `open`.
///
/// Raises OSError, ValueError for an unknown column, and ParseError for what is damaged or no
/// recording. With `errors="skip"` all that cannot be read is left out, listed in `Columns.lost`,
/// and reported by a `DamageWarning`; damaged names are None.
#[pyfunction]
#[pyo3(name = "read", signature = (
    paths, columns=None, *, begin_ns=None, end_ns=None, errors="raise", mmap=true, record_size=None
))]
#[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python function")]
pub(crate) fn read_recordings(
    py: Python<'_>,
    paths: Vec<Bound<'_, PyAny>>,
    columns: Option<Vec<String>>,
    begin_ns: Option<Bound<'_, PyAny>>,
    end_ns: Option<Bound<'_, PyAny>>,
    errors: &str,
    mmap: bool,
    record_size: Option<usize>,
) -> PyResult<PyColumns> {
    let skip = columns::skips(errors)?;
    let given = paths.iter().map(Given::of).collect::<PyResult<Vec<_>>>()?;
    let begin_ns = begin_ns.as_ref().map(moment).transpose()?.flatten();
    let end_ns = end_ns.as_ref().map(|time| moment(time).map(|time| time.unwrap_or(0)));
    let times = begin_ns.unwrap_or(0)..end_ns.transpose()?.unwrap_or(u64::MAX);
    let opened = py.detach(|| {
        let (mut files, mut unopened) = (Vec::new(), Vec::new());
        for given in given {
            let (file, mut indices) = match given {
                Given::Open(file, indices) => (file, indices),
                Given::Named(recording) => match recording.open(mmap, record_size) {
                    Ok(file) => {
                        let indices = (0..file.reader().len()).collect();
                        (Arc::new(file), indices)
                    }
                    Err(error) => {
                        let row = LostRow::file(recording.name(), &error).filter(|_| skip);
                        unopened.push(row.ok_or(error)?);
                        continue;
                    }
                },
            };
            let time_ns = |index: usize| file.reader().time_ns(index);
            indices.retain(|&index| time_ns(index).is_some_and(|time_ns| times.contains(&time_ns)));
            files.push((file, indices));
        }
        Ok((files, unopened))
    });
    let (files, unopened) = opened.map_err(|error| python_error(py, error))?;
    columns::read(py, files, columns, skip, unopened)
}
