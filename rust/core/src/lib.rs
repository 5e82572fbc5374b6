//! Records, snapshots and intervals of Linux task accounting: pure parsing and
//! arithmetic over bytes, without I/O and without `unsafe`.
//!
//! ```text
//! layout (the field table) -> record -> snapshot + header -> delta (interval) -> select
//! wire: the generic netlink messages in which the kernel sends records
//! ```

#![forbid(unsafe_code)]

pub mod cgroup;
pub mod cgroup_readings;
pub mod cgroup_stats;
pub mod codec;
pub mod columns;
pub mod dump;
pub mod error;
pub mod field_set;
pub mod fields;
pub mod header;
pub mod history;
pub mod identity;
pub mod interval;
pub mod layout;
pub mod machine;
pub mod names;
pub mod record;
mod record_buffer;
pub mod snapshot;
pub mod state;
pub mod table;
pub mod wire;

pub use cgroup::CgroupName;
pub use cgroup_readings::{CgroupReadings, CgroupsAt};
pub use cgroup_stats::{
    CgroupMetric, CgroupPart, CgroupStats, CgroupUse, CgroupValue, CgroupValues, CpuMax,
    KnownCgroups, Limit,
};
pub use error::{ErrorKind, ParseError};
pub use field_set::{FieldSet, mask_index};
pub use fields::{Field, FieldGroup, Kind, Repr, Unit};
pub use header::{CpuClocks, CpuTimes, FieldStatus, Flags, Header, Instant, SourceKind, System};
pub use identity::{HashTask, Identity, TaskKey};
pub use interval::{Balance, Boot, Children, CpuUse, Interval, TaskSum, TaskSums};
pub use layout::Layout;
pub use machine::{
    CgroupLimits, Disk, DiskCounts, Machine, MemoryDetails, Meters, Network, NetworkCounts,
    Pressure, Stall,
};
pub use record::{Record, RecordMut, Value};
pub use record_buffer::RecordBuffer;
pub use snapshot::{SharedBytes, Snapshot};
pub use table::{
    Arranged, Branch, Cell, Condition, Conditions, Dead, Filter, FilterMemory, GroupBy, GroupKey,
    Groups, Kept, Key, MergedRow, Metric, Query, TaskTable, TaskTree, Text, Texts, compare,
    parse_condition,
};
