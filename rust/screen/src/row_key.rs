//! The identity of a row, and what became of its task.

use precise_top_core::identity::Identity;
use precise_top_core::{Header, Metric, TaskTable};

/// The identity of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RowKey {
    /// A task, or the group of what belongs to one task.
    Task(Identity),
    /// The name of a group.
    Title(Vec<u8>),
}

impl RowKey {
    /// The key of a row; None where the row has no record.
    pub(crate) fn of(table: &dyn TaskTable, row: usize) -> Option<RowKey> {
        if let Some(name) = table.group_name(row) {
            return Some(RowKey::Title(name.to_vec()));
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

    /// Whether this is the key of a row, or of a task in it.
    pub(crate) fn is_in(&self, table: &dyn TaskTable, row: usize, header: &Header) -> bool {
        match self {
            RowKey::Task(task) => table.has_task(row, task, header),
            RowKey::Title(name) => table.group_name(row) == Some(name),
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
        if let Some(dead) = table.dead(row) {
            let mut codes = dead.exits.into_keys();
            let first = codes.next().flatten();
            return Fate::Died(first.filter(|_| codes.next().is_none()));
        }
        let Some(record) = table.record(row).filter(|_| table.group_name(row).is_none()) else {
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
