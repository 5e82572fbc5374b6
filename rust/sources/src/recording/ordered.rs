//! Jobs that threads do in parallel, whose results come in the order of the jobs.
//!
//! Design decisions
//!
//! * Few results wait: a thread takes no job far ahead of the one that is asked for.
//! * The thread that asks does no job while there are others: it asks at intervals whether to
//!   stop. Only Python's main thread receives signals.
//! * The threads live as long as the jobs: others would be missing in a forked child.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use precise_top_core::dump::Stop;

/// Results that are made ahead, more than there are threads.
const AHEAD: usize = 1;

/// Results that are in memory at a time: those that are made or wait, and the last one returned.
pub(super) fn results_in_memory() -> usize {
    threads() + AHEAD + 1
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The time between two calls of `stop` by the thread that waits.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Does the job of an index. Ends early once the second argument returns true.
pub(super) type Work<T> = Box<dyn Fn(usize, &Stop) -> T + Send + Sync>;

struct Shared<T> {
    count: usize,
    threads: usize,
    work: Work<T>,
    progress: Mutex<Progress<T>>,
    changed: Condvar,
    stopped: Arc<AtomicBool>,
}

struct Progress<T> {
    /// The job that a thread takes next.
    next: usize,
    /// The job whose result is returned next.
    delivered: usize,
    done: BTreeMap<usize, T>,
}

/// Jobs that begin with the first call of [`Ordered::next`].
pub(super) struct Ordered<T> {
    shared: Arc<Shared<T>>,
    workers: Vec<JoinHandle<()>>,
}

/// Why there is no result.
#[derive(Debug)]
pub(super) enum NoResult {
    /// All were returned.
    End,
    /// `stop` returned true.
    Stopped,
}

impl<T: Send + 'static> Ordered<T> {
    /// `count` jobs for as many threads as there are CPUs.
    pub(super) fn new(count: usize, work: Work<T>) -> Ordered<T> {
        let threads = threads().min(count);
        let progress = Progress { next: 0, delivered: 0, done: BTreeMap::new() };
        let (progress, changed) = (Mutex::new(progress), Condvar::new());
        let shared = Shared { count, threads, work, progress, changed, stopped: Arc::default() };
        Ordered { shared: Arc::new(shared), workers: Vec::new() }
    }

    /// The next job's result.
    pub(super) fn next(&mut self, stop: &Stop) -> Result<T, NoResult> {
        let shared = Arc::clone(&self.shared);
        let index = shared.progress().delivered;
        if index >= shared.count {
            return Err(NoResult::End);
        }
        if self.workers.is_empty() && shared.threads > 1 {
            self.workers = (0..shared.threads).map_while(|_| Shared::spawn(&shared)).collect();
        }
        if self.workers.is_empty() {
            shared.progress().delivered += 1;
            return Ok((shared.work)(index, stop));
        }
        loop {
            let mut progress = shared.progress();
            if let Some(result) = progress.done.remove(&index) {
                progress.delivered = index + 1;
                shared.changed.notify_all();
                return Ok(result);
            }
            if shared.stopped.load(Ordering::Relaxed) {
                // A job has panicked: so does its caller.
                for worker in self.workers.drain(..) {
                    worker.join().unwrap_or_else(|panic| resume_unwind(panic));
                }
                return Err(NoResult::End);
            }
            drop(shared.changed.wait_timeout(progress, ASK_EVERY));
            // A handler of signals may run Python: nothing is locked then.
            if stop() {
                return Err(NoResult::Stopped);
            }
        }
    }

    /// Ends all jobs.
    pub(super) fn end(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.progress().delivered = self.shared.count;
        self.shared.changed.notify_all();
    }
}

impl<T> Drop for Ordered<T> {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            let _ended = worker.join();
        }
    }
}

/// Ends all jobs where one panics.
struct StopsOnPanic<'a, T>(&'a Shared<T>);

impl<T> Drop for StopsOnPanic<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stopped.store(true, Ordering::Relaxed);
            self.0.changed.notify_all();
        }
    }
}

impl<T: Send + 'static> Shared<T> {
    fn progress(&self) -> MutexGuard<'_, Progress<T>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread that does jobs; None where none can be started.
    fn spawn(shared: &Arc<Shared<T>>) -> Option<JoinHandle<()>> {
        let shared = Arc::clone(shared);
        thread::Builder::new().name("scan".into()).spawn(move || shared.do_jobs()).ok()
    }

    fn do_jobs(&self) {
        let _guard = StopsOnPanic(self);
        let stopped = Arc::clone(&self.stopped);
        let stop: Stop = Arc::new(move || stopped.load(Ordering::Relaxed));
        while let Some(index) = self.take_job() {
            let result = (self.work)(index, &stop);
            self.progress().done.insert(index, result);
            self.changed.notify_all();
        }
    }

    /// The next job; waits while enough results are ready. None at the end.
    fn take_job(&self) -> Option<usize> {
        let mut progress = self.progress();
        while !self.stopped.load(Ordering::Relaxed) && progress.next < self.count {
            if progress.next < progress.delivered + self.threads + AHEAD {
                progress.next += 1;
                return Some(progress.next - 1);
            }
            // With a limit: the jobs may end between the check and the wait.
            let waited = self.changed.wait_timeout(progress, ASK_EVERY);
            progress = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }
}
