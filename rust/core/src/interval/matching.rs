//! Finds the earlier record of each task. The rules are in [`crate::identity`].

use std::collections::HashMap;

use crate::fields::Field;
use crate::identity::{Continuity, Identity};
use crate::snapshot::{SharedBytes, Snapshot};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The task has the record at this index in the earlier snapshot.
    Same(u32),
    /// The task started in the interval: its whole use belongs to it.
    Born,
    /// The task is older than the interval, but has no earlier record.
    Unseen,
    /// The task has another row, with a greater use.
    Repeated,
}

/// The match in `prev` of each record of `cur`.
pub(super) fn match_all(prev: &Snapshot<SharedBytes>, cur: &Snapshot<SharedBytes>) -> Vec<Match> {
    let mut matches = match_records(prev, cur);
    mark_repeated(cur, &mut matches);
    prefer_greatest(prev, &mut matches);
    matches
}

/// How many records ahead to look for a match before an index is built: few tasks exit
/// between two snapshots, and the others keep their order.
const LOOK_AHEAD: usize = 8;

/// Counts a task once that has several rows, in the walk and among the exits: where its
/// use is greatest.
fn mark_repeated(cur: &Snapshot<SharedBytes>, matches: &mut [Match]) {
    let living = cur.living();
    if living == cur.len() {
        return;
    }
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
                let is_same = || one.identity().is_same_row(&other.identity(), cur.header());
                if matches[a] == Match::Repeated || !is_same() {
                    continue;
                }
                let less = if one.cpu_ns() < other.cpu_ns() { a } else { b };
                matches[less] = Match::Repeated;
            }
        }
    }
}

/// Where the earlier snapshot has a task in its walk and among its exits, the greater use
/// is what the interval starts from.
fn prefer_greatest(prev: &Snapshot<SharedBytes>, matches: &mut [Match]) {
    let living = prev.living();
    if living == prev.len() {
        return;
    }
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
            && record.identity().is_same_row(&other.identity(), prev.header())
        {
            *found = Match::Same(exit as u32);
        }
    }
}

fn match_records(prev: &Snapshot<SharedBytes>, cur: &Snapshot<SharedBytes>) -> Vec<Match> {
    let same_boot = prev.header().boot_id == cur.header().boot_id;
    let rule = Continuity::of([prev.header(), cur.header()], identities(prev), identities(cur));
    let mut index: Option<Index> = None;
    let mut expected = 0;
    cur.iter()
        .map(|record| {
            if !same_boot {
                return Match::Unseen;
            }
            let identity = record.identity();
            let ahead = (expected..(expected + LOOK_AHEAD).min(prev.len()))
                .find(|&row| is_same(prev, row, &identity, rule));
            let found = ahead.or_else(|| {
                index.get_or_insert_with(|| Index::of(prev)).find(prev, &identity, rule)
            });
            match found {
                Some(row) => {
                    expected = row + 1;
                    // A snapshot has at most u32::MAX records.
                    Match::Same(row as u32)
                }
                None if identity.is_born(prev.header(), cur.header()) => Match::Born,
                None => Match::Unseen,
            }
        })
        .collect()
}

/// The tasks of a snapshot; none where the source does not name them.
fn identities(snapshot: &Snapshot<SharedBytes>) -> impl Iterator<Item = Identity> + Clone {
    let rows = if snapshot.filled().contains(Field::task_id) { snapshot.len() } else { 0 };
    (0..rows).filter_map(|row| Some(snapshot.get(row)?.identity()))
}

fn is_same(
    prev: &Snapshot<SharedBytes>,
    row: usize,
    identity: &Identity,
    rule: Continuity<'_>,
) -> bool {
    prev.get(row).is_some_and(|earlier| rule.continues(&earlier.identity(), identity))
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

    fn find(
        &self,
        prev: &Snapshot<SharedBytes>,
        identity: &Identity,
        rule: Continuity<'_>,
    ) -> Option<usize> {
        let by_id = identity.task_id.and_then(|id| self.by_task_id.get(&id));
        let by_pid = self.by_pid.get(&identity.pid);
        let mut rows = [by_id, by_pid].into_iter().flatten().copied();
        rows.find(|&row| is_same(prev, row, identity, rule))
    }
}
