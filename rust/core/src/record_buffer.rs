//! The memory a source writes its records to.

use crate::error::ParseError;
use crate::fields::FieldSet;
use crate::header::Header;
use crate::layout::Layout;
use crate::snapshot::{SharedBytes, Snapshot};

/// RecordBuffer in one run of memory, with the fields that each holds.
pub struct RecordBuffer {
    bytes: Vec<u8>,
    size: usize,
    masks: Vec<FieldSet>,
    indices: Vec<u8>,
}

impl RecordBuffer {
    /// No records of `size` bytes yet, with room for `expected`.
    pub fn new(size: usize, expected: usize) -> RecordBuffer {
        RecordBuffer {
            bytes: Vec::with_capacity(expected * (size + 1)),
            size,
            masks: Vec::new(),
            indices: Vec::with_capacity(expected),
        }
    }

    /// RecordBuffer that are in `bytes` already; each still needs its [`RecordBuffer::mark`].
    pub fn from_bytes(bytes: Vec<u8>, size: usize) -> RecordBuffer {
        let count = bytes.len() / size;
        RecordBuffer { bytes, size, masks: Vec::new(), indices: Vec::with_capacity(count) }
    }

    /// Appends a record.
    pub fn push(&mut self, record: &[u8], filled: FieldSet) {
        self.bytes.extend_from_slice(record);
        self.mark(filled);
    }

    /// Says which fields the next record without a mark holds.
    pub fn mark(&mut self, filled: FieldSet) {
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
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Fields that at least one record holds.
    pub fn filled(&self) -> FieldSet {
        self.masks.iter().fold(FieldSet::EMPTY, |all, &mask| all.union(mask))
    }

    /// The snapshot of these records.
    pub fn into_snapshot(
        mut self,
        mut header: Header,
        layout: Layout,
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        let records = 0..self.indices.len() * self.size;
        self.bytes.truncate(records.end);
        header.masks = if self.masks.is_empty() { vec![FieldSet::EMPTY] } else { self.masks };
        self.bytes.append(&mut self.indices);
        let end = self.bytes.len();
        let bytes = SharedBytes::new(self.bytes);
        Snapshot::new(header, layout, bytes, records.clone(), records.end..end)
    }
}
