//! Sparklines and meters: what they say, and that their memory is bounded.

mod common;

use std::sync::Arc;

use precise_top_core::layout::EXTENSION_BIT;
use precise_top_core::{
    CpuTimes, Disk, DiskCounts, Field, FieldSet, Flags, Header, Interval, Layout, Metric, Network,
    NetworkCounts, Pressure, RecordMut, SharedBytes, Snapshot, SourceKind, Stall, System,
};
use precise_top_screen::text::Side;
use precise_top_screen::{
    CellFormat, Samples, TextColumn, TextTable, ViewRows, ViewSettings, draw,
};

use Field::{
    ac_pid, ac_start_ns, ac_stime, ac_sum_exec_ns, ac_utime, blkio_delay_total, cpu_delay_total,
};

const MS: u64 = 1_000_000;

/// A task: its pid, its start, and its CPU time up to now in ms.
type Task = (u64, u64, u64);

fn snapshot(seconds: u64, tasks: &[Task], dead: usize) -> Arc<Snapshot<SharedBytes>> {
    let layout = Layout::of_version(14 | EXTENSION_BIT).expect("a known version");
    let size = layout.record_size();
    let mut bytes = vec![0; size * tasks.len()];
    for (record, &(pid, start, ms)) in bytes.chunks_exact_mut(size).zip(tasks) {
        let mut record = RecordMut::new(record, &layout).expect("the right size");
        record.set(ac_pid, pid);
        record.set(ac_start_ns, start);
        record.set(ac_sum_exec_ns, ms * MS);
        record.set(ac_utime, 1);
        record.set(cpu_delay_total, 3 * ms * MS);
        record.set(blkio_delay_total, ms * MS / 8);
    }
    let held = [ac_pid, ac_start_ns, ac_stime, ac_sum_exec_ns, ac_utime];
    let held = held.into_iter().fold(FieldSet::EMPTY, FieldSet::with);
    let held = held.with(cpu_delay_total).with(blkio_delay_total);
    let mut header = Header::new(SourceKind::Bpf, held);
    header.begin.monotonic_ns = seconds * 1_000 * MS;
    header.begin.boottime_ns = seconds * 1_000 * MS;
    header.exited = dead as u32;
    header.flags = header.flags.with(Flags::EXITS, true);
    header.cpu_times = vec![CpuTimes {
        cpu: 0,
        user_ns: 500 * seconds * MS,
        idle_ns: 500 * seconds * MS,
        ..CpuTimes::default()
    }];
    header.system = Some(System {
        load_centi: [50, 125, 1000],
        mem_total_kb: 16_000_000,
        mem_free_kb: 1_000_000,
        mem_available_kb: 4_000_000,
        buffers_kb: 200_000,
        cached_kb: 3_000_000,
        swap_total_kb: 4_000_000,
        swap_free_kb: 1_000_000,
    });
    let stall = |share: u64| Stall { avg10_centi: 0, total_us: share * 10_000 * seconds };
    let pressure = |share| Some(Pressure { some: stall(share), full: None });
    header.machine.cpu_pressure = pressure(87);
    header.machine.io_pressure = pressure(12);
    header.machine.memory_pressure = pressure(0);
    let counts = DiskCounts {
        read_bytes: 3_200_000 * seconds,
        written_bytes: 2048 * seconds,
        busy_ms: 120 * seconds,
        ..DiskCounts::default()
    };
    header.machine.disks = Some(vec![Disk { name: "vda".into(), counts }]);
    let counts = NetworkCounts { sent_bytes: 1000 * seconds, ..NetworkCounts::default() };
    header.machine.networks = Some(vec![Network { name: "eth0".into(), counts }]);
    let end = bytes.len();
    let snapshot = Snapshot::new(header, layout, SharedBytes::new(bytes), 0..end, 0..0);
    Arc::new(snapshot.expect("well formed"))
}

fn interval(seconds: u64, before: &[Task], after: &[Task], dead: usize) -> Interval {
    Interval::between(snapshot(seconds, before, 0), snapshot(seconds + 1, after, dead))
}

fn table() -> TextTable {
    let column = |title: &str, width, side, metric: &str, format| TextColumn {
        title: title.into(),
        unit: String::new(),
        heading: title.into(),
        width,
        side,
        metric: Metric::from_name(metric).expect("a column"),
        format,
        summed: false,
        rank: 5,
        limits: None,
    };
    let wait = |name: &str| CellFormat::from_name(name).expect("a format");
    TextTable::new(vec![
        column("pid", 5, Side::Right, "ac_pid", CellFormat::Integer),
        column("wait", 5, Side::Left, "wait_pct", wait("wait")),
        column("wait%", 10, Side::Left, "wait_pct", wait("wait_pct")),
        column("60s", 6, Side::Left, "total_ns", CellFormat::Spark),
        column("total", 7, Side::Right, "total_pct", CellFormat::Percent),
    ])
}

fn settings() -> ViewSettings {
    common::settings()
}

fn drawn(interval: &Interval, samples: &Samples, size: (usize, usize), ascii: bool) -> Vec<String> {
    let settings = ViewSettings { ascii, ..settings() };
    let rows = ViewRows { table: interval, unchanged: None, tree: None, samples: Some(samples) };
    let screen = draw(interval, rows, &table(), &settings, &(), size, 0, &mut None);
    screen.lines.into_iter().map(|line| line.text).collect()
}

/// The samples of a task that used `ms` in each of these seconds.
fn samples(first: u64, seconds: &[u64]) -> (Samples, Interval) {
    let (mut samples, mut used, mut last) = (Samples::default(), 0, None);
    for (at, ms) in seconds.iter().enumerate() {
        let next = interval(first + at as u64, &[(5, 1, used)], &[(5, 1, used + ms)], 0);
        used += ms;
        samples.observe(&next, true);
        last = Some(next);
    }
    (samples, last.expect("an interval"))
}

/// The cells of the row of pid 5.
fn row(interval: &Interval, samples: &Samples) -> Vec<String> {
    let lines = drawn(interval, samples, (100, 24), false);
    let line = lines.iter().find(|line| line.get(1..7) == Some("    5 ")).expect("the row");
    line[1..].split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_spark_is_a_share_of_a_cpu_in_each_ten_seconds() {
    // From the begin of a span on: full, idle, half, the last five seconds full again.
    let seconds = [vec![1000; 10], vec![0; 10], vec![500; 10], vec![1000; 5]].concat();
    let (seen, last) = samples(999, &seconds);
    assert_eq!(row(&last, &seen)[4], "··█·▄█", "{:?}", row(&last, &seen));
    // A minute later all is gone.
    let mut seen = seen;
    let later = interval(1200, &[(5, 1, 0)], &[(5, 1, 0)], 0);
    seen.observe(&later, true);
    assert_eq!(row(&later, &seen).len(), 4, "nothing is shown for it");
}

#[test]
fn another_task_of_the_pid_begins_again_and_so_does_an_earlier_time() {
    let (mut seen, _) = samples(999, &[1000; 30]);
    let other = 1_031_000 * MS;
    let born = interval(1031, &[(5, 1, 0)], &[(5, other + 1, 100)], 0);
    seen.observe(&born, true);
    assert_eq!(row(&born, &seen)[4], "·····▁");
    let (mut seen, _) = samples(999, &[1000; 30]);
    let earlier = interval(900, &[(5, 1, 0)], &[(5, 1, 1000)], 0);
    seen.observe(&earlier, true);
    assert_eq!(row(&earlier, &seen)[4], "·····█");
}

#[test]
fn the_samples_hold_what_ran_in_the_last_minute() {
    let mut samples = Samples::default();
    for second in 0..200 {
        // A hundred tasks each second that are never seen again, and ten that die.
        let tasks: Vec<Task> = (0..110).map(|at| (1000 + second * 110 + at, 1, 0)).collect();
        let ran: Vec<Task> = tasks.iter().map(|&(pid, start, _)| (pid, start, 1)).collect();
        samples.observe(&interval(second, &tasks, &ran, 10), true);
        // The dead of one interval are still there; of older tasks those of a minute.
        assert!(samples.tasks() <= 61 * 100 + 10, "{}", samples.tasks());
    }
    assert!(samples.tasks() >= 50 * 100);
}

#[test]
fn screens_of_meters() {
    let (seen, last) = samples(999, &[1000, 800, 600, 400, 200, 100, 50, 0, 0, 300]);
    for (name, size, ascii) in [
        ("meters-40x10", (40, 10), false),
        ("meters-80x24", (80, 24), false),
        ("meters-200x60", (200, 60), false),
        ("meters-ascii-80x24", (80, 24), true),
    ] {
        let lines = drawn(&last, &seen, size, ascii);
        assert!(!ascii || lines.iter().all(|line| line.is_ascii()));
        let text: String = lines.iter().map(|line| format!("|{line}|\n")).collect();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = folder.join(format!("tests/screens/{name}.txt"));
        if std::env::var_os("PTOP_WRITE_SCREENS").is_some() {
            std::fs::write(&path, &text).expect("a writable file");
        }
        assert_eq!(text, std::fs::read_to_string(&path).expect("a golden screen"), "{name}");
    }
}
