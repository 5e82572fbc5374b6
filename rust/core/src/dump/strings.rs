//! The byte form of the names of a dump.

use super::Input;
use crate::names::{Named, StringKey, StringKind};

/// The byte form of a frame's strings.
pub(super) fn encode(strings: &[Named]) -> Vec<u8> {
    let mut out = Vec::new();
    for named in strings {
        super::put_varint(&mut out, named.key.kind.number());
        super::put_varint(&mut out, named.key.id);
        super::put_varint(&mut out, named.start_ns);
        super::put_varint(&mut out, named.text.len() as u64);
        out.extend_from_slice(&named.text);
    }
    out
}

/// The strings of a frame; None where the bytes are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Named>> {
    let mut input = Input::new(bytes);
    let mut strings = Vec::new();
    while !input.is_empty() {
        let kind = StringKind::from_number(input.varint()?);
        let key = StringKey { kind, id: input.varint()? };
        let start_ns = input.varint()?;
        let length = input.length()?;
        strings.push(Named { key, start_ns, text: input.take(length)?.to_vec() });
    }
    Some(strings)
}
