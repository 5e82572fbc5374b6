//! The netlink source: taskstats records over generic netlink.
//!
//! Design decisions
//!
//! * Many requests go in one datagram, and one recvmmsg takes all answers. Each
//!   answer is scattered on receipt: its 36 bytes of headers to one side, the record
//!   to its final place, so that the kernel writes a record once and nobody copies it.
//! * A batch is never larger than the receive buffer can hold. Answers that are lost
//!   all the same are asked for again in smaller batches.
//! * A process row lays the sums of the TGID answer over the leader's PID answer:
//!   the former has no name and no memory, the latter only the leader's times.
//! * What taskstats lacks comes from procfs, where a wanted field needs it.
//! * A kernel with this project's series gives all records in one dump instead
//!   ([`crate::patched::netlink_dump`]). Whether it does is asked once.

use std::collections::HashMap;
use std::env;

use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;
use precise_top_core::interval::Unchanged;
use precise_top_core::layout::{EXTENSION_BIT, EXTENSION_SIZE};
use precise_top_core::wire::{self, Id};
use precise_top_core::{
    Field, FieldSet, FieldStatus, Flags, Header, Layout, Record, RecordBuffer, RecordMut,
    SharedBytes, Snapshot, SourceKind,
};

use super::exit_rows::ExitRows;
use super::fields::{
    ADDED, FROM_PROCFS, LEADER_ONLY, PROCESS_SUMS, TICKS, delays_that_need_the_switch,
};
use super::socket::{ask_one, record_of, request, resolve_family};
use crate::errors::Error;
use crate::host::{self, Host};
use crate::patched::netlink_dump::Pids;
use crate::procfs::reader::Reader;
use crate::source::{Request, Source};
use crate::sys;

/// Headers before the record in an answer: nlmsghdr, genlmsghdr, the nest, the id
/// attribute, the record attribute's header.
const HEAD: usize = 36;
/// Receive buffer that is asked for; the kernel doubles it for its bookkeeping.
const RECEIVE_BUFFER: libc::c_int = 4 << 20;
/// What one answer takes of the receive buffer at most.
const ANSWER_COST: usize = 2048;
/// Requests in one datagram at most.
const LARGEST_BATCH: usize = 512;
/// Answers are queued before send returns; this only ends a wait for lost ones.
const RECEIVE_TIMEOUT_MS: i64 = 200;

/// The source.
pub struct Netlink {
    socket: NlSocket,
    family: u16,
    sequence: u32,
    batch: usize,
    /// The kernel's record, without and with the extension behind it.
    bare: Layout,
    extended: Layout,
    host: Host,
    reader: Reader,
    dead: Option<ExitRows>,
    pids: Option<Pids>,
    syscalls: u32,
}

impl Netlink {
    /// Opens the source. AccessDenied without CAP_NET_ADMIN, Unsupported where the
    /// kernel has no TASKSTATS.
    pub fn open() -> Result<Netlink, Error> {
        let socket = NlSocket::connect(NlFamily::Generic, None, Groups::empty())
            .map_err(|error| Error::os("open a netlink socket", error))?;
        let fd = &socket;
        // The forced size is a privilege; without it the system's default stands.
        let _ = sys::set_option(fd, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER);
        sys::set_receive_timeout(fd, RECEIVE_TIMEOUT_MS)
            .map_err(|error| Error::os("set the receive timeout", error))?;
        let family = resolve_family(&socket)?;
        let answer = ask_one(&socket, family, Id::Pid(std::process::id()))?;
        let payload = record_of(&answer)?;
        let version =
            payload.first_chunk::<2>().map(|&bytes| u16::from_ne_bytes(bytes)).unwrap_or_default();
        let size = payload.len();
        let host = Host::new();
        // For tests, and to compare: as if the kernel did not know the command.
        let swept = env::var_os("PRECISE_TOP_NETLINK_WAY").is_some_and(|way| way == "sweep");
        let pids = if swept { None } else { Pids::open(family, &host)? };
        let mut source = Netlink {
            family,
            sequence: 0,
            batch: 0,
            bare: Layout::new(version, size, false)?,
            extended: Layout::new(version | EXTENSION_BIT, size + EXTENSION_SIZE, false)?,
            reader: Reader::new(&host)?,
            host,
            socket,
            dead: None,
            pids,
            syscalls: 0,
        };
        source.size_batches()?;
        Ok(source)
    }

    /// Fits the batches to the receive buffer.
    fn size_batches(&mut self) -> Result<(), Error> {
        let room = sys::receive_buffer(&self.socket)
            .map_err(|error| Error::os("read the receive buffer's size", error))?;
        self.batch = (room / ANSWER_COST).clamp(1, LARGEST_BATCH);
        Ok(())
    }

    /// Shrinks the receive buffer to what the kernel makes of `bytes`; for a machine
    /// short of memory, and for tests of lost answers.
    pub fn limit_receive_buffer(&mut self, bytes: i32, batch: usize) -> Result<(), Error> {
        sys::set_option(&self.socket, libc::SO_RCVBUF, bytes)
            .map_err(|error| Error::os("set the receive buffer's size", error))?;
        self.batch = batch.clamp(1, LARGEST_BATCH);
        Ok(())
    }

    /// The record of one task or process, as the kernel gives it.
    pub fn get(&mut self, id: Id) -> Result<Snapshot<SharedBytes>, Error> {
        let answer = ask_one(&self.socket, self.family, id)?;
        let record = record_of(&answer)?;
        let layout = Layout::new(self.bare.version(), record.len(), false)?;
        let mut filled = layout.fields();
        if matches!(id, Id::Tgid(_)) {
            filled = filled.intersection(PROCESS_SUMS.union(TICKS).with(Field::version));
        }
        let mut header = Header::new(SourceKind::Netlink, filled);
        header.begin = host::now();
        if !host::delayacct().unwrap_or(false) {
            let off = delays_that_need_the_switch();
            header.set_status(off, FieldStatus::Off);
            header.masks = vec![filled.difference(off)];
        }
        Host::end(&mut header);
        let length = record.len();
        Ok(Snapshot::new(header, layout, SharedBytes::new(record.to_vec()), 0..length, 0..0)?)
    }

    /// Asks for all of `ids`. Gives the records, `stride` bytes each, and whom each
    /// is of; what has vanished is left out.
    fn sweep(
        &mut self,
        ids: &[u32],
        kind: u16,
        stride: usize,
    ) -> Result<(Vec<u8>, Vec<u32>), Error> {
        let mut records = vec![0; ids.len() * stride];
        let mut found = Vec::with_capacity(ids.len());
        let mut missing: Vec<u32> = Vec::new();
        let mut batch = self.batch;
        let mut pending: Vec<u32> = ids.to_vec();
        loop {
            for ids in pending.chunks(batch) {
                self.exchange(ids, kind, stride, &mut records, &mut found, &mut missing)?;
            }
            if missing.is_empty() {
                break;
            }
            if batch == 1 {
                return Err(Error::Unsupported {
                    reason: "the receive buffer cannot hold a single taskstats answer".into(),
                    hint: "raise it with: sysctl net.core.rmem_default=212992".into(),
                });
            }
            batch = (batch / 2).max(1);
            pending = std::mem::take(&mut missing);
        }
        records.truncate(found.len() * stride);
        Ok((records, found))
    }

    /// One datagram of requests and its answers; those that did not come are added
    /// to `missing`.
    fn exchange(
        &mut self,
        ids: &[u32],
        kind: u16,
        stride: usize,
        records: &mut [u8],
        found: &mut Vec<u32>,
        missing: &mut Vec<u32>,
    ) -> Result<(), Error> {
        let first = self.sequence.wrapping_add(1);
        let mut requests = Vec::with_capacity(ids.len() * 28);
        for &id in ids {
            self.sequence = self.sequence.wrapping_add(1);
            requests.extend(request(self.family, self.sequence, kind, id)?);
        }
        self.syscalls += 1;
        self.socket
            .send(requests, Msg::empty())
            .map_err(|error| Error::os("send taskstats requests", error))?;
        let size = self.bare.record_size();
        let mut heads = vec![0; ids.len() * HEAD];
        let mut answered = vec![false; ids.len()];
        let mut left = ids.len();
        while left > 0 {
            let at = found.len() * stride;
            self.syscalls += 1;
            let received = sys::receive_scattered(
                &self.socket,
                &mut heads[..left * HEAD],
                HEAD,
                &mut records[at..],
                stride,
                size,
            );
            let received = match received {
                Ok(received) => received,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    // What was lost is asked for again.
                    Some(libc::ENOBUFS | libc::EAGAIN) => break,
                    _ => return Err(Error::os("receive taskstats answers", error)),
                },
            };
            let start = found.len();
            for (index, answer) in received.iter().enumerate() {
                let head = &heads[index * HEAD..(index + 1) * HEAD];
                let from = (start + index) * stride;
                let sequence = u32_at(head, 8);
                let Some(which) = usize::try_from(sequence.wrapping_sub(first))
                    .ok()
                    .filter(|&which| which < ids.len() && !answered[which])
                else {
                    // An answer to a request of an earlier, given-up exchange.
                    continue;
                };
                answered[which] = true;
                left -= 1;
                let to = found.len() * stride;
                match classify(head, *answer, size)? {
                    Answer::Gone => {}
                    Answer::Padded => {
                        let alone = ask_one(&self.socket, self.family, id_of(kind, ids[which]))?;
                        records[to..to + size].copy_from_slice(record_of(&alone)?);
                        found.push(ids[which]);
                    }
                    Answer::Record => {
                        records.copy_within(from..from + size, to);
                        found.push(ids[which]);
                    }
                }
            }
        }
        missing.extend(
            ids.iter().zip(&answered).filter(|&(_, &answered)| !answered).map(|(&id, _)| id),
        );
        Ok(())
    }

    /// Copies wanted fields that netlink does not have from procfs.
    fn complement(
        &mut self,
        record: &mut [u8],
        pid: u32,
        tid: Option<u32>,
        wanted: FieldSet,
    ) -> FieldSet {
        let mut scratch_bytes = vec![0; self.extended.record_size()];
        let Some(mut scratch) = RecordMut::new(&mut scratch_bytes, &self.extended) else {
            return FieldSet::EMPTY;
        };
        let Some(filled) = self.reader.fill(&mut scratch, pid, tid, wanted) else {
            return FieldSet::EMPTY;
        };
        let take = filled.intersection(wanted);
        let from = scratch.as_record(take);
        let Some(mut to) = RecordMut::new(record, &self.extended) else {
            return FieldSet::EMPTY;
        };
        for field in take.iter() {
            if let Some(value) = from.unsigned(field) {
                to.set(field, value);
            }
        }
        take
    }
}

impl Source for Netlink {
    fn kind(&self) -> SourceKind {
        SourceKind::Netlink
    }

    fn precision(&self) -> &'static str {
        match self.pids {
            Some(_) => "ns, at one instant",
            None => "ns, up to one tick late while running",
        }
    }

    fn prepare(&mut self, request: &Request) -> Result<(), Error> {
        // A kernel that knows the dump has the dead's time in their parents' counters.
        if request.exact && self.dead.is_none() && self.pids.is_none() {
            // Outside the initial namespaces there are no events.
            self.dead = ExitRows::open().ok();
        }
        Ok(())
    }

    fn unchanged(&self) -> Option<Unchanged<'_>> {
        self.pids.as_ref().and_then(Pids::unchanged)
    }

    fn snapshot(&mut self, request: &Request) -> Result<Snapshot<SharedBytes>, Error> {
        if let Some(pids) = &mut self.pids {
            return pids.snapshot(&mut self.host, request);
        }
        self.prepare(request)?;
        let mut header = Header::new(SourceKind::Netlink, FieldSet::EMPTY);
        header.syscalls = self.host.begin(&mut header, request);
        header.flags =
            header.flags.with(Flags::THREADS, request.threads).with(Flags::DERIVED_STARTS, true);
        self.syscalls = 0;
        self.reader.syscalls = 0;
        let stride = self.extended.record_size();
        let size = self.bare.record_size();
        let pids = self.reader.pids()?;
        let mut process_of: HashMap<u32, u32> = HashMap::new();
        let ids = if request.threads {
            for &pid in &pids {
                process_of.extend(self.reader.tids(pid).into_iter().map(|tid| (tid, pid)));
            }
            let mut tids: Vec<u32> = process_of.keys().copied().collect();
            tids.sort_unstable();
            tids
        } else {
            pids
        };
        let before = host::now();
        let (mut bytes, found) = self.sweep(&ids, wire::TYPE_PID, stride)?;
        if !request.threads {
            let (sums, processes) = self.sweep(&found, wire::TYPE_TGID, size)?;
            let row_of: HashMap<u32, usize> =
                found.iter().enumerate().map(|(row, &pid)| (pid, row)).collect();
            for (sum, pid) in sums.chunks_exact(size).zip(&processes) {
                let row = row_of[pid] * stride;
                self.lay_over(&mut bytes[row..row + size], sum);
            }
        }
        let off = if header.flags.contains(Flags::DELAYACCT) {
            FieldSet::EMPTY
        } else {
            delays_that_need_the_switch()
        };
        let from_kernel = self.bare.fields().union(ADDED).difference(off);
        let from_kernel =
            if request.threads { from_kernel } else { from_kernel.difference(LEADER_ONLY) };
        let wanted = FROM_PROCFS.intersection(request.fields).difference(from_kernel);
        let mut marks = Vec::with_capacity(found.len());
        for (row, &id) in bytes.chunks_exact_mut(stride).zip(&found) {
            if let Some(mut record) = RecordMut::new(row, &self.extended) {
                let etime_ns =
                    record.as_record(FieldSet::ALL).ac_etime().unwrap_or(0).saturating_mul(1000);
                record.set(Field::version, u64::from(self.extended.version()));
                record.set(Field::ac_time_ns, before.monotonic_ns);
                record.set(Field::ac_start_ns, before.boottime_ns.saturating_sub(etime_ns));
            }
            let added = if wanted.is_empty() {
                FieldSet::EMPTY
            } else if request.threads {
                let pid = process_of.get(&id).copied().unwrap_or(id);
                self.complement(row, pid, Some(id), wanted)
            } else {
                self.complement(row, id, None, wanted)
            };
            marks.push(from_kernel.union(added));
        }
        let dead = match &mut self.dead {
            Some(dead) if request.exact => {
                dead.collect(&mut header, &bytes, &self.extended, request.threads)?
            }
            _ => Vec::new(),
        };
        header.exited = dead.len() as u32;
        let mut records = RecordBuffer::from_bytes(bytes, stride);
        marks.into_iter().for_each(|filled| records.mark(filled));
        dead.iter().for_each(|row| records.push(&row.bytes, row.filled));
        header.syscalls += self.syscalls + self.reader.syscalls;
        header.set_status(self.bare.fields().union(FROM_PROCFS), FieldStatus::NotRead);
        header.set_status(records.filled(), FieldStatus::Filled);
        header.set_status(off.intersection(self.bare.fields()), FieldStatus::Off);
        Host::end(&mut header);
        Ok(records.into_snapshot(header, self.extended.clone())?)
    }
}

impl Netlink {
    /// How it asks.
    pub(crate) fn describe(&self) -> &'static str {
        match self.pids {
            Some(_) => "all tasks in one netlink dump, counted by the kernel",
            None => "one netlink message a task, many in one system call",
        }
    }

    /// Lays a TGID answer's sums over the leader's record.
    fn lay_over(&self, leader: &mut [u8], sums: &[u8]) {
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
}

/// What became of a request.
enum Answer {
    /// The record is where it belongs.
    Record,
    /// A record, shifted by padding attributes.
    Padded,
    /// No such task any more.
    Gone,
}

fn classify(head: &[u8], answer: sys::Received, size: usize) -> Result<Answer, Error> {
    if u16_at(head, 4) == wire::NLMSG_ERROR {
        let code = u32_at(head, wire::MESSAGE_HEADER).cast_signed();
        return match code.saturating_neg() {
            libc::ESRCH => Ok(Answer::Gone),
            _ => Err(Error::from_reply(code)),
        };
    }
    let stats = HEAD - wire::ATTRIBUTE_HEADER;
    let expected = !answer.truncated
        && answer.length == HEAD + size
        && u16_at(head, stats + 2) == wire::TYPE_STATS
        && usize::from(u16_at(head, stats)) == wire::ATTRIBUTE_HEADER + size;
    Ok(if expected { Answer::Record } else { Answer::Padded })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn id_of(kind: u16, id: u32) -> Id {
    if kind == wire::TYPE_TGID { Id::Tgid(id) } else { Id::Pid(id) }
}
