//! The proc source and netlink's dump, on a kernel with this project's series. tests/kernel
//! runs this in a machine with such a kernel; elsewhere the tests return at once.

use std::hint::black_box;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use precise_top_core::{
    Field, FieldSet, FieldStatus, Flags, Interval, Metric, SharedBytes, Snapshot, SourceKind,
    TaskTable,
};
use precise_top_sources::{Error, Request, Source, open};

/// Tests run one at a time: each measures the whole machine.
static ALONE: Mutex<()> = Mutex::new(());

fn proc() -> Option<(Box<dyn Source>, MutexGuard<'static, ()>)> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    match open(Some(SourceKind::Proc)) {
        Ok(source) => Some((source, alone)),
        Err(error) => {
            assert!(std::env::var_os("PRECISE_TOP_PROC").is_none(), "must run here: {error}");
            assert!(matches!(error, Error::Unsupported { .. } | Error::AccessDenied { .. }));
            eprintln!("skipped: {error}");
            None
        }
    }
}

type Sources = [Box<dyn Source>; 2];

/// The proc source, and the netlink source, which reads the same records in a dump.
fn both() -> Option<(Sources, MutexGuard<'static, ()>)> {
    let (proc, alone) = proc()?;
    let netlink = open(Some(SourceKind::Netlink)).expect("proc needs the same privilege");
    assert_eq!(netlink.precision(), proc.precision(), "the kernel knows the dump");
    Some(([proc, netlink], alone))
}

/// Each source twice: for processes, and again for threads.
fn each_way(sources: Sources) -> impl Iterator<Item = (Box<dyn Source>, bool)> {
    sources.into_iter().flat_map(|source| {
        let another = open(Some(source.kind())).expect("it opens twice");
        [(source, false), (another, true)]
    })
}

fn request(threads: bool, changed: bool) -> Request {
    Request { threads, changed, ..Request::default() }
}

fn burn(time: Duration) {
    let until = Instant::now() + time;
    let mut number = 1u64;
    while Instant::now() < until {
        number = black_box(number.wrapping_mul(3));
    }
}

/// CPU time of this process, by its CPU clock.
fn own_clock() -> u64 {
    let mut procfs = open(Some(SourceKind::Procfs)).expect("procfs is everywhere");
    let request = Request { fields: FieldSet::EMPTY, ..Request::default() };
    procfs.snapshot(&request).expect("a snapshot").header().own_cpu_ns
}

fn own(snapshot: &Snapshot<SharedBytes>) -> precise_top_core::Record<'_> {
    let row = snapshot.find_pid(std::process::id()).expect("this process");
    snapshot.get(row).expect("its record")
}

/// A snapshot, between two snapshots of the proc source.
struct Seen {
    before: Arc<Snapshot<SharedBytes>>,
    snapshot: Arc<Snapshot<SharedBytes>>,
    after: Arc<Snapshot<SharedBytes>>,
}

/// Takes snapshots together with the run queues' clocks, which not every source has.
struct Witness(Box<dyn Source>);

impl Witness {
    fn new() -> Witness {
        Witness(open(Some(SourceKind::Proc)).expect("it opens again"))
    }

    fn see(&mut self, source: &mut dyn Source, request: &Request) -> Seen {
        let take = |source: &mut dyn Source, request: &Request| {
            Arc::new(source.snapshot(request).expect("a snapshot"))
        };
        let all = Request::default();
        let before = take(&mut *self.0, &all);
        let snapshot = take(source, request);
        Seen { before, snapshot, after: take(&mut *self.0, &all) }
    }
}

/// The CPU time of all tasks, by the run queues' clocks.
fn busy_ns(from: &Arc<Snapshot<SharedBytes>>, to: &Arc<Snapshot<SharedBytes>>) -> u64 {
    let interval = Interval::between(Arc::clone(from), Arc::clone(to));
    interval.cpu_use().iter().map(|cpu| cpu.busy_ns).sum()
}

impl Seen {
    /// The interval up to a later snapshot, after checking that no time is missing and none
    /// counts twice.
    fn closed(&self, now: &Seen) -> Interval {
        let (from, to) = (Arc::clone(&self.snapshot), Arc::clone(&now.snapshot));
        assert!(Interval::is_whole(&from, &to));
        let (kind, begin) = (to.header().source, self.after.header().sched_clock_ns);
        let interval = Interval::between(from, to);
        let books = interval.balance().expect("the clocks are there");
        if kind == SourceKind::Proc {
            assert!(books.is_closed(), "{books:?}");
        }
        // Other sources use /proc/stat, which loses ticks when the emulated machine is
        // halted for a while.
        assert!(begin < now.before.header().sched_clock_ns);
        let least = busy_ns(&self.after, &now.before);
        let most = busy_ns(&self.before, &now.after);
        let found = books.tasks_ns + books.rowless_ns;
        // Counters of exited tasks are in whole µs.
        let rounding = 100_000;
        assert!(least <= found + rounding && found <= most + rounding, "{least} {most} {books:?}");
        interval
    }
}

/// Sleeping processes, killed when dropped.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn new(count: usize) -> Sleepers {
        let sleep = || Command::new("sleep").arg("600").spawn().expect("sleep can be started");
        let sleepers = Sleepers((0..count).map(|_| sleep()).collect());
        let asleep = |child: &Child| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()));
            stat.is_ok_and(|stat| stat.contains("(sleep) S"))
        };
        // Wait until they sleep: until then they run, with one more switch.
        while !sleepers.0.iter().all(asleep) {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(100));
        sleepers
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A thread that burns CPU time on request, while its starter sleeps.
struct Worker {
    go: mpsc::Sender<Duration>,
    done: mpsc::Receiver<()>,
}

impl Worker {
    fn new() -> Worker {
        let (go, asked) = mpsc::channel::<Duration>();
        let (finished, done) = mpsc::channel();
        thread::spawn(move || {
            for time in asked {
                burn(time);
                let _ = finished.send(());
            }
        });
        Worker { go, done }
    }

    fn burn(&self, time: Duration) {
        self.go.send(time).expect("the worker listens");
        self.done.recv().expect("the worker is done");
    }
}

#[test]
fn every_snapshot_is_two_system_calls() {
    let Some((mut source, _alone)) = proc() else { return };
    let _sleepers = Sleepers::new(50);
    for threads in [false, true] {
        for fields in [FieldSet::EMPTY, FieldSet::ALL] {
            let request = Request { threads, fields, exact: true, ..Request::default() };
            let snapshot = source.snapshot(&request).expect("a snapshot");
            assert_eq!(snapshot.header().syscalls, 2);
            assert!(snapshot.len() > 50);
        }
    }
}

#[test]
fn a_buffer_is_reused_when_its_snapshot_is_dropped() {
    let Some((mut source, _alone)) = proc() else { return };
    let request = request(false, false);
    let mut address = || source.snapshot(&request).expect("a snapshot");
    let first = address().record_bytes().as_ptr();
    assert_eq!(address().record_bytes().as_ptr(), first);
    let held = address();
    let bytes = held.record_bytes().to_vec();
    for _ in 0..10 {
        assert_ne!(address().record_bytes().as_ptr(), held.record_bytes().as_ptr());
    }
    assert_eq!(held.record_bytes(), bytes);
}

#[test]
fn process_rows_sum_all_threads_living_and_exited() {
    let Some((mut source, _alone)) = proc() else { return };
    let worker = Worker::new();
    worker.burn(Duration::from_millis(30));
    for changed in [false, true] {
        thread::spawn(|| burn(Duration::from_millis(30))).join().expect("the thread ends");
        for _ in 0..5 {
            worker.burn(Duration::from_millis(10));
            let before = own_clock();
            let snapshot = source.snapshot(&request(false, changed)).expect("a snapshot");
            let after = own_clock();
            let row = own(&snapshot);
            let cpu = row.cpu_ns().expect("its CPU time");
            // The time between two tasks is in a record, but in no task's clock.
            let between = cpu / 50;
            assert!(before <= cpu && cpu <= after + between, "{before} ≤ {cpu} ≤ {after}");
            assert_eq!(row.cpu_run_virtual_total(), Some(cpu));
            let ticks = row.ac_utime().unwrap_or(0) + row.ac_stime().unwrap_or(0);
            assert!((ticks * 1000).abs_diff(cpu) < 100_000, "{ticks} us of {cpu} ns");
            assert_eq!(snapshot.header().own_cpu_ns, cpu);
            assert!(row.num_threads().is_some_and(|threads| threads >= 2));
            // Counters without the dead threads' part are unknown, not less.
            assert_eq!((row.nvcsw(), row.read_char(), row.ac_minflt()), (None, None, None));
            assert!(row.ac_sttime().is_some(), "a dead thread's is in ac_csttime");
        }
    }
    let snapshot = source.snapshot(&request(true, false)).expect("a snapshot");
    assert!(own(&snapshot).nvcsw().is_some(), "a thread has its own");
    let snapshot = source.snapshot(&request(false, false)).expect("a snapshot");
    let init = snapshot.get(snapshot.find_pid(1).expect("init")).expect("its record");
    assert!(init.nvcsw().is_some(), "init has no dead threads");
    assert_eq!(init.task_id(), None, "a process's name is its pid and start");
}

#[test]
fn partial_snapshots_and_unchanged_tasks_are_complete() {
    let Some((sources, _alone)) = both() else { return };
    let sleepers = Sleepers::new(200);
    let worker = Worker::new();
    for (mut source, threads) in each_way(sources) {
        let request = request(threads, true);
        let mut witness = Witness::new();
        let mut before = witness.see(&mut *source, &request);
        assert!(!before.snapshot.header().flags.contains(Flags::WITHOUT_UNCHANGED));
        let all = before.snapshot.len();
        assert!(all > 200);
        for _ in 0..5 {
            worker.burn(Duration::from_millis(20));
            let seen = witness.see(&mut *source, &request);
            let now = Arc::clone(&seen.snapshot);
            let header = now.header();
            assert!(header.flags.contains(Flags::WITHOUT_UNCHANGED));
            let is_proc = source.kind() == SourceKind::Proc;
            assert!(!is_proc || header.syscalls == 2);
            // A margin of a few ms lets in some that did not run.
            assert!(now.len() < 100, "{} rows", now.len());
            assert!(now.len() + header.unchanged as usize >= all);
            assert!(now.find_pid(sleepers.0[0].id()).is_none());
            let unchanged = source.unchanged().expect("the others");
            assert_eq!(unchanged.totals().tasks, now.len() + header.unchanged as usize);
            let slept = (0..unchanged.rows()).filter_map(|row| unchanged.record(row));
            assert_eq!(slept.count(), header.unchanged as usize);
            let interval = before.closed(&seen);
            let me = (0..interval.len())
                .filter(|&row| {
                    now.get(row).and_then(|record| record.ac_tgid()) == Some(std::process::id())
                })
                .filter_map(|row| interval.usage(row))
                .map(|used| used.user_ns + used.system_ns)
                .sum::<u64>();
            assert!(me > 5_000_000, "{me} ns of this process");
            before = seen;
        }
    }
}

#[test]
fn an_exit_of_an_unchanged_task_is_noticed() {
    let Some((sources, _alone)) = both() else { return };
    for (mut source, threads) in each_way(sources) {
        let request = request(threads, true);
        let mut sleepers = Sleepers::new(3);
        let mut witness = Witness::new();
        let mut before = witness.see(&mut *source, &request);
        let (mut calls, mut changed) = (Vec::new(), Vec::new());
        for round in 0..4 {
            if round == 1 {
                let mut dead = sleepers.0.pop().expect("a sleeper");
                dead.kill().and_then(|()| dead.wait()).expect("it dies");
            }
            let now = witness.see(&mut *source, &request);
            calls.push(now.snapshot.header().syscalls);
            changed.push(now.snapshot.header().flags.contains(Flags::WITHOUT_UNCHANGED));
            before.closed(&now);
            before = now;
        }
        assert!(!changed[1], "all tasks are read where one is missing");
        assert!(changed[2..].contains(&true), "{changed:?}");
        if source.kind() == SourceKind::Proc {
            assert_eq!(calls[1], 4);
        }
    }
}

#[test]
fn the_books_close_while_threads_and_processes_come_and_go() {
    let Some((mut sources, _alone)) = both() else { return };
    let stop = Arc::new(AtomicBool::new(false));
    let churn: Vec<_> = (0..2)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = thread::spawn(|| burn(Duration::from_millis(3))).join();
                    let _ = Command::new("true").status();
                }
            })
        })
        .collect();
    let ways = [(false, false), (true, false), (false, true), (true, true)];
    for (source, (threads, changed)) in (0..2).flat_map(|source| ways.map(|way| (source, way))) {
        let source = &mut sources[source];
        let request = request(threads, changed);
        let mut witness = Witness::new();
        let mut before = witness.see(&mut **source, &request);
        let mut dead_ns = 0;
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(100));
            let now = witness.see(&mut **source, &request);
            let interval = before.closed(&now);
            let books = interval.balance().expect("the clocks are there");
            dead_ns += books.rowless_ns;
            // The sum of the snapshot view is the same time plus steal time.
            let all = interval.sum(Metric::AllNs);
            let Some(precise_top_core::Cell::Int(all)) = all else { panic!("{all:?}") };
            let found = i128::from(books.tasks_ns + books.rowless_ns);
            let steal = i128::from(books.steal_ns);
            assert!(all >= found && all <= found + steal + 100_000, "{all} {books:?}");
            before = now;
        }
        assert!(dead_ns > 0, "exited tasks used time");
    }
    stop.store(true, Ordering::Relaxed);
    churn.into_iter().for_each(|thread| thread.join().expect("it stops"));
}

#[test]
fn an_open_source_needs_no_privilege() {
    let Some((mut source, _alone)) = proc() else { return };
    assert_eq!(open(None).expect("a source").kind(), SourceKind::Proc);
    // Capabilities belong to a thread; only this one loses them.
    let found = thread::spawn(move || {
        precise_top_sources::drop_privileges(Some(SourceKind::Proc)).expect("dropping is allowed");
        assert!(!precise_top_sources::has_net_admin());
        assert_eq!(open(None).expect("something works").kind(), SourceKind::Procfs);
        assert!(matches!(open(Some(SourceKind::Proc)), Err(Error::AccessDenied { .. })));
        source.snapshot(&request(false, false)).map(|snapshot| snapshot.len())
    });
    assert!(found.join().expect("the thread ends").expect("a snapshot") > 1);
}

#[test]
fn the_header_describes_the_machine() {
    let Some((mut source, _alone)) = proc() else { return };
    let snapshot = source.snapshot(&request(false, false)).expect("a snapshot");
    let header = snapshot.header();
    assert_eq!(header.source, SourceKind::Proc);
    assert!(header.flags.contains(Flags::ONE_INSTANT) && !header.flags.contains(Flags::EXITS));
    assert_eq!(header.cpu_clocks.len(), header.cpus_online as usize);
    assert!(header.sched_clock_ns.is_some());
    assert_eq!(header.status(Field::ac_sttime), FieldStatus::Filled);
    assert_eq!(header.status(Field::task_id), FieldStatus::Unsupported);
    let delayacct = header.flags.contains(Flags::DELAYACCT);
    let expected = if delayacct { FieldStatus::Filled } else { FieldStatus::Off };
    assert_eq!(header.status(Field::blkio_delay_total), expected);
    for record in snapshot.iter() {
        assert_eq!(record.ac_time_ns(), Some(header.begin.monotonic_ns));
        assert_eq!(record.ac_pid(), record.ac_tgid());
    }
    assert!(snapshot.iter().map(|record| record.ac_pid()).is_sorted());
}

#[test]
fn netlinks_dump_has_the_records_of_the_file() {
    let Some(([mut proc, mut netlink], _alone)) = both() else { return };
    let _sleepers = Sleepers::new(300);
    for threads in [false, true] {
        let request = Request { threads, fields: FieldSet::EMPTY, ..Request::default() };
        let request = Request { cpu_times: Some(false), system: Some(false), ..request };
        let file = proc.snapshot(&request).expect("a snapshot");
        let dump = netlink.snapshot(&request).expect("a snapshot");
        // One file read, to see whether delays count; one send, and hundreds in one receive.
        assert_eq!(dump.header().syscalls, 3);
        assert!(dump.header().flags.contains(Flags::ONE_INSTANT));
        assert!(!dump.header().flags.contains(Flags::DERIVED_STARTS));
        assert_eq!(file.layout(), dump.layout());
        // The kernel starts threads of its own, kthreadd's children, whenever it likes.
        let pids = |snapshot: &Snapshot<SharedBytes>| -> Vec<Option<u32>> {
            let records = snapshot.iter().filter(|record| record.ac_ppid() != Some(2));
            records.map(|record| record.ac_pid()).collect()
        };
        assert_eq!(pids(&file), pids(&dump));
        // Tasks that slept are the same to the byte, except instant and age.
        let differ = |one: &precise_top_core::Record<'_>, other: &precise_top_core::Record<'_>| {
            let age = [Field::ac_time_ns, Field::ac_etime, Field::ac_tgetime];
            let fields = Field::ALL.iter().filter(|&field| !age.contains(field));
            fields.copied().find(|&field| one.value(field) != other.value(field))
        };
        let compare = |file: &Snapshot<SharedBytes>, dump: &Snapshot<SharedBytes>| {
            let slept = file.iter().filter(|record| record.ac_comm() == Some(b"sleep"));
            let found: Vec<Option<Field>> = slept
                .filter_map(|one| Some(differ(&one, &dump.get(dump.find_pid(one.ac_pid()?)?)?)))
                .collect();
            found
        };
        let is_same =
            |found: &[Option<Field>]| found.iter().filter(|field| field.is_none()).count() > 250;
        let mut found = compare(&file, &dump);
        if !is_same(&found) {
            // Rarely many differ; which field is not known yet (docs/warts.md).
            eprintln!("of {}, threads {threads}: {found:?}", found.len());
            let file = proc.snapshot(&request).expect("a snapshot");
            found = compare(&file, &netlink.snapshot(&request).expect("a snapshot"));
        }
        assert!(is_same(&found), "of {}, threads {threads}: {found:?}", found.len());
    }
}
