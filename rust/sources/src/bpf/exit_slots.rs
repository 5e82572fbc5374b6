//! The exit slots: where a task that dies leaves its last word.
//!
//! Design decisions
//!
//! * The programs give out numbers one after the other; a number's slot is where it falls
//!   in the array (bpf/hooks.h). Slots are freed in any order: those of tasks that take long
//!   to die stay in use, and the programs pass over them when they come around.
//! * A number that was given out is looked at until its slot tells what became of it, so
//!   that a task in the middle of its claim is not overlooked.
//! * The programs tell of deaths once, until someone has looked.

use std::mem::{offset_of, size_of, take};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use precise_top_core::Layout;

use crate::errors::Error;
use crate::sys::bpf;
use crate::sys::shared::{Control, Mapping, Ring, SlotWords};

/// Tasks that may be dead or dying before someone looks; a power of two.
pub(crate) const SLOTS: usize = 16384;
/// The first number.
const FIRST: u64 = 1;

/// SLOT_* of bpf/record.h.
const FREE: u64 = 0;
const DEAD: u64 = 2;
const CLAIMED: u64 = 3;
/// The same by their names there.
#[cfg(test)]
pub(super) const STATES: [(&str, u64); 3] =
    [("SLOT_FREE", FREE), ("SLOT_DEAD", DEAD), ("SLOT_CLAIMED", CLAIMED)];

/// What a slot says of a number.
enum Said {
    /// Its task has not got so far as to claim it.
    Nothing,
    /// No slot is in use under this number (any more).
    Unused,
    /// A task claimed it.
    Claimed(SlotWords),
}

/// The slots, as the one who frees them sees them.
pub(crate) struct Slots {
    control: Arc<Mapping>,
    slots: Mapping,
    slot_of: OwnedFd,
    ring: Ring,
    record_size: usize,
    /// Numbers below this one were looked at,
    seen: u64,
    /// and of these, these may still be in use.
    open: Vec<u64>,
    /// So many numbers after someone has looked, deaths are told of.
    told_after: u64,
}

/// A slot in use.
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    number: u64,
    pub(crate) words: SlotWords,
}

impl Slot<'_> {
    /// Whether its task has made its last switch.
    pub(crate) fn is_dead(&self) -> bool {
        self.words.state == DEAD
    }

    /// Whether only the slot tells if the walk still meets the task.
    pub(crate) fn is_traced_thread(&self) -> bool {
        self.words.ptraced != 0 && self.words.leader == 0
    }

    /// A copy of its record.
    pub(crate) fn record(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.slots.record_size];
        self.slots.slots.copy(self.slots.at(self.number) + size_of::<SlotWords>(), &mut bytes);
        bytes
    }
}

impl Slots {
    /// Bytes of a slot with a record.
    pub(crate) fn size_of_one(layout: &Layout) -> usize {
        size_of::<SlotWords>() + layout.record_size()
    }

    /// The slots in the maps of that name.
    pub(crate) fn new(
        control: Arc<Mapping>,
        slots: Mapping,
        slot_of: OwnedFd,
        deaths: &OwnedFd,
        page: usize,
        layout: &Layout,
    ) -> Result<Slots, Error> {
        let ring = Ring::new(deaths.as_fd(), page)
            .map_err(|error| Error::os("map a BPF ring buffer", error))?;
        control.write(offset_of!(Control, head), FIRST);
        control.write(offset_of!(Control, tail), FIRST);
        Ok(Slots {
            control,
            slots,
            slot_of,
            ring,
            record_size: layout.record_size(),
            seen: FIRST,
            open: Vec::new(),
            told_after: u64::MAX,
        })
    }

    /// Lets tasks that exit claim slots, or no longer.
    pub(crate) fn enable(&self, enabled: bool) {
        let slots = if enabled { SLOTS as u64 } else { 0 };
        self.control.write(offset_of!(Control, slots), slots);
    }

    /// ExitFeed are told of when so many slots were given out after someone has looked.
    pub(crate) fn tell_after(&mut self, numbers: usize) {
        self.told_after = numbers as u64;
        self.arm();
    }

    /// ExitFeed without a slot, and what these tasks had used.
    pub(crate) fn lost(&self) -> (u64, u64) {
        let control: Control = self.control.read(0);
        (control.exits_lost, control.overflow_ns)
    }

    /// From here on deaths are told of anew. Gives the first number that was not given out.
    fn arm(&self) -> u64 {
        let head: u64 = self.control.read(offset_of!(Control, head));
        self.control.write(offset_of!(Control, wake_at), head.saturating_add(self.told_after));
        self.ring.clear();
        self.control.write(offset_of!(Control, woken), 0_u64);
        // Who dies after this is told of; who died before is seen below.
        fence(Ordering::SeqCst);
        self.control.read(offset_of!(Control, head))
    }

    /// Looks at all slots in use with numbers below `end`, or at all; `is_done` tells of
    /// each whether it is to be freed.
    pub(crate) fn sweep(&mut self, end: Option<u64>, mut is_done: impl FnMut(&Slot<'_>) -> bool) {
        let head = self.arm();
        let end = end.unwrap_or(head);
        let mut open = take(&mut self.open);
        if end.saturating_sub(self.seen) > SLOTS as u64 {
            // The programs have come around: each slot tells whose it is.
            open = (end - SLOTS as u64..end).filter_map(|number| self.owner(number, end)).collect();
        } else {
            open.extend(self.seen..end);
        }
        self.seen = self.seen.max(end);
        open.retain(|&number| match self.ask(number) {
            Said::Nothing => true,
            Said::Unused => false,
            Said::Claimed(words) => {
                let slot = Slot { slots: self, number, words };
                let done = is_done(&slot);
                if done {
                    self.free(&slot);
                }
                !done
            }
        });
        let first = open.iter().copied().min().unwrap_or(self.seen);
        // A run looks at every slot at most once.
        let tail = first.max(self.seen.saturating_sub(SLOTS as u64));
        self.control.write(offset_of!(Control, tail), tail);
        self.open = open;
    }

    fn at(&self, number: u64) -> usize {
        (number as usize & (SLOTS - 1)) * (size_of::<SlotWords>() + self.record_size)
    }

    /// The number by which the slot of `number` is in use, if it is one below `end`; itself
    /// where the slot does not say.
    fn owner(&self, number: u64, end: u64) -> Option<u64> {
        let words: SlotWords = self.slots.read(self.at(number));
        if matches!(words.state, FREE | CLAIMED) {
            return Some(number);
        }
        Some(words.number).filter(|&owner| owner < end)
    }

    fn ask(&self, number: u64) -> Said {
        let at = self.at(number);
        let passed: u64 = self.slots.read(at + offset_of!(SlotWords, passed));
        let claimed: u64 = self.slots.read(at + offset_of!(SlotWords, number));
        // The state was written before them.
        fence(Ordering::Acquire);
        let words: SlotWords = self.slots.read(at);
        if claimed == number {
            if words.state == FREE { Said::Unused } else { Said::Claimed(words) }
        } else if claimed.max(passed) >= number {
            Said::Unused
        } else {
            Said::Nothing
        }
    }

    fn free(&self, slot: &Slot<'_>) {
        if slot.is_traced_thread() {
            // The one kind whose entry the programs leave.
            let _ = bpf::delete_element(self.slot_of.as_fd(), slot.words.task);
        }
        self.slots.write(self.at(slot.number) + offset_of!(SlotWords, state), FREE);
    }
}
