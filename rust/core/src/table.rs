//! Tables of tasks: one row for each task or group, sorted, filtered and summed.
//!
//! ```text
//! metric (what a table shows) <- query (TaskTable, sort, filter) <- waits <- tasks, unchanged
//! members (rows that count as one) <- slices (of all rows in an order) <- group, tree
//! filter (conditions on rows) <- filter_parse (what a user typed)
//! filter_memory (what it found before) <- conditions <- query, unchanged
//! ```

mod conditions;
mod filter;
mod filter_memory;
mod filter_parse;
mod group;
mod members;
mod metric;
mod query;
mod running_sums;
mod slices;
mod tasks;
mod tree;
mod unchanged;
pub mod waits;

pub use conditions::Conditions;
pub use filter::{Condition, Text, Texts};
pub use filter_memory::FilterMemory;
pub use filter_parse::parse_condition;
pub use group::{GroupBy, GroupKey, Groups};
pub use metric::Metric;
pub use query::{Cell, Dead, Filter, Key, Query, TaskTable, compare};
pub use tree::{Arranged, Branch, TaskTree};
pub use unchanged::{Kept, MergedRow};
