//! The samples before an interval, which are read a slice at a time.
//!
//! Design decisions
//!
//! * The sparklines of an interval are of the minute before it. Where another interval is shown
//!   than the next one, this minute is read, which takes longer than a frame may. So the interval
//!   is drawn first, with the samples so far, and each of the next screens reads some more.

use std::time::{Duration, Instant};

use precise_top_core::Interval;
use precise_top_screen::Samples;
use pyo3::prelude::*;
use pyo3::types::PyIterator;

use crate::interval::PyInterval;

/// How long a screen reads.
const SLICE: Duration = Duration::from_millis(3);

/// The samples of a screen.
#[derive(Default)]
pub(crate) struct Sampled {
    /// Those that are shown.
    pub(crate) samples: Samples,
    filling: Option<Filling>,
}

/// Samples that are not complete yet.
struct Filling {
    samples: Samples,
    /// The end of the interval that they are for, and whether tasks are among them.
    end_ns: u64,
    with_tasks: bool,
    /// The intervals that are left.
    earlier: Py<PyIterator>,
}

impl Sampled {
    /// Whether the next screen of the same interval reads more.
    pub(crate) fn is_filling(&self) -> bool {
        self.filling.is_some()
    }

    /// Adds an interval; where it does not follow the last one, those that `before` returns come
    /// first.
    pub(crate) fn observe(
        &mut self,
        interval: &Interval,
        with_tasks: bool,
        before: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let filling = self.filling.take();
        let Some(before) = before.filter(|_| !self.samples.continue_with(interval, with_tasks))
        else {
            self.samples.observe(interval, with_tasks);
            return Ok(());
        };
        let [begin_ns, end_ns] =
            [interval.prev(), interval.cur()].map(|snapshot| snapshot.header().begin.boottime_ns);
        let last = filling.as_ref().map(|filling| (filling.end_ns, filling.with_tasks));
        if let Some(filling) = filling.filter(|_| last == Some((end_ns, with_tasks))) {
            return self.go_on(filling, interval, before.py(), Some(SLICE));
        }
        let Some(earlier) = before.call0()?.extract::<Option<Bound<'_, PyAny>>>()? else {
            self.samples.observe(interval, with_tasks);
            return Ok(());
        };
        let earlier = earlier.try_iter()?.unbind();
        let filling = Filling { samples: Samples::default(), end_ns, with_tasks, earlier };
        // The next interval would come again before all is read.
        if last.is_some_and(|(end_ns, _)| end_ns == begin_ns) {
            return self.go_on(filling, interval, before.py(), None);
        }
        self.filling = Some(filling);
        Ok(())
    }

    /// Reads for some time, or all.
    fn go_on(
        &mut self,
        mut filling: Filling,
        interval: &Interval,
        py: Python<'_>,
        slice: Option<Duration>,
    ) -> PyResult<()> {
        let begin = Instant::now();
        let earlier = filling.earlier.clone_ref(py).into_bound(py);
        for earlier in earlier {
            let earlier = earlier?;
            let earlier: PyRef<'_, PyInterval> = earlier.extract()?;
            filling.samples.observe(&earlier.inner, filling.with_tasks);
            if slice.is_some_and(|slice| begin.elapsed() >= slice) {
                self.filling = Some(filling);
                return Ok(());
            }
        }
        filling.samples.observe(interval, filling.with_tasks);
        self.samples = filling.samples;
        Ok(())
    }
}
