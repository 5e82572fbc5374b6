//! The bpf source: the whole system in one system call, on a stock kernel.
//!
//! Design decisions
//!
//! * The program (bpf/taskstats.bpf.c) walks all tasks and writes records into an
//!   array that is mapped here: nothing is copied. On kernels from 5.8 to 6.6 the
//!   task iterator runs the same program text once a thread.
//! * What the kernel hides from BPF but shows in /proc is looked for now and then,
//!   read by its CPU clock, and appended.
//! * Facts that need a system call of their own (/proc/stat, load, memory) are read
//!   only where they are asked for.

mod btf;
mod exit_slots;
mod exit_stream;
mod exits;
mod fields;
mod hidden;
mod loader;
mod pool;
mod process_tree;
mod relocate;
mod run;
mod run_log;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precise_top_core::interval::{LastValues, Unchanged};
use precise_top_core::layout::EXTENSION_BIT;
use precise_top_core::{
    CpuClocks, FieldSet, Flags, Header, Instant, Layout, Record, SharedBytes, Snapshot, SourceKind,
};

use crate::errors::Error;
use crate::host::{self, Host};
use crate::source::{Request, Source};
use crate::sys::bpf::{self, MapSpec};
use crate::sys::shared::{Control, CpuWords, Mapping};
use crate::sys::thread::ForkGuard;
use crate::sys::worker::Worker;
use exit_slots::{SLOTS, Slots};
use exits::{Exits, GONE};
use fields::bits;
use hidden::Hidden;
use loader::{Loader, Target};
use pool::{ARRAY, MMAPABLE, Pool, Rows};
pub use process_tree::{CommandSums, Tree, TreeSums};
use run::Way;
use run_log::RunLog;

/// The base version that the programs write.
const VERSION: u16 = 14 | EXTENSION_BIT;

/// How often hidden processes are looked for.
const LOOK_EVERY_NS: u64 = 60_000_000_000;
/// By how much the estimate of the scheduler's clock may be off.
const MARGIN_NS: u64 = 100_000;
/// Tasks that are walked in a run, in which few kernels preempt it: some milliseconds.
const PART: u64 = 16384;
/// The slots are emptied beside an interval when so many were given out.
const EMPTY_AFTER: usize = SLOTS / 4;
/// How long a warm-up sleeps, so that the caller is switched once.
const WARM_UP: std::time::Duration = std::time::Duration::from_millis(1);

/// The source.
pub(crate) struct Bpf {
    host: Host,
    layout: Layout,
    way: Way,
    control: Arc<Mapping>,
    cpus: Mapping,
    cpu_count: usize,
    pool: Pool,
    /// RecordBuffer there were: processes, threads.
    wanted: [usize; 2],
    log: RunLog,
    hidden: Hidden,
    delayacct: bool,
    /// None on kernels that have not what they need.
    watchers: Option<[OwnedFd; 2]>,
    /// Tell of idle states and of what has died, where tasks hide.
    beside_hidden: Vec<OwnedFd>,
    /// Locked over a run and what is made of it, so that what is taken out of a slot beside
    /// was there before the run's instant.
    exits: Arc<Mutex<Exits>>,
    /// Readable where the slots tell of deaths.
    deaths: OwnedFd,
    /// Empties the slots, from the first snapshot on while they are watched.
    beside: Option<Worker>,
    home: ForkGuard,
    /// The programs at their tracepoints, while values at one instant are wanted.
    watching: Option<Vec<OwnedFd>>,
    /// RecordBuffer of the dead that the last snapshot got.
    exited: usize,
    /// All tasks' last values, while snapshots are of what ran since.
    changed: Option<LastValues>,
    /// When hidden processes were last looked for, CLOCK_MONOTONIC.
    looked_ns: u64,
}

/// Sizes of the maps that are not fixed in the object.
fn make_array(name: &str, value_size: usize, entries: usize) -> Result<OwnedFd, Error> {
    let spec = MapSpec {
        kind: ARRAY,
        key_size: 4,
        value_size: value_size as u32,
        max_entries: entries as u32,
        flags: MMAPABLE,
    };
    bpf::create_map(name, spec, None).map_err(refused)
}

/// BPF_MAP_TYPE_HASH
const HASH: u32 = 1;
/// BPF_MAP_TYPE_LRU_HASH
const LRU_HASH: u32 = 9;
/// BPF_MAP_TYPE_RINGBUF
const RING: u32 = 27;

fn make_hash(kind: u32, name: &str, value_size: usize, entries: usize) -> Result<OwnedFd, Error> {
    let spec = MapSpec {
        kind,
        key_size: 8,
        value_size: value_size as u32,
        max_entries: entries as u32,
        flags: 0,
    };
    bpf::create_map(name, spec, None).map_err(refused)
}

/// A ring buffer of the least size.
fn make_ring(name: &str, page: usize) -> Result<OwnedFd, Error> {
    let spec = MapSpec { kind: RING, max_entries: page as u32, ..MapSpec::default() };
    bpf::create_map(name, spec, None).map_err(refused)
}

/// Whether the caller may create the least map of a kind that needs CAP_BPF. A larger map
/// that is refused with EPERM is then refused for its size.
fn may_make_maps() -> bool {
    let spec = MapSpec {
        kind: LRU_HASH,
        key_size: 8,
        value_size: 8,
        max_entries: 1,
        ..MapSpec::default()
    };
    bpf::create_map("probe", spec, None).is_ok()
}

fn locked(exits: &Mutex<Exits>) -> MutexGuard<'_, Exits> {
    exits.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(error: std::io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EPERM) => match bpf::memory_limit() {
            Some(limit) if may_make_maps() => loader::out_of_memory(limit),
            _ => loader::denied(),
        },
        Some(libc::ENOSYS) => Error::Unsupported {
            reason: "the kernel has no BPF".into(),
            hint: "it needs a kernel with CONFIG_BPF_SYSCALL=y".into(),
        },
        _ => Error::os("make a BPF map", error),
    }
}

fn map(array: &OwnedFd, length: usize) -> Result<Mapping, Error> {
    Mapping::new(array.as_fd(), length).map_err(|error| Error::os("map a BPF array", error))
}

/// CPUs there may ever be.
fn possible_cpus() -> usize {
    let text = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit([',', '-']).next().and_then(|word| word.parse::<usize>().ok());
    last.map_or(4096, |last| last + 1)
}

/// Numbers nobody can guess.
fn random_key() -> Result<[u64; 2], Error> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Error::os("read /dev/urandom", error))?;
    let (low, high) =
        (u128::from_ne_bytes(bytes) as u64, (u128::from_ne_bytes(bytes) >> 64) as u64);
    Ok([low, high])
}

impl Bpf {
    /// Loads the programs. With PRECISE_TOP_BPF_WAY=iterator in the environment the
    /// way of older kernels is taken, to test and measure it on a newer one.
    pub(crate) fn open() -> Result<Bpf, Error> {
        Bpf::open_without(0)
    }

    /// Treats a process as if the kernel hid it, as some do.
    fn open_without(left_out: u32) -> Result<Bpf, Error> {
        let layout = Layout::of_version(VERSION)?;
        let cpu_count = possible_cpus();
        // Made first: it tells whether BPF may be used at all, before any work is done.
        let control_map = make_array("controls", size_of::<Control>(), 1)?;
        let mut loader = Loader::new(loader::SNAPSHOTS)?;
        let cpus_map = make_array("cpus", size_of::<CpuWords>(), cpu_count)?;
        let host = Host::new();
        let page = host.page_size() as usize;
        let slots_map = make_array("slots", Slots::size_of_one(&layout), SLOTS)?;
        let slot_of = make_hash(HASH, "slot_of", 8, SLOTS)?;
        let deaths = make_ring("deaths", page)?;
        let notes = make_hash(HASH, "notes", 16, 16384)?;
        let row_of = make_hash(LRU_HASH, "row_of", 16, 16384)?;
        let [ran, logged, listed] = run_log::make_maps(cpu_count)?;
        let noted = make_array("noted", 8, 16384)?;
        let pool = Pool::new(layout.record_size())?;
        let one_call = loader.has_one_call()
            && std::env::var_os("PRECISE_TOP_BPF_WAY").is_none_or(|way| way != "iterator");
        let maps = [
            ("controls", &control_map),
            ("cpus", &cpus_map),
            ("outputs", pool.outer()),
            ("slots", &slots_map),
            ("slot_of", &slot_of),
            ("deaths", &deaths),
            ("notes", &notes),
            ("noted", &noted),
            ("row_of", &row_of),
            ("ran", &ran),
            ("logged", &logged),
            ("listed", &listed),
        ];
        loader.link(&loader::borrowed(&maps))?;
        let way = if one_call {
            Way::OneCall(loader.load("snapshot", Target::Call)?)
        } else {
            let program = loader.load("each_task", Target::Tasks)?;
            let link = bpf::link_iterator(program.as_fd())
                .map_err(|error| Error::os("link the task iterator", error))?;
            Way::Iterator(link)
        };
        let watchers = if one_call {
            Some([
                loader.load("switched", Target::Tracepoint("sched_switch"))?,
                loader.load("exits", Target::Tracepoint("sched_process_exit"))?,
            ])
        } else {
            None
        };
        let control = Arc::new(map(&control_map, size_of::<Control>())?);
        let slots = map(&slots_map, SLOTS * Slots::size_of_one(&layout))?;
        let slots = Slots::new(Arc::clone(&control), slots, slot_of, &deaths, page, &layout)?;
        let exits = Exits::new(slots, &layout);
        let cpus = map(&cpus_map, cpu_count * size_of::<CpuWords>())?;
        let listed_map = map(&listed, run_log::LISTED * size_of::<u64>())?;
        let maps = [control_map, cpus_map, slots_map, notes, noted, row_of, ran, logged, listed];
        let log = RunLog::new(&loader, listed_map, maps.into());
        let key = random_key()?;
        control.write(offset_of!(Control, key), key[0]);
        control.write(offset_of!(Control, key) + 8, key[1]);
        control.write(offset_of!(Control, page_size), host.page_size());
        control.write(offset_of!(Control, part), PART);
        control.write(offset_of!(Control, left_out), u64::from(left_out));
        // Any reading is greater.
        control.write(offset_of!(Control, offset_ns), (i64::MIN / 2).cast_unsigned());
        let mut source = Bpf {
            hidden: Hidden::new(&host)?,
            host,
            layout,
            way,
            control,
            cpus,
            cpu_count,
            pool,
            wanted: [0; 2],
            log,
            delayacct: host::delayacct() == Some(true),
            watchers,
            exits: Arc::new(Mutex::new(exits)),
            deaths,
            beside: None,
            home: ForkGuard::new(),
            beside_hidden: Vec::new(),
            watching: None,
            exited: 0,
            changed: None,
            looked_ns: 0,
        };
        source.warm_up()?;
        source.look_for_hidden()?;
        if source.hidden.len() > 0 {
            source.control.write(offset_of!(Control, hides), 1_u64);
            // Without it the books are only less exact.
            let programs = [("idles", "cpu_idle"), ("freed", "sched_process_free")];
            let load = |(name, point)| loader.load(name, Target::Tracepoint(point)).ok();
            source.beside_hidden = programs.into_iter().filter_map(load).collect();
        }
        Ok(source)
    }

    /// Compares a run with what /proc lists. Gives the system calls made.
    fn look_for_hidden(&mut self) -> Result<u32, Error> {
        let before = self.hidden.listed()?;
        let (chosen, calls) = self.choose(self.wanted[0], 0)?;
        self.control.write(offset_of!(Control, since), 0_u64);
        let flags = if self.watching.is_some() { bits::EXACT } else { 0 };
        let calls = {
            let exits = Arc::clone(&self.exits);
            let _exits = locked(&exits);
            calls + self.run(flags)?
        };
        let count = self.control.read::<Control>(0).count as usize;
        let size = self.layout.record_size();
        let shown = self.pool.bytes_mut(&chosen)[..count * size]
            .chunks_exact(size)
            .filter_map(|bytes| Record::new(bytes, &self.layout, FieldSet::ALL)?.ac_pid())
            .collect();
        self.hidden.look(&self.layout, &before, &shown)?;
        self.looked_ns = host::now().monotonic_ns;
        // Two listings, of three calls at least each.
        Ok(calls + 6)
    }

    /// How it works here, for people.
    pub(crate) fn describe(&self) -> String {
        let mut text = match self.way {
            Way::OneCall(_) => "all tasks in one system call, in no copy".to_owned(),
            Way::Iterator(_) => {
                "all tasks by the task iterator (one call for all comes with Linux 6.7)".to_owned()
            }
        };
        let hidden: Vec<String> = self.hidden.names().collect();
        if !hidden.is_empty() {
            let _ = write!(
                text,
                "; the kernel hides {} from BPF, read by CPU clock instead",
                hidden.join(", ")
            );
        }
        text
    }

    /// Counts the tasks, and lets the estimate of the scheduler's clock settle.
    fn warm_up(&mut self) -> Result<(), Error> {
        self.control.write(offset_of!(Control, since), 0_u64);
        for flags in [0, bits::THREADS] {
            self.control.write(offset_of!(Control, capacity), 0_u32);
            self.run(flags)?;
            let control: Control = self.control.read(0);
            self.wanted[(flags & bits::THREADS) as usize] = control.wanted as usize;
        }
        Ok(())
    }

    /// Attaches or detaches the programs that watch switches and exits.
    fn watch(&mut self, wanted: bool, threads: bool) -> Result<(), Error> {
        let exits = Arc::clone(&self.exits);
        let mut exits = locked(&exits);
        if wanted != self.watching.is_some() {
            self.log.forget();
        }
        if wanted && self.watching.is_some() && threads != exits.is_for_threads() {
            exits.reset(threads);
        }
        if wanted == self.watching.is_some() {
            return Ok(());
        }
        exits.slots().enable(wanted);
        if !wanted {
            self.watching = None;
            drop(exits);
            self.beside = None;
            return Ok(());
        }
        exits.reset(threads);
        let attach = |program: &OwnedFd| {
            bpf::attach_tracepoint(program.as_fd())
                .map_err(|error| Error::os("attach to the scheduler", error))
        };
        let Some([switched, exiting]) = &self.watchers else { return Ok(()) };
        let programs = self.beside_hidden.iter().chain([switched, exiting]);
        self.watching = Some(programs.map(attach).collect::<Result<_, _>>()?);
        // The caller's next switch tells the scheduler's clock to the ns.
        std::thread::sleep(WARM_UP);
        self.control.write(offset_of!(Control, capacity), 0_u32);
        self.run(bits::EXACT)?;
        Ok(())
    }

    /// Empties the slots beside the caller from now on, so that as many may die in an
    /// interval as memory is granted for.
    fn empty_beside(&mut self) -> Result<(), Error> {
        if self.watching.is_none() || self.beside.is_some() {
            return Ok(());
        }
        let shared = Arc::clone(&self.exits);
        let drain = move || {
            locked(&shared).drain();
            true
        };
        locked(&self.exits).slots().tell_after(EMPTY_AFTER);
        self.beside = Some(Worker::start(self.deaths.as_fd(), 0, drain)?);
        Ok(())
    }

    /// Refuses to go on in a child made by fork: it has the programs and arrays of its parent.
    fn check_home(&self) -> Result<(), Error> {
        if self.home.is_here() { Ok(()) } else { Err(Error::forked("source")) }
    }

    fn cpus(&self) -> impl Iterator<Item = (usize, CpuWords)> {
        (0..self.cpu_count).map(|cpu| (cpu, self.cpus.read(cpu * size_of::<CpuWords>())))
    }

    /// The CPUs' clocks at the instant of a run. Those of a CPU stand still from one event
    /// there to the next; what irq and steal time makes between them does not change then.
    fn cpu_clocks(&self, run: &Control) -> Vec<CpuClocks> {
        self.cpus()
            .filter(|(_, words)| words.serial == run.serial && words.online != 0)
            .map(|(cpu, words)| CpuClocks {
                cpu: cpu as u32,
                clock_ns: run.sched_ns,
                clock_task_ns: run
                    .sched_ns
                    .wrapping_sub(words.clock.wrapping_sub(words.clock_task)),
                idle_ns: words.idle,
                steal_ns: words.steal,
            })
            .collect()
    }
}

impl Source for Bpf {
    fn kind(&self) -> SourceKind {
        SourceKind::Bpf
    }

    fn precision(&self) -> &'static str {
        match self.way {
            Way::OneCall(_) => "ns, at one instant",
            Way::Iterator(_) => "ns",
        }
    }

    fn prepare(&mut self, request: &Request) -> Result<(), Error> {
        self.check_home()?;
        let watches = request.exact && matches!(self.way, Way::OneCall(_));
        if watches && request.changed {
            self.log.load();
        }
        self.watch(watches, request.threads)
    }

    fn unchanged(&self) -> Option<Unchanged<'_>> {
        self.changed.as_ref().map(LastValues::unchanged)
    }

    fn snapshot(&mut self, request: &Request) -> Result<Snapshot<SharedBytes>, Error> {
        self.prepare(request)?;
        self.empty_beside()?;
        let mut header = Header::new(SourceKind::Bpf, FieldSet::EMPTY);
        self.host.identify(&mut header);
        if request.system == Some(true) {
            header.syscalls += self.host.read_system(&mut header);
            self.delayacct = header.flags.contains(Flags::DELAYACCT);
        }
        if request.cpu_times == Some(true) {
            header.syscalls += self.host.read_cpu_times(&mut header);
        }
        // Now and then all tasks are read, also those that rest.
        let looks = host::now().monotonic_ns.saturating_sub(self.looked_ns) > LOOK_EVERY_NS;
        if looks {
            header.syscalls += self.look_for_hidden()?;
        }
        let threads = usize::from(request.threads);
        let now = host::now();
        let real_offset = now.realtime_ns.saturating_sub(now.monotonic_ns);
        let boot_offset = now.boottime_ns.saturating_sub(now.monotonic_ns);
        self.control.write(offset_of!(Control, real_offset_ns), real_offset);
        let flags = self.flags_of(request);
        let one_call = matches!(self.way, Way::OneCall(_));
        let tasks = self.wanted[threads];
        let changed = self.changed.take().filter(|changed| {
            request.changed && one_call && changed.is_for(request.threads, request.fields)
        });
        let since = changed
            .as_ref()
            .filter(|changed| !looks && changed.is_whole(tasks))
            .map_or(0, |changed| changed.since_ns().saturating_sub(MARGIN_NS));
        self.control.write(offset_of!(Control, since), since);
        let exits = Arc::clone(&self.exits);
        let mut exits = locked(&exits);
        let kept = changed.as_ref().filter(|_| since != 0 && flags & bits::THREADS == 0);
        let by_log = kept.is_some_and(|kept| self.log.is_for(&self.control, kept, exits.lost().0));
        let (chosen, control) = self.run_with_room(threads, flags, by_log, &mut header)?;
        header.unchanged = control.unchanged as u32;
        let mut count = control.count as usize;
        let filled = self.say_fields(&mut header, flags, control.absent);
        header.begin = instant(control.t0_ns, real_offset, boot_offset);
        header.end = instant(control.end_ns, real_offset, boot_offset);
        header.sched_clock_ns = Some(control.sched_ns);
        header.outside_ns = control.outside_ns;
        header.own_cpu_ns = control.own_ns;
        header.hooks_ns = self.cpus().map(|(_, words)| words.hooks_ns).sum();
        header.cpu_clocks = self.cpu_clocks(&control);
        if header.cpus_online == 0 {
            header.cpus_online = header.cpu_clocks.len() as u32;
        }
        let exact = flags & bits::EXACT != 0 && control.absent & bits::NO_QUEUE == 0;
        header.flags = header
            .flags
            .with(Flags::THREADS, request.threads)
            .with(Flags::DELAYACCT, self.delayacct)
            .with(Flags::TRUNCATED, control.wanted > control.count)
            .with(Flags::EXITS, self.watching.is_some())
            .with(Flags::ONE_INSTANT, exact)
            .with(Flags::WITHOUT_UNCHANGED, since != 0);
        header.masks = vec![filled];
        let indices_at = self.pool.indices_at(&chosen);
        let size = self.layout.record_size();
        let bytes = self.pool.bytes_mut(&chosen);
        bytes[indices_at..indices_at + count].fill(0);
        let (records, indices) = bytes.split_at_mut(indices_at);
        let mut dead = Vec::new();
        if self.watching.is_some() {
            let rows = &mut records[..count * size];
            let collected = exits.collect(&control, rows);
            header.outside_ns += collected.outside_ns;
            (header.exits_lost, header.overflow_ns) = exits.lost();
            dead = collected.records;
        }
        drop(exits);
        header.syscalls +=
            self.hidden.append(&mut header, &self.layout, records, indices, &mut count)?;
        self.exited = dead.len();
        header.exited = dead.len() as u32;
        if !dead.is_empty() {
            header.masks.push(filled.difference(GONE));
        }
        let dead_mask = header.masks.len() - 1;
        let rows = Rows { count, dead: &dead, dead_mask: dead_mask as u8 };
        let (bytes, records, indices) = self.pool.lend(&chosen, rows);
        let snapshot = Snapshot::new(header, self.layout.clone(), bytes, records, indices)?;
        let base = changed.as_ref().map(|changed| changed.values_before(&snapshot)).transpose()?;
        let mut snapshot = snapshot;
        self.changed = match changed {
            Some(mut changed) if since != 0 => {
                changed.merge(&snapshot);
                if control.by_log != 0 {
                    snapshot = snapshot.with_unchanged(changed.unchanged().number() as u32);
                    self.wanted[threads] = changed.unchanged().totals().tasks;
                }
                Some(changed)
            }
            _ => (request.changed && one_call)
                .then(|| LastValues::new(&snapshot, request.threads, request.fields)),
        };
        self.log.took(&self.control, self.watching.is_some());
        Ok(match base {
            Some(base) => snapshot.with_base(Arc::new(base)),
            None => snapshot,
        })
    }
}

fn instant(monotonic_ns: u64, real_offset: u64, boot_offset: u64) -> Instant {
    Instant {
        monotonic_ns,
        boottime_ns: monotonic_ns + boot_offset,
        realtime_ns: monotonic_ns + real_offset,
    }
}

#[cfg(test)]
mod tests;
