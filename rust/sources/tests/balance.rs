//! The balance of the CPUs' time under load, from the bpf source; the guests run these as well.

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use precise_top_core::{Header, Interval};
use precise_top_sources::{Request, sources};
use support::{Children, bpf, burn, exact, has_one_call};

/// Runs a shell command in a process group of its own.
fn run_load(command: &str) -> Children {
    let child = Command::new("sh")
        .args(["-c", command])
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell can be started");
    Children(vec![child])
}

/// What the rows of a snapshot stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rows {
    Processes,
    Threads,
    /// Processes that ran since the previous snapshot.
    Ran,
}

/// Residuals of one-second intervals under `load`, as shares of one CPU's time, smallest
/// first; and the number of tasks that exited.
fn residuals(load: &str, seconds: usize, rows: Rows) -> Option<(Vec<f64>, u32)> {
    let mut source = bpf()?;
    if !has_one_call() {
        return None;
    }
    // One load at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let _load = run_load(&format!("{load} wait"));
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

/// Whether the kernel hides tasks from BPF: the source does not see their switches.
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
        // A hidden task that runs meanwhile adds to some residuals.
        assert!(residuals[if hides_tasks() { 4 } else { 8 }].abs() < 0.0001, "{residuals:?}");
        assert!(hides_tasks() || residuals[9].abs() < 0.0005, "{residuals:?}");
    }
}

#[test]
fn the_books_of_half_idle_cpus_close() {
    let Some((residuals, _)) = residuals(&format!("sh -c '{BUSY}' &"), 5, Rows::Ran) else {
        return;
    };
    // Only the idle states show switches between idle and a hidden task.
    let (place, most) = if hides_tasks() { (1, 0.001) } else { (3, 0.0005) };
    assert!(residuals[place].abs() < most, "{residuals:?}");
}

/// Shell loops that start processes of about a millisecond: one waits for them, one ignores
/// SIGCHLD.
fn storm() -> String {
    let each = "ls / >/dev/null; (i=0; while [ $i -lt 300 ]; do i=$((i+1)); done)";
    let forever = format!("while :; do {each}; done");
    format!("sh -c '{forever}' & sh -c 'trap \"\" CHLD; {forever}' &")
}

#[test]
fn the_books_of_a_fork_storm_close() {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    // SCHED_IDLE loops use all time that would be idle.
    let idlers = (0..cpus).map(|cpu| format!("taskset -c {cpu} chrt -i 0 sh -c '{BUSY}' &"));
    let load = idlers.collect::<Vec<_>>().join(" ") + &storm();
    for rows in [Rows::Processes, Rows::Threads, Rows::Ran] {
        let Some((residuals, died)) = residuals(&load, 10, rows) else { return };
        assert!(residuals[if hides_tasks() { 4 } else { 7 }].abs() < 0.0001, "{residuals:?}");
        assert!(hides_tasks() || residuals[9].abs() < 0.001, "{residuals:?}");
        assert!(died > 100, "{died} tasks exited");
    }
}

#[test]
fn the_books_of_a_fork_storm_with_idle_time_close() {
    let Some((residuals, died)) = residuals(&storm(), 10, Rows::Processes) else { return };
    let (place, most) = if hides_tasks() { (4, 0.001) } else { (9, 0.0005) };
    assert!(residuals[place].abs() < most, "{residuals:?}");
    assert!(died > 100, "{died} tasks exited");
}

/// Whether the tests may stop CPUs and set the clock: in a machine of their own.
fn owns_machine() -> bool {
    std::env::var_os("PRECISE_TOP_OWN_MACHINE").is_some()
}

#[test]
fn the_books_close_while_a_cpu_goes_offline_and_returns() {
    if !owns_machine() || !has_one_call() {
        return;
    }
    let switch = |online: &str| fs::write("/sys/devices/system/cpu/cpu1/online", online);
    for rows in [Rows::Processes, Rows::Ran] {
        let Some(mut source) = bpf() else { return };
        let request = Request { changed: rows == Rows::Ran, ..exact() };
        let _load = run_load(&format!("sh -c '{BUSY}' & sh -c '{BUSY}' & wait"));
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
            // The usual bound holds where both ends have the same CPUs.
            let most = if [1, 3].contains(&place) { 1.0 } else { 0.002 };
            assert!(share.abs() < most, "{rows:?}, interval {place}: {share} of a CPU");
        }
    }
}

/// How long the machine has been suspended since boot: CLOCK_BOOTTIME continues then,
/// CLOCK_MONOTONIC stops.
fn asleep_ns(header: &Header) -> u64 {
    header.begin.boottime_ns - header.begin.monotonic_ns
}

#[test]
fn the_books_close_over_a_suspend() {
    if !owns_machine() || !has_one_call() {
        return;
    }
    let kinds = [Rows::Processes, Rows::Ran];
    let [Some(processes), Some(ran)] = kinds.map(|_| bpf()) else { return };
    let mut sources = [processes, ran];
    let _load = run_load(&format!("sh -c '{BUSY}' & wait"));
    thread::sleep(Duration::from_millis(500));
    let mut take = || {
        let mut snapshot = |place: usize| {
            let request = Request { changed: kinds[place] == Rows::Ran, ..exact() };
            Arc::new(sources[place].snapshot(&request).expect("a snapshot"))
        };
        [snapshot(0), snapshot(1)]
    };
    take();
    // An emulated machine may wake up at once after it was suspended.
    for seconds in [5, 10, 20] {
        let before = take();
        // Clear an alarm that is still set: it blocks a new one.
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
            // The scheduler's clock stops a little later and resumes earlier.
            let lengths = awake_ns - 10_000_000..=awake_ns + 50_000_000 + slept_ns / 2;
            let books = interval.balance().expect("the books");
            // Suspend takes the second CPU offline. Emulated clocks do not always resume where
            // they stopped.
            let share = books.residual_ns as f64 / length_ns as f64;
            assert!(lengths.contains(&length_ns), "{rows:?}: {length_ns} ns, awake {awake_ns} ns");
            assert_eq!(cur.cpus_online, 2);
            assert!(share.abs() < 0.01, "{rows:?}: {share} of a CPU, {books:?}");
        }
        if slept_ns > 1_000_000_000 {
            return;
        }
    }
    eprintln!("the machine woke up at once each time");
}

#[test]
fn a_clock_that_is_set_changes_no_interval() {
    if !owns_machine() || !has_one_call() {
        return;
    }
    let Some(mut source) = bpf() else { return };
    let _load = run_load(&format!("sh -c '{BUSY}' & sh -c '{BUSY}' & wait"));
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

/// Makes CLOCK_MONOTONIC run faster or slower than the scheduler's clock, in parts per million.
fn slew(ppm: i64) -> bool {
    let frequency = (ppm << 16).to_string();
    let set = Command::new("busybox").args(["adjtimex", "-f", &frequency]).output();
    set.is_ok_and(|done| done.status.success())
}

#[test]
fn the_books_of_a_slewed_clock_close() {
    if hides_tasks() {
        // The clock is shared: slew it only in a machine of the tests' own.
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

/// Helper of the next test, which starts this program again. A test runs in a thread of its
/// own, so this is an exec by another thread than the leader.
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
    assert!(died > 5, "{died} tasks exited");
}
