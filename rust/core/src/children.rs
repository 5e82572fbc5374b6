//! The cumulative view: what dead children used, as their parents' counters tell.
//!
//! Design decisions
//!
//! * A waited-for child's whole life goes to its parent's counters at once. What it had
//!   used before the interval is taken off again, from the row of the nearest ancestor
//!   that still lives (the snapshot tool of 2010 did the same).
//! * This time is the dead's own. Where the dead have rows it is in their rows, and the
//!   rows' sum has to leave it out here: own view (tasks and exits) and cumulative view
//!   (tasks and their children's time) are two sums of the same time.

use std::collections::HashMap;

use crate::delta::{Interval, Split};
use crate::header::Flags;
use crate::layout::Field;

/// What children that died in an interval used in it, in ns; None where unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Children {
    /// User time.
    pub user_ns: Option<u64>,
    /// System time.
    pub system_ns: Option<u64>,
    /// Steal time.
    pub steal_ns: Option<u64>,
}

const COUNTERS: [Field; 3] = [Field::ac_cutime, Field::ac_cstime, Field::ac_csttime];

impl Interval {
    /// A row's own time and, where the dead have no rows, its dead children's.
    pub(crate) fn all_ns(&self, row: usize) -> Option<u64> {
        let own = self.usage(row)?.total_ns();
        if self.cur().header().flags.contains(Flags::EXITS) {
            return Some(own);
        }
        let children = self.children(row);
        let parts = [children.user_ns, children.system_ns, children.steal_ns];
        Some(parts.into_iter().flatten().fold(own, u64::saturating_add))
    }

    pub(crate) fn find_children(&self) -> Vec<Children> {
        let earlier_use = self.earlier_use_of_vanished();
        (0..self.len())
            .map(|row| {
                let Some(record) = self.cur().get(row) else { return Children::default() };
                // Every thread tells its process's counters.
                if self.cur().header().threads() && record.ac_pid() != record.ac_tgid() {
                    return Children::default();
                }
                let before = record.ac_pid().and_then(|pid| earlier_use.get(&pid));
                let [user_ns, system_ns, steal_ns] = [0, 1, 2].map(|which| {
                    let grown = self.increase(row, COUNTERS[which])?.saturating_mul(1000);
                    Some(grown.saturating_sub(before.map_or(0, |before| before[which])))
                });
                Children { user_ns, system_ns, steal_ns }
            })
            .collect()
    }

    /// By pid of the nearest living ancestor, what vanished tasks had used before the
    /// interval, with their own children's time.
    fn earlier_use_of_vanished(&self) -> HashMap<u32, [u64; 3]> {
        let prev = self.prev();
        let lives = self.lives_on();
        let mut vanished: HashMap<u32, usize> = HashMap::new();
        for (row, record) in prev.iter().enumerate().filter(|(row, _)| !lives[*row]) {
            if let Some(pid) = record.ac_pid() {
                vanished.insert(pid, row);
            }
        }
        let mut sums: HashMap<u32, [u64; 3]> = HashMap::new();
        for &row in vanished.values() {
            let Some(record) = prev.get(row) else { continue };
            let split = Split::of_record(&record, Split::default()).unwrap_or_default();
            let own = [
                split.user_ns,
                split.system_ns,
                record.ac_sttime().unwrap_or(0).saturating_mul(1000),
            ];
            let mut heir = record.ac_ppid();
            // A chain of the dead ends; a wrong ppid must not make it a ring.
            for _ in 0..vanished.len() {
                match heir.and_then(|pid| vanished.get(&pid)) {
                    Some(&row) => heir = prev.get(row).and_then(|record| record.ac_ppid()),
                    None => break,
                }
            }
            let Some(heir) = heir else { continue };
            let sum = sums.entry(heir).or_default();
            for which in 0..3 {
                let children = record.unsigned(COUNTERS[which]).unwrap_or(0).saturating_mul(1000);
                sum[which] = sum[which].saturating_add(own[which]).saturating_add(children);
            }
        }
        sums
    }
}
