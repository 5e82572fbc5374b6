//! Which fields an answer, a process and an exit event have.

use precise_top_core::{Field, FieldGroup, FieldSet};

use crate::host;

/// Sums over a process that a TGID answer has.
pub(crate) const PROCESS_SUMS: FieldSet = FieldSet::of(&[
    Field::cpu_count,
    Field::cpu_delay_total,
    Field::blkio_count,
    Field::blkio_delay_total,
    Field::swapin_count,
    Field::swapin_delay_total,
    Field::freepages_count,
    Field::freepages_delay_total,
    Field::thrashing_count,
    Field::thrashing_delay_total,
    Field::compact_count,
    Field::compact_delay_total,
    Field::wpcopy_count,
    Field::wpcopy_delay_total,
    Field::irq_count,
    Field::irq_delay_total,
    Field::cpu_run_real_total,
    Field::cpu_run_virtual_total,
    Field::nvcsw,
    Field::nivcsw,
]);
pub(crate) const TICKS: FieldSet = FieldSet::of(&[Field::ac_utime, Field::ac_stime]);
/// Counters of which a PID answer has only the leader's part.
pub(crate) const LEADER_ONLY: FieldSet = FieldSet::of(&[
    Field::ac_minflt,
    Field::ac_majflt,
    Field::coremem,
    Field::virtmem,
    Field::read_char,
    Field::write_char,
    Field::read_syscalls,
    Field::write_syscalls,
    Field::read_bytes,
    Field::write_bytes,
    Field::cancelled_write_bytes,
    Field::ac_utimescaled,
    Field::ac_stimescaled,
    Field::cpu_scaled_run_real_total,
    Field::cpu_delay_max,
    Field::cpu_delay_min,
    Field::blkio_delay_max,
    Field::blkio_delay_min,
    Field::swapin_delay_max,
    Field::swapin_delay_min,
    Field::freepages_delay_max,
    Field::freepages_delay_min,
    Field::thrashing_delay_max,
    Field::thrashing_delay_min,
    Field::compact_delay_max,
    Field::compact_delay_min,
    Field::wpcopy_delay_max,
    Field::wpcopy_delay_min,
    Field::irq_delay_max,
    Field::irq_delay_min,
]);
/// What procfs adds where it is wanted.
pub(super) const FROM_PROCFS: FieldSet = FieldSet::of(&[
    Field::state,
    Field::cpu,
    Field::num_threads,
    Field::task_flags,
    Field::rss_kb,
    Field::vm_kb,
    Field::ac_cutime,
    Field::ac_cstime,
    Field::ac_gtime,
    Field::ac_minflt,
    Field::ac_majflt,
    Field::read_char,
    Field::write_char,
    Field::read_syscalls,
    Field::write_syscalls,
    Field::read_bytes,
    Field::write_bytes,
    Field::cancelled_write_bytes,
]);
/// What the source itself adds to the kernel's record.
pub(crate) const ADDED: FieldSet = FieldSet::of(&[Field::ac_time_ns, Field::ac_start_ns]);

pub(crate) fn delays_that_need_the_switch() -> FieldSet {
    FieldSet::of_group(FieldGroup::Delay).without(Field::cpu_count).without(Field::cpu_delay_total)
}

/// Fields that are not counted while delay accounting is off.
pub(crate) fn off_fields() -> FieldSet {
    if host::delayacct().unwrap_or(false) { FieldSet::EMPTY } else { delays_that_need_the_switch() }
}
