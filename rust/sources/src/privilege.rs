//! Giving up privileges once a source is open.

use std::{env, io};

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl::{set_child_subreaper, set_no_new_privs};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use precise_top_core::SourceKind;

use crate::errors::Error;
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
pub(crate) fn set_capabilities(wanted: &CapsHashSet) -> Result<(), Error> {
    caps::clear(None, CapSet::Inheritable)
        .and_then(|()| caps::set(None, CapSet::Effective, wanted))
        .and_then(|()| caps::set(None, CapSet::Permitted, wanted))
        .map_err(failed)
}

fn failed(error: impl std::error::Error) -> Error {
    Error::os("drop privileges", io::Error::other(error.to_string()))
}

/// Drops all privileges but those that a source of `kind` needs per call. Becomes the user
/// who called sudo, forbids new privileges, and keeps no capability but CAP_NET_ADMIN for
/// netlink and CAP_BPF for bpf. Call it while the process has one thread.
pub fn drop_privileges(kind: SourceKind) -> Result<(), Error> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let needed = match kind {
        SourceKind::Netlink => Some(Capability::CAP_NET_ADMIN),
        // Arrays that have to grow need it. New programs are not loaded any more.
        SourceKind::Bpf => Some(Capability::CAP_BPF),
        _ => None,
    };
    let keep = needed.into_iter().filter(|capability| permitted.contains(capability)).collect();
    let id = |name| env::var(name).ok()?.parse::<u32>().ok();
    if geteuid().is_root()
        && let (Some(uid), Some(gid)) = (id("SUDO_UID"), id("SUDO_GID"))
    {
        if sys::thread::running() > 0 {
            // They could not become that user, and glibc ends such a process.
            return Err(Error::Unsupported {
                reason: "privileges cannot be dropped while a thread takes exits".into(),
                hint: "drop them before the first snapshot".into(),
            });
        }
        caps::securebits::set_keepcaps(true).map_err(failed)?;
        become_user(Uid::from_raw(uid), Gid::from_raw(gid)).map_err(failed)?;
    }
    set_capabilities(&keep)?;
    set_no_new_privs().map_err(failed)
}

/// Becomes another user and group for good, without supplementary groups.
fn become_user(uid: Uid, gid: Gid) -> nix::Result<()> {
    setgroups(&[])?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

/// Makes orphans among the calling process's descendants its own children, so that it can
/// wait for them, or ends that.
pub fn adopt_orphans(adopt: bool) -> Result<(), Error> {
    set_child_subreaper(adopt).map_err(|errno| Error::os("adopt orphans", errno.into()))
}
