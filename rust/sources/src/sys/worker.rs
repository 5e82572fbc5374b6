//! Background worker: polls a descriptor and runs a callback.
//!
//! Design decisions
//!
//! * The first snapshot starts it, not the opening of the source: privileges are dropped in
//!   between, and glibc ends a process whose threads cannot all become another user.
//! * It has no privileges but to become another user with the process, takes no signals, and does
//!   not keep the process alive.
//! * A forked child has no such thread. There is nothing to stop, and what the thread may
//!   have locked at that moment is not touched.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::{self, JoinHandle};

use nix::sys::signal::SigSet;

use super as sys;
use super::thread::{EventFd, ForkGuard, Running};
use crate::errors::Error;
use crate::privilege::drop_capabilities;

/// How often a worker acts at least, in ms: to see whether its source is forgotten.
const LOOK_MS: i32 = 600_000;

fn failed(error: io::Error) -> Error {
    Error::os("start the thread that takes exits", error)
}

/// A thread that runs until it is dropped.
pub(crate) struct Worker {
    stop: EventFd,
    thread: Option<JoinHandle<()>>,
    home: ForkGuard,
}

impl Worker {
    /// Calls `act` when `watched` is readable, at most once in `gather_ms`, and after `LOOK_MS`
    /// in any case, until it returns false.
    pub(crate) fn start(
        watched: BorrowedFd<'_>,
        gather_ms: i32,
        mut act: impl FnMut() -> bool + Send + 'static,
    ) -> Result<Worker, Error> {
        let watched = watched.try_clone_to_owned().map_err(failed)?;
        let stop = EventFd::new().map_err(failed)?;
        let stopped = stop.as_fd().try_clone_to_owned().map_err(failed)?;
        let running = Running::new();
        let work = move || {
            let _running = running;
            // Reading needs no privilege.
            let _ = drop_capabilities();
            let _ = SigSet::all().thread_block();
            let fds = [stopped.as_fd(), watched.as_fd()];
            while sys::wait_readable(&fds, LOOK_MS).is_ok()
                && sys::wait_readable(&fds[..1], gather_ms).is_ok_and(|stops| !stops)
                && act()
            {}
        };
        let thread = thread::Builder::new().name("exits".into()).spawn(work).map_err(failed)?;
        Ok(Worker { stop, thread: Some(thread), home: ForkGuard::new() })
    }
}

/// What sources lack that go on without a worker.
pub(crate) fn without_worker(error: &Error) -> String {
    format!(
        "exits are read at snapshots only, and some may be lost: {error}; raise the limits of \
         tasks and files (pids.max, ulimit -u, ulimit -n)"
    )
}

/// Why no worker could be started now; None if one could.
pub(crate) fn refusal() -> Option<Error> {
    thread::Builder::new().spawn(|| {}).err().map(failed)
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
