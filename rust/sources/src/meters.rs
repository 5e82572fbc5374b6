//! The machine's meters: pressure, disks, networks, and the limits of the reader's cgroup.
//!
//! Design decisions
//!
//! * Descriptors are opened at the first read and kept, so that a meter costs one or two preads.
//! * Only physical devices are listed: a logical volume or a bridge would count bytes twice.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use precise_top_core::{
    CgroupLimits, Disk, DiskCounts, Machine, Meters, Network, NetworkCounts, Pressure, Stall,
};

use crate::kept_file::{End, read_kept};
use crate::mounts::cgroup_mount;

/// /proc/diskstats counts in these, whatever the disk's own size is.
const SECTOR: u64 = 512;
/// How often limits of the cgroup are looked for again.
const LOOK_EVERY_NS: u64 = 60_000_000_000;
/// Names of devices that are remembered, at most: interfaces of containers come and go.
const MOST_NAMES: usize = 4096;

/// The kept descriptors of the meters.
#[derive(Default)]
pub(crate) struct MeterReader {
    files: Option<Files>,
    limits: Option<Limits>,
    is_physical: HashMap<String, Option<bool>>,
}

struct Files {
    pressure: [Option<File>; 3],
    disks: Option<File>,
    networks: Option<File>,
}

impl Files {
    fn open() -> Files {
        let open = |path: &str| File::open(path).ok();
        Files {
            pressure: ["/proc/pressure/cpu", "/proc/pressure/io", "/proc/pressure/memory"]
                .map(open),
            disks: open("/proc/diskstats"),
            networks: open("/proc/net/dev"),
        }
    }
}

impl MeterReader {
    /// Reads the meters that are wanted. Returns the number of system calls.
    pub(crate) fn read(
        &mut self,
        wanted: Meters,
        now_ns: u64,
        buffer: &mut Vec<u8>,
        machine: &mut Machine,
    ) -> u32 {
        if wanted == Meters::NONE {
            return 0;
        }
        let files = self.files.get_or_insert_with(Files::open);
        let mut calls = 0;
        if wanted.contains(Meters::PRESSURE) {
            let mut read = |file: &Option<File>| {
                let text = read_kept(file.as_ref()?, buffer, End::Short, &mut calls);
                parse_pressure(text)
            };
            machine.cpu_pressure = read(&files.pressure[0]);
            machine.io_pressure = read(&files.pressure[1]);
            machine.memory_pressure = read(&files.pressure[2]);
        }
        let names = &mut self.is_physical;
        if names.len() > MOST_NAMES {
            names.clear();
        }
        if wanted.contains(Meters::DISKS)
            && let Some(file) = &files.disks
        {
            let text = read_kept(file, buffer, End::Empty, &mut calls);
            machine.disks = known(parse_disks(text), |disk| {
                class(names, &disk.name, "/sys/block", "/virtual/block/")
            });
        }
        if wanted.contains(Meters::NETWORKS)
            && let Some(file) = &files.networks
        {
            let text = read_kept(file, buffer, End::Empty, &mut calls);
            let found = known(parse_networks(text), |network| {
                class(names, &network.name, "/sys/class/net", "/virtual/net/").or(Some(false))
            });
            // Only an unreadable file is empty: each namespace has `lo`.
            machine.networks = found.filter(|_| !text.is_empty());
        }
        if wanted.contains(Meters::CGROUP) {
            let limits = self.limits.take().filter(|limits| limits.is_fresh(now_ns));
            let limits = limits.unwrap_or_else(|| Limits::open(now_ns));
            machine.cgroup = self.limits.insert(limits).read(buffer, &mut calls);
        }
        calls
    }
}

/// Whether a device is physical. None for one that /sys does not list, such as a part of a disk.
fn class(
    names: &mut HashMap<String, Option<bool>>,
    name: &str,
    directory: &str,
    of_virtual: &str,
) -> Option<bool> {
    if let Some(&known) = names.get(name) {
        return known;
    }
    // /sys has an exclamation mark for the slash in a name such as cciss/c0d0.
    let link = fs::read_link(Path::new(directory).join(name.replace('/', "!"))).ok();
    let is_physical = link.map(|link| !link.to_string_lossy().contains(of_virtual));
    names.insert(name.to_owned(), is_physical);
    is_physical
}

/// The physical devices, or where there is none the others; None where none is known.
fn known<T>(devices: Vec<T>, mut class: impl FnMut(&T) -> Option<bool>) -> Option<Vec<T>> {
    let none = devices.is_empty();
    let (mut physical, mut others) = (Vec::new(), Vec::new());
    for device in devices {
        match class(&device) {
            Some(true) => physical.push(device),
            Some(false) => others.push(device),
            None => {}
        }
    }
    let chosen = if physical.is_empty() { others } else { physical };
    (none || !chosen.is_empty()).then_some(chosen)
}

/// Parses a file of /proc/pressure.
pub(crate) fn parse_pressure(text: &[u8]) -> Option<Pressure> {
    let text = std::str::from_utf8(text).ok()?;
    let stall = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let value = |name: &str| {
            let mut words = line.split_ascii_whitespace();
            words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Stall {
            avg10_centi: (value("avg10")?.parse::<f64>().ok()? * 100.0).round() as u32,
            total_us: value("total")?.parse().ok()?,
        })
    };
    Some(Pressure { some: stall("some ")?, full: stall("full ") })
}

/// Parses /proc/diskstats (Documentation/admin-guide/iostats.rst).
fn parse_disks(text: &[u8]) -> Vec<Disk> {
    let text = String::from_utf8_lossy(text);
    let disk = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(2);
        let name = words.next()?.to_owned();
        let mut counts = [0_u64; 10];
        for count in &mut counts {
            *count = words.next()?.parse().ok()?;
        }
        let [reads, _, read_sectors, _, writes, _, written_sectors, _, _, busy_ms] = counts;
        let counts = DiskCounts {
            reads,
            read_bytes: read_sectors.saturating_mul(SECTOR),
            writes,
            written_bytes: written_sectors.saturating_mul(SECTOR),
            busy_ms,
        };
        Some(Disk { name, counts })
    };
    // Those that never did anything are many: loop devices, and the kernel's compressed memory.
    let used = |disk: &Disk| disk.counts != DiskCounts::default();
    text.lines().filter_map(disk).filter(used).collect()
}

/// Parses /proc/net/dev.
fn parse_networks(text: &[u8]) -> Vec<Network> {
    let text = String::from_utf8_lossy(text);
    let network = |line: &str| {
        // A name may hold colons, numbers do not.
        let (name, numbers) = line.rsplit_once(':')?;
        let mut words = numbers.split_ascii_whitespace();
        let mut counts = [0_u64; 12];
        for count in &mut counts {
            *count = words.next()?.parse().ok()?;
        }
        let [received_bytes, received_packets, errors, drops, .., sent_bytes, sent_packets, e, d] =
            counts;
        let counts = NetworkCounts {
            received_bytes,
            received_packets,
            sent_bytes,
            sent_packets,
            failed_packets: [errors, drops, e, d].into_iter().fold(0, u64::saturating_add),
        };
        Some(Network { name: name.trim().to_owned(), counts })
    };
    text.lines().filter_map(network).filter(|network| network.name != "lo").collect()
}

/// The kept files of the cgroups with the smallest limits, of the reader's and those above it.
#[derive(Default)]
struct Limits {
    opened_ns: u64,
    cpu_max: Option<File>,
    cpu_stat: Option<File>,
    memory_max: Option<File>,
    memory_current: Option<File>,
}

impl Limits {
    fn open(now_ns: u64) -> Limits {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let limits = match (cgroup_mount(), own.lines().find_map(|line| line.strip_prefix("0::"))) {
            (Some(mount), Some(path)) => Limits::of(&mount, path),
            _ => Limits::default(),
        };
        Limits { opened_ns: now_ns, ..limits }
    }

    /// Those of the cgroup with this path below its mount.
    fn of(mount: &Path, path: &str) -> Limits {
        // A path that leaves the namespace begins with dots.
        let inside = path.trim_start_matches('/').split('/').take_while(|&part| part != "..");
        let mut levels = vec![mount.to_path_buf()];
        for part in inside.filter(|part| !part.is_empty()) {
            levels.extend(levels.last().map(|level| level.join(part)));
        }
        let least = |name: &str, parse: fn(&str) -> Option<f64>| -> Option<&PathBuf> {
            let limits = levels.iter().filter_map(|level| {
                let limit = parse(&fs::read_to_string(level.join(name)).ok()?)?;
                Some((level, limit))
            });
            limits.min_by(|(_, left), (_, right)| left.total_cmp(right)).map(|(level, _)| level)
        };
        let cpu = least("cpu.max", |text| {
            let (quota, period) = parse_cpu_max(text)?;
            Some(quota as f64 / period as f64)
        });
        let memory = least("memory.max", |text| text.trim().parse().ok());
        let open = |level: Option<&PathBuf>, name: &str| File::open(level?.join(name)).ok();
        Limits {
            opened_ns: 0,
            cpu_max: open(cpu, "cpu.max"),
            cpu_stat: open(cpu, "cpu.stat"),
            memory_max: open(memory, "memory.max"),
            memory_current: open(memory, "memory.current"),
        }
    }

    fn is_fresh(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.opened_ns) < LOOK_EVERY_NS
    }

    /// None where nothing is limited.
    fn read(&self, buffer: &mut Vec<u8>, calls: &mut u32) -> Option<CgroupLimits> {
        let mut text = |file: &Option<File>| {
            let text = read_kept(file.as_ref()?, buffer, End::Short, calls);
            std::str::from_utf8(text).ok().map(str::to_owned)
        };
        let cpu = text(&self.cpu_max).and_then(|text| parse_cpu_max(&text));
        let stat = text(&self.cpu_stat).unwrap_or_default();
        let number = |text: String| text.trim().parse().ok();
        let of_stat = |name: &str| {
            let mut lines = stat.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        };
        let limits = CgroupLimits {
            cpu_quota_us: cpu.map(|(quota, _)| quota),
            cpu_period_us: cpu.map(|(_, period)| period),
            nr_throttled: of_stat("nr_throttled"),
            throttled_us: of_stat("throttled_usec"),
            memory_max_bytes: text(&self.memory_max).and_then(number),
            memory_current_bytes: text(&self.memory_current).and_then(number),
        };
        (limits != CgroupLimits::default()).then_some(limits)
    }
}

/// Quota and period; None where there is no limit.
fn parse_cpu_max(text: &str) -> Option<(u64, u64)> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some((quota.parse().ok()?, period.parse().ok().filter(|&period| period > 0)?))
}

#[cfg(test)]
mod tests;
