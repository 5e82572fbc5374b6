//! Intervals: what every task used between two snapshots.

use std::convert::Infallible;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;

use precise_top_core::dump::Gap;

use crate::error::{Error, Failure, Status, guarded, guarded_value};
use crate::field::field;
use crate::raw::{self, Sizable, handle};
use crate::snapshot::Snapshot;

/// What every task used between two snapshots: row N is of record N of the later one. It never
/// changes, so threads may share it.
pub struct Interval {
    inner: precise_top_core::Interval,
    earlier: Snapshot,
    later: Snapshot,
}

/// taskstats_use.flags: the CPU time is known.
pub const TASKSTATS_USE_KNOWN: u32 = 0x1;
/// taskstats_use.flags: the steal time is known.
pub const TASKSTATS_USE_STEAL_KNOWN: u32 = 0x2;
/// taskstats_use.flags: the task began in the interval.
pub const TASKSTATS_USE_BORN: u32 = 0x4;
/// taskstats_use.flags: the task died in the interval.
pub const TASKSTATS_USE_EXITED: u32 = 0x8;

/// CPU time that a task used in an interval. Unknown times are 0 and have no flag.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Use {
    /// sizeof(taskstats_use), set by the caller.
    pub struct_size: usize,
    /// TASKSTATS_USE_*. Later versions set more bits.
    pub flags: u32,
    /// The task's pid, 0 where unknown.
    pub pid: u32,
    /// User time.
    pub user_ns: u64,
    /// System time.
    pub system_ns: u64,
    /// Steal time.
    pub steal_ns: u64,
    /// All of these.
    pub total_ns: u64,
}
// SAFETY: it begins with its size, and is only written.
unsafe impl Sizable for Use {}

/// Where the machine's CPU time went: available = tasks + rowless + idle + irq + steal + residual.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Balance {
    /// sizeof(taskstats_balance), set by the caller.
    pub struct_size: usize,
    /// CPUs that were online at both ends.
    pub cpus: u32,
    /// 1 if the residual is not larger than `bound_ns`: the books close.
    pub closed: u32,
    /// These CPUs x the interval.
    pub available_ns: u64,
    /// User and system time of the rows.
    pub tasks_ns: u64,
    /// Time of tasks without a row.
    pub rowless_ns: u64,
    /// Idle time.
    pub idle_ns: u64,
    /// Interrupts.
    pub irq_ns: u64,
    /// Steal time.
    pub steal_ns: u64,
    /// The largest residual that is explained.
    pub bound_ns: u64,
    /// What is left over; negative where there is too much.
    pub residual_ns: i64,
}
// SAFETY: it begins with its size, and is only written.
unsafe impl Sizable for Balance {}

fn check(earlier: &Snapshot, later: &Snapshot) -> Result<(), Failure> {
    let (prev, cur) = (earlier.inner.header(), later.inner.header());
    match Gap::<Infallible>::incomparable(prev, cur) {
        None => Ok(()),
        Some(gap) => Err(Failure::argument(format!(
            "no interval from the first snapshot to the second: {gap}"
        ))),
    }
}

impl Interval {
    fn into_raw(self) -> *mut Interval {
        Box::into_raw(Box::new(self))
    }
}

/// Makes the interval between two snapshots, which may be freed afterwards.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_interval_begin(
    earlier: Option<&Snapshot>,
    later: Option<&Snapshot>,
    interval: Option<&mut MaybeUninit<*mut Interval>>,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let out = raw::result(interval, "interval")?;
        let (earlier, later) = (handle(earlier, "earlier")?, handle(later, "later")?);
        check(earlier, later)?;
        let (prev, cur) = (Arc::clone(&earlier.inner), Arc::clone(&later.inner));
        let inner = precise_top_core::Interval::between(prev, cur);
        *out = Interval { inner, earlier: earlier.clone(), later: later.clone() }.into_raw();
        Ok(())
    })
}

/// Makes the interval from the end of another one to a snapshot. The split of a task's time into
/// user and system time goes on, so that neither ever shrinks.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_interval_continue(
    before: Option<&Interval>,
    later: Option<&Snapshot>,
    interval: Option<&mut MaybeUninit<*mut Interval>>,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let out = raw::result(interval, "interval")?;
        let (before, later) = (handle(before, "before")?, handle(later, "later")?);
        check(&before.later, later)?;
        let inner = before.inner.then(Arc::clone(&later.inner));
        *out = Interval { inner, earlier: before.later.clone(), later: later.clone() }.into_raw();
        Ok(())
    })
}

/// Frees an interval. NULL is ignored.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_interval_free(interval: Option<Box<Interval>>) {
    guarded_value((), || drop(interval));
}

/// Returns the number of rows.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_interval_count(interval: Option<&Interval>) -> usize {
    interval.map_or(0, |interval| interval.inner.len())
}

/// Returns the length of the interval.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_interval_ns(interval: Option<&Interval>) -> u64 {
    guarded_value(0, || interval.map_or(0, |interval| interval.inner.interval_ns()))
}

/// Returns the earlier snapshot, which the interval frees.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_interval_earlier(interval: Option<&Interval>) -> *const Snapshot {
    interval.map_or(ptr::null(), |interval| &raw const interval.earlier)
}

/// Returns the later snapshot, which the interval frees.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_interval_later(interval: Option<&Interval>) -> *const Snapshot {
    interval.map_or(ptr::null(), |interval| &raw const interval.later)
}

/// Returns what the task of a row used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskstats_interval_use(
    interval: Option<&Interval>,
    row: usize,
    used: *mut Use,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let inner = &handle(interval, "interval")?.inner;
        let record = inner.cur().get(row);
        let record = record.ok_or_else(|| Failure::argument(format!("there is no row {row}")))?;
        let usage = inner.usage(row);
        let steal_ns = usage.and_then(|usage| usage.steal_ns);
        let flags = [
            (TASKSTATS_USE_KNOWN, usage.is_some()),
            (TASKSTATS_USE_STEAL_KNOWN, steal_ns.is_some()),
            (TASKSTATS_USE_BORN, inner.is_born(row)),
            (TASKSTATS_USE_EXITED, inner.is_exited(row)),
        ];
        let usage = usage.unwrap_or_default();
        let value = Use {
            struct_size: 0,
            flags: flags.into_iter().filter(|(_, set)| *set).map(|(flag, _)| flag).sum(),
            pid: record.ac_pid().unwrap_or(0),
            user_ns: usage.user_ns,
            system_ns: usage.system_ns,
            steal_ns: steal_ns.unwrap_or(0),
            total_ns: usage.total_ns(),
        };
        // SAFETY: the caller's promise.
        unsafe { raw::write_sized(used, &value, "used") }
    })
}

/// Reads the increase of a counter in a row. Returns false where it is unknown: a field that is no
/// counter, that a record does not hold, or that went back.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_interval_delta(
    interval: Option<&Interval>,
    row: usize,
    number: u32,
    value: Option<&mut MaybeUninit<u64>>,
) -> bool {
    guarded_value(false, || {
        let read = || interval?.inner.increase(row, field(number).ok()?);
        match (read(), value) {
            (Some(increase), Some(value)) => {
                value.write(increase);
                true
            }
            _ => false,
        }
    })
}

/// Returns where the CPUs' time went. TASKSTATS_STATUS_UNKNOWN where a snapshot lacks the CPUs'
/// times.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskstats_interval_balance(
    interval: Option<&Interval>,
    balance: *mut Balance,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let found = handle(interval, "interval")?.inner.balance().ok_or_else(|| {
            Failure::unknown("the snapshots lack the CPUs' times: set TASKSTATS_CPU_TIMES")
        })?;
        let value = Balance {
            struct_size: 0,
            cpus: found.cpus,
            closed: u32::from(found.is_closed()),
            available_ns: found.available_ns,
            tasks_ns: found.tasks_ns,
            rowless_ns: found.rowless_ns,
            idle_ns: found.idle_ns,
            irq_ns: found.irq_ns,
            steal_ns: found.steal_ns,
            bound_ns: found.bound_ns(),
            residual_ns: found.residual_ns,
        };
        // SAFETY: the caller's promise.
        unsafe { raw::write_sized(balance, &value, "balance") }
    })
}
