//! The memory of a batch's columns.

use std::ops::Range;

use zerocopy::{FromBytes, IntoBytes};

use super::kind::ValueType;

/// A column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The type of its values.
    pub value_type: ValueType,
    /// The word of the batch's memory at which the values begin. There is one value for
    /// each record, 0 where it is unknown. Columns of zeros share their words.
    pub start: usize,
    /// A bit for each value, lowest first, set where the value is known; None where all
    /// are known.
    pub valid: Option<Vec<u8>>,
}

/// Some of the records, in columns.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Number of records.
    pub len: usize,
    /// The columns in the requested order.
    pub columns: Vec<Array>,
    /// The columns' values.
    pub memory: Vec<u64>,
}

/// The values at some places of a column that begins at the word `start`.
pub(super) fn slice<T: FromBytes + IntoBytes>(
    memory: &mut [u64],
    start: usize,
    places: Range<usize>,
) -> &mut [T] {
    let bytes = memory[start..].as_mut_bytes();
    let bytes = &mut bytes[places.start * size_of::<T>()..places.end * size_of::<T>()];
    // No value is wider than a word.
    <[T]>::mut_from_bytes(bytes).unwrap_or_default()
}

/// Size of a cache line in bytes.
const LINE: usize = 64;

/// Allocates at least that many words of zeros. Returns them with the index of the first
/// word to use; None where there is no memory for them.
pub type Allocate = fn(usize) -> Option<(Vec<u64>, usize)>;

/// Words of zeros from the allocator.
pub(crate) fn zeros(words: usize) -> Option<(Vec<u64>, usize)> {
    // The system provides memory at the first write, but `vec!` ends the process where there is
    // none. Ask first.
    Vec::<u64>::new().try_reserve_exact(words).ok()?;
    Some((vec![0; words], 0))
}

/// Memory in which columns reserve their places.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) words: Vec<u64>,
    /// The first word that no column has reserved.
    pub(super) free: usize,
    /// Number of rows that fit.
    pub(super) room: usize,
}

impl Memory {
    pub(super) fn new(
        columns: impl Iterator<Item = ValueType>,
        room: usize,
        allocate: Allocate,
    ) -> Option<Memory> {
        let words = columns.map(|value_type| Memory::words_of(value_type, room));
        let (words, free) = allocate(words.sum())?;
        Some(Memory { words, free, room })
    }

    fn words_of(value_type: ValueType, room: usize) -> usize {
        // Columns begin at cache lines, as Arrow recommends. Spare lines keep columns of a
        // power of two of rows from all falling on the same lines of a cache.
        let bytes = room * value_type.width();
        (bytes.next_multiple_of(LINE) + 3 * LINE) / size_of::<u64>()
    }

    /// The first word of a new column.
    pub(super) fn reserve(&mut self, value_type: ValueType) -> usize {
        let start = self.free;
        self.free += Memory::words_of(value_type, self.room);
        start
    }
}
