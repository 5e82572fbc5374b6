//! A record is a view of bytes: `struct taskstats`, optionally with the extension.
//!
//! Design decisions
//!
//! * Fields are read at alignment 1: netlink payloads are 4-aligned only, and a
//!   dump may begin anywhere.
//! * Every getter returns None for what the version, the length or the source's
//!   field mask does not hold; 0 is always a measured zero.

use std::num::NonZero;

use crate::field_set::FieldSet;
use crate::fields::{COMM_LEN, Field, Repr};
use crate::layout::Layout;
use crate::with_fields;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value<'a> {
    /// A number (`ac_nice` may be negative).
    Int(i128),
    /// A name: bytes up to the first NUL, of any encoding.
    Text(&'a [u8]),
}

/// A borrowed record.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    bytes: &'a [u8],
    layout: &'a Layout,
    filled: FieldSet,
}

impl<'a> Record<'a> {
    /// A view of `bytes`, None unless they are exactly one record of `layout`.
    /// `filled` names the fields that the source has written.
    pub fn new(bytes: &'a [u8], layout: &'a Layout, filled: FieldSet) -> Option<Record<'a>> {
        (bytes.len() == layout.record_size()).then_some(Record { bytes, layout, filled })
    }

    /// The record's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The record's layout.
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// The fields this record holds.
    pub fn filled(&self) -> FieldSet {
        self.filled.intersection(self.layout.fields())
    }

    fn array<const N: usize>(&self, field: Field) -> Option<[u8; N]> {
        if !self.filled.contains(field) {
            return None;
        }
        let offset = self.layout.offset(field)?;
        let mut bytes: [u8; N] = self.bytes.get(offset..offset + N)?.try_into().ok()?;
        if self.layout.is_swapped() {
            bytes.reverse();
        }
        Some(bytes)
    }

    /// An instant in ns. A time before 1970 reads as 0.
    fn instant(&self, field: Field) -> Option<u64> {
        let bytes: [u8; 16] = self.array(field)?;
        let (low, high) = bytes.split_at(8);
        // Swapping the bytes has swapped the two numbers as well.
        let (seconds, ns) = if self.layout.is_swapped() { (high, low) } else { (low, high) };
        let number = |half: &[u8]| Some(u64::from_ne_bytes(half.try_into().ok()?));
        let seconds = number(seconds)?.cast_signed().max(0).cast_unsigned();
        Some(seconds.saturating_mul(NS_PER_SECOND).saturating_add(number(ns)?))
    }

    /// The field as an unsigned number, None where it is absent, signed or text.
    pub fn unsigned(&self, field: Field) -> Option<u64> {
        match field.info().repr {
            Repr::U64 => self.array(field).map(u64::from_ne_bytes),
            Repr::Timespec => self.instant(field),
            Repr::U32 => self.array(field).map(u32::from_ne_bytes).map(u64::from),
            Repr::U16 => self.array(field).map(u16::from_ne_bytes).map(u64::from),
            Repr::U8 => self.array::<1>(field).map(|[byte]| u64::from(byte)),
            Repr::I8 | Repr::Comm => None,
        }
    }

    /// The field's value, None where it is absent.
    pub fn value(&self, field: Field) -> Option<Value<'a>> {
        match field.info().repr {
            Repr::I8 => self.array(field).map(i8::from_ne_bytes).map(|n| Value::Int(i128::from(n))),
            Repr::Comm => self.text(field).map(Value::Text),
            _ => self.unsigned(field).map(|n| Value::Int(i128::from(n))),
        }
    }

    fn text(&self, field: Field) -> Option<&'a [u8]> {
        if !self.filled.contains(field) {
            return None;
        }
        let offset = self.layout.offset(field)?;
        let bytes = self.bytes.get(offset..offset + COMM_LEN)?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(COMM_LEN);
        Some(&bytes[..end])
    }

    /// Changes with each program that the task executes, also where its name stays the same. None
    /// where the source does not know. It is in the padding of the kernel's structure, and no
    /// recording has it.
    pub fn exec_mark(&self) -> Option<NonZero<u32>> {
        let at = self.layout.exec_mark_offset()?;
        NonZero::new(u32::from_ne_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    /// Exact CPU time in ns: `ac_sum_exec_ns`, else `cpu_run_virtual_total`.
    pub fn cpu_ns(&self) -> Option<u64> {
        self.unsigned(Field::ac_sum_exec_ns).or_else(|| self.unsigned(Field::cpu_run_virtual_total))
    }
}

macro_rules! getter {
    ($(#[doc = $doc:literal])+ $name:ident, U8) => {
        $(#[doc = $doc])+
        pub fn $name(&self) -> Option<u8> {
            self.array(Field::$name).map(u8::from_ne_bytes)
        }
    };
    ($(#[doc = $doc:literal])+ $name:ident, I8) => {
        $(#[doc = $doc])+
        pub fn $name(&self) -> Option<i8> {
            self.array(Field::$name).map(i8::from_ne_bytes)
        }
    };
    ($(#[doc = $doc:literal])+ $name:ident, U16) => {
        $(#[doc = $doc])+
        pub fn $name(&self) -> Option<u16> {
            self.array(Field::$name).map(u16::from_ne_bytes)
        }
    };
    ($(#[doc = $doc:literal])+ $name:ident, U32) => {
        $(#[doc = $doc])+
        pub fn $name(&self) -> Option<u32> {
            self.array(Field::$name).map(u32::from_ne_bytes)
        }
    };
    ($(#[doc = $doc:literal])+ $name:ident, U64) => {
        $(#[doc = $doc])+
        pub fn $name(&self) -> Option<u64> {
            self.array(Field::$name).map(u64::from_ne_bytes)
        }
    };
    ($(#[doc = $doc:literal])+ $name:ident, Timespec) => {
        $(#[doc = $doc])+
        pub fn $name(&self) -> Option<u64> {
            self.instant(Field::$name)
        }
    };
    ($(#[doc = $doc:literal])+ $name:ident, Comm) => {
        $(#[doc = $doc])+
        pub fn $name(&self) -> Option<&'a [u8]> {
            self.text(Field::$name)
        }
    };
}

macro_rules! define_getters {
    ($($(#[doc = $doc:literal])+ $name:ident: $repr:ident, $kind:ident, $unit:ident, $group:ident, $place:ident $args:tt;)+) => {
        /// Every field under its name; None where the record does not hold it.
        impl<'a> Record<'a> {
            $(getter!($(#[doc = $doc])+ $name, $repr);)+
        }
    };
}
with_fields!(define_getters);

impl std::fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record")
            .field("version", &self.layout.base_version())
            .field("ac_pid", &self.ac_pid())
            .field("ac_comm", &self.ac_comm().map(String::from_utf8_lossy))
            .finish_non_exhaustive()
    }
}

/// Writes fields into the bytes of a record; what a source uses to make one.
pub struct RecordMut<'a> {
    bytes: &'a mut [u8],
    layout: &'a Layout,
}

impl<'a> RecordMut<'a> {
    /// A writable view, None unless `bytes` are exactly one record of `layout`,
    /// in native byte order.
    pub fn new(bytes: &'a mut [u8], layout: &'a Layout) -> Option<RecordMut<'a>> {
        (bytes.len() == layout.record_size() && !layout.is_swapped())
            .then_some(RecordMut { bytes, layout })
    }

    /// The record's layout.
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// Writes a number, cut to the field's width. A field that the layout lacks
    /// is left out.
    pub fn set(&mut self, field: Field, value: u64) {
        let Some(offset) = self.layout.offset(field) else { return };
        match field.info().repr {
            Repr::U64 => self.bytes[offset..offset + 8].copy_from_slice(&value.to_ne_bytes()),
            Repr::Timespec => {
                let (seconds, ns) = (value / NS_PER_SECOND, value % NS_PER_SECOND);
                self.bytes[offset..offset + 8].copy_from_slice(&seconds.to_ne_bytes());
                self.bytes[offset + 8..offset + 16].copy_from_slice(&ns.to_ne_bytes());
            }
            Repr::U32 => {
                self.bytes[offset..offset + 4].copy_from_slice(&(value as u32).to_ne_bytes());
            }
            Repr::U16 => {
                self.bytes[offset..offset + 2].copy_from_slice(&(value as u16).to_ne_bytes());
            }
            Repr::U8 | Repr::I8 => self.bytes[offset] = value as u8,
            Repr::Comm => {}
        }
    }

    /// Writes the mark of [`Record::exec_mark`]; 0 is unknown.
    pub fn set_exec_mark(&mut self, mark: u32) {
        if let Some(at) = self.layout.exec_mark_offset() {
            self.bytes[at..at + size_of::<u32>()].copy_from_slice(&mark.to_ne_bytes());
        }
    }

    /// Writes a name, cut to fit with its final NUL.
    pub fn set_text(&mut self, field: Field, text: &[u8]) {
        let (Repr::Comm, Some(offset)) = (field.info().repr, self.layout.offset(field)) else {
            return;
        };
        let room = &mut self.bytes[offset..offset + COMM_LEN];
        room.fill(0);
        let length = text.len().min(COMM_LEN - 1);
        room[..length].copy_from_slice(&text[..length]);
    }

    /// Returns the record's bytes.
    pub fn as_record(&self, filled: FieldSet) -> Record<'_> {
        Record { bytes: self.bytes, layout: self.layout, filled }
    }
}
