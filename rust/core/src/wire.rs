//! Parser of generic netlink: messages, their attributes, and the records in them.
//!
//! Design decisions
//!
//! * Everything borrows from the datagram; parsing allocates nothing.
//! * Each length is checked before it is used. A length of zero is an error, never an
//!   endless loop.
//! * The NULL attribute that pads for alignment may stand before or inside the
//!   nest (kernels differ), so attributes are found by type, never by position.

use crate::error::{ErrorKind, ParseError};

/// Size of `struct nlmsghdr`.
pub const MESSAGE_HEADER: usize = 16;
/// Size of `struct genlmsghdr`.
pub const GENERIC_HEADER: usize = 4;
/// Size of `struct nlattr`.
pub const ATTRIBUTE_HEADER: usize = 4;

/// NLMSG_NOOP: ignored.
pub const NLMSG_NOOP: u16 = 1;
/// NLMSG_ERROR: an error, or with code 0 an acknowledgement.
pub const NLMSG_ERROR: u16 = 2;
/// NLMSG_DONE: the end of a multipart reply.
pub const NLMSG_DONE: u16 = 3;

/// TASKSTATS_CMD_GET.
pub const CMD_GET: u8 = 1;
/// TASKSTATS_CMD_NEW.
pub const CMD_NEW: u8 = 2;

/// TASKSTATS_TYPE_PID.
pub const TYPE_PID: u16 = 1;
/// TASKSTATS_TYPE_TGID.
pub const TYPE_TGID: u16 = 2;
/// TASKSTATS_TYPE_STATS.
pub const TYPE_STATS: u16 = 3;
/// TASKSTATS_TYPE_AGGR_PID.
pub const TYPE_AGGR_PID: u16 = 4;
/// TASKSTATS_TYPE_AGGR_TGID.
pub const TYPE_AGGR_TGID: u16 = 5;
/// TASKSTATS_TYPE_EXT, of this project's kernel series.
pub const TYPE_EXT: u16 = 7;

/// Mask off NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const TYPE_MASK: u16 = 0x3fff;

const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Payload of a netlink message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// NLMSG_ERROR: a negative errno, or 0 for an acknowledgement.
    Error {
        /// The negative errno.
        code: i32,
    },
    /// NLMSG_DONE.
    Done,
    /// A generic netlink message.
    Generic {
        /// Its command.
        command: u8,
        /// Its attributes.
        attributes: Attributes<'a>,
    },
}

/// One netlink message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`: the family's id, or a control type below 16.
    pub kind: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// Its payload.
    pub payload: Payload<'a>,
}

/// Iterator over the messages of one datagram. It ends after an error.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    datagram: &'a [u8],
    at: usize,
}

/// Returns the messages of `datagram`.
pub fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages { datagram, at: 0 }
}

impl<'a> Messages<'a> {
    fn read(&mut self) -> Result<Message<'a>, ParseError> {
        let start = self.at;
        let rest = &self.datagram[start..];
        // Any error below ends the iteration.
        self.at = self.datagram.len();
        let truncated = ParseError::new(ErrorKind::Truncated, start);
        let (Some(length), Some(kind), Some(sequence)) =
            (u32_at(rest, 0), u16_at(rest, 4), u32_at(rest, 8))
        else {
            return Err(truncated);
        };
        if rest.len() < MESSAGE_HEADER {
            return Err(truncated);
        }
        let length = length as usize;
        if length < MESSAGE_HEADER || length > rest.len() {
            let swapped = (length as u32).swap_bytes() as usize;
            let foreign = (MESSAGE_HEADER..=rest.len()).contains(&swapped);
            let kind = match (foreign, length > rest.len()) {
                (true, _) => ErrorKind::ForeignByteOrder,
                (false, true) => ErrorKind::Truncated,
                (false, false) => ErrorKind::BadLength,
            };
            return Err(ParseError::new(kind, start));
        }
        let body = &rest[MESSAGE_HEADER..length];
        let body_at = start + MESSAGE_HEADER;
        let payload = match kind {
            NLMSG_ERROR => {
                let code = u32_at(body, 0).ok_or(ParseError::new(ErrorKind::Truncated, body_at))?;
                Payload::Error { code: code.cast_signed() }
            }
            NLMSG_DONE => Payload::Done,
            _ if body.len() < GENERIC_HEADER => {
                return Err(ParseError::new(ErrorKind::Truncated, body_at));
            }
            _ => Payload::Generic {
                command: body[0],
                attributes: Attributes {
                    bytes: &body[GENERIC_HEADER..],
                    base: body_at + GENERIC_HEADER,
                },
            },
        };
        self.at = (start + aligned(length)).min(self.datagram.len());
        Ok(Message { kind, sequence, payload })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.at < self.datagram.len()).then(|| self.read())
    }
}

/// Iterator over consecutive attributes. It ends after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes<'a> {
    bytes: &'a [u8],
    base: usize,
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type without the flag bits.
    pub kind: u16,
    /// Its payload.
    pub bytes: &'a [u8],
    /// Offset of the payload in the datagram.
    pub offset: usize,
}

impl<'a> Attribute<'a> {
    /// The payload as an array of attributes.
    pub fn nested(&self) -> Attributes<'a> {
        Attributes { bytes: self.bytes, base: self.offset }
    }

    /// The payload as a u32.
    pub fn u32(&self) -> Result<u32, ParseError> {
        match self.bytes.len() {
            4 => u32_at(self.bytes, 0).ok_or(ParseError::new(ErrorKind::Truncated, self.offset)),
            _ => Err(ParseError::new(ErrorKind::BadLength, self.offset)),
        }
    }
}

impl<'a> Attributes<'a> {
    /// The attributes in `bytes`, which begin `base` bytes into the input.
    pub fn new(bytes: &'a [u8], base: usize) -> Attributes<'a> {
        Attributes { bytes, base }
    }

    fn read(&mut self) -> Result<Attribute<'a>, ParseError> {
        let (bytes, base) = (self.bytes, self.base);
        self.bytes = &[];
        let (Some(length), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) else {
            return Err(ParseError::new(ErrorKind::Truncated, base));
        };
        let length = usize::from(length);
        if length < ATTRIBUTE_HEADER {
            return Err(ParseError::new(ErrorKind::BadLength, base));
        }
        if length > bytes.len() {
            return Err(ParseError::new(ErrorKind::Truncated, base));
        }
        let step = aligned(length).min(bytes.len());
        self.bytes = &bytes[step..];
        self.base = base + step;
        Ok(Attribute {
            kind: kind & TYPE_MASK,
            bytes: &bytes[ATTRIBUTE_HEADER..length],
            offset: base + ATTRIBUTE_HEADER,
        })
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.bytes.is_empty()).then(|| self.read())
    }
}

/// The task or process of a record in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    /// One task.
    Pid(u32),
    /// A whole process; the record itself carries no id then.
    Tgid(u32),
}

/// The record of one AGGR_PID or AGGR_TGID nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats<'a> {
    /// Its task or process.
    pub id: Id,
    /// The bytes of `struct taskstats`.
    pub bytes: &'a [u8],
    /// The bytes of `struct taskstats_ext`; none from stock kernels.
    pub extension: &'a [u8],
    /// Offset of the bytes in the datagram.
    pub offset: usize,
}

/// The records of one TASKSTATS_CMD_NEW message: one for a reply, up to two for
/// the exit of a process's last thread.
pub fn stats(attributes: Attributes<'_>) -> impl Iterator<Item = Result<Stats<'_>, ParseError>> {
    attributes.filter_map(|attribute| match attribute {
        Ok(nest) if matches!(nest.kind, TYPE_AGGR_PID | TYPE_AGGR_TGID) => Some(nest_stats(nest)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

fn nest_stats(nest: Attribute<'_>) -> Result<Stats<'_>, ParseError> {
    let (mut id, mut stats, mut extension) = (None, None, &[][..]);
    for attribute in nest.nested() {
        let attribute = attribute?;
        match attribute.kind {
            TYPE_PID => id = Some(Id::Pid(attribute.u32()?)),
            TYPE_TGID => id = Some(Id::Tgid(attribute.u32()?)),
            TYPE_STATS => stats = Some(attribute),
            TYPE_EXT => extension = attribute.bytes,
            _ => {}
        }
    }
    match (id, stats) {
        (Some(id), Some(stats)) => {
            Ok(Stats { id, bytes: stats.bytes, extension, offset: stats.offset })
        }
        _ => Err(ParseError::new(ErrorKind::MissingAttribute, nest.offset)),
    }
}
