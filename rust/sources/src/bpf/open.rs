//! Opening the source: the best way that the kernel allows, and why a better one is refused.

use std::fs::File;
use std::io::Read;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};

use precise_top_core::Layout;

use super::exit_ring::{Deaths, ExitRing};
use super::exit_slots::Slots;
use super::exits::Exits;
use super::fields::Lacking;
use super::hidden::Hidden;
use super::loader::{self, Loader, Target};
use super::map_set::Maps;
use super::maps::map;
use super::pool::Pool;
use super::run::Way;
use super::run_log::{self, RunLog};
use super::{Bpf, PART, VERSION};
use crate::errors::Error;
use crate::host::{self, Host};
use crate::sys::bpf;
use crate::sys::shared::{Control, CpuWords, Mapping, Ring};
use crate::sys::thread::ForkGuard;

/// What PRECISE_TOP_BPF_WAY may be set to: only the way of older kernels is tried then.
const ITERATOR: &str = "iterator";
/// CPUs that are assumed where the kernel does not list them.
const MOST_CPUS: usize = 4096;

/// CPUs that there may ever be.
fn possible_cpus() -> usize {
    let last = host::cpus("possible").into_iter().max();
    last.map_or(MOST_CPUS, |last| last as usize + 1)
}

/// How this process makes `task_id`s of addresses in the kernel. A forked child goes on with it,
/// so that its snapshots and its parent's have the same ids.
#[derive(Clone, Copy)]
pub(super) struct TaskIds {
    /// Numbers that nobody can guess.
    key: [u64; 2],
    /// A name for the key, which does not tell it.
    pub(super) space: u64,
}

impl TaskIds {
    pub(super) fn of_process() -> Result<TaskIds, Error> {
        static IDS: OnceLock<TaskIds> = OnceLock::new();
        if let Some(ids) = IDS.get() {
            return Ok(*ids);
        }
        let mut bytes = [0; 24];
        File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map_err(|error| Error::os("read /dev/urandom", error))?;
        let [low, high, space] = *bytes.as_chunks::<8>().0 else { unreachable!("24 bytes") };
        let [low, high, space] = [low, high, space].map(u64::from_ne_bytes);
        Ok(*IDS.get_or_init(|| TaskIds { key: [low, high], space }))
    }
}

/// Whether the way of newer kernels is tried.
fn tries_one_call(loader: &Loader) -> bool {
    let is_asked = std::env::var_os("PRECISE_TOP_BPF_WAY").is_none_or(|way| way != ITERATOR);
    loader.has_one_call() && is_asked
}

/// The program that walks over all tasks, in one call if the kernel allows that. Adds to
/// `refusals` why it does not.
fn load_walk(loader: &Loader, refusals: &mut Vec<String>) -> Result<Way, Error> {
    if tries_one_call(loader) {
        match loader.load("snapshot", Target::Call) {
            Ok(program) => return Ok(Way::OneCall(program)),
            // The iterator needs the same privilege.
            Err(error @ Error::AccessDenied { .. }) => return Err(error),
            Err(error) => refusals.push(error.to_string()),
        }
    }
    let walk = loader.load("each_task", Target::Tasks).map_err(|error| match refusals.pop() {
        Some(first) => Error::Unsupported { reason: first, hint: String::new() },
        None => error,
    })?;
    let link = bpf::link_iterator(walk.as_fd())
        .map_err(|error| Error::os("link the task iterator", error))?;
    Ok(Way::Iterator(link))
}

/// The programs at switches: one call's, and the iterator's.
const AT_SWITCHES: [&str; 2] = ["switched", "ends"];

/// How many sources watch switches on this machine now; None without the privilege to know it.
pub(super) fn watching_sources() -> Option<usize> {
    let names = bpf::attached_programs().ok()?;
    Some(names.iter().filter(|name| AT_SWITCHES.contains(&name.as_str())).count())
}

/// The programs at switches and exits. None, with the reason in `refusals`, where the kernel
/// refuses them: snapshots are less exact then.
fn load_watchers(loader: &Loader, way: &Way, refusals: &mut Vec<String>) -> Option<[OwnedFd; 2]> {
    let [switches, exits] = match way {
        Way::OneCall(_) => [AT_SWITCHES[0], "exits"],
        // The maps are those for one call, which was refused.
        Way::Iterator(_) if tries_one_call(loader) => return None,
        Way::Iterator(_) => [AT_SWITCHES[1], "holds"],
    };
    let load = |name, point| loader.load(name, Target::Tracepoint(point));
    let both = load(switches, "sched_switch")
        .and_then(|switches| Ok([switches, load(exits, "sched_process_exit")?]));
    both.map_err(|error| refusals.push(error.to_string())).ok()
}

/// The program at the function that forgets time, where the kernel calls it for other tasks than
/// the idle one (6.12 to 6.16) and a program that measures idle time watches.
fn load_forgets(loader: &Loader, host: &Host, refusals: &mut Vec<String>) -> Option<OwnedFd> {
    const FUNCTION: &str = "dl_server_update_idle_time";
    if !tries_one_call(loader) || host.version() >= (6, 17) || !loader.has_function(FUNCTION) {
        return None;
    }
    let program = loader.load("forgets", Target::Function(FUNCTION));
    program.map_err(|error| refusals.push(error.to_string())).ok()
}

impl Bpf {
    /// Loads the programs. With PRECISE_TOP_BPF_WAY=iterator in the environment it takes the
    /// way of older kernels, for tests and measurements on a newer one.
    ///
    /// AccessDenied without CAP_BPF and CAP_PERFMON, or where the limit of locked memory is too
    /// low; Unsupported where the kernel lacks what any walk needs.
    pub(crate) fn open() -> Result<Bpf, Error> {
        Bpf::open_without(0)
    }

    /// The same without the programs at switches and exits, which take half the time to load.
    /// The first exact snapshot opens the source anew.
    pub(crate) fn open_unwatched() -> Result<Bpf, Error> {
        let controls = Maps::controls()?;
        Bpf::open_with(Loader::new(loader::SNAPSHOTS)?, controls, 0, false)
    }

    /// Treats a process as hidden by the kernel, as some kernels do.
    pub(super) fn open_without(left_out: u32) -> Result<Bpf, Error> {
        let controls = Maps::controls()?;
        Bpf::open_with(Loader::new(loader::SNAPSHOTS)?, controls, left_out, true)
    }

    pub(super) fn open_with(
        mut loader: Loader,
        controls: OwnedFd,
        left_out: u32,
        watched: bool,
    ) -> Result<Bpf, Error> {
        let layout = Layout::of_version(VERSION)?;
        let cpu_count = possible_cpus();
        let host = Host::new();
        let page = host.page_size() as usize;
        let maps = Maps::new(controls, &layout, cpu_count, tries_one_call(&loader), watched)?;
        let pool = Pool::new(layout.record_size())?;
        loader.link(&loader::borrowed(&maps.named(&pool)))?;
        let mut refusals = Vec::new();
        let way = load_walk(&loader, &mut refusals)?;
        let watchers = match watched {
            true => load_watchers(&loader, &way, &mut refusals),
            false => None,
        };
        let forgets = watchers.as_ref().and_then(|_| load_forgets(&loader, &host, &mut refusals));
        let control = Arc::new(map(&maps.controls, size_of::<Control>())?);
        let task_ids = TaskIds::of_process()?;
        set_up(&control, &host, task_ids, left_out);
        let deaths = deaths_of(&maps, &control, &layout, page)?;
        let exits = Exits::new(deaths, &layout);
        let cpus = map(&maps.cpus, cpu_count * size_of::<CpuWords>())?;
        let listed = map(&maps.listed, run_log::LISTED * run_log::STRIDE)?;
        let kept = [
            maps.controls,
            maps.cpus,
            maps.slots,
            maps.slot_of,
            maps.exiting,
            maps.drafts,
            maps.notes,
            maps.noted,
            maps.row_of,
            maps.ran,
            maps.logged,
            maps.listed,
        ];
        let mut source = Bpf {
            hidden: Hidden::new(&host)?,
            hides_outside: false,
            lacking: Lacking::of(loader.fit()),
            refusals,
            host,
            layout,
            way,
            control,
            cpus,
            cpu_count,
            pool,
            wanted: [0; 2],
            log: RunLog::new(&loader, listed, kept.into()),
            delayacct: host::delayacct(),
            task_id_space: task_ids.space,
            watchers,
            watched,
            exits: Arc::new(Mutex::new(exits)),
            deaths: maps.deaths,
            worker: None,
            no_exits: String::new(),
            home: ForkGuard::new(),
            hidden_watchers: Vec::new(),
            forgets,
            was_forgotten: false,
            watching: false,
            has_lost: false,
            notes_lost: 0,
            exits_counted: (0, 0),
            skipped_ends: 0,
            exited: 0,
            changed: None,
            looked_ns: 0,
        };
        source.warm_up()?;
        source.look_for_hidden()?;
        if watched && (source.hidden.len() > 0 || source.hides_outside) {
            source.watch_for_hidden(&loader);
        }
        Ok(source)
    }

    /// Loads the programs that watch idle states and the ends of tasks, where tasks hide.
    fn watch_for_hidden(&mut self, loader: &Loader) {
        self.control.write(offset_of!(Control, hides), 1_u64);
        let programs = [("freed", "sched_process_free"), ("idles", "cpu_idle")];
        // The iterator measures no idle time.
        let count = if matches!(self.way, Way::OneCall(_)) { 2 } else { 1 };
        for (name, point) in &programs[..count] {
            // Without it the balance is only less exact.
            match loader.load(name, Target::Tracepoint(point)) {
                Ok(program) => self.hidden_watchers.push(program),
                Err(error) => self.refusals.push(error.to_string()),
            }
        }
    }
}

/// What the programs leave of dead tasks: slots, or a ring for the iterator.
fn deaths_of(
    maps: &Maps,
    control: &Arc<Mapping>,
    layout: &Layout,
    page: usize,
) -> Result<Deaths, Error> {
    // The programs that are loaded later need the maps as well.
    let duplicate = |map: &OwnedFd| {
        map.try_clone().map_err(|error| Error::os("duplicate the descriptor of a BPF map", error))
    };
    let ring = Ring::new(maps.deaths.as_fd(), page, maps.ring_size)
        .map_err(|error| Error::os("map a BPF ring buffer", error))?;
    let control = Arc::clone(control);
    let count = maps.slot_count;
    if count == 0 {
        return Ok(Deaths::Ring(ExitRing::new(control, ring, duplicate(&maps.exiting)?, layout)));
    }
    let slots = map(&maps.slots, count * Slots::size_of_one(layout))?;
    Ok(Deaths::Slots(Slots::new(control, slots, duplicate(&maps.slot_of)?, ring, layout, count)))
}

/// The words that stay as they are.
fn set_up(control: &Mapping, host: &Host, ids: TaskIds, left_out: u32) {
    control.write(offset_of!(Control, key), ids.key[0]);
    control.write(offset_of!(Control, key) + size_of::<u64>(), ids.key[1]);
    control.write(offset_of!(Control, page_size), host.page_size());
    control.write(offset_of!(Control, part), PART);
    control.write(offset_of!(Control, left_out), u64::from(left_out));
    // Any reading is greater.
    control.write(offset_of!(Control, offset_ns), (i64::MIN / 2).cast_unsigned());
}

/// Links an object to maps of its own, which the result keeps.
#[cfg(test)]
pub(super) fn test_maps(loader: &mut Loader) -> (Maps, Pool) {
    let layout = Layout::of_version(VERSION).expect("a layout");
    let controls = Maps::controls().expect("a map");
    let maps = Maps::new(controls, &layout, possible_cpus(), true, true).expect("maps");
    let pool = Pool::new(layout.record_size()).expect("a pool");
    loader.link(&loader::borrowed(&maps.named(&pool))).expect("an object that links");
    (maps, pool)
}
