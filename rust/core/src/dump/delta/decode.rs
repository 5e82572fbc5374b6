//! Applies deltas.

use super::{Advance, Sets, Whole, expected, op};
use crate::codec;
use crate::dump::field_table::{FieldTable, number, set_number};
use crate::dump::{Input, unzigzag};

/// The byte form of the snapshot that `payload` makes of `prev`; None where the payload
/// does not fit it. Appends the sets of entries that the payload defines to `sets`.
pub(in crate::dump) fn apply<B: AsRef<[u8]>>(
    table: &FieldTable,
    sets: &mut Sets,
    prev: &Whole<B>,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let mut input = Input::new(payload);
    let clock_ns = prev.clock_ns.wrapping_add(unzigzag(input.varint()?));
    let order = codec::is_swapped(prev.bytes.as_ref());
    let mut out = take_header(&mut input, prev.header(), order)?;
    let begin = out.len();
    if codec::header_length(&out) != Some(begin) || codec::is_swapped(&out) != order {
        return None;
    }
    let size = table.record_size;
    let count = usize::try_from(number(&out, 16, 8, order)).ok()?;
    let records_end = (begin + count.checked_mul(size)?) as u64;
    let mask_indices = number(&out, 40, 8, order).checked_sub(records_end)?;
    // Each row is in the snapshot before or takes at least a byte.
    if count > prev.len() + payload.len() || size != prev.layout.record_size() {
        return None;
    }
    for _ in 0..input.length()? {
        sets.push(take_set(&mut input, table)?);
    }
    let swapped = prev.layout.is_swapped();
    let living = count.checked_sub(codec::exited(&out)? as usize)?;
    out.resize(begin + count * size, 0);
    let mut rows = Rows {
        table,
        prev,
        advance: Advance::new(table, swapped, prev.clock_ns, clock_ns),
        swapped,
        living,
        records: &mut out[begin..],
        masks: vec![0; count],
        row: 0,
        cursor: 0,
        kept: 0,
        base: vec![0; size],
    };
    while rows.row < count {
        rows.step(&mut input, sets)?;
    }
    let mut masks = rows.masks;
    match usize::try_from(mask_indices).ok()? {
        0 => {}
        length if length == count => out.append(&mut masks),
        _ => return None,
    }
    input.is_empty().then_some(out)
}

/// The rows of the snapshot that a delta makes.
struct Rows<'a, B> {
    table: &'a FieldTable,
    prev: &'a Whole<B>,
    advance: Advance<'a>,
    swapped: bool,
    /// Number of rows of living tasks.
    living: usize,
    records: &'a mut [u8],
    masks: Vec<u8>,
    /// The next row to write.
    row: usize,
    /// The next row of the snapshot before.
    cursor: usize,
    /// Number of rows kept so far.
    kept: usize,
    /// The prediction of a row.
    base: Vec<u8>,
}

impl<B: AsRef<[u8]>> Rows<'_, B> {
    /// Executes the next operation; None where it is not valid.
    fn step(&mut self, input: &mut Input<'_>, sets: &Sets) -> Option<()> {
        let operation = input.varint()?;
        let argument = operation >> 2;
        match operation & 3 {
            op::KEEP => self.keep(usize::try_from(argument).ok()?),
            op::MOVE => self.seek(unzigzag(argument)),
            operation => {
                let set = sets.get(usize::try_from(argument).ok()?)?;
                self.write(operation == op::CHANGE, set, input)
            }
        }
    }

    fn keep(&mut self, run: usize) -> Option<()> {
        let size = self.table.record_size;
        let end = self.row.checked_add(run).filter(|&end| end <= self.masks.len() && run > 0)?;
        let from = self.cursor * size..self.cursor.checked_add(run)?.checked_mul(size)?;
        let from = self.prev.records().get(from)?;
        // A short input must not make many rows: each row is kept at most once.
        self.kept += run;
        if self.kept > self.prev.len() {
            return None;
        }
        self.records[self.row * size..end * size].copy_from_slice(from);
        for row in self.row..end {
            if row < self.living {
                self.advance.row(&mut self.records[row * size..][..size]);
            }
            self.masks[row] = self.prev.mask_index(self.cursor + row - self.row);
        }
        self.cursor += run;
        self.row = end;
        Some(())
    }

    fn seek(&mut self, step: u64) -> Option<()> {
        self.cursor = usize::try_from((self.cursor as u64).wrapping_add(step)).ok()?;
        (self.cursor <= self.prev.len()).then_some(())
    }

    /// Writes a row that differs from its prediction in the entries of `set`.
    fn write(&mut self, is_change: bool, set: &[usize], input: &mut Input<'_>) -> Option<()> {
        let size = self.table.record_size;
        if is_change {
            let end = self.cursor.checked_add(1)?.checked_mul(size)?;
            let from = self.prev.records().get(self.cursor.checked_mul(size)?..end)?;
            self.base.copy_from_slice(from);
            self.masks[self.row] = self.prev.mask_index(self.cursor);
            if self.row < self.living {
                self.advance.row(&mut self.base);
            }
            self.cursor += 1;
        } else {
            self.base.fill(0);
        }
        let place = &mut self.records[self.row * size..][..size];
        let mask = take_row(self.table, set, input, &self.base, place, self.swapped)?;
        if let Some(mask) = mask {
            self.masks[self.row] = mask;
        }
        self.row += 1;
        Some(())
    }
}

fn take_header(input: &mut Input<'_>, prev: &[u8], swapped: bool) -> Option<Vec<u8>> {
    let length = input.length()?;
    if length > 0 {
        return input.take(length).map(<[u8]>::to_vec);
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

fn take_set(input: &mut Input<'_>, table: &FieldTable) -> Option<Vec<usize>> {
    let length = input.length().filter(|&length| length <= table.entries.len() + 1)?;
    let mut set = Vec::with_capacity(length);
    let mut last = 0_usize;
    for index in 0..length {
        let gap = input.length()?;
        last = last.checked_add(gap)?;
        // The mask index counts as the entry after the last.
        if last > table.entries.len() || (index > 0 && gap == 0) {
            return None;
        }
        set.push(last);
    }
    Some(set)
}

/// Writes a row that differs from `base` in the entries of `set`. Returns the index of its
/// mask where the set has it.
fn take_row(
    table: &FieldTable,
    set: &[usize],
    input: &mut Input<'_>,
    base: &[u8],
    row: &mut [u8],
    swapped: bool,
) -> Option<Option<u8>> {
    row.copy_from_slice(base);
    let mut changed = set.iter().copied().peekable();
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
