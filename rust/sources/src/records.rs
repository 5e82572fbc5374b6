//! The memory a source writes its records to.

use taskstats_core::{FieldSet, Header, Layout, SharedBytes, Snapshot};

use crate::errors::Error;

/// Records in one run of memory, with the fields that each holds.
pub(crate) struct Records {
    bytes: Vec<u8>,
    size: usize,
    masks: Vec<FieldSet>,
    indices: Vec<u8>,
}

impl Records {
    /// No records of `size` bytes yet, with room for `expected`.
    pub(crate) fn new(size: usize, expected: usize) -> Records {
        Records {
            bytes: Vec::with_capacity(expected * (size + 1)),
            size,
            masks: Vec::new(),
            indices: Vec::with_capacity(expected),
        }
    }

    /// Records that are in `bytes` already; each still needs its [`Records::mark`].
    pub(crate) fn from_bytes(bytes: Vec<u8>, size: usize) -> Records {
        let count = bytes.len() / size;
        Records { bytes, size, masks: Vec::new(), indices: Vec::with_capacity(count) }
    }

    /// Appends a record.
    pub(crate) fn push(&mut self, record: &[u8], filled: FieldSet) {
        self.bytes.extend_from_slice(record);
        self.mark(filled);
    }

    /// Says which fields the next record without a mark holds.
    pub(crate) fn mark(&mut self, filled: FieldSet) {
        let known = self.masks.iter().position(|&mask| mask == filled);
        let index = known.unwrap_or_else(|| {
            // An index is one byte. Sources make a handful of kinds; should there
            // ever be more, the last one holds what all of them have in common.
            if self.masks.len() > usize::from(u8::MAX) {
                let last = self.masks.len() - 1;
                self.masks[last] = self.masks[last].intersection(filled);
                return last;
            }
            self.masks.push(filled);
            self.masks.len() - 1
        });
        self.indices.push(index as u8);
    }

    /// The records so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Fields that at least one record holds.
    pub(crate) fn filled(&self) -> FieldSet {
        self.masks.iter().fold(FieldSet::EMPTY, |all, &mask| all.union(mask))
    }

    /// The snapshot of these records.
    pub(crate) fn into_snapshot(
        mut self,
        mut header: Header,
        layout: Layout,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        let records = 0..self.indices.len() * self.size;
        self.bytes.truncate(records.end);
        header.masks = if self.masks.is_empty() { vec![FieldSet::EMPTY] } else { self.masks };
        self.bytes.append(&mut self.indices);
        let end = self.bytes.len();
        let bytes = SharedBytes::new(self.bytes);
        Ok(Snapshot::new(header, layout, bytes, records.clone(), records.end..end)?)
    }
}
