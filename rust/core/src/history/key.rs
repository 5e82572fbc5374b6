//! Keys: the values of all tasks, from which the frames of a run are read.
//!
//! Design decisions
//!
//! * Most tasks sleep. A key is stored as its difference from an earlier one, its anchor, which
//!   the runs after it share. Where the difference is no longer small, the key becomes an anchor.
//! * No value follows the clock: the record of a task that sleeps is as old as it was.

use std::sync::Arc;

use super::frame::{Packed, Packer, Unpacker};
use crate::codec;
use crate::dump::{ChainReader, ChainWriter};
use crate::error::ParseError;
use crate::field_set::FieldSet;
use crate::header::Header;
use crate::interval::LastValues;
use crate::layout::Layout;
use crate::record::Record;
use crate::snapshot::{SharedBytes, Snapshot};

/// See the module.
#[derive(Clone)]
pub(super) struct Key {
    /// The byte form of a snapshot.
    anchor: Arc<Packed>,
    /// The difference from it; None where the key is the anchor.
    delta: Option<Delta>,
}

#[derive(Clone)]
struct Delta {
    rows: usize,
    packed: Packed,
}

impl Key {
    /// The key of a snapshot of all tasks. `before` is the last key, whose anchor it may share.
    pub(super) fn new(
        packer: &mut Packer,
        snapshot: &Snapshot<SharedBytes>,
        before: Option<&Key>,
    ) -> Result<Key, ParseError> {
        if let Some(before) = before
            && let Some(packed) = delta(packer, snapshot, &before.anchor)?
        {
            let delta = Delta { rows: snapshot.len(), packed };
            return Ok(Key { anchor: Arc::clone(&before.anchor), delta: Some(delta) });
        }
        Ok(Key { anchor: Arc::new(packer.pack(codec::encode(snapshot))), delta: None })
    }

    /// Bytes that it takes beside its anchor.
    pub(super) fn bytes(&self) -> usize {
        self.delta.as_ref().map_or(0, |delta| delta.packed.len())
    }

    pub(super) fn anchor_bytes(&self) -> usize {
        self.anchor.len()
    }

    pub(super) fn shares_anchor(&self, other: &Key) -> bool {
        Arc::ptr_eq(&self.anchor, &other.anchor)
    }

    /// Its snapshot, to the byte.
    pub(super) fn snapshot(
        &self,
        unpacker: &mut Unpacker,
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        let anchor = self.anchor.unpack(unpacker)?;
        let Some(Delta { rows, packed }) = &self.delta else {
            return codec::decode(SharedBytes::new(anchor));
        };
        let mut chain = ChainReader::without_clock(codec::decode(&anchor[..])?.layout());
        chain.read_form(anchor, *rows, &packed.unpack(unpacker)?)
    }

    /// The values that it has of all tasks.
    pub(super) fn values(&self, unpacker: &mut Unpacker) -> Result<LastValues, ParseError> {
        let anchor = self.anchor.unpack(unpacker)?;
        let Some(Delta { rows, packed }) = &self.delta else {
            let whole = codec::decode(&anchor[..])?;
            return Ok(values(whole.header(), whole.layout(), whole.len(), &mut whole.iter()));
        };
        let mut chain = ChainReader::without_clock(codec::decode(&anchor[..])?.layout());
        let delta = packed.unpack(unpacker)?;
        chain.read_records(anchor, *rows, &delta, |header, layout, records| {
            values(header, layout, *rows, records)
        })
    }
}

fn values(
    header: &Header,
    layout: &Layout,
    rows: usize,
    records: &mut dyn Iterator<Item = Record<'_>>,
) -> LastValues {
    LastValues::of(header, layout, rows, records, header.threads(), FieldSet::ALL)
}

/// The difference of a snapshot from an anchor; None where it is not small.
fn delta(
    packer: &mut Packer,
    snapshot: &Snapshot<SharedBytes>,
    anchor: &Packed,
) -> Result<Option<Packed>, ParseError> {
    let form = anchor.unpack(&mut Unpacker::new())?;
    let base = codec::decode(&form[..])?;
    let is_alike = base.layout() == snapshot.layout()
        && base.header().threads() == snapshot.header().threads();
    if !is_alike {
        return Ok(None);
    }
    let base = (base.header(), base.record_bytes(), base.mask_indices());
    let delta = ChainWriter::without_clock(snapshot.layout()).delta(base, snapshot);
    let packed = packer.pack(delta);
    Ok((packed.len() < anchor.len() / 2).then_some(packed))
}
