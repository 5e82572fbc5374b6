//! Scans recordings: the rows of intervals in batches of columns, made in parallel.
//!
//! Design decisions
//!
//! * A batch is a range of snapshots of one file. Batches come in
//!   the order of files and snapshots, and a few are made ahead, so that the memory that a scan
//!   takes does not depend on the size of the recordings (`ordered.rs`).
//! * A job begins anywhere in a run of deltas: getting there costs what the deltas before changed.
//! * Snapshots outside the requested time are decoded only where others build on them.

use std::cell::Cell;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use precise_top_core::columns::{ColumnBuilder, ColumnKind, Columns, Dictionary, SnapshotRows};
use precise_top_core::dump::{Cursor, Stop, Tasks, Walk};
use precise_top_core::{
    Condition, Conditions, ErrorKind, Filter, Header, ParseError, TaskSums, TaskTable,
};

use super::file::DumpFile;
use super::filter_texts::FilterTexts;
use super::ordered::{NoResult, Ordered, results_in_memory};
use super::parallel_read::{Lost, metadata};
use crate::errors::Error;
use crate::sys;

/// What the rows of a scan are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanRows {
    /// The records of snapshots, as they were written.
    Records,
    /// Tasks in intervals.
    Intervals(Tasks),
}

/// What to read.
pub struct ScanOptions {
    /// The columns.
    pub kinds: Vec<ColumnKind>,
    /// The rows.
    pub rows: ScanRows,
    /// Only snapshots of these times, in ns since 1970; of an interval its end counts.
    pub times: Range<u64>,
    /// Only the hosts for which this returns true; None for all.
    pub hosts: Option<WantsHost>,
    /// Only rows of intervals that meet this condition.
    pub condition: Option<Arc<Condition>>,
    /// Whether to leave out what is damaged, instead of returning an error.
    pub skip: bool,
}

/// Returns whether to read the rows of a host.
pub type WantsHost = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// A file, and the range of its snapshots to read.
pub type ScanFile = (Arc<DumpFile>, Range<usize>);

/// Size of a batch in bytes, and the largest number of its rows. A job that begins within a run of
/// deltas decodes those before it, which smaller batches would do more often.
const BATCH_BYTES: usize = 24 << 20;
/// Size of all batches that are in memory at a time, and the least size of one: with many CPUs
/// batches are smaller.
const ALL_BATCHES_BYTES: usize = 192 << 20;
const LEAST_BATCH_BYTES: usize = 3 << 20;
const BATCH_ROWS: usize = 1 << 18;
/// Of the tasks of an interval, the part that is expected to change: one of so many.
const CHANGED_PART: usize = 4;
/// A range of snapshots of a file. Together they make a batch.
struct Job {
    file: usize,
    snapshots: Range<usize>,
    rows: usize,
}

/// A batch, and what was left out of it.
struct Outcome {
    columns: Columns,
    lost: Vec<Lost>,
}

struct Shared {
    files: Vec<ScanFile>,
    options: ScanOptions,
    jobs: Vec<Job>,
}

/// Batches of the rows of files.
pub struct Scan {
    shared: Arc<Shared>,
    batches: Ordered<Result<Outcome, Error>>,
    /// What could not be read so far, each with the index of its file.
    pub lost: Vec<Lost>,
    seen: HashSet<(usize, Option<usize>, usize)>,
}

impl Scan {
    /// A scan of files. Nothing is read before the first call of [`Scan::next_batch`].
    pub fn new(files: Vec<ScanFile>, options: ScanOptions) -> Scan {
        let jobs = jobs(&files, &options);
        let count = jobs.len();
        let shared = Arc::new(Shared { files, options, jobs });
        let reader = Arc::clone(&shared);
        let batches = Ordered::new(count, Box::new(move |index, stop| reader.read(index, stop)));
        Scan { shared, batches, lost: Vec::new(), seen: HashSet::new() }
    }

    /// The files, in the order of [`Lost::part`].
    pub fn files(&self) -> &[ScanFile] {
        &self.shared.files
    }

    /// The columns.
    pub fn kinds(&self) -> &[ColumnKind] {
        &self.shared.options.kinds
    }

    /// The next batch with a row; None at the end. An error where something is damaged and not
    /// to be left out, where a file was cut short, and where `stop` returned true.
    pub fn next_batch(&mut self, stop: &Stop) -> Option<Result<Columns, Error>> {
        let batch = self.find_batch(stop).transpose();
        if matches!(batch, Some(Err(_))) {
            self.batches.end();
        }
        batch
    }

    fn find_batch(&mut self, stop: &Stop) -> Result<Option<Columns>, Error> {
        loop {
            let Outcome { columns, lost } = match self.batches.next(stop) {
                Ok(outcome) => outcome?,
                Err(NoResult::End) => return Ok(None),
                Err(NoResult::Stopped) => return Err(interrupted()),
            };
            for lost in lost {
                if !self.shared.options.skip {
                    let path = self.shared.files[lost.part].0.path().display().to_string();
                    return Err(Error::Damaged { path, error: lost.error });
                }
                // Two jobs meet a snapshot between them.
                if self.seen.insert((lost.part, lost.index, lost.error.offset)) {
                    self.lost.push(lost);
                }
            }
            if columns.batches.iter().any(|batch| batch.len > 0) {
                return Ok(Some(columns));
            }
        }
    }
}

impl Shared {
    /// Does a job.
    fn read(&self, index: usize, stop: &Stop) -> Result<Outcome, Error> {
        let job = &self.jobs[index];
        let (file, kinds) = (&*self.files[job.file].0, &self.options.kinds);
        let path = file.path().to_string_lossy();
        let mut builder = ColumnBuilder::new(kinds, sys::large_pages);
        let mut lost = Vec::new();
        let mut reserved = false;
        let mut add = |rows: SnapshotRows<'_>| {
            if !self.wants(rows.snapshot.header()) {
                return Ok(());
            }
            if !reserved {
                // What headers of frames declare, where the first snapshot has about as many.
                let likely = rows.snapshot.len().saturating_mul(job.snapshots.len());
                builder.reserve(likely.min(job.rows).min(2 * BATCH_ROWS));
                reserved = true;
            }
            builder.add(&rows)
        };
        let read = self.each(job, file, stop, &path, &mut lost, &mut add);
        file.still_whole(!lost.is_empty())?;
        read.map_err(Error::GivenUp)?;
        let is_last = self.jobs.get(index + 1).is_none_or(|next| next.file != job.file);
        if is_last {
            let last = job.snapshots.end - 1;
            let first = self.jobs.iter().find(|first| first.file == job.file).unwrap_or(job);
            // An interval begins with the snapshot before.
            let first = first.snapshots.start.saturating_sub(1);
            let gaps = file.reader().damaged_between(first, last);
            let names = kinds.iter().any(|kind| kind.is_name());
            let names = names.then(|| file.reader().lost_names(last)).into_iter().flatten();
            let all = gaps.chain(names);
            lost.extend(all.map(|error| Lost { part: job.file, index: None, error }));
        }
        let (batch, texts) = builder.finish();
        let texts = texts.into_iter().map(Dictionary::into_strings).collect();
        let columns = Columns { kinds: kinds.clone(), batches: vec![batch], texts };
        Ok(Outcome { columns, lost })
    }

    /// Passes the rows of each snapshot or interval of a job to `add`.
    fn each(
        &self,
        job: &Job,
        file: &DumpFile,
        stop: &Stop,
        path: &str,
        lost: &mut Vec<Lost>,
        add: &mut impl FnMut(SnapshotRows<'_>) -> Result<(), ParseError>,
    ) -> Result<(), ParseError> {
        let reader = file.reader();
        let metadata = metadata(reader, &self.options.kinds);
        let mut cursor = Cursor::default().until(Arc::clone(stop));
        let given_up = Cell::new(None);
        let mut lose = |index, error: ParseError| {
            if error.kind.is_damage() {
                lost.push(Lost { part: job.file, index: Some(index), error });
            } else {
                given_up.set(Some(error));
            }
        };
        let ScanRows::Intervals(tasks) = self.options.rows else {
            for index in job.snapshots.clone().take_while(|_| given_up.get().is_none()) {
                match reader.snapshot(index, &mut cursor) {
                    Ok(snapshot) => {
                        add(SnapshotRows {
                            snapshot: &snapshot,
                            interval: None,
                            path,
                            metadata: &metadata,
                        })?;
                    }
                    Err(error) => lose(index, error),
                }
            }
            return given_up.get().map_or(Ok(()), Err);
        };
        let mut walk = Walk::new(reader, cursor, tasks);
        let texts = Arc::new(FilterTexts::default());
        for index in job.snapshots.clone().take_while(|_| given_up.get().is_none()) {
            if let Ok(interval) = walk.get(index, &mut lose) {
                let kept = self.options.condition.as_ref().map(|condition| {
                    texts.begin(interval.cur(), None);
                    let conditions =
                        Conditions::new(Arc::clone(condition), Arc::clone(&texts) as _);
                    let filter = Filter { conditions: Some(conditions), ..Filter::default() };
                    interval.kept(|row| interval.keeps(row, &filter))
                });
                let kept = kept.transpose()?;
                let interval = kept.as_ref().unwrap_or(&interval);
                add(SnapshotRows {
                    snapshot: interval.cur(),
                    interval: Some(interval),
                    path,
                    metadata: &metadata,
                })?;
            }
        }
        given_up.get().map_or(Ok(()), Err)
    }

    fn wants(&self, header: &Header) -> bool {
        self.options.hosts.as_ref().is_none_or(|wants| wants(&header.host))
    }
}

/// Cuts the snapshots of the files that are in the requested time into jobs.
fn jobs(files: &[ScanFile], options: &ScanOptions) -> Vec<Job> {
    let width: usize = options.kinds.iter().map(|kind| kind.value_type().width()).sum();
    let bytes = ALL_BATCHES_BYTES / results_in_memory();
    let bytes = bytes.clamp(LEAST_BATCH_BYTES, BATCH_BYTES);
    let most = (bytes / width.max(1)).min(BATCH_ROWS);
    let part = match options.rows {
        ScanRows::Intervals(Tasks::Changed) => CHANGED_PART,
        _ => 1,
    };
    let mut jobs: Vec<Job> = Vec::new();
    for (number, (file, range)) in files.iter().enumerate() {
        let reader = file.reader();
        // The first snapshot ends no interval.
        let first = usize::from(options.rows != ScanRows::Records);
        for index in range.start.max(first)..range.end.min(reader.len()) {
            if !reader.time_ns(index).is_some_and(|time_ns| options.times.contains(&time_ns)) {
                continue;
            }
            let rows = reader.rows(index).unwrap_or(0) / part;
            let last = jobs.last_mut().filter(|job| {
                (job.file, job.snapshots.end) == (number, index) && job.rows + rows <= most
            });
            match last {
                Some(job) => {
                    job.snapshots.end += 1;
                    job.rows += rows;
                }
                None => jobs.push(Job { file: number, snapshots: index..index + 1, rows }),
            }
        }
    }
    jobs
}

/// Snapshots of a job that sums up what tasks used. Getting to its first one is a small part of it.
const SUM_SNAPSHOTS: usize = 2048;

/// The sums of the tasks that ran in the intervals of a range of snapshots of a file, and what could
/// not be read.
pub fn sum_tasks(
    file: &Arc<DumpFile>,
    snapshots: Range<usize>,
    stop: &Stop,
) -> Result<(TaskSums, Vec<Lost>), Error> {
    let (first, end) = (snapshots.start.max(1), snapshots.end.min(file.reader().len()));
    let count = end.saturating_sub(first).div_ceil(SUM_SNAPSHOTS);
    let reader = Arc::clone(file);
    let work = move |job: usize, stop: &Stop| {
        let begin = first + job * SUM_SNAPSHOTS;
        sum_part(&reader, begin..end.min(begin + SUM_SNAPSHOTS), stop)
    };
    let mut jobs = Ordered::new(count, Box::new(work));
    let (mut sums, mut all_lost) = (TaskSums::default(), Vec::new());
    loop {
        match jobs.next(stop) {
            Ok(part) => {
                let (part, lost) = part?;
                sums.extend(part);
                // Two jobs meet a snapshot between them.
                let seen = all_lost.last().copied();
                all_lost.extend(lost.into_iter().filter(|lost| Some(*lost) != seen));
            }
            Err(NoResult::End) => return Ok((sums, all_lost)),
            Err(NoResult::Stopped) => return Err(interrupted()),
        }
    }
}

fn sum_part(
    file: &DumpFile,
    snapshots: Range<usize>,
    stop: &Stop,
) -> Result<(TaskSums, Vec<Lost>), Error> {
    let cursor = Cursor::default().until(Arc::clone(stop));
    let mut walk = Walk::new(file.reader(), cursor, Tasks::Changed);
    let (mut sums, mut lost, mut given_up) = (TaskSums::default(), Vec::new(), None);
    for index in snapshots {
        let found = walk.get(index, |index, error| match error.kind.is_damage() {
            true => lost.push(Lost { part: 0, index: Some(index), error }),
            false => given_up = Some(error),
        });
        if let Some(error) = given_up {
            return Err(Error::GivenUp(error));
        }
        if let Ok(interval) = found {
            sums.add(&interval);
        }
    }
    file.still_whole(!lost.is_empty())?;
    lost.dedup();
    Ok((sums, lost))
}

fn interrupted() -> Error {
    Error::GivenUp(ParseError::new(ErrorKind::Interrupted, 0))
}
