//! The exits of kernels whose tasks an iterator lists: their programs send each dead task's
//! slot through a ring buffer (bpf/exit_ring.h).
//!
//! Design decisions
//!
//! * A snapshot there has no instant: a task that dies during the walk counts with its final
//!   value, unless the walk has visited it.

use std::mem::{offset_of, size_of, take};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use precise_top_core::Layout;

use super::exit_slots::{Slot, Slots};
use crate::sys::bpf;
use crate::sys::shared::{Control, Mapping, Ring, SlotWords, words_in};

/// Bytes of the ring: some 22,000 deaths.
pub(super) const RING: usize = 16 << 20;
/// Tasks between their exit and their last switch, at most.
pub(super) const EXITING: usize = 8192;
/// The worker empties the ring when this part of it is used.
const EMPTY_PART: u64 = 4;

/// The ring, and what was taken from it and is in use.
pub(crate) struct ExitRing {
    control: Arc<Mapping>,
    ring: Ring,
    /// Slots of tasks that have exited and make their last switch later.
    exiting: OwnedFd,
    message_size: usize,
    open: Vec<Vec<u8>>,
}

impl ExitRing {
    pub(super) fn new(
        control: Arc<Mapping>,
        ring: Ring,
        exiting: OwnedFd,
        layout: &Layout,
    ) -> ExitRing {
        let message_size = Slots::size_of_one(layout);
        ExitRing { control, ring, exiting, message_size, open: Vec::new() }
    }

    /// Passes the tasks to `look` that had exited at the end of the last run and are not dead.
    fn look_at_exiting(&self, run: &Control, mut look: impl FnMut(&Slot<'_>) -> bool) {
        for slot in bpf::values(self.exiting.as_fd(), self.message_size).unwrap_or_default() {
            let (words, record) = slot.split_at(size_of::<SlotWords>());
            let mut words: SlotWords = words_in(words);
            if words.died_ns == 0 && words.used <= run.end_ns {
                // At its exit; the rest counts once it is dead.
                words.used = words.end;
                words.state = 0;
                words.serial = run.serial;
                look(&Slot::sent(words, record));
            }
        }
    }

    /// Lets the programs report each death, or when a part of the ring is used.
    fn tell(&self, each: bool) {
        let after = if each { 0 } else { RING as u64 / EMPTY_PART };
        self.control.write(offset_of!(Control, wake_at), after);
    }

    /// Looks at all dead tasks; `is_done` returns whether one is to be forgotten. Those that died
    /// up to the end of the last run count as seen by it.
    fn sweep(&mut self, with_exiting: bool, mut is_done: impl FnMut(&Slot<'_>) -> bool) {
        let ExitRing { ring, open, .. } = self;
        ring.take(self.message_size, |message| open.push(message));
        let run: Control = self.control.read(0);
        let mut open = take(&mut self.open);
        open.retain(|message| {
            let (words, record) = message.split_at(size_of::<SlotWords>());
            let mut words: SlotWords = words_in(words);
            // The walk passes over dead threads that are not reaped yet.
            words.ptraced = 0;
            words.used = words.end;
            words.serial = if words.died_ns <= run.end_ns { run.serial } else { 0 };
            !is_done(&Slot::sent(words, record))
        });
        self.open = open;
        if with_exiting {
            self.look_at_exiting(&run, is_done);
        }
    }
}

/// Where the programs leave the dead.
pub(crate) enum Deaths {
    Slots(Slots),
    Ring(ExitRing),
}

impl Deaths {
    /// Lets tasks that exit claim slots, or no longer.
    pub(super) fn enable(&self, enabled: bool) {
        if let Deaths::Slots(slots) = self {
            slots.enable(enabled);
        }
    }

    /// Lets the programs report each death, or when the memory for them is used in part.
    pub(super) fn tell(&mut self, each: bool) {
        match self {
            Deaths::Slots(slots) if each => slots.tell_after(0),
            Deaths::Slots(slots) => slots.tell_after(slots.count() / EMPTY_PART as usize),
            Deaths::Ring(ring) => ring.tell(each),
        }
    }

    /// Deaths that the programs could not leave, and what these tasks had used.
    pub(super) fn lost(&self) -> (u64, u64) {
        let control = match self {
            Deaths::Slots(slots) => slots.control(),
            Deaths::Ring(ring) => &ring.control,
        };
        let control: Control = control.read(0);
        (control.exits_lost, control.overflow_ns)
    }

    /// Looks at all of them, or at those with numbers below `end`; `is_done` returns whether one
    /// is to be forgotten.
    pub(super) fn sweep(&mut self, end: Option<u64>, is_done: impl FnMut(&Slot<'_>) -> bool) {
        match self {
            Deaths::Slots(slots) => slots.sweep(end, is_done),
            Deaths::Ring(ring) => ring.sweep(end.is_some(), is_done),
        }
    }
}
