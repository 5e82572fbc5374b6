//! Forks, signals and threads of this crate, and events between threads.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use nix::sys::eventfd::EfdFlags;
use nix::sys::signal::{SigSet, SigmaskHow};

/// Forks between the first process that counted them and this one.
static FORKS: AtomicU64 = AtomicU64::new(0);
/// Forks of this process and its ancestors, each counted before the child exists.
static FORKS_MADE: AtomicU64 = AtomicU64::new(0);
/// Running threads of this crate.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static COUNTING: Once = Once::new();

/// Runs in the parent before every fork.
extern "C" fn forking() {
    FORKS_MADE.fetch_add(1, Ordering::SeqCst);
}

/// Runs in the child of every fork, where only the forking thread goes on.
extern "C" fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    RUNNING.store(0, Ordering::Relaxed);
}

/// Remembers the process in which it was made, to notice a fork without a system call.
#[derive(Debug)]
pub struct ForkGuard(u64);

impl ForkGuard {
    /// Remembers the calling process.
    #[expect(clippy::new_without_default, reason = "it is of the moment")]
    pub fn new() -> ForkGuard {
        count_forks();
        ForkGuard(FORKS.load(Ordering::Relaxed))
    }

    /// Returns whether the calling process is the remembered one and not a forked child.
    pub fn is_here(&self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }
}

/// A value of each process. A forked child makes its own and leaves its parent's alone, whose
/// locks another thread may have held at the fork.
#[derive(Debug)]
pub(crate) struct PerProcess<T: 'static> {
    made: AtomicPtr<(ForkGuard, T)>,
}

impl<T: Send + Sync> PerProcess<T> {
    /// Not made yet.
    pub(crate) const fn new() -> PerProcess<T> {
        PerProcess { made: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The calling process's value, which `make` returns the first time. Takes no lock.
    pub(crate) fn get(&'static self, make: fn() -> T) -> &'static T {
        loop {
            let found = self.made.load(Ordering::Acquire);
            // SAFETY: it is null or was leaked below, so that it lives for ever; it is never
            // changed, and T may be shared by threads.
            let current = unsafe { found.as_ref() };
            if let Some((home, value)) = current
                && home.is_here()
            {
                return value;
            }
            let made = Box::into_raw(Box::new((ForkGuard::new(), make())));
            let stored =
                self.made.compare_exchange(found, made, Ordering::AcqRel, Ordering::Acquire);
            if stored.is_err() {
                // SAFETY: it comes from `into_raw`, and nobody else has seen it.
                drop(unsafe { Box::from_raw(made) });
            }
        }
    }
}

fn count_forks() {
    COUNTING.call_once(|| {
        // SAFETY: the handlers are functions of this library, which stays loaded, and
        // touch nothing but atomic numbers.
        unsafe { libc::pthread_atfork(Some(forking), None, Some(forked)) };
    });
}

/// The number of forks before now. A child shares memory that is mapped MAP_SHARED: if the
/// number has grown since such memory was handed out, a child may still read it.
pub(crate) fn forks_made() -> u64 {
    count_forks();
    FORKS_MADE.load(Ordering::SeqCst)
}

/// Runs `work` with all signals blocked in the calling thread: they are delivered later,
/// or to other threads.
pub(crate) fn without_signals<T>(work: impl FnOnce() -> T) -> T {
    // Only an unknown argument makes these calls fail.
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let done = work();
    let _ = before.map(|before| before.thread_set_mask());
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

/// The number of running threads of this crate in this process.
pub(crate) fn running() -> usize {
    RUNNING.load(Ordering::Relaxed)
}

/// Something that happened or did not: readable while it has.
#[derive(Debug)]
pub(crate) struct EventFd(nix::sys::eventfd::EventFd);

impl EventFd {
    pub(crate) fn new() -> io::Result<EventFd> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(EventFd(nix::sys::eventfd::EventFd::from_flags(flags)?))
    }

    /// Makes it readable.
    pub(crate) fn set(&self) {
        // This fails only where it was set 2^64 times.
        let _ = self.0.write(1);
    }

    /// Makes it unreadable.
    pub(crate) fn clear(&self) {
        // This fails only where it was not set.
        let _ = self.0.read();
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
