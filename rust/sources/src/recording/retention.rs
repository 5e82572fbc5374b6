//! Which recordings that were set aside are kept, and whether there is room for more.
//!
//! Design decisions
//!
//! * The files are listed when a file is begun. Until the next one they only become fewer.
//! * A full disk is no reason to remove what was recorded: the recording ends.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::statvfs::fstatvfs;

use super::policy::Policy;
use super::rotation::set_aside_by;
use crate::errors::Error;

/// The recordings of a host that were set aside, the oldest first.
pub(super) struct Retention(VecDeque<Aside>);

struct Aside {
    path: PathBuf,
    bytes: u64,
    /// When it was last written to.
    written: SystemTime,
}

impl Retention {
    /// Those of `host` next to `path`.
    pub(super) fn list(path: &Path, host: &str) -> Result<Retention, Error> {
        let aside = |path: PathBuf| {
            let metadata = fs::metadata(&path).ok()?;
            Some(Aside { bytes: metadata.len(), written: metadata.modified().ok()?, path })
        };
        Ok(Retention(set_aside_by(path, host)?.into_iter().filter_map(aside).collect()))
    }

    /// Removes the oldest ones beyond the policy, while the open file has `open_bytes`.
    pub(super) fn enforce(&mut self, policy: &Policy, open_bytes: u64) -> Result<(), Error> {
        let mut bytes = self.0.iter().fold(open_bytes, |sum, file| sum.saturating_add(file.bytes));
        let now = SystemTime::now();
        while let Some(oldest) = self.0.front() {
            let age = now.duration_since(oldest.written).unwrap_or(Duration::ZERO);
            let is_kept = policy.keep.is_none_or(|most| self.0.len() <= most)
                && policy.keep_bytes.is_none_or(|most| bytes <= most)
                && policy.keep_for.is_none_or(|longest| age <= longest);
            if is_kept {
                break;
            }
            match fs::remove_file(&oldest.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Error::os(oldest.path.display().to_string(), error));
                }
                _ => bytes -= oldest.bytes,
            }
            self.0.pop_front();
        }
        Ok(())
    }
}

/// Fails where the file system of `file` has less than `least` bytes for users.
pub(super) fn check_free(file: &File, path: &Path, least: u64) -> Result<(), Error> {
    let failed = |error| Error::os(path.display().to_string(), error);
    let system = fstatvfs(file).map_err(|errno| failed(errno.into()))?;
    let free = system.blocks_available().saturating_mul(system.fragment_size());
    if free >= least {
        return Ok(());
    }
    // No error of the system: it would be told as one of a full disk.
    let why = format!(
        "{} MiB are free on its file system, and {} MiB are to stay free; remove old files, or give \
         a smaller limit",
        free >> 20,
        least >> 20
    );
    Err(Error::os(format!("recording to {} ends", path.display()), io::Error::other(why)))
}
