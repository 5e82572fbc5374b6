//! Records, snapshots and intervals of Linux task accounting: pure parsing and
//! arithmetic over bytes, without I/O and without `unsafe`.
//!
//! ```text
//! layout (the field table) -> record -> snapshot + header -> delta (interval) -> select
//! wire: the generic netlink messages in which the kernel sends records
//! ```

#![forbid(unsafe_code)]

pub mod books;
mod chains;
pub mod children;
pub mod codec;
pub mod columns;
mod cpus;
pub mod delta;
pub mod dump;
pub mod error;
pub mod fold;
pub mod header;
pub mod layout;
pub mod record;
pub mod select;
pub mod snapshot;
pub mod state;
pub mod wire;

pub use books::{Books, CpuUse};
pub use children::Children;
pub use delta::Interval;
pub use error::{ErrorKind, ParseError};
pub use fold::{Fold, FoldBy, GroupKey};
pub use header::{CpuClocks, CpuTimes, FieldStatus, Flags, Header, Instant, SourceKind, System};
pub use layout::{Field, FieldSet, Group, Kind, Layout, Repr, Unit};
pub use record::{Identity, Record, RecordMut, Value};
pub use select::{Cell, Column, Filter, Key, Query, Table, compare};
pub use snapshot::{SharedBytes, Snapshot};
