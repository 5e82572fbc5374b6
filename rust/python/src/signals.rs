//! Ctrl-C in long reads that run without the interpreter's lock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use precise_top_core::dump::Stop;
use precise_top_core::error::ErrorKind;
use precise_top_sources::Error;
use pyo3::prelude::*;

use crate::errors::python_error;

/// How often signals are handled. To attach to the interpreter may take 5 ms where other threads
/// run Python.
const EVERY: Duration = Duration::from_millis(50);

/// Handles the signals of the process while the thread that made this reads.
pub(crate) struct Signals {
    reader: ThreadId,
    handled: Mutex<Instant>,
    stopped: AtomicBool,
    /// What a handler raised.
    raised: Mutex<Option<PyErr>>,
}

impl Signals {
    /// Signals are handled in the thread that calls this.
    pub(crate) fn new() -> Arc<Signals> {
        Arc::new(Signals {
            reader: thread::current().id(),
            handled: Mutex::new(Instant::now()),
            stopped: AtomicBool::new(false),
            raised: Mutex::new(None),
        })
    }

    /// Returns whether a handler has raised an exception; handles signals at intervals.
    pub(crate) fn stop(self: &Arc<Signals>) -> Stop {
        let signals = Arc::clone(self);
        Arc::new(move || signals.is_stopped())
    }

    fn is_stopped(&self) -> bool {
        if !self.stopped.load(Ordering::Relaxed) && thread::current().id() == self.reader {
            let mut handled = self.handled.lock().unwrap_or_else(PoisonError::into_inner);
            if handled.elapsed() >= EVERY {
                if let Err(error) = Python::attach(|py| py.check_signals()) {
                    *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    self.stopped.store(true, Ordering::Relaxed);
                }
                *handled = Instant::now();
            }
        }
        self.stopped.load(Ordering::Relaxed)
    }

    /// The exception of an error: if reading was interrupted, what the handler raised.
    pub(crate) fn error(&self, py: Python<'_>, error: Error) -> PyErr {
        let raised = match error {
            Error::GivenUp(given_up) if given_up.kind == ErrorKind::Interrupted => {
                self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
            }
            _ => None,
        };
        raised.unwrap_or_else(|| python_error(py, error))
    }
}
