//! The traits of sources: of snapshots, and of exits.

use std::os::fd::BorrowedFd;

use precise_top_core::interval::Unchanged;
use precise_top_core::{FieldSet, Meters, SharedBytes, Snapshot, SourceKind};

use crate::errors::Error;
use crate::namespace;
use crate::peak::Peak;
use crate::sys;
use crate::sys::thread::ForkGuard;

/// The contents of a snapshot.
#[derive(Clone, Debug)]
pub struct Request {
    /// Records of threads, not of processes.
    pub threads: bool,
    /// Wanted fields. A source reads what they need, and fills others that cost nothing.
    pub fields: FieldSet,
    /// All values at one instant, and the CPUs' idle time to the ns. With proc that is
    /// always so. The bpf source watches the scheduler's switches from the first such
    /// snapshot to the first one without. The others cannot, and collect the exit events of
    /// taskstats, where they may.
    pub exact: bool,
    /// Only tasks that ran since the source's previous snapshot, with their earlier values
    /// ([`Snapshot::base`]). The first snapshot has all tasks. Sources that cannot know which
    /// ran return all each time.
    pub changed: bool,
    /// The CPUs' times of /proc/stat. None reads them where the source has no clocks of the
    /// CPUs.
    pub cpu_times: Option<bool>,
    /// Load and memory. None reads them where that costs little.
    pub system: Option<bool>,
    /// What else of the machine is read.
    pub meters: Meters,
}

impl Default for Request {
    /// Processes, with all fields.
    fn default() -> Request {
        Request {
            threads: false,
            fields: FieldSet::ALL,
            exact: false,
            changed: false,
            cpu_times: None,
            system: None,
            meters: Meters::NONE,
        }
    }
}

/// Something that takes snapshots.
pub trait Source: Send {
    /// The kind of source.
    fn kind(&self) -> SourceKind;
    /// How exact its CPU times are.
    fn precision(&self) -> &'static str;
    /// Prepares for such snapshots. Privileges may be dropped afterwards.
    fn prepare(&mut self, _request: &Request) -> Result<(), Error> {
        Ok(())
    }
    /// What its snapshots lack here, in words; empty if nothing. Known after the first one.
    fn notice(&self) -> String {
        String::new()
    }
    /// The tasks that the last snapshot left out as unchanged. None after a snapshot of all
    /// tasks.
    fn unchanged(&self) -> Option<Unchanged> {
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
    tasks: Peak,
    /// What tasks of other pid namespaces mean for its snapshots, in words. The process keeps
    /// its namespace for life, and callers ask at each snapshot.
    namespace: Option<String>,
}

impl Guarded {
    pub(crate) fn new(source: impl Source + 'static) -> Guarded {
        Guarded {
            source: Box::new(source),
            home: ForkGuard::new(),
            tasks: Peak::default(),
            namespace: namespace::notice(),
        }
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

    fn notice(&self) -> String {
        let own = Some(self.source.notice()).filter(|own| !own.is_empty());
        self.namespace.clone().into_iter().chain(own).collect::<Vec<_>>().join("; ")
    }

    fn unchanged(&self) -> Option<Unchanged> {
        self.source.unchanged()
    }

    fn snapshot(&mut self, request: &Request) -> Result<Snapshot<SharedBytes>, Error> {
        self.check()?;
        let snapshot = self.source.snapshot(request)?;
        let unchanged = snapshot.header().unchanged as usize;
        if self.tasks.note(snapshot.len() + unchanged) {
            sys::give_back_memory();
        }
        Ok(snapshot)
    }
}

/// Largest number of exits that are kept for the next snapshot: a minute and a half of 5,000
/// a second. More are counted as lost.
pub(crate) const MOST_EXITS: usize = 1 << 19;

/// A source of exits.
pub(crate) trait ExitFeed: Send {
    /// A descriptor that is readable while exits wait.
    fn readable(&self) -> BorrowedFd<'_>;
    /// The number of lost exits so far.
    fn lost(&mut self) -> u64;
    /// All waiting exits, as a snapshot. None where there are none.
    fn take(&mut self) -> Result<Option<Snapshot<SharedBytes>>, Error>;
}
