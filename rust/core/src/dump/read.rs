//! Finds and reads the snapshots of a dump.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::delta::{self, Sets, Whole};
use super::frame::{self, Frame, FrameKind, Frames, PREAMBLE};
use super::strings;
use super::table::Table;
use super::{Input, put_varint, unzigzag, zigzag};
use crate::codec;
use crate::error::{ErrorKind, ParseError};
use crate::snapshot::{Names, SharedBytes, Snapshot};

/// The last bytes of a dump that was closed, behind the index frame's offset.
const TRAILER: [u8; 8] = *b"TSKINDEX";

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) kind: FrameKind,
    pub(super) time_ns: u64,
    pub(super) rows: u32,
}

/// An index frame's payload, for a frame at `offset`.
pub(super) fn encode_index(entries: &[Entry], last: u64, offset: u64) -> Vec<u8> {
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

/// The entries of an index frame, and where the index before it stands.
fn decode_index(payload: &[u8]) -> Option<(Vec<Entry>, u64)> {
    let mut input = Input::new(payload);
    let last = input.varint()?;
    let count = input.length()?;
    let (mut at, mut time_ns) = (0_u64, 0_u64);
    let mut entries = Vec::new();
    for _ in 0..count {
        at = at.wrapping_add(input.varint()?.wrapping_mul(frame::ALIGNMENT as u64));
        let kind = FrameKind::from_number(u16::try_from(input.varint()?).ok()?);
        time_ns = time_ns.wrapping_add(unzigzag(input.varint()?));
        let rows = u32::try_from(input.varint()?).ok()?;
        entries.push(Entry { offset: at, kind, time_ns, rows });
    }
    Some((entries, last))
}

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

/// Where a dump's frames stand.
#[derive(Clone, Debug, Default)]
pub struct Index {
    entries: Vec<Entry>,
    /// Positions of the snapshots among the entries.
    snapshots: Vec<usize>,
    /// Whether no snapshot is earlier than the one before it.
    sorted: bool,
    gaps: Vec<Range<usize>>,
    /// Where the last whole frame ends.
    pub(super) end: usize,
    pub(super) last_index: u64,
}

impl Index {
    /// The frames of a dump, by its index where it was closed, else by their headers.
    pub fn of(bytes: &[u8]) -> Result<Index, ParseError> {
        frame::check_preamble(bytes)?;
        Ok(Index::by_trailer(bytes).unwrap_or_else(|| Index::by_headers(bytes)))
    }

    fn by_trailer(bytes: &[u8]) -> Option<Index> {
        let trailer = bytes.len().checked_sub(16).filter(|&at| at >= PREAMBLE)?;
        if bytes[trailer + 8..] != TRAILER {
            return None;
        }
        let offset = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let mut parts = Vec::new();
        let first = offset(trailer)?;
        let mut at = first;
        loop {
            let frame = Frame::at(bytes, usize::try_from(at).ok()?)?;
            let payload = frame.checked(bytes).ok()?;
            if frame.kind != FrameKind::Index || (at == first && frame.end() != bytes.len()) {
                return None;
            }
            let (entries, last) = decode_index(payload)?;
            let inside = |entry: &Entry| entry.offset < at && entry.offset >= PREAMBLE as u64;
            if !entries.iter().all(inside) || last >= at {
                return None;
            }
            parts.push(entries);
            if last == 0 {
                break;
            }
            at = last;
        }
        let entries = parts.into_iter().rev().flatten().collect();
        Some(Index::new(entries, Vec::new(), bytes.len(), first))
    }

    fn by_headers(bytes: &[u8]) -> Index {
        let (mut entries, mut gaps) = (Vec::new(), Vec::new());
        let (mut end, mut last_index) = (PREAMBLE, 0);
        for frame in Frames::new(bytes, PREAMBLE) {
            match frame {
                Ok(frame) => {
                    end = frame.end();
                    if frame.kind == FrameKind::Index {
                        last_index = frame.offset as u64;
                    }
                    entries.push(Entry {
                        offset: frame.offset as u64,
                        kind: frame.kind,
                        time_ns: frame.time_ns,
                        rows: frame.rows,
                    });
                }
                Err(gap) => gaps.push(gap),
            }
        }
        Index::new(entries, gaps, end, last_index)
    }

    fn new(entries: Vec<Entry>, gaps: Vec<Range<usize>>, end: usize, last_index: u64) -> Index {
        let positions = 0..entries.len();
        let snapshots: Vec<usize> =
            positions.filter(|&position| entries[position].kind.is_snapshot()).collect();
        let times = snapshots.iter().map(|&position| entries[position].time_ns);
        let sorted = times.is_sorted();
        Index { entries, snapshots, sorted, gaps, end, last_index }
    }

    /// Number of snapshots.
    pub fn len(&self) -> usize {
        self.snapshots.len()
    }

    /// Whether there is no snapshot.
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty()
    }

    /// Where the last whole frame ends; bytes behind it are of a frame that was not
    /// finished.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Bytes that belong to no whole frame.
    pub fn gaps(&self) -> &[Range<usize>] {
        &self.gaps
    }

    /// CLOCK_REALTIME ns of a snapshot's begin.
    pub fn time_ns(&self, index: usize) -> Option<u64> {
        Some(self.entry(index)?.time_ns)
    }

    /// Number of records of a snapshot.
    pub fn rows(&self, index: usize) -> Option<u32> {
        Some(self.entry(index)?.rows)
    }

    fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(*self.snapshots.get(index)?)
    }

    /// The last snapshot that was begun at `time_ns` or before.
    pub fn at_time(&self, time_ns: u64) -> Option<usize> {
        if self.sorted {
            let after = |&position: &usize| self.entries[position].time_ns <= time_ns;
            return self.snapshots.partition_point(after).checked_sub(1);
        }
        // The clock was set back meanwhile.
        (0..self.len()).rev().find(|&index| self.time_ns(index) <= Some(time_ns))
    }

    /// Entries that stand in no index frame.
    pub(super) fn unindexed(&self) -> Vec<Entry> {
        let after = |entry: &&Entry| entry.offset > self.last_index;
        self.entries.iter().filter(after).copied().collect()
    }
}

/// What a reader remembers, so that the next snapshot is made of the one before.
#[derive(Default)]
pub struct Cursor(Option<State>);

struct State {
    index: usize,
    whole: Whole<SharedBytes>,
    table: Arc<Table>,
    sets: Sets,
    checksum: u32,
}

enum Content {
    Dump(Index),
    /// A bare array of records, or a snapshot's byte form.
    One(Box<Snapshot<SharedBytes>>),
}

/// The snapshots of a dump, of a bare array of `struct taskstats`, or of a snapshot's
/// byte form.
pub struct Reader {
    bytes: SharedBytes,
    content: Content,
    names: OnceLock<Arc<Names>>,
}

impl Reader {
    /// A reader of what `bytes` are. `record_size` is for bare arrays, as in
    /// [`Snapshot::from_bare_records`].
    pub fn new(bytes: SharedBytes, record_size: Option<usize>) -> Result<Reader, ParseError> {
        let content = if frame::is_dump(bytes.as_ref()) {
            Content::Dump(Index::of(bytes.as_ref())?)
        } else if codec::is_snapshot(bytes.as_ref()) {
            Content::One(Box::new(codec::decode(bytes.clone())?))
        } else {
            Content::One(Box::new(Snapshot::from_bare_records(bytes.clone(), record_size)?))
        };
        Ok(Reader { bytes, content, names: OnceLock::new() })
    }

    /// The frames of a dump; None for other contents.
    pub fn index(&self) -> Option<&Index> {
        match &self.content {
            Content::Dump(index) => Some(index),
            Content::One(_) => None,
        }
    }

    /// Number of snapshots.
    pub fn len(&self) -> usize {
        self.index().map_or(1, Index::len)
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
            Content::One(one) => (index == 0).then_some(one.header().begin.realtime_ns),
        }
    }

    /// Number of records of a snapshot, as its frame's header tells.
    pub fn rows(&self, index: usize) -> Option<usize> {
        match &self.content {
            Content::Dump(frames) => frames.rows(index).map(|rows| rows as usize),
            Content::One(one) => (index == 0).then_some(one.len()),
        }
    }

    /// The last snapshot that was begun at `time_ns` or before.
    pub fn at_time(&self, time_ns: u64) -> Option<usize> {
        match &self.content {
            Content::Dump(frames) => frames.at_time(time_ns),
            Content::One(_) => (self.time_ns(0) <= Some(time_ns)).then_some(0),
        }
    }

    /// The first snapshot of the run of deltas that `index` is in: reading from there on
    /// costs nothing twice.
    pub fn chain_start(&self, index: usize) -> usize {
        let Content::Dump(frames) = &self.content else { return 0 };
        let is_full =
            |&at: &usize| frames.entry(at).is_none_or(|entry| entry.kind == FrameKind::Full);
        (0..=index).rev().find(is_full).unwrap_or(0)
    }

    /// The snapshot at `index`. With the cursor of the one before it costs one frame,
    /// else up to a run of them. BadCount where there is none.
    pub fn snapshot(
        &self,
        index: usize,
        cursor: &mut Cursor,
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        let frames = match &self.content {
            Content::Dump(frames) => frames,
            Content::One(one) if index == 0 => return Ok((**one).clone()),
            Content::One(_) => return Err(ParseError::new(ErrorKind::BadCount, self.size())),
        };
        if index >= frames.len() {
            return Err(ParseError::new(ErrorKind::BadCount, self.size()));
        }
        let start = self.chain_start(index);
        // Where something goes wrong nothing is remembered.
        let mut state = cursor.0.take().filter(|state| (start..=index).contains(&state.index));
        let next = state.as_ref().map_or(start, |state| state.index + 1);
        for at in next..=index {
            state = Some(self.step(frames, at, state)?);
        }
        let Some(state) = state else {
            return Err(ParseError::new(ErrorKind::MissingBase, self.size()));
        };
        let snapshot = state.whole.snapshot.clone().with_names(Arc::clone(self.names()));
        cursor.0 = Some(state);
        Ok(snapshot)
    }

    fn frame(&self, entry: &Entry) -> Result<Frame, ParseError> {
        let offset = usize::try_from(entry.offset).unwrap_or(usize::MAX);
        let bad = ParseError::new(ErrorKind::BadChecksum, offset);
        let frame = Frame::at(self.bytes.as_ref(), offset).ok_or(bad)?;
        let same = frame.kind == entry.kind && frame.time_ns == entry.time_ns;
        if same && frame.rows == entry.rows { Ok(frame) } else { Err(bad) }
    }

    fn step(
        &self,
        frames: &Index,
        index: usize,
        before: Option<State>,
    ) -> Result<State, ParseError> {
        let entry = frames.entry(index).ok_or(ParseError::new(ErrorKind::BadCount, 0))?;
        let frame = self.frame(entry)?;
        let bad = |kind| ParseError::new(kind, frame.offset);
        let bytes = self.bytes.as_ref();
        let payload_at = frame.range().start;
        let state = if frame.kind == FrameKind::Full {
            let whole = if frame.compressed {
                SharedBytes::new(frame.payload(bytes)?.into_owned())
            } else {
                frame.checked(bytes)?;
                SharedBytes::new(Part { bytes: self.bytes.clone(), range: frame.range() })
            };
            let whole = Whole::new(whole).map_err(|error| error.shifted(payload_at))?;
            let table = self.table(frames, index)?;
            State { index, whole, table, sets: Vec::new(), checksum: frame.checksum }
        } else {
            let Some(mut state) = before.filter(|state| state.checksum == frame.after) else {
                return Err(bad(ErrorKind::MissingBase));
            };
            let payload = frame.payload(bytes)?;
            let made = delta::apply(&state.table, &mut state.sets, &state.whole, &payload)
                .ok_or(bad(ErrorKind::BadValue))?;
            state.whole = Whole::new(SharedBytes::new(made)).map_err(|error| bad(error.kind))?;
            State { index, checksum: frame.checksum, ..state }
        };
        if state.whole.snapshot.len() != frame.rows as usize {
            return Err(bad(ErrorKind::BadCount));
        }
        Ok(state)
    }

    /// The table before the snapshot at `index`.
    fn table(&self, frames: &Index, index: usize) -> Result<Arc<Table>, ParseError> {
        let before = &frames.entries[..frames.snapshots[index]];
        let missing = ParseError::new(ErrorKind::MissingBase, 0);
        let entry = before.iter().rev().find(|entry| entry.kind == FrameKind::Table);
        let frame = self.frame(entry.ok_or(missing)?)?;
        let payload = frame.payload(self.bytes.as_ref())?;
        let bad = ParseError::new(ErrorKind::BadValue, frame.offset);
        Table::decode(&payload).map(Arc::new).ok_or(bad)
    }

    /// All names of the dump; what is damaged is left out.
    pub fn names(&self) -> &Arc<Names> {
        self.names.get_or_init(|| {
            let mut all = Names::new();
            let entries = self.index().map_or(&[][..], |index| &index.entries);
            for entry in entries.iter().filter(|entry| entry.kind == FrameKind::Strings) {
                let Ok(frame) = self.frame(entry) else { continue };
                let Ok(payload) = frame.payload(self.bytes.as_ref()) else { continue };
                all.extend(strings::decode(&payload).unwrap_or_default());
            }
            Arc::new(all)
        })
    }

    /// Reads every byte of a dump and gives what cannot be read.
    pub fn check(&self) -> Vec<Damage> {
        let Content::Dump(frames) = &self.content else { return Vec::new() };
        let bytes = self.bytes.as_ref();
        // An index may not tell of what is damaged: look at the frames themselves.
        let seen = Index::by_headers(bytes);
        let mut damage: Vec<Damage> = seen
            .gaps
            .iter()
            .map(|gap| Damage {
                bytes: gap.clone(),
                error: ParseError::new(ErrorKind::Truncated, gap.start),
                snapshot: None,
            })
            .collect();
        for entry in seen.entries.iter().filter(|entry| !entry.kind.is_snapshot()) {
            let outcome = self.frame(entry).and_then(|frame| frame.payload(bytes).map(|_| frame));
            if let Err(error) = outcome {
                let start = entry.offset as usize;
                let end = Frame::at(bytes, start).map_or(start, |frame| frame.end());
                damage.push(Damage { bytes: start..end, error, snapshot: None });
            }
        }
        let mut cursor = Cursor::default();
        for index in 0..frames.len() {
            if let Err(error) = self.snapshot(index, &mut cursor) {
                let start = frames.entry(index).map_or(0, |entry| entry.offset as usize);
                let end = Frame::at(bytes, start).map_or(start, |frame| frame.end());
                damage.push(Damage { bytes: start..end, error, snapshot: Some(index) });
            }
        }
        damage.sort_by_key(|damage| damage.bytes.start);
        damage
    }
}

/// Some of the bytes of another memory.
struct Part {
    bytes: SharedBytes,
    range: Range<usize>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref().get(self.range.clone()).unwrap_or_default()
    }
}
