//! Giving up privileges once a source is open.

use std::env;

use taskstats_core::SourceKind;

use crate::errors::Error;
use crate::sys::{self, Capabilities};

/// CAP_NET_ADMIN (include/uapi/linux/capability.h), which every taskstats request needs.
const CAP_NET_ADMIN: u32 = 12;

/// Whether the calling thread has CAP_NET_ADMIN.
pub fn has_net_admin() -> bool {
    sys::capabilities().is_ok_and(|held| held.effective >> CAP_NET_ADMIN & 1 == 1)
}

/// Keeps only what a source of `kind` needs per call: becomes the user who called
/// sudo, forbids new privileges, and empties the capability sets but for
/// CAP_NET_ADMIN where the source is netlink. Meant for a process with one thread.
pub fn drop_privileges(kind: SourceKind) -> Result<(), Error> {
    let failed = |error| Error::os("drop privileges", error);
    let held = sys::capabilities().map_err(failed)?;
    let keep = match kind {
        SourceKind::Netlink => held.permitted & (1 << CAP_NET_ADMIN),
        _ => 0,
    };
    let id = |name| env::var(name).ok()?.parse().ok();
    if sys::effective_user() == 0
        && let (Some(uid), Some(gid)) = (id("SUDO_UID"), id("SUDO_GID"))
    {
        sys::keep_capabilities().map_err(failed)?;
        sys::become_user(uid, gid).map_err(failed)?;
    }
    sys::set_capabilities(Capabilities { effective: keep, permitted: keep }).map_err(failed)?;
    sys::forbid_new_privileges().map_err(failed)
}
