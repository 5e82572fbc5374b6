//! Keys in a tree: what one lays out again, and that it shows the right rows.
//!
//! `docs/bench.md` has the instructions of a frame and of a key:
//!
//! ```text
//! PTOP_TASKS=11000 valgrind --tool=callgrind --toggle-collect='*a_key*' BINARY --ignored
//! ```

mod common;

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use precise_top_core::interval::{LastValues, Unchanged};
use precise_top_core::layout::EXTENSION_BIT;
use precise_top_core::{
    Arranged, Conditions, Field, FieldSet, Filter, Flags, Header, Interval, Layout, Metric,
    ParseError, Record, RecordMut, SharedBytes, Snapshot, SourceKind, TaskTable, TaskTree, Text,
    Texts, parse_condition,
};
use precise_top_screen::text::Side;
use precise_top_screen::{
    CellFormat, LaidOut, Made, RowKey, ScreenLines, ShownTree, TextColumn, TextTable, TreeOf,
    TreeSettings, ViewRows, ViewSettings, draw,
};

use Field::{
    ac_comm, ac_pid, ac_ppid, ac_start_ns, ac_stime, ac_sum_exec_ns, ac_tgid, ac_utime, rss_kb,
    state,
};

const MS: u64 = 1_000_000;
const SIZE: (usize, usize) = (120, 36);

/// A snapshot of these tasks; each task that ran in it has used `cpu_ms` times its pid.
fn snapshot(seconds: u64, pids: &[u64], cpu_ms: u64, unchanged: u32) -> Snapshot<SharedBytes> {
    let layout = Layout::of_version(14 | EXTENSION_BIT).expect("a known version");
    let size = layout.record_size();
    let mut bytes = vec![0; size * pids.len()];
    let mut held = FieldSet::EMPTY.with(ac_comm);
    for (record, &pid) in bytes.chunks_exact_mut(size).zip(pids) {
        let mut record = RecordMut::new(record, &layout).expect("the right size");
        let values = [
            (ac_pid, pid),
            (ac_tgid, pid),
            // Ten below each.
            (ac_ppid, pid / 10),
            (ac_start_ns, pid),
            (ac_sum_exec_ns, cpu_ms * pid * MS / 1000),
            (ac_utime, 1),
            (ac_stime, 0),
            (rss_kb, 1024),
            (state, 1),
        ];
        for (field, value) in values {
            record.set(field, value);
            held = held.with(field);
        }
        record.set_text(ac_comm, format!("task{pid}").as_bytes());
    }
    let mut header = Header::new(SourceKind::Bpf, held);
    header.begin.monotonic_ns = seconds * 1_000 * MS;
    header.begin.boottime_ns = seconds * 1_000 * MS;
    header.unchanged = unchanged;
    header.flags = header.flags.with(Flags::WITHOUT_UNCHANGED, unchanged > 0);
    let end = bytes.len();
    Snapshot::new(header, layout, SharedBytes::new(bytes), 0..end, 0..0).expect("well formed")
}

/// An interval of `tasks` tasks of which every tenth ran, and the others.
fn interval(tasks: u64) -> (Arc<Interval>, Unchanged) {
    let all: Vec<u64> = (1..=tasks).collect();
    let ran: Vec<u64> = all.iter().copied().filter(|pid| pid % 10 == 1).collect();
    let full = Arc::new(snapshot(10, &all, 0, 0));
    let mut last = LastValues::new(&full, false, FieldSet::ALL);
    let some = snapshot(11, &ran, 1, (all.len() - ran.len()) as u32);
    let before = last.values_before(&some).expect("of the same layout");
    let some = Arc::new(some.with_base(Arc::new(before)));
    last.merge(&some);
    (Arc::new(Interval::between(full, some)), Arc::new(last).unchanged())
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
        summed: metric.ends_with("_pct") || metric == "tasks",
        rank: 0,
        limits: None,
    };
    TextTable::new(vec![
        column("pid", 7, Side::Right, "ac_pid", CellFormat::Integer),
        column("s", 1, Side::Right, "state", CellFormat::State),
        column("tasks", 5, Side::Right, "tasks", CellFormat::Integer),
        column("rss", 6, Side::Right, "rss_kb", CellFormat::Kibibytes),
        column("own%", 6, Side::Right, "own_pct", CellFormat::Percent),
        column("living%", 7, Side::Right, "living_pct", CellFormat::Percent),
        column("dead%", 7, Side::Right, "dead_pct", CellFormat::Percent),
        column("total%", 7, Side::Right, "total_pct", CellFormat::Percent),
        column("Name", 30, Side::Left, "title", CellFormat::Command),
    ])
}

fn settings() -> ViewSettings {
    ViewSettings { tree: Some(TreeSettings::default()), ..common::settings() }
}

/// A view of one interval.
struct View {
    interval: Arc<Interval>,
    unchanged: Unchanged,
    shown: ShownTree,
    table: TextTable,
    /// How often a tree was laid out.
    laid_out: Cell<usize>,
}

impl View {
    fn new(tasks: u64) -> View {
        let (interval, unchanged) = interval(tasks);
        let (shown, table) = (ShownTree::default(), table());
        View { interval, unchanged, shown, table, laid_out: Cell::new(0) }
    }

    fn tree(&self, of: TreeOf) -> Arc<LaidOut> {
        let made = Made { of, unchanged: Some(self.unchanged.serial()), is_kept: false };
        let lay_out = || -> Result<TaskTree, ParseError> {
            self.laid_out.set(self.laid_out.get() + 1);
            Ok(match of {
                TreeOf::Dead => TaskTree::of_dead(Arc::clone(&self.interval)),
                _ => TaskTree::of_tasks(Arc::new(self.unchanged.completed(&self.interval)?)),
            })
        };
        self.shown.get(made, lay_out).expect("of the same layout")
    }

    fn arranged(&self, settings: &ViewSettings) -> Arc<Arranged> {
        let chosen = settings.tree.as_ref().expect("a tree");
        self.tree(chosen.of).arranged(settings, chosen)
    }

    fn draw(&self, settings: &ViewSettings) -> ScreenLines {
        let chosen = settings.tree.as_ref().expect("a tree");
        let laid_out = self.tree(chosen.of);
        let order = laid_out.arranged(settings, chosen);
        let unchanged = Some(&self.unchanged);
        let rows =
            ViewRows { table: laid_out.tree(), unchanged, tree: Some(&order), samples: None };
        draw(&self.interval, rows, &self.table, settings, &(), SIZE, 0, &mut None)
    }
}

#[test]
fn a_key_that_moves_uses_the_tree_and_its_order_again() {
    let view = View::new(300);
    let first = view.arranged(&settings());
    let moved = ViewSettings {
        top: 100,
        selected: Some(110),
        follow: true,
        scroll: 3,
        tagged: vec![RowKey::Title(b"any".to_vec())],
        notice: "any".into(),
        ..settings()
    };
    assert!(Arc::ptr_eq(&first, &view.arranged(&moved)));
    let drawn = view.draw(&moved);
    assert_eq!((drawn.top, drawn.selected, drawn.rows), (100, Some(110), 300));
    assert_eq!(view.laid_out.get(), 1);
}

#[test]
fn a_key_that_changes_the_order_uses_the_tree_again() {
    let view = View::new(300);
    let toggled = view.draw(&settings()).keys[0].clone().expect("a task");
    let of_level = |level| TreeSettings { level, ..TreeSettings::default() };
    let wanted = [
        ViewSettings { sort: Metric::Field(ac_pid), ..settings() },
        ViewSettings { descending: false, ..settings() },
        ViewSettings {
            filter: Filter { text: Some(b"task29".to_vec()), ..Filter::default() },
            ..settings()
        },
        ViewSettings { tree: Some(of_level(Some(1))), ..settings() },
        ViewSettings { tree: Some(of_level(Some(2))), ..settings() },
        ViewSettings {
            tree: Some(TreeSettings { toggled: vec![toggled], ..of_level(None) }),
            ..settings()
        },
        settings(),
    ];
    let mut before = view.arranged(&settings());
    for settings in wanted {
        let order = view.arranged(&settings);
        let alone = View::new(300).arranged(&settings);
        assert_eq!((&order.nodes, &order.kept), (&alone.nodes, &alone.kept), "{settings:?}");
        assert_eq!(order.branches, alone.branches, "{settings:?}");
        assert_ne!((&order.nodes, &order.branches), (&before.nodes, &before.branches));
        before = order;
    }
    assert_eq!(view.laid_out.get(), 1);
}

#[test]
fn another_tree_of_an_interval_is_laid_out() {
    let view = View::new(300);
    let of_tasks = view.tree(TreeOf::Tasks);
    assert_eq!(of_tasks.tree().rows(), 300);
    assert_eq!(view.tree(TreeOf::Dead).tree().rows(), 0);
    assert_eq!(view.tree(TreeOf::Tasks).tree().rows(), 300);
    // Without the tasks that did not run.
    let made = Made { of: TreeOf::Tasks, unchanged: None, is_kept: false };
    let of_ran = || Ok::<_, Infallible>(TaskTree::of_tasks(Arc::clone(&view.interval)));
    let Ok(alone) = view.shown.get(made, of_ran);
    assert_eq!(alone.tree().rows(), 30);
    assert_eq!(view.laid_out.get(), 3);
}

#[test]
fn rows_whose_texts_are_missing_come_with_the_next_screen() {
    let texts = Arc::new(Late::default());
    let condition = parse_condition(b"command:x", &Metric::from_name).expect("a condition");
    let conditions = Conditions::new(Arc::new(condition.expect("a condition")), texts.clone());
    let filter = Filter { conditions: Some(conditions), ..Filter::default() };
    let settings = ViewSettings { filter, ..settings() };
    let view = View::new(30);
    assert_eq!(view.arranged(&settings).nodes, []);
    texts.0.store(true, Ordering::Relaxed);
    let order = view.arranged(&settings);
    assert_eq!(order.nodes.len(), 30);
    assert!(Arc::ptr_eq(&order, &view.arranged(&settings)));
    assert_eq!(view.laid_out.get(), 1);
}

/// Texts that are read later.
#[derive(Debug, Default)]
struct Late(AtomicBool);

impl Texts for Late {
    fn command(&self, _: &Record<'_>) -> Text {
        if self.0.load(Ordering::Relaxed) { Text::Known(b"x"[..].into()) } else { Text::Later }
    }

    fn user(&self, _: u32) -> Text {
        Text::Missing
    }

    fn cgroup(&self, _: &Record<'_>) -> Text {
        Text::Missing
    }

    fn progress(&self) -> Option<u8> {
        (!self.0.load(Ordering::Relaxed)).then_some(0)
    }
}

#[inline(never)]
fn a_frame(view: &View) -> usize {
    view.draw(&settings()).rows
}

#[inline(never)]
fn a_key(view: &View, selected_key: &RowKey) -> usize {
    let selected_key = Some(selected_key.clone());
    view.draw(&ViewSettings { top: 50, selected_key, ..settings() }).rows
}

#[inline(never)]
fn a_sort(view: &View) -> usize {
    view.draw(&ViewSettings { sort: Metric::Field(rss_kb), ..settings() }).rows
}

#[test]
#[ignore = "measures nothing by itself: see the module"]
fn instructions() {
    let tasks = std::env::var("PTOP_TASKS").map_or(2_100, |number| number.parse().expect("one"));
    let view = View::new(tasks);
    let end = ViewSettings { top: tasks as usize - 1, ..settings() };
    assert_eq!(a_frame(&view), tasks as usize);
    let last = view.draw(&end).keys[0].clone().expect("a task");
    assert_eq!([a_key(&view, &last), a_sort(&view)], [tasks as usize; 2]);
    assert_eq!(view.laid_out.get(), 1);
}
