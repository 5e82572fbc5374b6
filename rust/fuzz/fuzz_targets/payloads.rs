//! The payloads of a dump's frames, as they are once unpacked: a few bytes that repeat millions of
//! times, and large counts. Memory stays bounded (tools/fuzz.sh sets the limit), and what is read
//! is the same in order and by a jump.

#![no_main]

use libfuzzer_sys::fuzz_target;
use precise_top_core::dump::{Cursor, Frame, FrameKind, Frames, PREAMBLE, Reader};
use precise_top_core::{SharedBytes, codec};

/// Strings, a table and a full frame, which the frames of the input follow.
const BASE: &[u8] = include_bytes!("../seeds/dump/plain.tsd");
/// Bytes of a frame's description in the input, before its piece of payload.
const DESCRIPTION: usize = 10;
/// The largest payload, which bounds the time of a run.
const LARGEST: usize = 48 << 20;
/// The largest payload that is stored as it is: the file of four such frames stays well below the
/// limit of an allocation, which is the reader's.
const LARGEST_PLAIN: usize = 12 << 20;

fn base(kind: FrameKind) -> Frame {
    let mut frames = Frames::new(BASE, PREAMBLE).flatten();
    frames.find(|frame| frame.kind == kind).expect("the seed has frames of all kinds")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("four bytes"))
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The header of the base's snapshot, for `rows` records.
fn full_header(rows: u32) -> Vec<u8> {
    let snapshot = base(FrameKind::Full).payload(BASE).expect("whole");
    let records = codec::header_length(&snapshot).expect("a header");
    let size = u32_at(&snapshot, 12) as usize;
    let mut header = snapshot[..records].to_vec();
    header[16..24].copy_from_slice(&u64::from(rows).to_ne_bytes());
    let total = (records + (size + 1) * rows as usize) as u64;
    header[40..48].copy_from_slice(&total.to_ne_bytes());
    header
}

/// The begin of a delta up to its column sets: a header for `rows` records.
fn delta_header(rows: u32) -> Vec<u8> {
    let header = full_header(rows);
    let mut out = Vec::new();
    for number in [0, header.len() as u64] {
        put_varint(&mut out, number);
    }
    [out, header].concat()
}

/// One frame as the input describes it: kind, flags, rows, how often its piece repeats, the
/// piece's length, and the piece.
fn frame(description: &[u8], piece: &[u8], checksum: u32, after: u32) -> Vec<u8> {
    let kind = FrameKind::from_number(u16::from(description[0] % 8));
    let [compressed, lies, headed] = [1, 2, 4].map(|bit| description[1] & bit != 0);
    let rows = u32_at(description, 2);
    let repeats = usize::from(u16::from_le_bytes([description[6], description[7]])) << 6 | 1;
    let mut payload = match kind {
        FrameKind::Full if headed => full_header(rows),
        FrameKind::Delta if headed => delta_header(rows),
        _ => Vec::new(),
    };
    let largest = if compressed { LARGEST } else { LARGEST_PLAIN };
    payload.extend(piece.repeat(repeats.min(largest / piece.len().max(1))));
    let stored = if compressed { zstd::bulk::compress(&payload, 1).expect("short") } else { payload.clone() };
    let unpacked = if lies { rows } else { payload.len() as u32 };
    let mut out = Vec::from(*b"TSFR");
    out.extend(kind.number().to_le_bytes());
    out.extend([u8::from(compressed), 5]);
    for number in [stored.len() as u32, rows, 0, 0, unpacked, checksum, after, 0] {
        out.extend(number.to_le_bytes());
    }
    out.extend(stored);
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

fuzz_target!(|input: &[u8]| {
    let (table, full) = (base(FrameKind::Table), base(FrameKind::Full));
    let mut bytes = BASE[..full.end()].to_vec();
    let mut last = u32_at(BASE, full.offset + 28);
    let mut rest = input;
    for number in 1..=4 {
        let Some((description, after)) = rest.split_at_checked(DESCRIPTION) else { break };
        let length = usize::from(u16::from_le_bytes([description[8], description[9]]));
        let (piece, after) = after.split_at(length.min(after.len()));
        rest = after;
        let is_full = description[0] % 8 == FrameKind::Full.number() as u8;
        let builds_on = if is_full { u32_at(BASE, table.offset + 28) } else { last };
        bytes.extend(frame(description, piece, number, builds_on));
        if is_full || description[0] % 8 == FrameKind::Delta.number() as u8 {
            last = number;
        }
    }
    let reader = Reader::new(SharedBytes::new(bytes), None).expect("the preamble is whole");
    let damage = reader.check();
    let mut cursor = Cursor::default();
    for index in 0..reader.len() {
        let there = reader.snapshot(index, &mut cursor);
        let jump = reader.snapshot(index, &mut Cursor::default());
        assert_eq!(there.is_ok(), jump.is_ok());
        let (Ok(there), Ok(jump)) = (there, jump) else {
            assert!(!damage.is_empty(), "lost without a word");
            continue;
        };
        assert_eq!(there.record_bytes(), jump.record_bytes());
        for row in (0..there.len()).take(100) {
            let _ = there.recorded_cmdline(row);
        }
    }
});
