//! Applies deltas.

use super::rows::{Next, Rows};
use super::{Advance, expected, op};
use crate::codec;
use crate::dump::column_sets::ColumnSets;
use crate::dump::field_table::{FieldTable, number, set_number};
use crate::dump::limits::{self, Rows as Proof};
use crate::dump::{Input, unzigzag};

/// What the payload of a delta is applied with.
pub(in crate::dump) struct Apply<'a> {
    /// The columns of both snapshots' records.
    pub(in crate::dump) table: &'a FieldTable,
    /// The number of records that the frame declares.
    pub(in crate::dump) rows: usize,
    /// The bytes that are stored for the frame and for those that it builds on.
    pub(in crate::dump) stored: usize,
}

impl Apply<'_> {
    /// The snapshot that `payload` describes, after that of `before`; None if it describes none.
    /// New sets are added to `sets`.
    pub(in crate::dump) fn run(
        &self,
        mut before: Rows,
        sets: &mut ColumnSets,
        payload: &[u8],
    ) -> Option<Rows> {
        let table = self.table;
        let mut input = Input::new(payload);
        let clock_ns = before.clock_ns().wrapping_add(unzigzag(input.varint()?));
        let order = codec::is_swapped(&before.form);
        let form = take_header(&mut input, &before.form, order)?;
        let at = form.len();
        if codec::header_length(&form) != Some(at) || codec::is_swapped(&form) != order {
            return None;
        }
        let head = codec::decode_head(&form, usize::MAX).ok()?;
        let (count, size) = (self.rows, table.record_size);
        if codec::records(&form)? != (count, size)
            || head.layout != before.head.layout
            || clock_ns != head.header.begin.monotonic_ns
        {
            return None;
        }
        let new_sets = input.length().filter(|&new| new <= count)?;
        for _ in 0..new_sets {
            sets.read(&mut input, table.mask_index(), self.stored)?;
        }
        let living = count.checked_sub(head.header.exited as usize)?;
        let proof = Proof::of(count, size, self.stored);
        before.release();
        let mut rows = RowReader {
            input,
            table,
            sets,
            advance: Advance::new(table, before.head.layout.is_swapped()),
            like: (0..table.entries.len()).filter(|&at| table.entries[at].like.is_some()).collect(),
            distinct: proof.proof()?,
            living,
            clock_ns,
            before_ns: before.clock_ns(),
            base: vec![0; size],
            before: &mut before,
            order: Vec::new(),
            masks: Vec::new(),
            written: Vec::new(),
            cursor: 0,
            kept: 0,
        };
        while rows.masks.len() < count {
            rows.operation(count)?;
        }
        let RowReader { input, order, masks, written, .. } = rows;
        let (known, indices) = (head.header.masks.len(), head.mask_indices.len());
        let are_known = || masks.iter().all(|&mask| usize::from(mask) < known);
        let is_valid = match indices {
            0 => known == 1,
            _ => indices == count && (known == 1 || (known > 1 && are_known())),
        };
        let next = Next { form, head, order, masks, written };
        (input.is_empty() && is_valid).then(|| before.into_next(next))
    }
}

/// Reads the rows of a delta.
struct RowReader<'a> {
    input: Input<'a>,
    table: &'a FieldTable,
    sets: &'a ColumnSets,
    advance: Advance<'a>,
    /// The entries that grow as another one does.
    like: Vec<usize>,
    /// Rows that are not copies of earlier ones, if they have to prove that they are real.
    distinct: Option<limits::Distinct>,
    /// Rows of tasks that have not died.
    living: usize,
    /// The snapshot's time and that of the one before, in ns of CLOCK_MONOTONIC.
    clock_ns: u64,
    before_ns: u64,
    /// The row that a row is compared with.
    base: Vec<u8>,
    /// The rows of the snapshot before, whose slots have room for new records.
    before: &'a mut Rows,
    /// The rows so far: slots, indices of masks, and which were written.
    order: Vec<u32>,
    masks: Vec<u8>,
    written: Vec<u32>,
    /// A row of the snapshot before.
    cursor: usize,
    /// The number of rows that were copied.
    kept: usize,
}

impl RowReader<'_> {
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
                (cursor <= self.before.len()).then_some(())
            }
            operation => self.row(operation == op::CHANGE, argument?, begin),
        }
    }

    /// Copies rows from the cursor on. A snapshot has no more copies than there are rows in
    /// the one before.
    fn keep(&mut self, run: usize) -> Option<()> {
        let end = self.cursor.checked_add(run).filter(|&end| end <= self.before.len())?;
        self.kept += run;
        if self.kept > self.before.len() {
            return None;
        }
        limits::reserve(&mut self.order, run)?;
        limits::reserve(&mut self.masks, run)?;
        let living = self.living.saturating_sub(self.masks.len()).min(run);
        let (kept, dead) = (self.cursor..self.cursor + living, self.cursor + living..end);
        self.order.extend_from_slice(&self.before.order[kept.clone()]);
        self.masks.extend_from_slice(&self.before.masks[kept]);
        // The times of the dead stay as they were.
        for row in dead {
            self.take_base(row, self.before_ns);
            let mask = self.before.masks[row];
            self.push(mask)?;
        }
        self.cursor = end;
        Some(())
    }

    /// Makes a row of the snapshot before the base, as it is at `clock_ns`.
    fn take_base(&mut self, row: usize, clock_ns: u64) {
        let slot = self.before.order[row];
        self.base.copy_from_slice(self.before.slots.get(slot));
        self.advance.row(&mut self.base, self.before.slots.clock_ns(slot), clock_ns);
    }

    /// Appends a row with a copy of the base. Returns its slot.
    fn push(&mut self, mask: u8) -> Option<u32> {
        let slot = self.before.slots.add(&self.base, self.clock_ns)?;
        limits::reserve(&mut self.order, 1)?;
        limits::reserve(&mut self.written, 1)?;
        limits::reserve(&mut self.masks, 1)?;
        self.written.push(self.order.len() as u32);
        self.order.push(slot);
        self.masks.push(mask);
        Some(slot)
    }

    /// Reads a row that differs in the columns of a set from the row at the cursor
    /// (`changed`), else from zeros. Its operation begins at `begin` of the input.
    fn row(&mut self, changed: bool, set: usize, begin: usize) -> Option<()> {
        let (place, mut mask) = (self.cursor, 0);
        if changed {
            mask = *self.before.masks.get(place)?;
            let is_living = self.masks.len() < self.living;
            self.take_base(place, if is_living { self.clock_ns } else { self.before_ns });
            self.cursor += 1;
        } else {
            self.base.fill(0);
        }
        let slot = self.push(mask)?;
        let set = self.sets.get(set)?;
        let row = self.before.slots.get_mut(slot);
        let new_mask = take_row(
            self.table,
            set,
            &self.like,
            &mut self.input,
            &self.base,
            row,
            self.advance.swapped,
        )?;
        if let (Some(new_mask), Some(mask)) = (new_mask, self.masks.last_mut()) {
            *mask = new_mask;
        }
        if let Some(distinct) = &mut self.distinct {
            let place = if changed { place } else { usize::MAX };
            distinct.is_new(place, &self.input.bytes[begin..self.input.at]).then_some(())?;
        }
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

/// Changes a row, which is the same as `base`, in the entries of `set`, and those that grow
/// like others (`like`). Returns the index of its mask where the set has it.
fn take_row(
    table: &FieldTable,
    set: &[u16],
    like: &[usize],
    input: &mut Input<'_>,
    base: &[u8],
    row: &mut [u8],
    swapped: bool,
) -> Option<Option<u8>> {
    let mut changed = set.iter().map(|&entry| usize::from(entry)).peekable();
    let mut like = like.iter().copied().peekable();
    // In the order of the table: an entry may grow like one before it.
    loop {
        let position = match (changed.peek(), like.peek()) {
            (None, None) => return Some(None),
            (Some(&position), None) | (None, Some(&position)) => position,
            (Some(&one), Some(&other)) => one.min(other),
        };
        let is_changed = changed.next_if_eq(&position).is_some();
        let _is_like = like.next_if_eq(&position);
        let Some(entry) = table.entries.get(position) else {
            return Some(Some(*input.take(1)?.first()?));
        };
        if !entry.is_number() {
            let place = &mut row[entry.offset..entry.offset + entry.width];
            place.copy_from_slice(input.take(entry.width)?);
            continue;
        }
        let mut value = expected(table, entry, base, row, swapped);
        if is_changed {
            value = value.wrapping_add(unzigzag(input.varint()?));
        }
        set_number(row, entry.offset, entry.width, swapped, value);
    }
}
