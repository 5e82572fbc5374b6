//! Assembles snapshots from the records of all threads at one instant, which a kernel with
//! this project's series writes: over /proc/taskstats or netlink.
//!
//! Design decisions
//!
//! * The kernel writes its records into memory that is used again once nobody holds its
//!   snapshot. Rows of processes are made in place.
//! * Dead tasks have no records. Their time is in the counters of their processes and
//!   parents, up to the last switch, and intervals take it from there.
//! * Counters that the kernel does not sum over dead threads are unknown in the rows of
//!   processes that have some. I/O and page faults come from procfs there, but only where
//!   they are asked for by name.
//! * Among changed tasks, a death shows only in the number of living tasks, or in the
//!   counters of the parent or process. All tasks are read then.

use std::path::Path;
use std::sync::Arc;

use precise_top_core::interval::{LastValues, Unchanged};
use precise_top_core::{
    Field, FieldSet, FieldStatus, Flags, Header, Layout, Record, RecordMut, SharedBytes, Snapshot,
};

use super::threads::{ThreadSums, Threads};
use crate::errors::Error;
use crate::host::{self, Host};
use crate::netlink::fields::off_fields;
use crate::procfs::reader::{IO, Reader};
use crate::source::Request;

/// Fields of a whole process that procfs has, and the kernel's records do not.
const FROM_PROCFS: FieldSet = IO.union(FieldSet::of(&[Field::ac_minflt, Field::ac_majflt]));
/// Largest number of buffers that are kept to be used again.
const KEPT_BUFFERS: usize = 4;

/// Makes snapshots of the kernel's records.
pub(crate) struct Assembler {
    reader: Reader,
    /// The caller's process.
    pid: u32,
    layout: Layout,
    sums: ThreadSums,
    buffers: Vec<Arc<Vec<u8>>>,
    has_cgroups: bool,
    /// The state after the last snapshot, while snapshots are of changed tasks.
    last: Option<Last>,
}

/// Completes a snapshot of changed tasks.
struct Last {
    values: Arc<LastValues>,
    threads: Threads,
    /// The instant of the last snapshot, CLOCK_MONOTONIC.
    mono_ns: u64,
    /// That of the last one for which all threads were read.
    all_read_ns: u64,
}

/// How often all threads are read, also those that did not run: their memory, cgroup and priority
/// may have changed.
const READ_ALL_EVERY_NS: u64 = 60_000_000_000;

/// The outcome of a fetch into a buffer.
pub(crate) struct Fetched {
    /// Number of records.
    pub(crate) count: usize,
    /// Number of unchanged threads, where the kernel reports it.
    pub(crate) unchanged: Option<u32>,
    /// The instant, CLOCK_MONOTONIC.
    pub(crate) mono_ns: u64,
    /// Number of system calls.
    pub(crate) syscalls: u32,
}

/// A buffer of records.
struct Records {
    buffer: Arc<Vec<u8>>,
    fetched: Fetched,
}

/// Fields that rows have.
struct RowFields {
    /// Of any row.
    all: FieldSet,
    /// Of the row of a process with dead threads.
    with_dead_threads: FieldSet,
    /// Of none: the kernel lacks them.
    unsupported: FieldSet,
}

impl Assembler {
    pub(crate) fn new(host: &Host, layout: Layout) -> Result<Assembler, Error> {
        Ok(Assembler {
            reader: Reader::new(host)?,
            pid: std::process::id(),
            sums: ThreadSums::new(&layout),
            layout,
            buffers: Vec::new(),
            has_cgroups: Path::new("/proc/self/cgroup").exists(),
            last: None,
        })
    }

    /// The tasks that the last snapshot left out as unchanged.
    pub(crate) fn unchanged(&self) -> Option<Unchanged> {
        self.last.as_ref().map(|last| last.values.unchanged())
    }

    /// Takes a snapshot. `fetch` has the kernel write records into a buffer: those of the
    /// threads that ran since an instant, or with 0 all. `header` makes the header from the
    /// other outcome of the last fetch.
    pub(crate) fn snapshot<T>(
        &mut self,
        request: &Request,
        mut fetch: impl FnMut(&mut Vec<u8>, u64) -> Result<(Fetched, T), Error>,
        header: impl FnOnce(T) -> Header,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        let size = self.layout.record_size();
        let last = self
            .last
            .take()
            .filter(|last| request.changed && last.values.is_for(request.threads, request.fields));
        let now_ns = host::now().monotonic_ns;
        let is_due = |last: &Last| now_ns.saturating_sub(last.all_read_ns) >= READ_ALL_EVERY_NS;
        let recent = last.as_ref().filter(|last| !is_due(last));
        let since_ns = recent.map_or(0, |last| last.mono_ns);
        let (mut records, mut outcome) = self.fetch(&mut fetch, since_ns)?;
        let changed = recent.is_some_and(|last| self.all_live(last, &records));
        if recent.is_some() && !changed {
            let syscalls = records.fetched.syscalls;
            self.buffers.push(records.buffer);
            (records, outcome) = self.fetch(&mut fetch, 0)?;
            records.fetched.syscalls += syscalls;
        }
        let bytes = &records.buffer[..records.fetched.count * size];
        let mono_ns = records.fetched.mono_ns;
        let before_ns = last.as_ref().map_or(mono_ns, |last| last.all_read_ns);
        let all_read_ns = if changed { before_ns } else { mono_ns };
        let (values, threads) = match last {
            None => (None, request.changed.then(|| Threads::new(&self.sums, bytes))),
            Some(Last { values, .. }) if !changed => {
                (Some(values), Some(Threads::new(&self.sums, bytes)))
            }
            Some(Last { values, mut threads, .. }) => {
                threads.update(&self.sums, bytes);
                (Some(values), Some(threads))
            }
        };
        let known = threads.as_ref().filter(|_| changed);
        let snapshot = self.rows(request, header(outcome), records, known)?;
        let base = values.as_ref().map(|values| {
            // Where a task has died, the earlier values of all are needed.
            if changed { values.values_before(&snapshot) } else { values.all() }
        });
        let base = base.transpose()?;
        let values = match values {
            Some(mut values) if changed => {
                Arc::make_mut(&mut values).merge(&snapshot);
                values
            }
            _ if request.changed => {
                Arc::new(LastValues::new(&snapshot, request.threads, request.fields))
            }
            _ => return Ok(snapshot),
        };
        self.last = threads.map(|threads| Last { values, threads, mono_ns, all_read_ns });
        Ok(match base {
            Some(base) => snapshot.with_base(Arc::new(base)),
            None => snapshot,
        })
    }

    fn fetch<T>(
        &mut self,
        fetch: &mut impl FnMut(&mut Vec<u8>, u64) -> Result<(Fetched, T), Error>,
        since_ns: u64,
    ) -> Result<(Records, T), Error> {
        let mut buffer = self.buffer();
        let bytes = Arc::get_mut(&mut buffer).expect("nobody else has a free buffer");
        let (fetched, outcome) = fetch(bytes, since_ns)?;
        Ok((Records { buffer, fetched }, outcome))
    }

    /// Whether no task has died between the last snapshot and these records of changed tasks.
    fn all_live(&self, last: &Last, records: &Records) -> bool {
        let Fetched { count, unchanged, .. } = records.fetched;
        let living = unchanged.map(|unchanged| count + unchanged as usize);
        let bytes = &records.buffer[..count * self.layout.record_size()];
        last.threads.all_live(&self.sums, bytes, living)
    }

    /// Memory of a snapshot that nobody holds any more, or new memory.
    fn buffer(&mut self) -> Arc<Vec<u8>> {
        let free = self.buffers.iter_mut().position(|buffer| Arc::get_mut(buffer).is_some());
        free.map_or_else(Arc::default, |at| self.buffers.swap_remove(at))
    }

    /// Shares a buffer, and keeps it to be used again.
    fn share(&mut self, buffer: Arc<Vec<u8>>) -> SharedBytes {
        if self.buffers.len() < KEPT_BUFFERS {
            self.buffers.push(Arc::clone(&buffer));
        }
        SharedBytes::from_arc(buffer)
    }

    fn row_fields(&self, header: &Header) -> RowFields {
        let mut unsupported = FieldSet::EMPTY;
        if !self.has_cgroups {
            unsupported = unsupported.with(Field::cgroup_id);
        }
        if !header.threads() {
            // A leader's is not its process's: an exec gives the lead to another thread.
            unsupported = unsupported.with(Field::task_id);
        }
        let off = off_fields(header.flags.contains(Flags::DELAYACCT));
        let all = self.layout.fields().difference(unsupported).difference(off);
        RowFields { all, with_dead_threads: all.difference(self.sums.partial), unsupported }
    }

    /// Makes the snapshot of these records. Where they are of changed threads, `known` has
    /// the records of the others.
    fn rows(
        &mut self,
        request: &Request,
        mut header: Header,
        mut records: Records,
        known: Option<&Threads>,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        header.flags = header
            .flags
            .with(Flags::THREADS, request.threads)
            .with(Flags::ONE_INSTANT, true)
            .with(Flags::WITHOUT_UNCHANGED, known.is_some());
        header.syscalls += records.fetched.syscalls;
        let mut with_dead_threads = Vec::new();
        let mut count = records.fetched.count;
        if !header.threads() {
            with_dead_threads = self.make_processes(&mut records, known);
            count = with_dead_threads.len();
        }
        let all = known.map_or(count, |known| known.len(header.threads()));
        header.unchanged = (all - count) as u32;
        let end = count * self.layout.record_size();
        header.own_cpu_ns = self.own_cpu_ns(&records.buffer[..end], header.threads());
        let fields = self.row_fields(&header);
        header.set_status(self.layout.fields(), FieldStatus::Off);
        header.set_status(fields.unsupported, FieldStatus::Unsupported);
        header.set_status(fields.all, FieldStatus::Filled);
        header.masks = vec![fields.all];
        if with_dead_threads.contains(&true) {
            let bytes = Arc::get_mut(&mut records.buffer).expect("only just filled");
            self.mark_rows(request, &mut header, bytes, &with_dead_threads, &fields);
        }
        let bytes = self.share(records.buffer);
        Ok(Snapshot::new(header, self.layout.clone(), bytes, 0..end, end..end + count)?)
    }

    /// Replaces the records of threads by rows of processes. Returns for each row whether
    /// threads of the process have died.
    fn make_processes(&mut self, records: &mut Records, known: Option<&Threads>) -> Vec<bool> {
        let count = records.fetched.count;
        let Some(known) = known else {
            let bytes = Arc::get_mut(&mut records.buffer).expect("only just filled");
            return self.sums.make_processes(bytes, count);
        };
        let mut rows = self.buffer();
        let bytes = Arc::get_mut(&mut rows).expect("nobody else has a free buffer");
        bytes.clear();
        let ran = &records.buffer[..count * self.layout.record_size()];
        let with_dead_threads = known.append_processes(&self.sums, ran, bytes);
        self.buffers.push(std::mem::replace(&mut records.buffer, rows));
        with_dead_threads
    }

    /// The CPU time of the caller's process in these records.
    fn own_cpu_ns(&self, records: &[u8], threads: bool) -> u64 {
        records
            .chunks_exact(self.layout.record_size())
            .filter_map(|bytes| Record::new(bytes, &self.layout, FieldSet::ALL))
            .filter(|record| record.ac_tgid() == Some(self.pid))
            .map(|record| own_ns(&record, threads))
            .sum()
    }

    /// Writes the masks of rows where processes with dead threads have fewer fields, and
    /// completes these rows from procfs where fields are asked for by name.
    fn mark_rows(
        &mut self,
        request: &Request,
        header: &mut Header,
        bytes: &mut Vec<u8>,
        with_dead_threads: &[bool],
        fields: &RowFields,
    ) {
        /// Indices among the header's masks; 0 has all fields.
        const PARTIAL: u8 = 1;
        const COMPLETED: u8 = 2;
        let size = self.layout.record_size();
        let end = with_dead_threads.len() * size;
        let indices = end..end + with_dead_threads.len();
        if bytes.len() < indices.end {
            bytes.resize(indices.end, 0);
        }
        header.masks.push(fields.with_dead_threads);
        for (index, &partial) in bytes[indices.clone()].iter_mut().zip(with_dead_threads) {
            *index = if partial { PARTIAL } else { 0 };
        }
        let wanted = FROM_PROCFS.intersection(request.fields);
        if request.fields == FieldSet::ALL || wanted.is_empty() {
            return;
        }
        header.masks.push(fields.with_dead_threads.union(wanted));
        let (records, indices) = bytes[..indices.end].split_at_mut(end);
        for (record, index) in records.chunks_exact_mut(size).zip(indices) {
            if *index == PARTIAL && self.copy_from_procfs(record, wanted) {
                *index = COMPLETED;
            }
        }
        header.syscalls += std::mem::take(&mut self.reader.syscalls);
    }

    /// Copies the wanted fields of a process from procfs to its row. Returns whether all are
    /// there.
    fn copy_from_procfs(&mut self, row: &mut [u8], wanted: FieldSet) -> bool {
        let mut scratch = vec![0; row.len()];
        let (Some(mut found), Some(mut row)) =
            (RecordMut::new(&mut scratch, &self.layout), RecordMut::new(row, &self.layout))
        else {
            return false;
        };
        let Some(pid) = row.as_record(FieldSet::ALL).ac_pid() else { return false };
        let filled = self.reader.fill(&mut found, pid, None, wanted).unwrap_or_default();
        if filled.intersection(wanted) != wanted {
            return false;
        }
        for field in wanted.iter() {
            row.set(field, found.as_record(wanted).unsigned(field).unwrap_or(0));
        }
        true
    }
}

/// The CPU time of the caller's process in one of its records.
fn own_ns(record: &Record<'_>, threads: bool) -> u64 {
    let counts_dead = threads && record.ac_pid() == record.ac_tgid();
    let dead_ns = record.tg_sum_exec_ns().filter(|_| counts_dead).unwrap_or(0);
    record.ac_sum_exec_ns().unwrap_or(0).saturating_add(dead_ns)
}
