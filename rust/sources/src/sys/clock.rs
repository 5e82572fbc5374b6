//! Clocks of the machine, also in a time namespace.
//!
//! Design decisions
//!
//! * In a time namespace CLOCK_MONOTONIC and CLOCK_BOOTTIME, and the starts in /proc, are ahead of
//!   the kernel's own clocks (time_namespaces(7)). Records and BPF programs have the kernel's: so
//!   every reading is converted to these, where it is made.

use std::sync::OnceLock;
use std::{fs, io};

use nix::time::{ClockId, clock_gettime};

const NS_PER_S: u64 = 1_000_000_000;

/// How far the clocks of this process are ahead of the kernel's, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offsets {
    monotonic: i64,
    boottime: i64,
}

/// Those of this process, which keeps its time namespace for life.
fn offsets() -> Offsets {
    static OFFSETS: OnceLock<Offsets> = OnceLock::new();
    *OFFSETS.get_or_init(|| {
        let namespace = |name| fs::read_link(format!("/proc/self/ns/{name}")).ok();
        // The file has the offsets of children to come.
        if namespace("time") != namespace("time_for_children") {
            return Offsets::default();
        }
        parse(&fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default())
    })
}

/// Parses lines of a clock's name, seconds and ns.
fn parse(text: &str) -> Offsets {
    let offset = |clock| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(clock))?;
        let mut numbers = line.split_whitespace().map(str::parse::<i64>);
        let (seconds, ns) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        seconds.checked_mul(NS_PER_S.cast_signed())?.checked_add(ns)
    };
    Offsets {
        monotonic: offset("monotonic").unwrap_or(0),
        boottime: offset("boottime").unwrap_or(0),
    }
}

/// Time of a clock in ns; CLOCK_MONOTONIC and CLOCK_BOOTTIME as the kernel has them.
pub(crate) fn clock_ns(clock: libc::clockid_t) -> io::Result<u64> {
    let time = clock_gettime(ClockId::from_raw(clock))?;
    // Clocks that count from a start are never negative.
    let ns = time.tv_sec() as u64 * NS_PER_S + time.tv_nsec() as u64;
    Ok(match clock {
        libc::CLOCK_MONOTONIC => ns.saturating_add_signed(offsets().monotonic.saturating_neg()),
        libc::CLOCK_BOOTTIME => kernel_boottime_ns(ns),
        _ => ns,
    })
}

/// A time of this process's CLOCK_BOOTTIME, as the kernel has it.
pub(crate) fn kernel_boottime_ns(ns: u64) -> u64 {
    ns.saturating_add_signed(offsets().boottime.saturating_neg())
}

/// The CPU clock of a process (MAKE_PROCESS_CPUCLOCK with CPUCLOCK_SCHED,
/// include/linux/posix-timers_types.h); reading it needs no privilege.
pub(crate) const fn process_clock(pid: u32) -> libc::clockid_t {
    (!pid.cast_signed() << 3) | 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_those_of_the_file() {
        let text = "monotonic           5         7\nboottime     8640000         0\n";
        let expected = Offsets { monotonic: 5_000_000_007, boottime: 8_640_000_000_000_000 };
        assert_eq!(parse(text), expected);
        assert_eq!(parse("boottime -3 0").boottime, -3_000_000_000);
        assert_eq!(parse("no such lines"), Offsets::default());
    }
}
