//! The cumulative view: what the dead used, as the counters of their processes and
//! parents tell.
//!
//! Design decisions
//!
//! * A dead child's whole life goes to its parent's counters at once. What it had
//!   used before the interval is taken off again, from the row of the nearest ancestor
//!   that still lives (the snapshot tool of 2010 did the same). Where the kernel counts
//!   all children, an orphan's time went to one further up: what the nearest did not get
//!   is taken off there.
//! * Where rows are threads, a dead thread's life is in its process's counters, and what
//!   a leader's row tells of the dead has them too.
//! * This time is the dead's own. Where the dead have rows it is in their rows, and the
//!   rows' sum has to leave it out here: own view (tasks and exits) and cumulative view
//!   (tasks and their children's time) are two sums of the same time.

use std::collections::{HashMap, HashSet};

use super::ancestors::{self, Step};
use super::delta::Interval;
use super::usage::{Children, Split};
use crate::header::Flags;
use crate::identity::ProcessKey;
use crate::record::Record;

/// User, system and steal time.
type Times = [Option<u64>; 3];

/// What a process's counters say of the dead, in ns.
fn counters(record: &Record<'_>, threads: bool) -> Times {
    let dead_threads = |us: Option<u64>| if threads { us.unwrap_or(0) } else { 0 };
    let ns = |us: Option<u64>, more: u64| Some(us?.saturating_add(more).saturating_mul(1000));
    [
        ns(record.ac_cutime(), dead_threads(record.tg_utime())),
        ns(record.ac_cstime(), dead_threads(record.tg_stime())),
        // The dead threads' is part of it.
        ns(record.ac_csttime(), 0),
    ]
}

/// Whether it is a process's row, or its leader's, which tells the process's counters.
fn leads(record: &Record<'_>, threads: bool) -> bool {
    !threads || record.ac_pid() == record.ac_tgid()
}

impl Interval {
    /// What the dead children of a row's process used.
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

    /// Whether what the dead used is in the living's counters, all of it, and nowhere else.
    fn counts_all_dead(&self) -> bool {
        // Of stock kernels only BPF gets values of one instant, and it knows the dead.
        let flags = self.cur().header().flags;
        flags.contains(Flags::ONE_INSTANT) && !flags.contains(Flags::EXITS)
    }

    /// User and system time of the dead, where they have no rows and all of it is counted.
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

    /// What [`Interval::reaped_ns`] may be wrong by because its counters are cut to whole
    /// µs: at the interval's ends, and for good where what vanished had some.
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
        let rows: HashMap<u32, usize> = self
            .cur()
            .iter()
            .enumerate()
            .filter(|&(row, _)| !self.is_exited(row))
            .filter_map(|(row, record)| Some((record.ac_pid()?, row)))
            .collect();
        // A wrong ppid may make the way up a ring, which must not be gone for ever.
        let mut steps = 64 * rows.len();
        for (heir, mut before) in self.earlier_use_of_vanished() {
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
        grown
            .into_iter()
            .map(|[user_ns, system_ns, steal_ns]| Children { user_ns, system_ns, steal_ns })
            .collect()
    }

    /// By row, by how much its process's counters grew.
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
                // What the process's dead threads brought along was in its row.
                let moved = then.saturating_sub(now).saturating_mul(1000);
                grown[2] = grown[2].map(|steal| steal.saturating_sub(moved));
            }
            Some(grown)
        };
        (0..self.len()).map(|row| of_row(row).unwrap_or_default()).collect()
    }

    /// By pid of the nearest living ancestor, what vanished tasks had used before the
    /// interval, with their own children's time.
    fn earlier_use_of_vanished(&self) -> HashMap<u32, [u64; 3]> {
        let (prev, cur) = (self.prev(), self.cur());
        let threads = cur.header().threads();
        let lives = self.lives_on();
        let living: HashSet<_> = cur
            .iter()
            .enumerate()
            .filter(|(row, record)| threads && !self.is_exited(*row) && leads(record, true))
            .map(|(_, record)| ProcessKey::of(&record))
            .collect();
        let is_gone = |row: usize, record: &Record<'_>| {
            // A leader may have gone and its process live on, under another one.
            !lives[row] && !living.contains(&ProcessKey::of(record))
        };
        let gone: HashMap<u32, usize> = prev
            .iter()
            .enumerate()
            .filter(|(row, record)| leads(record, threads) && is_gone(*row, record))
            .filter_map(|(row, record)| Some((record.ac_pid()?, row)))
            .collect();
        let parent = |row: usize| prev.get(row).and_then(|record| record.ac_ppid());
        // By row of a vanished process the pid of its nearest ancestor that has not.
        let heirs = ancestors::ends(prev.len(), |row| match parent(row) {
            None => Step::Lost,
            Some(pid) => gone.get(&pid).map_or(Step::End(pid), |&row| Step::Go(row)),
        });
        let mut sums: HashMap<u32, [u64; 3]> = HashMap::new();
        let vanished = |row: &usize| !lives[*row] && !prev.is_exited(*row);
        for (row, record) in prev.iter().enumerate().filter(|(row, _)| vanished(row)) {
            let is_process = record.ac_pid().is_some_and(|pid| gone.get(&pid) == Some(&row));
            // Several rows of one pid are of one task; and a thread's time is in no
            // counter where the kernel does not tell that of dead threads.
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
