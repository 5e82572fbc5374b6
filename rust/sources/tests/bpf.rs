//! The bpf source against this machine's kernel; the same tests run in the guests.
//!
//! `PRECISE_TOP_WAY` ("one call" or "iterator") says which way the kernel must allow.

use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use precise_top_core::{Field, FieldGroup, FieldSet, Flags, Header, Interval, SourceKind};
use precise_top_sources::{Request, Source, open, sources};

fn bpf() -> Option<Box<dyn Source>> {
    match open(Some(SourceKind::Bpf)) {
        Ok(source) => Some(source),
        Err(error) => {
            assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here: {error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Whether the kernel walks all tasks in one call, as doctor says.
fn has_one_call() -> bool {
    sources().iter().any(|report| report.name == "bpf" && report.reason.contains("one system call"))
}

/// Child processes, killed at the end.
struct Children(Vec<Child>);

impl Children {
    fn run(command: &str) -> Children {
        let child = Command::new("sh")
            .args(["-c", command])
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell can be started");
        Children(vec![child])
    }

    fn sleepers(count: usize) -> Children {
        let sleep = || Command::new("sleep").arg("600").spawn().expect("sleep can be started");
        Children((0..count).map(|_| sleep()).collect())
    }

    fn pids(&self) -> Vec<u32> {
        self.0.iter().map(Child::id).collect()
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // What it started is in its group; a sleeper has none of its own.
            let group = format!("-{}", child.id());
            let _ =
                Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn cpu() -> FieldSet {
    FieldSet::of_group(FieldGroup::Cpu)
}

fn exact() -> Request {
    Request { exact: true, fields: cpu(), ..Request::default() }
}

fn burn(time: Duration) {
    let until = Instant::now() + time;
    let mut number = 1u64;
    while Instant::now() < until {
        number = black_box(number.wrapping_mul(3));
    }
}

/// A shell that works for some milliseconds and ends.
fn counting() -> Child {
    Command::new("sh")
        .args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"])
        .spawn()
        .expect("a shell can be started")
}

/// CPU time of this process by its own clock, in ns.
fn own_clock() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes for the length of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[test]
fn the_kernel_allows_the_way_that_is_expected() {
    let Ok(expected) = std::env::var("PRECISE_TOP_WAY") else { return };
    assert_eq!(has_one_call(), expected == "one call", "{:?}", sources().first());
}

#[test]
fn a_snapshot_is_one_system_call() {
    let Some(mut source) = bpf() else { return };
    if !has_one_call() {
        return;
    }
    let request = Request { fields: cpu(), ..Request::default() };
    for _ in 0..5 {
        let snapshot = source.snapshot(&request).expect("a snapshot");
        let header = snapshot.header();
        // One clock is read for each process that the kernel hides from BPF.
        assert_eq!(header.syscalls, 1 + header.merged);
    }
    let request = Request { cpu_times: Some(true), ..request };
    let snapshot = source.snapshot(&request).expect("a snapshot");
    assert_eq!(snapshot.header().syscalls, 2 + snapshot.header().merged);
    assert!(!snapshot.header().cpu_times.is_empty());
}

#[test]
fn every_process_is_there_once() {
    let Some(mut source) = bpf() else { return };
    let children = Children::sleepers(30);
    for threads in [false, true] {
        let request = Request { threads, ..Request::default() };
        let snapshot = source.snapshot(&request).expect("a snapshot");
        let mut seen = HashMap::new();
        for record in snapshot.iter() {
            *seen.entry(record.ac_pid().expect("a pid")).or_insert(0) += 1;
        }
        assert!(seen.values().all(|&times| times == 1), "no task twice");
        assert!(!seen.contains_key(&0), "the idle tasks are no tasks of the table");
        for pid in children.pids() {
            assert!(seen.contains_key(&pid));
        }
        // Process 1 is in /proc, whether the kernel shows it to BPF or not.
        assert!(seen.contains_key(&1));
    }
}

#[test]
fn a_process_row_sums_its_threads_living_and_dead() {
    let Some(mut source) = bpf() else { return };
    thread::spawn(|| burn(Duration::from_millis(60))).join().expect("the thread ends");
    let (stop, wait) = mpsc::channel::<()>();
    let (ready, listen) = mpsc::channel();
    let living = thread::spawn(move || {
        burn(Duration::from_millis(60));
        ready.send(()).expect("the test listens");
        wait.recv().is_err()
    });
    listen.recv().expect("the thread works");
    for exact in [false, true] {
        let request = Request { exact, ..Request::default() };
        let before = own_clock();
        let snapshot = source.snapshot(&request).expect("a snapshot");
        let after = own_clock();
        let me = snapshot.find_pid(std::process::id()).and_then(|row| snapshot.get(row));
        let used = me.expect("this process").ac_sum_exec_ns().expect("its use");
        // The process's clock forgets what a thread used since the last tick before its
        // death, as much as 10 ms; the threads of the tests beside this one die as well.
        assert!(used + 2_000_000 > before, "{used} ns seen, {before} ns by the clock before");
        assert!(used < after + 40_000_000, "{used} ns seen, {after} ns by the clock after");
        let ticks = me.and_then(|record| Some(record.ac_utime()? + record.ac_stime()?));
        assert!(ticks.expect("its ticks") * 1000 > used / 2, "the ticks of all threads");
    }
    drop(stop);
    assert!(living.join().expect("the thread ends"));
}

#[test]
fn a_held_snapshot_is_never_written_over() {
    let Some(mut source) = bpf() else { return };
    let request = Request { fields: cpu(), ..Request::default() };
    let held: Vec<_> = (0..8)
        .map(|_| {
            burn(Duration::from_millis(2));
            let snapshot = source.snapshot(&request).expect("a snapshot");
            let bytes = snapshot.record_bytes().to_vec();
            (snapshot, bytes)
        })
        .collect();
    for _ in 0..8 {
        source.snapshot(&request).expect("a snapshot");
    }
    for (snapshot, bytes) in &held {
        assert!(snapshot.record_bytes() == bytes.as_slice());
    }
    let mut times: Vec<u64> =
        held.iter().map(|(snapshot, _)| snapshot.header().begin.monotonic_ns).collect();
    times.dedup();
    assert_eq!(times.len(), 8, "eight snapshots, not one");
}

#[test]
fn tasks_that_outgrow_the_array_are_in_the_snapshot_all_the_same() {
    let Some(mut source) = bpf() else { return };
    let request = Request { fields: cpu(), ..Request::default() };
    let before = source.snapshot(&request).expect("a snapshot");
    assert!(!before.header().flags.contains(Flags::TRUNCATED));
    let children = Children::sleepers(before.len() * 2 + 200);
    let after = source.snapshot(&request).expect("a snapshot");
    assert!(!after.header().flags.contains(Flags::TRUNCATED));
    assert!(children.pids().into_iter().all(|pid| after.find_pid(pid).is_some()));
}

#[test]
fn tasks_that_outgrow_the_array_rest_like_others() {
    let Some(mut source) = bpf() else { return };
    if !has_one_call() {
        return;
    }
    let request = Request { changed: true, ..exact() };
    let first = source.snapshot(&request).expect("a snapshot");
    let children = Children::sleepers(first.len() * 2 + 200);
    let grown = Arc::new(source.snapshot(&request).expect("a snapshot"));
    assert!(!grown.header().flags.contains(Flags::TRUNCATED));
    assert!(children.pids().into_iter().all(|pid| grown.find_pid(pid).is_some()));
    let last = Arc::new(source.snapshot(&request).expect("a snapshot"));
    assert!(last.header().flags.contains(Flags::WITHOUT_UNCHANGED));
    assert!(!Interval::is_whole(&last, &grown), "the sleepers' values are not in it");
    let resting = source.unchanged().expect("a snapshot of what ran");
    assert!(resting.totals().tasks >= children.pids().len());
}

#[test]
fn only_the_groups_that_are_wanted_are_read() {
    let Some(mut source) = bpf() else { return };
    for (group, field) in [
        (FieldGroup::Memory, Field::rss_kb),
        (FieldGroup::Io, Field::read_char),
        (FieldGroup::Delay, Field::cpu_delay_total),
        (FieldGroup::Exe, Field::ac_exe_inode),
        (FieldGroup::Cgroup, Field::cgroup_id),
    ] {
        for (fields, held) in [(FieldSet::of(&[field]), true), (cpu(), false)] {
            let request = Request { fields, ..Request::default() };
            let snapshot = source.snapshot(&request).expect("a snapshot");
            let me = snapshot.find_pid(std::process::id()).and_then(|row| snapshot.get(row));
            let value = me.expect("this process").unsigned(field);
            assert_eq!(value.is_some_and(|value| value > 0), held, "{group:?}");
        }
    }
}

/// What the rows of a snapshot are of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rows {
    Processes,
    Threads,
    /// Only of processes that ran since the last one.
    Ran,
}

/// Intervals of a second under `load`, as shares of one CPU's time that the books do
/// not explain, the smallest first; with the number of tasks that died.
fn residuals(load: &str, seconds: usize, rows: Rows) -> Option<(Vec<f64>, u32)> {
    let mut source = bpf()?;
    if !has_one_call() {
        return None;
    }
    // One load at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let _load = Children::run(&format!("{load} wait"));
    thread::sleep(Duration::from_millis(500));
    let request = Request { threads: rows == Rows::Threads, changed: rows == Rows::Ran, ..exact() };
    let first = Arc::new(source.snapshot(&request).expect("a snapshot"));
    thread::sleep(Duration::from_secs(1));
    let next = Arc::new(source.snapshot(&request).expect("a snapshot"));
    let mut interval = Interval::between(first, next);
    let (mut found, mut died) = (Vec::new(), 0);
    for _ in 0..seconds {
        let books = interval.balance().expect("the books");
        found.push(books.residual_ns as f64 / interval.interval_ns() as f64);
        died += interval.cur().header().exited;
        assert_eq!(interval.cur().header().exits_lost, 0);
        thread::sleep(Duration::from_secs(1));
        interval = interval.then(Arc::new(source.snapshot(&request).expect("a snapshot")));
    }
    found.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    Some((found, died))
}

/// Whether the kernel hides tasks from BPF, whose switches are then not seen.
fn hides_tasks() -> bool {
    sources().iter().any(|report| report.name == "bpf" && report.reason.contains("hides"))
}

const BUSY: &str = "while :; do :; done";

#[test]
fn the_books_of_busy_cpus_close() {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let loops: Vec<_> = (0..cpus).map(|cpu| format!("taskset -c {cpu} sh -c '{BUSY}' &")).collect();
    for rows in [Rows::Processes, Rows::Threads, Rows::Ran] {
        let Some((residuals, _)) = residuals(&loops.join(" "), 10, rows) else { return };
        // What a hidden task does beside may spoil some.
        assert!(residuals[if hides_tasks() { 4 } else { 8 }].abs() < 0.0001, "{residuals:?}");
        assert!(hides_tasks() || residuals[9].abs() < 0.0005, "{residuals:?}");
    }
}

#[test]
fn the_books_of_half_idle_cpus_close() {
    let Some((residuals, _)) = residuals(&format!("sh -c '{BUSY}' &"), 5, Rows::Ran) else {
        return;
    };
    // Of the switches between idle and a hidden task only the idle states tell.
    let (place, most) = if hides_tasks() { (1, 0.001) } else { (3, 0.0005) };
    assert!(residuals[place].abs() < most, "{residuals:?}");
}

/// Processes of half a millisecond to some, one after the other: waited for, and ignored by a
/// parent whose children are reaped by nobody.
fn storm() -> String {
    let each = "ls / >/dev/null; (i=0; while [ $i -lt 300 ]; do i=$((i+1)); done)";
    let forever = format!("while :; do {each}; done");
    format!("sh -c '{forever}' & sh -c 'trap \"\" CHLD; {forever}' &")
}

#[test]
fn the_books_of_a_fork_storm_close() {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    // What would be idle is theirs, and nobody else's.
    let idlers = (0..cpus).map(|cpu| format!("taskset -c {cpu} chrt -i 0 sh -c '{BUSY}' &"));
    let load = idlers.collect::<Vec<_>>().join(" ") + &storm();
    for rows in [Rows::Processes, Rows::Threads, Rows::Ran] {
        let Some((residuals, died)) = residuals(&load, 10, rows) else { return };
        assert!(residuals[if hides_tasks() { 4 } else { 7 }].abs() < 0.0001, "{residuals:?}");
        assert!(hides_tasks() || residuals[9].abs() < 0.001, "{residuals:?}");
        assert!(died > 100, "{died} tasks died");
    }
}

#[test]
fn the_books_of_a_fork_storm_beside_idle_time_close() {
    let Some((residuals, died)) = residuals(&storm(), 10, Rows::Processes) else { return };
    let (place, most) = if hides_tasks() { (4, 0.001) } else { (9, 0.0005) };
    assert!(residuals[place].abs() < most, "{residuals:?}");
    assert!(died > 100, "{died} tasks died");
}

/// Whether the machine is the tests' own, so that they may stop its CPUs and set its clock.
fn owns_machine() -> bool {
    std::env::var_os("PRECISE_TOP_OWN_MACHINE").is_some()
}

#[test]
fn the_books_close_while_a_cpu_goes_and_comes() {
    if !owns_machine() || !has_one_call() {
        return;
    }
    let switch = |online: &str| fs::write("/sys/devices/system/cpu/cpu1/online", online);
    for rows in [Rows::Processes, Rows::Ran] {
        let Some(mut source) = bpf() else { return };
        let request = Request { changed: rows == Rows::Ran, ..exact() };
        let _load = Children::run(&format!("sh -c '{BUSY}' & sh -c '{BUSY}' & wait"));
        thread::sleep(Duration::from_millis(500));
        let mut take = || Arc::new(source.snapshot(&request).expect("a snapshot"));
        let mut snapshots = vec![take()];
        let changes: [&[&str]; 6] = [&[], &["0"], &[], &["1"], &["0", "1"], &[]];
        for change in changes {
            thread::sleep(Duration::from_millis(500));
            for online in change {
                switch(online).expect("the machine's second CPU");
                thread::sleep(Duration::from_millis(500));
            }
            snapshots.push(take());
        }
        let cpus: Vec<u32> = snapshots.iter().map(|now| now.header().cpus_online).collect();
        assert_eq!(cpus, [2, 2, 1, 1, 2, 2, 2]);
        for (place, pair) in snapshots.windows(2).enumerate() {
            let interval = Interval::between(Arc::clone(&pair[0]), Arc::clone(&pair[1]));
            let books = interval.balance().expect("the books");
            let share = books.residual_ns as f64 / interval.interval_ns() as f64;
            assert!(books.is_closed(), "{rows:?}, interval {place}: {share} of a CPU, {books:?}");
            // Where as many are there at both ends they close as ever.
            let most = if [1, 3].contains(&place) { 1.0 } else { 0.002 };
            assert!(share.abs() < most, "{rows:?}, interval {place}: {share} of a CPU");
        }
    }
}

/// How long the machine has slept since it was started: CLOCK_BOOTTIME goes on meanwhile,
/// CLOCK_MONOTONIC stands still.
fn asleep_ns(header: &Header) -> u64 {
    header.begin.boottime_ns - header.begin.monotonic_ns
}

#[test]
fn the_books_close_over_a_sleep_of_the_machine() {
    if !owns_machine() || !has_one_call() {
        return;
    }
    let kinds = [Rows::Processes, Rows::Ran];
    let [Some(processes), Some(ran)] = kinds.map(|_| bpf()) else { return };
    let mut sources = [processes, ran];
    let _load = Children::run(&format!("sh -c '{BUSY}' & wait"));
    thread::sleep(Duration::from_millis(500));
    let mut take = || {
        let mut snapshot = |place: usize| {
            let request = Request { changed: kinds[place] == Rows::Ran, ..exact() };
            Arc::new(sources[place].snapshot(&request).expect("a snapshot"))
        };
        [snapshot(0), snapshot(1)]
    };
    take();
    // An emulated machine may wake up at once, having gone all the way to sleep.
    for seconds in [5, 10, 20] {
        let before = take();
        // An alarm that is still set is in the way of another.
        for alarm in ["0".to_owned(), format!("+{seconds}")] {
            fs::write("/sys/class/rtc/rtc0/wakealarm", alarm).expect("an alarm");
        }
        fs::write("/sys/power/state", "mem").expect("a machine that can sleep");
        thread::sleep(Duration::from_millis(500));
        let after = take();
        let slept_ns = asleep_ns(after[0].header()).saturating_sub(asleep_ns(before[0].header()));
        for ((rows, before), after) in kinds.into_iter().zip(before).zip(after) {
            let interval = Interval::between(before, after);
            let (prev, cur) = (interval.prev().header(), interval.cur().header());
            let awake_ns = cur.begin.monotonic_ns - prev.begin.monotonic_ns;
            let length_ns = interval.interval_ns();
            // The scheduler's clock stops a little later, and begins earlier.
            let lengths = awake_ns - 10_000_000..=awake_ns + 50_000_000 + slept_ns / 2;
            let books = interval.balance().expect("the books");
            // To go to sleep the machine takes its second CPU away. Emulated clocks do not
            // always go on as they stopped.
            let share = books.residual_ns as f64 / length_ns as f64;
            assert!(lengths.contains(&length_ns), "{rows:?}: {length_ns} ns, awake {awake_ns} ns");
            assert_eq!(cur.cpus_online, 2);
            assert!(share.abs() < 0.01, "{rows:?}: {share} of a CPU, {books:?}");
        }
        if slept_ns > 1_000_000_000 {
            return;
        }
    }
    eprintln!("the machine was woken up at once each time");
}

#[test]
fn a_clock_that_is_set_changes_no_interval() {
    if !owns_machine() || !has_one_call() {
        return;
    }
    let Some(mut source) = bpf() else { return };
    let _load = Children::run(&format!("sh -c '{BUSY}' & sh -c '{BUSY}' & wait"));
    thread::sleep(Duration::from_millis(500));
    let mut take = || Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    for offset_s in [3600_i64, -7200] {
        let before = take();
        let begun = Instant::now();
        let now_s = (before.header().begin.realtime_ns / 1_000_000_000).cast_signed();
        let set = Command::new("busybox")
            .args(["date", "-u", "-s", &format!("@{}", now_s + offset_s)])
            .output()
            .expect("busybox date");
        assert!(set.status.success(), "{set:?}");
        thread::sleep(Duration::from_secs(1));
        let after = take();
        let lasted = begun.elapsed();
        let moved = after.header().begin.realtime_ns.cast_signed()
            - before.header().begin.realtime_ns.cast_signed();
        assert!((moved / 1_000_000_000 - offset_s).abs() < 60, "{moved} ns");
        let interval = Interval::between(before, after);
        let difference = Duration::from_nanos(interval.interval_ns()).abs_diff(lasted);
        assert!(difference < Duration::from_millis(500), "{difference:?}");
        let books = interval.balance().expect("the books");
        let share = books.residual_ns as f64 / interval.interval_ns() as f64;
        assert!(share.abs() < 0.002, "{share} of a CPU");
    }
}

#[test]
fn the_books_close_while_tasks_wake_each_other() {
    let load = format!("sh -c '{BUSY}' & sh -c '{BUSY}' & yes | cat > /dev/null &");
    let Some((residuals, _)) = residuals(&load, 5, Rows::Ran) else { return };
    assert!(residuals[if hides_tasks() { 1 } else { 3 }].abs() < 0.0001, "{residuals:?}");
    assert!(hides_tasks() || residuals[4].abs() < 0.0005, "{residuals:?}");
}

/// Makes CLOCK_MONOTONIC faster or slower than the scheduler's clock, by parts per million.
fn slew(ppm: i64) -> bool {
    let frequency = (ppm << 16).to_string();
    let set = Command::new("busybox").args(["adjtimex", "-f", &frequency]).output();
    set.is_ok_and(|done| done.status.success())
}

#[test]
fn the_books_of_a_slewed_clock_close() {
    if hides_tasks() {
        // The clock is everybody's: only in a machine of its own.
        return;
    }
    for ppm in [200, -200] {
        assert!(slew(ppm), "busybox adjtimex works");
        let load = format!("sh -c '{BUSY}' & sh -c '{BUSY}' &");
        let found = residuals(&load, 5, Rows::Ran);
        assert!(slew(0));
        let Some((residuals, _)) = found else { return };
        assert!(residuals[3].abs() < 0.0001, "{ppm} ppm: {residuals:?}");
    }
}

const EXECS: &str = "PRECISE_TOP_TEST_EXECS";

/// No test: what the next one starts. Tests run in threads of their own, so that this
/// is an exec by another thread than the leader.
#[test]
fn a_thread_that_execs() {
    if std::env::var_os(EXECS).is_some() {
        let _other = thread::spawn(|| burn(Duration::from_millis(20)));
        burn(Duration::from_millis(20));
        let error = Command::new("true").exec();
        panic!("{error}");
    }
}

#[test]
fn the_books_close_across_exec_by_another_thread() {
    let program = std::env::current_exe().expect("this program");
    let execs = format!("{EXECS}=1 {} --exact a_thread_that_execs", program.display());
    let load = format!("sh -c 'while :; do {execs}; done' & sh -c '{BUSY}' & sh -c '{BUSY}' &");
    let Some((residuals, died)) = residuals(&load, 5, Rows::Ran) else { return };
    assert!(residuals[if hides_tasks() { 1 } else { 3 }].abs() < 0.001, "{residuals:?}");
    assert!(died > 5, "{died} tasks died");
}

#[test]
fn what_died_between_two_snapshots_is_in_the_later() {
    let Some(mut source) = bpf() else { return };
    if !has_one_call() {
        return;
    }
    let first = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    let mut child = counting();
    let pid = child.id();
    child.wait().expect("it ends");
    let next = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    let interval = Interval::between(first, next);
    let row = interval.cur().find_pid(pid).expect("the dead child");
    assert!(interval.is_exited(row) && interval.is_born(row));
    let record = interval.cur().get(row).expect("its record");
    assert_eq!(record.ac_comm(), Some(b"sh".as_slice()));
    assert_eq!(record.ac_ppid(), Some(std::process::id()));
    assert!(record.task_flags().is_some_and(|flags| flags & 4 != 0), "PF_EXITING");
    let used = interval.usage(row).expect("its use").total_ns();
    assert_eq!(Some(used), record.ac_sum_exec_ns());
    assert!(used > 1_000_000, "{used}");
    // Told once.
    let last = interval.then(Arc::new(source.snapshot(&exact()).expect("a snapshot")));
    assert!(last.cur().find_pid(pid).is_none());
}

#[test]
fn a_zombie_is_a_row_until_it_is_reaped_and_counts_once() {
    let Some(mut source) = bpf() else { return };
    if !has_one_call() {
        return;
    }
    let first = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    let mut child = counting();
    let stat = format!("/proc/{}/stat", child.id());
    while fs::read_to_string(&stat).is_ok_and(|line| !line.contains(") Z")) {
        thread::sleep(Duration::from_millis(1));
    }
    let next = Arc::new(source.snapshot(&exact()).expect("a snapshot"));
    let interval = Interval::between(first, next);
    let row = interval.cur().find_pid(child.id()).expect("the zombie");
    assert!(!interval.is_exited(row));
    let used = interval.usage(row).expect("its use").total_ns();
    assert!(used > 1_000_000, "{used}");
    child.wait().expect("it is reaped");
    let last = interval.then(Arc::new(source.snapshot(&exact()).expect("a snapshot")));
    let row = last.cur().find_pid(child.id()).expect("the dead child");
    assert!(last.is_exited(row));
    assert!(last.usage(row).expect("its use").total_ns() < 1_000_000, "no time counts twice");
}

#[test]
fn clocks_of_every_cpu_are_there() {
    let Some(mut source) = bpf() else { return };
    let snapshot = source.snapshot(&exact()).expect("a snapshot");
    let header = snapshot.header();
    let cpus = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let cpus = cpus.lines().filter(|line| line.starts_with("cpu")).count() - 1;
    assert_eq!(header.cpu_clocks.len(), cpus);
    assert_eq!(header.cpus_online as usize, cpus);
    assert!(header.cpu_clocks.iter().all(|clocks| clocks.clock_ns >= clocks.clock_task_ns));
    let offset = header.sched_clock_ns.map(|now| now.abs_diff(header.begin.monotonic_ns));
    assert!(offset.is_some());
}

#[test]
fn no_kernel_address_gets_out() {
    let Some(mut source) = bpf() else { return };
    let snapshot = source.snapshot(&Request::default()).expect("a snapshot");
    let ids: Vec<u64> = snapshot.iter().filter_map(|record| record.task_id()).collect();
    assert!(ids.len() > 10);
    // Addresses of the kernel begin with sixteen ones; a mixture hardly ever does.
    let like_addresses = ids.iter().filter(|&&id| id >> 48 == 0xffff).count();
    assert!(like_addresses < 3, "{like_addresses} of {}", ids.len());
    let again = bpf().expect("a second source").snapshot(&Request::default()).expect("a snapshot");
    let same = again.iter().filter_map(|record| record.task_id()).filter(|id| ids.contains(id));
    assert_eq!(same.count(), 0, "another key, other names");
}
