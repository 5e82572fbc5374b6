//! Finds all damage of a dump.

use std::iter::Peekable;
use std::ops::Range;
use std::slice::Iter;

use super::frame::{self, Frame, FrameKind, Frames, PREAMBLE};
use super::index::Entry;
use super::read::{Content, Cursor, Reader};
use crate::error::ParseError;

/// Bytes of a dump that cannot be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Which bytes.
    pub bytes: Range<usize>,
    /// The error in them.
    pub error: ParseError,
    /// The snapshot that is lost, by its index, where it is one.
    pub snapshot: Option<usize>,
}

impl Reader {
    /// Reads every byte of a dump. Returns what cannot be read, in the order of the file.
    pub fn check(&self) -> Vec<Damage> {
        let mut all = Vec::new();
        // A cursor that nothing interrupts; damage is no error here.
        let _whole = self.check_each(Cursor::default(), |damage| all.push(damage));
        all
    }

    /// Reads every byte of a dump, frame by frame, and passes what cannot be read to `found`, in
    /// the order of the file. OutOfMemory or Interrupted if reading was given up.
    pub fn check_each(
        &self,
        mut cursor: Cursor,
        mut found: impl FnMut(Damage),
    ) -> Result<(), ParseError> {
        let Content::Dump(index) = &self.content else { return Ok(()) };
        let bytes = self.bytes.as_ref();
        let mut report =
            |bytes: Range<usize>, snapshot, outcome: Result<(), ParseError>| match outcome {
                Err(error) if error.kind.is_damage() => {
                    found(Damage { bytes, error, snapshot });
                    Ok(())
                }
                other => other,
            };
        let mut entries = index.entries.iter().peekable();
        let mut snapshots = 0..;
        // An index may not know what is damaged: look at the frames themselves.
        let frames = Frames::new(bytes, PREAMBLE).with_holes(&self.holes).map(Some);
        for frame in frames.chain([None]) {
            let (range, gap) = match &frame {
                Some(Ok(frame)) => (frame.offset..frame.end(), false),
                Some(Err(gap)) => (gap.clone(), true),
                // The index names frames behind all others.
                None => (usize::MAX..usize::MAX, false),
            };
            let next = |entries: &mut Peekable<Iter<'_, Entry>>| {
                entries.peek().map_or(usize::MAX, |entry| entry.offset as usize).min(range.end)
            };
            // An index that is whole knows what stood in a gap.
            let unknown = range.start..next(&mut entries);
            match frame {
                Some(Ok(frame)) if unknown.end > unknown.start => {
                    cursor.ask(frame.offset as u64)?;
                    report(range.clone(), None, self.check_entry(&Entry::of(&frame)))?;
                }
                Some(Err(_)) if unknown.end > unknown.start => {
                    report(unknown.clone(), None, Err(frame::error_at(bytes, unknown.start)))?;
                }
                _ => {}
            }
            while let Some(entry) = entries.next_if(|entry| (entry.offset as usize) < range.end) {
                let begin = entry.offset as usize;
                let end = match Frame::at(bytes, begin) {
                    _ if gap => next(&mut entries),
                    frame => frame.map_or(begin, |frame| frame.end()),
                };
                if entry.kind.is_snapshot() {
                    let snapshot = snapshots.next();
                    let read = self.snapshot(snapshot.unwrap_or(0), &mut cursor);
                    report(begin..end, snapshot, read.map(|_| ()))?;
                } else {
                    cursor.ask(entry.offset)?;
                    let outcome = self.check_entry(entry);
                    let outcome = if gap { Err(frame::error_at(bytes, begin)) } else { outcome };
                    report(begin..end, None, outcome)?;
                }
            }
        }
        Ok(())
    }

    /// Checks a frame that is no snapshot of the index.
    fn check_entry(&self, entry: &Entry) -> Result<(), ParseError> {
        let frame = self.frame(entry, None)?;
        match frame.kind {
            FrameKind::Table => self.decode_table(&frame).map(|_| ()),
            FrameKind::Strings => {
                let lost = self.names().lost(entry.offset.saturating_add(1)).last();
                lost.filter(|(at, _)| *at == entry.offset).map_or(Ok(()), |&(_, error)| Err(error))
            }
            _ => frame.checked(self.bytes.as_ref()).map(|_| ()),
        }
    }
}
