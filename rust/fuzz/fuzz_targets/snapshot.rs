//! Any bytes as a snapshot, in its byte form or as a bare array of records: what is
//! accepted can be read, queried, compared and written, and is the same read back.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use taskstats_core::{
    Column, Field, FieldSet, Interval, Query, SharedBytes, Snapshot, Table, codec,
};

fuzz_target!(|bytes: &[u8]| {
    let found = if codec::is_snapshot(bytes) {
        codec::decode(bytes)
    } else {
        Snapshot::from_bare_records(bytes, None)
    };
    let Ok(snapshot) = found else { return };
    for record in snapshot.iter() {
        for field in FieldSet::ALL.iter() {
            let _ = record.value(field);
        }
        let _ = (record.identity(), record.cpu_ns());
    }
    let written = codec::encode(&snapshot);
    let again = codec::decode(SharedBytes::new(written)).expect("what was written can be read");
    assert_eq!(again.record_bytes(), snapshot.record_bytes());
    assert_eq!(again.header(), snapshot.header());

    let again = Arc::new(again);
    let interval = Interval::between(Arc::clone(&again), again);
    let query = Query { sort: Some(Column::Field(Field::ac_pid)), ..Query::default() };
    let rows = interval.select(&query);
    assert_eq!(rows.len(), snapshot.len());
    let _ = interval.total();
});
