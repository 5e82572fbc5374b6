//! The offsets of a dump's frames, from index frames or else from the frames' headers.

use std::ops::Range;

use super::frame::{self, Frame, FrameKind, Frames, PREAMBLE};
use super::{Input, put_varint, unzigzag, zigzag};
use crate::error::ParseError;

/// The last bytes of a closed dump, after the index frame's offset.
const TRAILER: [u8; 8] = *b"TSKINDEX";

/// The offset of a frame, and what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) kind: FrameKind,
    pub(super) time_ns: u64,
    pub(super) rows: u32,
}

impl Entry {
    /// Of a frame's header.
    pub(super) fn of(frame: &Frame) -> Entry {
        Entry {
            offset: frame.offset as u64,
            kind: frame.kind,
            time_ns: frame.time_ns,
            rows: frame.rows,
        }
    }
}

/// An index frame's payload, for a frame at `offset`.
pub(super) fn encode(entries: &[Entry], last: u64, offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, last);
    put_varint(&mut out, entries.len() as u64);
    let (mut at, mut time) = (0, 0);
    for entry in entries {
        put_varint(&mut out, entry.offset.wrapping_sub(at) / frame::ALIGNMENT as u64);
        put_varint(&mut out, u64::from(entry.kind.number()));
        put_varint(&mut out, zigzag(entry.time_ns.wrapping_sub(time)));
        put_varint(&mut out, u64::from(entry.rows));
        (at, time) = (entry.offset, entry.time_ns);
    }
    // The trailer ends the frame, and so the file.
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&TRAILER);
    out
}

/// The entries of the index frame at `offset`, and the offset of the index before it. None if
/// they are not in order: no frame is named twice.
fn decode(payload: &[u8], offset: u64) -> Option<(Vec<Entry>, u64)> {
    let mut input = Input::new(payload);
    let last = input.varint().filter(|&last| last < offset)?;
    let count = input.length()?;
    let (mut at, mut time_ns) = (0_u64, 0_u64);
    let mut entries = Vec::new();
    for _ in 0..count {
        let before = at;
        at = at.checked_add(input.varint()?.checked_mul(frame::ALIGNMENT as u64)?)?;
        if at <= before.max(last) || at < PREAMBLE as u64 || at >= offset {
            return None;
        }
        let kind = FrameKind::from_number(u16::try_from(input.varint()?).ok()?);
        time_ns = time_ns.wrapping_add(unzigzag(input.varint()?));
        let rows = u32::try_from(input.varint()?).ok()?;
        entries.push(Entry { offset: at, kind, time_ns, rows });
    }
    Some((entries, last))
}

/// The offsets of a dump's frames.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub(super) entries: Vec<Entry>,
    /// Positions of the snapshots among the entries.
    snapshots: Vec<usize>,
    /// Positions of the tables.
    tables: Vec<usize>,
    /// The snapshots in the order of their times, where that is not their own order: the
    /// clock was set back during the recording.
    by_time: Option<Vec<usize>>,
    /// Indices of the snapshots that are full frames.
    full: Vec<usize>,
    pub(super) gaps: Vec<Range<usize>>,
    /// End of the last complete frame.
    pub(super) end: usize,
    pub(super) last_index: u64,
}

impl Index {
    /// The frames of a dump, from its index if it was closed, else from their headers.
    /// `holes` are ranges of bytes that are known to be zero, in order.
    pub fn of(bytes: &[u8], holes: &[Range<usize>]) -> Result<Index, ParseError> {
        frame::check_preamble(bytes)?;
        Ok(Index::by_trailer(bytes).unwrap_or_else(|| Index::by_headers(bytes, holes)))
    }

    fn by_trailer(bytes: &[u8]) -> Option<Index> {
        let trailer = bytes.len().checked_sub(16).filter(|&at| at >= PREAMBLE)?;
        if bytes[trailer + 8..] != TRAILER {
            return None;
        }
        let offset = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let mut parts = Vec::new();
        let first = offset(trailer)?;
        let (mut at, mut end) = (first, bytes.len());
        loop {
            let frame = Frame::at(bytes, usize::try_from(at).ok()?)?;
            // The last one ends the file, the others end before the next.
            if frame.kind != FrameKind::Index
                || frame.end() > end
                || (at == first && frame.end() != end)
            {
                return None;
            }
            let (entries, last) = decode(frame.checked(bytes).ok()?, at)?;
            parts.push(entries);
            if last == 0 {
                break;
            }
            end = frame.offset;
            at = last;
        }
        let entries = parts.into_iter().rev().flatten().collect();
        Some(Index::new(entries, Vec::new(), bytes.len(), first))
    }

    pub(super) fn by_headers(bytes: &[u8], holes: &[Range<usize>]) -> Index {
        let (mut entries, mut gaps) = (Vec::new(), Vec::new());
        let (mut end, mut last_index) = (PREAMBLE, 0);
        for frame in Frames::new(bytes, PREAMBLE).with_holes(holes) {
            match frame {
                Ok(frame) => {
                    end = frame.end();
                    if frame.kind == FrameKind::Index {
                        last_index = frame.offset as u64;
                    }
                    entries.push(Entry::of(&frame));
                }
                Err(gap) => gaps.push(gap),
            }
        }
        Index::new(entries, gaps, end, last_index)
    }

    fn new(entries: Vec<Entry>, gaps: Vec<Range<usize>>, end: usize, last_index: u64) -> Index {
        let positions = |wanted: fn(FrameKind) -> bool| {
            (0..entries.len()).filter(|&position| wanted(entries[position].kind)).collect()
        };
        let snapshots: Vec<usize> = positions(FrameKind::is_snapshot);
        let tables = positions(|kind| kind == FrameKind::Table);
        let time_ns = |&position: &usize| entries[position].time_ns;
        let by_time = (!snapshots.iter().map(time_ns).is_sorted()).then(|| {
            let mut order: Vec<usize> = (0..snapshots.len()).collect();
            order.sort_by_key(|&index| time_ns(&snapshots[index]));
            order
        });
        let is_full = |&index: &usize| entries[snapshots[index]].kind == FrameKind::Full;
        let full = (0..snapshots.len()).filter(is_full).collect();
        Index { entries, snapshots, tables, by_time, full, gaps, end, last_index }
    }

    /// Number of snapshots.
    pub fn len(&self) -> usize {
        self.snapshots.len()
    }

    /// Whether there is no snapshot.
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty()
    }

    /// The end of the last whole frame. Later bytes are of an unfinished frame.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Bytes that belong to no whole frame.
    pub fn gaps(&self) -> &[Range<usize>] {
        &self.gaps
    }

    /// The gaps before the last frame: without an unfinished frame at the end.
    pub(super) fn inner_gaps(&self) -> impl Iterator<Item = &Range<usize>> {
        self.gaps.iter().filter(|gap| gap.start < self.end)
    }

    /// CLOCK_REALTIME ns of a snapshot's begin.
    pub fn time_ns(&self, index: usize) -> Option<u64> {
        Some(self.entry(index)?.time_ns)
    }

    /// Number of records of a snapshot.
    pub fn rows(&self, index: usize) -> Option<u32> {
        Some(self.entry(index)?.rows)
    }

    /// The frame of a snapshot.
    pub(super) fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(*self.snapshots.get(index)?)
    }

    /// The last snapshot up to `index` that is a full frame.
    pub(super) fn full_before(&self, index: usize) -> Option<usize> {
        let after = self.full.partition_point(|&full| full <= index);
        Some(self.full[after.checked_sub(1)?])
    }

    /// Returns the earliest offset of the frame after the one at `offset`.
    pub(super) fn next_offset(&self, offset: u64) -> Option<u64> {
        let after = self.entries.partition_point(|entry| entry.offset <= offset);
        Some(self.entries.get(after)?.offset)
    }

    /// The field table of a snapshot.
    pub(super) fn table(&self, index: usize) -> Option<&Entry> {
        let position = self.snapshots.get(index)?;
        let after = self.tables.partition_point(|table| table < position);
        self.entries.get(*self.tables.get(after.checked_sub(1)?)?)
    }

    /// The snapshot whose time is the latest that is not after `time_ns`, wherever it is in
    /// the file. Of several with that time, the last one. None where all are later.
    pub fn at_time(&self, time_ns: u64) -> Option<usize> {
        let not_after = |index: usize| self.time_ns(index) <= Some(time_ns);
        match &self.by_time {
            None => {
                let not_after = |&position: &usize| self.entries[position].time_ns <= time_ns;
                self.snapshots.partition_point(not_after).checked_sub(1)
            }
            Some(order) => {
                let later = order.partition_point(|&index| not_after(index));
                order.get(later.checked_sub(1)?).copied()
            }
        }
    }

    /// Entries that no index frame lists. Damaged bytes may have been strings and are listed
    /// as such, so that a reader of the index finds the damage.
    pub(super) fn unindexed(&self) -> Vec<Entry> {
        let lost = self.inner_gaps().map(|gap| Entry {
            offset: gap.start as u64,
            kind: FrameKind::Strings,
            time_ns: 0,
            rows: 0,
        });
        let all = self.entries.iter().copied().chain(lost);
        let mut entries: Vec<_> = all.filter(|entry| entry.offset > self.last_index).collect();
        entries.sort_by_key(|entry| entry.offset);
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(times: &[u64]) -> Index {
        let entry = |&time_ns: &u64| Entry { offset: 0, kind: FrameKind::Full, time_ns, rows: 0 };
        Index::new(times.iter().map(entry).collect(), Vec::new(), 0, 0)
    }

    #[test]
    fn a_time_is_found_before_and_after_the_clock_was_set_back() {
        // From 130 back to 90, and once far ahead and corrected.
        let index = index(&[100, 110, 120, 130, 90, 99, 900, 105]);
        let found = [89, 90, 98, 99, 100, 104, 105, 109, 115, 125, 500, 901]
            .map(|time_ns| index.at_time(time_ns));
        let expected = [
            None,
            Some(4),
            Some(4),
            Some(5),
            Some(0),
            Some(0),
            Some(7),
            Some(7),
            Some(1),
            Some(2),
            Some(3),
            Some(6),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn of_equal_times_the_last_one_is_found() {
        assert_eq!(index(&[5, 7, 7, 9]).at_time(8), Some(2));
        assert_eq!(index(&[5, 7, 7, 3]).at_time(8), Some(2));
        assert_eq!(index(&[]).at_time(8), None);
    }
}
