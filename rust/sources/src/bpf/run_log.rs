//! Who ran since the last snapshot, by the log that the switch program keeps (bpf/run_log.h):
//! with it a snapshot of only what ran costs nothing for those that rest.
//!
//! Design decisions
//!
//! * The log is of processes, by their ids of the initial namespace: rows of threads, and
//!   views from inside a namespace, walk over all tasks.
//! * Who rests is not looked at. What changes without a run, as the parent of an orphan, is
//!   seen when all tasks are read again, once a minute.
//! * Zombies do not run, but their end must be seen: they are met in each run.

use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use precise_top_core::interval::LastValues;

use super::loader::{Loader, Prepared, Target};
use super::maps::make_array;
use crate::errors::Error;
use crate::sys::shared::{Control, Mapping};

/// Entries of a CPU's log, and of its table of those noted last, as in bpf/run_log.h.
pub(super) const LOG: usize = 1024;
pub(super) const LOGGED: usize = 256;
/// Processes that a run can meet,
pub(super) const LISTED: usize = 8192;
/// and of these, zombies.
const ZOMBIES: usize = LISTED / 2;

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

/// The program that reads the log, and whether the log tells all.
pub(super) struct RunLog {
    /// Until it is first wanted, with the maps that it speaks of by their descriptors.
    prepared: Option<(Prepared, Vec<OwnedFd>)>,
    program: Option<OwnedFd>,
    listed: Mapping,
    /// Whether it has been kept since the last snapshot.
    is_kept: bool,
}

impl RunLog {
    /// Takes the maps that nobody else keeps.
    pub(super) fn new(loader: &Loader, listed: Mapping, maps: Vec<OwnedFd>) -> RunLog {
        let prepared = loader.prepare("snapshot_of_ran", Target::Call).ok();
        RunLog {
            prepared: prepared.map(|prepared| (prepared, maps)),
            program: None,
            listed,
            is_kept: false,
        }
    }

    /// Loads the program, where the kernel takes it.
    pub(super) fn load(&mut self) {
        if let Some((prepared, _maps)) = self.prepared.take() {
            // Kernels may have the functions, and not for programs of this kind (6.7 to 6.9).
            self.program = prepared.load().ok();
        }
    }

    /// The switch program comes or goes.
    pub(super) fn forget(&mut self) {
        self.is_kept = false;
    }

    /// A snapshot was taken: the log goes on from there.
    pub(super) fn took(&mut self, control: &Mapping, is_kept: bool) {
        control.write(offset_of!(Control, taken), 1_u64);
        self.is_kept = is_kept;
    }

    /// The program, where it is loaded.
    pub(super) fn program(&self) -> Option<BorrowedFd<'_>> {
        self.program.as_ref().map(AsFd::as_fd)
    }

    /// Whether it tells all that a snapshot after these values needs; asks for those that
    /// must be met. `lost` is the number of deaths that nobody has seen.
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
