//! The memory of a batch's columns.

use std::ops::Range;

use zerocopy::{FromBytes, IntoBytes};

use super::kind::ValueType;

/// A column of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// What its values are.
    pub value_type: ValueType,
    /// The word of the batch's memory at which they begin: one a record, 0 where it is not
    /// known. Columns of nothing but zeros lie on the same words.
    pub start: usize,
    /// A bit for each value, the lowest first, that is set where the value is known; None
    /// where all are.
    pub valid: Option<Vec<u8>>,
}

/// Some of the records, in columns.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Number of records.
    pub len: usize,
    /// In the order they were asked for.
    pub columns: Vec<Array>,
    /// Their values.
    pub memory: Vec<u64>,
}

/// The values at some places of a column that begins at a word of the memory.
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

/// Bytes of a cache line.
const LINE: usize = 64;

/// Gives memory for at least so many words, all zero, and the place in it from which it is
/// best used.
pub type Allocate = fn(usize) -> (Vec<u64>, usize);

/// Memory as the allocator gives it.
pub(crate) fn zeros(words: usize) -> (Vec<u64>, usize) {
    (vec![0; words], 0)
}

/// Memory of which columns get their places.
pub(super) struct Memory {
    pub(super) words: Vec<u64>,
    /// The first word that is no column's.
    pub(super) free: usize,
    /// RecordBuffer that there is room for.
    pub(super) room: usize,
}

impl Memory {
    pub(super) fn new(
        columns: impl Iterator<Item = ValueType>,
        room: usize,
        allocate: Allocate,
    ) -> Memory {
        let words = columns.map(|value_type| Memory::words_of(value_type, room));
        let (words, free) = allocate(words.sum());
        Memory { words, free, room }
    }

    fn words_of(value_type: ValueType, room: usize) -> usize {
        // Columns begin at cache lines, as Arrow recommends, and where rows are a power of two
        // not all at the same place of a cache.
        let bytes = room * value_type.width();
        (bytes.next_multiple_of(LINE) + 3 * LINE) / size_of::<u64>()
    }

    /// The place of a column.
    pub(super) fn give(&mut self, value_type: ValueType) -> usize {
        let start = self.free;
        self.free += Memory::words_of(value_type, self.room);
        start
    }
}
