//! Tasks that die: each counts once, whatever was seen of it; and the books that show it.

mod common;

use common::{Shared, snapshot, snapshot_with};
use precise_top_core::{CpuClocks, CpuTimes, Field, Flags, Header, Interval, SourceKind};
use std::collections::HashSet;

use Field::{
    ac_etime, ac_pid, ac_start_ns, ac_stime, ac_sum_exec_ns, ac_utime, task_flags, task_id,
};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

type Row = Vec<(Field, u64)>;

fn task(pid: u64, start: u64, cpu: u64) -> Row {
    vec![(ac_pid, pid), (ac_start_ns, start), (ac_sum_exec_ns, cpu), (ac_utime, 1), (ac_stime, 0)]
}

fn known(id: u64, pid: u64, start: u64, cpu: u64) -> Row {
    let mut row = task(pid, start, cpu);
    row.push((task_id, id));
    row
}

/// A snapshot at `seconds` of the living and then the dead.
fn with_dead(seconds: u64, living: &[Row], dead: &[Row]) -> Shared {
    adjusted(seconds, living, dead, |_| {})
}

fn adjusted(
    seconds: u64,
    living: &[Row],
    dead: &[Row],
    adjust: impl FnOnce(&mut Header),
) -> Shared {
    let rows: Vec<&[_]> = living.iter().chain(dead).map(Vec::as_slice).collect();
    snapshot_with(seconds, &rows, |header| {
        header.exited = dead.len() as u32;
        adjust(header);
    })
}

fn used(interval: &Interval, row: usize) -> Option<u64> {
    interval.usage(row).map(|used| used.total_ns())
}

#[test]
fn a_death_between_the_samples_ends_with_the_final_value() {
    let before = with_dead(10, &[task(5, 1, 400)], &[]);
    let seen = Interval::between(before, with_dead(11, &[], &[task(5, 1, 700)]));
    assert_eq!(used(&seen, 0), Some(300));
    assert!(seen.is_exited(0) && !seen.is_born(0));
}

#[test]
fn born_and_died_unseen_counts_whole() {
    let before = with_dead(10, &[task(1, 1, 5)], &[]);
    let dead = [task(5, 10 * SECOND + 1, 70), task(6, 10 * SECOND + 2, 30)];
    let seen = Interval::between(before, with_dead(11, &[task(1, 1, 5)], &dead));
    assert_eq!(seen.total().total_ns(), 100);
}

#[test]
fn an_older_task_that_nobody_had_seen_counts_nothing() {
    let before = with_dead(10, &[task(1, 1, 5)], &[]);
    let seen = Interval::between(before, with_dead(11, &[], &[task(5, 1, 70)]));
    assert_eq!(used(&seen, 0), None);
}

#[test]
fn met_in_the_walk_and_among_the_exits_counts_once() {
    for (walk, exit) in [(500, 700), (700, 500), (700, 700)] {
        let before = with_dead(10, &[task(5, 1, 400)], &[]);
        let after = with_dead(11, &[task(5, 1, walk)], &[task(5, 1, exit)]);
        let seen = Interval::between(before, after);
        assert_eq!(seen.total().total_ns(), 300, "walk {walk}, exit {exit}");
        // A zombie that stays in the walk uses nothing more.
        let next = seen.then(with_dead(12, &[task(5, 1, 700)], &[]));
        assert_eq!(next.total().total_ns(), 0, "walk {walk}, exit {exit}");
    }
}

#[test]
fn a_reused_pid_is_two_tasks() {
    let before = with_dead(10, &[task(5, 1, 400)], &[]);
    let young = 10 * SECOND + 7;
    let after = with_dead(11, &[task(5, young, 30)], &[task(5, 1, 450)]);
    let seen = Interval::between(before, after);
    assert_eq!((used(&seen, 0), used(&seen, 1)), (Some(30), Some(50)));
}

#[test]
fn exec_by_another_thread_than_the_leader() {
    // Thread 7 takes the pid and the start of the leader, 5, which dies at 310.
    let before = with_dead(10, &[known(100, 5, 1, 300), known(101, 7, 2, 90)], &[]);
    let after = with_dead(11, &[known(101, 5, 1, 102)], &[known(100, 5, 1, 310)]);
    let seen = Interval::between(before, after);
    assert_eq!((used(&seen, 0), used(&seen, 1)), (Some(12), Some(10)));
    // Without ids it looks like a counter that went backwards: no use, and no wrong one.
    let before = with_dead(10, &[task(5, 1, 300), task(7, 2, 90)], &[]);
    let seen = Interval::between(before, with_dead(11, &[task(5, 1, 102)], &[]));
    assert_eq!(used(&seen, 0), None);
}

#[test]
fn what_went_backwards_is_caught_up_not_counted_twice() {
    let one = Interval::between(
        with_dead(10, &[task(5, 1, 400)], &[]),
        with_dead(11, &[task(5, 1, 390)], &[]),
    );
    assert_eq!(used(&one, 0), None);
    let two = one.then(with_dead(12, &[task(5, 1, 500)], &[]));
    assert_eq!(used(&two, 0), Some(100));
}

#[test]
fn a_start_during_the_earlier_walk_is_not_a_second_birth() {
    // Over netlink starts are derived; this task began after the walk had begun.
    let derived =
        |header: &mut Header| header.flags = header.flags.with(Flags::DERIVED_STARTS, true);
    let start = 10 * SECOND + MS;
    let before = adjusted(10, &[task(5, start, 400)], &[], derived);
    let after = adjusted(11, &[task(5, start + MS, 700)], &[], derived);
    assert_eq!(used(&Interval::between(before, after), 0), Some(300));
}

#[test]
fn a_first_sample_has_no_use_for_old_tasks() {
    let empty = with_dead(10, &[], &[]);
    let seen = Interval::between(empty, with_dead(11, &[task(5, 1, 400)], &[]));
    assert_eq!(used(&seen, 0), None);
}

#[test]
fn snapshots_that_were_left_out_give_their_exits() {
    let before = with_dead(10, &[task(5, 1, 400)], &[]);
    let between = with_dead(11, &[], &[task(5, 1, 450), task(6, 10 * SECOND + 1, 20)]);
    let after = with_dead(12, &[], &[task(7, 11 * SECOND + 1, 3)]);
    let joined = after.with_exits([&*between].into_iter()).expect("one layout");
    assert_eq!(joined.header().exited, 3);
    let seen = Interval::between(before, std::sync::Arc::new(joined.into_shared()));
    assert_eq!(seen.total().total_ns(), 50 + 20 + 3);
    assert_eq!(between.exits().len(), 2);
    assert_eq!(between.exits().get(1).and_then(|record| record.ac_pid()), Some(6));
}

#[test]
fn a_stepped_clock_and_a_suspend_change_nothing() {
    let before = adjusted(10, &[task(5, 1, 400)], &[], |header| {
        header.begin.realtime_ns = 1_000 * SECOND;
    });
    // The clock was set back; the machine slept for an hour of which MONOTONIC knows nothing.
    let after = adjusted(3611, &[task(5, 1, 700)], &[task(6, 20 * SECOND, 9)], |header| {
        header.begin.realtime_ns = 10 * SECOND;
        header.begin.monotonic_ns = 11 * SECOND;
    });
    let seen = Interval::between(before, after);
    assert_eq!(seen.interval_ns(), SECOND);
    assert_eq!((used(&seen, 0), used(&seen, 1)), (Some(300), Some(9)));
}

fn stat(cpus: &[(u32, u64)]) -> impl FnOnce(&mut Header) + '_ {
    move |header| {
        header.cpu_times_step_ns = 10 * MS;
        header.cpu_times = cpus
            .iter()
            .map(|&(cpu, idle_ns)| CpuTimes { cpu, idle_ns, ..CpuTimes::default() })
            .collect();
    }
}

#[test]
fn a_task_left_out_opens_the_books() {
    let before = adjusted(10, &[task(5, 1, 0), task(6, 1, 0)], &[], stat(&[(0, 0)]));
    let after =
        adjusted(11, &[task(5, 1, 700 * MS), task(6, 1, 200 * MS)], &[], stat(&[(0, 100 * MS)]));
    let seen = Interval::between(before, after);
    let books = seen.balance().expect("CPU times are known");
    assert_eq!((books.residual_ns, books.edge_ns, books.within_ns), (0, 10 * MS, 0));
    assert!(books.is_closed());
    let open = seen.balance_without(&HashSet::from([6])).expect("CPU times are known");
    assert_eq!(open.residual_ns, (200 * MS) as i64);
    assert!(!open.is_closed());
}

#[test]
fn a_time_that_seems_to_stand_still_has_a_step_of_error() {
    let irq = |idle_ns| {
        move |header: &mut Header| {
            stat(&[(0, idle_ns)])(header);
            header.cpu_times[0].irq_ns = 30 * MS;
        }
    };
    let before = adjusted(10, &[], &[], irq(0));
    let after = adjusted(11, &[], &[], irq(980 * MS));
    let books = Interval::between(before, after).balance().expect("CPU times are known");
    assert_eq!((books.residual_ns, books.edge_ns), ((20 * MS) as i64, 20 * MS));
    assert!(books.is_closed());
}

#[test]
fn hidden_tasks_outside_the_namespace_have_the_time_that_is_left() {
    let hides = |outside_ns: u64, cpus| {
        move |header: &mut Header| {
            stat(cpus)(header);
            header.flags = header.flags.with(Flags::HIDDEN_OUTSIDE, true);
            header.outside_ns = outside_ns;
        }
    };
    let before = adjusted(10, &[task(5, 1, 0)], &[], hides(0, &[(0, 0)]));
    let after = adjusted(11, &[task(5, 1, 300 * MS)], &[], hides(200 * MS, &[(0, 100 * MS)]));
    let seen = Interval::between(before, after);
    let books = seen.balance().expect("CPU times are known");
    assert_eq!((books.rowless_ns, books.residual_ns), (600 * MS, 0));
    let open = seen.balance_without(&HashSet::from([5])).expect("CPU times are known");
    assert_eq!((open.rowless_ns, open.residual_ns), (600 * MS, (300 * MS) as i64));
}

#[test]
fn a_cpu_that_went_widens_the_bound() {
    let before = adjusted(10, &[task(5, 1, 0)], &[], stat(&[(0, 0), (1, 0)]));
    let after = adjusted(11, &[task(5, 1, 1500 * MS)], &[], stat(&[(0, 0)]));
    let books = Interval::between(before, after).balance().expect("CPU times are known");
    assert_eq!((books.cpus, books.available_ns, books.within_ns), (1, SECOND, SECOND));
    assert!(books.is_closed(), "half a second of the other CPU is inside the bound");
}

/// A header of bpf with the clocks of one CPU, and exits lost that had used `overflow_ns`.
fn with_lost(seconds: u64, overflow_ns: u64) -> impl FnOnce(&mut Header) {
    move |header: &mut Header| {
        header.flags = header.flags.with(Flags::ONE_INSTANT, true).with(Flags::EXITS, true);
        header.source = SourceKind::Bpf;
        let clock_ns = seconds * SECOND;
        let clock_task_ns = clock_ns - seconds * MS;
        header.cpu_clocks =
            vec![CpuClocks { cpu: 0, clock_ns, clock_task_ns, ..CpuClocks::default() }];
        header.exits_lost = overflow_ns / 100;
        header.overflow_ns = overflow_ns;
    }
}

#[test]
fn lost_exits_count_by_their_sum() {
    // Task 6 had used 50 ms before; its exit was lost with others'.
    let before = adjusted(10, &[task(5, 1, 0), task(6, 1, 50 * MS)], &[], with_lost(10, 100));
    let after = adjusted(11, &[task(5, 1, 900 * MS)], &[], with_lost(11, 100 + 149 * MS));
    let seen = Interval::between(before, after);
    let books = seen.balance().expect("clocks are known");
    assert_eq!((books.rowless_ns, books.irq_ns, books.residual_ns), (99 * MS, MS, 0));
    assert_eq!(books.within_ns, 0);
    assert_eq!(seen.cpu_use()[0].busy_ns, 999 * MS);
}

#[test]
fn a_lost_exit_of_a_task_that_is_not_reaped_widens_the_bound() {
    let zombie = |cpu| {
        let mut row = task(6, 1, cpu);
        row.push((task_flags, 4));
        row
    };
    // Task 6 used 99 ms in the first second, and its exit was lost.
    let before = adjusted(10, &[task(5, 1, 0), task(6, 1, 50 * MS)], &[], with_lost(10, 0));
    let dead =
        adjusted(11, &[task(5, 1, 900 * MS), zombie(149 * MS)], &[], with_lost(11, 149 * MS));
    let books = Interval::between(before, dead.clone()).balance().expect("clocks are known");
    // The sum has its whole life, its row what it used now.
    assert_eq!((books.rowless_ns, books.residual_ns), (149 * MS, -149 * MS as i64));
    assert!(books.within_ns == 149 * MS && books.is_closed());

    // Once it is reaped, its life is not part of what another lost task had used.
    let last = adjusted(12, &[task(5, 1, 1800 * MS)], &[], with_lost(12, 249 * MS));
    let books = Interval::between(dead, last).balance().expect("clocks are known");
    assert_eq!((books.rowless_ns, books.residual_ns), (0, 99 * MS as i64));
    assert!(books.within_ns == 100 * MS && books.is_closed());
}

#[test]
fn exits_by_event_are_granted_a_tick_each() {
    let mut young = task(6, 10 * SECOND + 1, 0);
    young.push((ac_etime, 3000));
    let mut old = task(7, 10 * SECOND + 1, 0);
    old.push((ac_etime, 500_000));
    let before = adjusted(10, &[], &[], stat(&[(0, 0)]));
    let after = adjusted(11, &[], &[young, old], stat(&[(0, 990 * MS)]));
    let books = Interval::between(before, after).balance().expect("CPU times are known");
    assert_eq!(books.within_ns, 3 * MS + 10 * MS);
}

#[test]
fn exits_up_to_the_last_switch_widen_no_bound() {
    let of_bpf = |cpus| {
        move |header: &mut Header| {
            stat(cpus)(header);
            header.source = SourceKind::Bpf;
        }
    };
    let mut dead = task(6, 10 * SECOND + 1, 10 * MS);
    dead.push((ac_etime, 500_000));
    let before = adjusted(10, &[], &[], of_bpf(&[(0, 0)]));
    let after = adjusted(11, &[], &[dead], of_bpf(&[(0, 990 * MS)]));
    let books = Interval::between(before, after).balance().expect("CPU times are known");
    assert_eq!((books.residual_ns, books.edge_ns, books.within_ns), (0, 10 * MS, 0));
}

#[test]
fn a_snapshot_without_exits_has_none() {
    let plain = snapshot(10, &[&task(5, 1, 400)]);
    assert!(plain.exits().is_empty());
}

#[test]
fn numbers_beyond_all_measure_are_no_panic() {
    let header = |header: &mut Header| {
        header.cpu_times = (0..2).map(|cpu| CpuTimes::from_array(cpu, [u64::MAX; 10])).collect();
        header.cpu_times_step_ns = u64::MAX;
        header.end.monotonic_ns = u64::MAX;
    };
    let dead = |pid| {
        let mut row = task(pid, u64::MAX, u64::MAX);
        row.push((ac_etime, u64::MAX));
        row
    };
    let start = adjusted(0, &[], &[], |header| {
        header.cpu_times = (0..2).map(|cpu| CpuTimes::from_array(cpu, [0; 10])).collect();
    });
    let end = adjusted(1, &[], &[dead(1), dead(2)], header);
    let books = Interval::between(start, end).balance().expect("the CPUs' times are there");
    assert_eq!((books.idle_ns, books.bound_ns()), (u64::MAX, u64::MAX));
}
