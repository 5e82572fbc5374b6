//! Which fields a run fills, and which the kernel has not.

use precise_top_core::{Field, FieldGroup, FieldSet, FieldStatus, Header};

use super::Bpf;
use crate::source::Request;

/// RUN_* and ABSENT_* of bpf/record.h.
pub(super) mod bits {
    pub(in super::super) const THREADS: u32 = 1;
    pub(in super::super) const EXACT: u32 = 1 << 1;
    pub(in super::super) const MEMORY: u32 = 1 << 2;
    pub(in super::super) const IO: u32 = 1 << 3;
    pub(in super::super) const DELAY: u32 = 1 << 4;
    pub(in super::super) const EXE: u32 = 1 << 5;
    pub(in super::super) const CGROUP: u32 = 1 << 6;
    pub(in super::super) const NO_QUEUE: u64 = 1;
    pub(in super::super) const NO_COMPACT: u64 = 1 << 1;
    pub(in super::super) const NO_WPCOPY: u64 = 1 << 2;
    pub(in super::super) const NO_IRQ: u64 = 1 << 3;
    pub(in super::super) const NO_IO: u64 = 1 << 4;
    pub(in super::super) const NO_DELAYS: u64 = 1 << 5;
    pub(in super::super) const NO_XACCT: u64 = 1 << 6;
    pub(in super::super) const NO_CGROUPS: u64 = 1 << 7;
    pub(in super::super) const NO_SCHED_INFO: u64 = 1 << 8;
}

/// What a mainline kernel does not count for a task.
const NEVER: FieldSet = FieldSet::of(&[Field::ac_sttime, Field::ac_csttime]);
const COMPACT: FieldSet = FieldSet::of(&[Field::compact_count, Field::compact_delay_total]);
const WPCOPY: FieldSet = FieldSet::of(&[Field::wpcopy_count, Field::wpcopy_delay_total]);
const IRQ: FieldSet = FieldSet::of(&[Field::irq_count, Field::irq_delay_total]);
const CPU_DELAY: FieldSet = FieldSet::of(&[Field::cpu_count, Field::cpu_delay_total]);
const XACCT: FieldSet = FieldSet::of(&[Field::coremem, Field::virtmem]);

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
        if self.watching.is_some() {
            flags |= bits::EXACT;
        }
        flags
    }

    /// Says in the header what the records of such a run hold; gives that.
    pub(super) fn say_fields(&self, header: &mut Header, flags: u32, absent: u64) -> FieldSet {
        let lacks = |bit: u64, fields: FieldSet| {
            if absent & bit == 0 { FieldSet::EMPTY } else { fields }
        };
        let io = FieldSet::of_group(FieldGroup::Io);
        let delays = FieldSet::of_group(FieldGroup::Delay);
        let cgroup = FieldSet::of_group(FieldGroup::Cgroup);
        let unsupported = NEVER
            .union(lacks(bits::NO_COMPACT, COMPACT))
            .union(lacks(bits::NO_WPCOPY, WPCOPY))
            .union(lacks(bits::NO_IRQ, IRQ))
            .union(lacks(bits::NO_IO, io))
            .union(lacks(bits::NO_XACCT, XACCT))
            .union(lacks(bits::NO_CGROUPS, cgroup))
            .union(lacks(bits::NO_SCHED_INFO, CPU_DELAY))
            .union(lacks(bits::NO_DELAYS, delays.difference(CPU_DELAY)));
        let mut filled = self.layout.fields().difference(unsupported);
        for (bit, fields) in [
            (bits::MEMORY, FieldSet::of_group(FieldGroup::Memory)),
            (bits::IO, io),
            (bits::DELAY, delays),
            (bits::EXE, FieldSet::of_group(FieldGroup::Exe)),
            (bits::CGROUP, cgroup),
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
