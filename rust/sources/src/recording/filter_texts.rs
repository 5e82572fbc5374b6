//! The texts that a filter goes by: command lines, users and cgroups, some read at a time.
//!
//! Design decisions
//!
//! * A key must be answered at once, and thousands of command lines take long. So a frame reads for
//!   a limited time; what is missing after it counts as unknown until a later frame.
//! * That time begins with the first text that has to be read: a tree is laid out before it asks,
//!   which may take longer, and would leave no time for any text in any frame.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use precise_top_core::{Record, SharedBytes, Snapshot, Text, Texts};

use super::command_lines::CommandLines;
use super::process_names::NameSource;

/// Cgroups whose paths are kept.
const MOST_CGROUPS: usize = 10_000;

/// The texts that a filter goes by.
#[derive(Default)]
pub struct FilterTexts(Mutex<Inner>);

struct Inner {
    commands: CommandLines,
    names: NameSource,
    boot_id: Option<[u8; 16]>,
    /// The begin of the snapshot.
    begin_ns: u64,
    users: HashMap<u32, Option<Arc<[u8]>>>,
    cgroups: HashMap<u64, Option<Arc<[u8]>>>,
    /// How long to read; None for no limit.
    budget: Option<Duration>,
    /// When to stop reading, from the first text on.
    end: Option<Instant>,
    /// Texts that the present frame asked for, and those that it did not get.
    asked: usize,
    missing: usize,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            commands: CommandLines::default(),
            names: NameSource::Unknown,
            boot_id: None,
            begin_ns: 0,
            users: HashMap::new(),
            cgroups: HashMap::new(),
            budget: None,
            end: None,
            asked: 0,
            missing: 0,
        }
    }
}

impl Inner {
    /// Whether there is no time to read another text.
    fn is_late(&mut self) -> bool {
        let Some(budget) = self.budget else { return false };
        let now = Instant::now();
        let is_late = match self.end {
            Some(end) => now >= end,
            None => {
                self.end = Some(now + budget);
                false
            }
        };
        self.missing += usize::from(is_late);
        is_late
    }
}

impl FilterTexts {
    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes to the snapshot that is filtered next. Texts are read for `budget`, without one all.
    pub fn begin(&self, snapshot: &Snapshot<SharedBytes>, budget: Option<Duration>) {
        let mut inner = self.locked();
        let boot_id = snapshot.header().boot_id;
        if inner.boot_id != Some(boot_id) || snapshot.names().is_some() {
            inner.names = NameSource::of(snapshot);
            inner.users.clear();
            inner.cgroups.clear();
        }
        inner.boot_id = Some(boot_id);
        let begin_ns = snapshot.header().begin.boottime_ns;
        if begin_ns != inner.begin_ns {
            // Another task of a cgroup may be there still.
            inner.cgroups.retain(|_, path| path.is_some());
        }
        inner.begin_ns = begin_ns;
        inner.commands.begin(snapshot);
        (inner.budget, inner.end) = (budget, None);
        (inner.asked, inner.missing) = (0, 0);
        if inner.cgroups.len() > MOST_CGROUPS {
            inner.cgroups.clear();
        }
    }

    /// The path of the cgroup of that id, which the task of a record is in.
    pub fn cgroup_path(&self, id: u64, record: &Record<'_>) -> Option<Arc<[u8]>> {
        let Inner { cgroups, names, .. } = &mut *self.locked();
        if let Some(Some(path)) = cgroups.get(&id) {
            return Some(Arc::clone(path));
        }
        let path: Arc<[u8]> = names.cgroup(record, id)?.into();
        cgroups.insert(id, Some(Arc::clone(&path)));
        Some(path)
    }
}

impl std::fmt::Debug for FilterTexts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FilterTexts").finish_non_exhaustive()
    }
}

impl Texts for FilterTexts {
    fn command(&self, record: &Record<'_>) -> Text {
        let inner = &mut *self.locked();
        inner.asked += 1;
        if let Some(known) = inner.commands.known_words(record) {
            return known.map_or(Text::Missing, Text::Known);
        }
        if inner.is_late() {
            return Text::Later;
        }
        inner.commands.words(record).map_or(Text::Missing, Text::Known)
    }

    fn user(&self, uid: u32) -> Text {
        let Inner { users, names, .. } = &mut *self.locked();
        let name = users.entry(uid).or_insert_with(|| names.user(uid).map(Arc::from));
        name.clone().map_or(Text::Missing, Text::Known)
    }

    fn cgroup(&self, record: &Record<'_>) -> Text {
        // The kernel numbers cgroups from 1.
        let Some(id) = record.cgroup_id().filter(|&id| id != 0) else { return Text::Missing };
        let inner = &mut *self.locked();
        inner.asked += 1;
        if let Some(known) = inner.cgroups.get(&id) {
            return known.clone().map_or(Text::Later, Text::Known);
        }
        if inner.is_late() {
            return Text::Later;
        }
        let path: Option<Arc<[u8]>> = inner.names.cgroup(record, id).map(Arc::from);
        inner.cgroups.insert(id, path.clone());
        // Another task of the cgroup may be asked in the next frame.
        path.map_or(Text::Later, Text::Known)
    }

    fn progress(&self) -> Option<u8> {
        let inner = self.locked();
        let known = inner.asked.saturating_sub(inner.missing);
        (inner.missing > 0).then(|| (known * 100 / inner.asked.max(1)) as u8)
    }
}

#[cfg(test)]
mod tests {
    use precise_top_core::SourceKind;

    use super::*;
    use crate::{Request, open};

    #[test]
    fn the_time_for_reading_begins_with_the_first_text() {
        let mut source = open(Some(SourceKind::Procfs)).expect("a source");
        let snapshot = source.snapshot(&Request::default()).expect("a snapshot");
        let mut records = (0..snapshot.len()).filter_map(|at| snapshot.get(at));
        let own = records.find(|record| record.ac_pid() == Some(std::process::id()));
        let own = own.expect("the record of this process");
        let texts = FilterTexts::default();
        let budget = Duration::from_millis(1);
        texts.begin(&snapshot, Some(budget));
        // As the layout of a large tree.
        std::thread::sleep(5 * budget);
        assert!(matches!(texts.command(&own), Text::Known(_)), "nothing was read");
        assert_eq!(texts.progress(), None);
    }
}
