//! The use of every task between two snapshots, and the balance of all CPU time.
//!
//! ```text
//! usage -> matching -> delta (Interval) -> cumulative (dead children) -> balance -> cpu_times
//! ```

pub(crate) mod ancestors;
mod balance;
mod completed;
mod cpu_times;
mod cumulative;
mod delta;
mod last_values;
mod matching;
mod shared_rows;
mod task_sums;
mod usage;

pub use balance::{Balance, CpuUse};
pub use delta::Interval;
pub use last_values::{LastValues, Totals, Unchanged};
pub use task_sums::{Boot, TaskSum, TaskSums};
pub use usage::{Children, Split, Use};
