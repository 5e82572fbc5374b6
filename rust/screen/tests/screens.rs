//! Whole screens against golden text. PTOP_WRITE_SCREENS=1 updates the golden files.

mod common;

use std::path::Path;
use std::sync::Arc;

use precise_top_core::{
    Balance, Cell, CpuTimes, FieldSet, Flags, Header, Identity, Interval, Key, Layout, Metric,
    Record, SharedBytes, Snapshot, SourceKind, System, TaskTable,
};
use precise_top_screen::meters::MachineRates;
use precise_top_screen::screen::lines;
use precise_top_screen::selection::Place;
use precise_top_screen::text::{Side, width};
use precise_top_screen::view::LEAST_TASKS;
use precise_top_screen::waits::Waits;
use precise_top_screen::{
    CellFormat, Fate, Heights, Names, RowKey, ScreenLine, ScreenLines, ShownRow, Style, TableRow,
    TextColumn, TextTable, ViewData, ViewSettings, missing,
};
use proptest::prelude::*;

const NAMES: [&str; 5] =
    ["python3", "日本語のタスク名前です", "evil\x1b[2J\u{202e}", "kworker/0:1", ""];

fn column(title: &str, unit: &str, width: usize, metric: &str, format: CellFormat) -> TextColumn {
    let side = if unit == "(str)" { Side::Left } else { Side::Right };
    let metric = Metric::from_name(metric).expect("a column");
    let summed = metric.is_share() || title == "thr";
    TextColumn {
        title: title.into(),
        unit: unit.into(),
        heading: title.into(),
        width,
        side,
        metric,
        format,
        summed,
        rank: if matches!(title, "pid" | "Name") { 0 } else { 5 },
        limits: None,
    }
}

fn live() -> TextTable {
    TextTable::new(vec![
        column("pid", "(#)", 7, "ac_pid", CellFormat::Integer),
        column("USER", "(str)", 8, "ac_uid", CellFormat::User),
        column("s", "", 1, "state", CellFormat::State),
        column("ni", "(#)", 3, "ac_nice", CellFormat::Integer),
        column("thr", "(#)", 5, "num_threads", CellFormat::Integer),
        column("rss", "(b)", 6, "rss_kb", CellFormat::Kibibytes),
        column("user", "(%)", 6, "user_pct", CellFormat::Percent),
        column("sys", "(%)", 6, "system_pct", CellFormat::Percent),
        column("ste", "(%)", 6, "steal_pct", CellFormat::Percent),
        column("total", "(%)", 7, "total_pct", CellFormat::Percent),
        column("Name", "(str)", 15, "ac_comm", CellFormat::Name),
    ])
}

fn unknown() -> TextTable {
    TextTable::new(vec![
        column("pid", "(#)", 7, "ac_pid", CellFormat::Integer),
        column("delay", "(%)", 6, "cpu_delay_total_pct", CellFormat::Percent),
        column("read", "(b/s)", 6, "read_bytes_per_sec", CellFormat::BytesRate),
        column("Elap+", "(hm)", 7, "ac_etime", CellFormat::ElapsedUs),
        column("Name", "(str)", 15, "ac_comm", CellFormat::Name),
    ])
}

/// Rows whose cells are those of a function.
struct Rows<F>(F);

impl<F: Fn(Metric, usize) -> Option<Cell<'static>>> TaskTable for Rows<F> {
    fn rows(&self) -> usize {
        1
    }

    fn record(&self, _row: usize) -> Option<Record<'_>> {
        None
    }

    fn cell(&self, row: usize, metric: Metric) -> Option<Cell<'_>> {
        (self.0)(metric, row)
    }

    fn key(&self, _row: usize, _metric: Metric) -> Option<Key<'_>> {
        None
    }
}

struct Root;

impl Names for Root {
    fn user(&self, uid: u32, text: &mut String) {
        text.push_str(if uid == 0 { "root" } else { "?" });
    }

    fn cgroup(&self, _record: &Record<'_>) -> Option<Arc<[u8]>> {
        None
    }

    fn arguments(&self, _record: &Record<'_>, _ran: bool) -> Option<Arc<[u8]>> {
        None
    }
}

/// The row of a table whose cells are those of a function.
fn row_of(
    table: &TextTable,
    row: usize,
    cell: impl Fn(Metric, usize) -> Option<Cell<'static>>,
) -> String {
    table.row(&Root, TableRow { table: &Rows(cell), row, ran: true, branch: None, samples: None })
}

fn cell(metric: Metric, row: usize) -> Option<Cell<'static>> {
    Some(match &*metric.name() {
        "ac_pid" => Cell::Int(1000 + row as i128),
        "ac_comm" => Cell::Text(NAMES[row % NAMES.len()].as_bytes()),
        "ac_uid" | "state" => Cell::Int(0),
        "ac_nice" => Cell::Int(-5),
        "num_threads" => Cell::Int(3),
        "rss_kb" => Cell::Int(123_456),
        "user_pct" => Cell::Float(12.3456),
        "system_pct" => Cell::Float(0.1),
        "total_pct" => Cell::Float(12.4456),
        _ => return None,
    })
}

/// Shares in per cent as ns of a second.
fn cpu(cpu: u32) -> CpuTimes {
    let pct = 10_000_000;
    CpuTimes {
        cpu,
        user_ns: 41 * pct + pct / 2,
        nice_ns: pct / 2,
        system_ns: 8 * pct,
        idle_ns: 45 * pct,
        iowait_ns: 2 * pct,
        irq_ns: pct / 2,
        softirq_ns: pct + pct / 2,
        steal_ns: pct,
        guest_ns: 0,
        guest_nice_ns: 0,
    }
}

fn key(row: usize) -> RowKey {
    let pid = 1000 + row as u32;
    RowKey::Task(Identity { pid, start_ns: Some(1), task_id: None })
}

fn shown(table: &TextTable, row: usize) -> ShownRow {
    let line = ScreenLine::plain(format!(" {}", row_of(table, row, cell)));
    ShownRow { line, name_at: 0, key: Some(key(row)), fate: Fate::Lives }
}

fn view(table: &TextTable, rows: usize, cpus: u32) -> ViewData<'static> {
    let columns = table.columns();
    ViewData {
        local_s: 12 * 3600 + 34 * 60 + 56,
        host: "host\x07name",
        boottime_ns: (3 * 86_400 + 4 * 3_600) * 1_000_000_000,
        system: Some(System {
            load_centi: [50, 125, 1000],
            mem_total_kb: 16_000_000,
            mem_free_kb: 1_000_000,
            mem_available_kb: 8_000_000,
            buffers_kb: 200_000,
            cached_kb: 3_000_000,
            swap_total_kb: 0,
            swap_free_kb: 0,
        }),
        source: SourceKind::Netlink,
        one_instant: false,
        interval_ns: 1_000_000_000,
        own_ns: 3_100_000,
        tasks: rows,
        exited: if rows > 0 { 1922 } else { 0 },
        rows,
        unfiltered: rows,
        states: [("running", 2), ("sleeping", rows.saturating_sub(2))]
            .into_iter()
            .filter(|_| rows > 0)
            .collect(),
        cpus: (0..cpus).map(cpu).collect(),
        waits: Waits::default(),
        rates: MachineRates::default(),
        samples: None,
        balance: Some(Balance {
            cpus,
            available_ns: 2_000_000_000,
            tasks_ns: 247_000_000,
            rowless_ns: 1_000_000,
            irq_ns: 100_000,
            steal_ns: 1_900_000,
            idle_ns: 1_750_000_000,
            residual_ns: -2_000,
            step_ns: 0,
            edge_ns: 150_000,
            within_ns: 50_000,
        }),
        sums: columns
            .iter()
            .map(|column| column.metric.name().ends_with("_pct").then_some(Cell::Float(99.997)))
            .collect(),
        table: table.clone(),
        share_pct: None,
        shown: (0..rows).map(|row| shown(table, row)).collect(),
        top: 0,
        selected: Place::Nowhere,
        fate: Fate::Lives,
        missing: String::new(),
    }
}

fn settings() -> ViewSettings {
    ViewSettings {
        key_bar: vec![("F1".into(), "Help".into()), ("F10".into(), "Quit".into())],
        ..common::settings()
    }
}

fn drawn(view: &ViewData<'_>, settings: &ViewSettings, size: (usize, usize)) -> ScreenLines {
    let screen = lines(view.clone(), settings, size, &mut None);
    assert_eq!(screen.lines.len(), size.1);
    for line in &screen.lines {
        assert_eq!(width(&line.text), size.0, "{line:?}");
    }
    screen
}

/// A line with its styles: the one of the line first, those of parts in braces.
fn marked(line: &ScreenLine) -> String {
    let mut text = format!("{:<8}|", line.style.name());
    for (part, style) in line.parts() {
        if style == line.style {
            text.push_str(part);
        } else {
            text.push_str(&format!("{{{}:{part}}}", style.name()));
        }
    }
    text + "|"
}

fn check(name: &str, view: &ViewData<'_>, settings: &ViewSettings, size: (usize, usize)) {
    let text: String = drawn(view, settings, size)
        .lines
        .iter()
        .map(|line| format!("{}\n", marked(line)))
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/screens/{name}.txt"));
    if std::env::var_os("PTOP_WRITE_SCREENS").is_some() {
        std::fs::write(&path, &text).expect("a writable file");
    }
    assert_eq!(text, std::fs::read_to_string(&path).expect("a golden screen"), "{name}");
}

#[test]
fn live_screens() {
    let table = live();
    for size in [(80, 24), (40, 10), (200, 60)] {
        let name = format!("live-{}x{}", size.0, size.1);
        let settings = ViewSettings { ..settings() };
        let table = table.fitting(size.0 - 1, &settings, |_| true);
        check(&name, &view(&table, 40, 2), &settings, size);
    }
    let settings = ViewSettings { ..settings() };
    check("empty-80x24", &view(&table, 0, 2), &settings, (80, 24));
    check("cpus128-80x24", &view(&table, 40, 128), &settings, (80, 24));
    let typed = ViewSettings { prompt: Some("filter: py\x1b_".into()), ..settings };
    check("filter-80x24", &view(&table, 3, 2), &typed, (80, 24));
}

/// A view whose columns fit, with rows of that many tasks.
fn fitted(size: (usize, usize), tasks: usize, cpus: u32) -> ViewData<'static> {
    let table = live().fitting(size.0 - 1, &settings(), |metric| metric != Metric::StealPct);
    ViewData { tasks, rows: tasks, ..view(&table, tasks.min(100), cpus) }
}

#[test]
fn screens_of_any_size() {
    let ascii = ViewSettings { ascii: true, ..settings() };
    for size in [(40, 10), (60, 15), (80, 24), (120, 36), (200, 60)] {
        for (tasks, cpus) in [(0, 1), (1, 1), (10_000, 256)] {
            let name = format!("tasks{tasks}-cpus{cpus}-{}x{}", size.0, size.1);
            check(&name, &fitted(size, tasks, cpus), &settings(), size);
        }
        check(&format!("ascii-{}x{}", size.0, size.1), &fitted(size, 40, 2), &ascii, size);
        for line in drawn(&fitted(size, 40, 2), &ascii, size).lines {
            assert!(line.text.is_ascii(), "{line:?}");
        }
    }
}

#[test]
fn columns_go_and_digits_stay() {
    let whole = live();
    let all = row_of(&whole, 0, cell);
    let all: Vec<&str> = all.split_whitespace().collect();
    for cells in 1..120 {
        let table = whole.fitting(cells, &settings(), |_| true);
        let kept = row_of(&table, 0, cell);
        for text in kept.split_whitespace() {
            assert!(all.contains(&text), "{text} at {cells}");
        }
        let titles: Vec<&str> = table.columns().iter().map(|column| &*column.title).collect();
        // The name, the task and the sorted column stay.
        assert!(["pid", "total", "Name"].iter().all(|title| titles.contains(title)), "{titles:?}");
        if cells >= 32 {
            assert!(width(&kept) <= cells, "{kept:?} at {cells}");
        }
    }
}

#[test]
fn large_numbers_lose_the_digits_after_the_point() {
    let table = TextTable::new(vec![column("user", "%", 6, "user_pct", CellFormat::Percent)]);
    let shown = |value: f64| row_of(&table, 0, |_, _| Some(Cell::Float(value)));
    assert_eq!(shown(999.994), "999.99");
    assert_eq!(shown(25_599.6), " 25600");
    assert_eq!(shown(1e9), "######");
}

#[test]
fn what_is_not_known_is_not_zero() {
    let table = unknown();
    let seen = ViewData { system: None, ..view(&table, 40, 2) };
    let settings = ViewSettings { descending: false, ..settings() };
    check("unknown-80x24", &seen, &settings, (80, 24));
}

#[test]
fn the_first_line_says_which_frame_is_shown() {
    let table = live();
    let first = |change: &dyn Fn(&mut ViewSettings)| {
        let mut settings = settings();
        change(&mut settings);
        let screen = drawn(&view(&table, 40, 2), &settings, (80, 24));
        let line = &screen.lines[0];
        line.text.split("  ").next().expect("text").to_owned()
    };
    let time = first(&|_| {}).replace("◉ LIVE ", "");
    assert_eq!(time.len(), "12:34:56".len());
    let held = |settings: &mut ViewSettings| {
        (settings.paused, settings.age_s) = (true, Some(229.0));
        settings.exact_s = Some(2530.4);
    };
    assert_eq!(first(&held), format!("⏸ {time} −3:49 exact −42:10"));
    let ascii = |settings: &mut ViewSettings| {
        held(settings);
        settings.ascii = true;
        settings.exact_s = Some(3723.0);
    };
    assert_eq!(first(&ascii), format!("PAUSED {time} -3:49 exact -1:02:03"));
    assert_eq!(first(&|settings| settings.ascii = true), format!("* LIVE {time}"));
    let merged = |settings: &mut ViewSettings| settings.exact_s = Some(0.0);
    assert_eq!(first(&merged), format!("◉ LIVE {time} exact −0:00"));
    assert_eq!(first(&|settings| settings.paused = true), format!("⏸ {time}"));
}

#[test]
fn groups_are_counted_on_a_narrow_screen_too() {
    let table = live();
    let states = ["running", "sleeping", "idle", "waiting", "stopped", "traced", "zombie"];
    let states = states.map(|state| (state, 12_345)).into_iter().collect();
    let view = ViewData { states, ..view(&table, 12_345, 2) };
    let settings = ViewSettings { group_by: "session".into(), ..settings() };
    let screen = drawn(&view, &settings, (60, 24));
    let tasks = screen.lines.iter().find(|line| line.text.contains("rows by")).expect("a line");
    assert!(
        tasks.text.starts_with("tasks 12345 +1922 died (12345 rows by session): "),
        "{tasks:?}"
    );
}

#[test]
fn a_low_screen_says_that_its_frame_is_not_the_newest() {
    let table = live();
    let first = |change: &dyn Fn(&mut ViewSettings)| {
        let mut settings = settings();
        change(&mut settings);
        let screen = drawn(&view(&table, 40, 2), &settings, (40, 10));
        screen.lines[0].text.clone()
    };
    let cpus = first(&|_| {});
    assert!(cpus.starts_with("✓ 2 CPUs"), "{cpus}");
    let held = |settings: &mut ViewSettings| {
        (settings.paused, settings.age_s) = (true, Some(229.0));
        settings.badge = "ROOT".into();
    };
    assert!(first(&|settings| settings.paused = true).starts_with("⏸ ✓ 2 CPUs"));
    assert!(first(&held).starts_with("⏸ ROOT −3:49 ✓ 2 CPUs"));
    let replay = |settings: &mut ViewSettings| {
        (settings.paused, settings.ascii) = (true, true);
        settings.replay = "2026-11-23 12:34:56".into();
    };
    assert!(first(&replay).starts_with("REPLAY PAUSED "));
}

#[test]
fn screens_of_replays() {
    let table = live();
    let notice = "2026-11-23 12:34:56  frame 4 of 59".into();
    let settings = ViewSettings { paused: true, notice, ..settings() };
    check("replay-80x24", &view(&table, 40, 2), &settings, (80, 24));
    let prompt = Some("time (12:34:56, or from here +90s, -5m): 12:3_".into());
    let settings = ViewSettings { prompt, notice: String::new(), ..settings };
    check("replay-time-80x24", &view(&table, 40, 2), &settings, (80, 24));
}

#[test]
fn a_wide_screen_has_two_facts_in_a_line() {
    let table = live();
    let above = |cells| {
        let screen = drawn(&view(&table, 40, 2), &settings(), (cells, 60));
        let above = screen.lines[..screen.headings_line].iter();
        above.map(|line| line.text.trim_end().to_owned()).collect::<Vec<_>>()
    };
    let (narrow, wide) = (above(179), above(180));
    for fact in [&narrow[0], &narrow[3], &narrow[4], &narrow[5]] {
        let is_there = |line: &String| {
            line.trim_end() == fact || line.ends_with(&**fact) || line.starts_with(&**fact)
        };
        assert!(wide.iter().any(is_there), "{fact}: {wide:#?}");
    }
    assert_eq!(wide.len(), narrow.len() - 2, "{wide:#?}");
}

#[test]
fn a_low_screen_still_shows_tasks() {
    let table = live();
    let heights = |cpus: u32, size| view(&table, 40, cpus).heights(size, &settings());
    for cpus in [1, 2, 8, 16, 128, 256] {
        assert!(heights(cpus, (80, 24)).tasks >= LEAST_TASKS, "{cpus}");
        // The CPUs take at most a third of a screen.
        let large = heights(cpus, (200, 60));
        assert!(large.bars < 20, "{large:?}");
        assert!(large.bars * large.columns >= cpus as usize, "{large:?}");
        assert!(heights(cpus, (80, 16)).facts >= 1, "the line of all CPUs stays");
    }
    assert_eq!(heights(2, (40, 10)).tasks, 7);
    for height in 0..60 {
        for cpus in [0, 1, 2, 300] {
            for cells in [20, 200] {
                for has_filter in [false, true] {
                    let heights = Heights::new((cells, height), cpus, 5, has_filter);
                    assert!(heights.tasks >= 1 && heights.facts >= 1);
                }
                drawn(&view(&table, 40, cpus as u32), &settings(), (cells, height));
            }
        }
    }
}

proptest! {
    /// What a recording says may be anything.
    #[test]
    fn no_number_is_too_large(
        n in prop::collection::vec(prop_oneof![any::<u64>(), Just(u64::MAX), Just(0)], 30),
        local_s: i64,
        size in (0..130_usize, 0..40_usize),
    ) {
        let table = live();
        let seen = ViewData {
            local_s,
            boottime_ns: n[0],
            interval_ns: n[1].max(1),
            own_ns: n[2],
            system: Some(System {
                load_centi: [u32::MAX; 3],
                mem_total_kb: n[3],
                mem_free_kb: n[4],
                mem_available_kb: n[5],
                buffers_kb: n[6],
                cached_kb: n[7],
                swap_total_kb: n[8],
                swap_free_kb: n[9],
            }),
            cpus: vec![CpuTimes::from_array(u32::MAX, std::array::from_fn(|at| n[10 + at]))].into(),
            balance: Some(Balance {
                cpus: u32::MAX,
                available_ns: n[20],
                tasks_ns: n[21],
                idle_ns: n[22],
                irq_ns: n[23],
                steal_ns: n[24],
                rowless_ns: n[25],
                residual_ns: n[26] as i64,
                step_ns: n[27],
                edge_ns: n[28],
                within_ns: n[29],
            }),
            sums: table.columns().iter().map(|_| Some(Cell::Int(n[0].into()))).collect(),
            ..view(&table, 3, 2)
        };
        drawn(&seen, &settings(), size);
    }
}

/// The numbers of the reversed rows, by their pids.
fn reversed(screen: &ScreenLines) -> Vec<&str> {
    let lines = screen.lines.iter().filter(|line| line.style == Style::Reverse);
    lines.map(|line| line.text.split_whitespace().next().expect("a cell")).collect()
}

#[test]
fn the_selected_row_is_reversed_wherever_the_screen_begins() {
    let table = live();
    let seen = ViewData { top: 5, selected: Place::Row(7), ..view(&table, 10, 2) };
    let screen = drawn(&seen, &settings(), (80, 24));
    assert_eq!(reversed(&screen), ["1002"], "the third of those that are shown");
    assert_eq!(screen.selected, Some(7));
    assert_eq!(screen.selected_key, Some(key(2)));
    assert!(!screen.died);
    // A row that is scrolled off keeps its key.
    let settings = ViewSettings { selected_key: Some(key(30)), ..settings() };
    let screen = drawn(&ViewData { selected: Place::Row(30), ..seen }, &settings, (80, 24));
    assert_eq!((screen.selected, screen.selected_key), (Some(30), Some(key(30))));
}

#[test]
fn the_line_of_a_task_that_is_gone_stays() {
    let table = live();
    for (fate, words) in [
        (Fate::Died(Some(1 << 8)), "died, exit 1: "),
        (Fate::Died(Some(9)), "died, signal 9: "),
        (Fate::Lives, "died: "),
    ] {
        let mut seen = ViewData { selected: Place::Row(3), ..view(&table, 10, 2) };
        let row = &mut seen.shown[3];
        row.name_at = row.line.text.rfind(' ').expect("a cell before the name") + 1;
        row.line.text.insert_str(row.name_at, "the name ");
        if fate != Fate::Lives {
            row.line.text.insert_str(row.name_at, words);
        }
        row.fate = fate;
        let settings = ViewSettings { selected_key: Some(key(3)), ..settings() };
        let mut remembered = None;
        lines(seen, &settings, (120, 24), &mut remembered);
        for _ in 0..2 {
            let gone = ViewData { selected: Place::Gone, ..view(&table, 3, 2) };
            let screen = lines(gone, &settings, (120, 24), &mut remembered);
            assert_eq!(reversed(&screen), ["1003"]);
            assert!(screen.died);
            assert_eq!((screen.selected, screen.selected_key), (Some(3), Some(key(3))));
            let texts = screen.lines.iter().map(|line| &*line.text);
            let said: Vec<&str> = texts.filter(|text| text.contains("died")).collect();
            assert_eq!(said.len(), 2, "the row, and the number of the dead: {said:?}");
            assert!(said[1].contains(&format!("{words}the name")), "{said:?}");
        }
        // Under other headings its cells would be wrong.
        let mut other = remembered.clone();
        other.as_mut().expect("the selected row").headings.clear();
        let gone = ViewData { selected: Place::Gone, ..view(&table, 3, 2) };
        let screen = lines(gone, &settings, (120, 24), &mut other);
        let said = screen.lines.iter().map(|line| line.text.trim());
        let expected = format!("x {words}the name");
        assert!(said.clone().any(|text| text.starts_with(&expected)), "{words}");
        if fate != Fate::Lives {
            // It died where it was scrolled off.
            let mut remembered = None;
            let mut seen = ViewData { selected: Place::Row(3), ..view(&table, 10, 2) };
            seen.shown[3].name_at = 1;
            lines(seen, &settings, (120, 24), &mut remembered);
            let hidden = ViewData { selected: Place::Row(30), fate, ..view(&table, 10, 2) };
            lines(hidden, &settings, (120, 24), &mut remembered);
            let gone = ViewData { selected: Place::Gone, ..view(&table, 3, 2) };
            let screen = lines(gone, &settings, (120, 24), &mut remembered);
            assert!(screen.lines.iter().any(|line| line.text.contains(words)), "{words}");
        }
        // Until another task is selected.
        let other = ViewSettings { selected_key: Some(key(0)), ..settings };
        let seen = ViewData { selected: Place::Row(0), ..view(&table, 3, 2) };
        assert_eq!(reversed(&lines(seen, &other, (120, 24), &mut remembered)), ["1000"]);
    }
}

#[test]
fn missing_cpu_time_is_called_out() {
    let table = live();
    let said = |view: &ViewData<'_>, settings: &ViewSettings| {
        let screen = drawn(view, settings, (120, 24));
        let lamp = screen.lines[1].text.chars().next().expect("a character");
        let source = screen.lines.iter().find(|line| line.text.contains("  netlink ("));
        let source = &*source.expect("the line of the source").text;
        (lamp, source.split_once("  netlink (").expect("the source").0.to_owned())
    };
    let seen = view(&table, 40, 2);
    assert_eq!(said(&seen, &settings()), ('✓', "CPU time complete".into()));
    let of = |residual_ns| {
        let balance = seen.balance.map(|balance| Balance { residual_ns, ..balance });
        ViewData { balance, ..seen.clone() }
    };
    let lost = said(&of(5_000_000), &settings());
    assert_eq!(lost, ('!', "0.50% of a CPU not found".into()));
    let twice = said(&of(-5_000_000), &settings());
    assert_eq!(twice, ('!', "0.50% of a CPU counted twice".into()));
    let settings = ViewSettings { lacks: "outside this namespace".into(), ..settings() };
    assert_eq!(said(&seen, &settings), ('!', "outside this namespace".into()));
}

#[test]
fn what_is_missing_is_said() {
    let table = live();
    let seen = ViewData { missing: "7 that died".into(), ..view(&table, 40, 2) };
    let screen = drawn(&seen, &settings(), (120, 24));
    let said = |line: &&str| line.starts_with("missing: 7 that died  ");
    assert_eq!(screen.lines.iter().map(|line| &*line.text).filter(said).count(), 1);
}

#[test]
fn a_number_that_does_not_fit_is_not_cut() {
    let table = TextTable::new(vec![column("ni", "(#)", 3, "ac_nice", CellFormat::Integer)]);
    assert_eq!(row_of(&table, 0, |_, _| Some(Cell::Int(1234))), "###");
    assert_eq!(row_of(&table, 0, |_, _| Some(Cell::Int(123))), "123");
}

#[test]
fn a_column_of_texts_is_padded_where_it_is_not_the_last() {
    let name = || column("Name", "(str)", 15, "ac_comm", CellFormat::Name);
    let pid = column("pid", "(#)", 7, "ac_pid", CellFormat::Integer);
    let table = TextTable::new(vec![name(), pid, name()]);
    let row = |name: &'static str| {
        row_of(&table, 0, |column, _| match &*column.name() {
            "ac_pid" => Some(Cell::Int(1)),
            _ => Some(Cell::Text(name.as_bytes())),
        })
    };
    assert_eq!(row("sh"), "sh                    1 sh");
    assert_eq!(row("python3"), "python3               1 python3");
}

#[test]
fn every_form_has_its_unit() {
    let line = |metric: &str, format: CellFormat, cell: Cell<'static>| {
        row_of(&TextTable::new(vec![column("", "(str)", 20, metric, format)]), 0, |_, _| Some(cell))
    };
    let row = |format: CellFormat, cell: Cell<'static>| line("ac_pid", format, cell);
    assert_eq!(row(CellFormat::ElapsedUs, Cell::Int(61_000_000)), "1m01");
    assert_eq!(row(CellFormat::ElapsedNs, Cell::Int(4_250_000_000)), "4.25s");
    assert_eq!(row(CellFormat::Rate, Cell::Float(12.4)), "12");
    assert_eq!(row(CellFormat::BytesRate, Cell::Float(2048.0)), "2K");
    assert_eq!(row(CellFormat::Kibibytes, Cell::Int(2048)), "2.0M");
    assert_eq!(row(CellFormat::Percent, Cell::Float(0.125)), "0.13");
    assert_eq!(row(CellFormat::Percent, Cell::Int(3)), "3.00");
    assert_eq!(row(CellFormat::State, Cell::Int(1)), "S");
    assert_eq!(row(CellFormat::User, Cell::Int(0)), "root");
    assert_eq!(row(CellFormat::Name, Cell::Text(b"a\x1b\xff")), "a\u{241b}\u{fffd}");
    assert_eq!(row(CellFormat::Raw, Cell::Text(b"sh")), "sh");
    assert_eq!(row(CellFormat::Raw, Cell::Float(1.5)), "1.50");
    assert_eq!(row(CellFormat::Raw, Cell::Int(1 << 60)), (1_u64 << 60).to_string());
    // What a format is not for is as good as unknown.
    assert_eq!(row(CellFormat::Integer, Cell::Float(1.0)), "-");
    assert_eq!(row(CellFormat::Name, Cell::Int(1)), "-");
}

#[test]
fn what_a_snapshot_lacks() {
    let snapshot = |missed: u32, exits_lost: u64, truncated: bool| {
        let mut header = Header::new(SourceKind::Bpf, FieldSet::EMPTY);
        (header.missed, header.exits_lost) = (missed, exits_lost);
        header.flags = header.flags.with(Flags::TRUNCATED, truncated);
        let layout = Layout::of_version(16).expect("a known version");
        Snapshot::new(header, layout, SharedBytes::new(Vec::new()), 0..0, 0..0)
            .expect("well formed")
            .into()
    };
    let lacks = |now| missing(&Interval::between(snapshot(9, 5, true), now));
    assert_eq!(lacks(snapshot(0, 5, false)), "");
    assert_eq!(lacks(snapshot(0, 0, false)), "", "of another count");
    let all = "2 tasks that may not be read, 7 that died, tasks beyond the memory for them";
    assert_eq!(lacks(snapshot(2, 12, true)), all);
}
