//! Records as columns: one array for each field or metric, over the rows of snapshots or
//! intervals.
//!
//! ```text
//! kind, memory, dictionary, block <- column (fills one) <- builder (fills all)
//! ```

mod block;
mod builder;
mod column;
mod dictionary;
mod kind;
mod memory;
#[cfg(test)]
mod tests;

pub use block::SnapshotRows;
pub use builder::{ColumnBuilder, Columns};
pub use dictionary::Dictionary;
pub use kind::{ColumnKind, ValueType};
pub use memory::{Allocate, Array, Batch};
