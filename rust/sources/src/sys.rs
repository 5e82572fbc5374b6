//! The project's system calls: short forms of those that nix offers, and the few that it
//! does not. The only `unsafe` of this crate is in this folder.

pub(crate) mod acting;
pub(crate) mod bpf;
pub(crate) mod clock;
pub(crate) mod map;
pub(crate) mod shared;
pub(crate) mod taskstats;
pub(crate) mod thread;
pub(crate) mod worker;

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg};
use nix::unistd::{Whence, lseek};

pub(crate) use clock::{clock_ns, process_clock};

/// Lets all threads of the process share one heap. glibc's malloc gives each thread a heap of
/// its own, and never returns the end of one to the kernel.
pub fn share_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) may be called by any thread at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns freed memory to the kernel. The allocator keeps tens of megabytes after a burst.
pub(crate) fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// One received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes received.
    pub(crate) length: usize,
    /// Whether the datagram was longer than its memory.
    pub(crate) truncated: bool,
}

/// Receives up to `slots.len()` datagrams in one call, each into the parts of its slot.
fn receive<const PARTS: usize>(
    socket: &impl AsRawFd,
    slots: Vec<[IoSliceMut<'_>; PARTS]>,
    flags: MsgFlags,
) -> io::Result<Vec<Received>> {
    // The call wants parts that live exactly as long as the headers.
    let mut slots = slots;
    let mut headers = MultiHeaders::<()>::preallocate(slots.len(), None);
    let messages = recvmmsg(socket.as_raw_fd(), &mut headers, slots.iter_mut(), flags, None)?;
    let received = messages.map(|message| Received {
        length: message.bytes,
        truncated: message.flags.contains(MsgFlags::MSG_TRUNC),
    });
    Ok(received.collect())
}

/// Receives up to `heads.len() / head_size` datagrams in one call. The first `head_size`
/// bytes of each go to its place in `heads`, the rest to the first `body_size` bytes of its
/// place in `bodies`. Waits for the first datagram only.
pub(crate) fn receive_scattered(
    socket: &impl AsRawFd,
    heads: &mut [u8],
    head_size: usize,
    bodies: &mut [u8],
    stride: usize,
    body_size: usize,
) -> io::Result<Vec<Received>> {
    let slots = heads.chunks_exact_mut(head_size).zip(bodies.chunks_exact_mut(stride));
    let slots = slots
        .map(|(head, body)| [IoSliceMut::new(head), IoSliceMut::new(&mut body[..body_size])])
        .collect();
    receive(socket, slots, MsgFlags::MSG_WAITFORONE)
}

/// Receives up to `buffer.len() / size` datagrams in one call without waiting, each to the
/// begin of its `size` bytes.
pub(crate) fn receive_many(
    socket: &impl AsRawFd,
    buffer: &mut [u8],
    size: usize,
) -> io::Result<Vec<Received>> {
    let slots = buffer.chunks_exact_mut(size).map(|slot| [IoSliceMut::new(slot)]).collect();
    receive(socket, slots, MsgFlags::MSG_DONTWAIT)
}

/// A descriptor that is readable while one of `sources` is.
pub(crate) fn any_readable<'a>(
    sources: impl IntoIterator<Item = BorrowedFd<'a>>,
) -> io::Result<Epoll> {
    let all = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for source in sources {
        all.add(source, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    }
    Ok(all)
}

/// Waits until one of `sources` is readable. Returns false where the time is over or a
/// signal came first. A negative time waits without end.
pub(crate) fn wait_readable(sources: &[BorrowedFd<'_>], timeout_ms: i32) -> io::Result<bool> {
    let mut polled: Vec<_> =
        sources.iter().map(|&source| PollFd::new(source, PollFlags::POLLIN)).collect();
    let timeout = PollTimeout::try_from(timeout_ms).unwrap_or(PollTimeout::NONE);
    match poll(&mut polled, timeout) {
        Err(Errno::EINTR) => Ok(false),
        ready => Ok(ready? > 0),
    }
}

/// Zeroed memory for at least `words` words, and the index of its first word in a large
/// page. Asks the system for large pages, because small ones take several times as long to
/// be made. Where it has none, nothing changes.
pub(crate) fn large_pages(words: usize) -> Option<(Vec<u64>, usize)> {
    const LARGE: usize = (2 << 20) / size_of::<u64>();
    // `vec!` ends the process where there is no memory. Ask first.
    Vec::<u64>::new().try_reserve_exact(words.checked_add(2 * LARGE)?).ok()?;
    if words < LARGE {
        return Some((vec![0; words], 0));
    }
    // The room beyond is for the alignment, and is never written to.
    let whole = words.next_multiple_of(LARGE);
    let mut memory = vec![0; whole + LARGE];
    let first = memory.as_ptr().align_offset(LARGE * size_of::<u64>()).min(LARGE);
    if let Some(large) = memory.get_mut(first..first + whole) {
        // SAFETY: the range is that of the words, and the advice changes no byte of it.
        unsafe {
            libc::madvise(large.as_mut_ptr().cast(), size_of_val(large), libc::MADV_HUGEPAGE)
        };
    }
    Some((memory, first))
}

/// A duplicate of an open descriptor.
pub(crate) fn duplicate(descriptor: RawFd) -> io::Result<File> {
    if descriptor < 0 {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: it is used for one call, which refuses the number of a closed descriptor.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    Ok(borrowed.try_clone_to_owned()?.into())
}

/// Smaller holes are read like other bytes.
const SMALLEST_HOLE: usize = 1 << 20;

/// The large holes of the first `length` bytes of a file, in order: ranges that take no space on
/// the disk and read as zeros (lseek(2), SEEK_HOLE). Empty where the file system reports none.
pub(crate) fn holes(file: &File, length: usize) -> Vec<Range<usize>> {
    let seek = |offset: usize, whence| {
        let offset = i64::try_from(offset).ok()?;
        usize::try_from(lseek(file, offset, whence).ok()?).ok()
    };
    let (mut holes, mut at) = (Vec::new(), 0);
    // The end of the file counts as a hole.
    while let Some(begin) = seek(at, Whence::SeekHole).filter(|&begin| begin < length) {
        // No data after the last hole is an error.
        let end = seek(begin, Whence::SeekData).unwrap_or(length).min(length);
        if end - begin >= SMALLEST_HOLE {
            holes.push(begin..end);
        }
        at = end.max(begin + 1);
    }
    // The caller reads from the begin.
    seek(0, Whence::SeekSet);
    holes
}
