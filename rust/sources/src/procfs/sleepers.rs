//! What the last walk read of each process: one whose CPU clock stands still has not run since.
//!
//! Design decisions
//!
//! * A process changes its owner, and the kernel the counts of its waits, only when it runs. A
//!   sleeper costs the four calls for its stat and its clock, not eight.

use std::collections::HashMap;
use std::mem;

/// What changes only when a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sleeper {
    /// With the pid these tell whether it is the same process, and has not run.
    pub(super) start_ns: u64,
    pub(super) clock_ns: u64,
    /// User and group; None where they are unknown.
    pub(super) owner: Option<[u64; 2]>,
    pub(super) waits: Waits,
}

/// `cpu_delay_total` and `cpu_count` of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// Nobody asked for them.
    NotRead,
    /// It has, or had, threads whose waits nothing tells.
    Unknown,
    Known([u64; 2]),
}

/// The processes of the last walk and of this one.
#[derive(Debug, Default)]
pub(super) struct Sleepers {
    before: HashMap<u32, Sleeper>,
    now: HashMap<u32, Sleeper>,
}

impl Sleepers {
    /// Begins a walk; what the walk before the last one read is forgotten.
    pub(super) fn begin(&mut self) {
        self.before = mem::take(&mut self.now);
        self.now.reserve(self.before.len());
    }

    /// What is known of a process that has not run since it was read.
    pub(super) fn get(&self, pid: u32, start_ns: u64, clock_ns: u64) -> Option<Sleeper> {
        let sleeper = self.before.get(&pid).copied()?;
        (sleeper.start_ns == start_ns && sleeper.clock_ns == clock_ns).then_some(sleeper)
    }

    pub(super) fn insert(&mut self, pid: u32, sleeper: Sleeper) {
        self.now.insert(pid, sleeper);
    }
}
