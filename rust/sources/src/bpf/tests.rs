//! Cases that need a source's inside.

use std::process::{Child, Command};
use std::time::Duration;

use precise_top_core::{Flags, Interval, TaskTable};

use super::*;

#[test]
fn a_walk_in_parts_meets_every_task_once() {
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
            assert_eq!(pids.len(), living, "in parts of {part}: no task twice");
            if snapshot.header().flags.contains(Flags::TRUNCATED) {
                continue;
            }
            // Where the last process of a part dies meanwhile, one that began right
            // after it may be passed over: only what is young can do that here.
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
            assert_eq!(gone, 0, "in parts of {part}: no task is left out");
        }
    }
}

fn exact() -> Request {
    Request { exact: true, ..Request::default() }
}

/// None where there is no BPF, or no exits by it.
fn opened() -> Option<Bpf> {
    match Bpf::open() {
        Ok(source) => Some(source).filter(|source| source.watchers.is_some()),
        Err(error) => {
            assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here: {error}");
            None
        }
    }
}

/// A child that does not outlast its test.
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
    // Nobody waits for these while they die.
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
        // All that it used was told already.
        assert_eq!(last.usage(row).expect("its use").total_ns(), 0);
        assert!(used[pid] > 0);
    }
    assert_eq!(last.cur().header().exits_lost, 0);
}

#[test]
fn exits_beyond_the_memory_for_them_are_counted_with_their_time() {
    let Some(mut source) = opened() else { return };
    source.snapshot(&exact()).expect("a snapshot");
    let first = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    locked(&source.exits).keep_at_most(10);
    shells(60).iter_mut().for_each(|child| drop(child.wait()));
    locked(&source.exits).drain();
    let next = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    let header = next.header();
    // Others may have died as well, also threads, which have no rows.
    assert!((1..40).contains(&header.exited), "{} were kept", header.exited);
    assert!(header.exits_lost >= 50, "{} lost", header.exits_lost);
    // A shell takes some hundred microseconds to come and go.
    assert!(header.overflow_ns > 50 * 100_000, "{} ns lost", header.overflow_ns);
    let books = Interval::between(first, next).balance().expect("the books");
    assert!(books.rowless_ns >= 50 * 100_000, "{books:?}");
}

#[test]
fn slots_that_nobody_looked_at_while_the_numbers_came_around_are_found() {
    let Some(mut source) = opened() else { return };
    source.snapshot(&exact()).expect("a snapshot");
    // Nobody empties the slots meanwhile.
    source.worker = None;
    locked(&source.exits).slots().tell_after(usize::MAX);
    let mut child = shells(1);
    child.iter_mut().for_each(|child| drop(child.wait()));
    let head = offset_of!(Control, head);
    for _ in 0..3 {
        // As if so many tasks had found no free slot.
        let count = locked(&source.exits).slots().count() as u64;
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
fn exits_that_the_kernel_skips_are_claimed_at_the_last_switch() {
    let Some(mut source) = opened() else { return };
    source.snapshot(&exact()).expect("a snapshot");
    // As if the kernel skipped the program at each exit: it is the last one attached.
    let attached = source.watching.as_mut().expect("programs that watch");
    drop(attached.pop());
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

/// Threads that exit as fast as they can: since 7.0 the program at exits may be preempted,
/// and the kernel skips those of other tasks on that CPU meanwhile.
#[test]
fn a_storm_of_exits_is_there_or_counted() {
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

/// A snapshot of what ran since; with what its run has left.
fn ran(source: &mut Bpf) -> (Arc<Snapshot<SharedBytes>>, Control) {
    let request = Request { changed: true, ..exact() };
    let snapshot = Arc::new(source.snapshot(&request).expect("a snapshot"));
    (snapshot, source.control.read(0))
}

/// One that has begun with two snapshots, of all and of what ran; None where it keeps no log.
fn opened_with_log() -> Option<Bpf> {
    let mut source = opened()?;
    ran(&mut source);
    let (_, run) = ran(&mut source);
    if run.by_log == 0 {
        assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here");
        return None;
    }
    Some(source)
}

/// Whether a task is among those that rest.
fn rests(source: &Bpf, pid: u32) -> bool {
    let resting = source.unchanged().expect("what rests");
    let mut records = (0..resting.rows()).filter_map(|row| resting.record(row));
    records.any(|record| record.ac_pid() == Some(pid))
}

#[test]
fn sleepers_are_not_looked_at() {
    let sleep = || Command::new("sleep").arg("600").spawn().expect("a sleeper");
    let mut sleepers: Vec<Child> = (0..300).map(|_| sleep()).collect();
    std::thread::sleep(Duration::from_millis(500));
    let Some(mut source) = opened_with_log() else { return };
    std::thread::sleep(Duration::from_millis(50));
    let (snapshot, run) = ran(&mut source);
    assert_eq!(run.by_log, 1);
    let met = run.wanted + run.unchanged;
    assert!(met < 290, "{met} processes were met");
    let totals = source.unchanged().expect("what rests").totals().clone();
    assert!(totals.tasks >= 300 && totals.states["sleeping"] >= 300, "{totals:?}");
    let living = snapshot.len() - snapshot.header().exited as usize;
    assert_eq!(snapshot.header().unchanged as usize + living, totals.tasks);
    for sleeper in &mut sleepers {
        assert!(snapshot.find_pid(sleeper.id()).is_none() && rests(&source, sleeper.id()));
        sleeper.kill().expect("a signal");
        sleeper.wait().expect("its death");
    }
    let (after, run) = ran(&mut source);
    assert_eq!(run.by_log, 1);
    assert!(after.header().exited >= 300);
    assert!(sleepers.iter().all(|sleeper| !rests(&source, sleeper.id())));
}

#[test]
fn where_more_ran_than_the_log_holds_all_are_walked_over() {
    let Some(mut source) = opened_with_log() else { return };
    // A CPU's log has a thousand places.
    let cpus = source.cpus().filter(|(_, words)| words.online != 0).count();
    for _ in 0..30 * cpus {
        shells(50).iter_mut().for_each(|child| drop(child.wait()));
    }
    // On a slow machine it may be time to read all tasks again.
    source.looked_ns = host::now().monotonic_ns;
    let (snapshot, run) = ran(&mut source);
    assert_eq!(run.by_log, 0);
    assert!(snapshot.header().flags.contains(Flags::WITHOUT_UNCHANGED));
    assert!(snapshot.header().exited as usize >= 1500 * cpus);
    assert_eq!(snapshot.header().exits_lost, 0);
    let (_, run) = ran(&mut source);
    assert_eq!(run.by_log, 1, "the next one goes by the log again");
}

#[test]
fn zombies_that_nobody_watched_rest_until_they_are_reaped() {
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
    assert!(children.iter().all(|child| !rests(&source, child.id())));
}

/// A process that computes for some milliseconds at each line that it reads, hidden on
/// purpose, beside one that is busy and others that come and go: the last switch of one that
/// dies is to the hidden one, now and then.
#[test]
fn the_books_close_beside_a_hidden_process() {
    let compute = "while read -r line; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; done";
    let run = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(std::process::Stdio::piped());
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
                std::io::Write::write_all(&mut wake, b"\n").expect("a line");
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
        // What hides beside it, and from when on a CPU was idle no more, is known less well.
        assert!(residuals[2].abs() < 0.0005, "changed: {changed}, {residuals:?}");
        assert!(residuals[4].abs() < 0.01, "changed: {changed}, {residuals:?}");
    }
}
