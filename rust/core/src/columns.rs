//! Records as columns: one array a field, over the rows of snapshots or of an interval.

mod fill;
mod kind;
mod memory;

pub use fill::{ColumnBuilder, Columns, Dictionary, SnapshotRows};
pub use kind::{ColumnKind, ValueType};
pub use memory::{Allocate, Array, Batch};
