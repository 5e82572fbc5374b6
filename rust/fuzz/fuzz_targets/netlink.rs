//! Any datagram: walking it ends, stays inside it, and its records can be read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use precise_top_core::wire::{self, Payload};
use precise_top_core::{Field, FieldSet, Layout, Record};

fuzz_target!(|datagram: &[u8]| {
    let mut messages = 0;
    for message in wire::messages(datagram) {
        messages += 1;
        let Ok(message) = message else { break };
        let Payload::Generic { attributes, .. } = message.payload else { continue };
        for stats in wire::stats(attributes) {
            let Ok(stats) = stats else { break };
            // The offset names the same bytes, in the datagram itself.
            assert_eq!(&datagram[stats.offset..][..stats.bytes.len()], stats.bytes);
            let Some(&version) = stats.bytes.first_chunk::<2>() else { continue };
            let version = u16::from_ne_bytes(version);
            let Ok(layout) = Layout::new(version, stats.bytes.len(), false) else { continue };
            let Some(record) = Record::new(stats.bytes, &layout, layout.fields()) else { continue };
            for field in layout.fields().iter() {
                let _ = record.value(field);
            }
            let nothing = Record::new(stats.bytes, &layout, FieldSet::EMPTY);
            assert_eq!(nothing.and_then(|record| record.value(Field::ac_pid)), None);
        }
    }
    // Every message takes a header's bytes, or ends the walk.
    assert!(messages <= datagram.len() / 16 + 1);
});
