//! Sums over consecutive rows, each from one pass over all of them.
//!
//! Design decisions
//!
//! * The rows of a node of a tree and its descendants are consecutive, and those of its ancestors
//!   contain them. A screen shows several deep nodes of a thousand rows, in many columns.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::metric::Metric;

/// The sum of a metric over the rows before each one, and after the last.
pub(super) type UpTo = Arc<[(i128, usize)]>;

/// The sums of the metrics that were asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct RunningSums(Arc<Mutex<Vec<(Metric, UpTo)>>>);

impl RunningSums {
    /// The sums of a metric; `addends` returns what each row adds, None where it is unknown.
    pub(super) fn of(&self, metric: Metric, addends: impl Iterator<Item = Option<i128>>) -> UpTo {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sums)) = known.iter().find(|(other, _)| *other == metric) {
            return Arc::clone(sums);
        }
        let (mut sum, mut count) = (0_i128, 0);
        let after = addends.map(|addend| {
            sum += addend.unwrap_or(0);
            count += usize::from(addend.is_some());
            (sum, count)
        });
        let sums: UpTo = std::iter::once((0, 0)).chain(after).collect();
        known.push((metric, Arc::clone(&sums)));
        sums
    }
}

/// The sum over rows; None where it is unknown in all of them.
pub(super) fn sum_over(sums: &UpTo, rows: Range<usize>) -> Option<i128> {
    let (begin, end) = (sums.get(rows.start)?, sums.get(rows.end)?);
    (end.1 > begin.1).then(|| end.0 - begin.0)
}
