//! System calls that change a task and that neither nix nor Python offers.

use std::io;

use nix::errno::Errno;

/// `IOPRIO_WHO_PROCESS` (include/uapi/linux/ioprio.h): one task.
const WHO_TASK: libc::c_int = 1;

fn number(id: u32) -> io::Result<libc::c_int> {
    // A negative number would name other tasks than one.
    libc::c_int::try_from(id).map_err(|_| Errno::ESRCH.into())
}

/// Sends a signal to one thread of a process (tgkill(2)).
pub(crate) fn tgkill(tgid: u32, tid: u32, signal: i32) -> io::Result<()> {
    let (tgid, tid) = (number(tgid)?, number(tid)?);
    // SAFETY: the arguments are numbers, and the kernel writes to no memory of the caller.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, tgid, tid, signal) };
    Ok(Errno::result(result).map(drop)?)
}

/// The I/O priority of a task, as its class and level in one number (ioprio_get(2)).
pub(crate) fn ioprio(tid: u32) -> io::Result<u16> {
    let tid = number(tid)?;
    // SAFETY: the arguments are numbers, and the kernel writes to no memory of the caller.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_TASK, tid) };
    // A priority has 16 bits.
    Ok(Errno::result(result)? as u16)
}

/// Sets the I/O priority of a task (ioprio_set(2)).
pub(crate) fn set_ioprio(tid: u32, priority: u16) -> io::Result<()> {
    let (tid, priority) = (number(tid)?, libc::c_int::from(priority));
    // SAFETY: the arguments are numbers, and the kernel writes to no memory of the caller.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_TASK, tid, priority) };
    Ok(Errno::result(result).map(drop)?)
}
