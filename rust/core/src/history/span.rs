//! The interval between two frames of a history.

use std::sync::Arc;

use super::{History, Kept};
use crate::error::ParseError;
use crate::header::Header;
use crate::interval::Interval;
use crate::record_buffer::RecordBuffer;
use crate::snapshot::{SharedBytes, Snapshot};

impl Kept {
    /// The interval with all tasks, as of a source that leaves none out.
    pub fn completed(&self) -> Result<Arc<Interval>, ParseError> {
        match &self.unchanged {
            Some(unchanged) => Ok(Arc::new(unchanged.completed(&self.interval)?)),
            None => Ok(Arc::clone(&self.interval)),
        }
    }

    /// The later snapshot of that interval.
    pub fn completed_snapshot(&self) -> Result<Arc<Snapshot<SharedBytes>>, ParseError> {
        match &self.unchanged {
            Some(unchanged) => unchanged.completed_snapshot(self.interval.cur()).map(Arc::new),
            None => Ok(Arc::clone(self.interval.cur())),
        }
    }
}

impl History {
    /// The interval from the end of one frame to that of a later one, with all tasks, also those
    /// that died in between. None where a frame is missing or the frames do not connect.
    pub fn span(&mut self, begin: u64, end: u64) -> Result<Option<Interval>, ParseError> {
        if begin >= end || !(begin + 1..=end).all(|number| self.connects(number)) {
            return Ok(None);
        }
        let Some(first) = self.frame(begin)? else { return Ok(None) };
        let prev = first.completed_snapshot()?;
        let mut dead = Vec::new();
        for number in begin + 1..end {
            let Some(kept) = self.frame(number)? else { return Ok(None) };
            dead.extend(dead_of(kept.interval.cur())?);
        }
        let Some(last) = self.frame(end)? else { return Ok(None) };
        let cur = last.completed_snapshot()?.with_exits(dead.iter())?;
        Ok(Some(Interval::between(prev, Arc::new(cur.into_shared()))))
    }
}

/// A copy of the dead tasks of a snapshot; None where there are none.
fn dead_of(snapshot: &Snapshot<SharedBytes>) -> Result<Option<Snapshot<SharedBytes>>, ParseError> {
    let (living, all) = (snapshot.living(), snapshot.len());
    if living == all {
        return Ok(None);
    }
    let mut dead = RecordBuffer::new(snapshot.layout().record_size(), all - living);
    for record in (living..all).filter_map(|row| snapshot.get(row)) {
        dead.push(record.bytes(), record.filled());
    }
    let header = Header { exited: (all - living) as u32, ..snapshot.header().clone() };
    dead.into_snapshot(header, snapshot.layout().clone()).map(Some)
}
