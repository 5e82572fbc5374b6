//! Intervals: who is the same task, what it used, how that is split.

mod common;

use std::sync::Arc;

use common::{snapshot, snapshot_with};
use precise_top_core::interval::{Split, Use};
use precise_top_core::{CpuTimes, Field, Flags, Interval, SourceKind, TaskTable};
use proptest::prelude::*;

use Field::{ac_pid, ac_start_ns, ac_stime, ac_sum_exec_ns, ac_utime, nvcsw, task_id};

const SECOND: u64 = 1_000_000_000;

/// Fields of a task with as many ns of CPU time and ticks (µs) as given.
fn task(pid: u64, start: u64, cpu: u64, user: u64, system: u64) -> Vec<(Field, u64)> {
    vec![
        (ac_pid, pid),
        (ac_start_ns, start),
        (ac_sum_exec_ns, cpu),
        (ac_utime, user),
        (ac_stime, system),
    ]
}

fn interval(before: &[Vec<(Field, u64)>], after: &[Vec<(Field, u64)>]) -> Interval {
    let before: Vec<&[_]> = before.iter().map(Vec::as_slice).collect();
    let after: Vec<&[_]> = after.iter().map(Vec::as_slice).collect();
    Interval::between(snapshot(10, &before), snapshot(11, &after))
}

fn total(interval: &Interval, row: usize) -> Option<u64> {
    interval.usage(row).map(|used| used.total_ns())
}

#[test]
fn a_task_used_what_its_run_time_grew_by() {
    let seen = interval(&[task(5, 1, 400, 30, 10)], &[task(5, 1, 1000, 30, 10)]);
    assert_eq!(seen.interval_ns(), SECOND);
    assert_eq!(seen.usage(0), Some(Use { user_ns: 450, system_ns: 150, steal_ns: None }));
}

#[test]
fn a_reused_pid_is_another_task() {
    let young = 10 * SECOND + 1;
    let seen = interval(&[task(5, 1, 400, 1, 0)], &[task(5, young, 70, 1, 0)]);
    assert!(seen.is_born(0));
    assert_eq!(total(&seen, 0), Some(70));
}

#[test]
fn a_task_that_was_overlooked_has_no_use_yet() {
    let seen = interval(&[task(5, 1, 400, 1, 0)], &[task(6, 1, 70, 1, 0)]);
    assert_eq!(total(&seen, 0), None);
    assert_eq!(seen.total().total_ns(), 0);
}

#[test]
fn a_counter_that_went_backwards_is_no_use() {
    let mut before = task(5, 1, 400, 1, 0);
    let mut after = task(5, 1, 399, 1, 0);
    before.push((nvcsw, 9));
    after.push((nvcsw, 8));
    let seen = interval(&[before], &[after]);
    assert_eq!(total(&seen, 0), None);
    assert_eq!(seen.increase(0, nvcsw), None);
}

#[test]
fn derived_starts_wobble_without_harm() {
    let derived = |header: &mut precise_top_core::Header| {
        header.flags = header.flags.with(Flags::DERIVED_STARTS, true);
    };
    let before = snapshot_with(10, &[&task(5, 2_000_000, 400, 1, 0)], derived);
    let after = snapshot_with(11, &[&task(5, 2_900_000, 500, 1, 0)], derived);
    assert_eq!(total(&Interval::between(before, after), 0), Some(100));
}

#[test]
fn a_task_id_outlives_exec_by_another_thread() {
    let with_id = |mut fields: Vec<(Field, u64)>, id| {
        fields.push((task_id, id));
        fields
    };
    // The thread 7 takes the leader's pid and start; its own run time goes on.
    let before = [with_id(task(5, 1, 900, 1, 0), 0xa), with_id(task(7, 2, 300, 1, 0), 0xb)];
    let after = [with_id(task(5, 1, 310, 1, 0), 0xb)];
    assert_eq!(total(&interval(&before, &after), 0), Some(10));
    // The same id with a later start is a younger task at the same place.
    let after = [with_id(task(9, 10 * SECOND + 5, 40, 1, 0), 0xb)];
    assert_eq!(total(&interval(&before, &after), 0), Some(40));
}

#[test]
fn ids_of_different_spaces_say_nothing() {
    let with_id = |mut fields: Vec<(Field, u64)>, id| {
        fields.push((task_id, id));
        fields
    };
    let used = |before_ids: [u64; 2], after_ids: [u64; 2], spaces: [Option<u64>; 2]| {
        let tasks = |ids: [u64; 2], used| {
            [with_id(task(5, 1, used, 1, 0), ids[0]), with_id(task(7, 2, used, 1, 0), ids[1])]
        };
        let (before, after) = (tasks(before_ids, 100), tasks(after_ids, 130));
        let rows = |rows: &[Vec<(Field, u64)>; 2], time, space| {
            snapshot_with(time, &[&rows[0], &rows[1]], |header| {
                header.source = SourceKind::Bpf;
                header.task_id_space = space;
            })
        };
        let seen = Interval::between(rows(&before, 10, spaces[0]), rows(&after, 11, spaces[1]));
        [total(&seen, 0), total(&seen, 1)]
    };
    let both = [Some(30), Some(30)];
    assert_eq!(used([1, 2], [1, 2], [Some(9), Some(9)]), both);
    // Another key makes other ids of the same tasks, and may make one id of two tasks.
    assert_eq!(used([1, 2], [3, 4], [Some(9), Some(8)]), both);
    assert_eq!(used([1, 2], [2, 1], [Some(9), Some(8)]), both);
    // In one space another id is another task.
    assert_eq!(used([1, 2], [1, 3], [Some(9), Some(9)]), [Some(30), None]);
    // Recordings of earlier versions do not tell: there no id of the first occurs again.
    assert_eq!(used([1, 2], [3, 4], [None, None]), both);
    assert_eq!(used([1, 2], [1, 3], [None, None]), [Some(30), None]);
}

#[test]
fn snapshots_of_different_boots_have_nothing_in_common() {
    let before = snapshot(10, &[&task(5, 1, 400, 1, 0)]);
    let after = snapshot_with(11, &[&task(5, 1, 500, 1, 0)], |h| h.boot_id = [1; 16]);
    assert_eq!(total(&Interval::between(before, after), 0), None);
}

#[test]
fn a_continued_split_never_shrinks() {
    let first = snapshot(10, &[&task(5, 1, 1000, 0, 10)]);
    let second = snapshot(11, &[&task(5, 1, 1100, 90, 10)]);
    let third = snapshot(12, &[&task(5, 1, 1200, 90, 10)]);
    let one = Interval::between(first, second);
    // By its ticks the task would have 110 ns of system time now; it had 1000.
    assert_eq!(one.usage(0), Some(Use { user_ns: 100, system_ns: 0, steal_ns: None }));
    let two = one.then(third);
    assert_eq!(two.split(0), Some(Split { user_ns: 200, system_ns: 1000 }));
}

#[test]
fn the_books_tell_what_is_left() {
    let cpu = |idle_ns, irq_ns| {
        move |header: &mut precise_top_core::Header| {
            header.cpu_times =
                vec![CpuTimes { cpu: 0, idle_ns, softirq_ns: irq_ns, ..CpuTimes::default() }];
        }
    };
    let before = snapshot_with(10, &[&task(5, 1, 0, 1, 0)], cpu(100, 7));
    let after = snapshot_with(11, &[&task(5, 1, SECOND / 2, 1, 0)], cpu(100 + SECOND / 4, 17));
    let books = Interval::between(before, after).balance().expect("CPU times are known");
    assert_eq!(books.idle_ns, SECOND / 4);
    assert_eq!(books.irq_ns, 10);
    assert_eq!(books.residual_ns, (SECOND / 4) as i64 - 10);
    assert_eq!(books.edge_ns, 2 * books.step_ns, "a step for each of the two times");
    // Interrupts by /proc/stat may be part of the tasks' time.
    assert_eq!(books.within_ns, 10);
}

/// kernel/sched/cputime.c: cputime_adjust(), written down step by step.
fn cputime_adjust(rtime: u64, mut utime: u64, mut stime: u64, prev: Split) -> Split {
    if prev.system_ns + prev.user_ns >= rtime {
        return prev;
    }
    if stime == 0 {
        utime = rtime;
    } else if utime == 0 {
        stime = rtime;
    } else {
        stime = (u128::from(stime) * u128::from(rtime) / u128::from(stime + utime)) as u64;
        stime = stime.min(rtime);
        utime = rtime - stime;
    }
    if stime == 0 || utime == rtime {
        stime = rtime - utime;
    }
    if stime < prev.system_ns {
        stime = prev.system_ns;
    }
    utime = rtime - stime;
    if utime < prev.user_ns {
        utime = prev.user_ns;
        stime = rtime - utime;
    }
    Split { user_ns: utime, system_ns: stime }
}

proptest! {
    #[test]
    fn the_split_is_the_kernels(
        steps in proptest::collection::vec((0u64..1 << 40, 0u64..1 << 30, 0u64..1 << 30), 1..20)
    ) {
        let (mut ours, mut kernels) = (Split::default(), Split::default());
        let (mut total, mut user, mut system) = (0, 0, 0);
        for (grow, more_user, more_system) in steps {
            total += grow;
            user += more_user;
            system += more_system;
            let next = Split::of(total, user, system, ours);
            prop_assert!(next.user_ns >= ours.user_ns && next.system_ns >= ours.system_ns);
            kernels = cputime_adjust(total, user, system, kernels);
            prop_assert_eq!(next, kernels);
            ours = next;
            prop_assert_eq!(ours.user_ns + ours.system_ns, total.max(ours.user_ns + ours.system_ns));
        }
    }

    #[test]
    fn order_does_not_matter(
        pids in proptest::collection::btree_set(1u64..500, 1..60),
        dead in proptest::collection::btree_set(1u64..500, 0..30),
        seed: u64,
    ) {
        let before: Vec<_> = pids.iter().map(|&pid| task(pid, pid, pid, 1, 0)).collect();
        let mut alive: Vec<u64> = pids.difference(&dead).copied().collect();
        // Some order that is not the old one.
        alive.sort_by_key(|pid| pid.wrapping_mul(seed | 1));
        let after: Vec<_> = alive.iter().map(|&pid| task(pid, pid, 3 * pid, 1, 0)).collect();
        let seen = interval(&before, &after);
        for (row, &pid) in alive.iter().enumerate() {
            prop_assert_eq!(total(&seen, row), Some(2 * pid));
        }
        prop_assert_eq!(seen.rows(), alive.len());
        prop_assert_eq!(seen.total().total_ns(), alive.iter().map(|pid| 2 * pid).sum::<u64>());
    }
}

#[test]
fn an_interval_keeps_its_snapshots() {
    let before = snapshot(10, &[&task(5, 1, 400, 1, 0)]);
    let after = snapshot(11, &[&task(5, 1, 500, 1, 0)]);
    let seen = Interval::between(Arc::clone(&before), Arc::clone(&after));
    assert!(Arc::ptr_eq(seen.prev(), &before) && Arc::ptr_eq(seen.cur(), &after));
}
