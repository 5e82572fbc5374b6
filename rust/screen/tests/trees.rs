//! Screens of trees against golden text. PTOP_WRITE_SCREENS=1 updates the golden files.

mod common;

use std::path::Path;
use std::sync::Arc;

use precise_top_core::layout::EXTENSION_BIT;
use precise_top_core::{
    Field, FieldSet, Filter, Flags, Header, Interval, Layout, Metric, RecordMut, SharedBytes,
    Snapshot, SourceKind, TaskTable, TaskTree,
};
use precise_top_screen::text::Side;
use precise_top_screen::tree::arranged;
use precise_top_screen::{
    CellFormat, RowKey, TextColumn, TextTable, TreeOf, TreeSettings, ViewRows, ViewSettings, draw,
};

use Field::{
    ac_comm, ac_etime, ac_exitcode, ac_pid, ac_ppid, ac_start_ns, ac_stime, ac_sum_exec_ns,
    ac_tgid, ac_utime, hiwater_rss, rss_kb, state,
};

const MS: u64 = 1_000_000;
/// Pid, parent, name, ms of CPU time.
const LIVING: [(u64, u64, &str, u64); 8] = [
    (1, 0, "systemd", 1),
    (40, 1, "sshd", 2),
    (41, 40, "sshd-session", 3),
    (42, 41, "bash", 4),
    (50, 42, "make", 10),
    (51, 50, "cc", 20),
    (52, 51, "cc1", 600),
    (60, 1, "日本語の名前", 30),
];
/// The same, and exit code, KiB of peak memory, µs of life.
const DEAD: [(u64, u64, &str, u64, u64, u64, u64); 5] = [
    (70, 50, "cc", 5, 0, 900, 120_000),
    (71, 70, "cc1", 100, 0, 120_000, 99_000),
    (72, 50, "cc", 7, 256, 800, 3_250_000),
    (73, 72, "cc1", 50, 9, 40_000, 3_000_000),
    (74, 42, "true", 1, 0, 700, 900),
];

fn snapshot(
    seconds: u64,
    rows: &[Vec<(Field, u64)>],
    names: &[&str],
    dead: u32,
) -> Arc<Snapshot<SharedBytes>> {
    let layout = Layout::of_version(14 | EXTENSION_BIT).expect("a known version");
    let size = layout.record_size();
    let mut bytes = vec![0; size * rows.len()];
    for ((record, row), name) in bytes.chunks_exact_mut(size).zip(rows).zip(names) {
        let mut record = RecordMut::new(record, &layout).expect("the right size");
        row.iter().for_each(|&(field, value)| record.set(field, value));
        record.set_text(ac_comm, name.as_bytes());
    }
    let held =
        rows[0].iter().fold(FieldSet::EMPTY.with(ac_comm), |set, &(field, _)| set.with(field));
    let mut header = Header::new(SourceKind::Bpf, held);
    header.begin.monotonic_ns = seconds * 1_000 * MS;
    header.begin.boottime_ns = seconds * 1_000 * MS;
    header.exited = dead;
    header.flags = header.flags.with(Flags::EXITS, true);
    let end = bytes.len();
    let snapshot = Snapshot::new(header, layout, SharedBytes::new(bytes), 0..end, 0..0);
    Arc::new(snapshot.expect("well formed"))
}

type Living<'a> = (u64, u64, &'a str, u64);

fn interval() -> Arc<Interval> {
    interval_of(&LIVING)
}

/// These tasks and the dead.
fn interval_of(living: &[Living<'_>]) -> Arc<Interval> {
    let row = |pid, ppid, cpu_ms, code, peak, us| {
        let start = if us > 0 { 10_000 * MS + 1 } else { pid };
        vec![
            (ac_pid, pid),
            (ac_tgid, pid),
            (ac_ppid, ppid),
            (ac_start_ns, start),
            (ac_sum_exec_ns, cpu_ms * MS),
            (ac_utime, 1),
            (ac_stime, 0),
            (ac_exitcode, code),
            (hiwater_rss, peak),
            (rss_kb, if us > 0 { 0 } else { 1024 }),
            (ac_etime, us),
            (state, if us > 0 { 0x10_0000 } else { 1 }),
        ]
    };
    let mut names: Vec<&str> = living.iter().map(|&(_, _, name, _)| name).collect();
    let before: Vec<_> = living.iter().map(|&(pid, ppid, ..)| row(pid, ppid, 0, 0, 0, 0)).collect();
    let living = living.iter().map(|&(pid, ppid, _, ms)| row(pid, ppid, ms, 0, 0, 0));
    let dead = DEAD.iter();
    let dead = dead.map(|&(pid, ppid, _, ms, code, peak, us)| row(pid, ppid, ms, code, peak, us));
    let after: Vec<_> = living.chain(dead).collect();
    names.extend(DEAD.iter().map(|&(_, _, name, ..)| name));
    let died = DEAD.len() as u32;
    Arc::new(Interval::between(
        snapshot(10, &before, &names[..before.len()], 0),
        snapshot(11, &after, &names, died),
    ))
}

fn table() -> TextTable {
    let column = |title: &str, width, side, metric: &str, format, rank| TextColumn {
        title: title.into(),
        unit: String::new(),
        heading: title.into(),
        width,
        side,
        metric: Metric::from_name(metric).expect("a column"),
        format,
        summed: metric.ends_with("_pct") || metric == "tasks",
        rank,
        limits: None,
    };
    TextTable::new(vec![
        column("pid", 7, Side::Right, "ac_pid", CellFormat::Integer, 0),
        column("s", 1, Side::Right, "state", CellFormat::State, 4),
        column("tasks", 5, Side::Right, "tasks", CellFormat::Integer, 3),
        column("rss", 6, Side::Right, "rss_kb", CellFormat::Kibibytes, 5),
        column("own%", 6, Side::Right, "own_pct", CellFormat::Percent, 2),
        column("living%", 7, Side::Right, "living_pct", CellFormat::Percent, 8),
        column("dead%", 7, Side::Right, "dead_pct", CellFormat::Percent, 3),
        column("total%", 7, Side::Right, "total_pct", CellFormat::Percent, 0),
        column("Name", 30, Side::Left, "title", CellFormat::Command, 0),
    ])
}

fn settings(tree: TreeSettings) -> ViewSettings {
    ViewSettings {
        tree: Some(tree),
        replay: "2026-11-23 12:34:56".into(),
        key_bar: vec![("F1".into(), "Help".into()), ("F5".into(), "Tree".into())],
        ..common::settings()
    }
}

fn drawn(settings: &ViewSettings, size: (usize, usize)) -> Vec<String> {
    drawn_of(interval(), settings, size)
}

fn drawn_of(interval: Arc<Interval>, settings: &ViewSettings, size: (usize, usize)) -> Vec<String> {
    drawn_in(&table(), interval, settings, size)
}

fn drawn_in(
    table: &TextTable,
    interval: Arc<Interval>,
    settings: &ViewSettings,
    size: (usize, usize),
) -> Vec<String> {
    let tree = TaskTree::of_tasks(interval);
    let chosen = settings.tree.clone().expect("a tree");
    let order = arranged(&tree, settings, &chosen);
    let rows = ViewRows { table: &tree, unchanged: None, tree: Some(&order), samples: None };
    let screen = draw(tree.interval(), rows, table, settings, &(), size, 0, &mut None);
    screen.lines.into_iter().map(|line| line.text).collect()
}

fn check(name: &str, settings: &ViewSettings, size: (usize, usize)) {
    let text: String = drawn(settings, size).iter().map(|line| format!("|{line}|\n")).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/screens/{name}.txt"));
    if std::env::var_os("PTOP_WRITE_SCREENS").is_some() {
        std::fs::write(&path, &text).expect("a writable file");
    }
    assert_eq!(text, std::fs::read_to_string(&path).expect("a golden screen"), "{name}");
}

#[test]
fn tree_screens() {
    let open = settings(TreeSettings::default());
    for size in [(40, 10), (80, 24), (200, 60)] {
        check(&format!("tree-{}x{}", size.0, size.1), &open, size);
    }
    let ascii = ViewSettings { ascii: true, ..open.clone() };
    check("tree-ascii-80x24", &ascii, (80, 24));
    assert!(drawn(&ascii, (80, 24)).iter().all(|line| line.is_ascii()));
    let levels = settings(TreeSettings { level: Some(3), ..TreeSettings::default() });
    check("tree-levels-80x24", &levels, (80, 24));
    let filter = Filter { text: Some(b"cc1".to_vec()), ..Filter::default() };
    check("tree-filter-80x24", &ViewSettings { filter, ..levels }, (80, 24));
}

/// The number of the row whose name begins so.
fn row(tree: &TaskTree, name: &str) -> usize {
    let is_named = |&row: &usize| tree.title(row).is_some_and(|title| title == name.as_bytes());
    (0..tree.rows()).find(is_named).expect("a row")
}

#[test]
fn deep_rows_keep_twelve_cells_of_their_names() {
    let chain: Vec<_> = (1..40).map(|pid| (pid, pid - 1, "twelve-cells", 1)).collect();
    let shown = drawn_of(interval_of(&chain), &settings(TreeSettings::default()), (80, 60));
    let at = |line: &String| line.chars().position(|character| character == '└');
    let rows: Vec<&String> = shown.iter().filter(|line| line.contains(" twelve-")).collect();
    assert_eq!(rows.len(), 39, "{shown:#?}");
    assert!(rows.iter().all(|line| line.contains("└ twelve-cells") || at(line).is_none()));
    let places: Vec<usize> = rows.iter().filter_map(|line| at(line)).collect();
    assert!(places.is_sorted());
    let levels = places.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert!(levels >= 12, "levels stand apart: {places:?}");
}

#[test]
fn a_name_beside_the_command_line_has_no_lines_of_the_tree() {
    let mut columns: Vec<TextColumn> =
        table().columns().iter().map(|one| (**one).clone()).collect();
    let command = columns.last().expect("the command line").clone();
    columns.insert(1, TextColumn { width: 15, format: CellFormat::Name, ..command });
    let table = TextTable::new(columns);
    let shown = drawn_in(&table, interval(), &settings(TreeSettings::default()), (120, 24));
    let row = shown.iter().find(|line| line.contains("sshd-session")).expect("its row");
    assert!(
        row.contains("41 sshd-session ") && row.trim_end().ends_with("│ └ sshd-session"),
        "{row}"
    );
    let dead = shown.iter().find(|line| line.starts_with("x     74")).expect("its row");
    assert!(dead.contains("74 true "), "{dead}");
}

#[test]
fn the_view_of_the_dead_has_room_for_what_became_of_them() {
    let settings = settings(TreeSettings { of: TreeOf::Dead, ..TreeSettings::default() });
    let tree = TaskTree::of_dead(interval());
    let order = arranged(&tree, &settings, settings.tree.as_ref().expect("a tree"));
    let rows = ViewRows { table: &tree, unchanged: None, tree: Some(&order), samples: None };
    let screen = draw(tree.interval(), rows, &table(), &settings, &(), (80, 24), 0, &mut None);
    let said = |line: &&str| line.contains("cc1 ×2 (died, exit 0, signal 9, ");
    assert_eq!(screen.lines.iter().map(|line| &*line.text).filter(said).count(), 1);
}

#[test]
fn a_narrow_list_says_shortly_that_a_task_died() {
    let (interval, settings) = (interval(), common::settings());
    let rows = ViewRows { table: &*interval, unchanged: None, tree: None, samples: None };
    let shown = |cells| {
        let screen = draw(&interval, rows, &table(), &settings, &(), (cells, 30), 0, &mut None);
        screen.lines.into_iter().map(|line| line.text).collect::<String>()
    };
    let (narrow, wide) = (shown(64), shown(120));
    assert!(narrow.contains(" exit 0: true") && !narrow.contains("died, exit 0: "), "{narrow}");
    assert!(wide.contains(" died, exit 0: true"), "{wide}");
}

#[test]
fn a_collapsed_row_hides_its_descendants_alone() {
    let tree = TaskTree::of_tasks(interval());
    let bash = tree.record(row(&tree, "bash")).expect("a record").identity();
    let toggled = vec![RowKey::Task(bash)];
    let shown = drawn(&settings(TreeSettings { toggled, ..TreeSettings::default() }), (80, 24));
    let has = |name: &str| shown.iter().any(|line| line.trim_end().ends_with(name));
    assert!(has("+ bash") && has("sshd-session") && !has("make"), "{shown:#?}");
}

#[test]
fn the_dead_of_a_parent_can_be_selected() {
    let key = RowKey::Title(b"cc of 50".to_vec());
    let settings =
        ViewSettings { selected_key: Some(key.clone()), ..settings(TreeSettings::default()) };
    let tree = TaskTree::of_tasks(interval());
    let order = arranged(&tree, &settings, &TreeSettings::default());
    let rows = ViewRows { table: &tree, unchanged: None, tree: Some(&order), samples: None };
    let screen = draw(tree.interval(), rows, &table(), &settings, &(), (80, 24), 0, &mut None);
    assert_eq!((screen.selected_key, screen.died), (Some(key), true));
    assert_eq!(screen.rows, tree.rows());
}
