//! Rows of one size, which copies share until one of them changes.
//!
//! Design decisions
//!
//! * Rows are in small blocks. A copy is a list of references, and a change copies one block: who
//!   steps through a history, or holds the values of a snapshot, does not copy all of them.

use std::sync::Arc;

/// Rows of a block. More would be copied for each change, fewer would be more references.
const BLOCK: usize = 8;

/// See the module.
#[derive(Clone)]
pub(super) struct SharedRows {
    /// Bytes of a row.
    size: usize,
    len: usize,
    /// All of them are full but the last.
    blocks: Vec<Arc<Vec<u8>>>,
}

impl SharedRows {
    /// No rows of `size` bytes, and room for the references to `count` of them.
    pub(super) fn new(size: usize, count: usize) -> SharedRows {
        SharedRows { size, len: 0, blocks: Vec::with_capacity(count.div_ceil(BLOCK)) }
    }

    pub(super) fn get(&self, index: usize) -> &[u8] {
        &self.blocks[index / BLOCK][index % BLOCK * self.size..][..self.size]
    }

    pub(super) fn set(&mut self, index: usize, row: &[u8]) {
        let block = Arc::make_mut(&mut self.blocks[index / BLOCK]);
        block[index % BLOCK * self.size..][..self.size].copy_from_slice(row);
    }

    pub(super) fn push(&mut self, row: &[u8]) {
        if self.len.is_multiple_of(BLOCK) {
            self.blocks.push(Arc::new(Vec::with_capacity(BLOCK * self.size)));
        }
        if let Some(last) = self.blocks.last_mut() {
            Arc::make_mut(last).extend_from_slice(row);
        }
        self.len += 1;
    }

    /// Removes a row. The last one takes its index.
    pub(super) fn swap_remove(&mut self, index: usize) {
        let last = self.len - 1;
        if index < last {
            let row = self.get(last).to_vec();
            self.set(index, &row);
        }
        self.len = last;
        if last.is_multiple_of(BLOCK) {
            self.blocks.pop();
        } else if let Some(block) = self.blocks.last_mut() {
            Arc::make_mut(block).truncate(last % BLOCK * self.size);
        }
    }

    /// Gives back the room for the references to more than `count` rows.
    pub(super) fn shrink_to(&mut self, count: usize) {
        self.blocks.shrink_to(count.div_ceil(BLOCK));
    }
}
