//! Recorded files: reading them, writing them, and the names in them.

mod append;
mod cgroup_sampler;
mod command_lines;
mod file;
mod filter_texts;
mod name_strings;
mod ordered;
mod parallel_read;
mod policy;
mod process_names;
mod recorder;
mod retention;
mod rotation;
mod scan;

pub use cgroup_sampler::CgroupSampler;
pub use command_lines::CommandLines;
pub use file::{DumpFile, read_columns};
pub use filter_texts::FilterTexts;
pub use name_strings::with_names;
pub use parallel_read::Lost;
pub use policy::Policy;
pub use process_names::group_names;
pub use recorder::Recorder;
pub use scan::{Scan, ScanFile, ScanOptions, ScanRows, WantsHost, sum_tasks};
