//! What a process opens once and keeps, for callers that want one snapshot or one task.
//!
//! Design decisions
//!
//! * Kept sources have no hooks and no thread. So they know no exits, nothing has to be stopped
//!   when the process ends, and a fork is safe.
//! * Threads share them: one reads at a time. A forked child opens its own.
//! * A single task is read from its files in /proc, and over netlink what these lack, because a
//!   source of all tasks costs more than that.

use std::sync::{Mutex, MutexGuard, PoisonError};

use precise_top_core::wire::Id;
use precise_top_core::{FieldSet, SharedBytes, Snapshot, SourceKind};

use crate::errors::Error;
use crate::netlink::Netlink;
use crate::procfs::Procfs;
use crate::source::{Request, Source};
use crate::sys::thread::PerProcess;

#[derive(Default)]
struct Kept {
    /// By kind; the first is the best one that works here.
    sources: [Mutex<Option<Box<dyn Source>>>; SourceKind::ALL.len()],
    netlink: Mutex<Option<Netlink>>,
    procfs: Mutex<Option<Procfs>>,
}

static KEPT: PerProcess<Kept> = PerProcess::new();

fn kept() -> &'static Kept {
    KEPT.get(Kept::default)
}

fn locked<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `work` with what is in `place`, which is opened the first time.
fn with<T, R>(
    place: &Mutex<Option<T>>,
    open: impl FnOnce() -> Result<T, Error>,
    work: impl FnOnce(&mut T) -> Result<R, Error>,
) -> Result<R, Error> {
    let mut place = locked(place);
    if place.is_none() {
        *place = Some(open()?);
    }
    place.as_mut().map_or_else(|| unreachable!("it was opened"), work)
}

/// Takes a snapshot with the kept source of that kind, or with None the best one that works here.
/// It knows no exits, whatever the request.
pub fn snapshot(
    kind: Option<SourceKind>,
    request: &Request,
) -> Result<Snapshot<SharedBytes>, Error> {
    let place = &kept().sources[kind.map_or(0, |kind| kind as usize)];
    let request = Request { exact: false, changed: false, ..request.clone() };
    with(place, || crate::open_inexact(kind), |source| source.snapshot(&request))
}

/// Returns the kernel's record of one task or process, over a kept socket.
pub fn get(id: Id) -> Result<Snapshot<SharedBytes>, Error> {
    with(&kept().netlink, Netlink::open, |netlink| netlink.get(id))
}

/// Returns one process with these fields. NoSuchTask where it is gone, AccessDenied where it is
/// hidden.
pub fn task(pid: u32, fields: FieldSet) -> Result<Snapshot<SharedBytes>, Error> {
    with(&kept().procfs, Procfs::open, |procfs| procfs.task(pid, fields))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn snapshots_of_a_process_share_a_source_without_exits() {
        let first = snapshot(None, &Request { exact: true, ..Request::default() });
        let first = first.expect("a snapshot");
        drop(Command::new("true").status());
        let second = snapshot(None, &Request::default()).expect("a snapshot");
        assert_eq!((first.header().exited, second.header().exited), (0, 0));
        assert!(!second.header().flags.contains(precise_top_core::Flags::EXITS));
        assert_eq!(first.header().task_id_space, second.header().task_id_space);
    }
}
