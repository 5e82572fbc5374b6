//! Tables of tasks: one row a task or a group, sorted, filtered and summed.

mod group;
mod query;

pub use group::{GroupBy, GroupKey, Groups};
pub use query::{Cell, Filter, Key, Metric, Query, Table, compare};
