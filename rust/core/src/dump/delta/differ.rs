//! Compares rows with their predictions.
//!
//! Design decisions
//!
//! * Few of a record's hundred values change. Rows that differ are compared word by word, and only
//!   the entries in words that differ are looked at.

use super::expected;
use crate::dump::field_table::{FieldEntry, FieldTable, Rule, number, set_number};
use crate::dump::{put_varint, zigzag};

const WORD: usize = size_of::<u64>();

/// Finds the entries in which a row differs from its prediction. A set of entries has a bit for
/// each, and one for the index of the row's mask behind them.
pub(super) struct Differ {
    /// For each word of a record, the entries that may differ if it does.
    of_words: Vec<u64>,
    /// The entries in which the last row differed.
    set: Vec<u64>,
}

impl Differ {
    pub(super) fn new(table: &FieldTable) -> Differ {
        let width = table.entries.len() / 64 + 1;
        let mut of_words = vec![0; table.record_size.div_ceil(WORD) * width];
        for (position, entry) in table.entries.iter().enumerate() {
            // An entry that grows as another one differs where that one alone has grown.
            let like = entry.like.and_then(|like| table.entries.get(like));
            for part in [Some(entry), like].into_iter().flatten() {
                for word in part.offset / WORD..=(part.offset + part.width - 1) / WORD {
                    of_words[word * width + position / 64] |= 1 << (position % 64);
                }
            }
        }
        Differ { of_words, set: vec![0; width] }
    }

    /// The entries in which the last row differed.
    pub(super) fn set(&self) -> &[u64] {
        &self.set
    }

    /// Compares a row with its prediction, of which `base` is the part that does not depend on
    /// the row. Appends the values that differ, and returns whether there are any.
    pub(super) fn compare(
        &mut self,
        table: &FieldTable,
        base: &[u8],
        row: &[u8],
        swapped: bool,
        new_mask: Option<u8>,
        values: &mut Vec<u8>,
    ) -> bool {
        self.set.fill(0);
        // Most tasks sleep: all their bytes are compared at once.
        if new_mask.is_none() && base == row {
            return false;
        }
        let width = self.set.len();
        let words = base.chunks(WORD).zip(row.chunks(WORD)).zip(self.of_words.chunks_exact(width));
        for ((before, now), entries) in words {
            if word(before) != word(now) {
                self.set.iter_mut().zip(entries).for_each(|(set, entries)| *set |= entries);
            }
        }
        for at in 0..width {
            let mut left = self.set[at];
            while left != 0 {
                let bit = left & left.wrapping_neg();
                left ^= bit;
                let entry = &table.entries[at * 64 + bit.trailing_zeros() as usize];
                if !put_difference(table, entry, base, row, swapped, values) {
                    self.set[at] ^= bit;
                }
            }
        }
        if let Some(mask) = new_mask {
            let last = table.entries.len();
            self.set[last / 64] |= 1 << (last % 64);
            values.push(mask);
        }
        self.set.iter().any(|&bits| bits != 0)
    }
}

/// Some bytes as a number, to be compared with others of the same length.
fn word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(&word) => u64::from_ne_bytes(word),
        None => bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// The positions of the entries of a set, ascending.
pub(super) fn entries_of(set: &[u64]) -> impl Iterator<Item = usize> + '_ {
    (0..set.len() * 64).filter(|at| set[at / 64] >> (at % 64) & 1 != 0)
}

/// Appends the value of an entry where it differs from what is expected; returns whether.
fn put_difference(
    table: &FieldTable,
    entry: &FieldEntry,
    base: &[u8],
    row: &[u8],
    swapped: bool,
    values: &mut Vec<u8>,
) -> bool {
    if entry.is_number() {
        let expected = expected(table, entry, base, row, swapped);
        let actual = number(row, entry.offset, entry.width, swapped);
        if actual == expected {
            return false;
        }
        put_varint(values, zigzag(sign_extend(actual.wrapping_sub(expected), entry.width)));
    } else {
        let place = entry.offset..entry.offset + entry.width;
        if row[place.clone()] == base[place.clone()] {
            return false;
        }
        values.extend_from_slice(&row[place]);
    }
    true
}

/// A difference of `width` bytes as one of eight bytes, with its sign.
const fn sign_extend(number: u64, width: usize) -> u64 {
    let unused = 64 - 8 * width as u32;
    ((number << unused).cast_signed() >> unused).cast_unsigned()
}

/// Sets times that follow the clock to their prediction where they are near it.
pub(super) struct Settle<'a> {
    /// The entries of such times, with how near is near.
    entries: Vec<(&'a FieldEntry, u64)>,
    swapped: bool,
}

impl<'a> Settle<'a> {
    pub(super) fn new(table: &'a FieldTable, swapped: bool, tolerance_ns: u64) -> Settle<'a> {
        let tolerance = |entry: &FieldEntry| match entry.rule {
            Rule::Same => None,
            Rule::ClockNs | Rule::Derived => Some(tolerance_ns),
            Rule::ClockUs => Some(tolerance_ns / 1000 + 1),
        };
        let entries = table.entries.iter();
        let entries = entries.filter_map(|entry| Some((entry, tolerance(entry)?))).collect();
        Settle { entries, swapped }
    }

    pub(super) fn row(&self, base: &[u8], row: &mut [u8]) {
        for &(entry, tolerance) in &self.entries {
            let expected = number(base, entry.offset, entry.width, self.swapped);
            let actual = number(row, entry.offset, entry.width, self.swapped);
            if expected != 0 && actual != 0 && actual.abs_diff(expected) <= tolerance {
                set_number(row, entry.offset, entry.width, self.swapped, expected);
            }
        }
    }
}
