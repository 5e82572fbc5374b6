//! The interval between two snapshots: each task's use of CPU time and counters.
//!
//! Design decisions
//!
//! * Pure: two snapshots in, an interval out, so that live and recorded data
//!   take the same path.
//! * CPU time is the exact run time (`cpu_ns`), never ticks. It is split into user
//!   and system by the ratio of the ticks, with the clamp of the kernel's
//!   `cputime_adjust()` (kernel/sched/cputime.c), so that neither ever shrinks. An
//!   interval carries the clamp's state; continue it with [`Interval::then`].
//! * None where there is no number: one sample only, a counter that went
//!   backwards, a field one of the records lacks.

use std::sync::{Arc, OnceLock};

use super::matching::{Match, match_all};
use super::usage::{Children, Split, Use, us_to_ns, used};
use crate::error::ParseError;
use crate::fields::{Field, Kind};
use crate::header::{CpuTimes, FieldStatus, Flags};
use crate::record::Record;
use crate::snapshot::{SharedBytes, Snapshot};

/// The difference of two snapshots: one row per record of the later one.
#[derive(Clone)]
pub struct Interval {
    prev: Arc<Snapshot<SharedBytes>>,
    cur: Arc<Snapshot<SharedBytes>>,
    /// Per row: the same task's record in `prev`.
    matches: Vec<Match>,
    /// Per row: the clamped split of its time since start.
    splits: Vec<Option<Split>>,
    uses: Vec<Option<Use>>,
    /// Filled when [`Interval::children`] is first called.
    pub(super) children: OnceLock<Vec<Children>>,
    /// Filled when [`Interval::cpu_split`] is first called.
    pub(super) cpus: OnceLock<Vec<CpuTimes>>,
}

impl Interval {
    /// The interval from `prev` to `cur`. A partial snapshot is compared with its
    /// [`Snapshot::base`] instead of `prev`.
    pub fn between(prev: Arc<Snapshot<SharedBytes>>, cur: Arc<Snapshot<SharedBytes>>) -> Interval {
        let prev = cur.base().map_or(prev, Arc::clone);
        Interval::new(prev, cur, |record, _| Split::of_record(record, Split::default()))
    }

    /// Whether an interval from `prev` to `cur` has all tasks: a partial snapshot can only be
    /// compared with the snapshot before it.
    pub fn is_whole(prev: &Snapshot<SharedBytes>, cur: &Snapshot<SharedBytes>) -> bool {
        match cur.base() {
            Some(base) => base.header().begin == prev.header().begin,
            // `cur` has all tasks, a partial snapshot lacks the unchanged ones.
            None => !prev.header().flags.contains(Flags::WITHOUT_UNCHANGED),
        }
    }

    /// The interval from this one's end to `cur`, with the split of user and
    /// system time continued.
    pub fn then(&self, cur: Arc<Snapshot<SharedBytes>>) -> Interval {
        if cur.base().is_some() {
            return Interval::between(Arc::clone(&self.cur), cur);
        }
        Interval::new(Arc::clone(&self.cur), cur, |_, row| self.splits[row])
    }

    fn new(
        prev: Arc<Snapshot<SharedBytes>>,
        cur: Arc<Snapshot<SharedBytes>>,
        split_before: impl Fn(&Record<'_>, usize) -> Option<Split>,
    ) -> Interval {
        let matches = match_all(&prev, &cur);
        let mut splits = Vec::with_capacity(matches.len());
        let mut uses = Vec::with_capacity(matches.len());
        for (record, found) in cur.iter().zip(&matches) {
            let before = match *found {
                Match::Same(row) => prev.get(row as usize),
                Match::Born | Match::Unseen | Match::Repeated => None,
            };
            let split_then = match (&before, found) {
                (Some(earlier), Match::Same(row)) => split_before(earlier, *row as usize),
                _ => None,
            };
            let split = Split::of_record(&record, split_then.unwrap_or_default());
            splits.push(split);
            uses.push(match found {
                Match::Unseen | Match::Repeated => None,
                Match::Born => split.map(|split| Use {
                    user_ns: split.user_ns,
                    system_ns: split.system_ns,
                    steal_ns: record.ac_sttime().map(us_to_ns),
                }),
                Match::Same(_) => {
                    before.and_then(|earlier| used(&earlier, &record, split_then?, split?))
                }
            });
        }
        let (children, cpus) = (OnceLock::new(), OnceLock::new());
        Interval { prev, cur, matches, splits, uses, children, cpus }
    }

    /// The interval with tasks that used nothing: in `prev` and `cur`, which are otherwise those of
    /// this interval, they follow the living ones.
    pub(super) fn with_unchanged(
        &self,
        prev: Arc<Snapshot<SharedBytes>>,
        cur: Arc<Snapshot<SharedBytes>>,
    ) -> Interval {
        let (first, added) = (self.prev.living(), prev.len() - self.prev.len());
        let living = self.cur.living();
        let moved = |found: &Match| match *found {
            Match::Same(row) if row as usize >= first => Match::Same(row + added as u32),
            found => found,
        };
        // A snapshot has at most u32::MAX records.
        let unchanged = (first..first + added).map(|row| Match::Same(row as u32));
        let (alive, dead) = self.matches.split_at(living);
        let matches = alive.iter().map(moved).chain(unchanged).chain(dead.iter().map(moved));
        let matches = matches.collect();
        let mut splits = Vec::with_capacity(cur.len());
        let mut uses = Vec::with_capacity(cur.len());
        splits.extend_from_slice(&self.splits[..living]);
        uses.extend_from_slice(&self.uses[..living]);
        for record in (living..living + added).filter_map(|row| cur.get(row)) {
            let split = Split::of_record(&record, Split::default());
            splits.push(split);
            let steal_ns = record.ac_sttime().map(|_| 0);
            uses.push(split.map(|_| Use { steal_ns, ..Use::default() }));
        }
        splits.extend_from_slice(&self.splits[living..]);
        uses.extend_from_slice(&self.uses[living..]);
        let (children, cpus) = (OnceLock::new(), OnceLock::new());
        Interval { prev, cur, matches, splits, uses, children, cpus }
    }

    /// The interval with those of its rows that `keeps` returns true for. Its balance lacks the
    /// others.
    pub fn kept(&self, keeps: impl Fn(usize) -> bool) -> Result<Interval, ParseError> {
        let rows: Vec<usize> = (0..self.len()).filter(|&row| keeps(row)).collect();
        let children = rows.iter().map(|&row| self.children(row)).collect::<Vec<_>>();
        Ok(Interval {
            prev: Arc::clone(&self.prev),
            cur: Arc::new(self.cur.subset(&rows)?.into_shared()),
            matches: rows.iter().map(|&row| self.matches[row]).collect(),
            splits: rows.iter().map(|&row| self.splits[row]).collect(),
            uses: rows.iter().map(|&row| self.uses[row]).collect(),
            children: OnceLock::from(children),
            cpus: self.cpus.clone(),
        })
    }

    /// The earlier snapshot.
    pub fn prev(&self) -> &Arc<Snapshot<SharedBytes>> {
        &self.prev
    }

    /// The later snapshot, whose records the rows are.
    pub fn cur(&self) -> &Arc<Snapshot<SharedBytes>> {
        &self.cur
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.matches.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.matches.is_empty()
    }

    /// Length of the interval in ns: the scheduler clock's where both snapshots
    /// know it, else CLOCK_MONOTONIC's. 0 where the snapshots carry no time, or in
    /// the wrong order.
    pub fn interval_ns(&self) -> u64 {
        let (prev, cur) = (self.prev.header(), self.cur.header());
        match (prev.sched_clock_ns, cur.sched_clock_ns) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => cur.begin.monotonic_ns.saturating_sub(prev.begin.monotonic_ns),
        }
    }

    /// CPU time of the row's task in the interval; None where unknown.
    pub fn usage(&self, row: usize) -> Option<Use> {
        self.uses.get(row).copied().flatten()
    }

    /// The task's CPU time since its start, split; None where not known.
    pub fn split(&self, row: usize) -> Option<Split> {
        self.splits.get(row).copied().flatten()
    }

    /// Whether the task of a row began in the interval.
    pub fn is_born(&self, row: usize) -> bool {
        self.matches.get(row) == Some(&Match::Born)
    }

    /// Whether the task of a row died in the interval.
    pub fn is_exited(&self, row: usize) -> bool {
        self.cur.is_exited(row)
    }

    /// The same task's record in the earlier snapshot.
    pub fn earlier(&self, row: usize) -> Option<Record<'_>> {
        match self.matches.get(row)? {
            Match::Same(index) => self.prev.get(*index as usize),
            Match::Born | Match::Unseen | Match::Repeated => None,
        }
    }

    /// Per row of the earlier snapshot, whether a living row of the later one is the
    /// same task.
    pub(crate) fn lives_on(&self) -> Vec<bool> {
        let mut lives = vec![false; self.prev.len()];
        for (row, found) in self.matches.iter().enumerate() {
            if let Match::Same(index) = found
                && !self.is_exited(row)
            {
                lives[*index as usize] = true;
            }
        }
        lives
    }

    /// CPU time, up to the earlier snapshot, of those of its tasks without any row in the later
    /// one that `counts` chooses.
    pub(crate) fn vanished_ns(&self, counts: impl Fn(&Record<'_>) -> bool) -> u64 {
        let mut met = vec![false; self.prev.len()];
        for found in &self.matches {
            if let Match::Same(index) = found {
                met[*index as usize] = true;
            }
        }
        let vanished =
            self.prev.iter().enumerate().filter(|&(row, _)| !met[row] && !self.prev.is_exited(row));
        vanished
            .filter(|(_, record)| counts(record))
            .filter_map(|(_, record)| record.cpu_ns())
            .fold(0, u64::saturating_add)
    }

    /// Increase of a counter in the interval; None for other fields, for a
    /// counter that went backwards, and where a record lacks it.
    pub fn increase(&self, row: usize, field: Field) -> Option<u64> {
        let [increase] = self.increases(row, [field]);
        increase
    }

    /// Increases of counters, as of [`Interval::increase`]. The records are searched for once.
    pub(crate) fn increases<const N: usize>(
        &self,
        row: usize,
        fields: [Field; N],
    ) -> [Option<u64>; N] {
        let found = self.cur.get(row).zip(self.matches.get(row));
        let before = match found {
            None | Some((_, Match::Unseen | Match::Repeated)) => return [None; N],
            Some((_, Match::Born)) => None,
            Some((_, Match::Same(index))) => match self.prev.get(*index as usize) {
                None => return [None; N],
                earlier => earlier,
            },
        };
        fields.map(|field| {
            let now = found?.0.unsigned(field).filter(|_| field.info().kind == Kind::Counter)?;
            now.checked_sub(before.map_or(Some(0), |before| before.unsigned(field))?)
        })
    }

    /// CPU time of all rows in the interval. `steal_ns` is None unless a row knows it.
    pub fn total(&self) -> Use {
        self.uses.iter().flatten().fold(Use::default(), |sum, used| Use {
            user_ns: sum.user_ns.saturating_add(used.user_ns),
            system_ns: sum.system_ns.saturating_add(used.system_ns),
            steal_ns: match (sum.steal_ns, used.steal_ns) {
                (None, steal) | (steal, None) => steal,
                (Some(a), Some(b)) => Some(a.saturating_add(b)),
            },
        })
    }

    /// Whether both snapshots hold the field, and if not, why not.
    pub fn status(&self, field: Field) -> FieldStatus {
        match self.cur.header().status(field) {
            FieldStatus::Filled => self.prev.header().status(field),
            missing => missing,
        }
    }
}

impl std::fmt::Debug for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interval")
            .field("len", &self.len())
            .field("interval_ns", &self.interval_ns())
            .finish_non_exhaustive()
    }
}
