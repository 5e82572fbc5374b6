//! Frames: a header of 40 bytes with its own checksum, then the payload. Integers are
//! little-endian.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Read;
use std::ops::Range;

use super::limits::{self, Rows};
use crate::codec;
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
/// Largest zstd window for streaming decompression: the largest that levels 1 to 22 use.
const WINDOW_LOG: u32 = 27;

/// Kind of a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// The fields of the records in the frames that follow.
    Table,
    /// A snapshot's byte form.
    Full,
    /// The differences from the previous snapshot.
    Delta,
    /// Command lines, user names, cgroup paths.
    Strings,
    /// The offsets of the earlier frames.
    Index,
    /// What the recorder says of itself.
    Metadata,
    /// Limits and use of cgroups.
    Cgroups,
    /// A kind of a later version.
    Unknown(u16),
}

impl FrameKind {
    /// Returns the number in the frame's header.
    pub const fn number(self) -> u16 {
        match self {
            FrameKind::Table => 1,
            FrameKind::Full => 2,
            FrameKind::Delta => 3,
            FrameKind::Strings => 4,
            FrameKind::Index => 5,
            FrameKind::Metadata => 6,
            FrameKind::Cgroups => 7,
            FrameKind::Unknown(number) => number,
        }
    }

    /// Returns the kind with this number.
    pub const fn from_number(number: u16) -> FrameKind {
        match number {
            1 => FrameKind::Table,
            2 => FrameKind::Full,
            3 => FrameKind::Delta,
            4 => FrameKind::Strings,
            5 => FrameKind::Index,
            6 => FrameKind::Metadata,
            7 => FrameKind::Cgroups,
            other => FrameKind::Unknown(other),
        }
    }

    /// Whether the frame is a snapshot.
    pub const fn is_snapshot(self) -> bool {
        matches!(self, FrameKind::Full | FrameKind::Delta)
    }
}

/// Returns whether `bytes` begin with a dump's magic.
pub fn is_dump(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Returns whether `checksum` is that of `bytes`.
fn is_sum(bytes: &[u8], checksum: u32) -> bool {
    // A fuzzer cannot guess checksums.
    cfg!(fuzzing) || crc32c::crc32c(bytes) == checksum
}

/// The bytes before the first frame.
pub(super) fn preamble() -> [u8; PREAMBLE] {
    let mut bytes = [0; PREAMBLE];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes
}

/// Checks that `bytes` begin with a dump's preamble of a supported version.
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

/// A frame's header and its offset in the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Offset of its header.
    pub offset: usize,
    /// Kind of its payload.
    pub kind: FrameKind,
    /// Whether its payload is compressed.
    pub compressed: bool,
    /// Offset of its payload from `offset`, in bytes.
    pub(super) payload_at: usize,
    /// Size of the payload as stored, in bytes.
    pub(super) stored: usize,
    /// Size of the unpacked payload, in bytes.
    pub(super) unpacked: usize,
    /// Number of records, for a snapshot.
    pub rows: u32,
    /// CLOCK_REALTIME of the snapshot's start, in ns.
    pub time_ns: u64,
    /// CRC32C of the payload as stored.
    pub(super) checksum: u32,
    /// Checksum of the frame that it depends on: for a delta the previous snapshot, for a
    /// full frame the field table of the deltas that follow.
    pub(super) after: u32,
}

impl Frame {
    /// Returns the frame whose header is at `offset`, None if there is no valid header.
    pub(super) fn at(bytes: &[u8], offset: usize) -> Option<Frame> {
        Frame::of(bytes.get(offset..)?, offset)
    }

    /// Returns the frame whose header begins `bytes`, at `offset` of the dump.
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

    /// Returns the header's bytes.
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

    /// Returns the offset of the next frame. Saturates on overflow.
    pub fn end(&self) -> usize {
        self.offset
            .saturating_add(self.payload_at)
            .saturating_add(self.stored)
            .checked_next_multiple_of(ALIGNMENT)
            .unwrap_or(usize::MAX)
    }

    /// Returns the range of the stored payload.
    pub(super) fn range(&self) -> Range<usize> {
        let start = self.offset.saturating_add(self.payload_at);
        start..start.saturating_add(self.stored)
    }

    /// Returns the stored payload after verifying its checksum.
    pub(super) fn checked<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], ParseError> {
        let Some(stored) = bytes.get(self.range()) else {
            return Err(ParseError::new(ErrorKind::Truncated, bytes.len()));
        };
        self.check(stored).map(|()| stored)
    }

    /// Verifies the checksum of the stored payload.
    pub(super) fn check(&self, stored: &[u8]) -> Result<(), ParseError> {
        if is_sum(stored, self.checksum) {
            return Ok(());
        }
        Err(ParseError::new(ErrorKind::BadChecksum, self.range().start))
    }

    /// Returns the verified and unpacked payload. BadLength if it would take more memory
    /// than its stored size justifies.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, ParseError> {
        let stored = self.checked(bytes)?;
        if !self.compressed {
            return Ok(Cow::Borrowed(stored));
        }
        let allowed = match self.kind {
            FrameKind::Table => self.unpacked <= limits::TABLE,
            _ => limits::allows_payload(self.unpacked, self.stored),
        };
        let unpacked = if allowed { unpack(stored, self.unpacked) } else { None };
        Ok(Cow::Owned(unpacked.ok_or(ParseError::new(ErrorKind::BadLength, self.offset))?))
    }

    /// Returns the unpacked payload of a compressed full frame. BadCount if it declares more
    /// rows than its stored bytes can hold.
    pub(super) fn unpack_rows(&self, bytes: &[u8]) -> Result<Vec<u8>, ParseError> {
        let stored = self.checked(bytes)?;
        let bad = |kind| ParseError::new(kind, self.offset);
        let rows = self.rows as usize;
        // At most one byte follows each record: the index of its mask.
        let record_size = self.unpacked.div_ceil(rows.max(1));
        match Rows::of(rows.max(1), record_size, stored.len()) {
            Rows::Free => unpack(stored, self.unpacked).ok_or(bad(ErrorKind::BadLength)),
            Rows::Proven => unpack_distinct(stored, rows, self.unpacked).map_err(bad),
            Rows::Refused => Err(bad(ErrorKind::BadCount)),
        }
    }
}

/// Unpacks a zstd frame of `length` bytes. None if it has another length or the memory
/// cannot be allocated.
fn unpack(stored: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    unpacked.try_reserve_exact(length).ok()?;
    DECOMPRESSOR.with_borrow_mut(|known| {
        let decompressor = match known {
            Some(decompressor) => decompressor,
            None => known.insert(zstd::bulk::Decompressor::new().ok()?),
        };
        decompressor.decompress_to_buffer(stored, &mut unpacked).ok()
    })?;
    (unpacked.len() == length).then_some(unpacked)
}

/// Packs a payload as a zstd frame.
fn pack(payload: &[u8], level: i32) -> Option<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|known| {
        if let Some((_, compressor)) = known.as_mut().filter(|(of, _)| *of == level) {
            return compressor.compress(payload).ok();
        }
        let compressor = zstd::bulk::Compressor::new(level).ok()?;
        known.insert((level, compressor)).1.compress(payload).ok()
    })
}

thread_local! {
    /// With its level. To make one takes longer than to pack a small delta.
    static COMPRESSOR: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> =
        const { RefCell::new(None) };
    /// To make one takes as long as to unpack a small delta.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        const { RefCell::new(None) };
}

/// Unpacks the byte form of a snapshot of `rows` records, in `length` bytes. Its memory
/// grows only as long as the records differ from each other.
fn unpack_distinct(stored: &[u8], rows: usize, length: usize) -> Result<Vec<u8>, ErrorKind> {
    let damaged = |_| ErrorKind::BadLength;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(damaged)?;
    decoder.window_log_max(WINDOW_LOG).map_err(damaged)?;
    let mut decoder = decoder.single_frame();
    let mut out = vec![0; codec::PREAMBLE];
    decoder.read_exact(&mut out).map_err(damaged)?;
    let header = codec::header_length(&out).filter(|&header| header <= codec::LARGEST_HEADER);
    let (count, size) = codec::records(&out).ok_or(ErrorKind::BadLength)?;
    let header = header.filter(|&header| header >= codec::PREAMBLE).ok_or(ErrorKind::BadLength)?;
    let records = count.checked_mul(size).and_then(|records| records.checked_add(header));
    if count != rows || records.is_none_or(|end| end > length) {
        return Err(ErrorKind::BadCount);
    }
    out.resize(header, 0);
    decoder.read_exact(&mut out[codec::PREAMBLE..]).map_err(damaged)?;
    let mut distinct = limits::Distinct::default();
    for _ in 0..rows {
        let begin = out.len();
        limits::reserve(&mut out, size).ok_or(ErrorKind::OutOfMemory)?;
        out.resize(begin + size, 0);
        decoder.read_exact(&mut out[begin..]).map_err(damaged)?;
        if !distinct.is_new(0, &out[begin..]) {
            return Err(ErrorKind::BadCount);
        }
    }
    // The index of a mask for each record.
    let rest = length - out.len();
    if rest > rows {
        return Err(ErrorKind::BadLength);
    }
    limits::reserve(&mut out, rest).ok_or(ErrorKind::OutOfMemory)?;
    decoder.take(rest as u64 + 1).read_to_end(&mut out).map_err(damaged)?;
    // It has grown by doubling.
    out.shrink_to_fit();
    if out.len() == length { Ok(out) } else { Err(ErrorKind::BadLength) }
}

/// Returns the error that explains why there is no complete frame at `offset`.
pub(super) fn error_at(bytes: &[u8], offset: usize) -> ParseError {
    let header = bytes.get(offset..).is_some_and(|rest| rest.len() >= HEADER);
    let damaged = header && Frame::at(bytes, offset).is_none();
    let kind = if damaged { ErrorKind::BadChecksum } else { ErrorKind::Truncated };
    ParseError::new(kind, offset)
}

/// A frame to be written.
pub(super) struct Draft<'a> {
    pub(super) kind: FrameKind,
    pub(super) payload: &'a [u8],
    pub(super) rows: u32,
    pub(super) time_ns: u64,
    pub(super) after: u32,
    /// zstd's level; the payload is compressed if that makes it smaller.
    pub(super) level: Option<i32>,
    /// Alignment of the payload in the file.
    pub(super) align: usize,
}

/// Appends a frame that is at `offset` of the file.
pub(super) fn put(
    out: &mut Vec<u8>,
    offset: usize,
    draft: &Draft<'_>,
) -> Result<Frame, ParseError> {
    let packed = draft.level.and_then(|level| pack(draft.payload, level));
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

/// Iterator over the frames from an offset. After a damaged header it searches for the
/// next valid one.
pub struct Frames<'a> {
    bytes: &'a [u8],
    holes: &'a [Range<usize>],
    at: usize,
}

impl<'a> Frames<'a> {
    /// Returns the frames of `bytes` from `at`, a multiple of eight.
    pub fn new(bytes: &'a [u8], at: usize) -> Frames<'a> {
        Frames { bytes, holes: &[], at }
    }

    /// Skips the sorted ranges `holes`, which are known to be zero: no frame overlaps them,
    /// and none is searched for in them.
    pub(super) fn with_holes(self, holes: &'a [Range<usize>]) -> Frames<'a> {
        Frames { holes, ..self }
    }

    /// Returns the complete frame at an offset.
    fn whole(&self, at: usize) -> Option<Frame> {
        // Padding may be missing at the end.
        let frame = Frame::at(self.bytes, at)?;
        let whole = frame.range().end <= self.bytes.len() && !overlaps(self.holes, &frame);
        whole.then_some(frame)
    }

    /// Returns the offset of the first complete frame from `at`.
    fn search(&self, mut at: usize) -> Option<usize> {
        let mark = MARK.to_le_bytes();
        while at < self.bytes.len() {
            let hole = self.holes.get(self.holes.partition_point(|hole| hole.end <= at));
            let end = hole.map_or(self.bytes.len(), |hole| hole.start);
            let mut places = (at..end).step_by(ALIGNMENT);
            let is_whole =
                |at: &usize| self.bytes[*at..].starts_with(&mark) && self.whole(*at).is_some();
            if let Some(found) = places.find(is_whole) {
                return Some(found);
            }
            at = hole?.end.checked_next_multiple_of(ALIGNMENT)?;
        }
        None
    }
}

/// Returns whether a frame overlaps one of the sorted `holes`.
pub(super) fn overlaps(holes: &[Range<usize>], frame: &Frame) -> bool {
    let after = holes.partition_point(|hole| hole.end <= frame.offset);
    holes.get(after).is_some_and(|hole| hole.start < frame.range().end)
}

impl Iterator for Frames<'_> {
    /// A frame, or a range of bytes without one.
    type Item = Result<Frame, Range<usize>>;

    fn next(&mut self) -> Option<Self::Item> {
        // Dumps may be concatenated.
        while self.bytes.get(self.at..).is_some_and(|rest| check_preamble(rest).is_ok()) {
            self.at += PREAMBLE;
        }
        let begin = self.at;
        if begin >= self.bytes.len() {
            return None;
        }
        if let Some(frame) = self.whole(begin) {
            self.at = frame.end();
            return Some(Ok(frame));
        }
        self.at = self.search(begin + ALIGNMENT).unwrap_or(self.bytes.len());
        Some(Err(begin..self.at))
    }
}
