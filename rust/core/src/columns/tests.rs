//! The memory of columns: where it comes from, and that values survive a move.

use super::block::BLOCK_ROWS;
use super::memory::{slice, zeros};
use super::{Batch, ColumnBuilder, ColumnKind, SnapshotRows, ValueType};
use crate::error::ErrorKind;
use crate::field_set::FieldSet;
use crate::fields::Field;
use crate::header::{Header, SourceKind};
use crate::layout::{EXTENSION_BIT, Layout};
use crate::record::RecordMut;
use crate::snapshot::{SharedBytes, Snapshot};

#[test]
fn a_batch_with_too_little_or_too_much_room_keeps_what_it_has() {
    let layout = Layout::of_version(14 | EXTENSION_BIT).expect("a known version");
    let size = layout.record_size();
    let mut bytes = vec![0; 3 * size];
    for (number, row) in bytes.chunks_exact_mut(size).enumerate() {
        let mut record = RecordMut::new(row, &layout).expect("the right size");
        record.set(Field::ac_pid, number as u64 + 7);
        record.set_text(Field::ac_comm, format!("task{number}").as_bytes());
    }
    let held = FieldSet::EMPTY.with(Field::ac_pid).with(Field::ac_comm);
    let header = Header::new(SourceKind::Procfs, held);
    let snapshot = Snapshot::new(header, layout, SharedBytes::new(bytes), 0..3 * size, 0..0);
    let snapshot = snapshot.expect("well formed");
    let kinds = [
        ColumnKind::Field(Field::ac_pid),
        ColumnKind::Field(Field::ac_nice),
        ColumnKind::Exited,
        ColumnKind::Field(Field::ac_comm),
    ];
    let filled = |room: usize| {
        let mut builder = ColumnBuilder::new(&kinds, zeros);
        builder.reserve(room);
        for _ in 0..40 {
            builder
                .add(&SnapshotRows { snapshot: &snapshot, interval: None, path: "", metadata: &[] })
                .expect("little memory");
        }
        builder.finish()
    };
    let (grown, dictionaries) = filled(0);
    let (roomy, _) = filled(10_000);
    assert!(roomy.memory.len() < 400, "{} words", roomy.memory.len());
    let values = |mut batch: Batch| {
        let start = |column: usize| batch.columns[column].start;
        let [pid, comm] = [start(0), start(3)];
        let pids: Vec<u32> = slice(&mut batch.memory, pid, 0..120).to_vec();
        let codes: Vec<i32> = slice(&mut batch.memory, comm, 0..120).to_vec();
        let valid: Vec<_> = batch.columns.into_iter().map(|column| column.valid).collect();
        (pids, codes, valid)
    };
    assert!(dictionaries[3].texts().eq(["task0", "task1", "task2"]));
    let (pids, codes, valid) = values(grown);
    assert_eq!(pids, [7, 8, 9].repeat(40));
    assert_eq!(codes, [0, 1, 2].repeat(40));
    assert_eq!(valid, [None, Some(vec![0; 15]), None, None]);
    assert_eq!((pids, codes, valid), values(roomy));

    let mut builder = ColumnBuilder::new(&[ColumnKind::Host], zeros);
    builder.reserve(3);
    builder
        .add(&SnapshotRows { snapshot: &snapshot, interval: None, path: "", metadata: &[] })
        .expect("little memory");
    assert_eq!(builder.start(0), None, "zeros take no memory");
    builder.remap_codes(0, &[0]);
    assert_eq!(builder.start(0), None);
    builder.remap_codes(0, &[5]);
    let (mut batch, _) = builder.finish();
    let start = batch.columns[0].start;
    assert_eq!(slice::<i32>(&mut batch.memory, start, 0..3), [5, 5, 5]);

    // Memory for declared rows that do not come is freed at once.
    let mut builder = ColumnBuilder::new(&kinds, zeros);
    builder.reserve(1 << 18);
    builder
        .add(&SnapshotRows { snapshot: &snapshot, interval: None, path: "", metadata: &[] })
        .expect("little memory");
    builder.trim();
    assert!(builder.memory_words() < 400);
}

#[test]
fn columns_that_are_zero_at_first_get_their_place_later() {
    let layout = Layout::of_version(14 | EXTENSION_BIT).expect("a known version");
    // More than are filled together, one of another width, one that stays zero.
    let fields = [
        Field::ac_utime,
        Field::ac_stime,
        Field::ac_etime,
        Field::nvcsw,
        Field::nivcsw,
        Field::read_bytes,
        Field::ac_pid,
        Field::write_bytes,
    ];
    let held = fields.into_iter().fold(FieldSet::EMPTY, FieldSet::with);
    let size = layout.record_size();
    let value = |field: usize, row: usize| match field {
        7 => 0,
        _ => (1000 * field + row) as u64,
    };
    let snapshot = |from: usize, rows: usize, zero: bool| {
        let mut bytes = vec![0; rows * size];
        for (row, record) in bytes.chunks_exact_mut(size).enumerate() {
            let mut record = RecordMut::new(record, &layout).expect("the right size");
            for (number, &field) in fields.iter().enumerate().filter(|_| !zero) {
                record.set(field, value(number, from + row));
            }
        }
        let header = Header::new(SourceKind::Procfs, held);
        let (bytes, all) = (SharedBytes::new(bytes), 0..rows * size);
        Snapshot::new(header, layout.clone(), bytes, all, 0..0).expect("well formed")
    };
    let kinds = fields.map(ColumnKind::Field);
    // With room for all, and with too little room.
    for room in [5 * BLOCK_ROWS, 1] {
        let mut builder = ColumnBuilder::new(&kinds, zeros);
        builder.reserve(room);
        let zero = 2 * BLOCK_ROWS + 3;
        for snapshot in [snapshot(0, zero, true), snapshot(zero, BLOCK_ROWS + 5, false)] {
            builder
                .add(&SnapshotRows { snapshot: &snapshot, interval: None, path: "", metadata: &[] })
                .expect("little memory");
        }
        let (mut batch, _) = builder.finish();
        for (number, column) in batch.columns.clone().into_iter().enumerate() {
            let expected = (0..batch.len).map(|row| match row {
                row if row < zero => 0,
                row => value(number, row),
            });
            let expected: Vec<u64> = expected.collect();
            let (start, all) = (column.start, 0..batch.len);
            let values = match column.value_type {
                ValueType::U64 => slice::<u64>(&mut batch.memory, start, all).to_vec(),
                _ => slice::<u32>(&mut batch.memory, start, all)
                    .iter()
                    .map(|&pid| pid.into())
                    .collect(),
            };
            assert_eq!(values, expected, "{:?}", fields[number]);
        }
    }
}

#[test]
fn without_memory_rows_are_refused() {
    let layout = Layout::of_version(14 | EXTENSION_BIT).expect("a known version");
    let length = 3 * layout.record_size();
    let header = Header::new(SourceKind::Procfs, FieldSet::of(&[Field::ac_pid]));
    let bytes = SharedBytes::new(vec![1; length]);
    let snapshot = Snapshot::new(header, layout, bytes, 0..length, 0..0).expect("well formed");
    let rows = SnapshotRows { snapshot: &snapshot, interval: None, path: "", metadata: &[] };
    // Memory for six rows and the space between columns.
    let mut builder = ColumnBuilder::new(&[ColumnKind::Field(Field::ac_pid)], |words| {
        if words <= 32 { zeros(words) } else { None }
    });
    builder.reserve(1 << 40);
    let mut added = 0;
    let error = loop {
        match builder.add(&rows) {
            Ok(()) => added += 3,
            Err(error) => break error,
        }
        assert!(added < 100, "more rows than memory");
    };
    assert_eq!(error.kind, ErrorKind::OutOfMemory);
    let (mut batch, _) = builder.finish();
    assert_eq!(batch.len, added);
    let start = batch.columns[0].start;
    assert_eq!(slice::<u32>(&mut batch.memory, start, 0..added), vec![0x0101_0101; added]);
}
