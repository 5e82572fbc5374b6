//! Creates and maps the kernel's BPF maps.

use std::os::fd::{AsFd, OwnedFd};

use super::loader;
use crate::errors::Error;
use crate::sys::bpf::{self, MapSpec};
use crate::sys::shared::Mapping;

/// BPF_MAP_TYPE_HASH
pub(super) const HASH: u32 = 1;
/// BPF_MAP_TYPE_ARRAY
pub(super) const ARRAY: u32 = 2;
/// BPF_MAP_TYPE_LRU_HASH
pub(super) const LRU_HASH: u32 = 9;
/// BPF_MAP_TYPE_ARRAY_OF_MAPS
pub(super) const ARRAY_OF_MAPS: u32 = 12;
/// BPF_MAP_TYPE_RINGBUF
const RING: u32 = 27;
/// BPF_F_MMAPABLE
pub(super) const MMAPABLE: u32 = 1 << 10;
/// BPF_F_INNER_MAP: the arrays in an array of maps may differ in length.
pub(super) const INNER_MAP: u32 = 1 << 12;

/// An array that can be mapped. Each value takes a multiple of 8 bytes in it.
pub(super) fn make_array(name: &str, value_size: usize, entries: usize) -> Result<OwnedFd, Error> {
    let spec = MapSpec {
        kind: ARRAY,
        key_size: 4,
        value_size: value_size as u32,
        max_entries: entries as u32,
        flags: MMAPABLE,
    };
    bpf::create_map(name, spec, None).map_err(refused)
}

/// A hash table with keys and values of these sizes.
pub(super) fn make_hash(
    kind: u32,
    name: &str,
    [key, value]: [usize; 2],
    entries: usize,
) -> Result<OwnedFd, Error> {
    let spec = MapSpec {
        kind,
        key_size: key as u32,
        value_size: value as u32,
        max_entries: entries as u32,
        flags: 0,
    };
    bpf::create_map(name, spec, None).map_err(refused)
}

/// A ring buffer of so many bytes: a power of two, and whole pages.
pub(super) fn make_ring(name: &str, size: usize) -> Result<OwnedFd, Error> {
    let spec = MapSpec { kind: RING, max_entries: size as u32, ..MapSpec::default() };
    bpf::create_map(name, spec, None).map_err(refused)
}

/// Whether the caller may create a small map of a kind that needs CAP_BPF. If so, a larger
/// map that fails with EPERM fails because of its size.
fn may_make_maps() -> bool {
    let spec = MapSpec {
        kind: LRU_HASH,
        key_size: 8,
        value_size: 8,
        max_entries: 1,
        ..MapSpec::default()
    };
    bpf::create_map("probe", spec, None).is_ok()
}

pub(super) fn refused(error: std::io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EPERM) => match bpf::memory_limit() {
            Some(limit) if may_make_maps() => loader::out_of_memory(limit),
            _ => loader::denied(),
        },
        Some(libc::EACCES) => Error::AccessDenied {
            reason: "the bpf system call is refused (EACCES), by a security module or a seccomp \
                     filter"
                .into(),
            hint: "allow bpf(2) in the container's or the service's configuration, or use the \
                   procfs source"
                .into(),
        },
        Some(libc::ENOSYS) => Error::Unsupported {
            reason: "the kernel has no BPF".into(),
            hint: "it needs a kernel with CONFIG_BPF_SYSCALL=y".into(),
        },
        _ => Error::os("create a BPF map", error),
    }
}

/// Maps an array into memory.
pub(super) fn map(array: &OwnedFd, length: usize) -> Result<Mapping, Error> {
    Mapping::new(array.as_fd(), length).map_err(|error| Error::os("map a BPF array", error))
}
