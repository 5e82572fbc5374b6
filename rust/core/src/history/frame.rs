//! A frame in memory: the pids of the tasks that have a record before, and the delta from these
//! records, packed.

use super::peaks::Peaks;
use crate::dump::{Input, put_varint, unzigzag, zigzag};
use crate::error::{ErrorKind, ParseError};
use crate::header::{Flags, Header, Instant, SourceKind};
use crate::snapshot::{SharedBytes, Snapshot};

/// zstd's level. Higher ones take more time than a frame may cost.
const LEVEL: i32 = 1;

/// See the module.
pub(super) struct Frame {
    /// When the interval ended.
    pub(super) end: Instant,
    /// Rows of the later snapshot.
    pub(super) rows: u32,
    /// Whether the later snapshot is a delta from the values of its tasks before, or from the
    /// whole snapshot before.
    pub(super) is_partial: bool,
    pub(super) packed: Packed,
    pub(super) peaks: Peaks,
}

impl Frame {
    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Frame>() + self.packed.bytes.len() + self.peaks.bytes()
    }
}

/// Compressed bytes.
#[derive(Clone)]
pub(super) struct Packed {
    bytes: Box<[u8]>,
    /// Their length without compression; 0 where they are not compressed.
    unpacked: u32,
}

fn damaged() -> ParseError {
    ParseError::new(ErrorKind::BadValue, 0)
}

/// Compresses frames with one context, which costs more to make than a frame.
pub(super) struct Packer(Option<zstd::bulk::Compressor<'static>>);

impl Packer {
    pub(super) fn new() -> Packer {
        Packer(zstd::bulk::Compressor::new(LEVEL).ok())
    }

    pub(super) fn pack(&mut self, bytes: Vec<u8>) -> Packed {
        let packed = self.0.as_mut().and_then(|packer| packer.compress(&bytes).ok());
        match (packed, u32::try_from(bytes.len())) {
            (Some(packed), Ok(unpacked)) if packed.len() < bytes.len() => {
                Packed { bytes: packed.into(), unpacked }
            }
            _ => Packed { bytes: bytes.into(), unpacked: 0 },
        }
    }
}

impl Packed {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn unpack(&self, unpacker: &mut Unpacker) -> Result<Vec<u8>, ParseError> {
        self.unpack_with_room(0, unpacker)
    }

    /// The bytes, in memory that has room for so many more.
    pub(super) fn unpack_with_room(
        &self,
        room: usize,
        unpacker: &mut Unpacker,
    ) -> Result<Vec<u8>, ParseError> {
        let length = (self.unpacked as usize).max(self.bytes.len());
        let mut bytes = Vec::with_capacity(length + room);
        match (self.unpacked, &mut unpacker.0) {
            (0, _) => bytes.extend_from_slice(&self.bytes),
            (_, Some(context)) => {
                let unpacked = context.decompress_to_buffer(&self.bytes, &mut bytes);
                unpacked.map_err(|_| damaged())?;
            }
            (_, None) => return Err(ParseError::new(ErrorKind::OutOfMemory, 0)),
        }
        Ok(bytes)
    }
}

/// Decompresses frames with one context.
pub(super) struct Unpacker(Option<zstd::bulk::Decompressor<'static>>);

impl Unpacker {
    pub(super) fn new() -> Unpacker {
        Unpacker(zstd::bulk::Decompressor::new().ok())
    }
}

/// Whether the base of a snapshot has all tasks, also those that it lacks.
pub(super) fn has_whole_base(header: &Header) -> bool {
    header.source == SourceKind::Proc && !header.flags.contains(Flags::WITHOUT_UNCHANGED)
}

/// Writes pids.
pub(super) fn put_pids(base: &Snapshot<SharedBytes>, out: &mut Vec<u8>) {
    put_varint(out, base.len() as u64);
    let mut last = 0;
    for record in base.iter() {
        let pid = u64::from(record.ac_pid().unwrap_or(0));
        put_varint(out, zigzag(pid.wrapping_sub(last)));
        last = pid;
    }
}

/// Reads pids. Returns also where they end.
pub(super) fn take_pids(bytes: &[u8]) -> Result<(Vec<u32>, usize), ParseError> {
    let mut input = Input::new(bytes);
    let count = input.length().ok_or_else(damaged)?;
    let (mut pids, mut last) = (Vec::new(), 0_u64);
    for _ in 0..count {
        last = last.wrapping_add(unzigzag(input.varint().ok_or_else(damaged)?));
        pids.push(last as u32);
    }
    Ok((pids, input.at))
}
