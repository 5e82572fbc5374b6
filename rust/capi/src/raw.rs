//! What C passes by address: strings, bytes, and structures that begin with their size.

use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::{ptr, slice};

use crate::error::Failure;

/// A structure of `repr(C)` that begins with `struct_size: usize`, of which any bytes are valid.
///
/// # Safety
///
/// The structure is like that.
pub(crate) unsafe trait Sizable: Copy {}

/// No structure will ever be larger: another size was not set, and what lies behind the structure
/// is neither read nor written.
const MOST_BYTES: usize = 4096;

fn missing(what: &str) -> Failure {
    Failure::argument(format!("{what} is NULL"))
}

/// What a handle points to.
pub(crate) fn handle<T>(handle: Option<T>, what: &str) -> Result<T, Failure> {
    handle.ok_or_else(|| missing(what))
}

/// Where a handle is returned, which C need not have initialised. It is NULL until there is one.
pub(crate) fn result<'a, T>(
    out: Option<&'a mut MaybeUninit<*mut T>>,
    what: &str,
) -> Result<&'a mut *mut T, Failure> {
    Ok(handle(out, what)?.write(ptr::null_mut()))
}

/// A name.
///
/// # Safety
///
/// `text` is NULL, or a string that ends with a NUL and stays for `'a`.
pub(crate) unsafe fn text<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    if text.is_null() {
        return Err(missing(what));
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Failure::argument(format!("{what} is not UTF-8")))
}

/// An array.
///
/// # Safety
///
/// `items` is NULL, or points to `count` items that stay unchanged for `'a`.
pub(crate) unsafe fn items<'a, T>(
    items: *const T,
    count: usize,
    what: &str,
) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if items.is_null() {
        return Err(missing(what));
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { slice::from_raw_parts(items, count) })
}

/// Bytes that the caller of C keeps.
///
/// # Safety
///
/// As of [`items`].
pub(crate) unsafe fn bytes<'a>(bytes: *const c_void, length: usize) -> Result<&'a [u8], Failure> {
    // SAFETY: the caller's promise.
    unsafe { items(bytes.cast::<u8>(), length, "bytes") }
}

/// The size that a structure begins with.
///
/// # Safety
///
/// `structure` is NULL, or can be read.
unsafe fn size_of_caller<T: Sizable>(structure: *const T, what: &str) -> Result<usize, Failure> {
    if structure.is_null() {
        return Err(missing(what));
    }
    // SAFETY: a Sizable structure begins with its size.
    let size = unsafe { structure.cast::<usize>().read_unaligned() };
    if !(size_of::<usize>()..=MOST_BYTES).contains(&size) {
        let message = format!("{what}: set struct_size to the size of the structure first");
        return Err(Failure::argument(message));
    }
    Ok(size)
}

/// A structure of the caller's version: members that he does not know keep their value of
/// `default`. Members that this library does not know must be 0.
///
/// # Safety
///
/// `structure` is NULL, or points to as many bytes as it says.
pub(crate) unsafe fn read_sized<T: Sizable>(
    structure: *const T,
    default: T,
    what: &str,
) -> Result<T, Failure> {
    if structure.is_null() {
        return Ok(default);
    }
    // SAFETY: the caller's promise.
    let size = unsafe { size_of_caller(structure, what)? };
    let known = size.min(size_of::<T>());
    // SAFETY: the structure has `size` bytes.
    let rest = unsafe { slice::from_raw_parts(structure.cast::<u8>().add(known), size - known) };
    if rest.iter().any(|&byte| byte != 0) {
        return Err(Failure::argument(format!(
            "{what} has members of a newer version: set them to 0, or update libtaskstats"
        )));
    }
    let mut read = default;
    // SAFETY: both have `known` bytes, and any bytes are valid.
    unsafe {
        ptr::copy_nonoverlapping(structure.cast::<u8>(), (&raw mut read).cast::<u8>(), known);
    }
    Ok(read)
}

/// Writes `value` into a structure of the caller's version. Members that this library does not
/// know become 0.
///
/// # Safety
///
/// `structure` is NULL, or points to as many bytes as it says, which can be written.
pub(crate) unsafe fn write_sized<T: Sizable>(
    structure: *mut T,
    value: &T,
    what: &str,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let size = unsafe { size_of_caller(structure, what)? };
    let known = size.min(size_of::<T>());
    let begin = size_of::<usize>();
    // SAFETY: both have `known` bytes, and the structure has `size`.
    unsafe {
        let (to, from) = (structure.cast::<u8>(), ptr::from_ref(value).cast::<u8>());
        ptr::copy_nonoverlapping(from.add(begin), to.add(begin), known - begin);
        ptr::write_bytes(to.add(known), 0, size - known);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Known {
        struct_size: usize,
        one: u64,
        two: u64,
    }
    // SAFETY: it begins with its size and has numbers only.
    unsafe impl Sizable for Known {}

    const DEFAULT: Known = Known { struct_size: 24, one: 1, two: 2 };

    fn read(from: &[u64]) -> Result<Known, Failure> {
        // SAFETY: the tests' sizes are at most those of the arrays.
        unsafe { read_sized(from.as_ptr().cast(), DEFAULT, "it") }
    }

    #[test]
    fn older_and_newer_structures_are_read() {
        assert_eq!(read(&[16, 7]).expect("older").two, 2);
        assert_eq!(read(&[24, 7, 8]).expect("equal").two, 8);
        assert_eq!(read(&[32, 7, 8, 0]).expect("newer, unused").two, 8);
        assert!(read(&[32, 7, 8, 1]).is_err());
        assert!(read(&[0, 7, 8]).is_err());
    }

    #[test]
    fn a_size_that_was_not_set_is_refused() {
        for (size, is_right) in [(7, false), (4096, true), (4097, false), (u64::MAX, false)] {
            let mut page = [0_u64; 512];
            page[0] = size;
            assert_eq!(read(&page).is_ok(), is_right, "{size}");
            // SAFETY: the array has 4096 bytes.
            let written = unsafe { write_sized(page.as_mut_ptr().cast(), &DEFAULT, "it") };
            assert_eq!(written.is_ok(), is_right, "{size}");
            assert_eq!(page[1], u64::from(is_right));
        }
    }

    #[test]
    fn older_and_newer_structures_are_written() {
        for (size, expected) in [(16, [16, 1, 9, 9]), (24, [24, 1, 2, 9]), (32, [32, 1, 2, 0])] {
            let mut out = [size, 9, 9, 9_u64];
            // SAFETY: the array has 32 bytes.
            unsafe { write_sized(out.as_mut_ptr().cast(), &DEFAULT, "it") }.expect("written");
            assert_eq!(out, expected);
        }
    }
}
