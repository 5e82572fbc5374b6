//! CPU time of tasks that die, to the last nanosecond.
//!
//! Design decisions
//!
//! * A task claims a slot when it exits, and its last switch writes the final value there
//!   (bpf/hooks.h). A run adds the value at the run's instant.
//! * A task stays in the walk until it is reaped or released. Its exit counts when the walk
//!   no longer visits it, so that no time is counted twice or lost. Its slot is free as soon
//!   as the final value was read: a parent that never waits costs memory here, not slots.
//! * In process mode the CPU time of a dead thread is added to the row of its process; a
//!   process without a row gets a record of its own.
//! * The kernel's sums of dead threads lack their last microseconds. They serve only for
//!   threads that died before the source watched exits.

use std::collections::{HashMap, HashSet};
use std::mem::take;
use std::os::fd::OwnedFd;

use precise_top_core::Kind;
use precise_top_core::{Field, FieldSet, HashTask, Layout, Record, RecordMut, TaskKey, state};

use super::exit_ring::Deaths;
use super::exit_slots::Slot;
use crate::last_read::LastRead;
use crate::source::MOST_EXITS;
use crate::sys::shared::Control;

/// Fields that are unknown when a task's memory is gone.
pub(crate) const GONE: FieldSet = FieldSet::of(&[
    Field::rss_kb,
    Field::vm_kb,
    Field::hiwater_vm,
    Field::ac_exe_dev,
    Field::ac_exe_inode,
]);

/// include/linux/sched.h
const PF_EXITING: u32 = 4;

/// The dead threads of a process.
#[derive(Default)]
struct Process {
    /// Final values of those whose slots were freed.
    done_ns: u64,
    /// The leader's record at its exit.
    leader: Option<Vec<u8>>,
}

/// A dead or dying task, as its slot described it.
struct ExitRows {
    /// Its CPU time: up to its last switch if that `is_final`.
    used_ns: u64,
    is_final: bool,
    /// Its process.
    process: TaskKey,
    leader: bool,
    /// Whether it is outside the caller's pid namespace.
    outside: bool,
    /// Whether the run has visited it, or may have before it exited.
    walked: bool,
    record: Vec<u8>,
}

impl ExitRows {
    /// A copy of a slot, with the final value or that at the instant of the last run.
    fn of(slot: &Slot<'_>, is_final: bool) -> ExitRows {
        let words = &slot.words;
        ExitRows {
            used_ns: if is_final { words.end } else { words.used },
            is_final,
            process: TaskKey { id: words.process_id, start_ns: words.process_start },
            leader: words.leader != 0,
            outside: words.outside != 0,
            walked: words.serial == words.met || words.serial == words.walked,
            record: slot.record(),
        }
    }
}

/// The dead, from the slots.
pub(crate) struct Exits {
    deaths: Deaths,
    layout: Layout,
    /// Dead tasks that the walk may still visit, or that the next snapshot reports.
    pending: Vec<ExitRows>,
    /// How many are kept at most; the number of those dropped, and their CPU time.
    most: usize,
    dropped: u64,
    dropped_ns: u64,
    /// The attached programs.
    attached: Vec<OwnedFd>,
    last_read: LastRead,
    /// Whether the programs were detached because nobody read the exits.
    is_forgotten: bool,
    threads: bool,
    /// Whether no snapshot was taken yet: earlier deaths are part of no interval.
    first: bool,
    processes: HashMap<TaskKey, Process, HashTask>,
    outside_ns: u64,
}

/// The part of a snapshot that comes from the slots.
#[derive(Default)]
pub(crate) struct Collected {
    /// Records of the tasks that died, with their CPU time at the instant.
    pub(crate) records: Vec<Vec<u8>>,
    /// CPU time of dead tasks outside the caller's pid namespace.
    pub(crate) outside_ns: u64,
}

/// Rows of a run, by their keys.
#[derive(Default)]
struct Met {
    /// Of tasks that have exited.
    dead: HashSet<TaskKey, HashTask>,
    /// Of tasks that died during the run.
    dying: HashSet<TaskKey, HashTask>,
}

/// One process's dead threads that are in no row yet.
#[derive(Default)]
struct Waiting {
    used_ns: u64,
    done_ns: u64,
    leader: Option<Vec<u8>>,
    /// The thread that died last, if that is not the leader.
    last: Option<Vec<u8>>,
    complete: bool,
}

impl Exits {
    pub(crate) fn new(deaths: Deaths, layout: &Layout) -> Exits {
        Exits {
            deaths,
            layout: layout.clone(),
            pending: Vec::new(),
            most: MOST_EXITS,
            dropped: 0,
            dropped_ns: 0,
            attached: Vec::new(),
            last_read: LastRead::now(),
            is_forgotten: false,
            threads: false,
            first: true,
            processes: HashMap::default(),
            outside_ns: 0,
        }
    }

    /// Where the programs leave the dead.
    pub(crate) fn deaths(&mut self) -> &mut Deaths {
        &mut self.deaths
    }

    /// Gives up sooner, when so many exits wait.
    #[cfg(test)]
    pub(crate) fn hurry(&mut self, many: usize) {
        self.last_read.hurry(many);
    }

    /// Where the programs are attached.
    #[cfg(test)]
    pub(crate) fn attached(&mut self) -> &mut Vec<OwnedFd> {
        &mut self.attached
    }

    /// Keeps fewer exits for the next snapshot.
    #[cfg(test)]
    pub(crate) fn keep_at_most(&mut self, most: usize) {
        self.most = most;
    }

    /// Takes the attached programs.
    pub(crate) fn attach(&mut self, programs: Vec<OwnedFd>) {
        self.attached = programs;
        self.last_read.note();
    }

    /// Detaches the programs.
    pub(crate) fn detach(&mut self) {
        self.deaths.enable(false);
        self.let_go();
    }

    /// Gives up this process's hold on the attached programs.
    pub(crate) fn let_go(&mut self) {
        self.attached = Vec::new();
    }

    /// Whether the programs are attached.
    pub(crate) fn is_watching(&self) -> bool {
        !self.attached.is_empty()
    }

    /// Whether nobody read the exits for so long that the programs were detached, since the last
    /// call.
    pub(crate) fn was_forgotten(&mut self) -> bool {
        take(&mut self.is_forgotten)
    }

    /// Detaches the programs if nobody reads the exits any more.
    pub(crate) fn give_up_if_forgotten(&mut self) {
        if self.is_watching() && self.last_read.is_long_ago(self.pending.len()) {
            self.detach();
            self.drop_waiting();
            self.is_forgotten = true;
        }
    }

    /// Forgets the exits that wait.
    fn drop_waiting(&mut self) {
        self.deaths.sweep(None, |slot| slot.is_dead());
        self.pending = Vec::new();
        self.processes = HashMap::default();
    }

    /// Starts again and forgets all deaths so far.
    pub(crate) fn reset(&mut self, threads: bool) {
        self.drop_waiting();
        self.threads = threads;
        self.first = true;
        self.outside_ns = 0;
    }

    /// Whether rows are those of threads.
    pub(crate) fn is_for_threads(&self) -> bool {
        self.threads
    }

    /// Exits that are in no snapshot, and the CPU time of these tasks, since the beginning.
    pub(crate) fn lost(&self) -> (u64, u64) {
        let (count, ns) = self.deaths.lost();
        (count + self.dropped, ns + self.dropped_ns)
    }

    /// Frees the slots of dead tasks and keeps their records; makes no system call.
    pub(crate) fn drain(&mut self) {
        let Exits { deaths, pending, most, dropped, dropped_ns, .. } = self;
        deaths.sweep(None, |slot| {
            let done = slot.is_dead() && !slot.is_traced_thread();
            if done && pending.len() < *most {
                pending.push(ExitRows::of(slot, true));
            } else if done {
                *dropped += 1;
                *dropped_ns += slot.words.end;
            }
            done
        });
    }

    /// The records of all dead tasks, for callers that take no snapshots.
    pub(crate) fn take(&mut self) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        let layout = &self.layout;
        self.deaths.sweep(None, |slot| {
            if slot.is_dead() && slot.words.outside == 0 {
                records.push(with_use(slot.record(), layout, slot.words.end, true));
            }
            slot.is_dead()
        });
        records
    }

    /// Adds the CPU time of dead tasks to the rows of a run. Returns the records of those
    /// that have no row.
    pub(crate) fn collect(&mut self, run: &Control, rows: &mut [u8]) -> Collected {
        self.last_read.note();
        let mut collected = Collected::default();
        let mut waiting: HashMap<TaskKey, Waiting, HashTask> = HashMap::default();
        // If a task died during the run, a part of its time is after the run's instant and
        // counts in the next run, so its slot stays in use.
        let mut partial = Vec::new();
        let pending = &mut self.pending;
        self.deaths.sweep(Some(run.exits), |slot| {
            let words = &slot.words;
            if slot.is_dead() && words.died_ns < run.t0_ns {
                let done = !slot.is_traced_thread() || words.met != run.serial;
                if done {
                    pending.push(ExitRows::of(slot, true));
                }
                return done;
            }
            // A task born after the instant counts in the next run only.
            if words.serial == run.serial && words.used != 0 {
                partial.push(ExitRows::of(slot, false));
            }
            false
        });
        let met = self.met(&partial, rows);
        for dead in take(&mut self.pending).into_iter().chain(partial) {
            match (self.is_in_row(&dead, &met), dead.is_final) {
                (true, true) => self.pending.push(dead),
                (true, false) => {}
                (false, true) if self.first => {}
                (false, _) => self.count(dead, &mut waiting, &mut collected),
            }
        }
        if !self.threads {
            self.add_to_rows(&mut waiting, rows, run.by_log == 0);
            self.make_records(waiting, &mut collected);
        }
        self.first = false;
        collected.outside_ns += self.outside_ns;
        collected
    }

    /// The key of the row that a task has while it lives.
    fn row_of(&self, dead: &ExitRows) -> TaskKey {
        if self.threads { key_of(&dead.record, &self.layout) } else { dead.process }
    }

    /// The rows of dead and dying tasks in a run.
    fn met(&self, partial: &[ExitRows], rows: &[u8]) -> Met {
        let mut met = Met::default();
        if self.pending.is_empty() && partial.is_empty() {
            return met;
        }
        let dying: HashSet<TaskKey, HashTask> =
            partial.iter().map(|dead| self.row_of(dead)).collect();
        for row in rows.chunks_exact(self.layout.record_size()) {
            let record = Record::new(row, &self.layout, FieldSet::ALL);
            let key = key_of(row, &self.layout);
            // The flags are the leader's; the state may be that of a living thread.
            if record.and_then(|row| row.task_flags()).is_some_and(|bits| bits & PF_EXITING != 0) {
                met.dead.insert(key);
            }
            if dying.contains(&key) {
                met.dying.insert(key);
            }
        }
        met
    }

    /// Whether a row of the run includes a task's time: it is not reaped yet, or it died after
    /// the walk had passed it.
    fn is_in_row(&self, dead: &ExitRows, met: &Met) -> bool {
        let has_row = self.threads || dead.leader;
        match dead.is_final {
            true => has_row && met.dead.contains(&self.row_of(dead)),
            // It has no row of its own: only the walk knows.
            false if dead.outside || !has_row => dead.walked,
            false => met.dying.contains(&self.row_of(dead)),
        }
    }

    /// Counts a task that is in no row.
    fn count(
        &mut self,
        dead: ExitRows,
        waiting: &mut HashMap<TaskKey, Waiting, HashTask>,
        collected: &mut Collected,
    ) {
        let used_ns = dead.used_ns;
        let done_ns = if dead.is_final { used_ns } else { 0 };
        if dead.outside {
            collected.outside_ns += used_ns - done_ns;
            self.outside_ns += done_ns;
            return;
        }
        if self.threads {
            collected.records.push(with_use(dead.record, &self.layout, used_ns, dead.is_final));
            return;
        }
        let waiting = waiting
            .entry(dead.process)
            .or_insert_with(|| Waiting { complete: true, ..Waiting::default() });
        waiting.used_ns += used_ns;
        waiting.done_ns += done_ns;
        waiting.complete &= dead.is_final;
        if dead.leader {
            (waiting.leader, waiting.last) = (Some(dead.record), None);
        } else {
            waiting.last = Some(dead.record);
        }
    }

    /// Adds the CPU time of dead threads to the rows of their processes.
    fn add_to_rows(
        &mut self,
        waiting: &mut HashMap<TaskKey, Waiting, HashTask>,
        rows: &mut [u8],
        all_met: bool,
    ) {
        let layout = self.layout.clone();
        let layout = &layout;
        let mut seen: HashSet<TaskKey, HashTask> = HashSet::default();
        for row in rows.chunks_exact_mut(layout.record_size()) {
            let Some(record) = Record::new(row, layout, FieldSet::ALL) else { continue };
            let before = record.tg_sum_exec_ns().unwrap_or(0);
            if before == 0 && waiting.is_empty() {
                continue;
            }
            let key = key_of(record.bytes(), layout);
            let used = record.ac_sum_exec_ns().unwrap_or(0);
            if self.first && before != 0 {
                self.processes.entry(key).or_default().done_ns = before;
            }
            let dead = waiting.remove(&key);
            if let Some(process) = self.processes.get(&key) {
                seen.insert(key);
                add_use(row, layout, used + process.done_ns, dead.as_ref());
            } else if dead.is_some() {
                add_use(row, layout, used, dead.as_ref());
            }
            if let Some(dead) = dead {
                seen.insert(key);
                let process = self.processes.entry(key).or_default();
                process.done_ns += dead.done_ns;
            }
        }
        // All tasks were visited: a process without a row is gone.
        if all_met {
            self.processes.retain(|key, _| seen.contains(key) || waiting.contains_key(key));
            if self.processes.capacity() > 4 * self.processes.len() {
                self.processes.shrink_to_fit();
            }
        }
    }

    /// Creates records for the processes that have no row any more.
    fn make_records(
        &mut self,
        waiting: HashMap<TaskKey, Waiting, HashTask>,
        collected: &mut Collected,
    ) {
        let layout = &self.layout;
        for (key, dead) in waiting {
            let known = self.processes.remove(&key).unwrap_or_default();
            let leader = dead.leader.or(known.leader);
            let kept = leader.clone().filter(|_| !dead.complete);
            let mut record = process_record(leader, dead.last, layout);
            if let Some(mut view) = RecordMut::new(&mut record, layout) {
                view.set(Field::task_id, key.id);
                view.set(Field::ac_start_ns, key.start_ns);
            }
            let used_ns = known.done_ns + dead.used_ns;
            collected.records.push(with_use(record, layout, used_ns, dead.complete));
            if !dead.complete {
                let done_ns = known.done_ns + dead.done_ns;
                self.processes.insert(key, Process { done_ns, leader: kept });
            }
        }
    }
}

fn key_of(record: &[u8], layout: &Layout) -> TaskKey {
    let record = Record::new(record, layout, FieldSet::ALL);
    record.map_or_else(TaskKey::default, |record| TaskKey::of(&record))
}

/// The record with its task's CPU time. If the task is not gone yet, the record keeps its
/// state: it is reported again, and LastValues knows it by that.
fn with_use(mut record: Vec<u8>, layout: &Layout, used_ns: u64, is_final: bool) -> Vec<u8> {
    if let Some(mut view) = RecordMut::new(&mut record, layout) {
        view.set(Field::ac_sum_exec_ns, used_ns);
        if is_final {
            view.set(Field::state, u64::from(state::DEAD));
        }
    }
    record
}

fn add_use(row: &mut [u8], layout: &Layout, used_ns: u64, dead: Option<&Waiting>) {
    if let Some(mut view) = RecordMut::new(row, layout) {
        view.set(Field::ac_sum_exec_ns, used_ns + dead.map_or(0, |dead| dead.used_ns));
    }
}

/// The leader's record with the counters of the thread that died last, which holds
/// those of all that died before it.
fn process_record(leader: Option<Vec<u8>>, last: Option<Vec<u8>>, layout: &Layout) -> Vec<u8> {
    let (mut sum, last) = match (leader, last) {
        (Some(leader), Some(last)) => (leader, last),
        (one, other) => return one.or(other).expect("one thread at least has died"),
    };
    if let (Some(mut sum), Some(last)) =
        (RecordMut::new(&mut sum, layout), Record::new(&last, layout, FieldSet::ALL))
    {
        for field in layout.fields().difference(FieldSet::OF_PROCESS).iter() {
            if field.info().kind == Kind::Counter {
                let of_leader = sum.as_record(FieldSet::ALL).unsigned(field);
                sum.set(field, of_leader.unwrap_or(0) + last.unsigned(field).unwrap_or(0));
            }
        }
    }
    sum
}
