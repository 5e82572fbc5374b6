//! Deltas that are not frames of a dump: each describes a snapshot by its difference from a base
//! that the writer and the reader know.

use super::decode::Apply;
use super::encode::Encoder;
use super::rows::Rows;
use super::{Advance, Side, Whole};
use crate::codec;
use crate::dump::column_sets::ColumnSets;
use crate::dump::field_table::{FieldTable, number};
use crate::error::{ErrorKind, ParseError};
use crate::fields::Field;
use crate::header::Header;
use crate::layout::Layout;
use crate::record::Record;
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
    table: FieldTable,
    sets: ColumnSets,
}

impl ChainReader {
    pub(crate) fn new(layout: &Layout) -> ChainReader {
        ChainReader { table: FieldTable::of_layout(layout), sets: ColumnSets::default() }
    }

    /// The reader for [`ChainWriter::without_clock`].
    pub(crate) fn without_clock(layout: &Layout) -> ChainReader {
        ChainReader { table: FieldTable::without_clock(layout), sets: ColumnSets::default() }
    }

    /// The snapshot of `rows` rows that differs from `base` by `delta`.
    pub(crate) fn read(
        &mut self,
        base: &Snapshot<SharedBytes>,
        rows: usize,
        delta: &[u8],
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        let whole = whole_of_base(&self.table, base)?;
        self.form(whole, rows, delta)
    }

    /// The same for the byte form of a base, whose records are all of its header's time.
    pub(crate) fn read_form(
        &mut self,
        base: Vec<u8>,
        rows: usize,
        delta: &[u8],
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        self.form(Whole::new(base)?, rows, delta)
    }

    fn form(
        &mut self,
        base: Whole<Vec<u8>>,
        rows: usize,
        delta: &[u8],
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        let form = self.apply(base, rows, delta).and_then(|rows| rows.to_form(&self.table));
        codec::decode(SharedBytes::new(form.ok_or(damaged())?))
    }

    /// What `make` makes of the snapshot of [`ChainReader::read_form`]: of its header, its layout,
    /// and its records, of which no copy is needed.
    pub(crate) fn read_records<T>(
        &mut self,
        base: Vec<u8>,
        rows: usize,
        delta: &[u8],
        make: impl FnOnce(&Header, &Layout, &mut dyn Iterator<Item = Record<'_>>) -> T,
    ) -> Result<T, ParseError> {
        let rows = self.apply(Whole::new(base)?, rows, delta).ok_or(damaged())?;
        Ok(make(rows.header(), rows.layout(), &mut rows.records()))
    }

    fn apply(&mut self, whole: Whole<Vec<u8>>, rows: usize, delta: &[u8]) -> Option<Rows> {
        // The deltas come from this process: nothing in them is a false promise.
        let apply = Apply { table: &self.table, rows, stored: usize::MAX };
        apply.run(Rows::of_owned(whole)?, &mut self.sets, delta)
    }
}

fn damaged() -> ParseError {
    ParseError::new(ErrorKind::BadValue, 0)
}

/// The byte form of a base, whose records may be older than its header. Their times go on to
/// that of the header, from which they are predicted.
fn whole_of_base(
    table: &FieldTable,
    base: &Snapshot<SharedBytes>,
) -> Result<Whole<Vec<u8>>, ParseError> {
    let mut whole = Whole::new(codec::encode(base))?;
    let (size, swapped) = (table.record_size, whole.layout.is_swapped());
    let Some(time_at) = whole.layout.offset(Field::ac_time_ns) else { return Ok(whole) };
    let (advance, to_ns) = (Advance::new(table, swapped), whole.clock_ns);
    let living = whole.records.start..whole.records.start + whole.living * size;
    for row in whole.bytes[living].chunks_exact_mut(size) {
        let from_ns = number(row, time_at, 8, swapped);
        if from_ns != 0 {
            advance.row(row, from_ns, to_ns);
        }
    }
    Ok(whole)
}
