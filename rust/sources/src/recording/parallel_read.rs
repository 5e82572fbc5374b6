//! The snapshots of dumps as columns.
//!
//! Design decisions
//!
//! * Runs of frames are read side by side and become batches of columns, as Arrow has
//!   them; nothing is laid end to end that need not be.
//! * Snapshots that cannot be read are left out and told of, and so are names.

use std::sync::{Mutex, PoisonError};

use precise_top_core::ParseError;
use precise_top_core::columns::{
    Allocate, ColumnBuilder, ColumnKind, Columns, Dictionary, SnapshotRows,
};
use precise_top_core::dump::{Copies, Cursor, Reader};

/// What could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which of the parts.
    pub part: usize,
    /// The snapshot that is left out, by its index in its reader; None for names, of
    /// which some are unknown then.
    pub index: Option<usize>,
    /// Why.
    pub error: ParseError,
}

/// Snapshots of one reader.
pub(super) struct Part<'a> {
    /// Where they are.
    pub(super) reader: &'a Reader,
    /// The name for [`ColumnKind::Path`].
    pub(super) path: &'a str,
    /// Their indices.
    pub(super) indices: Vec<usize>,
    /// Copies for one thread, in which its snapshots are read; None where they are read in
    /// place.
    pub(super) copies: &'a (dyn Fn() -> Option<Copies> + Sync),
}

/// RecordBuffer of a batch, as far as whole runs of snapshots allow.
const BATCH_ROWS: usize = 1 << 17;

/// The columns of all records of the parts' snapshots, read by `threads` threads, and what
/// could not be read and is left out.
pub(super) fn read(
    parts: &[Part<'_>],
    kinds: &[ColumnKind],
    threads: usize,
    allocate: Allocate,
) -> (Columns, Vec<Lost>) {
    let read = |job: Job| job.read(&parts[job.part], kinds, allocate);
    let outcomes = side_by_side(threads, jobs(parts, threads), read);
    // The words of all batches get common numbers.
    let mut texts: Vec<Dictionary> = kinds.iter().map(|_| Dictionary::default()).collect();
    let (mut fillings, mut lost) = (Vec::new(), Vec::new());
    for mut outcome in outcomes {
        let own = outcome.filling.words().zip(&mut texts);
        let numbers: Vec<Vec<i32>> =
            own.map(|(own, texts)| own.iter().map(|word| texts.code(word)).collect()).collect();
        fillings.push((outcome.filling, numbers));
        lost.append(&mut outcome.lost);
    }
    let batches = side_by_side(threads, fillings, |(mut filling, numbers)| {
        for (column, numbers) in numbers.iter().enumerate() {
            filling.remap_codes(column, numbers);
        }
        filling.finish().0
    });
    if kinds.iter().any(|kind| kind.is_name()) {
        for (part, Part { reader, indices, .. }) in parts.iter().enumerate() {
            let names = indices.iter().max().map(|&last| reader.lost_names(last));
            let names = names.into_iter().flatten();
            lost.extend(names.map(|error| Lost { part, index: None, error }));
        }
    }
    let words = texts.into_iter().map(Dictionary::finish).collect();
    (Columns { kinds: kinds.into(), batches, words }, lost)
}

/// What comes of each of the items, worked on by `threads` threads.
fn side_by_side<T: Send, R: Send>(
    threads: usize,
    items: Vec<T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let threads = threads.min(items.len());
    let done: Mutex<Vec<Option<R>>> = Mutex::new(items.iter().map(|_| None).collect());
    let queue = Mutex::new(items.into_iter().enumerate());
    let labour = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((place, item)) = next else { return };
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(labour);
        }
        labour();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}

/// Snapshots of one part that are read one after the other.
struct Job {
    part: usize,
    /// Its place, were all of the same size.
    place: usize,
    indices: Vec<usize>,
    rows: usize,
}

/// Cuts the parts between runs of deltas, so that no frame is read twice, into jobs of about
/// the same size: `threads` threads are to be done at the same time.
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

/// What came of a job.
struct Outcome {
    filling: ColumnBuilder,
    lost: Vec<Lost>,
}

impl Job {
    fn read(&self, part: &Part<'_>, kinds: &[ColumnKind], allocate: Allocate) -> Outcome {
        // Room for what frames' headers promise, if that is not out of all proportion.
        let mut filling = ColumnBuilder::new(kinds, self.rows.min(2 * BATCH_ROWS), allocate);
        let (mut cursor, mut lost) = (Cursor::copying((part.copies)()), Vec::new());
        for &index in &self.indices {
            match part.reader.snapshot(index, &mut cursor) {
                Ok(snapshot) => {
                    filling.add(&SnapshotRows {
                        snapshot: &snapshot,
                        interval: None,
                        path: part.path,
                    });
                }
                Err(error) => lost.push(Lost { part: self.part, index: Some(index), error }),
            }
        }
        // Others wait for their numbers until all are read.
        filling.trim();
        Outcome { filling, lost }
    }
}
