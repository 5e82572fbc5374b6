//! What a column holds, and of which type its values are.

use std::borrow::Cow;

use crate::fields::{Field, Repr};
use crate::table;

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
    Metric(table::Metric),
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

    /// Whether it says the same of all records of a snapshot, or of all that died.
    pub(super) const fn is_of_snapshot(self) -> bool {
        matches!(
            self,
            ColumnKind::TimeNs
                | ColumnKind::MonotonicNs
                | ColumnKind::IntervalNs
                | ColumnKind::Exited
                | ColumnKind::Host
                | ColumnKind::BootId
                | ColumnKind::Source
                | ColumnKind::Path
        )
    }

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
            ColumnKind::Metric(column) => return column.name(),
        })
    }

    /// The column of that name that a snapshot has.
    pub fn from_name(name: &str) -> Option<ColumnKind> {
        let beside = ColumnKind::BESIDE.into_iter().find(|kind| kind.name() == name);
        beside.or_else(|| Field::from_name(name).map(ColumnKind::Field))
    }

    /// The column of that name that an interval has: those of its later snapshot, its
    /// length, and what [`table::Metric`] knows.
    pub fn of_interval(name: &str) -> Option<ColumnKind> {
        if name == "interval_ns" {
            return Some(ColumnKind::IntervalNs);
        }
        // A row of an interval is called as its record is.
        let used = || table::Metric::from_name(name).filter(|&used| used != table::Metric::Title);
        ColumnKind::from_name(name).or_else(|| used().map(ColumnKind::Metric))
    }

    /// The unit's name, empty for none.
    pub fn unit(self) -> Cow<'static, str> {
        match self {
            ColumnKind::Field(field) => Cow::Borrowed(field.info().unit.name()),
            ColumnKind::TimeNs | ColumnKind::MonotonicNs | ColumnKind::IntervalNs => {
                Cow::Borrowed("ns")
            }
            ColumnKind::Metric(column) => column.unit(),
            _ => Cow::Borrowed(""),
        }
    }
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// 0 or 1, a byte each.
    Bool,
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    I8,
    /// 16-bit unsigned.
    U16,
    /// 32-bit unsigned.
    U32,
    /// 64-bit unsigned.
    U64,
    /// Rates and shares.
    F64,
    /// Dictionary: places in the column's list of words, 32-bit signed.
    Text,
}

impl ValueType {
    /// What a column of that kind has.
    pub const fn of(kind: ColumnKind) -> ValueType {
        match kind {
            ColumnKind::Field(field) => match field.info().repr {
                Repr::U8 => ValueType::U8,
                Repr::I8 => ValueType::I8,
                Repr::U16 => ValueType::U16,
                Repr::U32 => ValueType::U32,
                Repr::U64 => ValueType::U64,
                Repr::Comm => ValueType::Text,
            },
            ColumnKind::TimeNs | ColumnKind::MonotonicNs | ColumnKind::IntervalNs => ValueType::U64,
            ColumnKind::Exited => ValueType::Bool,
            ColumnKind::Metric(column) if column.is_share() => ValueType::F64,
            ColumnKind::Metric(_) => ValueType::U64,
            _ => ValueType::Text,
        }
    }

    /// Bytes of a value.
    pub const fn width(self) -> usize {
        match self {
            ValueType::Bool | ValueType::U8 | ValueType::I8 => 1,
            ValueType::U16 => 2,
            ValueType::U32 | ValueType::Text => 4,
            ValueType::U64 | ValueType::F64 => 8,
        }
    }
}
