//! Work beside the callers: a thread that waits for a descriptor, and acts.
//!
//! Design decisions
//!
//! * It is started by the first snapshot, not when a source opens: privileges are given up in
//!   between, and glibc ends a process whose threads may not all become another user.
//! * It has no privilege, takes no signal, and does not keep a process from its end.
//! * A child made by fork has no such thread: there is nothing to stop, and what the
//!   thread may have locked at that moment is not touched.

use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread::{self, JoinHandle};

use super::thread::{EventFd, ForkGuard, Running, block_signals};
use super::{self as sys, Capabilities};
use crate::errors::Error;

/// A thread, until it is dropped.
pub(crate) struct Worker {
    stop: EventFd,
    thread: Option<JoinHandle<()>>,
    home: ForkGuard,
}

impl Worker {
    /// Calls `act` when `watched` is readable, at most once in `gather_ms`, until it
    /// gives false.
    pub(crate) fn start(
        watched: BorrowedFd<'_>,
        gather_ms: i32,
        mut act: impl FnMut() -> bool + Send + 'static,
    ) -> Result<Worker, Error> {
        let failed = |error| Error::os("start the thread that takes exits", error);
        let watched = watched.try_clone_to_owned().map_err(failed)?;
        let stop = EventFd::new().map_err(failed)?;
        let stopped = std::os::fd::AsFd::as_fd(&stop).try_clone_to_owned().map_err(failed)?;
        let running = Running::new();
        let work = move || {
            let _running = running;
            // Reading needs no privilege.
            let _ = sys::set_capabilities(Capabilities::default());
            let _ = block_signals();
            let fds = [stopped.as_raw_fd(), watched.as_raw_fd()];
            while sys::wait_readable(&fds, -1).is_ok()
                && sys::wait_readable(&fds[..1], gather_ms).is_ok_and(|stops| !stops)
                && act()
            {}
        };
        let thread = thread::Builder::new().name("exits".into()).spawn(work).map_err(failed)?;
        Ok(Worker { stop, thread: Some(thread), home: ForkGuard::new() })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.home.is_here() {
            mem::forget(self.thread.take());
            return;
        }
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
