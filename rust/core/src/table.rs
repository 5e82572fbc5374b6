//! Tables of tasks: one row for each task or group, sorted, filtered and summed.
//!
//! ```text
//! metric (what a table shows) <- query (TaskTable, sort, filter) <- tasks, unchanged, group
//! ```

mod group;
mod metric;
mod query;
mod tasks;
mod unchanged;

pub use group::{GroupBy, GroupKey, Groups};
pub use metric::Metric;
pub use query::{Cell, Filter, Key, Query, TaskTable, compare};
pub use unchanged::MergedRow;
