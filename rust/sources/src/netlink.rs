//! Taskstats over generic netlink: tasks by request, and exit events.

mod batch;
mod exit_listener;
pub(crate) mod exit_rows;
pub(crate) mod fields;
pub(crate) mod socket;
mod source;

pub use exit_listener::{Event, Listener};
pub use source::Netlink;
