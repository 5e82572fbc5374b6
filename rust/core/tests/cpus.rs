//! What each CPU did: by its run queue's clocks, split by the ticks.

mod common;

use common::snapshot_with;
use precise_top_core::{CpuClocks, CpuTimes, Flags, Header, Interval};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

/// User, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice.
type Ticks = [u64; 10];

fn split(ticks: Ticks, clocks: CpuClocks) -> CpuTimes {
    let at = |times: Ticks, clocks: CpuClocks| {
        move |header: &mut Header| {
            header.flags = header.flags.with(Flags::ONE_INSTANT, true);
            header.cpu_times = vec![CpuTimes::from_array(0, times)];
            header.cpu_clocks = vec![clocks];
        }
    };
    let before = snapshot_with(10, &[], at([0; 10], CpuClocks::default()));
    let after = snapshot_with(11, &[], at(ticks, clocks));
    Interval::between(before, after).cpu_split()[0]
}

/// 700 ms of tasks, 250 ms idle, 40 ms of interrupts, 10 ms stolen.
const CLOCKS: CpuClocks = CpuClocks {
    cpu: 0,
    clock_ns: SECOND,
    clock_task_ns: SECOND - 50 * MS,
    idle_ns: 250 * MS,
    steal_ns: 10 * MS,
};

#[test]
fn the_ticks_only_split_what_the_clocks_tell() {
    let times = split(
        [300 * MS, 100 * MS, 200 * MS, 180 * MS, 20 * MS, 0, 10 * MS, 0, 900 * MS, 0],
        CLOCKS,
    );
    assert_eq!(
        times.as_array(),
        [
            350_000_001,
            116_666_666,
            233_333_333,
            225 * MS,
            25 * MS,
            0,
            40 * MS,
            10 * MS,
            350_000_001,
            0
        ]
    );
    assert_eq!(times.as_array()[..8].iter().sum::<u64>(), SECOND, "nothing is lost in rounding");
}

#[test]
fn what_no_tick_fell_in_is_there_all_the_same() {
    let times = split([0, 0, 0, 1000 * MS, 0, 0, 0, 0, 0, 0], CLOCKS);
    assert_eq!(times.as_array(), [700 * MS, 0, 0, 250 * MS, 0, 0, 40 * MS, 10 * MS, 0, 0]);
}

#[test]
fn without_clocks_it_is_the_ticks() {
    let ticks = [7, 6, 5, 4, 3, 2, 1, 9, 0, 0];
    let cpus = |times: Ticks| {
        move |header: &mut Header| header.cpu_times = vec![CpuTimes::from_array(0, times)]
    };
    let before = snapshot_with(10, &[], cpus([0; 10]));
    let after = snapshot_with(11, &[], cpus(ticks));
    assert_eq!(Interval::between(before, after).cpu_split()[0].as_array(), ticks);
}
