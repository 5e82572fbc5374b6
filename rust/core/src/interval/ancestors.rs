//! Follows chains of parents to their ends.

/// The next step from a link.
pub(crate) enum Step<T> {
    /// The chain ends here.
    End(T),
    /// The chain goes on with another link.
    Go(usize),
    /// The next link is unknown.
    Lost,
}

#[derive(Clone, Copy)]
enum Visit<T> {
    Unvisited,
    /// On the current path: a second visit means that the chain is a ring.
    Current,
    Done(Option<T>),
}

/// The end of the chain from each of `count` links; None where a link is unknown or the
/// chain is a ring, as a wrong or reused parent id may make it. Visits each link once,
/// however long the chains are.
pub(crate) fn ends<T: Copy>(count: usize, step: impl Fn(usize) -> Step<T>) -> Vec<Option<T>> {
    let mut visits = vec![Visit::Unvisited; count];
    let mut way = Vec::new();
    for start in 0..count {
        let mut at = start;
        let end = loop {
            match visits.get(at) {
                None | Some(Visit::Current) => break None,
                Some(&Visit::Done(end)) => break end,
                Some(Visit::Unvisited) => {}
            }
            visits[at] = Visit::Current;
            way.push(at);
            match step(at) {
                Step::End(end) => break Some(end),
                Step::Go(next) => at = next,
                Step::Lost => break None,
            }
        };
        for link in way.drain(..) {
            visits[link] = Visit::Done(end);
        }
    }
    let end = |visit| if let Visit::Done(end) = visit { end } else { None };
    visits.into_iter().map(end).collect()
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
