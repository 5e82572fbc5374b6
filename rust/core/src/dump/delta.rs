//! What differs from the snapshot before, on the byte forms of both.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Range;

use super::field_table::{FieldEntry, FieldTable, Rule, number, set_number};
use super::{Input, put_varint, unzigzag, zigzag};
use crate::codec;
use crate::fields::Field;
use crate::layout::Layout;

/// Sets of columns that changed together, numbered since the last full frame.
pub(super) type Sets = Vec<Vec<usize>>;

mod op {
    /// That many rows from the cursor on are as expected.
    pub(super) const KEEP: u64 = 0;
    /// The row at the cursor differs in that set of columns.
    pub(super) const CHANGE: u64 = 1;
    /// The cursor moves by that much, zigzag.
    pub(super) const MOVE: u64 = 2;
    /// A row that was not there, compared with zeros.
    pub(super) const NEW: u64 = 3;
}

/// A snapshot's byte form, and where what a delta needs stands in it.
#[derive(Clone)]
pub(super) struct Whole<B> {
    pub(super) bytes: B,
    layout: Layout,
    records: Range<usize>,
    /// Rows of tasks that have not died.
    living: usize,
    /// CLOCK_MONOTONIC at the snapshot's begin.
    clock_ns: u64,
    /// Where a record has its pid.
    pid: Option<usize>,
}

impl<B: AsRef<[u8]>> Whole<B> {
    pub(super) fn new(bytes: B) -> Result<Whole<B>, crate::ParseError> {
        let snapshot = codec::decode(bytes.as_ref())?;
        let layout = snapshot.layout().clone();
        let begin = codec::header_length(bytes.as_ref()).unwrap_or(0);
        let exited = snapshot.header().exited as usize;
        Ok(Whole {
            records: begin..begin + snapshot.record_bytes().len(),
            living: snapshot.len().saturating_sub(exited),
            clock_ns: snapshot.header().begin.monotonic_ns,
            pid: layout.offset(Field::ac_pid),
            layout,
            bytes,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.records.len() / self.layout.record_size()
    }

    fn header(&self) -> &[u8] {
        &self.bytes.as_ref()[..self.records.start]
    }

    fn records(&self) -> &[u8] {
        &self.bytes.as_ref()[self.records.clone()]
    }

    fn mask_index(&self, row: usize) -> u8 {
        self.bytes.as_ref().get(self.records.end + row).copied().unwrap_or(0)
    }

    fn pid(&self, row: usize) -> Option<u64> {
        let size = self.layout.record_size();
        let record = self.records().get(row * size..(row + 1) * size)?;
        Some(number(record, self.pid?, 4, self.layout.is_swapped()))
    }
}

/// How the columns go on by themselves from one snapshot to the next.
struct Advance<'a> {
    columns: Vec<&'a FieldEntry>,
    ns: u64,
    us: u64,
    swapped: bool,
}

impl<'a> Advance<'a> {
    fn new(table: &'a FieldTable, swapped: bool, from: u64, to: u64) -> Advance<'a> {
        let moving = |column: &&FieldEntry| matches!(column.rule, Rule::ClockNs | Rule::ClockUs);
        Advance {
            columns: table.entries.iter().filter(moving).collect(),
            ns: to.wrapping_sub(from),
            // A difference of quotients, so that rounding does not add up.
            us: (to / 1000).wrapping_sub(from / 1000),
            swapped,
        }
    }

    /// Makes a row what it is expected to be next. A time of zero is none.
    fn row(&self, row: &mut [u8]) {
        for column in &self.columns {
            let old = number(row, column.offset, column.width, self.swapped);
            if old != 0 {
                let step = if column.rule == Rule::ClockNs { self.ns } else { self.us };
                let new = old.wrapping_add(step);
                set_number(row, column.offset, column.width, self.swapped, new);
            }
        }
    }
}

/// What a column is expected to hold, once the columns before it are known.
fn expected(
    table: &FieldTable,
    column: &FieldEntry,
    base: &[u8],
    row: &[u8],
    swapped: bool,
) -> u64 {
    let old = number(base, column.offset, column.width, swapped);
    let Some(like) = column.like.and_then(|like| table.entries.get(like)) else { return old };
    let before = number(base, like.offset, like.width, swapped);
    let now = number(row, like.offset, like.width, swapped);
    cut(old.wrapping_add(now.wrapping_sub(before)), column.width)
}

/// A number cut to `width` bytes.
const fn cut(number: u64, width: usize) -> u64 {
    let unused = 64 - 8 * width as u32;
    number << unused >> unused
}

/// A difference of `width` bytes as one of eight, its sign kept.
const fn widen(number: u64, width: usize) -> u64 {
    let unused = 64 - 8 * width as u32;
    ((number << unused).cast_signed() >> unused).cast_unsigned()
}

/// Makes deltas; remembers which sets of columns the frames since the last full one have
/// named.
#[derive(Default)]
pub(super) struct Encoder {
    sets: HashMap<Vec<usize>, u64>,
}

impl Encoder {
    /// The delta from `prev` to the byte form `cur`. In `cur`, times that go on by
    /// themselves are set to what a reader will see: within `tolerance_ns` of what they
    /// were.
    pub(super) fn encode<B: AsRef<[u8]>>(
        &mut self,
        table: &FieldTable,
        prev: &Whole<B>,
        cur: &mut Whole<Vec<u8>>,
        tolerance_ns: u64,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, zigzag(cur.clock_ns.wrapping_sub(prev.clock_ns)));
        put_header(&mut out, prev.header(), cur.header(), codec::is_swapped(&cur.bytes));

        let swapped = cur.layout.is_swapped();
        let advance = Advance::new(table, swapped, prev.clock_ns, cur.clock_ns);
        let size = table.record_size;
        let (at, living) = (cur.records.start, cur.living);
        let pids = Pids::new(prev);
        let (mut ops, mut new_sets, mut added) = (Ops::default(), Vec::new(), 0);
        let mut base = vec![0; size];
        for index in 0..cur.len() {
            let matched = cur.pid(index).and_then(|pid| pids.find(pid, ops.cursor));
            match matched {
                Some(old) => {
                    base.copy_from_slice(&prev.records()[old * size..][..size]);
                    ops.go(old);
                    if index < living {
                        advance.row(&mut base);
                    }
                }
                None => base.fill(0),
            }
            let mask_before = matched.map_or(0, |old| prev.mask_index(old));
            let mask = cur.mask_index(index);
            let row = &mut cur.bytes[at + index * size..][..size];
            if matched.is_some() && index < living {
                settle(table, &base, row, swapped, tolerance_ns);
            }
            if matched.is_some() && *row == base && mask == mask_before {
                ops.keep();
                continue;
            }
            let mut set = Vec::new();
            let mut values = Vec::new();
            for (position, column) in table.entries.iter().enumerate() {
                let place = column.offset..column.offset + column.width;
                if column.is_number() {
                    let expected = expected(table, column, &base, row, swapped);
                    let actual = number(row, column.offset, column.width, swapped);
                    if actual != expected {
                        set.push(position);
                        let change = widen(actual.wrapping_sub(expected), column.width);
                        put_varint(&mut values, zigzag(change));
                    }
                } else if row[place.clone()] != base[place.clone()] {
                    set.push(position);
                    values.extend_from_slice(&row[place]);
                }
            }
            if mask != mask_before {
                set.push(table.entries.len());
                values.push(mask);
            }
            let next = self.sets.len() as u64;
            let number = *self.sets.entry(set).or_insert_with_key(|set| {
                added += 1;
                put_set(&mut new_sets, set);
                next
            });
            ops.row(if matched.is_some() { op::CHANGE } else { op::NEW }, number, &values);
        }
        put_varint(&mut out, added);
        out.append(&mut new_sets);
        out.append(&mut ops.finish());
        out
    }
}

/// Takes times that go on by themselves for what is expected, where they are near it.
fn settle(table: &FieldTable, base: &[u8], row: &mut [u8], swapped: bool, tolerance_ns: u64) {
    for column in &table.entries {
        let tolerance = match column.rule {
            Rule::Same => continue,
            Rule::ClockNs | Rule::Derived => tolerance_ns,
            Rule::ClockUs => tolerance_ns / 1000 + 1,
        };
        let expected = number(base, column.offset, column.width, swapped);
        let actual = number(row, column.offset, column.width, swapped);
        if expected != 0 && actual != 0 && actual.abs_diff(expected) <= tolerance {
            set_number(row, column.offset, column.width, swapped, expected);
        }
    }
}

/// Which row of the snapshot before is of the same pid. A pid used again makes a longer
/// delta, not a wrong one.
struct Pids<'a, B> {
    prev: &'a Whole<B>,
    rows: OnceCell<HashMap<u64, usize>>,
}

impl<'a, B: AsRef<[u8]>> Pids<'a, B> {
    fn new(prev: &'a Whole<B>) -> Pids<'a, B> {
        Pids { prev, rows: OnceCell::new() }
    }

    fn find(&self, pid: u64, near: usize) -> Option<usize> {
        // Mostly the order stays, less what has died.
        if let Some(row) = (near..near + 3).find(|&row| self.prev.pid(row) == Some(pid)) {
            return Some(row);
        }
        let rows = self.rows.get_or_init(|| {
            let rows = (0..self.prev.len()).rev();
            rows.filter_map(|row| Some((self.prev.pid(row)?, row))).collect()
        });
        rows.get(&pid).copied()
    }
}

/// Writes operations on rows, runs of kept rows joined.
#[derive(Default)]
struct Ops {
    out: Vec<u8>,
    kept: u64,
    /// Where the writer is.
    cursor: usize,
    /// Where a reader is, the run of kept rows done.
    reader: usize,
}

impl Ops {
    fn flush(&mut self) {
        if self.kept > 0 {
            put_varint(&mut self.out, self.kept << 2 | op::KEEP);
            self.reader += self.kept as usize;
            self.kept = 0;
        }
    }

    /// Goes to a row.
    fn go(&mut self, row: usize) {
        if row != self.cursor {
            self.flush();
            self.cursor = row;
        }
    }

    /// Tells the reader where the writer is.
    fn settle(&mut self) {
        if self.reader != self.cursor {
            let step = (self.cursor as u64).wrapping_sub(self.reader as u64);
            put_varint(&mut self.out, zigzag(step) << 2 | op::MOVE);
            self.reader = self.cursor;
        }
    }

    fn keep(&mut self) {
        if self.kept == 0 {
            self.settle();
        }
        self.kept += 1;
        self.cursor += 1;
    }

    fn row(&mut self, operation: u64, number: u64, values: &[u8]) {
        self.flush();
        if operation == op::CHANGE {
            self.settle();
            self.cursor += 1;
            self.reader += 1;
        }
        put_varint(&mut self.out, number << 2 | operation);
        self.out.extend_from_slice(values);
    }

    fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.out
    }
}

fn put_set(out: &mut Vec<u8>, set: &[usize]) {
    put_varint(out, set.len() as u64);
    let mut last = 0;
    for &position in set {
        put_varint(out, (position - last) as u64);
        last = position;
    }
}

/// The header's words that differ, or all of it where it has another length.
fn put_header(out: &mut Vec<u8>, prev: &[u8], cur: &[u8], swapped: bool) {
    if prev.len() != cur.len() {
        put_varint(out, cur.len() as u64);
        out.extend_from_slice(cur);
        return;
    }
    put_varint(out, 0);
    let word = |bytes, index: usize| number(bytes, index * 8, 8, swapped);
    let words = cur.len() / 8;
    let differs = |index: &usize| word(prev, *index) != word(cur, *index);
    let mut at = 0;
    while at < words {
        let begin = (at..words).find(differs).unwrap_or(words);
        let end = (begin..words).find(|index| !differs(index)).unwrap_or(words);
        put_varint(out, (begin - at) as u64);
        put_varint(out, (end - begin) as u64);
        for index in begin..end {
            put_varint(out, zigzag(word(cur, index).wrapping_sub(word(prev, index))));
        }
        at = end;
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

/// The byte form of the snapshot that `payload` makes of `prev`; None where the payload
/// is none for it. `sets` grows by those that it names first.
pub(super) fn apply<B: AsRef<[u8]>>(
    table: &FieldTable,
    sets: &mut Sets,
    prev: &Whole<B>,
    payload: &[u8],
) -> Option<Vec<u8>> {
    let mut input = Input::new(payload);
    let clock_ns = prev.clock_ns.wrapping_add(unzigzag(input.varint()?));
    let order = codec::is_swapped(prev.bytes.as_ref());
    let mut out = take_header(&mut input, prev.header(), order)?;
    let at = out.len();
    if codec::header_length(&out) != Some(at) || codec::is_swapped(&out) != order {
        return None;
    }
    let size = table.record_size;
    let count = usize::try_from(number(&out, 16, 8, order)).ok()?;
    let indices = number(&out, 40, 8, order).checked_sub((at + count.checked_mul(size)?) as u64)?;
    // A row is from the snapshot before or has a byte at least.
    if count > prev.len() + payload.len() || size != prev.layout.record_size() {
        return None;
    }
    for _ in 0..input.length()? {
        sets.push(take_set(&mut input, table)?);
    }
    let swapped = prev.layout.is_swapped();
    let advance = Advance::new(table, swapped, prev.clock_ns, clock_ns);
    let living = count.checked_sub(exited(&out)?)?;
    out.resize(at + count * size, 0);
    let mut masks = vec![0; count];
    let (mut row, mut cursor, mut kept) = (0, 0_usize, 0);
    let mut base = vec![0; size];
    let old = prev.records();
    while row < count {
        let operation = input.varint()?;
        let argument = operation >> 2;
        match operation & 3 {
            op::KEEP => {
                let run = usize::try_from(argument).ok()?;
                let end = row.checked_add(run).filter(|&end| end <= count && run > 0)?;
                // No input makes more of itself.
                kept += run;
                let from = old.get(cursor * size..cursor.checked_add(run)?.checked_mul(size)?)?;
                if kept > prev.len() {
                    return None;
                }
                out[at + row * size..at + end * size].copy_from_slice(from);
                for index in row..end {
                    if index < living {
                        advance.row(&mut out[at + index * size..][..size]);
                    }
                    masks[index] = prev.mask_index(cursor + index - row);
                }
                cursor += run;
                row = end;
            }
            op::MOVE => {
                cursor = usize::try_from((cursor as u64).wrapping_add(unzigzag(argument))).ok()?;
                if cursor > prev.len() {
                    return None;
                }
            }
            operation => {
                if operation == op::CHANGE {
                    let from =
                        cursor.checked_mul(size)?..cursor.checked_add(1)?.checked_mul(size)?;
                    base.copy_from_slice(old.get(from)?);
                    masks[row] = prev.mask_index(cursor);
                    if row < living {
                        advance.row(&mut base);
                    }
                    cursor += 1;
                } else {
                    base.fill(0);
                }
                let set = sets.get(usize::try_from(argument).ok()?)?;
                let place = &mut out[at + row * size..][..size];
                let mask = take_row(table, set, &mut input, &base, place, swapped)?;
                masks[row] = mask.unwrap_or(masks[row]);
                row += 1;
            }
        }
    }
    match usize::try_from(indices).ok()? {
        0 => {}
        indices if indices == count => out.append(&mut masks),
        _ => return None,
    }
    input.is_empty().then_some(out)
}

/// The number of exits that a header tells.
fn exited(header: &[u8]) -> Option<usize> {
    codec::exited(header).map(|exited| exited as usize)
}

fn take_set(input: &mut Input<'_>, table: &FieldTable) -> Option<Vec<usize>> {
    let length = input.length().filter(|&length| length <= table.entries.len() + 1)?;
    let mut set = Vec::with_capacity(length);
    let mut last = 0_usize;
    for index in 0..length {
        let gap = input.length()?;
        last = last.checked_add(gap)?;
        // The one behind the last column is the index into the masks.
        if last > table.entries.len() || (index > 0 && gap == 0) {
            return None;
        }
        set.push(last);
    }
    Some(set)
}

/// Writes a row that differs from `base` in the columns of `set`. Gives its mask's index
/// where that is in the set.
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
    for (position, column) in table.entries.iter().enumerate() {
        let is_changed = changed.next_if_eq(&position).is_some();
        if !column.is_number() {
            if is_changed {
                let place = &mut row[column.offset..column.offset + column.width];
                place.copy_from_slice(input.take(column.width)?);
            }
            continue;
        }
        if !is_changed && column.like.is_none() {
            continue;
        }
        let mut value = expected(table, column, base, row, swapped);
        if is_changed {
            value = value.wrapping_add(unzigzag(input.varint()?));
        }
        set_number(row, column.offset, column.width, swapped, value);
    }
    match changed.next() {
        Some(_) => Some(Some(*input.take(1)?.first()?)),
        None => Some(None),
    }
}
