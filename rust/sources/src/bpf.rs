//! The bpf source: the whole system in one system call, on a stock kernel.
//!
//! Design decisions
//!
//! * The program (bpf/taskstats.bpf.c) walks all tasks and writes records into an
//!   array that is mapped here: nothing is copied. On kernels from 5.8 to 6.6 the task
//!   iterator calls the same code once a thread.
//! * Some kernels hide tasks from BPF that /proc lists. The source finds these once a minute,
//!   reads their CPU clocks, and appends their records.
//! * Values that need a system call of their own (/proc/stat, load, memory) are read only on
//!   request.

mod btf;
mod exit_ring;
mod exit_slots;
mod exit_stream;
mod exits;
mod fields;
mod hidden;
mod loader;
mod map_set;
mod maps;
mod open;
mod pool;
mod process_tree;
mod relocate;
mod run;
mod run_log;
mod snapshot;

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precise_top_core::interval::{LastValues, Unchanged};
use precise_top_core::layout::EXTENSION_BIT;
use precise_top_core::{CpuClocks, FieldSet, Layout, Record, SharedBytes, Snapshot, SourceKind};

use crate::errors::Error;
use crate::host::{self, Host};
use crate::last_read::FORGOTTEN;
use crate::source::{Request, Source};
use crate::sys::bpf;
use crate::sys::shared::{Control, CpuWords, Mapping};
use crate::sys::thread::ForkGuard;
use crate::sys::worker::{Worker, without_worker};
use exits::Exits;
use fields::{Lacking, bits};
use hidden::Hidden;
use pool::Pool;
pub use process_tree::{CommandSums, Tree, TreeSums};
use run::Way;
use run_log::RunLog;

/// The base version that the programs write.
const VERSION: u16 = 17 | EXTENSION_BIT;

/// How often hidden processes are looked for.
const LOOK_EVERY_NS: u64 = 60_000_000_000;
/// The error of the estimated scheduler's clock, at most.
const MARGIN_NS: u64 = 100_000;
/// Tasks in one run, which takes some milliseconds: few kernels preempt it.
const PART: u64 = 16384;
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
    /// Number of records in the last run: of processes, of threads.
    wanted: [usize; 2],
    log: RunLog,
    hidden: Hidden,
    /// Whether tasks are hidden that are outside the caller's pid namespace.
    hides_outside: bool,
    delayacct: bool,
    task_id_space: u64,
    /// Fields that this kernel lacks.
    lacking: Lacking,
    /// Why a better way, or a program, was refused.
    refusals: Vec<String>,
    /// The programs at switches and exits; None where the kernel refuses them, or nobody wants
    /// them.
    watchers: Option<[OwnedFd; 2]>,
    /// Whether it was opened with what exact snapshots need.
    watched: bool,
    /// The programs at idle states and at the ends of tasks, where tasks hide.
    hidden_watchers: Vec<OwnedFd>,
    /// The program at the function that forgets time, on kernels that have it.
    forgets: Option<OwnedFd>,
    /// Locked during a run and the work on its result, so that the worker only takes exits
    /// from before the run's instant.
    exits: Arc<Mutex<Exits>>,
    /// Readable when deaths are reported.
    deaths: OwnedFd,
    /// Empties the slots, from the first exact snapshot on.
    worker: Option<Worker>,
    /// Why exits are not taken, or not at once; empty if they are.
    no_exits: String,
    home: ForkGuard,
    /// Whether exits before the next snapshot are unknown, because nobody read the source.
    was_forgotten: bool,
    /// Whether the programs are attached, as in exact snapshots.
    watching: bool,
    /// Whether the last values may be of tasks whose exit was lost.
    has_lost: bool,
    /// Notes lost up to the last snapshot.
    notes_lost: u64,
    /// Exits, and those without a slot, when skipped runs were last counted.
    exits_counted: (u64, u64),
    /// Runs of programs at the ends of tasks that the kernel had skipped then.
    skipped_ends: u64,
    /// Number of records of the dead in the last snapshot.
    exited: usize,
    /// All tasks' last values, while snapshots are without unchanged tasks.
    changed: Option<Arc<LastValues>>,
    /// When hidden processes were last looked for, CLOCK_MONOTONIC.
    looked_ns: u64,
}

fn locked(exits: &Mutex<Exits>) -> MutexGuard<'_, Exits> {
    exits.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bpf {
    /// Compares a run with the list in /proc. Returns the number of system calls.
    fn look_for_hidden(&mut self) -> Result<u32, Error> {
        let before = self.hidden.listed()?;
        let (chosen, calls) = self.choose(self.wanted[0], 0)?;
        self.control.write(offset_of!(Control, since), 0_u64);
        let flags = self.watch_flags();
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
        let run: Control = self.control.read(0);
        // A walk that meets the caller's namespace alone (the iterator's) says nothing.
        self.hides_outside = run.level > 0 && run.outside > 0 && run.met_init == 0;
        self.looked_ns = host::now().monotonic_ns;
        // Two listings, of three calls at least each.
        Ok(calls + 6)
    }

    /// How the source works on this kernel, as text for users.
    pub(crate) fn describe(&self) -> String {
        let mut text = match self.way {
            Way::OneCall(_) => "all tasks in one system call, in no copy".to_owned(),
            Way::Iterator(_) => {
                "all tasks by the task iterator, CPU totals by /proc/stat (one call \
                                 and exact totals come with Linux 6.7)"
                    .to_owned()
            }
        };
        if self.hides_outside {
            text.push_str(
                "; the kernel hides tasks outside this pid namespace from BPF: they count with the \
                 CPU time that is left",
            );
        }
        let hidden: Vec<String> = self.hidden.names().collect();
        if !hidden.is_empty() {
            let _ = write!(
                text,
                "; the kernel hides {} from BPF, read by CPU clock instead",
                hidden.join(", ")
            );
        }
        match open::watching_sources() {
            None | Some(0) => {}
            Some(1) => text.push_str("; one source watches switches now"),
            Some(count) => {
                let _ = write!(text, "; {count} sources watch switches now");
            }
        }
        for refusal in &self.refusals {
            let _ = write!(text, "; {refusal}");
        }
        for lack in &self.lacking.texts {
            let _ = write!(text, "; {lack}");
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
        if self.was_forgotten {
            // The snapshot after that said so.
            (self.was_forgotten, self.no_exits) = (false, String::new());
        }
        if exits.was_forgotten() {
            (self.watching, self.was_forgotten) = (false, wanted);
            self.no_exits = if wanted { FORGOTTEN.to_owned() } else { String::new() };
        }
        if wanted != self.watching {
            self.log.forget();
        }
        if wanted && self.watching && threads != exits.is_for_threads() {
            exits.reset(threads);
        }
        if wanted == self.watching {
            return Ok(());
        }
        if !wanted {
            self.watching = false;
            exits.detach();
            drop(exits);
            self.worker = None;
            return Ok(());
        }
        exits.deaths().enable(true);
        exits.reset(threads);
        let attach = |program: &OwnedFd| {
            bpf::attach(program.as_fd())
                .map_err(|error| Error::os("attach to the scheduler", error))
        };
        let Some([switches, exiting]) = &self.watchers else { return Ok(()) };
        let programs = self.hidden_watchers.iter().chain([switches, exiting]);
        // Without the first one the balance is only less exact.
        let optional = self.forgets.as_ref().and_then(|program| attach(program).ok()).map(Ok);
        match optional.into_iter().chain(programs.map(attach)).collect::<Result<_, _>>() {
            Ok(attached) => {
                exits.attach(attached);
                self.watching = true;
            }
            // Such as a limit on open files. Snapshots are less exact then.
            Err(error) => {
                exits.deaths().enable(false);
                self.no_exits = format!(
                    "tasks that exit are not shown, and values are not as of one instant: {error}"
                );
                return Ok(());
            }
        }
        // The caller's next switch sets the scheduler's clock to the ns.
        std::thread::sleep(WARM_UP);
        self.control.write(offset_of!(Control, capacity), 0_u32);
        self.run(self.watch_flags())?;
        Ok(())
    }

    /// Starts the worker that empties the slots, so that the number of exits in an interval
    /// is limited by memory only.
    fn start_worker(&mut self) -> Result<(), Error> {
        if !self.watching || self.worker.is_some() {
            return Ok(());
        }
        let shared = Arc::clone(&self.exits);
        let drain = move || {
            let mut exits = locked(&shared);
            exits.drain();
            exits.give_up_if_forgotten();
            true
        };
        locked(&self.exits).deaths().tell(false);
        // Without a thread (a limit on them) snapshots empty the slots, and losses are counted.
        let started = Worker::start(self.deaths.as_fd(), 0, drain);
        if let Err(error) = &started {
            self.no_exits = without_worker(error);
        } else if !self.was_forgotten {
            self.no_exits.clear();
        }
        self.worker = started.ok();
        Ok(())
    }

    /// Fails in a child after fork: the programs and arrays belong to its parent.
    fn check_home(&self) -> Result<(), Error> {
        if self.home.is_here() { Ok(()) } else { Err(Error::forked("source")) }
    }

    fn cpus(&self) -> impl Iterator<Item = (usize, CpuWords)> {
        (0..self.cpu_count).map(|cpu| (cpu, self.cpus.read(cpu * size_of::<CpuWords>())))
    }

    /// The CPUs' clocks at the instant of a run. The clocks of a CPU stand still between two
    /// events there; their difference, irq and steal time, does not change meanwhile.
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

impl Drop for Bpf {
    /// Detaches the programs in a forked child too, where the worker is not, and its lock may be
    /// held for ever.
    fn drop(&mut self) {
        if let Ok(mut exits) = self.exits.try_lock() {
            exits.let_go();
        }
    }
}

impl Source for Bpf {
    fn kind(&self) -> SourceKind {
        SourceKind::Bpf
    }

    fn precision(&self) -> &'static str {
        let one_instant =
            matches!(self.way, Way::OneCall(_)) && self.watchers.is_some() && !self.lacking.queue;
        if one_instant && self.hides_outside {
            return "ns, at one instant; hidden tasks outside the pid namespace by what is left";
        }
        self.kind().precision(one_instant)
    }

    fn notice(&self) -> String {
        self.no_exits.clone()
    }

    fn prepare(&mut self, request: &Request) -> Result<(), Error> {
        self.check_home()?;
        if request.exact && !self.watched {
            *self = Bpf::open()?;
        }
        let watches = request.exact && self.watchers.is_some();
        self.watch(watches, request.threads)
    }

    fn unchanged(&self) -> Option<Unchanged> {
        self.changed.as_ref().map(LastValues::unchanged)
    }

    fn snapshot(&mut self, request: &Request) -> Result<Snapshot<SharedBytes>, Error> {
        self.prepare(request)?;
        self.start_worker()?;
        self.take_snapshot(request)
    }
}

#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod tests;
