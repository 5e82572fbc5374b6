//! Tasks that die: what they had used, to the last nanosecond.
//!
//! Design decisions
//!
//! * A task claims a slot when it exits, and its last switch writes the final value
//!   there (bpf/taskstats.bpf.c). A run writes what each had used at its instant.
//! * A task stays in the walk until it is reaped or released. It counts from the
//!   moment the walk no longer meets it, so that no time is counted twice or lost. The
//!   slot is free for another as soon as the final value was read: a parent that never
//!   waits costs memory here, not slots.
//! * In process mode what a dead thread used goes to its process's row; a process
//!   without a row becomes a record of its own.
//! * The kernel's own sums of dead threads lack their last microseconds, so that they
//!   serve for threads only that died before anyone watched.

use std::collections::{HashMap, HashSet};
use std::mem::{offset_of, size_of};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use taskstats_core::layout::Kind;
use taskstats_core::{Field, FieldSet, Layout, Record, RecordMut};

use crate::sys::bpf;
use crate::sys::shared::{Control, Mapping, SlotWords};

/// Exits that may wait for a snapshot; a power of two.
pub(crate) const SLOTS: usize = 16384;

/// SLOT_* of bpf/record.h.
const FREE: u64 = 0;
const DEAD: u64 = 2;

/// EXIT_DEAD (include/linux/sched.h), where exit_state stands.
const EXIT_DEAD: u64 = 0x10 << 16;

/// Bytes of a slot with a record.
pub(crate) fn slot_size(layout: &Layout) -> usize {
    size_of::<SlotWords>() + layout.record_size()
}

/// Fields that cannot be had once a task's memory is gone.
pub(crate) const GONE: FieldSet = FieldSet::of(&[
    Field::rss_kb,
    Field::vm_kb,
    Field::hiwater_vm,
    Field::ac_exe_dev,
    Field::ac_exe_inode,
]);

/// A row's task_id and ac_start_ns: the first alone may soon be another's.
type Key = (u64, u64);

/// What is known of a process's dead threads.
#[derive(Default)]
struct Process {
    /// Final values of those whose slots were freed.
    done_ns: u64,
    /// The leader's record at its exit.
    leader: Option<Vec<u8>>,
}

/// A task that is dead: its last word, out of its slot.
struct Dead {
    words: SlotWords,
    record: Vec<u8>,
}

/// The exit slots.
pub(crate) struct Exits {
    slots: Mapping,
    slot_of: OwnedFd,
    layout: Layout,
    /// Slots from this one on are in use, up to where the programs are.
    tail: u64,
    /// Dead tasks that the walk may still meet.
    pending: Vec<Dead>,
    threads: bool,
    /// Whether no snapshot was taken yet: what died before it is no part of any interval.
    first: bool,
    processes: HashMap<Key, Process>,
    outside_ns: u64,
}

/// What a snapshot gets from the slots.
#[derive(Default)]
pub(crate) struct Collected {
    /// Records of the tasks that died, with what they had used at the instant.
    pub(crate) records: Vec<Vec<u8>>,
    /// Use of dead tasks outside the taker's pid namespace.
    pub(crate) outside_ns: u64,
}

/// One process's dead threads that are in no row yet.
#[derive(Default)]
struct Waiting {
    used_ns: u64,
    done_ns: u64,
    last: Vec<u8>,
    leader: Option<Vec<u8>>,
    complete: bool,
}

impl Exits {
    pub(crate) fn new(slots: Mapping, slot_of: OwnedFd, layout: &Layout) -> Exits {
        Exits {
            slots,
            slot_of,
            layout: layout.clone(),
            tail: 0,
            pending: Vec::new(),
            threads: false,
            first: true,
            processes: HashMap::new(),
            outside_ns: 0,
        }
    }

    /// Begins anew: what has died so far is forgotten.
    pub(crate) fn reset(&mut self, head: u64, threads: bool) {
        for number in self.used(head) {
            if self.words(number).state == DEAD {
                self.free(number);
            }
        }
        self.pending.clear();
        self.threads = threads;
        self.first = true;
        self.processes.clear();
        self.outside_ns = 0;
    }

    /// Whether the slots' values are of thread rows.
    pub(crate) fn is_for_threads(&self) -> bool {
        self.threads
    }

    /// The slots that may be in use. A task that takes long to die keeps its slot;
    /// the programs pass over it when they come around.
    fn used(&mut self, head: u64) -> Range<u64> {
        self.tail = self.tail.max(head.saturating_sub(SLOTS as u64));
        while self.tail < head && self.words(self.tail).state == FREE {
            self.tail += 1;
        }
        self.tail..head
    }

    /// The first slot that may be in use.
    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    fn at(&self, number: u64) -> usize {
        (number as usize & (SLOTS - 1)) * slot_size(&self.layout)
    }

    fn words(&self, number: u64) -> SlotWords {
        self.slots.read(self.at(number))
    }

    fn record(&self, number: u64) -> Vec<u8> {
        let mut bytes = vec![0; self.layout.record_size()];
        self.slots.copy(self.at(number) + size_of::<SlotWords>(), &mut bytes);
        bytes
    }

    fn free(&self, number: u64) {
        let words = self.words(number);
        if words.ptraced != 0 {
            // The one kind whose entry the programs leave (it fails for a leader's).
            let _ = bpf::delete_element(self.slot_of.as_fd(), words.task);
        }
        self.slots.write(self.at(number) + offset_of!(SlotWords, state), FREE);
    }

    /// Takes the dead out of their slots, so that others may die; no system call.
    pub(crate) fn drain(&mut self, head: u64) {
        for number in self.used(head) {
            let words = self.words(number);
            // Of a traced thread only its slot tells whether the walk meets it.
            let stays = words.ptraced != 0 && words.leader == 0;
            if words.state == DEAD && !stays {
                self.pending.push(Dead { words, record: self.record(number) });
                self.free(number);
            }
        }
    }

    /// Brings the rows of a run up to the exits, and gives those that have no row.
    pub(crate) fn collect(&mut self, run: &Control, rows: &mut [u8]) -> Collected {
        let mut collected = Collected::default();
        let mut waiting: HashMap<Key, Waiting> = HashMap::new();
        // A task that died while the run lasted has had a part of its time after it:
        // that is for the next run, so its slot stays.
        let mut partial = Vec::new();
        for number in self.used(run.exits) {
            let words = self.words(number);
            if words.state == DEAD && words.died_ns < run.t0_ns {
                let traced = words.ptraced != 0 && words.leader == 0;
                if traced && words.met == run.serial {
                    continue;
                }
                self.pending.push(Dead { words, record: self.record(number) });
                self.free(number);
            } else if words.serial == run.serial && words.met != run.serial {
                partial.push(Dead { words, record: self.record(number) });
            }
        }
        if self.first {
            self.pending.clear();
        }
        let zombies = if self.pending.is_empty() && partial.is_empty() {
            HashSet::new()
        } else {
            zombies(rows, &self.layout)
        };
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain(|dead| {
            let in_row = self.is_in_row(dead, &zombies);
            if !in_row {
                self.count(dead, Some(dead.words.end), &mut waiting, &mut collected);
            }
            in_row
        });
        self.pending = pending;
        for dead in partial {
            if !self.is_in_row(&dead, &zombies) {
                self.count(&dead, None, &mut waiting, &mut collected);
            }
        }
        if !self.threads {
            self.add_to_rows(&mut waiting, rows);
            self.make_records(waiting, &mut collected);
        }
        self.first = false;
        collected.outside_ns += self.outside_ns;
        collected
    }

    /// Whether a dead task is a row of the run, because nobody has waited for it yet.
    fn is_in_row(&self, dead: &Dead, zombies: &HashSet<Key>) -> bool {
        if self.threads {
            return zombies.contains(&key_of(&dead.record, &self.layout));
        }
        dead.words.leader != 0
            && zombies.contains(&(dead.words.process_id, dead.words.process_start))
    }

    /// Counts a task that is in no row; `end` is its final value where it has one.
    fn count(
        &mut self,
        dead: &Dead,
        end: Option<u64>,
        waiting: &mut HashMap<Key, Waiting>,
        collected: &mut Collected,
    ) {
        let words = &dead.words;
        let used = end.unwrap_or(words.used);
        let done_ns = end.unwrap_or(0);
        if words.outside != 0 {
            collected.outside_ns += used - done_ns;
            self.outside_ns += done_ns;
            return;
        }
        if self.threads {
            collected.records.push(with_use(dead.record.clone(), &self.layout, used));
            return;
        }
        let waiting = waiting
            .entry((words.process_id, words.process_start))
            .or_insert_with(|| Waiting { complete: true, ..Waiting::default() });
        waiting.used_ns += used;
        waiting.done_ns += done_ns;
        waiting.complete &= end.is_some();
        if words.leader != 0 {
            waiting.leader = Some(dead.record.clone());
        }
        waiting.last.clone_from(&dead.record);
    }

    /// Adds what dead threads used to the rows of their processes.
    fn add_to_rows(&mut self, waiting: &mut HashMap<Key, Waiting>, rows: &mut [u8]) {
        let layout = self.layout.clone();
        let layout = &layout;
        let mut seen = HashSet::new();
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
        self.processes.retain(|key, _| seen.contains(key) || waiting.contains_key(key));
    }

    /// Makes records of the processes that have no row any more.
    fn make_records(&mut self, waiting: HashMap<Key, Waiting>, collected: &mut Collected) {
        let layout = self.layout.clone();
        let layout = &layout;
        for (key, dead) in waiting {
            let process = self.processes.entry(key).or_default();
            let used_ns = process.done_ns + dead.used_ns;
            process.done_ns += dead.done_ns;
            if dead.leader.is_some() {
                process.leader = dead.leader;
            }
            let mut record = process_record(process.leader.as_deref(), &dead.last, layout);
            if let Some(mut view) = RecordMut::new(&mut record, layout) {
                view.set(Field::task_id, key.0);
                view.set(Field::ac_start_ns, key.1);
            }
            collected.records.push(with_use(record, layout, used_ns));
            if dead.complete {
                self.processes.remove(&key);
            }
        }
    }
}

/// The rows of dead tasks that nobody has waited for.
fn zombies(rows: &[u8], layout: &Layout) -> HashSet<Key> {
    let is_dead = |row: &&[u8]| {
        Record::new(row, layout, FieldSet::ALL)
            .and_then(|record| record.state())
            .is_some_and(|state| state >> 16 != 0)
    };
    let rows = rows.chunks_exact(layout.record_size());
    rows.filter(is_dead).map(|row| key_of(row, layout)).collect()
}

fn key_of(record: &[u8], layout: &Layout) -> Key {
    let Some(record) = Record::new(record, layout, FieldSet::ALL) else { return (0, 0) };
    (record.task_id().unwrap_or(0), record.ac_start_ns().unwrap_or(0))
}

fn with_use(mut record: Vec<u8>, layout: &Layout, used_ns: u64) -> Vec<u8> {
    if let Some(mut view) = RecordMut::new(&mut record, layout) {
        view.set(Field::ac_sum_exec_ns, used_ns);
        view.set(Field::state, EXIT_DEAD);
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
fn process_record(leader: Option<&[u8]>, last: &[u8], layout: &Layout) -> Vec<u8> {
    let Some(leader) = leader else { return last.to_vec() };
    if key_of(leader, layout) == key_of(last, layout) {
        return last.to_vec();
    }
    let mut sum = leader.to_vec();
    let (Some(leader), Some(last)) =
        (Record::new(leader, layout, FieldSet::ALL), Record::new(last, layout, FieldSet::ALL))
    else {
        return sum;
    };
    let Some(mut view) = RecordMut::new(&mut sum, layout) else { return leader.bytes().to_vec() };
    for field in layout.fields().iter().filter(|field| field.info().kind == Kind::Counter) {
        if OF_PROCESS.contains(field) {
            continue;
        }
        let both = leader.unsigned(field).unwrap_or(0) + last.unsigned(field).unwrap_or(0);
        view.set(field, both);
    }
    sum
}

/// Counters that every thread's record holds for the whole process.
const OF_PROCESS: FieldSet = FieldSet::of(&[
    Field::ac_cutime,
    Field::ac_cstime,
    Field::ac_csttime,
    Field::tg_utime,
    Field::tg_stime,
    Field::tg_sum_exec_ns,
]);
