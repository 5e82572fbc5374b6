//! Writes deltas.

use std::cell::OnceCell;
use std::collections::HashMap;

use super::{Advance, Whole, expected, op};
use crate::codec;
use crate::dump::field_table::{FieldTable, Rule, number, set_number};
use crate::dump::{put_varint, zigzag};

/// Writes deltas, and remembers the sets of entries that frames since the last full frame
/// have defined.
#[derive(Default)]
pub(in crate::dump) struct Encoder {
    sets: HashMap<Vec<usize>, u64>,
}

impl Encoder {
    /// The delta from `prev` to `cur`. Sets times in `cur` that follow the clock to what a
    /// reader will see: they differ by at most `tolerance_ns`.
    pub(in crate::dump) fn encode<B: AsRef<[u8]>>(
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
        let advance = Advance::new(table, swapped);
        let size = table.record_size;
        let (begin, living) = (cur.records.start, cur.living);
        let pids = Pids::new(prev);
        let (mut ops, mut new_sets) = (Ops::default(), NewSets::default());
        let mut base = vec![0; size];
        for index in 0..cur.len() {
            let matched = cur.pid(index).and_then(|pid| pids.find(pid, ops.cursor));
            match matched {
                Some(old) => {
                    base.copy_from_slice(&prev.records()[old * size..][..size]);
                    ops.seek(old);
                    if index < living {
                        advance.row(&mut base, prev.clock_ns, cur.clock_ns);
                    }
                }
                None => base.fill(0),
            }
            let mask = cur.mask_index(index);
            let new_mask = (mask != matched.map_or(0, |old| prev.mask_index(old))).then_some(mask);
            let row = &mut cur.bytes[begin + index * size..][..size];
            if matched.is_some() && index < living {
                settle(table, &base, row, swapped, tolerance_ns);
            }
            if matched.is_some() && *row == base && new_mask.is_none() {
                ops.keep(1);
                continue;
            }
            let (set, values) = differences(table, &base, row, swapped, new_mask);
            let number = self.number(set, &mut new_sets);
            ops.row(if matched.is_some() { op::CHANGE } else { op::NEW }, number, &values);
        }
        put_varint(&mut out, new_sets.count);
        out.append(&mut new_sets.bytes);
        out.append(&mut ops.finish());
        out
    }

    /// The number of a set, which is defined if it is new.
    pub(super) fn number(&mut self, set: Vec<usize>, new_sets: &mut NewSets) -> u64 {
        let next = self.sets.len() as u64;
        *self.sets.entry(set).or_insert_with_key(|set| {
            new_sets.count += 1;
            put_set(&mut new_sets.bytes, set);
            next
        })
    }
}

/// The sets that a delta defines.
#[derive(Default)]
pub(super) struct NewSets {
    pub(super) count: u64,
    pub(super) bytes: Vec<u8>,
}

/// The entries in which a row differs from its prediction, and their values. A changed
/// mask index counts as the entry after the last.
pub(super) fn differences(
    table: &FieldTable,
    base: &[u8],
    row: &[u8],
    swapped: bool,
    new_mask: Option<u8>,
) -> (Vec<usize>, Vec<u8>) {
    let (mut set, mut values) = (Vec::new(), Vec::new());
    for (position, entry) in table.entries.iter().enumerate() {
        let place = entry.offset..entry.offset + entry.width;
        if entry.is_number() {
            let expected = expected(table, entry, base, row, swapped);
            let actual = number(row, entry.offset, entry.width, swapped);
            if actual != expected {
                set.push(position);
                let change = sign_extend(actual.wrapping_sub(expected), entry.width);
                put_varint(&mut values, zigzag(change));
            }
        } else if row[place.clone()] != base[place.clone()] {
            set.push(position);
            values.extend_from_slice(&row[place]);
        }
    }
    if let Some(mask) = new_mask {
        set.push(table.entries.len());
        values.push(mask);
    }
    (set, values)
}

/// A difference of `width` bytes as one of eight bytes, with its sign.
const fn sign_extend(number: u64, width: usize) -> u64 {
    let unused = 64 - 8 * width as u32;
    ((number << unused).cast_signed() >> unused).cast_unsigned()
}

/// Sets times that follow the clock to their prediction where they are near it.
pub(super) fn settle(
    table: &FieldTable,
    base: &[u8],
    row: &mut [u8],
    swapped: bool,
    tolerance_ns: u64,
) {
    for entry in &table.entries {
        let tolerance = match entry.rule {
            Rule::Same => continue,
            Rule::ClockNs | Rule::Derived => tolerance_ns,
            Rule::ClockUs => tolerance_ns / 1000 + 1,
        };
        let expected = number(base, entry.offset, entry.width, swapped);
        let actual = number(row, entry.offset, entry.width, swapped);
        if expected != 0 && actual != 0 && actual.abs_diff(expected) <= tolerance {
            set_number(row, entry.offset, entry.width, swapped, expected);
        }
    }
}

/// Finds the row of the snapshot before with the same pid. A reused pid makes a longer
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
        // Rows mostly keep their order, and few tasks die.
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

/// Writes operations on rows. Consecutive kept rows become one operation.
#[derive(Default)]
pub(super) struct Ops {
    out: Vec<u8>,
    kept: u64,
    /// The writer's row in the snapshot before.
    cursor: usize,
    /// The reader's row there, after the operations written so far.
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

    /// Moves the writer to a row.
    pub(super) fn seek(&mut self, row: usize) {
        if row != self.cursor {
            self.flush();
            self.cursor = row;
        }
    }

    /// Moves the reader to the writer's row.
    fn move_reader(&mut self) {
        if self.reader != self.cursor {
            let step = (self.cursor as u64).wrapping_sub(self.reader as u64);
            put_varint(&mut self.out, zigzag(step) << 2 | op::MOVE);
            self.reader = self.cursor;
        }
    }

    pub(super) fn keep(&mut self, rows: u64) {
        if self.kept == 0 {
            self.move_reader();
        }
        self.kept += rows;
        self.cursor += rows as usize;
    }

    pub(super) fn row(&mut self, operation: u64, set: u64, values: &[u8]) {
        self.flush();
        if operation == op::CHANGE {
            self.move_reader();
            self.cursor += 1;
            self.reader += 1;
        }
        put_varint(&mut self.out, set << 2 | operation);
        self.out.extend_from_slice(values);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
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

/// Writes the header's words that differ, or the whole header where its length differs.
pub(super) fn put_header(out: &mut Vec<u8>, prev: &[u8], cur: &[u8], swapped: bool) {
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
