//! The pid namespace of the caller.

use std::fs;
use std::path::Path;

/// The first pid namespace (PROC_PID_INIT_INO, include/uapi/linux/nsfs.h).
const FIRST: &str = "pid:[4026531836]";

/// What every source lacks in another pid namespace than the first, in words; None there.
pub(crate) fn notice() -> Option<String> {
    let is_first = fs::read_link("/proc/self/ns/pid").map_or(true, |name| name == Path::new(FIRST));
    (!is_first).then(|| "only the tasks of this pid namespace are shown".to_owned())
}
