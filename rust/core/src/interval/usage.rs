//! CPU time since a task's start, and the use in an interval, split into user and system.

use crate::record::Record;

/// A task's CPU time since its start, split into user and system, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Split {
    /// User part.
    pub user_ns: u64,
    /// System part.
    pub system_ns: u64,
}

impl Split {
    /// Splits `total_ns` in the ratio of the two tick counts. Neither part is
    /// ever less than in `before`, the last split of the same task.
    pub fn of(total_ns: u64, user_ticks: u64, system_ticks: u64, before: Split) -> Split {
        if before.user_ns.saturating_add(before.system_ns) >= total_ns {
            return before;
        }
        let system = if system_ticks == 0 {
            0
        } else if user_ticks == 0 {
            total_ns
        } else {
            let ticks = u128::from(system_ticks) + u128::from(user_ticks);
            // At most total_ns, since system_ticks is at most the sum.
            (u128::from(total_ns) * u128::from(system_ticks) / ticks) as u64
        };
        let system = system.clamp(before.system_ns, total_ns - before.user_ns);
        Split { user_ns: total_ns - system, system_ns: system }
    }

    pub(super) fn of_record(record: &Record<'_>, before: Split) -> Option<Split> {
        Some(Split::of(record.cpu_ns()?, record.ac_utime()?, record.ac_stime()?, before))
    }
}

/// CPU time used in an interval, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Use {
    /// User time.
    pub user_ns: u64,
    /// System time.
    pub system_ns: u64,
    /// Steal time, None where the source does not know a task's steal time.
    pub steal_ns: Option<u64>,
}

impl Use {
    /// User, system and steal time together.
    pub fn total_ns(&self) -> u64 {
        self.user_ns.saturating_add(self.system_ns).saturating_add(self.steal_ns.unwrap_or(0))
    }
}

/// The use of children (and, where rows are threads, threads) that died in an interval, in
/// it, in ns; None where unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Children {
    /// User time.
    pub user_ns: Option<u64>,
    /// System time.
    pub system_ns: Option<u64>,
    /// Steal time.
    pub steal_ns: Option<u64>,
}

pub(super) const fn us_to_ns(us: u64) -> u64 {
    us.saturating_mul(1000)
}

/// The use between two records of one task.
pub(super) fn used(
    earlier: &Record<'_>,
    later: &Record<'_>,
    before: Split,
    now: Split,
) -> Option<Use> {
    // A run time that went backwards is no use at all, and no rate.
    later.cpu_ns()?.checked_sub(earlier.cpu_ns()?)?;
    Some(Use {
        user_ns: now.user_ns.checked_sub(before.user_ns)?,
        system_ns: now.system_ns.checked_sub(before.system_ns)?,
        steal_ns: match (earlier.ac_sttime(), later.ac_sttime()) {
            // A process's loses that of threads that die, to `ac_csttime`.
            (Some(before), Some(now)) => Some(us_to_ns(now.saturating_sub(before))),
            _ => None,
        },
    })
}
