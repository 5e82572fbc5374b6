//! The sources against this machine's kernel, compared with other ways to know.
//!
//! A test that this machine cannot run says why, and fails where
//! PRECISE_TOP_NO_SKIP is set.

use std::hint::black_box;
use std::io::{BufRead, BufReader, ErrorKind};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use precise_top_core::wire::Id;
use precise_top_core::{Field, FieldSet, FieldStatus, Interval, SourceKind};
use precise_top_sources::{Error, Netlink, Request, Source, open};

/// CPU time may be late by one tick of the slowest usual kernel (HZ=100).
const TICK: u64 = 10_000_000;

fn netlink() -> Option<Netlink> {
    match Netlink::open() {
        Ok(source) => Some(source),
        Err(error) => {
            assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here: {error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Sleeping processes, killed at the end.
struct Sleepers(Vec<Child>);

impl Sleepers {
    fn new(count: usize) -> Sleepers {
        // Those that have been started are killed where the next one cannot be.
        let mut sleepers = Sleepers(Vec::new());
        for _ in 0..count {
            let sleep = Command::new("sleep").arg("600").spawn();
            sleepers.0.push(sleep.expect("sleep can be started"));
        }
        sleepers
    }

    fn pids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(Child::id)
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

fn cheap(threads: bool) -> Request {
    Request { threads, fields: FieldSet::EMPTY, ..Request::default() }
}

/// Uses a CPU for that long, however many others want it.
fn burn(time: Duration) {
    let used = || -> u128 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a thread");
        text.split(' ').next().and_then(|word| word.parse().ok()).expect("its CPU time")
    };
    let until = used() + time.as_nanos();
    let mut number = 1u64;
    while used() < until {
        for _ in 0..100_000 {
            number = black_box(number.wrapping_mul(3));
        }
    }
}

fn every_source() -> Vec<Box<dyn Source>> {
    let mut sources = vec![open(Some(SourceKind::Procfs)).expect("procfs is everywhere")];
    if let Some(source) = netlink() {
        sources.push(Box::new(source));
    }
    // A kernel that has the file must let it be opened.
    if std::path::Path::new("/proc/taskstats").exists() {
        sources.push(open(Some(SourceKind::Proc)).expect("/proc/taskstats can be opened"));
    }
    match open(Some(SourceKind::Bpf)) {
        Ok(source) => sources.push(source),
        // Without types of the kernel it cannot work.
        Err(error) if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() => {
            eprintln!("skipped: {error}");
        }
        Err(error) => {
            assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here: {error}");
            eprintln!("skipped: {error}");
        }
    }
    sources
}

#[test]
fn every_living_process_is_in_the_snapshot() {
    let sleepers = Sleepers::new(20);
    for mut source in every_source() {
        let snapshot = source.snapshot(&cheap(false)).expect("a snapshot");
        for pid in sleepers.pids() {
            let row = snapshot.find_pid(pid);
            let record = row.and_then(|row| snapshot.get(row)).expect("the sleeper is there");
            assert_eq!(record.ac_comm(), Some(b"sleep".as_slice()));
            assert_eq!(record.ac_tgid(), Some(pid));
            assert_eq!(record.ac_ppid(), Some(std::process::id()));
        }
        let mut pids: Vec<_> = snapshot.iter().map(|record| record.ac_pid()).collect();
        pids.dedup();
        assert_eq!(pids.len(), snapshot.len(), "no process twice");
    }
}

#[test]
fn known_work_is_found() {
    for mut source in every_source() {
        let name = source.kind().name();
        let before = source.snapshot(&cheap(false)).expect("a snapshot");
        burn(Duration::from_millis(150));
        thread::spawn(|| burn(Duration::from_millis(150))).join().expect("the thread ends");
        let after = source.snapshot(&cheap(false)).expect("a snapshot");
        let interval = Interval::between(before.into(), after.into());
        let me = interval.cur().find_pid(std::process::id()).expect("this process");
        let used = interval.usage(me).expect("a use").total_ns();
        // Nothing of a dead thread is lost.
        assert!(used > 290_000_000, "{name}: {used} ns");
    }
}

#[test]
fn the_process_row_agrees_with_the_cpu_clock() {
    for mut source in every_source() {
        burn(Duration::from_millis(20));
        let clock = |snapshot: &precise_top_core::Snapshot| {
            let me = snapshot.find_pid(std::process::id()).expect("this process");
            snapshot.get(me).and_then(|record| record.cpu_ns()).expect("its CPU time")
        };
        let snapshot = source.snapshot(&cheap(false)).expect("a snapshot");
        let (seen, own) = (clock(&snapshot), snapshot.header().own_cpu_ns);
        assert!(seen <= own + TICK, "{seen} ns seen, {own} ns by the clock");
        assert!(seen + 20 * TICK > own, "{seen} ns seen, {own} ns by the clock");
    }
}

#[test]
fn threads_are_rows_of_their_own() {
    let (stop, wait) = std::sync::mpsc::channel::<()>();
    let (started, listen) = std::sync::mpsc::channel();
    let other = thread::Builder::new()
        .name("a thread".into())
        .spawn(move || {
            // The thread has set its name before it gets here.
            started.send(()).expect("the test listens");
            wait.recv().is_err()
        })
        .expect("a thread");
    listen.recv().expect("the thread starts");
    for mut source in every_source() {
        let snapshot = source.snapshot(&cheap(true)).expect("a snapshot");
        let found = snapshot.iter().any(|record| {
            record.ac_comm() == Some(b"a thread") && record.ac_tgid() == Some(std::process::id())
        });
        assert!(found, "{}", source.kind().name());
    }
    drop(stop);
    assert!(other.join().expect("the thread ends"));
}

#[test]
fn a_thousand_tasks_take_few_system_calls() {
    let Some(mut source) = netlink() else { return };
    let _sleepers = Sleepers::new(1000);
    let snapshot = source.snapshot(&cheap(true)).expect("a snapshot");
    assert!(snapshot.len() >= 1000);
    let calls = snapshot.header().syscalls;
    assert!(calls <= 20, "{calls} system calls for {} tasks", snapshot.len());
}

#[test]
fn a_tiny_receive_buffer_loses_nothing() {
    let Some(mut source) = netlink() else { return };
    let sleepers = Sleepers::new(60);
    source.limit_receive_buffer(4096, 64).expect("the buffer shrinks");
    let snapshot = source.snapshot(&cheap(false)).expect("a snapshot");
    for pid in sleepers.pids() {
        assert!(snapshot.find_pid(pid).is_some());
    }
}

#[test]
fn single_tasks_are_had_by_id() {
    let Some(mut source) = netlink() else { return };
    let sleepers = Sleepers::new(1);
    let pid = sleepers.0[0].id();
    let snapshot = source.get(Id::Pid(pid)).expect("a record");
    assert_eq!(snapshot.get(0).and_then(|record| record.ac_pid()), Some(pid));
    let snapshot = source.get(Id::Tgid(std::process::id())).expect("a record");
    let record = snapshot.get(0).expect("a record");
    assert!(record.cpu_run_virtual_total().is_some_and(|time| time > 0));
    assert_eq!(record.ac_comm(), None, "a sum has no name");
    for id in [Id::Pid(1 << 30), Id::Tgid(1 << 30)] {
        assert!(matches!(source.get(id), Err(Error::NoSuchTask(n)) if n == 1 << 30));
    }
}

#[test]
fn delays_that_are_switched_off_are_not_zero() {
    let Some(mut source) = netlink() else { return };
    let snapshot = source.snapshot(&cheap(false)).expect("a snapshot");
    let header = snapshot.header();
    let held = header.flags.contains(precise_top_core::Flags::DELAYACCT);
    let expected = if held { FieldStatus::Filled } else { FieldStatus::Off };
    assert_eq!(header.status(Field::blkio_delay_total), expected);
    assert_eq!(header.status(Field::cpu_delay_total), FieldStatus::Filled);
    let first = snapshot.get(0).expect("a record");
    assert_eq!(first.blkio_delay_total().is_some(), held);
}

#[test]
fn io_and_memory_come_where_they_are_wanted() {
    let wanted = FieldSet::of(&[Field::read_char, Field::rss_kb, Field::state]);
    for mut source in every_source() {
        let request = Request { fields: wanted, ..Request::default() };
        let snapshot = source.snapshot(&request).expect("a snapshot");
        let me = snapshot.find_pid(std::process::id()).expect("this process");
        let record = snapshot.get(me).expect("its record");
        assert!(record.read_char().is_some_and(|bytes| bytes > 0));
        assert!(record.rss_kb().is_some_and(|kb| kb > 0));
        assert!(record.state().is_some());
    }
}

#[test]
fn without_the_capability_netlink_is_refused() {
    if netlink().is_none() {
        return;
    }
    // Capabilities belong to a thread; only this one loses them.
    let refused = thread::spawn(|| {
        precise_top_sources::drop_privileges(Some(SourceKind::Procfs))
            .expect("dropping is allowed");
        assert!(!precise_top_sources::has_net_admin());
        let auto = open(None).expect("something works").kind();
        (Netlink::open().map(|_| ()), auto)
    });
    let (refused, auto) = refused.join().expect("the thread ends");
    assert!(matches!(refused, Err(Error::AccessDenied { .. })), "{refused:?}");
    assert_eq!(auto, SourceKind::Procfs);
}

#[test]
fn a_source_that_does_not_exist_is_refused() {
    assert!(matches!(open(Some(SourceKind::Bytes)), Err(Error::Unsupported { .. })));
}

/// Starts a program of Python that says when it is ready, and then sleeps. None in a machine of
/// the tests' own that has no Python: the kernel's answers are compared where there is one.
fn python(program: &str) -> Option<Sleepers> {
    let mut python = Command::new("python3");
    let started = python.args(["-c", program]).stdout(Stdio::piped()).spawn();
    if started.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        eprintln!("skipped: no python3");
        return None;
    }
    let mut child = started.expect("python3 can be started");
    let mut line = String::new();
    let output = child.stdout.as_mut().expect("a pipe");
    BufReader::new(output).read_line(&mut line).expect("its output");
    assert_eq!(line, "ready\n");
    Some(Sleepers(vec![child]))
}

fn netlink_and_procfs() -> Vec<Box<dyn Source>> {
    let mut sources = every_source();
    sources.retain(|source| matches!(source.kind(), SourceKind::Netlink | SourceKind::Procfs));
    sources
}

#[test]
fn counters_of_dead_threads_are_there_or_unknown() {
    const SWITCHES: u64 = 500;
    let Some(of_dead) = python(
        "import threading, time
def work():
    for _ in range(500): time.sleep(1e-6)
thread = threading.Thread(target=work); thread.start(); thread.join()
print('ready', flush=True); time.sleep(600)",
    ) else {
        return;
    };
    let Some(alone) = python("import time; print('ready', flush=True); time.sleep(600)") else {
        return;
    };
    for mut source in netlink_and_procfs() {
        let name = source.kind().name();
        let snapshot = source.snapshot(&Request::default()).expect("a snapshot");
        let record = |of: &Sleepers| {
            let row = of.pids().next().and_then(|pid| snapshot.find_pid(pid));
            snapshot.get(row.expect("the process")).expect("its record")
        };
        let switches = record(&of_dead).nvcsw();
        assert!(switches.is_none_or(|number| number >= SWITCHES), "{name}: {switches:?}");
        let waits = record(&of_dead).cpu_count();
        assert!(waits.is_none_or(|number| number >= SWITCHES), "{name}: {waits:?}");
        // A process that never had another thread is known.
        assert!(record(&alone).nvcsw().is_some_and(|number| number > 0), "{name}");
        assert!(record(&alone).cpu_count().is_some_and(|number| number > 0), "{name}");
        assert!(record(&alone).cpu_delay_total().is_some(), "{name}");
    }
}

#[test]
fn a_process_whose_leader_has_exited_is_no_zombie() {
    const HELD_KB: u64 = 30 << 10;
    // exit(2) of the calling thread alone: 93 on aarch64, 60 on x86-64.
    let Some(without_leader) = python(
        "import ctypes, os, threading, time
held = bytearray(b'x' * (30 << 20))
def work():
    while open('/proc/self/stat').read().rsplit(') ', 1)[1][0] != 'Z': time.sleep(0.01)
    print('ready', flush=True); time.sleep(600)
threading.Thread(target=work).start()
ctypes.CDLL(None).syscall(93 if os.uname().machine == 'aarch64' else 60, 0)",
    ) else {
        return;
    };
    let pid = without_leader.pids().next().expect("a process");
    for mut source in every_source() {
        let name = source.kind().name();
        let request = Request { exact: true, ..Request::default() };
        source.snapshot(&request).expect("a snapshot");
        let snapshot = source.snapshot(&request).expect("a snapshot");
        let row = snapshot.find_pid(pid).expect("the process");
        let record = snapshot.get(row).expect("its record");
        assert!(!snapshot.is_exited(row), "{name}");
        assert_ne!(record.state().map(precise_top_core::state::letter), Some('Z'), "{name}");
        for field in [Field::rss_kb, Field::vm_kb, Field::hiwater_rss, Field::hiwater_vm] {
            let value = record.unsigned(field);
            assert!(value.is_none_or(|kb| kb >= HELD_KB), "{name}: {field:?} {value:?}");
        }
        assert!(record.rss_kb().is_some(), "{name}: a living thread knows it");
    }
}
