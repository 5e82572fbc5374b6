//! The maps that the programs share with user space, and their sizes.

use std::mem::size_of;
use std::os::fd::{AsFd, OwnedFd};

use precise_top_core::Layout;

use super::exit_slots::Slots;
use super::pool::Pool;
use super::{loader, run_log};
use crate::errors::Error;
use crate::sys::bpf::{self, MapSpec};
use crate::sys::shared::{Control, CpuWords, Mapping};

/// BPF_MAP_TYPE_HASH
pub(super) const HASH: u32 = 1;
/// BPF_MAP_TYPE_ARRAY
pub(super) const ARRAY: u32 = 2;
/// BPF_MAP_TYPE_LRU_HASH
const LRU_HASH: u32 = 9;
/// BPF_MAP_TYPE_ARRAY_OF_MAPS
pub(super) const ARRAY_OF_MAPS: u32 = 12;
/// BPF_MAP_TYPE_RINGBUF
const RING: u32 = 27;
/// BPF_F_MMAPABLE
pub(super) const MMAPABLE: u32 = 1 << 10;
/// BPF_F_INNER_MAP: the arrays in an array of maps may differ in length.
pub(super) const INNER_MAP: u32 = 1 << 12;

/// Tasks that may be switched while a run lasts: at least, and for each CPU.
const NOTES: usize = 16384;
const NOTES_OF_CPU: usize = 256;
/// Processes that a run can tell apart.
const PROCESSES: usize = 16384;
/// Bytes of `struct note`.
pub(super) const NOTE: usize = 16;

/// The maps of the snapshot programs, with the arrays that are mapped here.
pub(super) struct Maps {
    pub(super) controls: OwnedFd,
    pub(super) cpus: OwnedFd,
    pub(super) slots: OwnedFd,
    pub(super) slot_of: OwnedFd,
    pub(super) deaths: OwnedFd,
    pub(super) notes: OwnedFd,
    pub(super) noted: OwnedFd,
    pub(super) row_of: OwnedFd,
    pub(super) ran: OwnedFd,
    pub(super) logged: OwnedFd,
    pub(super) listed: OwnedFd,
}

impl Maps {
    /// Creates them around the array of control words.
    pub(super) fn new(
        controls: OwnedFd,
        layout: &Layout,
        cpu_count: usize,
        page: usize,
    ) -> Result<Maps, Error> {
        let slots = Slots::count_for(cpu_count);
        let most_notes = NOTES.max(cpu_count * NOTES_OF_CPU);
        let [ran, logged, listed] = run_log::make_maps(cpu_count)?;
        Ok(Maps {
            controls,
            cpus: make_array("cpus", size_of::<CpuWords>(), cpu_count)?,
            slots: make_array("slots", Slots::size_of_one(layout), slots)?,
            slot_of: make_hash(HASH, "slot_of", [8, 8], slots)?,
            deaths: make_ring("deaths", page)?,
            notes: make_hash(HASH, "notes", [8, NOTE], most_notes)?,
            noted: make_array("noted", size_of::<u64>(), most_notes)?,
            row_of: make_hash(LRU_HASH, "row_of", [8, NOTE], PROCESSES)?,
            ran,
            logged,
            listed,
        })
    }

    /// The array of control words alone. It is created first: that fails where BPF may not be
    /// used at all, before any other work is done.
    pub(super) fn controls() -> Result<OwnedFd, Error> {
        make_array("controls", size_of::<Control>(), 1)
    }

    /// The maps by their names in bpf/maps.h.
    pub(super) fn named<'a>(&'a self, pool: &'a Pool) -> [(&'static str, &'a OwnedFd); 12] {
        [
            ("controls", &self.controls),
            ("cpus", &self.cpus),
            ("outputs", pool.outer()),
            ("slots", &self.slots),
            ("slot_of", &self.slot_of),
            ("deaths", &self.deaths),
            ("notes", &self.notes),
            ("noted", &self.noted),
            ("row_of", &self.row_of),
            ("ran", &self.ran),
            ("logged", &self.logged),
            ("listed", &self.listed),
        ]
    }
}

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

/// A ring buffer of the smallest size: one page.
fn make_ring(name: &str, page: usize) -> Result<OwnedFd, Error> {
    let spec = MapSpec { kind: RING, max_entries: page as u32, ..MapSpec::default() };
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
