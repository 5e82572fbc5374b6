//! Tasks as /proc shows them: no privilege needed.

pub(crate) mod reader;
mod sleepers;
mod source;
pub(crate) mod stat;

pub use reader::{arguments, cmdline, sessions};
pub(crate) use source::Procfs;
