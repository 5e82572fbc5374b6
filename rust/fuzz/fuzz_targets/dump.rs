//! Any bytes as a dump: every snapshot that is given can be read and written, the same
//! way there and by a jump, and columns hold just those.

#![no_main]

use libfuzzer_sys::fuzz_target;
use taskstats_core::columns::ColumnKind;
use taskstats_core::dump::columns::{self, Part};
use taskstats_core::dump::{Cursor, Reader};
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
    let indices = (0..reader.len().min(64)).collect();
    let (read, _) = columns::read(&[Part { reader: &reader, path: "", indices }], &kinds, 1, |_| {});
    assert_eq!(read.batches.iter().map(|batch| batch.len).sum::<usize>(), rows);
});
