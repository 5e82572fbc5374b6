//! Records as columns: one array a field, over the rows of snapshots or of an interval.
//!
//! Design decisions
//!
//! * A text is a number into a list of words.
//! * What is not known reads as zero, and stands as unknown beside the values.

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
    /// No values of a column of that kind, with room for `rows`.
    pub fn new(kind: ColumnKind, rows: usize) -> Values {
        let mut values = match kind {
            ColumnKind::Field(field) => match field.info().repr {
                Repr::U8 => Values::U8(Vec::new()),
                Repr::I8 => Values::I8(Vec::new()),
                Repr::U16 => Values::U16(Vec::new()),
                Repr::U32 => Values::U32(Vec::new()),
                Repr::U64 => Values::U64(Vec::new()),
                Repr::Comm => Values::Text(Vec::new()),
            },
            ColumnKind::TimeNs | ColumnKind::MonotonicNs | ColumnKind::IntervalNs => {
                Values::U64(Vec::new())
            }
            ColumnKind::Exited => Values::Bool(Vec::new()),
            ColumnKind::Use(column) if column.is_share() => Values::F64(Vec::new()),
            ColumnKind::Use(_) => Values::U64(Vec::new()),
            _ => Values::Text(Vec::new()),
        };
        each!(&mut values, vector => vector.reserve(rows));
        values
    }

    fn len(&self) -> usize {
        each!(self, vector => vector.len())
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

    pub(crate) fn finish(self) -> Vec<String> {
        self.words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }
}

/// Records that are looked at for all columns before the next are: they stay in the
/// first cache meanwhile.
const BLOCK_ROWS: usize = 48;

/// A batch that is being filled.
pub(crate) struct Filling {
    columns: Vec<FillingColumn>,
    len: usize,
}

impl Filling {
    pub(crate) fn new(kinds: &[ColumnKind], rows: usize) -> Filling {
        let column = |&kind: &ColumnKind| FillingColumn {
            kind,
            values: Values::new(kind, rows),
            valid: None,
            texts: Texts::default(),
            rows_before: 0,
        };
        Filling { columns: kinds.iter().map(column).collect(), len: 0 }
    }

    /// Appends a snapshot's records.
    pub(crate) fn add(&mut self, rows: &Rows<'_>) {
        let snapshot = rows.snapshot;
        let (records, size) = (snapshot.record_bytes(), snapshot.layout().record_size());
        for (block, records) in records.chunks(size * BLOCK_ROWS).enumerate() {
            let start = block * BLOCK_ROWS;
            let range = start..start + records.len() / size;
            self.columns.iter_mut().for_each(|column| column.add(rows, range.clone(), records));
        }
        self.columns.iter_mut().for_each(|column| column.rows_before = snapshot.len());
        self.len += snapshot.len();
    }

    /// The batch, and for each column of texts its words.
    pub(crate) fn finish(self) -> (Batch, Vec<Texts>) {
        let arrays = self
            .columns
            .into_iter()
            .map(|column| (Array { values: column.values, valid: column.valid }, column.texts));
        let (columns, texts) = arrays.unzip();
        (Batch { len: self.len, columns }, texts)
    }
}

/// A column that is being filled.
struct FillingColumn {
    kind: ColumnKind,
    values: Values,
    /// Written once a value is not known.
    valid: Option<Vec<bool>>,
    texts: Texts,
    /// Number of rows of the snapshot before.
    rows_before: usize,
}

impl FillingColumn {
    /// Appends the rows of a snapshot whose records are `records`.
    fn add(&mut self, rows: &Rows<'_>, range: Range<usize>, records: &[u8]) {
        let header = rows.snapshot.header();
        let length = range.len();
        match self.kind {
            ColumnKind::Field(field) => self.add_field(rows.snapshot, field, range, records),
            ColumnKind::TimeNs => self.add_same(Some(header.begin.realtime_ns), length),
            ColumnKind::MonotonicNs => self.add_same(Some(header.begin.monotonic_ns), length),
            ColumnKind::IntervalNs => {
                self.add_same(rows.interval.map(Interval::interval_ns), length);
            }
            ColumnKind::Exited => {
                if let Values::Bool(values) = &mut self.values {
                    values.extend(range.map(|row| rows.snapshot.is_exited(row)));
                }
            }
            ColumnKind::Host => self.add_word(header.host.as_bytes(), length),
            ColumnKind::BootId => {
                let id: String = header.boot_id.iter().map(|byte| format!("{byte:02x}")).collect();
                self.add_word(id.as_bytes(), length);
            }
            ColumnKind::Source => self.add_word(header.source.name().as_bytes(), length),
            ColumnKind::Path => self.add_word(rows.path.as_bytes(), length),
            ColumnKind::User | ColumnKind::Cgroup | ColumnKind::Cmdline => {
                for row in range {
                    self.add_name(rows.snapshot, row);
                }
            }
            ColumnKind::Use(column) => {
                for row in range {
                    self.add_cell(rows.interval.and_then(|interval| interval.cell(row, column)));
                }
            }
        }
    }

    /// Says of the next value whether it is known.
    fn mark(&mut self, known: bool) {
        let before = self.values.len();
        match &mut self.valid {
            Some(valid) => valid.push(known),
            None if known => {}
            None => {
                let mut valid = vec![true; before];
                valid.push(false);
                self.valid = Some(valid);
            }
        }
    }

    fn add_same(&mut self, value: Option<u64>, length: usize) {
        for _ in 0..length {
            self.mark(value.is_some());
            if let Values::U64(values) = &mut self.values {
                values.push(value.unwrap_or(0));
            }
        }
    }

    fn add_cell(&mut self, cell: Option<Cell<'_>>) {
        self.mark(cell.is_some());
        match (&mut self.values, cell) {
            (Values::F64(values), Some(Cell::Float(value))) => values.push(value),
            (Values::F64(values), _) => values.push(0.0),
            (Values::U64(values), Some(Cell::Int(number))) => {
                values.push(u64::try_from(number).unwrap_or(0));
            }
            (Values::U64(values), _) => values.push(0),
            _ => {}
        }
    }

    fn add_word(&mut self, word: &[u8], length: usize) {
        if let Values::Text(codes) = &mut self.values {
            codes.extend(repeat_n(self.texts.code(word), length));
        }
        if let Some(valid) = &mut self.valid {
            valid.extend(repeat_n(true, length));
        }
    }

    /// What a recording calls the user, cgroup or arguments of a row.
    fn add_name(&mut self, snapshot: &Snapshot<SharedBytes>, row: usize) {
        let text = snapshot.get(row).and_then(|record| name_of(self.kind, snapshot, &record));
        self.mark(text.is_some());
        if let Values::Text(codes) = &mut self.values {
            codes.push(text.map_or(0, |text| self.texts.code(&text)));
        }
    }

    fn add_field(
        &mut self,
        snapshot: &Snapshot<SharedBytes>,
        field: Field,
        rows: Range<usize>,
        records: &[u8],
    ) {
        let before = self.values.len();
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
            Values::Bool(_) | Values::F64(_) => {}
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
