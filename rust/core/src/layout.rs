//! Offsets of all fields in records of one version.
//!
//! Design decisions
//!
//! * A layout is chosen by the record's version number, never by its size:
//!   versions 15 and 16 have the same size and different offsets.
//! * Since v2 of the extension a record ends with the sizes of its two parts. All records
//!   of one kernel have the same size, so the end of an array suffices to read it,
//!   whatever the kernel. v1 follows a base whose size the table has to know.

use crate::error::{ErrorKind, ParseError};
use crate::field_set::FieldSet;
use crate::fields::{Field, Place};

/// Bit 15 of a record's `version`: this project's extension follows the base.
pub const EXTENSION_BIT: u16 = 0x8000;
/// Size of extension v1 in bytes.
pub const EXTENSION_SIZE: usize = 136;
/// Size of extension v2 in bytes, which later ones are not smaller than: v1, then flags
/// and the sizes of base and extension.
const STATED_SIZE: usize = EXTENSION_SIZE + 8;
/// Flag of extension v2: the CPU times are exact, and of one instant.
const EXACT: u32 = 2;
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

fn u16_at(bytes: &[u8], at: usize, swapped: bool) -> Option<u16> {
    let value = u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?);
    Some(if swapped { value.swap_bytes() } else { value })
}

/// The sizes of base and extension that `bytes`, a record or an array of them, end with;
/// None where they do not (extension v1), or contradict the table.
pub(crate) fn stated_sizes(version: u16, bytes: &[u8], swapped: bool) -> Option<(usize, usize)> {
    if version & EXTENSION_BIT == 0 {
        return None;
    }
    let at = bytes.len().checked_sub(4)?;
    let base = usize::from(u16_at(bytes, at, swapped)?);
    let extension = usize::from(u16_at(bytes, at + 2, swapped)?);
    let fits = match Layout::known_base_size(version & !EXTENSION_BIT) {
        Some(known) => base == known,
        None => base > Layout::known_base_size(NEWEST_VERSION)?,
    };
    let is_whole = base.is_multiple_of(8) && extension.is_multiple_of(8);
    (fits && is_whole && extension >= STATED_SIZE && bytes.len() >= base + extension)
        .then_some((base, extension))
}

/// Whether the CPU times of a kernel's record are exact and of one instant. Those of
/// extension v1 always are.
pub fn is_exact(record: &[u8]) -> bool {
    let version = u16_at(record, 0, false).unwrap_or(0);
    if stated_sizes(version, record, false).is_none() {
        return version & EXTENSION_BIT != 0;
    }
    let flags = record.len().checked_sub(8).and_then(|at| record.get(at..)?.first_chunk());
    flags.is_some_and(|&flags| u32::from_ne_bytes(flags) & EXACT != 0)
}

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
        let base_size = match Layout::known_base_size(base_version) {
            Some(size) => size.min(record_size),
            None if version & EXTENSION_BIT == 0 => record_size,
            None => record_size
                .checked_sub(EXTENSION_SIZE)
                .ok_or(ParseError::new(ErrorKind::BadLength, 0))?,
        };
        Ok(Layout::with_base(version, base_size, record_size, swapped))
    }

    /// The layout of a whole record of that version, in native byte order or `swapped`: by
    /// the sizes that it ends with, or else by its version.
    pub fn of_record(version: u16, record: &[u8], swapped: bool) -> Result<Layout, ParseError> {
        // Refuses versions and lengths that cannot be.
        let layout = Layout::new(version, record.len(), swapped)?;
        Ok(match stated_sizes(version, record, swapped) {
            Some((base, extension)) if base + extension == record.len() => {
                Layout::with_base(version, base, record.len(), swapped)
            }
            _ => layout,
        })
    }

    fn with_base(version: u16, base_size: usize, record_size: usize, swapped: bool) -> Layout {
        let base_version = version & !EXTENSION_BIT;
        let extension = version & EXTENSION_BIT != 0;
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
        layout
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

impl Layout {
    /// Offset of the mark of [`Record::exec_mark`](crate::Record::exec_mark): the padding before
    /// `ac_uid`, which versions 1 to 3 lack.
    pub fn exec_mark_offset(&self) -> Option<usize> {
        let uid = self.offset(Field::ac_uid).filter(|_| self.base_version() > 3)?;
        uid.checked_sub(size_of::<u32>())
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
