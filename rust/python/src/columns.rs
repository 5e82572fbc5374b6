//! `taskstats.Columns`: records of many snapshots, as Arrow arrays.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::ffi::FFI_ArrowSchema;
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int8Array, Int32Array,
    PrimitiveArray, RecordBatch, RecordBatchIterator, StringArray, UInt8Array, UInt16Array,
    UInt32Array, UInt64Array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use precise_top_core::columns::{Array as Filled, ColumnKind, Columns, ValueType};

use precise_top_core::{FieldSet, Interval, SharedBytes, Snapshot};
use precise_top_sources::{DumpFile, Error, Lost};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyDict, PyList};

use crate::errors::python_error;
use crate::interval::PyInterval;

/// The records of many snapshots in columns, as `taskstats.read` and `Dump.read` make it, or
/// the rows of an interval (`Interval.columns`).
///
/// A column is had by its name: numbers as a read-only memoryview, which `numpy.asarray`
/// takes without a copy, texts as a list. `valid(name)` says which values are known; the
/// others read as 0 and as None. Whatever takes Arrow streams (PyCapsule interface) takes
/// all columns at once, without a copy: `pyarrow.table(columns)`,
/// `polars.DataFrame(columns)`, `pandas.DataFrame.from_arrow(columns)`, and DuckDB by the
/// variable's name. Texts are dictionaries there. Columns share their memory: as long as one
/// of them is kept, so is all of it.
#[pyclass(frozen, name = "Columns", module = "taskstats", mapping)]
pub(crate) struct PyColumns {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    len: usize,
    paths: Vec<PathBuf>,
    lost: Vec<Lost>,
}

/// The columns of that name, or a ValueError that says where the names are.
fn kinds(names: &[String]) -> PyResult<Vec<ColumnKind>> {
    let kind = |name: &String| {
        ColumnKind::from_name(name).ok_or_else(|| {
            let beside = ColumnKind::NOT_FIELDS.map(ColumnKind::name).join(", ");
            let hint = if ColumnKind::of_interval(name).is_some() {
                "; this one is an interval's (Interval.columns)"
            } else {
                ""
            };
            PyValueError::new_err(format!(
                "no column {name:?}: give names of taskstats.FIELDS, or {beside}{hint}"
            ))
        })
    };
    names.iter().map(kind).collect()
}

/// Likewise those of an interval.
fn kinds_of_interval(names: &[String]) -> PyResult<Vec<ColumnKind>> {
    let kind = |name: &String| match ColumnKind::of_interval(name) {
        Some(kind) => Ok(kind),
        // Says which there are.
        None => crate::interval::column(name).map(ColumnKind::Metric),
    };
    names.iter().map(kind).collect()
}

/// All fields that the first snapshot of any of the files holds, with time and place.
fn all_kinds(files: &[(Arc<DumpFile>, Vec<usize>)]) -> Vec<ColumnKind> {
    let mut fields = FieldSet::EMPTY;
    for (file, indices) in files {
        let first = indices.first().map(|&index| file.snapshot(index, &mut Default::default()));
        if let Some(Ok(snapshot)) = first {
            fields = fields.union(snapshot.filled());
        }
    }
    kinds_of(fields)
}

/// Those fields, with what tells where and when they were.
fn kinds_of(fields: FieldSet) -> Vec<ColumnKind> {
    let beside = [ColumnKind::TimeNs, ColumnKind::Host, ColumnKind::BootId, ColumnKind::Exited];
    beside.into_iter().chain(fields.iter().map(ColumnKind::Field)).collect()
}

/// Reads columns; a snapshot that cannot be read, or names, are an error unless `skip`.
pub(crate) fn read(
    py: Python<'_>,
    files: Vec<(Arc<DumpFile>, Vec<usize>)>,
    names: Option<Vec<String>>,
    errors: &str,
) -> PyResult<PyColumns> {
    let skip = match errors {
        "raise" => false,
        "skip" => true,
        _ => return Err(PyValueError::new_err("errors is \"raise\" or \"skip\"")),
    };
    let kinds = names.as_deref().map(kinds).transpose()?;
    let columns = py.detach(|| {
        let kinds = kinds.unwrap_or_else(|| all_kinds(&files));
        let (columns, lost) = precise_top_sources::read_columns(&files, &kinds)?;
        match lost.first() {
            Some(lost) if !skip => {
                let path = files[lost.part].0.path().display().to_string();
                Err(Error::Damaged { path, error: lost.error })
            }
            _ => Ok((columns, lost)),
        }
    });
    let (columns, lost) = columns.map_err(|error| python_error(py, error))?;
    let paths = files.iter().map(|(file, _)| file.path().to_owned()).collect();
    PyColumns::new(columns).map(|columns| PyColumns { paths, lost, ..columns }).map_err(arrow_error)
}

/// All columns of one snapshot, as an Arrow stream.
pub(crate) fn stream<'py>(
    py: Python<'py>,
    snapshot: &Snapshot<SharedBytes>,
) -> PyResult<Bound<'py, PyCapsule>> {
    let kinds = kinds_of(snapshot.filled());
    let columns = PyColumns::new(Columns::of(snapshot, &kinds));
    columns.map_err(arrow_error)?.__arrow_c_stream__(py, None)
}

/// The rows of intervals, end to end in one batch: names as of `Interval.columns`. Without
/// the interpreter's lock.
#[pyfunction]
#[pyo3(name = "columns", signature = (intervals, columns=None))]
pub(crate) fn of_all(
    py: Python<'_>,
    intervals: Vec<Py<PyInterval>>,
    columns: Option<Vec<String>>,
) -> PyResult<PyColumns> {
    let intervals: Vec<&Interval> =
        intervals.iter().map(|interval| &*interval.get().inner).collect();
    of_intervals(py, &intervals, columns.as_deref())
}

/// Likewise; without names what tells where and when, what was used, and all fields that are
/// known.
pub(crate) fn of_intervals(
    py: Python<'_>,
    intervals: &[&Interval],
    names: Option<&[String]>,
) -> PyResult<PyColumns> {
    let kinds = match names {
        Some(names) => kinds_of_interval(names)?,
        None => {
            let used = [
                precise_top_core::Metric::UserNs,
                precise_top_core::Metric::SystemNs,
                precise_top_core::Metric::StealNs,
                precise_top_core::Metric::TotalNs,
            ];
            let mut kinds = kinds_of(FieldSet::EMPTY);
            kinds.push(ColumnKind::IntervalNs);
            kinds.extend(used.map(ColumnKind::Metric));
            let filled = intervals.iter().map(|interval| interval.cur().filled());
            let filled = filled.fold(FieldSet::EMPTY, FieldSet::union);
            kinds.extend(filled.iter().map(ColumnKind::Field));
            kinds
        }
    };
    let columns = py.detach(|| Columns::of_intervals(intervals.iter().copied(), &kinds));
    PyColumns::new(columns).map_err(arrow_error)
}

fn arrow_error(error: ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// The same without names, as an Arrow stream.
pub(crate) fn stream_of_interval<'py>(
    py: Python<'py>,
    interval: &Interval,
) -> PyResult<Bound<'py, PyCapsule>> {
    of_intervals(py, &[interval], None)?.__arrow_c_stream__(py, None)
}

impl PyColumns {
    fn new(columns: Columns) -> Result<PyColumns, ArrowError> {
        let words: Vec<ArrayRef> = columns
            .texts
            .into_iter()
            .map(|words| Arc::new(StringArray::from(words)) as ArrayRef)
            .collect();
        let fields = columns.kinds.iter().zip(&words).map(|(&kind, _)| arrow_field(kind));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut len = 0;
        let mut batches = Vec::with_capacity(columns.batches.len());
        for batch in columns.batches {
            len += batch.len;
            let memory = Buffer::from_vec(batch.memory);
            let arrays = batch.columns.into_iter().zip(&words);
            let arrays: Result<Vec<ArrayRef>, ArrowError> =
                arrays.map(|(column, words)| array(column, &memory, batch.len, words)).collect();
            batches.push(RecordBatch::try_new(Arc::clone(&schema), arrays?)?);
        }
        Ok(PyColumns { schema, batches, len, paths: Vec::new(), lost: Vec::new() })
    }

    fn index(&self, name: &str) -> PyResult<usize> {
        let index = self.schema.index_of(name);
        index.map_err(|_| PyKeyError::new_err(format!("no column {name:?} was read")))
    }

    fn arrays(&self, index: usize) -> impl Iterator<Item = &ArrayRef> {
        self.batches.iter().map(move |batch| batch.column(index))
    }

    /// The values of all batches end to end, as a memoryview of numbers.
    fn view<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyAny>> {
        let (format, width) = match self.schema.field(index).data_type() {
            DataType::Boolean => ("?", 1),
            DataType::UInt8 => ("B", 1),
            DataType::Int8 => ("b", 1),
            DataType::UInt16 => ("H", 2),
            DataType::UInt32 => ("I", 4),
            DataType::UInt64 => ("Q", 8),
            DataType::Float64 => ("d", 8),
            _ => ("i", 4),
        };
        let bytes = PyBytes::new_with(py, self.len * width, |mut room| {
            for array in self.arrays(index) {
                let (front, rest) = room.split_at_mut(array.len() * width);
                if let Some(array) = array.as_any().downcast_ref::<BooleanArray>() {
                    for (byte, value) in front.iter_mut().zip(array.values()) {
                        *byte = u8::from(value);
                    }
                } else {
                    front.copy_from_slice(&numbers(array)[..front.len()]);
                }
                room = rest;
            }
            Ok(())
        })?;
        memoryview(&bytes, format)
    }
}

fn memoryview<'py>(bytes: &Bound<'py, PyBytes>, format: &str) -> PyResult<Bound<'py, PyAny>> {
    let view = bytes.py().import("builtins")?.getattr("memoryview")?.call1((bytes,))?;
    view.call_method1("cast", (format,))
}

fn arrow_field(kind: ColumnKind) -> arrow_schema::Field {
    let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let data_type = match kind {
        ColumnKind::Field(field) => match field.info().repr {
            precise_top_core::Repr::U8 => DataType::UInt8,
            precise_top_core::Repr::I8 => DataType::Int8,
            precise_top_core::Repr::U16 => DataType::UInt16,
            precise_top_core::Repr::U32 => DataType::UInt32,
            precise_top_core::Repr::U64 => DataType::UInt64,
            precise_top_core::Repr::Comm => text(),
        },
        ColumnKind::TimeNs | ColumnKind::MonotonicNs | ColumnKind::IntervalNs => DataType::UInt64,
        ColumnKind::Exited => DataType::Boolean,
        ColumnKind::Metric(column) if column.is_share() => DataType::Float64,
        ColumnKind::Metric(_) => DataType::UInt64,
        _ => text(),
    };
    let unit = kind.unit();
    let field = arrow_schema::Field::new(kind.name(), data_type, true);
    if unit.is_empty() {
        return field;
    }
    field.with_metadata(HashMap::from([("unit".into(), unit.into_owned())]))
}

/// The Arrow array of a column of `len` values, on its batch's memory but for bits.
fn array(
    column: Filled,
    memory: &Buffer,
    len: usize,
    words: &ArrayRef,
) -> Result<ArrayRef, ArrowError> {
    let nulls = column
        .valid
        .map(|bits| NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, len)));
    let start = column.start * size_of::<u64>() / column.value_type.width();
    macro_rules! numbers {
        ($array:ty) => {
            Arc::new(<$array>::new(ScalarBuffer::new(memory.clone(), start, len), nulls))
        };
    }
    Ok(match column.value_type {
        ValueType::Bool => {
            let bytes = &memory[start..start + len];
            Arc::new(BooleanArray::new(
                BooleanBuffer::collect_bool(len, |at| bytes[at] != 0),
                nulls,
            ))
        }
        ValueType::U8 => numbers!(UInt8Array),
        ValueType::I8 => numbers!(Int8Array),
        ValueType::U16 => numbers!(UInt16Array),
        ValueType::U32 => numbers!(UInt32Array),
        ValueType::U64 => numbers!(UInt64Array),
        ValueType::F64 => numbers!(Float64Array),
        ValueType::Text => {
            let codes = Int32Array::new(ScalarBuffer::new(memory.clone(), start, len), nulls);
            Arc::new(DictionaryArray::<Int32Type>::try_new(codes, Arc::clone(words))?)
        }
    })
}

/// The bytes of an array of numbers, or of the codes of texts.
fn numbers(array: &ArrayRef) -> &[u8] {
    let any = array.as_any();
    if let Some(texts) = any.downcast_ref::<DictionaryArray<Int32Type>>() {
        return texts.keys().values().inner().as_slice();
    }
    macro_rules! first {
        ($($type:ty),+) => {
            $(if let Some(array) = any.downcast_ref::<PrimitiveArray<$type>>() {
                return array.values().inner().as_slice();
            })+
        };
    }
    first!(
        arrow_array::types::Float64Type,
        arrow_array::types::UInt64Type,
        arrow_array::types::UInt32Type,
        arrow_array::types::UInt16Type,
        arrow_array::types::UInt8Type,
        arrow_array::types::Int8Type
    );
    &[]
}

#[pymethods]
impl PyColumns {
    /// Number of records.
    fn __len__(&self) -> usize {
        self.len
    }

    /// A column by its name: a read-only memoryview of its numbers (bools, or the field's
    /// own type, float for rates and shares), or a list of str and None. KeyError for one that was not read.
    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let index = self.index(name)?;
        if !matches!(self.schema.field(index).data_type(), DataType::Dictionary(..)) {
            return self.view(py, index);
        }
        let words = self.words(py, name)?;
        let values = PyList::empty(py);
        for array in self.arrays(index) {
            let Some(texts) = array.as_any().downcast_ref::<DictionaryArray<Int32Type>>() else {
                continue;
            };
            for code in texts.keys() {
                match code {
                    Some(code) => values.append(words.get_item(code as usize)?)?,
                    None => values.append(py.None())?,
                }
            }
        }
        Ok(values.into_any())
    }

    fn __contains__(&self, name: &str) -> bool {
        self.index(name).is_ok()
    }

    /// The columns' names, in the order they were asked for.
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    /// The different texts of a column, in the order of their first record; with
    /// `codes`, each record's place among them. KeyError for one that was not read, and
    /// ValueError for one of numbers.
    fn words<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        let index = self.index(name)?;
        if !matches!(self.schema.field(index).data_type(), DataType::Dictionary(..)) {
            return Err(PyValueError::new_err(format!("{name} is a column of numbers")));
        }
        let words = PyList::empty(py);
        let first = self.arrays(index).next().map(|array| array.as_any());
        let texts = first.and_then(|array| array.downcast_ref::<DictionaryArray<Int32Type>>());
        let texts = texts.and_then(|texts| texts.values().as_any().downcast_ref::<StringArray>());
        for word in texts.into_iter().flatten() {
            words.append(word)?;
        }
        Ok(words)
    }

    /// A memoryview of each record's place among `words(name)`. Errors as there.
    fn codes<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.words(py, name)?;
        self.view(py, self.index(name)?)
    }

    /// Per record, whether the column's value is known: a memoryview of bools. KeyError
    /// for one that was not read.
    fn valid<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let index = self.index(name)?;
        let bytes = PyBytes::new_with(py, self.len, |mut room| {
            for array in self.arrays(index) {
                let (front, rest) = room.split_at_mut(array.len());
                match array.nulls() {
                    None => front.fill(1),
                    Some(nulls) => {
                        for (byte, valid) in front.iter_mut().zip(nulls.iter()) {
                            *byte = u8::from(valid);
                        }
                    }
                }
                room = rest;
            }
            Ok(())
        })?;
        memoryview(&bytes, "?")
    }

    /// What could not be read and is left out (`errors="skip"`): a dictionary a snapshot,
    /// with its file's `path`, its `snapshot` index there, `offset` and `reason`; and, with
    /// None for `snapshot`, one for each place where names are damaged.
    #[getter]
    fn lost<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let row = |lost: &Lost| {
            let row = PyDict::new(py);
            row.set_item("path", &self.paths[lost.part])?;
            row.set_item("snapshot", lost.index)?;
            row.set_item("offset", lost.error.offset)?;
            row.set_item("reason", lost.error.kind.message())?;
            Ok(row)
        };
        self.lost.iter().map(row).collect()
    }

    /// The columns' names and types, for consumers of the Arrow PyCapsule interface.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = FFI_ArrowSchema::try_from(self.schema.as_ref()).map_err(arrow_error)?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    /// All columns on the same memory, for consumers of the Arrow PyCapsule interface.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // A consumer has to take the types as they are, as the interface allows.
        drop(requested_schema);
        let batches: Vec<Result<RecordBatch, ArrowError>> =
            self.batches.iter().cloned().map(Ok).collect();
        let batches = RecordBatchIterator::new(batches, Arc::clone(&self.schema));
        let stream = FFI_ArrowArrayStream::new(Box::new(batches));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    fn __repr__(&self) -> String {
        format!(
            "<taskstats.Columns: {} records of {} columns>",
            self.len,
            self.schema.fields().len()
        )
    }
}

/// The records of all snapshots of dumps, in columns: read side by side by all CPUs,
/// without the interpreter's lock.
///
/// `paths` is a path or several. `columns` are kernel field names, and `time_ns`,
/// `monotonic_ns` (of the snapshot's begin), `exited`, `host`, `boot_id` and `path`; None
/// for all fields that the files hold, with time, host, boot id and exited. Only
/// snapshots begun from `begin_ns` to before `end_ns` (ns since 1970) are read. A
/// snapshot that cannot be read raises ParseError, or with `errors="skip"` is left out
/// and told of in `lost`; so do, where `user`, `cgroup` or `cmdline` are read, damaged
/// names, which are None then, and `snapshot` of their row of `lost` is. `mmap` and `record_size` are as in `open`. OSError; ValueError
/// for an unknown column.
#[pyfunction]
#[pyo3(name = "read", signature = (
    paths, columns=None, *, begin_ns=None, end_ns=None, errors="raise", mmap=true, record_size=None
))]
#[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python function")]
pub(crate) fn read_paths(
    py: Python<'_>,
    paths: Bound<'_, PyAny>,
    columns: Option<Vec<String>>,
    begin_ns: Option<u64>,
    end_ns: Option<u64>,
    errors: &str,
    mmap: bool,
    record_size: Option<usize>,
) -> PyResult<PyColumns> {
    let paths: Vec<PathBuf> = match paths.extract::<PathBuf>() {
        Ok(path) => vec![path],
        Err(_) => paths.try_iter()?.map(|path| path?.extract()).collect::<PyResult<_>>()?,
    };
    let times = begin_ns.unwrap_or(0)..end_ns.unwrap_or(u64::MAX);
    let files = py.detach(|| {
        let open = |path: &PathBuf| {
            let file = DumpFile::open(path, mmap, record_size)?;
            let reader = file.reader();
            let inside = |&index: &usize| {
                reader.time_ns(index).is_some_and(|time_ns| times.contains(&time_ns))
            };
            let indices = (0..reader.len()).filter(inside).collect();
            Ok((Arc::new(file), indices))
        };
        paths.iter().map(open).collect::<Result<Vec<_>, Error>>()
    });
    read(py, files.map_err(|error| python_error(py, error))?, columns, errors)
}
