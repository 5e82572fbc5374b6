//! Conversions between Python values and those of the core.

use std::collections::HashSet;

use precise_top_core::{Cell, Field, FieldSet, Filter, Metric, SourceKind};
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// The field with this name, or a ValueError that says where the names are listed.
pub(crate) fn field(name: &str) -> PyResult<Field> {
    Field::from_name(name).ok_or_else(|| {
        PyValueError::new_err(format!("no field {name:?}: taskstats.FIELDS lists the fields"))
    })
}

/// A text of a header; None where it is unknown.
pub(crate) fn known(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The id of a boot in hexadecimal digits; None where it is unknown.
pub(crate) fn boot_id(id: &[u8; 16]) -> Option<String> {
    (*id != [0; 16]).then(|| id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The set of fields with these names.
pub(crate) fn field_set(names: Vec<String>) -> PyResult<FieldSet> {
    names.iter().map(|name| field(name)).collect()
}

/// The metric with this name, or a ValueError that lists the names.
pub(crate) fn metric(name: &str) -> PyResult<Metric> {
    Metric::from_name(name).ok_or_else(|| {
        PyValueError::new_err(format!(
            "no column {name:?}: use a field's name (taskstats.FIELDS), a counter's name with \
             _delta, _per_sec or _pct, or one of cpu_ns, exited, tasks, title, or user, system, \
             steal, total, cuser, csystem, csteal, all with _ns or _pct"
        ))
    })
}

/// The metrics with these names.
pub(crate) fn metrics(names: &[String]) -> PyResult<Vec<Metric>> {
    names.iter().map(|name| metric(name)).collect()
}

/// A part of a name, in any encoding: Python has surrogates for bytes that are not UTF-8.
pub(crate) struct NamePart(Vec<u8>);

impl NamePart {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<'py> FromPyObject<'_, 'py> for NamePart {
    type Error = PyErr;

    fn extract(text: Borrowed<'_, 'py, PyAny>) -> PyResult<NamePart> {
        let text = text.cast::<PyString>()?;
        let bytes = text.call_method1("encode", ("utf-8", "surrogateescape"))?;
        Ok(NamePart(bytes.cast_into::<PyBytes>()?.as_bytes().to_vec()))
    }
}

/// The filter for rows; `pids` is any iterable of integers.
pub(crate) fn filter(text: Option<NamePart>, pids: Option<&Bound<'_, PyAny>>) -> PyResult<Filter> {
    let set = |pids: &Bound<'_, PyAny>| {
        pids.try_iter()?.map(|pid| pid?.extract()).collect::<PyResult<HashSet<u32>>>()
    };
    let pids = pids.map(set).transpose()?;
    Ok(Filter { text: text.map(|NamePart(bytes)| bytes), pids, ..Filter::default() })
}

/// A time in ns since 1970, or a datetime: None for times before, u64::MAX for times beyond its
/// range, as both lie outside of all recordings.
pub(crate) fn moment(time_ns: &Bound<'_, PyAny>) -> PyResult<Option<u64>> {
    if let Ok(timestamp) = time_ns.getattr("timestamp") {
        let seconds: f64 = timestamp.call0()?.extract()?;
        // A datetime counts microseconds.
        let us = (seconds * 1e6).round();
        return Ok((us >= 0.0).then(|| (us as u64).saturating_mul(1000)));
    }
    match time_ns.extract::<u64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(time_ns.py()) => {
            Ok((!time_ns.lt(0)?).then_some(u64::MAX))
        }
        time => time.map(Some),
    }
}

/// The kind of source with this name; None for "auto".
pub(crate) fn source_kind(name: &str) -> PyResult<Option<SourceKind>> {
    match name {
        "auto" => Ok(None),
        "proc" => Ok(Some(SourceKind::Proc)),
        "bpf" => Ok(Some(SourceKind::Bpf)),
        "netlink" => Ok(Some(SourceKind::Netlink)),
        "procfs" => Ok(Some(SourceKind::Procfs)),
        other => Err(PyValueError::new_err(format!(
            "no source {other:?}: choose auto, proc, bpf, netlink or procfs"
        ))),
    }
}

/// Text of any encoding, with U+FFFD for invalid UTF-8.
pub(crate) fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// Return the name of a user of this machine, from wherever it keeps its users
/// (nsswitch.conf(5)).
///
/// None where there is no such user. Threads ask in the background: None as well where they
/// have no answer within 0.2 s; call again later.
#[pyfunction]
pub(crate) fn user_name(py: Python<'_>, uid: u32) -> Option<String> {
    py.detach(|| precise_top_sources::user_name(uid)).as_deref().map(lossy)
}

/// A cell as a Python value.
pub(crate) struct PyCell<'a>(pub(crate) Option<Cell<'a>>);

impl<'py> IntoPyObject<'py> for PyCell<'_> {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.0 {
            None => Ok(py.None().into_bound(py)),
            Some(Cell::Int(number)) => Ok(number.into_pyobject(py)?.into_any()),
            Some(Cell::Float(number)) => Ok(number.into_pyobject(py)?.into_any()),
            Some(Cell::Text(text)) => Ok(lossy(text).into_pyobject(py)?.into_any()),
        }
    }
}

/// A read-only memoryview of `bytes` whose items have a format of the struct module.
pub(crate) fn memoryview<'py>(
    bytes: &Bound<'py, PyBytes>,
    format: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let view = bytes.py().import("builtins")?.getattr("memoryview")?.call1((bytes,))?;
    view.call_method1("cast", (format,))
}
