//! RecordBuffer as columns: one array a field, over the rows of snapshots or of an interval.
//!
//! Design decisions
//!
//! * A text is a number into a list of words.
//! * What is not known reads as zero, and stands as unknown beside the values.
//! * All columns of a batch lie in one piece of memory, which begins as zeros: where the
//!   system makes large pages of it, that is several times as fast as many small ones.
//! * A column gets its place there with the first value that is not zero. The system makes
//!   memory when it is first written to: columns of zeros alone, which share what is left,
//!   take none.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::ops::Range;

use zerocopy::{FromBytes, IntoBytes};

use super::kind::{ColumnKind, ValueType};
use super::memory::{Allocate, Array, Batch, Memory, slice, zeros};
use crate::fields::{COMM_LEN, Field, FieldSet};
use crate::interval::Interval;
use crate::record::Record;
use crate::snapshot::{SharedBytes, Snapshot};
use crate::table::{Cell, TaskTable};

/// RecordBuffer in columns.
#[derive(Clone, Debug)]
pub struct Columns {
    /// What the columns hold.
    pub kinds: Vec<ColumnKind>,
    /// The records in their order.
    pub batches: Vec<Batch>,
    /// For each column of texts its words.
    pub words: Vec<Vec<String>>,
}

impl Columns {
    /// The columns of one snapshot. What only an interval has is unknown.
    pub fn of(snapshot: &Snapshot<SharedBytes>, kinds: &[ColumnKind]) -> Columns {
        Columns::of_rows([SnapshotRows { snapshot, interval: None, path: "" }].into_iter(), kinds)
    }

    /// The columns of intervals: a row for each record of their later snapshots, all in one
    /// batch.
    pub fn of_intervals<'a>(
        intervals: impl Iterator<Item = &'a Interval> + Clone,
        kinds: &[ColumnKind],
    ) -> Columns {
        let rows = |interval: &'a Interval| SnapshotRows {
            snapshot: interval.cur(),
            interval: Some(interval),
            path: "",
        };
        Columns::of_rows(intervals.map(rows), kinds)
    }

    fn of_rows<'a>(
        all: impl Iterator<Item = SnapshotRows<'a>> + Clone,
        kinds: &[ColumnKind],
    ) -> Columns {
        let count = all.clone().map(|rows| rows.snapshot.len()).sum();
        let mut filling = ColumnBuilder::new(kinds, count, zeros);
        all.for_each(|rows| filling.add(&rows));
        let (batch, texts) = filling.finish();
        let words = texts.into_iter().map(Dictionary::finish).collect();
        Columns { kinds: kinds.into(), batches: vec![batch], words }
    }
}

/// A snapshot whose records become rows, and what is known beside it.
#[derive(Clone, Copy)]
pub struct SnapshotRows<'a> {
    /// The records.
    pub snapshot: &'a Snapshot<SharedBytes>,
    /// The interval that ends with the snapshot, for columns of use.
    pub interval: Option<&'a Interval>,
    /// The name of the file, for [`ColumnKind::Path`].
    pub path: &'a str,
}

/// Words, each with its number.
#[derive(Default)]
pub struct Dictionary {
    codes: HashMap<Vec<u8>, i32>,
    /// The words, by code.
    pub words: Vec<Vec<u8>>,
}

impl Dictionary {
    /// The code of a word; a new word gets the next code.
    pub fn code(&mut self, word: &[u8]) -> i32 {
        if let Some(&code) = self.codes.get(word) {
            return code;
        }
        let code = self.words.len() as i32;
        self.codes.insert(word.into(), code);
        self.words.push(word.into());
        code
    }

    /// Whether that is the word's number.
    fn is(&self, code: i32, word: &[u8]) -> bool {
        self.words.get(code as usize).is_some_and(|known| known == word)
    }

    /// The words as text, by code.
    pub fn finish(self) -> Vec<String> {
        self.words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }
}

/// RecordBuffer that are looked at for all columns before the next are: they stay in the
/// second cache meanwhile. So few that the first could hold them are slower, as every
/// column is turned to more often.
const BLOCK_ROWS: usize = 256;

/// A batch that is being filled.
pub struct ColumnBuilder {
    columns: Vec<ColumnInProgress>,
    memory: Memory,
    allocate: Allocate,
    len: usize,
    /// Number of rows of the snapshot before.
    rows_before: usize,
}

impl ColumnBuilder {
    /// Of these columns, with room for `room` rows.
    pub fn new(kinds: &[ColumnKind], room: usize, allocate: Allocate) -> ColumnBuilder {
        let column = |&kind: &ColumnKind| ColumnInProgress {
            kind,
            start: None,
            valid: None,
            texts: Dictionary::default(),
        };
        let columns: Vec<_> = kinds.iter().map(column).collect();
        let memory = Memory::new(columns.iter().map(ColumnInProgress::value_type), room, allocate);
        ColumnBuilder { columns, memory, allocate, len: 0, rows_before: 0 }
    }

    fn make_room(&mut self, room: usize) {
        let mut memory =
            Memory::new(self.columns.iter().map(ColumnInProgress::value_type), room, self.allocate);
        for column in &mut self.columns {
            let Some(before) = column.start else { continue };
            let start = memory.give(column.value_type());
            let used = self.len * column.value_type().width();
            let from = &self.memory.words[before..].as_bytes()[..used];
            memory.words[start..].as_mut_bytes()[..used].copy_from_slice(from);
            column.start = Some(start);
        }
        self.memory = memory;
    }

    /// Appends a snapshot's records.
    pub fn add(&mut self, rows: &SnapshotRows<'_>) {
        let snapshot = rows.snapshot;
        let (records, size) = (snapshot.record_bytes(), snapshot.layout().record_size());
        let end = self.len + snapshot.len();
        if end > self.memory.room {
            self.make_room(end.max(2 * self.memory.room));
        }
        let filled = snapshot.filled();
        let (begin, rows_before) = (self.len, self.rows_before);
        let block = |first: usize, records| {
            let len = <[u8]>::len(records) / size;
            let everywhere =
                snapshot.masks(first..first + len).fold(filled, FieldSet::intersection);
            let places = begin + first..begin + first + len;
            Block { rows, filled, everywhere, first, records, places, rows_before }
        };
        let whole = block(0, records);
        for column in self.columns.iter_mut().filter(|column| column.kind.is_of_snapshot()) {
            column.fill(&mut self.memory, &whole);
        }
        for (number, records) in records.chunks(size * BLOCK_ROWS).enumerate() {
            let block = block(number * BLOCK_ROWS, records);
            // Those first that read the records fastest: the others find them in the cache.
            let words: Vec<Words> =
                self.columns.iter().filter_map(|column| column.words(&block)).collect();
            block.copy_words(&mut self.memory.words, &words);
            for column in self.columns.iter_mut().filter(|column| !column.kind.is_of_snapshot()) {
                if column.words(&block).is_none() {
                    column.fill(&mut self.memory, &block);
                }
            }
        }
        self.rows_before = snapshot.len();
        self.len = end;
    }

    /// For each column the words that it has so far.
    pub fn words(&self) -> impl Iterator<Item = &[Vec<u8>]> {
        self.columns.iter().map(|column| &*column.texts.words)
    }

    /// Puts another number in the place of each of a column's words.
    pub fn remap_codes(&mut self, column: usize, numbers: &[i32]) {
        // Of words in their old order, and where nothing was known and there is none,
        // nothing changes.
        if numbers.iter().zip(0..).any(|(&number, before)| number != before) {
            let codes = self.columns[column].values::<i32>(&mut self.memory, 0..self.len);
            for code in codes {
                *code = numbers.get(*code as usize).copied().unwrap_or(0);
            }
        }
    }

    /// Gives back what there is too much room: damaged frames may have promised far more
    /// than there was.
    pub fn trim(&mut self) {
        if self.len < self.memory.room / 2 {
            self.make_room(self.len);
        }
    }

    /// The batch, and for each column of texts its words.
    pub fn finish(mut self) -> (Batch, Vec<Dictionary>) {
        self.trim();
        let arrays = self.columns.into_iter().map(|mut column| {
            if let Some(valid) = &mut column.valid {
                valid.resize(self.len.div_ceil(8), u8::MAX);
            }
            let (value_type, start) = (column.value_type(), column.start);
            // There was room for each of those that did not need it.
            let start = start.unwrap_or(self.memory.free);
            (Array { value_type, start, valid: column.valid }, column.texts)
        });
        let (columns, texts) = arrays.unzip();
        (Batch { len: self.len, columns, memory: self.memory.words }, texts)
    }
}

/// Some records of a snapshot, and where they go.
struct Block<'a> {
    rows: &'a SnapshotRows<'a>,
    /// Fields that any record of the snapshot has.
    filled: FieldSet,
    /// Fields that all of these records have.
    everywhere: FieldSet,
    /// The first record's place in its snapshot.
    first: usize,
    records: &'a [u8],
    /// The records' places in the columns.
    places: Range<usize>,
    rows_before: usize,
}

impl Block<'_> {
    /// The records' places in their snapshot.
    fn snapshot_rows(&self) -> Range<usize> {
        self.first..self.first + self.places.len()
    }

    /// Fills in these columns.
    fn copy_words(&self, memory: &mut [u64], columns: &[Words]) {
        let (together, rest) = columns.as_chunks::<TOGETHER>();
        together.iter().for_each(|&columns| self.copy_words_together(memory, columns));
        rest.iter().for_each(|&column| self.copy_words_together(memory, [column]));
    }

    fn copy_words_together<const N: usize>(&self, memory: &mut [u64], columns: [Words; N]) {
        let (places, size) = (&self.places, self.rows.snapshot.layout().record_size());
        let values = columns.map(|Words { start, .. }| start + places.start..start + places.end);
        let mut values =
            memory.get_disjoint_mut(values).expect("each column has a place of its own");
        // For the compiler: all are of the same length.
        values.iter_mut().for_each(|values| *values = &mut mem::take(values)[..places.len()]);
        for (row, record) in self.records.chunks_exact(size).enumerate().take(places.len()) {
            for (values, Words { offset, .. }) in values.iter_mut().zip(columns) {
                let field = record[offset..].first_chunk().expect("fields lie in their records");
                values[row] = u64::from_ne_bytes(*field);
            }
        }
    }
}

/// Columns of words that are filled at the same time, while a record's cache lines are at
/// hand. With more of them the processor has too few registers.
const TOGETHER: usize = 4;

/// A column of words that are copied as they are.
#[derive(Clone, Copy)]
struct Words {
    /// The word of the memory at which it begins.
    start: usize,
    /// Where its field stands in a record.
    offset: usize,
}

/// A column that is being filled.
struct ColumnInProgress {
    kind: ColumnKind,
    /// The word of the memory at which it begins; None as long as all its values are zero.
    start: Option<usize>,
    valid: Option<Vec<u8>>,
    texts: Dictionary,
}

impl ColumnInProgress {
    const fn value_type(&self) -> ValueType {
        ValueType::of(self.kind)
    }

    /// The column as one of words, if it is one whose field all of a block's records have.
    fn words(&self, block: &Block<'_>) -> Option<Words> {
        let ColumnKind::Field(field) = self.kind else { return None };
        let layout = block.rows.snapshot.layout();
        let plain = self.value_type() == ValueType::U64 && !layout.is_swapped();
        if !plain || !block.everywhere.contains(field) {
            return None;
        }
        Some(Words { start: self.start?, offset: layout.offset(field)? })
    }

    /// The values at some places, to be written.
    fn values<'a, T: FromBytes + IntoBytes>(
        &mut self,
        memory: &'a mut Memory,
        places: Range<usize>,
    ) -> &'a mut [T] {
        let value_type = self.value_type();
        let start = *self.start.get_or_insert_with(|| memory.give(value_type));
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

    /// Fills in the rows of a block.
    fn fill(&mut self, memory: &mut Memory, block: &Block<'_>) {
        let (snapshot, interval) = (block.rows.snapshot, block.rows.interval);
        let header = snapshot.header();
        match self.kind {
            ColumnKind::Field(field) => self.fill_field(memory, block, field),
            ColumnKind::TimeNs => {
                self.fill_same(memory, block.places.clone(), header.begin.realtime_ns);
            }
            ColumnKind::MonotonicNs => {
                self.fill_same(memory, block.places.clone(), header.begin.monotonic_ns);
            }
            ColumnKind::IntervalNs => match interval {
                Some(interval) => {
                    self.fill_same(memory, block.places.clone(), interval.interval_ns());
                }
                None => self.mark_unknown(block.places.clone()),
            },
            ColumnKind::Exited => {
                let living = snapshot.living();
                let living = living.saturating_sub(block.first).min(block.places.len());
                let exited = block.places.start + living..block.places.end;
                if !exited.is_empty() {
                    self.values::<u8>(memory, exited).fill(1);
                }
            }
            ColumnKind::Host => self.fill_word(memory, block, header.host.as_bytes()),
            ColumnKind::BootId => {
                let id: String = header.boot_id.iter().map(|byte| format!("{byte:02x}")).collect();
                self.fill_word(memory, block, id.as_bytes());
            }
            ColumnKind::Source => self.fill_word(memory, block, header.source.name().as_bytes()),
            ColumnKind::Path => self.fill_word(memory, block, block.rows.path.as_bytes()),
            ColumnKind::User | ColumnKind::Cgroup | ColumnKind::Cmdline => {
                self.fill_names(memory, block);
            }
            ColumnKind::Metric(column) => {
                for (place, row) in block.places.clone().zip(block.snapshot_rows()) {
                    let here = place..place + 1;
                    match interval.and_then(|interval| interval.cell(row, column)) {
                        Some(Cell::Float(value)) => {
                            self.fill_same(memory, here, value);
                        }
                        Some(Cell::Int(number)) => {
                            let value = u64::try_from(number).unwrap_or(0);
                            self.fill_same(memory, here, value);
                        }
                        _ => self.mark_unknown(here),
                    }
                }
            }
        }
    }

    /// Says that nothing is known of the values at these places.
    fn mark_unknown(&mut self, places: impl Iterator<Item = usize>) {
        for place in places {
            let valid = self.valid.get_or_insert_default();
            if place / 8 >= valid.len() {
                valid.resize(place / 8 + 1, u8::MAX);
            }
            valid[place / 8] &= !(1 << (place % 8));
        }
    }

    fn fill_word(&mut self, memory: &mut Memory, block: &Block<'_>, word: &[u8]) {
        let code = self.texts.code(word);
        self.fill_same(memory, block.places.clone(), code);
    }

    /// What a recording calls the user, cgroup or arguments of rows.
    fn fill_names(&mut self, memory: &mut Memory, block: &Block<'_>) {
        let snapshot = block.rows.snapshot;
        for (place, row) in block.places.clone().zip(block.snapshot_rows()) {
            let here = place..place + 1;
            match snapshot.get(row).and_then(|record| name_of(self.kind, snapshot, &record)) {
                Some(text) => {
                    let code = self.texts.code(&text);
                    self.fill_same(memory, here, code);
                }
                None => self.mark_unknown(here),
            }
        }
    }

    fn fill_field(&mut self, memory: &mut Memory, block: &Block<'_>, field: Field) {
        let snapshot = block.rows.snapshot;
        let layout = snapshot.layout();
        let offset = layout.offset(field).filter(|_| block.filled.contains(field));
        let Some(offset) = offset else { return self.mark_unknown(block.places.clone()) };
        let known: Option<Vec<bool>> = (!block.everywhere.contains(field)).then(|| {
            snapshot.masks(block.snapshot_rows()).map(|mask| mask.contains(field)).collect()
        });
        if let Some(known) = &known {
            let places = block.places.clone().zip(known);
            self.mark_unknown(places.filter(|(_, known)| !**known).map(|(place, _)| place));
        }
        let known = known.as_deref();
        let fields = Fields { records: block.records, size: layout.record_size(), offset, known };
        let swapped = layout.is_swapped();
        macro_rules! numbers {
            ($type:ty) => {{
                if self.start.is_none() && fields.are_zero::<{ size_of::<$type>() }>() {
                    return;
                }
                let values = self.values::<$type>(memory, block.places.clone());
                fields.copy(values, |bytes| {
                    let number = <$type>::from_ne_bytes(bytes);
                    if swapped { number.swap_bytes() } else { number }
                });
            }};
        }
        match self.value_type() {
            ValueType::Bool | ValueType::F64 => {}
            ValueType::U8 => numbers!(u8),
            ValueType::I8 => numbers!(i8),
            ValueType::U16 => numbers!(u16),
            ValueType::U32 => numbers!(u32),
            ValueType::U64 => numbers!(u64),
            ValueType::Text => {
                let mut names = [[0; COMM_LEN]; BLOCK_ROWS];
                fields.copy(&mut names, |name| name);
                let codes = self.values::<i32>(memory, 0..block.places.end);
                for (place, name) in block.places.clone().zip(&names) {
                    let name = until_nul(name);
                    // A row is mostly the task that it was in the snapshot before.
                    let guess = place.checked_sub(block.rows_before).map(|row| codes[row]);
                    let guess = guess.filter(|&code| self.texts.is(code, name));
                    codes[place] = guess.unwrap_or_else(|| self.texts.code(name));
                }
            }
        }
    }
}

fn name_of<'a>(
    kind: ColumnKind,
    snapshot: &'a Snapshot<SharedBytes>,
    record: &Record<'_>,
) -> Option<Cow<'a, [u8]>> {
    let names = snapshot.names()?;
    match kind {
        ColumnKind::User => names.user(record.ac_uid()?).map(Cow::Borrowed),
        ColumnKind::Cgroup => names.cgroup(record.cgroup_id()?).map(Cow::Borrowed),
        _ => {
            let arguments = names.cmdline(record)?;
            let words = arguments.strip_suffix(b"\0").unwrap_or(arguments);
            if words.is_empty() {
                return Some(Cow::Borrowed(words));
            }
            let quoted = words.split(|&byte| byte == 0).map(shlex::bytes::try_quote);
            let quoted: Vec<_> = quoted.filter_map(Result::ok).collect();
            Some(Cow::Owned(quoted.join(&b' ')))
        }
    }
}

fn until_nul(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// One field's bytes in records.
struct Fields<'a> {
    records: &'a [u8],
    size: usize,
    offset: usize,
    /// In which records it is known; None for all.
    known: Option<&'a [bool]>,
}

impl Fields<'_> {
    /// Whether nothing but zeros is in them, known or not.
    fn are_zero<const N: usize>(&self) -> bool {
        self.records.chunks_exact(self.size).all(|record| {
            record[self.offset..].first_chunk().is_none_or(|field: &[u8; N]| field == &[0; N])
        })
    }

    /// Writes what `make` makes of every field that is known; the others stay as they are.
    fn copy<T, const N: usize>(&self, values: &mut [T], make: impl Fn([u8; N]) -> T) {
        let records = values.iter_mut().zip(self.records.chunks_exact(self.size));
        let field = |record: &[u8]| record[self.offset..].first_chunk().copied();
        match self.known {
            None => {
                for (value, record) in records {
                    let Some(field) = field(record) else { return };
                    *value = make(field);
                }
            }
            Some(known) => {
                for ((value, record), _) in records.zip(known).filter(|(_, known)| **known) {
                    let Some(field) = field(record) else { return };
                    *value = make(field);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{Header, SourceKind};
    use crate::layout::{EXTENSION_BIT, Layout};
    use crate::record::RecordMut;

    #[test]
    fn a_batch_with_too_little_or_too_much_room_keeps_what_it_has() {
        let layout = Layout::of_version(14 | EXTENSION_BIT).expect("a known version");
        let size = layout.record_size();
        let mut bytes = vec![0; 3 * size];
        for (number, row) in bytes.chunks_exact_mut(size).enumerate() {
            let mut record = RecordMut::new(row, &layout).expect("the right size");
            record.set(Field::ac_pid, number as u64 + 7);
            record.set_text(Field::ac_comm, format!("task{number}").as_bytes());
        }
        let held = FieldSet::EMPTY.with(Field::ac_pid).with(Field::ac_comm);
        let header = Header::new(SourceKind::Procfs, held);
        let snapshot = Snapshot::new(header, layout, SharedBytes::new(bytes), 0..3 * size, 0..0);
        let snapshot = snapshot.expect("well formed");
        let kinds = [
            ColumnKind::Field(Field::ac_pid),
            ColumnKind::Field(Field::ac_nice),
            ColumnKind::Exited,
            ColumnKind::Field(Field::ac_comm),
        ];
        let filled = |room: usize| {
            let mut filling = ColumnBuilder::new(&kinds, room, zeros);
            for _ in 0..40 {
                filling.add(&SnapshotRows { snapshot: &snapshot, interval: None, path: "" });
            }
            filling.finish()
        };
        let (grown, words) = filled(0);
        let (roomy, _) = filled(10_000);
        assert!(roomy.memory.len() < 400, "{} words", roomy.memory.len());
        let values = |mut batch: Batch| {
            let start = |column: usize| batch.columns[column].start;
            let [pid, comm] = [start(0), start(3)];
            let pids: Vec<u32> = slice(&mut batch.memory, pid, 0..120).to_vec();
            let codes: Vec<i32> = slice(&mut batch.memory, comm, 0..120).to_vec();
            let valid: Vec<_> = batch.columns.into_iter().map(|column| column.valid).collect();
            (pids, codes, valid)
        };
        assert_eq!(words[3].words, ["task0", "task1", "task2"].map(Vec::from));
        let (pids, codes, valid) = values(grown);
        assert_eq!(pids, [7, 8, 9].repeat(40));
        assert_eq!(codes, [0, 1, 2].repeat(40));
        assert_eq!(valid, [None, Some(vec![0; 15]), None, None]);
        assert_eq!((pids, codes, valid), values(roomy));

        let mut filling = ColumnBuilder::new(&[ColumnKind::Host], 3, zeros);
        filling.add(&SnapshotRows { snapshot: &snapshot, interval: None, path: "" });
        assert_eq!(filling.columns[0].start, None, "zeros take no memory");
        filling.remap_codes(0, &[0]);
        assert_eq!(filling.columns[0].start, None);
        filling.remap_codes(0, &[5]);
        let (mut batch, _) = filling.finish();
        let start = batch.columns[0].start;
        assert_eq!(slice::<i32>(&mut batch.memory, start, 0..3), [5, 5, 5]);

        // What was promised and did not come is given back at once.
        let mut filling = ColumnBuilder::new(&kinds, 1 << 18, zeros);
        filling.add(&SnapshotRows { snapshot: &snapshot, interval: None, path: "" });
        filling.trim();
        assert!(filling.memory.words.len() < 400);
    }

    #[test]
    fn columns_that_are_zero_at_first_get_their_place_later() {
        let layout = Layout::of_version(14 | EXTENSION_BIT).expect("a known version");
        // More than are filled at a time, one of another width, one that stays zero.
        let fields = [
            Field::ac_utime,
            Field::ac_stime,
            Field::ac_etime,
            Field::nvcsw,
            Field::nivcsw,
            Field::read_bytes,
            Field::ac_pid,
            Field::write_bytes,
        ];
        let held = fields.into_iter().fold(FieldSet::EMPTY, FieldSet::with);
        let size = layout.record_size();
        let value = |field: usize, row: usize| match field {
            7 => 0,
            _ => (1000 * field + row) as u64,
        };
        let snapshot = |from: usize, rows: usize, zero: bool| {
            let mut bytes = vec![0; rows * size];
            for (row, record) in bytes.chunks_exact_mut(size).enumerate() {
                let mut record = RecordMut::new(record, &layout).expect("the right size");
                for (number, &field) in fields.iter().enumerate().filter(|_| !zero) {
                    record.set(field, value(number, from + row));
                }
            }
            let header = Header::new(SourceKind::Procfs, held);
            let (bytes, all) = (SharedBytes::new(bytes), 0..rows * size);
            Snapshot::new(header, layout.clone(), bytes, all, 0..0).expect("well formed")
        };
        let kinds = fields.map(ColumnKind::Field);
        // With room for all, and with room that has to be made.
        for room in [5 * BLOCK_ROWS, 1] {
            let mut filling = ColumnBuilder::new(&kinds, room, zeros);
            let zero = 2 * BLOCK_ROWS + 3;
            for snapshot in [snapshot(0, zero, true), snapshot(zero, BLOCK_ROWS + 5, false)] {
                filling.add(&SnapshotRows { snapshot: &snapshot, interval: None, path: "" });
            }
            let (mut batch, _) = filling.finish();
            for (number, column) in batch.columns.clone().into_iter().enumerate() {
                let expected = (0..batch.len).map(|row| match row {
                    row if row < zero => 0,
                    row => value(number, row),
                });
                let expected: Vec<u64> = expected.collect();
                let (start, all) = (column.start, 0..batch.len);
                let values = match column.value_type {
                    ValueType::U64 => slice::<u64>(&mut batch.memory, start, all).to_vec(),
                    _ => slice::<u32>(&mut batch.memory, start, all)
                        .iter()
                        .map(|&pid| pid.into())
                        .collect(),
                };
                assert_eq!(values, expected, "{:?}", fields[number]);
            }
        }
    }
}
