//! Processes that the kernel does not show to BPF, though /proc lists them.
//!
//! Design decisions
//!
//! * Reading their CPU clock is exact, needs no privilege and costs one call a snapshot.
//!   Other values of /proc are read once a minute and kept.
//! * Counters that would stand still in between are left out, not shown as unchanged.

use std::collections::HashSet;
use std::fs;

use precise_top_core::{
    Field, FieldGroup, FieldSet, Header, Layout, Record, RecordMut, mask_index,
};

use crate::errors::Error;
use crate::host::Host;
use crate::procfs::reader::Reader;
use crate::sys;

/// Fields that stay valid between two readings, and the ticks that split the CPU time.
const KEPT: FieldSet = FieldSet::of(&[
    Field::ac_sum_exec_ns,
    Field::cpu_run_virtual_total,
    Field::ac_utime,
    Field::ac_stime,
    Field::rss_kb,
    Field::vm_kb,
    Field::hiwater_rss,
    Field::hiwater_vm,
]);

/// One hidden process.
struct Process {
    pid: u32,
    record: Vec<u8>,
    filled: FieldSet,
    /// CPU time just before the run; None when the process is gone.
    used_ns: Option<u64>,
}

/// All hidden processes.
pub(crate) struct Hidden {
    reader: Reader,
    processes: Vec<Process>,
    /// When the clocks were read, CLOCK_MONOTONIC.
    read_ns: u64,
    /// Records of the last snapshot: threads count.
    rows: usize,
}

/// A clock that was read so long before the run's instant is too old: the caller was
/// preempted in between.
const EARLY_NS: u64 = 20_000;

impl Hidden {
    pub(crate) fn new(host: &Host) -> Result<Hidden, Error> {
        Ok(Hidden { reader: Reader::new(host)?, processes: Vec::new(), read_ns: 0, rows: 0 })
    }

    /// Records that are appended to a snapshot.
    pub(crate) fn len(&self) -> usize {
        self.rows.max(self.processes.len())
    }

    /// The processes by id and name.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.processes.iter().map(|process| {
            let path = format!("/proc/{}/comm", process.pid);
            let name = fs::read_to_string(path).unwrap_or_default();
            format!("process {} ({})", process.pid, name.trim())
        })
    }

    /// The processes that /proc lists.
    pub(crate) fn listed(&self) -> Result<Vec<u32>, Error> {
        self.reader.pids()
    }

    /// Finds the processes that /proc lists before and after a run that did not visit them.
    pub(crate) fn look(
        &mut self,
        layout: &Layout,
        before: &[u32],
        shown: &HashSet<u32>,
    ) -> Result<(), Error> {
        let after: HashSet<u32> = self.listed()?.into_iter().collect();
        let pids: Vec<u32> = before
            .iter()
            .copied()
            .filter(|pid| !shown.contains(pid) && after.contains(pid))
            .collect();
        self.processes.clear();
        let realtime_ns = sys::clock_ns(libc::CLOCK_REALTIME).unwrap_or(0);
        let boottime_ns = sys::clock_ns(libc::CLOCK_BOOTTIME).unwrap_or(0);
        self.reader.epoch_ns = realtime_ns.saturating_sub(boottime_ns);
        for pid in pids {
            let mut record = vec![0; layout.record_size()];
            let Some(mut view) = RecordMut::new(&mut record, layout) else { continue };
            let Some(filled) = self.reader.fill(&mut view, pid, None, FieldSet::ALL) else {
                continue;
            };
            let lasting = FieldSet::of_group(FieldGroup::Basic)
                .union(FieldSet::of_group(FieldGroup::State))
                .union(KEPT);
            let filled = filled.intersection(lasting);
            self.processes.push(Process { pid, record, filled, used_ns: None });
        }
        self.rows = self.processes.len();
        Ok(())
    }

    /// Reads their clocks, best right before the run, whose instant is at its begin. Returns
    /// the number of system calls.
    pub(crate) fn read_clocks(&mut self) -> u32 {
        if self.processes.is_empty() {
            return 0;
        }
        self.read_ns = now_ns();
        for process in &mut self.processes {
            process.used_ns = sys::clock_ns(sys::process_clock(process.pid)).ok();
        }
        self.processes.len() as u32
    }

    /// Reads them again right after the run if that is closer to its instant. Returns the
    /// number of system calls.
    pub(crate) fn settle_clocks(&mut self, t0_ns: u64) -> u32 {
        let early = t0_ns.saturating_sub(self.read_ns);
        if self.processes.is_empty() || early < EARLY_NS || now_ns().saturating_sub(t0_ns) > early {
            return 0;
        }
        self.read_clocks()
    }

    /// Appends their records to `count` others. Returns the number of system calls.
    pub(crate) fn append(
        &mut self,
        header: &mut Header,
        layout: &Layout,
        records: &mut [u8],
        indices: &mut [u8],
        count: &mut usize,
    ) -> Result<u32, Error> {
        self.reader.syscalls = 0;
        self.reader.epoch_ns = header.begin.realtime_ns.saturating_sub(header.begin.boottime_ns);
        let size = layout.record_size();
        let mut rows = 0;
        for process in &self.processes {
            // One that is gone; the next look forgets it.
            let Some(used) = process.used_ns else { continue };
            let others = if header.threads() { Some(self.reader.tids(process.pid)) } else { None };
            let mut of_others = 0;
            let first = *count;
            for tid in others.into_iter().flatten().filter(|&tid| tid != process.pid) {
                let Some(place) = records.get_mut(*count * size..(*count + 1) * size) else {
                    break;
                };
                place.fill(0);
                let Some(mut view) = RecordMut::new(place, layout) else { break };
                let wanted = FieldSet::of_group(FieldGroup::Cpu);
                if let Some(filled) = self.reader.fill(&mut view, process.pid, Some(tid), wanted) {
                    of_others += Record::new(place, layout, filled)
                        .and_then(|record| record.ac_sum_exec_ns())
                        .unwrap_or(0);
                    mark(header, indices, *count, filled);
                    *count += 1;
                }
            }
            let Some(place) = records.get_mut(*count * size..(*count + 1) * size) else {
                header.missed += 1;
                continue;
            };
            place.copy_from_slice(&process.record);
            if let Some(mut view) = RecordMut::new(place, layout) {
                let used = used.saturating_sub(of_others);
                view.set(Field::ac_sum_exec_ns, used);
                view.set(Field::cpu_run_virtual_total, used);
                view.set(Field::ac_time_ns, header.begin.monotonic_ns);
            }
            mark(header, indices, *count, process.filled);
            *count += 1;
            header.merged += 1;
            rows += *count - first;
        }
        self.rows = rows;
        Ok(self.reader.syscalls)
    }
}

/// CLOCK_MONOTONIC, the clock of t0.
fn now_ns() -> u64 {
    sys::clock_ns(libc::CLOCK_MONOTONIC).unwrap_or(0)
}

fn mark(header: &mut Header, indices: &mut [u8], row: usize, filled: FieldSet) {
    let index = mask_index(&mut header.masks, filled);
    if let Some(place) = indices.get_mut(row) {
        *place = index;
    }
}
