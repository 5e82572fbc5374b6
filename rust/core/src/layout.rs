//! Offsets of all fields in records of one version.
//!
//! Design decisions
//!
//! * A layout is chosen by the record's version number, never by its size:
//!   versions 15 and 16 have the same size and different offsets.

use crate::error::{ErrorKind, ParseError};
use crate::field_set::FieldSet;
use crate::fields::{Field, Place};

/// Bit 15 of a record's `version`: this project's extension follows the base.
pub const EXTENSION_BIT: u16 = 0x8000;
/// Size of extension v1 in bytes.
pub const EXTENSION_SIZE: usize = 136;
/// Newest base version this table knows.
pub const NEWEST_VERSION: u16 = 17;
/// Largest version number taken for real; anything beyond is damage.
pub const LARGEST_VERSION: u16 = 255;

/// Offsets of every field in records of one version, byte order and size.
#[derive(Clone, PartialEq, Eq)]
pub struct Layout {
    version: u16,
    swapped: bool,
    base_size: usize,
    record_size: usize,
    offsets: [u16; Field::COUNT],
    fields: FieldSet,
}

const ABSENT: u16 = u16::MAX;

impl Layout {
    /// Size of the base of a version that the table knows.
    pub const fn known_base_size(version: u16) -> Option<usize> {
        Some(match version {
            1 => 72,
            2 => 240,
            3 => 264,
            4 => 272,
            5 => 288,
            6 => 312,
            7 | 8 => 328,
            9 => 344,
            10 => 352,
            11 => 368,
            12 => 400,
            13 => 416,
            14 => 432,
            15 | 16 => 560,
            17 => 688,
            _ => return None,
        })
    }

    /// The layout of records whose `version` field reads `version` (bit 15: with
    /// the extension), of `record_size` bytes each, in native byte order or
    /// `swapped`. A version newer than the table is decoded as the newest known
    /// prefix. Fields that `record_size` cuts off are absent.
    pub fn new(version: u16, record_size: usize, swapped: bool) -> Result<Layout, ParseError> {
        let base_version = version & !EXTENSION_BIT;
        if base_version == 0 || base_version > LARGEST_VERSION {
            return Err(ParseError::new(ErrorKind::BadVersion, 0));
        }
        if record_size > usize::from(ABSENT) {
            return Err(ParseError::new(ErrorKind::BadLength, 0));
        }
        let extension = version & EXTENSION_BIT != 0;
        let base_size = match (Layout::known_base_size(base_version), extension) {
            (Some(size), _) => size.min(record_size),
            (None, false) => record_size,
            (None, true) => record_size
                .checked_sub(EXTENSION_SIZE)
                .ok_or(ParseError::new(ErrorKind::BadLength, 0))?,
        };
        let mut layout = Layout {
            version,
            swapped,
            base_size,
            record_size,
            offsets: [ABSENT; Field::COUNT],
            fields: FieldSet::EMPTY,
        };
        for &field in Field::ALL {
            let info = field.info();
            let (offset, end) = match info.place {
                Place::Base { .. } => (field.base_offset(base_version), base_size),
                Place::Extension { offset } if extension => {
                    (Some(offset + base_size as u16), record_size)
                }
                Place::Extension { .. } => (None, 0),
            };
            if let Some(offset) = offset.filter(|&o| usize::from(o) + info.repr.size() <= end) {
                layout.offsets[field as usize] = offset;
                layout.fields = layout.fields.with(field);
            }
        }
        Ok(layout)
    }

    /// The layout of a known version at its full size, in native byte order.
    pub fn of_version(version: u16) -> Result<Layout, ParseError> {
        let base = Layout::known_base_size(version & !EXTENSION_BIT)
            .ok_or(ParseError::new(ErrorKind::BadVersion, 0))?;
        let extension = if version & EXTENSION_BIT == 0 { 0 } else { EXTENSION_SIZE };
        Layout::new(version, base + extension, false)
    }

    /// The records' `version`, bit 15 included.
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// The version of the base, without bit 15.
    pub const fn base_version(&self) -> u16 {
        self.version & !EXTENSION_BIT
    }

    /// Whether the extension follows the base.
    pub const fn has_extension(&self) -> bool {
        self.version & EXTENSION_BIT != 0
    }

    /// Whether the records are in the other byte order than this machine's.
    pub const fn is_swapped(&self) -> bool {
        self.swapped
    }

    /// Bytes from one record to the next.
    pub const fn record_size(&self) -> usize {
        self.record_size
    }

    /// Bytes of the base, which is where the extension begins.
    pub const fn base_size(&self) -> usize {
        self.base_size
    }

    /// The fields that records of this layout hold.
    pub const fn fields(&self) -> FieldSet {
        self.fields
    }

    /// Offset of the field in a record, None where the layout lacks it.
    pub fn offset(&self, field: Field) -> Option<usize> {
        match self.offsets[field as usize] {
            ABSENT => None,
            offset => Some(usize::from(offset)),
        }
    }
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layout")
            .field("version", &self.base_version())
            .field("extension", &self.has_extension())
            .field("record_size", &self.record_size)
            .field("swapped", &self.swapped)
            .finish()
    }
}
