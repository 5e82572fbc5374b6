//! How a recording is kept.

use std::time::Duration;

use precise_top_core::dump::{Metadata, Options};

/// How a recording is kept.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How snapshots become frames.
    pub options: Options,
    /// The longest time that a power failure may cost. None leaves it to the kernel.
    pub sync: Option<Duration>,
    /// A file of that many bytes is finished and set aside.
    pub rotate_bytes: Option<u64>,
    /// A file whose first snapshot is that old is finished and set aside.
    pub rotate_after: Option<Duration>,
    /// How many files that were set aside are kept. None keeps all.
    pub keep: Option<usize>,
    /// Bytes of all files, the open one too: the oldest of those set aside are removed. A file is
    /// set aside at half of that at the latest.
    pub keep_bytes: Option<u64>,
    /// How long a file is kept after it was last written to. A file is set aside after half of
    /// that at the latest.
    pub keep_for: Option<Duration>,
    /// The recording ends where the file system has fewer bytes for users.
    pub min_free: Option<u64>,
    /// Permissions of a new file.
    pub mode: u32,
    /// Whether the command lines of processes are recorded, which may hold passwords.
    pub cmdlines: bool,
    /// The name of the host to record; None for the snapshots' own.
    pub host: Option<String>,
    /// What the recorder says of itself, such as labels.
    pub metadata: Metadata,
}

/// A recording may hold the command lines of others.
const PRIVATE: u32 = 0o600;

impl Policy {
    /// Whether files that were set aside may have to be removed.
    pub(super) fn is_limited(&self) -> bool {
        self.keep.is_some() || self.keep_bytes.is_some() || self.keep_for.is_some()
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            options: Options::default(),
            sync: Some(Duration::from_secs(10)),
            rotate_bytes: None,
            rotate_after: None,
            keep: None,
            keep_bytes: None,
            keep_for: None,
            min_free: None,
            mode: PRIVATE,
            cmdlines: true,
            host: None,
            metadata: Vec::new(),
        }
    }
}
