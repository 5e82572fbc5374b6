//! Columns as Arrow arrays.
//!
//! Design decisions
//!
//! * Other libraries get times since 1970 as timestamps in UTC, Python their numbers. Those in ns
//!   stay where they are; ac_btime, which has 32 bits, is copied.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int8Array, Int32Array,
    RecordBatch, RecordBatchOptions, StringArray, TimestampNanosecondArray, TimestampSecondArray,
    UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use precise_top_core::columns::{Array as Filled, ColumnKind, Columns, ValueType};

/// The batches of columns, on the memory of these.
pub(crate) fn batches(columns: Columns) -> Result<(Arc<Schema>, Vec<RecordBatch>), ArrowError> {
    let words: Vec<ArrayRef> = columns
        .texts
        .into_iter()
        .map(|words| Arc::new(StringArray::from(words)) as ArrayRef)
        .collect();
    let schema = schema(&columns.kinds);
    let mut batches = Vec::with_capacity(columns.batches.len());
    for batch in columns.batches {
        let memory = Buffer::from_vec(batch.memory);
        let arrays = batch.columns.into_iter().zip(&words);
        let arrays: Result<Vec<ArrayRef>, ArrowError> =
            arrays.map(|(column, words)| array(column, &memory, batch.len, words)).collect();
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.len));
        batches.push(RecordBatch::try_new_with_options(Arc::clone(&schema), arrays?, &rows)?);
    }
    Ok((schema, batches))
}

/// The names and types of columns.
pub(crate) fn schema(kinds: &[ColumnKind]) -> Arc<Schema> {
    Arc::new(Schema::new(kinds.iter().map(|&kind| field(kind)).collect::<Vec<_>>()))
}

fn field(kind: ColumnKind) -> Field {
    let data_type = match kind.value_type() {
        ValueType::Bool => DataType::Boolean,
        ValueType::U8 => DataType::UInt8,
        ValueType::I8 => DataType::Int8,
        ValueType::U16 => DataType::UInt16,
        ValueType::U32 => DataType::UInt32,
        ValueType::U64 => DataType::UInt64,
        ValueType::F64 => DataType::Float64,
        ValueType::Text => {
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
        }
    };
    let field = Field::new(kind.name(), data_type, true);
    match kind.unit() {
        unit if unit.is_empty() => field,
        unit => field.with_metadata(HashMap::from([("unit".into(), unit.into_owned())])),
    }
}

/// The array of a column of `len` values. Only booleans are copied, as Arrow packs them.
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
            let bits = BooleanBuffer::collect_bool(len, |at| bytes[at] != 0);
            Arc::new(BooleanArray::new(bits, nulls))
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

const UTC: &str = "UTC";

/// The schema with timestamps in the columns that are times since 1970.
pub(crate) fn schema_with_timestamps(schema: &Schema, kinds: &[ColumnKind]) -> SchemaRef {
    let fields = schema.fields().iter().zip(kinds).map(|(field, kind)| {
        let unit = match kind.instant_ns() {
            None => return Arc::clone(field),
            Some(1) => TimeUnit::Nanosecond,
            Some(_) => TimeUnit::Second,
        };
        let timestamp = DataType::Timestamp(unit, Some(UTC.into()));
        Arc::new(Field::new(field.name(), timestamp, true))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The batch in such a schema. 0 is no time.
pub(crate) fn with_timestamps(
    batch: &RecordBatch,
    schema: SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(array, field)| match field.data_type() {
        DataType::Timestamp(unit, _) => timestamps(array, *unit),
        _ => Arc::clone(array),
    });
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns.collect(), &rows)
}

fn timestamps(array: &ArrayRef, unit: TimeUnit) -> ArrayRef {
    let values: ScalarBuffer<i64> = match array.as_any().downcast_ref::<UInt32Array>() {
        Some(array) => array.values().iter().copied().map(i64::from).collect(),
        // Arrow's timestamps are signed: the same 64 bits until 2262.
        None => ScalarBuffer::new(array.to_data().buffers()[0].clone(), 0, array.len()),
    };
    let known = BooleanBuffer::collect_bool(values.len(), |row| values[row] != 0);
    let nulls = NullBuffer::union(array.nulls(), Some(&NullBuffer::new(known)));
    match unit {
        TimeUnit::Second => {
            Arc::new(TimestampSecondArray::new(values, nulls).with_timezone(UTC)) as ArrayRef
        }
        _ => Arc::new(TimestampNanosecondArray::new(values, nulls).with_timezone(UTC)),
    }
}

/// The array as one of texts, or None.
pub(crate) fn texts(array: &ArrayRef) -> Option<&DictionaryArray<Int32Type>> {
    array.as_any().downcast_ref()
}

/// Copies the values of an array to `room`, one byte a boolean, one code a text.
pub(crate) fn copy_values(array: &ArrayRef, room: &mut [u8]) {
    if let Some(array) = array.as_any().downcast_ref::<BooleanArray>() {
        for (byte, value) in room.iter_mut().zip(array.values()) {
            *byte = u8::from(value);
        }
    } else {
        // Arrays of numbers and of codes have one buffer.
        room.copy_from_slice(&array.to_data().buffers()[0][..room.len()]);
    }
}
