//! The snapshots of dumps as columns.
//!
//! Design decisions
//!
//! * Runs of frames are read side by side and become batches of columns, as Arrow has
//!   them; nothing is laid end to end that need not be.
//! * Snapshots that cannot be read are left out and told of, and so are names.

use std::sync::{Mutex, PoisonError};

use super::read::{Cursor, Reader};
use crate::columns::{Batch, ColumnKind, Columns, Filling, Prepare, Rows, Texts};
use crate::error::ParseError;

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
pub struct Part<'a> {
    /// Where they are.
    pub reader: &'a Reader,
    /// The name for [`ColumnKind::Path`].
    pub path: &'a str,
    /// Their indices.
    pub indices: Vec<usize>,
}

/// Records of a batch, as far as whole runs of snapshots allow.
const BATCH_ROWS: usize = 1 << 17;

/// The columns of all records of the parts' snapshots, read by `threads` threads, and what
/// could not be read and is left out. Memory for them is prepared first.
pub fn read(
    parts: &[Part<'_>],
    kinds: &[ColumnKind],
    threads: usize,
    prepare: Prepare,
) -> (Columns, Vec<Lost>) {
    let jobs = jobs(parts);
    let queue = Mutex::new(jobs.iter().enumerate());
    let done: Mutex<Vec<Option<Outcome>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let labour = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((place, job)) = next else { return };
            let outcome = job.read(&parts[job.part], kinds, prepare);
            done.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(jobs.len()) {
            scope.spawn(labour);
        }
        labour();
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten();
    let mut texts: Vec<Texts> = kinds.iter().map(|_| Texts::default()).collect();
    let (mut batches, mut lost) = (Vec::new(), Vec::new());
    for mut outcome in done {
        for (column, (own, texts)) in outcome.texts.iter().zip(&mut texts).enumerate() {
            if let Some(codes) = outcome.batch.codes_mut(column) {
                let shared: Vec<i32> = own.words.iter().map(|word| texts.code(word)).collect();
                // Where nothing was known there is no word.
                let word = |code: i32| shared.get(code as usize).copied().unwrap_or(0);
                codes.iter_mut().for_each(|code| *code = word(*code));
            }
        }
        lost.append(&mut outcome.lost);
        batches.push(outcome.batch);
    }
    if kinds.iter().any(|kind| kind.is_name()) {
        for (part, Part { reader, indices, .. }) in parts.iter().enumerate() {
            let names = indices.iter().max().map(|&last| reader.lost_names(last));
            let names = names.into_iter().flatten();
            lost.extend(names.map(|error| Lost { part, index: None, error }));
        }
    }
    let words = texts.into_iter().map(Texts::finish).collect();
    (Columns { kinds: kinds.into(), batches, words }, lost)
}

/// Snapshots of one part that are read one after the other.
struct Job {
    part: usize,
    indices: Vec<usize>,
    rows: usize,
}

/// Cuts the parts between runs of deltas, so that no frame is read twice.
fn jobs(parts: &[Part<'_>]) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for (part, Part { reader, indices, .. }) in parts.iter().enumerate() {
        for &index in indices {
            let rows = reader.rows(index).unwrap_or(0);
            let last = jobs.last_mut().filter(|job| {
                job.part == part && (job.rows + rows <= BATCH_ROWS || !reader.is_full(index))
            });
            match last {
                Some(job) => {
                    job.indices.push(index);
                    job.rows += rows;
                }
                None => jobs.push(Job { part, indices: vec![index], rows }),
            }
        }
    }
    jobs
}

/// What came of a job.
struct Outcome {
    batch: Batch,
    /// Words of the columns of texts.
    texts: Vec<Texts>,
    lost: Vec<Lost>,
}

impl Job {
    fn read(&self, part: &Part<'_>, kinds: &[ColumnKind], prepare: Prepare) -> Outcome {
        // Room for what frames' headers promise, if that is not out of all proportion.
        let mut filling = Filling::new(kinds, self.rows.min(2 * BATCH_ROWS), prepare);
        let (mut cursor, mut lost) = (Cursor::default(), Vec::new());
        for &index in &self.indices {
            match part.reader.snapshot(index, &mut cursor) {
                Ok(snapshot) => {
                    filling.add(&Rows { snapshot: &snapshot, interval: None, path: part.path });
                }
                Err(error) => lost.push(Lost { part: self.part, index: Some(index), error }),
            }
        }
        let (batch, texts) = filling.finish();
        Outcome { batch, texts, lost }
    }
}
