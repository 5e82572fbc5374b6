//! What Python may give for a recording: a path, an open file, or bytes.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use precise_top_core::SharedBytes;
use precise_top_sources::{DumpFile, Error};
use pyo3::prelude::*;

use crate::memory;

/// A recording that is not opened yet.
pub(crate) enum Recording {
    Path(PathBuf),
    /// A file that Python has open, and its name.
    Descriptor(RawFd, PathBuf),
    /// The contents, and what stands for their name.
    Bytes(SharedBytes, PathBuf),
}

impl Recording {
    /// One recording; None if `given` is something else, such as a list of them.
    pub(crate) fn of(given: &Bound<'_, PyAny>) -> PyResult<Option<Recording>> {
        if let Ok(path) = given.extract::<PathBuf>() {
            return Ok(Some(Recording::Path(path)));
        }
        if given.hasattr("read")? {
            let name = given.getattr("name").and_then(|name| name.extract::<PathBuf>());
            let name = name.unwrap_or_else(|_| "<file>".into());
            let descriptor = given.call_method0("fileno").and_then(|number| number.extract());
            if let Ok(descriptor) = descriptor {
                return Ok(Some(Recording::Descriptor(descriptor, name)));
            }
            // From its begin, as a descriptor is read; a stream has none.
            let _position = given.call_method1("seek", (0,));
            let bytes = memory::shared(&given.call_method0("read")?)?;
            return Ok(Some(Recording::Bytes(bytes, name)));
        }
        if given.py().import("builtins")?.getattr("memoryview")?.call1((given,)).is_ok() {
            return Ok(Some(Recording::Bytes(memory::shared(given)?, "<bytes>".into())));
        }
        Ok(None)
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> &Path {
        match self {
            Recording::Path(path) | Recording::Descriptor(_, path) | Recording::Bytes(_, path) => {
                path
            }
        }
    }

    /// Opens it.
    pub(crate) fn open(&self, map: bool, record_size: Option<usize>) -> Result<DumpFile, Error> {
        match self {
            Recording::Path(path) => DumpFile::open(path, map, record_size),
            Recording::Descriptor(number, name) => {
                DumpFile::of_descriptor(*number, name, map, record_size)
            }
            Recording::Bytes(bytes, name) => DumpFile::of_bytes(bytes.clone(), name, record_size),
        }
    }
}
