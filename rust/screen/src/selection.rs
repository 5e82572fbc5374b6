//! The selected row: a task or group, wherever it stands in the list.
//!
//! Design decisions
//!
//! * A selection is a task, not a row number: it stays while rows are sorted, filtered and
//!   grouped. The row number counts where nothing has been selected by its key yet.
//! * The line of a selected task that is gone stays until the user selects another one, so
//!   that an action never reaches the task that took its place.

use std::sync::Arc;

use precise_top_core::interval::Unchanged;
use precise_top_core::{Header, Interval, Kept, MergedRow, Query, TaskTable};

use crate::line::ScreenLine;
use crate::row_key::{Fate, RowKey};
use crate::rows::ViewRows;
use crate::settings::ViewSettings;

/// The selected row as it was on the screen before.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Its key.
    pub key: RowKey,
    /// Its line.
    pub line: ScreenLine,
    /// The byte of the line where the name begins.
    pub name_at: usize,
    /// The headings of its cells.
    pub headings: Vec<(usize, Arc<str>)>,
    /// Its place on the list.
    pub row: usize,
    /// What became of it.
    pub fate: Fate,
}

impl Remembered {
    /// Its line under these headings: without its cells where those are others.
    pub(crate) fn line_under(&self, headings: &[(usize, Arc<str>)]) -> ScreenLine {
        if self.headings == headings {
            return self.line.clone();
        }
        let name = self.line.text.get(self.name_at..).unwrap_or_default();
        ScreenLine::plain(format!("x {name}"))
    }

    /// Notes what became of the task while its row was not on the screen.
    pub(crate) fn meet(&mut self, fate: Fate) {
        if self.fate == Fate::Lives && fate != Fate::Lives {
            self.fate = fate;
            self.line.insert(self.name_at, &format!("{}: ", self.fate.words()));
        }
    }
}

/// Where the selection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing is selected.
    Nowhere,
    /// At this row of the list.
    Row(usize),
    /// The filter leaves it out, or the tree hides it.
    Hidden,
    /// It is gone.
    Gone,
}

/// Where the selection is among `rows`, and what became of it, on the screen or not.
pub(crate) fn place(
    interval: &Interval,
    rows: ViewRows<'_>,
    settings: &ViewSettings,
    kept: Option<&Kept>,
    number: usize,
) -> (Place, Fate) {
    let Some(key) = &settings.selected_key else {
        let row = settings.selected.map(|row| row.min(number.max(1) - 1));
        return (row.map_or(Place::Nowhere, Place::Row), Fate::Lives);
    };
    let header = interval.cur().header();
    let ran = (0..rows.table.rows()).find(|&row| key.is_in(rows.table, row, header));
    let fate = ran.map_or(Fate::Lives, |row| Fate::of(rows.table, row));
    (place_of(key, header, rows, settings, kept, ran), fate)
}

/// Where the row `ran` of the table, or the unchanged task of the key, is on the list.
fn place_of(
    key: &RowKey,
    header: &Header,
    rows: ViewRows<'_>,
    settings: &ViewSettings,
    kept: Option<&Kept>,
    ran: Option<usize>,
) -> Place {
    let query = settings.query();
    if let Some(tree) = rows.tree {
        let Some(node) = ran else { return Place::Gone };
        let place = tree.nodes.iter().position(|&other| other as usize == node);
        return place.map_or(Place::Hidden, Place::Row);
    }
    let (row, is_kept) = match (ran, rows.unchanged) {
        (Some(row), _) => (MergedRow::Ran(row as u32), rows.table.keeps(row, &query.filter)),
        (None, Some(unchanged)) => match unchanged_row(unchanged, key, header) {
            Some(row) => (MergedRow::Unchanged(row as u32), unchanged.keeps(row, &query.filter)),
            None => return Place::Gone,
        },
        (None, None) => return Place::Gone,
    };
    if is_kept { Place::Row(rank(rows, &query, kept, row)) } else { Place::Hidden }
}

fn unchanged_row(unchanged: &Unchanged, key: &RowKey, header: &Header) -> Option<usize> {
    (0..unchanged.rows()).find(|&row| key.is_in(unchanged, row, header))
}

fn rank(rows: ViewRows<'_>, query: &Query, kept: Option<&Kept>, row: MergedRow) -> usize {
    match (rows.unchanged, row) {
        (Some(unchanged), _) => unchanged.rank_with(rows.table, query, kept, row),
        (None, MergedRow::Ran(row) | MergedRow::Unchanged(row)) => {
            let key = query.sort.and_then(|metric| rows.table.key(row as usize, metric));
            let below = row as usize;
            match kept {
                Some(kept) => {
                    rows.table.count_before(&mut kept.ran.iter().copied(), query, key, below)
                }
                None => {
                    let all = &mut (0..rows.table.rows() as u32);
                    rows.table.count_before(all, query, key, below)
                }
            }
        }
    }
}
