//! Trees of an interval's rows: every row is there once, and every sum is exact.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::{Shared, snapshot_named};
use precise_top_core::{
    Cell, Dead, Field, Filter, Flags, GroupKey, Interval, Metric, Query, TaskTable, TaskTree,
};
use proptest::prelude::*;

use Field::{
    ac_etime, ac_exitcode, ac_pid, ac_ppid, ac_start_ns, ac_stime, ac_sum_exec_ns, ac_tgid,
    ac_utime, cgroup_id, hiwater_rss,
};

const SECOND: u64 = 1_000_000_000;
const BORN: u64 = 10 * SECOND + 1;

type Row = Vec<(Field, u64)>;

fn task(pid: u64, ppid: u64, cpu: u64) -> Row {
    let values = [(ac_pid, pid), (ac_tgid, pid), (ac_ppid, ppid), (ac_sum_exec_ns, cpu)];
    [&values[..], &[(ac_start_ns, BORN), (ac_utime, 1), (ac_stime, 0), (cgroup_id, 1 + pid % 3)]]
        .concat()
}

fn with(mut row: Row, field: Field, value: u64) -> Row {
    row.retain(|&(known, _)| known != field);
    row.push((field, value));
    row
}

fn at(seconds: u64, living: &[Row], dead: &[Row], name: impl Fn(usize) -> String) -> Shared {
    let rows: Vec<&[_]> = living.iter().chain(dead).map(Vec::as_slice).collect();
    snapshot_named(seconds, &rows, name, |header| {
        header.exited = dead.len() as u32;
        header.flags = header.flags.with(Flags::EXITS, true);
    })
}

/// An interval in which all tasks began: each used all of its time.
fn named(living: &[Row], dead: &[Row], name: impl Fn(usize) -> String) -> Arc<Interval> {
    let other = [with(task(999, 0, 1), ac_start_ns, 1)];
    Arc::new(Interval::between(at(10, &other, &[], &name), at(11, living, dead, &name)))
}

fn interval(living: &[Row], dead: &[Row]) -> Arc<Interval> {
    named(living, dead, |row| format!("task{row}"))
}

fn int(cell: Option<Cell<'_>>) -> Option<i128> {
    match cell {
        Some(Cell::Int(number)) => Some(number),
        _ => None,
    }
}

fn by(sort: Metric, filter: Filter) -> Query {
    Query { sort: Some(sort), descending: true, filter, ..Query::default() }
}

/// Depth, pid and total of each row in its order, with the descendants of collapsed ones hidden.
fn listed(tree: &TaskTree, query: &Query, collapsed: &[i128]) -> Vec<(usize, i128, i128)> {
    let pid = |row| int(tree.cell(row, Metric::Field(ac_pid))).unwrap_or(0);
    let arranged = tree.arranged(query, |row, _| collapsed.contains(&pid(row)));
    let rows = arranged.nodes.iter().zip(&arranged.branches);
    rows.map(|(&row, branch)| {
        let row = row as usize;
        (branch.depth, pid(row), int(tree.cell(row, Metric::TotalNs)).unwrap_or(0))
    })
    .collect()
}

fn all() -> Query {
    by(Metric::TotalNs, Filter::default())
}

#[test]
fn a_row_has_the_sum_of_what_it_started_living_or_dead() {
    let living = [task(1, 0, 5), task(50, 1, 7), task(51, 1, 100), task(60, 50, 20)];
    // sh 70, under make 60, started cc 71 and cc 72.
    let dead = [task(70, 60, 3), task(71, 70, 40), task(72, 70, 2)];
    let tree = TaskTree::of_tasks(interval(&living, &dead));
    let expected =
        [(0, 1, 177), (1, 51, 100), (1, 50, 72), (2, 60, 65), (3, 70, 45), (4, 71, 40), (4, 72, 2)];
    assert_eq!(listed(&tree, &all(), &[]), expected);
    let make = (0..tree.rows()).find(|&row| int(tree.cell(row, Metric::Field(ac_pid))) == Some(60));
    let of = |metric| int(tree.cell(make.unwrap(), metric));
    assert_eq!((of(Metric::OwnNs), of(Metric::LivingNs)), (Some(20), Some(0)));
    assert_eq!((of(Metric::DeadNs), of(Metric::Tasks)), (Some(45), Some(4)));
    assert_eq!(listed(&tree, &all(), &[50]), [expected[0], expected[1], expected[2]]);
    assert_eq!(int(tree.sum(Metric::TotalNs)), Some(177), "a sum counts each row once");
}

#[test]
fn the_dead_of_one_name_are_one_row() {
    let ended = |pid, code, peak, us| {
        let row = with(with(task(pid, 50, 10), ac_exitcode, code), hiwater_rss, peak);
        with(row, ac_etime, us)
    };
    let dead = [ended(70, 0, 300, 5), ended(71, 256, 900, 2), ended(72, 0, 100, 9)];
    let living = [task(50, 1, 7)];
    let tree = TaskTree::of_tasks(named(&living, &dead, |_| "cc1".into()));
    assert_eq!(listed(&tree, &all(), &[]), [(0, 50, 37), (1, 0, 30)]);
    let exits = [(Some(0), 2), (Some(256), 1)].into();
    let expected = Dead { tasks: 3, exits, peak_kb: Some(900), lives_us: Some((2, 9)) };
    assert_eq!(tree.dead(1), Some(expected));
    assert_eq!(tree.group_name(1), Some(&b"cc1 of 50"[..]));
    assert_eq!(tree.title(1), Some(&b"cc1"[..]));
    assert_eq!((tree.dead(0), tree.group_name(0)), (None, None));
    // One that is alone is a task.
    let tree = TaskTree::of_tasks(named(&living, &dead[..1], |_| "cc1".into()));
    assert_eq!((tree.group_name(1), tree.dead(1).map(|dead| dead.tasks)), (None, Some(1)));
}

#[test]
fn threads_are_under_their_process() {
    let thread = |pid, tgid| with(task(pid, 1, 10), ac_tgid, tgid);
    let tree = TaskTree::of_tasks(interval(&[task(50, 1, 1), thread(51, 50)], &[thread(52, 50)]));
    assert_eq!(listed(&tree, &all(), &[]), [(0, 50, 21), (1, 51, 10), (1, 52, 10)]);
}

#[test]
fn nothing_is_under_a_task_that_began_later() {
    let later = with(task(50, 1, 5), ac_start_ns, BORN + 1);
    let tree = TaskTree::of_tasks(interval(&[later, task(60, 50, 7)], &[]));
    assert_eq!(listed(&tree, &all(), &[]), [(0, 60, 7), (0, 50, 5)]);
}

#[test]
fn a_filter_keeps_the_ancestors_of_what_it_finds_and_opens_them() {
    let living = [task(1, 0, 5), task(50, 1, 7), task(51, 1, 1), task(60, 50, 20)];
    let tree = TaskTree::of_tasks(interval(&living, &[]));
    let query = by(Metric::TotalNs, Filter { text: Some(b"60".to_vec()), ..Filter::default() });
    assert_eq!(listed(&tree, &query, &[1]), [(0, 1, 33), (1, 50, 27), (2, 60, 20)]);
    let kept = tree.arranged(&query, |_, _| false).kept;
    assert_eq!(int(tree.sum_of(&mut kept.into_iter(), Metric::TotalNs)), Some(20));
}

#[test]
fn cgroups_are_a_tree_of_their_paths() {
    let paths = HashMap::from([
        (GroupKey::Cgroup(1), &b"/"[..]),
        (GroupKey::Cgroup(2), b"/a.slice/b.scope"),
        (GroupKey::Cgroup(3), b"/a.slice"),
    ]);
    let living = [task(3, 0, 1), task(4, 0, 10), task(5, 0, 100), task(7, 0, 1000)];
    let tree = TaskTree::of_cgroups(interval(&living, &[]), |key, _| {
        paths.get(&key).map(|path| path.to_vec())
    });
    let arranged = tree.arranged(&all(), |_, _| false);
    let rows = arranged.nodes.iter().zip(&arranged.branches);
    let found: Vec<_> = rows
        .map(|(&row, branch)| {
            let row = row as usize;
            let number = |metric| int(tree.cell(row, metric)).unwrap_or(-1);
            let name = String::from_utf8_lossy(tree.title(row).unwrap()).into_owned();
            (branch.depth, name, number(Metric::TotalNs), number(Metric::OwnNs))
        })
        .collect();
    let expected = [(0, "/", 1111, 1), (1, "a.slice", 1110, 100), (2, "b.scope", 1010, 1010)];
    assert_eq!(found, expected.map(|(depth, name, all, own)| (depth, name.to_owned(), all, own)));
    assert_eq!(tree.group_name(2), Some(&b"/a.slice/b.scope"[..]));
    // A number is a root of its own.
    let tree = TaskTree::of_cgroups(interval(&living, &[]), |_, _| None);
    assert_eq!(
        tree.arranged(&all(), |_, _| false).branches.iter().filter(|b| b.depth > 0).count(),
        0
    );
    assert_eq!(tree.title(0), Some(&b"cgroup 1"[..]));
}

#[test]
fn the_dead_are_under_their_names() {
    let dead = [task(70, 50, 10), task(71, 50, 30), task(72, 50, 5)];
    let interval = named(&[task(50, 1, 7)], &dead, |row| if row < 3 { "cc" } else { "ld" }.into());
    let tree = TaskTree::of_dead(Arc::clone(&interval));
    assert_eq!(listed(&tree, &all(), &[]), [(0, 0, 40), (1, 71, 30), (1, 70, 10), (0, 72, 5)]);
    assert_eq!(listed(&tree, &all(), &[0]), [(0, 0, 40), (0, 72, 5)]);
    assert_eq!(tree.dead(0).map(|dead| dead.tasks), Some(2));
    assert_eq!((tree.group_name(0), tree.group_name(3)), (Some(&b"cc"[..]), None));
    assert_eq!(int(tree.sum(Metric::TotalNs)), Some(45));
    assert_eq!(int(tree.cell(0, Metric::OwnNs)), Some(0));
}

fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    // Parents and processes are any pids: rings, missing ones, threads of threads.
    prop::collection::vec((1..30_u64, 0..30_u64, 1..30_u64, 0..1000_u64, 0..3_u64), 0..most)
        .prop_map(|rows| {
            let row = |(pid, ppid, tgid, cpu, start)| {
                with(with(task(pid, ppid, cpu), ac_tgid, tgid), ac_start_ns, BORN + start)
            };
            rows.into_iter().map(row).collect()
        })
}

proptest! {
    #[test]
    fn no_row_is_lost_and_no_time_counts_twice(living in rows(40), dead in rows(40), names in 1..4_u8) {
        let interval = named(&living, &dead, |row| format!("task{}", row as u8 % names));
        let of_cgroups = TaskTree::of_cgroups(Arc::clone(&interval), |key, _| match key {
            GroupKey::Cgroup(1) => None,
            GroupKey::Cgroup(id) => Some([&b"/"[..], &vec![b'x'; id as usize - 1]].concat()),
            _ => Some(Vec::new()),
        });
        for tree in [TaskTree::of_tasks(Arc::clone(&interval)), of_cgroups] {
            let arranged = tree.arranged(&all(), |_, _| false);
            let mut nodes = arranged.nodes.clone();
            nodes.sort_unstable();
            prop_assert_eq!(nodes, (0..tree.rows() as u32).collect::<Vec<_>>());
            for metric in [Metric::TotalNs, Metric::Tasks, Metric::UserNs] {
                let roots = arranged.nodes.iter().zip(&arranged.branches);
                let roots = roots.filter(|(_, branch)| branch.depth == 0);
                let sum: i128 = roots.filter_map(|(&row, _)| int(tree.cell(row as usize, metric))).sum();
                prop_assert_eq!(sum, int(interval.sum(metric)).unwrap_or(0));
                prop_assert_eq!(int(tree.sum(metric)).unwrap_or(0), sum);
            }
            for row in 0..tree.rows() {
                let of = |metric| int(tree.cell(row, metric)).unwrap_or(0);
                let parts = of(Metric::OwnNs) + of(Metric::LivingNs) + of(Metric::DeadNs);
                prop_assert_eq!(parts, of(Metric::TotalNs));
            }
            // A node with many rows is the sum of what it and its descendants add.
            for (at, (&row, branch)) in arranged.nodes.iter().zip(&arranged.branches).enumerate() {
                let below = arranged.branches[at + 1..].iter();
                let below = below.take_while(|other| other.depth > branch.depth).count();
                for metric in [Metric::TotalNs, Metric::Tasks, Metric::CpuNs] {
                    let nodes = arranged.nodes[at..=at + below].iter();
                    let parts: i128 =
                        nodes.filter_map(|&node| int(tree.part(node as usize, metric))).sum();
                    prop_assert_eq!(int(tree.cell(row as usize, metric)).unwrap_or(0), parts);
                }
            }
            // Siblings are in the order of their sums, whatever stands between them.
            let mut last: Vec<i128> = Vec::new();
            for (&row, branch) in arranged.nodes.iter().zip(&arranged.branches) {
                let total = int(tree.cell(row as usize, Metric::TotalNs)).unwrap_or(-1);
                last.truncate(branch.depth + 1);
                match last.get(branch.depth) {
                    Some(&before) => prop_assert!(before >= total),
                    None => prop_assert_eq!(last.len(), branch.depth),
                }
                last.truncate(branch.depth);
                last.push(total);
            }
        }
    }
}
