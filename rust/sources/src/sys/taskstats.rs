//! The ioctl of /proc/taskstats (docs/proc-taskstats.md).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

/// `struct taskstats_request`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Request {
    /// In: only what ran since, CLOCK_MONOTONIC; 0 for all.
    pub(crate) time_ns: u64,
    /// In: the first pid.
    pub(crate) pid: u32,
    /// In: so many at most; 0 for no limit.
    pub(crate) cnt: u32,
    /// In: 0.
    pub(crate) flags: u32,
    /// In and out: [`take_snapshot`] sets them.
    pub(crate) cpu_cnt: u32,
    pub(crate) cpus: u64,
    /// Out: the instant, on four clocks.
    pub(crate) mono_ns: u64,
    pub(crate) boot_ns: u64,
    pub(crate) real_ns: u64,
    pub(crate) sched_ns: u64,
    /// Out: bytes of a record's two parts. (A kernel with v1 of the extension has one number
    /// of 32 bits here, which leaves one of them 0.)
    pub(crate) base_size: u16,
    pub(crate) ext_size: u16,
    /// Out: tasks left out because they did not run since.
    pub(crate) unchanged: u32,
}

impl Request {
    /// Out: bytes of a record.
    pub(crate) fn record_size(&self) -> usize {
        usize::from(self.base_size) + usize::from(self.ext_size)
    }
}

/// `struct taskstats_cpu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) cpu: u32,
    flags: u32,
    pub(crate) clock_ns: u64,
    pub(crate) clock_task_ns: u64,
    pub(crate) idle_ns: u64,
    pub(crate) steal_ns: u64,
    idle_steal_ns: u64,
}

/// _IOWR(0xBE, 5, struct taskstats_request)
const PIDS: libc::c_ulong = 0xc048_be05;
const _: () = assert!(size_of::<Request>() == 72 && size_of::<Cpu>() == 48);

/// Takes a snapshot of tasks in the kernel, to be read from `file`. Writes the answer to
/// `request`, and to `cpus` the clocks of as many CPUs as fit. Returns the number of records
/// and the number of CPUs.
pub(crate) fn take_snapshot(
    file: &File,
    request: &mut Request,
    cpus: &mut [Cpu],
) -> io::Result<(usize, usize)> {
    request.cpus = cpus.as_mut_ptr() as u64;
    request.cpu_cnt = u32::try_from(cpus.len()).unwrap_or(u32::MAX);
    // SAFETY: the number names a `struct taskstats_request`, which `request` is; it
    // points to as many `struct taskstats_cpu` as it says, and both live and are ours
    // alone during the call.
    let count = unsafe { libc::ioctl(file.as_raw_fd(), PIDS as _, &raw mut *request) };
    let count = Errno::result(count)?;
    // Errno::result() has taken negative numbers away.
    Ok((count as usize, request.cpu_cnt as usize))
}
