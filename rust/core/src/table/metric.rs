//! Metrics: the values of a task or group in a table, each with name and unit.

use std::borrow::Cow;

use crate::cgroup_stats::CgroupMetric;
use crate::fields::{Field, Kind, Unit};

/// A value that a table has for each row.
///
/// Per cent are of the interval's length: a task that keeps one CPU busy has 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// A field's value in the later snapshot.
    Field(Field),
    /// Exact CPU time since the task's start, in ns.
    CpuNs,
    /// User time in the interval, in ns.
    UserNs,
    /// System time in the interval, in ns.
    SystemNs,
    /// Steal time in the interval, in ns.
    StealNs,
    /// User, system and steal time in the interval, in ns.
    TotalNs,
    /// User time in the interval, in per cent.
    UserPct,
    /// System time in the interval, in per cent.
    SystemPct,
    /// Steal time in the interval, in per cent.
    StealPct,
    /// User, system and steal time in the interval, in per cent.
    TotalPct,
    /// A counter's increase in the interval, in its own unit.
    Delta(Field),
    /// A counter's increase per second, in its own unit.
    PerSec(Field),
    /// The increase of a counter of time, in per cent.
    Pct(Field),
    /// 1 for a task that died in the interval, unknown for others.
    Exited,
    /// User time that dead children used in the interval, in ns (see [`Children`]).
    ///
    /// [`Children`]: crate::interval::Children
    ChildUserNs,
    /// System time that dead children used in the interval, in ns.
    ChildSystemNs,
    /// Steal time that dead children had in the interval, in ns.
    ChildStealNs,
    /// User time that dead children used in the interval, in per cent.
    ChildUserPct,
    /// System time that dead children used in the interval, in per cent.
    ChildSystemPct,
    /// Steal time that dead children had in the interval, in per cent.
    ChildStealPct,
    /// The task's own time, and its dead children's where these have no rows, in ns. The
    /// sum over all rows counts each time once.
    AllNs,
    /// [`Metric::AllNs`] in per cent.
    AllPct,
    /// CPU time of the task itself in the interval, without what it started, in ns.
    OwnNs,
    /// CPU time of living descendants in the interval, in ns: of rows of a tree.
    LivingNs,
    /// CPU time of descendants that died in the interval, in ns: of rows of a tree.
    DeadNs,
    /// [`Metric::OwnNs`] in per cent.
    OwnPct,
    /// [`Metric::LivingNs`] in per cent.
    LivingPct,
    /// [`Metric::DeadNs`] in per cent.
    DeadPct,
    /// The largest of the eight delays in the interval, in ns (see [`waits`]).
    ///
    /// [`waits`]: crate::table::waits
    WaitNs,
    /// [`Metric::WaitNs`] in per cent.
    WaitPct,
    /// The longest single wait of the task since its start, in ns.
    LongestWaitNs,
    /// Bytes read from and written to storage in the interval.
    IoBytes,
    /// [`Metric::IoBytes`] per second.
    IoPerSec,
    /// Number of tasks in the row.
    Tasks,
    /// The row's title: a group's user or cgroup (see [`Groups`]), else the command name.
    ///
    /// [`Groups`]: crate::table::Groups
    Title,
    /// Of the cgroup of a row, in a tree of cgroups.
    Cgroup(CgroupMetric),
}

/// Name and unit of each metric that is not of a field.
const TABLE: [(Metric, &str, &str); 31] = [
    (Metric::CpuNs, "cpu_ns", "ns"),
    (Metric::UserNs, "user_ns", "ns"),
    (Metric::SystemNs, "system_ns", "ns"),
    (Metric::StealNs, "steal_ns", "ns"),
    (Metric::TotalNs, "total_ns", "ns"),
    (Metric::UserPct, "user_pct", "%"),
    (Metric::SystemPct, "system_pct", "%"),
    (Metric::StealPct, "steal_pct", "%"),
    (Metric::TotalPct, "total_pct", "%"),
    (Metric::Exited, "exited", ""),
    (Metric::ChildUserNs, "cuser_ns", "ns"),
    (Metric::ChildSystemNs, "csystem_ns", "ns"),
    (Metric::ChildStealNs, "csteal_ns", "ns"),
    (Metric::ChildUserPct, "cuser_pct", "%"),
    (Metric::ChildSystemPct, "csystem_pct", "%"),
    (Metric::ChildStealPct, "csteal_pct", "%"),
    (Metric::AllNs, "all_ns", "ns"),
    (Metric::AllPct, "all_pct", "%"),
    (Metric::OwnNs, "own_ns", "ns"),
    (Metric::LivingNs, "living_ns", "ns"),
    (Metric::DeadNs, "dead_ns", "ns"),
    (Metric::OwnPct, "own_pct", "%"),
    (Metric::LivingPct, "living_pct", "%"),
    (Metric::DeadPct, "dead_pct", "%"),
    (Metric::WaitNs, "wait_ns", "ns"),
    (Metric::WaitPct, "wait_pct", "%"),
    (Metric::LongestWaitNs, "longest_wait_ns", "ns"),
    (Metric::IoBytes, "io_delta", "bytes"),
    (Metric::IoPerSec, "io_per_sec", "bytes/s"),
    (Metric::Tasks, "tasks", "count"),
    (Metric::Title, "title", ""),
];

impl Metric {
    /// The metric of a name: a field's name, a name such as `total_ns` or `cpu_ns`, or a
    /// counter's name with `_delta`, `_per_sec` or, for counters of time, `_pct`.
    pub fn from_name(name: &str) -> Option<Metric> {
        let counter = |suffix: &str| {
            let field = Field::from_name(name.strip_suffix(suffix)?)?;
            (field.info().kind == Kind::Counter).then_some(field)
        };
        if let Some(&(metric, ..)) = TABLE.iter().find(|(_, known, _)| *known == name) {
            Some(metric)
        } else if let Some(metric) = CgroupMetric::from_name(name) {
            Some(Metric::Cgroup(metric))
        } else if let Some(field) = Field::from_name(name) {
            Some(Metric::Field(field))
        } else if let Some(field) = counter("_delta") {
            Some(Metric::Delta(field))
        } else if let Some(field) = counter("_per_sec") {
            Some(Metric::PerSec(field))
        } else {
            let field = counter("_pct")?;
            nanoseconds_per_unit(field)?;
            Some(Metric::Pct(field))
        }
    }

    /// The entry of a metric that is not of a field.
    fn entry(self) -> Option<&'static (Metric, &'static str, &'static str)> {
        TABLE.iter().find(|(metric, ..)| *metric == self)
    }

    /// The name that [`Metric::from_name`] takes.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Metric::Field(field) => Cow::Borrowed(field.name()),
            Metric::Delta(field) => Cow::Owned(format!("{}_delta", field.name())),
            Metric::PerSec(field) => Cow::Owned(format!("{}_per_sec", field.name())),
            Metric::Pct(field) => Cow::Owned(format!("{}_pct", field.name())),
            Metric::Cgroup(metric) => Cow::Borrowed(metric.name()),
            _ => Cow::Borrowed(self.entry().map_or("", |&(_, name, _)| name)),
        }
    }

    /// The unit's name, empty where there is none.
    pub fn unit(self) -> Cow<'static, str> {
        match self {
            Metric::Field(field) | Metric::Delta(field) => Cow::Borrowed(field.info().unit.name()),
            Metric::PerSec(field) => Cow::Owned(format!("{}/s", field.info().unit.name())),
            Metric::Pct(_) => Cow::Borrowed("%"),
            Metric::Cgroup(metric) => Cow::Borrowed(metric.unit()),
            _ => Cow::Borrowed(self.entry().map_or("", |&(.., unit)| unit)),
        }
    }

    /// Whether it is a rate or a share, a number with a fraction.
    pub const fn is_share(self) -> bool {
        if let Metric::Cgroup(metric) = self {
            return metric.is_share();
        }
        matches!(
            self,
            Metric::UserPct
                | Metric::SystemPct
                | Metric::StealPct
                | Metric::TotalPct
                | Metric::ChildUserPct
                | Metric::ChildSystemPct
                | Metric::ChildStealPct
                | Metric::AllPct
                | Metric::OwnPct
                | Metric::LivingPct
                | Metric::DeadPct
                | Metric::WaitPct
                | Metric::IoPerSec
                | Metric::PerSec(_)
                | Metric::Pct(_)
        )
    }

    /// Whether it is of a row's descendants, which only rows of a tree have.
    pub(super) const fn is_of_descendants(self) -> bool {
        matches!(self, Metric::LivingNs | Metric::LivingPct | Metric::DeadNs | Metric::DeadPct)
    }

    /// Whether the value of several rows is the sum of theirs.
    pub(super) const fn is_sum_of_rows(self) -> bool {
        !self.is_of_record()
            && !self.is_of_descendants()
            && !matches!(self, Metric::OwnNs | Metric::OwnPct | Metric::WaitNs | Metric::WaitPct)
    }

    /// Whether a value comes from one record, not from the difference of two.
    pub const fn is_of_record(self) -> bool {
        matches!(
            self,
            Metric::Field(_)
                | Metric::CpuNs
                | Metric::LongestWaitNs
                | Metric::Exited
                | Metric::Title
                | Metric::Cgroup(_)
        )
    }

    /// The field that the source has to read for this metric; None for those of CPU time,
    /// which every source reads.
    pub fn field(self) -> Option<Field> {
        match self {
            Metric::Field(field)
            | Metric::Delta(field)
            | Metric::PerSec(field)
            | Metric::Pct(field) => Some(field),
            Metric::StealNs | Metric::StealPct => Some(Field::ac_sttime),
            Metric::WaitNs | Metric::WaitPct => Some(Field::cpu_delay_total),
            Metric::LongestWaitNs => Some(Field::cpu_delay_max),
            Metric::IoBytes | Metric::IoPerSec => Some(Field::read_bytes),
            Metric::ChildUserNs | Metric::ChildUserPct => Some(Field::ac_cutime),
            Metric::ChildSystemNs | Metric::ChildSystemPct => Some(Field::ac_cstime),
            Metric::ChildStealNs | Metric::ChildStealPct => Some(Field::ac_csttime),
            _ => None,
        }
    }
}

/// Nanoseconds of a field's unit; None where the unit is not of time.
pub(super) fn nanoseconds_per_unit(field: Field) -> Option<u64> {
    match field.info().unit {
        Unit::Ns => Some(1),
        Unit::Us => Some(1_000),
        _ => None,
    }
}
