//! The rows that a view chooses from.

use crate::samples::Samples;
use precise_top_core::interval::Unchanged;
use precise_top_core::{
    Arranged, Branch, Cell, Filter, Header, MergedRow, Metric, Query, TaskTable,
};

/// A row of a table.
#[derive(Clone, Copy)]
pub struct TableRow<'a> {
    /// The table.
    pub table: &'a dyn TaskTable,
    /// The number of the row.
    pub row: usize,
    /// Whether the task ran in the interval, so that it may have executed another program.
    pub ran: bool,
    /// Where it stands in a tree.
    pub branch: Option<Branch>,
    /// What tasks used before.
    pub samples: Option<&'a Samples>,
}

/// The rows that a view chooses from.
#[derive(Clone, Copy)]
pub struct ViewRows<'a> {
    /// The rows of an interval, or groups or a tree of them.
    pub table: &'a dyn TaskTable,
    /// The other tasks, if the interval has only those that ran.
    pub unchanged: Option<&'a Unchanged>,
    /// The nodes of a tree in their order.
    pub tree: Option<&'a Arranged>,
    /// What tasks and CPUs used before.
    pub samples: Option<&'a Samples>,
}

impl<'a> ViewRows<'a> {
    /// Number of all rows.
    pub(crate) fn all(&self, header: &Header) -> usize {
        let unchanged = self.unchanged.filter(|_| self.tree.is_none());
        self.table.rows() + unchanged.map_or(0, |_| header.unchanged as usize)
    }

    /// Number of rows that are listed: they pass the filter.
    pub(crate) fn count(&self, filter: &Filter, header: &Header) -> usize {
        if let Some(tree) = self.tree {
            return tree.nodes.len();
        }
        if filter.is_empty() {
            return self.all(header);
        }
        self.table.count(filter) + self.unchanged.map_or(0, |unchanged| unchanged.count(filter))
    }

    /// The rows that the query chooses.
    pub fn chosen(&self, query: &Query) -> Vec<TableRow<'a>> {
        let samples = self.samples;
        let of = |table: &'a dyn TaskTable, row: u32| {
            let row = row as usize;
            let ran = table.part(row, Metric::TotalNs) != Some(Cell::Int(0));
            TableRow { table, row, ran, branch: None, samples }
        };
        if let Some(tree) = self.tree {
            let nodes = tree.nodes.iter().zip(&tree.branches).skip(query.offset);
            let nodes = nodes.take(query.limit.unwrap_or(usize::MAX));
            let row = |(&node, &branch)| TableRow { branch: Some(branch), ..of(self.table, node) };
            return nodes.map(row).collect();
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
