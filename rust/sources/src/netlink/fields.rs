//! The fields of answers, processes and exit events.

use precise_top_core::{Field, FieldGroup, FieldSet};

use crate::procfs::reader::IO;

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
/// CPU time in ticks, which a TGID answer has on newer kernels.
pub(crate) const TICKS: FieldSet = FieldSet::of(&[Field::ac_utime, Field::ac_stime]);
/// Counters of which a PID answer has only the leader's part.
pub(crate) const LEADER_ONLY: FieldSet = IO.union(FieldSet::of(&[
    Field::ac_minflt,
    Field::ac_majflt,
    Field::coremem,
    Field::virtmem,
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
    Field::cpu_delay_max_ts,
    Field::blkio_delay_max_ts,
    Field::swapin_delay_max_ts,
    Field::freepages_delay_max_ts,
    Field::thrashing_delay_max_ts,
    Field::compact_delay_max_ts,
    Field::wpcopy_delay_max_ts,
    Field::irq_delay_max_ts,
]));
/// Fields that procfs adds where they are wanted.
pub(super) const FROM_PROCFS: FieldSet = IO.union(FieldSet::of(&[
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
]));
/// Peaks of the memory, of which the record of a task that has left its memory says 0.
pub(super) const PEAKS: FieldSet = FieldSet::of(&[Field::hiwater_rss, Field::hiwater_vm]);
/// Fields that the source itself adds to the kernel's record.
pub(crate) const ADDED: FieldSet = FieldSet::of(&[Field::ac_time_ns, Field::ac_start_ns]);

/// Fields that are not counted while delay accounting is switched off (`delayacct` false).
pub(crate) fn off_fields(delayacct: bool) -> FieldSet {
    if delayacct {
        return FieldSet::EMPTY;
    }
    FieldSet::of_group(FieldGroup::Delay).without(Field::cpu_count).without(Field::cpu_delay_total)
}
