//! `taskstats.parse` and `taskstats.parse_netlink`: snapshots and tasks from bytes.

use std::sync::Arc;

use precise_top_core::wire::{self, Id, Payload};
use precise_top_core::{
    ErrorKind, Header, Layout, ParseError, SharedBytes, Snapshot, SourceKind, codec, dump,
};
use precise_top_sources::Error;
use pyo3::prelude::*;

use crate::errors::{parse_error, python_error, raise};
use crate::memory;
use crate::snapshot::PySnapshot;
use crate::task::PyTask;

/// Return a snapshot on the memory of `data`, without a copy.
///
/// `data` holds a snapshot's bytes (`Snapshot.to_bytes`) or a bare array of struct taskstats of
/// any version, such as a copy of /proc/taskstats or joined netlink payloads. `record_size`
/// overrides the bytes from one record of a bare array to the next. Raises ParseError with
/// `.offset` where `data` is neither, and BufferError where its memory is not contiguous.
#[pyfunction]
#[pyo3(signature = (data, *, record_size=None))]
pub(crate) fn parse(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    record_size: Option<usize>,
) -> PyResult<PySnapshot> {
    let bytes = memory::shared(data)?;
    if dump::is_dump(bytes.as_ref()) {
        let message = "this is a dump of snapshots: pass it to taskstats.open or taskstats.scan";
        return Err(raise(py, "ParseError", (message, 0)));
    }
    let snapshot = if codec::is_snapshot(bytes.as_ref()) {
        codec::decode(bytes)
    } else {
        Snapshot::from_bare_records(bytes, record_size)
    };
    Ok(PySnapshot::new(Arc::new(snapshot.map_err(|error| parse_error(py, error))?)))
}

/// Return the records of a captured generic netlink datagram, as `(kind, id, task)`.
///
/// The id is the attribute's, since a tgid record has no ids of its own. An error message in the
/// datagram raises its errno: NoSuchTask, AccessDenied, Unsupported or OSError. Raises ParseError
/// with `.offset` where the datagram is damaged. See genetlink's TASKSTATS family,
/// Documentation/accounting/taskstats.rst.
#[pyfunction]
pub(crate) fn parse_netlink(
    py: Python<'_>,
    datagram: &Bound<'_, PyAny>,
) -> PyResult<Vec<(&'static str, u32, PyTask)>> {
    let bytes = memory::shared(datagram)?;
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
fn record_in(bytes: &SharedBytes, offset: usize, length: usize) -> Result<PyTask, ParseError> {
    let payload = &bytes.as_ref()[offset..offset + length];
    let layout = match payload.first_chunk::<2>() {
        Some(&version) => Layout::new(u16::from_ne_bytes(version), length, false),
        None => Err(ParseError::new(ErrorKind::Truncated, 0)),
    }
    .map_err(|error| error.shifted(offset))?;
    let header = Header::new(SourceKind::Bytes, layout.fields());
    let snapshot = Snapshot::new(header, layout, bytes.clone(), offset..offset + length, 0..0)?;
    Ok(PyTask::new(Arc::new(snapshot), 0))
}
