//! Dumps of snapshots of only the tasks that ran: what is read are whole snapshots.

mod common;

use std::collections::BTreeMap;

use common::machine::Machine;
use precise_top_core::dump::{Cursor, Options, Reader, Writer};
use precise_top_core::{
    ErrorKind, Field, FieldSet, Flags, Header, Interval, Record, SharedBytes, Snapshot, TaskTable,
    mask_index,
};
use proptest::prelude::*;

const AGES: [Field; 3] = [Field::ac_time_ns, Field::ac_etime, Field::ac_tgetime];

/// The fields of a record, and whether it has them.
fn values(record: &Record<'_>) -> Vec<(Field, String)> {
    let value = |&field: &Field| Some((field, format!("{:?}", record.value(field)?)));
    Field::ALL.iter().filter_map(value).collect()
}

fn without_ages(mut values: Vec<(Field, String)>) -> Vec<(Field, String)> {
    values.retain(|(field, _)| !AGES.contains(field));
    values
}

type Living = BTreeMap<Option<u32>, Vec<(Field, String)>>;

fn living(snapshot: &Snapshot<impl AsRef<[u8]>>) -> Living {
    let rows = snapshot.iter().take(snapshot.living());
    rows.map(|record| (record.ac_pid(), values(&record))).collect()
}

fn dead(snapshot: &Snapshot<impl AsRef<[u8]>>) -> Vec<Vec<(Field, String)>> {
    snapshot.iter().skip(snapshot.living()).map(|record| values(&record)).collect()
}

/// `whole` as a source shows it that leaves out who did not run, but for zombies and some.
fn partial(before: &Snapshot<Vec<u8>>, whole: &Snapshot<Vec<u8>>, some: u32) -> Snapshot<Vec<u8>> {
    let known = living(before);
    let (mut bytes, mut indices, mut masks) = (Vec::new(), Vec::new(), Vec::new());
    for (row, record) in whole.iter().enumerate() {
        let last = known.get(&record.ac_pid()).map(|last| without_ages(last.clone()));
        let ran = last != Some(without_ages(values(&record)));
        let is_zombie = record.state().is_some_and(|state| state >> 16 != 0);
        let is_shown = is_zombie || record.ac_pid().is_some_and(|pid| pid % 7 == some);
        if ran || is_shown || whole.is_exited(row) {
            bytes.extend_from_slice(record.bytes());
            indices.push(mask_index(&mut masks, record.filled()));
        }
    }
    if masks.is_empty() {
        masks.push(FieldSet::ALL);
    }
    let records = 0..bytes.len();
    bytes.append(&mut indices);
    let header = Header {
        flags: whole.header().flags.with(Flags::WITHOUT_UNCHANGED, true),
        masks,
        ..whole.header().clone()
    };
    let indices = records.end..bytes.len();
    let partial = Snapshot::new(header, whole.layout().clone(), bytes, records, indices);
    partial.expect("well formed").with_base(before.clone().into_shared().into())
}

fn read(bytes: Vec<u8>) -> Vec<Snapshot<SharedBytes>> {
    let reader = Reader::new(SharedBytes::new(bytes), None).expect("a dump");
    let mut cursor = Cursor::default();
    (0..reader.len()).map(|index| reader.snapshot(index, &mut cursor).expect("whole")).collect()
}

/// That both have the same tasks. A recorded header has the masks of all tasks.
fn assert_same(read: &Snapshot<SharedBytes>, whole: &Snapshot<Vec<u8>>, at: usize) {
    let (read_rows, whole_rows) = (living(read), living(whole));
    for (pid, values) in &whole_rows {
        assert_eq!(read_rows.get(pid), Some(values), "in snapshot {at}");
    }
    assert_eq!((read_rows.len(), read.living()), (whole_rows.len(), whole.living()));
    assert_eq!(dead(read), dead(whole), "in snapshot {at}");
    let header =
        Header { masks: whole.header().masks.clone(), all_read_ns: None, ..read.header().clone() };
    assert_eq!(&header, whole.header());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn snapshots_of_those_that_ran_are_read_as_whole_ones(
        seed: u64, count in 2usize..14, full_every in 1u32..8, whole_every in 1usize..6,
    ) {
        let wholes = Machine::new(seed).snapshots(count);
        let (mut writer, mut bytes) = Writer::new(Options { full_every, level: Some(1) });
        let mut all_read_ns = Vec::new();
        for (at, whole) in wholes.iter().enumerate() {
            let frames = if at % whole_every == 0 {
                all_read_ns.push(whole.header().begin.monotonic_ns);
                writer.snapshot(whole)
            } else {
                all_read_ns.extend(all_read_ns.last().copied());
                writer.snapshot(&partial(&wholes[at - 1], whole, (seed % 7) as u32))
            };
            bytes.extend(frames.expect("it follows"));
        }
        let found = read(bytes);
        prop_assert_eq!(found.len(), count);
        for (at, (found, whole)) in found.iter().zip(&wholes).enumerate() {
            assert_same(found, whole, at);
            let age = found.header().all_read_ns.unwrap_or(found.header().begin.monotonic_ns);
            prop_assert_eq!(age, all_read_ns[at]);
        }
        // What tasks used is the same too.
        for (found, whole) in found.windows(2).zip(wholes.windows(2)) {
            let of = |pair: [Snapshot<SharedBytes>; 2]| {
                let [before, after] = pair.map(std::sync::Arc::new);
                let interval = Interval::between(before, after);
                let mut rows: Vec<_> = (0..interval.rows())
                    .map(|row| (interval.record(row).and_then(|record| record.ac_pid()),
                        interval.usage(row).map(|used| used.total_ns())))
                    .collect();
                rows.sort_unstable();
                (rows, interval.total().total_ns())
            };
            let found = of([found[0].clone(), found[1].clone()]);
            let whole = of([whole[0].clone().into_shared(), whole[1].clone().into_shared()]);
            prop_assert_eq!(found, whole);
        }
    }
}

#[test]
fn the_tasks_are_known_after_a_failed_write_and_in_the_next_file() {
    let wholes = Machine::new(5).snapshots(6);
    let partial = |at: usize| partial(&wholes[at - 1], &wholes[at], 0);
    let options = Options { full_every: 100, level: None };
    let (mut writer, mut bytes) = Writer::new(options);
    bytes.extend(writer.snapshot(&wholes[0]).expect("whole"));
    bytes.extend(writer.snapshot(&partial(1)).expect("it follows"));
    // These frames do not reach the file.
    writer.snapshot(&partial(2)).expect("it follows");
    writer.restart(bytes.len());
    bytes.extend(writer.snapshot(&partial(3)).expect("it follows"));
    let found = read(bytes);
    for (found, at) in found.iter().zip([0, 1, 3]) {
        assert_same(found, &wholes[at], at);
    }
    let (mut next, mut bytes) = Writer::new(options);
    next.take_over(writer);
    let whole = next.completed(&partial(4)).expect("it follows").expect("a full one is next");
    bytes.extend(next.snapshot(&whole).expect("whole"));
    bytes.extend(next.snapshot(&partial(5)).expect("it follows"));
    let found = read(bytes);
    assert_eq!(found.len(), 2);
    assert_same(&found[0], &wholes[4], 4);
    assert_same(&found[1], &wholes[5], 5);
}

#[test]
fn a_snapshot_whose_base_is_missing_is_refused() {
    let wholes = Machine::new(3).snapshots(4);
    let (mut writer, _) = Writer::new(Options::default());
    let error =
        |written: Result<Vec<u8>, precise_top_core::ParseError>| written.err().map(|e| e.kind);
    let first = writer.snapshot(&partial(&wholes[0], &wholes[1], 0));
    assert_eq!(error(first), Some(ErrorKind::BadValue));
    writer.snapshot(&wholes[0]).expect("whole");
    let skipped = writer.snapshot(&partial(&wholes[1], &wholes[2], 0));
    assert_eq!(error(skipped), Some(ErrorKind::MissingBase));
    writer.snapshot(&partial(&wholes[0], &wholes[1], 0)).expect("it follows");
}

/// A pid may have another task without its end having been seen: one row of it is left.
#[test]
fn a_task_that_takes_a_pid_over_replaces_the_one_before() {
    let wholes = Machine::like_a_server(8, 2, 0).snapshots(2);
    let (mut writer, mut bytes) = Writer::new(Options { full_every: 100, level: None });
    let after = partial(&wholes[0], &wholes[1], 0);
    let size = after.layout().record_size();
    let mut record = after.record_bytes()[..size].to_vec();
    let start = after.layout().offset(Field::task_id).expect("it has one");
    record[start] ^= 0x55;
    let header = Header { masks: vec![FieldSet::ALL], exited: 0, ..after.header().clone() };
    let taken = Snapshot::new(header, after.layout().clone(), record, 0..size, 0..0);
    let taken = taken.expect("well formed").with_base(wholes[0].clone().into_shared().into());
    bytes.extend(writer.snapshot(&wholes[0]).expect("whole"));
    bytes.extend(writer.snapshot(&taken).expect("it follows"));
    let found = read(bytes);
    assert_eq!(found[1].len(), 8);
    let pid = taken.get(0).and_then(|record| record.ac_pid()).expect("known");
    let row = found[1].find_pid(pid).expect("there");
    assert_eq!(found[1].get(row).map(|record| values(&record)), taken.get(0).map(|r| values(&r)));
}
