//! The intervals that a live view has shown, kept in memory.
//!
//! Design decisions
//!
//! * A frame is an interval: the records of the tasks that ran, as a delta from the same tasks'
//!   records before. What a source leaves out, the tasks that did not run, a frame leaves out
//!   too. A reader follows the source: it keeps the last values of all tasks
//!   ([`LastValues`](crate::interval::LastValues)), so that a frame has the unchanged tasks with the values of that time.
//! * Frames are in runs. A run begins with a key, the values of all tasks, and is short, so that
//!   a step back costs no more than the frames of one run.
//! * What is read equals what was pushed, to the byte. Nothing is rounded.
//! * Memory is bounded, by time and by bytes. Where the bytes do not suffice, the oldest runs
//!   lose the single tasks that were born and died within an interval: they become one row for
//!   each name and parent, with the sums. [`History::exact_since`] says how far back it has all
//!   of them. Then whole runs are dropped.
//! * Pure: no clock is read. The age of frames is that of the newest one.

mod cgroups;
mod frame;
mod key;
mod merge;
mod peaks;
mod read;
mod run;
mod span;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cgroup_readings::CgroupReadings;
use crate::error::{ErrorKind, ParseError};
use crate::header::{Flags, Instant};
use crate::interval::{Interval, Unchanged};
use crate::snapshot::{SharedBytes, Snapshot};
use crate::table::Metric;

use cgroups::KeptReadings;
use peaks::Peaks;
use read::Cursor;
use run::{Run, Start};

pub use cgroups::KeptCgroups;
pub use peaks::Peak;

/// What a history keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Age of the oldest frame, in ns.
    pub span_ns: u64,
    /// Bytes of all frames, with what describes them.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { span_ns: 3_600_000_000_000, bytes: 64 << 20 }
    }
}

/// An interval that was kept.
#[derive(Clone)]
pub struct Kept {
    /// The interval.
    pub interval: Arc<Interval>,
    /// The tasks that did not run in it; None where the interval has all tasks.
    pub unchanged: Option<Unchanged>,
    /// The readings of cgroups of that time.
    pub cgroups: Option<KeptCgroups>,
}

/// The last intervals of a source.
pub struct History {
    limits: Limits,
    /// The oldest first. Only the last one grows.
    runs: VecDeque<Run>,
    bytes: usize,
    /// The number of the next frame, and of the next run.
    next: u64,
    next_run: u64,
    metrics: Arc<[Metric]>,
    readings: KeptReadings,
    cursor: Option<Cursor>,
}

impl History {
    /// An empty history.
    pub fn new(limits: Limits) -> History {
        History {
            limits,
            runs: VecDeque::new(),
            bytes: 0,
            next: 0,
            next_run: 0,
            metrics: Arc::new([]),
            readings: KeptReadings::default(),
            cursor: None,
        }
    }

    /// Sets the metrics whose peaks are kept with the next frames. Those of a record alone, such
    /// as memory, are left out: the unchanged tasks have them too.
    pub fn measure(&mut self, metrics: impl IntoIterator<Item = Metric>) {
        self.metrics = metrics.into_iter().filter(|metric| !metric.is_of_record()).collect();
    }

    /// Adds readings of cgroups, which are valid from their time until those that are added next.
    pub fn note_cgroups(&mut self, readings: &CgroupReadings) {
        self.readings.push(readings);
    }

    /// Begins with a snapshot of all tasks, to which the next interval has to connect.
    /// BadValue for one that lacks the tasks that did not run.
    pub fn begin(&mut self, snapshot: &Arc<Snapshot<SharedBytes>>) -> Result<(), ParseError> {
        if snapshot.header().flags.contains(Flags::WITHOUT_UNCHANGED) {
            return Err(ParseError::new(ErrorKind::BadValue, 0));
        }
        self.begin_run(Start::Snapshot(snapshot), false)
    }

    /// Appends an interval. `unchanged` are the tasks that did not run. One that does not connect
    /// to the interval before, nor to what was begun with, is left out where the tasks that it
    /// lacks are unknown.
    pub fn push(
        &mut self,
        interval: &Interval,
        unchanged: Option<&Unchanged>,
    ) -> Result<(), ParseError> {
        let (prev, cur) = (interval.prev(), interval.cur());
        let is_partial = cur.base().is_some();
        if !self.runs.back().is_some_and(|run| run.continues(interval)) {
            if is_partial || !Interval::is_whole(prev, cur) {
                return self.begin_after(cur, unchanged, false);
            }
            self.begin_run(Start::Snapshot(prev), false)?;
        }
        let peaks = Peaks::of(interval, &self.metrics);
        if let Some(run) = self.runs.back_mut() {
            let before = run.bytes();
            run.push(interval, peaks)?;
            self.bytes += run.bytes() - before;
            self.next += 1;
            if run.is_full(self.limits.bytes) {
                self.begin_after(cur, unchanged, true)?;
            }
        }
        self.keep_limits()
    }

    /// Begins a run with the values of all tasks after `cur`.
    fn begin_after(
        &mut self,
        cur: &Arc<Snapshot<SharedBytes>>,
        unchanged: Option<&Unchanged>,
        connects: bool,
    ) -> Result<(), ParseError> {
        match unchanged {
            Some(unchanged) => {
                self.begin_run(Start::Values(Arc::clone(unchanged.last_values())), connects)
            }
            None if cur.base().is_none() => self.begin_run(Start::Snapshot(cur), connects),
            None => Ok(()),
        }
    }

    fn begin_run(&mut self, start: Start<'_>, connects: bool) -> Result<(), ParseError> {
        if self.runs.back().is_some_and(|run| run.frames.is_empty())
            && let Some(empty) = self.runs.pop_back()
        {
            self.bytes -= empty.bytes();
        }
        if let Some(last) = self.runs.back_mut() {
            let before = last.bytes();
            last.finish()?;
            self.bytes = self.bytes - before + last.bytes();
        }
        let before = self.runs.back().map(|run| &run.key);
        let run = Run::new(self.next_run, self.next, start, before, connects)?;
        self.next_run += 1;
        self.bytes += run.bytes();
        self.runs.push_back(run);
        Ok(())
    }

    /// Forgets what is too old or too much.
    fn keep_limits(&mut self) -> Result<(), ParseError> {
        let now_ns = self.runs.back().map_or(0, |run| run.end().boottime_ns);
        while self.runs.len() > 1
            && self.runs[0].end().boottime_ns.saturating_add(self.limits.span_ns) < now_ns
        {
            self.drop_oldest();
        }
        // One run is merged at a time, so that no frame has to wait for many.
        let mut may_merge = true;
        let oldest_ns = self.runs.front().map_or(0, |run| run.begin().boottime_ns);
        self.readings.forget_before(oldest_ns);
        while self.bytes() > self.limits.bytes && self.runs.len() > 1 {
            let last = self.runs.len() - 1;
            let oldest = self.runs.iter().take(last).position(|run| !run.is_merged);
            match oldest.filter(|_| std::mem::replace(&mut may_merge, false)) {
                Some(oldest) => self.merge_run(oldest)?,
                None => self.drop_oldest(),
            }
        }
        Ok(())
    }

    fn drop_oldest(&mut self) {
        if let Some(run) = self.runs.pop_front() {
            self.bytes -= run.bytes();
            if let Some(next) = self.runs.front_mut() {
                self.bytes -= next.bytes();
                next.key.inherit(&run.key);
                self.bytes += next.bytes();
            }
        }
    }

    fn merge_run(&mut self, index: usize) -> Result<(), ParseError> {
        let number = self.next_run;
        self.next_run += 1;
        let merged = merge::merged(&self.runs[index], number)?;
        self.bytes -= self.runs[index].bytes();
        self.bytes += merged.bytes();
        self.runs[index] = merged;
        Ok(())
    }

    /// The number of the oldest frame, and that after the newest. A frame keeps its number.
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.runs.front().map_or(self.next, |run| run.first)..self.next
    }

    /// Bytes that the frames take.
    pub fn bytes(&self) -> usize {
        self.bytes + self.readings.bytes()
    }

    /// The first frame from which on no tasks are merged.
    pub fn exact_since(&self) -> u64 {
        let merged = self.runs.iter().rev().find(|run| run.is_merged);
        merged.map_or(self.numbers().start, Run::next)
    }

    /// The time from the end of the first frame from which on no tasks are merged to now; None
    /// where none are.
    pub fn exact_ns(&self) -> Option<u64> {
        let merged = self.runs.iter().rev().find(|run| run.is_merged)?;
        let end_ns = |number| Some(self.times(number)?.1.realtime_ns);
        let now_ns = end_ns(self.next.checked_sub(1)?)?;
        Some(end_ns(merged.next()).map_or(0, |exact_ns| now_ns.saturating_sub(exact_ns)))
    }

    /// The index of the run of a frame.
    fn run_of(&self, number: u64) -> Option<usize> {
        if !self.numbers().contains(&number) {
            return None;
        }
        self.runs.partition_point(|run| run.first <= number).checked_sub(1)
    }

    /// When a frame began and ended.
    pub fn times(&self, number: u64) -> Option<(Instant, Instant)> {
        let run = &self.runs[self.run_of(number)?];
        Some(run.times((number - run.first) as usize))
    }

    /// Whether a frame begins where the one before it ends.
    pub fn connects(&self, number: u64) -> bool {
        self.run_of(number).is_some_and(|index| {
            let run = &self.runs[index];
            number > run.first || (run.connects && index > 0)
        })
    }

    /// The frame that holds a time, in ns since 1970: the earliest one that ends at or after it,
    /// else the newest. None where there is no frame.
    pub fn at_time(&self, time_ns: u64) -> Option<u64> {
        let run = self.runs.partition_point(|run| run.end().realtime_ns < time_ns);
        let frame = self.runs.get(run).and_then(|run| {
            let index = run.frames.partition_point(|frame| frame.end.realtime_ns < time_ns);
            (index < run.frames.len()).then_some(run.first + index as u64)
        });
        frame.or_else(|| self.numbers().next_back())
    }

    /// A frame; None where there is none.
    pub fn frame(&mut self, number: u64) -> Result<Option<Kept>, ParseError> {
        let Some(index) = self.run_of(number) else { return Ok(None) };
        let (run, at) = (&self.runs[index], (number - self.runs[index].first) as usize);
        let cgroups = self.readings.at(run.frames[at].end.boottime_ns);
        let before = index.checked_sub(1).filter(|_| run.connects).map(|before| &self.runs[before]);
        let kept = Cursor::read(&mut self.cursor, before, run, at)?;
        Ok(Some(Kept { cgroups, ..kept }))
    }

    /// The peak of a metric in a frame; None where it was not measured.
    pub fn peak(&self, number: u64, metric: Metric) -> Option<Peak> {
        let run = &self.runs[self.run_of(number)?];
        run.frames[(number - run.first) as usize].peaks.get(metric)
    }
}
