//! Sources of task accounting on Linux. The only system calls of the project are in
//! this crate; what they bring becomes snapshots of `precise-top-core`.

mod bpf;
mod errors;
mod exits;
mod host;
mod netlink;
mod patched;
mod privilege;
mod probe;
mod procfs;
mod recording;
mod source;
mod sys;

pub use bpf::{CommandSums, Tree, TreeSums};
pub use errors::Error;
pub use exits::{Exit, Exits};
pub use netlink::{Event, Listener, Netlink};
pub use privilege::{adopt_orphans, drop_privileges, has_bpf, has_net_admin};
pub use probe::{Report, delayacct, sources};
pub use procfs::{arguments, cmdline, sessions};
pub use recording::{DumpFile, Lost, Policy, Recorder, group_names, read_columns};
pub use source::{Request, Source};

use bpf::Bpf;
use patched::proc_file::{self, ProcFile};
use precise_top_core::SourceKind;
use procfs::Procfs;

/// Opens the source of that name, or with None the best that works here. A named
/// source never falls back to another.
pub fn open(kind: Option<SourceKind>) -> Result<Box<dyn Source>, Error> {
    match kind {
        Some(SourceKind::Proc) => Ok(Box::new(ProcFile::open()?)),
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
                && proc_file::is_there()
                && let Ok(source) = ProcFile::open()
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
