//! Merges tasks that were born and died within one interval, by name and parent.
//!
//! Design decisions
//!
//! * Only such tasks are merged: no other snapshot has them, and their counters are their use.
//!   A task that exited, but is not released yet, is in the next snapshot again, and stays.
//! * Counters are summed up. The ticks of user and system time, which split the exact run time
//!   in their ratio, become the sums of the parts, in µs: so the sums of user and system time
//!   stay, although a sum of ticks would split otherwise.
//! * Other fields are those of the first task that was merged.

use std::collections::HashMap;
use std::sync::Arc;

use super::read::{Cursor, Ends};
use super::run::Run;
use crate::error::ParseError;
use crate::field_set::FieldSet;
use crate::fields::{Field, Kind};
use crate::header::Header;
use crate::interval::Interval;
use crate::record::{Record, RecordMut};
use crate::record_buffer::RecordBuffer;
use crate::snapshot::{SharedBytes, Snapshot};
use crate::state;

/// The same run with fewer rows. `number` is its new number.
pub(super) fn merged(run: &Run, number: u64) -> Result<Run, ParseError> {
    let mut cursor = Cursor::new(run)?;
    let mut merged = run.emptied(number, cursor.header());
    let mut before = None;
    for frame in &run.frames {
        let Ends { prev, cur } = cursor.step(frame)?;
        let fewer = without_short_lives(&Interval::between(Arc::clone(&prev), cur))?;
        // A snapshot of all tasks is a delta from the one before, which has fewer rows too.
        let base = before.filter(|_| !frame.is_partial).unwrap_or(prev);
        merged.append(&base, &fewer, frame.is_partial, frame.peaks.clone())?;
        before = Some(Arc::new(fewer));
    }
    merged.finish()?;
    Ok(merged)
}

/// What the tasks of a merged row have in common.
#[derive(PartialEq, Eq, Hash)]
struct Common {
    name: Vec<u8>,
    parent: Option<u32>,
    filled: FieldSet,
}

/// The later snapshot of an interval, with one row for each name and parent of the tasks that
/// were born and died in it.
fn without_short_lives(interval: &Interval) -> Result<Snapshot<SharedBytes>, ParseError> {
    let cur = interval.cur();
    let size = cur.layout().record_size();
    let mut rows = RecordBuffer::new(size, cur.len());
    let mut places: HashMap<Common, usize> = HashMap::new();
    let mut merged: Vec<Merged> = Vec::new();
    let mut exited = 0;
    for (row, record) in cur.iter().enumerate() {
        if !is_short_life(interval, row, &record) {
            rows.push(record.bytes(), record.filled());
            exited += u32::from(interval.is_exited(row));
            continue;
        }
        let common = Common {
            name: record.ac_comm().unwrap_or_default().to_vec(),
            parent: record.ac_ppid(),
            filled: record.filled(),
        };
        let place = *places.entry(common).or_insert(merged.len());
        match merged.get_mut(place) {
            Some(group) => group.add(interval, row, &record),
            None => merged.push(Merged::of(interval, row, &record)),
        }
    }
    for group in merged {
        exited += 1;
        let filled = group.filled;
        rows.push(&group.record(cur), filled);
    }
    let header = Header { exited, ..cur.header().clone() };
    rows.into_snapshot(header, cur.layout().clone())
}

/// Whether a task was born and died in the interval, and no other snapshot has it.
fn is_short_life(interval: &Interval, row: usize, record: &Record<'_>) -> bool {
    interval.is_exited(row)
        && interval.is_born(row)
        && interval.usage(row).is_some()
        && record.state().is_none_or(|state| state == state::DEAD)
}

/// The sums of some tasks.
struct Merged {
    bytes: Vec<u8>,
    filled: FieldSet,
    count: usize,
    user_ns: u64,
    system_ns: u64,
}

impl Merged {
    fn of(interval: &Interval, row: usize, record: &Record<'_>) -> Merged {
        let used = interval.usage(row).unwrap_or_default();
        Merged {
            bytes: record.bytes().to_vec(),
            filled: record.filled(),
            count: 1,
            user_ns: used.user_ns,
            system_ns: used.system_ns,
        }
    }

    fn add(&mut self, interval: &Interval, row: usize, record: &Record<'_>) {
        let used = interval.usage(row).unwrap_or_default();
        self.count += 1;
        self.user_ns = self.user_ns.saturating_add(used.user_ns);
        self.system_ns = self.system_ns.saturating_add(used.system_ns);
        let layout = record.layout();
        for &field in Field::ALL.iter().filter(|field| field.info().kind == Kind::Counter) {
            let before = Record::new(&self.bytes, layout, self.filled);
            let before = before.and_then(|before| before.unsigned(field));
            if let (Some(before), Some(more)) = (before, record.unsigned(field))
                && let Some(mut sum) = RecordMut::new(&mut self.bytes, layout)
            {
                sum.set(field, before.saturating_add(more));
            }
        }
    }

    /// The record of the sums.
    fn record(mut self, cur: &Snapshot<SharedBytes>) -> Vec<u8> {
        if self.count > 1
            && let Some(mut record) = RecordMut::new(&mut self.bytes, cur.layout())
        {
            let to_us = |ns: u64| ns.saturating_add(500) / 1000;
            record.set(Field::ac_utime, to_us(self.user_ns));
            record.set(Field::ac_stime, to_us(self.system_ns));
        }
        self.bytes
    }
}
