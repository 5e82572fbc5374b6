//! Any bytes as a snapshot, in its byte form or as a bare array of records: what is
//! accepted can be read, queried, compared and written, and is the same read back. A
//! second snapshot behind the first is the end of an interval.

#![no_main]

use std::collections::HashMap;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use precise_top_core::{
    Metric, Field, FieldSet, Groups, GroupBy, Interval, ParseError, Query, SharedBytes, Snapshot,
    TaskTable, codec,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(snapshot) = parse(bytes) else { return };
    for record in snapshot.iter() {
        for field in FieldSet::ALL.iter() {
            let _ = record.value(field);
        }
        let _ = (record.identity(), record.cpu_ns());
    }
    let written = codec::encode(&snapshot);
    let again = codec::decode(SharedBytes::new(written)).expect("what was written can be read");
    assert_eq!(again.record_bytes(), snapshot.record_bytes());
    assert_eq!(again.mask_indices(), snapshot.mask_indices());
    assert_eq!(again.header(), snapshot.header());

    let first = Arc::new(again);
    let magic = codec::MAGIC;
    let second = bytes.windows(magic.len()).skip(1).position(|window| window == magic);
    let second = second.and_then(|at| parse(&bytes[at + 1..]).ok());
    let second = second.map_or_else(|| Arc::clone(&first), |s| Arc::new(s.into_shared()));
    compare(Interval::between(first, second));
});

fn parse(bytes: &[u8]) -> Result<Snapshot<Vec<u8>>, ParseError> {
    if codec::is_snapshot(bytes) {
        codec::decode(bytes.to_vec())
    } else {
        Snapshot::from_bare_records(bytes.to_vec(), None)
    }
}

/// Everything that is made of an interval.
fn compare(interval: Interval) {
    let query = Query { sort: Some(Metric::Field(Field::ac_pid)), ..Query::default() };
    assert_eq!(interval.select(&query).len(), interval.cur().len());
    let total = interval.total();
    for row in 0..interval.len() {
        for field in FieldSet::ALL.iter() {
            let _ = (interval.increase(row, field), interval.cell(row, Metric::PerSec(field)));
        }
        let _ = (interval.children(row), interval.earlier(row).is_some());
    }
    let _ = (interval.balance(), interval.cpu_times(), interval.cpu_use());
    let interval = Arc::new(interval);
    for by in GroupBy::ALL {
        let fold = Groups::new(Arc::clone(&interval), by, &HashMap::new(), |_, _| None);
        let members: usize = (0..fold.rows()).map(|group| fold.members(group).len()).sum();
        assert_eq!(members, interval.len(), "each row is in one group");
    }
    let _ = interval.then(Arc::clone(interval.cur())).total();
    let _ = total.total_ns();
}
