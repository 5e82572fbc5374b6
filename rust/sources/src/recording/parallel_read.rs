//! Reads the snapshots of dumps as columns, in parallel.
//!
//! Design decisions
//!
//! * Threads read runs of frames, and each run becomes a batch of columns as Arrow has them.
//!   Batches are not joined.
//! * Snapshots that cannot be read are left out and reported, and so are names.
//! * The calling thread works on no job: it asks at intervals whether to stop. Only Python's
//!   main thread receives signals.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use precise_top_core::ParseError;
use precise_top_core::columns::{
    Allocate, ColumnBuilder, ColumnKind, Columns, Dictionary, SnapshotRows,
};
use precise_top_core::dump::{Copies, Cursor, Reader, Stop};
use rayon::ThreadPoolBuilder;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// Something that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The index of its part.
    pub part: usize,
    /// The index of the snapshot that is left out, in its reader. None for names: some are
    /// unknown then.
    pub index: Option<usize>,
    /// The cause.
    pub error: ParseError,
}

/// Snapshots of one reader.
pub(super) struct Part<'a> {
    /// The reader that has them.
    pub(super) reader: &'a Reader,
    /// The name for [`ColumnKind::Path`].
    pub(super) path: &'a str,
    /// Their indices in the reader.
    pub(super) indices: Vec<usize>,
    /// Makes a reader of copies for one thread. None where snapshots are read in place.
    pub(super) copies: &'a (dyn Fn() -> Option<Copies> + Sync),
}

/// Rows of a batch, as far as whole runs of snapshots allow.
const BATCH_ROWS: usize = 1 << 17;

/// Reads the columns of all records of the parts' snapshots with `threads` threads. Returns
/// them, and what could not be read and is left out. OutOfMemory, or Interrupted where `stop`
/// returned true.
pub(super) fn read(
    parts: &[Part<'_>],
    kinds: &[ColumnKind],
    threads: usize,
    allocate: Allocate,
    stop: &Stop,
) -> Result<(Columns, Vec<Lost>), ParseError> {
    let read = |job: Job| job.read(&parts[job.part], kinds, allocate, stop);
    let outcomes = map_parallel(threads, jobs(parts, threads), read, stop);
    // All batches share one dictionary per column.
    let mut texts: Vec<Dictionary> = kinds.iter().map(|_| Dictionary::default()).collect();
    let (mut builders, mut lost) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        let mut outcome = outcome?;
        let own = outcome.builder.texts().zip(&mut texts);
        let codes: Vec<Vec<i32>> =
            own.map(|(own, texts)| own.map(|text| texts.code(text.as_bytes())).collect()).collect();
        builders.push((outcome.builder, codes));
        lost.append(&mut outcome.lost);
    }
    let finish = |(mut builder, numbers): (ColumnBuilder, Vec<Vec<i32>>)| {
        for (column, numbers) in numbers.iter().enumerate() {
            builder.remap_codes(column, numbers);
        }
        builder.finish().0
    };
    let batches = map_parallel(threads, builders, finish, stop);
    for (part, Part { reader, indices, .. }) in parts.iter().enumerate() {
        let Some((&first, &last)) = indices.iter().min().zip(indices.iter().max()) else {
            continue;
        };
        let names = kinds.iter().any(|kind| kind.is_name());
        let names = names.then(|| reader.lost_names(last)).into_iter().flatten();
        let all = reader.damaged_between(first, last).chain(names);
        lost.extend(all.map(|error| Lost { part, index: None, error }));
    }
    let texts = texts.into_iter().map(Dictionary::into_strings).collect();
    Ok((Columns { kinds: kinds.into(), batches, texts }, lost))
}

/// The time between two calls of `stop` by the thread that waits.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// The results of `work` on each item, in the items' order, computed by `threads` threads.
/// The pool lives for this call only: one that outlives it would have no threads in a forked
/// child, which would wait for them for ever. Where no threads can be started, the caller
/// does the work alone. It calls `stop` while it waits; what that returns is for `work` to obey.
fn map_parallel<T: Send, R: Send>(
    threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> R + Sync + Send,
    stop: &Stop,
) -> Vec<R> {
    let threads = threads.min(items.len());
    if threads > 1
        && let Ok(pool) = ThreadPoolBuilder::new().num_threads(threads).build()
    {
        let (send, receive) = mpsc::channel();
        return pool.in_place_scope(|scope| {
            scope.spawn(move |_| {
                let results = items.into_par_iter().with_max_len(1).map(work).collect();
                // The receiver waits for them.
                let _sent = send.send(results);
            });
            loop {
                match receive.recv_timeout(ASK_EVERY) {
                    Ok(results) => return results,
                    Err(RecvTimeoutError::Timeout) => _ = stop(),
                    // A thread has panicked, which the scope passes on.
                    Err(RecvTimeoutError::Disconnected) => return Vec::new(),
                }
            }
        });
    }
    items.into_iter().map(work).collect()
}

/// What the recorder of a file said of itself, where columns need that.
pub(super) fn metadata(reader: &Reader, kinds: &[ColumnKind]) -> Vec<(String, String)> {
    let needed = kinds.iter().any(|kind| matches!(kind, ColumnKind::Label(_)));
    if needed { reader.metadata() } else { Vec::new() }
}

/// Snapshots of one part that one thread reads in turn.
struct Job {
    part: usize,
    /// Its number, were all jobs of the same size.
    place: usize,
    indices: Vec<usize>,
    rows: usize,
}

/// Cuts the parts into jobs of about the same size, so that all threads end at about the same
/// time. A run of deltas is never cut, so that no frame is read twice.
fn jobs(parts: &[Part<'_>], threads: usize) -> Vec<Job> {
    let rows = |part: &Part<'_>, index: usize| part.reader.rows(index).unwrap_or(0);
    let all = parts.iter().flat_map(|part| part.indices.iter().map(|&index| rows(part, index)));
    let all: usize = all.sum();
    let batches = all.div_ceil(BATCH_ROWS);
    let batches = if batches > threads { batches.next_multiple_of(threads) } else { batches };
    let most = all.div_ceil(batches.max(1)).max(1);
    let mut jobs: Vec<Job> = Vec::new();
    let mut before = 0;
    for (number, part) in parts.iter().enumerate() {
        for &index in &part.indices {
            let (place, rows) = (before / most, rows(part, index));
            before += rows;
            let last = jobs.last_mut().filter(|job| {
                job.part == number && (job.place == place || !part.reader.is_full(index))
            });
            match last {
                Some(job) => {
                    job.indices.push(index);
                    job.rows += rows;
                }
                None => jobs.push(Job { part: number, place, indices: vec![index], rows }),
            }
        }
    }
    jobs
}

/// The result of a job.
struct Outcome {
    builder: ColumnBuilder,
    lost: Vec<Lost>,
}

impl Job {
    fn read(
        &self,
        part: &Part<'_>,
        kinds: &[ColumnKind],
        allocate: Allocate,
        stop: &Stop,
    ) -> Result<Outcome, ParseError> {
        let mut builder = ColumnBuilder::new(kinds, allocate);
        let metadata = metadata(part.reader, kinds);
        let (mut reserved, mut lost) = (false, Vec::new());
        let mut cursor = Cursor::copying((part.copies)()).until(Arc::clone(stop));
        for &index in &self.indices {
            match part.reader.snapshot(index, &mut cursor) {
                Ok(snapshot) => {
                    if !reserved {
                        // Reserve the rows that frames' headers declare, where the first
                        // snapshot has about as many.
                        let likely = snapshot.len().saturating_mul(self.indices.len());
                        let likely = likely.saturating_add(likely / 4);
                        builder.reserve(self.rows.min(likely).min(2 * BATCH_ROWS));
                        reserved = true;
                    }
                    builder.add(&SnapshotRows {
                        snapshot: &snapshot,
                        interval: None,
                        path: part.path,
                        metadata: &metadata,
                    })?;
                }
                Err(error) if error.kind.is_damage() => {
                    lost.push(Lost { part: self.part, index: Some(index), error });
                }
                Err(error) => return Err(error),
            }
        }
        // The builders of all jobs wait until the last one is read: keep no spare room.
        builder.trim();
        Ok(Outcome { builder, lost })
    }
}
