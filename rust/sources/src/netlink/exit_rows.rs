//! The dead of an interval, for sources whose walk sees the living only.
//!
//! Design decisions
//!
//! * A thread takes exit events while nobody asks for a snapshot, so that none is lost
//!   however long an interval is; it sleeps until one comes, and then gathers a while.
//! * A task that is in the walk (a zombie, or one that died during the walk) is no row
//!   of its own until the walk no longer meets it, so that no time is counted twice.
//! * An exit tells its start to within the time it waited to be read. A task that the
//!   walk before knew gets its start from there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precise_top_core::identity::is_same_exit;
use precise_top_core::{Field, FieldSet, Flags, Header, Layout, Record, RecordMut, state};

use super::exit_listener::{Event, Listener};
use super::fields::{ADDED, LEADER_ONLY, PROCESS_SUMS, TICKS, off_fields};
use crate::errors::Error;
use crate::source::MOST_EXITS;
use crate::sys::thread::ForkGuard;
use crate::sys::worker::Worker;

/// How long events gather after the first one, in ms. A CPU's socket holds several times
/// what dies in this time.
const GATHER_MS: i32 = 50;
/// ac_flag: the last thread of its process (AGROUP).
const LAST_THREAD: u8 = 0x20;

struct Gathered {
    listener: Listener,
    events: Vec<Event>,
    dropped: u64,
}

impl Gathered {
    fn drain(&mut self) -> Result<(), Error> {
        self.listener.drain(&mut self.events)?;
        let over = self.events.len().saturating_sub(MOST_EXITS);
        self.events.truncate(MOST_EXITS);
        self.dropped += over as u64;
        Ok(())
    }
}

/// A task of the last walk.
#[derive(Clone, Copy)]
struct Known {
    start_ns: u64,
    run_ns: u64,
}

/// A dead task's record in the source's layout.
pub(crate) struct Row {
    pub(crate) bytes: Vec<u8>,
    pub(crate) filled: FieldSet,
}

/// Collects exits between snapshots.
pub(crate) struct ExitRows {
    gathered: Arc<Mutex<Gathered>>,
    beside: Option<Worker>,
    home: ForkGuard,
    kernel: Layout,
    /// The tasks of the last walk; None before the first.
    walk: Option<HashMap<u32, Known>>,
    threads: bool,
    /// Exits of tasks that the walk still meets.
    waiting: Vec<Row>,
    /// Last records of leaders whose process lives on.
    leaders: HashMap<u32, Vec<u8>>,
}

fn locked(gathered: &Mutex<Gathered>) -> MutexGuard<'_, Gathered> {
    gathered.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ExitRows {
    pub(crate) fn open() -> Result<ExitRows, Error> {
        let listener = Listener::open()?;
        let kernel = listener.layout().clone();
        if kernel.offset(Field::ac_tgid).is_none() {
            return Err(Error::Unsupported {
                reason: "this kernel's exit events do not name the process".into(),
                hint: "they do from Linux 5.19 on".into(),
            });
        }
        Ok(ExitRows {
            gathered: Arc::new(Mutex::new(Gathered { listener, events: Vec::new(), dropped: 0 })),
            beside: None,
            home: ForkGuard::new(),
            kernel,
            walk: None,
            threads: false,
            waiting: Vec::new(),
            leaders: HashMap::new(),
        })
    }

    /// Takes exits beside the caller from now on.
    fn begin(&mut self) -> Result<(), Error> {
        if self.beside.is_none() {
            let shared = Arc::clone(&self.gathered);
            let drain = move || locked(&shared).drain().is_ok();
            let readable = locked(&self.gathered);
            self.beside = Some(Worker::start(readable.listener.fd(), GATHER_MS, drain)?);
        }
        Ok(())
    }

    /// The exits since the snapshot before, less those that `walk`, the rows of this
    /// one, still meets. Says in `header` what was lost.
    pub(crate) fn collect(
        &mut self,
        header: &mut Header,
        walk: &[u8],
        layout: &Layout,
        threads: bool,
    ) -> Result<Vec<Row>, Error> {
        if !self.home.is_here() {
            return Err(Error::forked("source"));
        }
        self.begin()?;
        let events = {
            let mut gathered = locked(&self.gathered);
            gathered.drain()?;
            header.exits_lost = gathered.listener.lost() + gathered.dropped;
            std::mem::take(&mut gathered.events)
        };
        header.flags =
            header.flags.with(Flags::EXITS, true).with(Flags::EVENTS_LOST, header.exits_lost > 0);
        let now: HashMap<u32, Known> = walk
            .chunks_exact(layout.record_size())
            .filter_map(|row| known(&Record::new(row, layout, FieldSet::ALL)?))
            .collect();
        if threads != self.threads {
            self.walk = None;
            self.threads = threads;
        }
        let Some(before) = self.walk.take() else {
            // What died before the first snapshot is no part of any interval.
            self.waiting.clear();
            self.walk = Some(now);
            return Ok(Vec::new());
        };
        let off = off_fields();
        let mut dead = std::mem::take(&mut self.waiting);
        for row in &mut dead {
            catch_up(row, layout, &before);
        }
        for event in &events {
            let Some((bytes, filled)) = self.whole(event) else { continue };
            let start_ns = start(&bytes, &self.kernel, event.read_ns);
            let mut row = Row { bytes: vec![0; layout.record_size()], filled: FieldSet::EMPTY };
            let wanted = filled.difference(off);
            row.filled = transfer(&bytes, &self.kernel, &mut row.bytes, layout, wanted);
            row.filled = row.filled.union(finish(&mut row.bytes, layout, start_ns, header));
            // A zombie's row of the walk before may know more than its exit.
            catch_up(&mut row, layout, &before);
            dead.push(row);
        }
        let (waiting, dead) = dead.into_iter().partition(|row| same(row, layout, &now).is_some());
        self.waiting = waiting;
        self.walk = Some(now);
        Ok(dead)
    }

    /// The record of what died: the thread, or the process with its last thread. None
    /// where the process lives on.
    fn whole(&mut self, event: &Event) -> Option<(Vec<u8>, FieldSet)> {
        let fields = self.kernel.fields();
        if self.threads {
            return Some((event.record.clone(), fields));
        }
        let record = Record::new(&event.record, &self.kernel, FieldSet::ALL)?;
        let (pid, tgid) = (record.ac_pid()?, record.ac_tgid()?);
        if record.ac_flag()? & LAST_THREAD == 0 {
            if pid == tgid {
                self.leaders.insert(tgid, event.record.clone());
            }
            return None;
        }
        let leader = self.leaders.remove(&tgid);
        let Some(sums) = &event.process else {
            return Some((event.record.clone(), fields));
        };
        let mut process = leader.unwrap_or_else(|| event.record.clone());
        let age_us = record.ac_tgetime().unwrap_or(0);
        let taken = PROCESS_SUMS.union(TICKS);
        transfer(sums, &self.kernel, &mut process, &self.kernel, taken);
        let mut view = RecordMut::new(&mut process, &self.kernel)?;
        view.set(Field::ac_pid, u64::from(tgid));
        view.set(Field::ac_etime, age_us);
        Some((process, fields.difference(LEADER_ONLY)))
    }
}

fn known(record: &Record<'_>) -> Option<(u32, Known)> {
    let run_ns = record.cpu_run_virtual_total().unwrap_or(0);
    Some((record.ac_pid()?, Known { start_ns: record.ac_start_ns()?, run_ns }))
}

/// The start of a dead task, at most as late as its exit was read.
fn start(record: &[u8], layout: &Layout, read_ns: u64) -> u64 {
    let age_us = Record::new(record, layout, FieldSet::ALL).and_then(|record| record.ac_etime());
    read_ns.saturating_sub(age_us.unwrap_or(0).saturating_mul(1000))
}

/// Copies those of `fields` that both layouts have, and gives them.
fn transfer(
    from: &[u8],
    from_layout: &Layout,
    to: &mut [u8],
    layout: &Layout,
    fields: FieldSet,
) -> FieldSet {
    let fields = fields
        .intersection(from_layout.fields())
        .intersection(layout.fields())
        .without(Field::version);
    let (Some(from), Some(mut to)) =
        (Record::new(from, from_layout, fields), RecordMut::new(to, layout))
    else {
        return FieldSet::EMPTY;
    };
    for field in fields.iter() {
        match from.value(field) {
            Some(precise_top_core::Value::Int(number)) => to.set(field, number as u64),
            Some(precise_top_core::Value::Text(text)) => to.set_text(field, text),
            None => {}
        }
    }
    fields
}

/// What every row has beside the kernel's record; gives these fields.
fn finish(bytes: &mut [u8], layout: &Layout, start_ns: u64, header: &Header) -> FieldSet {
    let Some(mut record) = RecordMut::new(bytes, layout) else { return FieldSet::EMPTY };
    let run_ns = record.as_record(FieldSet::ALL).cpu_run_virtual_total().unwrap_or(0);
    record.set(Field::version, u64::from(layout.version()));
    record.set(Field::ac_time_ns, header.begin.monotonic_ns);
    record.set(Field::ac_start_ns, start_ns);
    record.set(Field::ac_sum_exec_ns, run_ns);
    record.set(Field::state, u64::from(state::DEAD));
    ADDED.with(Field::version).with(Field::ac_sum_exec_ns).with(Field::state)
}

/// The same task in a walk.
fn same(row: &Row, layout: &Layout, walk: &HashMap<u32, Known>) -> Option<Known> {
    let record = Record::new(&row.bytes, layout, FieldSet::ALL)?;
    let found = walk.get(&record.ac_pid()?)?;
    is_same_exit(record.ac_start_ns()?, found.start_ns).then_some(*found)
}

/// Gives the row the start that the walk knows, and its run time where that is more.
fn catch_up(row: &mut Row, layout: &Layout, walk: &HashMap<u32, Known>) {
    let Some(found) = same(row, layout, walk) else { return };
    let Some(mut record) = RecordMut::new(&mut row.bytes, layout) else { return };
    record.set(Field::ac_start_ns, found.start_ns);
    let run_ns = record.as_record(FieldSet::ALL).cpu_run_virtual_total().unwrap_or(0);
    for field in [Field::cpu_run_virtual_total, Field::ac_sum_exec_ns] {
        record.set(field, run_ns.max(found.run_ns));
    }
}
