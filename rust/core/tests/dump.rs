//! Dumps: what is written is what is read, whatever happened to the file.

mod common;

use common::machine::Machine;
use precise_top_core::dump::{Cursor, Frames, Index, Options, PREAMBLE, Reader, Writer};
use precise_top_core::layout::EXTENSION_BIT;
use precise_top_core::names::{RecordedName, StringKey, StringKind};
use precise_top_core::{
    CgroupReadings, CgroupStats, ErrorKind, Field, FieldSet, Flags, Header, Layout, SharedBytes,
    Snapshot, SourceKind, codec,
};
use proptest::prelude::*;

const UNCOMPRESSED: Options = Options { full_every: 1, level: None };

/// A dump of snapshots, closed by an index.
fn dump(options: Options, snapshots: &[Snapshot<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = unfinished(options, snapshots);
    bytes.1.extend(bytes.0.finish().expect("an index"));
    bytes.1
}

fn unfinished(options: Options, snapshots: &[Snapshot<Vec<u8>>]) -> (Writer, Vec<u8>) {
    let (mut writer, mut bytes) = Writer::new(options);
    for snapshot in snapshots {
        bytes.extend(writer.snapshot(snapshot).expect("whole snapshots"));
        assert_eq!(writer.offset(), bytes.len());
    }
    (writer, bytes)
}

fn reader(bytes: &[u8]) -> Reader {
    Reader::new(SharedBytes::new(bytes.to_vec()), None).expect("a dump")
}

/// All snapshots that can be read, as bytes, one after the other.
fn read_all(reader: &Reader) -> Vec<Result<Vec<u8>, ErrorKind>> {
    let mut cursor = Cursor::default();
    let read = |index| reader.snapshot(index, &mut cursor);
    (0..reader.len())
        .map(read)
        .map(|read| read.map(|snapshot| codec::encode(&snapshot)).map_err(|error| error.kind))
        .collect()
}

/// That a dump gives just these snapshots. Says where it does not, and not all bytes.
fn assert_reads(reader: &Reader, snapshots: &[Snapshot<Vec<u8>>]) {
    let read = read_all(reader);
    assert_eq!(read.len(), snapshots.len());
    for (index, (read, written)) in read.into_iter().zip(snapshots).enumerate() {
        let (read, written) = (read.expect("undamaged"), codec::encode(written));
        let differs = read.iter().zip(&written).position(|(a, b)| a != b);
        assert_eq!(differs, None, "in snapshot {index}");
        assert_eq!(read.len(), written.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(
        seed: u64, count in 1usize..12, full_every in 1u32..6, packed: bool, index: prop::sample::Index,
    ) {
        let snapshots = Machine::new(seed).snapshots(count);
        let level = packed.then_some(1);
        let bytes = dump(Options { full_every, level }, &snapshots);
        let reader = reader(&bytes);
        assert_reads(&reader, &snapshots);
        prop_assert_eq!(reader.check(), []);
        // A jump gives the same as the way there.
        let index = index.index(count);
        let jump = reader.snapshot(index, &mut Cursor::default()).expect("there");
        prop_assert!(codec::encode(&jump) == codec::encode(&snapshots[index]));
        for (index, snapshot) in snapshots.iter().enumerate() {
            let time_ns = snapshot.header().begin.realtime_ns;
            prop_assert_eq!(reader.time_ns(index), Some(time_ns));
            prop_assert_eq!(reader.at_time(time_ns + 1), Some(index));
            prop_assert_eq!(reader.rows(index), Some(snapshot.len()));
        }
        prop_assert_eq!(reader.at_time(snapshots[0].header().begin.realtime_ns - 1), None);
    }

    #[test]
    fn any_bytes_after_the_first_are_survived(
        junk in proptest::collection::vec(any::<u8>(), 0..400), keep in 0usize..200,
    ) {
        let mut bytes = dump(UNCOMPRESSED, &Machine::new(1).snapshots(1));
        bytes.truncate(16 + keep);
        bytes.extend(junk);
        if let Ok(reader) = Reader::new(SharedBytes::new(bytes), None) {
            read_all(&reader);
            reader.check();
        }
    }
}

#[test]
fn ages_are_kept_to_the_microsecond() {
    let mut machine = Machine::new(6);
    machine.step_ns = 7;
    within(&machine.snapshots(10), 0);
}

#[test]
fn a_source_that_walks_keeps_its_times_within_the_walk() {
    let mut machine = Machine::new(7);
    machine.one_instant = false;
    machine.step_ns = 7;
    within(&machine.snapshots(10), 3_000_000);
}

/// That times which go on by themselves are read as they were, but for `slack_ns` and
/// the rounding of ages; all else is as it was.
fn within(snapshots: &[Snapshot<Vec<u8>>], slack_ns: u64) {
    let reader = reader(&dump(Options { full_every: 5, level: Some(1) }, snapshots));
    let mut cursor = Cursor::default();
    for (index, written) in snapshots.iter().enumerate() {
        let read = reader.snapshot(index, &mut cursor).expect("whole");
        assert_eq!(read.len(), written.len());
        for (a, b) in written.iter().zip(read.iter()) {
            for &field in Field::ALL {
                let (a, b) = (a.unsigned(field), b.unsigned(field));
                let slack = match field {
                    Field::ac_time_ns => slack_ns,
                    Field::ac_etime | Field::ac_tgetime => slack_ns / 1000 + 1,
                    _ => 0,
                };
                let differ = a.unwrap_or(0).abs_diff(b.unwrap_or(0));
                assert!(
                    a.is_some() == b.is_some() && differ <= slack,
                    "{} {a:?} {b:?}",
                    field.name()
                );
            }
        }
    }
}

/// Where the frames of the snapshots end.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let frames = Frames::new(bytes, PREAMBLE).map(|frame| frame.expect("undamaged"));
    frames.filter(|frame| frame.kind.is_snapshot()).map(|frame| frame.end()).collect()
}

/// What can be read of a damaged dump is what was written. Gives how many.
fn only_truth(bytes: Vec<u8>, written: &[Vec<u8>], what: &str) -> usize {
    let Ok(reader) = Reader::new(SharedBytes::new(bytes), None) else { return 0 };
    let mut from = 0;
    let mut right = 0;
    for read in read_all(&reader).into_iter().flatten() {
        let found = written[from..].iter().position(|form| *form == read);
        let found = found.unwrap_or_else(|| panic!("{what}: a snapshot that was never written"));
        from += found + 1;
        right += 1;
    }
    if right < written.len() {
        let lost = reader.check();
        assert!(right == reader.len() || !lost.is_empty(), "{what}: lost without a word");
    }
    right
}

fn small(options: Options) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut machine = Machine::new(3);
    machine.tasks = 2;
    machine.births = 1;
    let snapshots = machine.snapshots(4);
    let written = snapshots.iter().map(codec::encode).collect();
    (written, dump(options, &snapshots))
}

#[test]
fn every_cut_leaves_what_is_before_it() {
    for options in [UNCOMPRESSED, Options { full_every: 3, level: Some(1) }] {
        let (written, bytes) = small(options);
        let ends = ends(&bytes);
        for length in 16..bytes.len() {
            let right = only_truth(bytes[..length].to_vec(), &written, &format!("cut at {length}"));
            // Padding behind a payload may be missing.
            let whole = ends.iter().filter(|&&end| end <= length).count();
            assert!(right == whole || right == whole + 1, "cut at {length}: {right} of {whole}");
        }
    }
}

#[test]
fn every_flipped_bit_is_found() {
    for options in [UNCOMPRESSED, Options { full_every: 3, level: Some(1) }] {
        let (written, bytes) = small(options);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            only_truth(damaged, &written, &format!("flipped at {at}"));
        }
    }
}

#[test]
fn a_damaged_snapshot_costs_the_rest_of_its_run_only() {
    let snapshots = Machine::new(5).snapshots(9);
    let mut bytes = dump(Options { full_every: 3, level: None }, &snapshots);
    let frames = ends(&bytes);
    // In the payload of the second of three.
    bytes[frames[4] - 9] ^= 0x10;
    let whole: Vec<bool> = read_all(&reader(&bytes)).iter().map(Result::is_ok).collect();
    assert_eq!(whole, [true, true, true, true, false, false, true, true, true]);
    let damage = reader(&bytes).check();
    let lost: Vec<_> = damage.iter().map(|damage| (damage.snapshot, damage.error.kind)).collect();
    assert_eq!(lost, [(Some(4), ErrorKind::BadChecksum), (Some(5), ErrorKind::MissingBase)]);
}

#[test]
fn damage_of_a_header_is_told_of_once_with_its_bytes() {
    let snapshots = Machine::new(5).snapshots(6);
    let whole = dump(UNCOMPRESSED, &snapshots);
    let ends = ends(&whole);
    let damage = |bytes: &[u8]| -> Vec<_> {
        let damage = reader(bytes).check();
        damage.into_iter().map(|each| (each.bytes, each.error.kind, each.snapshot)).collect()
    };
    let bad = ErrorKind::BadChecksum;
    let mut one = whole.clone();
    one[ends[2] + 9] ^= 4;
    assert_eq!(damage(&one), [(ends[2]..ends[3], bad, Some(3))]);
    // Two in a row are separated by the index; without it their number is unknown.
    one[ends[3] + 9] ^= 4;
    let lost = [(ends[2]..ends[3], bad, Some(3)), (ends[3]..ends[4], bad, Some(4))];
    assert_eq!(damage(&one), lost);
    one.truncate(ends[5]);
    assert_eq!(damage(&one), [(ends[2]..ends[4], bad, None)]);
    assert_eq!(reader(&one).gaps().first(), Some(&(ends[2]..ends[4])));
    // What was not finished is no damage of its bytes.
    for cut in [ends[5] - 9, ends[4] + 9] {
        assert_eq!(damage(&whole[..cut]), [(ends[4]..cut, ErrorKind::Truncated, None)]);
    }
}

#[test]
fn no_bytes_are_no_dump() {
    let empty = Reader::new(SharedBytes::new(Vec::new()), None).map(|reader| reader.len());
    assert_eq!(empty.map_err(|error| error.kind), Err(ErrorKind::Empty));
}

#[test]
fn unknown_frames_are_passed_over() {
    let snapshots = Machine::new(11).snapshots(4);
    let (mut writer, mut bytes) = unfinished(UNCOMPRESSED, &snapshots[..2]);
    let mut header = [0; 40];
    header[..4].copy_from_slice(b"TSFR");
    header[4..6].copy_from_slice(&99u16.to_le_bytes());
    header[7] = 5;
    header[8..12].copy_from_slice(&24u32.to_le_bytes());
    header[24..28].copy_from_slice(&24u32.to_le_bytes());
    header[28..32].copy_from_slice(&crc32c::crc32c(&[7; 24]).to_le_bytes());
    let checksum = crc32c::crc32c(&header[..36]);
    header[36..].copy_from_slice(&checksum.to_le_bytes());
    bytes.extend(header);
    bytes.extend([7; 24]);
    writer.restart(bytes.len());
    for snapshot in &snapshots[2..] {
        bytes.extend(writer.snapshot(snapshot).expect("whole snapshots"));
    }
    assert_reads(&reader(&bytes), &snapshots);
    assert_eq!(reader(&bytes).check(), []);
}

#[test]
fn a_recording_goes_on_where_it_was_cut() {
    let snapshots = Machine::new(13).snapshots(6);
    let options = Options { full_every: 4, level: Some(1) };
    let (_, mut bytes) = unfinished(options, &snapshots[..4]);
    bytes.truncate(bytes.len() - 11);
    let index = reader(&bytes).index().expect("a dump").clone();
    bytes.truncate(index.end());
    let mut writer = Writer::resume(options, &index);
    for snapshot in &snapshots[4..] {
        bytes.extend(writer.snapshot(snapshot).expect("whole snapshots"));
    }
    bytes.extend(writer.finish().expect("an index"));
    let expected = [&snapshots[..3], &snapshots[4..]].concat();
    assert_reads(&reader(&bytes), &expected);
}

#[test]
fn dumps_can_be_laid_end_to_end() {
    let snapshots = Machine::new(17).snapshots(5);
    let mut bytes = dump(UNCOMPRESSED, &snapshots[..2]);
    bytes.extend(dump(Options::default(), &snapshots[2..]));
    assert_reads(&reader(&bytes), &snapshots);
    assert_eq!(reader(&bytes).check(), []);
    let plain: Vec<u8> = snapshots.iter().flat_map(codec::encode).collect();
    assert_reads(&reader(&plain), &snapshots);
    let cut = Reader::new(SharedBytes::new(plain[..plain.len() - 1].to_vec()), None);
    assert_eq!(
        cut.map(|reader| reader.len()).map_err(|error| error.kind),
        Err(ErrorKind::Truncated)
    );
}

#[test]
fn an_index_has_the_same_frames_as_the_headers() {
    let mut machine = Machine::new(19);
    machine.tasks = 1;
    // More than fit in one index frame.
    let snapshots = machine.snapshots(4200);
    let bytes = dump(Options { full_every: 100, level: None }, &snapshots);
    let closed = reader(&bytes);
    let open = reader(&bytes[..bytes.len() - 8]);
    assert_eq!(closed.len(), 4200);
    assert_eq!(open.len(), 4200);
    for index in [0, 1, 4094, 4095, 4096, 4199] {
        assert_eq!(closed.time_ns(index), open.time_ns(index));
        let read = closed.snapshot(index, &mut Cursor::default()).expect("whole");
        assert_eq!(codec::encode(&read), codec::encode(&snapshots[index]));
    }
}

#[test]
fn uncompressed_snapshots_are_read_in_place() {
    let snapshots = Machine::new(23).snapshots(3);
    let bytes = SharedBytes::new(dump(UNCOMPRESSED, &snapshots));
    let range = bytes.as_ref().as_ptr_range();
    let reader = Reader::new(bytes.clone(), None).expect("a dump");
    for index in 0..3 {
        let read = reader.snapshot(index, &mut Cursor::default()).expect("whole");
        let place = read.record_bytes().as_ptr();
        assert!(range.contains(&place));
        assert_eq!((place as usize - range.start as usize) % 64, 0);
    }
}

#[test]
fn what_ran_since_is_no_whole_snapshot() {
    let mut machine = Machine::new(29);
    machine.flags = Flags::WITHOUT_UNCHANGED;
    let (mut writer, _) = Writer::new(Options::default());
    let refused = writer.snapshot(&machine.snapshots(1)[0]).expect_err("not whole");
    assert_eq!(refused.kind, ErrorKind::BadValue);
}

#[test]
fn records_of_a_version_to_come_are_kept_byte_by_byte() {
    let layout = Layout::new(40 | EXTENSION_BIT, 800, false).expect("a later version");
    let snapshot = |fill: u8| {
        let mut bytes = vec![fill; 1600];
        for record in bytes.chunks_mut(800) {
            record[..2].copy_from_slice(&(40 | EXTENSION_BIT).to_ne_bytes());
        }
        let header = Header::new(SourceKind::Proc, FieldSet::of(&[Field::ac_pid]));
        Snapshot::new(header, layout.clone(), bytes, 0..1600, 0..0).expect("well formed")
    };
    let snapshots = [snapshot(1), snapshot(2), snapshot(2), snapshot(255)];
    let bytes = dump(Options { full_every: 9, level: None }, &snapshots);
    assert_reads(&reader(&bytes), &snapshots);
}

#[test]
fn records_of_the_other_byte_order_are_kept() {
    let snapshot = |value: u64| {
        let layout = Layout::of_version(14).expect("known");
        let mut bytes = vec![0; layout.record_size()];
        bytes[..2].copy_from_slice(&14u16.swap_bytes().to_ne_bytes());
        let at = layout.offset(Field::nvcsw).expect("there");
        bytes[at..at + 8].copy_from_slice(&value.swap_bytes().to_ne_bytes());
        Snapshot::from_bare_records(bytes, None).expect("swapped records")
    };
    let snapshots = [snapshot(1), snapshot(300), snapshot(1 << 40)];
    let reader = reader(&dump(Options { full_every: 9, level: None }, &snapshots));
    assert_reads(&reader, &snapshots);
    let last = reader.snapshot(2, &mut Cursor::default()).expect("whole");
    assert_eq!(last.get(0).and_then(|record| record.nvcsw()), Some(1 << 40));
}

#[test]
fn names_are_those_of_their_time() {
    let mut machine = Machine::new(31);
    machine.tasks = 1;
    machine.births = 0;
    let snapshots = machine.snapshots(3);
    let record = snapshots[0].get(0).expect("a task");
    let key = StringKey::of_cmdline(&record).expect("a pid");
    let start_ns = record.ac_start_ns().expect("a start");
    let named = |start_ns, text: &str| RecordedName { key, start_ns, text: text.into() };
    let (mut writer, mut bytes) = Writer::new(Options::default());
    let mut put = |writer: &mut Writer, names: &[RecordedName], snapshot| {
        bytes.extend(writer.strings(names).expect("short"));
        bytes.extend(writer.snapshot(snapshot).expect("whole"));
    };
    put(&mut writer, &[named(start_ns, "sh\0-c\0make\0")], &snapshots[0]);
    let later =
        RecordedName { key: StringKey { kind: StringKind::Unknown(9), id: 1 }, ..named(0, "?") };
    put(&mut writer, &[named(start_ns, "make\0"), later], &snapshots[1]);
    // Another process of that pid, which no snapshot has.
    put(&mut writer, &[named(start_ns + 1, "other\0")], &snapshots[2]);
    let reader = reader(&bytes);
    let cmdline = |index| {
        let snapshot = reader.snapshot(index, &mut Cursor::default()).expect("whole");
        snapshot.recorded_cmdline(0).map(|text| String::from_utf8_lossy(text).into_owned())
    };
    assert_eq!(cmdline(0).as_deref(), Some("sh\0-c\0make\0"));
    assert_eq!(cmdline(1).as_deref(), Some("make\0"));
    assert_eq!(cmdline(2), None);
    assert_eq!(reader.names().last(&key), Some(&b"other\0"[..]));
}

/// A dump in which a process executes another program, and where its second frame of
/// strings stands; cut before the index.
fn renamed() -> (StringKey, Writer, Vec<u8>, usize) {
    let mut machine = Machine::new(32);
    (machine.tasks, machine.births) = (1, 0);
    let snapshots = machine.snapshots(3);
    let record = snapshots[0].get(0).expect("a task");
    let key = StringKey::of_cmdline(&record).expect("a pid");
    let start_ns = record.ac_start_ns().expect("a start");
    let named = |text: &str| RecordedName { key, start_ns, text: text.into() };
    let (mut writer, mut bytes) = Writer::new(Options { full_every: 1, level: None });
    let mut second = 0;
    for (text, snapshot) in ["before\0", "after\0", "last\0"].into_iter().zip(&snapshots) {
        if text == "after\0" {
            second = bytes.len();
        }
        bytes.extend(writer.strings(&[named(text)]).expect("short"));
        bytes.extend(writer.snapshot(snapshot).expect("whole"));
    }
    (key, writer, bytes, second)
}

#[test]
fn behind_damaged_names_no_older_one_stands() {
    let cmdlines = |reader: &Reader| -> Vec<Option<Vec<u8>>> {
        let read = |index| reader.snapshot(index, &mut Cursor::default()).expect("whole");
        (0..3).map(|index| read(index).recorded_cmdline(0).map(<[u8]>::to_vec)).collect()
    };
    let known = |text: &str| Some(text.as_bytes().to_vec());
    let expected = [known("before\0"), None, known("last\0")];
    let (key, mut writer, mut closed, second) = renamed();
    let open_end = closed.len();
    closed.extend(writer.finish().expect("an index"));
    // Header, payload; found by the index, and from header to header.
    for at in [second + 9, second + 40, second + 48] {
        for end in [open_end, closed.len()] {
            let mut bytes = closed[..end].to_vec();
            bytes[at] ^= 1;
            let reader = reader(&bytes);
            assert_eq!(cmdlines(&reader), expected, "byte {at} of {end}");
            assert_eq!(reader.names().last(&key), Some(&b"last\0"[..]));
            let lost: Vec<usize> = (0..3).map(|index| reader.lost_names(index).count()).collect();
            assert_eq!(lost, [0, 1, 1]);
            assert!(!reader.check().is_empty());
        }
    }
    // A recorder that goes on behind the damage and closes the dump.
    let mut bytes = closed[..open_end].to_vec();
    bytes[second + 9] ^= 1;
    let index = Index::of(&bytes, &[]).expect("a dump");
    bytes.extend(Writer::resume(Options::default(), &index).finish().expect("an index"));
    assert_eq!(cmdlines(&reader(&bytes)), expected);
    // What a recorder left unfinished at the end takes no name from the snapshots before.
    let torn = reader(&closed[..closed.len() - 9]);
    assert_eq!(cmdlines(&torn)[1], known("after\0"));
    assert_eq!(torn.names().last(&key), Some(&b"last\0"[..]));
}

/// A day at a snapshot a second: 1,000 tasks, 60 of which run once a second and 40 ten
/// times. Ten minutes are written, and stand for the day.
#[test]
fn a_day_of_a_thousand_tasks_fits_in_200_mb() {
    const SNAPSHOTS: usize = 600;
    let mut machine = Machine::like_a_server(1000, 60, 40);
    let (mut writer, bytes) = Writer::new(Options::default());
    let mut size = bytes.len();
    for _ in 0..SNAPSHOTS {
        size += writer.snapshot(&machine.step()).expect("whole").len();
    }
    let day = size * (86_400 / SNAPSHOTS);
    assert!(day < 200_000_000, "a day is {day} bytes");
}

#[test]
fn readings_of_cgroups_are_valid_until_the_next() {
    let snapshots = Machine::new(11).snapshots(4);
    let (mut writer, mut bytes) = Writer::new(UNCOMPRESSED);
    let readings = |time_ns, path: &[u8], memory| {
        let stats = CgroupStats { memory_current: Some(memory), ..CgroupStats::default() };
        CgroupReadings { time_ns, stats: [(path.to_vec(), stats)].into() }
    };
    let first = readings(1_000, b"/a.slice", 5);
    let second = readings(9_000, b"/a.slice", 6);
    let mut damaged = 0;
    for (index, snapshot) in snapshots.iter().enumerate() {
        // None before the first snapshot, and none of its own for the last.
        match index {
            1 => bytes.extend(writer.cgroups(&first).expect("readings")),
            2 => {
                damaged = bytes.len() + 48;
                bytes.extend(writer.cgroups(&second).expect("readings"));
            }
            _ => {}
        }
        bytes.extend(writer.snapshot(snapshot).expect("whole"));
    }
    bytes.extend(writer.finish().expect("an index"));
    let found = |reader: &Reader| {
        let mut cursor = Cursor::default();
        let mut at = |index| {
            let snapshot = reader.snapshot(index, &mut cursor).expect("whole");
            let found = snapshot.names().and_then(|names| names.cgroups());
            found.map(|found| (found.before.map(|before| before.time_ns), found.now.time_ns))
        };
        [at(0), at(1), at(2), at(3)]
    };
    let whole = reader(&bytes);
    assert_reads(&whole, &snapshots);
    assert_eq!(whole.check(), []);
    let last = Some((Some(1_000), 9_000));
    assert_eq!(found(&whole), [None, Some((None, 1_000)), last, last]);
    // Older values are not taken for those of a damaged frame.
    bytes[damaged] ^= 1;
    let broken = reader(&bytes);
    assert_reads(&broken, &snapshots);
    assert_eq!(broken.check().len(), 1);
    assert_eq!(found(&broken), [None, Some((None, 1_000)), None, None]);
}
