//! Reads the snapshots of a dump.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::delta::{self, Sets, Whole};
use super::field_table::FieldTable;
use super::frame::{self, Frame, FrameKind};
use super::index::{Entry, Index};
use super::strings;
use crate::codec;
use crate::error::{ErrorKind, ParseError};
use crate::names::{Names, NamesAt, RecordedName};
use crate::snapshot::{SharedBytes, Snapshot};

/// Bytes of a dump that cannot be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which bytes.
    pub bytes: Range<usize>,
    /// What is wrong with them.
    pub error: ParseError,
    /// The snapshot that is lost, by its index, where it is one.
    pub snapshot: Option<usize>,
}

/// Returns a copy of a range of a reader's bytes; None to read them in place. The copy may
/// reuse the memory of the copy before, if nothing holds that any more.
pub type Copies = Box<dyn FnMut(Range<usize>) -> Option<SharedBytes> + Send>;

/// The state from which a reader makes the next snapshot.
#[derive(Default)]
pub struct Cursor {
    copies: Option<Copies>,
    state: Option<State>,
    /// A snapshot that could not be read: those after it in its run cannot be read either.
    broken: Option<usize>,
}

impl Cursor {
    /// A cursor that reads uncompressed full frames from copies.
    pub fn copying(copies: Option<Copies>) -> Cursor {
        Cursor { copies, ..Cursor::default() }
    }
}

struct State {
    index: usize,
    whole: Whole<SharedBytes>,
    /// Checksum of the table, and the table once a delta needed it.
    table: (u32, Option<FieldTable>),
    sets: Sets,
    checksum: u32,
}

enum Content {
    Dump(Index),
    /// A bare array of records, or snapshots' byte forms laid end to end.
    Snapshots(Vec<Snapshot<SharedBytes>>),
}

/// The snapshots of a dump, of a bare array of `struct taskstats`, or of snapshots' byte
/// forms laid end to end.
pub struct Reader {
    bytes: SharedBytes,
    content: Content,
    names: OnceLock<Arc<Names>>,
}

impl Reader {
    /// A reader of `bytes`. `record_size` is for bare arrays, as in
    /// [`Snapshot::from_bare_records`].
    pub fn new(bytes: SharedBytes, record_size: Option<usize>) -> Result<Reader, ParseError> {
        if bytes.as_ref().is_empty() {
            return Err(ParseError::new(ErrorKind::Empty, 0));
        }
        let content = if frame::is_dump(bytes.as_ref()) {
            Content::Dump(Index::of(bytes.as_ref())?)
        } else if codec::is_snapshot(bytes.as_ref()) {
            Content::Snapshots(byte_forms(&bytes)?)
        } else {
            let bare = Snapshot::from_bare_records(bytes.clone(), record_size);
            let bare = bare.map_err(|error| match error.kind {
                ErrorKind::BadVersion => ParseError::new(ErrorKind::Unrecognised, error.offset),
                _ => error,
            })?;
            Content::Snapshots(vec![bare])
        };
        Ok(Reader { bytes, content, names: OnceLock::new() })
    }

    /// The frames of a dump; None for other contents.
    pub fn index(&self) -> Option<&Index> {
        match &self.content {
            Content::Dump(index) => Some(index),
            Content::Snapshots(_) => None,
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
            Content::Snapshots(all) => Some(all.get(index)?.header().begin.realtime_ns),
        }
    }

    /// Number of records of a snapshot, by its frame's header.
    pub fn rows(&self, index: usize) -> Option<usize> {
        match &self.content {
            Content::Dump(frames) => frames.rows(index).map(|rows| rows as usize),
            Content::Snapshots(all) => all.get(index).map(Snapshot::len),
        }
    }

    /// The snapshot whose time is the latest that is not after `time_ns`; see
    /// [`Index::at_time`].
    pub fn at_time(&self, time_ns: u64) -> Option<usize> {
        match &self.content {
            Content::Dump(frames) => frames.at_time(time_ns),
            Content::Snapshots(all) => {
                let times = all.iter().map(|snapshot| snapshot.header().begin.realtime_ns);
                let earlier = times.enumerate().filter(|&(_, time)| time <= time_ns);
                earlier.max_by_key(|&(_, time)| time).map(|(index, _)| index)
            }
        }
    }

    /// The first snapshot of the run of deltas with `index`: no frame is decoded twice if
    /// reading starts there.
    pub fn chain_start(&self, index: usize) -> usize {
        (0..=index).rev().find(|&at| self.is_full(at)).unwrap_or(0)
    }

    /// Whether the snapshot at `index` is read without those before it.
    pub fn is_full(&self, index: usize) -> bool {
        match &self.content {
            Content::Dump(frames) => {
                frames.entry(index).is_none_or(|entry| entry.kind == FrameKind::Full)
            }
            Content::Snapshots(_) => true,
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
            Content::Snapshots(all) => return all.get(index).cloned().ok_or(none),
        };
        let entry = frames.entry(index).ok_or(none)?;
        let start = self.chain_start(index);
        if cursor.broken.is_some_and(|broken| (start..index).contains(&broken)) {
            return Err(ParseError::new(ErrorKind::MissingBase, entry.offset as usize));
        }
        // Drop a state of another run first: the next copy may reuse its memory.
        let mut state = cursor.state.take().filter(|state| (start..=index).contains(&state.index));
        let next = state.as_ref().map_or(start, |state| state.index + 1);
        for at in next..=index {
            let step = self.step(frames, at, state, &mut cursor.copies);
            state = Some(step.inspect_err(|_| cursor.broken = Some(at))?);
        }
        let Some(state) = state else { return Err(none) };
        let names = NamesAt { names: Arc::clone(self.names()), offset: entry.offset };
        let snapshot = codec::decode(state.whole.bytes.clone())?.with_names(names);
        cursor.state = Some(state);
        Ok(snapshot)
    }

    fn frame(&self, entry: &Entry, copies: Option<&mut Copies>) -> Result<Frame, ParseError> {
        let offset = usize::try_from(entry.offset).unwrap_or(usize::MAX);
        let bad = ParseError::new(ErrorKind::BadChecksum, offset);
        let header = offset..offset.saturating_add(frame::HEADER);
        let copy = copies.and_then(|copy| copy(header));
        let frame = match copy {
            Some(header) => Frame::of(header.as_ref(), offset),
            None => Frame::at(self.bytes.as_ref(), offset),
        };
        let frame = frame.ok_or(bad)?;
        let same = frame.kind == entry.kind && frame.time_ns == entry.time_ns;
        if same && frame.rows == entry.rows { Ok(frame) } else { Err(bad) }
    }

    fn step(
        &self,
        frames: &Index,
        index: usize,
        before: Option<State>,
        copies: &mut Option<Copies>,
    ) -> Result<State, ParseError> {
        let entry = frames.entry(index).ok_or(ParseError::new(ErrorKind::BadCount, 0))?;
        // Others are small, and many in a page.
        let mut copies = copies.as_mut().filter(|_| entry.kind == FrameKind::Full);
        let frame = self.frame(entry, copies.as_deref_mut())?;
        let bad = |kind| ParseError::new(kind, frame.offset);
        let bytes = self.bytes.as_ref();
        let state = if frame.kind == FrameKind::Full {
            let whole = if frame.compressed {
                SharedBytes::new(frame.payload(bytes)?.into_owned())
            } else if let Some(copy) = copies.and_then(|copy| copy(frame.range())) {
                frame.check(copy.as_ref())?;
                copy
            } else {
                frame.checked(bytes)?;
                SharedBytes::new(Part { bytes: self.bytes.clone(), range: frame.range() })
            };
            let whole = Whole::new(whole).map_err(|error| error.shifted(frame.range().start))?;
            let table = (frame.after, None);
            State { index, whole, table, sets: Vec::new(), checksum: frame.checksum }
        } else {
            let Some(mut state) = before.filter(|state| state.checksum == frame.after) else {
                return Err(bad(ErrorKind::MissingBase));
            };
            let table = match state.table.1.take() {
                Some(table) => table,
                None => self.table(frames, index, state.table.0)?,
            };
            let payload = frame.payload(bytes)?;
            let made = delta::apply(&table, &mut state.sets, &state.whole, &payload)
                .ok_or(bad(ErrorKind::BadValue))?;
            state.whole = Whole::new(SharedBytes::new(made)).map_err(|error| bad(error.kind))?;
            state.table.1 = Some(table);
            State { index, checksum: frame.checksum, ..state }
        };
        if state.whole.len() != frame.rows as usize {
            return Err(bad(ErrorKind::BadCount));
        }
        Ok(state)
    }

    /// The table before a snapshot, which must be the one of that checksum.
    fn table(&self, frames: &Index, index: usize, checksum: u32) -> Result<FieldTable, ParseError> {
        let missing = ParseError::new(ErrorKind::MissingBase, 0);
        let frame = self.frame(frames.table(index).ok_or(missing)?, None)?;
        if frame.checksum != checksum {
            return Err(ParseError::new(ErrorKind::MissingBase, frame.offset));
        }
        let payload = frame.payload(self.bytes.as_ref())?;
        FieldTable::decode(&payload).ok_or(ParseError::new(ErrorKind::BadValue, frame.offset))
    }

    /// All names of the dump. Those that damage makes uncertain are unknown.
    pub fn names(&self) -> &Arc<Names> {
        self.names.get_or_init(|| {
            let (mut all, mut lost) = (Names::default(), Vec::new());
            let Some(index) = self.index() else { return Arc::new(all) };
            for entry in index.entries.iter().filter(|entry| entry.kind == FrameKind::Strings) {
                match self.strings(entry) {
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
            Arc::new(all)
        })
    }

    fn strings(&self, entry: &Entry) -> Result<Vec<RecordedName>, ParseError> {
        let frame = self.frame(entry, None)?;
        let payload = frame.payload(self.bytes.as_ref())?;
        strings::decode(&payload).ok_or(ParseError::new(ErrorKind::BadValue, frame.offset))
    }

    /// Damage to the names before a snapshot: names that are not repeated after it are
    /// unknown.
    pub fn lost_names(&self, index: usize) -> impl Iterator<Item = ParseError> {
        let entry = self.index().and_then(|frames| frames.entry(index));
        self.names().lost(entry.map_or(0, |entry| entry.offset)).iter().map(|&(_, error)| error)
    }

    /// Reads every byte of a dump and returns what cannot be read.
    pub fn check(&self) -> Vec<Damage> {
        let Content::Dump(frames) = &self.content else { return Vec::new() };
        let bytes = self.bytes.as_ref();
        // An index may not list damage: read the frames themselves.
        let seen = Index::by_headers(bytes);
        // An undamaged index lists the frames in a gap.
        let gaps = frames.cut(&seen.gaps);
        let place = |offset: u64| {
            let start = offset as usize;
            let end = match gaps.binary_search_by_key(&start, |gap| gap.start) {
                Ok(found) => gaps[found].end,
                Err(_) => Frame::at(bytes, start).map_or(start, |frame| frame.end()),
            };
            start..end
        };
        let all = (0..frames.len()).filter_map(|index| frames.entry(index));
        let snapshots: HashSet<usize> = all.map(|entry| entry.offset as usize).collect();
        // Lost snapshots are reported below.
        let nameless = gaps.iter().filter(|gap| !snapshots.contains(&gap.start));
        let mut damage: Vec<Damage> = nameless
            .map(|gap| Damage {
                bytes: gap.clone(),
                error: frame::error_at(bytes, gap.start),
                snapshot: None,
            })
            .collect();
        for entry in seen.entries.iter().filter(|entry| !entry.kind.is_snapshot()) {
            let payload =
                self.frame(entry, None).and_then(|frame| frame.payload(bytes).map(|_| ()));
            if let Err(error) = payload {
                damage.push(Damage { bytes: place(entry.offset), error, snapshot: None });
            }
        }
        let mut cursor = Cursor::default();
        for index in 0..frames.len() {
            if let Err(error) = self.snapshot(index, &mut cursor) {
                let offset = frames.entry(index).map_or(0, |entry| entry.offset);
                damage.push(Damage { bytes: place(offset), error, snapshot: Some(index) });
            }
        }
        damage.sort_by_key(|damage| damage.bytes.start);
        damage
    }
}

/// The snapshots of byte forms laid end to end.
fn byte_forms(bytes: &SharedBytes) -> Result<Vec<Snapshot<SharedBytes>>, ParseError> {
    let (mut all, mut at) = (Vec::new(), 0);
    while at < bytes.as_ref().len() {
        let rest = Part { bytes: bytes.clone(), range: at..bytes.as_ref().len() };
        let length = codec::total_length(rest.as_ref()).unwrap_or(0);
        all.push(codec::decode(SharedBytes::new(rest)).map_err(|error| error.shifted(at))?);
        at += length;
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
