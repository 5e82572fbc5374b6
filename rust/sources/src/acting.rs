//! Acting on tasks: which task has a pid now, and the calls that Python lacks.

use std::fs;

use crate::errors::Error;
use crate::host::tick_ns;
use crate::procfs::stat::Stat;
use crate::sys::acting;

/// A task that has a pid now, as /proc shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskNow {
    /// Its process id.
    pub tgid: u32,
    /// Its name, in any encoding.
    pub name: Vec<u8>,
    /// Its start in ticks since boot: field 22 of proc_pid_stat(5).
    pub start_ticks: u64,
    /// The same in ns of the kernel's CLOCK_BOOTTIME, to the tick.
    pub start_ns: u64,
    /// Whether it has died.
    pub is_dead: bool,
}

/// The task that has this pid in the pid namespace of the calling process. NoSuchTask where
/// there is none, Unsupported where /proc shows another namespace.
pub fn task_now(pid: u32) -> Result<TaskNow, Error> {
    let own = fs::read_link("/proc/self").ok();
    if own.is_none_or(|own| own.as_os_str() != &*std::process::id().to_string()) {
        return Err(Error::Unsupported {
            reason: "/proc is that of another pid namespace".into(),
            hint: "mount the proc of this one".into(),
        });
    }
    let gone = || Error::NoSuchTask(pid);
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).map_err(|_| gone());
    let stat = Stat::parse(&read("stat")?).ok_or_else(gone)?;
    let status = read("status")?;
    let mut lines = status.split(|&byte| byte == b'\n');
    let tgid = lines.find_map(|line| str::from_utf8(line.strip_prefix(b"Tgid:")?).ok());
    Ok(TaskNow {
        tgid: tgid.and_then(|tgid| tgid.trim().parse().ok()).ok_or_else(gone)?,
        start_ticks: stat.number(22),
        start_ns: stat.start_ns(tick_ns()),
        // A leader that has exited is a zombie while its other threads live.
        is_dead: matches!(stat.state, b'X' | b'x') || stat.state == b'Z' && stat.threads() <= 1,
        name: stat.comm,
    })
}

/// Sends a signal to one thread of a process (tgkill(2)).
pub fn tgkill(tgid: u32, tid: u32, signal: i32) -> Result<(), Error> {
    acting::tgkill(tgid, tid, signal).map_err(|error| Error::os("signal a thread", error))
}

/// The I/O priority of a task: the class times 2^13 and the level (ioprio_get(2)).
pub fn ioprio(tid: u32) -> Result<u16, Error> {
    acting::ioprio(tid).map_err(|error| Error::os("read an I/O priority", error))
}

/// Sets the I/O priority of a task (ioprio_set(2)).
pub fn set_ioprio(tid: u32, priority: u16) -> Result<(), Error> {
    acting::set_ioprio(tid, priority).map_err(|error| Error::os("set an I/O priority", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock;

    #[test]
    fn the_own_process_is_found_and_no_other() {
        let own = std::process::id();
        let now = task_now(own).unwrap();
        assert_eq!((now.tgid, now.is_dead), (own, false));
        let boottime_ns = clock::clock_ns(libc::CLOCK_BOOTTIME).unwrap();
        assert!(now.start_ns > 0 && now.start_ns <= boottime_ns);
        assert!(matches!(task_now(u32::MAX), Err(Error::NoSuchTask(u32::MAX))));
    }

    #[test]
    fn an_io_priority_is_read_and_set() {
        // The test's own thread: a best effort of level 6, then as before.
        let tid = nix::unistd::gettid().as_raw().cast_unsigned();
        let before = ioprio(tid).unwrap();
        set_ioprio(tid, 2 << 13 | 6).unwrap();
        assert_eq!(ioprio(tid).unwrap(), 2 << 13 | 6);
        set_ioprio(tid, before).unwrap();
        assert!(ioprio(u32::MAX).is_err());
        assert!(tgkill(u32::MAX, tid, 0).is_err());
        tgkill(std::process::id(), tid, 0).unwrap();
    }
}
