//! Listens to exit events of taskstats: the final record that the kernel sends of a task.
//!
//! Design decisions
//!
//! * Each CPU has a socket with a large buffer. The events of a CPU are numbered, so that a
//!   gap in the numbers of its socket is the number of lost events.
//! * CPUs that may come online later share one more socket. There only ENOBUFS reports a
//!   loss, without a number.
//! * The kernel makes the record before it frees the task's memory, and the run time in it is
//!   up to one tick old.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::epoll::Epoll;
use precise_top_core::wire::{self, Id, Payload};
use precise_top_core::{
    FieldStatus, Header, Layout, RecordBuffer, SharedBytes, Snapshot, SourceKind,
};

use super::batch::Requester;
use super::fields::off_fields;
use super::socket::{self, Socket};
use crate::errors::Error;
use crate::host::{self, Host};
use crate::source::ExitFeed;
use crate::sys;
use crate::sys::thread::ForkGuard;

/// TASKSTATS_CMD_ATTR_REGISTER_CPUMASK.
const REGISTER_CPUMASK: u16 = 3;
/// TASKSTATS_CMD_ATTR_DEREGISTER_CPUMASK.
const DEREGISTER_CPUMASK: u16 = 4;
/// Sequence numbers of the two requests of a socket.
const REGISTER: u32 = 1;
const DEREGISTER: u32 = 2;
/// Where nlmsg_flags is in `struct nlmsghdr`.
const FLAGS: std::ops::Range<usize> = 6..8;
/// NLM_F_REQUEST and NLM_F_ACK.
const REQUEST_ACKNOWLEDGED: u16 = 0x1 | 0x4;
/// Receive buffer of one CPU's socket; the kernel doubles it for its bookkeeping.
/// Room for several thousand events.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Room for one event: two records of the newest kernels and their headers.
const EVENT: usize = 4096;
/// Events taken in one call.
const BATCH: usize = 64;
/// A jump of the numbers beyond this is another CPU's event, not a loss.
const LARGEST_GAP: u32 = 1 << 20;

/// The exit of one task, as the kernel reports it.
#[derive(Clone, Debug)]
pub struct Event {
    /// `struct taskstats` of the task.
    pub record: Vec<u8>,
    /// The sums of the process, where the task was the last of several threads.
    pub process: Option<Vec<u8>>,
    /// CLOCK_BOOTTIME at which the event was read. The exit was a little earlier.
    pub read_ns: u64,
}

/// The numbers of the events of one CPU.
#[derive(Clone, Copy, Debug, Default)]
struct Numbering {
    /// The next event's number, once one is known.
    expected: Option<u32>,
}

/// Sockets that are registered for exit events.
pub struct Listener {
    sockets: Vec<Socket>,
    /// Each socket's CPUs.
    masks: Vec<String>,
    family: u16,
    numbering: Vec<Numbering>,
    /// Sockets of a single CPU, the first ones.
    single: usize,
    readable: Epoll,
    buffer: Vec<u8>,
    layout: Layout,
    host: Host,
    lost: u64,
    home: ForkGuard,
}

impl Listener {
    /// Registers for the exits of all CPUs. AccessDenied without CAP_NET_ADMIN,
    /// Unsupported in a user or pid namespace other than the initial one, and where
    /// the kernel has no TASKSTATS.
    pub fn open() -> Result<Listener, Error> {
        let online = host::cpus("online");
        let later: Vec<String> = host::cpus("possible")
            .into_iter()
            .filter(|cpu| !online.contains(cpu))
            .map(|cpu| cpu.to_string())
            .collect();
        let mut masks: Vec<String> = online.iter().map(u32::to_string).collect();
        let single = masks.len();
        if !later.is_empty() {
            masks.push(later.join(","));
        }
        let family = socket::resolve_family(&Socket::open()?)?;
        let mut sockets = Vec::with_capacity(masks.len());
        for mask in &masks {
            let socket = Socket::open()?;
            socket.enlarge_receive_buffer(RECEIVE_BUFFER);
            register(&socket, family, mask)?;
            sockets.push(socket);
        }
        let readable = sys::any_readable(sockets.iter().map(AsFd::as_fd))
            .map_err(|error| Error::os("watch the exit sockets", error))?;
        Ok(Listener {
            numbering: vec![Numbering::default(); sockets.len()],
            single,
            sockets,
            masks,
            family,
            readable,
            buffer: vec![0; BATCH * EVENT],
            layout: Requester::open()?.layout()?,
            host: Host::new(),
            lost: 0,
            home: ForkGuard::new(),
        })
    }

    /// A descriptor that is readable while events wait.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.readable.0.as_fd()
    }

    /// The number of lost exits since the begin. A loss shows with the next exit on the same
    /// CPU.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The kernel's record layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Shrinks every socket's buffer to what the kernel makes of `bytes`; for tests of
    /// lost events.
    pub fn limit_receive_buffer(&self, bytes: usize) -> Result<(), Error> {
        self.sockets.iter().try_for_each(|socket| socket.limit_receive_buffer(bytes))
    }

    /// Receives no events any more, with what waits.
    pub(crate) fn close(&mut self) {
        // Of what is closed the kernel forgets the registration at the next event.
        self.sockets = Vec::new();
    }

    /// Reads all waiting events.
    pub fn drain(&mut self, events: &mut Vec<Event>) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let drained = (0..self.sockets.len())
            .try_for_each(|which| self.drain_socket(which, &mut buffer, events));
        self.buffer = buffer;
        drained
    }

    fn drain_socket(
        &mut self,
        which: usize,
        buffer: &mut [u8],
        events: &mut Vec<Event>,
    ) -> Result<(), Error> {
        loop {
            let received = match sys::receive_many(&self.sockets[which], buffer, EVENT) {
                Ok(received) => received,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::EAGAIN) => return Ok(()),
                    Some(libc::ENOBUFS) => {
                        // On a CPU's own socket the gap in the numbers has the count.
                        self.lost += u64::from(which >= self.single);
                        continue;
                    }
                    _ => return Err(Error::os("receive exits", error)),
                },
            };
            let read_ns = host::now().boottime_ns;
            for (slot, datagram) in buffer.chunks_exact(EVENT).zip(&received) {
                if datagram.truncated {
                    self.lost += 1;
                    continue;
                }
                self.take(which, &slot[..datagram.length], read_ns, events)?;
            }
            if received.len() < BATCH {
                return Ok(());
            }
        }
    }

    fn take(
        &mut self,
        which: usize,
        datagram: &[u8],
        read_ns: u64,
        events: &mut Vec<Event>,
    ) -> Result<(), Error> {
        for message in wire::messages(datagram) {
            let message = message?;
            let Payload::Generic { attributes, .. } = message.payload else { continue };
            self.count(which, message.sequence);
            let (mut record, mut process) = (None, None);
            for stats in wire::stats(attributes) {
                let stats = stats?;
                match stats.id {
                    Id::Pid(_) => record = Some(stats.bytes.to_vec()),
                    Id::Tgid(_) => process = Some(stats.bytes.to_vec()),
                }
            }
            match record.filter(|record| record.len() == self.layout.record_size()) {
                Some(record) => {
                    let process = process.filter(|sums| sums.len() == record.len());
                    events.push(Event { record, process, read_ns });
                }
                None => self.lost += 1,
            }
        }
        Ok(())
    }

    /// Checks an event's number against the one expected of its CPU.
    fn count(&mut self, which: usize, number: u32) {
        if which >= self.single {
            return;
        }
        let Some(expected) = self.numbering[which].expected else {
            self.numbering[which].expected = Some(number.wrapping_add(1));
            return;
        };
        let ahead = number.wrapping_sub(expected);
        if ahead > 0 {
            // A task that moved while its event was made has its new CPU's number.
            let moved = self.numbering[..self.single]
                .iter_mut()
                .find(|other| other.expected == Some(number));
            if let Some(other) = moved {
                other.expected = Some(number.wrapping_add(1));
                return;
            }
            if ahead > LARGEST_GAP {
                return;
            }
            self.lost += u64::from(ahead);
        }
        self.numbering[which].expected = Some(number.wrapping_add(1));
    }
}

impl ExitFeed for Listener {
    fn readable(&self) -> BorrowedFd<'_> {
        self.fd()
    }

    fn lost(&mut self) -> u64 {
        self.lost
    }

    /// The records as the kernel gave them.
    fn take(&mut self) -> Result<Option<Snapshot<SharedBytes>>, Error> {
        let mut events = Vec::new();
        self.drain(&mut events)?;
        if events.is_empty() {
            return Ok(None);
        }
        let mut header = Header::new(SourceKind::Netlink, self.layout.fields());
        self.host.identify(&mut header);
        header.begin = host::now();
        header.end = header.begin;
        header.exited = events.len() as u32;
        header.exits_lost = self.lost;
        let off = off_fields(host::delayacct());
        header.set_status(off, FieldStatus::Off);
        let filled = self.layout.fields().difference(off);
        let mut records = RecordBuffer::new(self.layout.record_size(), events.len());
        events.iter().for_each(|event| records.push(&event.record, filled));
        Ok(Some(records.into_snapshot(header, self.layout.clone())?))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A forked child has the same sockets, on which its parent still listens.
        if !self.home.is_here() {
            return;
        }
        // The kernel identifies a listener by its port, which the next socket may get. Without
        // the privilege, the first exit after the close ends the registration.
        for (socket, mask) in self.sockets.iter().zip(&self.masks) {
            if let Ok(request) = socket::message(
                self.family,
                DEREGISTER,
                wire::CMD_GET,
                DEREGISTER_CPUMASK,
                mask.as_str(),
            ) {
                let _ = socket.send(&request);
            }
        }
    }
}

fn register(socket: &Socket, family: u16, mask: &str) -> Result<(), Error> {
    let mut request = socket::message(family, REGISTER, wire::CMD_GET, REGISTER_CPUMASK, mask)?;
    // Without an acknowledgement, a refused registration would be silent.
    request[FLAGS].copy_from_slice(&REQUEST_ACKNOWLEDGED.to_ne_bytes());
    socket.send(&request)?;
    let mut buffer = vec![0; EVENT];
    // Skip events that come before the acknowledgement.
    loop {
        let length = socket.receive(&mut buffer)?;
        for message in wire::messages(&buffer[..length]) {
            let message = message?;
            let Payload::Error { code } = message.payload else { continue };
            return match code.saturating_neg() {
                0 => Ok(()),
                libc::EINVAL => Err(Error::Unsupported {
                    reason: "exit events come to the initial user and pid namespace only".into(),
                    hint: "run it outside the container".into(),
                }),
                libc::EPERM => Err(Error::netlink_denied()),
                errno => Err(Error::os("register for exits", io::Error::from_raw_os_error(errno))),
            };
        }
    }
}
