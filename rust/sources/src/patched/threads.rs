//! Makes rows of processes from the records of their threads.
//!
//! Design decisions
//!
//! * A process's row is its leader's record with the sums over its threads, the dead ones
//!   included as far as the kernel has their sum. Other counters are unknown in the rows of
//!   processes with dead threads.
//! * Rows are made in place where the records are of all threads. Where they are of changed
//!   threads, the last records of the others are kept here.

use std::collections::{BTreeMap, HashMap};

use precise_top_core::{Field, FieldSet, Kind, Layout, Record, RecordMut};
/// Other fields of the process in each thread's record: at the moment, and of its memory.
const MOMENT: FieldSet = FieldSet::of(&[Field::ac_time_ns, Field::ac_tgetime, Field::num_threads]);
const MEMORY: FieldSet =
    FieldSet::of(&[Field::rss_kb, Field::vm_kb, Field::hiwater_rss, Field::hiwater_vm]);
/// Sums of which the kernel has the dead threads' part.
const WITH_THE_DEAD: FieldSet = FieldSet::of(&[
    Field::ac_utime,
    Field::ac_stime,
    Field::cpu_run_real_total,
    Field::cpu_run_virtual_total,
    Field::ac_sum_exec_ns,
]);

/// Sums counters over the threads of a process.
pub(crate) struct ThreadSums {
    layout: Layout,
    /// Counters that are summed.
    summed: Vec<Field>,
    /// Counters that lack the dead threads' part. Steal time does not: that of dead threads
    /// is in `ac_csttime`.
    pub(crate) partial: FieldSet,
}

impl ThreadSums {
    pub(crate) fn new(layout: &Layout) -> ThreadSums {
        let counters = layout.fields().iter().filter(|field| field.info().kind == Kind::Counter);
        let summed: FieldSet = counters.collect::<FieldSet>().difference(FieldSet::OF_PROCESS);
        ThreadSums {
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

    /// Makes a process's row of its leader's record, with the sums over the other threads.
    /// Returns whether threads of it have died.
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

    /// Copies the process's fields of a changed thread to the leader's last record, which is
    /// older where the leader slept.
    fn refresh(&self, leader: &mut [u8], thread: &Record<'_>) {
        let mut row = RecordMut::new(leader, &self.layout).expect("one record of the layout");
        let of_memory = thread.vm_kb().is_some_and(|kb| kb > 0);
        let memory = if of_memory { MEMORY } else { FieldSet::EMPTY };
        for field in FieldSet::OF_PROCESS.union(MOMENT).union(memory).iter() {
            row.set(field, thread.unsigned(field).unwrap_or(0));
        }
        row.set(Field::ac_etime, thread.ac_tgetime().unwrap_or(0));
    }

    /// Makes rows of processes of the records of all threads, in place. Returns for each row
    /// whether threads of the process have died.
    pub(crate) fn make_processes(&self, bytes: &mut [u8], count: usize) -> Vec<bool> {
        let size = self.layout.record_size();
        let mut others: HashMap<u32, Vec<u64>> = HashMap::new();
        for thread in bytes[..count * size].chunks_exact(size).map(|bytes| self.record(bytes)) {
            if let Some(tgid) = process_of_other(&thread) {
                let sums = others.entry(tgid).or_insert_with(|| vec![0; self.summed.len()]);
                self.add(sums, &thread);
            }
        }
        let mut with_dead_threads = Vec::with_capacity(count);
        for from in 0..count {
            let leader = self.record(&bytes[from * size..(from + 1) * size]);
            if process_of_other(&leader).is_some() {
                continue;
            }
            let pid = leader.ac_pid().unwrap_or(0);
            let to = with_dead_threads.len();
            if to != from {
                bytes.copy_within(from * size..(from + 1) * size, to * size);
            }
            let row = &mut bytes[to * size..(to + 1) * size];
            with_dead_threads.push(self.finish(row, others.get(&pid).map(Vec::as_slice)));
        }
        with_dead_threads
    }
}

/// The process of a thread that is not its leader.
fn process_of_other(thread: &Record<'_>) -> Option<u32> {
    thread.ac_tgid().filter(|&tgid| Some(tgid) != thread.ac_pid())
}

/// The last records of all threads.
pub(crate) struct Threads {
    bytes: Vec<u8>,
    /// The index of each thread's record.
    index: HashMap<u32, usize>,
    /// The threads of each process, other than its leader.
    others: HashMap<u32, Vec<u32>>,
}

impl Threads {
    /// Starts with the records of all threads.
    pub(crate) fn new(sums: &ThreadSums, records: &[u8]) -> Threads {
        let mut threads =
            Threads { bytes: Vec::new(), index: HashMap::new(), others: HashMap::new() };
        threads.update(sums, records);
        threads
    }

    fn at(&self, sums: &ThreadSums, pid: u32) -> Option<&[u8]> {
        let size = sums.layout.record_size();
        self.index.get(&pid).map(|&at| &self.bytes[at * size..(at + 1) * size])
    }

    /// Returns whether all known threads still live, given the records of changed ones. A
    /// dead one shows in the number of the `living`; where that is unknown, in the counters
    /// of its process or parent. (Threads that were never known count there as well.)
    pub(crate) fn all_live(
        &self,
        sums: &ThreadSums,
        records: &[u8],
        living: Option<usize>,
    ) -> bool {
        let mut born = 0;
        for record in records.chunks_exact(sums.layout.record_size()) {
            let record = sums.record(record);
            let Some(known) = self.at(sums, record.ac_pid().unwrap_or(0)) else {
                born += 1;
                continue;
            };
            let known = sums.record(known);
            let another = known.task_id() != record.task_id();
            let grew = |field| known.unsigned(field) != record.unsigned(field);
            if another || (living.is_none() && FieldSet::OF_PROCESS.iter().any(grew)) {
                return false;
            }
        }
        living.is_none_or(|living| self.index.len() + born == living)
    }

    /// Merges the records of changed threads.
    pub(crate) fn update(&mut self, sums: &ThreadSums, records: &[u8]) {
        let size = sums.layout.record_size();
        for bytes in records.chunks_exact(size) {
            let record = sums.record(bytes);
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

    /// The number of threads, or of their processes.
    pub(crate) fn len(&self, threads: bool) -> usize {
        let others = if threads { 0 } else { self.others.values().map(Vec::len).sum() };
        self.index.len() - others
    }

    /// Appends to `rows` the rows of the processes of these changed threads, whose records
    /// are known. Returns for each row whether threads of the process have died.
    pub(crate) fn append_processes(
        &self,
        sums: &ThreadSums,
        ran: &[u8],
        rows: &mut Vec<u8>,
    ) -> Vec<bool> {
        let size = sums.layout.record_size();
        let processes: BTreeMap<u32, Record<'_>> = ran
            .chunks_exact(size)
            .map(|bytes| sums.record(bytes))
            .filter_map(|thread| Some((thread.ac_tgid()?, thread)))
            .collect();
        let mut with_dead_threads = Vec::with_capacity(processes.len());
        for (tgid, thread) in processes {
            let Some(leader) = self.at(sums, tgid) else { continue };
            let of_others = self.others.get(&tgid).map(|others| {
                let mut total = vec![0; sums.summed.len()];
                for other in others.iter().filter_map(|&pid| self.at(sums, pid)) {
                    sums.add(&mut total, &sums.record(other));
                }
                total
            });
            let start = rows.len();
            rows.extend_from_slice(leader);
            sums.refresh(&mut rows[start..], &thread);
            with_dead_threads.push(sums.finish(&mut rows[start..], of_others.as_deref()));
        }
        with_dead_threads
    }
}
