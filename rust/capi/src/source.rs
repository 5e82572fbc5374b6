//! Sources of snapshots.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;

use precise_top_core::{FieldSet, SourceKind};
use precise_top_sources::{self as sources, Request, kept};

use crate::error::{Error, Failure, Status, guarded, guarded_value};
use crate::field::field;
use crate::raw::{self, Sizable, handle};
use crate::snapshot::{Snapshot, c_string, source_name};

/// taskstats_options.flags: records of threads, not of processes.
pub const TASKSTATS_THREADS: u32 = 0x1;
/// taskstats_options.flags: watch neither switches nor exits. That costs less: tasks that died
/// between two snapshots are in neither, and values are not of one instant.
pub const TASKSTATS_WITHOUT_EXITS: u32 = 0x2;
/// taskstats_options.flags: read the CPUs' times of /proc/stat even if the source does not need
/// them for the balance.
pub const TASKSTATS_CPU_TIMES: u32 = 0x4;

const FLAGS: u32 = TASKSTATS_THREADS | TASKSTATS_WITHOUT_EXITS | TASKSTATS_CPU_TIMES;

/// What snapshots hold.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Options {
    /// sizeof(taskstats_options), set by the caller.
    pub struct_size: usize,
    /// TASKSTATS_THREADS and others.
    pub flags: u32,
    /// Number of `fields`; 0 for all.
    pub field_count: u32,
    /// Numbers of the fields to read. What costs nothing is read as well.
    pub fields: *const u32,
}
// SAFETY: it begins with its size; a pointer may have any value.
unsafe impl Sizable for Options {}

/// An open source. One thread may use it at a time, in the process that opened it.
pub struct Source {
    inner: Box<dyn sources::Source>,
    request: Request,
    precision: CString,
    /// The text that [`taskstats_notice`] has returned.
    notice: CString,
}

/// The source of that name; None for the best one.
///
/// # Safety
///
/// `name` is NULL or ends with a NUL.
pub(crate) unsafe fn kind_of(name: *const c_char) -> Result<Option<SourceKind>, Failure> {
    if name.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let name = unsafe { raw::text(name, "name")? };
    let mut kinds = SourceKind::ALL.into_iter().filter(|kind| *kind != SourceKind::Bytes);
    let kind = kinds.find(|kind| kind.name() == name);
    kind.map(Some).ok_or_else(|| {
        Failure::argument(format!(
            "no source is called {name:?}: choose proc, bpf, netlink or procfs"
        ))
    })
}

/// What the options ask for.
///
/// # Safety
///
/// `options` is NULL or has the size that it says, and its fields are as many as it says.
unsafe fn request_of(options: *const Options) -> Result<Request, Failure> {
    let default = Options { struct_size: 0, flags: 0, field_count: 0, fields: ptr::null() };
    // SAFETY: the caller's promise.
    let options = unsafe { raw::read_sized(options, default, "options")? };
    if options.flags & !FLAGS != 0 {
        return Err(Failure::argument(format!(
            "options.flags has bits that this version does not know: {:#x}",
            options.flags & !FLAGS
        )));
    }
    // SAFETY: the caller's promise.
    let numbers =
        unsafe { raw::items(options.fields, options.field_count as usize, "options.fields")? };
    let fields = match numbers {
        [] => FieldSet::ALL,
        numbers => numbers.iter().map(|&number| field(number)).collect::<Result<_, _>>()?,
    };
    Ok(Request {
        threads: options.flags & TASKSTATS_THREADS != 0,
        fields,
        exact: options.flags & TASKSTATS_WITHOUT_EXITS == 0,
        changed: false,
        cpu_times: (options.flags & TASKSTATS_CPU_TIMES != 0).then_some(true),
        system: Some(false),
        ..Request::default()
    })
}

/// Opens the source called "proc", "bpf", "netlink" or "procfs"; with NULL the first of these that
/// works. A named source never falls back to another. `options` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskstats_open(
    name: *const c_char,
    options: *const Options,
    source: Option<&mut MaybeUninit<*mut Source>>,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let out = raw::result(source, "source")?;
        // SAFETY: the caller's promise.
        let (kind, request) = unsafe { (kind_of(name)?, request_of(options)?) };
        let mut inner = sources::open(kind)?;
        inner.prepare(&request)?;
        let precision = c_string(inner.precision());
        let source = Source { inner, request, precision, notice: CString::default() };
        *out = Box::into_raw(Box::new(source));
        Ok(())
    })
}

/// Closes a source. Its snapshots stay valid. NULL is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_close(source: Option<Box<Source>>) {
    guarded_value((), || drop(source));
}

/// Takes a snapshot of the whole machine.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_snapshot(
    source: Option<&mut Source>,
    snapshot: Option<&mut MaybeUninit<*mut Snapshot>>,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let out = raw::result(snapshot, "snapshot")?;
        let source = handle(source, "source")?;
        let taken = source.inner.snapshot(&source.request)?;
        *out = Snapshot::new(Arc::new(taken)).into_raw();
        Ok(())
    })
}

/// Takes a snapshot of one process, from its files in /proc. They stay open until the process ends.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_task(
    pid: u32,
    snapshot: Option<&mut MaybeUninit<*mut Snapshot>>,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let out = raw::result(snapshot, "snapshot")?;
        *out = Snapshot::new(Arc::new(kept::task(pid, FieldSet::ALL)?)).into_raw();
        Ok(())
    })
}

/// Returns the name of the source. It lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_source_name(source: Option<&Source>) -> *const c_char {
    source.map_or(ptr::null(), |source| source_name(source.inner.kind()).as_ptr())
}

/// Returns how exact the CPU times are, in words that live as long as the source.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_precision(source: Option<&Source>) -> *const c_char {
    source.map_or(ptr::null(), |source| source.precision.as_ptr())
}

/// Returns what snapshots lack here, in words that live until the next call; "" if nothing.
/// Known after the first snapshot.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_notice(source: Option<&mut Source>) -> *const c_char {
    guarded_value(ptr::null(), || {
        let Some(source) = source else { return ptr::null() };
        source.notice = c_string(&source.inner.notice());
        source.notice.as_ptr()
    })
}
