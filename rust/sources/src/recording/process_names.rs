//! The names of processes, users and cgroups, asked shortly after a snapshot.
//!
//! Design decisions
//!
//! * Between the snapshot and the question a task may have moved, died, and left its pid to
//!   another. So each answer is compared with the record: it is that task's, or none.
//! * Names are those of the snapshot's machine. A recorded snapshot has its own; this
//!   machine is asked for snapshots of its present boot only.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use precise_top_core::identity::is_same_in_proc;
use precise_top_core::names::NamesAt;
use precise_top_core::{GroupKey, Interval, Record, Snapshot};

use crate::host::Host;
use crate::mounts::cgroup_mount;
use crate::procfs::stat::start_of;
use crate::users::user_name;

/// Bytes of a command line that are recorded. Any user can make one of megabytes, and
/// execute a program thousands of times with it.
pub(super) const LONGEST_CMDLINE: usize = 4096;

/// Changes when a task executes another program, or another task has its pid.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) start_ns: u64,
    comm: Vec<u8>,
    exe: (Option<u64>, Option<u64>),
    exec_mark: Option<NonZero<u32>>,
}

impl Image {
    pub(super) fn of(record: &Record<'_>) -> Image {
        Image {
            start_ns: record.exact_start_ns().unwrap_or(0),
            comm: record.ac_comm().unwrap_or_default().to_vec(),
            exe: (record.ac_exe_dev(), record.ac_exe_inode()),
            exec_mark: record.exec_mark(),
        }
    }

    /// Whether a record is of the same program of the same task.
    pub(super) fn is_of(&self, record: &Record<'_>) -> bool {
        self.start_ns == record.exact_start_ns().unwrap_or(0)
            && self.comm == record.ac_comm().unwrap_or_default()
            && self.exe == (record.ac_exe_dev(), record.ac_exe_inode())
            // A frame before the newest does not have it.
            && self.exec_mark.zip(record.exec_mark()).is_none_or(|(known, now)| known == now)
    }
}

/// Asks /proc.
pub(super) struct ProcNames {
    tick_ns: u64,
    boot_id: [u8; 16],
    /// Where cgroup v2 is mounted.
    cgroups: Option<PathBuf>,
}

impl ProcNames {
    fn new() -> ProcNames {
        let host = Host::new();
        ProcNames { tick_ns: host.tick_ns(), boot_id: host.boot_id(), cgroups: cgroup_mount() }
    }

    /// The arguments of a record's process, each ended by a NUL, up to one byte more than is
    /// recorded. None where it is gone.
    fn cmdline(&self, record: &Record<'_>) -> Option<Vec<u8>> {
        let pid = record.ac_pid()?;
        let mut text = Vec::new();
        let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
        file.take(LONGEST_CMDLINE as u64 + 1).read_to_end(&mut text).ok()?;
        // The process with this pid afterwards had it before, if its start is the same.
        let start_ns = start_of(&fs::read(format!("/proc/{pid}/stat")).ok()?, self.tick_ns)?;
        is_same_in_proc(record, start_ns, self.tick_ns).then_some(text)
    }

    /// The path of the cgroup v2 of that id, which a task was in. None where the task has
    /// left it or is gone.
    fn cgroup_path(&self, pid: u32, id: u64) -> Option<Vec<u8>> {
        let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
        let mut lines = text.split(|&byte| byte == b'\n');
        let path = lines.find_map(|line| line.strip_prefix(b"0::"))?;
        let directory = OsStr::from_bytes(path.strip_prefix(b"/")?);
        // The inode of a cgroup's directory is its id (fs/kernfs).
        let found = fs::metadata(self.cgroups.as_ref()?.join(directory)).ok()?.ino();
        (found == id).then(|| path.to_vec())
    }
}

/// Where the names of a snapshot's tasks come from.
#[derive(Clone)]
pub(super) enum NameSource {
    /// Its recording.
    Recorded(NamesAt),
    /// This machine, of whose present boot the snapshot is.
    Here(Arc<ProcNames>),
    /// Nowhere: it is a snapshot of another machine or boot, without names.
    Unknown,
}

impl NameSource {
    pub(super) fn of<B: AsRef<[u8]>>(snapshot: &Snapshot<B>) -> NameSource {
        if let Some(names) = snapshot.names() {
            return NameSource::Recorded(names.clone());
        }
        let here = ProcNames::new();
        if here.boot_id == snapshot.header().boot_id {
            NameSource::Here(Arc::new(here))
        } else {
            NameSource::Unknown
        }
    }

    pub(super) fn is_recorded(&self) -> bool {
        matches!(self, NameSource::Recorded(_))
    }

    /// The name of a user.
    pub(super) fn user(&self, uid: u32) -> Option<Vec<u8>> {
        match self {
            NameSource::Recorded(names) => names.user(uid).map(<[u8]>::to_vec),
            NameSource::Here(_) => user_name(uid),
            NameSource::Unknown => None,
        }
    }

    /// The path of a cgroup that the task of a record is in.
    pub(super) fn cgroup(&self, record: &Record<'_>, id: u64) -> Option<Vec<u8>> {
        match self {
            NameSource::Recorded(names) => names.cgroup(id).map(<[u8]>::to_vec),
            NameSource::Here(_) => self.cgroup_of(record.ac_pid()?, id),
            NameSource::Unknown => None,
        }
    }

    /// The path of a cgroup that a task of this machine is in.
    pub(super) fn cgroup_of(&self, pid: u32, id: u64) -> Option<Vec<u8>> {
        match self {
            NameSource::Here(here) => here.cgroup_path(pid, id),
            NameSource::Recorded(_) | NameSource::Unknown => None,
        }
    }

    /// The arguments of a record's process, each ended by a NUL.
    pub(super) fn cmdline(&self, record: &Record<'_>) -> Option<Vec<u8>> {
        match self {
            NameSource::Recorded(names) => names.cmdline(record).map(<[u8]>::to_vec),
            NameSource::Here(here) => here.cmdline(record),
            NameSource::Unknown => None,
        }
    }
}

/// The names of groups of an interval's tasks: as recorded, or this machine's where the
/// interval is of its present boot.
pub fn group_names(
    interval: &Interval,
) -> impl Fn(GroupKey, &Record<'_>) -> Option<Vec<u8>> + use<> {
    let source = NameSource::of(interval.cur());
    move |group, record| match group {
        GroupKey::User(uid) => source.user(uid),
        GroupKey::Cgroup(id) => source.cgroup(record, id),
        GroupKey::Unknown => None,
    }
}
