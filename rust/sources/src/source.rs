//! What a source of snapshots and of exits is.

use std::os::fd::BorrowedFd;

use precise_top_core::interval::Unchanged;
use precise_top_core::{FieldSet, SharedBytes, Snapshot, SourceKind};

use crate::errors::Error;
use crate::sys::thread::ForkGuard;

/// What a snapshot is to hold.
#[derive(Clone, Debug)]
pub struct Request {
    /// Threads rather than processes.
    pub threads: bool,
    /// Fields that are wanted; a source reads what they need, and gives what else
    /// costs nothing.
    pub fields: FieldSet,
    /// Every value at one instant, whatever is switched while it is taken, and the
    /// CPUs' idle time to the ns. With proc that is always so. The bpf source watches the
    /// scheduler's switches from the first such snapshot to the first one without; others
    /// cannot, and collect the exits that taskstats tells of, where they may.
    pub exact: bool,
    /// Only tasks that ran since the source's previous snapshot, with their values
    /// before ([`Snapshot::base`]); the first snapshot has all. Sources that cannot
    /// tell give all each time.
    pub changed: bool,
    /// The CPUs' times of /proc/stat. None: where the source has no clocks of the
    /// CPUs of its own.
    pub cpu_times: Option<bool>,
    /// Load and memory. None: where that costs little beside the rest.
    pub system: Option<bool>,
}

impl Default for Request {
    /// Processes, with every field that can be had.
    fn default() -> Request {
        Request {
            threads: false,
            fields: FieldSet::ALL,
            exact: false,
            changed: false,
            cpu_times: None,
            system: None,
        }
    }
}

/// Something that takes snapshots.
pub trait Source: Send {
    /// Which source it is.
    fn kind(&self) -> SourceKind;
    /// How exact its CPU times are.
    fn precision(&self) -> &'static str;
    /// Gets ready for such snapshots, with privileges that may be given up afterwards.
    fn prepare(&mut self, _request: &Request) -> Result<(), Error> {
        Ok(())
    }
    /// After a snapshot of only what ran since: the tasks that did not. None before, and
    /// from sources that cannot tell.
    fn unchanged(&self) -> Option<Unchanged<'_>> {
        None
    }
    /// Takes a snapshot of the whole machine. Its last [`Header::exited`] records are of tasks
    /// that died since the previous snapshot, where the source knows them.
    ///
    /// [`Header::exited`]: precise_top_core::Header::exited
    fn snapshot(&mut self, request: &Request) -> Result<Snapshot<SharedBytes>, Error>;
}

/// An open source that its process alone may use. A forked child shares the parent's sockets,
/// file offsets and mapped memory: an answer to one would reach the other.
pub(crate) struct Guarded {
    source: Box<dyn Source>,
    home: ForkGuard,
}

impl Guarded {
    pub(crate) fn new(source: impl Source + 'static) -> Guarded {
        Guarded { source: Box::new(source), home: ForkGuard::new() }
    }

    fn check(&self) -> Result<(), Error> {
        if self.home.is_here() { Ok(()) } else { Err(Error::forked("source")) }
    }
}

impl Source for Guarded {
    fn kind(&self) -> SourceKind {
        self.source.kind()
    }

    fn precision(&self) -> &'static str {
        self.source.precision()
    }

    fn prepare(&mut self, request: &Request) -> Result<(), Error> {
        self.check()?;
        self.source.prepare(request)
    }

    fn unchanged(&self) -> Option<Unchanged<'_>> {
        self.source.unchanged()
    }

    fn snapshot(&mut self, request: &Request) -> Result<Snapshot<SharedBytes>, Error> {
        self.check()?;
        self.source.snapshot(request)
    }
}

/// Exits kept for the next snapshot at most: a minute of 5,000 a second, and half as many
/// again. What is beyond counts as lost.
pub(crate) const MOST_EXITS: usize = 1 << 19;

/// Where exits come from.
pub(crate) trait ExitFeed: Send {
    /// A descriptor that is readable while exits wait there.
    fn readable(&self) -> BorrowedFd<'_>;
    /// Exits lost so far.
    fn lost(&mut self) -> u64;
    /// All that wait there, as a snapshot of the dead; None where there are none.
    fn take(&mut self) -> Result<Option<Snapshot<SharedBytes>>, Error>;
}
