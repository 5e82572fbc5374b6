//! Exits as they happen.

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr;

use precise_top_sources as sources;

use crate::error::{Error, Status, guarded, guarded_value};
use crate::raw::{self, handle};
use crate::snapshot::{Snapshot, source_name};
use crate::source::kind_of;

/// A stream of exits. Threads may share it, in the process that opened it.
pub struct Exits {
    inner: sources::Exits,
}

/// Starts to listen to exits: by "bpf" or "netlink", or with NULL by the better one that works.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskstats_exits_open(
    name: *const c_char,
    exits: Option<&mut MaybeUninit<*mut Exits>>,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let out = raw::result(exits, "exits")?;
        // SAFETY: the caller's promise.
        let kind = unsafe { kind_of(name)? };
        *out = Box::into_raw(Box::new(Exits { inner: sources::Exits::open(kind)? }));
        Ok(())
    })
}

/// Stops listening. NULL is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_exits_close(exits: Option<Box<Exits>>) {
    guarded_value((), || drop(exits));
}

/// Returns a descriptor that is readable while exits wait; it belongs to the stream. -1 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_exits_fd(exits: Option<&Exits>) -> c_int {
    exits.map_or(-1, |exits| exits.inner.fd().as_raw_fd())
}

/// Returns the name of the source. It lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_exits_source(exits: Option<&Exits>) -> *const c_char {
    exits.map_or(ptr::null(), |exits| source_name(exits.inner.kind()).as_ptr())
}

/// Waits for exits, at most `timeout_ms` (-1: without an end), and takes all. `snapshot` has a
/// record for each; it is NULL where the time passed or a signal came.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_exits_read(
    exits: Option<&Exits>,
    timeout_ms: c_int,
    snapshot: Option<&mut MaybeUninit<*mut Snapshot>>,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let out = raw::result(snapshot, "snapshot")?;
        let exits = handle(exits, "exits")?;
        if exits.inner.wait(timeout_ms)? {
            // All that wait are rows of one snapshot, from its first row on.
            if let Some((dead, _)) = exits.inner.read()?.into_iter().next() {
                *out = Snapshot::new(dead).into_raw();
            }
        }
        Ok(())
    })
}

/// Returns the number of lost exits so far.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_exits_lost(
    exits: Option<&Exits>,
    lost: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let (exits, out) = (handle(exits, "exits")?, handle(lost, "lost")?);
        out.write(exits.inner.lost()?);
        Ok(())
    })
}
