//! Sources that nobody reads any more: they stop to watch exits.

use crate::host;

/// When a source that nobody reads stops to watch exits: once so many wait that nobody has
/// read for `QUIET_NS`, or after `FORGOTTEN_NS` in any case.
const MANY_EXITS: usize = 1 << 17;
const QUIET_NS: u64 = 120_000_000_000;
const FORGOTTEN_NS: u64 = 3 * 3600 * 1_000_000_000;
/// What the next snapshot says then.
pub(crate) const FORGOTTEN: &str = "nobody read this source for long, so it stopped to watch: exits since the snapshot before are \
     unknown";

/// The last time that somebody read exits.
pub(crate) struct LastRead {
    at_ns: u64,
    many: usize,
    quiet_ns: u64,
}

impl LastRead {
    pub(crate) fn now() -> LastRead {
        LastRead { at_ns: host::now().monotonic_ns, many: MANY_EXITS, quiet_ns: QUIET_NS }
    }

    /// Somebody reads now.
    pub(crate) fn note(&mut self) {
        self.at_ns = host::now().monotonic_ns;
    }

    /// Whether nobody reads any more, when so many exits wait.
    pub(crate) fn is_long_ago(&self, waiting: usize) -> bool {
        let quiet_ns = host::now().monotonic_ns.saturating_sub(self.at_ns);
        quiet_ns > FORGOTTEN_NS || (waiting >= self.many && quiet_ns > self.quiet_ns)
    }

    /// Loses patience sooner.
    #[cfg(test)]
    pub(crate) fn hurry(&mut self, many: usize) {
        (self.many, self.quiet_ns) = (many, 0);
    }
}
