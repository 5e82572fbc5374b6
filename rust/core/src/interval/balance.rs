//! The balance of the CPUs' time: whether all of an interval's CPU time is accounted for.
//!
//! Σ tasks + irq + steal + idle + residual = CPUs × interval
//!
//! Design decisions
//!
//! * Idle time is measured, never computed as the remainder: so a task that was missed
//!   shows as a residual.
//! * The balance has a bound, the error of its sources. It is closed where the residual is
//!   within the bound. Unknown times do not widen the bound.

use std::collections::{HashMap, HashSet};

use super::delta::Interval;
use super::usage::Use;
use crate::header::{CpuClocks, CpuTimes, Flags, Header, SourceKind};
use crate::record::Record;

/// Error of a balance of one-instant values: one part in so many of CPUs × interval.
const EXACT_PART: u64 = 10_000;

/// How old a run queue's clock may be that was read while it changed: a tick at 100 Hz.
const TICK_NS: u64 = 10_000_000;

/// In `task_flags`, of a task that has exited (include/linux/sched.h).
const PF_EXITING: u32 = 4;

/// Where the machine's CPU time went, in ns over all CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Balance {
    /// CPUs that were online at both ends.
    pub cpus: u32,
    /// The available time: these CPUs × the interval.
    pub available_ns: u64,
    /// User and system time of the tasks with a row.
    pub tasks_ns: u64,
    /// Idle time, with and without I/O outstanding.
    pub idle_ns: u64,
    /// Hard and soft interrupts.
    pub irq_ns: u64,
    /// Steal time of all CPUs.
    pub steal_ns: u64,
    /// Time of tasks without a row: those outside the reader's pid namespace, those whose
    /// exit was lost, and dead tasks that only their processes' and parents' counters have.
    /// If the kernel hides tasks outside the namespace, they have the time that is left.
    pub rowless_ns: u64,
    /// The available time less all others; negative where these are more.
    pub residual_ns: i64,
    /// Granularity of the CPUs' times.
    pub step_ns: u64,
    /// Error at the interval's ends. It does not add up over consecutive intervals: the end
    /// of one is the begin of the next.
    pub edge_ns: u64,
    /// Error within the interval, from incomplete exit records, CPUs that came or went,
    /// counters of vanished tasks in whole µs, lost exits of tasks that had a row, and interrupts
    /// by /proc/stat, which may be part of the tasks' time. It adds up over intervals.
    pub within_ns: u64,
}

impl Balance {
    /// The bound: the largest residual that is explained.
    pub fn bound_ns(&self) -> u64 {
        self.edge_ns.saturating_add(self.within_ns)
    }

    /// The available time less what was found.
    fn left_ns(&self) -> i128 {
        let found = [self.tasks_ns, self.rowless_ns, self.idle_ns, self.irq_ns, self.steal_ns];
        i128::from(self.available_ns) - found.into_iter().map(i128::from).sum::<i128>()
    }

    /// Whether the residual is inside its bound.
    pub fn is_closed(&self) -> bool {
        self.residual_ns.unsigned_abs() <= self.bound_ns()
    }
}

/// One CPU's times in an interval by its run queue's clocks, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CpuUse {
    /// The CPU's number.
    pub cpu: u32,
    /// Length of the interval by the run queue's clock.
    pub available_ns: u64,
    /// Time in which tasks ran.
    pub busy_ns: u64,
    /// Time in the idle task.
    pub idle_ns: u64,
    /// Time in interrupts.
    pub irq_ns: u64,
    /// Steal time.
    pub steal_ns: u64,
}

impl Interval {
    /// Per CPU, the increase of its times; empty where a snapshot lacks them.
    /// A CPU that is in one snapshot only is left out.
    pub fn cpu_times(&self) -> Vec<CpuTimes> {
        let before: HashMap<u32, &CpuTimes> =
            self.prev().header().cpu_times.iter().map(|times| (times.cpu, times)).collect();
        self.cur()
            .header()
            .cpu_times
            .iter()
            .filter_map(|now| {
                let before = before.get(&now.cpu)?.as_array();
                let mut times = now.as_array();
                for (now, before) in times.iter_mut().zip(before) {
                    // The kernel's idle and iowait can step back a little.
                    *now = now.saturating_sub(before);
                }
                Some(CpuTimes::from_array(now.cpu, times))
            })
            .collect()
    }

    /// The times of each CPU by its run queue's clocks; empty where a snapshot is not of one
    /// instant or has no such clocks. A CPU that is in one snapshot only is left out.
    pub fn cpu_use(&self) -> Vec<CpuUse> {
        let (prev, cur) = (self.prev().header(), self.cur().header());
        if !has_idle_clocks(prev) || !has_idle_clocks(cur) {
            return Vec::new();
        }
        let before: HashMap<u32, &CpuClocks> =
            prev.cpu_clocks.iter().map(|clocks| (clocks.cpu, clocks)).collect();
        let of_cpu = |now: &CpuClocks| {
            let before = before.get(&now.cpu)?;
            // The run queue's clock has irq and steal time, the tasks' clock does not.
            let untasked = |clocks: &CpuClocks| clocks.clock_ns.wrapping_sub(clocks.clock_task_ns);
            let taken = untasked(now).saturating_sub(untasked(before));
            let steal_ns = now.steal_ns.saturating_sub(before.steal_ns).min(taken);
            let available_ns = now.clock_ns.saturating_sub(before.clock_ns);
            let idle_ns = now.idle_ns.saturating_sub(before.idle_ns);
            Some(CpuUse {
                cpu: now.cpu,
                available_ns,
                busy_ns: available_ns.saturating_sub(idle_ns).saturating_sub(taken),
                idle_ns,
                irq_ns: taken - steal_ns,
                steal_ns,
            })
        };
        cur.cpu_clocks.iter().filter_map(of_cpu).collect()
    }

    /// The balance; None where a snapshot lacks the CPUs' times. Where both
    /// snapshots are of one instant, idle, irq and steal time come from the run
    /// queues' clocks, to the ns; else from /proc/stat, in its steps.
    pub fn balance(&self) -> Option<Balance> {
        self.balance_without(&HashSet::new())
    }

    /// The balance without the tasks of these pids: a test that it does not close then.
    pub fn balance_without(&self, pids: &HashSet<u32>) -> Option<Balance> {
        let mut books = self.balance_by_clocks().or_else(|| self.balance_by_times())?;
        books.available_ns = self.interval_ns().saturating_mul(u64::from(books.cpus));
        let used = self.total();
        books.tasks_ns = used.user_ns.saturating_add(used.system_ns);
        let lost_ns;
        (books.rowless_ns, lost_ns) = self.rowless_ns();
        if self.cur().header().flags.contains(Flags::HIDDEN_OUTSIDE) {
            // Nothing measures these tasks: they have what is left.
            let left = u64::try_from(books.left_ns()).unwrap_or(0);
            books.rowless_ns = books.rowless_ns.saturating_add(left);
        }
        let left_out = self.use_of(pids);
        let left_out_ns = left_out.user_ns.saturating_add(left_out.system_ns);
        books.tasks_ns = books.tasks_ns.saturating_sub(left_out_ns);
        books.residual_ns = books.left_ns().clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        let (edge_ns, within_ns) = self.reaped_rounding_ns();
        books.edge_ns = books.edge_ns.saturating_add(edge_ns);
        let exits_ns = self.exits_bound(books.step_ns);
        let within = [books.within_ns, exits_ns, self.changed_cpus(), within_ns, lost_ns];
        books.within_ns = saturating_sum(within.into_iter());
        Some(books)
    }

    /// CPU time of tasks without a row, and how much of it may be in rows as well.
    fn rowless_ns(&self) -> (u64, u64) {
        let (prev, cur) = (self.prev().header(), self.cur().header());
        let outside_ns = cur.outside_ns.saturating_sub(prev.outside_ns);
        let known_ns = outside_ns.saturating_add(self.reaped_ns());
        let lost_ns = cur.overflow_ns.saturating_sub(prev.overflow_ns);
        if lost_ns == 0 {
            return (known_ns, 0);
        }
        // The sum of lost exits has the tasks' whole lives, also the time before the interval.
        let in_it_ns = lost_ns.saturating_sub(self.vanished_ns(|_| true));
        (known_ns.saturating_add(in_it_ns), lost_ns.min(self.unreaped_ns()))
    }

    /// Whole lives of the tasks that exited in the interval and keep their rows until they are
    /// reaped, and of those that were reaped in it. Whose exits were lost is not known.
    fn unreaped_ns(&self) -> u64 {
        let has_exited =
            |record: &Record<'_>| record.task_flags().is_some_and(|bits| bits & PF_EXITING != 0);
        let rows = self.cur().iter().enumerate().filter(|&(row, _)| !self.is_exited(row));
        let exited = rows
            .filter(|(_, record)| has_exited(record))
            .filter(|&(row, _)| !self.earlier(row).is_some_and(|earlier| has_exited(&earlier)));
        let lives = exited.filter_map(|(_, record)| record.cpu_ns());
        saturating_sum(lives).saturating_add(self.vanished_ns(has_exited))
    }

    fn use_of(&self, pids: &HashSet<u32>) -> Use {
        let mut sum = Use::default();
        if pids.is_empty() {
            return sum;
        }
        for (row, record) in self.cur().iter().enumerate() {
            if let Some(used) =
                self.usage(row).filter(|_| record.ac_pid().is_some_and(|pid| pids.contains(&pid)))
            {
                sum.user_ns = sum.user_ns.saturating_add(used.user_ns);
                sum.system_ns = sum.system_ns.saturating_add(used.system_ns);
            }
        }
        sum
    }

    /// The balance without tasks and residual, from /proc/stat.
    fn balance_by_times(&self) -> Option<Balance> {
        let cpus = self.cpu_times();
        let sum = |of: fn(&CpuTimes) -> u64| saturating_sum(cpus.iter().map(of));
        let step_ns = self.cur().header().cpu_times_step_ns;
        let count = cpus.len() as u64;
        // Each of a CPU's times is rounded down to its step at both ends, also one that seems to
        // stand still.
        let known: HashSet<u32> = cpus.iter().map(|cpu| cpu.cpu).collect();
        let now = self.cur().header().cpu_times.iter().filter(|cpu| known.contains(&cpu.cpu));
        let classes = saturating_sum(now.map(|cpu| {
            [cpu.idle_ns, cpu.iowait_ns, cpu.irq_ns, cpu.softirq_ns, cpu.steal_ns]
                .into_iter()
                .filter(|&time| time > 0)
                .count()
                .max(1) as u64
        }));
        // A record may be as old as the walk takes, and a tick older over netlink.
        let header = self.cur().header();
        let late =
            header.source == SourceKind::Netlink && !header.flags.contains(Flags::ONE_INSTANT);
        let tick = if late { step_ns.saturating_mul(2) } else { 0 };
        let age = self.walks_ns().saturating_add(tick);
        let edge_ns = classes.saturating_mul(step_ns).saturating_add(count.saturating_mul(age));
        let irq_ns = sum(|cpu| cpu.irq_ns.saturating_add(cpu.softirq_ns));
        let books = Balance {
            cpus: cpus.len() as u32,
            idle_ns: sum(idle_of),
            irq_ns,
            // Without CONFIG_IRQ_TIME_ACCOUNTING, which /proc/stat does not show, the tasks that
            // were interrupted have this time as well.
            within_ns: irq_ns,
            steal_ns: sum(|cpu| cpu.steal_ns),
            step_ns,
            edge_ns,
            ..Balance::default()
        };
        (!cpus.is_empty()).then_some(books)
    }

    /// The balance without tasks and residual, from the run queues' clocks.
    fn balance_by_clocks(&self) -> Option<Balance> {
        let cpus = self.cpu_use();
        let sum = |of: fn(&CpuUse) -> u64| saturating_sum(cpus.iter().map(of));
        let count = cpus.len() as u64;
        // Hidden tasks are read from /proc during the walk, and their switches to and from
        // idle are not seen: the difference to the kernel's own idle time is allowed.
        let hides =
            |header: &Header| header.merged > 0 || header.flags.contains(Flags::HIDDEN_OUTSIDE);
        let hidden = if hides(self.prev().header()) || hides(self.cur().header()) {
            let times = self.cpu_times();
            let idle = saturating_sum(times.iter().map(idle_of));
            let doubt = if times.is_empty() { 0 } else { idle.abs_diff(sum(|cpu| cpu.idle_ns)) };
            count.saturating_mul(self.walks_ns()).saturating_add(doubt)
        } else {
            0
        };
        let ends = [self.prev().header(), self.cur().header()];
        let is_one_instant = ends.iter().all(|end| end.flags.contains(Flags::ONE_INSTANT));
        let moved = if is_one_instant { 0 } else { self.walks_ns().saturating_add(TICK_NS) };
        let books = Balance {
            cpus: cpus.len() as u32,
            idle_ns: sum(|cpu| cpu.idle_ns),
            irq_ns: sum(|cpu| cpu.irq_ns),
            steal_ns: sum(|cpu| cpu.steal_ns),
            step_ns: 1,
            edge_ns: (count.saturating_mul(self.interval_ns()) / EXACT_PART)
                .saturating_add(hidden)
                .saturating_add(count.saturating_mul(moved)),
            ..Balance::default()
        };
        (!cpus.is_empty()).then_some(books)
    }

    /// The time that the two snapshots took.
    fn walks_ns(&self) -> u64 {
        let walk =
            |header: &Header| header.end.monotonic_ns.saturating_sub(header.begin.monotonic_ns);
        walk(self.prev().header()).saturating_add(walk(self.cur().header()))
    }

    /// An exit event's run time is up to one tick old, or as old as the task. That of bpf is up
    /// to the last switch.
    fn exits_bound(&self, step_ns: u64) -> u64 {
        let cur = self.cur();
        if cur.header().source == SourceKind::Bpf {
            return 0;
        }
        let ages = (0..cur.len())
            .filter(|&row| cur.is_exited(row))
            .filter_map(|row| cur.get(row)?.ac_etime());
        saturating_sum(ages.map(|age_us| age_us.saturating_mul(1000).min(step_ns)))
    }

    /// A CPU that came or went may have run for any part of the interval.
    fn changed_cpus(&self) -> u64 {
        let numbers = |header: &Header| -> HashSet<u32> {
            if header.cpu_times.is_empty() {
                header.cpu_clocks.iter().map(|clocks| clocks.cpu).collect()
            } else {
                header.cpu_times.iter().map(|times| times.cpu).collect()
            }
        };
        let (before, now) = (numbers(self.prev().header()), numbers(self.cur().header()));
        let changed = before.symmetric_difference(&now).count() as u64;
        changed.saturating_mul(self.interval_ns())
    }
}

/// Whether the CPUs' clocks and idle times are of the scheduler: where its switches were
/// watched, also if some value is not of the instant.
fn has_idle_clocks(header: &Header) -> bool {
    let watched = header.flags.contains(Flags::EXITS) && !header.cpu_clocks.is_empty();
    watched || header.flags.contains(Flags::ONE_INSTANT)
}

/// The sum of recorded numbers, which may have any value: it must not overflow.
fn saturating_sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

fn idle_of(cpu: &CpuTimes) -> u64 {
    cpu.idle_ns.saturating_add(cpu.iowait_ns)
}
