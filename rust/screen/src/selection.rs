//! The selected row: a task or group, wherever it stands in the list.
//!
//! Design decisions
//!
//! * A selection is a task, not a row number: it stays while rows are sorted, filtered and
//!   grouped. The row number counts where nothing has been selected by its key yet.
//! * The line of a selected task that is gone stays until the user selects another one, so
//!   that an action never reaches the task that took its place.

use precise_top_core::identity::Identity;
use precise_top_core::interval::Unchanged;
use precise_top_core::{Header, Interval, MergedRow, Metric, Query, TaskTable};

use crate::line::ScreenLine;
use crate::settings::ViewSettings;
use crate::view::ViewRows;

/// The identity of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// A task, or the group of what belongs to one task.
    Task(Identity),
    /// The title of a group.
    Title(Vec<u8>),
}

impl RowKey {
    /// The key of a row; None where the row has no record.
    pub(crate) fn of(table: &dyn TaskTable, row: usize) -> Option<RowKey> {
        if table.is_named() {
            return table.title(row).map(|title| RowKey::Title(title.to_vec()));
        }
        // An exec by another thread gives the leader another task_id.
        table
            .record(row)
            .map(|record| RowKey::Task(Identity { task_id: None, ..record.identity() }))
    }

    /// Whether a row of the snapshot of `header` has this key.
    pub(crate) fn is_still(&self, row: &RowKey, header: &Header) -> bool {
        match (self, row) {
            (RowKey::Task(task), RowKey::Task(row)) => row.is_still(task, header),
            _ => self == row,
        }
    }

    fn is_in(&self, table: &dyn TaskTable, row: usize, header: &Header) -> bool {
        match self {
            RowKey::Task(task) => table.has_task(row, task, header),
            RowKey::Title(title) => table.is_named() && table.title(row) == Some(title),
        }
    }
}

/// What became of the selected task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It lives, or nobody knows better.
    #[default]
    Lives,
    /// It died; its exit status as of wait(2), None where unknown.
    Died(Option<u32>),
}

impl Fate {
    /// The fate of a row of tasks.
    pub(crate) fn of(table: &dyn TaskTable, row: usize) -> Fate {
        let Some(record) = table.record(row).filter(|_| !table.is_named()) else {
            return Fate::Lives;
        };
        // A zombie has died too; its exit_state is in the high half.
        let is_zombie = record.state().is_some_and(|state| state >> 16 != 0);
        if is_zombie || table.cell(row, Metric::Exited).is_some() {
            Fate::Died(record.ac_exitcode())
        } else {
            Fate::Lives
        }
    }

    /// In words; empty for a task that lives.
    pub fn words(self) -> String {
        match self {
            Fate::Lives => String::new(),
            Fate::Died(None) => "died".into(),
            // The low seven bits are the signal, the second byte is the status (wait(2)).
            Fate::Died(Some(code)) if code & 0x7f != 0 => format!("died, signal {}", code & 0x7f),
            Fate::Died(Some(code)) => format!("died, exit {}", code >> 8 & 0xff),
        }
    }
}

/// The selected row as it was on the screen before.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Its key.
    pub key: RowKey,
    /// Its line.
    pub line: ScreenLine,
    /// The byte of the line where the name begins.
    pub name_at: usize,
    /// Its place on the list.
    pub row: usize,
    /// What became of it.
    pub fate: Fate,
}

impl Remembered {
    /// Notes that the task is gone. Its exit status is known where its last row had it.
    pub(crate) fn die(&mut self) {
        if self.fate == Fate::Lives {
            self.fate = Fate::Died(None);
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
    /// The filter leaves it out.
    Hidden,
    /// It is gone.
    Gone,
}

/// Where the selection is among `rows`.
pub(crate) fn place(
    interval: &Interval,
    rows: ViewRows<'_>,
    settings: &ViewSettings,
    number: usize,
) -> Place {
    let Some(key) = &settings.selected_key else {
        return settings
            .selected
            .map_or(Place::Nowhere, |row| Place::Row(row.min(number.max(1) - 1)));
    };
    let header = interval.cur().header();
    let ran = (0..rows.table.rows()).find(|&row| key.is_in(rows.table, row, header));
    let query = settings.query();
    let (row, is_kept) = match (ran, rows.unchanged) {
        (Some(row), _) => (MergedRow::Ran(row as u32), rows.table.keeps(row, &query.filter)),
        (None, Some(unchanged)) => match unchanged_row(unchanged, key, header) {
            Some(row) => (MergedRow::Unchanged(row as u32), unchanged.keeps(row, &query.filter)),
            None => return Place::Gone,
        },
        (None, None) => return Place::Gone,
    };
    if is_kept { Place::Row(rank(rows, &query, row)) } else { Place::Hidden }
}

fn unchanged_row(unchanged: &Unchanged, key: &RowKey, header: &Header) -> Option<usize> {
    (0..unchanged.rows()).find(|&row| key.is_in(unchanged, row, header))
}

fn rank(rows: ViewRows<'_>, query: &Query, row: MergedRow) -> usize {
    match (rows.unchanged, row) {
        (Some(unchanged), _) => unchanged.rank_with(rows.table, query, row),
        (None, MergedRow::Ran(row) | MergedRow::Unchanged(row)) => {
            let key = query.sort.and_then(|metric| rows.table.key(row as usize, metric));
            rows.table.count_before(query, key, row as usize)
        }
    }
}
