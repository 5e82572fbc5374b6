//! Files of /proc whose descriptors are kept open.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// What the end of a file of /proc looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A read that is shorter than its memory: the file is written as a whole.
    Short,
    /// A read of nothing: the file is written in parts.
    Empty,
}

/// The contents of a kept file, empty where it cannot be read. Adds the number of system calls.
pub(crate) fn read_kept<'a>(
    file: &File,
    buffer: &'a mut Vec<u8>,
    end: End,
    calls: &mut u32,
) -> &'a [u8] {
    let mut length = 0;
    loop {
        *calls += 1;
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) | Err(_) => break,
            Ok(read) => length += read,
        }
        if length == buffer.len() {
            // Many CPUs make a long /proc/stat.
            buffer.resize(buffer.len() * 2, 0);
        } else if end == End::Short {
            break;
        }
    }
    &buffer[..length]
}
