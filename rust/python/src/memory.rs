//! The memory of Python objects as bytes of a snapshot.

use precise_top_core::SharedBytes;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;

/// Read-only memory of a Python object, which it keeps alive.
struct PythonMemory(PyBuffer<u8>);

impl AsRef<[u8]> for PythonMemory {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `shared` checked that the buffer is C-contiguous, not empty and read-only.
        // Its exporter keeps the memory in place as long as the buffer is held.
        unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast::<u8>(), self.0.len_bytes()) }
    }
}

/// The bytes of `data`: its own memory if that is read-only, else a copy.
pub(crate) fn shared(data: &Bound<'_, PyAny>) -> PyResult<SharedBytes> {
    let py = data.py();
    // Records are read from plain bytes, whatever the type of the exporter's items is.
    let view = py.import("builtins")?.getattr("memoryview")?.call1((data,))?;
    let bytes = view.call_method1("cast", ("B",)).or_else(|error| {
        // A memoryview casts simple item types only; NumPy casts structured arrays.
        data.call_method1("view", ("u1",)).map_err(|_| error)
    })?;
    let buffer = PyBuffer::<u8>::get(&bytes)?;
    if !buffer.is_c_contiguous() {
        return Err(PyBufferError::new_err("the memory is not contiguous: pass a contiguous copy"));
    }
    // An empty buffer may have no address.
    if buffer.len_bytes() > 0 && buffer.readonly() && is_read_only_at_its_exporter(&view)? {
        return Ok(SharedBytes::new(PythonMemory(buffer)));
    }
    Ok(SharedBytes::new(buffer.to_vec(py)?))
}

/// Whether the object that exports the memory of a memoryview has it read-only too: a
/// read-only view of a bytearray is not.
fn is_read_only_at_its_exporter(view: &Bound<'_, PyAny>) -> PyResult<bool> {
    let exporter = view.getattr("obj")?;
    let own = view.py().import("builtins")?.getattr("memoryview")?.call1((exporter,))?;
    own.getattr("readonly")?.extract()
}
