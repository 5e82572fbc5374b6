//! `taskstats.Snapshot`: a view of a snapshot's bytes.

use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use precise_top_core::{Field, FieldStatus, Flags, Header, SharedBytes, Snapshot, codec};
use pyo3::exceptions::{PyBufferError, PyIndexError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyDict};
use pyo3::{ffi, intern};

use crate::columns;
use crate::convert::{field, memoryview};
use crate::format::buffer_format;
use crate::task::PyTask;

/// An immutable array of records, one per task, with what is known of their taking.
#[pyclass(frozen, name = "Snapshot", module = "taskstats", sequence)]
pub(crate) struct PySnapshot {
    pub(crate) inner: Arc<Snapshot<SharedBytes>>,
    /// What a buffer's `format` and `shape` point to; most snapshots are never asked for
    /// a buffer.
    format: OnceLock<CString>,
    shape: [ffi::Py_ssize_t; 1],
    strides: [ffi::Py_ssize_t; 1],
}

impl PySnapshot {
    pub(crate) fn new(inner: Arc<Snapshot<SharedBytes>>) -> PySnapshot {
        // A snapshot has at most u32::MAX records of at most 64 KiB.
        let shape = [inner.len() as ffi::Py_ssize_t];
        let strides = [inner.layout().record_size() as ffi::Py_ssize_t];
        PySnapshot { inner, format: OnceLock::new(), shape, strides }
    }

    fn header(&self) -> &Header {
        self.inner.header()
    }
}

/// The tasks of a snapshot in their order.
#[pyclass(frozen, name = "TaskIterator", module = "taskstats")]
pub(crate) struct PyTaskIterator {
    snapshot: Arc<Snapshot<SharedBytes>>,
    next: AtomicUsize,
}

#[pymethods]
impl PyTaskIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self) -> Option<PyTask> {
        let row = self.next.fetch_add(1, Ordering::Relaxed);
        (row < self.snapshot.len()).then(|| PyTask::new(Arc::clone(&self.snapshot), row))
    }
}

#[pymethods]
impl PySnapshot {
    fn __len__(&self) -> usize {
        self.inner.len()
    }

    fn __getitem__(&self, index: isize) -> PyResult<PyTask> {
        let length = self.inner.len();
        let row = if index < 0 { index.checked_add_unsigned(length) } else { Some(index) };
        row.and_then(|row| usize::try_from(row).ok())
            .filter(|&row| row < length)
            .map(|row| PyTask::new(Arc::clone(&self.inner), row))
            .ok_or_else(|| PyIndexError::new_err("snapshot index out of range"))
    }

    fn __iter__(&self) -> PyTaskIterator {
        PyTaskIterator { snapshot: Arc::clone(&self.inner), next: AtomicUsize::new(0) }
    }

    /// The tasks that died since the source's previous snapshot, with what they had
    /// used in all: a Snapshot on the same memory. They are the last of this one.
    #[getter]
    fn exits(&self) -> PySnapshot {
        PySnapshot::new(Arc::new(self.inner.exits()))
    }

    /// The task of that pid, or None.
    fn by_pid(&self, pid: u32) -> Option<PyTask> {
        self.inner.find_pid(pid).map(|row| PyTask::new(Arc::clone(&self.inner), row))
    }

    /// Where the records came from: "proc", "bpf", "netlink", "procfs" or "bytes".
    #[getter]
    fn source(&self) -> &'static str {
        self.header().source.name()
    }

    /// Whether the records are threads rather than processes.
    #[getter]
    fn threads(&self) -> bool {
        self.header().threads()
    }

    /// CLOCK_REALTIME just before the first record was taken, ns since 1970.
    #[getter]
    fn time_ns(&self) -> u64 {
        self.header().begin.realtime_ns
    }

    /// CLOCK_REALTIME just after the last record was taken, ns since 1970.
    #[getter]
    fn end_time_ns(&self) -> u64 {
        self.header().end.realtime_ns
    }

    /// CLOCK_MONOTONIC just before the first record was taken, ns.
    #[getter]
    fn monotonic_ns(&self) -> u64 {
        self.header().begin.monotonic_ns
    }

    /// CLOCK_BOOTTIME just before the first record was taken, ns: the uptime.
    #[getter]
    fn boottime_ns(&self) -> u64 {
        self.header().begin.boottime_ns
    }

    /// The boot's random id (/proc/sys/kernel/random/boot_id), 32 hex digits.
    #[getter]
    fn boot_id(&self) -> String {
        self.header().boot_id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Host name.
    #[getter]
    fn host(&self) -> &str {
        &self.header().host
    }

    /// Kernel release.
    #[getter]
    fn release(&self) -> &str {
        &self.header().release
    }

    /// CPUs online; 0 where unknown.
    #[getter]
    fn cpus_online(&self) -> u32 {
        self.header().cpus_online
    }

    /// Bytes of a page; 0 where unknown.
    #[getter]
    fn page_size(&self) -> u32 {
        self.header().page_size
    }

    /// Load averages over 1, 5 and 15 minutes, or None where not read.
    #[getter]
    fn load(&self) -> Option<(f64, f64, f64)> {
        let [one, five, fifteen] = self.header().system?.load_centi.map(|n| f64::from(n) / 100.0);
        Some((one, five, fifteen))
    }

    /// Memory in KiB as in /proc/meminfo, or None where not read.
    #[getter]
    fn memory<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(system) = self.header().system else { return Ok(None) };
        let memory = PyDict::new(py);
        memory.set_item(intern!(py, "mem_total_kb"), system.mem_total_kb)?;
        memory.set_item(intern!(py, "mem_free_kb"), system.mem_free_kb)?;
        memory.set_item(intern!(py, "mem_available_kb"), system.mem_available_kb)?;
        memory.set_item(intern!(py, "buffers_kb"), system.buffers_kb)?;
        memory.set_item(intern!(py, "cached_kb"), system.cached_kb)?;
        memory.set_item(intern!(py, "swap_total_kb"), system.swap_total_kb)?;
        memory.set_item(intern!(py, "swap_free_kb"), system.swap_free_kb)?;
        Ok(Some(memory))
    }

    /// Whether delay accounting was on (kernel.task_delayacct).
    #[getter]
    fn delayacct(&self) -> bool {
        self.header().flags.contains(Flags::DELAYACCT)
    }

    /// Whether tasks are missing because memory ran out.
    #[getter]
    fn truncated(&self) -> bool {
        self.header().flags.contains(Flags::TRUNCATED)
    }

    /// Tasks read another way, because the source does not show them.
    #[getter]
    fn merged(&self) -> u32 {
        self.header().merged
    }

    /// Tasks that exist and could not be read.
    #[getter]
    fn missed(&self) -> u32 {
        self.header().missed
    }

    /// Records at the end that are of tasks which died since the source's previous
    /// snapshot.
    #[getter]
    fn exited(&self) -> u32 {
        self.header().exited
    }

    /// Tasks without a record, because they did not run since the source's previous
    /// snapshot (`Source` with `changed`).
    #[getter]
    fn unchanged(&self) -> u32 {
        self.header().unchanged
    }

    /// Exits that were lost since the source was opened: what they used is in no record.
    #[getter]
    fn exits_lost(&self) -> u64 {
        self.header().exits_lost
    }

    /// CPU time of tasks outside the caller's pid namespace, which have no record, ns.
    #[getter]
    fn outside_ns(&self) -> u64 {
        self.header().outside_ns
    }

    /// Whether every `ac_sum_exec_ns` is the use at one instant.
    #[getter]
    fn one_instant(&self) -> bool {
        self.header().flags.contains(Flags::ONE_INSTANT)
    }

    /// The scheduler's clock at the snapshot's instant in ns, or None: what CPU time
    /// is counted on. It is not slewed by NTP, as CLOCK_MONOTONIC is.
    #[getter]
    fn sched_clock_ns(&self) -> Option<u64> {
        self.header().sched_clock_ns
    }

    /// Per CPU its run queue's clocks in ns: `cpu`, `clock_ns`, `clock_task_ns` (the
    /// clock less irq and steal time), `idle_ns` and `steal_ns`. Empty where the source
    /// has none.
    #[getter]
    fn cpu_clocks<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let clocks = self.header().cpu_clocks.iter();
        clocks
            .map(|clocks| {
                let row = PyDict::new(py);
                row.set_item("cpu", clocks.cpu)?;
                row.set_item("clock_ns", clocks.clock_ns)?;
                row.set_item("clock_task_ns", clocks.clock_task_ns)?;
                row.set_item("idle_ns", clocks.idle_ns)?;
                row.set_item("steal_ns", clocks.steal_ns)?;
                Ok(row)
            })
            .collect()
    }

    /// CPU time that the process which took the snapshot had used by its end, ns.
    #[getter]
    fn own_cpu_ns(&self) -> u64 {
        self.header().own_cpu_ns
    }

    /// CPU time that watching switches and exits has taken so far, in the time of the
    /// tasks themselves, ns; 0 where nothing is watched.
    #[getter]
    fn hooks_ns(&self) -> u64 {
        self.header().hooks_ns
    }

    /// System calls that taking the snapshot needed.
    #[getter]
    fn syscalls(&self) -> u32 {
        self.header().syscalls
    }

    /// Version of the records' base, as in TASKSTATS_VERSION.
    #[getter]
    fn version(&self) -> u16 {
        self.inner.layout().base_version()
    }

    /// Bytes from one record to the next.
    #[getter]
    fn record_size(&self) -> usize {
        self.inner.layout().record_size()
    }

    /// Names of the fields that at least one record holds, in table order.
    #[getter]
    fn fields(&self) -> Vec<&'static str> {
        self.inner.filled().iter().map(Field::name).collect()
    }

    /// Whether the field is held, and if not, why not: "filled", "off", "denied",
    /// "unsupported" or "not read". ValueError for an unknown name.
    fn status(&self, name: &str) -> PyResult<&'static str> {
        let field = field(name)?;
        let status = self.header().status(field);
        Ok(if status == FieldStatus::Filled && !self.inner.filled().contains(field) {
            FieldStatus::Unsupported.name()
        } else {
            status.name()
        })
    }

    /// Per record, whether it holds the field: a one-dimensional memoryview of bools,
    /// which `numpy.asarray` takes. ValueError for an unknown name.
    fn valid<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let valid: Vec<u8> = self.inner.valid(field(name)?).map(u8::from).collect();
        memoryview(&PyBytes::new(py, &valid), "?")
    }

    /// The records as a read-only structured NumPy array on the same memory, with a
    /// column for every field that at least one record holds. ImportError without NumPy.
    fn numpy<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("numpy")?.getattr("asarray")?.call1((&slf,))
    }

    /// The records in columns, for consumers of the Arrow PyCapsule interface.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        columns::stream(py, &self.inner)
    }

    /// The snapshot with its header as bytes, for `taskstats.parse`.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &codec::encode(&self.inner))
    }

    fn __reduce__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let parse = py.import("taskstats._core")?.getattr("parse")?;
        Ok((parse, (self.to_bytes(py),)))
    }

    fn __repr__(&self) -> String {
        let kind = if self.header().threads() { "threads" } else { "processes" };
        format!("<taskstats.Snapshot: {} {kind} from {}>", self.inner.len(), self.source())
    }

    /// # Safety
    ///
    /// Called by the interpreter with a view to be filled.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill"));
        }
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("a snapshot is read-only"));
        }
        let snapshot = slf.get();
        let bytes = snapshot.inner.record_bytes();
        let format = snapshot
            .format
            .get_or_init(|| buffer_format(snapshot.inner.layout(), snapshot.inner.filled()));
        // SAFETY: `view` is valid for writes (the interpreter's promise, checked for
        // null above). All pointers stored in it stay valid while `obj` lives: the
        // records and the format, shape and strides belong to the frozen object that
        // `obj` keeps alive. Consumers get the memory read-only.
        unsafe {
            (*view).buf = bytes.as_ptr().cast::<c_void>().cast_mut();
            (*view).len = bytes.len() as ffi::Py_ssize_t;
            (*view).readonly = 1;
            (*view).itemsize = snapshot.strides[0];
            (*view).format = if flags & ffi::PyBUF_FORMAT == ffi::PyBUF_FORMAT {
                format.as_ptr().cast_mut()
            } else {
                ptr::null_mut()
            };
            (*view).ndim = 1;
            (*view).shape = if flags & ffi::PyBUF_ND == ffi::PyBUF_ND {
                snapshot.shape.as_ptr().cast_mut()
            } else {
                ptr::null_mut()
            };
            (*view).strides = if flags & ffi::PyBUF_STRIDES == ffi::PyBUF_STRIDES {
                snapshot.strides.as_ptr().cast_mut()
            } else {
                ptr::null_mut()
            };
            (*view).suboffsets = ptr::null_mut();
            (*view).internal = ptr::null_mut();
            (*view).obj = slf.into_any().into_ptr();
        }
        Ok(())
    }
}
