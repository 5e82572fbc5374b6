//! Following a tree of processes against this machine's kernel; the same tests run in the
//! guests.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use precise_top_sources::{Error, Tree, TreeSums};

/// What the children of all tests used is one sum.
static ALONE: Mutex<()> = Mutex::new(());

fn tree() -> Option<Tree> {
    match Tree::open() {
        Ok(tree) => Some(tree),
        Err(error) => {
            assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here: {error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// CPU time of all children that were waited for, in ns.
fn waited_for() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` is valid for writes for the length of the call, which fills it.
    let usage = unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()), 0);
        usage.assume_init()
    };
    let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    ns(usage.ru_utime) + ns(usage.ru_stime)
}

/// CPU time of a process so far, without its children, in ns.
fn used_by(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("its times");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}

fn shell(script: &str) {
    assert!(Command::new("sh").args(["-c", script]).status().expect("a shell").success());
}

fn of_shells(sums: &TreeSums) -> (u64, u64) {
    let rows = sums.commands.iter();
    rows.fold((0, 0), |(processes, ns), row| (processes + row.processes, ns + row.cpu_ns))
}

#[test]
fn every_process_is_counted_to_its_last_switch() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(tree) = tree() else { return };
    let before = waited_for();
    shell("i=0; while [ $i -lt 500 ]; do (:); i=$((i+1)); done");
    let waited = waited_for() - before;
    let sums = tree.finish().expect("the sums");
    assert_eq!(sums.missed, 0);
    assert_eq!(sums.processes, 501);
    assert_eq!(of_shells(&sums), (501, sums.cpu_ns));
    // The way from a task's release to its last switch is in no other account.
    assert!(sums.cpu_ns + 1_000_000 > waited, "{} of {waited}", sums.cpu_ns);
    assert!(sums.cpu_ns < waited + waited / 4 + 5_000_000, "{} of {waited}", sums.cpu_ns);
}

#[test]
fn orphans_and_what_still_runs_belong_to_it() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some(tree), Some(other)) = (tree(), tree()) else { return };
    // The middle dies at once; nobody here will wait for the last, nor for its output.
    shell("( ( i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 60 & ) >&- 2>&- & )");
    let mut child = Command::new("sleep").arg("600").spawn().expect("sleep can be started");
    thread::sleep(Duration::from_millis(3000));
    let sums = tree.finish().expect("the sums");
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
    let later = other.finish().expect("the sums");
    assert_eq!(sums.missed + later.missed, 0);
    // The shell, the one that counts, and one that sleeps; shells differ in what else they
    // fork, and a slow machine's still counts.
    assert!(sums.processes >= 3, "{}", sums.processes);
    assert!(later.processes >= sums.processes, "{}", later.processes);
    assert!(sums.cpu_ns > 5_000_000, "the orphan's counting: {}", sums.cpu_ns);
    assert!(later.cpu_ns >= sums.cpu_ns, "{} and later {}", sums.cpu_ns, later.cpu_ns);
    assert_eq!(of_shells(&sums).1, sums.cpu_ns);
}

#[test]
fn the_tree_of_a_running_process_counts_from_the_begin() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(probe) = tree() else { return };
    drop(probe);
    // It has used time before, and a child that outlives its parent already runs.
    let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done
        (sleep 5 & sleep 6)& echo ready; read line
        i=0; while [ $i -lt 100 ]; do ( (:) & ); i=$((i+1)); done; echo done; read line";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    let mut answers = BufReader::new(child.stdout.take().expect("its output"));
    let mut answer = String::new();
    answers.read_line(&mut answer).expect("a line");
    let before = used_by(child.id());
    let tree = Tree::open_for(child.id()).expect("its tree");
    let mut input = child.stdin.take().expect("its input");
    writeln!(input, "go").expect("it reads");
    answers.read_line(&mut answer).expect("a line");
    let used = used_by(child.id()) - before;
    let sums = tree.finish().expect("the sums");
    drop(input);
    child.kill().expect("it runs");
    child.wait().expect("it is ours");
    assert_eq!(sums.missed, 0, "{sums:?}");
    // The shell, its sleeping child and grandchild, and 100 with 100 parents that go at once.
    assert_eq!(sums.processes, 3 + 200, "{sums:?}");
    assert!(before > 10_000_000, "{before}");
    assert!(sums.cpu_ns >= used && sums.cpu_ns < used + before, "{sums:?}, {used} after {before}");
    assert_eq!(of_shells(&sums).1, sums.cpu_ns);
    assert!(matches!(Tree::open_for(1 << 22), Err(Error::NoSuchTask(_))));
}
