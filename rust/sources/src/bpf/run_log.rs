//! The log of processes that ran, written by the switch program (bpf/run_log.h). With it a
//! snapshot of only those that ran costs nothing for unchanged processes.
//!
//! Design decisions
//!
//! * The log has process ids of the initial namespace. Snapshots of threads, and those from
//!   inside a namespace, walk over all tasks.
//! * Unchanged processes are not visited. A change without a run, such as the new parent of
//!   an orphan, is seen when all tasks are read again, once a minute.
//! * Zombies do not run, but their end must be seen: each run visits them.
//! * The kernel takes as long to verify the program as one of thousands of tasks takes to walk over
//!   all: it is loaded after [`WALKS`] snapshots that it would have served, and who takes only a
//!   few does not wait for it.

use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use precise_top_core::interval::LastValues;

use super::loader::{Loader, Prepared, Target};
use super::maps::make_array;
use crate::errors::Error;
use crate::sys::shared::{Control, Mapping};

/// Entries of a CPU's log, and of its table of processes logged last, as in bpf/run_log.h.
pub(super) const LOG: usize = 1024;
pub(super) const LOGGED: usize = 256;
/// Processes that a run can visit,
pub(super) const LISTED: usize = 8192;
/// and of these, zombies.
const ZOMBIES: usize = LISTED / 2;

/// Partial snapshots by a walk over all tasks, before the program is loaded.
pub(super) const WALKS: u32 = 2;

/// Bytes from one value of an array to the next: the kernel rounds them up to 8.
pub(super) const STRIDE: usize = 8;

/// The maps `ran`, `logged` and `listed`.
pub(super) fn make_maps(cpu_count: usize) -> Result<[OwnedFd; 3], Error> {
    Ok([
        make_array("ran", size_of::<u32>(), cpu_count * LOG)?,
        make_array("logged", size_of::<u64>(), cpu_count * LOGGED)?,
        make_array("listed", size_of::<u32>(), LISTED)?,
    ])
}

/// The program that reads the log, and whether the log is complete.
pub(super) struct RunLog {
    /// The program before its first use, with the maps whose descriptors it contains.
    prepared: Option<(Prepared, Vec<OwnedFd>)>,
    program: Option<OwnedFd>,
    listed: Mapping,
    /// Whether the log was written since the last snapshot.
    is_kept: bool,
    /// Snapshots that the program would have served.
    walks: u32,
}

impl RunLog {
    /// Takes the maps that have no other owner.
    pub(super) fn new(loader: &Loader, listed: Mapping, maps: Vec<OwnedFd>) -> RunLog {
        let prepared = loader.prepare("snapshot_of_ran", Target::Call).ok();
        RunLog {
            prepared: prepared.map(|prepared| (prepared, maps)),
            program: None,
            listed,
            is_kept: false,
            walks: 0,
        }
    }

    /// A walk over all tasks was made for a partial snapshot. After some of them it loads the
    /// program, if the kernel accepts it.
    pub(super) fn walked(&mut self) {
        self.walks += 1;
        if self.walks < WALKS {
            return;
        }
        if let Some((prepared, _maps)) = self.prepared.take() {
            // Kernels from 6.7 to 6.9 refuse these functions to programs of this kind.
            self.program = prepared.load().ok();
        }
    }

    /// The switch program was attached or detached.
    pub(super) fn forget(&mut self) {
        self.is_kept = false;
    }

    /// A snapshot was taken: the log continues from there.
    pub(super) fn took(&mut self, control: &Mapping, is_kept: bool) {
        control.write(offset_of!(Control, taken), 1_u64);
        self.is_kept = is_kept;
    }

    /// The program, if it is loaded.
    pub(super) fn program(&self) -> Option<BorrowedFd<'_>> {
        self.program.as_ref().map(AsFd::as_fd)
    }

    /// Whether the log is complete for a snapshot after these values. Lists the zombies, which
    /// the run must visit. `lost` is the number of exits lost so far.
    pub(super) fn is_for(&mut self, control: &Mapping, kept: &LastValues, lost: u64) -> bool {
        let level: u32 = control.read(offset_of!(Control, level));
        if self.program.is_none() || !self.is_kept || level != 0 || lost != kept.exits_lost() {
            return false;
        }
        let zombies = kept.zombies();
        if zombies.len() > ZOMBIES {
            return false;
        }
        control.write(offset_of!(Control, listed), zombies.len() as u64);
        for (n, pid) in zombies.enumerate() {
            self.listed.write(n * STRIDE, pid);
        }
        true
    }
}
