//! The memory a source writes its records to.

use crate::error::ParseError;
use crate::field_set::{FieldSet, mask_index};
use crate::header::Header;
use crate::layout::Layout;
use crate::snapshot::{SharedBytes, Snapshot};

/// Records in one piece of memory, with the fields that each holds.
pub struct RecordBuffer {
    bytes: Vec<u8>,
    size: usize,
    masks: Vec<FieldSet>,
    indices: Vec<u8>,
}

impl RecordBuffer {
    /// A buffer for records of `size` bytes, with room for `expected`.
    pub fn new(size: usize, expected: usize) -> RecordBuffer {
        RecordBuffer {
            bytes: Vec::with_capacity(expected * (size + 1)),
            size,
            masks: Vec::new(),
            indices: Vec::with_capacity(expected),
        }
    }

    /// A buffer of the records in `bytes`. Each still needs its [`RecordBuffer::mark`].
    pub fn from_bytes(bytes: Vec<u8>, size: usize) -> RecordBuffer {
        let count = bytes.len() / size;
        RecordBuffer { bytes, size, masks: Vec::new(), indices: Vec::with_capacity(count) }
    }

    /// Appends a record.
    pub fn push(&mut self, record: &[u8], filled: FieldSet) {
        self.bytes.extend_from_slice(record);
        self.mark(filled);
    }

    /// The bytes of the last record.
    pub(crate) fn last_mut(&mut self) -> &mut [u8] {
        let begin = self.bytes.len().saturating_sub(self.size);
        &mut self.bytes[begin..]
    }

    /// Sets the fields of the next record that has none yet.
    pub fn mark(&mut self, filled: FieldSet) {
        let index = mask_index(&mut self.masks, filled);
        self.indices.push(index);
    }

    /// The bytes of the records so far.
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
