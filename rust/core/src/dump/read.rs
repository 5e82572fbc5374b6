//! Reads the snapshots of a dump.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::column_sets::ColumnSets;
use super::delta::{Apply, Rows, Whole};
use super::field_table::FieldTable;
use super::frame::{self, Frame, FrameKind};
use super::index::{Entry, Index};
use super::metadata::{self, Metadata};
use super::recorded_cgroups::RecordedCgroups;
use super::{limits, strings};
use crate::codec;
use crate::error::{ErrorKind, ParseError};
use crate::header::{Flags, Header};
use crate::names::{Names, NamesAt, RecordedName};
use crate::snapshot::{SharedBytes, Snapshot};

/// Returns a copy of a range of a reader's bytes; None to read them in place. The copy may
/// reuse the memory of the copy before, if nothing holds that any more.
pub type Copies = Box<dyn FnMut(Range<usize>) -> Option<SharedBytes> + Send>;

/// Returns whether to stop reading. Readers ask before each frame.
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// The state from which a reader makes the next snapshot.
#[derive(Default)]
pub struct Cursor {
    copies: Option<Copies>,
    stop: Option<Stop>,
    state: Option<State>,
    /// The last table of fields, and the offset of its frame.
    table: Option<(u64, Arc<FieldTable>)>,
    /// A snapshot that could not be read: those after it in its run cannot be read either.
    broken: Option<usize>,
}

impl Cursor {
    /// A cursor that reads uncompressed full frames from copies.
    pub fn copying(copies: Option<Copies>) -> Cursor {
        Cursor { copies, ..Cursor::default() }
    }

    /// This cursor, whose reads end with [`ErrorKind::Interrupted`] once `stop` returns true.
    #[must_use]
    pub fn until(self, stop: Stop) -> Cursor {
        Cursor { stop: Some(stop), ..self }
    }

    pub(super) fn ask(&self, offset: u64) -> Result<(), ParseError> {
        if self.stop.as_ref().is_some_and(|stop| stop()) {
            return Err(ParseError::new(ErrorKind::Interrupted, offset as usize));
        }
        Ok(())
    }
}

struct State {
    index: usize,
    records: Records,
    /// Checksum of the table that deltas need.
    table: u32,
    sets: ColumnSets,
    checksum: u32,
    /// Bytes that are stored for this snapshot and for those that it builds on.
    stored: usize,
}

/// The records of the snapshot at a cursor.
enum Records {
    /// As the full frame holds them.
    Full(Box<Whole<SharedBytes>>),
    /// After deltas, with the table of these.
    Rows(Box<Rows>, Arc<FieldTable>),
}

impl Records {
    fn len(&self) -> usize {
        match self {
            Records::Full(whole) => whole.len(),
            Records::Rows(rows, _) => rows.len(),
        }
    }

    fn flags(&self) -> Flags {
        match self {
            Records::Full(whole) => whole.flags,
            Records::Rows(rows, _) => rows.header().flags,
        }
    }

    /// The byte form of the snapshot.
    fn form(&self) -> Result<SharedBytes, ParseError> {
        match self {
            Records::Full(whole) => Ok(whole.bytes.clone()),
            Records::Rows(rows, table) => {
                let form = rows.to_form(table);
                form.map(SharedBytes::new).ok_or(ParseError::new(ErrorKind::OutOfMemory, 0))
            }
        }
    }
}

pub(super) enum Content {
    Dump(Index),
    /// A bare array of records.
    Records(Box<Snapshot<SharedBytes>>),
    /// Concatenated byte forms of snapshots.
    Snapshots(Vec<ByteForm>),
}

/// Offset of a snapshot's byte form, and what can be known without reading it.
pub(super) struct ByteForm {
    range: Range<usize>,
    time_ns: u64,
    rows: usize,
}

/// The snapshots of a dump, of a bare array of `struct taskstats`, or of snapshots' byte
/// forms.
pub struct Reader {
    pub(super) bytes: SharedBytes,
    pub(super) content: Content,
    pub(super) holes: Vec<Range<usize>>,
    names: OnceLock<Arc<Names>>,
}

impl Reader {
    /// A reader of `bytes`. `record_size` is for bare arrays, as in
    /// [`Snapshot::from_bare_records`].
    pub fn new(bytes: SharedBytes, record_size: Option<usize>) -> Result<Reader, ParseError> {
        Reader::with_holes(bytes, record_size, Vec::new())
    }

    /// The same, for bytes that are known to be zero at the sorted ranges `holes`. Frames do
    /// not overlap them: what looks like one there is damage.
    pub fn with_holes(
        bytes: SharedBytes,
        record_size: Option<usize>,
        holes: Vec<Range<usize>>,
    ) -> Result<Reader, ParseError> {
        if bytes.as_ref().is_empty() {
            return Err(ParseError::new(ErrorKind::Empty, 0));
        }
        let content = if frame::is_dump(bytes.as_ref()) {
            Content::Dump(Index::of(bytes.as_ref(), &holes)?)
        } else if codec::is_snapshot(bytes.as_ref()) {
            Content::Snapshots(byte_forms(&bytes)?)
        } else {
            let bare = Snapshot::from_bare_records(bytes.clone(), record_size);
            let bare = bare.map_err(|error| match error.kind {
                ErrorKind::BadVersion => ParseError::new(ErrorKind::Unrecognised, error.offset),
                _ => error,
            })?;
            Content::Records(Box::new(bare))
        };
        Ok(Reader { bytes, content, holes, names: OnceLock::new() })
    }

    /// The frames of a dump; None for other contents.
    pub fn index(&self) -> Option<&Index> {
        match &self.content {
            Content::Dump(index) => Some(index),
            Content::Records(_) | Content::Snapshots(_) => None,
        }
    }

    /// Bytes that belong to no whole frame, such as an unfinished one, by the frames' headers.
    /// Other damage is reported when it is read.
    pub fn gaps(&self) -> &[Range<usize>] {
        self.index().map_or(&[], Index::gaps)
    }

    /// Number of snapshots.
    pub fn len(&self) -> usize {
        match &self.content {
            Content::Dump(frames) => frames.len(),
            Content::Records(_) => 1,
            Content::Snapshots(all) => all.len(),
        }
    }

    /// Whether there is no snapshot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the whole.
    pub fn size(&self) -> usize {
        self.bytes.as_ref().len()
    }

    /// CLOCK_REALTIME ns of a snapshot's begin, 0 where it is not known.
    pub fn time_ns(&self, index: usize) -> Option<u64> {
        match &self.content {
            Content::Dump(frames) => frames.time_ns(index),
            Content::Records(_) => (index == 0).then_some(0),
            Content::Snapshots(all) => Some(all.get(index)?.time_ns),
        }
    }

    /// Number of records of a snapshot, by its frame's header.
    pub fn rows(&self, index: usize) -> Option<usize> {
        match &self.content {
            Content::Dump(frames) => frames.rows(index).map(|rows| rows as usize),
            Content::Records(records) => (index == 0).then(|| records.len()),
            Content::Snapshots(all) => Some(all.get(index)?.rows),
        }
    }

    /// The snapshot whose time is the latest that is not after `time_ns`; see
    /// [`Index::at_time`].
    pub fn at_time(&self, time_ns: u64) -> Option<usize> {
        match &self.content {
            Content::Dump(frames) => frames.at_time(time_ns),
            Content::Records(_) => Some(0),
            Content::Snapshots(all) => {
                let times = all.iter().map(|form| form.time_ns).enumerate();
                let earlier = times.filter(|&(_, time)| time <= time_ns);
                earlier.max_by_key(|&(_, time)| time).map(|(index, _)| index)
            }
        }
    }

    /// The first snapshot of the run of deltas with `index`: no frame is decoded twice if
    /// reading starts there.
    pub fn chain_start(&self, index: usize) -> usize {
        match &self.content {
            Content::Dump(frames) => frames.full_before(index).unwrap_or(0),
            Content::Records(_) | Content::Snapshots(_) => index,
        }
    }

    /// Whether the snapshot at `index` is read without those before it.
    pub fn is_full(&self, index: usize) -> bool {
        match &self.content {
            Content::Dump(frames) => {
                frames.entry(index).is_none_or(|entry| entry.kind == FrameKind::Full)
            }
            Content::Records(_) | Content::Snapshots(_) => true,
        }
    }

    /// The snapshot at `index`. With the cursor of the one before it costs one frame,
    /// else up to a run of them. BadCount where there is none.
    pub fn snapshot(
        &self,
        index: usize,
        cursor: &mut Cursor,
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        let none = ParseError::new(ErrorKind::BadCount, self.size());
        let frames = match &self.content {
            Content::Dump(frames) => frames,
            Content::Records(records) if index == 0 => return Ok(Snapshot::clone(records)),
            Content::Records(_) => return Err(none),
            Content::Snapshots(all) => {
                let range = all.get(index).ok_or(none)?.range.clone();
                let (begin, bytes) = (range.start, self.bytes.clone());
                let form = codec::decode(SharedBytes::new(Part { bytes, range }));
                return form.map_err(|error| error.shifted(begin));
            }
        };
        let entry = frames.entry(index).ok_or(none)?;
        let state = self.move_to(frames, index, cursor)?;
        Ok(codec::decode(state.records.form()?)?.with_names(self.names_at(entry)))
    }

    /// The names of the time of a snapshot's frame.
    fn names_at(&self, entry: &Entry) -> NamesAt {
        NamesAt { names: Arc::clone(self.names()), offset: entry.offset }
    }

    /// The rows that the snapshot at `index` changed, as a snapshot whose base is what they were
    /// before, and the header of the whole snapshot before. None where the snapshot does not
    /// build on the one before: that is a full frame, or no dump.
    pub(super) fn changed(
        &self,
        index: usize,
        cursor: &mut Cursor,
    ) -> Result<Option<(Header, Snapshot<SharedBytes>)>, ParseError> {
        let Content::Dump(frames) = &self.content else { return Ok(None) };
        let Some(entry) = frames.entry(index).filter(|_| !self.is_full(index)) else {
            return Ok(None);
        };
        let state = self.move_to(frames, index, cursor)?;
        let Records::Rows(rows, table) = &state.records else { return Ok(None) };
        let changed = rows.changed(table).ok_or(ParseError::new(ErrorKind::OutOfMemory, 0))?;
        let changed = changed.with_names(self.names_at(entry));
        Ok(rows.header_before().map(|before| (before.clone(), changed)))
    }

    /// Moves a cursor to the snapshot at `index` of a dump.
    fn move_to<'a>(
        &self,
        frames: &Index,
        index: usize,
        cursor: &'a mut Cursor,
    ) -> Result<&'a State, ParseError> {
        let none = ParseError::new(ErrorKind::BadCount, self.size());
        let entry = frames.entry(index).ok_or(none)?;
        let start = self.chain_start(index);
        if cursor.broken.is_some_and(|broken| (start..index).contains(&broken)) {
            return Err(ParseError::new(ErrorKind::MissingBase, entry.offset as usize));
        }
        // Drop a state of another run first: the next copy may reuse its memory.
        let mut state = cursor.state.take().filter(|state| (start..=index).contains(&state.index));
        let next = state.as_ref().map_or(start, |state| state.index + 1);
        for at in next..=index {
            cursor.ask(entry.offset)?;
            match self.step(frames, at, state, cursor) {
                Ok(next) => state = Some(next),
                Err(error) => {
                    if error.kind.is_damage() {
                        cursor.broken = Some(at);
                    }
                    return Err(error);
                }
            }
        }
        Ok(cursor.state.insert(state.ok_or(none)?))
    }

    pub(super) fn frame(
        &self,
        entry: &Entry,
        copies: Option<&mut Copies>,
    ) -> Result<Frame, ParseError> {
        let offset = usize::try_from(entry.offset).unwrap_or(usize::MAX);
        let bad = |kind| ParseError::new(kind, offset);
        let header = offset..offset.saturating_add(frame::HEADER);
        let copy = copies.and_then(|copy| copy(header));
        let frame = match copy {
            Some(header) => Frame::of(header.as_ref(), offset),
            None => Frame::at(self.bytes.as_ref(), offset),
        };
        let frame = frame.ok_or(bad(ErrorKind::BadChecksum))?;
        if (frame.kind, frame.time_ns, frame.rows) != (entry.kind, entry.time_ns, entry.rows) {
            return Err(bad(ErrorKind::BadChecksum));
        }
        // Whoever reads all frames reads no byte twice, and none of a hole.
        let next = self.index().and_then(|index| index.next_offset(entry.offset));
        let reaches = next.is_some_and(|next| frame.range().end as u64 > next);
        if reaches || frame::overlaps(&self.holes, &frame) {
            return Err(bad(ErrorKind::BadLength));
        }
        Ok(frame)
    }

    fn step(
        &self,
        frames: &Index,
        index: usize,
        before: Option<State>,
        cursor: &mut Cursor,
    ) -> Result<State, ParseError> {
        let entry = frames.entry(index).ok_or(ParseError::new(ErrorKind::BadCount, 0))?;
        // Others are small, and many in a page.
        let mut copies = cursor.copies.as_mut().filter(|_| entry.kind == FrameKind::Full);
        let frame = self.frame(entry, copies.as_deref_mut())?;
        let bad = |kind| ParseError::new(kind, frame.offset);
        let state = if frame.kind == FrameKind::Full {
            self.full(&frame, index, copies)?
        } else {
            let Some(mut state) = before.filter(|state| state.checksum == frame.after) else {
                return Err(bad(ErrorKind::MissingBase));
            };
            let table = self.table(frames, index, state.table, cursor)?;
            let payload = frame.payload(self.bytes.as_ref())?;
            let stored = state.stored.saturating_add(frame.stored);
            let before = match state.records {
                Records::Rows(rows, _) => *rows,
                Records::Full(whole) => Rows::of(&whole).ok_or(bad(ErrorKind::OutOfMemory))?,
            };
            let apply = Apply { table: &table, rows: frame.rows as usize, stored };
            let rows = apply.run(before, &mut state.sets, &payload);
            let rows = Box::new(rows.ok_or(bad(ErrorKind::BadValue))?);
            let records = Records::Rows(rows, table);
            State { index, stored, records, checksum: frame.checksum, ..state }
        };
        if state.records.len() != frame.rows as usize {
            return Err(bad(ErrorKind::BadCount));
        }
        // A recorder writes whole snapshots only.
        if state.records.flags().contains(Flags::WITHOUT_UNCHANGED) {
            return Err(bad(ErrorKind::BadValue));
        }
        Ok(state)
    }

    fn full(
        &self,
        frame: &Frame,
        index: usize,
        copies: Option<&mut Copies>,
    ) -> Result<State, ParseError> {
        let bytes = self.bytes.as_ref();
        let whole = if frame.compressed {
            SharedBytes::new(frame.unpack_rows(bytes)?)
        } else if let Some(copy) = copies.and_then(|copy| copy(frame.range())) {
            frame.check(copy.as_ref())?;
            copy
        } else {
            frame.checked(bytes)?;
            SharedBytes::new(Part { bytes: self.bytes.clone(), range: frame.range() })
        };
        let whole = Whole::new(whole).map_err(|error| error.shifted(frame.range().start))?;
        Ok(State {
            index,
            records: Records::Full(Box::new(whole)),
            table: frame.after,
            sets: ColumnSets::default(),
            checksum: frame.checksum,
            stored: frame.stored,
        })
    }

    /// The table before a snapshot, which must be the one of that checksum.
    fn table(
        &self,
        frames: &Index,
        index: usize,
        checksum: u32,
        cursor: &mut Cursor,
    ) -> Result<Arc<FieldTable>, ParseError> {
        let missing = ParseError::new(ErrorKind::MissingBase, 0);
        let entry = frames.table(index).ok_or(missing)?;
        let frame = self.frame(entry, None)?;
        if frame.checksum != checksum {
            return Err(ParseError::new(ErrorKind::MissingBase, frame.offset));
        }
        if let Some((_, table)) = cursor.table.as_ref().filter(|(at, _)| *at == entry.offset) {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(self.decode_table(&frame)?);
        cursor.table = Some((entry.offset, Arc::clone(&table)));
        Ok(table)
    }

    pub(super) fn decode_table(&self, frame: &Frame) -> Result<FieldTable, ParseError> {
        let payload = frame.payload(self.bytes.as_ref())?;
        FieldTable::decode(&payload).ok_or(ParseError::new(ErrorKind::BadValue, frame.offset))
    }

    /// All names of the dump. Those that damage makes uncertain are unknown.
    pub fn names(&self) -> &Arc<Names> {
        self.names.get_or_init(|| {
            let (mut all, mut lost) = (Names::default(), Vec::new());
            let Some(index) = self.index() else { return Arc::new(all) };
            let mut stored = 0_usize;
            let mut cgroups = RecordedCgroups::new(self.bytes.clone());
            for entry in &index.entries {
                match entry.kind {
                    FrameKind::Strings => {}
                    FrameKind::Cgroups => {
                        cgroups.add(entry.offset, self.frame(entry, None).ok());
                        continue;
                    }
                    _ => continue,
                }
                match self.strings(entry, &mut stored, all.memory()) {
                    Ok(strings) => all.add(entry.offset, strings),
                    Err(error) => lost.push((entry.offset, error)),
                }
            }
            // Bytes that belong to no frame may have been one of strings.
            lost.extend(
                index.inner_gaps().map(|gap| {
                    (gap.start as u64, ParseError::new(ErrorKind::Truncated, gap.start))
                }),
            );
            all.lose(lost);
            all.set_cgroups(cgroups);
            Arc::new(all)
        })
    }

    /// The strings of a frame. BadLength if, with those that take `memory` already, they would
    /// take more than the stored bytes justify; `stored` counts these.
    fn strings(
        &self,
        entry: &Entry,
        stored: &mut usize,
        memory: usize,
    ) -> Result<Vec<RecordedName>, ParseError> {
        let frame = self.frame(entry, None)?;
        let bad = |kind| ParseError::new(kind, frame.offset);
        *stored = stored.saturating_add(frame.payload_at + frame.stored);
        let length = if frame.compressed { frame.unpacked } else { frame.stored };
        if !limits::allows_names(memory.saturating_add(length), *stored) {
            return Err(bad(ErrorKind::BadLength));
        }
        let payload = frame.payload(self.bytes.as_ref())?;
        let strings = strings::decode(&payload).ok_or(bad(ErrorKind::BadValue))?;
        let added: usize = strings.iter().map(Names::memory_of).sum();
        if !limits::allows_names(memory.saturating_add(added), *stored) {
            return Err(bad(ErrorKind::BadLength));
        }
        Ok(strings)
    }

    /// What the last recorder of the dump said of itself; empty where nothing is known.
    pub fn metadata(&self) -> Metadata {
        let entries = self.index().map(|index| index.entries.iter().rev()).into_iter().flatten();
        let mut frames = entries.filter(|entry| entry.kind == FrameKind::Metadata);
        let decoded = frames.find_map(|entry| {
            let frame = self.frame(entry, None).ok()?;
            metadata::decode(&frame.payload(self.bytes.as_ref()).ok()?)
        });
        decoded.unwrap_or_default()
    }

    /// Damage in bytes that belong to no frame, between the run of a snapshot and a later one: it
    /// may have been a snapshot.
    pub fn damaged_between(&self, first: usize, last: usize) -> impl Iterator<Item = ParseError> {
        let offset = |index| self.index()?.entry(index).map(|entry| entry.offset as usize);
        let range = offset(self.chain_start(first)).unwrap_or(0)..offset(last).unwrap_or(0);
        let gaps = self.index().into_iter().flat_map(Index::inner_gaps);
        gaps.filter(move |gap| range.contains(&gap.start))
            .map(|gap| ParseError::new(ErrorKind::BadChecksum, gap.start))
    }

    /// Damage to the names before a snapshot: names that are not repeated after it are
    /// unknown.
    pub fn lost_names(&self, index: usize) -> impl Iterator<Item = ParseError> {
        let entry = self.index().and_then(|frames| frames.entry(index));
        self.names().lost(entry.map_or(0, |entry| entry.offset)).iter().map(|&(_, error)| error)
    }
}

/// Returns the snapshots of concatenated byte forms.
fn byte_forms(bytes: &SharedBytes) -> Result<Vec<ByteForm>, ParseError> {
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(rest) = bytes.as_ref().get(at..).filter(|rest| !rest.is_empty()) {
        let form = codec::decode(rest).map_err(|error| error.shifted(at))?;
        let range = at..at + codec::total_length(rest).unwrap_or(0);
        at = range.end;
        all.push(ByteForm { range, time_ns: form.header().begin.realtime_ns, rows: form.len() });
    }
    Ok(all)
}

/// A range of shared bytes.
struct Part {
    bytes: SharedBytes,
    range: Range<usize>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref().get(self.range.clone()).unwrap_or_default()
    }
}
