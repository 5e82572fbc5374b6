//! Sources of task accounting on Linux: they read the kernel's records and make snapshots of
//! `precise-top-core` from them. All system calls of the project are in this crate.

pub mod acting;
mod bpf;
mod cgroups;
pub mod console;
mod errors;
mod exits;
mod host;
pub mod kept;
mod kept_file;
mod last_read;
mod meters;
mod mounts;
mod namespace;
mod netlink;
mod patched;
mod peak;
mod privilege;
mod probe;
mod procfs;
mod recording;
mod source;
mod sys;
mod users;

pub use bpf::{CommandSums, Tree, TreeSums};
pub use cgroups::{CgroupReader, ShownCgroups, cgroup_files, cgroups_not_on_v2};
pub use errors::{Error, in_words};
pub use exits::{Exit, Exits};
pub use mounts::cgroup_mount;
pub use netlink::{Event, Listener, Netlink};
pub use privilege::{adopt_orphans, drop_privileges, has_bpf, has_net_admin};
pub use probe::{Report, delayacct, sources};
pub use procfs::{arguments, cmdline, sessions};
pub use recording::{
    CgroupSampler, CommandLines, DumpFile, FilterTexts, Lost, Policy, Recorder, Scan, ScanFile,
    ScanOptions, ScanRows, WantsHost, group_names, read_columns, sum_tasks, with_names,
};
pub use source::{Request, Source};
pub use sys::share_heap;
pub use sys::thread::ForkGuard;
pub use users::user_name;

use bpf::Bpf;
use patched::proc_file::{self, ProcFile};
use precise_top_core::SourceKind;
use procfs::Procfs;
use source::Guarded;

/// Opens the source of that kind, or with None the best one that works here. A named source
/// never falls back to another. Snapshots fail with Unsupported in a forked child, which has
/// to open a source of its own.
pub fn open(kind: Option<SourceKind>) -> Result<Box<dyn Source>, Error> {
    open_with(kind, Bpf::open)
}

/// The same for snapshots that are not exact ([`Request::exact`]): the bpf source opens in half
/// the time. It opens anew for the first exact one.
pub fn open_inexact(kind: Option<SourceKind>) -> Result<Box<dyn Source>, Error> {
    open_with(kind, Bpf::open_unwatched)
}

fn open_with(
    kind: Option<SourceKind>,
    open_bpf: fn() -> Result<Bpf, Error>,
) -> Result<Box<dyn Source>, Error> {
    let source = match kind {
        Some(SourceKind::Proc) => Guarded::new(ProcFile::open()?),
        Some(SourceKind::Bpf) => Guarded::new(open_bpf()?),
        Some(SourceKind::Netlink) => Guarded::new(Netlink::open()?),
        Some(SourceKind::Procfs) => Guarded::new(Procfs::open()?),
        Some(other) => {
            return Err(Error::Unsupported {
                reason: format!("{} is no source of this version", other.name()),
                hint: "choose proc, bpf, netlink or procfs".into(),
            });
        }
        None => open_best(open_bpf)?,
    };
    Ok(Box::new(source))
}

/// Opens the first source that works here. A refused attempt leaves a line in the audit log,
/// so check the privilege first.
fn open_best(open_bpf: fn() -> Result<Bpf, Error>) -> Result<Guarded, Error> {
    if has_net_admin()
        && proc_file::is_there()
        && let Ok(source) = ProcFile::open()
    {
        return Ok(Guarded::new(source));
    }
    if has_bpf()
        && let Ok(source) = open_bpf()
    {
        return Ok(Guarded::new(source));
    }
    if has_net_admin()
        && let Ok(source) = Netlink::open()
    {
        return Ok(Guarded::new(source));
    }
    Ok(Guarded::new(Procfs::open()?))
}
