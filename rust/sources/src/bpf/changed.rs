//! The last values of all tasks, for snapshots of only what ran since.
//!
//! Design decisions
//!
//! * Such a snapshot has records of the tasks that ran, and with it the snapshot it
//!   is to be compared with: the same tasks' last values, copied out of what is kept
//!   here. Ten thousand sleepers are in neither.
//! * Tasks that died unseen stay in the table until it is twice as long as the
//!   machine's; then it is made anew.

use std::collections::HashMap;

use taskstats_core::{Header, Layout, Record, SharedBytes, Snapshot};

use crate::errors::Error;
use crate::records::Records;

type Key = (u64, u64);

/// The last record of every task.
pub(crate) struct Changed {
    header: Header,
    records: HashMap<Key, Vec<u8>>,
    threads: bool,
}

fn key(record: &Record<'_>) -> Key {
    // The parts of a name that a source knows; hidden processes have no task_id.
    let id = record.task_id().unwrap_or_else(|| u64::from(record.ac_pid().unwrap_or(0)));
    (id, record.ac_start_ns().unwrap_or(0))
}

impl Changed {
    /// Begins with a snapshot of all tasks.
    pub(crate) fn new(full: &Snapshot<SharedBytes>) -> Changed {
        let records = full.iter().map(|record| (key(&record), record.bytes().to_vec())).collect();
        Changed { header: full.header().clone(), records, threads: full.header().threads() }
    }

    /// The instant that the next snapshot is to begin at, on the scheduler's clock.
    pub(crate) fn since_ns(&self) -> u64 {
        self.header.sched_clock_ns.unwrap_or(0)
    }

    /// Whether it can go on: of the same kind of rows, and not much longer than it must be.
    pub(crate) fn goes_on(&self, threads: bool, tasks: usize) -> bool {
        self.threads == threads && self.records.len() <= 2 * tasks + 1024
    }

    /// Takes in what ran, and gives those tasks' values before.
    pub(crate) fn advance(
        &mut self,
        partial: &Snapshot<SharedBytes>,
        layout: &Layout,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        let mut before = Records::new(layout.record_size(), partial.len());
        for (row, record) in partial.iter().enumerate() {
            let key = key(&record);
            let old = if partial.is_exited(row) {
                self.records.remove(&key)
            } else {
                self.records.insert(key, record.bytes().to_vec())
            };
            if let Some(old) = old {
                before.push(&old, record.filled());
            }
        }
        let mut header = std::mem::replace(&mut self.header, partial.header().clone());
        header.exited = 0;
        before.into_snapshot(header, layout.clone())
    }
}
