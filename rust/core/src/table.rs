//! Tables of tasks: one row a task or a group, sorted, filtered and summed.

mod group;
mod query;

pub use group::{Fold, FoldBy, GroupKey};
pub use query::{Cell, Column, Filter, Key, Query, Table, compare};
