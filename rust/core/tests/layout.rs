//! The field table against the kernel's headers: sizes and offsets per version.

use std::num::NonZero;

use precise_top_core::layout::{EXTENSION_BIT, EXTENSION_SIZE, NEWEST_VERSION, is_exact};
use precise_top_core::{
    ErrorKind, Field, FieldSet, Kind, Layout, Record, RecordMut, Repr, Snapshot, Value,
};

fn offset(version: u16, field: Field) -> Option<usize> {
    Layout::of_version(version).expect("a known version").offset(field)
}

#[test]
fn sizes_are_those_of_the_headers() {
    let sizes =
        [72, 240, 264, 272, 288, 312, 328, 328, 344, 352, 368, 400, 416, 432, 560, 560, 688];
    for (version, size) in (1..=NEWEST_VERSION).zip(sizes) {
        assert_eq!(Layout::of_version(version).map(|l| l.record_size()), Ok(size), "v{version}");
        let extended = Layout::of_version(version | EXTENSION_BIT).expect("a known version");
        assert_eq!(extended.record_size(), size + EXTENSION_SIZE);
        assert_eq!(extended.offset(Field::task_id), Some(size + 128));
    }
}

#[test]
fn early_versions_have_their_own_alignment() {
    assert_eq!(offset(1, Field::cpu_count), Some(8));
    assert_eq!(offset(1, Field::cpu_run_virtual_total), Some(64));
    assert_eq!(offset(1, Field::ac_pid), None);
    for version in [2, 3] {
        assert_eq!(offset(version, Field::cpu_count), Some(16));
        assert_eq!(offset(version, Field::ac_uid), Some(116));
        assert_eq!(offset(version, Field::ac_btime), Some(132));
        assert_eq!(offset(version, Field::ac_etime), Some(136));
    }
    assert_eq!(offset(2, Field::read_bytes), None);
    assert_eq!(offset(3, Field::cancelled_write_bytes), Some(256));
    assert_eq!(offset(4, Field::ac_uid), Some(120));
}

#[test]
fn the_mark_of_a_program_is_in_padding() {
    let mark = NonZero::new(7_u32);
    for version in 1..=NEWEST_VERSION {
        let layout = Layout::of_version(version).expect("a known version");
        let mut bytes = vec![0; layout.record_size()];
        let mut record = RecordMut::new(&mut bytes, &layout).expect("a whole record");
        record.set_exec_mark(7);
        let record = record.as_record(FieldSet::ALL);
        assert_eq!(record.exec_mark(), mark.filter(|_| version > 3), "v{version}");
        for &field in Field::ALL {
            let is_zero =
                matches!(record.value(field), None | Some(Value::Int(0) | Value::Text(b"")));
            assert!(is_zero, "v{version} {}", field.name());
        }
    }
}

#[test]
fn version_15_inserts_the_extremes_after_each_total() {
    // Offsets of Linux 6.15.0's header.
    for (field, at) in [
        (Field::cpu_delay_max, 32),
        (Field::blkio_count, 48),
        (Field::cpu_run_virtual_total, 120),
        (Field::ac_comm, 128),
        (Field::ac_pid, 176),
        (Field::ac_utime, 200),
        (Field::freepages_count, 360),
        (Field::ac_btime64, 424),
        (Field::ac_tgid, 464),
        (Field::wpcopy_count, 496),
        (Field::irq_delay_min, 552),
    ] {
        assert_eq!(offset(15, field), Some(at), "{}", field.name());
    }
}

#[test]
fn no_two_fields_of_a_version_overlap() {
    for version in (1..=NEWEST_VERSION).flat_map(|v| [v, v | EXTENSION_BIT]) {
        let layout = Layout::of_version(version).expect("a known version");
        let mut spans: Vec<_> = layout
            .fields()
            .iter()
            .filter_map(|field| {
                let start = layout.offset(field)?;
                Some((start, start + field.info().repr.size(), field.name()))
            })
            .collect();
        spans.sort_unstable();
        for pair in spans.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "v{version}: {} meets {}", pair[0].2, pair[1].2);
        }
        assert!(spans.last().is_some_and(|span| span.1 <= layout.record_size()));
    }
}

#[test]
fn newer_versions_decode_as_the_known_prefix() {
    let layout = Layout::new(18, 800, false).expect("newer is allowed");
    assert_eq!(layout.offset(Field::irq_delay_max_ts), Some(672));
    let extended =
        Layout::new(18 | EXTENSION_BIT, 800 + EXTENSION_SIZE, false).expect("a known version");
    assert_eq!(extended.offset(Field::ac_time_ns), Some(800));
}

#[test]
fn versions_outside_the_range_are_refused() {
    for version in [0, 256, 0x7fff, EXTENSION_BIT] {
        let error = Layout::new(version, 568, false).expect_err("no such version");
        assert_eq!(error.kind, ErrorKind::BadVersion);
    }
    let error =
        Layout::new(18 | EXTENSION_BIT, 100, false).expect_err("shorter than the extension");
    assert_eq!(error.kind, ErrorKind::BadLength);
}

#[test]
fn a_length_that_cuts_a_field_off_makes_it_absent() {
    let layout = Layout::new(16, 432, false).expect("a short record");
    assert_eq!(layout.offset(Field::irq_delay_total), Some(424));
    assert_eq!(layout.offset(Field::cpu_delay_max), None);
}

#[test]
fn every_field_reads_back_what_was_written() {
    for version in [8, 14, 15, 16, 17].map(|v| v | EXTENSION_BIT) {
        let layout = Layout::of_version(version).expect("a known version");
        let mut bytes = vec![0; layout.record_size()];
        let mut record = RecordMut::new(&mut bytes, &layout).expect("the right size");
        for (number, field) in layout.fields().iter().enumerate() {
            record.set(field, number as u64 + 1);
        }
        record.set_text(Field::ac_comm, b"a name (x)");
        let record = Record::new(&bytes, &layout, FieldSet::ALL).expect("the right size");
        for (number, field) in layout.fields().iter().enumerate() {
            let expected = match field.info().repr {
                Repr::Comm => Value::Text(b"a name (x)"),
                _ => Value::Int(number as i128 + 1),
            };
            assert_eq!(record.value(field), Some(expected), "{}", field.name());
        }
    }
}

#[test]
fn an_instant_is_read_from_seconds_and_ns_in_either_byte_order() {
    let offset = 560;
    for swapped in [false, true] {
        let layout = Layout::new(17, 688, swapped).expect("a known version");
        let word = |number: i64| match swapped {
            true => number.swap_bytes().to_ne_bytes(),
            false => number.to_ne_bytes(),
        };
        let read = |seconds, ns| {
            let mut bytes = vec![0; 688];
            bytes[offset..offset + 8].copy_from_slice(&word(seconds));
            bytes[offset + 8..offset + 16].copy_from_slice(&word(ns));
            let record = Record::new(&bytes, &layout, FieldSet::ALL).expect("the right size");
            record.cpu_delay_max_ts()
        };
        assert_eq!(read(1_700_000_000, 123_456_789), Some(1_700_000_000_123_456_789));
        assert_eq!(read(0, 0), Some(0));
        assert_eq!(read(-5, 7), Some(7), "before 1970");
        assert_eq!(read(i64::MAX, 1), Some(u64::MAX));
    }
}

#[test]
fn what_is_not_filled_reads_none() {
    let layout = Layout::of_version(14).expect("a known version");
    let bytes = vec![1; layout.record_size()];
    let held = FieldSet::of(&[Field::ac_pid]);
    let record = Record::new(&bytes, &layout, held).expect("the right size");
    assert_eq!(record.ac_pid(), Some(0x0101_0101));
    assert_eq!(record.ac_uid(), None);
    assert_eq!(record.ac_comm(), None);
    assert_eq!(record.ac_nice(), None);
    // Not in this version, whatever the mask says.
    let record = Record::new(&bytes, &layout, FieldSet::ALL).expect("the right size");
    assert_eq!(record.cpu_delay_max(), None);
    assert_eq!(record.ac_sum_exec_ns(), None);
}

#[test]
fn nice_is_signed() {
    let layout = Layout::of_version(14).expect("a known version");
    let mut bytes = vec![0; layout.record_size()];
    bytes[9] = 0xec;
    let record = Record::new(&bytes, &layout, FieldSet::ALL).expect("the right size");
    assert_eq!(record.ac_nice(), Some(-20));
    assert_eq!(record.value(Field::ac_nice), Some(Value::Int(-20)));
}

#[test]
fn field_names_find_their_fields() {
    for &field in Field::ALL {
        assert_eq!(Field::from_name(field.name()), Some(field));
        assert!(!field.info().doc.is_empty());
    }
    assert_eq!(Field::from_name("ac_nothing"), None);
    assert_eq!(Field::ac_utime.info().kind, Kind::Counter);
}

#[test]
fn fields_keep_the_numbers_that_recordings_have() {
    let names: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
    assert_eq!(names.iter().position(|&name| name == "task_id"), Some(FIRST_FIELDS - 1));
    // A checksum of the first release's names in their order.
    assert_eq!(crc32c::crc32c(names[..FIRST_FIELDS].join(" ").as_bytes()), 1_955_483_690);
}

const FIRST_FIELDS: usize = 90;

/// A record with extension v2, of a kernel whose base has that version and size.
fn extended(version: u16, base: usize, extension: usize, swapped: bool) -> Vec<u8> {
    let order = |value: u16| if swapped { value.swap_bytes() } else { value }.to_ne_bytes();
    let mut record = vec![0; base + extension];
    record[..2].copy_from_slice(&order(version | EXTENSION_BIT));
    let task_id = 0x0123_4567_89ab_cdef_u64;
    let task_id = if swapped { task_id.swap_bytes() } else { task_id };
    record[base + 128..base + 136].copy_from_slice(&task_id.to_ne_bytes());
    let end = record.len();
    record[end - 4..end - 2].copy_from_slice(&order(base as u16));
    record[end - 2..].copy_from_slice(&order(extension as u16));
    record
}

#[test]
fn records_state_their_sizes_since_extension_v2() {
    // Known bases, and kernels to come with a longer base, a longer extension, or both; of
    // this machine's byte order and, as s390's, of the other one.
    for (version, base, extension) in
        [(14, 432, 144), (17, 688, 144), (17, 688, 160), (18, 704, 144), (19, 800, 200)]
    {
        for swapped in [false, true] {
            let array = extended(version, base, extension, swapped).repeat(3);
            let snapshot = Snapshot::from_bare_records(array, None).expect("records");
            assert_eq!(snapshot.len(), 3, "v{version}");
            assert_eq!(snapshot.layout().base_size(), base);
            assert_eq!(snapshot.layout().is_swapped(), swapped);
            for record in snapshot.iter() {
                assert_eq!(record.task_id(), Some(0x0123_4567_89ab_cdef));
                assert_eq!(record.version(), Some(version | EXTENSION_BIT));
            }
        }
    }
}

#[test]
fn extension_v1_stays_readable() {
    for (version, base) in [(14, 432), (16, 560), (17, 688)] {
        let mut record = extended(version, base, 144, false);
        record.truncate(base + EXTENSION_SIZE);
        // Whatever stands where later ones have the sizes.
        for high in [0, 0x0230_0090, u32::MAX] {
            record[base + 132..].copy_from_slice(&u32::to_ne_bytes(high));
            let snapshot = Snapshot::from_bare_records(record.repeat(5), None).expect("records");
            assert_eq!(snapshot.len(), 5);
            assert_eq!(snapshot.layout().offset(Field::task_id), Some(base + 128));
        }
    }
}

#[test]
fn only_exact_records_are_exact() {
    let mut record = extended(17, 688, 144, false);
    assert!(!is_exact(&record));
    record[688 + 136..][..4].copy_from_slice(&3_u32.to_ne_bytes());
    assert!(is_exact(&record));
    assert!(is_exact(&record[..688 + EXTENSION_SIZE]), "v1 always is");
    record[..2].copy_from_slice(&17_u16.to_ne_bytes());
    assert!(!is_exact(&record[..688]), "a stock kernel's");
    assert!(!is_exact(&[]));
}
