//! The one place where Python exceptions are made. Their classes are Python's own
//! (`taskstats._errors`), since each has two bases.

use pyo3::prelude::*;
use pyo3::types::PyModule;
use taskstats::{Error, ParseError};

fn raise(py: Python<'_>, class: &str, arguments: impl for<'a> IntoPyObject<'a>) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let class = PyModule::import(py, "taskstats._errors")?.getattr(class)?;
        let arguments = arguments.into_pyobject(py).map_err(Into::into)?;
        let arguments = arguments.into_any().cast_into::<pyo3::types::PyTuple>()?;
        Ok(PyErr::from_value(class.call1(arguments)?))
    };
    make().unwrap_or_else(|error| error)
}

/// ParseError with its offset.
pub(crate) fn parse_error(py: Python<'_>, error: ParseError) -> PyErr {
    raise(py, "ParseError", (error.to_string(), error.offset))
}
