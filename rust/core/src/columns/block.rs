//! Blocks of records, and copies of their fields to columns.

use std::mem;
use std::ops::Range;

use crate::field_set::FieldSet;
use crate::interval::Interval;
use crate::snapshot::{SharedBytes, Snapshot};

/// A snapshot whose records become rows, with what else is known of them.
#[derive(Clone, Copy)]
pub struct SnapshotRows<'a> {
    /// The records.
    pub snapshot: &'a Snapshot<SharedBytes>,
    /// The interval that ends with the snapshot, for metrics.
    pub interval: Option<&'a Interval>,
    /// The name of the file, for [`ColumnKind::Path`].
    ///
    /// [`ColumnKind::Path`]: super::ColumnKind::Path
    pub path: &'a str,
    /// What the file's recorder said of itself, for [`ColumnKind::Label`].
    ///
    /// [`ColumnKind::Label`]: super::ColumnKind::Label
    pub metadata: &'a [(String, String)],
}

/// Number of records from which all columns are filled before the next records follow: so
/// many stay in the second-level cache. Fewer, that fit in the first, are slower, as each
/// column is visited more often.
pub(super) const BLOCK_ROWS: usize = 256;

/// Some records of a snapshot, and their places in the columns.
pub(super) struct Block<'a> {
    pub(super) rows: &'a SnapshotRows<'a>,
    /// Fields that any record of the snapshot holds.
    pub(super) filled: FieldSet,
    /// Fields that all records of the block hold.
    pub(super) in_all: FieldSet,
    /// The first record's index in the snapshot.
    pub(super) first: usize,
    /// The records' bytes.
    pub(super) records: &'a [u8],
    /// The records' places in the columns.
    pub(super) places: Range<usize>,
    /// Number of rows of the previous snapshot.
    pub(super) rows_before: usize,
}

/// How many columns of words are filled together while a record is in the first-level
/// cache. With more, the processor has too few registers.
const TOGETHER: usize = 4;

/// A column of 64-bit words that are copied as they are.
#[derive(Clone, Copy)]
pub(super) struct WordColumn {
    /// The word of the memory at which the column begins.
    pub(super) start: usize,
    /// The field's offset in a record.
    pub(super) offset: usize,
}

impl Block<'_> {
    /// The records' rows in their snapshot.
    pub(super) fn snapshot_rows(&self) -> Range<usize> {
        self.first..self.first + self.places.len()
    }

    /// Fills columns of words.
    pub(super) fn copy_words(&self, memory: &mut [u64], columns: &[WordColumn]) {
        let (together, rest) = columns.as_chunks::<TOGETHER>();
        together.iter().for_each(|&columns| self.copy_together(memory, columns));
        rest.iter().for_each(|&column| self.copy_together(memory, [column]));
    }

    fn copy_together<const N: usize>(&self, memory: &mut [u64], columns: [WordColumn; N]) {
        let (places, size) = (&self.places, self.rows.snapshot.layout().record_size());
        let values =
            columns.map(|WordColumn { start, .. }| start + places.start..start + places.end);
        let mut values =
            memory.get_disjoint_mut(values).expect("each column has a place of its own");
        // For the compiler: all have the same length.
        values.iter_mut().for_each(|values| *values = &mut mem::take(values)[..places.len()]);
        for (row, record) in self.records.chunks_exact(size).enumerate().take(places.len()) {
            for (values, WordColumn { offset, .. }) in values.iter_mut().zip(columns) {
                let field = record[offset..].first_chunk().expect("fields lie in their records");
                values[row] = u64::from_ne_bytes(*field);
            }
        }
    }
}

/// The bytes of one field in the records of a block.
pub(super) struct FieldBytes<'a> {
    pub(super) records: &'a [u8],
    pub(super) record_size: usize,
    pub(super) offset: usize,
    /// Which records hold the field; None for all.
    pub(super) held: Option<&'a [bool]>,
}

impl FieldBytes<'_> {
    /// Whether all bytes are zero, also those of records that do not hold the field.
    pub(super) fn are_zero<const N: usize>(&self) -> bool {
        self.records.chunks_exact(self.record_size).all(|record| {
            record[self.offset..].first_chunk().is_none_or(|field: &[u8; N]| field == &[0; N])
        })
    }

    /// Converts the field of each record that holds it to a value. The other values stay.
    pub(super) fn copy<T, const N: usize>(&self, values: &mut [T], convert: impl Fn([u8; N]) -> T) {
        let records = values.iter_mut().zip(self.records.chunks_exact(self.record_size));
        let field = |record: &[u8]| record[self.offset..].first_chunk().copied();
        match self.held {
            None => {
                for (value, record) in records {
                    let Some(field) = field(record) else { return };
                    *value = convert(field);
                }
            }
            Some(held) => {
                for ((value, record), _) in records.zip(held).filter(|(_, held)| **held) {
                    let Some(field) = field(record) else { return };
                    *value = convert(field);
                }
            }
        }
    }
}
