//! The maps of the snapshot programs, and their sizes.

use std::mem::size_of;
use std::os::fd::OwnedFd;

use precise_top_core::Layout;

use super::exit_slots::Slots;
use super::maps::{HASH, LRU_HASH, make_array, make_hash, make_ring};
use super::pool::Pool;
use super::run_log;
use crate::errors::Error;
use crate::sys::shared::{Control, CpuWords};

/// Tasks that may be switched while a run lasts: at least, and for each CPU.
const NOTES: usize = 16384;
const NOTES_OF_CPU: usize = 256;
/// Processes that a run can tell apart.
const PROCESSES: usize = 16384;
/// Bytes of `struct note`.
pub(super) const NOTE: usize = 16;

/// The maps of the snapshot programs, with the arrays that are mapped here.
pub(super) struct Maps {
    pub(super) controls: OwnedFd,
    pub(super) cpus: OwnedFd,
    pub(super) slots: OwnedFd,
    pub(super) slot_of: OwnedFd,
    pub(super) deaths: OwnedFd,
    pub(super) notes: OwnedFd,
    pub(super) noted: OwnedFd,
    pub(super) row_of: OwnedFd,
    pub(super) ran: OwnedFd,
    pub(super) logged: OwnedFd,
    pub(super) listed: OwnedFd,
}

impl Maps {
    /// Creates them around the array of control words.
    pub(super) fn new(
        controls: OwnedFd,
        layout: &Layout,
        cpu_count: usize,
        page: usize,
    ) -> Result<Maps, Error> {
        let slots = Slots::count_for(cpu_count);
        let most_notes = NOTES.max(cpu_count * NOTES_OF_CPU);
        let [ran, logged, listed] = run_log::make_maps(cpu_count)?;
        Ok(Maps {
            controls,
            cpus: make_array("cpus", size_of::<CpuWords>(), cpu_count)?,
            slots: make_array("slots", Slots::size_of_one(layout), slots)?,
            slot_of: make_hash(HASH, "slot_of", [8, 8], slots)?,
            deaths: make_ring("deaths", page)?,
            notes: make_hash(HASH, "notes", [8, NOTE], most_notes)?,
            noted: make_array("noted", size_of::<u64>(), most_notes)?,
            row_of: make_hash(LRU_HASH, "row_of", [8, NOTE], PROCESSES)?,
            ran,
            logged,
            listed,
        })
    }

    /// The array of control words alone. It is created first: that fails where BPF may not be
    /// used at all, before any other work is done.
    pub(super) fn controls() -> Result<OwnedFd, Error> {
        make_array("controls", size_of::<Control>(), 1)
    }

    /// The maps by their names in bpf/maps.h.
    pub(super) fn named<'a>(&'a self, pool: &'a Pool) -> [(&'static str, &'a OwnedFd); 12] {
        [
            ("controls", &self.controls),
            ("cpus", &self.cpus),
            ("outputs", pool.outer()),
            ("slots", &self.slots),
            ("slot_of", &self.slot_of),
            ("deaths", &self.deaths),
            ("notes", &self.notes),
            ("noted", &self.noted),
            ("row_of", &self.row_of),
            ("ran", &self.ran),
            ("logged", &self.logged),
            ("listed", &self.listed),
        ]
    }
}
