//! Generic netlink walking: real shapes, damaged ones, and every single byte changed.

use precise_top_core::wire::{self, Id, Payload, Stats};
use precise_top_core::{ErrorKind, ParseError};
use proptest::prelude::*;

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ((payload.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((body.len() + 16) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

fn generic(attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![wire::CMD_NEW, 1, 0, 0];
    attributes.iter().for_each(|attribute| body.extend(attribute));
    message(0x1c, 7, &body)
}

fn nest(kind: u16, id_kind: u16, id: u32, record: &[u8], padding: bool) -> Vec<u8> {
    let mut inner = attribute(id_kind, &id.to_ne_bytes());
    if padding {
        inner.extend(attribute(6, &[]));
    }
    inner.extend(attribute(wire::TYPE_STATS, record));
    attribute(kind, &inner)
}

fn records(datagram: &[u8]) -> Result<Vec<Stats<'_>>, ParseError> {
    let mut found = Vec::new();
    for message in wire::messages(datagram) {
        if let Payload::Generic { attributes, .. } = message?.payload {
            for stats in wire::stats(attributes) {
                found.push(stats?);
            }
        }
    }
    Ok(found)
}

fn exit_of_a_group() -> Vec<u8> {
    generic(&[
        nest(wire::TYPE_AGGR_PID, wire::TYPE_PID, 12, &[1; 560], false),
        nest(wire::TYPE_AGGR_TGID, wire::TYPE_TGID, 11, &[2; 560], false),
    ])
}

#[test]
fn a_reply_has_its_record_at_byte_36() {
    let reply = generic(&[nest(wire::TYPE_AGGR_PID, wire::TYPE_PID, 4711, &[9; 560], false)]);
    assert_eq!(reply.len(), 596);
    let found = records(&reply).expect("well formed");
    assert_eq!(found, [Stats { id: Id::Pid(4711), bytes: &[9; 560], extension: &[], offset: 36 }]);
}

#[test]
fn padding_may_stand_before_or_inside_the_nest() {
    let inside = generic(&[nest(wire::TYPE_AGGR_PID, wire::TYPE_PID, 1, &[9; 328], true)]);
    let found = records(&inside).expect("well formed");
    assert_eq!((found[0].bytes.len(), found[0].offset), (328, 40));
    let before = generic(&[
        attribute(6, &[]),
        nest(wire::TYPE_AGGR_TGID, wire::TYPE_TGID, 1, &[9; 328], false),
    ]);
    let found = records(&before).expect("well formed");
    assert_eq!((found[0].id, found[0].offset), (Id::Tgid(1), 40));
}

#[test]
fn the_last_thread_of_a_group_brings_two_records() {
    let bytes = exit_of_a_group();
    assert_eq!(bytes.len(), 1172);
    let ids: Vec<_> = records(&bytes).expect("well formed").iter().map(|s| s.id).collect();
    assert_eq!(ids, [Id::Pid(12), Id::Tgid(11)]);
}

#[test]
fn a_datagram_may_hold_many_messages() {
    let mut bytes = exit_of_a_group();
    bytes.extend(message(wire::NLMSG_ERROR, 8, &(-3i32).to_ne_bytes()));
    bytes.extend(message(wire::NLMSG_DONE, 9, &[]));
    let payloads: Vec<_> = wire::messages(&bytes).map(|m| m.expect("well formed")).collect();
    assert_eq!(payloads.len(), 3);
    assert_eq!(payloads[1].payload, Payload::Error { code: -3 });
    assert_eq!(payloads[1].sequence, 8);
    assert_eq!(payloads[2].payload, Payload::Done);
}

#[test]
fn damage_is_named_with_its_place() {
    let reply = generic(&[nest(wire::TYPE_AGGR_PID, wire::TYPE_PID, 1, &[9; 16], false)]);
    let damaged = |at: usize, bytes: &[u8]| {
        let mut copy = reply.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        copy
    };
    let length = (reply.len() as u32).swap_bytes();
    let cases: [(&str, Vec<u8>, ErrorKind, usize); 9] = [
        ("three bytes", reply[..3].to_vec(), ErrorKind::Truncated, 0),
        ("cut header", reply[..12].to_vec(), ErrorKind::Truncated, 0),
        ("cut body", reply[..reply.len() - 1].to_vec(), ErrorKind::Truncated, 0),
        ("zero length", damaged(0, &0u32.to_ne_bytes()), ErrorKind::BadLength, 0),
        ("foreign order", damaged(0, &length.to_ne_bytes()), ErrorKind::ForeignByteOrder, 0),
        ("zero attribute", damaged(20, &0u16.to_ne_bytes()), ErrorKind::BadLength, 20),
        ("long attribute", damaged(20, &999u16.to_ne_bytes()), ErrorKind::Truncated, 20),
        ("zero inner attribute", damaged(24, &0u16.to_ne_bytes()), ErrorKind::BadLength, 24),
        ("no record", damaged(34, &9u16.to_ne_bytes()), ErrorKind::MissingAttribute, 24),
    ];
    for (name, bytes, kind, offset) in cases {
        assert_eq!(records(&bytes), Err(ParseError::new(kind, offset)), "{name}");
    }
}

#[test]
fn an_error_without_a_code_is_truncated() {
    let bytes = message(wire::NLMSG_ERROR, 1, &[0; 2]);
    assert_eq!(records(&bytes), Err(ParseError::new(ErrorKind::Truncated, 16)));
}

#[test]
fn any_cut_ends_in_an_error_or_fewer_records() {
    let whole = exit_of_a_group();
    for cut in 0..whole.len() {
        let found = records(&whole[..cut]);
        assert!(found.is_err() || cut == 0, "cut at {cut} gave {found:?}");
    }
}

proptest! {
    #[test]
    fn any_changed_byte_is_survived(at in 0usize..1172, value: u8) {
        let mut bytes = exit_of_a_group();
        bytes[at] = value;
        for stats in records(&bytes).into_iter().flatten() {
            prop_assert!(stats.offset + stats.bytes.len() <= bytes.len());
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let walked = wire::messages(&bytes).count();
        prop_assert!(walked <= bytes.len());
        let _ = records(&bytes);
    }
}
