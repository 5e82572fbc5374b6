//! Sources of task accounting on Linux. The only system calls of the project are in
//! this crate; what they bring becomes snapshots of `taskstats-core`, which is
//! re-exported here.

mod beside;
mod bpf;
mod changed;
mod dead;
mod doctor;
mod dump_file;
mod errors;
mod exits;
mod host;
mod names;
mod netlink;
mod privilege;
mod proc;
mod procfs;
mod recorder;
mod records;
mod sys;
mod walker;

pub use doctor::{Report, delayacct, sources};
pub use dump_file::{DumpFile, read_columns};
pub use errors::Error;
pub use exits::{Exit, Exits};
pub use names::group_names;
pub use netlink::{Event, Listener, Netlink};
pub use privilege::{adopt_orphans, drop_privileges, has_bpf, has_net_admin};
pub use procfs::sessions;
pub use recorder::{Policy, Recorder};
pub use taskstats_core::*;

use bpf::Bpf;
pub use bpf::{CommandSums, Tree, TreeSums};
pub use changed::{Place, Resting, Totals};
use proc::Proc;
use procfs::Procfs;

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
    fn resting(&self) -> Option<Resting<'_>> {
        None
    }
    /// Takes a snapshot of the whole system. The last [`Header::exited`] records are of
    /// tasks that died since the snapshot before, where the source knows them.
    fn snapshot(&mut self, request: &Request) -> Result<Snapshot<SharedBytes>, Error>;
}

/// Opens the source of that name, or with None the best that works here. A named
/// source never falls back to another.
pub fn open(kind: Option<SourceKind>) -> Result<Box<dyn Source>, Error> {
    match kind {
        Some(SourceKind::Proc) => Ok(Box::new(Proc::open()?)),
        Some(SourceKind::Bpf) => Ok(Box::new(Bpf::open()?)),
        Some(SourceKind::Netlink) => Ok(Box::new(Netlink::open()?)),
        Some(SourceKind::Procfs) => Ok(Box::new(Procfs::open()?)),
        Some(other) => Err(Error::Unsupported {
            reason: format!("{} is no source of this version", other.name()),
            hint: "choose proc, bpf, netlink or procfs".into(),
        }),
        // A refused attempt leaves a line in the audit log, so ask for the privilege first.
        None => {
            if has_net_admin()
                && proc::is_there()
                && let Ok(source) = Proc::open()
            {
                return Ok(Box::new(source));
            }
            if has_bpf()
                && let Ok(source) = Bpf::open()
            {
                return Ok(Box::new(source));
            }
            if has_net_admin()
                && let Ok(source) = Netlink::open()
            {
                return Ok(Box::new(source));
            }
            Ok(Box::new(Procfs::open()?))
        }
    }
}

/// The arguments a process has now (/proc/PID/cmdline); empty for a kernel thread,
/// None where the process is gone or hidden.
pub fn cmdline(pid: u32) -> Option<Vec<Vec<u8>>> {
    std::fs::read(format!("/proc/{pid}/cmdline")).ok().map(|text| arguments(&text))
}

/// The arguments in a text of /proc/PID/cmdline.
pub fn arguments(text: &[u8]) -> Vec<Vec<u8>> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect()
}
