//! How much room recent snapshots needed, so that memory shrinks again after a burst of tasks.

/// Snapshots in a span.
const SPAN: u32 = 64;

/// The largest need of this span of snapshots and the one before it.
#[derive(Debug, Default)]
pub(crate) struct Peak {
    current: usize,
    previous: usize,
    count: u32,
}

impl Peak {
    /// Notes the need of a snapshot. Returns true where a burst is over: from now on less
    /// than half of the room is needed.
    pub(crate) fn note(&mut self, need: usize) -> bool {
        self.current = self.current.max(need);
        self.count += 1;
        if self.count < SPAN {
            return false;
        }
        let is_over = self.current < self.previous / 2;
        *self = Peak { previous: self.current, ..Peak::default() };
        is_over
    }

    /// The largest recent need.
    pub(crate) fn get(&self) -> usize {
        self.current.max(self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_over_after_a_whole_span_without_it() {
        let mut peak = Peak::default();
        assert!(!peak.note(10_000));
        let over: Vec<u32> = (1..4 * SPAN).filter(|_| peak.note(100)).collect();
        assert_eq!(over, [2 * SPAN - 1]);
        assert_eq!(peak.get(), 100);
        assert!(!peak.note(10_000));
        assert_eq!(peak.get(), 10_000);
    }
}
