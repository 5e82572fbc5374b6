//! Snapshots made of the records of all threads at one instant, as a kernel with this
//! project's series gives them: over /proc/taskstats or netlink.
//!
//! Design decisions
//!
//! * The kernel's records are fetched into memory that is used again as soon as nobody
//!   holds the snapshot that it was of, and rows of processes are made there.
//! * The dead have no records. What they used is in their processes' and their parents'
//!   counters, to the last switch, and intervals take it from there.
//! * What the kernel does not sum over dead threads is unknown in the rows of processes
//!   that have some. I/O and page faults come from procfs there, but only where they are
//!   asked for by name.
//! * Of what ran since, a task that has died is only known by the number of those that
//!   live, or by what its parent or process got. Then all are read as well.

use std::path::Path;
use std::sync::Arc;

use precise_top_core::interval::{LastValues, Unchanged};
use precise_top_core::{
    Field, FieldSet, FieldStatus, Flags, Header, Layout, Record, RecordMut, SharedBytes, Snapshot,
};

use super::threads::{Folding, Threads};
use crate::errors::Error;
use crate::host::Host;
use crate::netlink::fields::off_fields;
use crate::procfs::reader::Reader;
use crate::source::Request;

/// What procfs tells of a whole process and PIDS does not.
const FROM_PROCFS: FieldSet = FieldSet::of(&[
    Field::ac_minflt,
    Field::ac_majflt,
    Field::read_char,
    Field::write_char,
    Field::read_syscalls,
    Field::write_syscalls,
    Field::read_bytes,
    Field::write_bytes,
    Field::cancelled_write_bytes,
]);
/// Buffers that are kept to be used again.
const KEPT_BUFFERS: usize = 4;

/// Makes snapshots of what a kernel brings.
pub(crate) struct Assembler {
    reader: Reader,
    /// The caller's.
    pid: u32,
    layout: Layout,
    folding: Folding,
    buffers: Vec<Arc<Vec<u8>>>,
    has_cgroups: bool,
    /// All tasks' last values, while snapshots are of what ran since.
    since: Option<Since>,
}

/// What snapshots of what ran since are completed with.
struct Since {
    rows: LastValues,
    threads: Threads,
    /// The instant of the last snapshot, CLOCK_MONOTONIC.
    mono_ns: u64,
}

/// What the kernel has fetched into the buffer.
pub(crate) struct Fetched {
    /// RecordBuffer.
    pub(crate) count: usize,
    /// Threads that did not run since, where the kernel tells.
    pub(crate) unchanged: Option<u32>,
    /// The instant, CLOCK_MONOTONIC.
    pub(crate) mono_ns: u64,
    /// System calls that it took.
    pub(crate) syscalls: u32,
}

struct Taken {
    buffer: Arc<Vec<u8>>,
    fetched: Fetched,
}

impl Assembler {
    pub(crate) fn new(host: &Host, layout: Layout) -> Result<Assembler, Error> {
        Ok(Assembler {
            reader: Reader::new(host)?,
            pid: std::process::id(),
            folding: Folding::new(&layout),
            layout,
            buffers: Vec::new(),
            has_cgroups: Path::new("/proc/self/cgroup").exists(),
            since: None,
        })
    }

    /// The tasks that did not run before the last snapshot, where that is of what ran.
    pub(crate) fn unchanged(&self) -> Option<Unchanged<'_>> {
        self.since.as_ref().map(|since| since.rows.unchanged())
    }

    /// Takes a snapshot. `fetch` has the kernel write the records of threads into a
    /// buffer, of those that ran since an instant or with 0 of all; `header` makes the
    /// header that goes with what it gave.
    pub(crate) fn snapshot<T>(
        &mut self,
        request: &Request,
        mut fetch: impl FnMut(&mut Vec<u8>, u64) -> Result<(Fetched, T), Error>,
        header: impl FnOnce(T) -> Header,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        let size = self.layout.record_size();
        let mut take = |assembler: &mut Assembler, since| {
            let mut shared = assembler.buffer();
            let buffer = Arc::get_mut(&mut shared).expect("nobody else has a free buffer");
            let (fetched, told) = fetch(buffer, since)?;
            Ok::<_, Error>((Taken { buffer: shared, fetched }, told))
        };
        let known =
            self.since.take().filter(|since| since.rows.is_for(request.threads, request.fields));
        let known = known.filter(|_| request.changed);
        let (mut taken, mut told) = take(self, known.as_ref().map_or(0, |known| known.mono_ns))?;
        let changed = known.as_ref().is_some_and(|known| {
            let Fetched { count, unchanged, .. } = taken.fetched;
            let living = unchanged.map(|unchanged| count + unchanged as usize);
            known.threads.all_live(&self.folding, &taken.buffer[..count * size], living)
        });
        if known.is_some() && !changed {
            let syscalls = taken.fetched.syscalls;
            self.buffers.push(taken.buffer);
            (taken, told) = take(self, 0)?;
            taken.fetched.syscalls += syscalls;
        }
        let records = &taken.buffer[..taken.fetched.count * size];
        let (rows, threads) = match known {
            None => (None, request.changed.then(|| Threads::new(&self.folding, records))),
            Some(Since { rows, .. }) if !changed => {
                (Some(rows), Some(Threads::new(&self.folding, records)))
            }
            Some(Since { rows, mut threads, .. }) => {
                threads.take(&self.folding, records);
                (Some(rows), Some(threads))
            }
        };
        let mono_ns = taken.fetched.mono_ns;
        let header = header(told);
        let snapshot = self.rows(request, header, taken, threads.as_ref().filter(|_| changed))?;
        let base = rows.as_ref().map(|rows| {
            // Where a task has died, the tasks before are all there.
            if changed { rows.values_before(&snapshot) } else { rows.all() }
        });
        let base = base.transpose()?;
        let rows = match rows {
            Some(mut rows) if changed => {
                rows.merge(&snapshot);
                rows
            }
            _ if request.changed => LastValues::new(&snapshot, request.threads, request.fields),
            _ => return Ok(snapshot),
        };
        self.since = threads.map(|threads| Since { rows, threads, mono_ns });
        Ok(match base {
            Some(base) => snapshot.with_base(Arc::new(base)),
            None => snapshot,
        })
    }

    /// Memory that nobody looks at any more, or new memory.
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

    /// The fields of a row, and of one of a process with dead threads; and those that
    /// the kernel has not.
    fn filled(&self, header: &Header) -> ([FieldSet; 2], FieldSet) {
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
        ([all, all.difference(self.folding.partial)], unsupported)
    }

    /// Lays what procfs tells of a process over its row. Whether it told all.
    fn complement(&mut self, row: &mut [u8], wanted: FieldSet) -> bool {
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

    /// Makes the rows of the records in `taken`. Of what ran since, `known` has the other
    /// threads' records.
    fn rows(
        &mut self,
        request: &Request,
        mut header: Header,
        mut taken: Taken,
        known: Option<&Threads>,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        header.flags = header
            .flags
            .with(Flags::THREADS, request.threads)
            .with(Flags::ONE_INSTANT, true)
            .with(Flags::WITHOUT_UNCHANGED, known.is_some());
        header.syscalls += taken.fetched.syscalls;
        let size = self.layout.record_size();
        let ([all, partial], unsupported) = self.filled(&header);
        let mut count = taken.fetched.count;
        let mut kinds = Vec::new();
        if !header.threads() {
            let mut made = known.map(|_| self.buffer());
            let bytes = Arc::get_mut(&mut taken.buffer).expect("only just filled");
            let rows = match (known, &mut made) {
                (Some(known), Some(made)) => {
                    let rows = Arc::get_mut(made).expect("nobody else has a free buffer");
                    rows.clear();
                    known.processes(&self.folding, &bytes[..count * size], rows)
                }
                _ => self.folding.fold(bytes, count),
            };
            kinds = rows.with_dead_threads;
            count = kinds.len();
            if let Some(made) = made {
                self.buffers.push(std::mem::replace(&mut taken.buffer, made));
            }
        }
        header.unchanged = known.map_or(0, |known| (known.len(header.threads()) - count) as u32);
        let bytes = Arc::get_mut(&mut taken.buffer).expect("only just filled");
        let records = 0..count * size;
        header.own_cpu_ns = bytes[records.clone()]
            .chunks_exact(size)
            .filter_map(|bytes| Record::new(bytes, &self.layout, FieldSet::ALL))
            .filter(|record| record.ac_tgid() == Some(self.pid))
            .map(|record| own_ns(&record, header.threads()))
            .sum();
        header.set_status(self.layout.fields(), FieldStatus::Off);
        header.set_status(unsupported, FieldStatus::Unsupported);
        header.set_status(all, FieldStatus::Filled);
        header.masks = vec![all];
        let indices = records.end..records.end + count;
        if kinds.contains(&true) {
            header.masks.push(partial);
            if bytes.len() < indices.end {
                bytes.resize(indices.end, 0);
            }
            for (index, &partial) in bytes[indices.clone()].iter_mut().zip(&kinds) {
                *index = u8::from(partial);
            }
            let wanted = FROM_PROCFS.intersection(request.fields);
            if request.fields != FieldSet::ALL && !wanted.is_empty() {
                header.masks.push(partial.union(wanted));
                let (records, indices) = bytes[..indices.end].split_at_mut(records.end);
                for (record, index) in records.chunks_exact_mut(size).zip(indices) {
                    if *index == 1 && self.complement(record, wanted) {
                        *index = 2;
                    }
                }
                header.syscalls += std::mem::take(&mut self.reader.syscalls);
            }
        }
        let bytes = self.share(taken.buffer);
        Ok(Snapshot::new(header, self.layout.clone(), bytes, records, indices)?)
    }
}

/// What a record of the caller's tells of its process.
fn own_ns(record: &Record<'_>, threads: bool) -> u64 {
    let counts_dead = threads && record.ac_pid() == record.ac_tgid();
    let dead_ns = record.tg_sum_exec_ns().filter(|_| counts_dead).unwrap_or(0);
    record.ac_sum_exec_ns().unwrap_or(0).saturating_add(dead_ns)
}
