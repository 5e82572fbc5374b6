//! Trees on the screen: the lines to the parents, and what became of the dead.

use precise_top_core::{Arranged, Branch, Dead, TaskTree};

use crate::line::{ScreenLine, Style};
use crate::row_key::{Fate, RowKey};
use crate::rows::TableRow;
use crate::settings::{TreeSettings, ViewSettings};
use crate::text;

/// Levels that are drawn with two cells, and after them with one; deeper rows stand where these
/// end.
const WIDE_LEVELS: usize = 20;
const NARROW_LEVELS: usize = 20;
/// Cells of a name that the lines to its parents leave.
const LEAST_NAME: usize = 12;
/// Cells of what is right before the name.
const CONNECTOR: usize = 2;

/// The rows of a tree, as the user chose to see them.
pub fn arranged(tree: &TaskTree, settings: &ViewSettings, chosen: &TreeSettings) -> Arranged {
    let header = tree.interval().cur().header();
    let is_toggled = |row| {
        let key = if chosen.toggled.is_empty() { None } else { RowKey::of(tree, row) };
        key.is_some_and(|key| chosen.toggled.iter().any(|other| other.is_still(&key, header)))
    };
    tree.arranged(&settings.query(), |row, depth| {
        chosen.level.is_some_and(|level| depth >= level) != is_toggled(row)
    })
}

/// The number of the parent's row among the rows of a tree, for each row; None at the roots and in
/// a list.
pub fn parents(rows: &[TableRow<'_>]) -> Vec<Option<usize>> {
    let mut way: Vec<usize> = Vec::new();
    let parent = |(at, row): (usize, &TableRow<'_>)| {
        let depth = row.branch?.depth;
        way.truncate(depth);
        let parent = way.last().copied();
        way.push(at);
        parent
    };
    rows.iter().enumerate().map(parent).collect()
}

/// What became of the task of a row, in words; empty for one that lives, and for a group, whose
/// name comes first.
pub(crate) fn fate(row: TableRow<'_>, fate: Fate) -> String {
    match row.table.dead(row.row) {
        Some(_) if row.table.group_name(row.row).is_some() => String::new(),
        Some(dead) => words(&dead),
        None => fate.words(),
    }
}

/// Appends the lines that lead from a row to its parent. `room` are the cells for them and the
/// name. Where each level narrows depends on it alone, so that rows stand under their parents
/// whichever are shown.
pub(crate) fn push_branch(line: &mut ScreenLine, branch: &Branch, room: usize) {
    let begin = line.text.len();
    let room = room.saturating_sub(LEAST_NAME + CONNECTOR);
    let wide = WIDE_LEVELS.min(room / 3);
    let levels = wide + NARROW_LEVELS.min(room - 2 * wide);
    let depth = branch.depth.min(levels + 1);
    for level in 1..depth {
        let is_open = branch.open & 1 << level != 0;
        line.text.push(if is_open { '│' } else { ' ' });
        if level <= wide {
            line.text.push(' ');
        }
    }
    match (depth, branch.is_last) {
        (0, _) => {}
        (_, true) => line.text.push('└'),
        (_, false) => line.text.push('├'),
    }
    match (depth, branch.is_collapsed) {
        (_, true) => line.text.push_str("+ "),
        (0, false) => {}
        (_, false) => line.text.push(' '),
    }
    line.mark(begin, Style::Dim);
}

/// What became of the tasks of a row, in words: `exit 0 ×390, exit 1, peak 12M, lived 0.01s to
/// 1.50s`.
pub(crate) fn words(dead: &Dead) -> String {
    let mut words = String::new();
    for (code, count) in &dead.exits {
        let fate = Fate::Died(*code).words();
        let fate = fate.strip_prefix("died, ").filter(|_| !words.is_empty()).unwrap_or(&fate);
        push_part(&mut words, fate);
        if *count > 1 && dead.exits.len() > 1 {
            text::push(&mut words, format_args!(" ×{count}"));
        }
    }
    if let Some(kb) = dead.peak_kb.filter(|&kb| kb > 0) {
        push_part(&mut words, "peak ");
        text::push_kibibytes(&mut words, kb as f64);
    }
    if let Some((least, most)) = dead.lives_us {
        push_part(&mut words, "lived ");
        text::push_elapsed(&mut words, least as f64 / 1e6);
        if most > least {
            words.push_str(" to ");
            text::push_elapsed(&mut words, most as f64 / 1e6);
        }
    }
    words
}

fn push_part(words: &mut String, part: &str) {
    if !words.is_empty() {
        words.push_str(", ");
    }
    words.push_str(part);
}
