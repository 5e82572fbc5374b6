//! The byte form of the names of a dump.

use std::collections::HashSet;

use super::Input;
use crate::names::{RecordedName, StringKey, StringKind};

/// The byte form of a frame's strings.
pub(super) fn encode(strings: &[RecordedName]) -> Vec<u8> {
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

/// The strings of a frame; None if the bytes are none. A frame has one string of a key at most.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<RecordedName>> {
    let mut input = Input::new(bytes);
    let (mut strings, mut keys) = (Vec::new(), HashSet::new());
    while !input.is_empty() {
        let kind = StringKind::from_number(input.varint()?);
        let key = StringKey { kind, id: input.varint()? };
        if !keys.insert(key) {
            return None;
        }
        let start_ns = input.varint()?;
        let length = input.length()?;
        strings.push(RecordedName { key, start_ns, text: input.take(length)?.to_vec() });
    }
    Some(strings)
}
