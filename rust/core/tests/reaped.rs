//! The dead where they have no rows: their time is in their processes' and parents'
//! counters, and an interval finds there what was used in it.

mod common;

use common::{Shared, snapshot_with};
use precise_top_core::{CpuClocks, Field, Flags, Header, Interval, SourceKind};

use Field::{
    ac_cstime, ac_csttime, ac_cutime, ac_pid, ac_ppid, ac_start_ns, ac_stime, ac_sttime,
    ac_sum_exec_ns, ac_tgid, ac_utime, task_id, tg_stime, tg_utime,
};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

type Row = Vec<(Field, u64)>;

/// A process that used `user` ms, and whose dead children did `dead` ms of user time.
fn process(pid: u64, ppid: u64, user: u64, dead: u64) -> Row {
    vec![
        (ac_pid, pid),
        (ac_tgid, pid),
        (ac_ppid, ppid),
        (ac_start_ns, pid),
        (ac_sum_exec_ns, user * MS),
        (ac_utime, user * 1000),
        (ac_stime, 0),
        (ac_sttime, 0),
        (ac_cutime, dead * 1000),
        (ac_cstime, 0),
        (ac_csttime, 0),
        (tg_utime, 0),
        (tg_stime, 0),
    ]
}

/// A thread with a name of its own, in a process whose dead threads used `dead` ms.
fn thread(id: u64, pid: u64, tgid: u64, start: u64, user: u64, dead: u64) -> Row {
    let mut row = process(pid, 1, user, 0);
    row.extend([(ac_tgid, tgid), (ac_start_ns, start), (tg_utime, dead * 1000), (task_id, id)]);
    row
}

fn with(mut row: Row, field: Field, value: u64) -> Row {
    row.push((field, value));
    row
}

/// A snapshot of one instant at `seconds`, on one CPU that idled for `idle` ms.
fn instant(seconds: u64, idle: u64, rows: &[Row], adjust: impl FnOnce(&mut Header)) -> Shared {
    let rows: Vec<&[_]> = rows.iter().map(Vec::as_slice).collect();
    snapshot_with(seconds, &rows, |header| {
        header.source = SourceKind::Proc;
        header.flags = header.flags.with(Flags::ONE_INSTANT, true);
        let now = seconds * SECOND;
        header.cpu_clocks = vec![CpuClocks {
            cpu: 0,
            clock_ns: now,
            clock_task_ns: now,
            idle_ns: idle * MS,
            steal_ns: 0,
        }];
        adjust(header);
    })
}

fn by_thread(header: &mut Header) {
    header.flags = header.flags.with(Flags::THREADS, true);
}

/// What the dead used according to the rows, and to the books, which must close.
fn of_the_dead(interval: &Interval) -> (Vec<u64>, u64) {
    let rows = (0..interval.len()).map(|row| interval.children(row).user_ns.unwrap_or(0) / MS);
    let books = interval.balance().expect("the clocks are there");
    assert!(books.is_closed(), "{books:?}");
    (rows.collect(), books.rowless_ns / MS)
}

#[test]
fn of_a_dead_childs_life_the_interval_gets_its_part() {
    let before = instant(10, 0, &[process(1, 0, 5, 0), process(7, 1, 400, 10)], |_| {});
    // 7 died at 650 ms, with 20 ms of its own dead; 30 ms more had a child unseen.
    let after = instant(11, 710, &[process(1, 0, 5, 700)], |_| {});
    let interval = Interval::between(before, after);
    assert_eq!(of_the_dead(&interval), (vec![290], 290));
}

#[test]
fn what_the_nearest_did_not_get_went_further_up() {
    // 6 is orphaned and goes to 1, although 4, of which 5 was the child, lives.
    let family =
        [process(1, 0, 5, 0), process(4, 1, 5, 0), process(5, 4, 50, 0), process(6, 5, 100, 0)];
    let before = instant(10, 0, &family, |_| {});
    let after = instant(11, 970, &[process(1, 0, 5, 120), process(4, 1, 5, 60)], |_| {});
    let interval = Interval::between(before, after);
    assert_eq!(of_the_dead(&interval), (vec![30, 0], 30));
}

#[test]
fn a_ring_of_parents_ends() {
    let before =
        instant(10, 0, &[process(4, 5, 5, 0), process(5, 4, 5, 0), process(6, 5, 100, 0)], |_| {});
    let after = instant(11, 1000, &[process(4, 5, 5, 0), process(5, 4, 5, 0)], |_| {});
    assert_eq!(of_the_dead(&Interval::between(before, after)), (vec![0, 0], 0));
}

#[test]
fn a_dead_thread_is_in_its_processs_counters() {
    let before = instant(
        10,
        0,
        &[thread(1, 5, 5, 5, 100, 0), thread(2, 6, 5, 6, 40, 0), thread(3, 7, 5, 7, 10, 0)],
        by_thread,
    );
    // 6 died at 90 ms, an unseen one at 20 ms; 7 used 30 ms.
    let rows = [thread(1, 5, 5, 5, 150, 110), thread(3, 7, 5, 7, 40, 110)];
    let after = instant(11, 850, &rows, by_thread);
    let interval = Interval::between(before, after);
    assert_eq!(of_the_dead(&interval), (vec![70, 0], 70));
    assert_eq!(interval.total().user_ns, 80 * MS);
}

#[test]
fn an_exec_by_another_thread_loses_neither() {
    let two = [thread(1, 5, 5, 5, 100, 0), thread(2, 6, 5, 6, 40, 0)];
    let before = instant(10, 0, &two, by_thread);
    // The leader died at 130 ms; thread 2, with its pid and start, used 60 ms.
    let after = instant(11, 910, &[thread(2, 5, 5, 5, 100, 130)], by_thread);
    let interval = Interval::between(before.clone(), after);
    assert_eq!(of_the_dead(&interval), (vec![30], 30));
    assert_eq!(interval.total().user_ns, 60 * MS);
    // The same by a thread that nobody had seen: it began in the interval.
    let rows = [thread(9, 5, 5, 5, 25, 175)];
    let interval = Interval::between(before, instant(11, 940, &rows, by_thread));
    assert_eq!(of_the_dead(&interval), (vec![35], 35));
    assert_eq!(interval.total().user_ns, 25 * MS);
}

#[test]
fn steal_time_of_dead_threads_counts_once() {
    // A process's row has its living threads' steal time; a dead one's goes to csttime.
    let stolen = |living_us: u64, dead_us: u64| {
        with(with(process(5, 1, 0, 0), ac_sttime, living_us), ac_csttime, dead_us)
    };
    let before = instant(10, 0, &[stolen(900, 0)], |_| {});
    let after = instant(11, 1000, &[stolen(500, 700)], |_| {});
    let interval = Interval::between(before, after);
    let own = interval.usage(0).and_then(|used| used.steal_ns);
    assert_eq!((own, interval.children(0).steal_ns), (Some(0), Some(300_000)));
}

#[test]
fn where_the_dead_have_rows_they_are_not_counted_again() {
    let exits = |header: &mut Header| header.flags = header.flags.with(Flags::EXITS, true);
    let before = instant(10, 0, &[process(1, 0, 5, 0)], exits);
    let after = instant(11, 0, &[process(1, 0, 5, 700)], exits);
    let interval = Interval::between(before, after);
    assert_eq!(interval.children(0).user_ns, Some(700 * MS));
    assert_eq!(interval.balance().map(|books| books.rowless_ns), Some(0));
}
