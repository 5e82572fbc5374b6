//! The time of each CPU in an interval: how much by its run queue's clocks, of which kind by
//! the ticks.

use std::collections::HashMap;

use super::balance::CpuUse;
use super::delta::Interval;
use crate::header::CpuTimes;

impl Interval {
    /// Per CPU, its times in ns; empty where a snapshot lacks them. Where the run queues'
    /// clocks are known (`cpu_use`), so much is in tasks, idle, interrupts and steal, to the
    /// ns; what the ticks of /proc/stat say only splits each of these further.
    pub fn cpu_split(&self) -> &[CpuTimes] {
        self.cpus.get_or_init(|| self.new_cpu_split())
    }

    fn new_cpu_split(&self) -> Vec<CpuTimes> {
        let exact: HashMap<u32, CpuUse> =
            self.cpu_use().into_iter().map(|used| (used.cpu, used)).collect();
        let mut times = self.cpu_times();
        for ticks in &mut times {
            if let Some(used) = exact.get(&ticks.cpu) {
                *ticks = by_clocks(ticks, used);
            }
        }
        times
    }
}

fn by_clocks(ticks: &CpuTimes, used: &CpuUse) -> CpuTimes {
    let [user_ns, nice_ns, system_ns] =
        split(used.busy_ns, [ticks.user_ns, ticks.nice_ns, ticks.system_ns]);
    let [idle_ns, iowait_ns] = split(used.idle_ns, [ticks.idle_ns, ticks.iowait_ns]);
    // Without any tick an interrupt's handler is the likelier; its time is short.
    let [softirq_ns, irq_ns] = split(used.irq_ns, [ticks.softirq_ns, ticks.irq_ns]);
    CpuTimes {
        user_ns,
        nice_ns,
        system_ns,
        idle_ns,
        iowait_ns,
        irq_ns,
        softirq_ns,
        steal_ns: used.steal_ns,
        guest_ns: ticks.guest_ns.min(user_ns),
        guest_nice_ns: ticks.guest_nice_ns.min(nice_ns),
        cpu: ticks.cpu,
    }
}

/// `whole` in the parts' proportions; all of it to the first where no tick fell in any, as
/// the kernel does it (cputime_adjust() in kernel/sched/cputime.c).
fn split<const N: usize>(whole: u64, parts: [u64; N]) -> [u64; N] {
    let sum: u128 = parts.iter().copied().map(u128::from).sum();
    let mut shares = [0; N];
    shares[0] = whole;
    for (index, part) in parts.into_iter().enumerate().skip(1) {
        let share = (u128::from(whole) * u128::from(part)).checked_div(sum).unwrap_or(0) as u64;
        shares[index] = share;
        shares[0] -= share;
    }
    shares
}
