//! Intervals of recordings: none across a gap, and each reason by name.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::machine::Machine;
use common::snapshot;
use precise_top_core::dump::{Cursor, Gap, Intervals, Options, Reader, Tasks, Walk, Writer};
use precise_top_core::{
    ErrorKind, Field, Flags, Header, Interval, Kind, ParseError, SharedBytes, Snapshot, SourceKind,
};

const FULL: Options = Options { full_every: 1, level: None };

fn machine() -> Machine {
    Machine::new(3)
}

/// A snapshot of the same records with another header.
fn with_header(
    snapshot: &Snapshot<Vec<u8>>,
    adjust: impl FnOnce(&mut Header),
) -> Snapshot<Vec<u8>> {
    let mut header = snapshot.header().clone();
    adjust(&mut header);
    let mut bytes = snapshot.record_bytes().to_vec();
    let records = 0..bytes.len();
    bytes.extend_from_slice(snapshot.mask_indices());
    let indices = records.end..bytes.len();
    Snapshot::new(header, snapshot.layout().clone(), bytes, records, indices).expect("well formed")
}

fn recorded(snapshots: &[Snapshot<Vec<u8>>]) -> Vec<u8> {
    let (mut writer, mut bytes) = Writer::new(FULL);
    for snapshot in snapshots {
        bytes.extend(writer.snapshot(snapshot).expect("of all tasks"));
    }
    bytes
}

fn intervals(bytes: Vec<u8>) -> Vec<Result<Arc<Interval>, Gap>> {
    let reader = Reader::new(SharedBytes::new(bytes), None).expect("a dump");
    reader.intervals(0..usize::MAX).collect()
}

#[test]
fn each_snapshot_after_the_first_ends_an_interval() {
    let snapshots = machine().snapshots(6);
    let found = intervals(recorded(&snapshots));
    assert!(matches!(found[0], Err(Gap::First)));
    let shared: Vec<_> =
        snapshots.into_iter().map(|snapshot| Arc::new(snapshot.into_shared())).collect();
    for (ends, interval) in shared.windows(2).zip(&found[1..]) {
        let expected = Interval::between(Arc::clone(&ends[0]), Arc::clone(&ends[1]));
        let interval = interval.as_ref().expect("no gap");
        assert_eq!(interval.interval_ns(), expected.interval_ns());
        for row in 0..expected.len() {
            assert_eq!(interval.usage(row), expected.usage(row));
            assert_eq!(interval.split(row), expected.split(row));
        }
    }
}

/// Pid, start, and whether the task died.
type Key = (Option<u32>, Option<u64>, bool);

/// The values of the rows that used anything.
fn used(interval: &Interval) -> BTreeMap<Key, Vec<Option<u64>>> {
    let counters = || Field::ALL.iter().filter(|field| field.info().kind == Kind::Counter);
    let values = |row| {
        let used = interval.usage(row);
        let times = [used.map(|used| used.user_ns), used.map(|used| used.system_ns)];
        times.into_iter().chain(counters().map(|&field| interval.increase(row, field))).collect()
    };
    let key = |row| {
        let record = interval.cur().get(row).expect("a row");
        (record.ac_pid(), record.exact_start_ns(), interval.is_exited(row))
    };
    let rows = (0..interval.len()).map(|row| (key(row), values(row)));
    rows.filter(|(_, values): &(_, Vec<Option<u64>>)| values.iter().flatten().any(|&v| v > 0))
        .collect()
}

#[test]
fn the_tasks_that_changed_are_all_that_used_anything() {
    let options = Options { full_every: 7, level: Some(1) };
    for seed in 1..6 {
        let (mut writer, mut bytes) = Writer::new(options);
        for snapshot in &Machine::new(seed).snapshots(40) {
            bytes.extend(writer.snapshot(snapshot).expect("of all tasks"));
        }
        let reader = Reader::new(SharedBytes::new(bytes), None).expect("a dump");
        let walk = |tasks| Walk::new(&reader, Cursor::default(), tasks);
        let (mut all, mut changed) = (walk(Tasks::All), walk(Tasks::Changed));
        let mut fewer = 0;
        // Also where a walk jumps.
        for index in (0..reader.len()).chain([5, 30, 8, 8, 21]) {
            let [all, changed] = [&mut all, &mut changed]
                .map(|walk| walk.get(index, |_, error| panic!("{index}: {error}")));
            let (Ok(all), Ok(changed)) = (all, changed) else {
                assert_eq!(index, 0);
                continue;
            };
            assert_eq!(used(&changed), used(&all), "{seed} {index}");
            assert_eq!(changed.interval_ns(), all.interval_ns());
            assert_eq!(changed.total(), all.total());
            fewer += usize::from(changed.len() < all.len());
        }
        assert!(fewer > 30, "{fewer} intervals without the tasks that slept");
    }
}

#[test]
fn an_interval_is_the_same_in_whatever_order_a_recording_is_read() {
    // By its ticks the task has less system time after the first interval than before.
    let snapshots = [(1000, 0, 10), (1100, 90, 10), (1200, 90, 10)].map(|(cpu, user, system)| {
        let row = [
            (Field::ac_pid, 5),
            (Field::ac_sum_exec_ns, cpu),
            (Field::ac_utime, user),
            (Field::ac_stime, system),
        ];
        snapshot(10 + cpu / 100, &[&row])
    });
    let used = |indices: [usize; 2]| {
        let mut intervals = Intervals::default();
        let mut read = |index: usize| Ok::<_, ParseError>(Arc::clone(&snapshots[index]));
        indices.map(|index| intervals.get(index, &mut read).expect("no gap").usage(0))
    };
    let [first, second] = used([1, 2]);
    assert_eq!(used([2, 1]), [second, first]);
    assert_ne!(first, None);
}

#[test]
fn a_jump_starts_again_with_two_snapshots() {
    let snapshots: Vec<_> = machine().snapshots(6).into_iter().map(|s| s.into_shared()).collect();
    let (mut intervals, mut read) = (Intervals::default(), Vec::new());
    for index in [2, 3, 3, 5, 1] {
        let found = intervals.get(index, |index| {
            read.push(index);
            Ok::<_, ParseError>(Arc::new(snapshots[index].clone()))
        });
        let begin = snapshots[index - 1].header().begin;
        assert_eq!(found.expect("no gap").prev().header().begin, begin);
    }
    assert_eq!(read, [1, 2, 3, 4, 5, 0, 1]);
}

#[test]
fn no_interval_spans_a_change() {
    let snapshots = machine().snapshots(2);
    let gap = |adjust: fn(&mut Header)| {
        let second = with_header(&snapshots[1], adjust);
        let mut found = intervals(recorded(&[snapshots[0].clone(), second]));
        found.remove(1).err()
    };
    assert_eq!(gap(|_| {}), None);
    assert_eq!(gap(|header| header.boot_id[3] ^= 1), Some(Gap::Boot));
    assert_eq!(gap(|header| header.host.push('2')), Some(Gap::Host));
    assert_eq!(gap(|header| header.source = SourceKind::Proc), Some(Gap::Source));
    assert_eq!(
        gap(|header| header.flags = header.flags.with(Flags::THREADS, true)),
        Some(Gap::Threads)
    );
    assert_eq!(gap(|header| header.own_cpu_ns = 1), Some(Gap::Recorder));
    assert_eq!(gap(|header| header.begin.monotonic_ns = 0), Some(Gap::Order));
}

#[test]
fn both_neighbours_of_a_damaged_snapshot_have_no_interval() {
    let snapshots = machine().snapshots(5);
    let mut bytes = recorded(&snapshots);
    let damaged = recorded(&snapshots[..3]).len() - 100;
    bytes[damaged] ^= 1;
    let found = intervals(bytes);
    for index in [2, 3] {
        let Err(Gap::Unreadable { index: damaged, error }) = &found[index] else {
            panic!("{:?}", found[index]);
        };
        assert_eq!((*damaged, error.kind), (2, ErrorKind::BadChecksum));
    }
    assert!(found[1].is_ok() && found[4].is_ok());
}

#[test]
fn a_snapshot_without_unchanged_tasks_has_no_interval() {
    let snapshots = machine().snapshots(3);
    let partial = with_header(&snapshots[1], |header| {
        header.flags = header.flags.with(Flags::WITHOUT_UNCHANGED, true);
    });
    let all = [snapshots[0].clone(), partial, snapshots[2].clone()];
    let shared = all.map(|snapshot| Arc::new(snapshot.into_shared()));
    let mut intervals = Intervals::default();
    for index in [1, 2] {
        let found = intervals.get(index, |index| Ok::<_, ParseError>(Arc::clone(&shared[index])));
        assert_eq!(found.err(), Some(Gap::Partial), "{index}");
    }
}
