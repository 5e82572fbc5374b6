//! Taking a snapshot: the run, the rows of the dead and of hidden tasks, and the header.

use std::mem::offset_of;
use std::os::fd::AsFd;
use std::sync::Arc;

use precise_top_core::interval::LastValues;
use precise_top_core::{
    FieldSet, Flags, Header, Instant, Layout, Record, SharedBytes, Snapshot, SourceKind, mask_index,
};

use super::exits::{Exits, GONE};
use super::fields::{PEAKS, bits};
use super::pool::{Chosen, Rows};
use super::run::Way;
use super::{Bpf, LOOK_EVERY_NS, MARGIN_NS, locked};
use crate::errors::Error;
use crate::host;
use crate::source::Request;
use crate::sys::bpf;
use crate::sys::shared::Control;

/// What a snapshot is to be.
struct Plan {
    threads: bool,
    /// RUN_* of bpf/record.h.
    flags: u32,
    /// The last values, where the snapshot continues from them.
    last: Option<Arc<LastValues>>,
    /// Only what ran after this instant is written; 0 for all tasks.
    since: u64,
    /// Whether the next snapshot may continue from this one.
    is_kept: bool,
    offsets: Offsets,
}

/// By how much other clocks are ahead of CLOCK_MONOTONIC, in ns.
struct Offsets {
    real: u64,
    boot: u64,
}

impl Offsets {
    fn now() -> Offsets {
        let now = host::now();
        Offsets {
            real: now.realtime_ns.saturating_sub(now.monotonic_ns),
            boot: now.boottime_ns.saturating_sub(now.monotonic_ns),
        }
    }

    fn instant(&self, monotonic_ns: u64) -> Instant {
        Instant {
            monotonic_ns,
            boottime_ns: monotonic_ns + self.boot,
            realtime_ns: monotonic_ns + self.real,
        }
    }
}

impl Bpf {
    /// Takes a snapshot.
    pub(super) fn take_snapshot(
        &mut self,
        request: &Request,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        let mut header = self.begin_header(request);
        // Now and then all tasks are read, also the unchanged ones.
        let looks = host::now().monotonic_ns.saturating_sub(self.looked_ns) > LOOK_EVERY_NS;
        if looks {
            header.syscalls += self.look_for_hidden()?;
        }
        let plan = self.plan(request, looks || self.has_lost);
        let shared = Arc::clone(&self.exits);
        let mut exits = locked(&shared);
        let kept = plan.last.as_ref().filter(|_| plan.since != 0 && !plan.threads);
        let by_log = kept.is_some_and(|kept| self.log.is_for(&self.control, kept, exits.lost().0));
        let threads = usize::from(plan.threads);
        let (chosen, run) = self.run_with_room(threads, plan.flags, by_log, &mut header)?;
        self.fill_header(&mut header, &plan, &run);
        if request.cpu_times == Some(true) && !matches!(self.way, Way::OneCall(_)) {
            // The balance of an iterator is by these times. How long the snapshot takes bounds
            // their distance from the tasks' times.
            header.syscalls += self.host.read_cpu_times(&mut header);
            header.end = host::now();
        }
        let dead = self.collect_dead(&mut exits, &chosen, &run, &mut header);
        drop(exits);
        let count = self.append_hidden(&chosen, run.count as usize, &mut header)?;
        self.exited = dead.len();
        header.exited = dead.len() as u32;
        let dead_mask = if dead.is_empty() {
            0
        } else {
            let of_processes = if plan.threads { FieldSet::EMPTY } else { PEAKS };
            let filled = header.masks[0].difference(GONE).difference(of_processes);
            mask_index(&mut header.masks, filled)
        };
        let rows = Rows { count, dead: &dead, dead_mask };
        let (bytes, records, indices) = self.pool.lend(&chosen, rows);
        let snapshot = Snapshot::new(header, self.layout.clone(), bytes, records, indices)?;
        self.keep(snapshot, plan, request, &run)
    }

    /// The header with what is read before the run.
    fn begin_header(&mut self, request: &Request) -> Header {
        let mut header = Header::new(SourceKind::Bpf, FieldSet::EMPTY);
        self.host.identify(&mut header);
        header.task_id_space = Some(self.task_id_space);
        if request.system == Some(true) {
            header.syscalls += self.host.read_system(&mut header);
            self.delayacct = header.flags.contains(Flags::DELAYACCT);
        }
        header.syscalls += self.host.read_meters(&mut header, request);
        if request.cpu_times == Some(true) && matches!(self.way, Way::OneCall(_)) {
            header.syscalls += self.host.read_cpu_times(&mut header);
        }
        header
    }

    /// Sets up a run; `all` asks for all tasks.
    fn plan(&mut self, request: &Request, all: bool) -> Plan {
        let threads = request.threads;
        let offsets = Offsets::now();
        self.control.write(offset_of!(Control, real_offset_ns), offsets.real);
        let is_kept = request.changed && matches!(self.way, Way::OneCall(_));
        let tasks = self.wanted[usize::from(threads)];
        let last =
            self.changed.take().filter(|last| is_kept && last.is_for(threads, request.fields));
        let since = last
            .as_ref()
            .filter(|last| !all && last.is_whole(tasks))
            .map_or(0, |last| last.since_ns().saturating_sub(MARGIN_NS));
        self.control.write(offset_of!(Control, since), since);
        Plan { threads, flags: self.flags_of(request), last, since, is_kept, offsets }
    }

    /// Writes what the run left.
    fn fill_header(&mut self, header: &mut Header, plan: &Plan, run: &Control) {
        header.unchanged = run.unchanged as u32;
        header.begin = plan.offsets.instant(run.t0_ns);
        header.end = plan.offsets.instant(run.end_ns);
        header.sched_clock_ns = Some(run.sched_ns);
        header.outside_ns = run.outside_ns;
        header.own_cpu_ns = run.own_ns;
        header.hooks_ns = self.cpus().map(|(_, words)| words.hooks_ns).sum();
        let clocks = self.cpu_clocks(run);
        if header.cpus_online == 0 {
            header.cpus_online = clocks.len() as u32;
        }
        // Without idle times, which the iterator does not measure, they balance nothing. Nor
        // where nobody measured them since the snapshot before.
        if matches!(self.way, Way::OneCall(_)) && !self.was_forgotten {
            header.cpu_clocks = clocks;
        }
        let is_whole = run.torn == 0 && run.notes_lost == self.notes_lost;
        self.notes_lost = run.notes_lost;
        let exact = plan.flags & bits::EXACT != 0 && !self.lacking.queue && is_whole;
        header.flags = header
            .flags
            .with(Flags::THREADS, plan.threads)
            .with(Flags::DELAYACCT, self.delayacct)
            .with(Flags::TRUNCATED, run.wanted > run.count)
            .with(Flags::EXITS, self.watching && !self.was_forgotten)
            .with(Flags::ONE_INSTANT, exact)
            .with(Flags::HIDDEN_OUTSIDE, self.hides_outside)
            .with(Flags::WITHOUT_UNCHANGED, plan.since != 0);
        header.masks = vec![self.say_fields(header, plan.flags)];
    }

    /// Adds the use of the dead to the rows of their processes. Returns the records of those
    /// that have no row.
    fn collect_dead(
        &mut self,
        exits: &mut Exits,
        chosen: &Chosen,
        run: &Control,
        header: &mut Header,
    ) -> Vec<Vec<u8>> {
        if !self.watching {
            return Vec::new();
        }
        let length = run.count as usize * self.layout.record_size();
        let rows = &mut self.pool.bytes_mut(chosen)[..length];
        let collected = exits.collect(run, rows);
        header.outside_ns += collected.outside_ns;
        (header.exits_lost, header.overflow_ns) = exits.lost();
        header.syscalls += self.count_skipped_ends(run);
        header.exits_lost += self.skipped_ends;
        collected.records
    }

    /// Counts the runs that the kernel skipped of programs at the ends of tasks, and returns the
    /// number of system calls made. Where it skips the program at exits, the last switch claims
    /// the slot, or counts the loss. It skips none where no task exited.
    fn count_skipped_ends(&mut self, run: &Control) -> u32 {
        let exits = (run.head, run.exits_lost);
        if matches!(self.way, Way::OneCall(_)) && self.exits_counted == exits {
            return 0;
        }
        self.exits_counted = exits;
        let last = self.watchers.iter().map(|[switched, _]| switched).chain(&self.hidden_watchers);
        let skipped = last.map(|program| bpf::recursion_misses(program.as_fd()).unwrap_or(0));
        let calls;
        (self.skipped_ends, calls) =
            skipped.fold((0, 0), |(sum, calls), missed| (sum + missed, calls + 1));
        calls
    }

    /// Appends the records of hidden tasks to `count` others. Returns the number of all.
    fn append_hidden(
        &mut self,
        chosen: &Chosen,
        mut count: usize,
        header: &mut Header,
    ) -> Result<usize, Error> {
        let indices_at = self.pool.indices_at(chosen);
        let bytes = self.pool.bytes_mut(chosen);
        let (records, indices) = bytes.split_at_mut(indices_at);
        indices[..count].fill(0);
        if !header.threads() {
            hide_peaks(header, &self.layout, records, &mut indices[..count]);
        }
        let calls = self.hidden.append(header, &self.layout, records, indices, &mut count)?;
        header.syscalls += calls;
        Ok(count)
    }

    /// Keeps the values for the next snapshot, and adds those before to this one.
    fn keep(
        &mut self,
        mut snapshot: Snapshot<SharedBytes>,
        plan: Plan,
        request: &Request,
        run: &Control,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        let base = plan.last.as_ref().map(|last| last.values_before(&snapshot)).transpose()?;
        let lost = snapshot.header().exits_lost;
        self.has_lost = plan.last.as_ref().is_some_and(|last| last.exits_lost() != lost);
        self.changed = match plan.last {
            Some(mut last) if plan.since != 0 => {
                Arc::make_mut(&mut last).merge(&snapshot);
                if run.by_log != 0 {
                    self.wanted[usize::from(plan.threads)] = last.unchanged().totals().tasks;
                }
                // A walk also counts tasks that have no row: born just now, or dead since it met them.
                if self.watching {
                    snapshot = snapshot.with_unchanged(last.unchanged().task_count() as u32);
                }
                Some(last)
            }
            _ => plan
                .is_kept
                .then(|| Arc::new(LastValues::new(&snapshot, plan.threads, request.fields))),
        };
        self.log.took(&self.control, self.watching);
        if self.watching && plan.since != 0 && !plan.threads && run.by_log == 0 {
            self.log.walked();
        }
        Ok(match base {
            Some(base) => snapshot.with_base(Arc::new(base)),
            None => snapshot,
        })
    }
}

/// The peaks of a process are unknown where a thread of it has died.
fn hide_peaks(header: &mut Header, layout: &Layout, records: &[u8], indices: &mut [u8]) {
    let filled = header.masks[0];
    if filled.intersection(PEAKS).is_empty() {
        return;
    }
    let without = mask_index(&mut header.masks, filled.difference(PEAKS));
    for (record, index) in records.chunks_exact(layout.record_size()).zip(indices) {
        let record = Record::new(record, layout, FieldSet::ALL);
        if record.and_then(|record| record.tg_sum_exec_ns()).is_some_and(|dead| dead > 0) {
            *index = without;
        }
    }
}
