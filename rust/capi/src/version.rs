//! Versions, as of compile time in the header and of run time here.

use std::ffi::{CStr, c_char};

/// Version of the interface, which the library was built with. It grows when functions or
/// members of structures are added; what existed stays.
pub const TASKSTATS_ABI: u32 = 1;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => unreachable!(),
    };

/// Returns TASKSTATS_ABI of the library that runs.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_abi() -> u32 {
    TASKSTATS_ABI
}

/// Returns the version of the library that runs, such as "0.1.0". It lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_version() -> *const c_char {
    VERSION.as_ptr()
}
