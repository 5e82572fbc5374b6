//! Fills one column, block by block.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use zerocopy::{FromBytes, IntoBytes};

use super::block::{BLOCK_ROWS, Block, FieldBytes, WordColumn};
use super::dictionary::Dictionary;
use super::kind::{ColumnKind, ValueType};
use super::memory::{Memory, slice};
use crate::fields::{COMM_LEN, Field};
use crate::header::SourceKind;
use crate::names::{Names, NamesAt, quoted};
use crate::record::Record;
use crate::table::{Cell, Metric, TaskTable};

/// A column that is being filled.
pub(super) struct Column {
    kind: ColumnKind,
    value_type: ValueType,
    /// The word of the memory at which the column begins; None while all values are zero.
    pub(super) start: Option<usize>,
    /// A bit for each value, set where it is known; None while all are known.
    pub(super) valid: Option<Vec<u8>>,
    pub(super) dictionary: Dictionary,
    /// The names of the recording that `codes_of_names` is of.
    recording: Option<Arc<Names>>,
    /// The codes of its names, by their places in memory.
    codes_of_names: HashMap<(usize, usize), i32>,
}

impl Column {
    pub(super) fn new(kind: ColumnKind) -> Column {
        let value_type = kind.value_type();
        Column {
            kind,
            value_type,
            start: None,
            valid: None,
            dictionary: Dictionary::default(),
            recording: None,
            codes_of_names: HashMap::new(),
        }
    }

    pub(super) fn kind(&self) -> ColumnKind {
        self.kind
    }

    pub(super) fn value_type(&self) -> ValueType {
        self.value_type
    }

    /// The column as one of words; None unless its field is a word that all records of the
    /// block hold, and the column has its place.
    pub(super) fn as_words(&self, block: &Block<'_>) -> Option<WordColumn> {
        let ColumnKind::Field(field) = self.kind else { return None };
        let layout = block.rows.snapshot.layout();
        let is_plain = self.value_type == ValueType::U64 && !layout.is_swapped();
        if !is_plain || !block.in_all.contains(field) {
            return None;
        }
        Some(WordColumn { start: self.start?, offset: layout.offset(field)? })
    }

    /// The values at some places, to be written.
    pub(super) fn values<'a, T: FromBytes + IntoBytes>(
        &mut self,
        memory: &'a mut Memory,
        places: Range<usize>,
    ) -> &'a mut [T] {
        let value_type = self.value_type;
        let start = *self.start.get_or_insert_with(|| memory.reserve(value_type));
        slice(&mut memory.words, start, places)
    }

    /// Writes the same value to some places.
    fn fill_same<T: FromBytes + IntoBytes + Copy + Default + PartialEq>(
        &mut self,
        memory: &mut Memory,
        places: Range<usize>,
        value: T,
    ) {
        if self.start.is_some() || value != T::default() {
            self.values::<T>(memory, places).fill(value);
        }
    }

    /// Writes the same text to some places.
    fn fill_text(&mut self, memory: &mut Memory, places: Range<usize>, text: &[u8]) {
        let code = self.dictionary.code(text);
        self.fill_same(memory, places, code);
    }

    /// Marks the values at some places as unknown.
    fn mark_unknown(&mut self, places: Range<usize>) {
        if places.is_empty() {
            return;
        }
        let valid = self.valid.get_or_insert_default();
        if valid.len() * 8 < places.end {
            valid.resize(places.end.div_ceil(8), u8::MAX);
        }
        // Whole bytes at once: a field that no record holds is unknown in every row.
        let whole = places.start.next_multiple_of(8)..places.end / 8 * 8;
        let (before, after) = if whole.start < whole.end {
            valid[whole.start / 8..whole.end / 8].fill(0);
            (places.start..whole.start, whole.end..places.end)
        } else {
            (places, 0..0)
        };
        for place in before.chain(after) {
            valid[place / 8] &= !(1 << (place % 8));
        }
    }

    /// Fills the rows of a block.
    pub(super) fn fill(&mut self, memory: &mut Memory, block: &Block<'_>) {
        let places = block.places.clone();
        let header = block.rows.snapshot.header();
        match self.kind {
            ColumnKind::Field(field) => self.fill_field(memory, block, field),
            // A bare array of records has no header: what that would tell is unknown.
            ColumnKind::TimeNs if header.begin.realtime_ns == 0 => self.mark_unknown(places),
            ColumnKind::MonotonicNs if header.begin.monotonic_ns == 0 => self.mark_unknown(places),
            ColumnKind::Exited if header.source == SourceKind::Bytes => self.mark_unknown(places),
            ColumnKind::Host if header.host.is_empty() => self.mark_unknown(places),
            ColumnKind::BootId if header.boot_id == [0; 16] => self.mark_unknown(places),
            ColumnKind::TimeNs => self.fill_same(memory, places, header.begin.realtime_ns),
            ColumnKind::MonotonicNs => self.fill_same(memory, places, header.begin.monotonic_ns),
            ColumnKind::IntervalNs => match block.rows.interval {
                Some(interval) => self.fill_same(memory, places, interval.interval_ns()),
                None => self.mark_unknown(places),
            },
            ColumnKind::Exited => self.fill_exited(memory, block),
            ColumnKind::Host => self.fill_text(memory, places, header.host.as_bytes()),
            ColumnKind::BootId => {
                let id: String = header.boot_id.iter().map(|byte| format!("{byte:02x}")).collect();
                self.fill_text(memory, places, id.as_bytes());
            }
            ColumnKind::Source => self.fill_text(memory, places, header.source.name().as_bytes()),
            ColumnKind::Path => self.fill_text(memory, places, block.rows.path.as_bytes()),
            ColumnKind::Label(name) => {
                match block.rows.metadata.iter().find(|(key, _)| key == name) {
                    Some((_, value)) => self.fill_text(memory, places, value.as_bytes()),
                    None => self.mark_unknown(places),
                }
            }
            ColumnKind::User
            | ColumnKind::Cgroup
            | ColumnKind::OfCgroup(_)
            | ColumnKind::Cmdline => self.fill_names(memory, block),
            ColumnKind::Metric(metric) => self.fill_metric(memory, block, metric),
        }
    }

    fn fill_exited(&mut self, memory: &mut Memory, block: &Block<'_>) {
        let living = block.rows.snapshot.living();
        let living = living.saturating_sub(block.first).min(block.places.len());
        let exited = block.places.start + living..block.places.end;
        if !exited.is_empty() {
            self.values::<u8>(memory, exited).fill(1);
        }
    }

    fn fill_metric(&mut self, memory: &mut Memory, block: &Block<'_>, metric: Metric) {
        for (place, row) in block.places.clone().zip(block.snapshot_rows()) {
            let cell = block.rows.interval.and_then(|interval| interval.cell(row, metric));
            self.fill_cell(memory, place, cell);
        }
    }

    /// Writes a cell to a place, converted to the column's type.
    pub(super) fn fill_cell(&mut self, memory: &mut Memory, place: usize, cell: Option<Cell<'_>>) {
        let here = place..place + 1;
        macro_rules! number {
            ($type:ty, $number:expr) => {
                match <$type>::try_from($number) {
                    Ok(number) => self.fill_same(memory, here, number),
                    Err(_) => self.mark_unknown(here),
                }
            };
        }
        match (cell, self.value_type) {
            (Some(Cell::Float(value)), ValueType::F64) => self.fill_same(memory, here, value),
            (Some(Cell::Text(text)), ValueType::Text) => self.fill_text(memory, here, text),
            (Some(Cell::Int(number)), ValueType::U8) => number!(u8, number),
            (Some(Cell::Int(number)), ValueType::I8) => number!(i8, number),
            (Some(Cell::Int(number)), ValueType::U16) => number!(u16, number),
            (Some(Cell::Int(number)), ValueType::U32) => number!(u32, number),
            (Some(Cell::Int(number)), ValueType::U64) => number!(u64, number),
            (Some(Cell::Int(number)), ValueType::Bool) => {
                self.fill_same(memory, here, u8::from(number != 0));
            }
            // A living task is not exited.
            (None, ValueType::Bool) => {}
            _ => self.mark_unknown(here),
        }
    }

    /// Fills in the recorded user, cgroup or arguments of each row.
    fn fill_names(&mut self, memory: &mut Memory, block: &Block<'_>) {
        let snapshot = block.rows.snapshot;
        let Some(names) = snapshot.names() else { return self.mark_unknown(block.places.clone()) };
        for (place, row) in block.places.clone().zip(block.snapshot_rows()) {
            let here = place..place + 1;
            match snapshot.get(row).and_then(|record| name_of(self.kind, names, &record)) {
                Some(text) => {
                    let code = self.name_code(names, text);
                    self.fill_same(memory, here, code);
                }
                None => self.mark_unknown(here),
            }
        }
    }

    /// The code of a recorded name. Names lie where they are as long as their recording, and
    /// most rows have the same few: each is quoted once.
    fn name_code(&mut self, names: &NamesAt, text: &[u8]) -> i32 {
        if !self.recording.as_ref().is_some_and(|known| Arc::ptr_eq(known, &names.names)) {
            self.recording = Some(Arc::clone(&names.names));
            self.codes_of_names.clear();
        }
        let dictionary = &mut self.dictionary;
        *self.codes_of_names.entry((text.as_ptr() as usize, text.len())).or_insert_with(|| {
            match self.kind {
                ColumnKind::Cmdline => dictionary.code(&quoted(text)),
                ColumnKind::OfCgroup(name) => dictionary.code(&name.of(text)),
                _ => dictionary.code(text),
            }
        })
    }

    fn fill_field(&mut self, memory: &mut Memory, block: &Block<'_>, field: Field) {
        let snapshot = block.rows.snapshot;
        let layout = snapshot.layout();
        let offset = layout.offset(field).filter(|_| block.filled.contains(field));
        let Some(offset) = offset else { return self.mark_unknown(block.places.clone()) };
        let held: Option<Vec<bool>> = (!block.in_all.contains(field)).then(|| {
            snapshot.masks(block.snapshot_rows()).map(|mask| mask.contains(field)).collect()
        });
        if let Some(held) = &held {
            let places = block.places.clone().zip(held);
            for (place, _) in places.filter(|(_, held)| !**held) {
                self.mark_unknown(place..place + 1);
            }
        }
        let record_size = layout.record_size();
        let held = held.as_deref();
        let bytes = FieldBytes { records: block.records, record_size, offset, held };
        let is_swapped = layout.is_swapped();
        macro_rules! numbers {
            ($type:ty) => {{
                if self.start.is_none() && bytes.are_zero::<{ size_of::<$type>() }>() {
                    return;
                }
                let values = self.values::<$type>(memory, block.places.clone());
                bytes.copy(values, |bytes| {
                    let number = <$type>::from_ne_bytes(bytes);
                    if is_swapped { number.swap_bytes() } else { number }
                });
            }};
        }
        match self.value_type {
            ValueType::Bool | ValueType::F64 => {}
            ValueType::U8 => numbers!(u8),
            ValueType::I8 => numbers!(i8),
            ValueType::U16 => numbers!(u16),
            ValueType::U32 => numbers!(u32),
            ValueType::U64 => numbers!(u64),
            ValueType::Text => self.fill_comm(memory, block, &bytes),
        }
    }

    fn fill_comm(&mut self, memory: &mut Memory, block: &Block<'_>, bytes: &FieldBytes<'_>) {
        let mut names = [[0; COMM_LEN]; BLOCK_ROWS];
        bytes.copy(&mut names, |name| name);
        let codes = self.values::<i32>(memory, 0..block.places.end);
        for (place, name) in block.places.clone().zip(&names) {
            let name = until_nul(name);
            // A row is mostly of the same task as in the previous snapshot.
            let guess = place.checked_sub(block.rows_before).map(|row| codes[row]);
            let guess = guess.filter(|&code| self.dictionary.has(code, name));
            codes[place] = guess.unwrap_or_else(|| self.dictionary.code(name));
        }
    }
}

/// The recorded user, cgroup or arguments of a record's task.
fn name_of<'a>(kind: ColumnKind, names: &'a NamesAt, record: &Record<'_>) -> Option<&'a [u8]> {
    match kind {
        ColumnKind::User => names.user(record.ac_uid()?),
        ColumnKind::Cgroup | ColumnKind::OfCgroup(_) => names.cgroup(record.cgroup_id()?),
        _ => names.cmdline(record),
    }
}

fn until_nul(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == 0).next().unwrap_or_default()
}
