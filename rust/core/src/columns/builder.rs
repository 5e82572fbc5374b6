//! Builds the columns of snapshots and intervals.
//!
//! Design decisions
//!
//! * All columns of a batch lie in one piece of memory, which begins as zeros. Where the
//!   system uses large pages for it, that is several times as fast as many small pieces.
//! * A column gets its place there with the first value that is not zero. The system
//!   provides memory at the first write, so that columns of zeros, which share the rest,
//!   take none.

use zerocopy::IntoBytes;

use super::block::{BLOCK_ROWS, Block, SnapshotRows};
use super::column::Column;
use super::dictionary::Dictionary;
use super::kind::ColumnKind;
use super::memory::{Allocate, Array, Batch, Memory, zeros};
use crate::error::{ErrorKind, ParseError};
use crate::field_set::FieldSet;
use crate::interval::Interval;
use crate::snapshot::{SharedBytes, Snapshot};
use crate::table::TaskTable;

/// Records in columns.
#[derive(Clone, Debug)]
pub struct Columns {
    /// Quantities that the columns hold.
    pub kinds: Vec<ColumnKind>,
    /// The records in their order.
    pub batches: Vec<Batch>,
    /// The texts of each column in the order of their codes; empty for columns of numbers.
    pub texts: Vec<Vec<String>>,
}

impl Columns {
    /// The columns of one snapshot. Columns that only an interval has are unknown.
    /// OutOfMemory where there is no memory for them.
    pub fn of(
        snapshot: &Snapshot<SharedBytes>,
        kinds: &[ColumnKind],
    ) -> Result<Columns, ParseError> {
        Columns::of_rows(
            [SnapshotRows { snapshot, interval: None, path: "", metadata: &[] }].into_iter(),
            kinds,
        )
    }

    /// The columns of intervals in one batch: a row for each record of their later
    /// snapshots. OutOfMemory where there is no memory for them.
    pub fn of_intervals<'a>(
        intervals: impl Iterator<Item = &'a Interval> + Clone,
        kinds: &[ColumnKind],
    ) -> Result<Columns, ParseError> {
        let rows = |interval: &'a Interval| SnapshotRows {
            snapshot: interval.cur(),
            interval: Some(interval),
            path: "",
            metadata: &[],
        };
        Columns::of_rows(intervals.map(rows), kinds)
    }

    /// The columns of chosen rows of a table over an interval, such as its groups. A table has no
    /// names of users, cgroups and commands but its titles. OutOfMemory where there is no memory.
    pub fn of_table(
        table: &(impl TaskTable + ?Sized),
        rows: &[u32],
        interval: &Interval,
        kinds: &[ColumnKind],
    ) -> Result<Columns, ParseError> {
        let mut columns: Vec<Column> = kinds.iter().map(|&kind| Column::new(kind)).collect();
        let types = columns.iter().map(Column::value_type);
        let mut memory = Memory::new(types, rows.len(), zeros)
            .ok_or(ParseError::new(ErrorKind::OutOfMemory, 0))?;
        let snapshot = SnapshotRows {
            snapshot: interval.cur(),
            interval: Some(interval),
            path: "",
            metadata: &[],
        };
        let whole = Block {
            rows: &snapshot,
            filled: FieldSet::EMPTY,
            in_all: FieldSet::EMPTY,
            first: 0,
            records: &[],
            places: 0..rows.len(),
            rows_before: 0,
        };
        for column in &mut columns {
            let Some(metric) = column.kind().metric() else {
                column.fill(&mut memory, &whole);
                continue;
            };
            for (place, &row) in rows.iter().enumerate() {
                column.fill_cell(&mut memory, place, table.cell(row as usize, metric));
            }
        }
        let builder =
            ColumnBuilder { columns, memory, allocate: zeros, len: rows.len(), rows_before: 0 };
        Ok(Columns::of_batch(builder, kinds))
    }

    fn of_batch(builder: ColumnBuilder, kinds: &[ColumnKind]) -> Columns {
        let (batch, dictionaries) = builder.finish();
        let texts = dictionaries.into_iter().map(Dictionary::into_strings).collect();
        Columns { kinds: kinds.into(), batches: vec![batch], texts }
    }

    /// The columns of several snapshots in one batch. OutOfMemory where there is no memory for
    /// them.
    pub fn of_rows<'a>(
        mut all: impl Iterator<Item = SnapshotRows<'a>> + Clone,
        kinds: &[ColumnKind],
    ) -> Result<Columns, ParseError> {
        let count = all.clone().map(|rows| rows.snapshot.len()).sum();
        let mut builder = ColumnBuilder::new(kinds, zeros);
        builder.reserve(count);
        all.try_for_each(|rows| builder.add(&rows))?;
        Ok(Columns::of_batch(builder, kinds))
    }
}

/// Builds a batch of columns.
pub struct ColumnBuilder {
    columns: Vec<Column>,
    memory: Memory,
    allocate: Allocate,
    len: usize,
    /// Number of rows of the previous snapshot.
    rows_before: usize,
}

impl ColumnBuilder {
    /// A builder of these columns.
    pub fn new(kinds: &[ColumnKind], allocate: Allocate) -> ColumnBuilder {
        let columns = kinds.iter().map(|&kind| Column::new(kind)).collect();
        ColumnBuilder { columns, memory: Memory::default(), allocate, len: 0, rows_before: 0 }
    }

    /// Makes room for that many rows in all, where there is memory for them.
    pub fn reserve(&mut self, room: usize) {
        if room > self.memory.room {
            // Without one, `add` grows the columns as rows come.
            let _reserved = self.resize(room);
        }
    }

    /// Moves all columns to memory with room for `room` rows; None, and nothing moves, where
    /// there is no memory.
    fn resize(&mut self, room: usize) -> Option<()> {
        let value_types = self.columns.iter().map(Column::value_type);
        let mut memory = Memory::new(value_types, room, self.allocate)?;
        for column in &mut self.columns {
            let Some(before) = column.start else { continue };
            let start = memory.reserve(column.value_type());
            let used = self.len * column.value_type().width();
            let from = &self.memory.words[before..].as_bytes()[..used];
            memory.words[start..].as_mut_bytes()[..used].copy_from_slice(from);
            column.start = Some(start);
        }
        self.memory = memory;
        Some(())
    }

    /// Appends a snapshot's records. OutOfMemory where there is no memory for them.
    pub fn add(&mut self, rows: &SnapshotRows<'_>) -> Result<(), ParseError> {
        let snapshot = rows.snapshot;
        if snapshot.is_empty() {
            // There may be no memory yet.
            self.rows_before = 0;
            return Ok(());
        }
        let (records, size) = (snapshot.record_bytes(), snapshot.layout().record_size());
        let end = self.len + snapshot.len();
        if end > self.memory.room {
            self.resize(end.max(2 * self.memory.room))
                .or_else(|| self.resize(end))
                .ok_or(ParseError::new(ErrorKind::OutOfMemory, 0))?;
        }
        let filled = snapshot.filled();
        let (begin, rows_before) = (self.len, self.rows_before);
        let block = |first: usize, records| {
            let len = <[u8]>::len(records) / size;
            let in_all = snapshot.masks(first..first + len).fold(filled, FieldSet::intersection);
            let places = begin + first..begin + first + len;
            Block { rows, filled, in_all, first, records, places, rows_before }
        };
        let whole = block(0, records);
        for column in self.columns.iter_mut().filter(|column| column.kind().is_of_snapshot()) {
            column.fill(&mut self.memory, &whole);
        }
        for (number, records) in records.chunks(size * BLOCK_ROWS).enumerate() {
            let block = block(number * BLOCK_ROWS, records);
            // The fastest first: the other columns then find the records in the cache.
            let words: Vec<_> =
                self.columns.iter().filter_map(|column| column.as_words(&block)).collect();
            block.copy_words(&mut self.memory.words, &words);
            for column in self.columns.iter_mut().filter(|column| !column.kind().is_of_snapshot()) {
                if column.as_words(&block).is_none() {
                    column.fill(&mut self.memory, &block);
                }
            }
        }
        self.rows_before = snapshot.len();
        self.len = end;
        Ok(())
    }

    /// The texts of each column so far, in the order of their codes.
    pub fn texts(&self) -> impl Iterator<Item = impl Iterator<Item = &str>> {
        self.columns.iter().map(|column| column.dictionary.texts())
    }

    /// Remaps the codes of the column at an index: `codes[old]` is the new code.
    pub fn remap_codes(&mut self, column: usize, codes: &[i32]) {
        // Texts in their old order need no change, nor does a column without a known text.
        if codes.iter().zip(0..).any(|(&new, old)| new != old) {
            let values = self.columns[column].values::<i32>(&mut self.memory, 0..self.len);
            for code in values {
                *code = codes.get(*code as usize).copied().unwrap_or(0);
            }
        }
    }

    /// Shrinks to fit: damaged frames may have declared many more rows than they have.
    pub fn trim(&mut self) {
        if self.len < self.memory.room / 2 {
            // Without memory for the copy the spare room stays.
            let _shrunk = self.resize(self.len);
        }
    }

    /// The batch, and the dictionary of each column.
    pub fn finish(mut self) -> (Batch, Vec<Dictionary>) {
        self.trim();
        let (len, free) = (self.len, self.memory.free);
        let finish = |mut column: Column| {
            if let Some(valid) = &mut column.valid {
                valid.resize(len.div_ceil(8), u8::MAX);
            }
            let value_type = column.value_type();
            // A column of zeros lies in the free memory, which has room for each of them.
            let start = column.start.unwrap_or(free);
            (Array { value_type, start, valid: column.valid }, column.dictionary)
        };
        let (columns, dictionaries) = self.columns.into_iter().map(finish).unzip();
        (Batch { len, columns, memory: self.memory.words }, dictionaries)
    }

    /// The word of the memory at which a column begins; None while all values are zero.
    #[cfg(test)]
    pub(super) fn start(&self, column: usize) -> Option<usize> {
        self.columns[column].start
    }

    /// Number of words of the memory.
    #[cfg(test)]
    pub(super) fn memory_words(&self) -> usize {
        self.memory.words.len()
    }
}
