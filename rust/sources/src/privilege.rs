//! Giving up privileges once a source is open.

use std::env;

use precise_top_core::SourceKind;

use crate::errors::Error;
use crate::sys::{self, Capabilities};

/// CAP_NET_ADMIN (include/uapi/linux/capability.h), which every taskstats request needs.
const CAP_NET_ADMIN: u32 = 12;

/// CAP_SYS_ADMIN, which contains the two below.
const CAP_SYS_ADMIN: u32 = 21;
/// CAP_PERFMON: programs may read kernel memory.
const CAP_PERFMON: u32 = 38;
/// CAP_BPF: programs may be loaded.
const CAP_BPF: u32 = 39;

fn has(all: u64) -> bool {
    sys::capabilities().is_ok_and(|held| held.effective & all == all)
}

/// Whether the calling thread has CAP_NET_ADMIN.
pub fn has_net_admin() -> bool {
    has(1 << CAP_NET_ADMIN)
}

/// Whether the calling thread has CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN.
pub fn has_bpf() -> bool {
    has(1 << CAP_BPF | 1 << CAP_PERFMON) || has(1 << CAP_SYS_ADMIN)
}

/// Keeps only what a source of `kind` needs per call: becomes the user who called
/// sudo, forbids new privileges, and empties the capability sets but for
/// CAP_NET_ADMIN where the source is netlink, and CAP_BPF where it is bpf. Meant for a process with one thread.
pub fn drop_privileges(kind: SourceKind) -> Result<(), Error> {
    let failed = |error| Error::os("drop privileges", error);
    let held = sys::capabilities().map_err(failed)?;
    let keep = match kind {
        SourceKind::Netlink => held.permitted & (1 << CAP_NET_ADMIN),
        // For arrays that have to grow. Reading kernel memory by new programs is over.
        SourceKind::Bpf => held.permitted & (1 << CAP_BPF),
        _ => 0,
    };
    let id = |name| env::var(name).ok()?.parse().ok();
    if sys::effective_user() == 0
        && let (Some(uid), Some(gid)) = (id("SUDO_UID"), id("SUDO_GID"))
    {
        if sys::thread::running() > 0 {
            // They could not become that user, and glibc ends such a process.
            return Err(Error::Unsupported {
                reason: "privileges cannot be dropped while exits are taken beside".into(),
                hint: "drop them before the first snapshot".into(),
            });
        }
        sys::keep_capabilities().map_err(failed)?;
        sys::become_user(uid, gid).map_err(failed)?;
    }
    sys::set_capabilities(Capabilities { effective: keep, permitted: keep }).map_err(failed)?;
    sys::forbid_new_privileges().map_err(failed)
}

/// Makes orphans among the calling process's descendants its own children (or no
/// longer), so that it can wait for them.
pub fn adopt_orphans(adopt: bool) -> Result<(), Error> {
    sys::adopt_orphans(adopt).map_err(|error| Error::os("adopt orphans", error))
}
