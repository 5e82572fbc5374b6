//! Any bytes as a dump: every snapshot that is given can be read and written, the same
//! way there and by a jump, and columns hold just those.

#![no_main]

use libfuzzer_sys::fuzz_target;
use precise_top_core::columns::{ColumnBuilder, ColumnKind, Dictionary, SnapshotRows};
use precise_top_core::dump::{Copies, Cursor, Reader};
use precise_top_core::{Field, SharedBytes, codec};

fuzz_target!(|bytes: &[u8]| {
    let Ok(reader) = Reader::new(SharedBytes::new(bytes.to_vec()), None) else { return };
    let damage = reader.check();
    let mut cursor = Cursor::default();
    let mut rows = 0;
    for index in 0..reader.len().min(64) {
        let there = reader.snapshot(index, &mut cursor);
        let jump = reader.snapshot(index, &mut Cursor::default());
        assert_eq!(there.is_ok(), jump.is_ok());
        let (Ok(there), Ok(jump)) = (there, jump) else {
            assert!(!damage.is_empty(), "lost without a word");
            continue;
        };
        assert_eq!(codec::encode(&there), codec::encode(&jump));
        rows += there.len();
        for row in 0..there.len() {
            let _ = there.recorded_cmdline(row);
        }
    }
    let kinds =
        [ColumnKind::Field(Field::ac_pid), ColumnKind::Field(Field::ac_comm), ColumnKind::Cmdline];
    let read = |copies: Option<Copies>| {
        let mut builder = ColumnBuilder::new(&kinds, |words| Some((vec![0; words], 0)));
        let (mut cursor, mut lost) = (Cursor::copying(copies), Vec::new());
        for index in 0..reader.len().min(64) {
            match reader.snapshot(index, &mut cursor) {
                Ok(snapshot) => {
                    builder.add(&SnapshotRows { snapshot: &snapshot, interval: None, path: "", metadata: &[] }).expect("little memory");
                }
                Err(error) => lost.push((index, error)),
            }
        }
        builder.trim();
        let (batch, dictionaries) = builder.finish();
        assert_eq!(batch.len, rows);
        let texts: Vec<_> = dictionaries.into_iter().map(Dictionary::into_strings).collect();
        (batch.memory, texts, lost)
    };
    let all = bytes.to_vec();
    let copies: Copies = Box::new(move |range| {
        all.get(range).map(|part| SharedBytes::new(part.to_vec()))
    });
    // Copies hold the same as the mapped bytes.
    assert_eq!(read(None), read(Some(copies)));
});
