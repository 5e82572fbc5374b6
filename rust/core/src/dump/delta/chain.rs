//! Deltas that are not frames of a dump: each describes a snapshot by its difference from a base
//! that the writer and the reader know.

use super::Side;
use super::decode::Apply;
use super::encode::Encoder;
use super::rows::Rows;
use crate::codec;
use crate::dump::column_sets::ColumnSets;
use crate::dump::field_table::FieldTable;
use crate::error::{ErrorKind, ParseError};
use crate::fields::Field;
use crate::header::Header;
use crate::layout::Layout;
use crate::snapshot::{SharedBytes, Snapshot};

/// Writes deltas between snapshots of one layout.
pub(crate) struct ChainWriter {
    table: FieldTable,
    encoder: Encoder,
}

impl ChainWriter {
    /// A writer for records that follow the clock.
    pub(crate) fn new(layout: &Layout) -> ChainWriter {
        ChainWriter { table: FieldTable::of_layout(layout), encoder: Encoder::default() }
    }

    /// A writer for records none of which follows the clock.
    pub(crate) fn without_clock(layout: &Layout) -> ChainWriter {
        ChainWriter { table: FieldTable::without_clock(layout), encoder: Encoder::default() }
    }

    /// The difference of `snapshot` from `records` under a header, than which they may be older.
    /// `masks` are the indices of their masks, all 0 where it is empty.
    pub(crate) fn delta<B: AsRef<[u8]>>(
        &mut self,
        (header, records, masks): (&Header, &[u8], &[u8]),
        snapshot: &Snapshot<B>,
    ) -> Vec<u8> {
        let layout = snapshot.layout();
        let count = records.len() / layout.record_size();
        let base_form = codec::encode_head(header, layout, count);
        let form = codec::encode_head(snapshot.header(), layout, snapshot.len());
        let prev = Side {
            living: count.saturating_sub(header.exited as usize),
            clock_ns: header.begin.monotonic_ns,
            time: layout.offset(Field::ac_time_ns),
            ..Side::new(layout, &base_form, records, masks)
        };
        let mut records = snapshot.record_bytes().to_vec();
        let cur = Side {
            living: snapshot.living(),
            clock_ns: snapshot.header().begin.monotonic_ns,
            ..Side::new(layout, &form, &mut records[..], snapshot.mask_indices())
        };
        self.encoder.encode(&self.table, &prev, cur, 0)
    }
}

/// Reads the deltas of a writer, in their order.
pub(crate) struct ChainReader {
    layout: Layout,
    table: FieldTable,
    sets: ColumnSets,
}

impl ChainReader {
    pub(crate) fn new(layout: &Layout) -> ChainReader {
        ChainReader::with_table(layout, FieldTable::of_layout(layout))
    }

    /// The reader for [`ChainWriter::without_clock`].
    pub(crate) fn without_clock(layout: &Layout) -> ChainReader {
        ChainReader::with_table(layout, FieldTable::without_clock(layout))
    }

    fn with_table(layout: &Layout, table: FieldTable) -> ChainReader {
        ChainReader { layout: layout.clone(), table, sets: ColumnSets::default() }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The next delta is the first of a writer.
    pub(crate) fn restart(&mut self) {
        self.sets = ColumnSets::default();
    }

    /// The snapshot of `rows` rows that differs from records by `delta`; these are as of
    /// [`ChainWriter::delta`].
    pub(crate) fn read(
        &mut self,
        base: (&Header, Vec<u8>, &[u8]),
        rows: usize,
        delta: &[u8],
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        let rows = self.rows(base, Some((rows, delta)))?;
        self.snapshot(&rows)
    }

    /// The rows of this snapshot; those of the base where there is no delta.
    pub(crate) fn rows(
        &mut self,
        (header, records, masks): (&Header, Vec<u8>, &[u8]),
        delta: Option<(usize, &[u8])>,
    ) -> Result<Rows, ParseError> {
        let base = Rows::of_records(header, &self.layout, records, masks).ok_or(damaged())?;
        let Some((rows, delta)) = delta else { return Ok(base) };
        // The deltas come from this process: nothing in them is a false promise.
        let apply = Apply { table: &self.table, rows, stored: usize::MAX };
        apply.run(base, &mut self.sets, delta).ok_or(damaged())
    }

    /// The snapshot of these rows.
    pub(crate) fn snapshot(&self, rows: &Rows) -> Result<Snapshot<SharedBytes>, ParseError> {
        rows.to_snapshot(&self.table).ok_or(damaged())
    }
}

fn damaged() -> ParseError {
    ParseError::new(ErrorKind::BadValue, 0)
}
