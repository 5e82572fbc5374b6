//! Parses the files of /proc/PID.

use precise_top_core::{Field, FieldSet, RecordMut, state};

use crate::sys::clock::kernel_boottime_ns;

/// The leading words of a line that are numbers.
pub(super) fn words_as_numbers(line: &[u8]) -> Vec<u64> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map_while(|word| std::str::from_utf8(word).ok()?.parse().ok())
        .collect()
}

/// The start in a line of /proc/PID/stat, as CLOCK_BOOTTIME ns, to the tick.
pub(crate) fn start_of(line: &[u8], tick_ns: u64) -> Option<u64> {
    Some(Stat::parse(line)?.start_ns(tick_ns))
}

/// State and memory of a task. For a leader that has exited, a living thread has them.
pub(super) const MOMENT: FieldSet =
    FieldSet::of(&[Field::state, Field::task_flags, Field::vm_kb, Field::rss_kb, Field::cpu]);

/// One line of /proc/PID/stat (proc_pid_stat(5), fields counted from 1).
pub(crate) struct Stat {
    pub(crate) comm: Vec<u8>,
    pub(crate) state: u8,
    /// Fields from 4 on; negative ones in two's complement.
    numbers: Vec<u64>,
}

impl Stat {
    pub(crate) fn parse(line: &[u8]) -> Option<Stat> {
        let open = line.iter().position(|&byte| byte == b'(')?;
        // The name may hold anything, parentheses too.
        let close = line.iter().rposition(|&byte| byte == b')')?;
        let comm = line.get(open + 1..close)?.to_vec();
        let rest = std::str::from_utf8(line.get(close + 2..)?).ok()?;
        let mut words = rest.split_ascii_whitespace();
        let state = *words.next()?.as_bytes().first()?;
        let numbers = words
            .map_while(|word| {
                word.parse().ok().or_else(|| word.parse::<i64>().ok().map(i64::cast_unsigned))
            })
            .collect();
        Some(Stat { comm, state, numbers })
    }

    /// Field 4 or a later one; 0 where the line is shorter.
    pub(crate) fn number(&self, field: usize) -> u64 {
        self.numbers.get(field - 4).copied().unwrap_or(0)
    }

    /// Number of threads of the process that have not been reaped.
    pub(crate) fn threads(&self) -> u64 {
        self.number(20)
    }

    /// The kernel's CLOCK_BOOTTIME at the start, to the tick.
    pub(crate) fn start_ns(&self, tick_ns: u64) -> u64 {
        kernel_boottime_ns(self.number(22).saturating_mul(tick_ns))
    }

    /// Whether it is a thread other than its process's leader: no signal tells its end.
    pub(super) fn is_thread(&self) -> bool {
        self.number(38) as i32 == -1
    }

    /// Session id.
    pub(super) fn session(&self) -> u32 {
        self.number(6) as u32
    }

    /// Whether the leader has exited while other threads of the process live on.
    pub(super) fn leader_has_exited(&self) -> bool {
        self.state == b'Z' && self.threads() > 1
    }

    /// Sets the fields of a record that follow from the line alone.
    pub(super) fn write(&self, record: &mut RecordMut<'_>, tick_ns: u64, page_kb: u64) {
        let ticks_us = |field| self.number(field).saturating_mul(tick_ns / 1000);
        record.set_text(Field::ac_comm, &self.comm);
        record.set(Field::ac_ppid, self.number(4));
        record.set(Field::ac_minflt, self.number(10));
        record.set(Field::ac_majflt, self.number(12));
        record.set(Field::ac_utime, ticks_us(14));
        record.set(Field::ac_stime, ticks_us(15));
        record.set(Field::ac_cutime, ticks_us(16));
        record.set(Field::ac_cstime, ticks_us(17));
        record.set(Field::ac_nice, self.number(19));
        record.set(Field::num_threads, self.number(20));
        record.set(Field::ac_sched, self.number(41));
        record.set(Field::blkio_delay_total, self.number(42).saturating_mul(tick_ns));
        record.set(Field::ac_gtime, ticks_us(43));
        record.set_exec_mark(exec_mark(self.number(48)));
        self.write_moment(record, page_kb);
    }

    /// Sets what a task is doing and the memory that it has ([`MOMENT`]).
    pub(super) fn write_moment(&self, record: &mut RecordMut<'_>, page_kb: u64) {
        let bits = state::from_letter(char::from(self.state)).unwrap_or(0);
        record.set(Field::state, u64::from(bits));
        record.set(Field::task_flags, self.number(9));
        record.set(Field::vm_kb, self.number(23) / 1024);
        record.set(Field::rss_kb, self.number(24).saturating_mul(page_kb));
        record.set(Field::cpu, self.number(39));
    }
}

/// A mark of where the arguments are in a task's memory: at a random place, so that the next
/// program has them elsewhere. It is unknown for the tasks of other users.
fn exec_mark(arg_start: u64) -> u32 {
    if arg_start == 0 {
        return 0;
    }
    // No address is disclosed.
    (arg_start.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 | 1
}

/// Sets the fields that the lines `name: number` of a file are for, and returns them.
pub(super) fn write_lines(
    text: &[u8],
    record: &mut RecordMut<'_>,
    field_of: impl Fn(&[u8]) -> Option<Field>,
) -> FieldSet {
    let mut filled = FieldSet::EMPTY;
    for line in text.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        if let Some(field) = field_of(&line[..colon])
            && let Some(&number) = words_as_numbers(&line[colon + 1..]).first()
        {
            record.set(field, number);
            filled = filled.with(field);
        }
    }
    filled
}
