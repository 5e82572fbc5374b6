//! The byte form of what a recorder says of itself.

use super::{Input, put_varint};

/// Names and values, such as the version and the labels.
pub type Metadata = Vec<(String, String)>;

/// The byte form of a frame of metadata.
pub(super) fn encode(metadata: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for text in metadata.iter().flat_map(|(name, value)| [name, value]) {
        put_varint(&mut out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
    out
}

/// The metadata of a frame; None if the bytes are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Metadata> {
    let mut input = Input::new(bytes);
    let text = |input: &mut Input<'_>| {
        let length = input.length()?;
        Some(String::from_utf8_lossy(input.take(length)?).into_owned())
    };
    let mut found = Vec::new();
    while !input.is_empty() {
        found.push((text(&mut input)?, text(&mut input)?));
    }
    Some(found)
}
