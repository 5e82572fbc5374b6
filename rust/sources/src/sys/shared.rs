//! Memory shared with the BPF programs: mapped arrays and the words in them.
//!
//! The structures are those of bpf/record.h, word for word.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// A mapping of a BPF array.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone within the process, and lives as
// long as it does; its methods give each access its own rules.
unsafe impl Send for Mapping {}
// SAFETY: as above; shared methods only copy out, or hand out bytes that nobody
// writes meanwhile (see `bytes`).
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `length` bytes of an array, for reading and writing.
    pub(crate) fn new(array: BorrowedFd<'_>, length: usize) -> io::Result<Mapping> {
        Mapping::part(array, 0, length, libc::PROT_READ | libc::PROT_WRITE)
    }

    fn part(
        map: BorrowedFd<'_>,
        offset: usize,
        length: usize,
        access: libc::c_int,
    ) -> io::Result<Mapping> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no other.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                access,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at zero"))?;
        Ok(Mapping { start, length })
    }

    /// The memory. Meant for arrays that no program writes while they are lent out.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is valid for its length while `self` lives. The owner
        // runs the program that writes it only while no one else holds the mapping.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// The memory, to be written.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// A copy of the structure at `offset`, which programs may be writing.
    pub(crate) fn read<T: Words>(&self, offset: usize) -> T {
        // SAFETY: the place is inside the mapping and aligned; any bytes are a valid T.
        unsafe { self.place::<T>(offset).read_volatile() }
    }

    /// Writes a word at `offset`, which programs may be reading.
    pub(crate) fn write<T: Words>(&self, offset: usize, value: T) {
        // SAFETY: the place is inside the mapping and aligned, and the mapping writable.
        unsafe { self.place::<T>(offset).write_volatile(value) }
    }

    /// The bytes of `range`, copied, which programs may have been writing.
    pub(crate) fn copy(&self, offset: usize, into: &mut [u8]) {
        assert!(offset.checked_add(into.len()).is_some_and(|end| end <= self.length));
        // SAFETY: the source is inside the mapping, the target is ours, and a mapping
        // never overlaps memory of the allocator.
        unsafe {
            ptr::copy_nonoverlapping(
                self.start.as_ptr().add(offset),
                into.as_mut_ptr(),
                into.len(),
            );
        }
    }

    fn place<T: Words>(&self, offset: usize) -> *mut T {
        let end = offset.checked_add(mem::size_of::<T>());
        assert!(end.is_some_and(|end| end <= self.length), "inside the mapping");
        assert!(offset.is_multiple_of(mem::align_of::<T>()), "aligned");
        // SAFETY: checked above to be inside the mapping, whose start is page-aligned.
        unsafe { self.start.as_ptr().add(offset).cast() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping, which ends here.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("length", &self.length).finish_non_exhaustive()
    }
}

/// A ring buffer of the programs, of which it counts only whether something was put there:
/// its descriptor is readable then.
#[derive(Debug)]
pub(crate) struct Ring {
    /// How far it was read; the only part that may be written.
    consumer: Mapping,
    /// How far it was written.
    producer: Mapping,
}

impl Ring {
    pub(crate) fn new(ring: BorrowedFd<'_>, page: usize) -> io::Result<Ring> {
        Ok(Ring {
            consumer: Mapping::new(ring, page)?,
            producer: Mapping::part(ring, page, page, libc::PROT_READ)?,
        })
    }

    /// Empties it.
    pub(crate) fn clear(&self) {
        self.consumer.write(0, self.producer.read::<u64>(0));
    }
}

/// Structures of integers, for which any bytes are a valid value.
///
/// # Safety
///
/// Only for types without padding and without invalid values.
pub(crate) unsafe trait Words: Copy {}

// SAFETY: any bytes are a valid integer.
unsafe impl Words for u32 {}
// SAFETY: any bytes are a valid integer.
unsafe impl Words for u64 {}

/// `struct control`: the words between user space and the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Control {
    pub(crate) output: u32,
    pub(crate) flags: u32,
    pub(crate) capacity: u32,
    pub(crate) reader: u32,
    pub(crate) caller: u32,
    pub(crate) level: u32,
    pub(crate) namespace: u64,
    pub(crate) real_offset_ns: u64,
    pub(crate) key: [u64; 2],
    pub(crate) page_size: u64,
    pub(crate) tail: u64,
    pub(crate) slots: u64,
    pub(crate) since: u64,
    pub(crate) part: u64,
    pub(crate) hides: u64,
    pub(crate) left_out: u64,
    pub(crate) taken: u64,
    pub(crate) listed: u64,
    pub(crate) count: u64,
    pub(crate) wanted: u64,
    pub(crate) unchanged: u64,
    pub(crate) t0_ns: u64,
    pub(crate) sched_ns: u64,
    pub(crate) real_s: u64,
    pub(crate) end_ns: u64,
    pub(crate) outside_ns: u64,
    pub(crate) outside: u64,
    pub(crate) own_ns: u64,
    pub(crate) retries: u64,
    pub(crate) torn: u64,
    pub(crate) exits: u64,
    pub(crate) log_lost: u64,
    pub(crate) visited: u64,
    pub(crate) finding: u64,
    pub(crate) more: u64,
    pub(crate) last: u64,
    pub(crate) last_start: u64,
    pub(crate) ran: u64,
    pub(crate) leads: u64,
    pub(crate) row: u64,
    pub(crate) row_begun: u64,
    pub(crate) row_ran: u64,
    pub(crate) row_outside: u64,
    pub(crate) serial: u64,
    pub(crate) noting: u64,
    pub(crate) by_log: u64,
    pub(crate) raced: u64,
    pub(crate) offset_ns: i64,
    pub(crate) offset_fresh: u64,
    pub(crate) note_count: u64,
    pub(crate) notes_lost: u64,
    pub(crate) head: u64,
    pub(crate) wake_at: u64,
    pub(crate) woken: u64,
    pub(crate) exits_lost: u64,
    pub(crate) overflow_ns: u64,
}

// SAFETY: integers only; six u32 before the first u64 leave no padding.
unsafe impl Words for Control {}

/// `struct cpu`: one CPU's clocks and idle time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuWords {
    pub(crate) serial: u64,
    pub(crate) clock: u64,
    pub(crate) clock_task: u64,
    pub(crate) steal: u64,
    pub(crate) idle: u64,
    pub(crate) online: u32,
    pub(crate) running: u32,
    pub(crate) idle_sum: u64,
    pub(crate) idle_start: u64,
    pub(crate) is_idle: u64,
    pub(crate) stop_base: u64,
    pub(crate) stop_switches: u64,
    pub(crate) idle_end: u64,
    pub(crate) idle_switches: u64,
    pub(crate) halted: u64,
    pub(crate) noted_serial: u64,
    pub(crate) noted_clock: u64,
    pub(crate) noted_clock_task: u64,
    pub(crate) noted_idle: u64,
    pub(crate) known: u64,
    pub(crate) switches: u64,
    pub(crate) hooks_ns: u64,
    pub(crate) log_end: u64,
    pub(crate) log_next: u64,
    pub(crate) log_begin: u64,
    pub(crate) queue: u64,
    pub(crate) seen_switches: u64,
    pub(crate) seen_idle: u64,
    pub(crate) now: u32,
    pub(crate) first: u32,
}

// SAFETY: integers only; u32 come in pairs and leave no padding.
unsafe impl Words for CpuWords {}

/// `struct slot` up to its record: a task that exits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlotWords {
    pub(crate) task: u64,
    pub(crate) state: u64,
    pub(crate) met: u64,
    pub(crate) walked: u64,
    pub(crate) serial: u64,
    pub(crate) used: u64,
    pub(crate) end: u64,
    pub(crate) died_ns: u64,
    pub(crate) process_id: u64,
    pub(crate) process_start: u64,
    pub(crate) number: u64,
    pub(crate) passed: u64,
    pub(crate) leader: u32,
    pub(crate) ptraced: u32,
    pub(crate) outside: u32,
    pub(crate) tgid: u32,
}

// SAFETY: integers only; four u32 side by side leave no padding.
unsafe impl Words for SlotWords {}

/// `struct tree`: what the programs tell of a tree of processes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TreeWords {
    pub(crate) root: u64,
    pub(crate) ended: u64,
    pub(crate) offset_ns: i64,
    pub(crate) members: u64,
    pub(crate) lost: u64,
    pub(crate) unnamed: u64,
    pub(crate) processes: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) utime: u64,
    pub(crate) stime: u64,
    pub(crate) minflt: u64,
    pub(crate) majflt: u64,
    pub(crate) nvcsw: u64,
    pub(crate) nivcsw: u64,
    pub(crate) cpu_delay_ns: u64,
    pub(crate) read_bytes: u64,
    pub(crate) write_bytes: u64,
    pub(crate) max_rss: u64,
    pub(crate) left_out: u64,
}

// SAFETY: integers of eight bytes only.
unsafe impl Words for TreeWords {}
