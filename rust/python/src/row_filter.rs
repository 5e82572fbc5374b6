//! `taskstats.screen.RowFilter`: a condition on rows, as a user types it.

use std::collections::HashMap;
use std::sync::Arc;

use precise_top_core::{Condition, Metric, parse_condition};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::convert::{NamePart, metric};

/// A condition on rows, as a user types it.
///
/// Terms beside each other must all hold, of terms around `|` one; `!` negates a term. A word,
/// "words in quotes", /a regex/ or ~regex is found in name and command line; a number is a pid as
/// well. `column>10M` compares a number (= != > < >= <=), with a unit or without. `name`,
/// `command`, `user` and `cgroup` are texts: = compares the whole, : finds a part, ~ a regex;
/// `state=R,D` has letters. ASCII letters of either case are equal. `columns` are names for
/// columns of `Interval.select`, which have their own names too. Raises ValueError with a message
/// for the user.
#[pyclass(frozen, from_py_object, name = "RowFilter", module = "taskstats.screen")]
#[derive(Clone)]
pub(crate) struct PyRowFilter(pub(crate) Option<Arc<Condition>>);

#[pymethods]
impl PyRowFilter {
    #[new]
    #[pyo3(signature = (text, columns=None))]
    fn new(text: NamePart, columns: Option<HashMap<String, String>>) -> PyResult<PyRowFilter> {
        let columns: HashMap<String, Metric> = columns
            .iter()
            .flatten()
            .map(|(name, source)| Ok((name.to_lowercase(), metric(source)?)))
            .collect::<PyResult<_>>()?;
        let column = |name: &str| {
            columns.get(&name.to_lowercase()).copied().or_else(|| Metric::from_name(name))
        };
        let condition = parse_condition(text.bytes(), &column).map_err(PyValueError::new_err)?;
        Ok(PyRowFilter(condition.map(Arc::new)))
    }

    /// The columns of `Interval.select` that it compares.
    #[getter]
    fn columns(&self) -> Vec<String> {
        let metrics = self.0.iter().flat_map(|condition| condition.metrics());
        metrics.map(|metric| metric.name().into_owned()).collect()
    }

    /// The kernel fields that it needs.
    #[getter]
    fn fields(&self) -> Vec<&'static str> {
        let fields = self.0.iter().flat_map(|condition| condition.fields().iter());
        fields.map(|field| field.name()).collect()
    }
}
