//! Memory shared with the BPF programs and the kernel: mapped arrays and the words in them, and
//! the kernel's types.
//!
//! The structures are those of bpf/record.h and bpf/tree.bpf.c, field by field.

use std::fmt;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// A mapping of a BPF array, or of a file that never shrinks.
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
        Mapping::part(array, 0, length, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)
    }

    /// Maps a file of the kernel that never changes, such as its types (from Linux 6.17), for
    /// reading alone.
    pub(crate) fn of_kernel(file: &File, length: usize) -> io::Result<Mapping> {
        Mapping::part(file.as_fd(), 0, length, libc::PROT_READ, libc::MAP_PRIVATE)
    }

    fn part(
        map: BorrowedFd<'_>,
        offset: usize,
        length: usize,
        access: libc::c_int,
        sharing: libc::c_int,
    ) -> io::Result<Mapping> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no other.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                access,
                sharing,
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

    /// A word that a program publishes: whatever the program stored before it is seen by reads
    /// after this one.
    pub(crate) fn observe(&self, offset: usize) -> u64 {
        self.word(offset).load(Ordering::Acquire)
    }

    /// Stores a word that a program observes: all reads before this one are done by then.
    pub(crate) fn release(&self, offset: usize, value: u64) {
        self.word(offset).store(value, Ordering::Release);
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the place is inside the mapping, which lives as long as the result, and it is
        // aligned; the programs access such words by single instructions of eight bytes.
        unsafe { AtomicU64::from_ptr(self.place(offset)) }
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

/// A ring buffer of the programs. Its descriptor is readable while it holds messages
/// (Documentation/bpf/ringbuf.rst).
#[derive(Debug)]
pub(crate) struct Ring {
    /// How far it was read; the only part that may be written.
    consumer: Mapping,
    /// How far it was written, and behind that page the messages, which are mapped twice so
    /// that none is cut at the end.
    producer: Mapping,
    page: usize,
    size: usize,
}

/// BPF_RINGBUF_BUSY_BIT and BPF_RINGBUF_DISCARD_BIT of a message's length.
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
/// BPF_RINGBUF_HDR_SZ
const MESSAGE_HEAD: usize = 8;

impl Ring {
    /// Maps a ring of `size` bytes.
    pub(crate) fn new(ring: BorrowedFd<'_>, page: usize, size: usize) -> io::Result<Ring> {
        Ok(Ring {
            consumer: Mapping::new(ring, page)?,
            producer: Mapping::part(
                ring,
                page,
                page + 2 * size,
                libc::PROT_READ,
                libc::MAP_SHARED,
            )?,
            page,
            size,
        })
    }

    /// Empties it.
    pub(crate) fn clear(&self) {
        self.consumer.write(0, self.producer.read::<u64>(0));
    }

    /// Takes all messages of `length` bytes, and passes a copy of each to `take`.
    pub(crate) fn take(&self, length: usize, mut take: impl FnMut(Vec<u8>)) {
        let mut at: u64 = self.consumer.read(0);
        while at < self.producer.observe(0) {
            let place = self.page + (at as usize & (self.size - 1));
            let [a, b, c, d, ..] = self.producer.observe(place).to_ne_bytes();
            let head = u32::from_ne_bytes([a, b, c, d]);
            if head & BUSY != 0 {
                return;
            }
            let stored = (head & !DISCARDED) as usize;
            if head & DISCARDED == 0 && stored == length {
                let mut message = vec![0; length];
                self.producer.copy(place + MESSAGE_HEAD, &mut message);
                take(message);
            }
            at += (MESSAGE_HEAD + stored).next_multiple_of(MESSAGE_HEAD) as u64;
            self.consumer.release(0, at);
        }
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

/// A structure in bytes that a program wrote. Panics if they are too few.
pub(crate) fn words_in<T: Words>(bytes: &[u8]) -> T {
    assert!(bytes.len() >= mem::size_of::<T>());
    // SAFETY: the bytes are enough, any bytes are a valid T, and the read needs no alignment.
    unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
}

/// Defines a structure of integers that has the layout of a C structure in bpf/. A test
/// compares each field with that structure's description in the objects.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident = $c_name:literal { $($field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type,)*
        }

        const _: () = assert!(0 $(+ mem::size_of::<$type>())* == mem::size_of::<$name>());

        // SAFETY: integers only, and the assertion above shows that no padding is between them.
        unsafe impl Words for $name {}

        #[cfg(test)]
        impl $name {
            /// The C structure's name, and name, offset and size of each field.
            pub(crate) const LAYOUT: (&'static str, &'static [(&'static str, usize, usize)]) = (
                $c_name,
                &[$((
                    stringify!($field),
                    mem::offset_of!($name, $field),
                    mem::size_of::<$type>(),
                ),)*],
            );
        }
    };
}

words! {
    /// `struct control`: the words between user space and the programs.
    Control = "control" {
        output: u32,
        flags: u32,
        capacity: u32,
        reader: u32,
        caller: u32,
        level: u32,
        namespace: u64,
        real_offset_ns: u64,
        key: [u64; 2],
        page_size: u64,
        tail: u64,
        slots: u64,
        since: u64,
        part: u64,
        hides: u64,
        left_out: u64,
        taken: u64,
        listed: u64,
        count: u64,
        wanted: u64,
        unchanged: u64,
        t0_ns: u64,
        sched_ns: u64,
        real_s: u64,
        end_ns: u64,
        outside_ns: u64,
        outside: u64,
        own_ns: u64,
        met_init: u64,
        retries: u64,
        torn: u64,
        exits: u64,
        log_lost: u64,
        visited: u64,
        finding: u64,
        more: u64,
        settled: u64,
        last: u64,
        last_start: u64,
        ran: u64,
        leads: u64,
        row: u64,
        row_begun: u64,
        row_ran: u64,
        row_outside: u64,
        serial: u64,
        noting: u64,
        by_log: u64,
        raced: u64,
        offset_ns: i64,
        offset_fresh: u64,
        note_count: u64,
        notes_lost: u64,
        head: u64,
        wake_at: u64,
        woken: u64,
        exits_late: u64,
        exits_lost: u64,
        overflow_ns: u64,
    }
}

words! {
    /// `struct cpu`: one CPU's clocks and idle time.
    CpuWords = "cpu" {
        serial: u64,
        clock: u64,
        clock_task: u64,
        steal: u64,
        idle: u64,
        online: u32,
        running: u32,
        idle_sum: u64,
        idle_start: u64,
        is_idle: u64,
        stop_base: u64,
        stop_switches: u64,
        forgotten: u64,
        idle_end: u64,
        idle_switches: u64,
        halted: u64,
        noted_serial: u64,
        noted_clock: u64,
        noted_clock_task: u64,
        noted_idle: u64,
        known: u64,
        switches: u64,
        hooks_ns: u64,
        log_end: u64,
        log_next: u64,
        log_begin: u64,
        queue: u64,
        seen_switches: u64,
        seen_idle: u64,
        now: u32,
        first: u32,
    }
}

words! {
    /// `struct slot` up to its record: a task that exits.
    SlotWords = "slot" {
        task: u64,
        state: u64,
        met: u64,
        walked: u64,
        serial: u64,
        used: u64,
        end: u64,
        died_ns: u64,
        process_id: u64,
        process_start: u64,
        number: u64,
        passed: u64,
        leader: u32,
        ptraced: u32,
        outside: u32,
        tgid: u32,
    }
}

words! {
    /// `struct tree`: what the programs tell of a tree of processes.
    TreeWords = "tree" {
        caller: u64,
        root: u64,
        level: u64,
        namespace: u64,
        marking: u64,
        orphaned: u64,
        ended: u64,
        offset_ns: i64,
        members: u64,
        lost: u64,
        unnamed: u64,
        processes: u64,
        cpu_ns: u64,
        utime: u64,
        stime: u64,
        minflt: u64,
        majflt: u64,
        nvcsw: u64,
        nivcsw: u64,
        cpu_delay_ns: u64,
        read_bytes: u64,
        write_bytes: u64,
        max_rss: u64,
        left_out: u64,
    }
}
