//! Limits of the memory that the contents of a dump may take.
//!
//! Design decisions
//!
//! * Lengths and counts in a dump are promises: zstd packs gigabytes of zeros into a few
//!   kilobytes. Memory grows as bytes and rows arrive.
//! * Contents below [`FREE`], or below a small multiple of the bytes that are stored for them,
//!   need no proof: the memory is bounded by the size of the file.
//! * Larger snapshots have to prove that their rows are real: no two are the same, and each
//!   takes a few stored bytes. Machines with hundreds of thousands of idle tasks pass; a
//!   ratio alone would refuse either them or nothing.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Memory that any contents may take.
pub(crate) const FREE: usize = 32 << 20;
/// Memory for a stored byte without proof: of a snapshot and of what its deltas refer to.
const FREE_RATIO: usize = 8;
/// The same limit for payloads that are read once, and for names.
const PAYLOAD_RATIO: usize = 16;
/// Memory for a stored byte with proof. Records have 828 bytes or less, and a task's pid and
/// start alone take more than 6 after compression.
const PROVEN_RATIO: usize = 128;
/// The smallest memory that a row is counted with: records cut to a few bytes would make
/// millions of rows.
const SMALLEST_ROW: usize = 256;
/// Memory of the column sets of a run of deltas that needs no stored bytes.
const FREE_SETS: usize = 8 << 20;
/// The largest table of fields.
pub(super) const TABLE: usize = 1 << 20;

/// Whether a payload of `unpacked` bytes may come from `stored` bytes.
pub(super) fn allows_payload(unpacked: usize, stored: usize) -> bool {
    unpacked <= FREE.max(stored.saturating_mul(PAYLOAD_RATIO))
}

/// Whether the names of a dump may take `memory`, where `stored` bytes were read for them.
pub(crate) fn allows_names(memory: usize, stored: usize) -> bool {
    allows_payload(memory, stored)
}

/// Whether the column sets of a run of deltas may take `memory`, where `stored` bytes were
/// read for that run.
pub(super) fn allows_sets(memory: usize, stored: usize) -> bool {
    memory <= FREE_SETS.max(stored.saturating_mul(FREE_RATIO))
}

/// Proof that the rows of a snapshot owe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Nothing.
    Free,
    /// They must differ from each other.
    Proven,
    /// No proof suffices.
    Refused,
}

impl Rows {
    /// For `count` records of `record_size` bytes, where `stored` bytes were read for the
    /// snapshot and for those that it builds on.
    pub(super) fn of(count: usize, record_size: usize, stored: usize) -> Rows {
        let memory = count.saturating_mul(record_size.max(SMALLEST_ROW));
        if memory <= FREE.max(stored.saturating_mul(FREE_RATIO)) {
            Rows::Free
        } else if memory <= stored.saturating_mul(PROVEN_RATIO) {
            Rows::Proven
        } else {
            Rows::Refused
        }
    }

    /// A proof to be taken, if one is needed; None where the rows are refused.
    pub(super) fn proof(self) -> Option<Option<Distinct>> {
        match self {
            Rows::Free => Some(None),
            Rows::Proven => Some(Some(Distinct::default())),
            Rows::Refused => None,
        }
    }
}

/// Proves that things differ from each other, by their hashes.
#[derive(Default)]
pub(super) struct Distinct {
    hasher: RandomState,
    seen: HashSet<u64>,
}

impl Distinct {
    /// Returns whether no earlier part was the same. `place` distinguishes parts of equal bytes.
    pub(super) fn is_new(&mut self, place: usize, bytes: &[u8]) -> bool {
        let hash = self.hasher.hash_one((place, bytes));
        self.seen.try_reserve(1).is_ok() && self.seen.insert(hash)
    }
}

/// Room for `length` more items. Appends that follow do not abort the process.
pub(super) fn reserve<T>(out: &mut Vec<T>, length: usize) -> Option<()> {
    out.try_reserve(length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{EXTENSION_BIT, EXTENSION_SIZE, LARGEST_VERSION, Layout};

    #[test]
    fn real_machines_are_read_and_promises_are_not() {
        let newest = (1..=LARGEST_VERSION).rev().find_map(Layout::known_base_size);
        let largest = newest.unwrap_or_default() + EXTENSION_SIZE;
        assert!(largest <= 828, "PROVEN_RATIO is derived from the size of a record");
        let size = Layout::of_version(14 | EXTENSION_BIT).expect("known").record_size();
        // 15,000 idle tasks need no stored byte, half a million 10 bytes each.
        assert_eq!(Rows::of(15_000, largest, 0), Rows::Free);
        assert_eq!(Rows::of(500_000, size, 5_000_000), Rows::Proven);
        assert_eq!(Rows::of(500_000, size, 500_000_000), Rows::Free);
        assert_eq!(Rows::of(10_485_778, size, 3_000), Rows::Refused);
        assert_eq!(Rows::of(usize::MAX, 2, 3_000), Rows::Refused);
        assert_eq!(Rows::of(1 << 20, 2, 3_000), Rows::Refused);
    }

    #[test]
    fn the_same_bytes_are_no_proof() {
        let mut rows = Distinct::default();
        assert!(rows.is_new(0, b"a"));
        assert!(rows.is_new(0, b"b"));
        assert!(rows.is_new(1, b"a"));
        assert!(!rows.is_new(0, b"a"));
    }
}
