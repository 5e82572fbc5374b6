//! The columns that records, snapshots and intervals have: name, value type, unit.
//!
//! Design decisions
//!
//! * This is the one place for the properties of columns. Those of fields come from the
//!   field table, those of metrics from [`Metric`], all others from one table here.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::cgroup::CgroupName;
use crate::fields::{Field, Kind, Repr};
use crate::table::Metric;

/// Quantity that a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// A field of the records.
    Field(Field),
    /// CLOCK_REALTIME ns of the snapshot's begin.
    TimeNs,
    /// CLOCK_MONOTONIC ns of the snapshot's begin.
    MonotonicNs,
    /// Whether the record is of a task that died since the previous snapshot.
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
    /// A name in that path, empty where it has none.
    OfCgroup(CgroupName),
    /// The recorded arguments, quoted as for a shell.
    Cmdline,
    /// The interval's length in ns.
    IntervalNs,
    /// A metric of an interval's row.
    Metric(Metric),
    /// A label of the recording, by its name in the metadata, such as `label.rack`.
    Label(&'static str),
}

/// What the names of labels begin with in the metadata of a recording.
const LABEL: &str = "label.";

/// The type of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// 0 or 1, one byte each.
    Bool,
    /// 8-bit unsigned.
    U8,
    /// 8-bit signed.
    I8,
    /// 16-bit unsigned.
    U16,
    /// 32-bit unsigned.
    U32,
    /// 64-bit unsigned.
    U64,
    /// 64-bit floating point: rates and shares.
    F64,
    /// Text: 32-bit signed codes, indices into the column's dictionary.
    Text,
}

impl ValueType {
    /// Size of a value in bytes.
    pub const fn width(self) -> usize {
        match self {
            ValueType::Bool | ValueType::U8 | ValueType::I8 => 1,
            ValueType::U16 => 2,
            ValueType::U32 | ValueType::Text => 4,
            ValueType::U64 | ValueType::F64 => 8,
        }
    }
}

/// The properties of a column that is neither a field nor a metric.
struct Entry {
    kind: ColumnKind,
    name: &'static str,
    value_type: ValueType,
    unit: &'static str,
    nullable: bool,
}

const fn entry(
    kind: ColumnKind,
    name: &'static str,
    value_type: ValueType,
    unit: &'static str,
    nullable: bool,
) -> Entry {
    Entry { kind, name, value_type, unit, nullable }
}

const TABLE: [Entry; 14] = [
    entry(ColumnKind::TimeNs, "time_ns", ValueType::U64, "ns", true),
    entry(ColumnKind::MonotonicNs, "monotonic_ns", ValueType::U64, "ns", true),
    entry(ColumnKind::Exited, "exited", ValueType::Bool, "", true),
    entry(ColumnKind::Host, "host", ValueType::Text, "", true),
    entry(ColumnKind::BootId, "boot_id", ValueType::Text, "", true),
    entry(ColumnKind::Source, "source", ValueType::Text, "", false),
    entry(ColumnKind::Path, "path", ValueType::Text, "", false),
    entry(ColumnKind::User, "user", ValueType::Text, "", true),
    entry(ColumnKind::Cgroup, "cgroup", ValueType::Text, "", true),
    entry(ColumnKind::OfCgroup(CgroupName::Container), "container", ValueType::Text, "", true),
    entry(ColumnKind::OfCgroup(CgroupName::Pod), "pod", ValueType::Text, "", true),
    entry(ColumnKind::OfCgroup(CgroupName::Unit), "unit", ValueType::Text, "", true),
    entry(ColumnKind::Cmdline, "cmdline", ValueType::Text, "", true),
    // Unknown in a snapshot's columns, as time and place are for a bare array of records.
    entry(ColumnKind::IntervalNs, "interval_ns", ValueType::U64, "ns", true),
];

impl ColumnKind {
    /// The columns of a snapshot that are not fields of its records.
    pub const NOT_FIELDS: [ColumnKind; 13] = [
        ColumnKind::TimeNs,
        ColumnKind::MonotonicNs,
        ColumnKind::Exited,
        ColumnKind::Host,
        ColumnKind::BootId,
        ColumnKind::Source,
        ColumnKind::Path,
        ColumnKind::User,
        ColumnKind::Cgroup,
        ColumnKind::OfCgroup(CgroupName::Container),
        ColumnKind::OfCgroup(CgroupName::Pod),
        ColumnKind::OfCgroup(CgroupName::Unit),
        ColumnKind::Cmdline,
    ];

    /// The columns of a recording's intervals in the order of an export: when and where,
    /// the use, the names, all fields.
    pub fn of_recording() -> impl Iterator<Item = ColumnKind> {
        let first = [
            ColumnKind::TimeNs,
            ColumnKind::Host,
            ColumnKind::BootId,
            ColumnKind::Source,
            ColumnKind::IntervalNs,
            ColumnKind::Metric(Metric::UserNs),
            ColumnKind::Metric(Metric::SystemNs),
            ColumnKind::Metric(Metric::StealNs),
            ColumnKind::Metric(Metric::TotalNs),
            ColumnKind::Exited,
            ColumnKind::User,
            ColumnKind::Cgroup,
            ColumnKind::Cmdline,
        ];
        first.into_iter().chain(Field::ALL.iter().copied().map(ColumnKind::Field))
    }

    /// Whether the value is the same for all records of a snapshot, or for all living and
    /// all exited ones.
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
                | ColumnKind::Label(_)
        )
    }

    /// Whether it is a name that a recording has outside its records.
    pub const fn is_name(self) -> bool {
        matches!(
            self,
            ColumnKind::User | ColumnKind::Cgroup | ColumnKind::OfCgroup(_) | ColumnKind::Cmdline
        )
    }

    /// The column of a snapshot with that name.
    pub fn from_name(name: &str) -> Option<ColumnKind> {
        let other = ColumnKind::NOT_FIELDS.into_iter().find(|kind| kind.name() == name);
        other.or_else(|| Field::from_name(name).map(ColumnKind::Field))
    }

    /// The column of an interval with that name: a column of its later snapshot, its
    /// length, or a metric.
    pub fn of_interval(name: &str) -> Option<ColumnKind> {
        if name == ColumnKind::IntervalNs.name() {
            return Some(ColumnKind::IntervalNs);
        }
        ColumnKind::from_name(name).or_else(|| Metric::from_name(name).map(ColumnKind::Metric))
    }

    /// The column of a recording's label with that name; None if no label has such a name.
    pub fn of_label(name: &str) -> Option<ColumnKind> {
        // The names that a program asks for are few. They are kept, so that a kind can be copied.
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        name.strip_prefix(LABEL).filter(|rest| !rest.is_empty())?;
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = names.get(name).copied().unwrap_or_else(|| Box::leak(name.into()));
        names.insert(kept);
        Some(ColumnKind::Label(kept))
    }

    /// The metric of each row that the column holds; None where it is not of the row.
    pub(super) const fn metric(self) -> Option<Metric> {
        match self {
            ColumnKind::Field(field) => Some(Metric::Field(field)),
            ColumnKind::Metric(metric) => Some(metric),
            ColumnKind::Exited => Some(Metric::Exited),
            _ => None,
        }
    }

    fn entry(self) -> Option<&'static Entry> {
        TABLE.iter().find(|entry| entry.kind == self)
    }

    /// The column's name.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            ColumnKind::Field(field) => Cow::Borrowed(field.name()),
            ColumnKind::Metric(metric) => metric.name(),
            ColumnKind::Label(name) => Cow::Borrowed(name),
            _ => Cow::Borrowed(self.entry().map_or("", |entry| entry.name)),
        }
    }

    /// The type of the column's values.
    pub fn value_type(self) -> ValueType {
        match self {
            ColumnKind::Field(field) => match field.info().repr {
                Repr::U8 => ValueType::U8,
                Repr::I8 => ValueType::I8,
                Repr::U16 => ValueType::U16,
                Repr::U32 => ValueType::U32,
                Repr::U64 | Repr::Timespec => ValueType::U64,
                Repr::Comm => ValueType::Text,
            },
            ColumnKind::Metric(metric) if metric.is_share() => ValueType::F64,
            ColumnKind::Metric(Metric::Title) | ColumnKind::Label(_) => ValueType::Text,
            ColumnKind::Metric(_) => ValueType::U64,
            _ => self.entry().map_or(ValueType::U64, |entry| entry.value_type),
        }
    }

    /// The unit's name, empty where there is none.
    pub fn unit(self) -> Cow<'static, str> {
        match self {
            ColumnKind::Field(field) => Cow::Borrowed(field.info().unit.name()),
            ColumnKind::Metric(metric) => metric.unit(),
            _ => Cow::Borrowed(self.entry().map_or("", |entry| entry.unit)),
        }
    }

    /// For a time since 1970: nanoseconds of its unit.
    pub fn instant_ns(self) -> Option<u64> {
        match self {
            ColumnKind::TimeNs => Some(1),
            ColumnKind::Field(Field::ac_btime | Field::ac_btime64) => Some(1_000_000_000),
            ColumnKind::Field(field) if field.info().repr == Repr::Timespec => Some(1),
            _ => None,
        }
    }

    /// Whether a value may be unknown.
    pub fn is_nullable(self) -> bool {
        self.entry().is_none_or(|entry| entry.nullable)
    }

    /// Whether the value only grows during a task's life, so that its increase is a use.
    pub fn is_counter(self) -> bool {
        match self {
            ColumnKind::Field(field) => field.info().kind == Kind::Counter,
            ColumnKind::Metric(metric) => metric == Metric::CpuNs,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ColumnKind, TABLE, ValueType};

    #[test]
    fn each_column_is_found_by_its_name() {
        for kind in ColumnKind::of_recording().chain(ColumnKind::NOT_FIELDS) {
            assert_eq!(ColumnKind::of_interval(&kind.name()), Some(kind), "{}", kind.name());
        }
        for entry in &TABLE {
            assert!(!entry.name.is_empty());
        }
    }

    #[test]
    fn a_label_is_a_column_of_text_with_its_name_in_the_metadata() {
        let rack = ColumnKind::of_label("label.rack").expect("a column");
        assert_eq!(rack, ColumnKind::Label("label.rack"));
        assert_eq!(ColumnKind::of_label(&String::from("label.rack")), Some(rack));
        assert_eq!((&*rack.name(), rack.value_type()), ("label.rack", ValueType::Text));
        assert!(rack.is_nullable());
        for other in ["label", "label.", "rack", ""] {
            assert_eq!(ColumnKind::of_label(other), None);
        }
    }

    #[test]
    fn columns_know_type_unit_and_meaning() {
        let column = |name| ColumnKind::of_interval(name).expect("a column");
        let properties = |name| {
            let kind = column(name);
            (kind.value_type(), kind.unit().into_owned(), kind.is_nullable(), kind.is_counter())
        };
        assert_eq!(properties("time_ns"), (ValueType::U64, "ns".into(), true, false));
        assert_eq!(properties("title"), (ValueType::Text, "".into(), true, false));
        assert_eq!(properties("exited"), (ValueType::Bool, "".into(), true, false));
        assert_eq!(properties("ac_nice"), (ValueType::I8, "".into(), true, false));
        assert_eq!(properties("ac_comm"), (ValueType::Text, "".into(), true, false));
        assert_eq!(properties("cpu_ns"), (ValueType::U64, "ns".into(), true, true));
        assert_eq!(properties("read_bytes"), (ValueType::U64, "bytes".into(), true, true));
        let instants = ColumnKind::of_recording().filter(|kind| kind.instant_ns().is_some());
        assert_eq!(instants.count(), 1 + 2 + 8);
        let rate = (ValueType::F64, "bytes/s".into(), true, false);
        assert_eq!(properties("read_bytes_per_sec"), rate);
    }
}
