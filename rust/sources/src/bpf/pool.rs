//! The arrays that snapshots are written to.
//!
//! Design decisions
//!
//! * A snapshot owns its array until its last view is gone; the next one uses another
//!   array. An array that is still in use is never overwritten.
//! * A child made by fork shares the arrays and may hold a snapshot of them, so arrays made
//!   before a fork are not used again.
//! * At most [`LENT`] arrays are lent at a time. Beyond that a snapshot is copied out of an
//!   array that is never lent.
//! * The kernel allocates the memory of a BPF array when it is created. So arrays are created
//!   when they are first needed, and replaced when they are too small. Some time after a burst
//!   of tasks large arrays are given back.

use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use precise_top_core::SharedBytes;

use super::maps::{ARRAY, ARRAY_OF_MAPS, INNER_MAP, MMAPABLE};
use crate::errors::Error;
use crate::peak::Peak;
use crate::sys::bpf::{self, MapSpec};
use crate::sys::shared::Mapping;
use crate::sys::thread::forks_made;

/// Arrays that may be lent at a time.
pub(crate) const LENT: usize = 4;
/// An array with room for so many times the recent need is too large.
const TOO_LARGE: usize = 4;

/// One array: room for records, followed by an index byte for each.
pub(crate) struct Output {
    mapping: Mapping,
    capacity: usize,
    /// [`forks_made`] when the array was made.
    forks: u64,
}

impl AsRef<[u8]> for Output {
    fn as_ref(&self) -> &[u8] {
        self.mapping.bytes()
    }
}

/// The arrays, by their index in the array of maps.
pub(crate) struct Pool {
    outer: OwnedFd,
    /// Stands in the array of maps where there is no array.
    empty: OwnedFd,
    needs: Peak,
    record_size: usize,
    outputs: Vec<Option<Arc<Output>>>,
}

/// The rows of a snapshot.
pub(crate) struct Rows<'a> {
    /// Records that are in the array already.
    pub(crate) count: usize,
    /// Records of the dead.
    pub(crate) dead: &'a [Vec<u8>],
    /// The mask of their fields.
    pub(crate) dead_mask: u8,
}

/// A chosen array, ready for a run.
pub(crate) struct Chosen {
    /// Its index in the array of maps.
    pub(crate) index: u32,
    /// Records that fit.
    pub(crate) capacity: usize,
}

fn entries(capacity: usize, record_size: usize) -> u32 {
    // The index bytes take the room of some more records.
    (capacity + capacity.div_ceil(record_size)) as u32
}

fn spec(record_size: usize, capacity: usize) -> MapSpec {
    MapSpec {
        kind: ARRAY,
        key_size: 4,
        value_size: record_size as u32,
        max_entries: entries(capacity, record_size),
        flags: MMAPABLE | INNER_MAP,
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::os("make a BPF array", error)
}

impl Pool {
    /// A pool without arrays yet.
    pub(crate) fn new(record_size: usize) -> Result<Pool, Error> {
        let empty = bpf::create_map("records", spec(record_size, 1), None).map_err(failed)?;
        let outer = bpf::create_map(
            "outputs",
            MapSpec {
                kind: ARRAY_OF_MAPS,
                key_size: 4,
                value_size: 4,
                max_entries: LENT as u32 + 1,
                flags: 0,
            },
            Some(empty.as_fd()),
        )
        .map_err(failed)?;
        Ok(Pool {
            outer,
            empty,
            needs: Peak::default(),
            record_size,
            outputs: vec![None; LENT + 1],
        })
    }

    /// The array of maps.
    pub(crate) fn outer(&self) -> &OwnedFd {
        &self.outer
    }

    /// Chooses an unused array with room for `wanted` records; the one that is never lent if
    /// all others are in use. Also returns the number of system calls.
    pub(crate) fn choose(&mut self, wanted: usize) -> Result<(Chosen, u32), Error> {
        if self.needs.note(wanted) {
            self.shrink()?;
        }
        let largest = TOO_LARGE * self.needs.get();
        // Prefer an existing one: a new array costs memory.
        let mut outputs = self.outputs[..LENT].iter_mut();
        let free =
            outputs.position(|output| output.as_mut().is_some_and(|o| Arc::get_mut(o).is_some()));
        let index =
            free.or_else(|| self.outputs[..LENT].iter().position(Option::is_none)).unwrap_or(LENT);
        // Loaded after the array was found free: a fork while it was lent is counted.
        let forks = forks_made();
        let mut calls = 0;
        let output = self.outputs[index].as_mut().and_then(Arc::get_mut);
        let reused = output.filter(|output| {
            (wanted..=largest).contains(&output.capacity)
                && (index == LENT || output.forks == forks)
        });
        if reused.is_none() {
            // Drop the old array first, so that both never exist at a time.
            self.outputs[index] = None;
            let capacity = wanted + wanted / 2;
            let spec = spec(self.record_size, capacity);
            let array = bpf::create_map("records", spec, None).map_err(failed)?;
            let length = spec.max_entries as usize * self.record_size;
            let mapping = Mapping::new(array.as_fd(), length).map_err(failed)?;
            bpf::set_inner_map(self.outer.as_fd(), index as u32, array.as_fd()).map_err(failed)?;
            self.outputs[index] = Some(Arc::new(Output { mapping, capacity, forks }));
            // Create, map, store in the array of maps, close the descriptor.
            calls = 4;
        }
        let capacity = self.outputs[index].as_ref().map_or(0, |output| output.capacity);
        Ok((Chosen { index: index as u32, capacity }, calls))
    }

    /// Gives back unused arrays that are too large.
    fn shrink(&mut self) -> Result<(), Error> {
        let largest = TOO_LARGE * self.needs.get();
        for (index, place) in self.outputs.iter_mut().enumerate() {
            let unused = place.as_mut().and_then(Arc::get_mut);
            if unused.is_some_and(|output| output.capacity > largest) {
                let (outer, empty) = (self.outer.as_fd(), self.empty.as_fd());
                bpf::set_inner_map(outer, index as u32, empty).map_err(failed)?;
                *place = None;
            }
        }
        Ok(())
    }

    /// The bytes of the chosen array, for writing.
    pub(crate) fn bytes_mut(&mut self, chosen: &Chosen) -> &mut [u8] {
        self.outputs[chosen.index as usize]
            .as_mut()
            .and_then(Arc::get_mut)
            .expect("a chosen array exists and nobody holds it")
            .mapping
            .bytes_mut()
    }

    /// Where the index bytes of the chosen array begin.
    pub(crate) fn indices_at(&self, chosen: &Chosen) -> usize {
        chosen.capacity * self.record_size
    }

    /// Lends the chosen array, with the records of the dead appended, until its last holder is
    /// gone. Returns a copy if the array is never lent, or if the dead do not fit. Also returns
    /// the ranges of the records and of the index bytes.
    pub(crate) fn lend(
        &mut self,
        chosen: &Chosen,
        rows: Rows<'_>,
    ) -> (SharedBytes, Range<usize>, Range<usize>) {
        let indices_at = self.indices_at(chosen);
        let living = rows.count * self.record_size;
        let count = rows.count + rows.dead.len();
        let records = 0..count * self.record_size;
        let size = self.record_size;
        let bytes = self.bytes_mut(chosen);
        if chosen.index as usize == LENT || count > chosen.capacity {
            let mut copy = Vec::with_capacity(count * (size + 1));
            copy.extend_from_slice(&bytes[..living]);
            rows.dead.iter().for_each(|record| copy.extend_from_slice(record));
            copy.extend_from_slice(&bytes[indices_at..indices_at + rows.count]);
            copy.resize(records.end + count, rows.dead_mask);
            return (SharedBytes::new(copy), records.clone(), records.end..records.end + count);
        }
        let places = bytes[living..records.end].chunks_exact_mut(size);
        for (place, record) in places.zip(rows.dead) {
            place.copy_from_slice(record);
        }
        bytes[indices_at + rows.count..indices_at + count].fill(rows.dead_mask);
        let output = self.outputs[chosen.index as usize].as_ref().expect("a chosen array exists");
        (SharedBytes::from_arc(Arc::clone(output)), records, indices_at..indices_at + count)
    }
}
