//! Walking netlink, reading records and iterating a snapshot allocate nothing.

use std::alloc::{GlobalAlloc, Layout as Memory, System};
use std::cell::Cell;

use precise_top_core::wire::{self, Payload};
use precise_top_core::{Field, Snapshot};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a
// thread-local cell that needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, memory: Memory) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(memory) }
    }

    unsafe fn dealloc(&self, place: *mut u8, memory: Memory) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(place, memory) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce() -> u64) -> usize {
    let before = ALLOCATIONS.get();
    assert_ne!(work(), 0, "the work must not be left out");
    ALLOCATIONS.get() - before
}

#[test]
fn reading_allocates_nothing() {
    let reply = include_bytes!("../../../tests/data/netlink-pid-v16.bin");
    let walk = || {
        let mut sum = 0;
        for message in wire::messages(reply) {
            if let Ok(wire::Message { payload: Payload::Generic { attributes, .. }, .. }) = message
            {
                sum += wire::stats(attributes).flatten().map(|s| s.bytes.len() as u64).sum::<u64>();
            }
        }
        sum
    };
    assert_eq!(allocations(walk), 0);
    let bytes = &reply[36..];
    let snapshot = Snapshot::from_bare_records(bytes, None).expect("a real record");
    let read = || {
        snapshot
            .iter()
            .map(|record| {
                let fields = Field::ALL.iter().filter(|&&f| record.value(f).is_some()).count();
                fields as u64 + record.cpu_ns().unwrap_or(0)
            })
            .sum()
    };
    assert_eq!(allocations(read), 0);
    assert_ne!(allocations(|| Vec::<u64>::with_capacity(9).capacity() as u64), 0);
}
