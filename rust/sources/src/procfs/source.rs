//! The procfs source: no privilege needed, CPU times to the nanosecond.
//!
//! Design decisions
//!
//! * A process's CPU time comes from its CPU clock, which anyone may read; a thread's comes
//!   from task/TID/schedstat. The ticks of stat only split it.
//! * A file is opened only where a wanted field needs it, below a kept descriptor of /proc.
//! * Of a process that did not run since the last walk only stat and the clock are read: the rest
//!   changes when it runs.
//! * A task that vanishes between the listing and the read is left out. A file that may not
//!   be read leaves its fields unfilled in that record.

use precise_top_core::{
    FieldGroup, FieldSet, FieldStatus, Flags, Header, Layout, RecordBuffer, RecordMut, SharedBytes,
    Snapshot, SourceKind,
};

use super::reader::{BLKIO, CAN, IO, Reader, VERSION};
use crate::errors::Error;
use crate::host::Host;
use crate::netlink::exit_rows::{ExitRows, open_if_possible};
use crate::privilege::{ReadingOthers, has_net_admin};
use crate::source::{Request, Source};

/// The source.
pub(crate) struct Procfs {
    host: Host,
    reader: Reader,
    layout: Layout,
    exits: Option<ExitRows>,
    /// Why there are none; empty if there are, or if this machine has none.
    no_exits: String,
}

impl Procfs {
    pub(crate) fn open() -> Result<Procfs, Error> {
        let host = Host::new();
        let reader = Reader::new(&host)?;
        reader.check_mounted()?;
        reader.pids()?;
        Ok(Procfs {
            host,
            reader,
            layout: Layout::of_version(VERSION)?,
            exits: None,
            no_exits: String::new(),
        })
    }

    /// The header of a snapshot that begins now.
    fn begin(&mut self, request: &Request) -> Header {
        let mut header = Header::new(SourceKind::Procfs, FieldSet::EMPTY);
        header.syscalls = self.host.begin(&mut header, request);
        header.flags = header.flags.with(Flags::THREADS, request.threads);
        self.reader.syscalls = 0;
        self.reader.denied = 0;
        self.reader.epoch_ns = header.begin.realtime_ns.saturating_sub(header.begin.boottime_ns);
        header
    }

    /// The snapshot of these records.
    fn end(
        &self,
        mut header: Header,
        records: RecordBuffer,
        request: &Request,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        header.syscalls += self.reader.syscalls;
        header.set_status(CAN, FieldStatus::NotRead);
        let all = records.filled();
        header.set_status(all, FieldStatus::Filled);
        header.set_status(off(&header), FieldStatus::Off);
        if request.fields.wants(FieldGroup::Io) {
            header.set_status(IO.difference(all), FieldStatus::Denied);
        }
        Host::end(&mut header);
        Ok(records.into_snapshot(header, self.layout.clone())?)
    }

    /// A snapshot of one process. NoSuchTask where it is gone, AccessDenied where /proc hides it.
    pub(crate) fn task(
        &mut self,
        pid: u32,
        fields: FieldSet,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        let (cpu_times, system) = (Some(false), Some(false));
        let request = Request { fields, cpu_times, system, ..Request::default() };
        let header = self.begin(&request);
        let _reading = ReadingOthers::begin();
        let size = self.layout.record_size();
        let mut record = vec![0; size];
        let mut view = RecordMut::new(&mut record, &self.layout)
            .expect("the memory is one record of the layout");
        let filled = self.reader.fill(&mut view, pid, None, fields);
        self.reader.check_failure()?;
        let Some(filled) = filled else {
            return Err(if self.reader.denied > 0 {
                Error::AccessDenied {
                    reason: format!("/proc hides process {pid}"),
                    hint: "run as root, or as the user that owns it".into(),
                }
            } else {
                Error::NoSuchTask(pid)
            });
        };
        let filled = filled.difference(off(&header));
        let mut records = RecordBuffer::from_bytes(record, size);
        records.mark(filled);
        self.end(header, records, &request)
    }
}

/// Fields that delay accounting would fill.
fn off(header: &Header) -> FieldSet {
    if header.flags.contains(Flags::DELAYACCT) { FieldSet::EMPTY } else { BLKIO }
}

impl Source for Procfs {
    fn kind(&self) -> SourceKind {
        SourceKind::Procfs
    }

    fn precision(&self) -> &'static str {
        self.kind().precision(false)
    }

    fn notice(&self) -> String {
        self.exits.as_ref().map_or_else(|| self.no_exits.clone(), ExitRows::notice)
    }

    fn prepare(&mut self, request: &Request) -> Result<(), Error> {
        if request.exact && self.exits.is_none() && has_net_admin() {
            open_if_possible(&mut self.exits, &mut self.no_exits);
        }
        Ok(())
    }

    fn snapshot(&mut self, request: &Request) -> Result<Snapshot<SharedBytes>, Error> {
        self.prepare(request)?;
        let mut header = self.begin(request);
        let off = off(&header);
        let size = self.layout.record_size();
        let _reading = ReadingOthers::begin();
        let pids = self.reader.pids()?;
        self.reader.begin_walk();
        let mut records = RecordBuffer::new(size, pids.len());
        let mut blank = vec![0; size];
        for &pid in &pids {
            let tids: Vec<Option<u32>> = if request.threads {
                self.reader.tids(pid).into_iter().map(Some).collect()
            } else {
                vec![None]
            };
            for tid in tids {
                blank.fill(0);
                let mut record = RecordMut::new(&mut blank, &self.layout)
                    .expect("the memory is one record of the layout");
                if let Some(filled) = self.reader.fill(&mut record, pid, tid, request.fields) {
                    records.push(&blank, filled.difference(off));
                }
            }
        }
        self.reader.check_failure()?;
        let dead = match &mut self.exits {
            Some(dead) if request.exact => {
                dead.collect(&mut header, records.bytes(), &self.layout, request.threads)?
            }
            _ => Vec::new(),
        };
        header.exited = dead.len() as u32;
        dead.iter().for_each(|row| records.push(&row.bytes, row.filled));
        header.missed = self.reader.denied;
        self.end(header, records, request)
    }
}
