//! Tasks as they die, one after the other.
//!
//! Design decisions
//!
//! * Where they come from keeps them until somebody reads: the slots of bpf, the sockets
//!   of netlink. What does not fit there is counted.
//! * One descriptor is readable while there are exits, wherever they wait: with the source,
//!   or here, taken together with others before them.
//! * Nobody who waits holds a lock, so that another thread can end the wait.

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

/// One task that died: a row of a snapshot of the dead.
pub type Exit = (Arc<Snapshot<SharedBytes>>, usize);

struct State {
    deaths: Box<dyn ExitFeed>,
    /// What was taken, and the first row of it that was not given yet.
    taken: Option<Exit>,
}

/// Tasks as they die. Threads may share it.
pub struct Exits {
    kind: SourceKind,
    state: Mutex<State>,
    /// Set while something is taken and not given, or nobody is to wait any more.
    waiting: EventFd,
    readable: Epoll,
    home: ForkGuard,
}

impl Exits {
    /// Begins to listen: by bpf or netlink, None for the better one of them that works.
    /// AccessDenied without the capability for it, Unsupported where this machine lacks it.
    pub fn open(kind: Option<SourceKind>) -> Result<Exits, Error> {
        let (kind, deaths): (_, Box<dyn ExitFeed>) = match kind {
            Some(SourceKind::Bpf) => (SourceKind::Bpf, Box::new(Bpf::open_for_exits()?)),
            Some(SourceKind::Netlink) => (SourceKind::Netlink, Box::new(Listener::open()?)),
            Some(other) => {
                return Err(Error::Unsupported {
                    reason: format!("{} does not tell of exits as they happen", other.name()),
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
        let readable = sys::any_readable([deaths.readable(), waiting.as_fd()]).map_err(failed)?;
        let state = Mutex::new(State { deaths, taken: None });
        Ok(Exits { kind, state, waiting, readable, home: ForkGuard::new() })
    }

    /// Where they come from.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// A descriptor that is readable while exits wait.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.readable.0.as_fd()
    }

    /// Exits lost so far, as far as it is known: netlink tells of a loss with the next exit
    /// on the same CPU.
    pub fn lost(&self) -> Result<u64, Error> {
        Ok(self.locked()?.deaths.lost())
    }

    /// Waits for an exit; false where `timeout_ms` passed first or a signal came.
    pub fn wait(&self, timeout_ms: i32) -> Result<bool, Error> {
        sys::wait_readable(&[self.fd()], timeout_ms)
            .map_err(|error| Error::os("wait for exits", error))
    }

    /// Ends every wait, now and later.
    pub fn end_waits(&self) {
        self.waiting.set();
    }

    /// The next exit; None where none waits.
    pub fn next(&self) -> Result<Option<Exit>, Error> {
        let mut state = self.locked()?;
        if state.taken.is_none() {
            state.taken = state.deaths.take()?.map(|dead| (Arc::new(dead), 0));
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

    /// All exits that wait.
    pub fn read(&self) -> Result<Vec<Exit>, Error> {
        let mut state = self.locked()?;
        let before = state.taken.take();
        if before.is_some() {
            self.waiting.clear();
        }
        let now = state.deaths.take()?.map(|dead| (Arc::new(dead), 0));
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
