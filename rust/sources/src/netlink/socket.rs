//! Sockets, requests and answers of generic netlink.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use neli::consts::nl::NlmF;
use neli::genl::{AttrTypeBuilder, GenlmsghdrBuilder, NlattrBuilder, NoUserHeader};
use neli::nl::{NlPayload, NlmsghdrBuilder};
use neli::types::GenlBuffer;
use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use precise_top_core::wire::{self, Id, Payload};
use precise_top_core::{ErrorKind, ParseError};

use crate::errors::Error;

/// GENL_ID_CTRL and its CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID and _NAME.
const CONTROL_FAMILY: u16 = 0x10;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;
/// Sequence number of the request for the family, the first one of a socket.
pub(super) const RESOLVE: u32 = 1;
/// Room for the longest answer to a single request.
const LONGEST_ANSWER: usize = 16 << 10;

/// A request, by neli's builders.
pub(crate) fn message(
    family: u16,
    sequence: u32,
    command: u8,
    attribute: u16,
    payload: impl neli::ToBytes + neli::Size,
) -> Result<Vec<u8>, Error> {
    flagged_message(family, sequence, NlmF::REQUEST, command, attribute, payload)
}

pub(crate) fn flagged_message(
    family: u16,
    sequence: u32,
    flags: NlmF,
    command: u8,
    attribute: u16,
    payload: impl neli::ToBytes + neli::Size,
) -> Result<Vec<u8>, Error> {
    let build = || -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let attribute = NlattrBuilder::default()
            .nla_type(AttrTypeBuilder::default().nla_type(attribute).build()?)
            .nla_payload(payload)
            .build()?;
        let body = GenlmsghdrBuilder::<u8, u16, NoUserHeader>::default()
            .cmd(command)
            .version(1)
            .attrs([attribute].into_iter().collect::<GenlBuffer<_, _>>())
            .build()?;
        let message = NlmsghdrBuilder::default()
            .nl_type(family)
            .nl_flags(flags)
            .nl_seq(sequence)
            .nl_payload(NlPayload::Payload(body))
            .build()?;
        let mut bytes = io::Cursor::new(Vec::new());
        neli::ToBytes::to_bytes(&message, &mut bytes)?;
        Ok(bytes.into_inner())
    };
    build().map_err(|error| Error::os("build a request", io::Error::other(error.to_string())))
}

pub(super) fn request(family: u16, sequence: u32, kind: u16, id: u32) -> Result<Vec<u8>, Error> {
    // The request attributes have the numbers of the answer's id attributes.
    message(family, sequence, wire::CMD_GET, kind, id)
}

/// A generic netlink socket.
pub(crate) struct Socket(OwnedFd);

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Socket {
    /// Opens a socket and binds it to a port of the kernel's choice.
    pub(crate) fn open() -> Result<Socket, Error> {
        let open = || -> nix::Result<OwnedFd> {
            let fd = socket::socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkGeneric,
            )?;
            socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
            Ok(fd)
        };
        open().map(Socket).map_err(|errno| Error::os("open a netlink socket", errno.into()))
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        socket::send(self.as_raw_fd(), bytes, MsgFlags::empty())
            .map(drop)
            .map_err(|errno| Error::os("send a netlink request", errno.into()))
    }

    /// Receives one datagram and returns its length.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match socket::recv(self.as_raw_fd(), buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                received => {
                    return received
                        .map_err(|errno| Error::os("receive a netlink answer", errno.into()));
                }
            }
        }
    }

    /// Sends a request and returns the message that answers it. Skips other messages: late
    /// answers to earlier requests and events.
    pub(crate) fn ask(&self, sequence: u32, request: &[u8]) -> Result<Vec<u8>, Error> {
        self.send(request)?;
        let mut buffer = vec![0; LONGEST_ANSWER];
        loop {
            let length = self.receive(&mut buffer)?;
            let mut messages = wire::messages(&buffer[..length]);
            let answers = messages.try_fold(false, |found, message| {
                Ok::<_, Error>(found || message?.sequence == sequence)
            })?;
            if answers {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
    }

    /// Asks for a larger receive buffer. Without CAP_NET_ADMIN the system's default stays.
    pub(crate) fn enlarge_receive_buffer(&self, bytes: usize) {
        let _ = socket::setsockopt(self, sockopt::RcvBufForce, &bytes);
    }

    /// Sets the size of the receive buffer, of which the kernel makes the double.
    pub(crate) fn limit_receive_buffer(&self, bytes: usize) -> Result<(), Error> {
        socket::setsockopt(self, sockopt::RcvBuf, &bytes)
            .map_err(|errno| Error::os("set the receive buffer's size", errno.into()))
    }

    /// The size of the receive buffer as the kernel counts it.
    pub(crate) fn receive_buffer(&self) -> Result<usize, Error> {
        socket::getsockopt(self, sockopt::RcvBuf)
            .map_err(|errno| Error::os("read the receive buffer's size", errno.into()))
    }

    /// Limits the time that a receiver waits.
    pub(crate) fn set_receive_timeout(&self, ms: i64) -> Result<(), Error> {
        socket::setsockopt(self, sockopt::ReceiveTimeout, &TimeVal::milliseconds(ms))
            .map_err(|errno| Error::os("set the receive timeout", errno.into()))
    }
}

/// Asks for the record of one task. The answer is checked to be to this request and of
/// this task.
pub(super) fn ask_one(
    socket: &Socket,
    family: u16,
    sequence: u32,
    id: Id,
) -> Result<Vec<u8>, Error> {
    let (kind, number) = match id {
        Id::Pid(pid) => (wire::TYPE_PID, pid),
        Id::Tgid(tgid) => (wire::TYPE_TGID, tgid),
    };
    let answer = socket.ask(sequence, &request(family, sequence, kind, number)?)?;
    match record_in(&answer, sequence) {
        Err(Error::NoSuchTask(_)) => Err(Error::NoSuchTask(number)),
        Err(error) => Err(error),
        Ok((found, _)) if found != id => Err(missing_record()),
        Ok((_, record)) => Ok(record.to_vec()),
    }
}

fn missing_record() -> Error {
    Error::Parse(ParseError::new(ErrorKind::MissingAttribute, 0))
}

/// The record in the answer to a request and whose it is, or the error in the answer.
fn record_in(answer: &[u8], sequence: u32) -> Result<(Id, &[u8]), Error> {
    for message in wire::messages(answer) {
        let message = message?;
        match message.payload {
            _ if message.sequence != sequence => {}
            Payload::Error { code } if code != 0 => return Err(Error::from_reply(code)),
            Payload::Generic { attributes, .. } => {
                if let Some(stats) = wire::stats(attributes).next() {
                    let stats = stats?;
                    return Ok((stats.id, stats.bytes));
                }
            }
            _ => {}
        }
    }
    Err(missing_record())
}

/// The number that the kernel has given to the TASKSTATS family.
pub(crate) fn resolve_family(socket: &Socket) -> Result<u16, Error> {
    let request =
        message(CONTROL_FAMILY, RESOLVE, CONTROL_GET_FAMILY, CONTROL_FAMILY_NAME, "TASKSTATS")?;
    let answer = socket.ask(RESOLVE, &request)?;
    for message in wire::messages(&answer) {
        match message?.payload {
            Payload::Error { code } if code == -libc::ENOENT => {
                return Err(Error::Unsupported {
                    reason: "the kernel has no TASKSTATS family".into(),
                    hint: "it needs CONFIG_TASKSTATS=y; the procfs source works without".into(),
                });
            }
            Payload::Error { code } if code != 0 => return Err(Error::from_reply(code)),
            Payload::Generic { attributes, .. } => {
                for attribute in attributes {
                    let attribute = attribute?;
                    if attribute.kind == CONTROL_FAMILY_ID
                        && let Some(&id) = attribute.bytes.first_chunk::<2>()
                    {
                        return Ok(u16::from_ne_bytes(id));
                    }
                }
            }
            _ => {}
        }
    }
    Err(missing_record())
}
