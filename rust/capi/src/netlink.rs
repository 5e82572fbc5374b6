//! Records in the messages of generic netlink.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;

use precise_top_core::wire::{self, Id, Payload};
use precise_top_sources as sources;

use crate::error::{Error, Failure, Status, guarded};
use crate::raw::{self, handle};

/// taskstats_netlink_record.kind: the record of a task; `id` is its pid.
pub const TASKSTATS_RECORD_PID: u32 = 1;
/// taskstats_netlink_record.kind: the sums of a process; `id` is its tgid.
pub const TASKSTATS_RECORD_TGID: u32 = 2;

/// Where a record is in a datagram. Its size is fixed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct NetlinkRecord {
    /// TASKSTATS_RECORD_PID or TASKSTATS_RECORD_TGID.
    pub kind: u32,
    /// The pid or tgid. A tgid's record itself has no ids.
    pub id: u32,
    /// Where the record begins in the datagram.
    pub offset: usize,
    /// Bytes of the record: taskstats_parse() takes them.
    pub size: usize,
}

fn records(datagram: &[u8]) -> Result<Vec<NetlinkRecord>, Failure> {
    let mut found = Vec::new();
    for message in wire::messages(datagram) {
        match message?.payload {
            Payload::Error { code: 0 } | Payload::Done => {}
            Payload::Error { code } => return Err(sources::Error::from_reply(code).into()),
            Payload::Generic { attributes, .. } => {
                for stats in wire::stats(attributes) {
                    let stats = stats?;
                    let (kind, id) = match stats.id {
                        Id::Pid(pid) => (TASKSTATS_RECORD_PID, pid),
                        Id::Tgid(tgid) => (TASKSTATS_RECORD_TGID, tgid),
                    };
                    let (offset, size) = (stats.offset, stats.bytes.len());
                    found.push(NetlinkRecord { kind, id, offset, size });
                }
            }
        }
    }
    Ok(found)
}

/// Finds the records in a datagram of the family TASKSTATS. Sets `count` to their number, and
/// writes the first `capacity` of them to `records`, which may be NULL if that is 0. An error
/// message of the kernel is the error that it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskstats_parse_netlink(
    datagram: *const c_void,
    length: usize,
    records: *mut NetlinkRecord,
    capacity: usize,
    count: Option<&mut MaybeUninit<usize>>,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let out = handle(count, "count")?;
        // SAFETY: the caller's promise.
        let found = self::records(unsafe { raw::bytes(datagram, length)? })?;
        out.write(found.len());
        if capacity > 0 {
            let records = handle((!records.is_null()).then_some(records), "records")?;
            let fit = found.len().min(capacity);
            // SAFETY: the caller's promise: there is room for `capacity`.
            unsafe { ptr::copy_nonoverlapping(found.as_ptr(), records, fit) };
        }
        Ok(())
    })
}
