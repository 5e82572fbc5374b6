//! The tasks of the last snapshot of a dump as its reader has them, and deltas of snapshots of
//! only the tasks that ran since.
//!
//! Design decisions
//!
//! * A delta costs the tasks that ran or died. Tasks keep their rows; the last row moves to the
//!   place of one that died.
//! * Living tasks differ in their pids. A row is written over where its pid has a new task.
//! * Records that are not written again have values of the time when their task ran last, or
//!   when all tasks were read ([`Header::all_read_ns`]).

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use indexmap::IndexMap;

use super::differ::Settle;
use super::encode::{Encoder, NewSets, Ops, put_header};
use super::{Advance, Whole, op};
use crate::codec;
use crate::dump::field_table::FieldTable;
use crate::dump::{put_varint, zigzag};
use crate::error::{ErrorKind, ParseError};
use crate::field_set::{FieldSet, mask_index};
use crate::header::{Flags, Header};
use crate::identity::{HashTask, TaskKey};
use crate::layout::Layout;
use crate::record::Record;
use crate::snapshot::Snapshot;

/// The living tasks of a dump's last snapshot, in the order of its rows.
pub(in crate::dump) struct Tasks {
    /// The header of its byte form.
    form: Vec<u8>,
    layout: Layout,
    clock_ns: u64,
    /// When all tasks were read last, in ns of CLOCK_MONOTONIC.
    all_read_ns: u64,
    rows: IndexMap<u64, Row, HashTask>,
    /// The tasks' records, in the order of `rows`.
    records: Vec<u8>,
    masks: Vec<FieldSet>,
    /// Tasks that are dead and not reaped: each snapshot has them until they are.
    zombies: HashSet<u64>,
    /// Rows without a task, which the next snapshot lacks.
    going: Vec<u64>,
    /// The number of snapshots so far.
    serial: u32,
}

#[derive(Clone, Copy)]
struct Row {
    key: TaskKey,
    /// The time that the record is of, in ns of CLOCK_MONOTONIC.
    clock_ns: u64,
    mask: u8,
    /// The last snapshot that had a record of the task.
    serial: u32,
}

/// Where rows come from that are not where they were.
#[derive(Default)]
struct Moves(HashMap<usize, usize>);

impl Moves {
    fn origin(&self, row: usize) -> usize {
        self.0.get(&row).copied().unwrap_or(row)
    }
}

/// A row of the snapshot before, as it was there.
struct Old {
    row: usize,
    record: Vec<u8>,
    mask: u8,
}

/// A record to be written.
struct Written {
    row: usize,
    operation: u64,
    set: u64,
    /// Where its values are.
    values: Range<usize>,
}

/// What encodes a delta.
struct Context<'a> {
    table: &'a FieldTable,
    encoder: &'a mut Encoder,
    new_sets: NewSets,
    /// The values of the rows so far.
    values: Vec<u8>,
    /// What a new row is compared with.
    zeros: Vec<u8>,
    swapped: bool,
}

impl<'a> Context<'a> {
    fn new(table: &'a FieldTable, encoder: &'a mut Encoder, swapped: bool) -> Context<'a> {
        let zeros = vec![0; table.record_size];
        let new_sets = NewSets::default();
        Context { table, encoder, new_sets, values: Vec::new(), zeros, swapped }
    }

    /// The operation that writes `record` over `base`, at a row; None where they are the same.
    fn written(
        &mut self,
        row: usize,
        base: Option<&[u8]>,
        record: &[u8],
        new_mask: Option<u8>,
    ) -> Option<Written> {
        let operation = if base.is_some() { op::CHANGE } else { op::NEW };
        let compared = base.unwrap_or(&self.zeros);
        let (table, swapped, begin) = (self.table, self.swapped, self.values.len());
        let values = &mut self.values;
        let differs =
            self.encoder.differ(table).compare(table, compared, record, swapped, new_mask, values);
        if base.is_some() && !differs {
            return None;
        }
        let set = self.encoder.number(&mut self.new_sets);
        Some(Written { row, operation, set, values: begin..self.values.len() })
    }

    fn values(&self, written: &Written) -> &[u8] {
        &self.values[written.values.clone()]
    }
}

fn pid_of(record: &Record<'_>) -> Result<u64, ParseError> {
    record.ac_pid().map(u64::from).ok_or(ParseError::new(ErrorKind::BadValue, 0))
}

fn is_zombie(record: &Record<'_>) -> bool {
    record.state().is_some_and(|state| state >> 16 != 0)
}

impl Tasks {
    /// The tasks of a whole snapshot.
    pub(in crate::dump) fn of<B: AsRef<[u8]>>(whole: &Whole<B>) -> Result<Tasks, ParseError> {
        let snapshot = codec::decode(whole.bytes.as_ref())?;
        let living = snapshot.living();
        let mut tasks = Tasks {
            form: whole.header().to_vec(),
            layout: whole.layout.clone(),
            clock_ns: whole.clock_ns,
            all_read_ns: snapshot.header().all_read_ns.unwrap_or(whole.clock_ns),
            rows: IndexMap::with_capacity_and_hasher(living, HashTask::default()),
            records: whole.records()[..living * whole.layout.record_size()].to_vec(),
            masks: snapshot.header().masks.clone(),
            zombies: HashSet::new(),
            going: Vec::new(),
            serial: 0,
        };
        for (row, record) in snapshot.iter().take(living).enumerate() {
            let mut pid = pid_of(&record)?;
            if tasks.rows.contains_key(&pid) {
                // It has a row in the file, and no task of its own.
                pid |= (row as u64 + 1) << 32;
                tasks.going.push(pid);
            }
            let mask = whole.mask_index(row);
            let row = Row { key: TaskKey::of(&record), clock_ns: whole.clock_ns, mask, serial: 0 };
            tasks.rows.insert(pid, row);
            if is_zombie(&record) {
                tasks.zombies.insert(pid);
            }
        }
        Ok(tasks)
    }

    /// The time of the snapshot, in ns of CLOCK_MONOTONIC.
    pub(in crate::dump) fn clock_ns(&self) -> u64 {
        self.clock_ns
    }

    pub(in crate::dump) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The living tasks of the snapshot, as what the delta of a whole snapshot is made from.
    pub(in crate::dump) fn to_whole(&self, table: &FieldTable) -> Whole<Vec<u8>> {
        let mut bytes = self.form.clone();
        self.put_records(table, &mut bytes);
        let records = self.form.len()..bytes.len();
        bytes.extend(self.rows.values().map(|row| row.mask));
        Whole::of_living(bytes, records, self.layout.clone(), self.clock_ns)
    }

    /// Appends all records, as they are at the snapshot's time.
    fn put_records(&self, table: &FieldTable, out: &mut Vec<u8>) {
        let (begin, size) = (out.len(), self.layout.record_size());
        out.extend_from_slice(&self.records);
        let advance = Advance::new(table, self.layout.is_swapped());
        for (record, row) in out[begin..].chunks_exact_mut(size).zip(self.rows.values()) {
            advance.row(record, row.clock_ns, self.clock_ns);
        }
    }

    /// Merges a snapshot of the tasks that ran since, and returns the whole one.
    pub(in crate::dump) fn complete<B: AsRef<[u8]>>(
        &mut self,
        partial: &Snapshot<B>,
    ) -> Result<Snapshot<Vec<u8>>, ParseError> {
        let table = FieldTable::of_layout(&self.layout);
        self.encode(&mut Encoder::default(), &table, partial, 0)?;
        let mut bytes = Vec::new();
        self.put_records(&table, &mut bytes);
        let mut masks: Vec<u8> = self.rows.values().map(|row| row.mask).collect();
        for row in partial.living()..partial.len() {
            let Some(record) = partial.get(row) else { continue };
            bytes.extend_from_slice(record.bytes());
            masks.push(mask_index(&mut self.masks, record.filled()));
        }
        let records = 0..bytes.len();
        bytes.append(&mut masks);
        let (header, indices) = (self.header(partial), records.end..bytes.len());
        let whole = Snapshot::new(header, self.layout.clone(), bytes, records, indices)?;
        Ok(match partial.names() {
            Some(names) => whole.with_names(names.clone()),
            None => whole,
        })
    }

    /// The header of the whole snapshot.
    fn header<B: AsRef<[u8]>>(&self, partial: &Snapshot<B>) -> Header {
        let header = partial.header();
        Header {
            flags: header.flags.with(Flags::WITHOUT_UNCHANGED, false),
            unchanged: 0,
            masks: self.masks.clone(),
            all_read_ns: Some(self.all_read_ns),
            ..header.clone()
        }
    }

    /// Merges a snapshot of the tasks that ran since. Returns the payload of its delta, and the
    /// number of rows.
    pub(in crate::dump) fn encode<B: AsRef<[u8]>>(
        &mut self,
        encoder: &mut Encoder,
        table: &FieldTable,
        partial: &Snapshot<B>,
        tolerance_ns: u64,
    ) -> Result<(Vec<u8>, usize), ParseError> {
        let before_ns = self.clock_ns;
        self.serial = self.serial.wrapping_add(1);
        let mut moves = Moves::default();
        let dead = self.remove_gone(table, partial, &mut moves)?;
        let survivors = self.rows.len();
        self.clock_ns = partial.header().begin.monotonic_ns;
        let mut context = Context::new(table, encoder, self.layout.is_swapped());
        let written = self.write_living(&mut context, partial, tolerance_ns)?;
        let mut ops = Ops::default();
        put_living(&mut ops, &context, written, &moves, survivors);
        self.put_dead(&mut ops, &mut context, partial, &dead);

        let rows = self.rows.len() + dead.len();
        let form = codec::encode_head(&self.header(partial), &self.layout, rows);
        let mut out = Vec::new();
        put_varint(&mut out, zigzag(self.clock_ns.wrapping_sub(before_ns)));
        put_header(&mut out, &self.form, &form, codec::is_swapped(&form));
        self.form = form;
        put_varint(&mut out, context.new_sets.count);
        out.append(&mut context.new_sets.bytes);
        out.append(&mut ops.finish());
        Ok((out, rows))
    }

    /// Removes the tasks that died or were reaped. Returns, for each record of a dead task, what
    /// it was before.
    fn remove_gone<B: AsRef<[u8]>>(
        &mut self,
        table: &FieldTable,
        partial: &Snapshot<B>,
        moves: &mut Moves,
    ) -> Result<Vec<Option<Old>>, ParseError> {
        let mut reaped = self.zombies.clone();
        let mut living = HashMap::with_capacity(partial.living());
        for record in partial.iter().take(partial.living()) {
            let pid = pid_of(&record)?;
            reaped.remove(&pid);
            living.insert(pid, TaskKey::of(&record));
        }
        let going = std::mem::take(&mut self.going);
        let mut dead = Vec::with_capacity(partial.len() - partial.living());
        for record in (partial.living()..partial.len()).filter_map(|row| partial.get(row)) {
            let (pid, key) = (pid_of(&record)?, TaskKey::of(&record));
            let is_its = self.rows.get(&pid).is_some_and(|row| row.key == key);
            dead.push(if is_its { self.remove(table, pid, moves) } else { None });
            if living.get(&pid) == Some(&key) {
                // The source met it before it died.
                self.going.push(pid);
            }
        }
        for pid in going.iter().chain(&reaped) {
            // The pid may have a new task.
            if !living.contains_key(pid) {
                self.remove(table, *pid, moves);
            }
        }
        Ok(dead)
    }

    /// Removes a row; the last one takes its place.
    fn remove(&mut self, table: &FieldTable, pid: u64, moves: &mut Moves) -> Option<Old> {
        self.zombies.remove(&pid);
        let (row, _, &Row { clock_ns, mask, .. }) = self.rows.get_full(&pid)?;
        let size = self.layout.record_size();
        let mut record = self.records[row * size..][..size].to_vec();
        let advance = Advance::new(table, self.layout.is_swapped());
        advance.row(&mut record, clock_ns, self.clock_ns);
        let old = Old { row: moves.origin(row), record, mask };
        self.rows.swap_remove_index(row);
        let last = self.rows.len();
        self.records.copy_within(last * size.., row * size);
        self.records.truncate(last * size);
        let from = moves.origin(last);
        moves.0.remove(&last);
        if row != last {
            moves.0.insert(row, from);
        }
        Some(old)
    }

    /// Takes the records of living tasks. Returns those that differ from what is expected.
    fn write_living<B: AsRef<[u8]>>(
        &mut self,
        context: &mut Context<'_>,
        partial: &Snapshot<B>,
        tolerance_ns: u64,
    ) -> Result<Vec<Written>, ParseError> {
        let (size, swapped) = (self.layout.record_size(), self.layout.is_swapped());
        let advance = Advance::new(context.table, swapped);
        let settle = Settle::new(context.table, swapped, tolerance_ns);
        let mut written = Vec::with_capacity(partial.living());
        let (mut base, mut new) = (vec![0; size], vec![0; size]);
        for record in partial.iter().take(partial.living()) {
            let pid = pid_of(&record)?;
            let mask = mask_index(&mut self.masks, record.filled());
            if is_zombie(&record) {
                self.zombies.insert(pid);
            } else {
                self.zombies.remove(&pid);
            }
            new.copy_from_slice(record.bytes());
            let (clock_ns, serial) = (self.clock_ns, self.serial);
            let next = Row { key: TaskKey::of(&record), clock_ns, mask, serial };
            let Some((row, _, known)) = self.rows.get_full_mut(&pid) else {
                let new_mask = (mask != 0).then_some(mask);
                let row = self.rows.len();
                written.extend(context.written(row, None, &new, new_mask));
                self.rows.insert(pid, next);
                self.records.extend_from_slice(&new);
                continue;
            };
            if known.serial == serial {
                // A second record of a pid that two tasks had.
                continue;
            }
            let place = row * size..(row + 1) * size;
            base.copy_from_slice(&self.records[place.clone()]);
            advance.row(&mut base, known.clock_ns, clock_ns);
            settle.row(&base, &mut new);
            let new_mask = (mask != known.mask).then_some(mask);
            let Some(change) = context.written(row, Some(&base), &new, new_mask) else {
                known.serial = serial;
                continue;
            };
            *known = next;
            written.push(change);
            self.records[place].copy_from_slice(&new);
        }
        Ok(written)
    }

    /// Writes the records of the dead, to which no rules apply.
    fn put_dead<B: AsRef<[u8]>>(
        &mut self,
        ops: &mut Ops,
        context: &mut Context<'_>,
        partial: &Snapshot<B>,
        dead: &[Option<Old>],
    ) {
        let rows = (partial.living()..partial.len()).zip(dead);
        for (row, old) in rows {
            let Some(record) = partial.get(row) else { continue };
            let mask = mask_index(&mut self.masks, record.filled());
            let before = old.as_ref().map_or(0, |old| old.mask);
            let new_mask = (mask != before).then_some(mask);
            let base = old.as_ref().map(|old| old.record.as_slice());
            if let Some(old) = old {
                ops.seek(old.row);
            }
            match context.written(row, base, record.bytes(), new_mask) {
                Some(written) => ops.row(written.operation, written.set, context.values(&written)),
                None => ops.keep(1),
            }
        }
    }
}

/// Writes the rows of living tasks: the first `survivors` are of the snapshot before.
fn put_living(
    ops: &mut Ops,
    context: &Context<'_>,
    mut written: Vec<Written>,
    moves: &Moves,
    survivors: usize,
) {
    written.sort_unstable_by_key(|written| written.row);
    let mut moved: Vec<usize> = moves.0.keys().copied().collect();
    moved.sort_unstable();
    let mut moved = moved.into_iter().peekable();
    let mut at = 0;
    let mut keep_until = |ops: &mut Ops, at: &mut usize, end: usize| {
        while *at < end {
            let next = moved
                .next_if(|&row| row == *at)
                .map_or_else(|| moved.peek().copied().unwrap_or(end).min(end), |row| row + 1);
            ops.seek(moves.origin(*at));
            ops.keep((next - *at) as u64);
            *at = next;
        }
        moved.next_if(|&row| row == end);
    };
    for change in written {
        let row = change.row;
        keep_until(ops, &mut at, row.min(survivors));
        if change.operation == op::CHANGE {
            ops.seek(moves.origin(row));
            at = row + 1;
        }
        ops.row(change.operation, change.set, context.values(&change));
    }
    keep_until(ops, &mut at, survivors);
}
