//! What every task used between two snapshots.
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

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::children::Children;
use crate::header::{FieldStatus, Flags, SourceKind};
use crate::layout::{Field, Kind};
use crate::record::Record;
use crate::snapshot::{SharedBytes, Snapshot};

/// A task's CPU time since its start, split into user and system, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Split {
    /// User part.
    pub user_ns: u64,
    /// System part.
    pub system_ns: u64,
}

impl Split {
    /// Splits `total_ns` in the ratio of the two tick counts. Neither part is
    /// ever less than in `before`, the last split of the same task.
    pub fn of(total_ns: u64, user_ticks: u64, system_ticks: u64, before: Split) -> Split {
        if before.user_ns.saturating_add(before.system_ns) >= total_ns {
            return before;
        }
        let system = if system_ticks == 0 {
            0
        } else if user_ticks == 0 {
            total_ns
        } else {
            let ticks = u128::from(system_ticks) + u128::from(user_ticks);
            // At most total_ns, since system_ticks is at most the sum.
            (u128::from(total_ns) * u128::from(system_ticks) / ticks) as u64
        };
        let system = system.clamp(before.system_ns, total_ns - before.user_ns);
        Split { user_ns: total_ns - system, system_ns: system }
    }

    pub(crate) fn of_record(record: &Record<'_>, before: Split) -> Option<Split> {
        Some(Split::of(record.cpu_ns()?, record.ac_utime()?, record.ac_stime()?, before))
    }
}

/// CPU time used in an interval, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Use {
    /// User time.
    pub user_ns: u64,
    /// System time.
    pub system_ns: u64,
    /// Steal time, None where the source does not know a task's steal time.
    pub steal_ns: Option<u64>,
}

impl Use {
    /// User, system and steal time together.
    pub fn total_ns(&self) -> u64 {
        self.user_ns.saturating_add(self.system_ns).saturating_add(self.steal_ns.unwrap_or(0))
    }
}

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
    children: OnceLock<Vec<Children>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    /// The task was in the earlier snapshot at this index.
    Same(u32),
    /// The task began in the interval: all it ever used, it used now.
    Born,
    /// The task is older than the interval but was not seen before it.
    Unseen,
    /// The task has another row, which tells more.
    Repeated,
}

impl Interval {
    /// The interval from `prev` to `cur`. Where `cur` is of only the tasks that ran
    /// since its [`Snapshot::base`], the rows are compared with that.
    pub fn between(prev: Arc<Snapshot<SharedBytes>>, cur: Arc<Snapshot<SharedBytes>>) -> Interval {
        let prev = cur.base().map_or(prev, Arc::clone);
        Interval::new(prev, cur, |record, _| Split::of_record(record, Split::default()))
    }

    /// Whether an interval from `prev` to `cur` would be whole: a snapshot of only the
    /// tasks that ran since another can be compared with that one alone.
    pub fn is_whole(prev: &Snapshot<SharedBytes>, cur: &Snapshot<SharedBytes>) -> bool {
        match cur.base() {
            Some(base) => base.header().begin == prev.header().begin,
            // Of all tasks: the sleepers' values before are not in a snapshot of what ran.
            None => !prev.header().flags.contains(Flags::CHANGED),
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
        let mut matches = match_records(&prev, &cur);
        forget_repeated(&cur, &mut matches);
        prefer_greatest(&prev, &mut matches);
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
        Interval { prev, cur, matches, splits, uses, children: OnceLock::new() }
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

    /// What the task of a row used; None where that is not known.
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

    /// What the dead children of a row's process used.
    pub fn children(&self, row: usize) -> Children {
        let children = self.children.get_or_init(|| self.find_children());
        children.get(row).copied().unwrap_or_default()
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

    /// What tasks of the earlier snapshot had used by then of which the later one knows
    /// nothing, dead or alive.
    pub(crate) fn vanished_ns(&self) -> u64 {
        let mut met = vec![false; self.prev.len()];
        for found in &self.matches {
            if let Match::Same(index) = found {
                met[*index as usize] = true;
            }
        }
        let vanished =
            self.prev.iter().enumerate().filter(|&(row, _)| !met[row] && !self.prev.is_exited(row));
        vanished.filter_map(|(_, record)| record.cpu_ns()).fold(0, u64::saturating_add)
    }

    /// Increase of a counter in the interval; None for other fields, for a
    /// counter that went backwards, and where a record lacks it.
    pub fn increase(&self, row: usize, field: Field) -> Option<u64> {
        if field.info().kind != Kind::Counter {
            return None;
        }
        let now = self.cur.get(row)?.unsigned(field)?;
        match self.matches.get(row)? {
            Match::Born => Some(now),
            Match::Unseen | Match::Repeated => None,
            Match::Same(index) => now.checked_sub(self.prev.get(*index as usize)?.unsigned(field)?),
        }
    }

    /// What all rows used together. `steal_ns` is None unless a row knows it.
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

const fn us_to_ns(us: u64) -> u64 {
    us.saturating_mul(1000)
}

/// The use between two records of one task.
fn used(earlier: &Record<'_>, later: &Record<'_>, before: Split, now: Split) -> Option<Use> {
    // A run time that went backwards is no use at all, and no rate.
    later.cpu_ns()?.checked_sub(earlier.cpu_ns()?)?;
    Some(Use {
        user_ns: now.user_ns.checked_sub(before.user_ns)?,
        system_ns: now.system_ns.checked_sub(before.system_ns)?,
        steal_ns: match (earlier.ac_sttime(), later.ac_sttime()) {
            // A process's loses that of threads that die, to `ac_csttime`.
            (Some(before), Some(now)) => Some(us_to_ns(now.saturating_sub(before))),
            _ => None,
        },
    })
}

/// How many records ahead a match is looked for before the index is made: a few
/// tasks die between two snapshots, the others keep their order.
const LOOK_AHEAD: usize = 8;
/// How far two derived starts of one task may lie apart.
const WOBBLE_NS: u64 = 20_000_000;

/// A task that is met in the walk and among the exits, or in several exits, counts
/// once: where its value is greatest.
fn forget_repeated(cur: &Snapshot<SharedBytes>, matches: &mut [Match]) {
    let living = cur.len().saturating_sub(cur.header().exited as usize);
    if living == cur.len() {
        return;
    }
    let slack = if has_derived_starts(cur) { WOBBLE_NS } else { 0 };
    let mut rows: HashMap<u32, Vec<usize>> = HashMap::new();
    for row in living..cur.len() {
        if let Some(pid) = cur.get(row).and_then(|record| record.ac_pid()) {
            rows.entry(pid).or_default().push(row);
        }
    }
    for row in 0..living {
        let pid = cur.get(row).and_then(|record| record.ac_pid());
        if let Some(same_pid) = pid.and_then(|pid| rows.get_mut(&pid)) {
            same_pid.push(row);
        }
    }
    for same_pid in rows.into_values().filter(|rows| rows.len() > 1) {
        for (at, &a) in same_pid.iter().enumerate() {
            for &b in &same_pid[at + 1..] {
                let (Some(one), Some(other)) = (cur.get(a), cur.get(b)) else { continue };
                if matches[a] == Match::Repeated || !is_one_task(&one, &other, slack) {
                    continue;
                }
                let less = if one.cpu_ns() < other.cpu_ns() { a } else { b };
                matches[less] = Match::Repeated;
            }
        }
    }
}

/// Where the earlier snapshot met a task in its walk and among its exits, the greater
/// value is what it had used: its increase begins there.
fn prefer_greatest(prev: &Snapshot<SharedBytes>, matches: &mut [Match]) {
    let living = prev.len().saturating_sub(prev.header().exited as usize);
    if living == prev.len() {
        return;
    }
    let slack = if has_derived_starts(prev) { WOBBLE_NS } else { 0 };
    let mut exits: HashMap<u32, usize> = HashMap::new();
    for row in living..prev.len() {
        if let Some(pid) = prev.get(row).and_then(|record| record.ac_pid()) {
            exits.insert(pid, row);
        }
    }
    for found in matches {
        let Match::Same(row) = *found else { continue };
        let Some(record) = prev.get(row as usize) else { continue };
        let exit = record.ac_pid().and_then(|pid| exits.get(&pid)).copied();
        if let Some((exit, other)) = exit.and_then(|exit| Some((exit, prev.get(exit)?)))
            && other.cpu_ns() > record.cpu_ns()
            && is_one_task(&record, &other, slack)
        {
            *found = Match::Same(exit as u32);
        }
    }
}

/// Whether two records of one snapshot are of one task.
fn is_one_task(one: &Record<'_>, other: &Record<'_>, slack_ns: u64) -> bool {
    let (a, b) = (one.identity(), other.identity());
    match (a.task_id, b.task_id, a.start_ns, b.start_ns) {
        (Some(a), Some(b), _, _) if a != b => false,
        (_, _, Some(a), Some(b)) => a.abs_diff(b) <= slack_ns,
        (Some(_), Some(_), _, _) => true,
        _ => false,
    }
}

fn match_records(prev: &Snapshot<SharedBytes>, cur: &Snapshot<SharedBytes>) -> Vec<Match> {
    let same_boot = prev.header().boot_id == cur.header().boot_id;
    let mut index: Option<Index> = None;
    let mut expected = 0;
    cur.iter()
        .map(|record| {
            if !same_boot {
                return Match::Unseen;
            }
            let ahead = (expected..(expected + LOOK_AHEAD).min(prev.len()))
                .find(|&row| prev.get(row).is_some_and(|old| is_same(prev, &old, &record)));
            let found =
                ahead.or_else(|| index.get_or_insert_with(|| Index::of(prev)).find(prev, &record));
            match found {
                Some(row) => {
                    expected = row + 1;
                    // A snapshot has at most u32::MAX records.
                    Match::Same(row as u32)
                }
                None if is_born(prev, cur, &record) => Match::Born,
                None => Match::Unseen,
            }
        })
        .collect()
}

/// Rows of a snapshot by pid and by task_id.
struct Index {
    by_pid: HashMap<u32, usize>,
    by_task_id: HashMap<u64, usize>,
}

impl Index {
    fn of(snapshot: &Snapshot<SharedBytes>) -> Index {
        let mut index = Index { by_pid: HashMap::new(), by_task_id: HashMap::new() };
        for (row, record) in snapshot.iter().enumerate() {
            let identity = record.identity();
            index.by_pid.insert(identity.pid, row);
            if let Some(id) = identity.task_id {
                index.by_task_id.insert(id, row);
            }
        }
        index
    }

    fn find(&self, prev: &Snapshot<SharedBytes>, record: &Record<'_>) -> Option<usize> {
        let identity = record.identity();
        let by_id = identity.task_id.and_then(|id| self.by_task_id.get(&id));
        let by_pid = self.by_pid.get(&identity.pid);
        [by_id, by_pid]
            .into_iter()
            .flatten()
            .copied()
            .find(|&row| prev.get(row).is_some_and(|old| is_same(prev, &old, record)))
    }
}

/// Whether two records are of one task.
fn is_same(prev: &Snapshot<SharedBytes>, earlier: &Record<'_>, later: &Record<'_>) -> bool {
    let (before, now) = (earlier.identity(), later.identity());
    if let (Some(a), Some(b)) = (before.task_id, now.task_id) {
        // A task_id may be given anew after a task's end, to a younger task only. An
        // exec by another thread than the leader takes the leader's, older, start over.
        let younger = matches!((before.start_ns, now.start_ns), (Some(a), Some(b)) if b > a);
        return a == b && !younger && now.start_ns.is_none_or(|start| !is_after_begin(prev, start));
    }
    if before.pid != now.pid || now.pid == 0 {
        return false;
    }
    match (before.start_ns, now.start_ns) {
        // A task may have begun while the earlier snapshot was taken.
        (Some(before), Some(start)) if has_derived_starts(prev) => {
            !is_after_begin(prev, start) || start.abs_diff(before) <= WOBBLE_NS
        }
        (Some(a), Some(b)) => a == b,
        _ => true,
    }
}

fn has_derived_starts(snapshot: &Snapshot<SharedBytes>) -> bool {
    snapshot.header().flags.contains(Flags::DERIVED_STARTS)
}

fn is_after_begin(prev: &Snapshot<SharedBytes>, start_ns: u64) -> bool {
    start_ns > prev.header().begin.boottime_ns
}

/// Whether a task without an earlier record began after the earlier snapshot.
fn is_born(prev: &Snapshot<SharedBytes>, cur: &Snapshot<SharedBytes>, record: &Record<'_>) -> bool {
    // An exec by another thread than the leader takes the leader's start over. But what
    // has a name and was in no snapshot of all began after it.
    let header = prev.header();
    if matches!(header.source, SourceKind::Proc | SourceKind::Netlink)
        && header.flags.contains(Flags::ONE_INSTANT)
        && header.threads() == cur.header().threads()
        && record.identity().task_id.is_some()
    {
        return true;
    }
    // A start in clock ticks is cut to the tick before; one step of grace.
    let grace = cur.header().cpu_times_step_ns;
    record.ac_start_ns().is_some_and(|start| is_after_begin(prev, start.saturating_add(grace)))
}
