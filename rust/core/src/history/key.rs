//! Keys: the values of all tasks, from which the frames of a run are read.
//!
//! Design decisions
//!
//! * A key is packed in parts, some with each frame of its run: no frame waits for all tasks. What
//!   is not packed yet is in the values of the source, of which a copy shares what did not change.
//! * Most tasks sleep. A part is stored as its difference from that of an earlier key, its anchor,
//!   which the runs after it share. Where the difference is no longer small, the part becomes an
//!   anchor.
//! * No value follows the clock: the record of a task that sleeps is as old as it was.

use std::sync::Arc;

use super::frame::{Packed, Packer, Unpacker};
use crate::codec;
use crate::dump::{ChainReader, ChainWriter, Rows};
use crate::error::{ErrorKind, ParseError};
use crate::field_set::FieldSet;
use crate::header::Header;
use crate::interval::LastValues;
use crate::layout::Layout;
use crate::snapshot::{SharedBytes, Snapshot};

/// Tasks of a part: they take about a millisecond to pack.
const PART: usize = 512;

/// See the module.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) layout: Layout,
    parts: Vec<Part>,
    /// What is not packed yet.
    pending: Option<Pending>,
}

/// Some tasks, one after the other.
#[derive(Clone)]
struct Part {
    anchor: Anchor,
    /// The difference from the anchor; None where the part is the anchor.
    delta: Option<Delta>,
}

/// All bytes of a part, which parts of several keys share.
#[derive(Clone)]
struct Anchor {
    whole: Arc<Whole>,
    /// Whether its bytes count as those of this key: it is the oldest that has it.
    is_own: bool,
}

/// A snapshot: its records, the head of its byte form, and the indices of the records' masks.
/// The records are first, so that they are read where they are unpacked.
struct Whole {
    rows: usize,
    packed: Packed,
}

#[derive(Clone)]
struct Delta {
    rows: usize,
    packed: Packed,
}

/// The values of all tasks, of which the first parts are packed.
#[derive(Clone)]
struct Pending {
    values: Arc<LastValues>,
    /// The anchors of the key before.
    anchors: Vec<Anchor>,
}

impl Key {
    /// The key of a snapshot of all tasks. `before` is the last key, whose anchor it may share.
    pub(super) fn of_snapshot(
        packer: &mut Packer,
        snapshot: &Snapshot<SharedBytes>,
        before: Option<&Key>,
    ) -> Result<Key, ParseError> {
        let layout = snapshot.layout().clone();
        let before = before.filter(|before| before.layout == layout);
        let anchor = before.and_then(|before| before.parts.first()).map(|part| &part.anchor);
        Ok(Key { layout, parts: vec![Part::new(packer, snapshot, anchor)?], pending: None })
    }

    /// The key of these values, which [`Key::pack`] packs.
    pub(super) fn of_values(values: Arc<LastValues>, before: Option<&Key>) -> Key {
        let layout = values.layout().clone();
        let before = before.filter(|before| before.layout == layout);
        let shared = |part: &Part| Anchor { is_own: false, ..part.anchor.clone() };
        let anchors = before.map_or_else(Vec::new, |key| key.parts.iter().map(shared).collect());
        Key { layout, parts: Vec::new(), pending: Some(Pending { values, anchors }) }
    }

    /// Number of tasks that are not packed yet.
    pub(super) fn unpacked(&self) -> usize {
        let packed = self.parts.len() * PART;
        self.pending.as_ref().map_or(0, |pending| pending.values.places().saturating_sub(packed))
    }

    /// Packs so many of its tasks, or some more.
    pub(super) fn pack(&mut self, packer: &mut Packer, tasks: usize) -> Result<(), ParseError> {
        let Some(Pending { values, anchors }) = &self.pending else { return Ok(()) };
        let mut left = tasks.div_ceil(PART);
        while left > 0 {
            let begin = self.parts.len() * PART;
            let part = values.part(begin..begin + PART)?;
            self.parts.push(Part::new(packer, &part, anchors.get(self.parts.len()))?);
            left -= 1;
            if begin + PART >= values.places() {
                self.pending = None;
                break;
            }
        }
        Ok(())
    }

    /// Packs all of it.
    pub(super) fn finish(&mut self, packer: &mut Packer) -> Result<(), ParseError> {
        self.pack(packer, usize::MAX)
    }

    /// Bytes that it takes. The values that are not packed yet are the source's.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }

    /// Takes over the anchors of a key that was dropped, where it has them too.
    pub(super) fn inherit(&mut self, dropped: &Key) {
        let packed = self.parts.len();
        let pending = self.pending.iter_mut().flat_map(|pending| &mut pending.anchors);
        let anchors = self.parts.iter_mut().map(|part| &mut part.anchor);
        for (anchor, old) in anchors.chain(pending.skip(packed)).zip(&dropped.parts) {
            let is_same = Arc::ptr_eq(&anchor.whole, &old.anchor.whole);
            anchor.is_own |= old.anchor.is_own && is_same;
        }
    }

    /// Its snapshot. Where it was one, this is the same to the byte.
    pub(super) fn snapshot(
        &self,
        unpacker: &mut Unpacker,
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        match (&self.pending, &self.parts[..]) {
            (None, [part]) => {
                let mut reader = ChainReader::without_clock(&self.layout);
                let rows = part.read(&mut reader, unpacker)?;
                reader.snapshot(&rows)
            }
            _ => self.values(unpacker)?.to_snapshot(),
        }
    }

    /// The values that it has of all tasks.
    pub(super) fn values(&self, unpacker: &mut Unpacker) -> Result<LastValues, ParseError> {
        if let Some(pending) = &self.pending {
            return Ok(pending.values.as_ref().clone());
        }
        let mut reader = ChainReader::without_clock(&self.layout);
        let mut values: Option<LastValues> = None;
        for part in &self.parts {
            let rows = part.read(&mut reader, unpacker)?;
            let (header, count) = (rows.header(), rows.len());
            let empty = || {
                let tasks = self.parts.len() * count;
                LastValues::empty(header, &self.layout, tasks, header.threads(), FieldSet::ALL)
            };
            values.get_or_insert_with(empty).add(header, count, &mut rows.records());
        }
        values.ok_or(ParseError::new(ErrorKind::BadCount, 0))
    }
}

impl Part {
    fn new(
        packer: &mut Packer,
        snapshot: &Snapshot<SharedBytes>,
        anchor: Option<&Anchor>,
    ) -> Result<Part, ParseError> {
        if let Some(anchor) = anchor
            && let Some(delta) = Delta::from_anchor(packer, snapshot, anchor)?
        {
            return Ok(Part { anchor: anchor.clone(), delta: Some(delta) });
        }
        let whole = Arc::new(Whole::of(packer, snapshot));
        Ok(Part { anchor: Anchor { whole, is_own: true }, delta: None })
    }

    fn bytes(&self) -> usize {
        let anchor = if self.anchor.is_own { self.anchor.whole.packed.len() } else { 0 };
        let delta = self.delta.as_ref().map_or(0, |delta| delta.packed.len());
        size_of::<Part>() + anchor + delta
    }

    fn read(&self, reader: &mut ChainReader, unpacker: &mut Unpacker) -> Result<Rows, ParseError> {
        let whole = &self.anchor.whole;
        let changed = self.delta.as_ref().map_or(0, |delta| delta.rows);
        let (header, records, masks) =
            whole.read(reader.layout().record_size(), changed, unpacker)?;
        let delta = self.delta.as_ref();
        let delta = delta.map(|it| Ok((it.rows, it.packed.unpack(unpacker)?))).transpose()?;
        let delta = delta.as_ref().map(|(rows, bytes)| (*rows, &bytes[..]));
        reader.restart();
        reader.rows((&header, records, &masks), delta)
    }
}

impl Whole {
    fn of(packer: &mut Packer, snapshot: &Snapshot<SharedBytes>) -> Whole {
        let rows = snapshot.len();
        let mut bytes = snapshot.record_bytes().to_vec();
        bytes.append(&mut codec::encode_head(snapshot.header(), snapshot.layout(), rows));
        bytes.extend_from_slice(snapshot.mask_indices());
        Whole { rows, packed: packer.pack(bytes) }
    }

    /// Its header, its records and room for `more`, and the indices of their masks.
    fn read(
        &self,
        size: usize,
        more: usize,
        unpacker: &mut Unpacker,
    ) -> Result<(Header, Vec<u8>, Vec<u8>), ParseError> {
        let mut records = self.packed.unpack_with_room(more * size, unpacker)?;
        let rest = &records[self.rows * size..];
        let header = codec::decode_head(rest, usize::MAX)?.header;
        let masks = rest[codec::header_length(rest).unwrap_or(0)..].to_vec();
        records.truncate(self.rows * size);
        Ok((header, records, masks))
    }
}

impl Delta {
    /// The difference of a snapshot from an anchor; None where it is not small.
    fn from_anchor(
        packer: &mut Packer,
        snapshot: &Snapshot<SharedBytes>,
        anchor: &Anchor,
    ) -> Result<Option<Delta>, ParseError> {
        // To read a part that has a much larger anchor would cost as much as to read the latter.
        if anchor.whole.rows > 2 * snapshot.len().max(PART) {
            return Ok(None);
        }
        let size = snapshot.layout().record_size();
        let (header, records, masks) = anchor.whole.read(size, 0, &mut Unpacker::new())?;
        if header.threads() != snapshot.header().threads() {
            return Ok(None);
        }
        let base = (&header, &records[..], &masks[..]);
        let delta = ChainWriter::without_clock(snapshot.layout()).delta(base, snapshot);
        let packed = packer.pack(delta);
        let is_small = packed.len() < anchor.whole.packed.len() / 2;
        Ok(is_small.then_some(Delta { rows: snapshot.len(), packed }))
    }
}
