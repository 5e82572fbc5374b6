//! The terminal of a live view: when its next frame is due, and what is written to it.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

use crate::errors::Error;
use crate::sys;

const NS_PER_MS: u64 = 1_000_000;

/// Descriptors that a view waits for, and the one that it writes to. It owns duplicates.
pub struct Console {
    inputs: Vec<File>,
    output: File,
}

impl Console {
    /// Of these descriptors.
    pub fn new(inputs: &[RawFd], output: RawFd) -> Result<Console, Error> {
        let open = |&descriptor: &RawFd| {
            sys::duplicate(descriptor).map_err(|error| Error::os("use a terminal", error))
        };
        Ok(Console {
            inputs: inputs.iter().map(open).collect::<Result<_, _>>()?,
            output: open(&output)?,
        })
    }

    /// Waits until `due_ns` of [`now_ns`]. Returns false where an input is readable, also where
    /// the time has come: input must not wait for frames that take longer than their delay.
    pub fn wait(&self, due_ns: u64) -> io::Result<bool> {
        let inputs: Vec<BorrowedFd<'_>> = self.inputs.iter().map(File::as_fd).collect();
        let mut is_first = true;
        loop {
            let left_ns = due_ns.saturating_sub(now_ns()?);
            if left_ns == 0 && !is_first {
                return Ok(true);
            }
            is_first = false;
            let left_ms = i32::try_from(left_ns.div_ceil(NS_PER_MS)).unwrap_or(i32::MAX);
            // A signal that matters makes an input readable.
            if sys::wait_readable(&inputs, left_ms)? {
                return Ok(false);
            }
        }
    }

    /// Writes all of `bytes`, also to a descriptor that does not block.
    pub fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match (&self.output).write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait_writable()?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wait_writable(&self) -> io::Result<()> {
        let mut polled = [PollFd::new(self.output.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// CLOCK_MONOTONIC as this process sees it, in ns.
pub fn now_ns() -> io::Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}
