//! Which record of the earlier snapshot is the same task's as one of the later.

use std::collections::HashMap;

use crate::header::{Flags, SourceKind};
use crate::record::Record;
use crate::snapshot::{SharedBytes, Snapshot};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The task was in the earlier snapshot at this index.
    Same(u32),
    /// The task began in the interval: all it ever used, it used now.
    Born,
    /// The task is older than the interval but was not seen before it.
    Unseen,
    /// The task has another row, which tells more.
    Repeated,
}

/// Per record of `cur`, its match in `prev`.
pub(super) fn match_all(prev: &Snapshot<SharedBytes>, cur: &Snapshot<SharedBytes>) -> Vec<Match> {
    let mut matches = match_records(prev, cur);
    forget_repeated(cur, &mut matches);
    prefer_greatest(prev, &mut matches);
    matches
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
