//! What a recording or a history says of a cgroup.

use precise_top_core::{CgroupMetric, CgroupValue};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::interval::PyInterval;
use crate::kept::PyKept;

/// Return the limits and use of a cgroup that were recorded last before the end of an interval, by
/// the names of columns; None where the recording has none, or not of that cgroup.
///
/// `kept` holds those of an interval of a history. A limit is "max" where there is none. Increases,
/// rates and shares are those since the reading before, `elapsed_ns` ago, and None if there is none.
#[pyfunction]
#[pyo3(signature = (interval, path, kept=None))]
pub(crate) fn recorded_cgroup<'py>(
    py: Python<'py>,
    interval: &PyInterval,
    path: &str,
    kept: Option<&PyKept>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let readings = match kept {
        Some(kept) => kept.inner.cgroups.as_ref().and_then(|cgroups| cgroups.unpacked()),
        None => interval.inner.cur().names().and_then(|names| names.cgroups()),
    };
    let Some(used) = readings.and_then(|readings| readings.of(path.as_bytes())) else {
        return Ok(None);
    };
    let values = PyDict::new(py);
    for (metric, name, _) in CgroupMetric::TABLE {
        match used.value(metric) {
            None => values.set_item(name, py.None())?,
            Some(CgroupValue::Max) => values.set_item(name, "max")?,
            Some(CgroupValue::Int(number)) => values.set_item(name, number)?,
            Some(CgroupValue::Float(number)) => values.set_item(name, number)?,
        }
    }
    let elapsed_ns = Some(used.elapsed_ns).filter(|&elapsed_ns| elapsed_ns > 0);
    values.set_item("elapsed_ns", elapsed_ns)?;
    Ok(Some(values))
}
