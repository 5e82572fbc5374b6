//! Reads single tasks from /proc.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use precise_top_core::layout::EXTENSION_BIT;
use precise_top_core::{Field, FieldSet, RecordMut};

use super::sleepers::{Sleeper, Sleepers, Waits};
use super::stat::{MOMENT, Stat, words_as_numbers, write_lines};
use crate::errors::Error;
use crate::host::Host;
use crate::sys;

/// The base version that the reader writes.
pub(super) const VERSION: u16 = 14 | EXTENSION_BIT;

/// Links of a process's task directory that holds its leader alone: the directory's own
/// two and the leader's.
const LINKS_OF_ONE_THREAD: libc::nlink_t = 3;

const NS_PER_S: u64 = 1_000_000_000;
/// How often a leader's schedstat is compared with its process's clock: it may start to run
/// between the two.
const ATTEMPTS: u32 = 2;

/// Fields that stat has for every task.
pub(super) const STAT: FieldSet = FieldSet::of(&[
    Field::version,
    Field::ac_comm,
    Field::ac_pid,
    Field::ac_ppid,
    Field::ac_tgid,
    Field::ac_uid,
    Field::ac_gid,
    Field::ac_nice,
    Field::ac_sched,
    Field::ac_btime,
    Field::ac_btime64,
    Field::ac_etime,
    Field::ac_utime,
    Field::ac_stime,
    Field::ac_cutime,
    Field::ac_cstime,
    Field::ac_gtime,
    Field::ac_minflt,
    Field::ac_majflt,
    Field::ac_time_ns,
    Field::ac_start_ns,
    Field::rss_kb,
    Field::vm_kb,
    Field::state,
    Field::cpu,
    Field::num_threads,
    Field::task_flags,
]);
pub(super) const CPU_TIME: FieldSet =
    FieldSet::of(&[Field::cpu_run_virtual_total, Field::ac_sum_exec_ns]);
pub(super) const SCHEDSTAT: FieldSet = FieldSet::of(&[Field::cpu_count, Field::cpu_delay_total]);
pub(super) const BLKIO: FieldSet = FieldSet::of(&[Field::blkio_delay_total]);
pub(super) const STATUS_MEMORY: FieldSet = FieldSet::of(&[Field::hiwater_rss, Field::hiwater_vm]);
pub(super) const STATUS_SWITCHES: FieldSet = FieldSet::of(&[Field::nvcsw, Field::nivcsw]);
/// The fields of /proc/PID/io.
pub(crate) const IO: FieldSet = FieldSet::of(&[
    Field::read_char,
    Field::write_char,
    Field::read_syscalls,
    Field::write_syscalls,
    Field::read_bytes,
    Field::write_bytes,
    Field::cancelled_write_bytes,
]);

/// All fields that the reader can fill.
pub(super) const CAN: FieldSet = STAT
    .union(CPU_TIME)
    .union(SCHEDSTAT)
    .union(BLKIO)
    .union(STATUS_MEMORY)
    .union(STATUS_SWITCHES)
    .union(IO);

/// Reads single tasks from below a kept /proc.
pub(crate) struct Reader {
    proc: File,
    tick_ns: u64,
    page_kb: u64,
    text: Vec<u8>,
    /// System calls made since the count was last taken.
    pub(crate) syscalls: u32,
    /// Tasks that are listed and may not be read, since the count was last taken.
    pub(crate) denied: u32,
    /// CLOCK_REALTIME − CLOCK_BOOTTIME, for starts since 1970.
    pub(crate) epoch_ns: u64,
    /// A failure that says nothing about the task: no descriptor or memory was left.
    failure: Option<Errno>,
    /// Of a source that walks over all processes again and again.
    sleepers: Option<Sleepers>,
}

impl Reader {
    pub(crate) fn new(host: &Host) -> Result<Reader, Error> {
        let proc = File::open("/proc").map_err(|error| Error::os("open /proc", error))?;
        Ok(Reader {
            proc,
            tick_ns: host.tick_ns(),
            page_kb: host.page_size() / 1024,
            text: vec![0; 4096],
            syscalls: 0,
            denied: 0,
            epoch_ns: 0,
            failure: None,
            sleepers: None,
        })
    }

    /// Begins a walk over all processes: of those that did not run since the last one, what
    /// cannot have changed is not read again.
    pub(super) fn begin_walk(&mut self) {
        self.sleepers.get_or_insert_default().begin();
    }

    /// Unsupported where /proc is an empty directory.
    pub(crate) fn check_mounted(&self) -> Result<(), Error> {
        fstatat(&self.proc, "self/stat", AtFlags::empty()).map(drop).map_err(|_| {
            Error::Unsupported {
                reason: "/proc is not mounted".into(),
                hint: "type: mount -t proc proc /proc".into(),
            }
        })
    }

    /// The failure, if any, that left out tasks since the last call.
    pub(crate) fn check_failure(&mut self) -> Result<(), Error> {
        self.failure.take().map_or(Ok(()), |errno| Err(Error::os("read /proc", errno.into())))
    }

    /// Remembers an error that would leave out a task that is there.
    fn remember(&mut self, errno: Errno) {
        if matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) {
            self.failure = Some(errno);
        }
    }

    /// The ids of all processes, ascending.
    pub(crate) fn pids(&self) -> Result<Vec<u32>, Error> {
        numbers("/proc").map_err(|error| Error::os("list /proc", error))
    }

    /// The ids of a process's threads, ascending; empty where it is gone.
    pub(crate) fn tids(&mut self, pid: u32) -> Vec<u32> {
        // The directory has a link for each thread (proc_task_getattr(), fs/proc/base.c):
        // one call instead of the five of a listing.
        let path = CString::new(format!("{pid}/task")).unwrap_or_default();
        match fstatat(&self.proc, path.as_c_str(), AtFlags::empty()).map(|stat| stat.st_nlink) {
            Ok(LINKS_OF_ONE_THREAD) => vec![pid],
            _ => numbers(&format!("/proc/{pid}/task")).unwrap_or_else(|error| {
                self.remember(Errno::from_raw(error.raw_os_error().unwrap_or(0)));
                Vec::new()
            }),
        }
    }

    fn read(&mut self, path: &str) -> io::Result<&[u8]> {
        let path = CString::new(path).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let opened = openat(&self.proc, path.as_c_str(), flags, Mode::empty());
        let mut file = File::from(opened.inspect_err(|&errno| self.remember(errno))?);
        // openat, read, close.
        self.syscalls += 3;
        let mut length = 0;
        loop {
            let read = file.read(&mut self.text[length..])?;
            length += read;
            if read == 0 || length < self.text.len() {
                return Ok(&self.text[..length]);
            }
            self.text.resize(self.text.len() * 2, 0);
            self.syscalls += 1;
        }
    }

    /// Fills a record with the wanted fields of a process, or of its thread `tid`. Returns
    /// the fields filled, None where the task is gone or hidden.
    pub(crate) fn fill(
        &mut self,
        record: &mut RecordMut<'_>,
        pid: u32,
        tid: Option<u32>,
        wanted: FieldSet,
    ) -> Option<FieldSet> {
        let directory = match tid {
            Some(tid) => format!("{pid}/task/{tid}"),
            None => pid.to_string(),
        };
        let now = crate::host::now();
        // /proc has a hidden directory for each thread.
        let stat = self.stat(&directory).filter(|stat| tid.is_some() || !stat.is_thread())?;
        // Other sources complete their own records here.
        record.set(Field::version, u64::from(record.layout().version()));
        record.set(Field::ac_pid, u64::from(tid.unwrap_or(pid)));
        record.set(Field::ac_tgid, u64::from(pid));
        record.set(Field::ac_time_ns, now.monotonic_ns);
        stat.write(record, self.tick_ns, self.page_kb);
        let start_ns = stat.start_ns(self.tick_ns);
        self.write_start(record, start_ns, now.boottime_ns);
        // Whatever is read after the clock is at least as new.
        let clock_ns = if tid.is_none() { self.process_clock(pid) } else { None };
        let sleeper =
            clock_ns.and_then(|clock_ns| self.sleepers.as_ref()?.get(pid, start_ns, clock_ns));
        let mut filled = STAT.union(BLKIO);
        let owner = sleeper.and_then(|sleeper| sleeper.owner).or_else(|| self.owner(&directory));
        match owner {
            Some([uid, gid]) => {
                record.set(Field::ac_uid, uid);
                record.set(Field::ac_gid, gid);
            }
            None => filled = filled.without(Field::ac_uid).without(Field::ac_gid),
        }
        let mut memory_of = directory.clone();
        if tid.is_none() && stat.leader_has_exited() {
            match self.living_thread(pid) {
                Some((thread, living)) => {
                    living.write_moment(record, self.page_kb);
                    memory_of = thread;
                }
                None => filled = filled.difference(MOMENT),
            }
        }
        let times = match (tid, clock_ns) {
            (Some(_), _) => self.thread_times(record, &directory),
            (None, None) => Times { filled: FieldSet::EMPTY, of_all_threads: false },
            (None, Some(clock_ns)) => {
                let is_wanted =
                    stat.threads() <= 1 && wanted.intersects(SCHEDSTAT.union(STATUS_SWITCHES));
                let (now_ns, waits) = match sleeper.map(|sleeper| sleeper.waits) {
                    _ if !is_wanted => (clock_ns, Waits::NotRead),
                    Some(known @ (Waits::Unknown | Waits::Known(_))) => (clock_ns, known),
                    _ => self.process_waits(pid, &stat, clock_ns),
                };
                if let Some(sleepers) = &mut self.sleepers {
                    sleepers.insert(pid, Sleeper { start_ns, clock_ns, owner, waits });
                }
                write_process_times(record, now_ns, waits)
            }
        };
        filled = filled.union(times.filled);
        let peaks = wanted.intersects(STATUS_MEMORY);
        let switches = wanted.intersects(STATUS_SWITCHES) && times.of_all_threads;
        if memory_of == directory {
            filled = filled.union(self.status(record, &directory, peaks, switches));
        } else {
            filled = filled.union(self.status(record, &memory_of, peaks, false));
            filled = filled.union(self.status(record, &directory, false, switches));
        }
        if wanted.intersects(IO) {
            filled = filled.union(self.io(record, &directory));
        }
        Some(filled)
    }

    fn stat(&mut self, directory: &str) -> Option<Stat> {
        match self.read(&format!("{directory}/stat")) {
            Ok(line) => Stat::parse(line),
            Err(error) => {
                self.denied += u32::from(error.kind() == ErrorKind::PermissionDenied);
                None
            }
        }
    }

    fn write_start(&self, record: &mut RecordMut<'_>, start_ns: u64, boottime_ns: u64) {
        record.set(Field::ac_start_ns, start_ns);
        record.set(Field::ac_etime, boottime_ns.saturating_sub(start_ns) / 1000);
        let started = (self.epoch_ns + start_ns) / NS_PER_S;
        record.set(Field::ac_btime, started.min(u64::from(u32::MAX)));
        record.set(Field::ac_btime64, started);
    }

    /// The effective user and group. The directory belongs to them even where the files below it
    /// belong to root (a process that may not be dumped).
    fn owner(&mut self, directory: &str) -> Option<[u64; 2]> {
        self.syscalls += 1;
        let stat = fstatat(&self.proc, directory, AtFlags::empty()).ok()?;
        Some([u64::from(stat.st_uid), u64::from(stat.st_gid)])
    }

    /// A thread of a process whose leader has exited, with its directory.
    fn living_thread(&mut self, pid: u32) -> Option<(String, Stat)> {
        self.tids(pid).into_iter().filter(|&tid| tid != pid).find_map(|tid| {
            let directory = format!("{pid}/task/{tid}");
            let stat = self.stat(&directory)?;
            (!matches!(stat.state, b'Z' | b'X')).then_some((directory, stat))
        })
    }

    /// CPU time, waits and their number in a task's schedstat.
    fn schedstat(&mut self, directory: &str) -> Option<[u64; 3]> {
        let line = self.read(&format!("{directory}/schedstat")).ok()?;
        words_as_numbers(line).first_chunk().copied()
    }

    fn thread_times(&mut self, record: &mut RecordMut<'_>, directory: &str) -> Times {
        let mut filled = FieldSet::EMPTY;
        if let Some([run, delay, count]) = self.schedstat(directory) {
            record.set(Field::cpu_run_virtual_total, run);
            record.set(Field::ac_sum_exec_ns, run);
            record.set(Field::cpu_delay_total, delay);
            record.set(Field::cpu_count, count);
            filled = CPU_TIME.union(SCHEDSTAT);
        }
        Times { filled, of_all_threads: true }
    }

    /// The waits of a process whose clock was read, and its clock where it was read again. A
    /// leader's schedstat and status are its own, so they stand for a process that has, and had,
    /// no other thread.
    fn process_waits(&mut self, pid: u32, stat: &Stat, mut clock_ns: u64) -> (u64, Waits) {
        let directory = pid.to_string();
        let mut runs = stat.state == b'R';
        for _ in 0..ATTEMPTS {
            let Some([run_ns, delay, count]) = self.schedstat(&directory) else {
                return (clock_ns, Waits::NotRead);
            };
            // Only the clock has the time of dead threads. While the leader runs, its
            // schedstat is up to a tick behind.
            let late_ns = if runs { self.tick_ns } else { 0 };
            if clock_ns <= run_ns + late_ns {
                return (clock_ns, Waits::Known([delay, count]));
            }
            let Some(again_ns) = self.process_clock(pid) else { break };
            runs = runs || again_ns != clock_ns;
            clock_ns = again_ns;
        }
        (clock_ns, Waits::Unknown)
    }

    /// The CPU clock of a process, with all its threads, dead and alive.
    fn process_clock(&mut self, pid: u32) -> Option<u64> {
        self.syscalls += 1;
        sys::clock_ns(sys::process_clock(pid)).ok()
    }

    fn status(
        &mut self,
        record: &mut RecordMut<'_>,
        directory: &str,
        peaks: bool,
        switches: bool,
    ) -> FieldSet {
        if !peaks && !switches {
            return FieldSet::EMPTY;
        }
        self.lines(record, directory, "status", |name| match name {
            b"VmPeak" if peaks => Some(Field::hiwater_vm),
            b"VmHWM" if peaks => Some(Field::hiwater_rss),
            // The sums of all CPUs' counts; stat has what is summed already.
            b"VmSize" if peaks => Some(Field::vm_kb),
            b"VmRSS" if peaks => Some(Field::rss_kb),
            b"voluntary_ctxt_switches" if switches => Some(Field::nvcsw),
            b"nonvoluntary_ctxt_switches" if switches => Some(Field::nivcsw),
            _ => None,
        })
    }

    fn io(&mut self, record: &mut RecordMut<'_>, directory: &str) -> FieldSet {
        self.lines(record, directory, "io", |name| match name {
            b"rchar" => Some(Field::read_char),
            b"wchar" => Some(Field::write_char),
            b"syscr" => Some(Field::read_syscalls),
            b"syscw" => Some(Field::write_syscalls),
            b"read_bytes" => Some(Field::read_bytes),
            b"write_bytes" => Some(Field::write_bytes),
            b"cancelled_write_bytes" => Some(Field::cancelled_write_bytes),
            _ => None,
        })
    }

    fn lines(
        &mut self,
        record: &mut RecordMut<'_>,
        directory: &str,
        file: &str,
        field_of: impl Fn(&[u8]) -> Option<Field>,
    ) -> FieldSet {
        let Ok(text) = self.read(&format!("{directory}/{file}")) else { return FieldSet::EMPTY };
        write_lines(text, record, field_of)
    }
}

/// Sets the CPU time of a process, and its waits where they are known.
fn write_process_times(record: &mut RecordMut<'_>, clock_ns: u64, waits: Waits) -> Times {
    record.set(Field::cpu_run_virtual_total, clock_ns);
    record.set(Field::ac_sum_exec_ns, clock_ns);
    let Waits::Known([delay, count]) = waits else {
        return Times { filled: CPU_TIME, of_all_threads: false };
    };
    record.set(Field::cpu_delay_total, delay);
    record.set(Field::cpu_count, count);
    Times { filled: CPU_TIME.union(SCHEDSTAT), of_all_threads: true }
}

/// The fields that the CPU clock and schedstat have filled.
struct Times {
    filled: FieldSet,
    /// Whether the task's own counters are those of all its threads, the dead ones too.
    of_all_threads: bool,
}

/// The names in a directory that are numbers, ascending.
fn numbers(path: &str) -> io::Result<Vec<u32>> {
    let mut numbers: Vec<u32> = fs::read_dir(path)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The sessions of all processes that /proc shows.
pub fn sessions() -> HashMap<u32, u32> {
    let session = |pid: u32| {
        let stat = Stat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)?;
        Some((pid, stat.session()))
    };
    numbers("/proc").unwrap_or_default().into_iter().filter_map(session).collect()
}

/// The arguments a process has now (/proc/PID/cmdline); empty for a kernel thread,
/// None where the process is gone or hidden.
pub fn cmdline(pid: u32) -> Option<Vec<Vec<u8>>> {
    fs::read(format!("/proc/{pid}/cmdline")).ok().map(|text| arguments(&text))
}

/// The arguments in a text of /proc/PID/cmdline.
pub fn arguments(text: &[u8]) -> Vec<Vec<u8>> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect()
}
