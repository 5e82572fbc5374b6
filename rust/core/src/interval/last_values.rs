//! The last values of all tasks, for partial snapshots: those without unchanged tasks.
//!
//! Design decisions
//!
//! * A partial snapshot has records of the tasks that ran. It is compared with a base: the
//!   same tasks' values before, copied from here. Ten thousand unchanged tasks are in
//!   neither; [`Unchanged`] has their records.
//! * Counts over all tasks are updated with each record that changes, so that no snapshot
//!   costs a pass over all tasks.
//! * Tasks whose exit was not seen stay until there are twice as many tasks here as on the
//!   machine. Then the caller takes a snapshot of all tasks and starts again.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indexmap::IndexMap;

use super::shared_rows::SharedRows;
use crate::error::ParseError;
use crate::field_set::FieldSet;
use crate::header::{Flags, Header};
use crate::identity::{HashTask, TaskKey};
use crate::layout::Layout;
use crate::record::Record;
use crate::record_buffer::RecordBuffer;
use crate::snapshot::{SharedBytes, Snapshot};
use crate::state;

/// How many tasks may be kept above twice the machine's number.
const SPARE_TASKS: usize = 1024;

/// The last record of every task.
///
/// A source shares it through an `Arc`, and clones it only if a caller still holds the
/// [`Unchanged`] of an earlier snapshot when it merges the next one. Clones share the records
/// that neither changes.
#[derive(Clone)]
pub struct LastValues {
    /// The header of the last snapshot.
    header: Header,
    layout: Layout,
    tasks: IndexMap<TaskKey, LastRecord, HashTask>,
    /// The tasks' records, in the order of `tasks`.
    records: SharedRows,
    /// The number of the last snapshot.
    serial: u64,
    /// How many tasks have a record in the last snapshot.
    changed: usize,
    /// The pids of tasks that are dead and not reaped.
    zombies: HashMap<TaskKey, u32, HashTask>,
    /// Records of tasks that were exiting at the last snapshot: the next snapshot has them
    /// again.
    exiting: Exiting,
    totals: Totals,
    threads: bool,
    fields: FieldSet,
}

/// The fields and age of a task's last record.
#[derive(Clone)]
struct LastRecord {
    filled: FieldSet,
    /// The number of the last snapshot that has the task.
    serial: u64,
}

/// Counts over all living tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of tasks.
    pub tasks: usize,
    /// Number of threads of all rows.
    pub num_threads: u64,
    by_state: [usize; state::COUNT],
}

impl Totals {
    fn add(&mut self, record: &Record<'_>, threads: bool) {
        self.tasks += 1;
        self.num_threads += threads_of(record, threads);
        if let Some(state) = record.state() {
            self.by_state[state::number(state)] += 1;
        }
    }

    fn remove(&mut self, record: &Record<'_>, threads: bool) {
        self.tasks -= 1;
        self.num_threads -= threads_of(record, threads);
        if let Some(state) = record.state() {
            self.by_state[state::number(state)] -= 1;
        }
    }

    /// Number of tasks in each state that any of them is in, by the state's name.
    pub fn states(&self) -> BTreeMap<&'static str, usize> {
        state::named(&self.by_state)
    }
}

/// Number of threads of a row, which is one where rows are threads.
fn threads_of(record: &Record<'_>, threads: bool) -> u64 {
    record.num_threads().map_or(0, |number| if threads { 1 } else { number.into() })
}

type Exiting = HashMap<TaskKey, (Vec<u8>, FieldSet), HashTask>;

/// The exited tasks of a snapshot that the kernel has not released yet.
fn exiting(snapshot: &Snapshot<SharedBytes>) -> Exiting {
    unreleased((snapshot.living()..snapshot.len()).filter_map(|row| snapshot.get(row)))
}

fn unreleased<'a>(exited: impl Iterator<Item = Record<'a>>) -> Exiting {
    exited
        .filter(|record| record.state().is_some_and(|state| state != state::DEAD))
        .map(|record| (TaskKey::of(&record), (record.bytes().to_vec(), record.filled())))
        .collect()
}

/// A number for a snapshot, which no other one has: values may be copied and go on apart.
fn next_serial() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

impl LastValues {
    /// The values of `full`, a snapshot of all tasks, which was requested with `threads`
    /// and `fields`.
    pub fn new(full: &Snapshot<SharedBytes>, threads: bool, fields: FieldSet) -> LastValues {
        let mut values =
            LastValues::empty(full.header(), full.layout(), full.len(), threads, fields);
        values.add(full.header(), full.len(), &mut full.iter());
        values
    }

    /// The values of no task, with room for `count`.
    pub(crate) fn empty(
        header: &Header,
        layout: &Layout,
        count: usize,
        threads: bool,
        fields: FieldSet,
    ) -> LastValues {
        LastValues {
            header: header.clone(),
            layout: layout.clone(),
            tasks: IndexMap::with_capacity_and_hasher(count, HashTask::default()),
            records: SharedRows::new(layout.record_size(), count),
            serial: next_serial(),
            changed: 0,
            zombies: HashMap::default(),
            exiting: HashMap::default(),
            totals: Totals::default(),
            threads,
            fields,
        }
    }

    /// Adds the `rows` of a snapshot of all tasks, or of the next part of one, which
    /// [`LastValues::part`] returned.
    pub(crate) fn add(
        &mut self,
        header: &Header,
        rows: usize,
        records: &mut dyn Iterator<Item = Record<'_>>,
    ) {
        let living = rows.saturating_sub(header.exited as usize);
        for record in (&mut *records).take(living) {
            self.put(&record);
        }
        self.exiting = unreleased(records);
        self.header = header.clone();
    }

    /// The instant from which the next partial snapshot is taken, in ns of the scheduler's
    /// clock.
    pub fn since_ns(&self) -> u64 {
        self.header.sched_clock_ns.unwrap_or(0)
    }

    /// Whether the values are of these rows and fields.
    pub fn is_for(&self, threads: bool, fields: FieldSet) -> bool {
        (self.threads, self.fields) == (threads, fields)
    }

    /// Whether all of the machine's tasks, `tasks` in number, are here, and few others. If
    /// not, the caller reads all tasks again.
    pub fn is_whole(&self, tasks: usize) -> bool {
        !self.header.flags.contains(Flags::TRUNCATED) && self.tasks.len() <= 2 * tasks + SPARE_TASKS
    }

    /// The base of `next`, a partial snapshot that is not merged yet: its tasks' values
    /// before.
    pub fn values_before(
        &self,
        next: &Snapshot<SharedBytes>,
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        let mut before = RecordBuffer::new(self.layout.record_size(), next.len());
        for record in next.iter() {
            let key = TaskKey::of(&record);
            if let Some(index) = self.tasks.get_index_of(&key) {
                before.push(self.record_bytes(index), record.filled());
            } else if let Some((bytes, filled)) = self.exiting.get(&key) {
                before.push(bytes, *filled);
            }
        }
        let header = Header { exited: 0, ..self.header.clone() };
        before.into_snapshot(header, self.layout.clone())
    }

    /// A snapshot of the last values of all tasks.
    pub fn all(&self) -> Result<Snapshot<SharedBytes>, ParseError> {
        let mut all = RecordBuffer::new(self.layout.record_size(), self.tasks.len());
        for (index, last) in self.tasks.values().enumerate() {
            all.push(self.record_bytes(index), last.filled);
        }
        let header = Header { exited: 0, ..self.header.clone() };
        all.into_snapshot(header, self.layout.clone())
    }

    /// A snapshot from which [`LastValues::new`] makes the same values: the tasks that the next
    /// snapshot has again although they exited are its exits.
    pub(crate) fn to_snapshot(&self) -> Result<Snapshot<SharedBytes>, ParseError> {
        self.part(0..self.tasks.len())
    }

    /// The part of that snapshot with the tasks at these places; the exits are in the last part.
    pub(crate) fn part(&self, places: Range<usize>) -> Result<Snapshot<SharedBytes>, ParseError> {
        let is_last = places.end >= self.tasks.len();
        let places = places.start.min(self.tasks.len())..places.end.min(self.tasks.len());
        let exits = if is_last { self.exiting.len() } else { 0 };
        let mut part = RecordBuffer::new(self.layout.record_size(), places.len() + exits);
        for index in places {
            part.push(self.record_bytes(index), self.tasks[index].filled);
        }
        for (bytes, filled) in self.exiting.values().take(exits) {
            part.push(bytes, *filled);
        }
        let header = Header { exited: exits as u32, ..self.header.clone() };
        part.into_snapshot(header, self.layout.clone())
    }

    /// Number of places of tasks.
    pub(crate) fn places(&self) -> usize {
        self.tasks.len()
    }

    /// The pids of all tasks, those of the dead first.
    pub(crate) fn pids(&self) -> impl Iterator<Item = (u32, TaskKey)> + '_ {
        let exiting = self.exiting.iter().filter_map(|(key, (bytes, filled))| {
            Some((Record::new(bytes, &self.layout, *filled)?.ac_pid().unwrap_or(0), *key))
        });
        let living = self.tasks.keys().enumerate();
        exiting.chain(living.map(|(at, key)| (self.record(at).ac_pid().unwrap_or(0), *key)))
    }

    /// The header of the last snapshot.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// The layout of the records.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The last record of a task, or that of one which was exiting.
    pub(crate) fn last_record(&self, key: &TaskKey) -> Option<&[u8]> {
        match self.tasks.get_index_of(key) {
            Some(index) => Some(self.record_bytes(index)),
            None => self.exiting.get(key).map(|(bytes, _)| &**bytes),
        }
    }

    /// Merges a partial snapshot.
    pub fn merge(&mut self, partial: &Snapshot<SharedBytes>) {
        self.serial = next_serial();
        self.changed = 0;
        for (row, record) in partial.iter().enumerate() {
            if partial.is_exited(row) {
                self.remove(&TaskKey::of(&record));
            } else {
                self.put(&record);
            }
        }
        // A zombie is in each snapshot until its parent has waited for it.
        let mut reaped: Vec<TaskKey> =
            self.zombies.keys().copied().filter(|key| !self.is_in_last(key)).collect();
        // In one order, as the others change places: who merges the same has the same places.
        reaped.sort_unstable_by_key(|key| self.tasks.get_index_of(key));
        reaped.iter().for_each(|key| self.remove(key));
        self.exiting = exiting(partial);
        self.header = partial.header().clone();
        self.shrink();
    }

    /// Gives back the room of a burst of tasks.
    fn shrink(&mut self) {
        let most = 2 * self.tasks.len();
        if self.tasks.capacity() > 2 * most {
            self.tasks.shrink_to(most);
            self.records.shrink_to(most);
            self.zombies.shrink_to(most);
        }
    }

    /// The pids of tasks that are dead and not reaped.
    pub fn zombies(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.zombies.values().copied()
    }

    /// Number of exits that were lost up to the last snapshot.
    pub fn exits_lost(&self) -> u64 {
        self.header.exits_lost
    }

    /// The tasks that did not run between the last two snapshots.
    pub fn unchanged(self: &Arc<Self>) -> Unchanged {
        Unchanged { last_values: Arc::clone(self) }
    }

    fn is_in_last(&self, key: &TaskKey) -> bool {
        self.tasks.get(key).is_some_and(|last| last.serial == self.serial)
    }

    fn record_bytes(&self, index: usize) -> &[u8] {
        self.records.get(index)
    }

    fn record(&self, index: usize) -> Record<'_> {
        self.record_with(index, self.tasks[index].filled)
    }

    fn record_with(&self, index: usize, filled: FieldSet) -> Record<'_> {
        Record::new(self.record_bytes(index), &self.layout, filled)
            .expect("records of the layout's size")
    }

    /// Subtracts a record with these fields from the totals, before it is replaced or removed.
    fn subtract(&mut self, index: usize, filled: FieldSet) {
        let mut totals = std::mem::take(&mut self.totals);
        totals.remove(&self.record_with(index, filled), self.threads);
        self.totals = totals;
    }

    fn put(&mut self, record: &Record<'_>) {
        let key = TaskKey::of(record);
        if record.state().is_some_and(|state| state >> 16 != 0) {
            self.zombies.insert(key, record.ac_pid().unwrap_or(0));
        } else if !self.zombies.is_empty() {
            self.zombies.remove(&key);
        }
        let last = LastRecord { filled: record.filled(), serial: self.serial };
        // One search: a key of ten thousand tasks is read by this.
        let (index, before) = self.tasks.insert_full(key, last);
        if let Some(LastRecord { filled, serial }) = before {
            self.subtract(index, filled);
            self.records.set(index, record.bytes());
            self.changed += usize::from(serial != self.serial);
        } else {
            self.records.push(record.bytes());
            self.changed += 1;
        }
        self.totals.add(record, self.threads);
    }

    fn remove(&mut self, key: &TaskKey) {
        self.zombies.remove(key);
        let Some((index, _, last)) = self.tasks.get_full(key) else { return };
        let LastRecord { filled, serial } = *last;
        self.subtract(index, filled);
        self.changed -= usize::from(serial == self.serial);
        // The last task takes its index.
        self.tasks.swap_remove_index(index);
        self.records.swap_remove(index);
    }
}

/// The tasks that did not run between the last two snapshots.
#[derive(Clone)]
pub struct Unchanged {
    last_values: Arc<LastValues>,
}

impl Unchanged {
    /// Counts over all living tasks, unchanged or not.
    pub fn totals(&self) -> &Totals {
        &self.last_values.totals
    }

    /// The number of the last snapshot, which no other one has.
    pub fn serial(&self) -> u64 {
        self.last_values.serial
    }

    /// The last values of all tasks.
    pub(crate) fn last_values(&self) -> &Arc<LastValues> {
        &self.last_values
    }

    /// Number of unchanged tasks.
    pub fn task_count(&self) -> usize {
        self.last_values.tasks.len() - self.last_values.changed
    }

    /// Number of places; some are of tasks that ran.
    pub fn places(&self) -> usize {
        self.last_values.tasks.len()
    }

    /// The record at a place; None for a task that ran.
    pub fn record(&self, place: usize) -> Option<Record<'_>> {
        let (_, last) = self.last_values.tasks.get_index(place)?;
        (last.serial != self.last_values.serial).then(|| self.last_values.record(place))
    }

    /// The unchanged tasks: their places, and the number of the snapshot that each one's record
    /// is of. A task has one record of a number.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = (usize, &TaskKey, u64)> {
        let tasks = self.last_values.tasks.iter().enumerate();
        tasks
            .filter(|(_, (_, last))| last.serial != self.last_values.serial)
            .map(|(place, (key, last))| (place, key, last.serial))
    }

    /// CLOCK_MONOTONIC in ns at the last snapshot's begin.
    pub fn begin_ns(&self) -> u64 {
        self.last_values.header.begin.monotonic_ns
    }
}
