//! `libtaskstats`: the C interface of the core and the sources.
//!
//! Design decisions
//!
//! * Handles are opaque, and each kind has one function that frees it. What a function returns
//!   by pointer belongs to its handle.
//! * A handle is a reference or a box in the signatures, with None for NULL: so most functions
//!   need no `unsafe`. A caller of C guarantees that handles are alive.
//! * Structures begin with their size, which the caller sets: members are only added at the end.
//! * No panic leaves the library: each function turns it into an error.
//! * No signal handler: the sources install none, and recordings, which need one, are not part
//!   of the interface.
//!
//! `include/taskstats.h` is generated from this crate: `make capi-header` updates it.

#![allow(
    clippy::missing_safety_doc,
    reason = "the documentation is that of the header: callers of C keep handles and sizes valid"
)]

pub mod error;
pub mod exits;
pub mod field;
pub mod interval;
pub mod netlink;
mod raw;
pub mod snapshot;
pub mod source;
pub mod version;
