//! Applies deltas.

use super::{Advance, Whole, expected, op};
use crate::codec;
use crate::dump::column_sets::ColumnSets;
use crate::dump::field_table::{FieldTable, number, set_number};
use crate::dump::limits::{self, Rows};
use crate::dump::{Input, unzigzag};

/// A payload is applied to the snapshot before it.
pub(in crate::dump) struct Apply<'a, B> {
    /// The columns of both snapshots' records.
    pub(in crate::dump) table: &'a FieldTable,
    /// The snapshot before.
    pub(in crate::dump) prev: &'a Whole<B>,
    /// The number of records that the frame declares.
    pub(in crate::dump) rows: usize,
    /// The bytes that are stored for the frame and for those that it builds on.
    pub(in crate::dump) stored: usize,
}

impl<B: AsRef<[u8]>> Apply<'_, B> {
    /// The byte form of the snapshot that `payload` describes; None if it describes none. New
    /// sets are added to `sets`.
    pub(in crate::dump) fn run(&self, sets: &mut ColumnSets, payload: &[u8]) -> Option<Vec<u8>> {
        let (table, prev) = (self.table, self.prev);
        let mut input = Input::new(payload);
        let clock_ns = prev.clock_ns.wrapping_add(unzigzag(input.varint()?));
        let order = codec::is_swapped(prev.bytes.as_ref());
        let mut out = take_header(&mut input, prev.header(), order)?;
        let at = out.len();
        if codec::header_length(&out) != Some(at) || codec::is_swapped(&out) != order {
            return None;
        }
        let (count, size) = codec::records(&out)?;
        if count != self.rows || size != table.record_size || size != prev.layout.record_size() {
            return None;
        }
        let length = at.checked_add(count.checked_mul(size)?)?;
        let indices = codec::total_length(&out)?.checked_sub(length)?;
        let new_sets = input.length().filter(|&new| new <= count)?;
        for _ in 0..new_sets {
            sets.read(&mut input, table.mask_index(), self.stored)?;
        }
        let living = count.checked_sub(codec::exited(&out)? as usize)?;
        let memory = Rows::of(count, size, self.stored);
        if memory == Rows::Free {
            limits::reserve(&mut out, length - at + count)?;
        }
        let mut rows = RowReader {
            input,
            table,
            sets,
            prev,
            advance: Advance::new(table, prev.layout.is_swapped(), prev.clock_ns, clock_ns),
            distinct: memory.proof()?,
            living,
            base: vec![0; size],
            out,
            masks: Vec::new(),
            cursor: 0,
            kept: 0,
        };
        while rows.masks.len() < count {
            rows.operation(count)?;
        }
        let RowReader { input, mut out, mut masks, .. } = rows;
        match indices {
            0 => {}
            indices if indices == count => {
                limits::reserve(&mut out, count)?;
                out.append(&mut masks);
            }
            _ => return None,
        }
        input.is_empty().then_some(out)
    }
}

/// Reads the rows of a delta.
struct RowReader<'a, B> {
    input: Input<'a>,
    table: &'a FieldTable,
    sets: &'a ColumnSets,
    prev: &'a Whole<B>,
    advance: Advance<'a>,
    /// Rows that are not copies of earlier ones, if they have to prove that they are real.
    distinct: Option<limits::Distinct>,
    /// Rows of tasks that have not died.
    living: usize,
    /// The row that a row is compared with.
    base: Vec<u8>,
    /// The snapshot's bytes, as far as they are read.
    out: Vec<u8>,
    /// The index of each row's mask.
    masks: Vec<u8>,
    /// A row of the snapshot before.
    cursor: usize,
    /// The number of rows that were copied.
    kept: usize,
}

impl<B: AsRef<[u8]>> RowReader<'_, B> {
    /// Reads an operation; there are `count` rows in all.
    fn operation(&mut self, count: usize) -> Option<()> {
        let begin = self.input.at;
        let operation = self.input.varint()?;
        let argument = usize::try_from(operation >> 2).ok();
        match operation & 3 {
            op::KEEP => {
                let left = count - self.masks.len();
                self.keep(argument.filter(|run| (1..=left).contains(run))?)
            }
            op::MOVE => {
                let step = unzigzag(operation >> 2);
                let cursor = usize::try_from((self.cursor as u64).wrapping_add(step)).ok()?;
                self.cursor = cursor;
                (cursor <= self.prev.len()).then_some(())
            }
            operation => self.row(operation == op::CHANGE, argument?, begin),
        }
    }

    /// Copies rows from the cursor on. A snapshot has no more copies than there are rows in
    /// the one before.
    fn keep(&mut self, run: usize) -> Option<()> {
        let size = self.table.record_size;
        let end = self.cursor.checked_add(run)?;
        let from = self.prev.records().get(self.cursor * size..end.checked_mul(size)?)?;
        self.kept += run;
        if self.kept > self.prev.len() {
            return None;
        }
        let begin = self.out.len();
        limits::reserve(&mut self.out, from.len())?;
        self.out.extend_from_slice(from);
        let living = self.living.saturating_sub(self.masks.len()).min(run);
        for row in self.out[begin..].chunks_exact_mut(size).take(living) {
            self.advance.row(row);
        }
        limits::reserve(&mut self.masks, run)?;
        self.masks.extend((self.cursor..end).map(|row| self.prev.mask_index(row)));
        self.cursor = end;
        Some(())
    }

    /// Reads a row that differs in the columns of a set from the row at the cursor
    /// (`changed`), else from zeros. Its operation begins at `begin` of the input.
    fn row(&mut self, changed: bool, set: usize, begin: usize) -> Option<()> {
        let (size, at) = (self.table.record_size, self.out.len());
        let (place, mut mask) = (self.cursor, 0);
        if changed {
            let end = self.cursor.checked_add(1)?.checked_mul(size)?;
            self.base.copy_from_slice(self.prev.records().get(end - size..end)?);
            mask = self.prev.mask_index(self.cursor);
            if self.masks.len() < self.living {
                self.advance.row(&mut self.base);
            }
            self.cursor += 1;
        } else {
            self.base.fill(0);
        }
        limits::reserve(&mut self.out, size)?;
        self.out.extend_from_slice(&self.base);
        let (set, swapped) = (self.sets.get(set)?, self.advance.swapped);
        let row = &mut self.out[at..];
        let new_mask = take_row(self.table, set, &mut self.input, &self.base, row, swapped)?;
        if let Some(distinct) = &mut self.distinct {
            let place = if changed { place } else { usize::MAX };
            distinct.is_new(place, &self.input.bytes[begin..self.input.at]).then_some(())?;
        }
        limits::reserve(&mut self.masks, 1)?;
        self.masks.push(new_mask.unwrap_or(mask));
        Some(())
    }
}

fn take_header(input: &mut Input<'_>, prev: &[u8], swapped: bool) -> Option<Vec<u8>> {
    let length = input.length()?;
    if length > 0 {
        let header = input.take(length)?;
        return (length <= codec::LARGEST_HEADER).then(|| header.to_vec());
    }
    let mut header = prev.to_vec();
    let words = header.len() / 8;
    let mut at = 0;
    while at < words {
        at = at.checked_add(input.length()?)?;
        let changed = input.length()?;
        let end = at.checked_add(changed).filter(|&end| end <= words)?;
        if changed == 0 && end < words {
            return None;
        }
        for index in at..end {
            let change = unzigzag(input.varint()?);
            let new = number(&header, index * 8, 8, swapped).wrapping_add(change);
            set_number(&mut header, index * 8, 8, swapped, new);
        }
        at = end;
    }
    Some(header)
}

/// Changes a row, which is the same as `base`, in the entries of `set`. Returns the index of its
/// mask where the set has it.
fn take_row(
    table: &FieldTable,
    set: &[u16],
    input: &mut Input<'_>,
    base: &[u8],
    row: &mut [u8],
    swapped: bool,
) -> Option<Option<u8>> {
    let mut changed = set.iter().map(|&entry| usize::from(entry)).peekable();
    for (position, entry) in table.entries.iter().enumerate() {
        let is_changed = changed.next_if_eq(&position).is_some();
        if !entry.is_number() {
            if is_changed {
                let place = &mut row[entry.offset..entry.offset + entry.width];
                place.copy_from_slice(input.take(entry.width)?);
            }
            continue;
        }
        if !is_changed && entry.like.is_none() {
            continue;
        }
        let mut value = expected(table, entry, base, row, swapped);
        if is_changed {
            value = value.wrapping_add(unzigzag(input.varint()?));
        }
        set_number(row, entry.offset, entry.width, swapped, value);
    }
    match changed.next() {
        Some(_) => Some(Some(*input.take(1)?.first()?)),
        None => Some(None),
    }
}
