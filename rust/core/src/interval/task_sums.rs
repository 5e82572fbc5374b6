//! What each task used in many intervals.
//!
//! Design decisions
//!
//! * A task is its pid and start, on a boot of a host: pids that are used again and tasks that
//!   died are distinct.
//! * Only tasks that ran in an interval are added: intervals of the tasks that changed suffice.
//! * Sums of consecutive parts of a recording can be computed apart, and appended.

use std::collections::HashMap;
use std::mem::take;

use super::Interval;
use crate::fields::Field;
use crate::identity::is_same_in_recording;
use crate::record::Record;

/// What is summed up apart from CPU time: bytes that were read and written, and all delays.
const COUNTERS: [Field; 10] = [
    Field::read_bytes,
    Field::write_bytes,
    Field::cpu_delay_total,
    Field::blkio_delay_total,
    Field::swapin_delay_total,
    Field::freepages_delay_total,
    Field::thrashing_delay_total,
    Field::compact_delay_total,
    Field::wpcopy_delay_total,
    Field::irq_delay_total,
];

/// Where and when a machine ran: its host's name and boot id.
pub type Boot = (String, [u8; 16]);

/// A task as it was last seen, and what it used. None is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskSum {
    /// The boot, an index into [`TaskSums::boots`].
    pub boot: usize,
    /// Its pid.
    pub pid: Option<u32>,
    /// Its start in ns of CLOCK_BOOTTIME.
    pub start_ns: Option<u64>,
    /// Its last name that is not empty.
    pub name: Vec<u8>,
    /// Its last user.
    pub uid: Option<u32>,
    /// Its last cgroup: a task that died has left it.
    pub cgroup_id: Option<u64>,
    /// The greatest age that it was seen with, in µs.
    pub lived_us: u64,
    /// User, system and steal time in ns.
    pub cpu_ns: Option<u64>,
    /// All delays together, in ns.
    pub delay_ns: Option<u64>,
    /// Bytes read from storage.
    pub read_bytes: Option<u64>,
    /// Bytes written to storage.
    pub write_bytes: Option<u64>,
}

impl TaskSum {
    /// Takes over what is known of the same task later, with its name then, and adds what it used.
    fn append(&mut self, later: TaskSum, name: &[u8]) {
        if !name.is_empty() && name != self.name {
            self.name = name.to_vec();
        }
        self.uid = later.uid.or(self.uid);
        self.cgroup_id = later.cgroup_id.or(self.cgroup_id);
        self.lived_us = self.lived_us.max(later.lived_us);
        self.cpu_ns = plus(self.cpu_ns, later.cpu_ns);
        self.delay_ns = plus(self.delay_ns, later.delay_ns);
        self.read_bytes = plus(self.read_bytes, later.read_bytes);
        self.write_bytes = plus(self.write_bytes, later.write_bytes);
    }
}

fn plus(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

/// The pid of a task; where pids are unknown the name stands for it.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Pid(u32),
    Name(Vec<u8>),
}

/// The sums of all tasks that ran, in the order in which they first did.
#[derive(Debug, Default)]
pub struct TaskSums {
    /// The tasks.
    pub tasks: Vec<TaskSum>,
    /// The boots that the tasks are of.
    pub boots: Vec<Boot>,
    /// Number of intervals.
    pub intervals: u64,
    /// Their length together, in ns.
    pub interval_ns: u64,
    /// The earliest begin and the latest end, in ns since 1970.
    pub span_ns: Option<(u64, u64)>,
    /// The last task that had a pid.
    last: HashMap<(usize, Key), usize>,
}

impl TaskSums {
    /// Adds the tasks that ran in an interval.
    pub fn add(&mut self, interval: &Interval) {
        let header = interval.cur().header();
        self.intervals += 1;
        self.interval_ns = self.interval_ns.saturating_add(interval.interval_ns());
        let times = [interval.prev().header(), header].map(|header| header.begin.realtime_ns);
        self.extend_span((times[0], times[1]));
        let boot = self.boot(&header.host, header.boot_id);
        for (row, record) in interval.cur().iter().enumerate() {
            let cpu_ns = interval.usage(row).map(|used| used.total_ns()).filter(|&ns| ns > 0);
            if cpu_ns.is_some() {
                let name = record.ac_comm().unwrap_or_default();
                self.append(TaskSum { boot, cpu_ns, ..sum_of(interval, row, &record) }, name);
            }
        }
    }

    /// Adds the sums of later intervals.
    pub fn extend(&mut self, later: TaskSums) {
        self.intervals += later.intervals;
        self.interval_ns = self.interval_ns.saturating_add(later.interval_ns);
        if let Some(span_ns) = later.span_ns {
            self.extend_span(span_ns);
        }
        let boots: Vec<usize> =
            later.boots.into_iter().map(|(host, boot_id)| self.boot(&host, boot_id)).collect();
        for mut task in later.tasks {
            let name = take(&mut task.name);
            self.append(TaskSum { boot: boots[task.boot], ..task }, &name);
        }
    }

    fn extend_span(&mut self, (begin, end): (u64, u64)) {
        let (first, last) = self.span_ns.unwrap_or((begin, end));
        self.span_ns = Some((first.min(begin), last.max(end)));
    }

    fn boot(&mut self, host: &str, boot_id: [u8; 16]) -> usize {
        let known = self.boots.iter().position(|(name, id)| (&**name, *id) == (host, boot_id));
        known.unwrap_or_else(|| {
            self.boots.push((host.into(), boot_id));
            self.boots.len() - 1
        })
    }

    /// Adds what a task used, and its name, which `later` lacks: most have it already.
    fn append(&mut self, later: TaskSum, name: &[u8]) {
        let key = later.pid.map_or_else(|| Key::Name(name.to_vec()), Key::Pid);
        let place = self.last.entry((later.boot, key)).or_insert(self.tasks.len());
        match self.tasks.get_mut(*place) {
            Some(task) if is_same_in_recording(task.start_ns, later.start_ns) => {
                task.append(later, name);
            }
            _ => {
                *place = self.tasks.len();
                self.tasks.push(TaskSum { name: name.to_vec(), ..later });
            }
        }
    }
}

/// What a row's task is apart from its name, and what it used apart from CPU time.
fn sum_of(interval: &Interval, row: usize, record: &Record<'_>) -> TaskSum {
    let [read_bytes, write_bytes, delays @ ..] = interval.increases(row, COUNTERS);
    TaskSum {
        boot: 0,
        pid: record.ac_pid(),
        start_ns: record.ac_start_ns(),
        name: Vec::new(),
        uid: record.ac_uid(),
        cgroup_id: record.cgroup_id().filter(|&id| id != 0),
        lived_us: record.ac_etime().unwrap_or(0),
        cpu_ns: None,
        delay_ns: delays.into_iter().fold(None, plus),
        read_bytes,
        write_bytes,
    }
}
