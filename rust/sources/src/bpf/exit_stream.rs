//! Exit records without snapshots, from the slots alone.

use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd};

use precise_top_core::{FieldSet, Flags, Header, RecordBuffer, SharedBytes, Snapshot, SourceKind};

use super::exits::GONE;
use super::fields::bits;
use super::{Bpf, locked};
use crate::errors::Error;
use crate::host;
use crate::source::ExitFeed;
use crate::sys::shared::Control;

/// Records of exits have all fields.
const FLAGS: u32 =
    bits::THREADS | bits::EXACT | bits::MEMORY | bits::IO | bits::DELAY | bits::EXE | bits::CGROUP;

impl Bpf {
    /// Opens the source for exits only.
    pub(crate) fn open_for_exits() -> Result<Bpf, Error> {
        let mut source = Bpf::open()?;
        if source.watchers.is_none() {
            return Err(Error::Unsupported {
                reason: "the kernel refuses the programs at exits".into(),
                hint: "use netlink".into(),
            });
        }
        source.watch(true, true)?;
        source.control.write(offset_of!(Control, flags), FLAGS);
        locked(&source.exits).deaths().tell(true);
        Ok(source)
    }
}

impl ExitFeed for Bpf {
    fn readable(&self) -> BorrowedFd<'_> {
        self.deaths.as_fd()
    }

    fn lost(&mut self) -> u64 {
        locked(&self.exits).lost().0
    }

    /// The values are final: up to the last switch.
    fn take(&mut self) -> Result<Option<Snapshot<SharedBytes>>, Error> {
        let (dead, (lost, lost_ns)) = {
            let mut exits = locked(&self.exits);
            (exits.take(), exits.lost())
        };
        if dead.is_empty() {
            return Ok(None);
        }
        let mut header = Header::new(SourceKind::Bpf, FieldSet::EMPTY);
        self.host.identify(&mut header);
        header.begin = host::now();
        header.end = header.begin;
        let real_offset = header.begin.realtime_ns.saturating_sub(header.begin.monotonic_ns);
        self.control.write(offset_of!(Control, real_offset_ns), real_offset);
        header.flags = Flags::default()
            .with(Flags::THREADS, true)
            .with(Flags::EXITS, true)
            .with(Flags::DELAYACCT, self.delayacct);
        header.exited = dead.len() as u32;
        (header.exits_lost, header.overflow_ns) = (lost, lost_ns);
        let filled = self.say_fields(&mut header, FLAGS).difference(GONE);
        let mut records = RecordBuffer::new(self.layout.record_size(), dead.len());
        dead.iter().for_each(|record| records.push(record, filled));
        Ok(Some(records.into_snapshot(header, self.layout.clone())?))
    }
}
