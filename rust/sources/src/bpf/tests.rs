//! Tests that need the internals of the source.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use precise_top_core::{Flags, Interval, TaskTable};

use super::exit_ring::Deaths;
use super::loader::{self, Loader, Target};
use super::*;

#[test]
fn a_walk_in_parts_lists_every_task_once() {
    let Ok(mut source) = Bpf::open() else {
        assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here");
        return;
    };
    for threads in [false, true] {
        let request = Request { threads, exact: true, ..Request::default() };
        source.control.write(offset_of!(Control, part), 0_u64);
        let whole = source.snapshot(&request).expect("a snapshot");
        for part in [1_u64, 2, 7, 64] {
            source.control.write(offset_of!(Control, part), part);
            let snapshot = source.snapshot(&request).expect("a snapshot");
            let living = snapshot.len() - snapshot.header().exited as usize;
            let mut pids: Vec<_> =
                snapshot.iter().take(living).map(|record| record.ac_pid()).collect();
            pids.sort_unstable();
            pids.dedup();
            assert_eq!(pids.len(), living, "in parts of {part}: a task is listed twice");
            if snapshot.header().flags.contains(Flags::TRUNCATED) {
                continue;
            }
            // If the last process of a part exits meanwhile, the walk may skip the next one in
            // the list. Only young processes can do that here.
            let old = whole.header().begin.boottime_ns.saturating_sub(2_000_000_000);
            let gone = whole
                .iter()
                .filter(|record| record.ac_start_ns().is_some_and(|start| start < old))
                .filter(|record| !pids.contains(&record.ac_pid()))
                .filter(|record| {
                    let pid = record.ac_pid().unwrap_or(0);
                    std::path::Path::new(&format!("/proc/{pid}")).exists()
                })
                .count();
            assert_eq!(gone, 0, "in parts of {part}: tasks are left out");
        }
    }
}

fn exact() -> Request {
    Request { exact: true, ..Request::default() }
}

/// The open source; None without BPF or without its exits.
fn opened() -> Option<Bpf> {
    match Bpf::open() {
        Ok(source) => Some(source).filter(|source| source.watchers.is_some()),
        Err(error) => {
            assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here: {error}");
            None
        }
    }
}

#[test]
fn a_source_without_hooks_opens_anew_for_an_exact_snapshot() {
    let Some(_) = opened() else { return };
    let mut source = Bpf::open_unwatched().expect("the source opens");
    let inexact = source.snapshot(&Request::default()).expect("a snapshot");
    assert!(source.watchers.is_none() && !inexact.header().flags.contains(Flags::ONE_INSTANT));
    source.snapshot(&exact()).expect("a snapshot");
    Command::new("true").status().expect("a child");
    let snapshot = source.snapshot(&exact()).expect("a snapshot");
    assert!(snapshot.header().flags.contains(Flags::ONE_INSTANT));
    assert!(snapshot.header().exited > 0, "the child has no row");
}

/// A child process, killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

fn shells(count: usize) -> Vec<Child> {
    let shell = || Command::new("sh").args(["-c", "exit 0"]).spawn().expect("a shell");
    (0..count).map(|_| shell()).collect()
}

#[test]
fn zombies_and_drained_exits_lose_nothing() {
    let Some(mut source) = opened() else { return };
    source.snapshot(&exact()).expect("a snapshot");
    let first = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    // These stay zombies for now.
    let mut children = shells(50);
    let pids: Vec<u32> = children.iter().map(Child::id).collect();
    std::thread::sleep(Duration::from_millis(300));
    locked(&source.exits).drain();
    let next = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    let interval = Interval::between(first, next);
    let mut used = std::collections::HashMap::new();
    for pid in &pids {
        let row = interval.cur().find_pid(*pid).expect("the zombie");
        assert!(!interval.is_exited(row));
        used.insert(*pid, interval.usage(row).expect("its use").total_ns());
    }
    children.iter_mut().for_each(|child| drop(child.wait()));
    locked(&source.exits).drain();
    let last = interval.then(Arc::new(source.snapshot(&exact()).expect("a snapshot")));
    for pid in &pids {
        let row = last.cur().find_pid(*pid).expect("the dead child");
        assert!(last.is_exited(row));
        // The zombie's row had all its time already.
        assert_eq!(last.usage(row).expect("its use").total_ns(), 0);
        assert!(used[pid] > 0);
    }
    assert_eq!(last.cur().header().exits_lost, 0);
}

#[test]
fn exits_beyond_the_limit_count_as_lost_with_their_time() {
    let Some(mut source) = opened() else { return };
    source.snapshot(&exact()).expect("a snapshot");
    let first = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    locked(&source.exits).keep_at_most(10);
    let mut children = shells(60);
    children.iter_mut().for_each(|child| drop(child.wait()));
    locked(&source.exits).drain();
    let next = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    let header = next.header();
    // Other programs' tasks may be among the kept ones.
    let kept = children.iter().filter(|child| next.find_pid(child.id()).is_some()).count();
    assert!(kept <= 10, "{kept} were kept");
    assert!(header.exits_lost >= 50, "{} lost", header.exits_lost);
    // A shell uses some hundred microseconds.
    assert!(header.overflow_ns > 50 * 100_000, "{} ns lost", header.overflow_ns);
    let books = Interval::between(first, next).balance().expect("the books");
    assert!(books.rowless_ns >= 50 * 100_000, "{books:?}");
}

#[test]
fn lost_exits_of_zombies_widen_the_bound() {
    let Some(mut source) = opened() else { return };
    source.snapshot(&exact()).expect("a snapshot");
    let first = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    locked(&source.exits).keep_at_most(0);
    // Their rows have all their time, and so has the sum of lost exits.
    let mut children = shells(60);
    let is_zombie = |child: &Child| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    };
    let is_lost = || {
        let mut exits = locked(&source.exits);
        exits.drain();
        exits.lost().0 >= 60
    };
    while !(children.iter().all(is_zombie) && is_lost()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let next = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    children.iter_mut().for_each(|child| drop(child.wait()));
    let lives = children.iter().map(|child| {
        let row = next.find_pid(child.id()).expect("the zombie");
        next.get(row).and_then(|record| record.cpu_ns()).expect("its use")
    });
    let lives_ns: u64 = lives.sum();
    let books = Interval::between(first, next).balance().expect("the books");
    // Some may make their last switch later, in the place of other tasks.
    assert!(books.within_ns >= lives_ns / 2, "{lives_ns} ns in both, {books:?}");
}

#[test]
fn unread_slots_are_found_after_the_tickets_wrap_around() {
    let Some(mut source) = opened() else { return };
    source.snapshot(&exact()).expect("a snapshot");
    // Stop the worker that empties the slots.
    source.worker = None;
    let count = {
        let mut exits = locked(&source.exits);
        let Deaths::Slots(slots) = exits.deaths() else { return };
        slots.tell_after(usize::MAX);
        slots.count() as u64
    };
    let mut child = shells(1);
    child.iter_mut().for_each(|child| drop(child.wait()));
    let head = offset_of!(Control, head);
    for _ in 0..3 {
        // Pretend that this many tasks found no free slot.
        source.control.write(head, source.control.read::<u64>(head) + count + 7);
        child.extend(shells(1));
        child.iter_mut().for_each(|child| drop(child.wait()));
    }
    let snapshot = source.snapshot(&exact()).expect("a snapshot");
    for child in &child {
        let row = snapshot.find_pid(child.id()).expect("the dead child");
        assert!(snapshot.is_exited(row));
    }
    assert_eq!(snapshot.header().exits_lost, 0);
}

#[test]
fn a_source_that_nobody_reads_stops_to_watch_and_says_so() {
    let Some(mut source) = opened() else { return };
    source.snapshot(&exact()).expect("a snapshot");
    assert!(locked(&source.exits).is_watching());
    locked(&source.exits).hurry(20);
    let until = Instant::now() + Duration::from_secs(60);
    while locked(&source.exits).is_watching() {
        assert!(Instant::now() < until, "still watching");
        shells(20).iter_mut().for_each(|child| drop(child.wait()));
        // As the worker does when a part of the slots is used.
        let mut exits = locked(&source.exits);
        exits.drain();
        exits.give_up_if_forgotten();
    }
    locked(&source.exits).hurry(usize::MAX);
    let next = source.snapshot(&exact()).expect("a snapshot");
    assert!(!next.header().flags.contains(Flags::EXITS));
    assert_eq!(next.header().exited, 0);
    assert!(source.notice().contains("nobody read"), "{}", source.notice());
    let mut child = shells(1).pop().expect("a child");
    drop(child.wait());
    let last = source.snapshot(&exact()).expect("a snapshot");
    assert!(last.header().flags.contains(Flags::EXITS));
    assert!(last.find_pid(child.id()).is_some_and(|row| last.is_exited(row)));
    assert_eq!(source.notice(), "");
}

#[test]
fn the_sources_of_a_process_give_a_task_one_id() {
    let (Some(mut one), Some(mut other)) = (opened(), opened()) else { return };
    let earlier = Arc::new(one.snapshot(&Request::default()).expect("a snapshot"));
    let later = Arc::new(other.snapshot(&Request::default()).expect("a snapshot"));
    assert!(earlier.header().task_id_space.is_some());
    assert_eq!(earlier.header().task_id_space, later.header().task_id_space);
    let own = |snapshot: &Snapshot<SharedBytes>| {
        snapshot.find_pid(std::process::id()).and_then(|row| snapshot.get(row)?.task_id())
    };
    assert_eq!(own(&earlier), own(&later));
    let interval = Interval::between(earlier, later);
    let row = interval.cur().find_pid(std::process::id()).expect("this process");
    assert!(interval.usage(row).is_some_and(|used| used.total_ns() > 0));
}

#[test]
fn exits_that_the_kernel_skips_are_claimed_at_the_last_switch() {
    let Some(mut source) = opened() else { return };
    source.snapshot(&exact()).expect("a snapshot");
    // Detach the program at exits, attached last: as if the kernel skipped each of its runs.
    drop(locked(&source.exits).attached().pop().expect("programs that watch"));
    let first = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    let mut children = shells(40);
    children.iter_mut().for_each(|child| drop(child.wait()));
    let next = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    let interval = Interval::between(first, next);
    for child in &children {
        let row = interval.cur().find_pid(child.id()).expect("the dead child");
        assert!(interval.is_exited(row));
        assert!(interval.usage(row).expect("its use").total_ns() > 100_000);
    }
    let run: Control = source.control.read(0);
    assert!(run.exits_late >= 40, "{} claims", run.exits_late);
    assert_eq!(interval.cur().header().exits_lost, 0);
    let balance = interval.balance().expect("the balance");
    let residual = balance.residual_ns as f64 / interval.interval_ns() as f64;
    assert!(source.hidden.len() > 0 || residual.abs() < 0.001, "{balance:?}");
}

/// Threads exit as fast as they can. From 7.0 on the program at exits can be preempted, and the
/// kernel skips the program for other tasks of that CPU meanwhile.
#[test]
fn a_storm_of_exits_is_listed_or_counted() {
    const EXITS: u32 = 20_000;
    let Some(mut source) = opened() else { return };
    let request = Request { threads: true, ..exact() };
    source.snapshot(&request).expect("a snapshot");
    let before: Control = source.control.read(0);
    let (mut seen, mut lost) = (0, 0);
    for _ in 0..10 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..EXITS / 40 {
                        let thread = std::thread::Builder::new().stack_size(16384).spawn(|| ());
                        thread.expect("a thread").join().expect("its end");
                    }
                });
            }
        });
        let snapshot = source.snapshot(&request).expect("a snapshot");
        seen += snapshot.header().exited;
        lost = snapshot.header().exits_lost;
    }
    let [_, exits] = source.watchers.as_ref().expect("programs that watch");
    let skipped = bpf::recursion_misses(exits.as_fd()).expect("its counters");
    let run: Control = source.control.read(0);
    let late = run.exits_late - before.exits_late;
    eprintln!("{seen} exits seen, {lost} lost, {skipped} skipped, {late} claimed late");
    assert!(u64::from(seen) + lost >= u64::from(EXITS), "{seen} seen, {lost} lost");
    assert!(late + lost >= skipped, "{late} claimed late, {lost} lost, {skipped} skipped");
}

/// A partial snapshot, and the control block after its run.
fn ran(source: &mut Bpf) -> (Arc<Snapshot<SharedBytes>>, Control) {
    let request = Request { changed: true, ..exact() };
    let snapshot = Arc::new(source.snapshot(&request).expect("a snapshot"));
    (snapshot, source.control.read(0))
}

/// A source that keeps a log, after its first snapshots; None where there is none.
fn opened_with_log() -> Option<Bpf> {
    let mut source = opened()?;
    // A snapshot of all tasks, and the partial ones before the program is loaded.
    for _ in 0..=run_log::WALKS {
        assert!(source.log.program().is_none(), "the first snapshots do not need it");
        assert_eq!(ran(&mut source).1.by_log, 0);
    }
    let (_, run) = ran(&mut source);
    if run.by_log == 0 {
        assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here");
        return None;
    }
    Some(source)
}

/// Whether a task is unchanged.
fn is_unchanged(source: &Bpf, pid: u32) -> bool {
    let unchanged = source.unchanged().expect("a partial snapshot");
    let mut records = (0..unchanged.rows()).filter_map(|row| unchanged.record(row));
    records.any(|record| record.ac_pid() == Some(pid))
}

#[test]
fn the_walk_skips_sleepers() {
    let sleep = || Command::new("sleep").arg("600").spawn().expect("a sleeper");
    let mut sleepers: Vec<Child> = (0..300).map(|_| sleep()).collect();
    std::thread::sleep(Duration::from_millis(500));
    let Some(mut source) = opened_with_log() else { return };
    std::thread::sleep(Duration::from_millis(50));
    let (snapshot, run) = ran(&mut source);
    assert_eq!(run.by_log, 1);
    let met = run.wanted + run.unchanged;
    assert!(met < 290, "the walk met {met} processes");
    let totals = source.unchanged().expect("a partial snapshot").totals().clone();
    assert!(totals.tasks >= 300 && totals.states()["sleeping"] >= 300, "{totals:?}");
    let living = snapshot.len() - snapshot.header().exited as usize;
    assert_eq!(snapshot.header().unchanged as usize + living, totals.tasks);
    for sleeper in &mut sleepers {
        assert!(snapshot.find_pid(sleeper.id()).is_none() && is_unchanged(&source, sleeper.id()));
        sleeper.kill().expect("a signal");
        sleeper.wait().expect("its death");
    }
    let (after, run) = ran(&mut source);
    assert_eq!(run.by_log, 1);
    assert!(after.header().exited >= 300);
    assert!(sleepers.iter().all(|sleeper| !is_unchanged(&source, sleeper.id())));
}

#[test]
fn all_tasks_are_walked_if_the_log_overflows() {
    let Some(mut source) = opened_with_log() else { return };
    // A CPU's log has a thousand entries.
    let cpus = source.cpus().filter(|(_, words)| words.online != 0).count();
    for _ in 0..30 * cpus {
        shells(50).iter_mut().for_each(|child| drop(child.wait()));
    }
    // A slow machine may reach the walk over all tasks that comes once a minute.
    source.looked_ns = host::now().monotonic_ns;
    let (snapshot, run) = ran(&mut source);
    assert_eq!(run.by_log, 0);
    assert!(snapshot.header().flags.contains(Flags::WITHOUT_UNCHANGED));
    assert!(snapshot.header().exited as usize >= 1500 * cpus);
    assert_eq!(snapshot.header().exits_lost, 0);
    let (_, run) = ran(&mut source);
    assert_eq!(run.by_log, 1, "the next run uses the log again");
}

#[test]
fn zombies_stay_listed_until_they_are_reaped() {
    let mut children = shells(5);
    std::thread::sleep(Duration::from_millis(200));
    let Some(mut source) = opened_with_log() else { return };
    let zombies = |source: &Bpf| -> Vec<u32> {
        source.changed.as_ref().map(|kept| kept.zombies().collect()).unwrap_or_default()
    };
    for _ in 0..2 {
        let found = zombies(&source);
        assert!(children.iter().all(|child| found.contains(&child.id())), "{found:?}");
        ran(&mut source);
    }
    children.iter_mut().for_each(|child| drop(child.wait()));
    let (_, run) = ran(&mut source);
    assert_eq!(run.by_log, 1);
    let found = zombies(&source);
    assert!(children.iter().all(|child| !found.contains(&child.id())), "{found:?}");
    assert!(children.iter().all(|child| !is_unchanged(&source, child.id())));
}

/// A process, hidden on purpose, uses a few milliseconds for each line that it reads, next to a
/// busy process and short-lived ones. Now and then the last switch of an exiting task is to the
/// hidden one.
#[test]
fn the_books_close_beside_a_hidden_process() {
    let compute = "while read -r line; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; done";
    let run = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped());
        Killed(command.spawn().expect("a shell"))
    };
    let _busy = run("while :; do :; done");
    let mut computing = run(compute);
    let hidden = computing.0.id();
    let Ok(mut source) = Bpf::open_without(hidden) else {
        assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here");
        return;
    };
    assert!(source.describe().contains(&format!("process {hidden} (sh)")));
    let mut wake = computing.0.stdin.take().expect("its input");
    for changed in [false, true] {
        let request = Request { changed, ..exact() };
        let take = |source: &mut Bpf| Arc::new(source.snapshot(&request).expect("a snapshot"));
        let mut interval = Interval::between(take(&mut source), take(&mut source));
        let mut residuals = Vec::new();
        for _ in 0..5 {
            for _ in 0..5 {
                wake.write_all(b"\n").expect("a line");
                shells(1).iter_mut().for_each(|child| drop(child.wait()));
                std::thread::sleep(Duration::from_millis(60));
            }
            interval = interval.then(take(&mut source));
            let row = interval.cur().find_pid(hidden).expect("the hidden process");
            let used = interval.usage(row).expect("its use").total_ns();
            assert!(used > 1_000_000, "{used} ns");
            let books = interval.balance().expect("the books");
            residuals.push(books.residual_ns as f64 / interval.interval_ns() as f64);
        }
        residuals.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        // The time of other hidden tasks, and when a CPU left idle for them, are less exact.
        assert!(residuals[2].abs() < 0.0005, "changed: {changed}, {residuals:?}");
        assert!(residuals[4].abs() < 0.01, "changed: {changed}, {residuals:?}");
    }
}

/// Takes orphans, tells their process ids, and reaps them all at each line that it reads.
const REAPER: &str = "
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
while sys.stdin.readline():
    parent = os.fork()
    if parent == 0:
        for _ in range(200):
            orphan = os.fork()
            if orphan == 0:
                sum(range(50_000))
                os._exit(0)
            print(orphan)
        print(flush=True)
        os._exit(0)
    os.waitpid(parent, 0)
    sys.stdin.readline()
    for _ in range(200):
        os.wait()
    print(flush=True)
";

/// What orphans had used when they died is not used again when a process reaps them that is hidden on
/// purpose, and whose own rows and counters of dead children no walk sees.
#[test]
fn orphans_that_a_hidden_process_reaps_count_once() {
    let mut command = Command::new("python3");
    command.args(["-c", REAPER]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut reaper = Killed(command.spawn().expect("a reaper"));
    let Ok(mut source) = Bpf::open_without(reaper.0.id()) else {
        assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here");
        return;
    };
    let mut input = reaper.0.stdin.take().expect("its input");
    let mut answers = BufReader::new(reaper.0.stdout.take().expect("its output")).lines();
    let mut tell = || {
        input.write_all(b"\n").expect("a line");
        let lines = answers.by_ref().map(|line| line.expect("a line"));
        lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>()
    };
    let take = |source: &mut Bpf| Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    let mut interval = Interval::between(take(&mut source), take(&mut source));
    for as_zombies in [true, false, true] {
        let orphans = tell();
        assert_eq!(orphans.len(), 200);
        let is_zombie = |pid: &String| {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| stat.contains(") Z "))
        };
        while !orphans.iter().all(is_zombie) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut lives_ns = 0;
        if as_zombies {
            interval = interval.then(take(&mut source));
            for pid in &orphans {
                let row =
                    interval.cur().find_pid(pid.parse().expect("a number")).expect("the zombie");
                lives_ns += interval.usage(row).expect("its use").total_ns();
            }
            let books = interval.balance().expect("the books");
            assert!(books.rowless_ns < lives_ns / 20, "{lives_ns} ns in rows, {books:?}");
        }
        tell();
        interval = interval.then(take(&mut source));
        for pid in &orphans {
            let row = interval.cur().find_pid(pid.parse().expect("a number")).expect("the dead");
            let used_ns = interval.usage(row).expect("its use").total_ns();
            assert!(interval.is_exited(row) && (used_ns == 0) == as_zombies, "{pid}: {used_ns} ns");
            lives_ns += used_ns;
        }
        assert!(lives_ns > 200 * 100_000, "{lives_ns} ns");
        let books = interval.balance().expect("the books");
        assert!(books.rowless_ns < lives_ns / 20, "{lives_ns} ns in rows, {books:?}");
        let residual = books.residual_ns as f64 / interval.interval_ns() as f64;
        assert!(residual.abs() < 0.01, "{books:?}");
    }
}

/// Most of the time of opening is the verifier's, which follows each way through a program: a
/// branch in an often called function can double it.
#[test]
fn the_verifier_follows_few_ways_through_the_programs() {
    let mut loader = Loader::new(loader::SNAPSHOTS).expect("an object that fits the kernel");
    let _maps = open::test_maps(&mut loader);
    let programs = [
        ("snapshot", Target::Call),
        ("snapshot_of_ran", Target::Call),
        ("switched", Target::Tracepoint("sched_switch")),
        ("exits", Target::Tracepoint("sched_process_exit")),
        ("freed", Target::Tracepoint("sched_process_free")),
    ];
    for (name, target) in programs {
        let program = match loader.prepare(name, target) {
            Ok(program) => program,
            // Before Linux 6.7.
            Err(_) if !loader.has_one_call() => return,
            Err(error) => panic!("{name}: {error}"),
        };
        let length = program.length();
        let Ok(program) = program.load() else {
            assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here");
            return;
        };
        let followed = bpf::verified_instructions(program.as_fd()).expect("facts of a program");
        assert!(followed as usize <= 4 * length, "{name}: {followed} for {length} instructions");
    }
}
