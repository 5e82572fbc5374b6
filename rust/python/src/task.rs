//! `taskstats.Task`: one record of a snapshot.

use std::sync::Arc;

use precise_top_core::{
    Field, FieldStatus, Record, SharedBytes, Snapshot, Value, codec, with_fields,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::convert::{field, lossy};

/// One record of a snapshot: one thread, or the sums of one process.
///
/// Every field of `struct taskstats` (include/uapi/linux/taskstats.h) and of this project's
/// extension (docs/proc-taskstats.md) is a property under the kernel's name. It is None where
/// the record does not hold the field; `status` says why. 0 is a measured zero. Counters count
/// from the task's start. The delay fields that need delay accounting read None while
/// `sysctl kernel.task_delayacct` is 0.
///
/// A Task keeps its snapshot's memory alive.
#[pyclass(frozen, name = "Task", module = "taskstats")]
pub(crate) struct PyTask {
    snapshot: Arc<Snapshot<SharedBytes>>,
    row: usize,
}

impl PyTask {
    /// The task at `row`; panics later if the snapshot has no such row.
    pub(crate) fn new(snapshot: Arc<Snapshot<SharedBytes>>, row: usize) -> PyTask {
        PyTask { snapshot, row }
    }

    /// Its snapshot, and its row there.
    pub(crate) fn place(&self) -> (Arc<Snapshot<SharedBytes>>, Vec<usize>) {
        (Arc::clone(&self.snapshot), vec![self.row])
    }

    /// The start of the task at a row, in seconds since 1970.
    pub(crate) fn start_of(snapshot: &Snapshot<SharedBytes>, row: usize) -> Option<f64> {
        let record = snapshot.get(row)?;
        let begin = snapshot.header().begin;
        match record.ac_start_ns() {
            Some(start) if begin.realtime_ns > 0 => {
                let age = i128::from(begin.boottime_ns) - i128::from(start);
                Some((i128::from(begin.realtime_ns) - age) as f64 / 1e9)
            }
            _ => record
                .ac_btime64()
                .or_else(|| record.ac_btime().map(u64::from))
                .map(|seconds| seconds as f64),
        }
    }

    fn record(&self) -> Record<'_> {
        self.snapshot.get(self.row).expect("the row exists")
    }
}

macro_rules! python_type {
    ($record:expr, $name:ident, Comm) => {
        $record.$name().map(lossy)
    };
    ($record:expr, $name:ident, $repr:ident) => {
        $record.$name()
    };
}

macro_rules! return_type {
    (U8) => { Option<u8> };
    (I8) => { Option<i8> };
    (U16) => { Option<u16> };
    (U32) => { Option<u32> };
    (U64) => { Option<u64> };
    (Timespec) => { Option<u64> };
    (Comm) => { Option<String> };
}

macro_rules! define_task {
    ($($(#[doc = $doc:literal])+ $name:ident: $repr:ident, $kind:ident, $unit:ident, $group:ident, $place:ident $args:tt;)+) => {
        #[pymethods]
        impl PyTask {
            $(
                $(#[doc = $doc])+
                #[getter]
                fn $name(&self) -> return_type!($repr) {
                    python_type!(self.record(), $name, $repr)
                }
            )+

            /// Exact CPU time since the task's start, in ns.
            ///
            /// `ac_sum_exec_ns` where the record holds it, else `cpu_run_virtual_total`.
            #[getter]
            fn cpu_ns(&self) -> Option<u64> {
                self.record().cpu_ns()
            }

            /// Start in seconds since 1970.
            ///
            /// From `ac_start_ns` where it is known, else the whole seconds of `ac_btime64` or `ac_btime`.
            #[getter]
            fn start_time(&self) -> Option<f64> {
                PyTask::start_of(&self.snapshot, self.row)
            }

            /// Whether the task died since the source's previous snapshot.
            #[getter]
            fn exited(&self) -> bool {
                self.snapshot.is_exited(self.row)
            }

            /// `ac_comm`, with invalid UTF-8 as U+FFFD.
            #[getter]
            fn name(&self) -> Option<String> {
                self.record().ac_comm().map(lossy)
            }

            /// Arguments of the process.
            ///
            /// A recorded task has those of its time. For others this reads /proc/PID/cmdline now. The list
            /// is empty for a kernel thread. None where the process is gone or hidden, or where the
            /// recording lacks its arguments.
            #[getter]
            fn cmdline(&self, py: Python<'_>) -> Option<Vec<String>> {
                let pid = self.record().ac_pid()?;
                let arguments = if self.snapshot.names().is_some() {
                    self.snapshot.recorded_cmdline(self.row).map(precise_top_sources::arguments)
                } else {
                    py.detach(|| precise_top_sources::cmdline(pid))
                };
                arguments
                    .map(|arguments| arguments.iter().map(|part| lossy(part)).collect())
            }

            /// Return the record's bytes, in the layout of the snapshot.
            fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
                PyBytes::new(py, self.record().bytes())
            }

            /// Return all fields that the record holds, by name.
            fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
                let fields = PyDict::new(py);
                for &field in Field::ALL {
                    match self.record().value(field) {
                        Some(Value::Int(number)) => fields.set_item(field.name(), number)?,
                        Some(Value::Text(text)) => fields.set_item(field.name(), lossy(text))?,
                        None => {}
                    }
                }
                Ok(fields)
            }

            /// Return whether the record holds a field, or why not: see `Snapshot.status`.
            ///
            /// Raises ValueError for an unknown field name.
            fn status(&self, name: &str) -> PyResult<&'static str> {
                let field = field(name)?;
                Ok(if self.record().filled().contains(field) {
                    FieldStatus::Filled.name()
                } else {
                    self.snapshot.header().status(field).name()
                })
            }

            fn __reduce__<'py>(
                &self,
                py: Python<'py>,
            ) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyAny>, usize))> {
                let alone = self.snapshot.extract(self.row).expect("the row exists");
                let bytes = PyBytes::new(py, &codec::encode(&alone));
                let parse = py.import("taskstats._core")?.getattr("parse")?;
                let get = py.import("operator")?.getattr("getitem")?;
                Ok((get, (parse.call1((bytes,))?, 0)))
            }

            fn __repr__(&self) -> String {
                let record = self.record();
                let pid = record.ac_pid().map_or_else(|| "?".to_owned(), |pid| pid.to_string());
                let name = record.ac_comm().map(lossy).unwrap_or_default();
                format!("<taskstats.Task: pid {pid} {name:?}>")
            }
        }
    };
}
with_fields!(define_task);
