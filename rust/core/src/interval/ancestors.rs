//! Chains of parents, followed to their ends.

/// What comes after a link.
pub(crate) enum Step<T> {
    /// The chain ends here.
    End(T),
    /// On to another link.
    Go(usize),
    /// Nothing is known.
    Lost,
}

#[derive(Clone, Copy)]
enum Known<T> {
    No,
    /// On the way that is being gone: met again, it is a ring.
    Now,
    Yes(Option<T>),
}

/// The end of the chain from each of `count` links. Every link is gone over once, however
/// long the chains are; None where one is lost or comes back on itself, as a wrong or
/// reused parent id may make it.
pub(crate) fn ends<T: Copy>(count: usize, step: impl Fn(usize) -> Step<T>) -> Vec<Option<T>> {
    let mut known = vec![Known::No; count];
    let mut way = Vec::new();
    for start in 0..count {
        let mut at = start;
        let end = loop {
            match known.get(at) {
                None | Some(Known::Now) => break None,
                Some(&Known::Yes(end)) => break end,
                Some(Known::No) => {}
            }
            known[at] = Known::Now;
            way.push(at);
            match step(at) {
                Step::End(end) => break Some(end),
                Step::Go(next) => at = next,
                Step::Lost => break None,
            }
        };
        for link in way.drain(..) {
            known[link] = Known::Yes(end);
        }
    }
    let end = |known| if let Known::Yes(end) = known { end } else { None };
    known.into_iter().map(end).collect()
}

#[cfg(test)]
mod tests {
    use super::{Step, ends};

    #[test]
    fn chains_end_rings_do_not_and_each_link_is_met_once() {
        let next = [Some(1), Some(2), None, Some(4), Some(3), Some(3), Some(99)];
        let met = std::cell::Cell::new(0);
        let found = ends(next.len(), |at| {
            met.set(met.get() + 1);
            next[at].map_or(Step::End(at * 10), Step::Go)
        });
        assert_eq!(found, [Some(20), Some(20), Some(20), None, None, None, None]);
        assert_eq!(met.get(), next.len());
    }
}
