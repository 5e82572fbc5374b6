//! The system calls that the standard library and neli lack. The only `unsafe` of
//! this crate.

pub(crate) mod bpf;
pub(crate) mod map;
pub(crate) mod shared;
pub(crate) mod taskstats;
pub(crate) mod thread;
pub(crate) mod worker;

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A thread-safe `Result` of a system call that gives −1 for failure.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Time of a clock in ns.
pub(crate) fn clock_ns(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes for the length of the call.
    check(unsafe { libc::clock_gettime(clock, &mut time) })?;
    // Clocks that count from a start are never negative.
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// The CPU clock of a process (MAKE_PROCESS_CPUCLOCK with CPUCLOCK_SCHED,
/// include/linux/posix-timers_types.h); reading it needs no privilege.
pub(crate) const fn process_clock(pid: u32) -> libc::clockid_t {
    (!pid.cast_signed() << 3) | 2
}

/// Opens a file below a kept directory, for reading.
pub(crate) fn open_at(directory: BorrowedFd<'_>, path: &CStr) -> io::Result<File> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    // SAFETY: `path` ends with a NUL and lives for the length of the call.
    let fd = check(unsafe { libc::openat(directory.as_raw_fd(), path.as_ptr(), flags) })?;
    // SAFETY: openat has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Owner of a file below a kept directory: user and group.
pub(crate) fn owner_at(directory: BorrowedFd<'_>, path: &CStr) -> io::Result<(u32, u32)> {
    stat_at(directory, path).map(|stat| (stat.st_uid, stat.st_gid))
}

/// Number of links to a file below a kept directory.
pub(crate) fn links_at(directory: BorrowedFd<'_>, path: &CStr) -> io::Result<libc::nlink_t> {
    stat_at(directory, path).map(|stat| stat.st_nlink)
}

fn stat_at(directory: BorrowedFd<'_>, path: &CStr) -> io::Result<libc::stat> {
    // SAFETY: all-zero bytes are a valid `stat`, a struct of integers.
    let mut stat: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: `path` ends with a NUL, and `stat` is valid for writes during the call.
    check(unsafe { libc::fstatat(directory.as_raw_fd(), path.as_ptr(), &mut stat, 0) })?;
    Ok(stat)
}

/// Locks a file against other recorders, for as long as it is open; an error of kind
/// WouldBlock where another has it.
pub(crate) fn lock(file: &File) -> io::Result<()> {
    // SAFETY: flock takes a descriptor, which is open, and an integer.
    check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })?;
    Ok(())
}

/// A number the system has for `name`; None where it has none.
pub(crate) fn sysconf(name: libc::c_int) -> Option<u64> {
    // SAFETY: sysconf takes any number and touches no memory of ours.
    u64::try_from(unsafe { libc::sysconf(name) }).ok()
}

/// Sets an integer option of a socket.
pub(crate) fn set_option(
    socket: &impl AsRawFd,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of `value`.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            mem::size_of_val(&value) as libc::socklen_t,
        )
    })?;
    Ok(())
}

/// Size of a socket's receive buffer as the kernel counts it.
pub(crate) fn receive_buffer(socket: &impl AsRawFd) -> io::Result<usize> {
    let mut value: libc::c_int = 0;
    let mut length = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: both pointers are valid for writes, and `length` is that of `value`.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw mut value).cast(),
            &mut length,
        )
    })?;
    Ok(usize::try_from(value).unwrap_or(0))
}

/// Sets how long a receiver waits.
pub(crate) fn set_receive_timeout(socket: &impl AsRawFd, ms: i64) -> io::Result<()> {
    let time = libc::timeval { tv_sec: ms / 1000, tv_usec: ms % 1000 * 1000 };
    // SAFETY: the pointer and the length are those of `time`.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const time).cast(),
            mem::size_of_val(&time) as libc::socklen_t,
        )
    })?;
    Ok(())
}

/// One datagram as received into two pieces of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes received.
    pub(crate) length: usize,
    /// Whether the datagram was longer than the memory.
    pub(crate) truncated: bool,
}

/// What a recvmmsg that gave `count` says of its messages.
fn received(messages: &[libc::mmsghdr], count: libc::c_int) -> Vec<Received> {
    messages
        .iter()
        .take(usize::try_from(count).unwrap_or(0))
        .map(|message| Received {
            length: message.msg_len as usize,
            truncated: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        })
        .collect()
}

/// Receives up to `heads.len()` datagrams in one call. Of each, the first
/// `head_size` bytes go to its place in `heads`, the rest to the first
/// `body_size` bytes of its place in `bodies`. Waits for the first one only.
pub(crate) fn receive_scattered(
    socket: &impl AsRawFd,
    heads: &mut [u8],
    head_size: usize,
    bodies: &mut [u8],
    stride: usize,
    body_size: usize,
) -> io::Result<Vec<Received>> {
    assert!(head_size > 0 && body_size <= stride, "a body must fit in its stride");
    let mut pieces: Vec<[libc::iovec; 2]> = heads
        .chunks_exact_mut(head_size)
        .zip(bodies.chunks_exact_mut(stride))
        .map(|(head, body)| {
            [
                libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head_size },
                libc::iovec { iov_base: body.as_mut_ptr().cast(), iov_len: body_size },
            ]
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = pieces
        .iter_mut()
        .map(|pieces| {
            // SAFETY: all-zero bytes are a valid `mmsghdr`: integers and null pointers.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            message.msg_hdr.msg_iov = pieces.as_mut_ptr();
            message.msg_hdr.msg_iovlen = 2;
            message
        })
        .collect();
    // SAFETY: every message points to two pieces in `pieces`, which point to disjoint
    // parts of `heads` and `bodies`; all of them outlive the call, and nothing else
    // uses them during it.
    let count = check(unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            messages.len() as libc::c_uint,
            libc::MSG_WAITFORONE,
            std::ptr::null_mut(),
        )
    })?;
    Ok(received(&messages, count))
}

/// Receives up to `buffer.len() / slot` datagrams in one call without waiting, each
/// to the begin of its slot.
pub(crate) fn receive_many(
    socket: &impl AsRawFd,
    buffer: &mut [u8],
    slot: usize,
) -> io::Result<Vec<Received>> {
    let mut pieces: Vec<libc::iovec> = buffer
        .chunks_exact_mut(slot)
        .map(|piece| libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: slot })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = pieces
        .iter_mut()
        .map(|piece| {
            // SAFETY: all-zero bytes are a valid `mmsghdr`: integers and null pointers.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            message.msg_hdr.msg_iov = piece;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    // SAFETY: every message points to one element of `pieces`, which points to its own
    // part of `buffer`; all of them outlive the call, and nothing else uses them.
    let count = check(unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            messages.as_mut_ptr(),
            messages.len() as libc::c_uint,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
        )
    })?;
    Ok(received(&messages, count))
}

/// A descriptor that is readable while one of `sources` is.
pub(crate) fn any_readable(sources: &[RawFd]) -> io::Result<OwnedFd> {
    // SAFETY: epoll_create1 takes an integer only.
    let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: epoll_create1 has just made this descriptor, and nobody else knows of it.
    let all = unsafe { OwnedFd::from_raw_fd(fd) };
    for &source in sources {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        // SAFETY: `event` is valid for the length of the call.
        check(unsafe { libc::epoll_ctl(fd, libc::EPOLL_CTL_ADD, source, &mut event) })?;
    }
    Ok(all)
}

/// Waits until one of `sources` is readable; false where the time ran out first, or
/// a signal came. A negative time waits without end.
pub(crate) fn wait_readable(sources: &[RawFd], timeout_ms: i32) -> io::Result<bool> {
    let mut polled: Vec<libc::pollfd> = sources
        .iter()
        .map(|&source| libc::pollfd { fd: source, events: libc::POLLIN, revents: 0 })
        .collect();
    // SAFETY: the pointer and the count are those of `polled`.
    let ready =
        check(unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout_ms) });
    match ready {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        ready => ready.map(|count| count > 0),
    }
}

/// The capability sets of a thread, one bit a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Capabilities {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// _LINUX_CAPABILITY_VERSION_3: two words a set.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// The calling thread's capabilities.
pub(crate) fn capabilities() -> io::Result<Capabilities> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut data = [CapabilityData::default(); 2];
    // SAFETY: version 3 writes two data structs, which `data` has room for.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    check(result as libc::c_int)?;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Capabilities {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
    })
}

/// Sets the calling thread's capabilities; nothing stays inheritable.
pub(crate) fn set_capabilities(wanted: Capabilities) -> io::Result<()> {
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let word = |shift: u32| CapabilityData {
        effective: (wanted.effective >> shift) as u32,
        permitted: (wanted.permitted >> shift) as u32,
        inheritable: 0,
    };
    let data = [word(0), word(32)];
    // SAFETY: version 3 reads two data structs, which `data` holds.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) };
    check(result as libc::c_int)?;
    Ok(())
}

/// Keeps permitted capabilities when the user id changes from root.
pub(crate) fn keep_capabilities() -> io::Result<()> {
    // SAFETY: this prctl takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) })?;
    Ok(())
}

/// Nothing started from now on gains privileges.
pub(crate) fn forbid_new_privileges() -> io::Result<()> {
    // SAFETY: this prctl takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    Ok(())
}

/// Whether orphans among the process's descendants become its own children.
pub(crate) fn adopt_orphans(adopt: bool) -> io::Result<()> {
    // SAFETY: this prctl takes integers only.
    check(unsafe {
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, libc::c_ulong::from(adopt), 0, 0, 0)
    })?;
    Ok(())
}

/// Becomes another user and group for good, with no supplementary groups.
pub(crate) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: a count of 0 reads no list.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    // SAFETY: setresgid takes integers only.
    check(unsafe { libc::setresgid(gid, gid, gid) })?;
    // SAFETY: setresuid takes integers only.
    check(unsafe { libc::setresuid(uid, uid, uid) })?;
    Ok(())
}

/// The effective user id.
pub(crate) fn effective_user() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Memory for at least so many words, all zero, and its first word in a large page: the system
/// is asked for such, as to make memory of small ones takes several times as long. Where it has
/// none, nothing changes.
pub(crate) fn large_pages(words: usize) -> (Vec<u64>, usize) {
    const LARGE: usize = (2 << 20) / size_of::<u64>();
    if words < LARGE {
        return (vec![0; words], 0);
    }
    // So much more, as pages are whole, and not written to.
    let whole = words.next_multiple_of(LARGE);
    let mut memory = vec![0; whole + LARGE];
    let first = memory.as_ptr().align_offset(LARGE * size_of::<u64>()).min(LARGE);
    if let Some(large) = memory.get_mut(first..first + whole) {
        // SAFETY: the range is that of the words, and the advice changes no byte of it.
        unsafe {
            libc::madvise(large.as_mut_ptr().cast(), size_of_val(large), libc::MADV_HUGEPAGE)
        };
    }
    (memory, first)
}
