//! The difference of a snapshot from the one before, computed on the byte forms of both.
//!
//! [`encode`] writes it, [`decode`] applies it. Both predict each value from the snapshot
//! before, and a delta holds what differs from the prediction.

use std::ops::Range;

use super::field_table::{FieldEntry, FieldTable, Rule, number, set_number};
use crate::codec;
use crate::fields::Field;
use crate::header::Flags;
use crate::layout::Layout;

mod chain;
mod decode;
mod differ;
mod encode;
mod rows;
mod tasks;

pub(crate) use chain::{ChainReader, ChainWriter};
pub(super) use decode::Apply;
pub(super) use encode::Encoder;
pub(crate) use rows::Rows;
pub(super) use tasks::Tasks;

/// The operations on rows, in the low two bits of a number with their argument above.
mod op {
    /// This many rows from the cursor on are as predicted.
    pub(super) const KEEP: u64 = 0;
    /// The row at the cursor differs in that set of entries.
    pub(super) const CHANGE: u64 = 1;
    /// The cursor moves by that many rows, zigzag.
    pub(super) const MOVE: u64 = 2;
    /// A new row, which is predicted as zeros and differs in that set of entries.
    pub(super) const NEW: u64 = 3;
}

/// A snapshot's byte form, and the places in it that a delta needs.
#[derive(Clone)]
pub(super) struct Whole<B> {
    pub(super) bytes: B,
    layout: Layout,
    records: Range<usize>,
    /// Number of rows of living tasks, which are the first.
    living: usize,
    /// The flags of its header.
    pub(super) flags: Flags,
    /// CLOCK_MONOTONIC in ns at the snapshot's begin.
    clock_ns: u64,
}

impl<B: AsRef<[u8]>> Whole<B> {
    pub(super) fn new(bytes: B) -> Result<Whole<B>, crate::ParseError> {
        let snapshot = codec::decode(bytes.as_ref())?;
        let layout = snapshot.layout().clone();
        let begin = codec::header_length(bytes.as_ref()).unwrap_or(0);
        Ok(Whole {
            records: begin..begin + snapshot.record_bytes().len(),
            living: snapshot.living(),
            flags: snapshot.header().flags,
            clock_ns: snapshot.header().begin.monotonic_ns,
            layout,
            bytes,
        })
    }

    /// A snapshot of living tasks alone, whose `records` in `bytes` are followed by the indices
    /// of their masks.
    fn of_living(bytes: B, records: Range<usize>, layout: Layout, clock_ns: u64) -> Whole<B> {
        Whole {
            living: records.len() / layout.record_size(),
            flags: Flags::default(),
            clock_ns,
            layout,
            records,
            bytes,
        }
    }

    /// Number of rows.
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

    pub(super) fn side(&self) -> Side<'_, &[u8]> {
        let (head, masks) = self.bytes.as_ref().split_at(self.records.end);
        let (form, records) = head.split_at(self.records.start);
        let side = Side::new(&self.layout, form, records, masks);
        Side { living: self.living, clock_ns: self.clock_ns, ..side }
    }
}

impl Whole<Vec<u8>> {
    pub(super) fn side_mut(&mut self) -> Side<'_, &mut [u8]> {
        let (head, masks) = self.bytes.split_at_mut(self.records.end);
        let (form, records) = head.split_at_mut(self.records.start);
        let side = Side::new(&self.layout, form, records, masks);
        Side { living: self.living, clock_ns: self.clock_ns, ..side }
    }
}

/// One of the two snapshots of which a delta is made.
pub(super) struct Side<'a, R> {
    /// All bytes of its form before the records.
    form: &'a [u8],
    records: R,
    /// The index of each row's mask; 0 where there is none.
    masks: &'a [u8],
    /// Number of rows of living tasks, which are the first.
    living: usize,
    /// CLOCK_MONOTONIC in ns at the snapshot's begin.
    clock_ns: u64,
    /// The pid's offset in a record.
    pid: Option<usize>,
    /// Where records of living tasks may be older than the snapshot: the offset of their time.
    time: Option<usize>,
    swapped: bool,
}

impl<'a, R: AsRef<[u8]>> Side<'a, R> {
    /// A side whose tasks all live, and have records of the time 0.
    fn new(layout: &Layout, form: &'a [u8], records: R, masks: &'a [u8]) -> Side<'a, R> {
        Side {
            living: records.as_ref().len() / layout.record_size(),
            clock_ns: 0,
            pid: layout.offset(Field::ac_pid),
            time: None,
            swapped: layout.is_swapped(),
            form,
            records,
            masks,
        }
    }
}

/// Predicts the entries that follow the snapshot's clock.
struct Advance<'a> {
    entries: Vec<&'a FieldEntry>,
    swapped: bool,
}

impl<'a> Advance<'a> {
    fn new(table: &'a FieldTable, swapped: bool) -> Advance<'a> {
        let moves = |entry: &&FieldEntry| matches!(entry.rule, Rule::ClockNs | Rule::ClockUs);
        Advance { entries: table.entries.iter().filter(moves).collect(), swapped }
    }

    /// Advances a row from one time to another. A time of zero is unknown and stays.
    fn row(&self, row: &mut [u8], from_ns: u64, to_ns: u64) {
        if from_ns == to_ns {
            return;
        }
        for entry in &self.entries {
            let old = number(row, entry.offset, entry.width, self.swapped);
            if old != 0 {
                let step = match entry.rule {
                    // A difference of quotients, so that rounding does not add up.
                    Rule::ClockUs => (to_ns / 1000).wrapping_sub(from_ns / 1000),
                    _ => to_ns.wrapping_sub(from_ns),
                };
                let new = old.wrapping_add(step);
                set_number(row, entry.offset, entry.width, self.swapped, new);
            }
        }
    }
}

/// The predicted value of an entry, once the entries before it are known.
fn expected(table: &FieldTable, entry: &FieldEntry, base: &[u8], row: &[u8], swapped: bool) -> u64 {
    let old = number(base, entry.offset, entry.width, swapped);
    let Some(like) = entry.like.and_then(|like| table.entries.get(like)) else { return old };
    let before = number(base, like.offset, like.width, swapped);
    let now = number(row, like.offset, like.width, swapped);
    truncate(old.wrapping_add(now.wrapping_sub(before)), entry.width)
}

/// The low `width` bytes of a number.
const fn truncate(number: u64, width: usize) -> u64 {
    let unused = 64 - 8 * width as u32;
    number << unused >> unused
}
