//! A stream of exits: tasks as they die.
//!
//! Design decisions
//!
//! * The slots of bpf or the sockets of netlink hold exits until they are read. Exits that do
//!   not fit are counted.
//! * One descriptor is readable while exits wait, in the feed or in the batch that was taken
//!   from it.
//! * A waiting thread holds no lock, so that another one can end the wait.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::epoll::Epoll;
use precise_top_core::{SharedBytes, Snapshot, SourceKind};

use crate::bpf::Bpf;
use crate::errors::Error;
use crate::netlink::Listener;
use crate::source::ExitFeed;
use crate::sys;
use crate::sys::thread::{EventFd, ForkGuard};

/// One task that died: a row of a snapshot of exits.
pub type Exit = (Arc<Snapshot<SharedBytes>>, usize);

struct State {
    feed: Box<dyn ExitFeed>,
    /// The batch that was taken, and the next row of it to return.
    taken: Option<Exit>,
}

/// A stream of exits, which threads may share.
pub struct Exits {
    kind: SourceKind,
    state: Mutex<State>,
    /// Set while rows of the batch are left, or after all waits have been ended.
    waiting: EventFd,
    readable: Epoll,
    home: ForkGuard,
}

impl Exits {
    /// Starts to listen: by bpf or netlink, or with None by the better one that works.
    /// AccessDenied without its capability, Unsupported where this machine lacks it.
    pub fn open(kind: Option<SourceKind>) -> Result<Exits, Error> {
        let (kind, feed): (_, Box<dyn ExitFeed>) = match kind {
            Some(SourceKind::Bpf) => (SourceKind::Bpf, Box::new(Bpf::open_for_exits()?)),
            Some(SourceKind::Netlink) => (SourceKind::Netlink, Box::new(Listener::open()?)),
            Some(other) => {
                return Err(Error::Unsupported {
                    reason: format!("{} does not report exits as they happen", other.name()),
                    hint: "choose bpf or netlink".into(),
                });
            }
            // A refused attempt leaves a line in the audit log.
            None => match crate::has_bpf().then(Bpf::open_for_exits) {
                Some(Ok(bpf)) => (SourceKind::Bpf, Box::new(bpf)),
                _ => (SourceKind::Netlink, Box::new(Listener::open()?)),
            },
        };
        let failed = |error| Error::os("watch the exits", error);
        let waiting = EventFd::new().map_err(failed)?;
        let readable = sys::any_readable([feed.readable(), waiting.as_fd()]).map_err(failed)?;
        let state = Mutex::new(State { feed, taken: None });
        Ok(Exits { kind, state, waiting, readable, home: ForkGuard::new() })
    }

    /// The source of the exits.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// A descriptor that is readable while exits wait.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.readable.0.as_fd()
    }

    /// The number of lost exits so far. Netlink notices a loss with the next exit on the same
    /// CPU.
    pub fn lost(&self) -> Result<u64, Error> {
        Ok(self.locked()?.feed.lost())
    }

    /// Waits for an exit. Returns false where `timeout_ms` passed or a signal came first.
    pub fn wait(&self, timeout_ms: i32) -> Result<bool, Error> {
        sys::wait_readable(&[self.fd()], timeout_ms)
            .map_err(|error| Error::os("wait for exits", error))
    }

    /// Ends every wait, now and later.
    pub fn end_waits(&self) {
        self.waiting.set();
    }

    /// The next exit. None where none waits.
    pub fn next(&self) -> Result<Option<Exit>, Error> {
        let mut state = self.locked()?;
        if state.taken.is_none() {
            state.taken = state.feed.take()?.map(|dead| (Arc::new(dead), 0));
            if state.taken.is_some() {
                self.waiting.set();
            }
        }
        let next = state.taken.clone();
        if let Some((dead, row)) = &mut state.taken {
            *row += 1;
            if *row == dead.len() {
                state.taken = None;
                self.waiting.clear();
            }
        }
        Ok(next)
    }

    /// All waiting exits.
    pub fn read(&self) -> Result<Vec<Exit>, Error> {
        let mut state = self.locked()?;
        let before = state.taken.take();
        if before.is_some() {
            self.waiting.clear();
        }
        let now = state.feed.take()?.map(|dead| (Arc::new(dead), 0));
        let rows = |(dead, first): Exit| (first..dead.len()).map(move |row| (dead.clone(), row));
        Ok(before.into_iter().chain(now).flat_map(rows).collect())
    }

    fn locked(&self) -> Result<MutexGuard<'_, State>, Error> {
        if !self.home.is_here() {
            return Err(Error::forked("reader of exits"));
        }
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
