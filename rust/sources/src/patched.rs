//! Kernels with this project's series: all threads' records at one instant.

mod assemble;
pub(crate) mod netlink_dump;
pub(crate) mod proc_file;
mod threads;
