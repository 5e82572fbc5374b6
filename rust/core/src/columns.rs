//! Records as columns: one array a field, over the rows of snapshots or of an interval.
//!
//! Design decisions
//!
//! * A text is a number into a list of words.
//! * What is not known reads as zero, and stands as unknown beside the values.
//! * Most fields of most tasks are zero. Columns begin as zeros that the system has not made
//!   memory of, and only what is not zero is written: the rest never takes any.

use std::borrow::Cow;
use std::collections::HashMap;
use std::iter::repeat_n;
use std::ops::Range;

use crate::delta::Interval;
use crate::layout::{COMM_LEN, Field, Repr};
use crate::record::Record;
use crate::select::{self, Cell, Table};
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
    /// The source's name.
    Source,
    /// The name of the file.
    Path,
    /// The recorded name of the user `ac_uid`.
    User,
    /// The recorded path of the cgroup `cgroup_id`.
    Cgroup,
    /// The recorded arguments, quoted as for a shell.
    Cmdline,
    /// The interval's length in ns.
    IntervalNs,
    /// What a row of an interval has by its difference to the row before.
    Use(select::Column),
}

impl ColumnKind {
    /// What does not stand in the records of a snapshot.
    pub const BESIDE: [ColumnKind; 10] = [
        ColumnKind::TimeNs,
        ColumnKind::MonotonicNs,
        ColumnKind::Exited,
        ColumnKind::Host,
        ColumnKind::BootId,
        ColumnKind::Source,
        ColumnKind::Path,
        ColumnKind::User,
        ColumnKind::Cgroup,
        ColumnKind::Cmdline,
    ];

    /// Whether it is a name that a recording has beside its records.
    pub const fn is_name(self) -> bool {
        matches!(self, ColumnKind::User | ColumnKind::Cgroup | ColumnKind::Cmdline)
    }

    /// The column's name.
    pub fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            ColumnKind::Field(field) => field.name(),
            ColumnKind::TimeNs => "time_ns",
            ColumnKind::MonotonicNs => "monotonic_ns",
            ColumnKind::Exited => "exited",
            ColumnKind::Host => "host",
            ColumnKind::BootId => "boot_id",
            ColumnKind::Source => "source",
            ColumnKind::Path => "path",
            ColumnKind::User => "user",
            ColumnKind::Cgroup => "cgroup",
            ColumnKind::Cmdline => "cmdline",
            ColumnKind::IntervalNs => "interval_ns",
            ColumnKind::Use(column) => return column.name(),
        })
    }

    /// The column of that name that a snapshot has.
    pub fn from_name(name: &str) -> Option<ColumnKind> {
        let beside = ColumnKind::BESIDE.into_iter().find(|kind| kind.name() == name);
        beside.or_else(|| Field::from_name(name).map(ColumnKind::Field))
    }

    /// The column of that name that an interval has: those of its later snapshot, its
    /// length, and what [`select::Column`] knows.
    pub fn of_interval(name: &str) -> Option<ColumnKind> {
        if name == "interval_ns" {
            return Some(ColumnKind::IntervalNs);
        }
        ColumnKind::from_name(name).or_else(|| select::Column::from_name(name).map(ColumnKind::Use))
    }

    /// The unit's name, empty for none.
    pub fn unit(self) -> Cow<'static, str> {
        match self {
            ColumnKind::Field(field) => Cow::Borrowed(field.info().unit.name()),
            ColumnKind::TimeNs | ColumnKind::MonotonicNs | ColumnKind::IntervalNs => {
                Cow::Borrowed("ns")
            }
            ColumnKind::Use(column) => column.unit(),
            _ => Cow::Borrowed(""),
        }
    }
}

/// Values, one a record; 0 where none is known.
#[derive(Clone, Debug, PartialEq)]
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
    /// Rates and shares.
    F64(Vec<f64>),
    /// Texts: places in the column's list of words.
    Text(Vec<i32>),
}

/// Does the same with the vector of whichever kind.
macro_rules! each {
    ($values:expr, $vector:ident => $body:expr) => {
        match $values {
            Values::Bool($vector) => $body,
            Values::U8($vector) => $body,
            Values::I8($vector) => $body,
            Values::U16($vector) => $body,
            Values::U32($vector) => $body,
            Values::U64($vector) => $body,
            Values::F64($vector) => $body,
            Values::Text($vector) => $body,
        }
    };
}

impl Values {
    /// `rows` zeros, as a column of that kind has them.
    fn zeros(kind: ColumnKind, rows: usize) -> Values {
        match kind {
            ColumnKind::Field(field) => match field.info().repr {
                Repr::U8 => Values::U8(vec![0; rows]),
                Repr::I8 => Values::I8(vec![0; rows]),
                Repr::U16 => Values::U16(vec![0; rows]),
                Repr::U32 => Values::U32(vec![0; rows]),
                Repr::U64 => Values::U64(vec![0; rows]),
                Repr::Comm => Values::Text(vec![0; rows]),
            },
            ColumnKind::TimeNs | ColumnKind::MonotonicNs | ColumnKind::IntervalNs => {
                Values::U64(vec![0; rows])
            }
            ColumnKind::Exited => Values::Bool(vec![false; rows]),
            ColumnKind::Use(column) if column.is_share() => Values::F64(vec![0.0; rows]),
            ColumnKind::Use(_) => Values::U64(vec![0; rows]),
            _ => Values::Text(vec![0; rows]),
        }
    }

    /// Cuts or adds zeros.
    fn resize(&mut self, rows: usize) {
        each!(self, vector => vector.resize(rows, Default::default()));
    }
}

/// A column of a batch: its values, and which of them are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
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
    pub columns: Vec<Array>,
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
}

impl Columns {
    /// The columns of one snapshot. What only an interval has is unknown.
    pub fn of(snapshot: &Snapshot<SharedBytes>, kinds: &[ColumnKind]) -> Columns {
        Columns::of_rows([Rows { snapshot, interval: None, path: "" }].into_iter(), kinds)
    }

    /// The columns of intervals: a row for each record of their later snapshots, all in one
    /// batch.
    pub fn of_intervals<'a>(
        intervals: impl Iterator<Item = &'a Interval> + Clone,
        kinds: &[ColumnKind],
    ) -> Columns {
        let rows = |interval: &'a Interval| Rows {
            snapshot: interval.cur(),
            interval: Some(interval),
            path: "",
        };
        Columns::of_rows(intervals.map(rows), kinds)
    }

    fn of_rows<'a>(all: impl Iterator<Item = Rows<'a>> + Clone, kinds: &[ColumnKind]) -> Columns {
        let mut filling = Filling::new(kinds, all.clone().map(|rows| rows.snapshot.len()).sum());
        all.for_each(|rows| filling.add(&rows));
        let (batch, texts) = filling.finish();
        let words = texts.into_iter().map(Texts::finish).collect();
        Columns { kinds: kinds.into(), batches: vec![batch], words }
    }
}

/// A snapshot whose records become rows, and what is known beside it.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) snapshot: &'a Snapshot<SharedBytes>,
    pub(crate) interval: Option<&'a Interval>,
    pub(crate) path: &'a str,
}

/// Words, each with its number.
#[derive(Default)]
pub(crate) struct Texts {
    codes: HashMap<Vec<u8>, i32>,
    pub(crate) words: Vec<Vec<u8>>,
}

impl Texts {
    pub(crate) fn code(&mut self, word: &[u8]) -> i32 {
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

    pub(crate) fn finish(self) -> Vec<String> {
        self.words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }
}

/// Records that are looked at for all columns before the next are: they stay in the
/// first cache meanwhile.
const BLOCK_ROWS: usize = 48;

/// From so many columns on it pays to look first which bytes of a block are all zero.
const MANY_COLUMNS: usize = 16;

/// A batch that is being filled.
pub(crate) struct Filling {
    columns: Vec<FillingColumn>,
    len: usize,
    /// Number of rows of the snapshot before.
    rows_before: usize,
}

impl Filling {
    /// Of these columns, with room for `rows`.
    pub(crate) fn new(kinds: &[ColumnKind], rows: usize) -> Filling {
        let column = |&kind: &ColumnKind| FillingColumn {
            kind,
            values: Values::zeros(kind, rows),
            valid: None,
            texts: Texts::default(),
        };
        Filling { columns: kinds.iter().map(column).collect(), len: 0, rows_before: 0 }
    }

    /// Appends a snapshot's records.
    pub(crate) fn add(&mut self, rows: &Rows<'_>) {
        let snapshot = rows.snapshot;
        let (records, size) = (snapshot.record_bytes(), snapshot.layout().record_size());
        let end = self.len + snapshot.len();
        for column in &mut self.columns {
            if each!(&column.values, vector => vector.len()) < end {
                column.values.resize(end);
            }
        }
        for (number, records) in records.chunks(size * BLOCK_ROWS).enumerate() {
            let (first, len) = (number * BLOCK_ROWS, records.len() / size);
            let seen = (self.columns.len() >= MANY_COLUMNS).then(|| seen(records, size));
            let block = Block {
                rows,
                first,
                records,
                seen: seen.as_deref(),
                places: self.len + first..self.len + first + len,
                rows_before: self.rows_before,
            };
            self.columns.iter_mut().for_each(|column| column.fill(&block));
        }
        self.rows_before = snapshot.len();
        self.len = end;
    }

    /// The batch, and for each column of texts its words.
    pub(crate) fn finish(self) -> (Batch, Vec<Texts>) {
        let arrays = self.columns.into_iter().map(|mut column| {
            column.values.resize(self.len);
            (Array { values: column.values, valid: column.valid }, column.texts)
        });
        let (columns, texts) = arrays.unzip();
        (Batch { len: self.len, columns }, texts)
    }
}

/// The bits that are set in any of the records, by their place in a record.
fn seen(records: &[u8], size: usize) -> Vec<u8> {
    let mut seen = vec![0; size];
    for record in records.chunks_exact(size) {
        for (seen, byte) in seen.iter_mut().zip(record) {
            *seen |= byte;
        }
    }
    seen
}

/// Some records of a snapshot, and where they go.
struct Block<'a> {
    rows: &'a Rows<'a>,
    /// The first record's place in its snapshot.
    first: usize,
    records: &'a [u8],
    /// The bits that any of them has, where that was looked for.
    seen: Option<&'a [u8]>,
    /// The records' places in the columns.
    places: Range<usize>,
    rows_before: usize,
}

impl Block<'_> {
    /// The records' places in their snapshot.
    fn snapshot_rows(&self) -> Range<usize> {
        self.first..self.first + self.places.len()
    }

    /// Whether a field is known to be zero in all of them.
    fn is_zero(&self, offset: usize, width: usize) -> bool {
        let seen = self.seen.and_then(|seen| seen.get(offset..offset + width));
        seen.is_some_and(|seen| seen.iter().all(|&byte| byte == 0))
    }
}

/// A column that is being filled.
struct FillingColumn {
    kind: ColumnKind,
    /// Zeros from where nothing is filled in yet.
    values: Values,
    /// Written once a value is not known.
    valid: Option<Vec<bool>>,
    texts: Texts,
}

impl FillingColumn {
    /// Fills in the rows of a block.
    fn fill(&mut self, block: &Block<'_>) {
        let (snapshot, interval) = (block.rows.snapshot, block.rows.interval);
        let header = snapshot.header();
        let places = block.places.clone();
        match self.kind {
            ColumnKind::Field(field) => self.fill_field(block, field),
            ColumnKind::TimeNs => self.fill_same(places, Some(header.begin.realtime_ns)),
            ColumnKind::MonotonicNs => self.fill_same(places, Some(header.begin.monotonic_ns)),
            ColumnKind::IntervalNs => self.fill_same(places, interval.map(Interval::interval_ns)),
            ColumnKind::Exited => {
                if let Values::Bool(values) = &mut self.values {
                    for (value, row) in values[places].iter_mut().zip(block.snapshot_rows()) {
                        *value = snapshot.is_exited(row);
                    }
                }
            }
            ColumnKind::Host => self.fill_word(places, header.host.as_bytes()),
            ColumnKind::BootId => {
                let id: String = header.boot_id.iter().map(|byte| format!("{byte:02x}")).collect();
                self.fill_word(places, id.as_bytes());
            }
            ColumnKind::Source => self.fill_word(places, header.source.name().as_bytes()),
            ColumnKind::Path => self.fill_word(places, block.rows.path.as_bytes()),
            ColumnKind::User | ColumnKind::Cgroup | ColumnKind::Cmdline => {
                for (place, row) in places.zip(block.snapshot_rows()) {
                    self.fill_name(place, snapshot, row);
                }
            }
            ColumnKind::Use(column) => {
                for (place, row) in places.zip(block.snapshot_rows()) {
                    self.fill_cell(place, interval.and_then(|interval| interval.cell(row, column)));
                }
            }
        }
    }

    /// Says of the values at these places, which follow the last ones, whether they are known.
    fn mark(&mut self, places: Range<usize>, known: bool) {
        if self.valid.is_some() || !known {
            let valid = self.valid.get_or_insert_with(|| vec![true; places.start]);
            valid.resize(places.end, known);
        }
    }

    fn fill_same(&mut self, places: Range<usize>, value: Option<u64>) {
        self.mark(places.clone(), value.is_some());
        if let (Values::U64(values), Some(value)) = (&mut self.values, value) {
            values[places].fill(value);
        }
    }

    fn fill_cell(&mut self, place: usize, cell: Option<Cell<'_>>) {
        self.mark(place..place + 1, cell.is_some());
        match (&mut self.values, cell) {
            (Values::F64(values), Some(Cell::Float(value))) => values[place] = value,
            (Values::U64(values), Some(Cell::Int(number))) => {
                values[place] = u64::try_from(number).unwrap_or(0);
            }
            _ => {}
        }
    }

    fn fill_word(&mut self, places: Range<usize>, word: &[u8]) {
        self.mark(places.clone(), true);
        let code = self.texts.code(word);
        if let (Values::Text(codes), 1..) = (&mut self.values, code) {
            codes[places].fill(code);
        }
    }

    /// What a recording calls the user, cgroup or arguments of a row.
    fn fill_name(&mut self, place: usize, snapshot: &Snapshot<SharedBytes>, row: usize) {
        let text = snapshot.get(row).and_then(|record| name_of(self.kind, snapshot, &record));
        self.mark(place..place + 1, text.is_some());
        if let (Values::Text(codes), Some(text)) = (&mut self.values, text) {
            codes[place] = self.texts.code(&text);
        }
    }

    fn fill_field(&mut self, block: &Block<'_>, field: Field) {
        let snapshot = block.rows.snapshot;
        let layout = snapshot.layout();
        let offset = layout.offset(field).filter(|_| snapshot.filled().contains(field));
        let Some(offset) = offset else {
            self.mark(block.places.clone(), false);
            return;
        };
        let masks = &snapshot.header().masks;
        let everywhere = masks.iter().all(|mask| mask.contains(field));
        if !everywhere || self.valid.is_some() {
            let valid = self.valid.get_or_insert_with(|| vec![true; block.places.start]);
            valid.extend(block.snapshot_rows().map(|row| snapshot.holds(row, field)));
        }
        let known = self.valid.as_ref().filter(|_| !everywhere);
        let known = known.map(|valid| &valid[block.places.clone()]);
        let fields = Fields { block, size: layout.record_size(), offset, known };
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
            Values::Bool(_) | Values::F64(_) => {}
            Values::U8(values) => numbers!(values, u8),
            Values::I8(values) => numbers!(values, i8),
            Values::U16(values) => numbers!(values, u16),
            Values::U32(values) => numbers!(values, u32),
            Values::U64(values) => numbers!(values, u64),
            Values::Text(codes) => {
                for (place, name) in block.places.clone().zip(fields.values::<COMM_LEN>()) {
                    let name = until_nul(&name);
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

/// One field's bytes in all records of a block; zeros where it is not known.
struct Fields<'a> {
    block: &'a Block<'a>,
    size: usize,
    offset: usize,
    known: Option<&'a [bool]>,
}

impl Fields<'_> {
    fn values<const N: usize>(&self) -> impl Iterator<Item = [u8; N]> {
        let mut known = self.known.map(|known| known.iter());
        self.block.records.chunks_exact(self.size).map(move |record| {
            let known = known.as_mut().is_none_or(|known| known.next() == Some(&true));
            let field = record.get(self.offset..).filter(|_| known);
            field.and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
        })
    }

    /// Writes what `make` makes of every field.
    fn copy<T, const N: usize>(&self, values: &mut [T], make: impl Fn([u8; N]) -> T) {
        if self.block.is_zero(self.offset, N) {
            return;
        }
        let values = &mut values[self.block.places.clone()];
        values.iter_mut().zip(self.values()).for_each(|(value, bytes)| *value = make(bytes));
    }
}
