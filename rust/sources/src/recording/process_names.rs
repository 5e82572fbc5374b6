//! What tasks are called that a snapshot has records of, asked a little later.
//!
//! Between the snapshot and the question a task may have moved, died, and left its pid to
//! another. So each answer is compared with the record: it is that task's, or none.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use precise_top_core::identity::is_same_in_proc;
use precise_top_core::{GroupKey, Interval, Record};

use crate::host::Host;
use crate::procfs::reader::start_of;

/// Asks /proc.
pub(crate) struct ProcNames {
    tick_ns: u64,
    boot_id: [u8; 16],
    /// Where cgroup v2 is mounted.
    cgroups: Option<PathBuf>,
}

impl ProcNames {
    pub(crate) fn new() -> ProcNames {
        let host = Host::new();
        let cgroups = mount_of_cgroups().ok().flatten();
        ProcNames { tick_ns: host.tick_ns(), boot_id: host.boot_id(), cgroups }
    }

    /// The arguments of a record's process, each ended by a NUL; None where it is gone.
    pub(crate) fn cmdline(&self, record: &Record<'_>) -> Option<Vec<u8>> {
        let pid = record.ac_pid()?;
        let text = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        // Only now: who has the pid at the end had it before, if it is the same.
        let start_ns = start_of(&fs::read(format!("/proc/{pid}/stat")).ok()?, self.tick_ns)?;
        is_same_in_proc(record, start_ns, self.tick_ns).then_some(text)
    }

    /// The path of the cgroup v2 of that id, which a task was in; None where the task has
    /// left it or is gone.
    pub(crate) fn cgroup_path(&self, pid: u32, id: u64) -> Option<Vec<u8>> {
        let text = fs::read(format!("/proc/{pid}/cgroup")).ok()?;
        let mut lines = text.split(|&byte| byte == b'\n');
        let path = lines.find_map(|line| line.strip_prefix(b"0::"))?;
        let directory = OsStr::from_bytes(path.strip_prefix(b"/")?);
        // The inode of a cgroup's directory is its id (fs/kernfs).
        let found = fs::metadata(self.cgroups.as_ref()?.join(directory)).ok()?.ino();
        (found == id).then(|| path.to_vec())
    }
}

/// The name of a user, wherever this machine keeps its users (nsswitch.conf).
pub(crate) fn user_name(uid: u32) -> Option<Vec<u8>> {
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    Some(user.name.into_bytes())
}

/// What groups of an interval's tasks are called: as recorded, or as this machine calls them
/// now where the interval is of its present boot.
pub fn group_names(
    interval: &Interval,
) -> impl Fn(GroupKey, &Record<'_>) -> Option<Vec<u8>> + use<> {
    let recorded = interval.cur().names().cloned();
    let boot_id = interval.cur().header().boot_id;
    let here = recorded.is_none().then(ProcNames::new).filter(|here| here.boot_id == boot_id);
    move |group, record| match (group, &recorded, &here) {
        (GroupKey::User(uid), Some(names), _) => names.user(uid).map(<[u8]>::to_vec),
        (GroupKey::Cgroup(id), Some(names), _) => names.cgroup(id).map(<[u8]>::to_vec),
        (GroupKey::User(uid), None, Some(_)) => user_name(uid),
        (GroupKey::Cgroup(id), None, Some(here)) => here.cgroup_path(record.ac_pid()?, id),
        (_, None, None) => None,
    }
}

fn mount_of_cgroups() -> io::Result<Option<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mounts")?;
    let mut mounts = text.lines().map(|line| line.split(' '));
    Ok(mounts.find_map(|mut words| {
        let place = words.nth(1)?;
        (words.next()? == "cgroup2").then(|| Path::new(place).to_owned())
    }))
}
