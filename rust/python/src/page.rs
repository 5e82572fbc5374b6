//! `taskstats.Page`: the rows of a screen, from one interval to the next.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use taskstats::{Cell, Column, Place, Query, Resting, Table};

use crate::interval::{Asked, PyCell, PyFold, PyInterval, columns};
use crate::source::PySource;

/// Rows as tuples of the given columns, chosen anew from one interval after the other: a
/// row whose cells are as they were the last time is the same object, so that who shows
/// rows needs to look only at those that are not. Rates and shares are rounded to `digits`
/// digits after the point: what is not shown is no change. ValueError for an unknown column.
#[pyclass(name = "Page", module = "taskstats")]
pub(crate) struct PyPage {
    columns: Vec<Column>,
    /// What a rate or share is counted in: so many to one.
    steps: f64,
    /// The rows that were given last. They are few, and mostly where they were, so that
    /// one is found soon.
    given: Vec<(Vec<Kept>, Py<PyTuple>)>,
}

/// A cell's value.
#[derive(PartialEq, Eq)]
enum Kept {
    Unknown,
    Int(i128),
    Float(u64),
    Text(Box<[u8]>),
}

impl From<Option<Cell<'_>>> for Kept {
    fn from(cell: Option<Cell<'_>>) -> Kept {
        match cell {
            None => Kept::Unknown,
            Some(Cell::Int(number)) => Kept::Int(number),
            Some(Cell::Float(number)) => Kept::Float(number.to_bits()),
            Some(Cell::Text(text)) => Kept::Text(text.into()),
        }
    }
}

/// What has rows.
#[derive(FromPyObject)]
enum Rows<'py> {
    Interval(PyRef<'py, PyInterval>),
    Fold(PyRef<'py, PyFold>),
}

#[pymethods]
impl PyPage {
    #[new]
    #[pyo3(signature = (columns, *, digits=2))]
    fn new(columns: Vec<String>, digits: u8) -> PyResult<PyPage> {
        let steps = 10_f64.powi(digits.into());
        Ok(PyPage { columns: self::columns(&columns)?, steps, given: Vec::new() })
    }

    /// Rows of an interval or a fold; arguments as of `Interval.select`. With `resting`, a
    /// source whose last snapshot has only tasks that ran, the others are among them, as
    /// `Source.resting` gives them.
    #[pyo3(signature = (
        rows, *, resting=None, sort=None, descending=true, offset=0, limit=None, text=None, pids=None
    ))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    fn select<'py>(
        &mut self,
        py: Python<'py>,
        rows: Rows<'py>,
        resting: Option<&PySource>,
        sort: Option<&str>,
        descending: bool,
        offset: usize,
        limit: Option<usize>,
        text: Option<String>,
        pids: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let query = Asked { sort, descending, offset, limit, text, pids }.query()?;
        match &rows {
            Rows::Interval(interval) => self.choose(py, &*interval.inner, resting, &query),
            Rows::Fold(fold) => self.choose(py, &fold.inner, resting, &query),
        }
    }
}

impl PyPage {
    fn choose<'py>(
        &mut self,
        py: Python<'py>,
        ran: &impl Table,
        resting: Option<&PySource>,
        query: &Query,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let before = std::mem::take(&mut self.given);
        let mut giving = Giving { py, before, page: self };
        let both = resting.and_then(|source| {
            source.with_resting(|resting| {
                let places = resting.select_with(ran, query).into_iter();
                places.map(|place| giving.row_at(place, ran, resting)).collect()
            })
        });
        both.unwrap_or_else(|| {
            let rows = ran.select(query).into_iter();
            rows.map(|row| giving.row(|column| ran.cell(row as usize, column))).collect()
        })
    }
}

/// Rows that are being given, and those that were the last time.
struct Giving<'a, 'py> {
    py: Python<'py>,
    before: Vec<(Vec<Kept>, Py<PyTuple>)>,
    page: &'a mut PyPage,
}

impl<'py> Giving<'_, 'py> {
    fn row_at(
        &mut self,
        place: Place,
        ran: &impl Table,
        resting: &Resting<'_>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        match place {
            Place::Ran(row) => self.row(|column| ran.cell(row as usize, column)),
            Place::Rests(row) => self.row(|column| resting.cell(row as usize, column)),
        }
    }

    fn row<'c>(
        &mut self,
        cell: impl Fn(Column) -> Option<Cell<'c>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let (columns, steps) = (&self.page.columns, self.page.steps);
        let cell = |column| match cell(column) {
            Some(Cell::Float(number)) => Some(Cell::Float((number * steps).round() / steps)),
            cell => cell,
        };
        let cells: Vec<Kept> = columns.iter().map(|&column| cell(column).into()).collect();
        let here = self.page.given.len().min(self.before.len());
        let (above, below) = self.before.split_at(here);
        let row = match below.iter().chain(above).find(|(known, _)| *known == cells) {
            Some((_, row)) => row.bind(self.py).clone(),
            None => PyTuple::new(self.py, columns.iter().map(|&column| PyCell(cell(column))))?,
        };
        self.page.given.push((cells, row.clone().unbind()));
        Ok(row)
    }
}
