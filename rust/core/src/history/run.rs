//! Frames that are read from one key.

use std::sync::Arc;

use super::frame::{Frame, Packed, Packer, put_pids};
use super::key::Key;
use super::peaks::Peaks;
use crate::dump::ChainWriter;
use crate::error::ParseError;
use crate::header::{Header, Instant};
use crate::interval::{Interval, LastValues};
use crate::snapshot::{SharedBytes, Snapshot};

/// Frames of a run at most.
const FRAMES: usize = 120;
/// Rows of a run, beyond those of one frame: each costs about a microsecond to read.
const ROWS: usize = 3_500;

/// See the module.
pub(super) struct Run {
    /// A number that no other run has.
    pub(super) number: u64,
    /// The number of the first frame.
    pub(super) first: u64,
    /// Whether it begins where the run before ends.
    pub(super) connects: bool,
    /// Whether the dead are merged.
    pub(super) is_merged: bool,
    /// What it begins with.
    pub(super) key: Key,
    /// The header of the snapshot that the first frame is a delta from.
    pub(super) header: Header,
    pub(super) frames: Vec<Frame>,
    rows: usize,
    frame_bytes: usize,
    /// None once it does not grow any more.
    writer: Option<Writer>,
}

/// What a run begins with.
pub(super) enum Start<'a> {
    /// A snapshot of all tasks.
    Snapshot(&'a Snapshot<SharedBytes>),
    /// The last values of all tasks, of a source of those that ran.
    Values(Arc<LastValues>),
}

struct Writer {
    chain: ChainWriter,
    packer: Packer,
    /// The header of the last snapshot.
    header: Header,
}

impl Run {
    /// A run that begins with the values of all tasks. `before` is the last key.
    pub(super) fn new(
        number: u64,
        first: u64,
        start: Start<'_>,
        before: Option<&Key>,
        connects: bool,
    ) -> Result<Run, ParseError> {
        let mut packer = Packer::new();
        let header = match &start {
            Start::Snapshot(snapshot) => snapshot.header().clone(),
            Start::Values(values) => values.header().clone(),
        };
        let key = match start {
            Start::Snapshot(snapshot) => Key::of_snapshot(&mut packer, snapshot, before)?,
            Start::Values(values) => Key::of_values(values, before),
        };
        let chain = ChainWriter::new(&key.layout);
        Ok(Run {
            number,
            first,
            connects,
            is_merged: false,
            key,
            header: header.clone(),
            frames: Vec::new(),
            rows: 0,
            frame_bytes: 0,
            writer: Some(Writer { chain, packer, header }),
        })
    }

    /// A run with the same key, for the same frames with merged rows.
    pub(super) fn emptied(&self, number: u64, header: &Header) -> Run {
        Run {
            number,
            first: self.first,
            connects: self.connects,
            is_merged: true,
            key: self.key.clone(),
            header: self.header.clone(),
            frames: Vec::with_capacity(self.frames.len()),
            rows: 0,
            frame_bytes: 0,
            writer: Some(Writer {
                chain: ChainWriter::new(&self.key.layout),
                packer: Packer::new(),
                header: header.clone(),
            }),
        }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Run>() + self.key.bytes() + self.frame_bytes
    }

    /// The number of the frame after its last.
    pub(super) fn next(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    pub(super) fn begin(&self) -> Instant {
        self.header.begin
    }

    pub(super) fn end(&self) -> Instant {
        self.frames.last().map_or(self.begin(), |frame| frame.end)
    }

    /// When a frame began and ended.
    pub(super) fn times(&self, index: usize) -> (Instant, Instant) {
        let before = index.checked_sub(1).map_or(self.begin(), |before| self.frames[before].end);
        (before, self.frames[index].end)
    }

    /// Whether an interval begins where the run ends, with the same kind of rows.
    pub(super) fn continues(&self, interval: &Interval) -> bool {
        let (prev, cur) = (interval.prev(), interval.cur());
        self.writer.as_ref().is_some_and(|Writer { header, .. }| {
            header.begin == prev.header().begin
                && header.threads() == cur.header().threads()
                && *cur.layout() == self.key.layout
                && (cur.base().is_some() || !self.is_partial())
        })
    }

    /// Whether its last snapshot has only tasks that ran.
    fn is_partial(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.is_partial)
    }

    /// Whether the next frame belongs to another run. A run is dropped as a whole: it is a small
    /// part of what is kept.
    pub(super) fn is_full(&self, limit: usize) -> bool {
        self.frames.len() >= FRAMES || self.rows > ROWS || self.frame_bytes > limit / 8
    }

    /// Appends an interval that continues the run.
    pub(super) fn push(&mut self, interval: &Interval, peaks: Peaks) -> Result<(), ParseError> {
        let cur = interval.cur();
        self.append(interval.prev(), cur, cur.base().is_some(), peaks)?;
        let Some(writer) = &mut self.writer else { return Ok(()) };
        // It is packed before the run is full.
        let part = 4 * self.key.unpacked() * cur.len() / ROWS;
        self.key.pack(&mut writer.packer, part.max(1))
    }

    /// Appends the difference of a snapshot from the one before, or from its base.
    pub(super) fn append<B: AsRef<[u8]>>(
        &mut self,
        before: &Snapshot<SharedBytes>,
        cur: &Snapshot<B>,
        is_partial: bool,
        peaks: Peaks,
    ) -> Result<(), ParseError> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let packed = writer.packed(before, cur, is_partial)?;
        let frame =
            Frame { end: cur.header().begin, rows: cur.len() as u32, is_partial, packed, peaks };
        self.rows += cur.len();
        self.frame_bytes += frame.bytes();
        self.frames.push(frame);
        Ok(())
    }

    /// It does not grow any more.
    pub(super) fn finish(&mut self) -> Result<(), ParseError> {
        self.frames.shrink_to_fit();
        let writer = self.writer.take();
        writer.map_or(Ok(()), |mut writer| self.key.finish(&mut writer.packer))
    }
}

impl Writer {
    fn packed<B: AsRef<[u8]>>(
        &mut self,
        before: &Snapshot<SharedBytes>,
        cur: &Snapshot<B>,
        is_partial: bool,
    ) -> Result<Packed, ParseError> {
        let mut out = Vec::new();
        let delta = if is_partial {
            put_pids(before, &mut out);
            // Its records have no masks of their own: they are those of the snapshot before.
            self.header.exited = 0;
            self.chain.delta((&self.header, before.record_bytes(), &[]), cur)
        } else {
            let base = (before.header(), before.record_bytes(), before.mask_indices());
            self.chain.delta(base, cur)
        };
        out.extend_from_slice(&delta);
        self.header.clone_from(cur.header());
        Ok(self.packer.pack(out))
    }
}
