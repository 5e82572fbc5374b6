//! Intervals of only the tasks that ran, and the other tasks.

mod common;

use std::sync::Arc;

use common::{Shared, snapshot, snapshot_with};
use precise_top_core::interval::LastValues;
use precise_top_core::{Cell, Field, FieldSet, Flags, Interval, Metric, TaskTable};

use Field::{
    ac_etime, ac_pid, ac_start_ns, ac_stime, ac_sum_exec_ns, ac_tgid, ac_time_ns, ac_utime,
    num_threads,
};

const SECOND: u64 = 1_000_000_000;

type Row = Vec<(Field, u64)>;

/// A thread at a second, in a process of some threads.
fn thread(second: u64, pid: u64, tgid: u64, threads: u64, cpu: u64) -> Row {
    vec![
        (ac_pid, pid),
        (ac_tgid, tgid),
        (num_threads, threads),
        (ac_start_ns, SECOND),
        (ac_time_ns, second * SECOND),
        (ac_etime, (second - 1) * 1_000_000),
        (ac_sum_exec_ns, cpu),
        (ac_utime, 1),
        (ac_stime, 0),
    ]
}

fn sum(table: &dyn TaskTable, metric: Metric) -> Option<i128> {
    match table.sum(metric) {
        Some(Cell::Int(number)) => Some(number),
        _ => None,
    }
}

fn slices(rows: &[Row]) -> Vec<&[(Field, u64)]> {
    rows.iter().map(Vec::as_slice).collect()
}

/// The last values after a snapshot of `all`, and the interval from it to one of `ran` and
/// `dead` alone.
fn partial(all: &[Row], ran: &[Row], dead: &[Row], threads: bool) -> (LastValues, Interval) {
    let full = snapshot_with(10, &slices(all), |header| {
        header.flags = header.flags.with(Flags::THREADS, threads);
    });
    let mut last = LastValues::new(&full, threads, FieldSet::ALL);
    let changed = [ran, dead].concat();
    let some: Shared = snapshot_with(11, &slices(&changed), |header| {
        header.exited = dead.len() as u32;
        header.unchanged = (all.len() - changed.len()) as u32;
        header.flags =
            header.flags.with(Flags::THREADS, threads).with(Flags::WITHOUT_UNCHANGED, true);
    });
    let before = last.values_before(&some).expect("of the same layout");
    let some = Arc::new((*some).clone().with_base(Arc::new(before)));
    last.merge(&some);
    (last, Interval::between(full, some))
}

#[test]
fn a_completed_interval_has_all_tasks() {
    let all = [5, 6, 7, 8].map(|pid| thread(10, pid, pid, 1, 100));
    let (ran, dead) = ([thread(11, 6, 6, 1, 130)], [thread(11, 8, 8, 1, 107)]);
    let (last, interval) = partial(&all, &ran, &dead, false);
    assert_eq!(interval.len(), 2);
    let last = Arc::new(last);
    let completed = last.unchanged().completed(&interval).expect("of the same layout");
    let rows: Vec<_> = (0..completed.len())
        .map(|row| {
            let record = completed.cur().get(row).expect("a row");
            let used = completed.usage(row).map(|used| used.total_ns());
            (record.ac_pid(), used, completed.is_exited(row), record.ac_etime())
        })
        .collect();
    let age = Some(10_000_000);
    assert_eq!(
        rows,
        [
            (Some(6), Some(30), false, age),
            (Some(5), Some(0), false, age),
            (Some(7), Some(0), false, age),
            (Some(8), Some(7), true, age),
        ]
    );
    assert_eq!(completed.cur().header().unchanged, 0);
    assert_eq!(completed.total(), interval.total());
    // The same as from two snapshots of all tasks.
    let (before, after) = (Arc::clone(completed.prev()), Arc::clone(completed.cur()));
    let compared = Interval::between(before, after);
    for row in 0..completed.len() {
        let pid = |interval: &Interval| interval.earlier(row).and_then(|record| record.ac_pid());
        assert_eq!(pid(&completed), pid(&compared), "{row}");
        assert_eq!(completed.usage(row), compared.usage(row), "{row}");
        assert_eq!(completed.split(row), compared.split(row), "{row}");
        assert_eq!(completed.is_born(row), compared.is_born(row), "{row}");
    }
}

#[test]
fn threads_are_counted_once() {
    let all = [50, 51, 52].map(|pid| thread(10, pid, 50, 3, 100)).to_vec();
    let all = [all, vec![thread(10, 60, 60, 1, 100)]].concat();
    let rows = slices(&all);
    let of_threads = snapshot_with(10, &rows, |header| {
        header.flags = header.flags.with(Flags::THREADS, true);
    });
    let metric = Metric::Field(num_threads);
    assert_eq!(sum(&*of_threads, metric), Some(4));
    assert_eq!(sum(&Interval::between(Arc::clone(&of_threads), of_threads), metric), Some(4));
    // Rows of processes have all their threads.
    assert_eq!(sum(&*snapshot(10, &rows), metric), Some(10));
    // The dead have no threads any more.
    let dead = snapshot_with(10, &rows, |header| header.exited = 1);
    assert_eq!(sum(&*dead, metric), Some(9));
    // And where unchanged threads are left out.
    let ran = [thread(11, 51, 50, 2, 130)];
    let (last, _) = partial(&all, &ran, &[thread(11, 52, 50, 2, 107)], true);
    assert_eq!(Arc::new(last).unchanged().totals().num_threads, 3);
}
