//! Parse errors: a kind and the byte offset it was found at. Prose is made at
//! the edge, so that making an error allocates nothing.

use std::fmt;

/// Kind of a parse error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No bytes at all where a recording should be.
    Empty,
    /// The bytes end before the thing they began.
    Truncated,
    /// A length that is zero where it cannot be, or points outside its container.
    BadLength,
    /// A record version outside 1 … 255.
    BadVersion,
    /// Records of different versions in one array.
    MixedVersions,
    /// The bytes do not begin with what they should.
    BadMagic,
    /// A count that the bytes cannot hold.
    BadCount,
    /// A value that its field cannot have.
    BadValue,
    /// An attribute that must be there is not.
    MissingAttribute,
    /// A generic netlink message of another family or command.
    UnexpectedMessage,
    /// Netlink bytes in the other byte order.
    ForeignByteOrder,
    /// A snapshot format newer than this reader.
    NewerFormat,
    /// Bytes that are not those that were written: their checksum differs.
    BadChecksum,
    /// Nothing that a recording could begin with.
    Unrecognised,
    /// Only what changed since a frame that is missing or damaged.
    MissingBase,
    /// The memory for the data is not there.
    OutOfMemory,
    /// The caller asked to stop reading.
    Interrupted,
}

impl ErrorKind {
    /// Whether the data is damaged. False if reading it was given up.
    pub const fn is_damage(self) -> bool {
        !matches!(self, ErrorKind::OutOfMemory | ErrorKind::Interrupted)
    }

    /// A short explanation.
    pub const fn message(self) -> &'static str {
        match self {
            ErrorKind::Empty => "is empty: ptop record -o FILE writes a recording",
            ErrorKind::Truncated => "the data ends in the middle of a structure",
            ErrorKind::BadLength => "a length is zero or reaches beyond its container",
            ErrorKind::BadVersion => "not a struct taskstats: its version is outside 1 to 255",
            ErrorKind::MixedVersions => "records of different versions in one array",
            ErrorKind::BadMagic => "not a snapshot: the magic number is missing",
            ErrorKind::BadCount => "a count is larger than the data can hold",
            ErrorKind::BadValue => "a value is outside its field's range",
            ErrorKind::MissingAttribute => "a required attribute is missing",
            ErrorKind::UnexpectedMessage => "not a taskstats message",
            ErrorKind::ForeignByteOrder => "netlink data in another byte order than this machine's",
            ErrorKind::NewerFormat => "a snapshot format newer than this version can read",
            ErrorKind::BadChecksum => "the data is damaged: its checksum differs",
            ErrorKind::Unrecognised => {
                "neither a dump (ptop record -o FILE writes one) nor records of struct taskstats"
            }
            ErrorKind::MissingBase => "the frame that this one builds on is missing or damaged",
            ErrorKind::OutOfMemory => "there is not enough memory for the data",
            ErrorKind::Interrupted => "reading was interrupted",
        }
    }
}

/// Bytes that could not be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Kind of the error.
    pub kind: ErrorKind,
    /// Offset of the error in the input, in bytes.
    pub offset: usize,
}

impl ParseError {
    /// An error of `kind` at `offset`.
    pub const fn new(kind: ErrorKind, offset: usize) -> ParseError {
        ParseError { kind, offset }
    }

    /// Returns the error with its offset relative to a container that has the input at `base`.
    #[must_use]
    pub const fn shifted(self, base: usize) -> ParseError {
        ParseError { kind: self.kind, offset: self.offset + base }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (byte {})", self.kind.message(), self.offset)
    }
}

impl std::error::Error for ParseError {}
