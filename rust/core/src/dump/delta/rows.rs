//! The records of a snapshot, which deltas change in place.
//!
//! Design decisions
//!
//! * A record has a slot, and a row is the number of one: a delta costs the records that it
//!   changes, and four bytes for each of the others.
//! * Times that follow the clock advance when a record is read. A slot knows the time that
//!   its record is of.
//! * The slots of records that the last delta replaced stay until the next one: an interval of
//!   the tasks that changed needs both.

use super::{Advance, Whole};
use crate::codec::{self, Head};
use crate::dump::field_table::{FieldTable, number};
use crate::dump::limits;
use crate::fields::Field;
use crate::header::{Flags, Header};
use crate::layout::Layout;
use crate::record::Record;
use crate::snapshot::{SharedBytes, Snapshot};

/// A snapshot's header, and its records in slots.
pub(crate) struct Rows {
    /// The header of the byte form: all bytes before the records.
    pub(super) form: Vec<u8>,
    pub(super) head: Head,
    /// The slot of each row.
    pub(super) order: Vec<u32>,
    /// The index of each row's mask.
    pub(super) masks: Vec<u8>,
    pub(super) slots: Slots,
    /// Number of deltas so far.
    deltas: u32,
    last: Option<Last>,
}

/// Records of one size.
#[derive(Default)]
pub(super) struct Slots {
    size: usize,
    bytes: Vec<u8>,
    /// The time that each record is of, in ns of CLOCK_MONOTONIC.
    clocks: Vec<u64>,
    /// The delta that each slot was last used by.
    used_by: Vec<u32>,
    free: Vec<u32>,
}

/// What the last delta did.
struct Last {
    /// The rows that it wrote.
    written: Vec<u32>,
    /// The header of the snapshot before.
    header: Header,
    /// The slots of that snapshot's rows that are not as they were, or gone.
    replaced: Vec<u32>,
    /// The index of the mask of each of these.
    masks: Vec<u8>,
    /// How many of them are of tasks that died: the last ones.
    exited: u32,
}

/// The snapshot that a delta describes.
pub(super) struct Next {
    pub(super) form: Vec<u8>,
    pub(super) head: Head,
    pub(super) order: Vec<u32>,
    pub(super) masks: Vec<u8>,
    /// The rows that the delta wrote, ascending.
    pub(super) written: Vec<u32>,
}

impl Slots {
    /// The record in a slot.
    pub(super) fn get(&self, slot: u32) -> &[u8] {
        &self.bytes[slot as usize * self.size..][..self.size]
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut [u8] {
        &mut self.bytes[slot as usize * self.size..][..self.size]
    }

    /// The time that the record in a slot is of.
    pub(super) fn clock_ns(&self, slot: u32) -> u64 {
        self.clocks[slot as usize]
    }

    /// A slot for a copy of `record`, which is of `clock_ns`. None where there is no memory.
    pub(super) fn add(&mut self, record: &[u8], clock_ns: u64) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            self.get_mut(slot).copy_from_slice(record);
            self.clocks[slot as usize] = clock_ns;
            return Some(slot);
        }
        let slot = u32::try_from(self.clocks.len()).ok()?;
        limits::reserve(&mut self.bytes, self.size)?;
        self.bytes.extend_from_slice(record);
        self.clocks.push(clock_ns);
        self.used_by.push(0);
        Some(slot)
    }
}

impl Rows {
    /// The records of a full frame. None where there is no memory.
    pub(in crate::dump) fn of<B: AsRef<[u8]>>(whole: &Whole<B>) -> Option<Rows> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(whole.records().len()).ok()?;
        bytes.extend_from_slice(whole.records());
        let head = codec::decode_head(whole.bytes.as_ref(), whole.bytes.as_ref().len()).ok()?;
        let masks = (0..whole.len()).map(|row| whole.mask_index(row)).collect();
        let clocks = vec![whole.clock_ns; u32::try_from(whole.len()).ok()? as usize];
        Some(Rows::new(whole.header().to_vec(), head, masks, bytes, clocks))
    }

    /// Records under a header, than which those of living tasks may be older. `masks` are the
    /// indices of their masks, all 0 where it is empty. None where there are too many.
    pub(super) fn of_records(
        header: &Header,
        layout: &Layout,
        records: Vec<u8>,
        masks: &[u8],
    ) -> Option<Rows> {
        let size = layout.record_size();
        let count = u32::try_from(records.len() / size).ok()?;
        let living = (count as usize).saturating_sub(header.exited as usize);
        let time = |(row, record): (usize, &[u8])| {
            let time_at = layout.offset(Field::ac_time_ns).filter(|_| row < living);
            let time_ns = time_at.map_or(0, |at| number(record, at, 8, layout.is_swapped()));
            if time_ns == 0 { header.begin.monotonic_ns } else { time_ns }
        };
        let clocks = records.chunks_exact(size).enumerate().map(time).collect();
        let head = Head {
            header: header.clone(),
            layout: layout.clone(),
            records: 0..records.len(),
            mask_indices: 0..masks.len(),
        };
        let form = codec::encode_head(header, layout, count as usize);
        let mut masks = masks.to_vec();
        masks.resize(count as usize, 0);
        Some(Rows::new(form, head, masks, records, clocks))
    }

    fn new(form: Vec<u8>, head: Head, masks: Vec<u8>, bytes: Vec<u8>, clocks: Vec<u64>) -> Rows {
        let (size, used_by) = (head.layout.record_size(), vec![0; clocks.len()]);
        let order = (0..clocks.len() as u32).collect();
        let slots = Slots { size, bytes, clocks, used_by, free: Vec::new() };
        Rows { form, head, order, masks, slots, deltas: 0, last: None }
    }

    pub(crate) fn header(&self) -> &Header {
        &self.head.header
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Number of rows of living tasks, which are the first.
    pub(super) fn living(&self) -> usize {
        self.len().saturating_sub(self.head.header.exited as usize)
    }

    pub(super) fn clock_ns(&self) -> u64 {
        self.head.header.begin.monotonic_ns
    }

    /// Frees the slots that the last delta replaced.
    pub(super) fn release(&mut self) {
        if let Some(last) = self.last.take() {
            self.slots.free.extend(last.replaced);
        }
    }

    /// The rows of the next snapshot.
    pub(super) fn into_next(mut self, next: Next) -> Rows {
        let (living, delta) = (self.living(), self.deltas.wrapping_add(1));
        for &slot in &next.order {
            self.slots.used_by[slot as usize] = delta;
        }
        let (mut replaced, mut masks, mut exited) = (Vec::new(), Vec::new(), 0);
        for (row, (&slot, &mask)) in self.order.iter().zip(&self.masks).enumerate() {
            let used_by = &mut self.slots.used_by[slot as usize];
            // A forged delta may have copied a row twice.
            if *used_by != delta {
                *used_by = delta;
                replaced.push(slot);
                masks.push(mask);
                exited += u32::from(row >= living);
            }
        }
        let header = std::mem::replace(&mut self.head, next.head).header;
        let last = Last { written: next.written, header, replaced, masks, exited };
        Rows {
            form: next.form,
            order: next.order,
            masks: next.masks,
            deltas: delta,
            last: Some(last),
            ..self
        }
    }

    /// Appends records, as they are at `clock_ns`.
    fn put(&self, table: &FieldTable, slots: &[u32], clock_ns: u64, out: &mut Vec<u8>) {
        let advance = Advance::new(table, self.head.layout.is_swapped());
        for &slot in slots {
            let begin = out.len();
            out.extend_from_slice(self.slots.get(slot));
            advance.row(&mut out[begin..], self.slots.clock_ns(slot), clock_ns);
        }
    }

    /// The snapshot's byte form. None where there is no memory.
    pub(in crate::dump) fn to_form(&self, table: &FieldTable) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        out.try_reserve_exact(self.form.len() + self.len() * (self.slots.size + 1)).ok()?;
        out.extend_from_slice(&self.form);
        self.put(table, &self.order, self.clock_ns(), &mut out);
        if !self.head.mask_indices.is_empty() {
            out.extend_from_slice(&self.masks);
        }
        Some(out)
    }

    /// The snapshot. None where there is no memory.
    pub(super) fn to_snapshot(&self, table: &FieldTable) -> Option<Snapshot<SharedBytes>> {
        self.part(table, self.head.header.clone(), &self.order, &self.masks)
    }

    /// The records, for a table in which nothing follows the clock.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let masks = &self.head.header.masks;
        self.order.iter().zip(&self.masks).filter_map(|(&slot, &mask)| {
            let filled = masks.get(usize::from(mask)).copied().unwrap_or_default();
            Record::new(self.slots.get(slot), &self.head.layout, filled)
        })
    }

    /// The header of the snapshot before the last delta.
    pub(in crate::dump) fn header_before(&self) -> Option<&Header> {
        Some(&self.last.as_ref()?.header)
    }

    /// The snapshot of the rows that the last delta wrote, with the rows that it replaced as
    /// its base. None where there is no delta, or no memory.
    pub(in crate::dump) fn changed(&self, table: &FieldTable) -> Option<Snapshot<SharedBytes>> {
        let Last { written, header, replaced, masks, exited } = self.last.as_ref()?;
        let before = Header { exited: *exited, ..header.clone() };
        let base = self.part(table, before, replaced, masks)?;
        let rows = || written.iter().map(|&row| row as usize);
        let slots: Vec<u32> = rows().map(|row| self.order[row]).collect();
        let masks: Vec<u8> = rows().map(|row| self.masks[row]).collect();
        let header = self.head.header.clone();
        let flags = header.flags.with(Flags::WITHOUT_UNCHANGED, true);
        let unchanged = (self.len() - written.len()) as u32;
        let header = Header { flags, unchanged, ..header };
        Some(self.part(table, header, &slots, &masks)?.with_base(base.into()))
    }

    /// A snapshot of some rows.
    fn part(
        &self,
        table: &FieldTable,
        header: Header,
        slots: &[u32],
        masks: &[u8],
    ) -> Option<Snapshot<SharedBytes>> {
        let mut bytes = Vec::new();
        limits::reserve(&mut bytes, slots.len() * (self.slots.size + 1))?;
        self.put(table, slots, header.begin.monotonic_ns, &mut bytes);
        let records = 0..bytes.len();
        bytes.extend_from_slice(masks);
        let (layout, indices) = (self.head.layout.clone(), records.end..bytes.len());
        Snapshot::new(header, layout, SharedBytes::new(bytes), records, indices).ok()
    }
}
