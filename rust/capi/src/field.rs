//! The fields of records.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::sync::LazyLock;

use precise_top_core::{Field, Kind, Repr};

use crate::error::{Error, Failure, Status, guarded, guarded_value};
use crate::raw::{self, Sizable};

/// The C type of a field in a record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// uint8_t
    U8 = 0,
    /// int8_t
    I8 = 1,
    /// uint16_t
    U16 = 2,
    /// uint32_t
    U32 = 3,
    /// uint64_t
    U64 = 4,
    /// struct __kernel_timespec; taskstats_record_u64() returns nanoseconds.
    Timespec = 5,
    /// char[TS_COMM_LEN]
    Text = 6,
}

/// What a field's number means over time.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Names the task.
    Id = 0,
    /// Only grows during a task's life.
    Counter = 1,
    /// A value of the moment, a high-water mark or an instant.
    Gauge = 2,
    /// A set of bits.
    Flags = 3,
    /// Text.
    Text = 4,
}

/// A field.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FieldInfo {
    /// sizeof(taskstats_field_info), set by the caller.
    pub struct_size: usize,
    /// The kernel's name. It lives for ever, as the other strings do.
    pub name: *const c_char,
    /// The unit, such as "ns"; "" where there is none.
    pub unit: *const c_char,
    /// One sentence.
    pub description: *const c_char,
    /// Its C type.
    pub field_type: FieldType,
    /// What it means over time.
    pub kind: FieldKind,
    /// Bytes that it has in a record.
    pub size: usize,
}
// SAFETY: it begins with its size, and is only written.
unsafe impl Sizable for FieldInfo {}

/// Texts of the field table with final NULs.
static TEXTS: LazyLock<Vec<[Vec<u8>; 3]>> = LazyLock::new(|| {
    let ended = |text: &str| [text.as_bytes(), b"\0"].concat();
    let texts = |field: &Field| {
        let info = field.info();
        [ended(info.name), ended(info.unit.name()), ended(info.doc)]
    };
    Field::ALL.iter().map(texts).collect()
});

/// The field of that number.
pub(crate) fn field(number: u32) -> Result<Field, Failure> {
    Field::ALL.get(number as usize).copied().ok_or_else(|| {
        Failure::argument(format!(
            "no field has the number {number}: taskstats_field_find() returns them"
        ))
    })
}

/// Returns the number of fields. Their numbers begin with 0 and never change.
#[unsafe(no_mangle)]
pub extern "C" fn taskstats_field_count() -> u32 {
    Field::COUNT as u32
}

/// Returns the number of the field of that name, or -1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskstats_field_find(name: *const c_char) -> i32 {
    guarded_value(-1, || {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::text(name, "name") };
        name.ok().and_then(Field::from_name).map_or(-1, |field| field as i32)
    })
}

/// Describes a field.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn taskstats_field_describe(
    number: u32,
    info: *mut FieldInfo,
    error: Option<&mut MaybeUninit<Error>>,
) -> Status {
    guarded(error, || {
        let entry = field(number)?.info();
        let [name, unit, description] = &TEXTS[number as usize];
        let described = FieldInfo {
            struct_size: 0,
            name: name.as_ptr().cast(),
            unit: unit.as_ptr().cast(),
            description: description.as_ptr().cast(),
            field_type: match entry.repr {
                Repr::U8 => FieldType::U8,
                Repr::I8 => FieldType::I8,
                Repr::U16 => FieldType::U16,
                Repr::U32 => FieldType::U32,
                Repr::U64 => FieldType::U64,
                Repr::Timespec => FieldType::Timespec,
                Repr::Comm => FieldType::Text,
            },
            kind: match entry.kind {
                Kind::Id => FieldKind::Id,
                Kind::Counter => FieldKind::Counter,
                Kind::Gauge => FieldKind::Gauge,
                Kind::Flags => FieldKind::Flags,
                Kind::Text => FieldKind::Text,
            },
            size: entry.repr.size(),
        };
        // SAFETY: the caller's promise.
        unsafe { raw::write_sized(info, &described, "info") }
    })
}
