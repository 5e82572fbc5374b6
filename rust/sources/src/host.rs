//! The machine's facts in a snapshot's header. Descriptors are kept open, so that each file
//! costs one pread a snapshot.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::unistd::{SysconfVar, sysconf};
use precise_top_core::{CpuTimes, Flags, Header, Instant, MemoryDetails, System};

use crate::kept_file::{End, read_kept};
use crate::meters::MeterReader;
use crate::source::Request;
use crate::sys;

/// Numbers of the system, where it does not report them. USER_HZ is 100 on all architectures
/// but alpha and ia64.
const SMALLEST_PAGE: usize = 4096;
const USER_HZ: u64 = 100;

const NS_PER_S: u64 = 1_000_000_000;

fn ticks_per_second() -> u64 {
    number_of_system(SysconfVar::CLK_TCK).unwrap_or(USER_HZ)
}

/// Nanoseconds of one tick of /proc.
pub(crate) fn tick_ns() -> u64 {
    NS_PER_S / ticks_per_second()
}

/// The machine's facts and the kept descriptors.
pub(crate) struct Host {
    boot_id: [u8; 16],
    host: String,
    release: String,
    page_size: u32,
    /// Ticks a second in /proc (USER_HZ).
    ticks_per_second: u64,
    stat: Option<File>,
    loadavg: Option<File>,
    meminfo: Option<File>,
    delayacct: Option<File>,
    delays_from_boot: bool,
    meters: MeterReader,
    buffer: Vec<u8>,
}

impl Host {
    pub(crate) fn new() -> Host {
        // A host name may be any bytes.
        let line = |path: &str| {
            let text = fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&text).trim().to_owned()
        };
        let open = |path: &str| File::open(path).ok();
        Host {
            boot_id: parse_boot_id(&line("/proc/sys/kernel/random/boot_id")),
            host: line("/proc/sys/kernel/hostname"),
            release: line("/proc/sys/kernel/osrelease"),
            page_size: page_size() as u32,
            ticks_per_second: ticks_per_second(),
            stat: open("/proc/stat"),
            loadavg: open("/proc/loadavg"),
            meminfo: open("/proc/meminfo"),
            delays_from_boot: delay_accounting() == DelayAccounting::FromBoot,
            delayacct: open("/proc/sys/kernel/task_delayacct"),
            meters: MeterReader::default(),
            buffer: vec![0; 16 * 1024],
        }
    }

    pub(crate) fn boot_id(&self) -> [u8; 16] {
        self.boot_id
    }

    /// The space of the task_ids that the kernel itself assigns in this boot.
    pub(crate) fn task_id_space(&self) -> u64 {
        u64::from_ne_bytes(*self.boot_id.first_chunk().expect("16 bytes"))
    }

    pub(crate) fn page_size(&self) -> u64 {
        u64::from(self.page_size)
    }

    /// The kernel's version and patch level: 6 and 12 for "6.12.117+deb13-cloud-amd64".
    pub(crate) fn version(&self) -> (u32, u32) {
        let mut numbers = self.release.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        (next(), next())
    }

    /// Nanoseconds of one tick of /proc.
    pub(crate) fn tick_ns(&self) -> u64 {
        NS_PER_S / self.ticks_per_second
    }

    /// Fills the facts that do not change while the machine is up. No system call.
    pub(crate) fn identify(&self, header: &mut Header) {
        header.boot_id = self.boot_id;
        header.host.clone_from(&self.host);
        header.release.clone_from(&self.release);
        header.page_size = self.page_size;
        header.cpu_times_step_ns = self.tick_ns();
    }

    /// Reads the CPUs' times. Returns the number of system calls.
    pub(crate) fn read_cpu_times(&mut self, header: &mut Header) -> u32 {
        let tick_ns = self.tick_ns();
        header.cpu_times = parse_stat(self.read(|host| &host.stat), tick_ns);
        // /proc/stat lists the CPUs that are online.
        header.cpus_online = header.cpu_times.len() as u32;
        u32::from(self.stat.is_some())
    }

    /// Reads load, memory and whether delay accounting is on. Returns the number
    /// of system calls.
    pub(crate) fn read_system(&mut self, header: &mut Header) -> u32 {
        let calls = self.read_delayacct(header);
        let loads = parse_loadavg(self.read(|host| &host.loadavg));
        let text = self.read(|host| &host.meminfo);
        let memory = parse_meminfo(text);
        header.machine.memory = memory.map(|(_, details)| details);
        header.system =
            loads.zip(memory).map(|(load_centi, (memory, _))| System { load_centi, ..memory });
        calls + [&self.loadavg, &self.meminfo].into_iter().flatten().count() as u32
    }

    /// Reads the machine's meters. Returns the number of system calls.
    pub(crate) fn read_meters(&mut self, header: &mut Header, request: &Request) -> u32 {
        let now_ns = sys::clock_ns(libc::CLOCK_MONOTONIC).unwrap_or(0);
        self.meters.read(request.meters, now_ns, &mut self.buffer, &mut header.machine)
    }

    /// Reads whether delay accounting is on. Returns the number of system calls.
    fn read_delayacct(&self, header: &mut Header) -> u32 {
        // The kernel allocates as much memory for a sysctl as the reader asks for.
        let mut value = [0];
        let read = self.delayacct.as_ref().map(|file| file.read_at(&mut value, 0));
        let on = self.delays_from_boot || (matches!(read, Some(Ok(1))) && value == *b"1");
        header.flags = header.flags.with(Flags::DELAYACCT, on);
        u32::from(read.is_some())
    }

    /// Fills the facts that are read at a snapshot's begin, for a source without clocks of
    /// the CPUs. Returns the number of system calls.
    pub(crate) fn begin(&mut self, header: &mut Header, request: &Request) -> u32 {
        self.identify(header);
        let mut calls = 0;
        if request.system.unwrap_or(true) {
            calls += self.read_system(header);
        } else {
            calls += self.read_delayacct(header);
        }
        calls += self.read_meters(header, request);
        header.begin = now();
        if request.cpu_times.unwrap_or(true) {
            calls += self.read_cpu_times(header);
        }
        calls
    }

    /// Fills the facts that are read at a snapshot's end.
    pub(crate) fn end(header: &mut Header) {
        header.end = now();
        header.own_cpu_ns = sys::clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0);
    }

    /// The contents of a kept file. Empty where it cannot be read.
    fn read(&mut self, which: impl Fn(&Host) -> &Option<File>) -> &[u8] {
        let mut buffer = std::mem::take(&mut self.buffer);
        let read =
            which(self).as_ref().map(|file| read_kept(file, &mut buffer, End::Short, &mut 0).len());
        self.buffer = buffer;
        &self.buffer[..read.unwrap_or(0)]
    }
}

fn number_of_system(name: SysconfVar) -> Option<u64> {
    sysconf(name).ok().flatten().and_then(|number| u64::try_from(number).ok()).filter(|&n| n > 0)
}

/// The size of a memory page in bytes.
pub(crate) fn page_size() -> usize {
    number_of_system(SysconfVar::PAGE_SIZE).map_or(SMALLEST_PAGE, |size| size as usize)
}

/// The present moment on three clocks.
pub(crate) fn now() -> Instant {
    let clock = |id| sys::clock_ns(id).unwrap_or(0);
    Instant {
        monotonic_ns: clock(libc::CLOCK_MONOTONIC),
        boottime_ns: clock(libc::CLOCK_BOOTTIME),
        realtime_ns: clock(libc::CLOCK_REALTIME),
    }
}

/// The CPUs in a file of /sys/devices/system/cpu: those `online`, or those `possible`.
pub(crate) fn cpus(name: &str) -> Vec<u32> {
    let text = fs::read_to_string(format!("/sys/devices/system/cpu/{name}")).unwrap_or_default();
    parse_cpu_list(&text)
}

/// A list of CPUs such as "0-3,5".
fn parse_cpu_list(text: &str) -> Vec<u32> {
    text.trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<u32>().ok()?..=last.parse().ok()?)
        })
        .flatten()
        .collect()
}

/// The processes that the mount of /proc hides from users (proc(5), hidepid).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hidden {
    Nothing,
    /// Other users' processes, except from members of this group.
    FromOthersThan(u32),
    /// Processes that one may not trace, from all groups.
    FromAll,
}

/// Reads what /proc hides.
pub(crate) fn hidden_processes() -> Hidden {
    fs::read("/proc/self/mountinfo").map_or(Hidden::Nothing, |mounts| parse_hidepid(&mounts))
}

fn parse_hidepid(mounts: &[u8]) -> Hidden {
    let mounts = String::from_utf8_lossy(mounts);
    // Of several mounts the last one is seen.
    let mount = mounts.lines().rev().find(|line| line.split(' ').nth(4) == Some("/proc"));
    let options = mount.and_then(|line| line.split_once(" - ")?.1.split(' ').nth(2));
    let options = options.unwrap_or_default();
    let option = |name: &str| {
        options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    };
    let group = option("gid").and_then(|gid| gid.parse().ok()).unwrap_or(0);
    match option("hidepid") {
        // Kernels before 5.8 show numbers.
        Some("noaccess" | "invisible" | "1" | "2") => Hidden::FromOthersThan(group),
        Some("ptraceable" | "4") => Hidden::FromAll,
        _ => Hidden::Nothing,
    }
}

/// The switch of delay accounting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DelayAccounting {
    On,
    /// There is no switch: delay accounting is on from boot (before Linux 5.14).
    FromBoot,
    Off,
    /// The kernel has no such switch.
    Missing,
    /// The switch cannot be read here.
    Unreadable,
}

/// Reads the switch of delay accounting.
pub(crate) fn delay_accounting() -> DelayAccounting {
    match fs::read("/proc/sys/kernel/task_delayacct") {
        Ok(text) if text.starts_with(b"1") => DelayAccounting::On,
        Ok(text) if text.starts_with(b"0") => DelayAccounting::Off,
        // Without the directory (subset=pid) a missing file says nothing about the kernel.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match Path::new("/proc/sys/kernel").exists() {
                true if is_on_from_boot() => DelayAccounting::FromBoot,
                true => DelayAccounting::Missing,
                false => DelayAccounting::Unreadable,
            }
        }
        _ => DelayAccounting::Unreadable,
    }
}

/// Whether delay accounting is known to be on.
pub(crate) fn delayacct() -> bool {
    matches!(delay_accounting(), DelayAccounting::On | DelayAccounting::FromBoot)
}

/// Whether a kernel without the switch has delay accounting, and was not told to leave it off.
/// Its functions tell; their names need no privilege.
fn is_on_from_boot() -> bool {
    let options = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let symbols = File::open("/proc/kallsyms").map(BufReader::new);
    !options.split_whitespace().any(|option| option == "nodelayacct")
        && symbols.is_ok_and(|symbols| {
            let mut lines = symbols.lines().map_while(Result::ok);
            lines.any(|line| line.ends_with(" __delayacct_tsk_init"))
        })
}

fn parse_boot_id(text: &str) -> [u8; 16] {
    let mut id = [0; 16];
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    if digits.len() == 32 {
        for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
    }
    id
}

fn parse_stat(text: &[u8], tick_ns: u64) -> Vec<CpuTimes> {
    let text = String::from_utf8_lossy(text);
    text.lines()
        .map_while(|line| line.strip_prefix("cpu"))
        .filter_map(|line| {
            let mut words = line.split(' ');
            // The first line sums all CPUs and has no number.
            let cpu = words.next()?.parse().ok()?;
            let mut times = [0; 10];
            for (time, word) in times.iter_mut().zip(words) {
                *time = word.parse::<u64>().ok()?.saturating_mul(tick_ns);
            }
            Some(CpuTimes::from_array(cpu, times))
        })
        .collect()
}

fn parse_loadavg(text: &[u8]) -> Option<[u32; 3]> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.split(' ').map(|word| word.parse::<f64>().ok());
    let mut next = || words.next().flatten().map(|load| (load * 100.0).round() as u32);
    Some([next()?, next()?, next()?])
}

/// None unless all values of the system are there: 0 would be a wrong one. Kernels and their
/// configurations differ in the details.
fn parse_meminfo(text: &[u8]) -> Option<(System, MemoryDetails)> {
    // In the order of the file: most lines have the name after the last one that was found.
    const NAMES: [&[u8]; 16] = [
        b"MemTotal",
        b"MemFree",
        b"MemAvailable",
        b"Buffers",
        b"Cached",
        b"SwapCached",
        b"SwapTotal",
        b"SwapFree",
        b"Zswap",
        b"Zswapped",
        b"Dirty",
        b"Writeback",
        b"AnonPages",
        b"Shmem",
        b"SReclaimable",
        b"SUnreclaim",
    ];
    let (mut values, mut next, mut left) = ([None; NAMES.len()], 0, NAMES.len());
    for line in text.split(|&byte| byte == b'\n') {
        if left == 0 {
            break;
        }
        let is_name =
            |&at: &usize| line.get(NAMES[at].len()) == Some(&b':') && line.starts_with(NAMES[at]);
        if let Some(at) = (next..NAMES.len()).chain(0..next).find(is_name) {
            values[at] = first_number(&line[NAMES[at].len() + 1..]);
            (next, left) = (at + 1, left - 1);
        }
    }
    let [total, free, available, buffers, cached, swap_cached, swap_total, swap_free, rest @ ..] =
        values;
    let [zswap, zswapped, dirty, writeback, anon_pages, shmem, s_reclaimable, s_unreclaim] = rest;
    let system = System {
        mem_total_kb: total.filter(|&kb| kb > 0)?,
        mem_free_kb: free?,
        mem_available_kb: available?,
        buffers_kb: buffers?,
        cached_kb: cached?,
        swap_total_kb: swap_total?,
        swap_free_kb: swap_free?,
        load_centi: [0; 3],
    };
    let details = MemoryDetails {
        anon_pages_kb: anon_pages,
        shmem_kb: shmem,
        s_reclaimable_kb: s_reclaimable,
        s_unreclaim_kb: s_unreclaim,
        dirty_kb: dirty,
        writeback_kb: writeback,
        swap_cached_kb: swap_cached,
        zswap_kb: zswap,
        zswapped_kb: zswapped,
    };
    Some((system, details))
}

/// The number after some spaces.
fn first_number(text: &[u8]) -> Option<u64> {
    let begin = text.iter().position(|&byte| byte != b' ')?;
    let digits = text[begin..].iter().take_while(|byte| byte.is_ascii_digit());
    let mut number = None;
    for digit in digits {
        number =
            Some(number.unwrap_or(0_u64).checked_mul(10)?.checked_add(u64::from(digit - b'0'))?);
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_have_single_cpus_and_ranges() {
        assert_eq!(parse_cpu_list("0-3,5\n"), [0, 1, 2, 3, 5]);
        assert_eq!(parse_cpu_list(""), []);
    }

    #[test]
    fn memory_with_a_missing_line_is_unknown() {
        let lines = [
            "MemTotal: 9 kB",
            "MemFree: 8 kB",
            "MemAvailable: 7 kB",
            "Buffers: 6 kB",
            "Cached: 5 kB",
            "SwapTotal: 0 kB",
            "SwapFree: 0 kB",
        ];
        let text = format!("{}\nSlab: 4 kB\nShmem: 3 kB\n", lines.join("\n"));
        let (whole, details) = parse_meminfo(text.as_bytes()).expect("all are there");
        assert_eq!((whole.cached_kb, whole.swap_free_kb), (5, 0));
        assert_eq!((details.shmem_kb, details.zswap_kb), (Some(3), None));
        for missing in 0..lines.len() {
            let mut rest = lines.to_vec();
            rest.remove(missing);
            assert_eq!(parse_meminfo(rest.join("\n").as_bytes()), None, "{}", lines[missing]);
        }
        assert_eq!(parse_meminfo(b""), None);
    }

    #[test]
    fn hidden_processes_are_those_of_the_last_mount_of_proc() {
        let line = |options: &str| {
            let first = "22 1 0:21 / /proc rw,relatime - proc proc rw,hidepid=invisible";
            let other = "25 1 0:25 / /srv/proc rw - proc proc rw,hidepid=noaccess";
            format!("{first}\n23 1 0:22 / /proc rw - proc proc rw{options}\n{other}\n")
        };
        let seen = |options| parse_hidepid(line(options).as_bytes());
        assert_eq!(seen(""), Hidden::Nothing);
        assert_eq!(seen(",hidepid=off"), Hidden::Nothing);
        assert_eq!(seen(",gid=7,hidepid=invisible"), Hidden::FromOthersThan(7));
        assert_eq!(seen(",hidepid=1"), Hidden::FromOthersThan(0));
        assert_eq!(seen(",hidepid=ptraceable"), Hidden::FromAll);
    }
}
