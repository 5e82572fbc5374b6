//! Records of many tasks: many requests in one datagram, all answers in one call.
//!
//! Design decisions
//!
//! * Each answer is scattered on receipt: its headers to one side, the record to its final
//!   place, so that the kernel writes a record once and nobody copies it.
//! * A batch is never larger than the receive buffer can hold. Answers that are lost all
//!   the same are asked for again in smaller batches.
//! * An answer is known by its sequence number. One that comes late is skipped.

use precise_top_core::wire::{self, Id};
use precise_top_core::{ErrorKind, Layout, ParseError};

use super::socket::{self, Socket};
use crate::errors::Error;
use crate::sys;

/// Headers before the record in an answer: nlmsghdr, genlmsghdr, the nest, the id
/// attribute, the record attribute's header.
const HEAD: usize = 36;
/// Where nlmsg_type and nlmsg_seq are in `struct nlmsghdr`.
const TYPE_OFFSET: usize = 4;
const SEQUENCE_OFFSET: usize = 8;
/// Where nla_type is in `struct nlattr`.
const ATTRIBUTE_TYPE_OFFSET: usize = 2;
/// Bytes of one request.
const REQUEST_SIZE: usize = 28;
/// Requested size of the receive buffer; the kernel doubles it for its bookkeeping.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The largest part of the receive buffer that one answer takes.
const ANSWER_COST: usize = 2048;
/// Largest number of requests in one datagram.
const LARGEST_BATCH: usize = 512;
/// Answers are queued before send returns; this only ends a wait for lost ones.
const RECEIVE_TIMEOUT_MS: i64 = 200;

/// A socket for requests.
pub(super) struct Requester {
    socket: Socket,
    family: u16,
    sequence: u32,
    batch: usize,
    /// System calls since the count was last taken.
    pub(super) syscalls: u32,
}

/// Records of the tasks that were found.
pub(super) struct Found {
    /// The records, `stride` bytes each.
    pub(super) records: Vec<u8>,
    /// The task of each record.
    pub(super) ids: Vec<u32>,
    stride: usize,
    /// Bytes of a record.
    size: usize,
}

impl Found {
    /// Where the next record goes.
    fn end(&self) -> usize {
        self.ids.len() * self.stride
    }

    /// Keeps the record that lies at `from` as the next one.
    fn keep(&mut self, id: u32, from: usize) {
        let to = self.end();
        self.records.copy_within(from..from + self.size, to);
        self.ids.push(id);
    }

    /// Appends a record from elsewhere.
    fn append(&mut self, id: u32, record: &[u8]) -> Result<(), Error> {
        let to = self.end();
        if record.len() != self.size {
            return Err(Error::Parse(ParseError::new(ErrorKind::Truncated, record.len())));
        }
        self.records[to..to + self.size].copy_from_slice(record);
        self.ids.push(id);
        Ok(())
    }
}

/// One datagram of requests, until all their answers are there.
struct Exchange<'a> {
    ids: &'a [u32],
    /// Sequence number of the first request.
    first: u32,
    answered: Vec<bool>,
    /// Tasks whose answer has padding attributes, so that its record did not fit.
    padded: Vec<u32>,
}

impl Exchange<'_> {
    fn is_over(&self) -> bool {
        self.answered.iter().all(|&answered| answered)
    }

    /// Sorts answers that were received behind the records in `found`.
    fn take(
        &mut self,
        heads: &[u8],
        received: &[sys::Received],
        found: &mut Found,
    ) -> Result<(), Error> {
        let start = found.end();
        for (index, (head, answer)) in heads.chunks_exact(HEAD).zip(received).enumerate() {
            let number = u32_at(head, SEQUENCE_OFFSET).wrapping_sub(self.first);
            let Some(answered) = self.answered.get_mut(number as usize).filter(|done| !**done)
            else {
                // An answer to a request of an earlier exchange that ended in an error.
                continue;
            };
            *answered = true;
            let id = self.ids[number as usize];
            match classify(head, *answer, found.size)? {
                Answer::Gone => {}
                Answer::Padded => self.padded.push(id),
                Answer::Record => found.keep(id, start + index * found.stride),
            }
        }
        Ok(())
    }
}

impl Requester {
    /// Opens a socket. Unsupported where the kernel has no TASKSTATS.
    pub(super) fn open() -> Result<Requester, Error> {
        let socket = Socket::open()?;
        socket.enlarge_receive_buffer(RECEIVE_BUFFER);
        socket.set_receive_timeout(RECEIVE_TIMEOUT_MS)?;
        let family = socket::resolve_family(&socket)?;
        let batch = (socket.receive_buffer()? / ANSWER_COST).clamp(1, LARGEST_BATCH);
        Ok(Requester { socket, family, sequence: socket::RESOLVE, batch, syscalls: 0 })
    }

    /// The number of the TASKSTATS family.
    pub(super) fn family(&self) -> u16 {
        self.family
    }

    /// Shrinks the receive buffer to what the kernel makes of `bytes`, and batches to
    /// `batch` requests.
    pub(super) fn limit_receive_buffer(&mut self, bytes: usize, batch: usize) -> Result<(), Error> {
        self.batch = batch.clamp(1, LARGEST_BATCH);
        self.socket.limit_receive_buffer(bytes)
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// The layout of this kernel's records, as the caller's own record has it.
    pub(super) fn layout(&mut self) -> Result<Layout, Error> {
        let own = self.ask_one(Id::Pid(std::process::id()))?;
        let version =
            own.first_chunk::<2>().map(|&bytes| u16::from_ne_bytes(bytes)).unwrap_or_default();
        Ok(Layout::new(version, own.len(), false)?)
    }

    /// The record of one task. NoSuchTask where it is gone.
    pub(super) fn ask_one(&mut self, id: Id) -> Result<Vec<u8>, Error> {
        // One send, one receive.
        self.syscalls += 2;
        let sequence = self.next_sequence();
        socket::ask_one(&self.socket, self.family, sequence, id)
    }

    /// The records of `size` bytes of all of `ids`, `stride` bytes apart. Leaves out tasks
    /// that have vanished.
    pub(super) fn ask_all(
        &mut self,
        ids: &[u32],
        kind: u16,
        size: usize,
        stride: usize,
    ) -> Result<Found, Error> {
        let records = vec![0; ids.len() * stride];
        let mut found = Found { records, ids: Vec::with_capacity(ids.len()), stride, size };
        let mut batch = self.batch;
        let mut pending: Vec<u32> = ids.to_vec();
        loop {
            let mut lost = Vec::new();
            for ids in pending.chunks(batch) {
                lost.extend(self.exchange(ids, kind, &mut found)?);
            }
            if lost.is_empty() {
                break;
            }
            if batch == 1 {
                return Err(Error::Unsupported {
                    reason: "the receive buffer cannot hold a single taskstats answer".into(),
                    hint: "raise it with: sysctl net.core.rmem_default=212992".into(),
                });
            }
            batch = (batch / 2).max(1);
            pending = lost;
        }
        found.records.truncate(found.end());
        Ok(found)
    }

    /// Sends one datagram of requests, appends the records of the answers to `found`, and
    /// returns the tasks whose answers were lost.
    fn exchange(&mut self, ids: &[u32], kind: u16, found: &mut Found) -> Result<Vec<u32>, Error> {
        let first = self.sequence.wrapping_add(1);
        let mut requests = Vec::with_capacity(ids.len() * REQUEST_SIZE);
        for &id in ids {
            let sequence = self.next_sequence();
            requests.extend(socket::request(self.family, sequence, kind, id)?);
        }
        self.syscalls += 1;
        self.socket.send(&requests)?;
        let answered = vec![false; ids.len()];
        let mut exchange = Exchange { ids, first, answered, padded: Vec::new() };
        let mut heads = vec![0; ids.len() * HEAD];
        while !exchange.is_over()
            && let Some(received) = self.receive(&mut heads, found)?
        {
            exchange.take(&heads, &received, found)?;
        }
        for id in exchange.padded {
            let record = match self.ask_one(id_of(kind, id)) {
                Err(Error::NoSuchTask(_)) => continue,
                record => record?,
            };
            found.append(id, &record)?;
        }
        let outcome = ids.iter().zip(&exchange.answered);
        Ok(outcome.filter(|&(_, &answered)| !answered).map(|(&id, _)| id).collect())
    }

    /// Receives answers behind the records in `found`. Returns None where the rest of the
    /// answers is lost.
    fn receive(
        &mut self,
        heads: &mut [u8],
        found: &mut Found,
    ) -> Result<Option<Vec<sys::Received>>, Error> {
        loop {
            let (start, stride, size) = (found.end(), found.stride, found.size);
            let room = &mut found.records[start..];
            self.syscalls += 1;
            let received = sys::receive_scattered(&self.socket, heads, HEAD, room, stride, size);
            match received {
                Ok(received) => return Ok(Some(received)),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::ENOBUFS | libc::EAGAIN) => return Ok(None),
                    _ => return Err(Error::os("receive taskstats answers", error)),
                },
            }
        }
    }
}

/// The kinds of answer.
enum Answer {
    /// The record is where it belongs.
    Record,
    /// A record, shifted by padding attributes.
    Padded,
    /// The task does not exist any more.
    Gone,
}

fn classify(head: &[u8], answer: sys::Received, size: usize) -> Result<Answer, Error> {
    if u16_at(head, TYPE_OFFSET) == wire::NLMSG_ERROR {
        let code = u32_at(head, wire::MESSAGE_HEADER).cast_signed();
        return match code.saturating_neg() {
            libc::ESRCH => Ok(Answer::Gone),
            _ => Err(Error::from_reply(code)),
        };
    }
    let stats = HEAD - wire::ATTRIBUTE_HEADER;
    let expected = !answer.truncated
        && answer.length == HEAD + size
        && u16_at(head, stats + ATTRIBUTE_TYPE_OFFSET) == wire::TYPE_STATS
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
