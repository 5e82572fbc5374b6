//! Which fields a run fills, and which ones the kernel lacks.

use precise_top_core::{Field, FieldGroup, FieldSet, FieldStatus, Header};

use super::Bpf;
use super::relocate::Fit;
use super::run::Way;
use crate::source::Request;

/// RUN_* of bpf/record.h.
pub(super) mod bits {
    pub(in super::super) const THREADS: u32 = 1;
    pub(in super::super) const EXACT: u32 = 1 << 1;
    pub(in super::super) const MEMORY: u32 = 1 << 2;
    pub(in super::super) const IO: u32 = 1 << 3;
    pub(in super::super) const DELAY: u32 = 1 << 4;
    pub(in super::super) const EXE: u32 = 1 << 5;
    pub(in super::super) const CGROUP: u32 = 1 << 6;
    pub(in super::super) const EXITS: u32 = 1 << 7;
    /// All of them by their names there.
    #[cfg(test)]
    pub(in super::super) const ALL: [(&str, u32); 8] = [
        ("RUN_THREADS", THREADS),
        ("RUN_EXACT", EXACT),
        ("RUN_MEMORY", MEMORY),
        ("RUN_IO", IO),
        ("RUN_DELAY", DELAY),
        ("RUN_EXE", EXE),
        ("RUN_CGROUP", CGROUP),
        ("RUN_EXITS", EXITS),
    ];
}

/// What a mainline kernel does not count for a task.
const NEVER: FieldSet = FieldSet::of(&[Field::ac_sttime, Field::ac_csttime]);
const CPU_DELAY: FieldSet = FieldSet::of(&[Field::cpu_count, Field::cpu_delay_total]);

/// The longest and shortest delays, and when the longest was: the kernel keeps those of living
/// threads only.
pub(super) const PEAKS: FieldSet = FieldSet::of(&[
    Field::cpu_delay_max,
    Field::cpu_delay_min,
    Field::cpu_delay_max_ts,
    Field::blkio_delay_max,
    Field::blkio_delay_min,
    Field::blkio_delay_max_ts,
    Field::swapin_delay_max,
    Field::swapin_delay_min,
    Field::swapin_delay_max_ts,
    Field::freepages_delay_max,
    Field::freepages_delay_min,
    Field::freepages_delay_max_ts,
    Field::thrashing_delay_max,
    Field::thrashing_delay_min,
    Field::thrashing_delay_max_ts,
    Field::compact_delay_max,
    Field::compact_delay_min,
    Field::compact_delay_max_ts,
    Field::wpcopy_delay_max,
    Field::wpcopy_delay_min,
    Field::wpcopy_delay_max_ts,
    Field::irq_delay_max,
    Field::irq_delay_min,
    Field::irq_delay_max_ts,
]);
/// The first of the longest delays (6.15), and of their instants (7.0): a kernel has all of them
/// or none.
const LONGEST: &str = "task_struct.sched_info.max_run_delay";
const INSTANTS: &str = "task_struct.sched_info.max_run_delay_ts.tv_sec";

/// The delays of `struct task_delay_info`, by the names that their fields begin with there, and the
/// fields for their number, sum, longest, shortest, and the instant of the longest.
#[rustfmt::skip]
const DELAYS: [(&str, [Field; 5]); 7] = {
    use Field as F;
    [
        ("blkio", [F::blkio_count, F::blkio_delay_total, F::blkio_delay_max, F::blkio_delay_min, F::blkio_delay_max_ts]),
        ("swapin", [F::swapin_count, F::swapin_delay_total, F::swapin_delay_max, F::swapin_delay_min, F::swapin_delay_max_ts]),
        ("freepages", [F::freepages_count, F::freepages_delay_total, F::freepages_delay_max, F::freepages_delay_min, F::freepages_delay_max_ts]),
        ("thrashing", [F::thrashing_count, F::thrashing_delay_total, F::thrashing_delay_max, F::thrashing_delay_min, F::thrashing_delay_max_ts]),
        ("compact", [F::compact_count, F::compact_delay_total, F::compact_delay_max, F::compact_delay_min, F::compact_delay_max_ts]),
        ("wpcopy", [F::wpcopy_count, F::wpcopy_delay_total, F::wpcopy_delay_max, F::wpcopy_delay_min, F::wpcopy_delay_max_ts]),
        ("irq", [F::irq_count, F::irq_delay_total, F::irq_delay_max, F::irq_delay_min, F::irq_delay_max_ts]),
    ]
};

/// Fields of a record, and the kernel's fields that they are made from, as "structure.field";
/// "a|b" where either serves. What is in no row here, no snapshot can do without.
#[rustfmt::skip]
const MADE_FROM: &[(&[Field], &[&str])] = {
    use Field as F;
    &[
        (&[F::ac_exitcode], &["task_struct.exit_code"]),
        (&[F::ac_nice], &["task_struct.static_prio"]),
        (&[F::ac_sched], &["task_struct.policy"]),
        (&[F::ac_comm], &["task_struct.comm"]),
        (&[F::ac_uid], &["task_struct.real_cred", "cred.uid.val"]),
        (&[F::ac_gid], &["task_struct.real_cred", "cred.gid.val"]),
        (&[F::state], &["task_struct.__state|task_struct___old.state"]),
        (&[F::cpu], &["task_struct.thread_info.cpu|task_struct___old.cpu"]),
        (&[F::num_threads], &["signal_struct.nr_threads"]),
        (&[F::ac_utime, F::ac_utimescaled], &["task_struct.utime", "signal_struct.utime"]),
        (&[F::ac_stime, F::ac_stimescaled], &["task_struct.stime", "signal_struct.stime"]),
        (&[F::cpu_run_real_total, F::cpu_scaled_run_real_total],
         &["task_struct.utime", "signal_struct.utime", "task_struct.stime", "signal_struct.stime"]),
        (&[F::tg_utime], &["signal_struct.utime"]),
        (&[F::tg_stime], &["signal_struct.stime"]),
        (&[F::ac_gtime], &["task_struct.gtime", "signal_struct.gtime"]),
        (&[F::ac_cutime], &["signal_struct.cutime"]),
        (&[F::ac_cstime], &["signal_struct.cstime"]),
        (&[F::nvcsw], &["task_struct.nvcsw", "signal_struct.nvcsw"]),
        (&[F::nivcsw], &["task_struct.nivcsw", "signal_struct.nivcsw"]),
        (&[F::ac_minflt], &["task_struct.min_flt", "signal_struct.min_flt"]),
        (&[F::ac_majflt], &["task_struct.maj_flt", "signal_struct.maj_flt"]),
        (&[F::rss_kb, F::hiwater_rss], &["task_struct.mm",
         "mm_struct.rss_stat[0].count|mm_rss_stat___old.count[0].counter",
         "mm_struct.rss_stat[1].count|mm_rss_stat___old.count[1].counter",
         "mm_struct.rss_stat[3].count|mm_rss_stat___old.count[3].counter"]),
        (&[F::hiwater_rss], &["mm_struct.hiwater_rss"]),
        (&[F::vm_kb, F::hiwater_vm], &["task_struct.mm", "mm_struct.total_vm"]),
        (&[F::hiwater_vm], &["mm_struct.hiwater_vm"]),
        (&[F::coremem], &["task_struct.acct_rss_mem1"]),
        (&[F::virtmem], &["task_struct.acct_vm_mem1"]),
        (&[F::ac_exe_dev], &["task_struct.mm", "mm_struct.exe_file", "file.f_inode",
         "inode.i_sb", "super_block.s_dev"]),
        (&[F::ac_exe_inode],
         &["task_struct.mm", "mm_struct.exe_file", "file.f_inode", "inode.i_ino"]),
        (&[F::cgroup_id],
         &["task_struct.cgroups", "css_set.dfl_cgrp", "cgroup.kn", "kernfs_node.id"]),
        (&[F::read_char], &["task_struct.ioac.rchar", "signal_struct.ioac.rchar"]),
        (&[F::write_char], &["task_struct.ioac.wchar", "signal_struct.ioac.wchar"]),
        (&[F::read_syscalls], &["task_struct.ioac.syscr", "signal_struct.ioac.syscr"]),
        (&[F::write_syscalls], &["task_struct.ioac.syscw", "signal_struct.ioac.syscw"]),
        (&[F::read_bytes], &["task_struct.ioac.read_bytes", "signal_struct.ioac.read_bytes"]),
        (&[F::write_bytes], &["task_struct.ioac.write_bytes", "signal_struct.ioac.write_bytes"]),
        (&[F::cancelled_write_bytes], &["task_struct.ioac.cancelled_write_bytes",
         "signal_struct.ioac.cancelled_write_bytes"]),
        (&[F::cpu_count],
         &["task_struct.sched_info.pcount", "signal_struct.stats", "taskstats.cpu_count"]),
        (&[F::cpu_delay_total],
         &["task_struct.sched_info.run_delay", "signal_struct.stats", "taskstats.cpu_delay_total"]),
        (&[F::cpu_delay_max, F::cpu_delay_min],
         &[LONGEST, "task_struct.sched_info.min_run_delay"]),
        (&[F::cpu_delay_max_ts], &[INSTANTS, "task_struct.sched_info.max_run_delay_ts.tv_nsec"]),
    ]
};

/// The same for the delays of `struct task_delay_info`.
fn delays_made_from() -> impl Iterator<Item = (Vec<Field>, Vec<String>)> {
    DELAYS.iter().flat_map(|(name, [count, total, longest, shortest, instant])| {
        let own = |field: &str| format!("task_delay_info.{name}_{field}");
        // Those of dead threads.
        let sum = |field: &str| format!("taskstats.{name}_{field}");
        let delays = || "task_struct.delays".to_owned();
        let dead = || "signal_struct.stats".to_owned();
        [
            (vec![*count], vec![delays(), dead(), own("count"), sum("count")]),
            (vec![*total], vec![delays(), dead(), own("delay"), sum("delay_total")]),
            (
                vec![*longest, *shortest],
                vec![LONGEST.to_owned(), delays(), own("delay_max"), own("delay_min")],
            ),
            (
                vec![*instant],
                vec![
                    INSTANTS.to_owned(),
                    delays(),
                    own("delay_max_ts.tv_sec"),
                    own("delay_max_ts.tv_nsec"),
                ],
            ),
        ]
    })
}

/// Fields of records, and what they are made from.
fn made_from() -> impl Iterator<Item = (Vec<Field>, Vec<String>)> {
    let owned = |sources: &[&str]| sources.iter().map(|&source| source.to_owned()).collect();
    MADE_FROM
        .iter()
        .map(move |(fields, sources)| (fields.to_vec(), owned(sources)))
        .chain(delays_made_from())
}

/// Every field of the kernel that columns are made from.
#[cfg(test)]
pub(super) fn sources() -> impl Iterator<Item = String> {
    made_from()
        .flat_map(|(_, sources)| sources)
        .flat_map(|source| source.split('|').map(str::to_owned).collect::<Vec<_>>())
}

/// The way from a task to the clocks of its run queue, without which no value is of one
/// instant.
const QUEUE: &[&str] =
    &["task_struct.se.cfs_rq", "cfs_rq.rq", "rq.clock", "rq.clock_task", "rq.cpu"];

/// What the programs cannot read on a kernel.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    /// Fields of records that cannot be made.
    pub(super) fields: FieldSet,
    /// Whether there is no way to the run queues' clocks.
    pub(super) queue: bool,
    /// The same for people: which field of which structure costs what.
    pub(super) texts: Vec<String>,
}

impl Lacking {
    /// What a kernel lacks that the programs were fitted to.
    pub(super) fn of(fit: &Fit) -> Lacking {
        let mut lacking = Lacking::default();
        let mut causes: Vec<(String, Vec<&str>)> = Vec::new();
        for (fields, sources) in made_from() {
            let Some(cause) = sources.iter().find_map(|source| unreadable(fit, source)) else {
                continue;
            };
            lacking.fields = lacking.fields.union(FieldSet::of(&fields));
            let names = fields.iter().map(|field| field.info().name);
            match causes.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, all)) => all.extend(names),
                None => causes.push((cause, names.collect())),
            }
        }
        if let Some(cause) = QUEUE.iter().find_map(|source| unreadable(fit, source)) {
            lacking.queue = true;
            causes.push((cause, vec!["values of one instant"]));
        }
        lacking.texts = causes
            .into_iter()
            .map(|(cause, costs)| format!("no {} ({cause})", costs.join(", ")))
            .collect();
        lacking
    }
}

/// Why none of the alternatives in "a|b" can be read; None where one can.
fn unreadable(fit: &Fit, alternatives: &str) -> Option<String> {
    let mut first = None;
    for source in alternatives.split('|') {
        let reason = fit.reason(source)?;
        first.get_or_insert_with(|| format!("{source} {reason}"));
    }
    first
}

impl Bpf {
    pub(super) fn flags_of(&self, request: &Request) -> u32 {
        let mut flags = 0;
        for (group, bit) in [
            (FieldGroup::Memory, bits::MEMORY),
            (FieldGroup::Io, bits::IO),
            (FieldGroup::Delay, bits::DELAY),
            (FieldGroup::Exe, bits::EXE),
            (FieldGroup::Cgroup, bits::CGROUP),
        ] {
            if request.fields.wants(group) {
                flags |= bit;
            }
        }
        if request.threads {
            flags |= bits::THREADS;
        }
        flags | self.watch_flags()
    }

    /// The options of a run while programs watch switches and exits.
    pub(super) fn watch_flags(&self) -> u32 {
        match self.way {
            _ if !self.watching => 0,
            Way::OneCall(_) => bits::EXACT | bits::EXITS,
            Way::Iterator(_) => bits::EXITS,
        }
    }

    /// Writes into the header which fields such a run fills, and returns them.
    pub(super) fn say_fields(&self, header: &mut Header, flags: u32) -> FieldSet {
        let delays = FieldSet::of_group(FieldGroup::Delay);
        let unsupported = NEVER.union(self.lacking.fields);
        let mut filled = self.layout.fields().difference(unsupported);
        for (bit, fields) in [
            (bits::MEMORY, FieldSet::of_group(FieldGroup::Memory)),
            (bits::IO, FieldSet::of_group(FieldGroup::Io)),
            (bits::DELAY, delays),
            (bits::EXE, FieldSet::of_group(FieldGroup::Exe)),
            (bits::CGROUP, FieldSet::of_group(FieldGroup::Cgroup)),
        ] {
            if flags & bit == 0 {
                filled = filled.difference(fields);
            }
        }
        let off = if self.delayacct { FieldSet::EMPTY } else { delays.difference(CPU_DELAY) };
        let off = off.intersection(filled);
        filled = filled.difference(off);
        header.set_status(self.layout.fields(), FieldStatus::NotRead);
        header.set_status(unsupported, FieldStatus::Unsupported);
        header.set_status(filled, FieldStatus::Filled);
        header.set_status(off, FieldStatus::Off);
        filled
    }
}
