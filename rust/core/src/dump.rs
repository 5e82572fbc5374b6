//! The dump: snapshots one after the other in a file that only grows.
//!
//! Design decisions
//!
//! * A dump is a run of frames, each with its length and checksums of its header and its
//!   payload, so that a torn tail and a damaged frame are found, and what is before and
//!   behind them is read.
//! * A full frame holds a snapshot's byte form as it is, its records at a multiple of 64,
//!   so that a reader copies nothing. A delta frame holds the rows and fields that are
//!   not as expected from the frame before, which it names by that frame's checksum.
//! * The times that go by by themselves (`ac_time_ns`, `ac_etime`, `ac_tgetime`) are
//!   expected to go on with the snapshot's clock. Where a source reads its tasks one after
//!   the other, what is within the time that took is taken for equal.
//! * A table of the records' fields stands before the frames that need it, so that deltas
//!   are read without knowledge of the writer's version. Unknown kinds are passed over.
//! * A dump is untrusted: lengths and counts in it are promises, and memory grows as the bytes
//!   and rows arrive that they promise (`limits.rs`).
//! * Pure: bytes in, bytes out. Files are the sources crate's concern.
//!
//! The byte tables are in docs/dump-format.md.

mod check;
mod column_sets;
mod delta;
mod field_table;
mod frame;
mod index;
mod intervals;
pub(crate) mod limits;
mod metadata;
mod read;
mod recorded_cgroups;
mod strings;
mod write;

pub use check::Damage;
pub(crate) use delta::{ChainReader, ChainWriter, Rows};
pub use frame::{Frame, FrameKind, Frames, MAGIC, PREAMBLE, is_dump};
pub use index::Index;
pub use intervals::{Gap, Intervals, Tasks, Walk};
pub use metadata::Metadata;
pub use read::{Copies, Cursor, Reader, Stop};
pub(crate) use recorded_cgroups::RecordedCgroups;
pub use write::{Options, Writer};

/// Appends a number, seven bits a byte, the lowest first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Small for small differences of either sign.
pub(crate) const fn zigzag(number: u64) -> u64 {
    (number << 1) ^ ((number.cast_signed() >> 63) as u64)
}

pub(crate) const fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

/// Reads what [`put_varint`] wrote and plain bytes; None at the end of the input.
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { bytes, at: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            let part = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && part > 1 {
                return None;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn length(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }
}
