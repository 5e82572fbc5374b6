//! Reads single tasks from /proc.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use precise_top_core::layout::EXTENSION_BIT;
use precise_top_core::{Field, FieldSet, RecordMut, state};

use crate::errors::Error;
use crate::host::Host;
use crate::sys;

/// The base version that the reader writes.
pub(super) const VERSION: u16 = 14 | EXTENSION_BIT;

/// Links of a process's task directory that holds its leader alone: the directory's own
/// two and the leader's.
const LINKS_OF_ONE_THREAD: libc::nlink_t = 3;

/// What stat gives for every task.
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
pub(super) const IO: FieldSet = FieldSet::of(&[
    Field::read_char,
    Field::write_char,
    Field::read_syscalls,
    Field::write_syscalls,
    Field::read_bytes,
    Field::write_bytes,
    Field::cancelled_write_bytes,
]);

/// All that the reader can fill.
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
        })
    }

    /// The ids of all processes, ascending.
    pub(crate) fn pids(&self) -> Result<Vec<u32>, Error> {
        numbers("/proc").map_err(|error| Error::os("list /proc", error))
    }

    /// The ids of a process's threads, ascending; empty where it is gone.
    pub(crate) fn tids(&self, pid: u32) -> Vec<u32> {
        // The directory has a link for each thread (proc_task_getattr(), fs/proc/base.c):
        // one call instead of the five of a listing.
        let path = CString::new(format!("{pid}/task")).unwrap_or_default();
        match fstatat(&self.proc, path.as_c_str(), AtFlags::empty()).map(|stat| stat.st_nlink) {
            Ok(LINKS_OF_ONE_THREAD) => vec![pid],
            _ => numbers(&format!("/proc/{pid}/task")).unwrap_or_default(),
        }
    }

    fn read(&mut self, path: &str) -> io::Result<&[u8]> {
        let path = CString::new(path).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.proc, path.as_c_str(), flags, Mode::empty())?);
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

    /// Fills a record with the wanted fields of a process, or of its thread `tid`.
    /// Gives the fields filled, None where the task is gone or hidden.
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
        let (tick_ns, page_kb, epoch_ns) = (self.tick_ns, self.page_kb, self.epoch_ns);
        let line = match self.read(&format!("{directory}/stat")) {
            Ok(line) => line,
            Err(error) => {
                self.denied += u32::from(error.kind() == ErrorKind::PermissionDenied);
                return None;
            }
        };
        let stat = Stat::parse(line)?;
        record.set(Field::version, u64::from(VERSION));
        record.set(Field::ac_pid, u64::from(tid.unwrap_or(pid)));
        record.set(Field::ac_tgid, u64::from(pid));
        record.set(Field::ac_time_ns, now.monotonic_ns);
        stat.write(record, tick_ns, page_kb);
        let start_ns = stat.number(22) * tick_ns;
        record.set(Field::ac_start_ns, start_ns);
        record.set(Field::ac_etime, now.boottime_ns.saturating_sub(start_ns) / 1000);
        let started = (epoch_ns + start_ns) / 1_000_000_000;
        record.set(Field::ac_btime, started.min(u64::from(u32::MAX)));
        record.set(Field::ac_btime64, started);
        let mut filled = STAT.union(BLKIO);
        // The directory belongs to the effective user even where the files below it
        // belong to root (a process that may not be dumped).
        let path = CString::new(directory.as_str()).ok()?;
        self.syscalls += 1;
        match fstatat(&self.proc, path.as_c_str(), AtFlags::empty()) {
            Ok(stat) => {
                record.set(Field::ac_uid, u64::from(stat.st_uid));
                record.set(Field::ac_gid, u64::from(stat.st_gid));
            }
            Err(_) => filled = filled.without(Field::ac_uid).without(Field::ac_gid),
        }
        let single = tid.is_some() || stat.number(20) <= 1;
        filled = filled.union(self.cpu_time(record, pid, tid, single, &directory, wanted));
        if wanted.intersects(STATUS_MEMORY.union(STATUS_SWITCHES)) {
            filled = filled.union(self.status(record, &directory, single));
        }
        if wanted.intersects(IO) {
            filled = filled.union(self.io(record, &directory));
        }
        Some(filled)
    }

    fn cpu_time(
        &mut self,
        record: &mut RecordMut<'_>,
        pid: u32,
        tid: Option<u32>,
        single: bool,
        directory: &str,
        wanted: FieldSet,
    ) -> FieldSet {
        let mut filled = FieldSet::EMPTY;
        // A leader's schedstat is its own, not the process's.
        if tid.is_some() || (single && wanted.intersects(SCHEDSTAT)) {
            let line = self.read(&format!("{directory}/schedstat"));
            let numbers: Vec<u64> = line.map(words_as_numbers).unwrap_or_default();
            if let [run, delay, count, ..] = numbers[..] {
                record.set(Field::cpu_delay_total, delay);
                record.set(Field::cpu_count, count);
                filled = filled.union(SCHEDSTAT);
                if tid.is_some() {
                    record.set(Field::cpu_run_virtual_total, run);
                    record.set(Field::ac_sum_exec_ns, run);
                    filled = filled.union(CPU_TIME);
                }
            }
        }
        if tid.is_none() {
            self.syscalls += 1;
            if let Ok(run) = sys::clock_ns(sys::process_clock(pid)) {
                record.set(Field::cpu_run_virtual_total, run);
                record.set(Field::ac_sum_exec_ns, run);
                filled = filled.union(CPU_TIME);
            }
        }
        filled
    }

    fn status(&mut self, record: &mut RecordMut<'_>, directory: &str, single: bool) -> FieldSet {
        let mut filled = FieldSet::EMPTY;
        let Ok(text) = self.read(&format!("{directory}/status")) else { return filled };
        for line in text.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let field = match &line[..colon] {
                b"VmPeak" => Field::hiwater_vm,
                b"VmHWM" => Field::hiwater_rss,
                // A leader's switches are its own, not the process's.
                b"voluntary_ctxt_switches" if single => Field::nvcsw,
                b"nonvoluntary_ctxt_switches" if single => Field::nivcsw,
                _ => continue,
            };
            if let Some(&number) = words_as_numbers(&line[colon + 1..]).first() {
                record.set(field, number);
                filled = filled.with(field);
            }
        }
        filled
    }

    fn io(&mut self, record: &mut RecordMut<'_>, directory: &str) -> FieldSet {
        let mut filled = FieldSet::EMPTY;
        let Ok(text) = self.read(&format!("{directory}/io")) else { return filled };
        for line in text.split(|&byte| byte == b'\n') {
            let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
            let field = match &line[..colon] {
                b"rchar" => Field::read_char,
                b"wchar" => Field::write_char,
                b"syscr" => Field::read_syscalls,
                b"syscw" => Field::write_syscalls,
                b"read_bytes" => Field::read_bytes,
                b"write_bytes" => Field::write_bytes,
                b"cancelled_write_bytes" => Field::cancelled_write_bytes,
                _ => continue,
            };
            if let Some(&number) = words_as_numbers(&line[colon + 1..]).first() {
                record.set(field, number);
                filled = filled.with(field);
            }
        }
        filled
    }
}

/// The names in a directory that are numbers, ascending.
fn numbers(path: &str) -> io::Result<Vec<u32>> {
    let mut numbers: Vec<u32> = fs::read_dir(path)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The leading words of a line that are numbers.
fn words_as_numbers(line: &[u8]) -> Vec<u64> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map_while(|word| std::str::from_utf8(word).ok()?.parse().ok())
        .collect()
}

/// The start in a line of /proc/PID/stat, CLOCK_BOOTTIME ns, to the tick.
pub(crate) fn start_of(line: &[u8], tick_ns: u64) -> Option<u64> {
    Some(Stat::parse(line)?.number(22) * tick_ns)
}

/// One line of /proc/PID/stat (proc_pid_stat(5), fields counted from 1).
struct Stat {
    comm: Vec<u8>,
    state: u8,
    /// Fields from 4 on; negative ones in two's complement.
    numbers: Vec<u64>,
}

impl Stat {
    fn parse(line: &[u8]) -> Option<Stat> {
        let open = line.iter().position(|&byte| byte == b'(')?;
        // The name may hold anything, parentheses too.
        let close = line.iter().rposition(|&byte| byte == b')')?;
        let comm = line.get(open + 1..close)?.to_vec();
        let rest = std::str::from_utf8(line.get(close + 2..)?).ok()?;
        let mut words = rest.split_ascii_whitespace();
        let state = *words.next()?.as_bytes().first()?;
        let numbers = words
            .map_while(|word| {
                word.parse().ok().or_else(|| word.parse::<i64>().ok().map(i64::cast_unsigned))
            })
            .collect();
        Some(Stat { comm, state, numbers })
    }

    fn number(&self, field: usize) -> u64 {
        self.numbers.get(field - 4).copied().unwrap_or(0)
    }

    fn write(&self, record: &mut RecordMut<'_>, tick_ns: u64, page_kb: u64) {
        let ticks_us = |field| self.number(field).saturating_mul(tick_ns / 1000);
        record.set_text(Field::ac_comm, &self.comm);
        let bits = state::from_letter(char::from(self.state)).unwrap_or(0);
        record.set(Field::state, u64::from(bits));
        record.set(Field::ac_ppid, self.number(4));
        record.set(Field::task_flags, self.number(9));
        record.set(Field::ac_minflt, self.number(10));
        record.set(Field::ac_majflt, self.number(12));
        record.set(Field::ac_utime, ticks_us(14));
        record.set(Field::ac_stime, ticks_us(15));
        record.set(Field::ac_cutime, ticks_us(16));
        record.set(Field::ac_cstime, ticks_us(17));
        record.set(Field::ac_nice, self.number(19));
        record.set(Field::num_threads, self.number(20));
        record.set(Field::vm_kb, self.number(23) / 1024);
        record.set(Field::rss_kb, self.number(24).saturating_mul(page_kb));
        record.set(Field::cpu, self.number(39));
        record.set(Field::ac_sched, self.number(41));
        record.set(Field::blkio_delay_total, self.number(42).saturating_mul(tick_ns));
        record.set(Field::ac_gtime, ticks_us(43));
    }
}

/// The sessions of all processes that /proc shows.
pub fn sessions() -> HashMap<u32, u32> {
    let session = |pid: u32| {
        let stat = Stat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)?;
        Some((pid, stat.number(6) as u32))
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
