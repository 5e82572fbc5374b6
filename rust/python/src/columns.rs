//! `taskstats.Columns`: records of many snapshots, as Arrow arrays.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::ffi::FFI_ArrowSchema;
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchIterator, StringArray};
use arrow_schema::{ArrowError, SchemaRef};
use precise_top_core::columns::{ColumnKind, Columns, SnapshotRows, ValueType};
use precise_top_core::{FieldSet, Interval, Metric, SharedBytes, Snapshot, TaskTable};
use precise_top_screen::text::safe;
use precise_top_sources::{DumpFile, Error, Lost, in_words};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyDict, PyList};

use crate::arrow;
use crate::convert::{memoryview, metric};
use crate::errors::parse_error;
use crate::html::{SHOWN, html};
use crate::signals::Signals;

/// Rows of many snapshots or intervals, as columns in Arrow memory.
///
/// `read`, `Dump.read`, `Interval.columns` and `columns` return it. `columns["ac_pid"]` is a
/// read-only memoryview, which `numpy.asarray` takes without a copy; text columns are lists.
/// Unknown values read as 0 and None; `valid` tells which they are. `pyarrow.table(columns)`,
/// `polars.DataFrame(columns)`, `pandas.DataFrame.from_arrow(columns)` and DuckDB take all
/// columns at once without a copy; text is dictionary-encoded there.
///
/// The columns share their memory, so one that is kept keeps all of them. `len` is the number
/// of rows.
#[pyclass(frozen, name = "Columns", module = "taskstats", mapping)]
pub(crate) struct PyColumns {
    schema: SchemaRef,
    kinds: Vec<ColumnKind>,
    batches: Vec<RecordBatch>,
    len: usize,
    lost: Vec<LostRow>,
}

/// Something that was left out because it could not be read.
pub(crate) struct LostRow {
    path: PathBuf,
    /// The index of the snapshot; None for others, such as names and whole files.
    snapshot: Option<usize>,
    /// The offset of the damage; None where the file could not be opened.
    offset: Option<usize>,
    reason: String,
}

impl LostRow {
    /// Of a part of a file.
    pub(crate) fn part(path: &Path, lost: &Lost) -> LostRow {
        LostRow {
            path: path.to_owned(),
            snapshot: lost.index,
            offset: Some(lost.error.offset),
            reason: lost.error.kind.message().into(),
        }
    }

    /// Of a whole file. None if the error is not the file's.
    pub(crate) fn file(path: &Path, error: &Error) -> Option<LostRow> {
        let (offset, reason) = match error {
            Error::Damaged { error, .. } | Error::Parse(error) => {
                (Some(error.offset), error.kind.message().into())
            }
            Error::GivenUp(_) => return None,
            Error::Os { error, .. } | Error::File { error, .. } => (None, in_words(error)),
            other => (None, other.to_string()),
        };
        Some(LostRow { path: path.to_owned(), snapshot: None, offset, reason })
    }

    /// As a dictionary.
    pub(crate) fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let row = PyDict::new(py);
        row.set_item("path", &self.path)?;
        row.set_item("snapshot", self.snapshot)?;
        row.set_item("offset", self.offset)?;
        row.set_item("reason", &self.reason)?;
        Ok(row)
    }
}

/// The columns of a snapshot with these names, or a ValueError that says where the names are
/// listed.
pub(crate) fn kinds(names: &[String]) -> PyResult<Vec<ColumnKind>> {
    let kind = |name: &String| {
        ColumnKind::from_name(name).or_else(|| ColumnKind::of_label(name)).ok_or_else(|| {
            let beside = ColumnKind::NOT_FIELDS.map(ColumnKind::name).join(", ");
            let hint = if ColumnKind::of_interval(name).is_some() {
                "; this one is an interval's (Interval.columns)"
            } else {
                ""
            };
            PyValueError::new_err(format!(
                "no column {name:?}: give names of taskstats.FIELDS, label.NAME of a label, or \
                 {beside}{hint}"
            ))
        })
    };
    names.iter().map(kind).collect()
}

/// Return the columns of a recording's intervals with their types, in the order of an export.
///
/// A type is "bool", "u8", "i8", "u16", "u32", "u64", "f64" or "text".
#[pyfunction]
pub(crate) fn recorded_columns(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let types = PyDict::new(py);
    for kind in ColumnKind::of_recording() {
        types.set_item(kind.name(), type_name(kind.value_type()))?;
    }
    Ok(types)
}

/// Return the types of these columns of recordings' rows, as of `recorded_columns`.
///
/// Raises ValueError, with the names that there are, for a column that rows of that kind do not
/// have.
#[pyfunction]
pub(crate) fn column_types(names: Vec<String>, rows: &str) -> PyResult<Vec<&'static str>> {
    let kinds = if rows == "record" { kinds(&names)? } else { kinds_of_recording(&names)? };
    Ok(kinds.into_iter().map(|kind| type_name(kind.value_type())).collect())
}

fn type_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Bool => "bool",
        ValueType::U8 => "u8",
        ValueType::I8 => "i8",
        ValueType::U16 => "u16",
        ValueType::U32 => "u32",
        ValueType::U64 => "u64",
        ValueType::F64 => "f64",
        ValueType::Text => "text",
    }
}

/// The columns of a recording's intervals with these names, labels included.
pub(crate) fn kinds_of_recording(names: &[String]) -> PyResult<Vec<ColumnKind>> {
    let kind = |name: &String| ColumnKind::of_label(name).map_or_else(|| of_interval(name), Ok);
    names.iter().map(kind).collect()
}

/// The columns of an interval with these names, or a ValueError that lists the names.
pub(crate) fn kinds_of_interval(names: &[String]) -> PyResult<Vec<ColumnKind>> {
    names.iter().map(|name| of_interval(name)).collect()
}

fn of_interval(name: &str) -> PyResult<ColumnKind> {
    if ColumnKind::of_label(name).is_some() {
        let message = format!("no column {name:?}: only recordings have labels (taskstats.scan)");
        return Err(PyValueError::new_err(message));
    }
    let kind = ColumnKind::of_interval(name);
    kind.or_else(|| Metric::from_name(name).map(ColumnKind::Metric)).ok_or_else(|| {
        let beside = ColumnKind::NOT_FIELDS.map(ColumnKind::name).join(", ");
        let error = metric(name).err().map_or_else(String::new, |error| error.to_string());
        let error = error.trim_start_matches("ValueError: ");
        PyValueError::new_err(format!("{error}, or one of interval_ns, {beside}"))
    })
}

/// Time and place, and all fields of the first snapshot of each file.
fn default_kinds(files: &[(Arc<DumpFile>, Vec<usize>)]) -> Vec<ColumnKind> {
    let mut fields = FieldSet::EMPTY;
    for (file, indices) in files {
        let first = indices.first().map(|&index| file.snapshot(index, &mut Default::default()));
        if let Some(Ok(snapshot)) = first {
            fields = fields.union(snapshot.filled());
        }
    }
    kinds_of_fields(fields)
}

/// Time and place, and these fields.
fn kinds_of_fields(fields: FieldSet) -> Vec<ColumnKind> {
    let context = [ColumnKind::TimeNs, ColumnKind::Host, ColumnKind::BootId, ColumnKind::Exited];
    context.into_iter().chain(fields.iter().map(ColumnKind::Field)).collect()
}

/// Time and place, the CPU time used, and all fields that are known.
fn default_kinds_of_intervals(intervals: &[&Interval]) -> Vec<ColumnKind> {
    let used = [Metric::UserNs, Metric::SystemNs, Metric::StealNs, Metric::TotalNs];
    let filled = intervals.iter().map(|interval| interval.cur().filled());
    let filled = filled.fold(FieldSet::EMPTY, FieldSet::union);
    let mut kinds = kinds_of_fields(FieldSet::EMPTY);
    kinds.push(ColumnKind::IntervalNs);
    kinds.extend(used.map(ColumnKind::Metric));
    kinds.extend(filled.iter().map(ColumnKind::Field));
    kinds
}

/// Whether what is damaged is to be left out, by the argument `errors`.
pub(crate) fn skips(errors: &str) -> PyResult<bool> {
    match errors {
        "raise" => Ok(false),
        "skip" => Ok(true),
        _ => Err(PyValueError::new_err("errors is \"raise\" or \"skip\"")),
    }
}

/// Warns of what was left out.
fn warn_of(py: Python<'_>, lost: &[LostRow]) -> PyResult<()> {
    let lost: Vec<_> = lost.iter().map(|lost| lost.to_dict(py)).collect::<PyResult<_>>()?;
    py.import("taskstats._errors")?.call_method1("warn_of", (lost,))?;
    Ok(())
}

/// Reads columns. What cannot be read is an error, or left out with `skip`; `unopened` files
/// were left out already.
pub(crate) fn read(
    py: Python<'_>,
    files: Vec<(Arc<DumpFile>, Vec<usize>)>,
    names: Option<Vec<String>>,
    skip: bool,
    mut unopened: Vec<LostRow>,
) -> PyResult<PyColumns> {
    let kinds = names.as_deref().map(kinds).transpose()?;
    let signals = Signals::new();
    let stop = signals.stop();
    let columns = py.detach(|| {
        let kinds = kinds.unwrap_or_else(|| default_kinds(&files));
        let (columns, lost) = precise_top_sources::read_columns(&files, &kinds, &stop)?;
        match lost.first() {
            Some(lost) if !skip => {
                let path = files[lost.part].0.path().display().to_string();
                Err(Error::Damaged { path, error: lost.error })
            }
            _ => Ok((columns, lost)),
        }
    });
    let (columns, lost) = columns.map_err(|error| signals.error(py, error))?;
    let row = |lost: &Lost| LostRow::part(files[lost.part].0.path(), lost);
    unopened.extend(lost.iter().map(row));
    warn_of(py, &unopened)?;
    PyColumns::new(columns)
        .map(|columns| PyColumns { lost: unopened, ..columns })
        .map_err(arrow_error)
}

/// All fields of one snapshot, as an Arrow stream.
pub(crate) fn stream<'py>(
    py: Python<'py>,
    snapshot: &Snapshot<SharedBytes>,
) -> PyResult<Bound<'py, PyCapsule>> {
    let kinds = kinds_of_fields(snapshot.filled());
    let columns = Columns::of(snapshot, &kinds).map_err(|error| parse_error(py, error))?;
    PyColumns::new(columns).map_err(arrow_error)?.arrow_stream(py)
}

/// The rows of all intervals in one batch. The default of `names` is all that is known.
pub(crate) fn of_intervals(
    py: Python<'_>,
    intervals: &[&Interval],
    names: Option<&[String]>,
) -> PyResult<PyColumns> {
    let kinds = names.map(kinds_of_interval).transpose()?;
    let kinds = kinds.unwrap_or_else(|| default_kinds_of_intervals(intervals));
    let columns = py.detach(|| {
        let names = intervals.iter().map(|interval| named(interval, &kinds)).collect::<Vec<_>>();
        let rows = intervals.iter().zip(&names).map(|(interval, named)| SnapshotRows {
            snapshot: named.as_ref().unwrap_or(interval.cur()),
            interval: Some(interval),
            path: "",
            metadata: &[],
        });
        Columns::of_rows(rows, &kinds)
    });
    PyColumns::new(columns.map_err(|error| parse_error(py, error))?).map_err(arrow_error)
}

/// The later snapshot of a live interval with the names that the columns need.
fn named(interval: &Interval, kinds: &[ColumnKind]) -> Option<Snapshot<SharedBytes>> {
    let needs_names = kinds.iter().any(|kind| kind.is_name());
    let with_cmdlines = kinds.contains(&ColumnKind::Cmdline);
    (needs_names && interval.cur().names().is_none())
        .then(|| precise_top_sources::with_names(interval.cur(), with_cmdlines))
}

/// Columns of chosen rows of a table over an interval.
pub(crate) fn of_table(
    py: Python<'_>,
    table: &dyn TaskTable,
    rows: &[u32],
    interval: &Interval,
    names: Option<&[String]>,
) -> PyResult<PyColumns> {
    let mut kinds = match names {
        Some(names) => kinds_of_interval(names)?,
        None => default_kinds_of_intervals(&[interval]),
    };
    if names.is_none() {
        kinds.extend([Metric::Tasks, Metric::Title].map(ColumnKind::Metric));
    }
    if let Some(kind) = kinds.iter().find(|kind| kind.is_name()) {
        return Err(PyValueError::new_err(format!(
            "a table has no column {:?}: take title, or Interval.columns",
            kind.name()
        )));
    }
    let columns = Columns::of_table(table, rows, interval, &kinds);
    PyColumns::new(columns.map_err(|error| parse_error(py, error))?).map_err(arrow_error)
}

fn arrow_error(error: ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

impl PyColumns {
    /// Columns that nothing was left out of.
    pub(crate) fn of(columns: Columns) -> PyResult<PyColumns> {
        PyColumns::new(columns).map_err(arrow_error)
    }

    fn new(columns: Columns) -> Result<PyColumns, ArrowError> {
        let kinds = columns.kinds.clone();
        let len = columns.batches.iter().map(|batch| batch.len).sum();
        let (schema, batches) = arrow::batches(columns)?;
        Ok(PyColumns { schema, kinds, batches, len, lost: Vec::new() })
    }

    fn index(&self, name: &str) -> PyResult<usize> {
        let index = self.schema.index_of(name);
        index.map_err(|_| PyKeyError::new_err(format!("no column {name:?} was read")))
    }

    fn arrays(&self, index: usize) -> impl Iterator<Item = &ArrayRef> {
        self.batches.iter().map(move |batch| batch.column(index))
    }

    /// An Arrow stream of all columns on the same memory.
    pub(crate) fn arrow_stream<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = arrow::schema_with_timestamps(&self.schema, &self.kinds);
        let batches = self.batches.iter();
        let batches: Vec<_> =
            batches.map(|batch| arrow::with_timestamps(batch, Arc::clone(&schema))).collect();
        let batches = RecordBatchIterator::new(batches, schema);
        let stream = FFI_ArrowArrayStream::new(Box::new(batches));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    /// The first rows, on the same memory.
    fn head(&self, rows: usize) -> PyColumns {
        let len = rows.min(self.len);
        let mut left = len;
        let batches = self.batches.iter().map(|batch| {
            let taken = left.min(batch.num_rows());
            left -= taken;
            batch.slice(0, taken)
        });
        let batches = batches.collect();
        let (schema, kinds) = (Arc::clone(&self.schema), self.kinds.clone());
        PyColumns { schema, kinds, batches, len, lost: Vec::new() }
    }

    /// The values of a column as text.
    fn texts(&self, py: Python<'_>, name: &str) -> PyResult<Vec<String>> {
        let values = self.__getitem__(py, name)?.try_iter()?;
        let known = self.valid(py, name)?.try_iter()?;
        let text = |(value, known): (PyResult<Bound<'_, PyAny>>, PyResult<Bound<'_, PyAny>>)| {
            let value = value?;
            if !known?.is_truthy()? {
                return Ok("-".to_owned());
            }
            Ok(safe(&value.str()?.to_string_lossy()).into_owned())
        };
        values.zip(known).map(text).collect()
    }

    fn is_text(&self, index: usize) -> bool {
        self.kinds[index].value_type() == ValueType::Text
    }

    /// A memoryview of the numbers, or of the codes of the texts, of all batches.
    fn view<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyAny>> {
        let value_type = self.kinds[index].value_type();
        let width = value_type.width();
        let bytes = PyBytes::new_with(py, self.len * width, |mut room| {
            for array in self.arrays(index) {
                let (front, rest) = room.split_at_mut(array.len() * width);
                arrow::copy_values(array, front);
                room = rest;
            }
            Ok(())
        })?;
        memoryview(&bytes, struct_code(value_type))
    }
}

/// The code of a type in the struct module; texts are codes of a dictionary.
fn struct_code(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Bool => "?",
        ValueType::U8 => "B",
        ValueType::I8 => "b",
        ValueType::U16 => "H",
        ValueType::U32 => "I",
        ValueType::U64 => "Q",
        ValueType::F64 => "d",
        ValueType::Text => "i",
    }
}

#[pymethods]
impl PyColumns {
    /// Return the number of rows.
    fn __len__(&self) -> usize {
        self.len
    }

    /// Return a column by its name.
    ///
    /// Numbers are a memoryview of `len(columns)` values in the field's own type, bool for flags,
    /// float64 for rates and shares. Text is a list of str and None. Raises KeyError for a column
    /// that was not read.
    fn __getitem__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let index = self.index(name)?;
        if !self.is_text(index) {
            return self.view(py, index);
        }
        let words = self.words(py, name)?;
        let values = PyList::empty(py);
        for array in self.arrays(index) {
            for code in arrow::texts(array).into_iter().flat_map(|texts| texts.keys()) {
                match code {
                    Some(code) => values.append(words.get_item(code as usize)?)?,
                    None => values.append(py.None())?,
                }
            }
        }
        Ok(values.into_any())
    }

    /// Return whether a column of this name was read.
    fn __contains__(&self, name: &str) -> bool {
        self.index(name).is_ok()
    }

    /// Names of the columns, in the order in which they were requested.
    #[getter]
    fn names(&self) -> Vec<&str> {
        self.schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    /// Return the distinct values of a text column, in the order of their first row.
    ///
    /// Raises KeyError for a column that was not read, ValueError for a column of numbers.
    fn words<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyList>> {
        let index = self.index(name)?;
        if !self.is_text(index) {
            return Err(PyValueError::new_err(format!("{name} is a column of numbers")));
        }
        let words = PyList::empty(py);
        // All batches share the dictionary of a column.
        let texts = self.arrays(index).next().and_then(arrow::texts);
        let dictionary = texts.and_then(|texts| texts.values().as_any().downcast_ref());
        for word in dictionary.into_iter().flat_map(StringArray::iter) {
            words.append(word)?;
        }
        Ok(words)
    }

    /// Return each row's index into `words(name)`, as a memoryview of int32.
    ///
    /// Raises KeyError for a column that was not read, ValueError for a column of numbers.
    fn codes<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        self.words(py, name)?;
        self.view(py, self.index(name)?)
    }

    /// Return whether each row's value is known, as a memoryview of bool.
    ///
    /// Raises KeyError for a column that was not read.
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

    /// What could not be read and was left out (`errors="skip"`).
    ///
    /// One dictionary for each snapshot: `path`, `snapshot` (its index in that file), `offset` of
    /// the damage in bytes, and `reason`. `snapshot` is None where names are damaged, or bytes
    /// that may have been a snapshot; `offset` too where the file could not be opened.
    #[getter]
    fn lost<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.lost.iter().map(|lost| lost.to_dict(py)).collect()
    }

    /// Export names and types (Arrow PyCapsule interface).
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let schema = arrow::schema_with_timestamps(&self.schema, &self.kinds);
        let schema = FFI_ArrowSchema::try_from(schema.as_ref()).map_err(arrow_error)?;
        PyCapsule::new_with_value(py, schema, c"arrow_schema")
    }

    /// Export all columns without a copy (Arrow PyCapsule interface).
    ///
    /// Times since 1970 are timestamps in UTC; `ac_btime`, of 32 bits, is copied.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface allows to ignore the request.
        drop(requested_schema);
        self.arrow_stream(py)
    }

    fn __repr__(&self) -> String {
        format!("<taskstats.Columns: {} rows of {} columns>", self.len, self.schema.fields().len())
    }

    /// Return the first rows as an HTML table, for notebooks.
    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        let names = self.names();
        let head = self.head(SHOWN);
        let columns: Vec<Vec<String>> =
            names.iter().map(|name| head.texts(py, name)).collect::<PyResult<_>>()?;
        let row = |row: usize| columns.iter().map(|column| column[row].clone()).collect();
        let titles = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(html(&titles, (0..head.len).map(row)))
    }
}
