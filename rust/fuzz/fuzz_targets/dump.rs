//! Any bytes as a dump: every snapshot that is given can be read and written, the same
//! way there and by a jump, and columns hold just those.

#![no_main]

use libfuzzer_sys::fuzz_target;
use taskstats_core::columns::ColumnKind;
use taskstats_core::dump::columns::{self, Part};
use taskstats_core::dump::{Copies, Cursor, Reader};
use taskstats_core::{Field, SharedBytes, codec};

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
    let copies: &(dyn Fn() -> Option<Copies> + Sync) = &|| {
        let all = bytes.to_vec();
        Some(Box::new(move |range: std::ops::Range<usize>| {
            all.get(range).map(|part| SharedBytes::new(part.to_vec()))
        }))
    };
    let read = |copies: &(dyn Fn() -> Option<Copies> + Sync)| {
        let indices = (0..reader.len().min(64)).collect();
        let part = Part { reader: &reader, path: "", indices, copies };
        let (read, lost) = columns::read(&[part], &kinds, 1, |words| (vec![0; words], 0));
        assert_eq!(read.batches.iter().map(|batch| batch.len).sum::<usize>(), rows);
        (read.batches.into_iter().map(|batch| batch.memory).collect::<Vec<_>>(), read.words, lost)
    };
    // In copies there is what there is in place.
    assert_eq!(read(&|| None), read(copies));
});
