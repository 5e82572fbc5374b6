//! The bpf source against this machine's kernel; the same tests run in the guests.
//!
//! `PRECISE_TOP_WAY` ("one call" or "iterator") states which way the kernel must support.

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use precise_top_core::{Field, FieldGroup, FieldSet, Flags, Interval, Record};
use precise_top_sources::{Request, Source, sources};
use support::{Children, bpf, burn, cpu, exact, has_one_call};

/// Starts sleeping processes.
fn sleepers(count: usize) -> Children {
    // Those that have been started are killed where the next one cannot be.
    let mut children = Children(Vec::new());
    for _ in 0..count {
        let sleep = Command::new("sleep").arg("600").spawn();
        children.0.push(sleep.expect("sleep can be started"));
    }
    children
}

fn pids(children: &Children) -> Vec<u32> {
    children.0.iter().map(Child::id).collect()
}

/// A shell that uses a few milliseconds of CPU time and exits.
fn counting() -> Child {
    Command::new("sh")
        .args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"])
        .spawn()
        .expect("a shell can be started")
}

/// CPU time of this process by its CPU clock, in ns.
fn own_clock() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes for the length of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[test]
fn the_kernel_supports_the_expected_way() {
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
    // Each process that the kernel hides from BPF costs one read of a clock. After a fork, of
    // another test for instance, a snapshot gets a new array, which costs more.
    let mut least_calls = |request: &Request| {
        let mut calls = || {
            let snapshot = source.snapshot(request).expect("a snapshot");
            snapshot.header().syscalls - snapshot.header().merged
        };
        (0..100).map(|_| calls()).min()
    };
    assert_eq!(least_calls(&request), Some(1));
    let request = Request { cpu_times: Some(true), ..request };
    assert_eq!(least_calls(&request), Some(2));
    let snapshot = source.snapshot(&request).expect("a snapshot");
    assert!(!snapshot.header().cpu_times.is_empty());
}

#[test]
fn every_process_has_one_row() {
    let Some(mut source) = bpf() else { return };
    let children = sleepers(30);
    for threads in [false, true] {
        let request = Request { threads, ..Request::default() };
        let snapshot = source.snapshot(&request).expect("a snapshot");
        let mut seen = HashMap::new();
        for record in snapshot.iter() {
            *seen.entry(record.ac_pid().expect("a pid")).or_insert(0) += 1;
        }
        assert!(seen.values().all(|&times| times == 1), "a task has two rows");
        assert!(!seen.contains_key(&0), "the idle tasks have rows");
        for pid in pids(&children) {
            assert!(seen.contains_key(&pid));
        }
        // Process 1 has a row even where the kernel hides it from BPF.
        assert!(seen.contains_key(&1));
    }
}

/// Ticks of this process's threads, living and exited, in us, as rows of threads have them.
fn ticks_of_threads(source: &mut dyn Source, exact: bool) -> u64 {
    let request = Request { exact, threads: true, ..Request::default() };
    let snapshot = source.snapshot(&request).expect("a snapshot");
    let pid = std::process::id();
    let own = snapshot.iter().filter(|record| record.ac_tgid() == Some(pid));
    let ticks = |record: Record<'_>| {
        let leads = record.ac_pid() == Some(pid);
        let exited = record.tg_utime().zip(record.tg_stime()).filter(|_| leads);
        let exited = exited.map_or(0, |(user, system)| user + system);
        record.ac_utime().unwrap_or(0) + record.ac_stime().unwrap_or(0) + exited
    };
    own.map(ticks).sum()
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
        let ticks_before = ticks_of_threads(source.as_mut(), exact);
        let before = own_clock();
        let snapshot = source.snapshot(&request).expect("a snapshot");
        let after = own_clock();
        let ticks_after = ticks_of_threads(source.as_mut(), exact);
        let me = snapshot.find_pid(std::process::id()).and_then(|row| snapshot.get(row));
        let used = me.expect("this process").ac_sum_exec_ns().expect("its use");
        // The process's clock loses up to a tick of each exited thread; threads of other
        // tests exit meanwhile.
        assert!(used + 2_000_000 > before, "{used} ns seen, {before} ns by the clock before");
        assert!(used < after + 40_000_000, "{used} ns seen, {after} ns by the clock after");
        let ticks = me.and_then(|record| Some(record.ac_utime()? + record.ac_stime()?));
        let ticks = ticks.expect("its ticks");
        assert!(ticks_before > 0, "ticks of two busy threads");
        assert!((ticks_before..=ticks_after).contains(&ticks), "exact: {exact}, {ticks} us");
    }
    drop(stop);
    assert!(living.join().expect("the thread ends"));
}

#[test]
fn a_held_snapshot_is_never_overwritten() {
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
fn a_snapshot_includes_tasks_beyond_the_array() {
    let Some(mut source) = bpf() else { return };
    let request = Request { fields: cpu(), ..Request::default() };
    let before = source.snapshot(&request).expect("a snapshot");
    assert!(!before.header().flags.contains(Flags::TRUNCATED));
    let children = sleepers(before.len() * 2 + 200);
    let after = source.snapshot(&request).expect("a snapshot");
    assert!(!after.header().flags.contains(Flags::TRUNCATED));
    assert!(pids(&children).into_iter().all(|pid| after.find_pid(pid).is_some()));
}

#[test]
fn tasks_beyond_the_array_count_as_unchanged_later() {
    let Some(mut source) = bpf() else { return };
    if !has_one_call() {
        return;
    }
    let request = Request { changed: true, ..exact() };
    let first = source.snapshot(&request).expect("a snapshot");
    let children = sleepers(first.len() * 2 + 200);
    let grown = Arc::new(source.snapshot(&request).expect("a snapshot"));
    assert!(!grown.header().flags.contains(Flags::TRUNCATED));
    assert!(pids(&children).into_iter().all(|pid| grown.find_pid(pid).is_some()));
    let last = Arc::new(source.snapshot(&request).expect("a snapshot"));
    assert!(last.header().flags.contains(Flags::WITHOUT_UNCHANGED));
    assert!(!Interval::is_whole(&last, &grown), "it lacks the sleepers' values");
    let unchanged = source.unchanged().expect("a partial snapshot");
    assert!(unchanged.totals().tasks >= pids(&children).len());
}

#[test]
fn only_requested_groups_are_read() {
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

#[test]
fn the_later_snapshot_has_tasks_that_exited_before_it() {
    let Some(mut source) = bpf() else { return };
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
    // The next snapshot does not have it again.
    let last = interval.then(Arc::new(source.snapshot(&exact()).expect("a snapshot")));
    assert!(last.cur().find_pid(pid).is_none());
}

#[test]
fn a_zombie_is_a_row_until_it_is_reaped_and_counts_once() {
    let Some(mut source) = bpf() else { return };
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
    assert!(last.usage(row).expect("its use").total_ns() < 1_000_000, "time counts twice");
}

#[test]
fn a_leader_that_exits_before_its_threads_counts_once() {
    const BURNT_NS: u64 = 100_000_000;
    let Some(mut source) = bpf() else { return };
    let program = "import ctypes, os, threading, time
end = time.process_time() + 0.1
while time.process_time() < end: pass
def work():
    while open('/proc/self/stat').read().rsplit(') ', 1)[1][0] != 'Z': time.sleep(0.01)
    print('gone', flush=True); time.sleep(600)
threading.Thread(target=work).start()
print('ready', flush=True); input()
ctypes.CDLL(None).syscall(93 if os.uname().machine == 'aarch64' else 60, 0)";
    let child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else { return };
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let mut lines = BufReader::new(output.expect("a pipe")).lines();
    let (pid, _child) = (child.id(), Children(vec![child]));
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    let request = Request { exact: true, ..Request::default() };
    let before = Arc::new(source.snapshot(&request).expect("a snapshot"));
    input.expect("a pipe").write_all(b"\n").expect("it reads");
    assert_eq!(lines.next().expect("a line").expect("text"), "gone");
    // In both of these the leader is a zombie.
    let first = Arc::new(source.snapshot(&request).expect("a snapshot"));
    let mut interval = Interval::between(before, first);
    for _ in 0..2 {
        let row = interval.cur().find_pid(pid).expect("the process");
        assert!(!interval.is_exited(row));
        let record = interval.cur().get(row).expect("its record");
        assert!(record.state().is_some_and(|state| state >> 16 == 0), "a thread of it lives");
        assert!(record.ac_sum_exec_ns().is_some_and(|sum| sum > BURNT_NS));
        let used = interval.usage(row).expect("its use").total_ns();
        assert!(used < BURNT_NS, "its leader's time counts twice: {used} ns");
        interval = interval.then(Arc::new(source.snapshot(&request).expect("a snapshot")));
    }
}

#[test]
fn the_header_has_the_clocks_of_every_cpu() {
    let Some(mut source) = bpf().filter(|_| has_one_call()) else { return };
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
fn task_ids_reveal_no_kernel_address() {
    let Some(mut source) = bpf() else { return };
    let snapshot = source.snapshot(&Request::default()).expect("a snapshot");
    let ids: Vec<u64> = snapshot.iter().filter_map(|record| record.task_id()).collect();
    assert!(ids.len() > 10);
    // Kernel addresses start with sixteen ones; mixed ids rarely do.
    let like_addresses = ids.iter().filter(|&&id| id >> 48 == 0xffff).count();
    assert!(like_addresses < 3, "{like_addresses} of {}", ids.len());
    let again = bpf().expect("a second source").snapshot(&Request::default()).expect("a snapshot");
    let same = again.iter().filter_map(|record| record.task_id()).filter(|id| ids.contains(id));
    assert!(same.count() > 10, "the sources of a process use one key");
    assert_eq!(again.header().task_id_space, snapshot.header().task_id_space);
}
