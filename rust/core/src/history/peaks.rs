//! The highest cells of columns, by which spikes are found without a frame being read.

use std::sync::Arc;

use crate::interval::Interval;
use crate::table::{Cell, Metric, TaskTable};

/// The highest value of a metric in a row, and its sum over all rows; NaN where unknown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// The highest value.
    pub highest: f32,
    /// The sum.
    pub sum: f32,
}

impl Peak {
    /// The peak of a metric in the rows of a table.
    pub fn of(table: &dyn TaskTable, metric: Metric) -> Peak {
        let cells = (0..table.rows()).filter_map(|row| number(table.cell(row, metric)?));
        let highest = cells.fold(f32::NAN, f32::max);
        Peak { highest, sum: table.sum(metric).and_then(number).unwrap_or(f32::NAN) }
    }
}

fn number(cell: Cell<'_>) -> Option<f32> {
    match cell {
        Cell::Int(number) => Some(number as f32),
        Cell::Float(number) => Some(number as f32),
        Cell::Text(_) => None,
    }
}

/// The peaks of one frame.
pub(super) struct Peaks {
    metrics: Arc<[Metric]>,
    peaks: Box<[Peak]>,
}

impl Peaks {
    pub(super) fn of(interval: &Interval, metrics: &Arc<[Metric]>) -> Peaks {
        let peaks = metrics.iter().map(|&metric| Peak::of(interval, metric)).collect();
        Peaks { metrics: Arc::clone(metrics), peaks }
    }

    pub(super) fn get(&self, metric: Metric) -> Option<Peak> {
        let at = self.metrics.iter().position(|&known| known == metric)?;
        self.peaks.get(at).copied()
    }

    /// Bytes beyond the structure itself.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.peaks)
    }
}

impl Clone for Peaks {
    fn clone(&self) -> Peaks {
        Peaks { metrics: Arc::clone(&self.metrics), peaks: self.peaks.clone() }
    }
}
