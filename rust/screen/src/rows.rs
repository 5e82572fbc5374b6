//! The rows that a view chooses from.

use crate::samples::Samples;
use precise_top_core::interval::Unchanged;
use precise_top_core::{
    Arranged, Branch, Cell, Filter, Header, Kept, MergedRow, Metric, Query, TaskTable,
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

    /// The rows that a filter keeps; None for an empty one, which keeps all.
    pub(crate) fn kept(&self, filter: &Filter) -> Option<Kept> {
        if filter.is_empty() {
            return None;
        }
        Some(match self.tree {
            Some(tree) => Kept { ran: tree.kept.clone(), unchanged: Vec::new() },
            None => Kept::of(self.table, self.unchanged, filter),
        })
    }

    /// Number of rows that are listed.
    pub(crate) fn count(&self, kept: Option<&Kept>, header: &Header) -> usize {
        match (self.tree, kept) {
            (Some(tree), _) => tree.nodes.len(),
            (None, Some(kept)) => kept.ran.len() + kept.unchanged.len(),
            (None, None) => self.all(header),
        }
    }

    /// The rows that the query chooses.
    pub fn chosen(&self, query: &Query) -> Vec<TableRow<'a>> {
        self.chosen_of(query, self.kept(&query.filter).as_ref())
    }

    /// The same where the rows that its filter keeps are known.
    pub(crate) fn chosen_of(&self, query: &Query, kept: Option<&Kept>) -> Vec<TableRow<'a>> {
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
                let rows = match kept {
                    Some(kept) => self.table.select_of(&mut kept.ran.iter().copied(), query),
                    None => self.table.select(query),
                };
                let rows = rows.into_iter();
                rows.map(|row| of(self.table, row)).collect()
            }
            Some(unchanged) => {
                let rows = unchanged.select_with(self.table, query, kept).into_iter();
                rows.map(|row| match row {
                    MergedRow::Ran(row) => of(self.table, row),
                    MergedRow::Unchanged(row) => of(unchanged, row),
                })
                .collect()
            }
        }
    }
}
