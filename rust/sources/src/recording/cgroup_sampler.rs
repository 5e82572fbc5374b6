//! The readings of cgroups that a recording or a history gets: about once a minute.
//!
//! Design decisions
//!
//! * All cgroups with living tasks, and those above them, are read together: a reader of the
//!   recording needs no earlier readings.
//! * The first readings follow each other at once, and then at growing distances, up to a minute:
//!   a short recording has increases too.
//! * Nothing is asked in between, and no descriptor is kept: it would hold a removed cgroup.

use std::collections::{BTreeMap, HashMap};

use precise_top_core::{CgroupReadings, CgroupStats, CgroupsAt, Flags, Snapshot};

use super::process_names::NameSource;
use crate::cgroups::{CgroupReader, FRESH_NS};
use crate::sys::clock::clock_ns;

/// Time from one reading to the next at most.
const EVERY_NS: u64 = 60_000_000_000;

/// See the module.
#[derive(Default)]
pub struct CgroupSampler {
    /// The cgroups with living tasks, and the pid of one of these.
    inhabited: HashMap<u64, u32>,
    paths: HashMap<u64, Vec<u8>>,
    /// CLOCK_BOOTTIME of the first reading and of the last.
    read_ns: Option<(u64, u64)>,
    /// The time of the last reading that was copied from a recording.
    copied_ns: Option<u64>,
}

impl CgroupSampler {
    /// Forgets what was read: the next snapshot gets a reading.
    pub(super) fn restart(&mut self) {
        (self.read_ns, self.copied_ns) = (None, None);
    }

    /// The readings that belong to a snapshot, if they are due: those of its recording, or of this
    /// machine where it was taken just now.
    pub fn of<B: AsRef<[u8]>>(&mut self, snapshot: &Snapshot<B>) -> Option<CgroupReadings> {
        if let Some(recorded) = snapshot.names() {
            return self.copied(&recorded.cgroups()?);
        }
        let time_ns = snapshot.header().begin.boottime_ns;
        let now_ns = clock_ns(libc::CLOCK_BOOTTIME).unwrap_or(u64::MAX);
        if now_ns.saturating_sub(time_ns) > FRESH_NS {
            return None;
        }
        self.note(snapshot);
        let (first_ns, last_ns) = self.read_ns.unwrap_or((time_ns, 0));
        let distance_ns = EVERY_NS.min(last_ns.saturating_sub(first_ns));
        if time_ns.saturating_sub(last_ns) < distance_ns {
            return None;
        }
        self.read_ns = Some((first_ns, time_ns));
        self.find_paths(&NameSource::of(snapshot));
        let stats = self.read();
        (!stats.is_empty()).then_some(CgroupReadings { time_ns, stats })
    }

    /// The last of two readings, unless it was copied already.
    pub(super) fn copied(&mut self, readings: &CgroupsAt) -> Option<CgroupReadings> {
        let now = &readings.now;
        let before_ns = self.copied_ns.replace(now.time_ns);
        (before_ns != Some(now.time_ns)).then(|| CgroupReadings::clone(now))
    }

    /// Notes the cgroups of a snapshot's living tasks.
    fn note<B: AsRef<[u8]>>(&mut self, snapshot: &Snapshot<B>) {
        if !snapshot.header().flags.contains(Flags::WITHOUT_UNCHANGED) {
            self.inhabited.clear();
        }
        for record in snapshot.iter().take(snapshot.living()) {
            if let Some((id, pid)) = record.cgroup_id().zip(record.ac_pid()) {
                self.inhabited.entry(id).or_insert(pid);
            }
        }
    }

    fn find_paths(&mut self, names: &NameSource) {
        let inhabited = &self.inhabited;
        self.paths.retain(|id, _| inhabited.contains_key(id));
        for (&id, &pid) in inhabited {
            if !self.paths.contains_key(&id)
                && let Some(path) = names.cgroup_of(pid, id)
            {
                self.paths.insert(id, path);
            }
        }
    }

    fn read(&self) -> BTreeMap<Vec<u8>, CgroupStats> {
        let mut reader = CgroupReader::default();
        let mut found = BTreeMap::new();
        for path in self.paths.values() {
            let above = (1..path.len()).filter(|&at| path[at] == b'/').map(|at| &path[..at]);
            for path in [b"/", &path[..]].into_iter().chain(above) {
                if !found.contains_key(path) {
                    found.insert(path.to_vec(), reader.stats(path));
                }
            }
        }
        // Nothing is known where the controllers are on v1, and of a cgroup that was removed.
        found.retain(|_, stats| *stats != CgroupStats::default());
        found
    }
}
