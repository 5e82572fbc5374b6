//! The maps of the snapshot programs, and their sizes.

use std::mem::size_of;
use std::os::fd::OwnedFd;

use precise_top_core::Layout;

use super::exit_slots::Slots;
use super::maps::{HASH, LRU_HASH, make_array, make_hash, make_ring};
use super::pool::Pool;
use super::{exit_ring, run_log};
use crate::errors::Error;
use crate::host;
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
    pub(super) exiting: OwnedFd,
    pub(super) drafts: OwnedFd,
    /// How many slots there are; none for the iterator, whose programs use the ring.
    pub(super) slot_count: usize,
    /// Bytes of the ring.
    pub(super) ring_size: usize,
    pub(super) notes: OwnedFd,
    pub(super) noted: OwnedFd,
    pub(super) row_of: OwnedFd,
    pub(super) ran: OwnedFd,
    pub(super) logged: OwnedFd,
    pub(super) listed: OwnedFd,
}

impl Maps {
    /// Creates them around the array of control words, for the programs of one call or for
    /// those of the iterator. Maps that these do not use have one element, and the slots do
    /// where nobody watches exits.
    pub(super) fn new(
        controls: OwnedFd,
        layout: &Layout,
        cpu_count: usize,
        one_call: bool,
        watched: bool,
    ) -> Result<Maps, Error> {
        let page = host::page_size();
        let slot_size = Slots::size_of_one(layout);
        let slot_count = if watched { Slots::count_for(cpu_count) } else { 1 };
        let (slot_count, ring_size) =
            if one_call { (slot_count, page) } else { (0, exit_ring::RING) };
        let slots = slot_count.max(1);
        let (exiting, drafts) = if one_call { (1, 1) } else { (exit_ring::EXITING, cpu_count) };
        let most_notes = NOTES.max(cpu_count * NOTES_OF_CPU);
        let [ran, logged, listed] = run_log::make_maps(cpu_count)?;
        Ok(Maps {
            controls,
            cpus: make_array("cpus", size_of::<CpuWords>(), cpu_count)?,
            slots: make_array("slots", slot_size, slots)?,
            slot_of: make_hash(HASH, "slot_of", [8, 8], slots)?,
            deaths: make_ring("deaths", ring_size)?,
            exiting: make_hash(HASH, "exiting", [8, slot_size], exiting)?,
            drafts: make_array("drafts", slot_size, drafts)?,
            slot_count,
            ring_size,
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
    pub(super) fn named<'a>(&'a self, pool: &'a Pool) -> [(&'static str, &'a OwnedFd); 14] {
        [
            ("controls", &self.controls),
            ("cpus", &self.cpus),
            ("outputs", pool.outer()),
            ("slots", &self.slots),
            ("slot_of", &self.slot_of),
            ("deaths", &self.deaths),
            ("exiting", &self.exiting),
            ("drafts", &self.drafts),
            ("notes", &self.notes),
            ("noted", &self.noted),
            ("row_of", &self.row_of),
            ("ran", &self.ran),
            ("logged", &self.logged),
            ("listed", &self.listed),
        ]
    }
}
