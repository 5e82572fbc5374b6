//! Giving up privileges once a source is open.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, io};

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl::{set_child_subreaper, set_no_new_privs};
use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups, setgroups, setresgid, setresuid};
use precise_top_core::SourceKind;

use crate::errors::Error;
use crate::host::{self, Hidden};
use crate::sys;

fn has(all: &[Capability]) -> bool {
    caps::read(None, CapSet::Effective)
        .is_ok_and(|held| all.iter().all(|capability| held.contains(capability)))
}

/// Whether the calling thread has CAP_NET_ADMIN, which every taskstats request needs.
pub fn has_net_admin() -> bool {
    has(&[Capability::CAP_NET_ADMIN])
}

/// Whether the calling thread has CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN.
pub fn has_bpf() -> bool {
    has(&[Capability::CAP_BPF, Capability::CAP_PERFMON]) || has(&[Capability::CAP_SYS_ADMIN])
}

/// Sets the calling thread's capabilities. None stays inheritable.
fn set_capabilities(effective: &CapsHashSet, permitted: &CapsHashSet) -> Result<(), Error> {
    caps::clear(None, CapSet::Inheritable)
        .and_then(|()| caps::set(None, CapSet::Effective, effective))
        .and_then(|()| caps::set(None, CapSet::Permitted, permitted))
        .map_err(failed)
}

/// Drops all capabilities of the calling thread but those to become another user: glibc does
/// that in all threads, and ends the process where one of them cannot.
pub(crate) fn drop_capabilities() -> Result<(), Error> {
    let kept = [Capability::CAP_SETUID, Capability::CAP_SETGID];
    let kept = kept.into_iter().filter(|&capability| has(&[capability])).collect();
    set_capabilities(&kept, &kept)
}

/// Capabilities to read the files of other users' processes in /proc: the first where a file
/// or hidepid asks for the right to trace a process, the second where a file is its owner's
/// alone (io).
const READERS: [Capability; 2] = [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];

/// Whether some of [`READERS`] were kept, permitted but not effective.
static KEPT_READERS: AtomicBool = AtomicBool::new(false);

/// Makes the kept [`READERS`] effective in the calling thread while it lives.
pub(crate) struct ReadingOthers {
    raised: Vec<Capability>,
}

impl ReadingOthers {
    pub(crate) fn begin() -> ReadingOthers {
        let mut raised = Vec::new();
        if KEPT_READERS.load(Ordering::Relaxed) {
            let raises = |&capability: &Capability| {
                !has(&[capability]) && caps::raise(None, CapSet::Effective, capability).is_ok()
            };
            raised.extend(READERS.into_iter().filter(raises));
        }
        ReadingOthers { raised }
    }
}

impl Drop for ReadingOthers {
    fn drop(&mut self) {
        for &capability in &self.raised {
            let _ = caps::drop(None, CapSet::Effective, capability);
        }
    }
}

fn failed(error: impl std::error::Error) -> Error {
    Error::os("drop privileges", io::Error::other(error.to_string()))
}

/// Drops all privileges but those that a source of `kind` needs per call; None is no source.
/// Becomes the user who called sudo, forbids new privileges, and keeps no capability but these:
///
/// * CAP_NET_ADMIN for netlink and CAP_BPF for bpf;
/// * CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, effective during reads only, for sources that
///   read each process's files in /proc;
/// * CAP_SYS_PTRACE in the same way, where /proc is mounted with hidepid=ptraceable.
///
/// Where hidepid has a group that sees all processes, it is kept as supplementary group. Call
/// this while the process has one thread.
pub fn drop_privileges(kind: Option<SourceKind>) -> Result<(), Error> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let hidden = host::hidden_processes();
    let needed = match kind {
        Some(SourceKind::Netlink) => Some(Capability::CAP_NET_ADMIN),
        // Arrays that have to grow need it. New programs are not loaded any more.
        Some(SourceKind::Bpf) => Some(Capability::CAP_BPF),
        _ => None,
    };
    let readers = match (kind, hidden) {
        (Some(SourceKind::Netlink | SourceKind::Procfs), _) => &READERS[..],
        (Some(_), Hidden::FromAll) => &READERS[..1],
        _ => &[],
    };
    let permits = |capability: &Capability| permitted.contains(capability);
    let effective: CapsHashSet = needed.into_iter().filter(permits).collect();
    let readers: CapsHashSet = readers.iter().copied().filter(permits).collect();
    let keep: CapsHashSet = effective.union(&readers).copied().collect();
    let groups = match hidden {
        Hidden::FromOthersThan(group) if kind.is_some() => vec![Gid::from_raw(group)],
        _ => Vec::new(),
    };
    let id = |name| env::var(name).ok()?.parse::<u32>().ok();
    if geteuid().is_root() {
        match (id("SUDO_UID"), id("SUDO_GID")) {
            (Some(uid), Some(gid)) => {
                become_user(Uid::from_raw(uid), Gid::from_raw(gid), &groups)?;
            }
            // Root stays root. Without capabilities it sees what its groups see.
            _ => join(&groups),
        }
    }
    set_capabilities(&effective, &keep)?;
    KEPT_READERS.store(!readers.is_empty(), Ordering::Relaxed);
    set_no_new_privs().map_err(failed)
}

/// Adds supplementary groups to those of the process, where that can be done.
fn join(groups: &[Gid]) {
    let Ok(mut all) = getgroups() else { return };
    all.push(getegid());
    let new: Vec<Gid> = groups.iter().copied().filter(|group| !all.contains(group)).collect();
    // glibc ends a process whose other threads may not do it.
    if !new.is_empty() && sys::thread::running() == 0 {
        all.extend(new);
        let _ = setgroups(&all);
    }
}

/// Whether the caller sees the processes of all users in /proc.
pub(crate) fn sees_all_processes() -> bool {
    let in_group = |group| {
        let group = Gid::from_raw(group);
        getegid() == group || getgroups().is_ok_and(|groups| groups.contains(&group))
    };
    match host::hidden_processes() {
        Hidden::Nothing => true,
        Hidden::FromOthersThan(group) if in_group(group) => true,
        _ => has(&[Capability::CAP_SYS_PTRACE]),
    }
}

/// Becomes another user and group for good, with these supplementary groups. Permitted
/// capabilities stay.
fn become_user(uid: Uid, gid: Gid, groups: &[Gid]) -> Result<(), Error> {
    if sys::thread::running() > 0 {
        // They could not become that user, and glibc ends such a process.
        return Err(Error::Unsupported {
            reason: "privileges cannot be dropped while a thread takes exits".into(),
            hint: "drop them before the first snapshot".into(),
        });
    }
    caps::securebits::set_keepcaps(true).map_err(failed)?;
    setgroups(groups)
        .and_then(|()| setresgid(gid, gid, gid))
        .and_then(|()| setresuid(uid, uid, uid))
        .map_err(failed)
}

/// Makes orphans among the calling process's descendants its own children, so that it can
/// wait for them, or ends that.
pub fn adopt_orphans(adopt: bool) -> Result<(), Error> {
    set_child_subreaper(adopt).map_err(|errno| Error::os("adopt orphans", errno.into()))
}
