//! The one place where Python exceptions are made. Their classes are Python's own
//! (`taskstats._errors`), since each has two bases.

use precise_top_core::ParseError;
use precise_top_core::error::ErrorKind;
use precise_top_sources::{Error, in_words};
use pyo3::exceptions::{PyMemoryError, PyOSError};
use pyo3::prelude::*;
use pyo3::types::PyModule;

/// An exception of the package, by the name of its class.
pub(crate) fn raise<'py, A: pyo3::call::PyCallArgs<'py>>(
    py: Python<'py>,
    class: &str,
    arguments: A,
) -> PyErr {
    let make = || PyModule::import(py, "taskstats._errors")?.getattr(class)?.call1(arguments);
    make().map_or_else(|error| error, PyErr::from_value)
}

/// ParseError with its offset; MemoryError if there is no memory for the data.
pub(crate) fn parse_error(py: Python<'_>, error: ParseError) -> PyErr {
    if error.kind == ErrorKind::OutOfMemory {
        return PyMemoryError::new_err(error.kind.message());
    }
    raise(py, "ParseError", (error.to_string(), error.offset))
}

/// The exception of a source's error; the errno stays with it.
pub(crate) fn python_error(py: Python<'_>, error: Error) -> PyErr {
    let (message, errno) = (error.to_string(), error.errno());
    match error {
        Error::AccessDenied { .. } => raise(py, "AccessDenied", (errno, message)),
        Error::NoSuchTask(_) => raise(py, "NoSuchTask", (errno, message)),
        Error::Unsupported { .. } => raise(py, "Unsupported", (errno, message)),
        Error::Parse(error) | Error::GivenUp(error) => parse_error(py, error),
        Error::Damaged { error, .. } => raise(py, "ParseError", (message, error.offset)),
        Error::Os { .. } if errno == 0 => PyOSError::new_err(message),
        Error::Os { .. } => PyOSError::new_err((errno, message)),
        Error::File { path, error } => {
            // Without a number of the kernel, the file is not what it has to be: EIO.
            let errno = if errno == 0 { 5 } else { errno };
            PyOSError::new_err((errno, in_words(&error), path.into_os_string()))
        }
    }
}
