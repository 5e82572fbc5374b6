//! Writes deltas.

use std::cell::OnceCell;
use std::collections::HashMap;

use super::differ::{Differ, Settle, entries_of};
use super::{Advance, Side, op};
use crate::codec;
use crate::dump::field_table::{FieldTable, number};
use crate::dump::{put_varint, zigzag};
use crate::identity::HashTask;

/// Writes deltas, and remembers the sets of entries that frames since the last full frame
/// have defined.
#[derive(Default)]
pub(in crate::dump) struct Encoder {
    /// The number of each set, which has a bit for each entry.
    sets: HashMap<Box<[u64]>, u64>,
    differ: Option<Differ>,
}

impl Encoder {
    /// The delta from `prev` to `cur`. Sets times in `cur` that follow the clock to what a
    /// reader will see: they differ by at most `tolerance_ns`.
    pub(in crate::dump) fn encode(
        &mut self,
        table: &FieldTable,
        prev: &Side<'_, &[u8]>,
        cur: Side<'_, &mut [u8]>,
        tolerance_ns: u64,
    ) -> Vec<u8> {
        let (size, swapped) = (table.record_size, cur.swapped);
        let mut out = Vec::new();
        put_varint(&mut out, zigzag(cur.clock_ns.wrapping_sub(prev.clock_ns)));
        put_header(&mut out, prev.form, cur.form, codec::is_swapped(cur.form));

        let (advance, settle) =
            (Advance::new(table, swapped), Settle::new(table, swapped, tolerance_ns));
        let rows = Rows::new(prev, size);
        let (mut ops, mut new_sets) = (Ops::default(), NewSets::default());
        let (mut base, mut values) = (vec![0; size], Vec::new());
        for (index, row) in cur.records.chunks_exact_mut(size).enumerate() {
            let pid = cur.pid.map(|at| number(row, at, 4, swapped));
            let matched = pid.and_then(|pid| rows.find(pid, ops.cursor));
            match matched.and_then(|old| Some((old, rows.get(old)?))) {
                Some((old, record)) => {
                    base.copy_from_slice(record);
                    ops.seek(old);
                    let is_living = index < cur.living;
                    let to_ns = if is_living { cur.clock_ns } else { prev.clock_ns };
                    advance.row(&mut base, rows.clock_ns(old, record), to_ns);
                    if is_living {
                        settle.row(&base, row);
                    }
                }
                None => base.fill(0),
            }
            let mask = cur.masks.get(index).copied().unwrap_or(0);
            let mask_before = matched.and_then(|old| prev.masks.get(old)).copied().unwrap_or(0);
            let new_mask = (mask != mask_before).then_some(mask);
            values.clear();
            let differs =
                self.differ(table).compare(table, &base, row, swapped, new_mask, &mut values);
            if matched.is_some() && !differs {
                ops.keep(1);
                continue;
            }
            let number = self.number(&mut new_sets);
            ops.row(if matched.is_some() { op::CHANGE } else { op::NEW }, number, &values);
        }
        put_varint(&mut out, new_sets.count);
        out.append(&mut new_sets.bytes);
        out.append(&mut ops.finish());
        out
    }

    /// What compares rows with their predictions.
    pub(super) fn differ(&mut self, table: &FieldTable) -> &mut Differ {
        self.differ.get_or_insert_with(|| Differ::new(table))
    }

    /// The number of the set of the entries in which the last row differed, which is defined if
    /// it is new.
    pub(super) fn number(&mut self, new_sets: &mut NewSets) -> u64 {
        let set = self.differ.as_ref().map_or(&[][..], Differ::set);
        if let Some(&number) = self.sets.get(set) {
            return number;
        }
        let number = self.sets.len() as u64;
        self.sets.insert(set.into(), number);
        new_sets.count += 1;
        put_set(&mut new_sets.bytes, set);
        number
    }
}

/// The sets that a delta defines.
#[derive(Default)]
pub(super) struct NewSets {
    pub(super) count: u64,
    pub(super) bytes: Vec<u8>,
}

/// Finds the row of the snapshot before with the same pid. A reused pid makes a longer
/// delta, not a wrong one.
struct Rows<'a> {
    side: &'a Side<'a, &'a [u8]>,
    size: usize,
    by_pid: OnceCell<HashMap<u64, usize, HashTask>>,
}

impl<'a> Rows<'a> {
    fn new(side: &'a Side<'a, &'a [u8]>, size: usize) -> Rows<'a> {
        Rows { side, size, by_pid: OnceCell::new() }
    }

    fn get(&self, row: usize) -> Option<&'a [u8]> {
        self.side.records.get(row * self.size..(row + 1) * self.size)
    }

    fn pid(&self, row: usize) -> Option<u64> {
        Some(number(self.get(row)?, self.side.pid?, 4, self.side.swapped))
    }

    fn find(&self, pid: u64, near: usize) -> Option<usize> {
        // Rows mostly keep their order, and few tasks die.
        if let Some(row) = (near..near + 3).find(|&row| self.pid(row) == Some(pid)) {
            return Some(row);
        }
        let by_pid = self.by_pid.get_or_init(|| {
            let rows = (0..self.side.records.len() / self.size).rev();
            rows.filter_map(|row| Some((self.pid(row)?, row))).collect()
        });
        by_pid.get(&pid).copied()
    }

    /// The time that a row's record is of, in ns of CLOCK_MONOTONIC.
    fn clock_ns(&self, row: usize, record: &[u8]) -> u64 {
        let time = self.side.time.filter(|_| row < self.side.living);
        let time_ns = time.map_or(0, |at| number(record, at, 8, self.side.swapped));
        if time_ns == 0 { self.side.clock_ns } else { time_ns }
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

fn put_set(out: &mut Vec<u8>, set: &[u64]) {
    put_varint(out, set.iter().map(|bits| u64::from(bits.count_ones())).sum());
    let mut last = 0;
    for position in entries_of(set) {
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
