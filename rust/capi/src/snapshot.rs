//! Snapshots: an array of records, which C reads in place.

use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;

use precise_top_core::{Instant, SharedBytes, SourceKind, Value};

use crate::error::{Error, Status, guarded, guarded_value};
use crate::field::field;
use crate::raw::{self, Sizable, handle};

/// All tasks of a machine at one time. It never changes, so threads may share it.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) inner: Arc<precise_top_core::Snapshot<SharedBytes>>,
    host: CString,
    release: CString,
}

impl Snapshot {
    pub(crate) fn new(inner: Arc<precise_top_core::Snapshot<SharedBytes>>) -> Snapshot {
        let header = inner.header();
        let (host, release) = (c_string(&header.host), c_string(&header.release));
        Snapshot { inner, host, release }
    }

    /// Hands the snapshot to C, which frees it.
    pub(crate) fn into_raw(self) -> *mut Snapshot {
        Box::into_raw(Box::new(self))
    }
}

/// The text up to its first NUL.
pub(crate) fn c_string(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// The name of a source, with its final NUL.
pub(crate) fn source_name(kind: SourceKind) -> &'static CStr {
    match kind {
        SourceKind::Bytes => c"bytes",
        SourceKind::Proc => c"proc",
        SourceKind::Bpf => c"bpf",
        SourceKind::Netlink => c"netlink",
        SourceKind::Procfs => c"procfs",
    }
}

/// taskstats_snapshot_info.flags: records are threads; without it they are processes.
pub const TASKSTATS_SNAPSHOT_THREADS: u32 = 0x1;
/// taskstats_snapshot_info.flags: delay accounting is on (kernel.task_delayacct).
pub const TASKSTATS_SNAPSHOT_DELAYACCT: u32 = 0x2;
/// taskstats_snapshot_info.flags: tasks are missing, as the memory for them ran out.
pub const TASKSTATS_SNAPSHOT_TRUNCATED: u32 = 0x4;
/// taskstats_snapshot_info.flags: exits were lost.
pub const TASKSTATS_SNAPSHOT_EXITS_LOST: u32 = 0x8;
/// taskstats_snapshot_info.flags: all values are of one instant.
pub const TASKSTATS_SNAPSHOT_ONE_INSTANT: u32 = 0x20;
/// taskstats_snapshot_info.flags: tasks that died since the previous snapshot have records.
pub const TASKSTATS_SNAPSHOT_EXITS: u32 = 0x40;
/// taskstats_snapshot_info.flags: numbers in the records have the other byte order than this
/// machine's. Functions that return values swap them.
pub const TASKSTATS_SNAPSHOT_SWAPPED: u32 = 0x8000_0000;

/// A snapshot's header. Times are 0 where they are unknown.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SnapshotInfo {
    /// sizeof(taskstats_snapshot_info), set by the caller.
    pub struct_size: usize,
    /// Address of the first record. Records have no alignment.
    pub records: *const c_void,
    /// Number of records.
    pub count: usize,
    /// Bytes from one record to the next.
    pub record_size: usize,
    /// How many of the records, the last ones, are of tasks that died since the source's
    /// previous snapshot.
    pub exited: usize,
    /// Exits that were lost: what they used is in no record.
    pub exits_lost: u64,
    /// The records' version. Bit 15: the extension follows the base.
    pub version: u32,
    /// TASKSTATS_SNAPSHOT_*. Later versions set more bits.
    pub flags: u32,
    /// Number of CPUs online, 0 where unknown.
    pub cpus_online: u32,
    /// Tasks that exist and could not be read.
    pub missed: u32,
    /// CLOCK_MONOTONIC just before the first record was taken; the instant of the values
    /// with TASKSTATS_SNAPSHOT_ONE_INSTANT.
    pub begin_monotonic_ns: u64,
    /// CLOCK_BOOTTIME of the same moment.
    pub begin_boottime_ns: u64,
    /// CLOCK_REALTIME of the same moment.
    pub begin_realtime_ns: u64,
    /// CLOCK_MONOTONIC just after the last record was taken.
    pub end_monotonic_ns: u64,
    /// Name of the source. Strings live as long as the snapshot.
    pub source: *const c_char,
    /// Host name, "" where unknown.
    pub host: *const c_char,
    /// Kernel release, "" where unknown.
    pub release: *const c_char,
}
// SAFETY: it begins with its size, and is only written.
unsafe impl Sizable for SnapshotInfo {}

impl Snapshot {
    fn info(&self) -> SnapshotInfo {
        let (header, layout) = (self.inner.header(), self.inner.layout());
        let swapped = if layout.is_swapped() { TASKSTATS_SNAPSHOT_SWAPPED } else { 0 };
        let Instant { monotonic_ns, boottime_ns, realtime_ns } = header.begin;
        SnapshotInfo {
            struct_size: 0,
            records: self.inner.record_bytes().as_ptr().cast(),
            count: self.inner.len(),
            record_size: layout.record_size(),
            exited: header.exited as usize,
            exits_lost: header.exits_lost,
            version: u32::from(layout.version()),
            flags: header.flags.0 | swapped,
            cpus_online: header.cpus_online,
            missed: header.missed,
            begin_monotonic_ns: monotonic_ns,
            begin_boottime_ns: boottime_ns,
            begin_realtime_ns: realtime_ns,
            end_monotonic_ns: header.end.monotonic_ns,
            source: source_name(header.source).as_ptr(),
            host: self.host.as_ptr(),
            release: self.release.as_ptr(),
        }
    }
}

/// Frees a snapshot. Intervals that were made of it stay valid. NULL is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_snapshot_free(snapshot: Option<Box<Snapshot>>) {
    guarded_value((), || drop(snapshot));
}

/// Returns the number of records.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_snapshot_count(snapshot: Option<&Snapshot>) -> usize {
    snapshot.map_or(0, |snapshot| snapshot.inner.len())
}

/// Returns the header.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskstats_snapshot_info(
    snapshot: Option<&Snapshot>,
    info: *mut SnapshotInfo,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let snapshot = handle(snapshot, "snapshot")?;
        // SAFETY: the caller's promise.
        unsafe { raw::write_sized(info, &snapshot.info(), "info") }
    })
}

/// Returns where a field is in each record, or -1 where these records have no place for it.
/// A record may not hold a field that has a place: taskstats_record_u64() returns whether.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_snapshot_field_offset(
    snapshot: Option<&Snapshot>,
    number: u32,
) -> isize {
    guarded_value(-1, || {
        let offset = || snapshot?.inner.layout().offset(field(number).ok()?);
        offset().and_then(|offset| isize::try_from(offset).ok()).unwrap_or(-1)
    })
}

/// Returns the address of a record, NULL where there is none. It lives as long as the snapshot.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_record(snapshot: Option<&Snapshot>, row: usize) -> *const c_void {
    guarded_value(ptr::null(), || {
        let record = snapshot.and_then(|snapshot| snapshot.inner.get(row));
        record.map_or(ptr::null(), |record| record.bytes().as_ptr().cast())
    })
}

/// Writes `value` to `out`, if there is one and there is a place. Returns whether.
fn put<T>(value: Option<T>, out: Option<&mut MaybeUninit<T>>) -> bool {
    match (value, out) {
        (Some(value), Some(out)) => {
            out.write(value);
            true
        }
        _ => false,
    }
}

/// Reads an unsigned field. Returns false where it is unknown, which is not 0.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_record_u64(
    snapshot: Option<&Snapshot>,
    row: usize,
    number: u32,
    value: Option<&mut MaybeUninit<u64>>,
) -> bool {
    guarded_value(false, || {
        let read = || snapshot?.inner.get(row)?.unsigned(field(number).ok()?);
        put(read(), value)
    })
}

/// Reads a field as a signed number: ac_nice may be negative. Returns false where it is
/// unknown or too large.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_record_i64(
    snapshot: Option<&Snapshot>,
    row: usize,
    number: u32,
    value: Option<&mut MaybeUninit<i64>>,
) -> bool {
    guarded_value(false, || {
        let read = || match snapshot?.inner.get(row)?.value(field(number).ok()?)? {
            Value::Int(number) => i64::try_from(number).ok(),
            Value::Text(_) => None,
        };
        put(read(), value)
    })
}

/// Finds the text of a field, in any encoding. Returns its address and sets `length`: it need
/// not end with a NUL. Returns NULL where it is unknown.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_record_text(
    snapshot: Option<&Snapshot>,
    row: usize,
    number: u32,
    length: Option<&mut MaybeUninit<usize>>,
) -> *const c_char {
    guarded_value(ptr::null(), || {
        let read = || match snapshot?.inner.get(row)?.value(field(number).ok()?)? {
            Value::Text(text) => Some(text),
            Value::Int(_) => None,
        };
        let Some(text) = read() else { return ptr::null() };
        put(Some(text.len()), length);
        text.as_ptr().cast()
    })
}

/// Reads the exact CPU time of a task since its start. Returns false where it is unknown.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_record_cpu_ns(
    snapshot: Option<&Snapshot>,
    row: usize,
    value: Option<&mut MaybeUninit<u64>>,
) -> bool {
    guarded_value(false, || put(snapshot.and_then(|all| all.inner.get(row)?.cpu_ns()), value))
}

/// Makes a snapshot of bytes: a copy of /proc/taskstats, or records of struct taskstats of any
/// version one after the other. Records of the other byte order are recognised by their version.
/// `record_size` is the distance of records where the version does not tell, else 0.
///
/// The bytes are not copied: they have to stay as they are until the snapshot and all intervals
/// that were made of it are freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskstats_parse(
    bytes: *const c_void,
    length: usize,
    record_size: usize,
    snapshot: Option<&mut MaybeUninit<*mut Snapshot>>,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let out = raw::result(snapshot, "snapshot")?;
        // SAFETY: the caller promises that the bytes stay for as long as the snapshot lives.
        let bytes: &'static [u8] = unsafe { raw::bytes(bytes, length)? };
        let record_size = (record_size != 0).then_some(record_size);
        let bytes = SharedBytes::new(bytes);
        let parsed = precise_top_core::Snapshot::from_bare_records(bytes, record_size)?;
        *out = Snapshot::new(Arc::new(parsed)).into_raw();
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use precise_top_core::Flags;

    use super::*;

    #[test]
    fn flags_are_those_of_the_header() {
        for (ours, theirs) in [
            (TASKSTATS_SNAPSHOT_THREADS, Flags::THREADS),
            (TASKSTATS_SNAPSHOT_DELAYACCT, Flags::DELAYACCT),
            (TASKSTATS_SNAPSHOT_TRUNCATED, Flags::TRUNCATED),
            (TASKSTATS_SNAPSHOT_EXITS_LOST, Flags::EVENTS_LOST),
            (TASKSTATS_SNAPSHOT_ONE_INSTANT, Flags::ONE_INSTANT),
            (TASKSTATS_SNAPSHOT_EXITS, Flags::EXITS),
        ] {
            assert_eq!(ours, theirs.0);
        }
    }
}
