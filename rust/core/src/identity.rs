//! Task identity: whether two records are of the same task.
//!
//! The kernel reuses pids, so a pid names a task only together with the task's start or
//! its `task_id`. No other module compares starts. Each rule states its tolerance, and
//! the tolerance follows from how the start was measured:
//!
//! | compared | rule | tolerance |
//! |---|---|---|
//! | records of the `bpf` and `proc` sources, in tables ([`TaskKey`]) | equal `task_id` and start | 0: the kernel's own numbers |
//! | two snapshots (`Continuity::continues`) | equal `task_id` of one space, else equal pid and start | 0; 20 ms for derived starts |
//! | rows of one snapshot (`Identity::is_same_row`) | no different `task_id`, equal start | 0; 20 ms for derived starts |
//! | a parent and its child in a tree (`Identity::began_after`) | the parent's start is not later | 0; 1 s for derived starts |
//! | a leader before and after an exec (`ProcessKey`) | equal pid and start | 0 |
//! | a task that a user selected, in later snapshots ([`Identity::is_still`]) | equal pid and start | 0; 20 ms for derived starts |
//! | an exit over netlink and a walk ([`is_same_exit`]) | equal pid (by the caller), start | 1 s |
//! | a record and /proc, asked later ([`is_same_in_proc`]) | equal pid (by the caller), start | one tick; 1 s + one tick for derived starts |
//! | a row and /proc, before the user acts on it ([`Identity::is_in_proc`]) | equal pid (by the caller), known start | one tick; 1 s + one tick for derived starts |
//! | a record and a recorded command line (`is_of_process`) | equal process id (by the caller), start | 0 |
//! | intervals of a recording ([`is_same_in_recording`]) | equal pid (by the caller), start | 1 s |
//!
//! A start is *derived* where the source computes it from the clock and the task's age
//! ([`Flags::DERIVED_STARTS`]): it differs by milliseconds from snapshot to snapshot.

use std::hash::{BuildHasherDefault, Hasher};

use std::collections::HashSet;

use crate::header::{Flags, Header, SourceKind};
use crate::record::Record;

/// How far two derived starts of one task differ at most: both are computed within one
/// walk, from a clock that was read some milliseconds before or after the age.
const DERIVED_TOLERANCE_NS: u64 = 20_000_000;
/// How far a start derived from an exit differs from the walk's at most: the event waits
/// in the socket until it is read, and its age ends before that.
const EXIT_TOLERANCE_NS: u64 = 1_000_000_000;
/// How far a derived start differs from that of /proc at most: its age was read a little
/// earlier or later. A pid is not reused within this time.
const PROC_TOLERANCE_NS: u64 = 1_000_000_000;
/// How far the starts of one task differ at most in one recording. A pid is not reused
/// within this time.
const RECORDING_TOLERANCE_NS: u64 = 1_000_000_000;

/// Identity of a task for its life, as far as one record knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Thread id, 0 where unknown.
    pub pid: u32,
    /// CLOCK_BOOTTIME start in ns.
    pub start_ns: Option<u64>,
    /// The source's own name for the task, never 0.
    pub task_id: Option<u64>,
}

impl Record<'_> {
    /// Returns the task's identity, as far as the record knows it.
    pub fn identity(&self) -> Identity {
        Identity {
            pid: self.ac_pid().unwrap_or(0),
            start_ns: self.ac_start_ns(),
            task_id: self.task_id().filter(|&id| id != 0),
        }
    }

    /// CLOCK_BOOTTIME start in ns, where it is exact: it then distinguishes tasks of one pid.
    /// None for derived starts.
    pub fn exact_start_ns(&self) -> Option<u64> {
        // A source without task ids derives starts.
        self.task_id().and(self.ac_start_ns()).filter(|&start| start != 0)
    }
}

impl Identity {
    /// Whether this task certainly began after another one of the same snapshot.
    pub(crate) fn began_after(&self, other: &Identity, header: &Header) -> bool {
        let tolerance_ns = if has_derived_starts(header) { EXIT_TOLERANCE_NS } else { 0 };
        match (self.start_ns, other.start_ns) {
            (Some(start), Some(before)) => start > before.saturating_add(tolerance_ns),
            _ => false,
        }
    }

    /// Whether two rows of one snapshot are of one task, which the source met in its walk
    /// and among the exits.
    pub(crate) fn is_same_row(&self, other: &Identity, header: &Header) -> bool {
        let tolerance_ns = if has_derived_starts(header) { DERIVED_TOLERANCE_NS } else { 0 };
        match (self.task_id, other.task_id, self.start_ns, other.start_ns) {
            (Some(a), Some(b), _, _) if a != b => false,
            (_, _, Some(a), Some(b)) => a.abs_diff(b) <= tolerance_ns,
            (Some(_), Some(_), _, _) => true,
            _ => false,
        }
    }

    /// Whether this is the task that was `earlier`, however many snapshots ago; `header` is of
    /// one of the two. An exec by another thread gives the leader another `task_id`, so that
    /// does not count.
    pub fn is_still(&self, earlier: &Identity, header: &Header) -> bool {
        let tolerance_ns = if has_derived_starts(header) { DERIVED_TOLERANCE_NS } else { 0 };
        self.pid == earlier.pid
            && match (earlier.start_ns, self.start_ns) {
                (Some(a), Some(b)) => a.abs_diff(b) <= tolerance_ns,
                _ => true,
            }
    }

    /// Whether this task of a snapshot, of which `header` is, is the one that /proc shows under its
    /// pid, with the start `proc_start_ns`. A task of unknown start is not.
    pub fn is_in_proc(&self, header: &Header, proc_start_ns: u64) -> bool {
        let tick_ns = header.cpu_times_step_ns.max(1);
        self.start_ns.is_some_and(|start_ns| match has_derived_starts(header) {
            true => proc_start_ns.abs_diff(start_ns) <= PROC_TOLERANCE_NS + tick_ns,
            // The offset of a time namespace is not a multiple of the tick.
            false => start_ns.abs_diff(proc_start_ns) < tick_ns,
        })
    }

    /// Whether this task, which has no record in the snapshot `before`, started after it.
    pub(crate) fn is_born(&self, before: &Header, after: &Header) -> bool {
        // An exec by another thread takes over the leader's start. But a task that has a
        // task_id and was not in a snapshot of all tasks started after that.
        if matches!(before.source, SourceKind::Proc | SourceKind::Netlink)
            && before.flags.contains(Flags::ONE_INSTANT)
            && before.threads() == after.threads()
            && self.task_id.is_some()
        {
            return true;
        }
        // A start in clock ticks is rounded down to the tick.
        let tick_ns = after.cpu_times_step_ns;
        self.start_ns.is_some_and(|start| is_after_begin(before, start.saturating_add(tick_ns)))
    }
}

/// Whether two records of a pair of snapshots are of one task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Continuity<'a> {
    earlier: &'a Header,
    /// Whether equal tasks have equal task_ids.
    has_common_ids: bool,
    has_derived_starts: bool,
    /// How far starts that are not derived may differ.
    tolerance_ns: u64,
}

impl<'a> Continuity<'a> {
    /// The rule for the records of two snapshots, of which these are the headers and tasks.
    pub(crate) fn of(
        headers: [&'a Header; 2],
        earlier_tasks: impl Iterator<Item = Identity> + Clone,
        later_tasks: impl Iterator<Item = Identity> + Clone,
    ) -> Continuity<'a> {
        let has_common_ids = match headers.map(|header| header.task_id_space) {
            [Some(a), Some(b)] => a == b,
            // Recordings of earlier versions do not tell. Only the bpf source makes ids.
            _ => {
                headers[0].source != SourceKind::Bpf || !have_other_ids(earlier_tasks, later_tasks)
            }
        };
        let [earlier, later] = headers;
        // Only procfs has starts in ticks, rounded down.
        let is_rounded =
            (earlier.source == SourceKind::Procfs) != (later.source == SourceKind::Procfs);
        let tick_ns = earlier.cpu_times_step_ns.max(later.cpu_times_step_ns);
        Continuity {
            earlier,
            has_common_ids,
            has_derived_starts: headers.into_iter().any(has_derived_starts),
            tolerance_ns: if is_rounded { tick_ns } else { 0 },
        }
    }

    /// Whether the later record's task is the earlier record's.
    pub(crate) fn continues(&self, earlier: &Identity, later: &Identity) -> bool {
        let header = self.earlier;
        if let (Some(a), Some(b), true) = (earlier.task_id, later.task_id, self.has_common_ids) {
            // The kernel may reuse a task_id after the task's end, for a younger task only.
            // After an exec by another thread the new leader has the old one's earlier start.
            let is_younger =
                matches!((earlier.start_ns, later.start_ns), (Some(a), Some(b)) if b > a);
            return a == b
                && !is_younger
                && later.start_ns.is_none_or(|start_ns| !is_after_begin(header, start_ns));
        }
        if earlier.pid != later.pid || later.pid == 0 {
            return false;
        }
        match (earlier.start_ns, later.start_ns) {
            // A task may have started while the earlier snapshot was taken.
            (Some(a), Some(b)) if self.has_derived_starts => {
                !is_after_begin(header, b) || a.abs_diff(b) <= DERIVED_TOLERANCE_NS
            }
            (Some(a), Some(b)) => a.abs_diff(b) <= self.tolerance_ns,
            _ => true,
        }
    }
}

/// Whether the tasks that two snapshots have in common by pid and start have other task_ids in
/// the later one, and all others too. The tasks that are first in a snapshot live long.
fn have_other_ids(
    earlier: impl Iterator<Item = Identity> + Clone,
    later: impl Iterator<Item = Identity> + Clone,
) -> bool {
    let pairs = earlier.clone().zip(later.clone());
    let mut same = pairs
        .filter(|(a, b)| a.pid == b.pid && a.start_ns == b.start_ns)
        .filter_map(|(a, b)| Some((a.task_id?, b.task_id?)))
        .peekable();
    if same.peek().is_none() || same.any(|(a, b)| a == b) {
        return false;
    }
    let ids: HashSet<u64> = earlier.filter_map(|task| task.task_id).collect();
    later.filter_map(|task| task.task_id).all(|id| !ids.contains(&id))
}

fn has_derived_starts(header: &Header) -> bool {
    header.flags.contains(Flags::DERIVED_STARTS)
}

fn is_after_begin(header: &Header, start_ns: u64) -> bool {
    start_ns > header.begin.boottime_ns
}

/// The key of a task in tables of sources that know starts exactly. The `task_id` alone
/// may soon name another task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TaskKey {
    /// The `task_id`; the pid where the record has none.
    pub id: u64,
    /// CLOCK_BOOTTIME start in ns, 0 where unknown.
    pub start_ns: u64,
}

/// Hashes a [`TaskKey`] or a pid in a few instructions: each frame looks up every task that ran, and
/// a tree all parents. Who starts tasks chooses neither their ids nor the ns of their starts, so
/// collisions cannot be made; different pids differ in the product's high bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskHasher(u64);

impl Hasher for TaskHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        // The multiplier of rustc-hash: it mixes into the high bits.
        self.0 = self.0.wrapping_add(word).wrapping_mul(0xf135_7aea_2e62_a9c5);
    }

    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

/// Makes [`TaskHasher`]s.
pub type HashTask = BuildHasherDefault<TaskHasher>;

impl TaskKey {
    /// The key of the record's task.
    pub fn of(record: &Record<'_>) -> TaskKey {
        // Processes that are hidden from BPF have no task_id.
        let id = record.task_id().unwrap_or_else(|| u64::from(record.ac_pid().unwrap_or(0)));
        TaskKey { id, start_ns: record.ac_start_ns().unwrap_or(0) }
    }
}

/// The key of a process among leaders' rows: an exec by another thread makes that thread
/// the leader, with the old leader's pid and start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProcessKey {
    pid: Option<u32>,
    start_ns: Option<u64>,
}

impl ProcessKey {
    /// The key of the process whose leader the record is of.
    pub(crate) fn of(leader: &Record<'_>) -> ProcessKey {
        ProcessKey { pid: leader.ac_pid(), start_ns: leader.ac_start_ns() }
    }
}

/// Whether an exit event and a row of a walk, both of one pid, are of one task. Both
/// starts are derived, in ns of CLOCK_BOOTTIME.
pub fn is_same_exit(exit_start_ns: u64, walk_start_ns: u64) -> bool {
    exit_start_ns.abs_diff(walk_start_ns) <= EXIT_TOLERANCE_NS
}

/// Whether the task of a record is the one that /proc shows under its pid, with the start
/// `proc_start_ns`, rounded down to a multiple of `tick_ns`.
pub fn is_same_in_proc(record: &Record<'_>, proc_start_ns: u64, tick_ns: u64) -> bool {
    match (record.exact_start_ns(), record.ac_start_ns()) {
        (Some(start_ns), _) => start_ns / tick_ns * tick_ns == proc_start_ns,
        (None, Some(derived)) => proc_start_ns.abs_diff(derived) <= PROC_TOLERANCE_NS + tick_ns,
        (None, None) => true,
    }
}

/// Whether the task of a record belongs to the process that started at `process_start_ns`,
/// which has the record's process id. An unknown start is no difference.
pub(crate) fn is_of_process(record: &Record<'_>, process_start_ns: Option<u64>) -> bool {
    match (process_start_ns, record.exact_start_ns()) {
        (None, _) | (_, None) => true,
        // A thread may start later than its process, not earlier.
        (Some(process), Some(start)) if record.ac_tgid() != record.ac_pid() => process <= start,
        (Some(process), Some(start)) => process == start,
    }
}

/// Whether two records of one recording, both of one pid, are of one task, by their starts
/// in ns of CLOCK_BOOTTIME. An unknown start is no difference.
pub fn is_same_in_recording(start_ns: Option<u64>, other_ns: Option<u64>) -> bool {
    match (start_ns, other_ns) {
        (Some(a), Some(b)) => a.abs_diff(b) < RECORDING_TOLERANCE_NS,
        _ => true,
    }
}
