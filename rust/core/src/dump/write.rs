//! Writes snapshots as frames.

use super::delta::{Encoder, Tasks, Whole};
use super::field_table::FieldTable;
use super::frame::{self, Draft, Frame, FrameKind};
use super::index::{self, Entry, Index};
use super::{metadata, strings};
use crate::cgroup_readings::CgroupReadings;
use crate::codec;
use crate::error::{ErrorKind, ParseError};
use crate::header::Flags;
use crate::layout::Layout;
use crate::names::RecordedName;
use crate::snapshot::Snapshot;

/// Options of a dump's writer.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Snapshots from one full frame to the next; 1 writes full ones only.
    pub full_every: u32,
    /// zstd's level; None leaves frames uncompressed, so that full ones are read without
    /// a copy.
    pub level: Option<i32>,
}

impl Default for Options {
    /// For long recordings.
    fn default() -> Options {
        Options { full_every: 300, level: Some(3) }
    }
}

/// Frames from one index to the next.
const INDEX_EVERY: usize = 4096;

/// The last snapshot.
enum Last {
    Whole(Box<Whole<Vec<u8>>>),
    /// After one of only the tasks that ran.
    Tasks(Box<Tasks>),
}

/// Turns snapshots into the bytes to be appended to a dump.
pub struct Writer {
    options: Options,
    /// The offset of the next frame.
    offset: usize,
    entries: Vec<Entry>,
    last_index: u64,
    table: Option<(Layout, FieldTable, Frame)>,
    last: Option<Last>,
    /// The frame of the last snapshot, which the next delta continues.
    frame: Option<Frame>,
    encoder: Encoder,
    since_full: u32,
}

impl Writer {
    /// A writer of a new file, and the file's first bytes.
    pub fn new(options: Options) -> (Writer, Vec<u8>) {
        let preamble = frame::preamble().to_vec();
        (Writer::at(options, preamble.len(), Vec::new(), 0), preamble)
    }

    /// A writer that continues after the last whole frame of a dump.
    pub fn resume(options: Options, index: &Index) -> Writer {
        Writer::at(options, index.end, index.unindexed(), index.last_index)
    }

    fn at(options: Options, offset: usize, entries: Vec<Entry>, last_index: u64) -> Writer {
        Writer {
            options,
            offset,
            entries,
            last_index,
            table: None,
            last: None,
            frame: None,
            encoder: Encoder::default(),
            since_full: 0,
        }
    }

    /// The length of the file with all bytes so far.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Whether the next snapshot becomes a full frame.
    pub fn is_full_next(&self) -> bool {
        self.frame.is_none() || self.since_full >= self.options.full_every
    }

    /// Makes the next snapshot a full frame. Called when bytes did not reach the file, which
    /// ends at `offset`.
    pub fn restart(&mut self, offset: usize) {
        self.offset = offset;
        self.entries.retain(|entry| entry.offset < offset as u64);
        (self.table, self.frame) = (None, None);
    }

    /// Takes over the tasks of the writer of another file, so that the next snapshot may be one of
    /// only the tasks that ran.
    pub fn take_over(&mut self, other: Writer) {
        self.last = other.last;
    }

    /// Where `snapshot` has only the tasks that ran, and a full frame is next: the whole snapshot,
    /// which is to be written instead.
    pub fn completed<B: AsRef<[u8]>>(
        &mut self,
        snapshot: &Snapshot<B>,
    ) -> Result<Option<Snapshot<Vec<u8>>>, ParseError> {
        if !is_partial(snapshot) || !self.is_full_next() {
            return Ok(None);
        }
        self.tasks_before(snapshot)?.complete(snapshot).map(Some)
    }

    /// The tasks of the last snapshot, which `partial` has to follow. BadValue where there is
    /// none, MissingBase where another one is between them.
    fn tasks_before<B: AsRef<[u8]>>(
        &mut self,
        partial: &Snapshot<B>,
    ) -> Result<&mut Tasks, ParseError> {
        if let Some(Last::Whole(whole)) = &self.last {
            self.last = Some(Last::Tasks(Box::new(Tasks::of(whole)?)));
        }
        let Some(Last::Tasks(tasks)) = &mut self.last else {
            return Err(ParseError::new(ErrorKind::BadValue, 0));
        };
        let base_ns = partial.base().map(|base| base.header().begin.monotonic_ns);
        if base_ns != Some(tasks.clock_ns()) || partial.layout() != tasks.layout() {
            return Err(ParseError::new(ErrorKind::MissingBase, 0));
        }
        Ok(tasks)
    }

    /// The frames of a snapshot. One of only the tasks that ran has to follow the one that it is
    /// based on: BadValue for the first of a writer, MissingBase where one is left out.
    pub fn snapshot<B: AsRef<[u8]>>(
        &mut self,
        snapshot: &Snapshot<B>,
    ) -> Result<Vec<u8>, ParseError> {
        if let Some(whole) = self.completed(snapshot)? {
            return self.snapshot(&whole);
        }
        let mut out = Vec::new();
        if is_partial(snapshot) {
            self.partial(snapshot, &mut out)?;
        } else {
            self.whole(snapshot, &mut out)?;
        }
        self.since_full += 1;
        if self.entries.len() >= INDEX_EVERY {
            out.append(&mut self.finish()?);
        }
        Ok(out)
    }

    /// Appends the delta of a snapshot of only the tasks that ran.
    fn partial<B: AsRef<[u8]>>(
        &mut self,
        snapshot: &Snapshot<B>,
        out: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        self.tasks_before(snapshot)?;
        let (Some(Last::Tasks(tasks)), Some((_, table, _)), Some(before)) =
            (&mut self.last, &self.table, self.frame.take())
        else {
            return Err(ParseError::new(ErrorKind::BadValue, 0));
        };
        let tolerance = tolerance_ns(snapshot);
        let (delta, rows) = tasks.encode(&mut self.encoder, table, snapshot, tolerance)?;
        let (rows, time) = (rows as u32, snapshot.header().begin.realtime_ns);
        let frame = self.put(out, FrameKind::Delta, &delta, rows, time, before.checksum)?;
        self.frame = Some(frame);
        Ok(())
    }

    /// Appends the frames of a snapshot of all tasks.
    fn whole<B: AsRef<[u8]>>(
        &mut self,
        snapshot: &Snapshot<B>,
        out: &mut Vec<u8>,
    ) -> Result<(), ParseError> {
        let mut whole = Whole::new(codec::encode(snapshot))?;
        let layout = snapshot.layout();
        if self.table.as_ref().is_none_or(|(known, ..)| known != layout) {
            let table = FieldTable::of_layout(layout);
            let frame = self.put(out, FrameKind::Table, &table.encode(), 0, 0, 0)?;
            self.table = Some((layout.clone(), table, frame));
            self.frame = None;
        }
        let (rows, time) = (snapshot.len() as u32, snapshot.header().begin.realtime_ns);
        let frame = match (&self.last, &self.table, &self.frame) {
            (Some(last), Some((_, table, _)), Some(before)) if !self.is_full_next() => {
                let tolerance = tolerance_ns(snapshot);
                let delta = match last {
                    Last::Whole(last) => {
                        self.encoder.encode(table, &last.side(), whole.side_mut(), tolerance)
                    }
                    Last::Tasks(tasks) => {
                        let last = tasks.to_whole(table);
                        self.encoder.encode(table, &last.side(), whole.side_mut(), tolerance)
                    }
                };
                let after = before.checksum;
                self.put(out, FrameKind::Delta, &delta, rows, time, after)?
            }
            _ => {
                self.encoder = Encoder::default();
                self.since_full = 0;
                let after = self.table.as_ref().map_or(0, |(_, _, frame)| frame.checksum);
                self.put(out, FrameKind::Full, &whole.bytes, rows, time, after)?
            }
        };
        // It has the times that a reader will see: the next delta builds on them.
        (self.last, self.frame) = (Some(Last::Whole(Box::new(whole))), Some(frame));
        Ok(())
    }

    /// A frame of strings; empty where there are none.
    pub fn strings(&mut self, strings: &[RecordedName]) -> Result<Vec<u8>, ParseError> {
        let mut out = Vec::new();
        if !strings.is_empty() {
            self.put(&mut out, FrameKind::Strings, &strings::encode(strings), 0, 0, 0)?;
        }
        Ok(out)
    }

    /// A frame of readings of cgroups, before the snapshot of their time.
    pub fn cgroups(&mut self, readings: &CgroupReadings) -> Result<Vec<u8>, ParseError> {
        let mut out = Vec::new();
        self.put(&mut out, FrameKind::Cgroups, &readings.encode(), 0, 0, 0)?;
        Ok(out)
    }

    /// A frame of metadata; empty where there is none.
    pub fn metadata(&mut self, metadata: &[(String, String)]) -> Result<Vec<u8>, ParseError> {
        let mut out = Vec::new();
        if !metadata.is_empty() {
            self.put(&mut out, FrameKind::Metadata, &metadata::encode(metadata), 0, 0, 0)?;
        }
        Ok(out)
    }

    /// An index of the frames since the last index, so that a reader need not search for
    /// them. More frames may follow it.
    pub fn finish(&mut self) -> Result<Vec<u8>, ParseError> {
        let mut out = Vec::new();
        if self.entries.is_empty() {
            return Ok(out);
        }
        let entries = std::mem::take(&mut self.entries);
        let payload = index::encode(&entries, self.last_index, self.offset as u64);
        self.last_index = self.offset as u64;
        self.put(&mut out, FrameKind::Index, &payload, 0, 0, 0)?;
        self.entries.clear();
        Ok(out)
    }

    fn put(
        &mut self,
        out: &mut Vec<u8>,
        kind: FrameKind,
        payload: &[u8],
        rows: u32,
        time_ns: u64,
        after: u32,
    ) -> Result<Frame, ParseError> {
        let level = if kind == FrameKind::Index { None } else { self.options.level };
        let align = if kind == FrameKind::Full { 64 } else { frame::ALIGNMENT };
        let draft = Draft { kind, payload, rows, time_ns, after, level, align };
        let frame = frame::put(out, self.offset, &draft)?;
        self.offset = frame.end();
        self.entries.push(Entry::of(&frame));
        Ok(frame)
    }
}

/// Whether a snapshot has only the tasks that ran.
fn is_partial<B: AsRef<[u8]>>(snapshot: &Snapshot<B>) -> bool {
    snapshot.header().flags.contains(Flags::WITHOUT_UNCHANGED)
}

/// Largest difference of a record's time from the snapshot's: the duration of the walk.
fn tolerance_ns<B: AsRef<[u8]>>(snapshot: &Snapshot<B>) -> u64 {
    let header = snapshot.header();
    if header.flags.contains(Flags::ONE_INSTANT) {
        return 0;
    }
    header.end.monotonic_ns.saturating_sub(header.begin.monotonic_ns)
}
