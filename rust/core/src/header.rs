//! The header of a snapshot: its times, machine and source, the fields it holds, and the
//! times of the CPUs, which the balance of an interval is checked against.

use crate::field_set::FieldSet;
use crate::fields::Field;
use crate::machine::Machine;

/// Kind of source that took a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum SourceKind {
    /// Bytes that the user passed: a bare array of `struct taskstats`.
    Bytes = 0,
    /// `/proc/taskstats` of a patched kernel.
    Proc = 1,
    /// A BPF program's run.
    Bpf = 2,
    /// Taskstats over generic netlink.
    Netlink = 3,
    /// The files of `/proc/PID`.
    Procfs = 4,
}

impl SourceKind {
    /// All kinds of source.
    pub const ALL: [SourceKind; 5] = [
        SourceKind::Bytes,
        SourceKind::Proc,
        SourceKind::Bpf,
        SourceKind::Netlink,
        SourceKind::Procfs,
    ];

    /// The name used on the command line and in output.
    pub const fn name(self) -> &'static str {
        match self {
            SourceKind::Bytes => "bytes",
            SourceKind::Proc => "proc",
            SourceKind::Bpf => "bpf",
            SourceKind::Netlink => "netlink",
            SourceKind::Procfs => "procfs",
        }
    }

    /// Returns the precision of its CPU times in words. `one_instant`: all times of the
    /// snapshot are as of one instant ([`Flags::ONE_INSTANT`]).
    pub const fn precision(self, one_instant: bool) -> &'static str {
        match (self, one_instant) {
            (_, true) => "ns, at one instant",
            (SourceKind::Bpf, false) => "ns, not at one instant",
            (SourceKind::Netlink, false) => "ns, up to one tick late while running",
            (_, false) => "ns",
        }
    }

    /// Returns the kind with this number in a snapshot's header.
    pub fn from_number(number: u16) -> Option<SourceKind> {
        SourceKind::ALL.into_iter().find(|kind| *kind as u16 == number)
    }
}

/// Whether a snapshot holds a field, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FieldStatus {
    /// At least one record holds it.
    Filled = 0,
    /// The kernel can measure it, but the measurement is switched off.
    Off = 1,
    /// Reading it needs a privilege that the reader lacks.
    Denied = 2,
    /// The kernel or the source does not have it.
    Unsupported = 3,
    /// It was not requested.
    NotRead = 4,
}

impl FieldStatus {
    /// All states.
    pub const ALL: [FieldStatus; 5] = [
        FieldStatus::Filled,
        FieldStatus::Off,
        FieldStatus::Denied,
        FieldStatus::Unsupported,
        FieldStatus::NotRead,
    ];

    /// The word used in output.
    pub const fn name(self) -> &'static str {
        match self {
            FieldStatus::Filled => "filled",
            FieldStatus::Off => "off",
            FieldStatus::Denied => "denied",
            FieldStatus::Unsupported => "unsupported",
            FieldStatus::NotRead => "not read",
        }
    }

    /// Returns the status with this number in a snapshot's header.
    pub fn from_number(number: u8) -> Option<FieldStatus> {
        FieldStatus::ALL.into_iter().find(|status| *status as u8 == number)
    }
}

/// One moment on three clocks, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Instant {
    /// CLOCK_MONOTONIC.
    pub monotonic_ns: u64,
    /// CLOCK_BOOTTIME.
    pub boottime_ns: u64,
    /// CLOCK_REALTIME: since 1970.
    pub realtime_ns: u64,
}

/// Time of one CPU since boot by class, as in /proc/stat, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CpuTimes {
    /// The CPU's number.
    pub cpu: u32,
    /// User time of tasks with nice ≤ 0, guest time included.
    pub user_ns: u64,
    /// User time of tasks with nice > 0, guest time included.
    pub nice_ns: u64,
    /// System time.
    pub system_ns: u64,
    /// Idle time.
    pub idle_ns: u64,
    /// Idle time with I/O outstanding.
    pub iowait_ns: u64,
    /// Hard interrupts.
    pub irq_ns: u64,
    /// Soft interrupts.
    pub softirq_ns: u64,
    /// Time the hypervisor gave to others.
    pub steal_ns: u64,
    /// Time in guests, part of `user_ns`.
    pub guest_ns: u64,
    /// Time in niced guests, part of `nice_ns`.
    pub guest_nice_ns: u64,
}

impl CpuTimes {
    /// The ten times in /proc/stat's order.
    pub const fn as_array(&self) -> [u64; 10] {
        [
            self.user_ns,
            self.nice_ns,
            self.system_ns,
            self.idle_ns,
            self.iowait_ns,
            self.irq_ns,
            self.softirq_ns,
            self.steal_ns,
            self.guest_ns,
            self.guest_nice_ns,
        ]
    }

    /// The share of each of the first eight in all of them, in per cent: guest times are part
    /// of `user_ns` and `nice_ns`. Zeros where there is no time.
    pub fn shares_pct(&self) -> [f64; 8] {
        let times: [f64; 8] = std::array::from_fn(|class| self.as_array()[class] as f64);
        let all: f64 = times.iter().sum();
        times.map(|time| if all == 0.0 { 0.0 } else { 100.0 * time / all })
    }

    /// The times of `cpu`, given in /proc/stat's order.
    pub const fn from_array(cpu: u32, times: [u64; 10]) -> CpuTimes {
        let [
            user_ns,
            nice_ns,
            system_ns,
            idle_ns,
            iowait_ns,
            irq_ns,
            softirq_ns,
            steal_ns,
            guest_ns,
            guest_nice_ns,
        ] = times;
        CpuTimes {
            cpu,
            user_ns,
            nice_ns,
            system_ns,
            idle_ns,
            iowait_ns,
            irq_ns,
            softirq_ns,
            steal_ns,
            guest_ns,
            guest_nice_ns,
        }
    }
}

/// One CPU's run-queue clocks at the snapshot's instant, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CpuClocks {
    /// The CPU's number.
    pub cpu: u32,
    /// `rq->clock`.
    pub clock_ns: u64,
    /// `rq->clock_task`: the clock less irq and steal time taken from tasks.
    pub clock_task_ns: u64,
    /// Time in the idle task since measuring began, on `clock_task`.
    pub idle_ns: u64,
    /// Steal time since boot.
    pub steal_ns: u64,
}

/// The machine at the snapshot's moment, as in /proc/loadavg and /proc/meminfo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct System {
    /// Load averages over 1, 5 and 15 minutes, in hundredths.
    pub load_centi: [u32; 3],
    /// Usable memory.
    pub mem_total_kb: u64,
    /// Unused memory.
    pub mem_free_kb: u64,
    /// Memory that new work could get without swapping.
    pub mem_available_kb: u64,
    /// Block device buffers.
    pub buffers_kb: u64,
    /// Page cache.
    pub cached_kb: u64,
    /// Swap space.
    pub swap_total_kb: u64,
    /// Unused swap space.
    pub swap_free_kb: u64,
}

/// Facts of a snapshot that are true or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// Records are threads; without it they are processes.
    pub const THREADS: Flags = Flags(1);
    /// Delay accounting is on (`kernel.task_delayacct`).
    pub const DELAYACCT: Flags = Flags(1 << 1);
    /// Tasks are missing because the memory for them ran out.
    pub const TRUNCATED: Flags = Flags(1 << 2);
    /// Exit events were lost.
    pub const EVENTS_LOST: Flags = Flags(1 << 3);
    /// `ac_start_ns` was derived from the elapsed time and wobbles by milliseconds.
    pub const DERIVED_STARTS: Flags = Flags(1 << 4);
    /// Every record's `ac_sum_exec_ns` is the use at one instant.
    pub const ONE_INSTANT: Flags = Flags(1 << 5);
    /// The tasks that died since the source's previous snapshot are among the records.
    pub const EXITS: Flags = Flags(1 << 6);
    /// Unchanged tasks, which did not run since the previous snapshot, have no record.
    pub const WITHOUT_UNCHANGED: Flags = Flags(1 << 7);
    /// The kernel hides tasks from BPF that are outside the reader's pid namespace: what they
    /// used is unknown.
    pub const HIDDEN_OUTSIDE: Flags = Flags(1 << 8);

    /// Whether all of `other` is set.
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags, with `other` set or cleared.
    #[must_use]
    pub const fn with(self, other: Flags, on: bool) -> Flags {
        if on { Flags(self.0 | other.0) } else { Flags(self.0 & !other.0) }
    }
}

/// Header of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source of the records.
    pub source: SourceKind,
    /// Yes-or-no facts.
    pub flags: Flags,
    /// Just before the first record was taken; for one-instant sources the instant.
    pub begin: Instant,
    /// Just after the last record was taken.
    pub end: Instant,
    /// The scheduler clock at the snapshot's instant, which CPU time is counted on.
    pub sched_clock_ns: Option<u64>,
    /// The boot's random id, zero where unknown.
    pub boot_id: [u8; 16],
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub release: String,
    /// Number of CPUs online, 0 where unknown.
    pub cpus_online: u32,
    /// Bytes of a page, 0 where unknown.
    pub page_size: u32,
    /// Granularity of `cpu_times` in ns.
    pub cpu_times_step_ns: u64,
    /// Per-CPU times; empty where not read.
    pub cpu_times: Vec<CpuTimes>,
    /// Per-CPU run-queue clocks; empty where the source has none.
    pub cpu_clocks: Vec<CpuClocks>,
    /// Load and memory; None where not read.
    pub system: Option<System>,
    /// CLOCK_MONOTONIC in ns when the values of all tasks were read; those of tasks that did
    /// not run since may be that old. None where they were read for this snapshot.
    pub all_read_ns: Option<u64>,
    /// Pressure, disks, networks, and limits, as far as they were read.
    pub machine: Machine,
    /// Per field, in table order: held, or why not.
    pub status: [FieldStatus; Field::COUNT],
    /// The fields held, one set per kind of record. A single set applies to all
    /// records; with more, each record has an index into this list.
    pub masks: Vec<FieldSet>,
    /// Tasks that the source does not show, read another way and merged.
    pub merged: u32,
    /// Tasks that are known to exist and could not be read.
    pub missed: u32,
    /// Tasks without a record, because they did not run since the previous snapshot.
    pub unchanged: u32,
    /// Records at the end that are of tasks which died since the source's previous
    /// snapshot, with what they had used in all.
    pub exited: u32,
    /// Exits that were lost: what they used is in no record.
    pub exits_lost: u64,
    /// CPU time of tasks whose exit was lost, as far as it is known.
    pub overflow_ns: u64,
    /// CPU time of tasks outside the reader's pid namespace, which have no record.
    pub outside_ns: u64,
    /// CPU time used by the process that took the snapshot, up to its end.
    pub own_cpu_ns: u64,
    /// CPU time that the source's programs at switches and exits have taken so far, in
    /// the time of the tasks that they ran in; measured at every 64th switch.
    pub hooks_ns: u64,
    /// System calls that the snapshot took.
    pub syscalls: u32,
    /// Names the rule that made the `task_id`s, which are equal for one task only where this is
    /// equal; None where unknown.
    pub task_id_space: Option<u64>,
}

impl Header {
    /// A header that knows nothing but the source and which fields every record holds.
    pub fn new(source: SourceKind, filled: FieldSet) -> Header {
        let mut status = [FieldStatus::Unsupported; Field::COUNT];
        for field in filled.iter() {
            status[field as usize] = FieldStatus::Filled;
        }
        Header {
            source,
            flags: Flags::default(),
            begin: Instant::default(),
            end: Instant::default(),
            sched_clock_ns: None,
            boot_id: [0; 16],
            host: String::new(),
            release: String::new(),
            cpus_online: 0,
            page_size: 0,
            cpu_times_step_ns: 0,
            cpu_times: Vec::new(),
            cpu_clocks: Vec::new(),
            system: None,
            all_read_ns: None,
            machine: Machine::default(),
            status,
            masks: vec![filled],
            merged: 0,
            missed: 0,
            unchanged: 0,
            exited: 0,
            exits_lost: 0,
            overflow_ns: 0,
            outside_ns: 0,
            own_cpu_ns: 0,
            hooks_ns: 0,
            syscalls: 0,
            task_id_space: None,
        }
    }

    /// Whether the snapshot holds the field, and if not, why not.
    pub fn status(&self, field: Field) -> FieldStatus {
        self.status[field as usize]
    }

    /// Says of every field of `fields` why it is not held (or that it is).
    pub fn set_status(&mut self, fields: FieldSet, status: FieldStatus) {
        for field in fields.iter() {
            self.status[field as usize] = status;
        }
    }

    /// The number of records of tasks that died since the source's previous snapshot; None where
    /// nobody counted them.
    pub fn exits_known(&self) -> Option<u32> {
        (self.flags.contains(Flags::EXITS) || self.exited > 0).then_some(self.exited)
    }

    /// Whether records are threads rather than processes.
    pub fn threads(&self) -> bool {
        self.flags.contains(Flags::THREADS)
    }
}
