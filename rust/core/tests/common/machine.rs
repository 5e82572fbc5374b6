//! A machine of made-up tasks, that run, die and are born from snapshot to snapshot.

use std::collections::BTreeMap;

use precise_top_core::layout::EXTENSION_BIT;
use precise_top_core::{
    CpuClocks, CpuTimes, Field, FieldSet, Flags, Header, Kind, Layout, RecordMut, Repr, Snapshot,
    SourceKind,
};

/// Numbers that look random and are the same for the same seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}

#[derive(Clone)]
struct Task {
    start_ns: u64,
    values: BTreeMap<Field, u64>,
    name: String,
    mask: u8,
}

/// See the module.
pub(crate) struct Machine {
    numbers: Numbers,
    pub(crate) tasks: usize,
    /// At most so many are born between two snapshots, and die.
    pub(crate) births: u64,
    pub(crate) one_instant: bool,
    pub(crate) flags: Flags,
    /// Tasks that run: the number of their runs between two snapshots.
    runs: Option<Vec<u64>>,
    /// Clocks are multiples of this. With whole µs a task's age has no rounding.
    pub(crate) step_ns: u64,
    now_ns: u64,
    next_pid: u64,
    living: BTreeMap<u64, Task>,
}

impl Machine {
    pub(crate) fn new(seed: u64) -> Machine {
        let mut numbers = Numbers(seed);
        Machine {
            tasks: 1 + numbers.below(30) as usize,
            births: 4,
            one_instant: true,
            flags: Flags::default(),
            runs: None,
            step_ns: 1000,
            now_ns: (1_000_000_000 + numbers.below(1 << 30)) * 1000,
            next_pid: 100,
            living: BTreeMap::new(),
            numbers,
        }
    }

    /// Of `tasks`, `once` run once between two snapshots and `often` ten times; nothing
    /// is born.
    pub(crate) fn like_a_server(tasks: usize, once: usize, often: usize) -> Machine {
        let mut runs = vec![10; often];
        runs.extend(vec![1; once]);
        runs.resize(tasks, 0);
        Machine { tasks, births: 0, runs: Some(runs), ..Machine::new(41) }
    }

    pub(crate) fn snapshots(&mut self, count: usize) -> Vec<Snapshot<Vec<u8>>> {
        (0..count).map(|_| self.step()).collect()
    }

    fn born(&mut self) {
        let pid = self.next_pid;
        // Pids are used again.
        self.next_pid = 100 + (pid - 99) % 64.max(4 * self.tasks as u64);
        let values = Field::ALL
            .iter()
            .filter(|field| {
                field.info().repr != Repr::Comm && self.numbers.0 & 1 << (**field as u8 % 60) != 0
            })
            .map(|&field| (field, 0))
            .collect();
        let task = Task {
            start_ns: self.now_ns - self.numbers.below(1 << 20) * self.step_ns,
            values,
            name: format!("task{}", self.numbers.below(100)),
            mask: self.numbers.below(2) as u8,
        };
        self.living.entry(pid).or_insert(task);
    }

    /// What a run of a task changes.
    fn run(numbers: &mut Numbers, task: &mut Task, runs: u64) {
        let used_ns = runs * (20_000 + numbers.below(80_000));
        for field in [Field::cpu_run_virtual_total, Field::ac_sum_exec_ns] {
            *task.values.entry(field).or_default() += used_ns;
        }
        for field in [Field::cpu_count, Field::nvcsw] {
            *task.values.entry(field).or_default() += runs;
        }
        *task.values.entry(Field::cpu_delay_total).or_default() += numbers.below(10_000) * runs;
        // One in twenty runs meets a tick.
        if numbers.below(20) < runs {
            for field in [Field::ac_utime, Field::ac_utimescaled] {
                *task.values.entry(field).or_default() += 4000;
            }
            *task.values.entry(Field::cpu_run_real_total).or_default() += 4_000_000;
        }
        *task.values.entry(Field::cpu).or_default() = numbers.below(2);
    }

    /// Everything may change.
    fn shake(numbers: &mut Numbers, task: &mut Task) {
        for (field, value) in &mut task.values {
            match numbers.below(12) {
                0 => *value = numbers.next(),
                1 if field.info().kind == Kind::Gauge => *value = value.wrapping_sub(3),
                2..=4 => *value = value.wrapping_add(numbers.below(1 << 20)),
                _ => {}
            }
        }
        if numbers.below(10) == 0 {
            task.name.push('x');
            task.mask ^= 1;
        }
    }

    /// The next snapshot.
    pub(crate) fn step(&mut self) -> Snapshot<Vec<u8>> {
        self.now_ns += 1_000_000_000 + self.numbers.below(50) * self.step_ns;
        let mut dead = Vec::new();
        while self.living.len() < self.tasks {
            self.born();
        }
        for _ in 0..self.births {
            let pids: Vec<u64> = self.living.keys().copied().collect();
            let pid = pids[self.numbers.below(pids.len() as u64) as usize];
            if self.numbers.below(2) == 0 && self.living.len() > 1 {
                dead.extend(self.living.remove(&pid).map(|task| (pid, task)));
            }
            self.born();
        }
        for (index, task) in self.living.values_mut().enumerate() {
            match &self.runs {
                Some(runs) if runs[index] == 0 => {}
                Some(runs) => Machine::run(&mut self.numbers, task, runs[index]),
                None if self.numbers.below(3) > 0 => {}
                None => Machine::shake(&mut self.numbers, task),
            }
        }
        self.take(&dead)
    }

    fn take(&mut self, dead: &[(u64, Task)]) -> Snapshot<Vec<u8>> {
        let layout = Layout::of_version(14 | EXTENSION_BIT).expect("a known version");
        let size = layout.record_size();
        let rows: Vec<(u64, Task)> = self
            .living
            .iter()
            .map(|(&pid, task)| (pid, task.clone()))
            .chain(dead.iter().cloned())
            .collect();
        let mut bytes = vec![0; size * rows.len()];
        let walk_ns = if self.one_instant { 0 } else { 2_000_000 };
        let mut masks = Vec::new();
        for (index, ((pid, task), row)) in rows.iter().zip(bytes.chunks_exact_mut(size)).enumerate()
        {
            let mut record = RecordMut::new(row, &layout).expect("the right size");
            for (&field, &value) in &task.values {
                record.set(field, value);
            }
            let at_ns = self.now_ns + walk_ns * index as u64 / rows.len() as u64;
            let age_us = (at_ns - task.start_ns) / 1000;
            record.set(Field::version, u64::from(14 | EXTENSION_BIT));
            record.set(Field::ac_pid, *pid);
            record.set(Field::ac_tgid, *pid);
            record.set(Field::ac_start_ns, task.start_ns);
            record.set(Field::task_id, task.start_ns ^ pid << 40);
            record.set(Field::ac_time_ns, at_ns);
            record.set(Field::ac_etime, age_us);
            record.set(Field::ac_tgetime, age_us);
            record.set_text(Field::ac_comm, task.name.as_bytes());
            masks.push(task.mask);
        }
        let records = 0..bytes.len();
        bytes.append(&mut masks);
        let indices = records.end..bytes.len();
        Snapshot::new(self.header(walk_ns, dead.len()), layout, bytes, records, indices)
            .expect("well formed")
    }

    fn header(&mut self, walk_ns: u64, exited: usize) -> Header {
        let mut header = Header::new(SourceKind::Bpf, FieldSet::ALL);
        header.masks = vec![FieldSet::ALL, FieldSet::ALL.without(Field::read_bytes)];
        header.flags = self.flags.with(Flags::ONE_INSTANT, self.one_instant);
        header.begin.monotonic_ns = self.now_ns;
        header.begin.boottime_ns = self.now_ns;
        header.begin.realtime_ns = 1_795_000_000_000_000_000 + self.now_ns;
        header.end = header.begin;
        header.end.monotonic_ns += walk_ns + 400_000;
        header.host = "machine".into();
        header.exited = exited as u32;
        for cpu in 0..2 {
            let used_ns = self.now_ns / 10 * 10_000_000;
            let times = [used_ns, 0, used_ns / 3, self.now_ns, 0, 0, 7, 0, 0, 0];
            header.cpu_times.push(CpuTimes::from_array(cpu, times));
            header.cpu_clocks.push(CpuClocks {
                cpu,
                clock_ns: self.now_ns,
                clock_task_ns: self.now_ns - self.now_ns / 1000,
                idle_ns: self.now_ns / 2,
                steal_ns: 0,
            });
        }
        header.own_cpu_ns = self.now_ns / 500;
        header
    }
}
