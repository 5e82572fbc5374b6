//! Records of both byte orders, on machines of either: `make test-s390x` runs this on a big-endian
//! one. Saved records are read in any order. Netlink messages are never saved by the kernel, so
//! those of the other order are an error.

use precise_top_core::layout::EXTENSION_BIT;
use precise_top_core::wire::{self, Id, Payload};
use precise_top_core::{ErrorKind, Field, Layout, Repr, Snapshot, Value, codec};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Big,
    Little,
}

const NATIVE: Order = if cfg!(target_endian = "big") { Order::Big } else { Order::Little };
const NAME: &[u8] = b"na\xffme";

impl Order {
    /// The last `width` bytes of a number.
    fn bytes(self, number: u64, width: usize) -> Vec<u8> {
        match self {
            Order::Big => number.to_be_bytes()[8 - width..].to_vec(),
            Order::Little => number.to_le_bytes()[..width].to_vec(),
        }
    }
}

fn versions() -> impl Iterator<Item = u16> {
    (1..=17).flat_map(|version| [version, version | EXTENSION_BIT])
}

/// A number that differs in each byte and between fields.
fn number(field: Field) -> u64 {
    0x8182_8384_8586_8700 + u64::from(field as u8)
}

/// A record with a value in each field.
fn record(version: u16, order: Order) -> Vec<u8> {
    let layout = Layout::of_version(version).expect("a known version");
    let mut bytes = vec![0; layout.record_size()];
    for field in layout.fields().iter() {
        let offset = layout.offset(field).expect("it holds the field");
        let value = match (field, field.info().repr) {
            (Field::version, _) => order.bytes(version.into(), 2),
            (_, Repr::Comm) => NAME.to_vec(),
            (_, Repr::Timespec) => {
                [order.bytes(7, 8), order.bytes(number(field) >> 40, 8)].concat()
            }
            (_, repr) => order.bytes(number(field), repr.size()),
        };
        bytes[offset..offset + value.len()].copy_from_slice(&value);
    }
    bytes
}

/// The value that [`record`] has in a field.
fn expected(field: Field, version: u16) -> Value<'static> {
    let number = number(field);
    match (field, field.info().repr) {
        (Field::version, _) => Value::Int(version.into()),
        (_, Repr::Comm) => Value::Text(NAME),
        (_, Repr::Timespec) => Value::Int(7_000_000_000 + i128::from(number >> 40)),
        (_, Repr::I8) => Value::Int((number as u8).cast_signed().into()),
        (_, Repr::U8) => Value::Int((number as u8).into()),
        (_, Repr::U16) => Value::Int((number as u16).into()),
        (_, Repr::U32) => Value::Int((number as u32).into()),
        (_, Repr::U64) => Value::Int(number.into()),
    }
}

fn check<B: AsRef<[u8]>>(snapshot: &Snapshot<B>, version: u16, order: Order) {
    assert_eq!(snapshot.layout().is_swapped(), order != NATIVE);
    assert_eq!((snapshot.len(), snapshot.layout().version()), (3, version));
    for record in snapshot.iter() {
        for field in snapshot.layout().fields().iter() {
            let found = record.value(field);
            assert_eq!(found, Some(expected(field, version)), "{field:?} of {version:#x}");
        }
    }
}

#[test]
fn saved_records_have_the_same_values_in_both_orders() {
    for version in versions() {
        for order in [Order::Big, Order::Little] {
            let bytes = record(version, order).repeat(3);
            let parsed = Snapshot::from_bare_records(bytes, None).expect("well formed");
            check(&parsed, version, order);
            // They keep their order in a snapshot that is saved.
            let saved = codec::encode(&parsed);
            check(&codec::decode(saved).expect("just encoded"), version, order);
        }
    }
}

/// An answer to TASKSTATS_CMD_GET, as the kernel of a machine of that order sends it.
fn datagram(record: &[u8], order: Order) -> Vec<u8> {
    let attribute = |kind: u16, payload: &[u8]| {
        let length = order.bytes(4 + payload.len() as u64, 2);
        [&length[..], &order.bytes(kind.into(), 2), payload].concat()
    };
    let pid = attribute(wire::TYPE_PID, &order.bytes(7, 4));
    let nest = [pid, attribute(wire::TYPE_STATS, record)].concat();
    let body = [&[wire::CMD_NEW, 1, 0, 0][..], &attribute(wire::TYPE_AGGR_PID, &nest)].concat();
    let length = order.bytes(16 + body.len() as u64, 4);
    let kind_and_flags = [order.bytes(30, 2), order.bytes(0, 2)].concat();
    [&length[..], &kind_and_flags, &[0; 8], &body].concat()
}

#[test]
fn netlink_messages_are_of_this_machine_s_order() {
    for order in [Order::Big, Order::Little] {
        let record = record(16, order);
        let bytes = datagram(&record, order);
        let message = wire::messages(&bytes).next().expect("a message");
        if order != NATIVE {
            let error = message.expect_err("the other order");
            assert_eq!((error.kind, error.offset), (ErrorKind::ForeignByteOrder, 0));
            assert!(error.to_string().contains("another byte order"), "{error}");
            continue;
        }
        let Payload::Generic { attributes, .. } = message.expect("well formed").payload else {
            panic!("not a message of the family");
        };
        let stats: Vec<_> = wire::stats(attributes).map(|stats| stats.expect("whole")).collect();
        assert_eq!(stats.len(), 1);
        assert_eq!((stats[0].id, stats[0].bytes), (Id::Pid(7), &record[..]));
    }
}
