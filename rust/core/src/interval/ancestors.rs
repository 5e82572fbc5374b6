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

/// The parent of each of `count` links as `parent` returns it; none for one link of each ring.
pub(crate) fn without_rings(
    count: usize,
    parent: impl Fn(usize) -> Option<usize>,
) -> Vec<Option<usize>> {
    let mut parents: Vec<Option<usize>> = (0..count).map(parent).collect();
    // The start whose way met each link.
    let mut met = vec![None; count];
    for start in 0..count {
        let mut at = start;
        while met[at].is_none() {
            met[at] = Some(start);
            match parents[at] {
                Some(next) if met[next] == Some(start) => parents[at] = None,
                Some(next) => at = next,
                None => break,
            }
        }
    }
    parents
}

#[cfg(test)]
mod tests {
    use super::{Step, ends, without_rings};

    #[test]
    fn a_ring_is_cut_once() {
        let next = [Some(1), Some(2), Some(0), Some(4), None, Some(5), Some(0)];
        let cut = without_rings(next.len(), |at| next[at]);
        assert_eq!(cut, [Some(1), Some(2), None, Some(4), None, None, Some(0)]);
    }

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
