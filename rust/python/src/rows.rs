//! Rows of tables as Python tuples.

use precise_top_core::{Query, TaskTable};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::{NamePart, PyCell, filter, metric, metrics};

/// The keyword arguments of `select`.
pub(crate) struct SelectArguments<'a, 'py> {
    pub(crate) sort: Option<&'a str>,
    pub(crate) descending: bool,
    pub(crate) offset: usize,
    pub(crate) limit: Option<usize>,
    pub(crate) text: Option<NamePart>,
    pub(crate) pids: Option<&'a Bound<'py, PyAny>>,
}

impl SelectArguments<'_, '_> {
    /// Evaluates the arguments, which may run Python code.
    pub(crate) fn query(self) -> PyResult<Query> {
        Ok(Query {
            sort: self.sort.map(metric).transpose()?,
            descending: self.descending,
            filter: filter(self.text, self.pids)?,
            offset: self.offset,
            limit: self.limit,
        })
    }
}

/// The rows that a query chooses, as tuples of these columns.
pub(crate) fn select<'py>(
    py: Python<'py>,
    table: &impl TaskTable,
    names: &[String],
    query: &Query,
) -> PyResult<Vec<Bound<'py, PyTuple>>> {
    let metrics = metrics(names)?;
    let rows = table.select(query).into_iter();
    rows.map(|row| {
        let cells = metrics.iter().map(|&metric| PyCell(table.cell(row as usize, metric)));
        PyTuple::new(py, cells)
    })
    .collect()
}

/// Sums of these columns over all rows.
pub(crate) fn sum<'py>(
    py: Python<'py>,
    table: &impl TaskTable,
    names: &[String],
) -> PyResult<Bound<'py, PyTuple>> {
    let metrics = metrics(names)?;
    PyTuple::new(py, metrics.iter().map(|&metric| PyCell(table.sum(metric))))
}
