//! Many snapshots as columns: one array a field, over all their records.
//!
//! Design decisions
//!
//! * Runs of frames are read side by side and become batches of columns, as Arrow has
//!   them; nothing is laid end to end that need not be.
//! * A text is a number into one list of words for all batches.
//! * Snapshots that cannot be read are left out and told of.

use std::collections::HashMap;
use std::iter::repeat_n;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::read::{Cursor, Reader};
use crate::error::ParseError;
use crate::layout::{COMM_LEN, Field, Repr};
use crate::snapshot::{SharedBytes, Snapshot};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// A field of the records.
    Field(Field),
    /// CLOCK_REALTIME ns of the snapshot's begin.
    TimeNs,
    /// CLOCK_MONOTONIC ns of the snapshot's begin.
    MonotonicNs,
    /// Whether the record is of a task that died since the snapshot before.
    Exited,
    /// The host's name.
    Host,
    /// The boot's random id, 32 hex digits.
    BootId,
    /// The name of the file.
    Path,
}

impl ColumnKind {
    /// What does not stand in the records.
    pub const BESIDE: [ColumnKind; 6] = [
        ColumnKind::TimeNs,
        ColumnKind::MonotonicNs,
        ColumnKind::Exited,
        ColumnKind::Host,
        ColumnKind::BootId,
        ColumnKind::Path,
    ];

    /// The column's name.
    pub const fn name(self) -> &'static str {
        match self {
            ColumnKind::Field(field) => field.name(),
            ColumnKind::TimeNs => "time_ns",
            ColumnKind::MonotonicNs => "monotonic_ns",
            ColumnKind::Exited => "exited",
            ColumnKind::Host => "host",
            ColumnKind::BootId => "boot_id",
            ColumnKind::Path => "path",
        }
    }

    /// The column of that name.
    pub fn from_name(name: &str) -> Option<ColumnKind> {
        let beside = ColumnKind::BESIDE.into_iter().find(|kind| kind.name() == name);
        beside.or_else(|| Field::from_name(name).map(ColumnKind::Field))
    }
}

/// A column's values, one a record; 0 where none is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// True or false.
    Bool(Vec<bool>),
    /// Unsigned bytes.
    U8(Vec<u8>),
    /// Signed bytes.
    I8(Vec<i8>),
    /// 16-bit unsigned.
    U16(Vec<u16>),
    /// 32-bit unsigned.
    U32(Vec<u32>),
    /// 64-bit unsigned.
    U64(Vec<u64>),
    /// Texts: places in the column's list of words.
    Text(Vec<i32>),
}

impl Values {
    fn new(kind: ColumnKind, rows: usize) -> Values {
        match kind {
            ColumnKind::Field(field) => match field.info().repr {
                Repr::U8 => Values::U8(Vec::with_capacity(rows)),
                Repr::I8 => Values::I8(Vec::with_capacity(rows)),
                Repr::U16 => Values::U16(Vec::with_capacity(rows)),
                Repr::U32 => Values::U32(Vec::with_capacity(rows)),
                Repr::U64 => Values::U64(Vec::with_capacity(rows)),
                Repr::Comm => Values::Text(Vec::with_capacity(rows)),
            },
            ColumnKind::TimeNs | ColumnKind::MonotonicNs => Values::U64(Vec::with_capacity(rows)),
            ColumnKind::Exited => Values::Bool(Vec::with_capacity(rows)),
            ColumnKind::Host | ColumnKind::BootId | ColumnKind::Path => {
                Values::Text(Vec::with_capacity(rows))
            }
        }
    }
}

/// A column of a batch: its values, and which of them are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// One value a record.
    pub values: Values,
    /// Whether the value is known; None where all are.
    pub valid: Option<Vec<bool>>,
}

/// Some of the records, in columns.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Number of records.
    pub len: usize,
    /// In the order they were asked for.
    pub columns: Vec<Column>,
}

/// Records in columns.
#[derive(Clone, Debug)]
pub struct Columns {
    /// What the columns hold.
    pub kinds: Vec<ColumnKind>,
    /// The records in their order.
    pub batches: Vec<Batch>,
    /// For each column of texts its words.
    pub words: Vec<Vec<String>>,
    /// What could not be read and is left out.
    pub lost: Vec<Lost>,
}

impl Columns {
    /// The columns of one snapshot.
    pub fn of(snapshot: &Snapshot<SharedBytes>, kinds: &[ColumnKind]) -> Columns {
        let mut columns: Vec<Filling> =
            kinds.iter().map(|&kind| Filling::new(kind, snapshot.len())).collect();
        fill(&mut columns, snapshot, "");
        let filled = columns.into_iter().map(Filling::finish);
        let (columns, words) = filled.map(|(column, texts)| (column, texts.finish())).unzip();
        let batch = Batch { len: snapshot.len(), columns };
        Columns { kinds: kinds.into(), batches: vec![batch], words, lost: Vec::new() }
    }
}

/// A snapshot that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which of the parts.
    pub part: usize,
    /// The snapshot's index in its reader.
    pub index: usize,
    /// Why.
    pub error: ParseError,
}

/// Snapshots of one reader.
pub struct Part<'a> {
    /// Where they are.
    pub reader: &'a Reader,
    /// The name for [`ColumnKind::Path`].
    pub path: &'a str,
    /// Their indices.
    pub indices: Vec<usize>,
}

/// Records of a batch, as far as whole runs of snapshots allow.
const BATCH_ROWS: usize = 1 << 17;

/// The columns of all records of the parts' snapshots, read by `threads` threads.
pub fn read(parts: &[Part<'_>], kinds: &[ColumnKind], threads: usize) -> Columns {
    let jobs = jobs(parts);
    let queue = Mutex::new(jobs.iter().enumerate());
    let done: Mutex<Vec<Option<Outcome>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let labour = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((place, job)) = next else { return };
            let outcome = job.read(&parts[job.part], kinds);
            done.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(jobs.len()) {
            scope.spawn(labour);
        }
        labour();
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten();
    let mut texts: Vec<Texts> = kinds.iter().map(|_| Texts::default()).collect();
    let (mut batches, mut lost) = (Vec::new(), Vec::new());
    for mut outcome in done {
        let columns = outcome.batch.columns.iter_mut().zip(&outcome.texts).zip(&mut texts);
        for ((column, own), texts) in columns {
            if let Values::Text(codes) = &mut column.values {
                let shared: Vec<i32> = own.words.iter().map(|word| texts.code(word)).collect();
                codes.iter_mut().for_each(|code| *code = shared[*code as usize]);
            }
        }
        lost.append(&mut outcome.lost);
        batches.push(outcome.batch);
    }
    let words = texts.into_iter().map(Texts::finish).collect();
    Columns { kinds: kinds.into(), batches, words, lost }
}

/// Snapshots of one part that are read one after the other.
struct Job {
    part: usize,
    indices: Vec<usize>,
    rows: usize,
}

/// Cuts the parts between runs of deltas, so that no frame is read twice.
fn jobs(parts: &[Part<'_>]) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for (part, Part { reader, indices, .. }) in parts.iter().enumerate() {
        for &index in indices {
            let rows = reader.rows(index).unwrap_or(0);
            let last = jobs.last_mut().filter(|job| {
                job.part == part && (job.rows + rows <= BATCH_ROWS || !reader.is_full(index))
            });
            match last {
                Some(job) => {
                    job.indices.push(index);
                    job.rows += rows;
                }
                None => jobs.push(Job { part, indices: vec![index], rows }),
            }
        }
    }
    jobs
}

/// What came of a job.
struct Outcome {
    batch: Batch,
    /// Words of the columns of texts.
    texts: Vec<Texts>,
    lost: Vec<Lost>,
}

/// Words, each with its number.
#[derive(Default)]
struct Texts {
    codes: HashMap<Vec<u8>, i32>,
    words: Vec<Vec<u8>>,
}

impl Texts {
    fn code(&mut self, word: &[u8]) -> i32 {
        if let Some(&code) = self.codes.get(word) {
            return code;
        }
        let code = self.words.len() as i32;
        self.codes.insert(word.into(), code);
        self.words.push(word.into());
        code
    }

    fn finish(self) -> Vec<String> {
        self.words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }
}

impl Job {
    fn read(&self, part: &Part<'_>, kinds: &[ColumnKind]) -> Outcome {
        // Room for what frames' headers promise, if that is not out of all proportion.
        let rows = self.rows.min(2 * BATCH_ROWS);
        let mut columns: Vec<Filling> =
            kinds.iter().map(|&kind| Filling::new(kind, rows)).collect();
        let (mut cursor, mut lost, mut len) = (Cursor::default(), Vec::new(), 0);
        for &index in &self.indices {
            match part.reader.snapshot(index, &mut cursor) {
                Ok(snapshot) => {
                    fill(&mut columns, &snapshot, part.path);
                    len += snapshot.len();
                }
                Err(error) => lost.push(Lost { part: self.part, index, error }),
            }
        }
        let (columns, texts) = columns.into_iter().map(Filling::finish).unzip();
        Outcome { batch: Batch { len, columns }, texts, lost }
    }
}

/// Records that are looked at for all columns before the next are: they stay in the
/// first cache meanwhile.
const BLOCK_ROWS: usize = 48;

/// Appends a snapshot's records.
fn fill(columns: &mut [Filling], snapshot: &Snapshot<SharedBytes>, path: &str) {
    let (records, size) = (snapshot.record_bytes(), snapshot.layout().record_size());
    for (block, records) in records.chunks(size * BLOCK_ROWS).enumerate() {
        let start = block * BLOCK_ROWS;
        let rows = start..start + records.len() / size;
        columns.iter_mut().for_each(|column| column.add(snapshot, path, rows.clone(), records));
    }
    columns.iter_mut().for_each(|column| column.rows_before = snapshot.len());
}

/// A column that is being filled.
struct Filling {
    kind: ColumnKind,
    values: Values,
    /// Written once a value is not known.
    valid: Option<Vec<bool>>,
    texts: Texts,
    /// Number of rows of the snapshot before.
    rows_before: usize,
}

impl Filling {
    fn new(kind: ColumnKind, rows: usize) -> Filling {
        let (values, texts) = (Values::new(kind, rows), Texts::default());
        Filling { kind, values, valid: None, texts, rows_before: 0 }
    }

    fn finish(self) -> (Column, Texts) {
        (Column { values: self.values, valid: self.valid }, self.texts)
    }

    fn len(&self) -> usize {
        match &self.values {
            Values::Bool(values) => values.len(),
            Values::U8(values) => values.len(),
            Values::I8(values) => values.len(),
            Values::U16(values) => values.len(),
            Values::U32(values) => values.len(),
            Values::U64(values) => values.len(),
            Values::Text(codes) => codes.len(),
        }
    }

    /// Appends the rows of a snapshot whose records are `records`.
    fn add(
        &mut self,
        snapshot: &Snapshot<SharedBytes>,
        path: &str,
        rows: Range<usize>,
        records: &[u8],
    ) {
        let header = snapshot.header();
        match (self.kind, &mut self.values) {
            (ColumnKind::Field(field), _) => self.add_field(snapshot, field, rows, records),
            (ColumnKind::TimeNs, Values::U64(values)) => {
                values.extend(repeat_n(header.begin.realtime_ns, rows.len()));
            }
            (ColumnKind::MonotonicNs, Values::U64(values)) => {
                values.extend(repeat_n(header.begin.monotonic_ns, rows.len()));
            }
            (ColumnKind::Exited, Values::Bool(values)) => {
                values.extend(rows.map(|row| snapshot.is_exited(row)));
            }
            (kind, Values::Text(codes)) => {
                let boot_id: String;
                let word = match kind {
                    ColumnKind::Host => &header.host,
                    ColumnKind::BootId => {
                        boot_id = header.boot_id.iter().map(|byte| format!("{byte:02x}")).collect();
                        &boot_id
                    }
                    _ => path,
                };
                codes.extend(repeat_n(self.texts.code(word.as_bytes()), rows.len()));
            }
            _ => {}
        }
    }

    fn add_field(
        &mut self,
        snapshot: &Snapshot<SharedBytes>,
        field: Field,
        rows: Range<usize>,
        records: &[u8],
    ) {
        let before = self.len();
        let layout = snapshot.layout();
        let place = layout.offset(field).filter(|_| snapshot.filled().contains(field));
        let masks = &snapshot.header().masks;
        let everywhere = place.is_some() && masks.iter().all(|mask| mask.contains(field));
        if !everywhere || self.valid.is_some() {
            let valid = self.valid.get_or_insert_with(|| vec![true; before]);
            match place {
                Some(_) => valid.extend(rows.clone().map(|row| snapshot.holds(row, field))),
                None => valid.extend(repeat_n(false, rows.len())),
            }
        }
        let known = self.valid.as_ref().filter(|_| !everywhere).map(|valid| &valid[before..]);
        // Where no record has the field, all are taken for zeros.
        let offset = place.unwrap_or(0);
        let fields = Fields { records, size: layout.record_size(), offset, known };
        let swapped = layout.is_swapped();
        macro_rules! numbers {
            ($values:expr, $type:ty) => {
                fields.copy($values, |bytes| {
                    let number = <$type>::from_ne_bytes(bytes);
                    if swapped { number.swap_bytes() } else { number }
                })
            };
        }
        match &mut self.values {
            Values::Bool(_) => {}
            Values::U8(values) => numbers!(values, u8),
            Values::I8(values) => numbers!(values, i8),
            Values::U16(values) => numbers!(values, u16),
            Values::U32(values) => numbers!(values, u32),
            Values::U64(values) => numbers!(values, u64),
            Values::Text(codes) => {
                let mut names = Vec::with_capacity(rows.len());
                fields.copy(&mut names, |name: [u8; COMM_LEN]| name);
                for name in &names {
                    let name = until_nul(name);
                    // A row is mostly the task that it was in the snapshot before.
                    let guess = codes.len().checked_sub(self.rows_before);
                    let guess = guess.and_then(|row| codes.get(row)).copied();
                    let same = guess.filter(|&code| self.texts.words[code as usize] == name);
                    codes.push(same.unwrap_or_else(|| self.texts.code(name)));
                }
            }
        }
    }
}

fn until_nul(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// One field's bytes in all records; zeros where it is not known.
struct Fields<'a> {
    records: &'a [u8],
    size: usize,
    offset: usize,
    known: Option<&'a [bool]>,
}

impl Fields<'_> {
    /// Appends what `make` makes of every field.
    fn copy<T, const N: usize>(&self, values: &mut Vec<T>, make: impl Fn([u8; N]) -> T) {
        let records = self.records.chunks_exact(self.size);
        let field = |record: &[u8]| {
            record.get(self.offset..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
        };
        match self.known {
            None => values.extend(records.map(|record| make(field(record)))),
            Some(known) => {
                let known = known.iter().zip(records);
                values.extend(
                    known.map(|(&known, record)| make(if known { field(record) } else { [0; N] })),
                );
            }
        }
    }
}
