//! Snapshots made by hand.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod machine;

use std::sync::Arc;

use precise_top_core::layout::EXTENSION_BIT;
use precise_top_core::{
    Field, FieldSet, Header, Layout, RecordMut, SharedBytes, Snapshot, SourceKind,
};

pub(crate) type Shared = Arc<Snapshot<SharedBytes>>;

/// A snapshot at `seconds` of a v14 record with extension for each list of fields.
pub(crate) fn snapshot(seconds: u64, rows: &[&[(Field, u64)]]) -> Shared {
    snapshot_with(seconds, rows, |_| {})
}

/// The same, with the header changed by `adjust`.
pub(crate) fn snapshot_with(
    seconds: u64,
    rows: &[&[(Field, u64)]],
    adjust: impl FnOnce(&mut Header),
) -> Shared {
    let pid = |row: usize| rows[row].iter().find(|(field, _)| *field == Field::ac_pid);
    let name = |row| pid(row).map_or_else(String::new, |(_, pid)| format!("task{pid}"));
    snapshot_named(seconds, rows, name, adjust)
}

/// The same, with the names that `name` returns for the rows.
pub(crate) fn snapshot_named(
    seconds: u64,
    rows: &[&[(Field, u64)]],
    name: impl Fn(usize) -> String,
    adjust: impl FnOnce(&mut Header),
) -> Shared {
    let layout = Layout::of_version(14 | EXTENSION_BIT).expect("a known version");
    let size = layout.record_size();
    let mut bytes = vec![0; size * rows.len()];
    let mut held = FieldSet::EMPTY;
    for (at, (row, fields)) in bytes.chunks_exact_mut(size).zip(rows).enumerate() {
        let mut record = RecordMut::new(row, &layout).expect("the right size");
        for &(field, value) in *fields {
            record.set(field, value);
            held = held.with(field).with(Field::ac_comm);
        }
        record.set_text(Field::ac_comm, name(at).as_bytes());
    }
    let mut header = Header::new(SourceKind::Procfs, held);
    header.begin.monotonic_ns = seconds * 1_000_000_000;
    header.begin.boottime_ns = seconds * 1_000_000_000;
    adjust(&mut header);
    let end = bytes.len();
    let snapshot = Snapshot::new(header, layout, SharedBytes::new(bytes), 0..end, 0..0);
    Arc::new(snapshot.expect("well formed"))
}
