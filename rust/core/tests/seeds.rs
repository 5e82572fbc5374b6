//! The fuzzers' seeds for snapshots and dumps (rust/fuzz/seeds), made of the captures in
//! tests/data. With TASKSTATS_WRITE_SEEDS set they are written again.

use std::fs;
use std::path::Path;

use precise_top_core::dump::{Cursor, Options, Reader, Writer};
use precise_top_core::names::{RecordedName, StringKey};
use precise_top_core::{
    CpuClocks, CpuTimes, Field, FieldSet, Flags, Header, Instant, Layout, SharedBytes, Snapshot,
    SourceKind, System, codec,
};

const SECOND: u64 = 1_000_000_000;
/// Where the record of a captured answer begins.
const RECORD: usize = 36;

fn record() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    fs::read(root.join("netlink-pid-v16.bin")).expect("the capture")[RECORD..].to_vec()
}

/// A snapshot of two tasks, one of them dead, that uses all parts of the format.
fn full(seconds: u64) -> Vec<u8> {
    let mut bytes = record().repeat(2);
    let records = bytes.len();
    bytes.extend([0, 1]);
    let layout = Layout::of_version(16).expect("a known version");
    let mut header = Header::new(SourceKind::Netlink, layout.fields());
    header.flags = Flags::ONE_INSTANT;
    header.begin = Instant { monotonic_ns: seconds * SECOND, ..Instant::default() };
    header.end = header.begin;
    header.sched_clock_ns = Some(seconds * SECOND);
    header.boot_id = [7; 16];
    (header.host, header.release) = ("host".into(), "6.18".into());
    header.cpus_online = 1;
    header.masks = vec![layout.fields(), FieldSet::of(&[Field::ac_pid, Field::ac_comm])];
    header.cpu_times = vec![CpuTimes::from_array(0, [seconds * SECOND / 10; 10])];
    let now = seconds * SECOND;
    header.cpu_clocks = vec![CpuClocks {
        cpu: 0,
        clock_ns: now,
        clock_task_ns: now,
        idle_ns: now / 2,
        steal_ns: 0,
    }];
    header.system = Some(System::default());
    header.exited = 1;
    let end = bytes.len();
    let snapshot = Snapshot::new(header, layout, bytes, 0..records, records..end);
    codec::encode(&snapshot.expect("well formed"))
}

#[test]
fn every_seed_is_a_snapshot() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/snapshot");
    if std::env::var_os("TASKSTATS_WRITE_SEEDS").is_some() {
        fs::create_dir_all(&seeds).expect("a directory for the seeds");
        let made = [
            ("bare-v16.bin", record()),
            ("two-bare-v16.bin", record().repeat(2)),
            ("snapshot-v16.bin", full(1)),
            ("interval-v16.bin", [full(1), full(2)].concat()),
        ];
        for (name, bytes) in made {
            fs::write(seeds.join(name), bytes).expect("a seed can be written");
        }
    }
    let mut found = 0;
    for file in fs::read_dir(seeds).expect("the seeds") {
        let bytes = fs::read(file.expect("a seed").path()).expect("a seed");
        let snapshot = if codec::is_snapshot(&bytes) {
            codec::decode(bytes)
        } else {
            Snapshot::from_bare_records(bytes, None)
        };
        let snapshot = snapshot.unwrap_or_else(|error| {
            panic!("{error}; after a change of the format run with TASKSTATS_WRITE_SEEDS=1")
        });
        assert!(!snapshot.is_empty());
        found += 1;
    }
    assert!(found >= 4, "only {found} seeds");
}

/// A dump with frames of every kind.
fn dump(level: Option<i32>) -> Vec<u8> {
    let (mut writer, mut bytes) = Writer::new(Options { full_every: 2, level });
    let user = RecordedName { key: StringKey::of_user(0), start_ns: 0, text: b"root".to_vec() };
    bytes.extend(writer.strings(&[user]).expect("short"));
    for seconds in 1..4 {
        let snapshot = codec::decode(full(seconds)).expect("well formed");
        bytes.extend(writer.snapshot(&snapshot).expect("whole"));
    }
    bytes.extend(writer.finish().expect("an index"));
    bytes
}

#[test]
fn every_seed_is_a_dump() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/dump");
    if std::env::var_os("TASKSTATS_WRITE_SEEDS").is_some() {
        fs::create_dir_all(&seeds).expect("a directory for the seeds");
        for (name, bytes) in [("plain.tsd", dump(None)), ("zstd.tsd", dump(Some(3)))] {
            fs::write(seeds.join(name), bytes).expect("a seed can be written");
        }
    }
    let mut found = 0;
    for file in fs::read_dir(seeds).expect("the seeds") {
        let bytes = fs::read(file.expect("a seed").path()).expect("a seed");
        let reader = Reader::new(SharedBytes::new(bytes), None).unwrap_or_else(|error| {
            panic!("{error}; after a change of the format run with TASKSTATS_WRITE_SEEDS=1")
        });
        let mut cursor = Cursor::default();
        for index in 0..3 {
            let snapshot = reader.snapshot(index, &mut cursor).expect("whole");
            let written = codec::decode(full(index as u64 + 1)).expect("well formed");
            assert_eq!(snapshot.record_bytes(), written.record_bytes());
            assert_eq!(snapshot.header(), written.header());
        }
        found += 1;
    }
    assert!(found >= 2, "only {found} seeds");
}
