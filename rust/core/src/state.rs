//! Names of task states, from the kernel's bits (include/linux/sched.h): `state`
//! holds `__state` in its low half and `exit_state` in its high half.

use std::collections::BTreeMap;

use crate::snapshot::Snapshot;

const TASK_INTERRUPTIBLE: u32 = 0x1;
const TASK_UNINTERRUPTIBLE: u32 = 0x2;
const TASK_STOPPED: u32 = 0x4;
const TASK_TRACED: u32 = 0x8;
const EXIT_DEAD: u32 = 0x10;
const EXIT_ZOMBIE: u32 = 0x20;
const TASK_PARKED: u32 = 0x40;
const TASK_DEAD: u32 = 0x80;
const TASK_NOLOAD: u32 = 0x400;

/// The state of a task that is gone.
pub const DEAD: u32 = EXIT_DEAD << 16;

/// State names with the letters of /proc/PID/stat and the bits that stand for them.
const STATES: [(char, &str, u32); 9] = [
    ('R', "running", 0),
    ('S', "sleeping", TASK_INTERRUPTIBLE),
    ('D', "waiting", TASK_UNINTERRUPTIBLE),
    ('T', "stopped", TASK_STOPPED),
    ('t', "traced", TASK_TRACED),
    ('X', "dead", DEAD),
    ('Z', "zombie", EXIT_ZOMBIE << 16),
    ('P', "parked", TASK_PARKED),
    ('I', "idle", TASK_UNINTERRUPTIBLE | TASK_NOLOAD),
];

/// The letter that /proc/PID/stat shows for a state.
pub fn letter(state: u32) -> char {
    let exit_state = state >> 16;
    if exit_state & EXIT_ZOMBIE != 0 {
        return 'Z';
    }
    if exit_state & EXIT_DEAD != 0 || state & TASK_DEAD != 0 {
        return 'X';
    }
    if state & TASK_NOLOAD != 0 && state & TASK_UNINTERRUPTIBLE != 0 {
        return 'I';
    }
    [
        (TASK_INTERRUPTIBLE, 'S'),
        (TASK_UNINTERRUPTIBLE, 'D'),
        (TASK_STOPPED, 'T'),
        (TASK_TRACED, 't'),
        (TASK_PARKED, 'P'),
    ]
    .into_iter()
    .find_map(|(bit, letter)| (state & bit != 0).then_some(letter))
    .unwrap_or('R')
}

/// The bits of a letter of /proc/PID/stat; None for a letter the kernel does not use.
pub fn from_letter(letter: char) -> Option<u32> {
    STATES.into_iter().find_map(|(known, _, bits)| (known == letter).then_some(bits))
}

/// Number of states that have a name.
pub(crate) const COUNT: usize = STATES.len();

/// The place of a state among those that have a name.
pub(crate) fn number(state: u32) -> usize {
    let letter = letter(state);
    STATES.into_iter().position(|(known, ..)| known == letter).unwrap_or(0)
}

/// The word for a state.
pub fn name(state: u32) -> &'static str {
    STATES[number(state)].1
}

/// The counts of tasks by the [`number`] of their state, as counts by name.
pub(crate) fn named(counts: &[usize; COUNT]) -> BTreeMap<&'static str, usize> {
    let counts = STATES.iter().zip(counts).filter(|&(_, &count)| count > 0);
    counts.map(|(&(_, name, _), &count)| (name, count)).collect()
}

/// Number of living tasks in each state; those whose state is not known are left out.
pub fn count<B: AsRef<[u8]>>(snapshot: &Snapshot<B>) -> BTreeMap<&'static str, usize> {
    let mut counts = [0; COUNT];
    let living = snapshot.living();
    for state in snapshot.iter().take(living).filter_map(|record| record.state()) {
        counts[number(state)] += 1;
    }
    named(&counts)
}
