//! The proc source: /proc/taskstats of a kernel with this project's series.
//!
//! Design decisions
//!
//! * A snapshot is two system calls, whatever the number of tasks: the ioctl has the
//!   kernel take it, the read brings it. Everything in the header comes with the ioctl.
//! * The kernel writes into memory that is used again as soon as nobody holds the
//!   snapshot that it was of.
//! * The right to read is the descriptor's, so that nothing is kept of privileges.
//! * The dead have no records. What they used is in their processes' and their parents'
//!   counters, to the last switch, and intervals take it from there.
//! * What the kernel does not sum over dead threads is unknown in the rows of processes
//!   that have some. I/O and page faults come from procfs there, but only where they are
//!   asked for by name.
//! * Of what ran since, a task that has died is only known by the number of those that
//!   live. Where one is missing, all are read as well.

mod threads;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use taskstats_core::{
    CpuClocks, Field, FieldSet, FieldStatus, Flags, Header, Instant, Layout, Record, RecordMut,
    SharedBytes, Snapshot, SourceKind,
};

use crate::changed::{Changed, Resting};
use crate::errors::Error;
use crate::host::Host;
use crate::netlink::delays_that_need_the_switch;
use crate::procfs::Reader;
use crate::sys::taskstats::{self, Cpu};
use crate::{Request, Source};
use threads::{Folding, Threads};

const FILE: &str = "/proc/taskstats";
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

/// Whether the kernel has the file.
pub(crate) fn is_there() -> bool {
    Path::new(FILE).exists()
}

/// The source.
pub(crate) struct Proc {
    file: File,
    host: Host,
    reader: Reader,
    /// The caller's.
    pid: u32,
    layout: Layout,
    folding: Folding,
    buffers: Vec<Arc<Vec<u8>>>,
    cpus: Vec<Cpu>,
    delayacct: bool,
    has_cgroups: bool,
    /// All tasks' last values, while snapshots are of what ran since.
    since: Option<Since>,
    /// Bytes that one read asks for at most.
    longest_read: usize,
}

/// What snapshots of what ran since are completed with.
struct Since {
    rows: Changed,
    threads: Threads,
    /// The instant of the last snapshot, CLOCK_MONOTONIC.
    mono_ns: u64,
}

/// What the kernel has brought.
struct Taken {
    buffer: Arc<Vec<u8>>,
    count: usize,
    answer: taskstats::Request,
    /// CPUs online, of which the clocks of the first are known.
    online: usize,
    clocks: Vec<CpuClocks>,
    syscalls: u32,
}

impl Proc {
    /// Opens the source. Unsupported where the kernel has no such file, AccessDenied
    /// without CAP_NET_ADMIN in the initial user namespace.
    pub(crate) fn open() -> Result<Proc, Error> {
        let file = File::open(FILE).map_err(refused)?;
        let host = Host::new();
        // One record tells how all are laid out.
        let mut asked = taskstats::Request { cnt: 1, ..taskstats::Request::default() };
        let (_, cpus) = taskstats::take_snapshot(&file, &mut asked, &mut []).map_err(failed)?;
        let mut first = vec![0; asked.record_size as usize];
        (&file).read_exact(&mut first).map_err(failed)?;
        let version = first.first_chunk().map_or(0, |&bytes| u16::from_ne_bytes(bytes));
        let layout = Layout::new(version, first.len(), false)?;
        Ok(Proc {
            file,
            reader: Reader::new(&host)?,
            host,
            pid: std::process::id(),
            folding: Folding::new(&layout),
            layout,
            buffers: Vec::new(),
            cpus: vec![Cpu::default(); cpus],
            delayacct: crate::host::delayacct().unwrap_or(false),
            has_cgroups: Path::new("/proc/self/cgroup").exists(),
            since: None,
            longest_read: usize::MAX,
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

    /// Has the kernel take a snapshot of what ran since, or of all, and reads it.
    fn take(&mut self, time_ns: u64) -> Result<Taken, Error> {
        let mut shared = self.buffer();
        let buffer = Arc::get_mut(&mut shared).expect("nobody else has a free buffer");
        let mut answer = taskstats::Request { time_ns, ..taskstats::Request::default() };
        let (count, online) =
            taskstats::take_snapshot(&self.file, &mut answer, &mut self.cpus).map_err(failed)?;
        let clocks = self.cpus.iter().take(online).map(clocks).collect();
        if online > self.cpus.len() {
            // CPUs came: from the next snapshot on their clocks are there.
            self.cpus.resize(online, Cpu::default());
        }
        let mut syscalls = 1;
        let size = self.layout.record_size();
        // With a byte a record for its mask.
        let needed = count * (size + 1);
        if buffer.len() < needed {
            buffer.resize(needed + needed / 2, 0);
        }
        let mut got = 0;
        while got < count * size {
            let end = (count * size).min(got.saturating_add(self.longest_read));
            syscalls += 1;
            match (&self.file).read(&mut buffer[got..end]) {
                Ok(0) => return Err(failed(ErrorKind::UnexpectedEof.into())),
                Ok(read) => got += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(Taken { buffer: shared, count, answer, online, clocks, syscalls })
    }

    fn header(&mut self, request: &Request, taken: &Taken) -> Header {
        let mut header = Header::new(SourceKind::Proc, FieldSet::EMPTY);
        self.host.identify(&mut header);
        if request.system == Some(true) {
            header.syscalls += self.host.read_system(&mut header);
            self.delayacct = header.flags.contains(Flags::DELAYACCT);
        }
        if request.cpu_times == Some(true) {
            header.syscalls += self.host.read_cpu_times(&mut header);
        }
        let answer = &taken.answer;
        header.begin = Instant {
            monotonic_ns: answer.mono_ns,
            boottime_ns: answer.boot_ns,
            realtime_ns: answer.real_ns,
        };
        // All is as of one instant, however long it took to bring it.
        header.end = header.begin;
        header.sched_clock_ns = Some(answer.sched_ns);
        header.syscalls += taken.syscalls;
        header.cpu_clocks.clone_from(&taken.clocks);
        header.cpus_online = taken.online as u32;
        header.flags = header
            .flags
            .with(Flags::THREADS, request.threads)
            .with(Flags::DELAYACCT, self.delayacct)
            .with(Flags::ONE_INSTANT, true);
        header
    }

    /// The fields of a row, and of one of a process with dead threads; and those that
    /// the kernel has not.
    fn filled(&self, threads: bool) -> ([FieldSet; 2], FieldSet) {
        let mut unsupported = FieldSet::EMPTY;
        if !self.has_cgroups {
            unsupported = unsupported.with(Field::cgroup_id);
        }
        if !threads {
            // A leader's is not its process's: an exec gives the lead to another thread.
            unsupported = unsupported.with(Field::task_id);
        }
        let off = if self.delayacct { FieldSet::EMPTY } else { delays_that_need_the_switch() };
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
        mut taken: Taken,
        known: Option<&Threads>,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        let mut header = self.header(request, &taken);
        header.flags = header.flags.with(Flags::CHANGED, known.is_some());
        header.unchanged = taken.answer.unchanged;
        let size = self.layout.record_size();
        let ([all, partial], unsupported) = self.filled(header.threads());
        let mut count = taken.count;
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
            header.unchanged = known.map_or(0, |known| (known.processes_count() - count) as u32);
            if let Some(made) = made {
                self.buffers.push(std::mem::replace(&mut taken.buffer, made));
            }
        }
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

impl Source for Proc {
    fn kind(&self) -> SourceKind {
        SourceKind::Proc
    }

    fn precision(&self) -> &'static str {
        "ns, at one instant"
    }

    fn resting(&self) -> Option<Resting<'_>> {
        self.since.as_ref().map(|since| since.rows.resting())
    }

    fn snapshot(&mut self, request: &Request) -> Result<Snapshot<SharedBytes>, Error> {
        let size = self.layout.record_size();
        let known = self.since.take().filter(|since| since.rows.is_for(request));
        let known = known.filter(|_| request.changed);
        let mut taken = self.take(known.as_ref().map_or(0, |known| known.mono_ns))?;
        let changed = known.as_ref().is_some_and(|known| {
            let living = taken.count + taken.answer.unchanged as usize;
            known.threads.all_live(&self.folding, &taken.buffer[..taken.count * size], living)
        });
        if known.is_some() && !changed {
            let syscalls = taken.syscalls;
            self.buffers.push(taken.buffer);
            taken = self.take(0)?;
            taken.syscalls += syscalls;
        }
        let records = &taken.buffer[..taken.count * size];
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
        let mono_ns = taken.answer.mono_ns;
        let snapshot = self.rows(request, taken, threads.as_ref().filter(|_| changed))?;
        let base = rows.as_ref().map(|rows| {
            // Where a task has died, the tasks before are all there.
            if changed { rows.before(&snapshot) } else { rows.all() }
        });
        let base = base.transpose()?;
        let rows = match rows {
            Some(mut rows) if changed => {
                rows.take(&snapshot);
                rows
            }
            _ if request.changed => Changed::new(&snapshot, request),
            _ => return Ok(snapshot),
        };
        self.since = threads.map(|threads| Since { rows, threads, mono_ns });
        Ok(match base {
            Some(base) => snapshot.with_base(Arc::new(base)),
            None => snapshot,
        })
    }
}

/// What a record of the caller's tells of its process.
fn own_ns(record: &Record<'_>, threads: bool) -> u64 {
    let counts_dead = threads && record.ac_pid() == record.ac_tgid();
    let dead_ns = record.tg_sum_exec_ns().filter(|_| counts_dead).unwrap_or(0);
    record.ac_sum_exec_ns().unwrap_or(0).saturating_add(dead_ns)
}

fn clocks(cpu: &Cpu) -> CpuClocks {
    CpuClocks {
        cpu: cpu.cpu,
        clock_ns: cpu.clock_ns,
        clock_task_ns: cpu.clock_task_ns,
        idle_ns: cpu.idle_ns,
        steal_ns: cpu.steal_ns,
    }
}

fn failed(error: io::Error) -> Error {
    Error::os(format!("read {FILE}"), error)
}

fn refused(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::Unsupported {
            reason: format!("the kernel has no {FILE}"),
            hint: "it comes with this project's kernel-patches, for Linux 6.12; without it take \
                   the bpf source"
                .into(),
        },
        ErrorKind::PermissionDenied => Error::AccessDenied {
            reason: format!("{FILE} needs CAP_NET_ADMIN in the initial user namespace"),
            hint: "run it as root outside containers, or use the procfs source".into(),
        },
        _ => Error::os(format!("open {FILE}"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_reads_are_continued() {
        let Ok(mut source) = Proc::open() else {
            assert!(std::env::var_os("PRECISE_TOP_PROC").is_none(), "must run here");
            return;
        };
        let size = source.layout.record_size();
        let request = Request { threads: true, ..Request::default() };
        for longest in [size, 3 * size, 4096] {
            source.longest_read = longest;
            let snapshot = source.snapshot(&request).expect("a snapshot");
            // A read gives whole records.
            let reads = snapshot.len().div_ceil(longest / size);
            assert_eq!(snapshot.header().syscalls as usize, 1 + reads);
            let pids: Vec<_> = snapshot.iter().map(|record| record.ac_pid()).collect();
            assert!(pids.len() > 10 && pids.is_sorted_by(|a, b| a < b), "{pids:?}");
            assert!(pids.contains(&Some(std::process::id())));
        }
        source.longest_read = size - 1;
        assert!(matches!(source.snapshot(&request), Err(Error::Os { .. })), "less than a record");
    }
}
