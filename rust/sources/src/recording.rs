//! Recorded files: read, written, and what tasks, users and cgroups are called in them.

mod file;
mod parallel_read;
mod process_names;
mod recorder;

pub use file::{DumpFile, read_columns};
pub use parallel_read::Lost;
pub use process_names::group_names;
pub use recorder::{Policy, Recorder};
