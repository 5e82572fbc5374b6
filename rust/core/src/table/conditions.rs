//! A condition with what answers it: the texts of tasks, and what it found in the frames before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::filter::{Condition, FilteredRow, Texts};
use super::filter_memory::FilterMemory;
use crate::identity::TaskKey;

/// A condition, the texts that it goes by, and what it found in the frames before.
#[derive(Clone, Debug)]
pub struct Conditions {
    condition: Arc<Condition>,
    texts: Arc<dyn Texts>,
    memory: Arc<Mutex<FilterMemory>>,
}

/// Conditions are equal where they keep the same rows of a frame: what was found before is known
/// sooner, but the same.
impl PartialEq for Conditions {
    fn eq(&self, other: &Conditions) -> bool {
        self.condition.text() == other.condition.text() && Arc::ptr_eq(&self.texts, &other.texts)
    }
}

impl Conditions {
    /// A condition for the rows of one frame.
    pub fn new(condition: Arc<Condition>, texts: Arc<dyn Texts>) -> Conditions {
        Conditions { condition, texts, memory: Arc::default() }
    }

    /// The same with what was found in the frames before.
    pub fn with_memory(self, memory: Arc<Mutex<FilterMemory>>) -> Conditions {
        Conditions { memory, ..self }
    }

    /// The condition.
    pub fn condition(&self) -> &Arc<Condition> {
        &self.condition
    }

    /// How many per cent of the rows' texts are known; None for all of them.
    pub fn progress(&self) -> Option<u8> {
        self.texts.progress()
    }

    /// Whether a row meets the condition.
    pub(super) fn are_met_by(&self, row: &dyn FilteredRow) -> bool {
        self.condition.is_met_by(row, &*self.texts)
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, FilterMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the row of a task that may not have run since meets the condition. `memory` is that
    /// of these conditions; `task` is as in [`FilterMemory::remembered`].
    pub(super) fn are_met_by_kept(
        &self,
        memory: &mut FilterMemory,
        task: (usize, &TaskKey, u64),
        row: &dyn FilteredRow,
    ) -> bool {
        memory.remembered(task, |command| self.condition.is_met_by_one(row, &*self.texts, command))
    }
}
