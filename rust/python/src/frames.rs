//! `taskstats.screen.Frames`: the frames of a live view while nobody types.
//!
//! Design decisions
//!
//! * A frame finds cold caches: the interpreter's part of it costs as much as drawing its
//!   lines. So frames follow each other here, and Python goes on when there is something to do.

use std::io;
use std::sync::Arc;

use precise_top_core::{Interval, SourceKind};
use precise_top_screen::ScreenLines;
use precise_top_sources::console::{Console, now_ns};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::python_error;
use crate::history::PyHistory;
use crate::interval::{PyInterval, check_comparable};
use crate::kept::Resting;
use crate::screen::{About, PyCanvas, PyLines, PyScreen, RowsArgument, cells};
use crate::source::PySource;

/// Shows the intervals of a source on a terminal, one after the other.
///
/// `history`, if there is one, keeps the intervals. `run` ends when one of the descriptors
/// `inputs` is readable; `output` is the terminal's. `advice` is what the view says with the
/// procfs source, in words. Raises OSError for a closed descriptor.
#[pyclass(name = "Frames", module = "taskstats.screen")]
pub(crate) struct PyFrames {
    source: Py<PySource>,
    history: Option<Py<PyHistory>>,
    console: Console,
    advice: String,
    /// The newest interval. Nobody else holds it, so that its memory serves the next but one.
    interval: Option<Py<PyInterval>>,
    lines: Option<ScreenLines>,
    /// What is written; its memory is used again.
    written: Vec<u8>,
}

/// When frames are due, in ns of CLOCK_MONOTONIC (see `Pace` in ptop).
struct Pace {
    last_ns: u64,
    delay_ns: u64,
}

impl Pace {
    fn due_ns(&self) -> u64 {
        self.last_ns.saturating_add(self.delay_ns)
    }

    /// Takes the step that is due. After a stall the next one comes a whole delay later.
    fn step(&mut self) -> io::Result<()> {
        let (now_ns, due_ns) = (now_ns()?, self.due_ns());
        let is_late = now_ns.saturating_sub(due_ns) >= self.delay_ns / 2;
        self.last_ns = if is_late { now_ns } else { due_ns };
        Ok(())
    }
}

#[pymethods]
impl PyFrames {
    #[new]
    #[pyo3(signature = (source, history=None, *, inputs, output, advice=String::new()))]
    fn new(
        py: Python<'_>,
        source: Py<PySource>,
        history: Option<Py<PyHistory>>,
        inputs: Vec<i32>,
        output: i32,
        advice: String,
    ) -> PyResult<PyFrames> {
        let console = Console::new(&inputs, output).map_err(|error| python_error(py, error))?;
        Ok(PyFrames {
            source,
            history,
            console,
            advice,
            interval: None,
            lines: None,
            written: Vec::new(),
        })
    }

    /// Begin where an interval ends. The caller should not hold it, nor its snapshots.
    fn begin(&mut self, interval: Py<PyInterval>) {
        (self.interval, self.lines) = (Some(interval), None);
    }

    /// Show intervals every `delay_ns` ns until an input is readable. The last one was shown
    /// at `last_ns` of CLOCK_MONOTONIC.
    ///
    /// `size` (columns, lines) is that of the terminal, `around` what is written before and after
    /// the lines that changed. Ends after `limit` intervals, and where `screen` has to be configured
    /// for the next one. Returns the number of intervals, and when the last one was due. Raises
    /// OSError where the terminal is gone, ValueError without `begin`, and what `Source.snapshot`
    /// and `Screen.lines` raise.
    #[pyo3(signature = (screen, canvas, size, around, *, last_ns, delay_ns, limit=None))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of a Python method")]
    fn run(
        &mut self,
        py: Python<'_>,
        mut screen: PyRefMut<'_, PyScreen>,
        mut canvas: PyRefMut<'_, PyCanvas>,
        size: (u16, u16),
        around: (String, String),
        last_ns: u64,
        delay_ns: u64,
        limit: Option<usize>,
    ) -> PyResult<(usize, u64)> {
        let (mut pace, mut shown) = (Pace { last_ns, delay_ns }, 0);
        while py.detach(|| self.console.wait(pace.due_ns()))? {
            pace.step()?;
            let interval = self.advance(py)?;
            let lines = self.drawn(interval.bind(py), &mut screen, cells(size))?;
            let lines = self.lines.insert(lines);
            let text = canvas.text(lines);
            shown += 1;
            let is_last = limit.is_some_and(|limit| shown >= limit) || !screen.is_for(lines);
            self.write(py, text, &around)?;
            if is_last {
                break;
            }
        }
        Ok((shown, pace.last_ns))
    }

    /// Return the newest interval, and its lines if `run` has shown it. They are held no more.
    ///
    /// Raises ValueError without `begin`.
    fn end(&mut self) -> PyResult<(Py<PyInterval>, Option<PyLines>)> {
        let interval = self.interval.take().ok_or_else(not_begun)?;
        Ok((interval, self.lines.take().map(PyLines::new)))
    }
}

fn not_begun() -> PyErr {
    PyValueError::new_err("there is no interval to begin with: call begin")
}

impl PyFrames {
    /// Goes to the next interval.
    fn advance(&mut self, py: Python<'_>) -> PyResult<Py<PyInterval>> {
        let before = self.interval.take().ok_or_else(not_begun)?;
        let start = Arc::clone(before.get().inner.cur());
        // Its earlier snapshot is free for the next one.
        drop(before);
        let source = self.source.get();
        let snapshot = source.take(py)?;
        check_comparable(&start, &snapshot)?;
        let interval = Interval::between(start, snapshot);
        if let Some(history) = &self.history {
            history.get().append(py, &interval, Some(source))?;
        }
        let interval = Py::new(py, PyInterval::new(Arc::new(interval)))?;
        Ok(self.interval.insert(interval).clone_ref(py))
    }

    fn drawn(
        &self,
        interval: &Bound<'_, PyInterval>,
        screen: &mut PyScreen,
        size: (usize, usize),
    ) -> PyResult<ScreenLines> {
        let py = interval.py();
        let source = self.source.bind(py);
        let kind = interval.get().inner.cur().header().source;
        let lacks = self.lacks(source.get().notice(py), kind);
        let exact_s = self.history.as_ref().and_then(|kept| py.detach(|| kept.get().exact_s()));
        let about = About { lacks: &lacks, exact_s, ..About::default() };
        let rows = RowsArgument::Interval(interval.borrow());
        let unchanged = Resting::Source(source.clone());
        screen.drawn(py, &rows, Some(&unchanged), size, about)
    }

    fn lacks(&self, notice: String, source: SourceKind) -> String {
        match (source, &*self.advice) {
            (SourceKind::Procfs, advice) if notice.is_empty() => advice.to_owned(),
            (SourceKind::Procfs, advice) if !advice.is_empty() => format!("{notice}; {advice}"),
            _ => notice,
        }
    }

    /// Writes what changed, if anything did.
    fn write(
        &mut self,
        py: Python<'_>,
        text: &str,
        (begin, end): &(String, String),
    ) -> PyResult<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.written.clear();
        for part in [begin, text, end] {
            self.written.extend_from_slice(part.as_bytes());
        }
        // A terminal may take its time.
        Ok(py.detach(|| self.console.write(&self.written))?)
    }
}
