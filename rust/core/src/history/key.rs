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
use crate::dump::{ChainReader, ChainWriter};
use crate::error::{ErrorKind, ParseError};
use crate::field_set::FieldSet;
use crate::header::Header;
use crate::interval::LastValues;
use crate::layout::Layout;
use crate::record::Record;
use crate::snapshot::{SharedBytes, Snapshot};

/// Tasks of a part: they take about a millisecond to pack.
const PART: usize = 512;

/// See the module.
#[derive(Clone)]
pub(super) struct Key {
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

/// The byte form of a snapshot, which parts of several keys share.
#[derive(Clone)]
struct Anchor {
    packed: Arc<Packed>,
    /// Whether its bytes count as those of this key: it is the oldest that has it.
    is_own: bool,
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
        let anchor = before.and_then(|before| before.parts.first()).map(|part| &part.anchor);
        Ok(Key { parts: vec![Part::new(packer, snapshot, anchor)?], pending: None })
    }

    /// The key of these values, which [`Key::pack`] packs.
    pub(super) fn of_values(values: Arc<LastValues>, before: Option<&Key>) -> Key {
        let shared = |part: &Part| Anchor { is_own: false, ..part.anchor.clone() };
        let anchors = before.map_or_else(Vec::new, |key| key.parts.iter().map(shared).collect());
        Key { parts: Vec::new(), pending: Some(Pending { values, anchors }) }
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
            let is_same = Arc::ptr_eq(&anchor.packed, &old.anchor.packed);
            anchor.is_own |= old.anchor.is_own && is_same;
        }
    }

    /// Its snapshot. Where it was one, this is the same to the byte.
    pub(super) fn snapshot(
        &self,
        unpacker: &mut Unpacker,
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        match (&self.pending, &self.parts[..]) {
            (None, [part]) => part.snapshot(unpacker),
            _ => self.values(unpacker)?.to_snapshot(),
        }
    }

    /// The values that it has of all tasks.
    pub(super) fn values(&self, unpacker: &mut Unpacker) -> Result<LastValues, ParseError> {
        if let Some(pending) = &self.pending {
            return Ok(pending.values.as_ref().clone());
        }
        let mut values = None;
        for part in &self.parts {
            part.add_to(&mut values, self.parts.len(), unpacker)?;
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
            && let Some(packed) = delta(packer, snapshot, &anchor.packed)?
        {
            let delta = Some(Delta { rows: snapshot.len(), packed });
            return Ok(Part { anchor: anchor.clone(), delta });
        }
        let packed = Arc::new(packer.pack(codec::encode(snapshot)));
        Ok(Part { anchor: Anchor { packed, is_own: true }, delta: None })
    }

    fn bytes(&self) -> usize {
        let anchor = if self.anchor.is_own { self.anchor.packed.len() } else { 0 };
        let delta = self.delta.as_ref().map_or(0, |delta| delta.packed.len());
        size_of::<Part>() + anchor + delta
    }

    fn snapshot(&self, unpacker: &mut Unpacker) -> Result<Snapshot<SharedBytes>, ParseError> {
        let anchor = self.anchor.packed.unpack(unpacker)?;
        let Some(Delta { rows, packed }) = &self.delta else {
            return codec::decode(SharedBytes::new(anchor));
        };
        let mut chain = ChainReader::without_clock(codec::decode(&anchor[..])?.layout());
        chain.read_form(anchor, *rows, &packed.unpack(unpacker)?)
    }

    /// Adds its tasks to the values of those before; there are `parts`.
    fn add_to(
        &self,
        values: &mut Option<LastValues>,
        parts: usize,
        unpacker: &mut Unpacker,
    ) -> Result<(), ParseError> {
        let anchor = self.anchor.packed.unpack(unpacker)?;
        let Some(Delta { rows, packed }) = &self.delta else {
            let whole = codec::decode(&anchor[..])?;
            let (header, rows) = (whole.header(), whole.len());
            add(values, parts, header, whole.layout(), rows, &mut whole.iter());
            return Ok(());
        };
        let mut chain = ChainReader::without_clock(codec::decode(&anchor[..])?.layout());
        let delta = packed.unpack(unpacker)?;
        chain.read_records(anchor, *rows, &delta, |header, layout, records| {
            add(values, parts, header, layout, *rows, records);
        })
    }
}

fn add(
    values: &mut Option<LastValues>,
    parts: usize,
    header: &Header,
    layout: &Layout,
    rows: usize,
    records: &mut dyn Iterator<Item = Record<'_>>,
) {
    let empty = || LastValues::empty(header, layout, parts * rows, header.threads(), FieldSet::ALL);
    values.get_or_insert_with(empty).add(header, rows, records);
}

/// The difference of a snapshot from an anchor; None where it is not small.
fn delta(
    packer: &mut Packer,
    snapshot: &Snapshot<SharedBytes>,
    anchor: &Packed,
) -> Result<Option<Packed>, ParseError> {
    let form = anchor.unpack(&mut Unpacker::new())?;
    let base = codec::decode(&form[..])?;
    // To read a part that has a much larger anchor would cost as much as to read the latter.
    let is_alike = base.layout() == snapshot.layout()
        && base.header().threads() == snapshot.header().threads()
        && base.len() <= 2 * snapshot.len().max(PART);
    if !is_alike {
        return Ok(None);
    }
    let base = (base.header(), base.record_bytes(), base.mask_indices());
    let delta = ChainWriter::without_clock(snapshot.layout()).delta(base, snapshot);
    let packed = packer.pack(delta);
    Ok((packed.len() < anchor.len() / 2).then_some(packed))
}
