//! RecordBuffer of threads, and of the processes that they make up.
//!
//! Design decisions
//!
//! * A process's row is its leader's record with the sums of its threads, the dead ones
//!   too as far as the kernel has their sum. What it has not, is unknown in the rows of
//!   processes with dead threads.
//! * Rows are made in the memory that the kernel has written, where that holds all
//!   threads. Where it holds those that ran, the others' last records are kept here.

use std::collections::{BTreeMap, HashMap};

use precise_top_core::{Field, FieldSet, Kind, Layout, Record, RecordMut};

/// Counters that stand for the whole process in each thread's record.
const OF_PROCESS: FieldSet = FieldSet::of(&[
    Field::ac_cutime,
    Field::ac_cstime,
    Field::ac_csttime,
    Field::tg_utime,
    Field::tg_stime,
    Field::tg_sum_exec_ns,
]);
/// What else each thread's record says of its process: at the moment, and of its memory.
const MOMENT: FieldSet = FieldSet::of(&[Field::ac_time_ns, Field::ac_tgetime, Field::num_threads]);
const MEMORY: FieldSet =
    FieldSet::of(&[Field::rss_kb, Field::vm_kb, Field::hiwater_rss, Field::hiwater_vm]);
/// Sums of which the kernel tells the dead threads' part.
const WITH_THE_DEAD: FieldSet = FieldSet::of(&[
    Field::ac_utime,
    Field::ac_stime,
    Field::cpu_run_real_total,
    Field::cpu_run_virtual_total,
    Field::ac_sum_exec_ns,
]);

/// How threads' records become processes'.
pub(crate) struct Folding {
    layout: Layout,
    /// Counters that add up.
    summed: Vec<Field>,
    /// Those of which a process with dead threads lacks these threads' part. Steal time
    /// is none of them: the dead threads' goes on in `ac_csttime`.
    pub(crate) partial: FieldSet,
}

/// How many rows there are of which kind.
pub(crate) struct Rows {
    /// Per row, whether it is of a process with dead threads.
    pub(crate) with_dead_threads: Vec<bool>,
}

impl Folding {
    pub(crate) fn new(layout: &Layout) -> Folding {
        let counters = layout.fields().iter().filter(|field| field.info().kind == Kind::Counter);
        let summed: FieldSet = counters.collect::<FieldSet>().difference(OF_PROCESS);
        Folding {
            layout: layout.clone(),
            summed: summed.iter().collect(),
            partial: summed.difference(WITH_THE_DEAD).without(Field::ac_sttime),
        }
    }

    fn record<'a>(&'a self, bytes: &'a [u8]) -> Record<'a> {
        Record::new(bytes, &self.layout, FieldSet::ALL).expect("one record of the layout")
    }

    fn add(&self, sums: &mut [u64], thread: &Record<'_>) {
        for (sum, &field) in sums.iter_mut().zip(&self.summed) {
            *sum = sum.saturating_add(thread.unsigned(field).unwrap_or(0));
        }
    }

    /// Makes a leader's record its process's, given the sums over the other threads.
    /// Whether threads of it have died.
    fn finish(&self, leader: &mut [u8], others: Option<&[u64]>) -> bool {
        let record = self.record(leader);
        let dead_us = [record.tg_utime(), record.tg_stime()].map(Option::unwrap_or_default);
        let dead_ns = record.tg_sum_exec_ns().unwrap_or(0);
        let has_dead = dead_ns > 0 || dead_us != [0, 0];
        if !has_dead && others.is_none() {
            return false;
        }
        let mut sums = others.map_or_else(|| vec![0; self.summed.len()], <[u64]>::to_vec);
        self.add(&mut sums, &record);
        let mut row = RecordMut::new(leader, &self.layout).expect("one record of the layout");
        for (&field, &sum) in self.summed.iter().zip(&sums) {
            let dead = match field {
                Field::ac_utime => dead_us[0],
                Field::ac_stime => dead_us[1],
                Field::cpu_run_real_total => {
                    dead_us[0].saturating_add(dead_us[1]).saturating_mul(1000)
                }
                Field::cpu_run_virtual_total | Field::ac_sum_exec_ns => dead_ns,
                _ => 0,
            };
            row.set(field, sum.saturating_add(dead));
        }
        has_dead
    }

    /// Lays what a thread that ran tells of its process over the leader's last record,
    /// which is older where the leader slept.
    fn refresh(&self, leader: &mut [u8], thread: &Record<'_>) {
        let mut row = RecordMut::new(leader, &self.layout).expect("one record of the layout");
        let of_memory = thread.vm_kb().is_some_and(|kb| kb > 0);
        let memory = if of_memory { MEMORY } else { FieldSet::EMPTY };
        for field in OF_PROCESS.union(MOMENT).union(memory).iter() {
            row.set(field, thread.unsigned(field).unwrap_or(0));
        }
        row.set(Field::ac_etime, thread.ac_tgetime().unwrap_or(0));
    }

    /// Makes rows of processes of the records of all threads, in place.
    pub(crate) fn fold(&self, bytes: &mut [u8], count: usize) -> Rows {
        let size = self.layout.record_size();
        let mut others: HashMap<u32, Vec<u64>> = HashMap::new();
        for thread in bytes[..count * size].chunks_exact(size).map(|bytes| self.record(bytes)) {
            if let Some(tgid) = process_of_other(&thread) {
                let sums = others.entry(tgid).or_insert_with(|| vec![0; self.summed.len()]);
                self.add(sums, &thread);
            }
        }
        let mut rows = Rows { with_dead_threads: Vec::with_capacity(count) };
        for from in 0..count {
            let leader = self.record(&bytes[from * size..(from + 1) * size]);
            if process_of_other(&leader).is_some() {
                continue;
            }
            let pid = leader.ac_pid().unwrap_or(0);
            let to = rows.with_dead_threads.len();
            if to != from {
                bytes.copy_within(from * size..(from + 1) * size, to * size);
            }
            let row = &mut bytes[to * size..(to + 1) * size];
            rows.with_dead_threads.push(self.finish(row, others.get(&pid).map(Vec::as_slice)));
        }
        rows
    }
}

/// The process of a thread that is not its leader.
fn process_of_other(thread: &Record<'_>) -> Option<u32> {
    thread.ac_tgid().filter(|&tgid| Some(tgid) != thread.ac_pid())
}

/// The last records of all threads.
pub(crate) struct Threads {
    bytes: Vec<u8>,
    /// Where each thread's record is.
    index: HashMap<u32, usize>,
    /// The threads of each process, other than its leader.
    others: HashMap<u32, Vec<u32>>,
}

impl Threads {
    /// Begins with the records of all.
    pub(crate) fn new(folding: &Folding, records: &[u8]) -> Threads {
        let mut threads =
            Threads { bytes: Vec::new(), index: HashMap::new(), others: HashMap::new() };
        threads.take(folding, records);
        threads
    }

    fn at(&self, folding: &Folding, pid: u32) -> Option<&[u8]> {
        let size = folding.layout.record_size();
        self.index.get(&pid).map(|&at| &self.bytes[at * size..(at + 1) * size])
    }

    /// Whether, after these threads ran, every known one still lives. One that has gone
    /// is in no record: only in the number of the `living`, or where that is not told,
    /// in what its process or another one got. (Then what was never known counts as well.)
    pub(crate) fn all_live(
        &self,
        folding: &Folding,
        records: &[u8],
        living: Option<usize>,
    ) -> bool {
        let mut born = 0;
        for record in records.chunks_exact(folding.layout.record_size()) {
            let record = folding.record(record);
            let Some(known) = self.at(folding, record.ac_pid().unwrap_or(0)) else {
                born += 1;
                continue;
            };
            let known = folding.record(known);
            let another = known.task_id() != record.task_id();
            let got = |field| known.unsigned(field) != record.unsigned(field);
            if another || (living.is_none() && OF_PROCESS.iter().any(got)) {
                return false;
            }
        }
        living.is_none_or(|living| self.index.len() + born == living)
    }

    /// Takes in what ran.
    pub(crate) fn take(&mut self, folding: &Folding, records: &[u8]) {
        let size = folding.layout.record_size();
        for bytes in records.chunks_exact(size) {
            let record = folding.record(bytes);
            let pid = record.ac_pid().unwrap_or(0);
            if let Some(&at) = self.index.get(&pid) {
                self.bytes[at * size..(at + 1) * size].copy_from_slice(bytes);
                continue;
            }
            self.index.insert(pid, self.bytes.len() / size);
            self.bytes.extend_from_slice(bytes);
            if let Some(tgid) = process_of_other(&record) {
                self.others.entry(tgid).or_default().push(pid);
            }
        }
    }

    /// How many threads there are, or how many processes they are of.
    pub(crate) fn len(&self, threads: bool) -> usize {
        let others = if threads { 0 } else { self.others.values().map(Vec::len).sum() };
        self.index.len() - others
    }

    /// Appends to `rows` the rows of the processes that these threads, which ran and
    /// were taken in, are of.
    pub(crate) fn processes(&self, folding: &Folding, ran: &[u8], rows: &mut Vec<u8>) -> Rows {
        let size = folding.layout.record_size();
        let processes: BTreeMap<u32, Record<'_>> = ran
            .chunks_exact(size)
            .map(|bytes| folding.record(bytes))
            .filter_map(|thread| Some((thread.ac_tgid()?, thread)))
            .collect();
        let mut kinds = Rows { with_dead_threads: Vec::with_capacity(processes.len()) };
        for (tgid, thread) in processes {
            let Some(leader) = self.at(folding, tgid) else { continue };
            let sums = self.others.get(&tgid).map(|others| {
                let mut sums = vec![0; folding.summed.len()];
                for other in others.iter().filter_map(|&pid| self.at(folding, pid)) {
                    folding.add(&mut sums, &folding.record(other));
                }
                sums
            });
            let start = rows.len();
            rows.extend_from_slice(leader);
            folding.refresh(&mut rows[start..], &thread);
            kinds.with_dead_threads.push(folding.finish(&mut rows[start..], sums.as_deref()));
        }
        kinds
    }
}
