//! The rows that a view chooses from.

use precise_top_core::interval::Unchanged;
use precise_top_core::{Cell, Filter, Header, MergedRow, Metric, Query, TaskTable};

/// A row of a table.
#[derive(Clone, Copy)]
pub struct TableRow<'a> {
    /// The table.
    pub table: &'a dyn TaskTable,
    /// The number of the row.
    pub row: usize,
    /// Whether the task ran in the interval, so that it may have executed another program.
    pub ran: bool,
}

/// The rows that a view chooses from.
#[derive(Clone, Copy)]
pub struct ViewRows<'a> {
    /// The rows of an interval, or groups of them.
    pub table: &'a dyn TaskTable,
    /// The other tasks, if the interval has only those that ran.
    pub unchanged: Option<&'a Unchanged>,
}

impl<'a> ViewRows<'a> {
    /// Number of rows that pass the filter.
    pub(crate) fn count(&self, filter: &Filter, header: &Header) -> usize {
        if filter.is_empty() {
            return self.table.rows() + self.unchanged.map_or(0, |_| header.unchanged as usize);
        }
        self.table.count(filter) + self.unchanged.map_or(0, |unchanged| unchanged.count(filter))
    }

    /// The rows that the query chooses.
    pub(crate) fn chosen(&self, query: &Query) -> Vec<TableRow<'a>> {
        fn of<'a>(table: &'a dyn TaskTable, row: u32) -> TableRow<'a> {
            let row = row as usize;
            let ran = table.cell(row, Metric::TotalNs) != Some(Cell::Int(0));
            TableRow { table, row, ran }
        }
        match self.unchanged {
            None => {
                let rows = self.table.select(query).into_iter();
                rows.map(|row| of(self.table, row)).collect()
            }
            Some(unchanged) => {
                let rows = unchanged.select_with(self.table, query).into_iter();
                rows.map(|row| match row {
                    MergedRow::Ran(row) => of(self.table, row),
                    MergedRow::Unchanged(row) => of(unchanged, row),
                })
                .collect()
            }
        }
    }
}
