//! The cumulative view: CPU time of the dead, from the counters of their processes and
//! parents.
//!
//! Design decisions
//!
//! * A dead child's whole CPU time is added to its parent's counters at once. Its time
//!   before the interval is subtracted again, from the row of the nearest living ancestor
//!   (the snapshot tool of 2010 did the same). Where the kernel counts all children, an
//!   orphan's time went to an ancestor further up: the rest is subtracted there.
//! * Where rows are threads, a dead thread's time is in its process's counters, which the
//!   leader's row has.
//! * Own view (tasks and exits) and cumulative view (tasks and their children) are two sums
//!   of the same time. Where the dead have rows, a sum must not add their time here.

use std::collections::{HashMap, HashSet};

use super::ancestors::{self, Step};
use super::delta::Interval;
use super::usage::{Children, Split};
use crate::header::Flags;
use crate::identity::ProcessKey;
use crate::record::Record;

/// User, system and steal time.
type Times = [Option<u64>; 3];

/// A process's counters of the dead, in ns.
fn counters(record: &Record<'_>, threads: bool) -> Times {
    let dead_threads = |us: Option<u64>| if threads { us.unwrap_or(0) } else { 0 };
    let ns = |us: Option<u64>, more: u64| Some(us?.saturating_add(more).saturating_mul(1000));
    [
        ns(record.ac_cutime(), dead_threads(record.tg_utime())),
        ns(record.ac_cstime(), dead_threads(record.tg_stime())),
        // It includes the dead threads'.
        ns(record.ac_csttime(), 0),
    ]
}

/// Whether the row has the process's counters: rows of processes and of leaders do.
fn leads(record: &Record<'_>, threads: bool) -> bool {
    !threads || record.ac_pid() == record.ac_tgid()
}

impl Interval {
    /// CPU time in the interval of dead children of the row's process.
    pub fn children(&self, row: usize) -> Children {
        let children = self.children.get_or_init(|| self.find_children());
        children.get(row).copied().unwrap_or_default()
    }

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

    /// Whether all CPU time of the dead is in counters of living tasks, and nowhere else.
    fn counts_all_dead(&self) -> bool {
        // On stock kernels only BPF has one-instant values, and it has exit records.
        let flags = self.cur().header().flags;
        flags.contains(Flags::ONE_INSTANT) && !flags.contains(Flags::EXITS)
    }

    /// User and system time of the dead where only counters have it, all of it; else 0.
    pub(crate) fn reaped_ns(&self) -> u64 {
        if !self.counts_all_dead() {
            return 0;
        }
        (0..self.len())
            .map(|row| self.children(row))
            .flat_map(|children| [children.user_ns, children.system_ns])
            .flatten()
            .fold(0, u64::saturating_add)
    }

    /// Error of [`Interval::reaped_ns`] by rounding to whole µs: at the interval's ends, and
    /// within it for vanished tasks.
    pub(crate) fn reaped_rounding_ns(&self) -> (u64, u64) {
        if !self.counts_all_dead() {
            return (0, 0);
        }
        // User and system time, and where rows are threads those of dead threads.
        let counters_ns = if self.cur().header().threads() { 4_000 } else { 2_000 };
        let grew = (0..self.len()).filter(|&row| {
            let children = self.children(row);
            [children.user_ns, children.system_ns].iter().flatten().any(|&ns| ns > 0)
        });
        let gone = self.lives_on().into_iter().filter(|lives| !lives);
        (counters_ns * grew.count() as u64, counters_ns * gone.count() as u64)
    }

    fn find_children(&self) -> Vec<Children> {
        let mut grown = self.grown();
        self.subtract_vanished(&mut grown);
        grown
            .into_iter()
            .map(|[user_ns, system_ns, steal_ns]| Children { user_ns, system_ns, steal_ns })
            .collect()
    }

    /// Subtracts the time of vanished tasks before the interval from the rows of their nearest
    /// living ancestors.
    fn subtract_vanished(&self, grown: &mut [Times]) {
        let vanished = self.earlier_use_of_vanished();
        if vanished.is_empty() {
            return;
        }
        let rows: HashMap<u32, usize> = self
            .cur()
            .iter()
            .enumerate()
            .filter(|&(row, _)| !self.is_exited(row))
            .filter_map(|(row, record)| Some((record.ac_pid()?, row)))
            .collect();
        // A wrong ppid may make the chain of parents a ring: limit the steps.
        let mut steps = 64 * rows.len();
        for (heir, mut before) in vanished {
            let mut heir = Some(heir);
            while steps > 0 {
                steps -= 1;
                let Some(&row) = heir.and_then(|pid| rows.get(&pid)) else { break };
                for (grown, before) in grown[row].iter_mut().zip(&mut before) {
                    if let Some(grown) = grown {
                        let part = (*before).min(*grown);
                        *grown -= part;
                        *before -= part;
                    }
                }
                if before == [0; 3] || !self.counts_all_dead() {
                    break;
                }
                heir = self.cur().get(row).and_then(|record| record.ac_ppid());
            }
        }
    }

    /// The increase of the process's counters of each row.
    fn grown(&self) -> Vec<Times> {
        let threads = self.cur().header().threads();
        let processes: HashMap<_, Record<'_>> = if threads {
            let leaders = self.prev().iter().filter(|record| leads(record, true));
            leaders.map(|record| (ProcessKey::of(&record), record)).collect()
        } else {
            HashMap::new()
        };
        let of_row = |row: usize| {
            let record = self.cur().get(row).filter(|record| leads(record, threads))?;
            let now = counters(&record, threads);
            // After an exec by another thread the leader is another task, of the same process.
            let process = processes.get(&ProcessKey::of(&record)).copied();
            let Some(earlier) = process.or_else(|| self.earlier(row)) else {
                return self.is_born(row).then_some(now);
            };
            let before = counters(&earlier, threads);
            let mut grown = [0, 1, 2].map(|which| now[which]?.checked_sub(before[which]?));
            if let (false, Some(then), Some(now)) =
                (threads, earlier.ac_sttime(), record.ac_sttime())
            {
                // The steal time of dead threads was in the process's row before.
                let moved = then.saturating_sub(now).saturating_mul(1000);
                grown[2] = grown[2].map(|steal| steal.saturating_sub(moved));
            }
            Some(grown)
        };
        (0..self.len()).map(|row| of_row(row).unwrap_or_default()).collect()
    }

    /// CPU time of vanished tasks and their children before the interval, by pid of the
    /// nearest living ancestor.
    fn earlier_use_of_vanished(&self) -> HashMap<u32, [u64; 3]> {
        let (prev, cur) = (self.prev(), self.cur());
        let threads = cur.header().threads();
        let lives = self.lives_on();
        if lives.iter().all(|&lives| lives) {
            return HashMap::new();
        }
        let living: HashSet<_> = cur
            .iter()
            .enumerate()
            .filter(|(row, record)| threads && !self.is_exited(*row) && leads(record, true))
            .map(|(_, record)| ProcessKey::of(&record))
            .collect();
        let is_gone = |row: usize, record: &Record<'_>| {
            // A process may live on under another leader.
            !lives[row] && !living.contains(&ProcessKey::of(record))
        };
        let gone: HashMap<u32, usize> = prev
            .iter()
            .enumerate()
            .filter(|(row, record)| leads(record, threads) && is_gone(*row, record))
            .filter_map(|(row, record)| Some((record.ac_pid()?, row)))
            .collect();
        let parent = |row: usize| prev.get(row).and_then(|record| record.ac_ppid());
        // For each vanished process, the pid of its nearest ancestor that has not vanished.
        let heirs = ancestors::ends(prev.len(), |row| match parent(row) {
            None => Step::Lost,
            Some(pid) => gone.get(&pid).map_or(Step::End(pid), |&row| Step::Go(row)),
        });
        let mut sums: HashMap<u32, [u64; 3]> = HashMap::new();
        let vanished = |row: &usize| !lives[*row] && !prev.is_exited(*row);
        for (row, record) in prev.iter().enumerate().filter(|(row, _)| vanished(row)) {
            let is_process = record.ac_pid().is_some_and(|pid| gone.get(&pid) == Some(&row));
            // Several rows of one pid are of one task. A thread's time is in no counter where
            // the kernel has none for dead threads.
            if !is_process && (!threads || record.tg_utime().is_none()) {
                continue;
            }
            let heir = if is_process {
                heirs[row]
            } else {
                let process = record.ac_tgid();
                process.and_then(|pid| gone.get(&pid).map_or(Some(pid), |&row| heirs[row]))
            };
            let Some(heir) = heir else { continue };
            let split = Split::of_record(&record, Split::default()).unwrap_or_default();
            let steal_ns = record.ac_sttime().unwrap_or(0).saturating_mul(1000);
            let own = [split.user_ns, split.system_ns, steal_ns];
            let children = if is_process { counters(&record, threads) } else { Times::default() };
            let sum = sums.entry(heir).or_default();
            for which in 0..3 {
                let all = own[which].saturating_add(children[which].unwrap_or(0));
                sum[which] = sum[which].saturating_add(all);
            }
        }
        sums
    }
}
