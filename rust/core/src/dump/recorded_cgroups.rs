//! The readings of cgroups of a dump, which are decoded where they are asked for.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::frame::Frame;
use crate::cgroup_readings::{CgroupReadings, CgroupsAt};
use crate::snapshot::SharedBytes;

/// See the module.
pub(crate) struct RecordedCgroups {
    bytes: SharedBytes,
    /// The offset of each frame, and its header if that is whole.
    frames: Vec<(u64, Option<Frame>)>,
    /// Those that were asked for last: neighbours have the same.
    decoded: Mutex<Option<(usize, CgroupsAt)>>,
}

impl fmt::Debug for RecordedCgroups {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RecordedCgroups of {} times", self.frames.len())
    }
}

impl RecordedCgroups {
    pub(super) fn new(bytes: SharedBytes) -> RecordedCgroups {
        RecordedCgroups { bytes, frames: Vec::new(), decoded: Mutex::new(None) }
    }

    /// Adds the frame at an offset, after those added before.
    pub(super) fn add(&mut self, offset: u64, frame: Option<Frame>) {
        self.frames.push((offset, frame));
    }

    /// The readings that are valid at `offset` of the dump, and where the last one is. None where
    /// there are none, or they are damaged.
    pub(crate) fn at(&self, offset: u64) -> Option<(u64, CgroupsAt)> {
        let after = self.frames.partition_point(|&(begin, _)| begin <= offset);
        let last = after.checked_sub(1)?;
        let begin = self.frames[last].0;
        let mut decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, known)) = decoded.as_ref()
            && *at == last
        {
            return Some((begin, known.clone()));
        }
        let now = Arc::new(self.decode(last)?);
        let before = last.checked_sub(1).and_then(|before| self.decode(before)).map(Arc::new);
        let found = CgroupsAt { before, now };
        *decoded = Some((last, found.clone()));
        Some((begin, found))
    }

    fn decode(&self, index: usize) -> Option<CgroupReadings> {
        let frame = self.frames.get(index)?.1?;
        CgroupReadings::decode(&frame.payload(self.bytes.as_ref()).ok()?)
    }
}
