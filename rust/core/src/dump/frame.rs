//! Frames: a header of 40 bytes with its own checksum, then the payload. Numbers are
//! little-endian.

use std::borrow::Cow;
use std::io::Read;

use crate::error::{ErrorKind, ParseError};

/// The first bytes of every dump.
pub const MAGIC: [u8; 8] = *b"TSKDUMP\n";
/// Bytes before the first frame: magic, format version, zeros.
pub const PREAMBLE: usize = 16;
const FORMAT_VERSION: u16 = 1;

pub(super) const MARK: u32 = u32::from_le_bytes(*b"TSFR");
pub(super) const HEADER: usize = 40;
/// Frames begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;
/// Flag: the payload is compressed with zstd.
const ZSTD: u8 = 1;
/// What a compressed payload may unpack to. A frame of a million tasks takes 600 MB.
const LARGEST: usize = 1 << 31;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// The fields of the records in the frames that follow.
    Table,
    /// A snapshot's byte form.
    Full,
    /// What differs from the snapshot before.
    Delta,
    /// Command lines, user names, cgroup paths.
    Strings,
    /// Where the frames before it stand.
    Index,
    /// Something of a later version.
    Unknown(u16),
}

impl FrameKind {
    /// The number in the frame's header.
    pub const fn number(self) -> u16 {
        match self {
            FrameKind::Table => 1,
            FrameKind::Full => 2,
            FrameKind::Delta => 3,
            FrameKind::Strings => 4,
            FrameKind::Index => 5,
            FrameKind::Unknown(number) => number,
        }
    }

    /// The kind of that number.
    pub const fn from_number(number: u16) -> FrameKind {
        match number {
            1 => FrameKind::Table,
            2 => FrameKind::Full,
            3 => FrameKind::Delta,
            4 => FrameKind::Strings,
            5 => FrameKind::Index,
            other => FrameKind::Unknown(other),
        }
    }

    /// Whether the frame is a snapshot.
    pub const fn is_snapshot(self) -> bool {
        matches!(self, FrameKind::Full | FrameKind::Delta)
    }
}

/// Whether `bytes` begin as a dump does.
pub fn is_dump(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Whether that is the checksum of `bytes`.
fn is_sum(bytes: &[u8], checksum: u32) -> bool {
    // A fuzzer would not get past it.
    cfg!(fuzzing) || crc32c::crc32c(bytes) == checksum
}

/// The bytes before the first frame.
pub(super) fn preamble() -> [u8; PREAMBLE] {
    let mut bytes = [0; PREAMBLE];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes
}

/// That `bytes` begin with a dump's preamble of a version that can be read.
pub(super) fn check_preamble(bytes: &[u8]) -> Result<(), ParseError> {
    if !is_dump(bytes) {
        return Err(ParseError::new(ErrorKind::BadMagic, 0));
    }
    let Some(version) = bytes.get(8..10).and_then(|bytes| bytes.first_chunk()) else {
        return Err(ParseError::new(ErrorKind::Truncated, bytes.len()));
    };
    match u16::from_le_bytes(*version) {
        0 => return Err(ParseError::new(ErrorKind::BadValue, 8)),
        version if version > FORMAT_VERSION => {
            return Err(ParseError::new(ErrorKind::NewerFormat, 8));
        }
        _ => {}
    }
    match bytes.get(10..PREAMBLE) {
        None => Err(ParseError::new(ErrorKind::Truncated, bytes.len())),
        Some(rest) => match rest.iter().position(|&byte| byte != 0) {
            Some(at) => Err(ParseError::new(ErrorKind::BadValue, 10 + at)),
            None => Ok(()),
        },
    }
}

/// A frame's header, with where the frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where its header begins.
    pub offset: usize,
    /// What it holds.
    pub kind: FrameKind,
    /// Whether its payload is compressed.
    pub compressed: bool,
    /// Where its payload begins, in bytes from `offset`.
    pub(super) payload_at: usize,
    /// Bytes of the payload as stored.
    pub(super) stored: usize,
    /// Bytes of the payload unpacked.
    pub(super) unpacked: usize,
    /// Number of records, for a snapshot.
    pub rows: u32,
    /// CLOCK_REALTIME ns of the snapshot's begin.
    pub time_ns: u64,
    /// CRC32C of the payload as stored.
    pub(super) checksum: u32,
    /// The checksum of the frame that it builds on: a delta on the snapshot before, a full
    /// one on the table that goes for its deltas.
    pub(super) after: u32,
}

impl Frame {
    /// The frame whose header is at `offset`; None where there is no whole header.
    pub(super) fn at(bytes: &[u8], offset: usize) -> Option<Frame> {
        Frame::of(bytes.get(offset..)?, offset)
    }

    /// The frame whose header is the first of `bytes`, and stands at `offset`.
    pub(super) fn of(bytes: &[u8], offset: usize) -> Option<Frame> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let u32_at = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        if u32_at(0) != MARK || !is_sum(&header[..36], u32_at(36)) {
            return None;
        }
        let payload_at = usize::from(header[7]) * 8;
        if payload_at < HEADER {
            return None;
        }
        Some(Frame {
            offset,
            kind: FrameKind::from_number(u16::from_le_bytes([header[4], header[5]])),
            compressed: header[6] & ZSTD != 0,
            payload_at,
            stored: u32_at(8) as usize,
            rows: u32_at(12),
            time_ns: u64::from(u32_at(16)) | u64::from(u32_at(20)) << 32,
            unpacked: u32_at(24) as usize,
            checksum: u32_at(28),
            after: u32_at(32),
        })
    }

    /// The header's bytes.
    fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MARK.to_le_bytes());
        header[4..6].copy_from_slice(&self.kind.number().to_le_bytes());
        header[6] = if self.compressed { ZSTD } else { 0 };
        header[7] = (self.payload_at / 8) as u8;
        header[8..12].copy_from_slice(&(self.stored as u32).to_le_bytes());
        header[12..16].copy_from_slice(&self.rows.to_le_bytes());
        header[16..24].copy_from_slice(&self.time_ns.to_le_bytes());
        header[24..28].copy_from_slice(&(self.unpacked as u32).to_le_bytes());
        header[28..32].copy_from_slice(&self.checksum.to_le_bytes());
        header[32..36].copy_from_slice(&self.after.to_le_bytes());
        let checksum = crc32c::crc32c(&header[..36]);
        header[36..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// Where the next frame begins. Saturates for lengths that no input has.
    pub fn end(&self) -> usize {
        self.offset
            .saturating_add(self.payload_at)
            .saturating_add(self.stored)
            .checked_next_multiple_of(ALIGNMENT)
            .unwrap_or(usize::MAX)
    }

    /// The range of the payload as stored.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        let start = self.offset.saturating_add(self.payload_at);
        start..start.saturating_add(self.stored)
    }

    /// The payload as stored, its checksum compared.
    pub(super) fn checked<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], ParseError> {
        let Some(stored) = bytes.get(self.range()) else {
            return Err(ParseError::new(ErrorKind::Truncated, bytes.len()));
        };
        self.check(stored).map(|()| stored)
    }

    /// That these are the payload as stored, by its checksum.
    pub(super) fn check(&self, stored: &[u8]) -> Result<(), ParseError> {
        if is_sum(stored, self.checksum) {
            return Ok(());
        }
        Err(ParseError::new(ErrorKind::BadChecksum, self.range().start))
    }

    /// The payload, its checksum compared; unpacked where it is compressed.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, ParseError> {
        let stored = self.checked(bytes)?;
        if !self.compressed {
            return Ok(Cow::Borrowed(stored));
        }
        let bad = ParseError::new(ErrorKind::BadLength, self.offset);
        if self.unpacked > LARGEST {
            return Err(bad);
        }
        // Room is made for what comes, not for what a damaged header promises.
        let mut unpacked = Vec::with_capacity(self.unpacked.min(stored.len() * 64));
        let decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(|_| bad)?;
        let mut decoder = decoder.single_frame().take(self.unpacked as u64 + 1);
        decoder.read_to_end(&mut unpacked).map_err(|_| bad)?;
        if unpacked.len() != self.unpacked {
            return Err(bad);
        }
        Ok(Cow::Owned(unpacked))
    }
}

/// Why there is no whole frame at `offset`.
pub(super) fn error_at(bytes: &[u8], offset: usize) -> ParseError {
    let header = bytes.get(offset..).is_some_and(|rest| rest.len() >= HEADER);
    let damaged = header && Frame::at(bytes, offset).is_none();
    let kind = if damaged { ErrorKind::BadChecksum } else { ErrorKind::Truncated };
    ParseError::new(kind, offset)
}

/// What is to be known of a frame before it is written.
pub(super) struct Draft<'a> {
    pub(super) kind: FrameKind,
    pub(super) payload: &'a [u8],
    pub(super) rows: u32,
    pub(super) time_ns: u64,
    pub(super) after: u32,
    /// zstd's level, where it is to be compressed if that makes it smaller.
    pub(super) level: Option<i32>,
    /// The payload is to begin at a multiple of this.
    pub(super) align: usize,
}

/// Appends a frame that will stand at `offset` of the file.
pub(super) fn put(
    out: &mut Vec<u8>,
    offset: usize,
    draft: &Draft<'_>,
) -> Result<Frame, ParseError> {
    let packed = draft.level.and_then(|level| zstd::bulk::compress(draft.payload, level).ok());
    let packed = packed.filter(|packed| packed.len() < draft.payload.len());
    let stored = packed.as_deref().unwrap_or(draft.payload);
    if u32::try_from(draft.payload.len()).is_err() {
        return Err(ParseError::new(ErrorKind::BadLength, 0));
    }
    let align = if packed.is_some() { ALIGNMENT } else { draft.align };
    let frame = Frame {
        offset,
        kind: draft.kind,
        compressed: packed.is_some(),
        payload_at: (offset + HEADER).next_multiple_of(align) - offset,
        stored: stored.len(),
        unpacked: draft.payload.len(),
        rows: draft.rows,
        time_ns: draft.time_ns,
        checksum: crc32c::crc32c(stored),
        after: draft.after,
    };
    let begin = out.len();
    out.extend_from_slice(&frame.header());
    out.resize(begin + frame.payload_at, 0);
    out.extend_from_slice(stored);
    out.resize(begin + (frame.end() - offset), 0);
    Ok(frame)
}

/// The frames from an offset on. Where a header is damaged, the next whole one is
/// searched for.
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    /// The frames of `bytes` from `at`, a multiple of eight, on.
    pub fn new(bytes: &'a [u8], at: usize) -> Frames<'a> {
        Frames { bytes, at }
    }
}

impl Iterator for Frames<'_> {
    /// A frame, or the range of bytes that are none.
    type Item = Result<Frame, std::ops::Range<usize>>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.bytes;
        // Dumps may have been laid end to end.
        while bytes.get(self.at..).is_some_and(|rest| check_preamble(rest).is_ok()) {
            self.at += PREAMBLE;
        }
        let begin = self.at;
        if begin >= bytes.len() {
            return None;
        }
        let whole = |at| {
            // Padding may be missing at the end.
            Frame::at(bytes, at).filter(|frame| frame.range().end <= bytes.len())
        };
        if let Some(frame) = whole(begin) {
            self.at = frame.end();
            return Some(Ok(frame));
        }
        let next = (begin + ALIGNMENT..bytes.len())
            .step_by(ALIGNMENT)
            .find(|&at| bytes[at..].starts_with(&MARK.to_le_bytes()) && whole(at).is_some());
        self.at = next.unwrap_or(bytes.len());
        Some(Err(begin..self.at))
    }
}
