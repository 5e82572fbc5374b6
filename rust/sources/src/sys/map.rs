//! A file mapped for reading, which another process may truncate.
//!
//! Design decisions
//!
//! * Reading a page that the file has lost raises SIGBUS, which ends the process. A handler
//!   takes the signal for the maps made here, and only for them: it maps zeros in place of
//!   the missing pages and marks the map failed, which its owner checks. For other addresses
//!   it calls the earlier handler.
//! * The alternative, reading each frame by pread, takes the same CPU time for one pass, and
//!   a third more for later ones; but snapshots are copies then, where those of a map share
//!   its pages and need no memory of their own.
//! * A process has one handler of a signal. One that is installed later replaces this one,
//!   which is installed again, in front of it, with the next map. Pass `mmap=False` to avoid
//!   the handler.
//! * The handler is async-signal-safe: it reads atomics and calls mmap(2).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;

use crate::host::page_size;

/// Largest number of maps. More files are read instead.
const MOST_MAPS: usize = 1 << 14;

/// The address range of a map. A begin of 0 marks a free slot.
struct Slot {
    begin: AtomicUsize,
    end: AtomicUsize,
    failed: AtomicBool,
}

static SLOTS: [Slot; MOST_MAPS] = [const {
    Slot { begin: AtomicUsize::new(0), end: AtomicUsize::new(0), failed: AtomicBool::new(false) }
}; MOST_MAPS];
/// The begin of a slot that is being filled.
const TAKEN: usize = usize::MAX;
static PAGE: AtomicUsize = AtomicUsize::new(4096);

/// Largest number of earlier handlers. With more, files are read.
const DEEPEST: usize = 8;

/// The handler that was in force when this one was installed.
struct Before {
    action: AtomicUsize,
    flags: AtomicI32,
}

static BEFORE: [Before; DEEPEST] =
    [const { Before { action: AtomicUsize::new(0), flags: AtomicI32::new(0) } }; DEEPEST];
/// The number of earlier handlers. The last one is called first.
static DEPTH: AtomicUsize = AtomicUsize::new(0);
/// Held while the handler is installed, so that it is in force for each map.
static INSTALLING: Mutex<()> = Mutex::new(());

/// A mapped file.
pub(crate) struct FileMap {
    start: NonNull<u8>,
    length: usize,
    slot: &'static Slot,
}

// SAFETY: the mapping belongs to this value alone within the process, lives as long as
// it does, and is never written by it.
unsafe impl Send for FileMap {}
// SAFETY: as above.
unsafe impl Sync for FileMap {}

impl FileMap {
    /// Maps the first `length` bytes of a file, which must not be 0.
    pub(crate) fn new(file: &File, length: usize) -> io::Result<FileMap> {
        install()?;
        let free = |slot: &&Slot| {
            let order = Ordering::AcqRel;
            slot.begin.compare_exchange(0, TAKEN, order, Ordering::Relaxed).is_ok()
        };
        let slot = SLOTS.iter().find(free).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        let error = io::Error::last_os_error();
        let start = NonNull::new(start.cast::<u8>()).filter(|_| start != libc::MAP_FAILED);
        let Some(start) = start else {
            slot.begin.store(0, Ordering::Release);
            return Err(error);
        };
        let begin = start.as_ptr() as usize;
        slot.failed.store(false, Ordering::Relaxed);
        let pages = length.next_multiple_of(PAGE.load(Ordering::Relaxed));
        slot.end.store(begin + pages, Ordering::Release);
        slot.begin.store(begin, Ordering::Release);
        Ok(FileMap { start, length, slot })
    }

    /// Whether the file was found to be shorter than the map: missing pages read as zeros.
    pub(crate) fn failed(&self) -> bool {
        self.slot.failed.load(Ordering::Acquire)
    }

    /// Checks whether the file is shorter than the map by a page or more. Behind the end of
    /// the file its last page reads as zeros, without a signal.
    pub(crate) fn is_short(&self) -> bool {
        std::hint::black_box(self.as_ref().last().copied());
        self.failed()
    }
}

impl AsRef<[u8]> for FileMap {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping is valid for its length while `self` lives. Should another
        // process write to the file, records read different numbers, and every number
        // that becomes an index is checked when used.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        // First of all the handler forgets the range: once it is unmapped, another part of
        // the process may get the addresses.
        self.slot.begin.store(0, Ordering::Release);
        // SAFETY: start and length are those of the mapping, which ends here.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// Installs the handler if it is not in force. A handler that was installed since the last
/// map (faulthandler.enable() does that) becomes an earlier one.
fn install() -> io::Result<()> {
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    PAGE.store(page_size(), Ordering::Relaxed);
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
    // SAFETY: all-zero bytes are a valid `sigaction`.
    let mut present: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `present` is valid for writes during the call; null asks only.
    Errno::result(unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &mut present) })?;
    if present.sa_sigaction == handler as usize {
        return Ok(());
    }
    let depth = DEPTH.load(Ordering::Acquire);
    // One that is installed again takes its old place: those after it are gone.
    let same = |before: &Before| before.action.load(Ordering::Relaxed) == present.sa_sigaction;
    let place = BEFORE[..depth].iter().position(same).unwrap_or(depth);
    let before = BEFORE.get(place).ok_or(io::ErrorKind::OutOfMemory)?;
    before.action.store(present.sa_sigaction, Ordering::Relaxed);
    before.flags.store(present.sa_flags, Ordering::Relaxed);
    DEPTH.store(place + 1, Ordering::Release);
    // SAFETY: all-zero bytes are a valid `sigaction`.
    let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
    ours.sa_sigaction = handler as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: `ours` names a handler with the signature that SA_SIGINFO asks for.
    Errno::result(unsafe { libc::sigaction(libc::SIGBUS, &ours, ptr::null_mut()) })?;
    Ok(())
}

extern "C" fn on_sigbus(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid `info`; of SIGBUS it has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    for slot in &SLOTS {
        let begin = slot.begin.load(Ordering::Acquire);
        let end = slot.end.load(Ordering::Acquire);
        // A slot that is taken again meanwhile has the end of another map.
        let changed = slot.begin.load(Ordering::Relaxed) != begin;
        if changed || begin == 0 || begin == TAKEN || !(begin..end).contains(&address) {
            continue;
        }
        let page = address & !(PAGE.load(Ordering::Relaxed) - 1);
        // SAFETY: the range is inside a map of this module, which its owner only reads;
        // from the missing page on it becomes zeros.
        let zeros = unsafe {
            libc::mmap(
                page as *mut libc::c_void,
                end - page,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if zeros != libc::MAP_FAILED {
            slot.failed.store(true, Ordering::Release);
            return;
        }
    }
    chain(signal, info, context);
}

/// Does what happens without the handler.
fn chain(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let depth = DEPTH.load(Ordering::Acquire);
    let before = depth.checked_sub(1).and_then(|last| BEFORE.get(last));
    let action = before.map_or(libc::SIG_DFL, |before| before.action.load(Ordering::Relaxed));
    if matches!(action, libc::SIG_DFL | libc::SIG_IGN) {
        // The access is repeated, and ends the process.
        // SAFETY: all-zero bytes are a valid `sigaction`: the default.
        unsafe {
            let default: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, &default, ptr::null_mut());
        }
        return;
    }
    // A handler may raise the signal again for the one that it replaced, which is this one:
    // then the one before it is called.
    DEPTH.store(depth - 1, Ordering::Release);
    let flags = before.map_or(0, |before| before.flags.load(Ordering::Relaxed));
    if flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with SA_SIGINFO the address is of a handler with these arguments.
        unsafe {
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                std::mem::transmute(action);
            handler(signal, info, context);
        }
    } else {
        // SAFETY: without SA_SIGINFO it is of a handler with the signal's number alone.
        unsafe {
            let handler: extern "C" fn(libc::c_int) = std::mem::transmute(action);
            handler(signal);
        }
    }
    DEPTH.store(depth, Ordering::Release);
}
