//! Requests and answers of generic netlink.

use std::io;

use neli::consts::nl::NlmF;
use neli::consts::socket::Msg;
use neli::genl::{AttrTypeBuilder, GenlmsghdrBuilder, NlattrBuilder, NoUserHeader};
use neli::nl::{NlPayload, NlmsghdrBuilder};
use neli::socket::NlSocket;
use neli::types::GenlBuffer;
use precise_top_core::wire::{self, Id, Payload};

use crate::errors::Error;

/// GENL_ID_CTRL and its CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID and _NAME.
const CONTROL_FAMILY: u16 = 0x10;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;

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

/// Sends one message and gives the datagram that answers it.
pub(crate) fn transact(socket: &NlSocket, bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    socket.send(bytes, Msg::empty()).map_err(|error| Error::os("send a netlink request", error))?;
    let mut buffer = vec![0; 16 * 1024];
    let (length, _) = socket
        .recv(&mut buffer, Msg::empty())
        .map_err(|error| Error::os("receive a netlink answer", error))?;
    buffer.truncate(length);
    Ok(buffer)
}

pub(super) fn ask_one(socket: &NlSocket, family: u16, id: Id) -> Result<Vec<u8>, Error> {
    let (kind, number) = match id {
        Id::Pid(pid) => (wire::TYPE_PID, pid),
        Id::Tgid(tgid) => (wire::TYPE_TGID, tgid),
    };
    let answer = transact(socket, request(family, 0, kind, number)?)?;
    match record_of(&answer) {
        Err(Error::NoSuchTask(_)) => Err(Error::NoSuchTask(number)),
        Err(error) => Err(error),
        Ok(_) => Ok(answer),
    }
}

/// The record in an answer, or the error that the answer is.
pub(crate) fn record_of(answer: &[u8]) -> Result<&[u8], Error> {
    for message in wire::messages(answer) {
        match message?.payload {
            Payload::Error { code } if code != 0 => return Err(Error::from_reply(code)),
            Payload::Generic { attributes, .. } => {
                if let Some(stats) = wire::stats(attributes).next() {
                    return Ok(stats?.bytes);
                }
            }
            _ => {}
        }
    }
    Err(Error::Parse(precise_top_core::ParseError::new(
        precise_top_core::ErrorKind::MissingAttribute,
        0,
    )))
}

pub(crate) fn resolve_family(socket: &NlSocket) -> Result<u16, Error> {
    let asked = message(CONTROL_FAMILY, 0, CONTROL_GET_FAMILY, CONTROL_FAMILY_NAME, "TASKSTATS")?;
    let answer = transact(socket, asked)?;
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
    Err(Error::Parse(precise_top_core::ParseError::new(
        precise_top_core::ErrorKind::MissingAttribute,
        0,
    )))
}
