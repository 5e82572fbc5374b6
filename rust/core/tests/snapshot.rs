//! Snapshots over bytes: bare arrays, the byte form, choosing rows.

mod common;

use common::snapshot;
use precise_top_core::layout::EXTENSION_BIT;
use precise_top_core::{
    Cell, CgroupLimits, CpuTimes, Disk, DiskCounts, ErrorKind, Field, FieldSet, Filter, Header,
    Layout, Machine, MemoryDetails, Metric, Network, NetworkCounts, Pressure, Query, Snapshot,
    SourceKind, Stall, System, TaskTable, codec,
};
use proptest::prelude::*;

/// `count` bare records of `size` bytes that begin with `version` in native order.
fn bare(version: u16, size: usize, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; size * count];
    for (index, record) in bytes.chunks_exact_mut(size).enumerate() {
        record[..2].copy_from_slice(&version.to_ne_bytes());
        if let Some(pid) = record.get_mut(128..132) {
            pid.copy_from_slice(&(index as u32 + 1).to_ne_bytes());
        }
    }
    bytes
}

#[test]
fn bare_records_of_every_version_are_recognised() {
    for version in (1..=17).flat_map(|v| [v, v | EXTENSION_BIT]) {
        let size = Layout::of_version(version).expect("a known version").record_size();
        let parsed = Snapshot::from_bare_records(bare(version, size, 3), None);
        let parsed = parsed.expect("well formed");
        assert_eq!((parsed.len(), parsed.layout().version()), (3, version));
    }
}

#[test]
fn a_newer_version_finds_its_own_stride() {
    let parsed = Snapshot::from_bare_records(bare(18, 800, 4), None).expect("well formed");
    assert_eq!((parsed.len(), parsed.layout().record_size()), (4, 800));
    assert_eq!(parsed.get(2).and_then(|record| record.ac_pid()), Some(3));
}

#[test]
fn swapped_records_read_the_same_numbers() {
    let mut bytes = bare(8, 328, 1);
    bytes[..2].reverse();
    bytes[128..132].reverse();
    bytes[152..160].copy_from_slice(&77u64.swap_bytes().to_ne_bytes());
    let parsed = Snapshot::from_bare_records(bytes, None).expect("well formed");
    assert!(parsed.layout().is_swapped());
    let record = parsed.get(0).expect("one record");
    assert_eq!((record.ac_pid(), record.ac_utime()), (Some(1), Some(77)));
}

#[test]
fn what_is_no_array_is_refused_with_its_place() {
    let mut mixed = bare(14, 432, 3);
    mixed[432] = 13;
    let cases = [
        ("nothing", vec![], None, ErrorKind::Truncated, 0),
        ("version 0", vec![0; 432], None, ErrorKind::BadVersion, 0),
        ("text", b"not a record at all".to_vec(), None, ErrorKind::BadVersion, 0),
        ("cut", bare(14, 432, 3)[..1000].to_vec(), None, ErrorKind::Truncated, 864),
        ("mixed", mixed, None, ErrorKind::MixedVersions, 432),
        ("stride 1", bare(14, 432, 1), Some(1), ErrorKind::BadLength, 0),
    ];
    for (name, bytes, size, kind, offset) in cases {
        let error = Snapshot::from_bare_records(bytes, size).expect_err(name);
        assert_eq!((error.kind, error.offset), (kind, offset), "{name}");
    }
}

fn machine() -> Machine {
    let stall = |total_us| Stall { avg10_centi: 125, total_us };
    Machine {
        cpu_pressure: Some(Pressure { some: stall(1), full: None }),
        io_pressure: None,
        memory_pressure: Some(Pressure { some: stall(3), full: Some(stall(4)) }),
        memory: Some(MemoryDetails { shmem_kb: Some(0), ..MemoryDetails::default() }),
        disks: Some(vec![
            Disk { name: "vda".into(), counts: DiskCounts::from_array([1, 2, 3, 4, 5]) },
            Disk { name: "n".repeat(32), counts: DiskCounts::default() },
        ]),
        networks: Some(vec![Network {
            name: "eth0".into(),
            counts: NetworkCounts::from_array([1, 2, 3, 4, 5]),
        }]),
        cgroup: Some(CgroupLimits { nr_throttled: Some(0), ..CgroupLimits::default() }),
    }
}

fn full_header() -> Header {
    let mut header = Header::new(SourceKind::Netlink, FieldSet::ALL);
    header.host = "näme".into();
    header.release = "6.18".into();
    header.boot_id = [7; 16];
    header.begin.realtime_ns = 1;
    header.end.monotonic_ns = 2;
    header.sched_clock_ns = Some(3);
    header.cpus_online = 2;
    header.page_size = 4096;
    header.cpu_times_step_ns = 10;
    header.cpu_times = vec![CpuTimes { cpu: 1, steal_ns: 5, ..CpuTimes::default() }];
    header.cpu_clocks =
        vec![precise_top_core::CpuClocks { cpu: 1, idle_ns: 9, ..Default::default() }];
    header.system = Some(System { mem_total_kb: 8, load_centi: [1, 2, 3], ..System::default() });
    header.status[3] = precise_top_core::FieldStatus::Off;
    header.masks = vec![FieldSet::ALL, FieldSet::of(&[Field::ac_pid])];
    header.merged = 1;
    header.missed = 2;
    header.outside_ns = 3;
    header.own_cpu_ns = 4;
    header.hooks_ns = 6;
    header.syscalls = 5;
    header.task_id_space = Some(7);
    header.machine = machine();
    header
}

fn masked() -> Snapshot<Vec<u8>> {
    let layout = Layout::of_version(14 | EXTENSION_BIT).expect("a known version");
    let mut bytes = bare(14 | EXTENSION_BIT, layout.record_size(), 3);
    let end = bytes.len();
    bytes.extend([0, 1, 0]);
    Snapshot::new(full_header(), layout, bytes, 0..end, end..end + 3).expect("well formed")
}

#[test]
fn the_byte_form_brings_everything_back() {
    let before = masked();
    let bytes = codec::encode(&before);
    let after = codec::decode(bytes.as_slice()).expect("its own bytes");
    assert_eq!(after.header(), before.header());
    assert_eq!(after.layout(), before.layout());
    assert_eq!(after.record_bytes(), before.record_bytes());
    assert_eq!(after.mask_indices(), [0, 1, 0]);
    // On the same memory, at a place fit for any field.
    let at = after.record_bytes().as_ptr().addr() - bytes.as_ptr().addr();
    assert_eq!(at % 64, 0);
}

#[test]
fn an_unknown_meter_is_none_and_an_empty_one_is_zero() {
    let mut header = full_header();
    header.masks.truncate(1);
    let mut read = |machine: Machine| {
        header.machine = machine;
        let layout = Layout::of_version(14).expect("a known version");
        let snapshot = Snapshot::new(header.clone(), layout, Vec::new(), 0..0, 0..0);
        let bytes = codec::encode(&snapshot.expect("well formed"));
        codec::decode(bytes).expect("its own bytes").header().machine.clone()
    };
    assert_eq!(read(Machine::default()), Machine::default());
    let empty = Machine { disks: Some(Vec::new()), ..Machine::default() };
    assert_eq!(read(empty.clone()), empty);
    assert_eq!(
        (empty.sum_disks(|_| true), empty.sum_networks(|_| true)),
        (Some(DiskCounts::default()), None)
    );
}

#[test]
fn meters_sum_up_and_their_rates_never_shrink() {
    let Machine { disks, cpu_pressure, .. } = machine();
    let sum = Machine { disks: disks.map(|disks| [disks.clone(), disks].concat()), ..machine() };
    assert_eq!(sum.sum_disks(|_| true), Some(DiskCounts::from_array([2, 4, 6, 8, 10])));
    let counts = NetworkCounts::from_array([5, 0, 0, 0, 1]);
    let before = NetworkCounts::from_array([2, 0, 7, 0, 1]);
    assert_eq!(counts.since(&before), NetworkCounts::from_array([3, 0, 0, 0, 0]));
    let before = cpu_pressure.expect("known").some;
    let now = Stall { total_us: before.total_us + 250_000, ..before };
    assert_eq!(now.share_pct(&before, 1_000_000_000), Some(25.0));
    assert_eq!((before.share_pct(&now, 1_000_000_000), now.share_pct(&before, 0)), (None, None));
}

#[test]
fn masks_differ_by_record() {
    let snapshot = masked();
    let pids: Vec<_> = snapshot.iter().map(|record| record.ac_pid()).collect();
    assert_eq!(pids, [Some(1), Some(2), Some(3)]);
    assert!(snapshot.get(0).expect("a record").ac_uid().is_some());
    assert_eq!(snapshot.get(1).expect("a record").ac_uid(), None);
    assert_eq!(snapshot.valid(Field::ac_uid).collect::<Vec<_>>(), [true, false, true]);
    let alone = snapshot.extract(1).expect("a record");
    assert_eq!((alone.len(), alone.get(0).expect("it").ac_uid()), (1, None));
}

#[test]
fn every_cut_of_the_byte_form_is_an_error() {
    let bytes = codec::encode(&masked());
    for cut in 0..bytes.len() {
        assert!(codec::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn any_changed_byte_of_the_byte_form_is_survived(at in 0usize..4000, value: u8) {
        let mut bytes = codec::encode(&masked());
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(snapshot) = codec::decode(bytes.as_slice()) {
            for record in snapshot.iter() {
                let _ = (record.value(Field::ac_comm), record.value(Field::task_id));
            }
        }
    }

    #[test]
    fn any_bytes_as_bare_records_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        size in proptest::option::of(0usize..3000),
    ) {
        if let Ok(snapshot) = Snapshot::from_bare_records(bytes, size) {
            prop_assert!(snapshot.iter().count() == snapshot.len());
            prop_assert!(snapshot.iter().all(|record| record.value(Field::version).is_some()));
        }
    }

    #[test]
    fn the_first_rows_are_those_of_a_full_sort(
        values in proptest::collection::vec(0u64..50, 0..80),
        descending: bool,
        offset in 0usize..10,
        limit in proptest::option::of(0usize..20),
    ) {
        let rows: Vec<Vec<(Field, u64)>> = values
            .iter()
            .enumerate()
            .map(|(row, &value)| vec![(Field::ac_pid, row as u64 + 1), (Field::nvcsw, value)])
            .collect();
        let rows: Vec<&[_]> = rows.iter().map(Vec::as_slice).collect();
        let table = snapshot(1, &rows);
        let query = Query {
            sort: Some(Metric::Field(Field::nvcsw)),
            descending,
            offset,
            limit,
            ..Query::default()
        };
        let mut expected: Vec<u32> = (0..values.len() as u32).collect();
        expected.sort_by_key(|&row| {
            let value = values[row as usize] as i64;
            (if descending { -value } else { value }, row)
        });
        let end = limit.map_or(expected.len(), |limit| offset + limit).min(expected.len());
        let expected = expected.get(offset..end).unwrap_or_default();
        prop_assert_eq!(table.select(&query), expected);
    }
}

#[test]
fn filters_go_by_name_and_pid() {
    let rows: Vec<Vec<(Field, u64)>> = [11, 12, 21].map(|pid| vec![(Field::ac_pid, pid)]).to_vec();
    let rows: Vec<&[_]> = rows.iter().map(Vec::as_slice).collect();
    let table = snapshot(1, &rows);
    let by_text = |text: &str| Filter { text: Some(text.into()), ..Filter::default() };
    assert_eq!(table.count(&by_text("TASK1")), 2);
    assert_eq!(table.count(&by_text("21")), 1);
    assert_eq!(table.count(&by_text("nothing")), 0);
    assert_eq!(table.count(&by_text("")), 3);
    let pids = Filter { pids: Some([12, 99].into()), ..Filter::default() };
    assert_eq!(table.select(&Query { filter: pids, ..Query::default() }), [1]);
}

#[test]
fn sums_go_over_the_rows_that_know() {
    let snapshot = masked();
    assert_eq!(snapshot.sum(Metric::Field(Field::ac_pid)), Some(Cell::Int(6)));
    assert_eq!(snapshot.sum(Metric::UserNs), None);
    assert_eq!(snapshot.sum(Metric::Field(Field::ac_comm)), None);
}

#[test]
fn column_names_are_fields_or_made_of_them() {
    assert_eq!(Metric::from_name("ac_pid"), Some(Metric::Field(Field::ac_pid)));
    assert_eq!(Metric::from_name("read_bytes_per_sec"), Some(Metric::PerSec(Field::read_bytes)));
    assert_eq!(Metric::from_name("cpu_delay_total_pct"), Some(Metric::Pct(Field::cpu_delay_total)));
    for name in ["", "ac_pid_per_sec", "nvcsw_pct", "rss_kb_delta", "_pct"] {
        assert_eq!(Metric::from_name(name), None, "{name}");
    }
}
