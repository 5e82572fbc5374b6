//! A full history takes the memory that it counts. Alone in its process, whose memory is measured.

mod common;

use std::sync::Arc;

use common::machine::Machine;
use precise_top_core::Interval;
use precise_top_core::history::{History, Limits};

/// Resident memory of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("the resident memory");
    let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok());
    kilobytes.expect("a number") * 1024
}

#[test]
fn a_full_history_takes_the_memory_that_it_counts() {
    const CAP: usize = 8 << 20;
    // The memory that it takes to merge and drop runs is needed once, beside the history.
    fill(CAP / 8);
    let (history, first, kept) = fill(CAP);
    let counted = history.bytes() - kept;
    assert!(counted > CAP / 2, "{counted}");
    let more = resident().saturating_sub(first);
    // Each piece of memory has some bytes of the allocator.
    assert!(more < counted + counted / 10 + (3 << 20), "{more} for {counted}");
    assert!(more > counted / 2, "{more} for {counted}");
}

/// A history that is full, and the resident memory and its bytes as of its 60th frame.
fn fill(cap: usize) -> (History, usize, usize) {
    let mut history = History::new(Limits { span_ns: u64::MAX, bytes: cap });
    // Tasks are born and die all the time.
    let mut machine = Machine::new(11);
    (machine.tasks, machine.births) = (200, 100);
    let mut prev = Arc::new(machine.step().into_shared());
    let (mut first, mut kept) = (0, 0);
    while history.numbers().start == 0 {
        let cur = Arc::new(machine.step().into_shared());
        let interval = Interval::between(Arc::clone(&prev), Arc::clone(&cur));
        history.push(&interval, None).expect("pushed");
        prev = cur;
        // From here on all that is needed beside the history is there.
        if history.numbers().end == 60 {
            (first, kept) = (resident(), history.bytes());
        }
    }
    (history, first, kept)
}
