//! A snapshot: a header and an array of fixed-size records over any bytes.
//!
//! Design decisions
//!
//! * The records are never copied: a snapshot owns or shares the bytes they were
//!   written to, and everything else is a view.
//! * Where records hold different fields, a parallel array of one-byte indices
//!   into the header's masks says which.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{ErrorKind, ParseError};
use crate::field_set::{FieldSet, mask_index};
use crate::fields::Field;
use crate::header::{Header, SourceKind};
use crate::layout::{EXTENSION_BIT, EXTENSION_SIZE, LARGEST_VERSION, Layout, stated_sizes};
use crate::names::NamesAt;
use crate::record::Record;

/// Bytes shared between snapshots and their views.
#[derive(Clone)]
pub struct SharedBytes(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl SharedBytes {
    /// Shares `bytes`.
    pub fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> SharedBytes {
        SharedBytes(Arc::new(bytes))
    }

    /// Shares what others may hold as well.
    pub fn from_arc(bytes: Arc<impl AsRef<[u8]> + Send + Sync + 'static>) -> SharedBytes {
        SharedBytes(bytes)
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// A header and its records.
#[derive(Clone)]
pub struct Snapshot<B = SharedBytes> {
    header: Header,
    layout: Layout,
    bytes: B,
    records: Range<usize>,
    mask_indices: Range<usize>,
    base: Option<Arc<Snapshot<SharedBytes>>>,
    names: Option<NamesAt>,
}

impl<B: AsRef<[u8]>> Snapshot<B> {
    /// A snapshot of the records at `records` in `bytes`. Where the header has
    /// more than one mask, `mask_indices` is the range of one index per record.
    pub fn new(
        header: Header,
        layout: Layout,
        bytes: B,
        records: Range<usize>,
        mask_indices: Range<usize>,
    ) -> Result<Snapshot<B>, ParseError> {
        let all = bytes.as_ref();
        let Some(record_bytes) = all.get(records.clone()) else {
            return Err(ParseError::new(ErrorKind::BadCount, records.start));
        };
        let size = layout.record_size();
        if size == 0 || !record_bytes.len().is_multiple_of(size) {
            return Err(ParseError::new(ErrorKind::BadLength, records.start));
        }
        let count = record_bytes.len() / size;
        if u32::try_from(count).is_err() {
            return Err(ParseError::new(ErrorKind::BadCount, records.start));
        }
        match header.masks.len() {
            0 => return Err(ParseError::new(ErrorKind::BadCount, mask_indices.start)),
            1 => {}
            masks => {
                let Some(indices) = all.get(mask_indices.clone()) else {
                    return Err(ParseError::new(ErrorKind::BadCount, mask_indices.start));
                };
                if indices.len() != count {
                    return Err(ParseError::new(ErrorKind::BadCount, mask_indices.start));
                }
                if let Some(bad) = indices.iter().position(|&index| usize::from(index) >= masks) {
                    return Err(ParseError::new(ErrorKind::BadValue, mask_indices.start + bad));
                }
            }
        }
        Ok(Snapshot { header, layout, bytes, records, mask_indices, base: None, names: None })
    }

    /// A snapshot of a bare array of `struct taskstats`, as read from
    /// /proc/taskstats or joined from netlink payloads.
    ///
    /// The version is at the start of the first record, in native byte order or
    /// else swapped. The stride is the table's size for the version; for a
    /// version newer than the table it is the smallest multiple of 8 from the
    /// newest known size up that divides the length with the same version at
    /// every record. `record_size` overrides both.
    pub fn from_bare_records(
        bytes: B,
        record_size: Option<usize>,
    ) -> Result<Snapshot<B>, ParseError> {
        let layout = bare_layout(bytes.as_ref(), record_size)?;
        let size = layout.record_size();
        let length = bytes.as_ref().len();
        for (index, record) in bytes.as_ref().chunks(size).enumerate() {
            if record.len() < size {
                return Err(ParseError::new(ErrorKind::Truncated, index * size));
            }
            if read_version(record, layout.is_swapped()) != Some(layout.version()) {
                return Err(ParseError::new(ErrorKind::MixedVersions, index * size));
            }
        }
        let header = Header::new(SourceKind::Bytes, layout.fields());
        Snapshot::new(header, layout, bytes, 0..length, 0..0)
    }

    /// The snapshot, as one of only the tasks that ran since `base`, which holds the
    /// same tasks' values before.
    #[must_use]
    pub fn with_base(self, base: Arc<Snapshot<SharedBytes>>) -> Snapshot<B> {
        Snapshot { base: Some(base), ..self }
    }

    /// The snapshot, as one that lacks so many tasks because they did not run.
    #[must_use]
    pub fn with_unchanged(mut self, unchanged: u32) -> Snapshot<B> {
        self.header.unchanged = unchanged;
        self
    }

    /// For a snapshot of only the tasks that ran since: the snapshot to compare it with.
    pub fn base(&self) -> Option<&Arc<Snapshot<SharedBytes>>> {
        self.base.as_ref()
    }

    /// The snapshot, as one of a recording with these names.
    #[must_use]
    pub fn with_names(self, names: NamesAt) -> Snapshot<B> {
        Snapshot { names: Some(names), ..self }
    }

    /// For a recorded snapshot the names of its recording: the present machine's are not
    /// meant.
    pub fn names(&self) -> Option<&NamesAt> {
        self.names.as_ref()
    }

    /// The arguments of the process at `index`, each ended by a NUL, where a recording
    /// has them.
    pub fn recorded_cmdline(&self, index: usize) -> Option<&[u8]> {
        self.names.as_ref()?.cmdline(&self.get(index)?)
    }

    /// The same records on the same memory, of a host of another name.
    pub fn with_host(&self, host: &str) -> Snapshot<&[u8]> {
        Snapshot {
            header: Header { host: host.into(), ..self.header.clone() },
            layout: self.layout.clone(),
            bytes: self.bytes.as_ref(),
            records: self.records.clone(),
            mask_indices: self.mask_indices.clone(),
            base: self.base.clone(),
            names: self.names.clone(),
        }
    }

    /// Returns the header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the layout of its records.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len() / self.layout.record_size()
    }

    /// Number of records of living tasks, which are the first.
    pub fn living(&self) -> usize {
        self.len().saturating_sub(self.header.exited as usize)
    }

    /// Whether the record at `index` is of a task that died since the source's
    /// previous snapshot; those are the last.
    pub fn is_exited(&self, index: usize) -> bool {
        index < self.len() && self.len() - index <= self.header.exited as usize
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The bytes of all records.
    pub fn record_bytes(&self) -> &[u8] {
        &self.bytes.as_ref()[self.records.clone()]
    }

    /// One index into the header's masks per record; empty where one mask applies to all.
    pub fn mask_indices(&self) -> &[u8] {
        if self.header.masks.len() == 1 {
            return &[];
        }
        &self.bytes.as_ref()[self.mask_indices.clone()]
    }

    /// The record at `index`.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        let size = self.layout.record_size();
        let start = index.checked_mul(size)?;
        let bytes = self.record_bytes().get(start..start.checked_add(size)?)?;
        Record::new(bytes, &self.layout, self.mask(index))
    }

    /// The fields that the record at `index` holds.
    pub(crate) fn mask(&self, index: usize) -> FieldSet {
        self.masks(index..index.saturating_add(1)).next().unwrap_or_default()
    }

    /// The fields that each of the records at `rows` holds.
    pub(crate) fn masks(&self, rows: Range<usize>) -> impl Iterator<Item = FieldSet> + '_ {
        // Asked for once: the bytes may be several calls away.
        let indices = self.mask_indices();
        rows.map(move |row| {
            let which = indices.get(row).copied().unwrap_or(0);
            // Memory that is shared with others may have changed since it was checked.
            self.header.masks.get(usize::from(which)).copied().unwrap_or_default()
        })
    }

    /// All records in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        (0..self.len()).map(|index| self.get(index).expect("an index below len() names a record"))
    }

    /// The first record of that pid, searched in order.
    pub fn find_pid(&self, pid: u32) -> Option<usize> {
        self.iter().position(|record| record.ac_pid() == Some(pid))
    }

    /// Fields that at least one record holds.
    pub fn filled(&self) -> FieldSet {
        let union = self.header.masks.iter().fold(FieldSet::EMPTY, |all, &m| all.union(m));
        union.intersection(self.layout.fields())
    }

    /// Per record, whether it holds the field.
    pub fn valid(&self, field: Field) -> impl Iterator<Item = bool> + '_ {
        (0..self.len()).map(move |index| self.holds(index, field))
    }

    /// Whether the record at `index` holds the field.
    pub fn holds(&self, index: usize, field: Field) -> bool {
        self.mask(index).intersection(self.layout.fields()).contains(field)
    }

    /// The records of tasks that died since the source's previous snapshot, on the
    /// same memory.
    pub fn exits(&self) -> Snapshot<B>
    where
        B: Clone,
    {
        let living = self.living();
        let mut exits = self.clone();
        exits.records.start += living * self.layout.record_size();
        if self.header.masks.len() > 1 {
            exits.mask_indices.start += living;
        }
        exits.header.exited = exits.len() as u32;
        exits
    }

    /// A copy of this snapshot with the exits of `others` after its own. Needed where
    /// snapshots in between were left out. MixedVersions where a layout differs.
    pub fn with_exits<'a, C: AsRef<[u8]> + 'a>(
        &self,
        others: impl Iterator<Item = &'a Snapshot<C>> + Clone,
    ) -> Result<Snapshot<Vec<u8>>, ParseError> {
        let mut header = self.header.clone();
        let mut bytes = self.record_bytes().to_vec();
        let mut masks = self.header.masks.clone();
        let mut indices: Vec<u8> = match self.mask_indices() {
            [] => vec![0; self.len()],
            indices => indices.to_vec(),
        };
        for other in others {
            if other.layout != self.layout {
                return Err(ParseError::new(ErrorKind::MixedVersions, 0));
            }
            for row in (0..other.len()).filter(|&row| other.is_exited(row)) {
                let Some(record) = other.get(row) else { continue };
                let mask = other.mask(row);
                indices.push(mask_index(&mut masks, mask));
                bytes.extend_from_slice(record.bytes());
                header.exited += 1;
            }
        }
        header.masks = masks;
        let records = 0..bytes.len();
        bytes.append(&mut indices);
        let mask_indices = records.end..bytes.len();
        let joined = Snapshot::new(header, self.layout.clone(), bytes, records, mask_indices)?;
        Ok(Snapshot { base: self.base.clone(), names: self.names.clone(), ..joined })
    }

    /// A snapshot of some of the records, by ascending indices, with a copy of their bytes.
    pub fn subset(&self, indices: &[usize]) -> Result<Snapshot<Vec<u8>>, ParseError> {
        let mut header = self.header.clone();
        header.exited = indices.iter().filter(|&&index| self.is_exited(index)).count() as u32;
        let records = indices.iter().filter_map(|&index| self.get(index));
        let mut bytes: Vec<u8> = records.flat_map(|record| record.bytes()).copied().collect();
        let records = 0..bytes.len();
        let masks = self.mask_indices();
        bytes.extend(indices.iter().filter_map(|&index| masks.get(index)));
        let masks = records.end..bytes.len();
        let some = Snapshot::new(header, self.layout.clone(), bytes, records, masks)?;
        Ok(Snapshot { base: self.base.clone(), names: self.names.clone(), ..some })
    }

    /// A snapshot of the record at `index` alone, with a copy of its bytes.
    pub fn extract(&self, index: usize) -> Option<Snapshot<Vec<u8>>> {
        let record = self.get(index)?;
        let mut header = self.header.clone();
        header.masks = vec![self.mask(index)];
        header.exited = u32::from(self.is_exited(index));
        let bytes = record.bytes().to_vec();
        let length = bytes.len();
        let alone = Snapshot::new(header, self.layout.clone(), bytes, 0..length, 0..0).ok()?;
        Some(Snapshot { names: self.names.clone(), ..alone })
    }

    /// Returns the same snapshot over shared bytes.
    pub fn into_shared(self) -> Snapshot<SharedBytes>
    where
        B: Send + Sync + 'static,
    {
        Snapshot {
            header: self.header,
            layout: self.layout,
            bytes: SharedBytes::new(self.bytes),
            records: self.records,
            mask_indices: self.mask_indices,
            base: self.base,
            names: self.names,
        }
    }
}

impl<B: AsRef<[u8]>> std::fmt::Debug for Snapshot<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("source", &self.header.source.name())
            .field("len", &self.len())
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

fn read_version(bytes: &[u8], swapped: bool) -> Option<u16> {
    let raw: [u8; 2] = bytes.get(..2)?.try_into().ok()?;
    let version = u16::from_ne_bytes(raw);
    Some(if swapped { version.swap_bytes() } else { version })
}

fn is_version(version: u16) -> bool {
    (1..=LARGEST_VERSION).contains(&(version & !EXTENSION_BIT))
}

fn bare_layout(bytes: &[u8], record_size: Option<usize>) -> Result<Layout, ParseError> {
    let Some(native) = read_version(bytes, false) else {
        return Err(ParseError::new(ErrorKind::Truncated, 0));
    };
    let swapped = !is_version(native);
    let version = if swapped { native.swap_bytes() } else { native };
    if !is_version(version) {
        return Err(ParseError::new(ErrorKind::BadVersion, 0));
    }
    let extension = if version & EXTENSION_BIT == 0 { 0 } else { EXTENSION_SIZE };
    // All records have the sizes that the last one ends with.
    let stated = stated_sizes(version, bytes, swapped)
        .map(|(base, extension)| base + extension)
        .filter(|&size| bytes.len().is_multiple_of(size));
    let size = match (record_size.or(stated), Layout::known_base_size(version & !EXTENSION_BIT)) {
        (Some(size), _) if size < 2 => return Err(ParseError::new(ErrorKind::BadLength, 0)),
        (Some(size), _) => size,
        (None, Some(base)) => base + extension,
        (None, None) => newer_stride(bytes, version, swapped, extension)?,
    };
    match bytes.get(..size) {
        Some(first) => Layout::of_record(version, first, swapped),
        None => Layout::new(version, size, swapped),
    }
}

/// The stride of records newer than the table.
fn newer_stride(
    bytes: &[u8],
    version: u16,
    swapped: bool,
    extension: usize,
) -> Result<usize, ParseError> {
    let smallest =
        Layout::known_base_size(crate::layout::NEWEST_VERSION).unwrap_or_default() + extension;
    (smallest..=bytes.len().min(usize::from(u16::MAX)))
        .step_by(8)
        .filter(|size| bytes.len().is_multiple_of(*size))
        .find(|&size| {
            bytes.chunks(size).all(|record| read_version(record, swapped) == Some(version))
        })
        .ok_or(ParseError::new(ErrorKind::BadLength, 0))
}
