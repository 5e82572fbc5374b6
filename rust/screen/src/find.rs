//! Rows that a text finds.

use precise_top_core::{Filter, MergedRow, Query, TaskTable};

use crate::rows::ViewRows;
use crate::settings::ViewSettings;

/// The row of the list, from row `start` on (backwards: from it up), that `wanted` keeps; the
/// list goes on at its other end. None if no row is kept.
pub fn find(
    rows: ViewRows<'_>,
    settings: &ViewSettings,
    wanted: &Filter,
    start: usize,
    backwards: bool,
) -> Option<usize> {
    let query = Query { offset: 0, limit: settings.limit, ..settings.query() };
    let keeps = |row: &MergedRow| match (*row, rows.unchanged) {
        (MergedRow::Ran(row), _) => rows.table.keeps(row as usize, wanted),
        (MergedRow::Unchanged(row), Some(tasks)) => tasks.keeps(row as usize, wanted),
        (MergedRow::Unchanged(_), None) => false,
    };
    let list: Vec<MergedRow> = match (rows.tree, rows.unchanged) {
        (Some(tree), _) => tree.nodes.iter().copied().map(MergedRow::Ran).collect(),
        (None, Some(unchanged)) => {
            let kept = rows.kept(&query.filter);
            unchanged.select_with(rows.table, &query, kept.as_ref())
        }
        (None, None) => rows.table.select(&query).into_iter().map(MergedRow::Ran).collect(),
    };
    let number = list.len();
    let place = |step: usize| match backwards {
        false => (start + step) % number,
        true => (start % number + number - step) % number,
    };
    (0..number).map(place).find(|&row| keeps(&list[row]))
}
