//! The netlink source: taskstats records over generic netlink.
//!
//! Design decisions
//!
//! * A process row is the leader's PID answer with the sums of the TGID answer. The latter
//!   has no name and no memory, the former only the leader's times.
//! * Fields that taskstats lacks come from procfs, where they are wanted.
//! * A kernel with this project's series sends all records in one dump instead
//!   ([`crate::patched::netlink_dump`]). The source asks once whether it does.

use std::collections::HashMap;
use std::env;

use precise_top_core::interval::Unchanged;
use precise_top_core::layout::{EXTENSION_BIT, EXTENSION_SIZE};
use precise_top_core::wire::{self, Id};
use precise_top_core::{
    Field, FieldSet, FieldStatus, Flags, Header, Instant, Layout, Record, RecordBuffer, RecordMut,
    SharedBytes, Snapshot, SourceKind,
};

use super::batch::{Found, Requester};
use super::exit_rows::{ExitRow, ExitRows, open_if_possible};
use super::fields::{ADDED, FROM_PROCFS, LEADER_ONLY, PEAKS, PROCESS_SUMS, TICKS, off_fields};
use crate::errors::Error;
use crate::host::{self, Host};
use crate::patched::netlink_dump::NetlinkDump;
use crate::privilege::ReadingOthers;
use crate::procfs::reader::Reader;
use crate::source::{Request, Source};

/// The parent of all kernel threads.
const KTHREADD: u32 = 2;

/// The source.
pub struct Netlink {
    requester: Requester,
    /// The kernel's record, without and with the extension behind it.
    bare: Layout,
    extended: Layout,
    host: Host,
    reader: Reader,
    exits: Option<ExitRows>,
    /// Why there are none; empty if there are, or if this machine has none.
    no_exits: String,
    dump: Option<NetlinkDump>,
}

/// The tasks of a snapshot.
struct Tasks {
    /// Ascending ids of processes, or of threads.
    ids: Vec<u32>,
    /// The process of each thread, where the ids are of threads.
    process_of: HashMap<u32, u32>,
}

impl Netlink {
    /// Opens the source. AccessDenied without CAP_NET_ADMIN, Unsupported where the
    /// kernel has no TASKSTATS.
    pub fn open() -> Result<Netlink, Error> {
        let mut requester = Requester::open()?;
        let bare = requester.layout()?;
        let version = bare.version() | EXTENSION_BIT;
        let extended = Layout::new(version, bare.record_size() + EXTENSION_SIZE, false)?;
        let host = Host::new();
        // Tests and comparisons turn the dump off.
        let sweeps = env::var_os("PRECISE_TOP_NETLINK_WAY").is_some_and(|way| way == "sweep");
        let dump = if sweeps { None } else { NetlinkDump::open(requester.family(), &host)? };
        let reader = Reader::new(&host)?;
        if dump.is_none() {
            reader.check_mounted()?;
        }
        let no_exits = String::new();
        Ok(Netlink { requester, bare, extended, reader, host, exits: None, no_exits, dump })
    }

    /// Shrinks the receive buffer to what the kernel makes of `bytes`, and batches to
    /// `batch` requests: for a machine short of memory, and for tests of lost answers.
    pub fn limit_receive_buffer(&mut self, bytes: usize, batch: usize) -> Result<(), Error> {
        self.requester.limit_receive_buffer(bytes, batch)
    }

    /// Its exits, where it collects them.
    #[cfg(test)]
    pub(super) fn exits(&self) -> Option<&ExitRows> {
        self.exits.as_ref()
    }

    /// The kernel's record of one task or process. NoSuchTask where it is gone.
    pub fn get(&mut self, id: Id) -> Result<Snapshot<SharedBytes>, Error> {
        let record = self.requester.ask_one(id)?;
        let layout = Layout::new(self.bare.version(), record.len(), false)?;
        let mut filled = layout.fields();
        if matches!(id, Id::Tgid(_)) {
            filled = filled.intersection(PROCESS_SUMS.union(TICKS).with(Field::version));
        }
        let mut header = Header::new(SourceKind::Netlink, filled);
        header.begin = host::now();
        let off = off_fields(host::delayacct());
        header.set_status(off, FieldStatus::Off);
        header.masks = vec![filled.difference(off)];
        Host::end(&mut header);
        let length = record.len();
        Ok(Snapshot::new(header, layout, SharedBytes::new(record), 0..length, 0..0)?)
    }

    /// How it asks.
    pub(crate) fn describe(&self) -> &'static str {
        match self.dump {
            Some(_) => "all tasks in one netlink dump, counted by the kernel",
            None => "one netlink message a task, many in one system call",
        }
    }

    /// The tasks that /proc lists.
    fn tasks(&mut self, threads: bool) -> Result<Tasks, Error> {
        let pids = self.reader.pids()?;
        if !threads {
            return Ok(Tasks { ids: pids, process_of: HashMap::new() });
        }
        let threads_of = |pid| self.reader.tids(pid).into_iter().map(move |tid| (tid, pid));
        let process_of: HashMap<u32, u32> = pids.into_iter().flat_map(threads_of).collect();
        let mut ids: Vec<u32> = process_of.keys().copied().collect();
        ids.sort_unstable();
        Ok(Tasks { ids, process_of })
    }

    /// The kernel's records of tasks; of processes, with the sums over their threads.
    fn kernel_records(&mut self, tasks: &Tasks, threads: bool) -> Result<Found, Error> {
        let (size, stride) = (self.bare.record_size(), self.extended.record_size());
        let mut found = self.requester.ask_all(&tasks.ids, wire::TYPE_PID, size, stride)?;
        if threads {
            return Ok(found);
        }
        let sums = self.requester.ask_all(&found.ids, wire::TYPE_TGID, size, size)?;
        let row_of: HashMap<u32, usize> =
            found.ids.iter().enumerate().map(|(row, &pid)| (pid, row)).collect();
        for (sum, pid) in sums.records.chunks_exact(size).zip(&sums.ids) {
            let row = row_of[pid] * stride;
            self.copy_sums(sum, &mut found.records[row..row + size]);
        }
        Ok(found)
    }

    /// Copies the sums of a TGID answer to the record of the process's leader.
    fn copy_sums(&self, sums: &[u8], leader: &mut [u8]) {
        let all = FieldSet::ALL;
        let (Some(sums), Some(old)) =
            (Record::new(sums, &self.bare, all), Record::new(leader, &self.bare, all))
        else {
            return;
        };
        // A zombie's TGID answer is empty, since its thread no longer counts as living.
        if sums.cpu_run_virtual_total() < old.cpu_run_virtual_total() {
            return;
        }
        let ticks = |record: &Record<'_>| {
            record.ac_utime().unwrap_or(0).saturating_add(record.ac_stime().unwrap_or(0))
        };
        // Older kernels leave a TGID answer's ticks empty.
        let fields =
            if ticks(&sums) >= ticks(&old) { PROCESS_SUMS.union(TICKS) } else { PROCESS_SUMS };
        let Some(mut record) = RecordMut::new(leader, &self.bare) else { return };
        for field in fields.iter() {
            if let Some(value) = sums.unsigned(field) {
                record.set(field, value);
            }
        }
    }

    /// Completes a kernel record with the fields that the source and procfs add. Returns
    /// the fields that the row has then, `from_kernel` those that the kernel has filled.
    fn complete(
        &mut self,
        row: &mut [u8],
        process: u32,
        thread: Option<u32>,
        from_kernel: FieldSet,
        request: &Request,
        at: &Instant,
    ) -> FieldSet {
        let mut filled = from_kernel;
        let mut wanted = FROM_PROCFS.intersection(request.fields).difference(from_kernel);
        let Some(mut record) = RecordMut::new(row, &self.extended) else { return from_kernel };
        let known = record.as_record(FieldSet::ALL);
        let etime_ns = known.ac_etime().unwrap_or(0).saturating_mul(1000);
        // The memory of a zombie, or of a leader that has exited before its threads, is gone.
        let without_memory = known.hiwater_vm() == Some(0)
            && ![known.ac_pid(), known.ac_ppid()].contains(&Some(KTHREADD));
        record.set(Field::version, u64::from(self.extended.version()));
        record.set(Field::ac_time_ns, at.monotonic_ns);
        record.set(Field::ac_start_ns, at.boottime_ns.saturating_sub(etime_ns));
        if without_memory {
            filled = filled.difference(PEAKS);
            if thread.is_none() {
                wanted = wanted.union(PEAKS.intersection(request.fields));
            }
        }
        filled.union(self.copy_from_procfs(row, process, thread, wanted))
    }

    /// Copies wanted fields from procfs to a row, and returns those that it has.
    fn copy_from_procfs(
        &mut self,
        row: &mut [u8],
        process: u32,
        thread: Option<u32>,
        wanted: FieldSet,
    ) -> FieldSet {
        if wanted.is_empty() {
            return FieldSet::EMPTY;
        }
        let mut scratch_bytes = vec![0; self.extended.record_size()];
        let Some(mut scratch) = RecordMut::new(&mut scratch_bytes, &self.extended) else {
            return FieldSet::EMPTY;
        };
        let Some(filled) = self.reader.fill(&mut scratch, process, thread, wanted) else {
            return FieldSet::EMPTY;
        };
        let fields = filled.intersection(wanted);
        let from = scratch.as_record(fields);
        let Some(mut to) = RecordMut::new(row, &self.extended) else {
            return FieldSet::EMPTY;
        };
        for field in fields.iter() {
            if let Some(value) = from.unsigned(field) {
                to.set(field, value);
            }
        }
        fields
    }

    /// The rows of tasks that died since the last snapshot; `living` are the rows of this one.
    fn exited(
        &mut self,
        header: &mut Header,
        living: &[u8],
        request: &Request,
    ) -> Result<Vec<ExitRow>, Error> {
        match &mut self.exits {
            Some(exits) if request.exact => {
                exits.collect(header, living, &self.extended, request.threads)
            }
            _ => Ok(Vec::new()),
        }
    }
}

impl Source for Netlink {
    fn kind(&self) -> SourceKind {
        SourceKind::Netlink
    }

    fn precision(&self) -> &'static str {
        self.kind().precision(self.dump.is_some())
    }

    fn notice(&self) -> String {
        self.exits.as_ref().map_or_else(|| self.no_exits.clone(), ExitRows::notice)
    }

    fn prepare(&mut self, request: &Request) -> Result<(), Error> {
        // A kernel that knows the dump has the times of the dead in their parents' counters.
        if request.exact && self.dump.is_none() {
            open_if_possible(&mut self.exits, &mut self.no_exits);
        }
        Ok(())
    }

    fn unchanged(&self) -> Option<Unchanged> {
        self.dump.as_ref().and_then(NetlinkDump::unchanged)
    }

    fn snapshot(&mut self, request: &Request) -> Result<Snapshot<SharedBytes>, Error> {
        if let Some(dump) = &mut self.dump {
            return dump.snapshot(&mut self.host, request);
        }
        self.prepare(request)?;
        let threads = request.threads;
        let mut header = Header::new(SourceKind::Netlink, FieldSet::EMPTY);
        header.syscalls = self.host.begin(&mut header, request);
        header.flags = header.flags.with(Flags::THREADS, threads).with(Flags::DERIVED_STARTS, true);
        self.requester.syscalls = 0;
        self.reader.syscalls = 0;
        let _reading = ReadingOthers::begin();
        let tasks = self.tasks(threads)?;
        let at = host::now();
        let Found { mut records, ids, .. } = self.kernel_records(&tasks, threads)?;
        let off = off_fields(header.flags.contains(Flags::DELAYACCT));
        let partial = if threads { FieldSet::EMPTY } else { LEADER_ONLY };
        let from_kernel = self.bare.fields().union(ADDED).difference(off).difference(partial);
        let stride = self.extended.record_size();
        let mut filled = Vec::with_capacity(ids.len());
        for (row, &id) in records.chunks_exact_mut(stride).zip(&ids) {
            let process = tasks.process_of.get(&id).copied().unwrap_or(id);
            let thread = threads.then_some(id);
            filled.push(self.complete(row, process, thread, from_kernel, request, &at));
        }
        self.reader.check_failure()?;
        let exited = self.exited(&mut header, &records, request)?;
        header.exited = exited.len() as u32;
        let mut records = RecordBuffer::from_bytes(records, stride);
        filled.into_iter().for_each(|filled| records.mark(filled));
        exited.iter().for_each(|row| records.push(&row.bytes, row.filled));
        header.syscalls += self.requester.syscalls + self.reader.syscalls;
        header.set_status(self.bare.fields().union(FROM_PROCFS), FieldStatus::NotRead);
        header.set_status(records.filled(), FieldStatus::Filled);
        header.set_status(off.intersection(self.bare.fields()), FieldStatus::Off);
        Host::end(&mut header);
        Ok(records.into_snapshot(header, self.extended.clone())?)
    }
}
