//! The interval of all tasks, from that of the tasks that ran.

use std::sync::Arc;

use super::delta::Interval;
use super::last_values::Unchanged;
use crate::error::ParseError;
use crate::fields::Field;
use crate::header::{Flags, Header};
use crate::record::{Record, RecordMut};
use crate::record_buffer::RecordBuffer;
use crate::snapshot::{SharedBytes, Snapshot};

impl Unchanged {
    /// The interval `ran`, with the unchanged tasks as rows: they used nothing. `ran` is the
    /// interval that ends with the last snapshot.
    pub fn completed(&self, ran: &Interval) -> Result<Interval, ParseError> {
        let before = self.joined(ran.prev(), |_, _| ())?;
        let after = self.completed_snapshot(ran.cur())?;
        Ok(ran.with_unchanged(Arc::new(before), Arc::new(after)))
    }

    /// The later snapshot of that interval: `ran` is the last snapshot.
    pub fn completed_snapshot(
        &self,
        ran: &Snapshot<SharedBytes>,
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        self.joined(ran, |record, bytes| self.age(record, bytes))
    }

    /// A snapshot with the unchanged tasks after its living ones. `change` changes copies of their
    /// records.
    fn joined(
        &self,
        snapshot: &Snapshot<SharedBytes>,
        change: impl Fn(&Record<'_>, &mut [u8]),
    ) -> Result<Snapshot<SharedBytes>, ParseError> {
        let unchanged = (0..self.places()).filter_map(|place| self.record(place));
        let all = snapshot.len() + self.task_count();
        let mut joined = RecordBuffer::new(snapshot.layout().record_size(), all);
        let (living, exited) = (0..snapshot.living(), snapshot.living()..snapshot.len());
        for record in living.filter_map(|row| snapshot.get(row)) {
            joined.push(record.bytes(), record.filled());
        }
        for record in unchanged {
            joined.push(record.bytes(), record.filled());
            change(&record, joined.last_mut());
        }
        for record in exited.filter_map(|row| snapshot.get(row)) {
            joined.push(record.bytes(), record.filled());
        }
        let header = snapshot.header().clone();
        let flags = header.flags.with(Flags::WITHOUT_UNCHANGED, false);
        joined.into_snapshot(Header { flags, unchanged: 0, ..header }, snapshot.layout().clone())
    }

    /// Sets the ages of a record at the last snapshot: they grow although the task does not run.
    fn age(&self, record: &Record<'_>, bytes: &mut [u8]) {
        if let Some(mut aged) = RecordMut::new(bytes, record.layout()) {
            for field in [Field::ac_etime, Field::ac_tgetime] {
                if let Some(age_us) = self.age_us(record, field) {
                    aged.set(field, age_us);
                }
            }
        }
    }
}
