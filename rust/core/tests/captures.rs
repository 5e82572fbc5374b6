//! What a real kernel sent (tests/data): read as it is, cut anywhere, and with every
//! byte changed.

use std::fs;
use std::path::{Path, PathBuf};

use precise_top_core::wire::{self, Id, Payload};
use precise_top_core::{Field, Layout, ParseError, Record, Snapshot, codec};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data")
}

fn capture(name: &str) -> Vec<u8> {
    fs::read(data().join(name)).expect("a capture of this name")
}

/// Every capture with its name.
fn captures() -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(data()).expect("the captures' directory");
    let mut found: Vec<_> = files
        .map(|file| file.expect("a readable directory").file_name().into_string().expect("ASCII"))
        .filter(|name| name.starts_with("netlink-") && name.ends_with(".bin"))
        .map(|name| (name.clone(), capture(&name)))
        .collect();
    found.sort();
    assert!(found.len() >= 5, "too few captures: {found:?}");
    found
}

/// Reads all there is in a datagram: its records, as (id, record), and each field of
/// those whose layout is known.
fn read(datagram: &[u8]) -> Result<Vec<(Id, &[u8])>, ParseError> {
    let mut found = Vec::new();
    for message in wire::messages(datagram) {
        let Payload::Generic { attributes, .. } = message?.payload else { continue };
        for stats in wire::stats(attributes) {
            let stats = stats?;
            assert_eq!(&datagram[stats.offset..stats.offset + stats.bytes.len()], stats.bytes);
            found.push((stats.id, stats.bytes));
            let Some(layout) = layout_of(stats.bytes) else { continue };
            let record = Record::new(stats.bytes, &layout, layout.fields());
            let record = record.expect("the layout is bounded by the length");
            for field in layout.fields().iter() {
                let _ = record.value(field);
            }
        }
    }
    Ok(found)
}

fn layout_of(record: &[u8]) -> Option<Layout> {
    let version = u16::from_ne_bytes(*record.first_chunk()?);
    Layout::new(version, record.len(), false).ok()
}

/// Every copy of `bytes` with one byte changed: each bit flipped, none and all set, one
/// more and one less.
fn each_change(bytes: &[u8], mut check: impl FnMut(&[u8])) {
    let mut copy = bytes.to_vec();
    for at in 0..copy.len() {
        let byte = bytes[at];
        let flipped = (0..8).map(|bit| byte ^ (1 << bit));
        for value in flipped.chain([0, 0xff, byte.wrapping_add(1), byte.wrapping_sub(1)]) {
            copy[at] = value;
            check(&copy);
        }
        copy[at] = byte;
    }
}

#[test]
fn a_thread_that_is_not_the_last_leaves_one_record() {
    let datagram = capture("netlink-exit-v16.bin");
    let found = read(&datagram).expect("well formed");
    assert!(matches!(found[..], [(Id::Pid(_), _)]), "{found:?}");
}

#[test]
fn the_last_thread_leaves_its_own_record_and_the_groups() {
    let datagram = capture("netlink-exit-last-v16.bin");
    let found = read(&datagram).expect("well formed");
    let [(Id::Pid(pid), thread), (Id::Tgid(tgid), group)] = found[..] else {
        panic!("not a pid record and a tgid record: {found:?}");
    };
    let layout = layout_of(thread).expect("version 16");
    let thread = Record::new(thread, &layout, layout.fields()).expect("a whole record");
    assert_eq!(thread.unsigned(Field::ac_pid), Some(pid.into()));
    assert_eq!(thread.unsigned(Field::ac_tgid), Some(tgid.into()));
    let group = Record::new(group, &layout, layout.fields()).expect("a whole record");
    // The group's record has no identity of its own, and at least the thread's time.
    assert_eq!(group.unsigned(Field::ac_pid), Some(0));
    assert!(group.cpu_ns() >= thread.cpu_ns());
    assert!(thread.cpu_ns() > Some(0));
}

#[test]
fn a_cut_capture_is_an_error() {
    for (name, datagram) in captures() {
        assert!(read(&datagram).is_ok(), "{name}");
        for length in 1..datagram.len() {
            let found = read(&datagram[..length]);
            assert!(found.is_err(), "{name} cut to {length} gave {found:?}");
            let offset = found.map_err(|error| error.offset).unwrap_err();
            assert!(offset <= length, "{name} cut to {length}: error at {offset}");
        }
    }
}

#[test]
fn a_changed_capture_is_survived() {
    for (_, datagram) in captures() {
        each_change(&datagram, |changed| {
            let records = read(changed).map_or(0, |found| found.len());
            assert!(records <= 2);
        });
    }
}

/// The records of all captures that have the size of the first.
fn bare() -> Vec<u8> {
    let captures = captures();
    let records = captures.iter().flat_map(|(_, datagram)| read(datagram).expect("well formed"));
    records
        .map(|(_, record)| record)
        .filter(|record| record.len() == 560)
        .flatten()
        .copied()
        .collect()
}

/// Takes a snapshot apart; gives its number of records.
fn take_apart(found: Result<Snapshot<&[u8]>, ParseError>) -> usize {
    found.map_or(0, |snapshot| {
        for record in snapshot.iter() {
            let _ = (record.identity(), record.cpu_ns(), record.unsigned(Field::ac_pid));
        }
        snapshot.len()
    })
}

#[test]
fn real_records_cut_or_changed_are_survived_as_snapshots() {
    let bare = bare();
    let whole = Snapshot::from_bare_records(&bare[..], None).expect("real records");
    assert_eq!(whole.len(), bare.len() / 560);
    let encoded = codec::encode(&whole);
    for length in 0..bare.len() {
        let records = take_apart(Snapshot::from_bare_records(&bare[..length], None));
        assert!(records == 0 || records * 560 == length, "cut to {length} gave {records}");
    }
    for length in 0..encoded.len() {
        assert_eq!(take_apart(codec::decode(&encoded[..length])), 0, "cut to {length}");
    }
    each_change(&bare[..560], |changed| {
        take_apart(Snapshot::from_bare_records(changed, None));
    });
    each_change(&encoded, |changed| {
        take_apart(codec::decode(changed));
    });
}
