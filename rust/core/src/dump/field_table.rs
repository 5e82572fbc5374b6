//! The field table of a dump: it covers all bytes of a record, with the writer's field names,
//! so that a reader needs no knowledge of the writer's version.

use super::Input;
use crate::fields::{Field, Repr};
use crate::layout::Layout;

/// Prediction of an entry's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// It does not change.
    Same,
    /// Grows by the ns of the snapshot's clock.
    ClockNs,
    /// Grows by the µs of the snapshot's clock.
    ClockUs,
    /// It does not change, except for the error of a source that derives it.
    Derived,
}

impl Rule {
    const ALL: [Rule; 4] = [Rule::Same, Rule::ClockNs, Rule::ClockUs, Rule::Derived];
}

/// Some bytes of each record that are compared as one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldEntry {
    pub(super) offset: usize,
    pub(super) width: usize,
    pub(super) rule: Rule,
    /// An entry before this one that grows by the same.
    pub(super) like: Option<usize>,
    pub(super) name: String,
}

impl FieldEntry {
    /// Whether it is a number of up to eight bytes.
    pub(super) fn is_number(&self) -> bool {
        self.width <= 8
    }
}

/// The entries of records of one layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldTable {
    pub(super) record_size: usize,
    pub(super) entries: Vec<FieldEntry>,
}

/// The rule of a field.
const fn rule(field: Field) -> Rule {
    match field {
        Field::ac_time_ns => Rule::ClockNs,
        Field::ac_etime | Field::ac_tgetime => Rule::ClockUs,
        Field::ac_start_ns => Rule::Derived,
        _ => Rule::Same,
    }
}

/// Counters that mostly grow by the same amount.
const fn like(field: Field) -> Option<Field> {
    match field {
        Field::ac_utimescaled => Some(Field::ac_utime),
        Field::ac_stimescaled => Some(Field::ac_stime),
        Field::cpu_scaled_run_real_total => Some(Field::cpu_run_real_total),
        Field::ac_sum_exec_ns => Some(Field::cpu_run_virtual_total),
        _ => None,
    }
}

impl FieldTable {
    /// The entries of `layout`. Bytes without a field become entries of up to a word.
    pub(super) fn of_layout(layout: &Layout) -> FieldTable {
        let mut entries: Vec<FieldEntry> = Vec::new();
        let mut covered = vec![false; layout.record_size()];
        let mut places = [None; Field::COUNT];
        for &field in Field::ALL {
            let Some(offset) = layout.offset(field) else { continue };
            let width = field.info().repr.size();
            covered[offset..offset + width].fill(true);
            places[field as usize] = Some(entries.len());
            let like = like(field).and_then(|like| places[like as usize]);
            entries.push(FieldEntry {
                offset,
                width,
                rule: if field.info().repr == Repr::Comm { Rule::Same } else { rule(field) },
                like,
                name: field.name().into(),
            });
        }
        let mut at = 0;
        while at < covered.len() {
            if covered[at] {
                at += 1;
                continue;
            }
            let free = covered[at..].iter().take(8).take_while(|&&covered| !covered).count();
            let width = [8, 4, 2, 1].into_iter().find(|&width| width <= free).unwrap_or(1);
            entries.push(FieldEntry {
                offset: at,
                width,
                rule: Rule::Same,
                like: None,
                name: String::new(),
            });
            at += width;
        }
        FieldTable { record_size: layout.record_size(), entries }
    }

    /// The same, with no entry that follows the clock.
    pub(super) fn without_clock(layout: &Layout) -> FieldTable {
        let mut table = FieldTable::of_layout(layout);
        table.entries.iter_mut().for_each(|entry| entry.rule = Rule::Same);
        table
    }

    /// The number that column sets have for the index of a row's mask: one behind the last
    /// column.
    pub(super) fn mask_index(&self) -> u16 {
        // No record has more bytes, nor more columns.
        u16::try_from(self.entries.len()).unwrap_or(u16::MAX)
    }

    /// The table's byte form.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        super::put_varint(&mut out, self.record_size as u64);
        super::put_varint(&mut out, self.entries.len() as u64);
        for entry in &self.entries {
            super::put_varint(&mut out, entry.offset as u64);
            super::put_varint(&mut out, entry.width as u64);
            super::put_varint(&mut out, entry.rule as u64);
            super::put_varint(&mut out, entry.like.map_or(0, |like| like as u64 + 1));
            super::put_varint(&mut out, entry.name.len() as u64);
            out.extend_from_slice(entry.name.as_bytes());
        }
        out
    }

    /// The table of a byte form; None where it is not valid.
    pub(super) fn decode(bytes: &[u8]) -> Option<FieldTable> {
        let mut input = Input::new(bytes);
        let record_size = input.length().filter(|&size| size <= usize::from(u16::MAX))?;
        // Each column has a byte of the record at least.
        let count = input.length().filter(|&count| count <= record_size)?;
        let mut entries: Vec<FieldEntry> = Vec::new();
        for index in 0..count {
            let offset = input.length()?;
            let width = input.length()?;
            let rule = *Rule::ALL.get(input.length()?)?;
            let like = input.length()?;
            let length = input.length()?;
            let name = String::from_utf8_lossy(input.take(length)?).into_owned();
            let number = matches!(width, 1 | 2 | 4 | 8);
            let fits = offset.checked_add(width).is_some_and(|end| end <= record_size);
            let like = match like.checked_sub(1) {
                None => None,
                Some(like) if number && entries.get(like)?.is_number() => Some(like),
                Some(_) => return None,
            };
            if width == 0 || !fits || like.is_some_and(|like| like >= index) {
                return None;
            }
            if !number && (width < 8 || rule != Rule::Same) {
                return None;
            }
            entries.push(FieldEntry { offset, width, rule, like, name });
        }
        input.is_empty().then_some(FieldTable { record_size, entries })
    }
}

/// The number at `offset`, of up to eight bytes, in the byte order of the data.
pub(super) fn number(bytes: &[u8], offset: usize, width: usize, swapped: bool) -> u64 {
    /// The first bytes, whose number the caller knows.
    fn first<const N: usize>(place: &[u8]) -> [u8; N] {
        place.first_chunk().copied().unwrap_or([0; N])
    }
    // A copy of bytes whose number the compiler does not know costs a call.
    let place = &bytes[offset..offset + width];
    match (width, swapped) {
        (8, false) => u64::from_ne_bytes(first(place)),
        (8, true) => u64::from_ne_bytes(first(place)).swap_bytes(),
        (4, false) => u32::from_ne_bytes(first(place)).into(),
        (4, true) => u32::from_ne_bytes(first(place)).swap_bytes().into(),
        (2, false) => u16::from_ne_bytes(first(place)).into(),
        (2, true) => u16::from_ne_bytes(first(place)).swap_bytes().into(),
        // Numbers have no other width.
        _ => u64::from(first::<1>(place)[0]),
    }
}

/// Writes the number at `offset`, cut to its width.
pub(super) fn set_number(
    bytes: &mut [u8],
    offset: usize,
    width: usize,
    swapped: bool,
    number: u64,
) {
    let place = &mut bytes[offset..offset + width];
    if swapped == cfg!(target_endian = "little") {
        place.copy_from_slice(&number.to_be_bytes()[8 - width..]);
    } else {
        place.copy_from_slice(&number.to_le_bytes()[..width]);
    }
}
