//! What the machine and its tasks used before: the data of the sparklines.
//!
//! Design decisions
//!
//! * One sample of the machine for each interval that was shown. A task has a sum for each of
//!   the last six spans of ten seconds, so that its memory does not depend on the interval.
//! * Tasks that did not run for a minute, and the dead, have nothing here: the memory is
//!   bounded by the tasks that ran in the last minute.

use std::collections::{HashMap, VecDeque};

use precise_top_core::{Identity, Interval, Record};

/// Samples of the machine that are kept.
const CPU_SAMPLES: usize = 300;
/// Spans of a task, and their length.
pub(crate) const SPANS: usize = 6;
const SPAN_NS: u64 = 10_000_000_000;

/// What the CPUs and tasks used in the intervals before.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// CPU time used, as a share of all CPUs' time, the oldest first, each with the end of its
    /// interval, in ns since 1970.
    cpus: VecDeque<(u64, f32)>,
    tasks: HashMap<u32, Used>,
    /// Tasks that died in the last interval.
    dead: Vec<u32>,
    /// The end of the last interval, its length, and whether its rows were threads.
    end_ns: u64,
    length_ns: u64,
    threads: bool,
    /// Whether the last interval's tasks are among them.
    with_tasks: bool,
}

/// CPU time of a task.
#[derive(Clone, Copy, Debug)]
struct Used {
    task: Identity,
    /// The number of the last span, and the time in it and in those before it.
    span: u64,
    ns: [u64; SPANS],
}

impl Used {
    /// Goes on to a span.
    fn advance(&mut self, span: u64) {
        let by = span.saturating_sub(self.span).min(SPANS as u64) as usize;
        self.ns.copy_within(..SPANS - by, by);
        self.ns[..by].fill(0);
        self.span = span;
    }
}

impl Samples {
    /// Whether nothing lies between the last interval and this one, or it is that one again. If not,
    /// those before it have to be added anew.
    pub fn continue_with(&self, interval: &Interval, with_tasks: bool) -> bool {
        let (begin, end) = (interval.prev().header().begin, interval.cur().header().begin);
        [begin, end].iter().any(|instant| instant.boottime_ns == self.end_ns)
            && (self.with_tasks || !with_tasks)
    }

    /// Adds an interval, unless it is the last one again. An earlier one discards all samples.
    /// `with_tasks` is whether the tasks are shown with theirs.
    pub fn observe(&mut self, interval: &Interval, with_tasks: bool) {
        let header = interval.cur().header();
        let end_ns = header.begin.boottime_ns;
        if end_ns == self.end_ns {
            return;
        }
        if end_ns < self.end_ns || self.threads != header.threads() {
            *self = Samples::default();
        }
        (self.end_ns, self.length_ns) = (end_ns, interval.interval_ns());
        (self.threads, self.with_tasks) = (header.threads(), with_tasks);
        self.observe_cpus(interval);
        if with_tasks {
            self.observe_tasks(interval);
        }
    }

    fn observe_cpus(&mut self, interval: &Interval) {
        let cpus = interval.cpu_split();
        if cpus.is_empty() {
            return;
        }
        let used = |shares: [f64; 8]| 100.0 - shares[3] - shares[4];
        let sum: f64 = cpus.iter().map(|times| used(times.shares_pct())).sum();
        if self.cpus.len() == CPU_SAMPLES {
            self.cpus.pop_front();
        }
        let end_ns = interval.cur().header().begin.realtime_ns;
        self.cpus.push_back((end_ns, (sum / cpus.len() as f64 / 100.0) as f32));
    }

    fn observe_tasks(&mut self, interval: &Interval) {
        let span = self.end_ns / SPAN_NS;
        for pid in self.dead.drain(..) {
            self.tasks.remove(&pid);
        }
        self.tasks.retain(|_, used| span - used.span < SPANS as u64);
        let header = interval.cur().header();
        for (row, record) in interval.cur().iter().enumerate() {
            let ns = interval.usage(row).map_or(0, |used| used.total_ns());
            let Some(pid) = record.ac_pid().filter(|_| ns > 0) else { continue };
            let task = record.identity();
            if interval.is_exited(row) {
                self.dead.push(pid);
            }
            let new = Used { task, span, ns: [0; SPANS] };
            let used = self.tasks.entry(pid).or_insert(new);
            if !task.is_still(&used.task, header) {
                *used = new;
            }
            used.advance(span);
            used.ns[0] = used.ns[0].saturating_add(ns);
        }
    }

    /// Number of tasks that have samples.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// The last `number` shares of the CPUs' time that were used, the oldest first, each with the
    /// end of its interval.
    pub(crate) fn cpus(&self, number: usize) -> impl Iterator<Item = (u64, f64)> {
        let first = self.cpus.len().saturating_sub(number);
        self.cpus.range(first..).map(|&(end_ns, share)| (end_ns, f64::from(share)))
    }

    /// The shares of a CPU that a task used in the last minute, the oldest first; None for one
    /// that did not run.
    pub(crate) fn of(&self, record: &Record<'_>) -> Option<[f64; SPANS]> {
        let mut used = *self.tasks.get(&record.ac_pid()?)?;
        let start = record.ac_start_ns();
        if start.zip(used.task.start_ns).is_some_and(|(a, b)| a.abs_diff(b) > SPAN_NS) {
            return None;
        }
        let span = self.end_ns / SPAN_NS;
        used.advance(span);
        // The last span has just begun.
        let last_ns = (self.end_ns % SPAN_NS).max(self.length_ns).max(1);
        let mut shares = used.ns.map(|ns| ns as f64 / SPAN_NS as f64);
        shares[0] = used.ns[0] as f64 / last_ns as f64;
        shares.reverse();
        Some(shares)
    }
}
