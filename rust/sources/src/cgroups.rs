//! The files of cgroups (v2): limits, throttling, I/O and pressure.
//!
//! Design decisions
//!
//! * Only what is asked for is read, and only while it is asked for again: a table asks for the
//!   rows on the screen. Descriptors are kept meanwhile, up to a limit.
//! * A path comes from /proc or a recording. It is not trusted, and what it names may vanish at
//!   any time: then its values are unknown.
//! * A removed cgroup answers ENODEV for ever, so a descriptor never shows another cgroup that
//!   has the same path.
//! * I/O is counted at disks. A device made of others (dm, md, loop) would count it twice.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use precise_top_core::{
    CgroupMetric, CgroupPart, CgroupStats, CgroupUse, CgroupValue, CgroupValues, CpuMax, Interval,
    KnownCgroups, Limit,
};

use crate::host::Host;
use crate::meters::parse_pressure;
use crate::mounts::cgroup_mount;
use crate::sys::clock::clock_ns;

/// Descriptors that are kept: a process may have 1,024.
const MOST_KEPT: usize = 512;
/// How often a file that was missing is looked for again.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How old a snapshot may be for files read now to belong to it.
pub(crate) const FRESH_NS: u64 = 5_000_000_000;
/// The files, in the order of the parts.
const FILES: [(CgroupPart, &str); 9] = [
    (CgroupPart::Cpu, "cpu.max"),
    (CgroupPart::Cpu, "cpu.stat"),
    (CgroupPart::Memory, "memory.current"),
    (CgroupPart::Memory, "memory.high"),
    (CgroupPart::Memory, "memory.max"),
    (CgroupPart::Io, "io.stat"),
    (CgroupPart::Pressure, "cpu.pressure"),
    (CgroupPart::Pressure, "io.pressure"),
    (CgroupPart::Pressure, "memory.pressure"),
];

/// Reads cgroups by their paths, and remembers each one's reading before.
pub struct CgroupReader {
    /// Where cgroup v2 is mounted.
    mount: Option<PathBuf>,
    known: HashMap<Vec<u8>, Known>,
    devices: HashMap<Vec<u8>, bool>,
    kept: usize,
    looked: Instant,
    buffer: Vec<u8>,
}

/// A cgroup and its last two readings.
#[derive(Default)]
struct Known {
    files: [Slot; FILES.len()],
    before: CgroupStats,
    now: CgroupStats,
    /// When each part was read; None for a part that was not.
    before_at: [Option<Instant>; CgroupPart::ALL.len()],
    now_at: [Option<Instant>; CgroupPart::ALL.len()],
}

#[derive(Default)]
enum Slot {
    #[default]
    Unopened,
    Missing,
    Kept(File),
}

impl Default for CgroupReader {
    fn default() -> CgroupReader {
        CgroupReader::new(cgroup_mount())
    }
}

impl CgroupReader {
    /// A reader of the cgroups below the directory where v2 is mounted.
    pub fn new(mount: Option<PathBuf>) -> CgroupReader {
        CgroupReader {
            mount,
            known: HashMap::new(),
            devices: HashMap::new(),
            kept: 0,
            looked: Instant::now(),
            buffer: vec![0; 4096],
        }
    }

    /// Begins the next reading. Cgroups that nobody asked for in the last one are forgotten.
    pub fn begin(&mut self) {
        let look = self.looked.elapsed() >= LOOK_EVERY;
        if look {
            self.looked = Instant::now();
            self.devices.clear();
        }
        let kept = &mut self.kept;
        self.known.retain(|_, known| {
            let was_asked = known.now_at.iter().any(Option::is_some);
            if was_asked {
                known.before = std::mem::take(&mut known.now);
                known.before_at = std::mem::take(&mut known.now_at);
            } else {
                *kept -= known.forget_files();
            }
            if look {
                let missing = known.files.iter_mut().filter(|slot| matches!(slot, Slot::Missing));
                missing.for_each(|slot| *slot = Slot::Unopened);
            }
            was_asked
        });
    }

    /// All values of a cgroup in this reading.
    pub fn stats(&mut self, path: &[u8]) -> CgroupStats {
        for part in CgroupPart::ALL {
            self.part(path, part);
        }
        self.known.get(path).map_or_else(CgroupStats::default, |known| known.now)
    }

    /// The values of a part in this reading and in the one before.
    pub fn part(&mut self, path: &[u8], part: CgroupPart) -> CgroupUse {
        if self.is_unread(path, part) {
            self.read(path, part);
        }
        let Some(known) = self.known.get(path) else { return CgroupUse::default() };
        let at = part as usize;
        let elapsed = known.now_at[at].zip(known.before_at[at]).map(|(now, before)| now - before);
        let before = elapsed.map_or_else(CgroupStats::default, |_| known.before);
        let elapsed_ns = elapsed.map_or(0, |elapsed| elapsed.as_nanos() as u64);
        CgroupUse { before, now: known.now, elapsed_ns }
    }

    fn is_unread(&self, path: &[u8], part: CgroupPart) -> bool {
        self.known.get(path).is_none_or(|known| known.now_at[part as usize].is_none())
    }

    fn read(&mut self, path: &[u8], part: CgroupPart) {
        let Some(directory) = self.directory(path) else { return };
        if !self.known.contains_key(path) {
            self.known.insert(path.to_vec(), Known::default());
        }
        let Some(known) = self.known.get_mut(path) else { return };
        known.now_at[part as usize] = Some(Instant::now());
        for (slot, (_, name)) in
            known.files.iter_mut().zip(FILES).filter(|(_, (of, _))| *of == part)
        {
            match slot.read(|| File::open(directory.join(name)), &mut self.buffer, &mut self.kept) {
                Ok(Some(length)) => {
                    let text = &self.buffer[..length];
                    put(&mut known.now, name, text, &mut self.devices);
                }
                Ok(None) => {}
                // It has been removed, whatever has its path now.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {
                    self.kept -= known.forget_files();
                    let now_at = known.now_at;
                    *known = Known { now_at, ..Known::default() };
                    return;
                }
                Err(_) => *slot = Slot::Missing,
            }
        }
    }

    fn directory(&self, path: &[u8]) -> Option<PathBuf> {
        directory(self.mount.as_deref()?, path)
    }
}

/// The directory of a path of /proc/PID/cgroup. None for one outside of the namespace.
fn directory(mount: &Path, path: &[u8]) -> Option<PathBuf> {
    let inside = path.strip_prefix(b"/")?;
    let is_outside = inside.split(|&byte| byte == b'/').any(|part| part == b"..");
    // A second slash would begin at the root of all.
    let is_absolute = inside.first() == Some(&b'/');
    (!is_outside && !is_absolute).then(|| mount.join(OsStr::from_bytes(inside)))
}

/// The files of a cgroup as they are, by their names: those that it has and that may be read.
/// `mount` is where v2 is mounted, if not where /proc says.
pub fn cgroup_files<'a>(
    path: &[u8],
    names: impl IntoIterator<Item = &'a str>,
    mount: Option<PathBuf>,
) -> Vec<(&'a str, Vec<u8>)> {
    let Some(directory) = mount.or_else(cgroup_mount).and_then(|mount| directory(&mount, path))
    else {
        return Vec::new();
    };
    let mut buffer = vec![0; 4096];
    let mut read = |name: &str| {
        // A name is no path.
        let file = File::open(directory.join(name)).ok().filter(|_| !name.contains('/'))?;
        let length = read_whole(&file, &mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    };
    names.into_iter().filter_map(|name| Some((name, read(name)?))).collect()
}

impl Known {
    /// Closes the descriptors; returns how many there were.
    fn forget_files(&mut self) -> usize {
        let files = std::mem::take(&mut self.files);
        files.iter().filter(|slot| matches!(slot, Slot::Kept(_))).count()
    }
}

impl Slot {
    /// Reads the file into `buffer`; returns its length, or None for a missing file.
    fn read(
        &mut self,
        open: impl FnOnce() -> io::Result<File>,
        buffer: &mut Vec<u8>,
        kept: &mut usize,
    ) -> io::Result<Option<usize>> {
        match self {
            Slot::Missing => Ok(None),
            Slot::Kept(file) => read_whole(file, buffer).map(Some),
            Slot::Unopened => {
                let file = open()?;
                let length = read_whole(&file, buffer)?;
                if *kept < MOST_KEPT {
                    *kept += 1;
                    *self = Slot::Kept(file);
                }
                Ok(Some(length))
            }
        }
    }
}

/// Reads a file that the kernel writes as a whole; returns its length.
fn read_whole(file: &File, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut length = 0;
    loop {
        length += file.read_at(&mut buffer[length..], length as u64)?;
        if length < buffer.len() {
            return Ok(length);
        }
        buffer.resize(buffer.len() * 2, 0);
    }
}

/// Stores what a file says.
fn put(stats: &mut CgroupStats, name: &str, text: &[u8], devices: &mut HashMap<Vec<u8>, bool>) {
    let pressure = |text| parse_pressure(text);
    match name {
        "cpu.max" => stats.cpu_max = parse_cpu_max(text),
        "cpu.stat" => {
            stats.nr_periods = word(text, b"nr_periods");
            stats.nr_throttled = word(text, b"nr_throttled");
            stats.throttled_usec = word(text, b"throttled_usec");
        }
        "memory.current" => stats.memory_current = number(text),
        "memory.high" => stats.memory_high = limit(text),
        "memory.max" => stats.memory_max = limit(text),
        "io.stat" => {
            let sums = parse_io_stat(text, |device| {
                *devices.entry(device.to_vec()).or_insert_with(|| is_made_of_others(device))
            });
            (stats.rbytes, stats.wbytes) = sums.unzip();
        }
        "cpu.pressure" => stats.pressure[0] = pressure(text),
        "io.pressure" => stats.pressure[1] = pressure(text),
        "memory.pressure" => stats.pressure[2] = pressure(text),
        _ => {}
    }
}

fn number(text: &[u8]) -> Option<u64> {
    str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

fn limit(text: &[u8]) -> Option<Limit> {
    match text.trim_ascii() {
        b"max" => Some(Limit::Max),
        text => number(text).map(Limit::At),
    }
}

fn parse_cpu_max(text: &[u8]) -> Option<CpuMax> {
    let text = text.trim_ascii();
    let at = text.iter().position(|&byte| byte == b' ')?;
    let period_us = number(&text[at..]).filter(|&period_us| period_us > 0)?;
    Some(CpuMax { quota_us: limit(&text[..at])?, period_us })
}

/// The number of a word of a file with a word and a number in each line.
fn word(text: &[u8], name: &[u8]) -> Option<u64> {
    let mut lines = text.split(|&byte| byte == b'\n');
    number(lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(b" "))?)
}

/// Bytes read and written, of all devices but those for which `is_left_out` holds. None where a
/// number is none.
fn parse_io_stat(text: &[u8], mut is_left_out: impl FnMut(&[u8]) -> bool) -> Option<(u64, u64)> {
    let (mut read, mut written) = (0_u64, 0_u64);
    for line in text.split(|&byte| byte == b'\n') {
        let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        // A line may have a device alone.
        let Some(device) = words.next() else { continue };
        if is_left_out(device) {
            continue;
        }
        for word in words {
            if let Some(bytes) = word.strip_prefix(b"rbytes=") {
                read = read.checked_add(number(bytes)?)?;
            } else if let Some(bytes) = word.strip_prefix(b"wbytes=") {
                written = written.checked_add(number(bytes)?)?;
            }
        }
    }
    Some((read, written))
}

/// Whether a device, as MAJOR:MINOR, hands its requests on to others.
fn is_made_of_others(device: &[u8]) -> bool {
    let is_number = |&byte: &u8| byte.is_ascii_digit() || byte == b':';
    if !device.iter().all(is_number) {
        return false;
    }
    let folder = PathBuf::from("/sys/dev/block").join(OsStr::from_bytes(device));
    let has_slaves =
        fs::read_dir(folder.join("slaves")).is_ok_and(|mut names| names.next().is_some());
    has_slaves || folder.join("loop").exists()
}

/// The controllers among cpu, memory and io that are not on v2 here, as they are on v1; all where
/// v2 is not mounted.
pub fn cgroups_not_on_v2() -> Vec<&'static str> {
    not_on_v2(cgroup_mount().is_some(), &fs::read("/proc/self/cgroup").unwrap_or_default())
}

fn not_on_v2(has_v2: bool, cgroups: &[u8]) -> Vec<&'static str> {
    let is_on_v1 = |name: &[u8]| {
        cgroups.split(|&byte| byte == b'\n').any(|line| {
            let names = line.split(|&byte| byte == b':').nth(1).unwrap_or_default();
            names.split(|&byte| byte == b',').any(|other| other == name)
        })
    };
    let controllers = [("cpu", &b"cpu"[..]), ("memory", b"memory"), ("io", b"blkio")];
    let missing = controllers.into_iter().filter(|(_, v1)| !has_v2 || is_on_v1(v1));
    missing.map(|(name, _)| name).collect()
}

/// The cgroups of the intervals that are shown, one after the other.
#[derive(Clone)]
pub struct ShownCgroups(Arc<Mutex<Shown>>);

struct Shown {
    reader: CgroupReader,
    boot_id: [u8; 16],
    /// CLOCK_BOOTTIME of the snapshot that is shown.
    shown_ns: u64,
}

/// The cgroups of the snapshot of a time, as long as no later one is shown.
#[derive(Debug)]
struct ShownAt {
    shown: ShownCgroups,
    taken_ns: u64,
}

impl Default for ShownCgroups {
    fn default() -> ShownCgroups {
        ShownCgroups(Arc::new(Mutex::new(Shown {
            reader: CgroupReader::default(),
            boot_id: Host::new().boot_id(),
            shown_ns: 0,
        })))
    }
}

impl ShownCgroups {
    /// Goes to the interval that is shown next: what its recording says, or the files of this
    /// machine. None where it is not the newest here: what they say now is not of its time.
    pub fn begin(&self, interval: &Interval) -> KnownCgroups {
        if let Some(recorded) = interval.cur().names() {
            return recorded.cgroups().map(|cgroups| Arc::new(cgroups) as _);
        }
        let header = interval.cur().header();
        let taken_ns = header.begin.boottime_ns;
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.boot_id != header.boot_id || taken_ns < shown.shown_ns {
            return None;
        }
        if taken_ns > shown.shown_ns {
            shown.reader.begin();
            shown.shown_ns = taken_ns;
        }
        Some(Arc::new(ShownAt { shown: self.clone(), taken_ns }))
    }
}

impl fmt::Debug for ShownCgroups {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ShownCgroups")
    }
}

impl CgroupValues for ShownAt {
    fn value(&self, path: &[u8], metric: CgroupMetric) -> Option<CgroupValue> {
        let mut shown = self.shown.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.shown_ns != self.taken_ns {
            return None;
        }
        if shown.reader.is_unread(path, metric.part()) {
            let now_ns = clock_ns(libc::CLOCK_BOOTTIME).unwrap_or(u64::MAX);
            if now_ns.saturating_sub(self.taken_ns) >= FRESH_NS {
                return None;
            }
        }
        shown.reader.part(path, metric.part()).value(metric)
    }
}

#[cfg(test)]
mod tests;
