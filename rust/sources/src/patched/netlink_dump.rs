//! TASKSTATS_CMD_ATTR_PIDS: a dump of the records of all threads at one instant, which a
//! kernel with this project's series sends (docs/proc-taskstats.md).

use std::io;
use std::os::fd::AsFd;

use neli::consts::nl::NlmF;
use precise_top_core::interval::Unchanged;
use precise_top_core::layout::{EXTENSION_BIT, is_exact};
use precise_top_core::wire::{self, Payload, Stats};
use precise_top_core::{
    FieldSet, Header, Instant, Layout, Record, SharedBytes, Snapshot, SourceKind,
};

use super::assemble::{Assembler, Fetched};
use crate::errors::Error;
use crate::host::Host;
use crate::netlink::socket::{Socket, flagged_message};
use crate::source::Request;
use crate::sys;

/// TASKSTATS_CMD_ATTR_PIDS.
const ATTRIBUTE: u16 = 5;
/// The longest datagram of a dump.
const DATAGRAM: usize = 32 << 10;
/// Largest number of datagrams in one call; one holds some fifty records.
const DATAGRAMS: usize = 64;
/// The kernel continues a dump as it is read, so that this only ends a wait for a lost one.
const TIMEOUT_MS: i32 = 1000;

/// The command, on a socket of its own.
pub(crate) struct NetlinkDump {
    assembler: Assembler,
    dump: Dump,
}

struct Dump {
    socket: Socket,
    family: u16,
    record_size: usize,
    scratch: Vec<u8>,
}

impl NetlinkDump {
    /// None where the kernel does not know the command.
    pub(crate) fn open(family: u16, host: &Host) -> Result<Option<NetlinkDump>, Error> {
        let mut dump = Dump {
            socket: Socket::open()?,
            family,
            record_size: 0,
            scratch: vec![0; DATAGRAM * DATAGRAMS],
        };
        let mut first = Vec::new();
        match dump.fetch(&mut first, 0, 1) {
            Ok(_) => {}
            Err(Error::Os { error, .. })
                if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        if !is_exact(&first) {
            return Ok(None);
        }
        let version = first.first_chunk().map_or(0, |&bytes| u16::from_ne_bytes(bytes));
        dump.record_size = first.len();
        let layout = Layout::of_record(version, &first, false)?;
        Ok(Some(NetlinkDump { assembler: Assembler::new(host, layout)?, dump }))
    }

    /// The tasks that the last snapshot left out as unchanged.
    pub(crate) fn unchanged(&self) -> Option<Unchanged> {
        self.assembler.unchanged()
    }

    /// Takes a snapshot with one dump.
    pub(crate) fn snapshot(
        &mut self,
        host: &mut Host,
        request: &Request,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        let mut header = Header::new(SourceKind::Netlink, FieldSet::EMPTY);
        header.syscalls = host.begin(&mut header, request);
        header.task_id_space = Some(host.task_id_space());
        let dump = &mut self.dump;
        let fetch = |buffer: &mut Vec<u8>, since| {
            let fetched = dump.fetch(buffer, since, 0)?;
            let mono_ns = fetched.mono_ns;
            Ok((fetched, mono_ns))
        };
        self.assembler.snapshot(request, fetch, |mono_ns| {
            Host::end(&mut header);
            let passed_ns = mono_ns.saturating_sub(header.begin.monotonic_ns);
            header.begin = Instant {
                monotonic_ns: mono_ns,
                boottime_ns: header.begin.boottime_ns.saturating_add(passed_ns),
                realtime_ns: header.begin.realtime_ns.saturating_add(passed_ns),
            };
            header
        })
    }
}

impl Dump {
    /// Writes the records of the threads that ran since an instant to `records`, or with 0 of
    /// all; of at most `limit` threads, where that is not 0.
    fn fetch(&mut self, records: &mut Vec<u8>, time_ns: u64, limit: u32) -> Result<Fetched, Error> {
        let fetched = self.receive(records, time_ns, limit);
        if fetched.is_err() {
            // The rest of a broken dump would come before the next one.
            self.socket = Socket::open()?;
        }
        fetched
    }

    fn receive(
        &mut self,
        records: &mut Vec<u8>,
        time_ns: u64,
        limit: u32,
    ) -> Result<Fetched, Error> {
        // struct taskstats_cmd_pids: the instant, the first pid, the largest number.
        let mut asked = time_ns.to_ne_bytes().to_vec();
        asked.extend(0_u32.to_ne_bytes());
        asked.extend(limit.to_ne_bytes());
        let flags = NlmF::REQUEST | NlmF::DUMP;
        let request = flagged_message(self.family, 0, flags, wire::CMD_GET, ATTRIBUTE, asked)?;
        let mut syscalls = 1;
        self.socket.send(&request)?;
        let failed = |error| Error::os("receive a taskstats dump", error);
        let (mut count, mut done) = (0, false);
        records.clear();
        while !done {
            syscalls += 1;
            let received = match sys::receive_many(&self.socket, &mut self.scratch, DATAGRAM) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    syscalls += 1;
                    if sys::wait_readable(&[self.socket.as_fd()], TIMEOUT_MS).map_err(failed)? {
                        continue;
                    }
                    return Err(failed(io::ErrorKind::TimedOut.into()));
                }
                Err(error) => return Err(failed(error)),
            };
            for (datagram, slot) in received.iter().zip(self.scratch.chunks_exact(DATAGRAM)) {
                for message in wire::messages(&slot[..datagram.length.min(DATAGRAM)]) {
                    match message?.payload {
                        Payload::Done => done = true,
                        Payload::Error { code } if code != 0 => {
                            return Err(Error::from_reply(code));
                        }
                        Payload::Generic { attributes, .. } => {
                            for stats in wire::stats(attributes) {
                                append_record(records, &stats?);
                                count += 1;
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        let mono_ns = self.instant(records).unwrap_or(time_ns);
        Ok(Fetched { count, unchanged: None, mono_ns, syscalls })
    }

    /// The instant of a dump, which each of its records has.
    fn instant(&self, records: &[u8]) -> Option<u64> {
        let size = if self.record_size == 0 { records.len() } else { self.record_size };
        let first = records.get(..size)?;
        let version = first.first_chunk().map(|&bytes| u16::from_ne_bytes(bytes))?;
        let layout = Layout::of_record(version, first, false).ok()?;
        Record::new(first, &layout, FieldSet::ALL)?.ac_time_ns()
    }
}

/// Appends a record as /proc/taskstats has it: the extension, which is an attribute of its
/// own here, follows the base, whose version tells so.
fn append_record(records: &mut Vec<u8>, stats: &Stats<'_>) {
    let start = records.len();
    records.extend_from_slice(stats.bytes);
    if stats.extension.is_empty() {
        return;
    }
    records.extend_from_slice(stats.extension);
    if let Some(version) = records.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *version = (u16::from_ne_bytes(*version) | EXTENSION_BIT).to_ne_bytes();
    }
}
