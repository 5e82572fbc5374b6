//! The names of this machine's users, asked in the background.
//!
//! Design decisions
//!
//! * A user database that is reached over a network may take seconds for each answer. So
//!   threads ask, and callers wait a moment in all: a screen shows the number until the name
//!   is there, and a recording has no gap.
//! * The threads end when nothing is left to ask. They have no privileges, take no signals,
//!   and do not keep the process alive.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
use nix::unistd::{Uid, User};

use crate::privilege::drop_capabilities;
use crate::sys::thread::{ForkGuard, Running};

/// How long callers wait in all, from when the database is asked until it has answered
/// everything.
const PATIENCE: Duration = Duration::from_millis(200);
/// Questions at a time: others are answered while some are stuck.
const THREADS: usize = 4;
/// A user without a name may get one later.
const ASK_AGAIN: Duration = Duration::from_secs(60);

static NAMES: LazyLock<Arc<Names>> = LazyLock::new(|| Names::new(from_database));

/// The name of a user on this machine, wherever it keeps its users (nsswitch.conf). None where
/// there is no such user, or the answer takes long: ask again later.
pub fn user_name(uid: u32) -> Option<Vec<u8>> {
    NAMES.get(uid)
}

fn from_database(uid: u32) -> Option<Vec<u8>> {
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    Some(user.name.into_bytes())
}

enum Answer {
    /// A thread asks, or will.
    Awaited,
    Name(Vec<u8>),
    /// There was none at that time.
    NoName(Instant),
}

/// Names, and the questions that are not answered.
struct Names {
    ask: fn(u32) -> Option<Vec<u8>>,
    state: Mutex<State>,
    answered: Condvar,
}

struct State {
    answers: HashMap<u32, Answer>,
    /// Those that no thread asks for yet.
    waiting: VecDeque<u32>,
    threads: usize,
    /// When the first of the threads started.
    busy_since: Instant,
    home: ForkGuard,
}

impl State {
    fn is_awaited(&self, uid: u32) -> bool {
        matches!(self.answers.get(&uid), Some(Answer::Awaited))
    }

    /// A forked child has no such threads.
    fn forget_parent(&mut self) {
        if !self.home.is_here() {
            self.answers.retain(|_, answer| !matches!(answer, Answer::Awaited));
            self.waiting.clear();
            self.threads = 0;
            self.home = ForkGuard::new();
        }
    }
}

impl Names {
    fn new(ask: fn(u32) -> Option<Vec<u8>>) -> Arc<Names> {
        let state = State {
            answers: HashMap::new(),
            waiting: VecDeque::new(),
            threads: 0,
            busy_since: Instant::now(),
            home: ForkGuard::new(),
        };
        Arc::new(Names { ask, state: Mutex::new(state), answered: Condvar::new() })
    }

    fn get(self: &Arc<Self>, uid: u32) -> Option<Vec<u8>> {
        let mut state = self.locked();
        state.forget_parent();
        match state.answers.get(&uid) {
            Some(Answer::Name(name)) => return Some(name.clone()),
            Some(Answer::NoName(at)) if at.elapsed() < ASK_AGAIN => return None,
            Some(Answer::Awaited) => {}
            Some(Answer::NoName(_)) | None => {
                state.answers.insert(uid, Answer::Awaited);
                state.waiting.push_back(uid);
            }
        }
        self.start_thread(&mut state);
        let patience = PATIENCE.saturating_sub(state.busy_since.elapsed());
        let awaited = |state: &mut State| state.is_awaited(uid);
        let waited = self.answered.wait_timeout_while(state, patience, awaited);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match state.answers.get(&uid) {
            Some(Answer::Name(name)) => Some(name.clone()),
            _ => None,
        }
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) {
        if state.waiting.is_empty() || state.threads == THREADS {
            return;
        }
        let (names, running) = (Arc::clone(self), Running::new());
        let work = move || {
            let _running = running;
            let _ = drop_capabilities();
            let _ = SigSet::all().thread_block();
            names.answer_all();
        };
        // Without a thread (a limit on them) the question waits for the next call.
        if thread::Builder::new().name("users".into()).spawn(work).is_ok() {
            if state.threads == 0 {
                state.busy_since = Instant::now();
            }
            state.threads += 1;
        }
    }

    fn answer_all(&self) {
        let mut state = self.locked();
        while let Some(uid) = state.waiting.pop_front() {
            drop(state);
            let name = (self.ask)(uid);
            state = self.locked();
            let answer = name.map_or_else(|| Answer::NoName(Instant::now()), Answer::Name);
            state.answers.insert(uid, answer);
            self.answered.notify_all();
        }
        state.threads -= 1;
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// User 1 is never found, the others have their number as name.
    fn stuck(uid: u32) -> Option<Vec<u8>> {
        if uid == 1 {
            loop {
                thread::park();
            }
        }
        Some(uid.to_string().into_bytes())
    }

    #[test]
    fn a_stuck_answer_delays_neither_its_caller_nor_the_others() {
        let names = Names::new(stuck);
        assert_eq!(names.get(1), None);
        // Callers do not wait any longer, but this name comes.
        while names.get(2).is_none() {
            thread::yield_now();
        }
        assert_eq!(names.get(2), Some(b"2".to_vec()));
        assert_eq!(names.get(1), None);
    }

    #[test]
    fn the_threads_end_with_the_questions() {
        let names = Names::new(|_| None);
        (2..100).for_each(|uid| assert_eq!(names.get(uid), None));
        while names.locked().threads > 0 {
            thread::yield_now();
        }
        assert!(names.locked().waiting.is_empty());
    }
}
