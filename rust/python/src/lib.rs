//! The Python binding: no logic, only the shapes that Python expects.

mod columns;
mod dump;
mod errors;
mod exits;
mod format;
mod interval;
mod screen;
mod snapshot;
mod source;
mod task;
mod tree;

use std::sync::Arc;

use precise_top_core::wire::{self, Id, Payload};
use precise_top_core::{
    Field, FieldSet, Header, Interval, Layout, SharedBytes, Snapshot, SourceKind,
};
use precise_top_sources::Error;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::errors::{parse_error, python_error};
use crate::interval::PyInterval;
use crate::snapshot::PySnapshot;
use crate::task::PyTask;

/// Memory that a Python object exports, kept alive with the snapshot over it.
struct PythonMemory(PyBuffer<u8>);

impl AsRef<[u8]> for PythonMemory {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the buffer was checked to be C-contiguous, and its exporter keeps
        // the memory in place for as long as the buffer is held. Should another
        // owner write to it, records read different numbers, and every number that
        // becomes an index is checked when used.
        unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast::<u8>(), self.0.len_bytes()) }
    }
}

/// The bytes of `data`, without a copy.
fn memory(data: &Bound<'_, PyAny>) -> PyResult<SharedBytes> {
    // Whatever the exporter's element is, records are read from plain bytes.
    let view = data.py().import("builtins")?.getattr("memoryview")?.call1((data,))?;
    let bytes = view.call_method1("cast", ("B",)).or_else(|error| {
        // Only simple element types can be cast; a structured array's bytes are had
        // through its own view.
        data.call_method1("view", ("u1",)).map_err(|_| error)
    })?;
    let buffer = PyBuffer::<u8>::get(&bytes)?;
    if !buffer.is_c_contiguous() {
        return Err(pyo3::exceptions::PyBufferError::new_err(
            "the memory is not contiguous: pass a contiguous copy",
        ));
    }
    if buffer.len_bytes() == 0 {
        // An empty buffer may have no address.
        return Ok(SharedBytes::new(Vec::new()));
    }
    Ok(SharedBytes::new(PythonMemory(buffer)))
}

/// A snapshot on the memory of `data`: the byte form of a snapshot, or a bare array
/// of struct taskstats of any version (as read from /proc/taskstats, or joined
/// netlink payloads).
///
/// `record_size` overrides the bytes from one record of a bare array to the next.
/// ParseError with `.offset` where the bytes are neither.
#[pyfunction]
#[pyo3(signature = (data, *, record_size=None))]
fn parse(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    record_size: Option<usize>,
) -> PyResult<PySnapshot> {
    let bytes = memory(data)?;
    let snapshot = if precise_top_core::codec::is_snapshot(bytes.as_ref()) {
        precise_top_core::codec::decode(bytes)
    } else {
        Snapshot::from_bare_records(bytes, record_size)
    };
    Ok(PySnapshot::new(Arc::new(snapshot.map_err(|error| parse_error(py, error))?)))
}

/// The records of a captured generic netlink datagram, as a list of
/// `("pid" | "tgid", id, Task)`.
///
/// A tgid record's own id fields are zero; the id is the attribute's. An error
/// message raises what its errno says (NoSuchTask, AccessDenied, Unsupported).
#[pyfunction]
fn parse_netlink(
    py: Python<'_>,
    datagram: &Bound<'_, PyAny>,
) -> PyResult<Vec<(&'static str, u32, PyTask)>> {
    let bytes = memory(datagram)?;
    let mut records = Vec::new();
    for message in wire::messages(bytes.as_ref()) {
        let message = message.map_err(|error| parse_error(py, error))?;
        match message.payload {
            Payload::Error { code: 0 } | Payload::Done => {}
            Payload::Error { code } => {
                return Err(python_error(py, Error::from_reply(code)));
            }
            Payload::Generic { attributes, .. } => {
                for stats in wire::stats(attributes) {
                    let stats = stats.map_err(|error| parse_error(py, error))?;
                    let (kind, id) = match stats.id {
                        Id::Pid(pid) => ("pid", pid),
                        Id::Tgid(tgid) => ("tgid", tgid),
                    };
                    let task = record_in(&bytes, stats.offset, stats.bytes.len())
                        .map_err(|error| parse_error(py, error))?;
                    records.push((kind, id, task));
                }
            }
        }
    }
    Ok(records)
}

/// The one record at `offset` of a datagram.
fn record_in(
    bytes: &SharedBytes,
    offset: usize,
    length: usize,
) -> Result<PyTask, precise_top_core::ParseError> {
    let payload = &bytes.as_ref()[offset..offset + length];
    let layout = match payload.first_chunk::<2>() {
        Some(&version) => Layout::new(u16::from_ne_bytes(version), length, false),
        None => Err(precise_top_core::ParseError::new(precise_top_core::ErrorKind::Truncated, 0)),
    }
    .map_err(|error| error.shifted(offset))?;
    let header = Header::new(SourceKind::Bytes, layout.fields());
    let snapshot = Snapshot::new(header, layout, bytes.clone(), offset..offset + length, 0..0)?;
    Ok(PyTask::new(Arc::new(snapshot), 0))
}

/// What every task used from `prev` to `cur`.
///
/// `prev` is a Snapshot, or the Interval that ended where this one begins: then the
/// split of user and system time is continued and never shrinks. Tasks that died are
/// in `cur` already where its source knows them; `exits` are the snapshots of the same
/// source between the two, where some were left out. A task counts once however often
/// it is met. ParseError where the snapshots' records differ in layout; ValueError where `cur`
/// is of only the tasks that ran since another snapshot than `prev`.
#[pyfunction]
#[pyo3(signature = (prev, cur, *, exits=None))]
fn usage(
    prev: &Bound<'_, PyAny>,
    cur: &PySnapshot,
    exits: Option<Vec<PyRef<'_, PySnapshot>>>,
) -> PyResult<PyInterval> {
    let mut cur = Arc::clone(&cur.inner);
    if let Some(exits) = exits {
        let joined = cur
            .with_exits(exits.iter().map(|exits| &*exits.inner))
            .map_err(|error| parse_error(prev.py(), error))?;
        cur = Arc::new(joined.into_shared());
    }
    let before = prev.cast::<PyInterval>().ok().map(|before| Arc::clone(&before.get().inner));
    let prev = match &before {
        Some(before) => Arc::clone(before.cur()),
        None => Arc::clone(&prev.cast::<PySnapshot>()?.get().inner),
    };
    if !Interval::is_whole(&prev, &cur) {
        return Err(PyValueError::new_err(
            "a snapshot of what changed is compared with the one before it: pass that, or open \
             the source without changed=True",
        ));
    }
    let interval = match before {
        Some(before) => before.then(cur),
        None => Interval::between(prev, cur),
    };
    Ok(PyInterval { inner: Arc::new(interval) })
}

/// The field table, one dictionary a field.
fn field_table(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    let rows = Field::ALL.iter().map(|field| {
        let info = field.info();
        let row = PyDict::new(py);
        row.set_item("name", info.name)?;
        row.set_item("kind", format!("{:?}", info.kind).to_lowercase())?;
        row.set_item("unit", info.unit.name())?;
        row.set_item("group", format!("{:?}", info.group).to_lowercase())?;
        row.set_item("extension", field.is_extension())?;
        row.set_item("doc", info.doc)?;
        Ok(row)
    });
    PyTuple::new(py, rows.collect::<PyResult<Vec<_>>>()?)
}

/// The set of fields with these names.
fn field_set(names: Vec<String>) -> PyResult<FieldSet> {
    names.iter().map(|name| snapshot::field(name)).collect()
}

/// The letter that /proc/PID/stat shows for a `state` field's value.
#[pyfunction]
fn state_letter(state: u32) -> char {
    precise_top_core::state::letter(state)
}

#[pymodule]
fn _core(py: Python<'_>, module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PySnapshot>()?;
    module.add_class::<PyTask>()?;
    module.add_class::<PyInterval>()?;
    module.add_class::<interval::PyFold>()?;
    module.add_class::<source::PySource>()?;
    module.add_class::<source::PySourceReport>()?;
    module.add_class::<exits::PyExits>()?;
    module.add_class::<dump::PyDump>()?;
    module.add_class::<dump::PyRecorder>()?;
    module.add_class::<columns::PyColumns>()?;
    module.add_function(wrap_pyfunction!(dump::open, module)?)?;
    module.add_function(wrap_pyfunction!(columns::read_paths, module)?)?;
    module.add_function(wrap_pyfunction!(columns::of_all, module)?)?;
    module.add_class::<tree::PyTree>()?;
    module.add_class::<screen::PyScreen>()?;
    module.add_class::<screen::PyLines>()?;
    module.add_class::<screen::PyCanvas>()?;
    module.add_function(wrap_pyfunction!(screen::safe, module)?)?;
    module.add_function(wrap_pyfunction!(screen::percent, module)?)?;
    module.add_function(wrap_pyfunction!(screen::bytes_rate, module)?)?;
    module.add_function(wrap_pyfunction!(screen::missing_of, module)?)?;
    module.add_function(wrap_pyfunction!(parse, module)?)?;
    module.add_function(wrap_pyfunction!(parse_netlink, module)?)?;
    module.add_function(wrap_pyfunction!(usage, module)?)?;
    module.add_function(wrap_pyfunction!(state_letter, module)?)?;
    module.add_function(wrap_pyfunction!(source::get, module)?)?;
    module.add_function(wrap_pyfunction!(source::get_tgid, module)?)?;
    module.add_function(wrap_pyfunction!(source::sources, module)?)?;
    module.add_function(wrap_pyfunction!(source::delayacct, module)?)?;
    module.add_function(wrap_pyfunction!(source::drop_privileges, module)?)?;
    module.add_function(wrap_pyfunction!(source::adopt_orphans, module)?)?;
    module.add("FIELDS", field_table(py)?)?;
    module.add("VERSION", env!("CARGO_PKG_VERSION"))
}
