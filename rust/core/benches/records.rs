//! ns for each record: walked in datagrams, read, compared, chosen.
//!
//!     cargo bench -p precise-top-core --bench records

#![allow(clippy::print_stdout, reason = "the table is the program's purpose")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use precise_top_core::wire::{self, Payload};
use precise_top_core::{
    Field, FieldSet, Flags, Header, Interval, Layout, Metric, Query, RecordMut, SharedBytes,
    Snapshot, SourceKind, TaskTable, codec,
};

const TASKS: usize = 10_000;
const TIME: Duration = Duration::from_millis(500);
const ANSWER: &[u8] = include_bytes!("../../../tests/data/netlink-pid-v16.bin");
/// Where the record of an answer begins.
const RECORD: usize = 36;

/// The best of as many rounds as fit in the time, in ns a record.
fn measure(name: &str, mut work: impl FnMut() -> u64) {
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed() < TIME {
        let round = Instant::now();
        black_box(work());
        best = best.min(round.elapsed());
    }
    println!("{name:<44}{:>10.1}", best.as_nanos() as f64 / TASKS as f64);
}

/// A snapshot of so many tasks; `seconds` is its time and the tasks' use.
fn snapshot(seconds: u64) -> Arc<Snapshot> {
    let layout = Layout::of_version(16).expect("a known version");
    let mut bytes = ANSWER[RECORD..].repeat(TASKS);
    for (row, record) in (0..).zip(bytes.chunks_exact_mut(layout.record_size())) {
        let mut record = RecordMut::new(record, &layout).expect("the right size");
        record.set(Field::ac_pid, 100 + row);
        record.set(Field::cpu_run_virtual_total, 1_000_000 * (seconds + row * 7 % 1000 * seconds));
        record.set(Field::ac_utime, 10 * seconds);
        record.set(Field::ac_stime, 5 * seconds);
    }
    let mut header = Header::new(SourceKind::Netlink, layout.fields());
    header.flags = Flags::DERIVED_STARTS;
    header.begin.monotonic_ns = seconds * 1_000_000_000;
    header.begin.boottime_ns = u64::MAX / 2;
    let end = bytes.len();
    let snapshot = Snapshot::new(header, layout, SharedBytes::new(bytes), 0..end, 0..0);
    Arc::new(snapshot.expect("well formed"))
}

fn main() {
    println!("{:<44}{:>10}", format!("{TASKS} records of version 16"), "ns/record");
    let datagrams = ANSWER.repeat(TASKS);
    measure("walk netlink messages to their records", || {
        let mut bytes = 0;
        for message in wire::messages(&datagrams).flatten() {
            if let Payload::Generic { attributes, .. } = message.payload {
                bytes += wire::stats(attributes).flatten().map(|s| s.bytes.len()).sum::<usize>();
            }
        }
        bytes as u64
    });
    let bare = ANSWER[RECORD..].repeat(TASKS);
    measure("parse a bare array", || {
        Snapshot::from_bare_records(bare.as_slice(), None).expect("real records").len() as u64
    });
    let (prev, cur) = (snapshot(1), snapshot(2));
    measure("read the CPU time", || cur.iter().filter_map(|record| record.cpu_ns()).sum());
    let fields = cur.filled();
    measure(&format!("read all {} fields", fields.iter().count()), || {
        let read = |field| cur.iter().filter(|record| record.value(field).is_some()).count();
        fields.iter().map(|field| read(field) as u64).sum()
    });
    measure("compare with the snapshot before", || {
        Interval::between(Arc::clone(&prev), Arc::clone(&cur)).total().total_ns()
    });
    let interval = Interval::between(Arc::clone(&prev), Arc::clone(&cur));
    let sort = Some(Metric::TotalNs);
    let top = Query { sort, descending: true, limit: Some(50), ..Query::default() };
    measure("choose the 50 busiest", || interval.select(&top).len() as u64);
    measure("sort all by CPU time", || {
        interval.select(&Query { limit: None, ..top.clone() }).len() as u64
    });
    let written = codec::encode(&cur);
    measure("decode the byte form", || {
        let snapshot = codec::decode(written.as_slice()).expect("as written");
        u64::from(snapshot.filled() != FieldSet::EMPTY)
    });
}
