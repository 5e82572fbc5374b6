//! The exit slots: where a task that dies leaves its last word.
//!
//! Design decisions
//!
//! * The programs give out numbers one after the other; a number's slot is where it falls
//!   in the array (bpf/hooks.h). Slots are freed in any order: those of tasks that take long
//!   to die stay in use, and the programs pass over them when they come around.
//! * Poll each number until its slot reports a final state, so that a task in the middle of
//!   its claim is not overlooked.
//! * The programs report deaths once, until someone has looked.
//! * Memory order: the programs publish a slot's state by an atomic exchange, which orders all
//!   accesses around it (BPF has no release store before Linux 6.15). Here an acquire load of
//!   the state comes before all reads of the slot, and a release store of FREE after them. A
//!   program that finds FREE only writes to the slot, and stores never pass the load that
//!   they depend on. Programs for the task iterator use a ring instead (exit_ring.rs).

use std::mem::{offset_of, size_of, take};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use precise_top_core::Layout;

use crate::sys::bpf;
use crate::sys::shared::{Control, Mapping, Ring, SlotWords};

/// Slots at least, and for each CPU.
const SLOTS: usize = 16384;
const SLOTS_OF_CPU: usize = 256;
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
    /// How many; a power of two.
    count: usize,
    slot_of: OwnedFd,
    ring: Ring,
    record_size: usize,
    /// Numbers below this one were looked at,
    seen: u64,
    /// and of these, these may still be in use.
    open: Vec<u64>,
    /// The programs wake the reader when this many tickets were issued since it last looked.
    told_after: u64,
}

/// A slot in use.
pub(crate) struct Slot<'a> {
    place: Place<'a>,
    pub(crate) words: SlotWords,
}

/// Where a slot is.
enum Place<'a> {
    /// In the array.
    Numbered(&'a Slots, u64),
    /// The bytes of its record, in a message of the ring.
    Sent(&'a [u8]),
}

impl Slot<'_> {
    /// Whether its task has made its last switch.
    pub(crate) fn is_dead(&self) -> bool {
        self.words.state == DEAD
    }

    /// Whether only the slot reports if the walk still meets the task.
    pub(crate) fn is_traced_thread(&self) -> bool {
        self.words.ptraced != 0 && self.words.leader == 0
    }

    /// A copy of its record.
    pub(crate) fn record(&self) -> Vec<u8> {
        match self.place {
            Place::Sent(record) => record.to_vec(),
            Place::Numbered(slots, number) => {
                let mut bytes = vec![0; slots.record_size];
                slots.slots.copy(slots.at(number) + size_of::<SlotWords>(), &mut bytes);
                bytes
            }
        }
    }

    /// A slot that came in a message.
    pub(super) fn sent(words: SlotWords, record: &[u8]) -> Slot<'_> {
        Slot { place: Place::Sent(record), words }
    }
}

impl Slots {
    /// Bytes of a slot with a record.
    pub(crate) fn size_of_one(layout: &Layout) -> usize {
        size_of::<SlotWords>() + layout.record_size()
    }

    /// Tasks that may be dead or dying before someone looks; a power of two.
    pub(crate) fn count_for(cpus: usize) -> usize {
        SLOTS.max(cpus * SLOTS_OF_CPU).next_power_of_two()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The slots in the maps of that name.
    pub(crate) fn new(
        control: Arc<Mapping>,
        slots: Mapping,
        slot_of: OwnedFd,
        ring: Ring,
        layout: &Layout,
        count: usize,
    ) -> Slots {
        control.write(offset_of!(Control, head), FIRST);
        control.write(offset_of!(Control, tail), FIRST);
        Slots {
            control,
            slots,
            count,
            slot_of,
            ring,
            record_size: layout.record_size(),
            seen: FIRST,
            open: Vec::new(),
            told_after: u64::MAX,
        }
    }

    /// Lets tasks that exit claim slots, or no longer.
    pub(crate) fn enable(&self, enabled: bool) {
        let slots = if enabled { self.count as u64 } else { 0 };
        self.control.write(offset_of!(Control, slots), slots);
    }

    /// Deaths are reported once so many slots were given out after someone has looked.
    pub(crate) fn tell_after(&mut self, numbers: usize) {
        self.told_after = numbers as u64;
        self.arm();
    }

    /// The words shared with the programs.
    pub(super) fn control(&self) -> &Mapping {
        &self.control
    }

    /// Lets the programs report deaths again. Returns the first number that was not given out.
    fn arm(&self) -> u64 {
        let head: u64 = self.control.read(offset_of!(Control, head));
        self.control.write(offset_of!(Control, wake_at), head.saturating_add(self.told_after));
        self.ring.clear();
        self.control.release(offset_of!(Control, woken), 0);
        // Whoever dies after this is reported; who died before is seen below.
        fence(Ordering::SeqCst);
        self.control.read(offset_of!(Control, head))
    }

    /// Looks at all slots in use with numbers below `end`, or at all; `is_done` returns
    /// whether one is to be freed.
    pub(crate) fn sweep(&mut self, end: Option<u64>, mut is_done: impl FnMut(&Slot<'_>) -> bool) {
        let head = self.arm();
        let end = end.unwrap_or(head);
        let mut open = take(&mut self.open);
        if end.saturating_sub(self.seen) > self.count as u64 {
            // The programs have come around: each slot reports whose it is.
            open = (end - self.count as u64..end)
                .filter_map(|number| self.owner(number, end))
                .collect();
        } else {
            open.extend(self.seen..end);
        }
        self.seen = self.seen.max(end);
        open.retain(|&number| match self.ask(number) {
            Said::Nothing => true,
            Said::Unused => false,
            Said::Claimed(words) => {
                let slot = Slot { place: Place::Numbered(self, number), words };
                let done = is_done(&slot);
                if done {
                    self.free(number, &slot);
                }
                !done
            }
        });
        let first = open.iter().copied().min().unwrap_or(self.seen);
        // A run looks at every slot at most once.
        let tail = first.max(self.seen.saturating_sub(self.count as u64));
        self.control.write(offset_of!(Control, tail), tail);
        self.open = open;
    }

    fn at(&self, number: u64) -> usize {
        (number as usize & (self.count - 1)) * (size_of::<SlotWords>() + self.record_size)
    }

    /// The number by which the slot of `number` is in use, if it is one below `end`; itself
    /// where the slot does not say.
    fn owner(&self, number: u64, end: u64) -> Option<u64> {
        let words = self.words(number);
        if matches!(words.state, FREE | CLAIMED) {
            return Some(number);
        }
        Some(words.number).filter(|&owner| owner < end)
    }

    /// The words of a slot, at least as new as its state.
    fn words(&self, number: u64) -> SlotWords {
        let at = self.at(number);
        let state = self.slots.observe(at + offset_of!(SlotWords, state));
        SlotWords { state, ..self.slots.read(at) }
    }

    fn ask(&self, number: u64) -> Said {
        let at = self.at(number);
        let passed: u64 = self.slots.read(at + offset_of!(SlotWords, passed));
        // The programs claim the state before they store the number.
        let claimed = self.slots.observe(at + offset_of!(SlotWords, number));
        let words = self.words(number);
        if claimed == number {
            if words.state == FREE { Said::Unused } else { Said::Claimed(words) }
        } else if claimed.max(passed) >= number {
            Said::Unused
        } else {
            Said::Nothing
        }
    }

    fn free(&self, number: u64, slot: &Slot<'_>) {
        if slot.is_traced_thread() {
            // The one kind whose entry the programs leave.
            let _ = bpf::delete_element(self.slot_of.as_fd(), slot.words.task);
        }
        self.slots.release(self.at(number) + offset_of!(SlotWords, state), FREE);
    }
}
