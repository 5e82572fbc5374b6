//! Threads, forks and events: what the standard library does not tell.

use std::fs::File;
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::check;

/// Forks that lie between the first process that counted them and this one.
static FORKS: AtomicU64 = AtomicU64::new(0);
/// Threads of this crate that run.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static COUNTING: Once = Once::new();

/// In the child of every fork, where no thread but the caller's goes on.
extern "C" fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    RUNNING.store(0, Ordering::Relaxed);
}

/// The process in which something was made. It costs no system call to ask for it.
#[derive(Debug)]
pub(crate) struct ForkGuard(u64);

impl ForkGuard {
    /// The calling process.
    pub(crate) fn new() -> ForkGuard {
        COUNTING.call_once(|| {
            // SAFETY: the handler is a function of this library, which stays loaded, and
            // touches nothing but two atomic numbers.
            unsafe { libc::pthread_atfork(None, None, Some(forked)) };
        });
        ForkGuard(FORKS.load(Ordering::Relaxed))
    }

    /// Whether the calling process is that one, and no child made by fork.
    pub(crate) fn is_here(&self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }
}

/// Does something with all signals blocked in the calling thread: they are delivered later,
/// or to other threads.
pub(crate) fn without_signals<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: all-zero bytes are a valid `sigset_t`.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { mem::zeroed() };
    // SAFETY: both sets are valid for the calls; blocking signals cannot fail.
    unsafe {
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
    }
    let done = work();
    // SAFETY: the set is the one that was in force.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut()) };
    done
}

/// Counts a thread of this crate while it lives.
#[derive(Debug)]
pub(crate) struct Running(());

impl Running {
    pub(crate) fn new() -> Running {
        RUNNING.fetch_add(1, Ordering::Relaxed);
        Running(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Threads of this crate that run in this process.
pub(crate) fn running() -> usize {
    RUNNING.load(Ordering::Relaxed)
}

/// Leaves all signals to other threads.
pub(crate) fn block_signals() -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid `sigset_t`, a set without members.
    let mut all: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: `all` is valid for writes.
    check(unsafe { libc::sigfillset(&mut all) })?;
    // SAFETY: `all` is valid for reads, and the old set is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &all, ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Something that happened, or not: readable while it has.
#[derive(Debug)]
pub(crate) struct EventFd(File);

impl EventFd {
    pub(crate) fn new() -> io::Result<EventFd> {
        // SAFETY: eventfd takes integers only.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: eventfd has just made this descriptor, and nobody else knows of it.
        Ok(EventFd(unsafe { File::from_raw_fd(fd) }))
    }

    /// It has happened.
    pub(crate) fn set(&self) {
        // This fails only where it has happened 2^64 times.
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    /// It has not.
    pub(crate) fn clear(&self) {
        // This fails only where it has not.
        let _ = (&self.0).read(&mut [0; 8]);
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
