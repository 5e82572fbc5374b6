//! `taskstats.Snapshot`: a view of a snapshot's bytes.

use std::cmp::Reverse;
use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use precise_top_core::{
    Field, FieldSet, FieldStatus, Flags, Header, Layout, SharedBytes, Snapshot, codec,
};
use precise_top_screen::text::safe;
use pyo3::exceptions::{PyBufferError, PyIndexError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyDict};
use pyo3::{ffi, intern};

use crate::columns;
use crate::convert::{boot_id, field, known, lossy, memoryview};
use crate::format::buffer_format;
use crate::html::{SHOWN, html};
use crate::machine::machine;
use crate::task::PyTask;

/// All tasks of a machine at one time: an immutable sequence of records.
///
/// A record is a process, or a thread where `threads` is true. The records of tasks that died
/// since the source's previous snapshot come last (`exits`). The memory is read-only and is
/// shared, not copied: `memoryview(snapshot)` and `numpy.asarray(snapshot)` see a
/// one-dimensional array of `len(snapshot)` structures of `record_size` bytes. Arrow consumers
/// take a snapshot through the PyCapsule interface. Snapshots can be pickled.
#[pyclass(frozen, name = "Snapshot", module = "taskstats", sequence)]
pub(crate) struct PySnapshot {
    pub(crate) inner: Arc<Snapshot<SharedBytes>>,
    /// What a buffer's `format` and `shape` point to; most snapshots are never asked for
    /// a buffer.
    format: OnceLock<CString>,
    shape: [ffi::Py_ssize_t; 1],
    strides: [ffi::Py_ssize_t; 1],
}

/// NumPy's type of the records whose array was made last: reading it from a buffer's format takes
/// a good part of a snapshot's time.
struct LastDtype(Mutex<Option<(Layout, FieldSet, Py<PyAny>)>>);

static LAST_DTYPE: LastDtype = LastDtype(Mutex::new(None));

impl LastDtype {
    fn locked(&self) -> MutexGuard<'_, Option<(Layout, FieldSet, Py<PyAny>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, py: Python<'_>, layout: &Layout, filled: FieldSet) -> Option<Py<PyAny>> {
        let last = self.locked();
        let (_, _, dtype) = last.as_ref().filter(|last| (&last.0, last.1) == (layout, filled))?;
        Some(dtype.clone_ref(py))
    }

    fn set(&self, layout: &Layout, filled: FieldSet, dtype: Py<PyAny>) {
        // The one before is released without the lock.
        let before = self.locked().replace((layout.clone(), filled, dtype));
        drop(before);
    }
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

/// The tasks of some rows of a snapshot, in an order.
#[pyclass(frozen, name = "TaskIterator", module = "taskstats")]
pub(crate) struct PyTaskIterator {
    snapshot: Arc<Snapshot<SharedBytes>>,
    /// The rows; None for all in their order.
    rows: Option<Vec<usize>>,
    next: AtomicUsize,
}

impl PyTaskIterator {
    /// The tasks at `rows`, which the snapshot has.
    pub(crate) fn new(snapshot: Arc<Snapshot<SharedBytes>>, rows: Vec<usize>) -> PyTaskIterator {
        PyTaskIterator { snapshot, rows: Some(rows), next: AtomicUsize::new(0) }
    }
}

#[pymethods]
impl PyTaskIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self) -> Option<PyTask> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let row = match &self.rows {
            Some(rows) => rows.get(next).copied(),
            None => (next < self.snapshot.len()).then_some(next),
        };
        row.map(|row| PyTask::new(Arc::clone(&self.snapshot), row))
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
        PyTaskIterator { snapshot: Arc::clone(&self.inner), rows: None, next: AtomicUsize::new(0) }
    }

    /// The tasks that died since the source's previous snapshot, with their use of a whole life.
    ///
    /// A Snapshot of the last `exited` records, on the same memory.
    #[getter]
    fn exits(&self) -> PySnapshot {
        PySnapshot::new(Arc::new(self.inner.exits()))
    }

    /// Return the task with this pid, or None.
    fn by_pid(&self, pid: u32) -> Option<PyTask> {
        self.inner.find_pid(pid).map(|row| PyTask::new(Arc::clone(&self.inner), row))
    }

    /// Where the records come from: "proc", "bpf", "netlink", "procfs" or "bytes".
    #[getter]
    fn source(&self) -> &'static str {
        self.header().source.name()
    }

    /// Whether a record is a thread; otherwise it is a process.
    #[getter]
    fn threads(&self) -> bool {
        self.header().threads()
    }

    /// CLOCK_REALTIME before the first record was taken, in ns since 1970.
    #[getter]
    fn time_ns(&self) -> u64 {
        self.header().begin.realtime_ns
    }

    /// `time_ns` as a datetime in UTC; None where the records have no time.
    #[getter]
    fn time<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let time_ns = self.header().begin.realtime_ns;
        if time_ns == 0 {
            return Ok(None);
        }
        let module = py.import("datetime")?;
        let utc = module.getattr("timezone")?.getattr("utc")?;
        let seconds = time_ns as f64 / 1e9;
        module.getattr("datetime")?.call_method1("fromtimestamp", (seconds, utc)).map(Some)
    }

    /// CLOCK_REALTIME after the last record was taken, in ns since 1970.
    #[getter]
    fn end_time_ns(&self) -> u64 {
        self.header().end.realtime_ns
    }

    /// CLOCK_MONOTONIC before the first record was taken, in ns.
    #[getter]
    fn monotonic_ns(&self) -> u64 {
        self.header().begin.monotonic_ns
    }

    /// CLOCK_BOOTTIME before the first record was taken, in ns: the machine's uptime.
    #[getter]
    fn boottime_ns(&self) -> u64 {
        self.header().begin.boottime_ns
    }

    /// Id of the boot, 32 hex digits (/proc/sys/kernel/random/boot_id); None where unknown.
    #[getter]
    fn boot_id(&self) -> Option<String> {
        boot_id(&self.header().boot_id)
    }

    /// Host name; None where unknown.
    #[getter]
    fn host(&self) -> Option<&str> {
        known(&self.header().host)
    }

    /// Kernel release, as `uname -r` prints it; None where unknown.
    #[getter]
    fn release(&self) -> Option<&str> {
        known(&self.header().release)
    }

    /// Number of CPUs online; 0 where unknown.
    #[getter]
    fn cpus_online(&self) -> u32 {
        self.header().cpus_online
    }

    /// Size of a page, in bytes; 0 where unknown.
    #[getter]
    fn page_size(&self) -> u32 {
        self.header().page_size
    }

    /// Load averages over 1, 5 and 15 minutes (/proc/loadavg); None where they were not read.
    #[getter]
    fn load(&self) -> Option<(f64, f64, f64)> {
        let [one, five, fifteen] = self.header().system?.load_centi.map(|n| f64::from(n) / 100.0);
        Some((one, five, fifteen))
    }

    /// Memory of the machine, in KiB; None where it was not read.
    ///
    /// Keys are `mem_total_kb`, `mem_free_kb`, `mem_available_kb`, `buffers_kb`, `cached_kb`,
    /// `swap_total_kb` and `swap_free_kb`. See proc_meminfo(5).
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

    /// CLOCK_MONOTONIC when the values of all tasks were read, in ns.
    ///
    /// `monotonic_ns`, or before it: in a recording of tasks that ran, values of others are older.
    #[getter]
    fn all_read_ns(&self) -> u64 {
        self.header().all_read_ns.unwrap_or(self.header().begin.monotonic_ns)
    }

    /// Pressure, disks, networks and limits, as far as they were read.
    #[getter]
    fn machine<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        machine(py, &self.header().machine)
    }

    /// Whether delay accounting was on (`sysctl kernel.task_delayacct`).
    #[getter]
    fn delayacct(&self) -> bool {
        self.header().flags.contains(Flags::DELAYACCT)
    }

    /// Whether tasks are missing because memory ran out.
    #[getter]
    fn truncated(&self) -> bool {
        self.header().flags.contains(Flags::TRUNCATED)
    }

    /// Number of tasks that were read from /proc because the source does not show them.
    #[getter]
    fn merged(&self) -> u32 {
        self.header().merged
    }

    /// Number of tasks that exist and could not be read.
    #[getter]
    fn missed(&self) -> u32 {
        self.header().missed
    }

    /// Number of records, the last ones, of tasks that died since the previous snapshot.
    ///
    /// None where nobody counted them.
    #[getter]
    fn exited(&self) -> Option<u32> {
        self.header().exits_known()
    }

    /// Number of tasks without a record because they did not run since the previous snapshot.
    ///
    /// 0 unless the source was opened with `changed`.
    #[getter]
    fn unchanged(&self) -> u32 {
        self.header().unchanged
    }

    /// Number of exits that were lost since the source was opened; no record has their use.
    #[getter]
    fn exits_lost(&self) -> u64 {
        self.header().exits_lost
    }

    /// CPU time of tasks outside the caller's pid namespace, in ns; they have no record.
    #[getter]
    fn outside_ns(&self) -> u64 {
        self.header().outside_ns
    }

    /// Whether every `ac_sum_exec_ns` is as of one instant.
    #[getter]
    fn one_instant(&self) -> bool {
        self.header().flags.contains(Flags::ONE_INSTANT)
    }

    /// Whether the kernel hides tasks from BPF that are outside the caller's pid namespace.
    #[getter]
    fn hidden_outside(&self) -> bool {
        self.header().flags.contains(Flags::HIDDEN_OUTSIDE)
    }

    /// The scheduler's clock at the snapshot's instant, in ns; None where unknown.
    ///
    /// CPU time is counted on this clock. NTP does not slew it, as it does CLOCK_MONOTONIC.
    #[getter]
    fn sched_clock_ns(&self) -> Option<u64> {
        self.header().sched_clock_ns
    }

    /// Clocks of each CPU's run queue since boot, in ns; empty where the source has none.
    ///
    /// Keys of each CPU are `cpu` (its number), `clock_ns`, `clock_task_ns` (the clock without irq
    /// and steal time), `idle_ns` and `steal_ns`. See `struct rq` in kernel/sched/sched.h.
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

    /// CPU time that the process taking the snapshot had used by its end, in ns.
    #[getter]
    fn own_cpu_ns(&self) -> u64 {
        self.header().own_cpu_ns
    }

    /// CPU time that the BPF programs at switches and exits have used so far, in ns.
    ///
    /// It is spent in the time of the tasks that switch or exit. 0 where nothing is attached.
    #[getter]
    fn hooks_ns(&self) -> u64 {
        self.header().hooks_ns
    }

    /// Number of system calls that took the snapshot.
    #[getter]
    fn syscalls(&self) -> u32 {
        self.header().syscalls
    }

    /// Layout version of the records' base: TASKSTATS_VERSION of the kernel that filled it.
    #[getter]
    fn version(&self) -> u16 {
        self.inner.layout().base_version()
    }

    /// Bytes from one record to the next.
    #[getter]
    fn record_size(&self) -> usize {
        self.inner.layout().record_size()
    }

    /// Names of the fields that at least one record holds, in the order of `FIELDS`.
    #[getter]
    fn fields(&self) -> Vec<&'static str> {
        self.inner.filled().iter().map(Field::name).collect()
    }

    /// Return whether the snapshot holds a field, or why not.
    ///
    /// "filled" at least one record holds it; "off" delay accounting is off; "denied" reading it
    /// needs a privilege; "unsupported" the kernel or source lacks it; "not read" it was not
    /// requested. Raises ValueError for an unknown field name.
    fn status(&self, name: &str) -> PyResult<&'static str> {
        let field = field(name)?;
        let status = self.header().status(field);
        Ok(if status == FieldStatus::Filled && !self.inner.filled().contains(field) {
            FieldStatus::Unsupported.name()
        } else {
            status.name()
        })
    }

    /// Return whether each record holds a field: `len(snapshot)` bools.
    ///
    /// Raises ValueError for an unknown field name.
    fn valid<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let valid: Vec<u8> = self.inner.valid(field(name)?).map(u8::from).collect();
        memoryview(&PyBytes::new(py, &valid), "?")
    }

    /// Return the records as a structured array, without a copy.
    ///
    /// The array is read-only and has shape `(len(snapshot),)` and a named column for each of
    /// `fields`. Where a column is not valid in every record, `valid` tells which are. Raises
    /// ImportError without NumPy.
    fn numpy<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let numpy = py.import("numpy")?;
        let snapshot = &slf.get().inner;
        let (layout, filled) = (snapshot.layout(), snapshot.filled());
        if let Some(dtype) = LAST_DTYPE.get(py, layout, filled) {
            return numpy.getattr("ndarray")?.call1((snapshot.len(), dtype, &slf));
        }
        let array = numpy.getattr("asarray")?.call1((&slf,))?;
        LAST_DTYPE.set(layout, filled, array.getattr("dtype")?.unbind());
        Ok(array)
    }

    /// Export all fields as Arrow columns (PyCapsule interface), in one batch.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        columns::stream(py, &self.inner)
    }

    /// Return header and records as bytes, which `parse` reads: see docs/dump-format.md.
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

    /// Return the tasks that used most CPU time as an HTML table, for notebooks.
    fn _repr_html_(&self) -> String {
        let titles = ["ac_pid", "ac_ppid", "cpu_ns", "rss_kb", "num_threads", "ac_comm"];
        let snapshot = &*self.inner;
        let mut rows: Vec<usize> = (0..snapshot.len()).collect();
        let used = |&row: &usize| Reverse(snapshot.get(row).and_then(|record| record.cpu_ns()));
        rows.sort_by_key(used);
        let text = |number: Option<u64>| number.map_or_else(|| "-".into(), |n| n.to_string());
        let row = |row: usize| {
            let record = snapshot.get(row)?;
            let name = record.ac_comm().map_or_else(|| "-".into(), lossy);
            Some(vec![
                text(record.ac_pid().map(u64::from)),
                text(record.ac_ppid().map(u64::from)),
                text(record.cpu_ns()),
                text(record.rss_kb()),
                text(record.num_threads().map(u64::from)),
                safe(&name).into_owned(),
            ])
        };
        html(&titles.map(String::from).into(), rows.into_iter().take(SHOWN).filter_map(row))
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
