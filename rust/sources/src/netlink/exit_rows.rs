//! Rows of the tasks that died in an interval, for sources that list living tasks only.
//!
//! Design decisions
//!
//! * A worker reads exit events between snapshots, so that none is lost however long an
//!   interval is. It sleeps until one comes, and lets more gather before it reads.
//! * A task that is still listed (a zombie, or one that died during the listing) gets no
//!   exit row until it is not listed any more, so that no time is counted twice.
//! * The start of a task follows from its exit's age, less exactly the longer the event
//!   waited. A task that was listed before takes its start from there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precise_top_core::identity::is_same_exit;
use precise_top_core::{Field, FieldSet, Flags, Header, Layout, Record, RecordMut, state};

use super::exit_listener::{Event, Listener};
use super::fields::{ADDED, LEADER_ONLY, PROCESS_SUMS, TICKS, off_fields};
use crate::errors::Error;
use crate::last_read::{FORGOTTEN, LastRead};
use crate::source::MOST_EXITS;
use crate::sys::worker::{Worker, without_worker};

/// How long events gather after the first one, in ms. A CPU's socket holds several times
/// the exits of this time.
const GATHER_MS: i32 = 50;
/// ac_flag: the last thread of its process (AGROUP).
const LAST_THREAD: u8 = 0x20;

/// Exit events between two snapshots.
struct Gathered {
    listener: Listener,
    events: Vec<Event>,
    dropped: u64,
    last_read: LastRead,
    /// Whether nobody read the events for so long that the worker has stopped.
    is_forgotten: bool,
}

impl Gathered {
    fn new(listener: Listener) -> Gathered {
        Gathered {
            listener,
            events: Vec::new(),
            dropped: 0,
            last_read: LastRead::now(),
            is_forgotten: false,
        }
    }

    fn drain(&mut self) -> Result<(), Error> {
        self.listener.drain(&mut self.events)?;
        let over = self.events.len().saturating_sub(MOST_EXITS);
        self.events.truncate(MOST_EXITS);
        self.dropped += over as u64;
        Ok(())
    }

    /// What the worker does. Returns whether it goes on.
    fn gather(&mut self) -> bool {
        let drained = self.drain().is_ok();
        if self.last_read.is_long_ago(self.events.len()) {
            self.listener.close();
            self.events = Vec::new();
            self.is_forgotten = true;
        }
        drained && !self.is_forgotten
    }
}

/// A task of the last listing.
#[derive(Clone, Copy)]
struct Known {
    start_ns: u64,
    run_ns: u64,
}

/// A dead task's record in the source's layout.
pub(crate) struct ExitRow {
    pub(crate) bytes: Vec<u8>,
    pub(crate) filled: FieldSet,
}

/// Collects exits between snapshots and makes rows of them.
pub(crate) struct ExitRows {
    gathered: Arc<Mutex<Gathered>>,
    worker: Option<Worker>,
    /// What the exits lack, in words: why the worker could not be started, or that it had stopped.
    lack: String,
    kernel: Layout,
    /// The tasks of the last listing; None before the first.
    walk: Option<HashMap<u32, Known>>,
    threads: bool,
    /// Exits of tasks that are still listed.
    waiting: Vec<ExitRow>,
    /// Final records of leaders whose process lives on.
    leaders: HashMap<u32, Vec<u8>>,
}

fn locked(gathered: &Mutex<Gathered>) -> MutexGuard<'_, Gathered> {
    gathered.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens `exits`, if they are not open. Sources go on without them. `refusal` is then why, in
/// words; it is empty where this machine has no exit events, as outside the initial namespaces.
pub(crate) fn open_if_possible(exits: &mut Option<ExitRows>, refusal: &mut String) {
    if exits.is_some() {
        return;
    }
    refusal.clear();
    match ExitRows::open() {
        Ok(opened) => *exits = Some(opened),
        Err(error @ Error::Os { .. }) => {
            *refusal = format!("tasks that exit are not shown: {error}");
        }
        Err(_) => {}
    }
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
            gathered: Arc::new(Mutex::new(Gathered::new(listener))),
            worker: None,
            lack: String::new(),
            kernel,
            walk: None,
            threads: false,
            waiting: Vec::new(),
            leaders: HashMap::new(),
        })
    }

    /// Starts the worker, if it does not run. Where no thread can be started (a limit on
    /// them), events wait in the sockets for the next snapshot, and losses are counted.
    fn start_worker(&mut self) {
        if self.lack.starts_with(FORGOTTEN) {
            self.lack.clear();
        }
        if self.worker.is_none() {
            let shared = Arc::clone(&self.gathered);
            let gather = move || locked(&shared).gather();
            let readable = locked(&self.gathered);
            let started = Worker::start(readable.listener.fd(), GATHER_MS, gather);
            drop(readable);
            self.lack = started.as_ref().err().map_or_else(String::new, without_worker);
            self.worker = started.ok();
        }
    }

    /// What the exits lack, in words; empty if nothing.
    pub(crate) fn notice(&self) -> String {
        self.lack.clone()
    }

    /// Opens the listener again, which was closed because nobody had read it for long.
    fn listen_again(&mut self) -> Result<(), Error> {
        let listener = Listener::open()?;
        // It has ended, or does so now.
        self.worker = None;
        let mut gathered = locked(&self.gathered);
        let dropped = gathered.dropped;
        *gathered = Gathered { dropped, ..Gathered::new(listener) };
        (self.walk, self.leaders) = (None, HashMap::new());
        Ok(())
    }

    /// Returns the rows of the exits since the last call, without tasks that are still among
    /// `living`, the rows of this snapshot. Writes the number of lost exits to `header`.
    pub(crate) fn collect(
        &mut self,
        header: &mut Header,
        living: &[u8],
        layout: &Layout,
        threads: bool,
    ) -> Result<Vec<ExitRow>, Error> {
        let was_forgotten = locked(&self.gathered).is_forgotten;
        if was_forgotten && let Err(error) = self.listen_again() {
            self.lack = format!("{FORGOTTEN}; exits are not shown: {error}");
            return Ok(Vec::new());
        }
        self.start_worker();
        if was_forgotten {
            self.lack = FORGOTTEN.to_owned();
        }
        let events = {
            let mut gathered = locked(&self.gathered);
            gathered.drain()?;
            gathered.last_read.note();
            header.exits_lost = gathered.listener.lost() + gathered.dropped;
            std::mem::take(&mut gathered.events)
        };
        header.flags = header
            .flags
            .with(Flags::EXITS, !was_forgotten)
            .with(Flags::EVENTS_LOST, header.exits_lost > 0);
        let now: HashMap<u32, Known> = living
            .chunks_exact(layout.record_size())
            .filter_map(|row| known(&Record::new(row, layout, FieldSet::ALL)?))
            .collect();
        if threads != self.threads {
            self.walk = None;
            self.threads = threads;
        }
        let Some(before) = self.walk.take() else {
            // Tasks that died before the first snapshot are in no interval.
            self.waiting.clear();
            self.walk = Some(now);
            return Ok(Vec::new());
        };
        let off = off_fields(header.flags.contains(Flags::DELAYACCT));
        let mut dead = std::mem::take(&mut self.waiting);
        for row in &mut dead {
            catch_up(row, layout, &before);
        }
        for event in &events {
            let Some((bytes, filled)) = self.final_record(event) else { continue };
            let start_ns = start(&bytes, &self.kernel, event.read_ns);
            let mut row = ExitRow { bytes: vec![0; layout.record_size()], filled: FieldSet::EMPTY };
            let wanted = filled.difference(off);
            row.filled = copy_fields(&bytes, &self.kernel, &mut row.bytes, layout, wanted);
            row.filled = row.filled.union(add_fields(&mut row.bytes, layout, start_ns, header));
            // The last listing's row of a zombie may have a longer run time than its exit.
            catch_up(&mut row, layout, &before);
            dead.push(row);
        }
        let (waiting, dead) = dead.into_iter().partition(|row| same(row, layout, &now).is_some());
        self.waiting = waiting;
        self.walk = Some(now);
        Ok(dead)
    }

    /// The final record of the task that an event ends, and its fields: the thread, or the
    /// process with its last thread. None where the process lives on.
    fn final_record(&mut self, event: &Event) -> Option<(Vec<u8>, FieldSet)> {
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
        copy_fields(sums, &self.kernel, &mut process, &self.kernel, taken);
        let mut view = RecordMut::new(&mut process, &self.kernel)?;
        view.set(Field::ac_pid, u64::from(tgid));
        view.set(Field::ac_etime, age_us);
        Some((process, fields.difference(LEADER_ONLY)))
    }
}

#[cfg(test)]
impl ExitRows {
    /// Gives up sooner, when so many exits wait.
    pub(crate) fn hurry(&self, many: usize) {
        locked(&self.gathered).last_read.hurry(many);
    }

    /// Whether nobody read the exits for so long that the listener was closed.
    pub(crate) fn is_forgotten(&self) -> bool {
        locked(&self.gathered).is_forgotten
    }
}

fn known(record: &Record<'_>) -> Option<(u32, Known)> {
    let run_ns = record.cpu_run_virtual_total().unwrap_or(0);
    Some((record.ac_pid()?, Known { start_ns: record.ac_start_ns()?, run_ns }))
}

/// The start of a dead task, late by the time that its event waited.
fn start(record: &[u8], layout: &Layout, read_ns: u64) -> u64 {
    let age_us = Record::new(record, layout, FieldSet::ALL).and_then(|record| record.ac_etime());
    read_ns.saturating_sub(age_us.unwrap_or(0).saturating_mul(1000))
}

/// Copies the fields that both layouts have, and returns them.
fn copy_fields(
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

/// Sets the fields that every row has besides the kernel's, and returns them.
fn add_fields(bytes: &mut [u8], layout: &Layout, start_ns: u64, header: &Header) -> FieldSet {
    let Some(mut record) = RecordMut::new(bytes, layout) else { return FieldSet::EMPTY };
    let run_ns = record.as_record(FieldSet::ALL).cpu_run_virtual_total().unwrap_or(0);
    record.set(Field::version, u64::from(layout.version()));
    record.set(Field::ac_time_ns, header.begin.monotonic_ns);
    record.set(Field::ac_start_ns, start_ns);
    record.set(Field::ac_sum_exec_ns, run_ns);
    record.set(Field::state, u64::from(state::DEAD));
    ADDED.with(Field::version).with(Field::ac_sum_exec_ns).with(Field::state)
}

/// The same task in a listing.
fn same(row: &ExitRow, layout: &Layout, walk: &HashMap<u32, Known>) -> Option<Known> {
    let record = Record::new(&row.bytes, layout, FieldSet::ALL)?;
    let found = walk.get(&record.ac_pid()?)?;
    is_same_exit(record.ac_start_ns()?, found.start_ns).then_some(*found)
}

/// Takes over the start that a listing knows, and its run time where that is more.
fn catch_up(row: &mut ExitRow, layout: &Layout, walk: &HashMap<u32, Known>) {
    let Some(found) = same(row, layout, walk) else { return };
    let Some(mut record) = RecordMut::new(&mut row.bytes, layout) else { return };
    record.set(Field::ac_start_ns, found.start_ns);
    let run_ns = record.as_record(FieldSet::ALL).cpu_run_virtual_total().unwrap_or(0);
    for field in [Field::cpu_run_virtual_total, Field::ac_sum_exec_ns] {
        record.set(field, run_ns.max(found.run_ns));
    }
}

#[cfg(test)]
mod tests {
    use precise_top_core::{SharedBytes, Snapshot};

    use super::super::Netlink;
    use super::*;
    use crate::source::{Request, Source};

    fn take(source: &mut Netlink) -> Snapshot<SharedBytes> {
        let request = Request { exact: true, ..Request::default() };
        source.snapshot(&request).expect("a snapshot")
    }

    #[test]
    fn exits_that_nobody_reads_are_given_up_and_the_next_snapshot_says_so() {
        let Ok(mut source) = Netlink::open() else {
            assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here");
            return;
        };
        take(&mut source);
        let Some(exits) = source.exits() else { return };
        exits.hurry(5);
        while !exits.is_forgotten() {
            std::process::Command::new("true").status().expect("a child");
        }
        let next = take(&mut source);
        assert!(!next.header().flags.contains(Flags::EXITS));
        assert_eq!(source.notice(), FORGOTTEN);
        let mut child = std::process::Command::new("true").spawn().expect("a child");
        child.wait().expect("its end");
        let last = take(&mut source);
        assert!(last.header().flags.contains(Flags::EXITS));
        assert!(last.find_pid(child.id()).is_some_and(|row| last.is_exited(row)));
        assert_eq!(source.notice(), "");
    }
}
