//! The last values of all tasks, for snapshots of only what ran since.
//!
//! Design decisions
//!
//! * Such a snapshot has records of the tasks that ran, and with it the snapshot it
//!   is to be compared with: the same tasks' last values, copied out of what is kept
//!   here. Ten thousand sleepers are in neither; [`Unchanged`] shows them.
//! * Counts over all tasks are kept up as records change, so that nothing goes over all.
//! * Tasks that died unseen stay in the table until it is twice as long as the
//!   machine's; then it is made anew.

use std::collections::{BTreeMap, HashMap};

use crate::error::ParseError;
use crate::fields::{Field, FieldSet, Kind};
use crate::header::{Flags, Header};
use crate::layout::Layout;
use crate::record::Record;
use crate::record_buffer::RecordBuffer;
use crate::snapshot::{SharedBytes, Snapshot};
use crate::state;
use crate::table::{Cell, Key, Metric, Query, Table, compare};

type Name = (u64, u64);

/// The last record of every task.
pub struct LastValues {
    header: Header,
    layout: Layout,
    index: HashMap<Name, u32>,
    names: Vec<Name>,
    bytes: Vec<u8>,
    filled: Vec<FieldSet>,
    /// Per record the number of the snapshot that it was last in.
    written: Vec<u64>,
    serial: u64,
    /// RecordBuffer that were in the last one.
    fresh: usize,
    /// Tasks that nobody has waited for, with their ids.
    zombies: HashMap<Name, u32>,
    /// Tasks of the last snapshot that were dying: the next one tells of them again.
    dying: HashMap<Name, (Vec<u8>, FieldSet)>,
    totals: Totals,
    threads: bool,
    fields: FieldSet,
}

/// Counts over all living tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of tasks.
    pub tasks: usize,
    /// Number of threads of all rows.
    pub num_threads: u64,
    /// Tasks in each state, by its name.
    pub states: BTreeMap<&'static str, usize>,
}

impl Totals {
    fn add(&mut self, record: &Record<'_>) {
        self.tasks += 1;
        self.num_threads += u64::from(record.num_threads().unwrap_or(0));
        if let Some(state) = record.state() {
            *self.states.entry(state::name(state)).or_insert(0) += 1;
        }
    }

    fn remove(&mut self, record: &Record<'_>) {
        self.tasks -= 1;
        self.num_threads -= u64::from(record.num_threads().unwrap_or(0));
        if let Some(state) = record.state()
            && let Some(count) = self.states.get_mut(state::name(state))
        {
            *count -= 1;
            if *count == 0 {
                self.states.remove(state::name(state));
            }
        }
    }
}

fn name(record: &Record<'_>) -> Name {
    // The parts of a name that a source knows; hidden processes have no task_id.
    let id = record.task_id().unwrap_or_else(|| u64::from(record.ac_pid().unwrap_or(0)));
    (id, record.ac_start_ns().unwrap_or(0))
}

/// The tasks that a snapshot tells of as exited, but that are not gone yet.
fn dying(snapshot: &Snapshot<SharedBytes>) -> HashMap<Name, (Vec<u8>, FieldSet)> {
    let exited = snapshot.iter().enumerate().filter(|&(row, _)| snapshot.is_exited(row));
    exited
        .filter(|(_, record)| record.state().is_some_and(|state| state != state::DEAD))
        .map(|(_, record)| (name(&record), (record.bytes().to_vec(), record.filled())))
        .collect()
}

impl LastValues {
    /// Begins with a snapshot of all tasks.
    pub fn new(full: &Snapshot<SharedBytes>, threads: bool, fields: FieldSet) -> LastValues {
        let mut changed = LastValues {
            header: full.header().clone(),
            layout: full.layout().clone(),
            index: HashMap::new(),
            names: Vec::new(),
            bytes: Vec::new(),
            filled: Vec::new(),
            written: Vec::new(),
            serial: 1,
            fresh: 0,
            zombies: HashMap::new(),
            dying: HashMap::new(),
            totals: Totals::default(),
            threads,
            fields,
        };
        let living = full.iter().enumerate().filter(|&(row, _)| !full.is_exited(row));
        for (_, record) in living {
            changed.put(name(&record), &record);
        }
        changed.dying = dying(full);
        changed
    }

    /// The instant that the next snapshot is to begin at, on the scheduler's clock.
    pub fn since_ns(&self) -> u64 {
        self.header.sched_clock_ns.unwrap_or(0)
    }

    /// Whether it has the rows and fields that are asked for.
    pub fn is_for(&self, threads: bool, fields: FieldSet) -> bool {
        (self.threads, self.fields) == (threads, fields)
    }

    /// Whether it has all tasks, and is not much longer than it must be. Else all tasks
    /// have to be read anew.
    pub fn is_whole(&self, tasks: usize) -> bool {
        !self.header.flags.contains(Flags::TRUNCATED) && self.names.len() <= 2 * tasks + 1024
    }

    /// The values before of the tasks of the next snapshot.
    pub fn values_before(
        &self,
        next: &Snapshot<SharedBytes>,
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        let mut before = RecordBuffer::new(self.layout.record_size(), next.len());
        for record in next.iter() {
            let name = name(&record);
            if let Some(&at) = self.index.get(&name) {
                before.push(self.at(at as usize), record.filled());
            } else if let Some((bytes, filled)) = self.dying.get(&name) {
                before.push(bytes, *filled);
            }
        }
        let header = Header { exited: 0, ..self.header.clone() };
        before.into_snapshot(header, self.layout.clone())
    }

    /// The last values of all.
    pub fn all(&self) -> Result<Snapshot<SharedBytes>, ParseError> {
        let mut all = RecordBuffer::new(self.layout.record_size(), self.names.len());
        for (index, &filled) in self.filled.iter().enumerate() {
            all.push(self.at(index), filled);
        }
        let header = Header { exited: 0, ..self.header.clone() };
        all.into_snapshot(header, self.layout.clone())
    }

    /// Merges a partial snapshot.
    pub fn merge(&mut self, partial: &Snapshot<SharedBytes>) {
        self.serial += 1;
        self.fresh = 0;
        for (row, record) in partial.iter().enumerate() {
            let name = name(&record);
            if partial.is_exited(row) {
                self.remove(name);
            } else {
                self.put(name, &record);
            }
        }
        // They are in each snapshot until somebody has waited for them.
        let reaped: Vec<Name> =
            self.zombies.keys().copied().filter(|name| !self.is_in_last(name)).collect();
        reaped.into_iter().for_each(|name| self.remove(name));
        self.dying = dying(partial);
        self.header = partial.header().clone();
    }

    /// The ids of the tasks that nobody has waited for.
    pub fn zombies(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.zombies.values().copied()
    }

    /// ExitFeed that nobody had seen up to the last snapshot.
    pub fn exits_lost(&self) -> u64 {
        self.header.exits_lost
    }

    fn is_in_last(&self, name: &Name) -> bool {
        self.index.get(name).is_some_and(|&index| self.written[index as usize] == self.serial)
    }

    /// The tasks that did not run between the last two snapshots.
    pub fn unchanged(&self) -> Unchanged<'_> {
        Unchanged { kept: self }
    }

    fn at(&self, index: usize) -> &[u8] {
        let size = self.layout.record_size();
        &self.bytes[index * size..(index + 1) * size]
    }

    fn record(&self, index: usize) -> Record<'_> {
        Record::new(self.at(index), &self.layout, self.filled[index])
            .expect("records of the layout's size")
    }

    /// Takes a record that is about to go out of the totals.
    fn uncount(&mut self, index: usize) {
        let mut totals = std::mem::take(&mut self.totals);
        totals.remove(&self.record(index));
        self.totals = totals;
    }

    fn put(&mut self, name: Name, record: &Record<'_>) {
        if record.state().is_some_and(|state| state >> 16 != 0) {
            self.zombies.insert(name, record.ac_pid().unwrap_or(0));
        } else if !self.zombies.is_empty() {
            self.zombies.remove(&name);
        }
        let size = self.layout.record_size();
        if let Some(index) = self.index.get(&name).map(|&index| index as usize) {
            self.uncount(index);
            self.bytes[index * size..(index + 1) * size].copy_from_slice(record.bytes());
            self.filled[index] = record.filled();
            self.fresh += usize::from(self.written[index] != self.serial);
            self.written[index] = self.serial;
        } else {
            self.index.insert(name, self.names.len() as u32);
            self.names.push(name);
            self.bytes.extend_from_slice(record.bytes());
            self.filled.push(record.filled());
            self.written.push(self.serial);
            self.fresh += 1;
        }
        self.totals.add(record);
    }

    fn remove(&mut self, name: Name) {
        self.zombies.remove(&name);
        let Some(index) = self.index.remove(&name).map(|index| index as usize) else { return };
        self.uncount(index);
        self.fresh -= usize::from(self.written[index] == self.serial);
        let (size, last) = (self.layout.record_size(), self.names.len() - 1);
        // The last one takes its place.
        self.bytes.copy_within(last * size.., index * size);
        self.bytes.truncate(last * size);
        self.names.swap_remove(index);
        self.filled.swap_remove(index);
        self.written.swap_remove(index);
        if index < last {
            self.index.insert(self.names[index], index as u32);
        }
    }
}

/// The tasks without a record in a snapshot of what ran since: with their last values,
/// ages as of that snapshot, and a use of zero.
pub struct Unchanged<'a> {
    kept: &'a LastValues,
}

impl Unchanged<'_> {
    /// Counts over all living tasks, resting or not.
    pub fn totals(&self) -> &Totals {
        &self.kept.totals
    }

    /// Their number.
    pub fn number(&self) -> usize {
        self.kept.names.len() - self.kept.fresh
    }

    /// The rows that a query chooses of a table of what ran and of these, in its order.
    pub fn select_with(&self, ran: &dyn Table, query: &Query) -> Vec<MergedRow> {
        let end = query.limit.map_or(usize::MAX, |limit| query.offset.saturating_add(limit));
        let both = Query { offset: 0, limit: Some(end), ..query.clone() };
        let ran_key = |row: u32| ran.key(row as usize, query.sort?);
        let chosen = ran.select(&both).into_iter();
        let mut keyed: Vec<_> = chosen.map(|row| (ran_key(row), MergedRow::Ran(row))).collect();
        let key = |row: u32| self.key(row as usize, query.sort?);
        keyed.extend(
            self.select(&both).into_iter().map(|row| (key(row), MergedRow::Unchanged(row))),
        );
        if query.sort.is_some() {
            keyed.sort_by(|a, b| compare(a.0, b.0, query.descending));
        }
        let chosen = keyed.into_iter().take(end).skip(query.offset);
        chosen.map(|(_, place)| place).collect()
    }
}

/// A row of what ran, or of what did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergedRow {
    /// Its number in the table of what ran.
    Ran(u32),
    /// Its number in [`Unchanged`].
    Unchanged(u32),
}

impl Table for Unchanged<'_> {
    fn rows(&self) -> usize {
        self.kept.names.len()
    }

    /// Who did not run used nothing: only what the records themselves say differs.
    fn is_level(&self, column: Metric) -> bool {
        !matches!(column, Metric::Field(_) | Metric::CpuNs | Metric::Title)
    }

    /// None for a task that is none of them.
    fn record(&self, row: usize) -> Option<Record<'_>> {
        (*self.kept.written.get(row)? != self.kept.serial).then(|| self.kept.record(row))
    }

    fn cell(&self, row: usize, column: Metric) -> Option<Cell<'_>> {
        let record = self.record(row)?;
        let known = |field: Field| record.filled().contains(field).then_some(());
        match column {
            Metric::Field(field @ (Field::ac_etime | Field::ac_tgetime)) => {
                let since_ns =
                    self.kept.header.begin.monotonic_ns.checked_sub(record.ac_time_ns()?)?;
                Some(Cell::Int(i128::from(record.unsigned(field)? + since_ns / 1000)))
            }
            Metric::Field(field) => record.value(field).map(Cell::from),
            Metric::CpuNs => record.cpu_ns().map(|ns| Cell::Int(i128::from(ns))),
            Metric::Exited => None,
            Metric::Title => record.ac_comm().map(Cell::Text),
            Metric::Tasks => Some(Cell::Int(1)),
            Metric::UserNs | Metric::SystemNs | Metric::TotalNs | Metric::AllNs => {
                Some(Cell::Int(0))
            }
            Metric::UserPct | Metric::SystemPct | Metric::TotalPct | Metric::AllPct => {
                Some(Cell::Float(0.0))
            }
            Metric::Delta(field) => {
                known(field).filter(|()| field.info().kind == Kind::Counter).map(|()| Cell::Int(0))
            }
            _ => {
                known(column.field()?)?;
                let whole = matches!(
                    column,
                    Metric::StealNs
                        | Metric::ChildUserNs
                        | Metric::ChildSystemNs
                        | Metric::ChildStealNs
                );
                Some(if whole { Cell::Int(0) } else { Cell::Float(0.0) })
            }
        }
    }

    fn key(&self, row: usize, column: Metric) -> Option<Key<'_>> {
        match self.cell(row, column)? {
            Cell::Int(number) => Some(Key::Int(number)),
            Cell::Text(text) => Some(Key::Text(text)),
            Cell::Float(_) => Some(Key::Int(0)),
        }
    }
}
