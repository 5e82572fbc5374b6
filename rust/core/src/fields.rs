//! The one table of fields: names, units, offsets per version.
//!
//! Design decisions
//!
//! * Everything that names a field (typed getters, NumPy formats, the Python
//!   stub, documentation, JSON keys, columns) is made from [`with_fields!`](crate::with_fields),
//!   so that nothing can disagree with it.
//! * Field names are the kernel's, verbatim (`include/uapi/linux/taskstats.h`).
//! * A field's place in the table is its number in recorded snapshots: a new field goes to
//!   the end.

/// Length of `ac_comm` in `struct taskstats` (TS_COMM_LEN).
pub const COMM_LEN: usize = 32;

/// How a field's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repr {
    /// Unsigned byte.
    U8,
    /// Signed byte (`ac_nice`, declared `__u8` by the kernel).
    I8,
    /// 16-bit unsigned.
    U16,
    /// 32-bit unsigned.
    U32,
    /// 64-bit unsigned.
    U64,
    /// `struct __kernel_timespec`: an instant in s and ns, as one number of ns.
    Timespec,
    /// NUL-padded name of [`COMM_LEN`] bytes.
    Comm,
}

impl Repr {
    /// Bytes the field occupies.
    pub const fn size(self) -> usize {
        match self {
            Repr::U8 | Repr::I8 => 1,
            Repr::U16 => 2,
            Repr::U32 => 4,
            Repr::U64 => 8,
            Repr::Timespec => 16,
            Repr::Comm => COMM_LEN,
        }
    }
}

/// What a field's number means over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Names the task (pid, uid, device …).
    Id,
    /// Only grows during a task's life; its increase is a use.
    Counter,
    /// A value of the moment, a high-water mark or an instant.
    Gauge,
    /// A set of bits.
    Flags,
    /// Text.
    Text,
}

/// Unit of a field's raw value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// No unit.
    None,
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Kibibytes.
    Kb,
    /// Mebibyte-microseconds.
    MbUs,
    /// Events.
    Count,
}

impl Unit {
    /// The unit as shown to people and in documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Ns => "ns",
            Unit::Us => "us",
            Unit::Seconds => "s",
            Unit::Bytes => "bytes",
            Unit::Kb => "KiB",
            Unit::MbUs => "MiB*us",
            Unit::Count => "count",
        }
    }
}

/// What has to be read for a field; sources read only the groups that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldGroup {
    /// Ids, name, start: always there.
    Basic,
    /// CPU time and context switches.
    Cpu,
    /// Memory and page faults.
    Memory,
    /// Characters, system calls and bytes of I/O.
    Io,
    /// Delays (mostly `kernel.task_delayacct=1`).
    Delay,
    /// The executable's device and inode.
    Exe,
    /// The cgroup.
    Cgroup,
    /// State, processor, number of threads.
    State,
}

/// Where a field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In `struct taskstats`: first version that has it, its offset there
    /// (versions 8 … 14 and from 16 on), and its offset in version 15.
    Base {
        /// First version with the field.
        since: u16,
        /// Offset in versions 8 … 14 and from 16 on.
        offset: u16,
        /// Offset in version 15.
        v15: u16,
    },
    /// In the extension, that many bytes after the base's end.
    Extension {
        /// Offset from the end of the base.
        offset: u16,
    },
}

/// Calls the macro `$callback` with the whole field table, one entry per field:
/// `#[doc] name: repr, kind, unit, group, place;`.
#[macro_export]
macro_rules! with_fields {
    ($callback:ident) => {
        $callback! {
            /// Version of the record's layout; bit 15 says that the extension follows.
            version: U16, Id, None, Basic, base(1, 0, 0);
            /// Exit status as wait(2) gives it; 0 while the task lives.
            ac_exitcode: U32, Flags, None, Basic, base(2, 4, 4);
            /// AFORK 1, ASU 2, ACOMPAT 4, ACORE 8, AXSIG 0x10, AGROUP 0x20.
            ac_flag: U8, Flags, None, Basic, base(2, 8, 8);
            /// Nice value, -20 to 19.
            ac_nice: I8, Gauge, None, Basic, base(2, 9, 9);
            /// Times the task waited for a CPU.
            cpu_count: U64, Counter, Count, Delay, base(1, 16, 16);
            /// Time runnable but waiting for a CPU.
            cpu_delay_total: U64, Counter, Ns, Delay, base(1, 24, 24);
            /// Times the task waited for block I/O.
            blkio_count: U64, Counter, Count, Delay, base(1, 32, 48);
            /// Time waiting for block I/O.
            blkio_delay_total: U64, Counter, Ns, Delay, base(1, 40, 56);
            /// Times the task waited for a page to be swapped in.
            swapin_count: U64, Counter, Count, Delay, base(1, 48, 80);
            /// Time waiting for pages to be swapped in.
            swapin_delay_total: U64, Counter, Ns, Delay, base(1, 56, 88);
            /// User + system time by ticks, steal taken off where the kernel does so.
            cpu_run_real_total: U64, Counter, Ns, Cpu, base(1, 64, 112);
            /// Exact CPU time (`se.sum_exec_runtime`); stale by up to a tick while running.
            cpu_run_virtual_total: U64, Counter, Ns, Cpu, base(1, 72, 120);
            /// Command name.
            ac_comm: Comm, Text, None, Basic, base(2, 80, 128);
            /// Scheduling policy.
            ac_sched: U8, Gauge, None, Basic, base(2, 112, 160);
            /// Real user id.
            ac_uid: U32, Id, None, Basic, base(2, 120, 168);
            /// Real group id.
            ac_gid: U32, Id, None, Basic, base(2, 124, 172);
            /// Thread id.
            ac_pid: U32, Id, None, Basic, base(2, 128, 176);
            /// Process id of the parent.
            ac_ppid: U32, Id, None, Basic, base(2, 132, 180);
            /// Start in seconds since 1970, 32 bits.
            ac_btime: U32, Gauge, Seconds, Basic, base(2, 136, 184);
            /// Time since the task's start.
            ac_etime: U64, Gauge, Us, Basic, base(2, 144, 192);
            /// User time in raw ticks.
            ac_utime: U64, Counter, Us, Cpu, base(2, 152, 200);
            /// System time in raw ticks.
            ac_stime: U64, Counter, Us, Cpu, base(2, 160, 208);
            /// Minor page faults.
            ac_minflt: U64, Counter, Count, Memory, base(2, 168, 216);
            /// Major page faults.
            ac_majflt: U64, Counter, Count, Memory, base(2, 176, 224);
            /// Resident memory integrated over the task's CPU time.
            coremem: U64, Counter, MbUs, Memory, base(2, 184, 232);
            /// Virtual memory integrated over the task's CPU time.
            virtmem: U64, Counter, MbUs, Memory, base(2, 192, 240);
            /// High-water mark of resident memory.
            hiwater_rss: U64, Gauge, Kb, Memory, base(2, 200, 248);
            /// High-water mark of virtual memory.
            hiwater_vm: U64, Gauge, Kb, Memory, base(2, 208, 256);
            /// Bytes passed to read(2) and its kin.
            read_char: U64, Counter, Bytes, Io, base(2, 216, 264);
            /// Bytes passed to write(2) and its kin.
            write_char: U64, Counter, Bytes, Io, base(2, 224, 272);
            /// read(2)-like system calls.
            read_syscalls: U64, Counter, Count, Io, base(2, 232, 280);
            /// write(2)-like system calls.
            write_syscalls: U64, Counter, Count, Io, base(2, 240, 288);
            /// Bytes fetched from storage.
            read_bytes: U64, Counter, Bytes, Io, base(3, 248, 296);
            /// Bytes sent to storage.
            write_bytes: U64, Counter, Bytes, Io, base(3, 256, 304);
            /// Bytes of dirty page cache that were thrown away before they were written.
            cancelled_write_bytes: U64, Counter, Bytes, Io, base(3, 264, 312);
            /// Voluntary context switches.
            nvcsw: U64, Counter, Count, Cpu, base(5, 272, 320);
            /// Involuntary context switches.
            nivcsw: U64, Counter, Count, Cpu, base(5, 280, 328);
            /// User time scaled to the CPU's frequency.
            ac_utimescaled: U64, Counter, Us, Cpu, base(6, 288, 336);
            /// System time scaled to the CPU's frequency.
            ac_stimescaled: U64, Counter, Us, Cpu, base(6, 296, 344);
            /// `cpu_run_real_total` scaled to the CPU's frequency.
            cpu_scaled_run_real_total: U64, Counter, Ns, Cpu, base(6, 304, 352);
            /// Times the task reclaimed memory directly.
            freepages_count: U64, Counter, Count, Delay, base(7, 312, 360);
            /// Time in direct memory reclaim.
            freepages_delay_total: U64, Counter, Ns, Delay, base(7, 320, 368);
            /// Times the task waited for a thrashing page.
            thrashing_count: U64, Counter, Count, Delay, base(9, 328, 392);
            /// Time waiting for thrashing pages.
            thrashing_delay_total: U64, Counter, Ns, Delay, base(9, 336, 400);
            /// Start in seconds since 1970.
            ac_btime64: U64, Gauge, Seconds, Basic, base(10, 344, 424);
            /// Times the task compacted memory directly.
            compact_count: U64, Counter, Count, Delay, base(11, 352, 432);
            /// Time in direct memory compaction.
            compact_delay_total: U64, Counter, Ns, Delay, base(11, 360, 440);
            /// Process (thread group) id.
            ac_tgid: U32, Id, None, Basic, base(12, 368, 464);
            /// Time since the process's start.
            ac_tgetime: U64, Gauge, Us, Basic, base(12, 376, 472);
            /// Device of the executable.
            ac_exe_dev: U64, Id, None, Exe, base(12, 384, 480);
            /// Inode of the executable.
            ac_exe_inode: U64, Id, None, Exe, base(12, 392, 488);
            /// Times the task copied a write-protected page.
            wpcopy_count: U64, Counter, Count, Delay, base(13, 400, 496);
            /// Time copying write-protected pages.
            wpcopy_delay_total: U64, Counter, Ns, Delay, base(13, 408, 504);
            /// Times an interrupt took the task's CPU.
            irq_count: U64, Counter, Count, Delay, base(14, 416, 528);
            /// Time taken by interrupts from the task.
            irq_delay_total: U64, Counter, Ns, Delay, base(14, 424, 536);
            /// Longest wait for a CPU.
            cpu_delay_max: U64, Gauge, Ns, Delay, base(15, 432, 32);
            /// Shortest wait for a CPU.
            cpu_delay_min: U64, Gauge, Ns, Delay, base(15, 440, 40);
            /// Longest wait for block I/O.
            blkio_delay_max: U64, Gauge, Ns, Delay, base(15, 448, 64);
            /// Shortest wait for block I/O.
            blkio_delay_min: U64, Gauge, Ns, Delay, base(15, 456, 72);
            /// Longest wait for a swapped-out page.
            swapin_delay_max: U64, Gauge, Ns, Delay, base(15, 464, 96);
            /// Shortest wait for a swapped-out page.
            swapin_delay_min: U64, Gauge, Ns, Delay, base(15, 472, 104);
            /// Longest direct reclaim.
            freepages_delay_max: U64, Gauge, Ns, Delay, base(15, 480, 376);
            /// Shortest direct reclaim.
            freepages_delay_min: U64, Gauge, Ns, Delay, base(15, 488, 384);
            /// Longest wait for a thrashing page.
            thrashing_delay_max: U64, Gauge, Ns, Delay, base(15, 496, 408);
            /// Shortest wait for a thrashing page.
            thrashing_delay_min: U64, Gauge, Ns, Delay, base(15, 504, 416);
            /// Longest direct compaction.
            compact_delay_max: U64, Gauge, Ns, Delay, base(15, 512, 448);
            /// Shortest direct compaction.
            compact_delay_min: U64, Gauge, Ns, Delay, base(15, 520, 456);
            /// Longest copy of a write-protected page.
            wpcopy_delay_max: U64, Gauge, Ns, Delay, base(15, 528, 512);
            /// Shortest copy of a write-protected page.
            wpcopy_delay_min: U64, Gauge, Ns, Delay, base(15, 536, 520);
            /// Longest interruption.
            irq_delay_max: U64, Gauge, Ns, Delay, base(15, 544, 544);
            /// Shortest interruption.
            irq_delay_min: U64, Gauge, Ns, Delay, base(15, 552, 552);
            /// CLOCK_MONOTONIC instant of this record.
            ac_time_ns: U64, Gauge, Ns, Basic, extension(0);
            /// CLOCK_BOOTTIME start of the task; with the pid it is the identity.
            ac_start_ns: U64, Gauge, Ns, Basic, extension(8);
            /// Steal time of the task.
            ac_sttime: U64, Counter, Us, Cpu, extension(16);
            /// Cumulative user time of dead children.
            ac_cutime: U64, Counter, Us, Cpu, extension(24);
            /// Cumulative system time of dead children.
            ac_cstime: U64, Counter, Us, Cpu, extension(32);
            /// Cumulative steal time of dead children.
            ac_csttime: U64, Counter, Us, Cpu, extension(40);
            /// Guest time, which is part of the user time.
            ac_gtime: U64, Counter, Us, Cpu, extension(48);
            /// Exact CPU time up to `ac_time_ns`, running or not.
            ac_sum_exec_ns: U64, Counter, Ns, Cpu, extension(56);
            /// Resident memory now.
            rss_kb: U64, Gauge, Kb, Memory, extension(64);
            /// Virtual memory now.
            vm_kb: U64, Gauge, Kb, Memory, extension(72);
            /// Cgroup v2 id.
            cgroup_id: U64, Id, None, Cgroup, extension(80);
            /// Kernel state bits, exit_state in the high half.
            state: U32, Flags, None, State, extension(88);
            /// CPU the task ran on last.
            cpu: U32, Gauge, None, State, extension(92);
            /// Threads of the process.
            num_threads: U32, Gauge, Count, State, extension(96);
            /// PF_* flags (kernel thread, exiting …).
            task_flags: U32, Flags, None, State, extension(100);
            /// User time of the process's threads already dead.
            tg_utime: U64, Counter, Us, Cpu, extension(104);
            /// System time of the process's threads already dead.
            tg_stime: U64, Counter, Us, Cpu, extension(112);
            /// Exact CPU time of the process's threads already dead.
            tg_sum_exec_ns: U64, Counter, Ns, Cpu, extension(120);
            /// Names the task for its life; 0 unknown.
            task_id: U64, Id, None, Basic, extension(128);
            /// When the longest wait for a CPU ended, since 1970; 0 is never.
            cpu_delay_max_ts: Timespec, Gauge, Ns, Delay, base(17, 560, 0);
            /// When the longest wait for block I/O ended, since 1970; 0 is never.
            blkio_delay_max_ts: Timespec, Gauge, Ns, Delay, base(17, 576, 0);
            /// When the longest wait for a swapped-out page ended, since 1970; 0 is never.
            swapin_delay_max_ts: Timespec, Gauge, Ns, Delay, base(17, 592, 0);
            /// When the longest direct reclaim ended, since 1970; 0 is never.
            freepages_delay_max_ts: Timespec, Gauge, Ns, Delay, base(17, 608, 0);
            /// When the longest wait for a thrashing page ended, since 1970; 0 is never.
            thrashing_delay_max_ts: Timespec, Gauge, Ns, Delay, base(17, 624, 0);
            /// When the longest direct compaction ended, since 1970; 0 is never.
            compact_delay_max_ts: Timespec, Gauge, Ns, Delay, base(17, 640, 0);
            /// When the longest copy of a write-protected page ended, since 1970; 0 is never.
            wpcopy_delay_max_ts: Timespec, Gauge, Ns, Delay, base(17, 656, 0);
            /// When the longest interruption ended, since 1970; 0 is never.
            irq_delay_max_ts: Timespec, Gauge, Ns, Delay, base(17, 672, 0);
        }
    };
}

/// One entry of the field table.
#[derive(Clone, Copy, Debug)]
pub struct FieldInfo {
    /// The kernel's name.
    pub name: &'static str,
    /// How to read it.
    pub repr: Repr,
    /// What it means over time.
    pub kind: Kind,
    /// Unit of the raw value.
    pub unit: Unit,
    /// What has to be read for it.
    pub group: FieldGroup,
    /// Where it stands.
    pub place: Place,
    /// One sentence for documentation.
    pub doc: &'static str,
}

macro_rules! place {
    (base($since:literal, $offset:literal, $v15:literal)) => {
        Place::Base { since: $since, offset: $offset, v15: $v15 }
    };
    (extension($offset:literal)) => {
        Place::Extension { offset: $offset }
    };
}

macro_rules! define_fields {
    ($($(#[doc = $doc:literal])+ $name:ident: $repr:ident, $kind:ident, $unit:ident, $group:ident, $place:ident $args:tt;)+) => {
        /// A field of the record, under the kernel's name.
        #[allow(non_camel_case_types, reason = "kernel field names verbatim")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Field {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Field {
            /// All fields in table order.
            pub const ALL: &'static [Field] = &[$(Field::$name),+];
        }

        const TABLE: &[FieldInfo] = &[$(FieldInfo {
            name: stringify!($name),
            repr: Repr::$repr,
            kind: Kind::$kind,
            unit: Unit::$unit,
            group: FieldGroup::$group,
            place: place!($place $args),
            doc: concat!($($doc),+).trim_ascii(),
        }),+];
    };
}
with_fields!(define_fields);

impl Field {
    /// Number of fields.
    pub const COUNT: usize = Field::ALL.len();

    /// The field's entry in the table.
    pub const fn info(self) -> &'static FieldInfo {
        &TABLE[self as usize]
    }

    /// The kernel's name.
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The field of that name.
    pub fn from_name(name: &str) -> Option<Field> {
        Field::ALL.iter().copied().find(|field| field.name() == name)
    }

    /// Whether the field is part of the extension.
    pub const fn is_extension(self) -> bool {
        matches!(self.info().place, Place::Extension { .. })
    }

    /// The field's offset in the base of `version`, None where that version lacks it.
    pub(crate) const fn base_offset(self, version: u16) -> Option<u16> {
        match self.info().place {
            Place::Base { since, offset, v15 } if version >= since => Some(match version {
                // Version 1 had no ac_exitcode, ac_flag and ac_nice.
                1 if offset >= 16 => offset - 8,
                // Versions 2 and 3 did not align ac_uid to eight bytes.
                2 | 3 if offset > 136 => offset - 8,
                2 | 3 if offset >= 120 => offset - 4,
                15 => v15,
                _ => offset,
            }),
            _ => None,
        }
    }
}
