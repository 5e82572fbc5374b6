//! The intervals of a recording: one for each snapshot that continues the snapshot before it.
//!
//! Design decisions
//!
//! * An interval has the index of the snapshot that ends it. There is no interval across a
//!   gap: tasks that died unobserved would be missing from it. [`Gap`] lists the reasons.
//! * An interval depends on its two snapshots alone, in whatever order a recording is read.
//! * The caller reads the snapshots, so that one rule serves [`Reader`] and files that
//!   check more than the bytes.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::read::{Cursor, Reader};
use crate::error::ParseError;
use crate::header::{Flags, Header};
use crate::interval::Interval;
use crate::snapshot::{SharedBytes, Snapshot};

/// Reason that no interval ends with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap<E = ParseError> {
    /// The recording has no snapshot before it.
    First,
    /// The snapshot at `index`, either end of the interval, cannot be read.
    Unreadable {
        /// The index of that snapshot.
        index: usize,
        /// The error of reading it.
        error: E,
    },
    /// The machine was booted in between.
    Boot,
    /// The snapshots are of different machines.
    Host,
    /// The snapshots are of different sources.
    Source,
    /// One snapshot has threads as rows, the other processes.
    Threads,
    /// The recorder was started again in between.
    Recorder,
    /// A snapshot lacks the tasks that did not run, which no recorder writes.
    Partial,
    /// The later snapshot was taken before the earlier one.
    Order,
}

impl<E> Gap<E> {
    /// Returns the reason that two snapshots cannot be compared, whichever sources and
    /// processes took them: they must be of one boot of one machine, and in order.
    pub fn incomparable(before: &Header, after: &Header) -> Option<Gap<E>> {
        if before.boot_id != after.boot_id {
            Some(Gap::Boot)
        } else if before.host != after.host {
            Some(Gap::Host)
        } else if before.threads() != after.threads() {
            Some(Gap::Threads)
        } else if before.begin.monotonic_ns > after.begin.monotonic_ns {
            Some(Gap::Order)
        } else {
            None
        }
    }

    /// Returns the reason that two snapshots cannot be the ends of one interval, None if they can.
    ///
    /// Both must come from one run of one recorder, so that the exits in between are
    /// known. A recorder that was started again has used less CPU time than the one
    /// before it (`own_cpu_ns`), or has another `task_id_space`.
    pub fn between(before: &Header, after: &Header) -> Option<Gap<E>> {
        let is_partial = |header: &Header| header.flags.contains(Flags::WITHOUT_UNCHANGED);
        let partial = (is_partial(before) || is_partial(after)).then_some(Gap::Partial);
        Gap::in_recording(before, after).or(partial)
    }

    /// The same, whichever tasks they hold.
    fn in_recording(before: &Header, after: &Header) -> Option<Gap<E>> {
        if let Some(gap) = Gap::incomparable(before, after) {
            Some(gap)
        } else if before.source != after.source {
            Some(Gap::Source)
        } else if before.own_cpu_ns > after.own_cpu_ns || has_another_space(before, after) {
            Some(Gap::Recorder)
        } else {
            None
        }
    }
}

fn has_another_space(before: &Header, after: &Header) -> bool {
    matches!((before.task_id_space, after.task_id_space), (Some(a), Some(b)) if a != b)
}

impl<E: fmt::Display> fmt::Display for Gap<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gap::First => write!(f, "no snapshot precedes it"),
            Gap::Unreadable { index, error } => write!(f, "snapshot {index}: {error}"),
            Gap::Boot => write!(f, "the machine was booted in between"),
            Gap::Host => write!(f, "the snapshots are of different machines"),
            Gap::Source => write!(f, "the snapshots are of different sources"),
            Gap::Threads => write!(f, "only one of the snapshots has threads as rows"),
            Gap::Recorder => write!(f, "the recorder was started again in between"),
            Gap::Order => write!(f, "the second snapshot was taken before the first"),
            Gap::Partial => write!(f, "one of the snapshots lacks tasks that did not run"),
        }
    }
}

/// Makes the intervals of one recording and remembers the last one, whose later snapshot
/// the next one begins with.
#[derive(Clone, Debug, Default)]
pub struct Intervals {
    last: Option<(usize, Arc<Interval>)>,
}

impl Intervals {
    /// The interval that ends with the snapshot `index`, or why there is none.
    ///
    /// `read` returns the snapshot at an index. It is called for those of `index - 1` and
    /// `index` that the last interval does not hold, in this order, and for the second
    /// also where the first cannot be read: so the caller sees every error.
    pub fn get<E>(
        &mut self,
        index: usize,
        mut read: impl FnMut(usize) -> Result<Arc<Snapshot<SharedBytes>>, E>,
    ) -> Result<Arc<Interval>, Gap<E>> {
        let Some(index_before) = index.checked_sub(1) else { return Err(Gap::First) };
        let before = match &self.last {
            Some((at, last)) if *at == index => return Ok(Arc::clone(last)),
            Some((at, last)) if *at == index_before => Ok(Arc::clone(last.cur())),
            _ => read(index_before),
        };
        let after = read(index);
        let before = before.map_err(|error| Gap::Unreadable { index: index_before, error })?;
        let after = after.map_err(|error| Gap::Unreadable { index, error })?;
        if let Some(gap) = Gap::between(before.header(), after.header()) {
            return Err(gap);
        }
        let interval = Arc::new(Interval::between(before, after));
        self.last = Some((index, Arc::clone(&interval)));
        Ok(interval)
    }
}

/// The tasks that are rows of a recording's intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tasks {
    /// All of them.
    All,
    /// Those whose records changed: all that ran, started or died, and few others. At the full
    /// frames of a dump these are all tasks.
    Changed,
}

/// Reads the intervals of a recording one after the other.
pub struct Walk<'a> {
    reader: &'a Reader,
    cursor: Cursor,
    tasks: Tasks,
    intervals: Intervals,
}

impl<'a> Walk<'a> {
    /// A walk that reads with `cursor`.
    pub fn new(reader: &'a Reader, cursor: Cursor, tasks: Tasks) -> Walk<'a> {
        Walk { reader, cursor, tasks, intervals: Intervals::default() }
    }

    /// The interval that ends with the snapshot `index`, or why there is none. Costs least where
    /// each `index` is the one after the last. Each snapshot that cannot be read is passed to
    /// `lost`.
    pub fn get(
        &mut self,
        index: usize,
        mut lost: impl FnMut(usize, ParseError),
    ) -> Result<Arc<Interval>, Gap> {
        if self.tasks == Tasks::Changed
            && index > 0
            && let Some(interval) = self.changed(index, &mut lost).transpose()
        {
            return interval;
        }
        let (reader, cursor) = (self.reader, &mut self.cursor);
        self.intervals.get(index, |index| {
            let snapshot = reader.snapshot(index, cursor).map(Arc::new);
            snapshot.inspect_err(|&error| lost(index, error))
        })
    }

    /// The interval of the tasks that changed; None where the snapshot is a full frame.
    fn changed(
        &mut self,
        index: usize,
        lost: &mut impl FnMut(usize, ParseError),
    ) -> Result<Option<Arc<Interval>>, Gap> {
        match self.reader.changed(index, &mut self.cursor) {
            Ok(None) => Ok(None),
            Ok(Some((before, changed))) => match Gap::in_recording(&before, changed.header()) {
                Some(gap) => Err(gap),
                None => {
                    let changed = Arc::new(changed);
                    Ok(Some(Arc::new(Interval::between(Arc::clone(&changed), changed))))
                }
            },
            Err(error) => {
                lost(index, error);
                Err(Gap::Unreadable { index, error })
            }
        }
    }
}

impl Reader {
    /// The intervals that end with the snapshots of `range`, in order, or why there is none.
    pub fn intervals(
        &self,
        range: Range<usize>,
    ) -> impl Iterator<Item = Result<Arc<Interval>, Gap>> + '_ {
        let (mut intervals, mut cursor) = (Intervals::default(), Cursor::default());
        let end = range.end.min(self.len());
        (range.start..end).map(move |index| {
            intervals.get(index, |index| self.snapshot(index, &mut cursor).map(Arc::new))
        })
    }
}
